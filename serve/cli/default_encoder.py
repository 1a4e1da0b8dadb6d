"""What `lexhound index` and `eval` say of the encoders that they take where none is named."""

from __future__ import annotations

from lexhound.encoders.bm25.encoder import KIND as BM25
from lexhound.retrieval.collection.default_encoders import NO_DENSE, ChosenEncoders

from .output import tell


def tell_default(chosen: ChosenEncoders) -> None:
    """Say which encoder was chosen, what it costs and what else there is; nothing where it was named."""
    if not chosen.is_default or chosen.encoder == BM25:
        return
    hybrid = " with dense vectors of the same pass, for hybrid searches" if chosen.dense == chosen.encoder else ""
    without = f"; --dense {NO_DENSE} saves their space" if hybrid else ""
    cheaper = f"--encoder {BM25} needs no model and indexes some fifty times as fast"
    tell(f"encoder {chosen.encoder}{hybrid}; {cheaper}{without}")
