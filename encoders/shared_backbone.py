"""Sparse and dense vectors of one pass through a model, where both encoders of a collection are the same
transformer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.runtime.device import precision_name, runs_on_cpu
from lexhound.encoders.runtime.token_pooling import unit

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexhound.encoders.base import ShareDone
    from lexhound.encoders.dense.encoder import DenseEncoder
    from lexhound.encoders.sparse.encoder import LearnedEncoder


def shares_a_pass(sparse: LearnedEncoder, dense: DenseEncoder) -> bool:
    """Return whether one pass makes the vectors of both: the same files, read the same way. May load the models."""
    document, layout = sparse.layout.document, dense.layout
    if document.kind != "mlm" or document.echo or document.adapter is not None or document.prompt:
        return False
    if sparse.settings.long_texts != "truncate" or dense.pooling != "mean" or dense.prompt("document"):
        return False
    if layout.lower_case != document.lower_case or layout.dimensions is not None:
        return False
    if (sparse.layout.root / document.folder).resolve() != layout.transformer.resolve():
        return False
    ours, theirs = (
        ("cpu" if runs_on_cpu(each.device) else each.device, precision_name(each.precision))
        for each in (sparse.settings, dense.settings)
    )
    return ours == theirs and sparse.longest_document() == dense.limit("document")


def encode_both(
    sparse: LearnedEncoder, dense: DenseEncoder, texts: Sequence[str], progress: ShareDone | None = None
) -> tuple[csr_array, NDArray[np.float32]]:
    """Return both encoders' document vectors; only where `shares_a_pass`."""
    vectors, means = sparse.encode_documents_with_means(texts, progress)
    return vectors, dense_of_means(dense, means)


def dense_of_means(dense: DenseEncoder, means: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the dense encoder makes of the mean states of texts, float32[texts, width]."""
    return unit(means) if dense.normalise else means
