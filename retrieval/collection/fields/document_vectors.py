"""The vectors of documents: those that they bring, and those that the collection's encoders make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import part_of
from lexhound.retrieval.documents.document import Document
from lexhound.retrieval.documents.encoded_document import EncodedDocument
from lexhound.retrieval.errors import InvalidDocumentError

from .sparse_field import LearnedField, SparseField

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexhound.encoders.base import QueryVector, ShareDone
    from lexhound.encoders.late.vectors import TokenVectors

    from .dense_field import DenseField
    from .late_field import LateField

GROUP = 64
"""Documents that models encode together, at most: the same whatever the machine's speed, as the last bits of a vector
may depend on which texts are in a batch."""


class DocumentVectors(NamedTuple):
    """The vectors of some documents.

    Attributes:
        sparse: one row a document; dense: float32[n, width], None where the collection has none; tokens: those of each
            document's tokens, None likewise.
    """

    sparse: csr_array
    dense: NDArray[np.float32] | None = None
    tokens: Sequence[TokenVectors] | None = None


def vectors_of(
    sparse_field: SparseField,
    dense: DenseField | None,
    documents: Sequence[Document],
    progress: ShareDone | None = None,
    late: LateField | None = None,
) -> DocumentVectors:
    """Return the vectors of documents, sparse and, where the collection has them, dense and of tokens; of one pass
    where that can be.

    Models encode `GROUP` documents together, from the first on, whatever the number of documents.

    Raises:
        InvalidDocumentError: a document brings a vector that is none of the collection's encoder. EncoderError.
    """
    size = GROUP if dense is not None or isinstance(sparse_field, LearnedField) else len(documents)
    if len(documents) <= size:
        return _vectors_of_group(sparse_field, dense, documents, progress, late)
    parts = []
    for start in range(0, len(documents), size):
        group = documents[start : start + size]
        tell = part_of(progress, start / len(documents), (start + len(group)) / len(documents))
        parts.append(_vectors_of_group(sparse_field, dense, group, tell, late))
    from scipy.sparse import csr_array, vstack

    width = max(part.sparse.shape[1] for part in parts)  # a group of texts may bring terms that those before had not
    wide = [
        csr_array((own.data, own.indices, own.indptr), shape=(own.shape[0], width)) for own in (p.sparse for p in parts)
    ]
    rows = None if dense is None else np.concatenate([part.dense for part in parts if part.dense is not None])
    tokens = None if late is None else [own for part in parts for own in part.tokens or ()]
    return DocumentVectors(csr_array(vstack(wide, format="csr")), rows, tokens)


def _vectors_of_group(
    sparse_field: SparseField,
    dense: DenseField | None,
    documents: Sequence[Document],
    progress: ShareDone | None,
    late: LateField | None,
) -> DocumentVectors:
    texts = [document.encoded_text for document in documents]
    if any(isinstance(document, EncodedDocument) for document in documents):
        sparse = _with_given_vectors(sparse_field, documents)
        tokens = None if late is None else late.encode(texts).tokens
        return DocumentVectors(sparse, None if dense is None else dense.encode(texts, progress), tokens)
    if late is not None:
        return late.encode(texts, dense, progress)
    if dense is None:
        return DocumentVectors(sparse_field.encode(texts, progress))
    if isinstance(sparse_field, LearnedField):
        return DocumentVectors(*dense.encode_with(sparse_field.encoder, texts, progress))
    return DocumentVectors(sparse_field.encode(texts), dense.encode(texts, progress))


def _with_given_vectors(sparse_field: SparseField, documents: Sequence[Document]) -> csr_array:
    """Return the sparse vectors of documents of which some bring theirs."""
    from lexhound.encoders.vector_files import stacked

    if not isinstance(sparse_field, LearnedField):
        raise InvalidDocumentError(
            f"{documents[0].id!r} brings a vector, and the collection's encoder, bm25, counts words",
            hint="Give it as a text, or use a collection of a learned encoder.",
        )
    size = sparse_field.identity.vocabulary_size or 1
    plain = [document.encoded_text for document in documents if not isinstance(document, EncodedDocument)]
    made = sparse_field.encode(plain) if plain else None
    special = np.array(sorted(sparse_field.special_tokens.values()), np.int32)
    row = 0
    vectors: list[QueryVector] = []
    for document in documents:
        if isinstance(document, EncodedDocument):
            if len(document.terms) and int(document.terms[-1]) >= size:
                raise InvalidDocumentError(
                    f"the vector of {document.id!r} has the term {int(document.terms[-1])}, the encoder has {size}",
                    hint="Give vectors of the collection's encoder.",
                )
            terms_kept = ~np.isin(document.terms, special)
            vectors.append((document.terms[terms_kept], document.weights[terms_kept]))
        elif made is not None:
            entries = slice(int(made.indptr[row]), int(made.indptr[row + 1]))
            vectors.append((made.indices[entries].astype(np.int32), made.data[entries].astype(np.float32)))
            row += 1
    return stacked(vectors, size)
