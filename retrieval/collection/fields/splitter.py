"""Documents split into what the collection's encoders read: whole, or passage by passage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.errors import SettingsError
from lexhound.retrieval.documents.document import Document, has_words
from lexhound.retrieval.documents.encoded_document import EncodedDocument
from lexhound.retrieval.documents.passages import PassageSettings
from lexhound.retrieval.documents.splitting import Span, split_text

from .sparse_field import LearnedField, SparseField

if TYPE_CHECKING:
    from lexhound.encoders.base import DocumentReader

    from .dense_field import DenseField

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True, eq=False)
class SplitDocument:
    """A document as encoders are given it.

    Attributes:
        pieces: what is encoded, one a row of the index: the document itself, or its passages, each under its title.
        spans: where the passages begin and end in the text, in characters; none for a document that is not split.
        cut: whether an encoder leaves out a part of a piece.
    """

    pieces: Sequence[Document]
    spans: tuple[Span, ...] = ()
    cut: bool = False


class Splitter:
    """What splits the documents of one collection; loads its models' tokenizers when it is first used.

    Args:
        settings: how long a passage is; None where documents are not split, and only told to be cut.
    """

    def __init__(self, settings: PassageSettings | None, sparse: SparseField | None, dense: DenseField | None) -> None:
        self.settings = settings
        self._sparse = sparse
        self._dense = dense

    def check(self) -> None:
        """Refuse passages that are longer than a model reads; loads the models.

        Raises:
            SettingsError: they are.
        """
        for reader in self._readers:
            if self.settings is not None and reader.limit is not None and self.settings.tokens > reader.limit:
                raise SettingsError(
                    f"passages of {self.settings.tokens:,} tokens are too long: the model reads {reader.limit:,}",
                    f"Ask for {reader.limit} at most, or for none",
                )

    def split(self, documents: Sequence[Document]) -> list[SplitDocument]:
        """Return each document with what is encoded of it. One that brings its vector is whole."""
        return [
            SplitDocument([document]) if isinstance(document, EncodedDocument) else self._split(document)
            for document in documents
        ]

    def spans(self, document: Document) -> Sequence[Span]:
        """Return where the passages of a document would begin and end; nothing where it stays whole."""
        return self.split([document])[0].spans

    def split_at(self, document: Document, spans: Sequence[Span], *, cut: bool = False) -> SplitDocument:
        """Return a document that was split before as it was; `cut` tells what the result is to tell."""
        if not spans:
            again = self.split([document])[0] if cut else SplitDocument([document])  # its title may be shortened
            return SplitDocument(again.pieces if len(again.pieces) == 1 else [document], cut=cut)
        title = document.title
        if self.settings is None or len(title) > self.settings.tokens // 4:  # it may be shortened over passages
            title = self.split([document])[0].pieces[0].title
        pieces = [Document(document.id, document.text[begin:end], title) for begin, end in spans]
        return SplitDocument(pieces, tuple(spans), cut)

    @cached_property
    def _readers(self) -> list[DocumentReader]:
        """The models' ways of reading; of one model that makes both vectors, once."""
        readers: list[DocumentReader] = []
        if isinstance(self._sparse, LearnedField):
            readers.append(self._sparse.encoder.document_reader())
        if self._dense is not None:
            other = self._dense.document_reader()
            same = [
                each
                for each in readers
                if (each.room, each.around) == (other.room, other.around) and each.vocabulary == other.vocabulary
            ]
            readers += [] if same else [other]
        return readers

    def _split(self, document: Document) -> SplitDocument:
        if not has_words(document):
            return SplitDocument([document])  # passages of it would all be empty
        settings, readers = self.settings, self._readers
        if settings is None:
            return SplitDocument([document], cut=any(each.cuts(document.encoded_text) for each in readers))
        if not readers:
            starts_of_words = _word_starts(document.encoded_text)
            if len(starts_of_words) <= settings.whole:
                return SplitDocument([document])
            return self._passages(document, starts_of_words, settings.tokens, settings)
        size = min(settings.tokens, *(each.limit or settings.tokens for each in readers), settings.tokens)
        if all(4 * len(document.encoded_text) <= size - each.around for each in readers):
            return SplitDocument([document])
        starts = [each.starts(document.encoded_text) for each in readers]
        whole = min(settings.whole, *(each.limit or settings.whole for each in readers), settings.whole)
        if all(len(own) + each.around <= whole for own, each in zip(starts, readers, strict=True)):
            return SplitDocument([document])
        finest = int(np.argmax([len(own) + each.around for own, each in zip(starts, readers, strict=True)]))
        split = self._passages(document, starts[finest], size - readers[finest].around, settings)
        if split.cut or len(readers) == 1:
            return split
        others = [each for number, each in enumerate(readers) if number != finest]
        cut = any(each.cuts(piece.encoded_text) for each in others for piece in split.pieces)
        return SplitDocument(split.pieces, split.spans, cut)

    def _passages(
        self, document: Document, starts: NDArray[np.int64], room: int, settings: PassageSettings
    ) -> SplitDocument:
        """Return a document in passages of `room` tokens; `starts` are of its `encoded_text`."""
        if len(starts) <= room:
            return SplitDocument([document])
        title = document.title
        before = len(document.encoded_text) - len(document.text)
        of_title = int(np.searchsorted(starts, before))
        cut = of_title > room // 2
        if cut:  # a title that is longer than that is none: passages have its beginning
            of_title = room // 4
            title = document.title[: int(starts[of_title])].rstrip()
        left = room - of_title
        own = starts[np.searchsorted(starts, before) :] - before
        spans = split_text(document.text, own, left, min(settings.overlap, left // 2))
        pieces = [Document(document.id, document.text[begin:end], title) for begin, end in spans]
        return SplitDocument(pieces, tuple(spans) if len(spans) > 1 else (), cut)


def _word_starts(text: str) -> NDArray[np.int64]:
    return np.fromiter((match.start() for match in _WORD.finditer(text)), np.int64)
