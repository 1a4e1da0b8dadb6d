"""Protocols of every encoder, and the identity that ties vectors to the encoder that made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .errors import IdentityError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

QueryVector: TypeAlias = tuple[NDArray[np.int32], NDArray[np.float32]]
"""One sparse query: int32 term ids, ascending and unique, and their float32 weights > 0."""

Span: TypeAlias = tuple[int, int, int]
"""`(start, end, term_id)`: `text[start:end]` counts for that term."""

ShareDone: TypeAlias = Callable[[float], None]
"""Told the share of a call's work that is done, from 0 to 1 and by tokens, whenever a batch is finished."""

_REQUIRED = ("kind", "name", "fingerprint")


def part_of(progress: ShareDone | None, start: float, stop: float) -> ShareDone | None:
    """Return what tells the share of a part, which reaches from `start` to `stop` of the whole, as the whole's."""
    return None if progress is None else lambda share: progress(start + share * (stop - start))


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """The encoder that made a collection's vectors; stored beside them and compared before any are added.

    Attributes:
        kind: the family: `"bm25"`, or one of `lexhound.encoders.sparse.layout.FAMILIES`.
        name: what a person would call it: `"bm25"`, a folder, a hub name.
        fingerprint: hex digest of everything that determines the vectors. Two identities with the same
            fingerprint make interchangeable vectors wherever their files lie.
        vocabulary_size: number of term ids, or None where the vocabulary grows with the documents.
        settings: the options to rebuild the encoder with, values that JSON holds.
        revision: the commit of a model of the Hugging Face hub, where it is known.
        parts: hex digests of what the fingerprint is made of (`"vocabulary"`, `"document"`, `"query"`, `"stems"`), so
            that each can be checked by itself, when it is first used.
        libraries: versions of the libraries whose output is stored, by name; for telling, not part of the fingerprint.
    """

    kind: str
    name: str
    fingerprint: str
    vocabulary_size: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    revision: str | None = None
    parts: Mapping[str, str] = field(default_factory=dict, hash=False)
    libraries: Mapping[str, str] = field(default_factory=dict, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the identity as a plain dict that `from_dict` takes back."""
        values: dict[str, Any] = {
            "kind": self.kind,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "vocabulary_size": self.vocabulary_size,
            "settings": dict(self.settings),
        }
        if self.revision is not None:
            values["revision"] = self.revision
        if self.parts:
            values["parts"] = dict(self.parts)
        if self.libraries:
            values["libraries"] = dict(self.libraries)
        return values

    def to_json(self) -> str:
        """Return the identity as one line of JSON with sorted keys."""
        return json.dumps(self.as_dict(), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_dict(cls, values: object) -> EncoderIdentity:
        """Rebuild an identity from `as_dict()`; raises IdentityError naming the field that is wrong."""
        if not isinstance(values, Mapping):
            raise IdentityError(f"an encoder identity is an object, not {type(values).__name__}")
        for name in _REQUIRED:
            if not isinstance(values.get(name), str) or not values[name]:
                raise IdentityError(f"the encoder identity has no {name!r}, or it is not text")
        size = values.get("vocabulary_size")
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
            raise IdentityError(f"the encoder identity's 'vocabulary_size' is {size!r}, not a number above 0")
        settings = values.get("settings", {})
        if not isinstance(settings, Mapping):
            raise IdentityError("the encoder identity's 'settings' are not an object")
        parts, libraries, revision = values.get("parts", {}), values.get("libraries", {}), values.get("revision")
        for named, texts in (("parts", parts), ("libraries", libraries)):
            if not isinstance(texts, Mapping) or not all(isinstance(text, str) for text in texts.values()):
                raise IdentityError(f"the encoder identity's '{named}' are not an object of texts")
        if revision is not None and not isinstance(revision, str):
            raise IdentityError(f"the encoder identity's 'revision' is {revision!r}, not text")
        kind, name, fingerprint = (values[name] for name in _REQUIRED)
        return cls(kind, name, fingerprint, size, dict(settings), revision, dict(parts), dict(libraries))

    @classmethod
    def from_json(cls, text: str) -> EncoderIdentity:
        """Rebuild an identity from `to_json()`; raises IdentityError."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise IdentityError(f"the encoder identity is not JSON: {error}") from error
        return cls.from_dict(values)

    def same_vectors(self, other: EncoderIdentity) -> bool:
        """Return whether the two encoders' vectors may stand in one index (names and folders may differ)."""
        return self.fingerprint == other.fingerprint and self.kind == other.kind


def fingerprint_of(values: Mapping[str, Any]) -> str:
    """Return 32 hex digits of the SHA-256 of `values` as canonical JSON: the same on every machine."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


class LiveStatistics(Protocol):
    """Statistics of a collection's documents."""

    @property
    def n_documents(self) -> int: ...

    def document_frequencies(self, terms: NDArray[np.int32]) -> NDArray[np.int64]: ...


class DocumentReader(Protocol):
    """How a model reads a document; see `text.token_reader.TokenReader`."""

    @property
    def room(self) -> int | None: ...

    @property
    def around(self) -> int: ...

    @property
    def limit(self) -> int | None: ...

    @property
    def vocabulary(self) -> str: ...

    def starts(self, text: str) -> NDArray[np.int64]: ...

    def reads_all(self, text: str) -> bool: ...

    def cuts(self, text: str) -> bool: ...


@runtime_checkable
class Encoder(Protocol):
    """An encoder of any family, lexical or learned: its identity, and how its terms read."""

    @property
    def identity(self) -> EncoderIdentity:
        """The identity stored beside this encoder's vectors."""
        ...

    def term_text(self, term_id: int) -> str:
        """Return a term as text, for explanations; raises IndexError for an id outside the vocabulary."""
        ...

    def spans(self, text: str) -> list[Span]:
        """Return the stretches of `text` that count for a term, in order of their start.

        Offsets are characters of `text` as it was given. Spans may overlap (character bigrams), a stretch
        may occur once for each of several terms, and stretches that count for no known term are absent.
        """
        ...


@runtime_checkable
class SparseEncoder(Encoder, Protocol):
    """An encoder whose document vectors depend on nothing but the text."""

    @property
    def tokens_encoded(self) -> int:
        """How many tokens its models have read so far, for telling speed."""
        ...

    def encode_documents(self, texts: Sequence[str], progress: ShareDone | None = None) -> csr_array:
        """Return float32 vectors, len(texts) × vocabulary_size, indices sorted, weights > 0."""
        ...

    def document_reader(self) -> DocumentReader:
        """Return how its model reads a document; may load the model."""
        ...

    def query_reader(self) -> DocumentReader:
        """Return how a query is read; may load what encodes queries."""
        ...

    def encode_query(self, text: str, statistics: LiveStatistics | None = None) -> QueryVector:
        """Return one query's term ids and weights; `statistics` are of the collection that is searched."""
        ...

    def encode_queries(self, texts: Sequence[str], statistics: LiveStatistics | None = None) -> list[QueryVector]:
        """Return each query's term ids and weights, in the order given."""
        ...

    def lookup(self, terms: Sequence[str]) -> NDArray[np.int32]:
        """Return the ids of terms written as `term_text` writes them; int32, -1 for those it never would."""
        ...

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """The tokens that are never terms, as the tokenizer writes them, with their ids."""
        ...
