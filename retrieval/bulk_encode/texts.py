"""Texts as the lines of a file of vectors: a line each, or a line a passage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lexhound.encoders.base import QueryVector, ShareDone
from lexhound.encoders.errors import SettingsError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.vector_files import Place, json_line, passage_id
from lexhound.retrieval.collection.fields.sparse_field import LearnedField
from lexhound.retrieval.collection.fields.splitter import SplitDocument, Splitter
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.passages import PassageSettings


class EncodedTexts:
    """What splits texts as a collection does, and encodes them.

    Args:
        passages: how long texts are split; None for one vector a text.
        queries: the texts are queries, which are never split.

    Raises:
        SettingsError: passages are longer than the model reads, or queries are to be split.
    """

    def __init__(self, encoder: LearnedEncoder, passages: PassageSettings | None, *, queries: bool = False) -> None:
        if queries and passages is not None:
            raise SettingsError("queries are not split into passages", "Leave the passages out")
        self.encoder = encoder
        self._queries = queries
        self._splitter = Splitter(passages, LearnedField(encoder), None)
        if passages is not None:
            self._splitter.check()

    def lines(
        self, group: Sequence[Document], progress: ShareDone | None = None
    ) -> Iterator[tuple[Document, list[bytes], bool]]:
        """Yield each text with the lines of its vectors, and whether a part of it is in none of them."""
        split = self._split(group)
        vectors = iter(self._encode([piece.encoded_text for each in split for piece in each.pieces], progress))
        for document, each in zip(group, split, strict=True):
            own = [self._line(document, each, number, next(vectors)) for number in range(len(each.pieces))]
            yield document, own, each.cut

    def _split(self, group: Sequence[Document]) -> list[SplitDocument]:
        if not self._queries:
            return self._splitter.split(group)
        reader = self.encoder.query_reader()
        return [SplitDocument([query], cut=reader.cuts(query.encoded_text)) for query in group]

    def _encode(self, texts: Sequence[str], progress: ShareDone | None) -> list[QueryVector]:
        if self._queries:
            return self.encoder.encode_queries(texts)
        rows = self.encoder.encode_documents(texts, progress)
        bounds = zip(rows.indptr[:-1].tolist(), rows.indptr[1:].tolist(), strict=True)
        return [(rows.indices[start:end].astype(np.int32), rows.data[start:end]) for start, end in bounds]

    def _line(self, document: Document, split: SplitDocument, number: int, vector: QueryVector) -> bytes:
        if self._splitter.settings is None:
            return json_line(document.id, vector, self.encoder)
        start, end = split.spans[number] if split.spans else (0, len(document.text))
        place = Place(document.id, number, start, end)
        return json_line(passage_id(document.id, number), vector, self.encoder, place)
