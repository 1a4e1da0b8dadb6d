"""The encoders of a new collection, from what its maker named to fields that are ready to use."""

from __future__ import annotations

from lexhound.encoders.base import EncoderIdentity
from lexhound.retrieval.collection.fields.dense_field import DenseField
from lexhound.retrieval.collection.fields.opening import open_named
from lexhound.retrieval.collection.fields.sparse_field import LearnedField

from .settings import CollectionSettings


def open_chosen(
    settings: CollectionSettings, *, load_model: bool = True, keeps_dense: bool = True
) -> tuple[EncoderIdentity, LearnedField | None, DenseField | None]:
    """Return the sparse encoder's identity, its field (None for `bm25`) and the dense field, defaults filled in.

    Args:
        load_model: load a model of the document side alone too; keeps_dense: see `choose_encoders`.

    Raises:
        EncoderError: an encoder cannot be loaded.
    """
    chosen = settings.choose(keeps_dense=keeps_dense)
    identity, sparse = open_named(chosen.encoder, settings.lexical, settings.learned, load_model=load_model)
    dense = None if chosen.dense is None else DenseField.named(chosen.dense, settings.dense_field_settings())
    return identity, sparse, dense
