"""Surface-match ratios of a model's terms (`encoders.sparse.exact_terms`), measured over documents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.sparse.exact_terms import ExactTermBoost, surface_match_ratios
from lexhound.encoders.sparse.pruning import prune

from .model import TrainableEncoder

_CHUNK = 256  # documents, so that no more vectors are in memory at once


def measure_surface_match(
    model: TrainableEncoder,
    token_ids: list[NDArray[np.int32]],
    boost: ExactTermBoost | None,
    top_k: int | None,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Encode documents as they will be in use, and return each term's surface-match ratio, float32[vocabulary].

    Args:
        token_ids: the documents' tokens, as `TrainableEncoder.token_ids` makes them.
        boost, top_k: of the encoder that is made.
        progress: called with the number of documents done.
    """
    holding = np.zeros(model.vocabulary_size, np.int64)
    containing = np.zeros(model.vocabulary_size, np.int64)
    for start in range(0, len(token_ids), _CHUNK):
        chunk = token_ids[start : start + _CHUNK]
        vectors = model.encode(chunk)
        for row, text_ids in enumerate(chunk):
            containing[np.unique(text_ids)] += 1
            bounds = slice(vectors.indptr[row], vectors.indptr[row + 1])
            vector = vectors.indices[bounds].astype(np.int32), vectors.data[bounds].astype(np.float32)
            holding[prune(*(vector if boost is None else boost.added(vector, text_ids)), top_k, 0.0)[0]] += 1
        if progress is not None:
            progress(start + len(chunk))
    return surface_match_ratios(containing, holding)
