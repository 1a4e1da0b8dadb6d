"""Corpora whose rows bring vectors: JSON Lines with a `vector` of tokens and weights, and `.npz` matrices.

Tokens become term ids of the collection's encoder, so these corpora are read only once a collection is `bound`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lexhound.encoders.base import SparseEncoder
from lexhound.encoders.errors import VectorFileError
from lexhound.encoders.vector_files import NPZ, read_npz, read_vector
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.encoded_document import EncodedDocument
from lexhound.retrieval.errors import CorpusError, InvalidDocumentError

from .base import BadRow, Corpus
from .jsonl import JsonLinesCorpus
from .rows import document_from_row
from .source import open_corpus


def open_vectors(
    source: str,
    *,
    format: str | None = None,
    id_field: str | None = None,
    text_field: str | None = None,
    title_field: str | None = None,
) -> Corpus:
    """Return the corpus of vectors at `source`: an `.npz` file, or JSON Lines in any form that `open_corpus` takes.

    Raises:
        CorpusError: it cannot be opened, or is of another format.
    """
    if source.endswith(NPZ) and format is None:
        if (id_field or text_field or title_field) is not None:
            raise CorpusError("a .npz file has no fields to choose from", where=source, hint="Leave out their names.")
        path = Path(source)
        if not path.is_file():
            raise CorpusError("no such file", where=source, hint="Check the path.")
        return NpzCorpus(path)
    corpus = open_corpus(source, format=format, id_field=id_field, text_field=text_field, title_field=title_field)
    if not isinstance(corpus, JsonLinesCorpus):
        raise CorpusError(
            "vectors are read from JSON Lines and .npz files",
            where=source,
            hint='Write {"id": ..., "vector": {token: weight}} a line, as `lexhound encode` does.',
        )
    return VectorLinesCorpus.like(corpus)


class VectorLinesCorpus(JsonLinesCorpus):
    """JSON Lines as for texts, with a `vector` in each row; the text may be missing, and is then empty."""

    brings_vectors = True
    _encoder: SparseEncoder | None = None

    @classmethod
    def like(cls, corpus: JsonLinesCorpus) -> VectorLinesCorpus:
        """Return the corpus of the same input."""
        return cls(corpus.name, corpus._open_stream, corpus.total_bytes, corpus._names)

    def bind(self, encoder: SparseEncoder | None) -> None:
        """See `Corpus.bind`."""
        self._encoder = _learned(encoder, self.name)

    def _document(self, row: dict[str, Any]) -> Document:
        vector = row.pop("vector", None)
        if all(row.get(name) is None for name in self._names.text):
            row[self._names.text[0]] = ""
        document = document_from_row(row, self._names)
        if self._encoder is None:
            raise InvalidDocumentError("vectors are read into a collection, which knows their terms")
        try:
            read, special = read_vector(vector, self._encoder, f"{document.id!r}")
        except VectorFileError as error:
            raise InvalidDocumentError(error.message, hint=f"{error.hint}.") from error
        self.special_weights += special
        return EncodedDocument(document, read)

    def __iter__(self) -> Iterator[Document | BadRow]:
        self.special_weights = 0
        yield from super().__iter__()


class NpzCorpus(Corpus):
    """The rows of a matrix, with their ids; documents without text. The whole matrix is in memory."""

    brings_vectors = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), unit="row")
        self._path = path
        self._bytes_read = 0
        self._encoder: SparseEncoder | None = None

    @property
    def total_bytes(self) -> int | None:
        return self._path.stat().st_size

    @property
    def bytes_read(self) -> int:
        """In proportion to the rows read."""
        return self._bytes_read

    def bind(self, encoder: SparseEncoder | None) -> None:
        """See `Corpus.bind`."""
        self._encoder = _learned(encoder, self.name)

    def __iter__(self) -> Iterator[Document | BadRow]:
        if self._encoder is None:
            raise CorpusError("vectors are read into a collection, which knows their terms", where=self.name)
        table = read_npz(self._path)
        identity = self._encoder.identity
        table.require(identity, where=self.name)
        if table.vectors.shape[1] != identity.vocabulary_size:
            raise CorpusError(
                f"the matrix has {table.vectors.shape[1]} columns and the encoder {identity.vocabulary_size} terms",
                where=self.name,
                hint="Encode the texts again.",
            )
        special = np.array(sorted(self._encoder.special_tokens.values()), np.int32)
        used = np.setdiff1d(table.vectors.indices, special).tolist()
        self.special_weights = int(np.count_nonzero(table.vectors.data[np.isin(table.vectors.indices, special)]))
        unknown = {
            term for term, term_again in zip(used, _lookup(self._encoder, used), strict=True) if term_again != term
        }
        ends = table.vectors.indptr.tolist()
        size = self._path.stat().st_size
        for row, identifier in enumerate(table.ids):
            self._line = row + 1
            self._raw = identifier.encode("utf-8", "replace")
            part = slice(ends[row], ends[row + 1])
            terms, weights = table.vectors.indices[part].astype(np.int32), table.vectors.data[part]
            wrong = unknown.intersection(terms.tolist())
            self._bytes_read = size * self._line // len(table.ids)
            if wrong:
                yield self.bad_row(f"the encoder has no term {min(wrong)}", "Give the encoder that made the file.")
                continue
            is_term = (weights > 0) & ~np.isin(terms, special)
            metadata = {} if table.places is None else table.places[row]._asdict()
            try:
                yield EncodedDocument(Document(identifier, "", metadata=metadata), (terms[is_term], weights[is_term]))
            except InvalidDocumentError as error:
                yield self.bad_row(error.message, error.hint or "")


def _lookup(encoder: SparseEncoder, terms: list[int]) -> list[int]:
    """Return each term's id again by way of its text; -1 where it is no term: a special token, an output without a
    token.
    """
    texts = []
    for term in terms:
        try:
            texts.append(encoder.term_text(term))
        except IndexError:
            texts.append("")
    return [int(term) for term in encoder.lookup(texts)]


def _learned(encoder: SparseEncoder | None, name: str) -> SparseEncoder:
    if encoder is None:
        raise CorpusError(
            "the collection's encoder is bm25, which counts the words of texts and takes no vectors",
            where=name,
            hint="Read it without --vectors, or make a collection of the encoder that made the vectors.",
        )
    return encoder
