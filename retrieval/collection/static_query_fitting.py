"""Fitting static query embeddings to a collection's own documents, whose vectors it has: nothing is encoded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.core.progress import OnStep, Stage
from lexhound.retrieval.collection.fields.static_queries import keep_table
from lexhound.retrieval.collection.query.documents import passage_at, read_documents, read_passages
from lexhound.retrieval.collection.query.snapshot import SegmentView, Snapshot
from lexhound.retrieval.collection.store.segment import read_all
from lexhound.retrieval.documents.passages import encoded_text
from lexhound.retrieval.errors import QueryError

if TYPE_CHECKING:
    from lexhound.encoders.dense.static_queries import StaticQueryEmbeddings
    from lexhound.retrieval.collection.fields.dense_field import DenseField
    from lexhound.retrieval.collection.fields.sparse_field import SparseField

DOCUMENTS = 20_000
"""How many documents a table is fitted to, at most."""

_ROWS_AT_ONCE = 1024


def fit_and_keep(
    directory: Path,
    snapshot: Snapshot,
    fields: tuple[SparseField, DenseField],
    documents: int | None = None,
    progress: OnStep | None = None,
) -> StaticQueryEmbeddings:
    """Fit a table to a snapshot's documents, whose files are checked first, and keep it in the collection.

    Raises:
        CorruptCollectionError: a file is damaged. StorageFullError, ReadOnlyError: the table cannot be written; and as
        `fit_to_documents`.
    """
    sparse, dense = fields
    read_all(directory, [view.segment for view in snapshot.segments], sparse.name, progress)
    table = fit_to_documents(snapshot, dense, DOCUMENTS if documents is None else documents, progress=progress)
    keep_table(directory, table)
    return table


def fit_to_documents(
    snapshot: Snapshot, dense: DenseField, documents: int, seed: int = 0, progress: OnStep | None = None
) -> StaticQueryEmbeddings:
    """Fit a table of static query embeddings to `documents` of a snapshot at most, drawn at random by `seed`.

    `progress` is told of the stages.

    Raises:
        QueryError: there are too few documents. EncoderError: the model cannot be opened, or makes no unit vectors.
    """
    from lexhound.encoders.dense.static_queries import fit
    from lexhound.encoders.errors import SettingsError

    pool = np.concatenate([np.empty((0, 2), np.int64), *(_live_rows(*each) for each in enumerate(snapshot.segments))])
    if len(pool) > documents:
        pool = pool[np.sort(np.random.default_rng(seed).choice(len(pool), documents, replace=False))]
    stage = Stage(progress, "reading documents", len(pool))
    texts: list[str] = []
    vectors = [np.empty((0, dense.width), np.float32)]
    for number, view in enumerate(snapshot.segments):
        rows = pool[pool[:, 0] == number, 1]
        if not len(rows) or view.segment.dense is None:
            continue
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
            internal_ids = view.segment.documents_of(some).tolist()
            read = read_documents(snapshot, list(dict.fromkeys(internal_ids)))
            spans = read_passages(snapshot, internal_ids) if snapshot.has_passages else {}
            for row, seq in zip(some.tolist(), internal_ids, strict=True):
                passage = passage_at(read[seq], view.segment.passage_of(row), spans.get(seq))
                texts.append(encoded_text(read[seq], passage))
            vectors.append(view.segment.dense.vectors_of(some))
            stage.add(len(some))
    try:
        return fit(dense.encoder, texts, np.concatenate(vectors), progress=progress)
    except SettingsError as error:
        raise QueryError(f"no table of dense queries can be made: {error.message}", hint=error.hint) from error


def _live_rows(number: int, view: SegmentView) -> NDArray[np.int64]:
    """Return int64[n, 2]: the number of a segment and its live rows."""
    rows = np.arange(view.segment.n_rows) if view.live is None else np.flatnonzero(view.live)
    return np.stack([np.full(len(rows), number), rows], axis=1)
