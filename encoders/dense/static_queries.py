"""Dense queries without a transformer: a vector for each token, fitted to what a dense model made of texts.

    q = u / |u|,   u = sum over the tokens t of the query of  v_t

The vectors are those of a regression: the model's vector of a text is predicted as the average of its tokens' vectors,
weighted by idf, and those are chosen by ridge regression. So a table is a static embedding distilled from a transformer
(Gupta & Jaggi, "Obtaining Better Static Word Embeddings Using Contextual Embedding Models", ACL 2021), in closed form,
and from texts that the model has encoded anyway. Word order and context are lost; docs/hybrid.md has what that costs.

On disk, a folder:

    vectors.npy       float16 [vocabulary, width], a row a token, weighted; zeros for tokens of no text
    tokenizer.json    how a query becomes tokens
    query_table.json  of which model, of how many texts, how long a query may be, and checksums of both files
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexhound.core.progress import OnStep, Pace, Stage
from lexhound.encoders.errors import CheckpointError, IdentityError, SettingsError
from lexhound.encoders.libraries import TOKENIZERS, version_of
from lexhound.encoders.runtime.token_pooling import unit
from lexhound.encoders.text.subwords import TOKENIZER, Subwords
from lexhound.encoders.text.token_reader import TokenReader

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from .encoder import DenseEncoder

ABOUT = "query_table.json"
_VECTORS = "vectors.npy"
_FORMAT = 1
_TURNS = 25  # of conjugate gradients: beyond, held-out texts gain nothing
_TEXTS_AT_ONCE = 1024
_HELD_OUT = 20  # one text in so many is not fitted, but measured


@dataclass(frozen=True, slots=True)
class StaticQueryFacts:
    """The facts of a table.

    Attributes:
        fingerprint: of the dense model's identity; texts: how many it was fitted to; tokens: how many have a vector.
        agreement: the mean cosine between its vectors and the model's, of texts that it was not fitted to.
        longest: tokens of a query that count, from the first; lower_case: whether queries are lower-cased before.
    """

    fingerprint: str
    texts: int
    tokens: int
    agreement: float
    longest: int
    lower_case: bool


class StaticQueryEmbeddings:
    """Vectors of queries by look-up. Safe to call from several threads."""

    def __init__(self, facts: StaticQueryFacts, vectors: NDArray[np.float16], subwords: Subwords) -> None:
        """Use `fit` or `open`."""
        self.facts = facts
        self.vectors = vectors
        self._subwords = subwords

    @classmethod
    def open(cls, folder: Path) -> StaticQueryEmbeddings:
        """Return a table from the folder that `save` wrote; the vectors are mapped.

        Raises:
            CheckpointError: a file is missing or damaged. MissingExtraError: `tokenizers` is not installed.
            IdentityError: the installed `tokenizers` makes other tokens than the one that it was made with.
        """
        try:
            values = json.loads((folder / ABOUT).read_bytes())
            if values["format"] != _FORMAT:
                raise ValueError(f"format {values['format']!r} is not known here")
            if values["checksums"].get(ABOUT, _facts_checksum(values)) != _facts_checksum(values):
                raise ValueError("its checksum does not match")
            if values["checksums"][TOKENIZER] != _checksum(folder / TOKENIZER):
                raise ValueError(f"the checksum of {TOKENIZER} does not match")
            facts = StaticQueryFacts(**values["facts"])
            vectors = np.load(folder / _VECTORS, mmap_mode="r", allow_pickle=False)
            if vectors.dtype != np.float16 or vectors.ndim != 2:
                raise ValueError("the vectors are of another type")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise _damaged(folder, str(error)) from error
        subwords = Subwords.open(folder)
        if values.get("tokens", subwords.tokens_digest) != subwords.tokens_digest:
            tokenizers_version = values.get("tokenizers", "another version")
            raise IdentityError(
                f"{folder} was made with tokenizers {tokenizers_version}, and {version_of(TOKENIZERS)}, which is here,"
                " makes other tokens",
                "Make it again with `lexhound fit-static-queries`, or drop it with --drop",
            )
        return cls(facts, vectors, subwords)

    @staticmethod
    def verify(folder: Path) -> list[tuple[Path, str]]:
        """Read every byte; returns what is wrong with which file."""
        try:
            values = json.loads((folder / ABOUT).read_bytes())
            sums = values["checksums"]
            checksums = {name: _checksum(folder / name) for name in (_VECTORS, TOKENIZER)}
            checksums[ABOUT] = _facts_checksum(values)
            sums.setdefault(ABOUT, checksums[ABOUT])  # earlier versions wrote none
            return [
                (folder / name, "does not hold what was written: its checksum does not match")
                for name, checksum in checksums.items()
                if sums[name] != checksum
            ]
        except (OSError, ValueError, TypeError, KeyError) as error:
            return [(folder / ABOUT, f"cannot be read: {error}")]

    def save(self, folder: Path) -> None:
        """Write the table into a new or empty folder. Raises OSError."""
        folder.mkdir(exist_ok=True)
        np.save(folder / _VECTORS, self.vectors, allow_pickle=False)
        self._subwords.save(folder / TOKENIZER)
        sums = {name: _checksum(folder / name) for name in (_VECTORS, TOKENIZER)}
        values = {
            "format": _FORMAT,
            "facts": asdict(self.facts),
            "checksums": sums,
            "tokens": self._subwords.tokens_digest,
            "tokenizers": version_of(TOKENIZERS),
        }
        sums[ABOUT] = _facts_checksum(values)
        (folder / ABOUT).write_text(json.dumps(values, indent=1) + "\n")

    @property
    def width(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def query_reader(self) -> TokenReader:
        """Return how a query is read."""
        return TokenReader(self._subwords, self.facts.longest, 0)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32[len(texts), width], of unit length; zeros, that is none, for one without a known token."""
        embeddings = np.zeros((len(texts), self.width), np.float32)
        if self.facts.lower_case:
            texts = [text.lower() for text in texts]
        for row, text in enumerate(texts):
            (ids,) = self._subwords.ids_of([text], self.facts.longest)
            ids = ids[: self.facts.longest]
            if self._subwords.says_nothing(ids):
                continue
            embeddings[row] = self.vectors[ids].astype(np.float32).sum(axis=0)
        return unit(embeddings)


def fit(
    encoder: DenseEncoder,
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    *,
    ridge: float = 0.003,
    progress: OnStep | None = None,
) -> StaticQueryEmbeddings:
    """Return a table for texts that a model has encoded: float32[len(texts), width], of unit length, by either side of
    it.

    Deterministic. One text in 20 is kept out and measured. Takes some seconds a thousand texts; memory is 12 bytes a
    token of a text, and 1.5 KB a token of the vocabulary for 384 values, four times.

    Args:
        ridge: what keeps the vectors of rare tokens short; more is needed where texts are fewer.
        progress: told of the stages.

    Raises:
        SettingsError: there are fewer than 20 texts with a token, or the model's vectors are not of unit length.
    """
    if not encoder.normalise:
        raise SettingsError(
            f"the vectors of {encoder.identity.name} are not of unit length", "A table is for models whose vectors are"
        )
    backbone = encoder.backbone
    subwords = backbone.subwords
    longest = encoder.limit("query") - len(subwords.prefix) - len(subwords.suffix)
    rows: list[list[int]] = []
    stage = Stage(progress, "splitting texts", len(texts), "texts")
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        some = texts[start : start + _TEXTS_AT_ONCE]
        rows += [ids[:longest] for ids in subwords.ids_of(some, longest)]
        stage.add(len(some))
    usable = np.flatnonzero(np.array([len(row) > 0 for row in rows], np.bool_) & vectors.any(axis=1))
    if len(usable) < _HELD_OUT:
        raise SettingsError(f"{len(usable)} texts are too few for a table", f"It takes {_HELD_OUT} at least")
    counts = _counts([rows[position] for position in usable.tolist()], subwords.size)
    targets = vectors[usable]
    held_out = np.arange(len(usable)) % _HELD_OUT == _HELD_OUT - 1
    fitted = _weighted(counts[~held_out], idf := _idf(counts[~held_out]))
    solution = _solve(fitted, targets[~held_out], ridge, Stage(progress, "fitting", _TURNS, "steps").add)
    # A text is the weighted average plus a constant: the constant goes into every token, as weights sum to 1.
    table = (solution[:-1] + solution[-1]) * idf[:, np.newaxis]
    table[idf == 0] = 0.0
    table *= 1.0 / max(float(np.abs(table).max()), 1e-30)
    stored = table.astype(np.float16)
    guessed = unit(counts[held_out] @ stored.astype(np.float32))
    facts = StaticQueryFacts(
        encoder.identity.fingerprint,
        len(usable),
        int(np.count_nonzero(idf)),
        float((guessed * targets[held_out]).sum(axis=1).mean()),
        longest,
        lower_case=False,  # where it is wanted, the tokenizer does it
    )
    return StaticQueryEmbeddings(facts, stored, subwords)


def _counts(rows: Sequence[Sequence[int]], vocabulary: int) -> csr_array:
    """Return how often each text has each token: float32[n, vocabulary]."""
    from scipy.sparse import csr_array

    indptr = np.cumsum([0, *(len(row) for row in rows)])
    indices = np.fromiter((token for row in rows for token in row), np.int32, int(indptr[-1]))
    counts = csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(len(rows), vocabulary))
    counts.sum_duplicates()
    return counts


def _idf(counts: csr_array) -> NDArray[np.float32]:
    """Return float32[vocabulary]: what a token weighs; 0 for those of no text."""
    n = counts.shape[0]
    frequencies = np.bincount(counts.indices, minlength=counts.shape[1])
    weights = np.log((n + 1) / (frequencies + 1)) + 0.5
    return np.where(frequencies > 0, weights, 0.0).astype(np.float32)


def _weighted(counts: csr_array, idf: NDArray[np.float32]) -> csr_array:
    """Return each text's tokens by their share of its weight, and a 1 behind them: float32[n, vocabulary + 1]."""
    from scipy.sparse import csr_array, hstack

    weights = counts.data * idf[counts.indices]
    sums = np.add.reduceat(weights, counts.indptr[:-1])  # no text is empty
    shares = csr_array(
        (weights / np.repeat(sums, np.diff(counts.indptr)), counts.indices, counts.indptr), shape=counts.shape
    )
    return csr_array(
        hstack([shares, csr_array(np.ones((counts.shape[0], 1), np.float32))], format="csr", dtype=np.float32)
    )


def _solve(texts: csr_array, targets: NDArray[np.float32], ridge: float, pace: Pace) -> NDArray[np.float32]:
    """Return the W of least |texts W - targets|² + ridge |W|², by conjugate gradients on all columns at once.

    Preconditioned with the diagonal (Saad, "Iterative Methods for Sparse Linear Systems", 2003, section 9.2).
    """
    across = texts.T.tocsr()
    diagonal = np.bincount(texts.indices, weights=texts.data.astype(np.float64) ** 2, minlength=texts.shape[1])
    scale = (1.0 / (diagonal + ridge)).astype(np.float32)[:, np.newaxis]
    solution = np.zeros((texts.shape[1], targets.shape[1]), np.float32)
    residual = across @ targets
    step = scale * residual
    size = np.einsum("ij,ij->j", residual, step)
    for _ in range(_TURNS):
        ahead = across @ (texts @ step) + np.float32(ridge) * step
        length = size / np.maximum(np.einsum("ij,ij->j", step, ahead), np.float32(1e-30))
        solution += length * step
        residual -= length * ahead
        ahead = scale * residual
        before, size = size, np.einsum("ij,ij->j", residual, ahead)
        step *= size / np.maximum(before, np.float32(1e-30))
        step += ahead
        pace(1)
    return solution


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _facts_checksum(values: dict[str, Any]) -> str:
    """Return the checksum of `query_table.json` itself: of everything in it but this."""
    others = {name: checksum for name, checksum in values["checksums"].items() if name != ABOUT}
    text = json.dumps(values | {"checksums": others}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _damaged(folder: Path, problem: str) -> CheckpointError:
    return CheckpointError(
        f"the table of dense queries in {folder} cannot be read: {problem}",
        "Make it again with `lexhound fit-static-queries`, or drop it with --drop",
    )
