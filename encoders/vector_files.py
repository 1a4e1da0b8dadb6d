"""Sparse vectors as files that other tools read too.

- JSON Lines: `{"id": ..., "vector": {token: weight}}`, a text a line, as Anserini, Seismic and LSR exchange them.
- `.npz`: one CSR matrix in the form of `scipy.sparse.save_npz`, with `ids`, and the encoder that made it. No pickle.

Both keep float32 weights exactly. A passage's vector stands with the text it is of, and with its place there.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from lexhound.core.field_names import DOCUMENT_ID, find_field
from lexhound.core.rows import BadRecord
from lexhound.core.rows import read_json_lines as read_rows
from lexhound.core.streams import open_input

from .base import EncoderIdentity, QueryVector
from .errors import VectorFileError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

JSON_LINES = (".jsonl", ".jsonl.zst")
NPZ = ".npz"

# What reading an archive raises that is damaged, wherever that is: a place before its start is an OSError.
_DAMAGED = (ValueError, KeyError, TypeError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)

Named = tuple[str, QueryVector]
"""An id and its vector."""


class Place(NamedTuple):
    """Where a passage is: its document, its number there from 0, and from where to where in the text, in characters."""

    document: str
    passage: int
    start: int
    end: int


class Terms(Protocol):
    """A translation between tokens and term ids: a `LearnedEncoder`, say."""

    def term_text(self, term_id: int) -> str: ...

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]: ...

    @property
    def special_tokens(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class Maker:
    """The maker of a file's vectors: its name, and hex digests of what determines them and of its vocabulary."""

    name: str
    fingerprint: str
    vocabulary: str

    @classmethod
    def of(cls, identity: EncoderIdentity) -> Maker:
        """Return what a file keeps of an encoder's identity."""
        return cls(identity.name, identity.fingerprint, identity.parts.get("vocabulary", ""))


@dataclass(frozen=True, slots=True, eq=False)
class VectorTable:
    """A `.npz` file's content: the id of each row, the rows (float32, indices sorted), their maker; of passages,
    where they are.
    """

    ids: list[str]
    vectors: csr_array
    maker: Maker
    places: list[Place] | None = None

    def require(self, identity: EncoderIdentity, where: str | None = None) -> None:
        """Raise VectorFileError unless that encoder made these vectors."""
        if self.maker.fingerprint != identity.fingerprint:
            raise VectorFileError(
                f"these vectors were made by {self.maker.name} ({self.maker.fingerprint}), not by {identity.name} "
                f"({identity.fingerprint})",
                "Encode the texts with the encoder that is to read them, with the same settings",
                where=where,
            )


def passage_id(document: str, number: int) -> str:
    """Return the id of a passage's vector; unique, as what follows the last # is the number."""
    return f"{document}#{number}"


def json_line(identifier: str, vector: QueryVector, terms: Terms, place: Place | None = None) -> bytes:
    """Return one line, its line break included; the heaviest term first, of equal weights the lower id.

    Weights are written with the fewest digits that give the same float32 back, also by way of a float64.
    """
    ids, weights = vector
    order = np.lexsort((ids, -weights))
    names = [terms.term_text(term) for term in ids[order].tolist()]
    values = dict(zip(names, weights[order], strict=True))
    if len(values) != len(ids):
        raise VectorFileError(f"the vector of {identifier!r} has a token twice", "Its tokenizer is damaged")
    option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    row = {"id": identifier} | ({} if place is None else place._asdict())
    line = orjson.dumps(row | {"vector": values}, option=option)
    reread_weights = np.fromiter(orjson.loads(line)["vector"].values(), dtype=np.float32, count=len(ids))
    if not np.array_equal(reread_weights, weights[order]):  # rounding twice can go wrong, if ever so seldom
        values = dict(zip(names, weights[order].tolist(), strict=True))
        line = orjson.dumps(row | {"vector": values}, option=option)
    return line


def compress(source: Path, target: Path) -> None:
    """Copy a file into a zstd-compressed one."""
    from zstandard import ZstdCompressor

    with source.open("rb") as plain, target.open("wb") as packed:
        ZstdCompressor().copy_stream(plain, packed)


def read_json_lines(path: Path, terms: Terms) -> Iterator[Named]:
    """Yield the ids and vectors of a file of JSON Lines, plain, `.gz` or `.zst`, one line at a time.

    The id is in `id`, `_id` or `docid` and may be a number; fields other than it and `vector` are passed over.
    Weights of 0 and those of special tokens are left out (`read_vector`). Ids may come more than once.

    Raises:
        VectorFileError: a line is not as it should be (its number is told), or the file is damaged or cannot be read.
    """

    def fault(message: str, where: str, hint: str) -> VectorFileError:
        return VectorFileError(message, hint.removesuffix("."), where=where)

    with open_input(path, str(path), fault) as stream:
        for record in read_rows(stream):
            where = f"{path}:{record.line}"
            if isinstance(record, BadRecord):
                raise VectorFileError(record.reason, 'Write {"id": ..., "vector": {...}} a line', where=where)
            yield _parse(record.values, where, terms)


def read_places(path: Path) -> list[Place] | None:
    """Return where the passages of a file of JSON Lines stand that `json_line` made; None where they are texts."""
    places = []
    with path.open("rb") as file:
        for line in file:
            row = orjson.loads(line)
            if "document" not in row:
                return None
            places.append(Place(row["document"], row["passage"], row["start"], row["end"]))
    return places


def write_npz(
    path: Path, ids: Sequence[str], vectors: csr_array, maker: Maker, places: Sequence[Place] | None = None
) -> None:
    """Write vectors as one matrix that `scipy.sparse.load_npz` reads, with `ids` and the `encoder` (JSON) beside it.

    Of passages, `document` (texts), `passage`, `start` and `end` (int64) stand beside them, too.

    Raises:
        VectorFileError: an id cannot be kept in an array, or ids and rows are not of one number; OSError.
    """
    if len(ids) != vectors.shape[0] or (places is not None and len(places) != len(ids)):
        raise VectorFileError(f"there are {len(ids)} ids for {vectors.shape[0]} vectors")
    for identifier in ids:
        if "\0" in identifier or not _encodable(identifier):
            raise VectorFileError(f"the id {identifier!r} cannot be kept in a .npz file", "Use another id, or .jsonl")
    encoder = json.dumps({"name": maker.name, "fingerprint": maker.fingerprint, "vocabulary": maker.vocabulary})
    columns: dict[str, NDArray[Any]] = {}
    if places is not None:
        columns["document"] = np.array([place.document for place in places] or [""], dtype=np.str_)[: len(places)]
        for position, name in enumerate(Place._fields[1:], 1):
            columns[name] = np.array([place[position] for place in places], dtype=np.int64)
    with path.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            **columns,
            format=np.array(b"csr"),
            shape=np.array(vectors.shape, dtype=np.int64),
            data=np.asarray(vectors.data, np.float32),
            indices=np.asarray(vectors.indices, np.int32),
            indptr=np.asarray(vectors.indptr, np.int64),
            ids=np.array(list(ids), dtype=np.str_) if ids else np.empty(0, dtype="<U1"),
            encoder=np.array(encoder),
        )


def read_npz(path: Path) -> VectorTable:
    """Read what `write_npz` wrote.

    Raises:
        VectorFileError: it is no such file, or damaged: a matrix that is none, weights that are not finite or below 0.
        OSError: the file cannot be read.
    """
    from scipy.sparse import csr_array

    with path.open("rb") as stream:
        try:
            with np.load(stream, allow_pickle=False) as file:
                rows, columns = (int(size) for size in file["shape"])
                shape = rows, columns
                indptr, indices = file["indptr"].astype(np.int64), file["indices"].astype(np.int32)
                data = file["data"].astype(np.float32)
                ids = [str(identifier) for identifier in file["ids"].tolist()]
                encoder = json.loads(str(file["encoder"]))
                places = None
                if "document" in file.files:
                    columns_of_places = [file[name].tolist() for name in Place._fields]
                    places = [Place(*values) for values in zip(*columns_of_places, strict=True)]
            maker = Maker(str(encoder["name"]), str(encoder["fingerprint"]), str(encoder["vocabulary"]))
            vectors = csr_array((data, indices, indptr), shape=shape)
            vectors.check_format(full_check=True)
        except _DAMAGED as error:
            raise VectorFileError(
                f"not a file of vectors: {error}", "Write it with lexhound encode", where=str(path)
            ) from error
    if len(ids) != shape[0] or (places is not None and len(places) != len(ids)):
        raise VectorFileError(f"{len(ids)} ids for {shape[0]} vectors", "Write it again", where=str(path))
    if not (np.isfinite(data) & (data >= 0)).all():
        raise VectorFileError("a weight is negative or no number", "Write it again", where=str(path))
    vectors.sort_indices()
    return VectorTable(ids, vectors, maker, places)


def stacked(vectors: Sequence[QueryVector], vocabulary_size: int) -> csr_array:
    """Return vectors as the rows of one float32 matrix, len(vectors) × vocabulary_size."""
    from scipy.sparse import csr_array

    indptr = np.concatenate(([0], np.cumsum([len(terms) for terms, _ in vectors], dtype=np.int64)))
    terms = np.concatenate([np.empty(0, np.int32), *(terms for terms, _ in vectors)])
    weights = np.concatenate([np.empty(0, np.float32), *(weights for _, weights in vectors)])
    return csr_array((weights, terms, indptr), shape=(len(vectors), vocabulary_size))


def _parse(values: dict[str, Any], where: str, terms: Terms) -> Named:
    name = find_field(values, DOCUMENT_ID)
    identifier = None if name is None else values[name]
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)
    if not isinstance(identifier, str) or not identifier:
        raise VectorFileError("there is no id", 'Give it as "id", a text', where=where)
    try:
        return identifier, read_vector(values.get("vector"), terms, repr(identifier))[0]
    except VectorFileError as error:
        raise VectorFileError(error.message, error.hint, where=where) from error


def read_vector(vector: object, terms: Terms, whose: str) -> tuple[QueryVector, int]:
    """Return what an object of tokens and weights says, and how many weights of special tokens it had.

    Those are left out, as other tools make them and no vector of ours has them; and so are weights of 0.

    Raises:
        VectorFileError: it is no such object, a weight is negative or not finite, or the encoder lacks a token.
    """
    if not isinstance(vector, dict):
        raise VectorFileError(f"{whose} has no vector", 'Give it as "vector", an object of tokens and weights')
    for token, weight in vector.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise VectorFileError(f"the weight of {token!r} is not a number", "Give a number of 0 or more")
    with np.errstate(over="ignore"):
        weights = np.array(list(vector.values()), dtype=np.float64).astype(np.float32)
    tokens = list(vector)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        token = tokens[int(wrong[0])]
        raise VectorFileError(f"the weight of {token!r} is {vector[token]!r}", "Weights are finite and 0 or more")
    ids = terms.lookup(tokens)
    unknown = [
        position for position in np.flatnonzero(ids < 0).tolist() if tokens[position] not in terms.special_tokens
    ]
    if unknown:
        raise VectorFileError(f"the encoder has no term {tokens[unknown[0]]!r}", "Give the encoder that made the file")
    special = int(np.count_nonzero(weights[ids < 0]))
    order = np.argsort(ids, kind="stable")
    order = order[(weights[order] > 0) & (ids[order] >= 0)]
    return (ids[order].astype(np.int32), weights[order]), special


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
