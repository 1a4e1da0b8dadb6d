"""Subword tokens by the `tokenizers` library alone: what queries of inference-free encoders need, and nothing more.

Importing and using this module loads neither torch nor transformers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexhound.core.errors import MissingExtraError
from lexhound.core.extras import extra
from lexhound.encoders.base import Span
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.libraries import digest_of

from .version_probes import TEXTS

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

TOKENIZER = "tokenizer.json"
# What a tokenizer can be made of; all but the first need transformers to make it.
TOKENIZER_FILES = (
    TOKENIZER, "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model",
)  # fmt: skip
_NO_LIMIT = 1_000_000  # tokenizers without a limit say 10 ** 30
# Of a text that is cut, so much is looked at first for every token wanted.
_CHARACTERS_A_TOKEN = 64
# Characters of a long text that are read together where offsets are asked for.
_PART = 200_000
_GAPS = " \n\t\u3001\u3002\uff0c"
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


class Subwords:
    """The tokens of a checkpoint's tokenizer, whole texts at a time. Safe to call from several threads.

    Attributes:
        size: number of token ids.
        special: bool[size], whether a token is none of the text ([CLS], [PAD], [UNK], ...): never a term.
        prefix, suffix: ids of the special tokens that stand around a text for the model.
        max_length: the longest input that the tokenizer's settings tell, or None.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_length: int | None = None) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.max_length = max_length
        self.size = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        self.special: NDArray[np.bool_] = np.zeros(self.size, dtype=bool)
        for number, token in tokenizer.get_added_tokens_decoder().items():
            self.special[number] = token.special
        unknown = getattr(tokenizer.model, "unk_token", None)
        unknown_id = None if unknown is None else tokenizer.token_to_id(unknown)
        if unknown_id is not None:
            self.special[unknown_id] = True
        self.prefix, self.suffix = self._surroundings()
        self._blank: dict[int, bool] = {}

    @classmethod
    def open(cls, folder: Path, *, lower_case: bool = False) -> Subwords:
        """Read the tokenizer in `folder`; with `lower_case` one that lower-cases texts, if it did not.

        Raises:
            CheckpointError: there is none, or it cannot be read.
            MissingExtraError: only transformers could read these files, and it is not installed.
        """
        if not any((folder / name).is_file() for name in TOKENIZER_FILES):
            raise CheckpointError(
                f"{folder} has no tokenizer", f"Put its tokenizer files ({TOKENIZER}) beside config.json"
            )
        from tokenizers import Tokenizer

        settings = _read_object(folder / "tokenizer_config.json")
        limit = settings.get("model_max_length")
        # Files that JSON calls valid make the library panic or fail in ways of its own.
        try:
            if (folder / TOKENIZER).is_file():
                tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
            else:
                tokenizer = _converted(folder)
            _mark_special(tokenizer, settings, _read_object(folder / "special_tokens_map.json"))
            if lower_case:
                _lower(tokenizer)
        except (CheckpointError, MissingExtraError):
            raise
        except Exception as error:
            raise CheckpointError(
                f"the tokenizer in {folder} cannot be read: {next(iter(str(error).splitlines()), '')}",
                "Download the checkpoint again",
            ) from error
        return cls(tokenizer, max_length=int(limit) if isinstance(limit, int | float) and limit < _NO_LIMIT else None)

    @cached_property
    def vocabulary_hash(self) -> str:
        """Hex SHA-256 over the tokens in the order of their ids: equal vocabularies, comparable vectors."""
        ids = self._tokenizer.get_vocab(with_added_tokens=True)
        lines = [f"{number} {token}\n" for token, number in sorted(ids.items(), key=lambda item: item[1])]
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def tokens_digest(self) -> str:
        """Hex digest of the tokens of fixed probes: the same files may give others with another tokenizers library."""
        return digest_of(" ".join(map(str, ids)) for ids in self.ids_of(TEXTS))

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text's tokens, special tokens left out of the surroundings, nothing cut."""
        ids: list[int] = self._tokenizer.encode(encodable(text), add_special_tokens=False).ids
        return ids

    def ids_of(self, texts: Sequence[str], most: int | None = None) -> list[list[int]]:
        """Return the same of many texts, on several threads; of each at least the first `most`, where no more are
        needed.
        """
        if most is not None:
            beginnings = [_beginning(text, most * _CHARACTERS_A_TOKEN) for text in texts]
            rows = self.ids_of(beginnings)
            # What a cut between words changes, if anything, lies near its end. A text of which so much has so few
            # tokens is looked at as a whole.
            short = [
                position
                for position, ids in enumerate(rows)
                if len(beginnings[position]) < len(texts[position]) and len(ids) < 2 * most
            ]
            for position, ids in zip(
                short, self.ids_of([texts[position] for position in short]) if short else [], strict=True
            ):
                rows[position] = ids
            return rows
        encoded = self._tokenizer.encode_batch_fast([encodable(text) for text in texts], add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def starts(self, text: str) -> NDArray[np.int64]:
        """Return where each token of a text begins, in characters, special ones within the text included; int64,
        ascending.

        Long texts are read in parts that end between words, so memory is that of a part.
        """
        pieces: list[NDArray[np.int64]] = []
        begin = 0
        while begin < len(text) or not pieces:
            part = _beginning(text[begin : begin + 2 * _PART], _PART)
            offsets = self._tokenizer.encode(encodable(part), add_special_tokens=False).offsets
            pieces.append(np.fromiter((start for start, _ in offsets), np.int64, len(offsets)) + begin)
            begin += max(len(part), 1)
        return np.maximum.accumulate(np.concatenate(pieces))

    def says_nothing(self, ids: Sequence[int]) -> bool:
        """Return whether none of a text's tokens is one of the text: all are special, or of white space alone."""
        return all(self._is_blank(number) for number in ids)

    def _is_blank(self, number: int) -> bool:
        blank = self._blank.get(number)
        if blank is None:
            blank = (
                bool(self.special[number]) or not self._tokenizer.decode([number], skip_special_tokens=False).strip()
            )
            self._blank[number] = blank
        return blank

    def text(self, term_id: int) -> str:
        """Return a token as the tokenizer writes it (`flow`, `##ing`); raises IndexError for an unknown id."""
        token = self._tokenizer.id_to_token(int(term_id)) if term_id >= 0 else None
        if token is None:
            raise IndexError(f"no term has the id {term_id}")
        return str(token)

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return the ids of tokens as `text` writes them, -1 for others and for special tokens."""
        known = self.ids_by_token
        return np.fromiter((known.get(term, -1) for term in terms), dtype=np.int32, count=len(terms))

    @cached_property
    def ids_by_token(self) -> dict[str, int]:
        """Every token that may be a term, with its id."""
        ids = self._tokenizer.get_vocab(with_added_tokens=True)
        return {token: number for token, number in ids.items() if not self.special[number]}

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        """Every token that is none of a text, with its id."""
        return {self.text(number): number for number in np.flatnonzero(self.special).tolist()}

    def spans(self, text: str) -> list[Span]:
        """Return the stretches of the whole text that are tokens, each with its token's id."""
        encoded: Encoding = self._tokenizer.encode(encodable(text), add_special_tokens=False)
        pairs = zip(encoded.offsets, encoded.ids, strict=True)
        return [(start, end, term) for (start, end), term in pairs if start < end and not self.special[term]]

    def for_pairs(self, max_length: int) -> Tokenizer:
        """Return a tokenizer of its own for pairs of texts, cut to `max_length` in all at the longer of the two."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self._tokenizer.to_str())
        tokenizer.enable_truncation(max_length, strategy="longest_first")
        return tokenizer

    def save(self, path: Path) -> None:
        """Write the tokenizer as one `tokenizer.json`."""
        self._tokenizer.save(str(path))

    def _surroundings(self) -> tuple[list[int], list[int]]:
        encoding = self._tokenizer.encode("a", add_special_tokens=True)
        inner = self._tokenizer.encode("a", add_special_tokens=False).ids
        for start in range(len(encoding.ids) - len(inner) + 1):
            if encoding.ids[start : start + len(inner)] == inner:
                return encoding.ids[:start], encoding.ids[start + len(inner) :]
        return [], []


def _beginning(text: str, most: int) -> str:
    """Return the text up to a gap between words before that many characters, or all of it."""
    if len(text) <= most:
        return text
    end = max(text.rfind(gap, most // 2, most) for gap in _GAPS)
    return text if end < 0 else text[:end]


def encodable(text: str) -> str:
    """Return the text with lone surrogates, which no tokenizer takes, replaced one for one."""
    return text if text.isascii() else _LONE_SURROGATES.sub("\ufffd", text)


def _lower(tokenizer: Tokenizer) -> None:
    """Let the tokenizer lower-case texts before all else it does to them; special tokens are found as they are."""
    from tokenizers import normalizers

    before = tokenizer.normalizer
    tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *([] if before is None else [before])])


def _mark_special(tokenizer: Tokenizer, *settings: dict[str, Any]) -> None:
    """Mark the tokens that the configuration calls special, where `tokenizer.json` itself does not."""
    from tokenizers import AddedToken

    known = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    for values in settings:
        names = [value for key, value in values.items() if key.endswith("_token")]
        names += [*(values.get("additional_special_tokens") or ())]
        for name in names:
            content = name.get("content") if isinstance(name, dict) else name
            if isinstance(content, str) and content not in known and tokenizer.token_to_id(content) is not None:
                tokenizer.add_special_tokens([AddedToken(content, special=True, normalized=False)])
                known.add(content)


def _converted(folder: Path) -> Tokenizer:
    """Make a tokenizer of older files by way of transformers."""
    with extra("neural", f"{folder} has no {TOKENIZER}, and making one of its other files"):
        import transformers
    loaded: Any = transformers.AutoTokenizer.from_pretrained(
        folder, use_fast=True, local_files_only=True, trust_remote_code=False
    )
    if not loaded.is_fast:
        raise CheckpointError(f"{folder} has no fast tokenizer", f"Its folder must hold {TOKENIZER}")
    tokenizer: Tokenizer = loaded.backend_tokenizer
    return tokenizer


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read: {error}", "Download the checkpoint again") from error
    return values if isinstance(values, dict) else {}
