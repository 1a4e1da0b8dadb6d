"""From stored vectors to impacts: weights of a learned encoder as they are, term frequencies of bm25 by its formula."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.index.inverted.quantization import exact_scale, quantise_weights
from lexhound.index.inverted.scales import choose_scale, ranges_from
from lexhound.retrieval.engines.engine import SparseVector

if TYPE_CHECKING:
    from lexhound.encoders.bm25.encoder import LexicalEncoder


@dataclass(frozen=True, slots=True)
class ImpactWeights:
    """How the vectors of an index became impacts; fixed when it is built, as in a collection of our own built at once.

    Attributes:
        scale: the weight of an impact of 1.
        average_length: mean words a document; 1 where there are no lengths.
        lexical: bm25, where stored values are term frequencies; None for learned encoders.
    """

    scale: float
    average_length: float
    lexical: LexicalEncoder | None

    @classmethod
    def of(cls, vectors: Iterable[SparseVector], lexical: LexicalEncoder | None) -> ImpactWeights:
        """Return the one of all vectors of a collection, which are read once."""
        greatest, totals, counts = array("d"), array("d"), array("q")
        for _, values in vectors:
            greatest.append(float(values.max()) if len(values) else 0.0)
            totals.append(float(values.sum(dtype=np.float64)))
            counts.append(len(values))
        documents, words = len(counts), sum(totals)
        if lexical is not None:  # whatever the settings, weights lie below 1
            return cls(exact_scale(1 / 255), words / documents if words else 1.0, lexical)
        ranges = ranges_from(np.array(greatest), np.array(totals), np.array(counts, np.int64))
        return cls(math.ldexp(1.0, choose_scale(ranges)), 1.0, None)

    def impacts(self, vectors: Sequence[SparseVector]) -> NDArray[np.uint8]:
        """Return the impact of each term of some documents, 1 to 255, one document behind the other."""
        values = np.concatenate([np.empty(0, np.float32), *(values for _, values in vectors)])
        if self.lexical is not None:
            lengths = [values.sum(dtype=np.float32) for _, values in vectors]
            repeated = np.repeat(np.array(lengths, np.float32), [len(values) for _, values in vectors])
            values = self.lexical.compute_weights(values, repeated, self.average_length)
        return quantise_weights(values, self.scale)
