"""A query table's idf, brought up to date with the collection that is searched.

A table of idf weights says how rare its tokens were where the encoder was trained; a collection of its own subject has
other frequencies. The table counts as `prior` documents of evidence beside the collection's own n (the mean of the
posterior of a beta distribution, as in Bayesian smoothing):

    p_t = (df_t + prior · exp(-table_t)) / (n + prior)        weight_t = -ln p_t

With few documents the table speaks, with many the collection. df_t counts the documents whose vector holds the term,
expansions included; an encoder with surface-match ratios (`encoders.sparse.exact_terms`) multiplies it by them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Chosen on the train queries of SciFact and the dev queries of NFCorpus; 100 to 1,000 are about as good.
PRIOR = 500


def live_idf(
    table: NDArray[np.float32],
    frequencies: NDArray[np.int64] | NDArray[np.float64],
    n_documents: int,
    prior: int | NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the weights of terms, float32, >= 0.

    Args:
        table: float32[terms], what the encoder's table says of them, > 0.
        frequencies: int64 or, where they are estimated, float64[terms], how many of the `n_documents` documents hold
            each.
        prior: how many documents the table counts for, at least 1; of all terms, or int64[terms].
    """
    expected = prior * np.exp(-table.astype(np.float64))
    share = (frequencies + expected) / (n_documents + prior)
    # A term that every document holds says nothing; one that none holds weighs at most as much as the rarest.
    return np.asarray(-np.log(np.clip(share, 0.5 / (n_documents + prior), 1.0)), np.float32)
