"""From a trained autoencoder to an encoder's folder."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from lexhound.core.atomic_files import make_directories, replace_directory
from lexhound.encoders.checkpoints.hub import CONFIG, SMALL_FILES, weight_files
from lexhound.encoders.dense.layout import DenseLayout
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.latent.autoencoder import Autoencoder, write_autoencoder
from lexhound.encoders.latent.names import write_words
from lexhound.encoders.latent.token_latents import LatentSaturation
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.folders import read_layout, write_own_layout
from lexhound.encoders.sparse.layout import EncoderLayout, Layout
from lexhound.encoders.sparse.live_idf import PRIOR
from lexhound.encoders.sparse.saving import save_encoder
from lexhound.encoders.text.subwords import TOKENIZER_FILES

from .description import LatentDescription
from .recipe import LatentsRecipe

_LATENTS = "latents"
_WHOLE_ENCODERS = ("modules", "router", "config_s", "lexhound")
_NOT_THE_MODELS = ("modules", "router", "idf", "query_token", "config_s", "sentence_", "lexhound", "adapter")


def export_latents(autoencoder: Autoencoder, model: DenseLayout, max_length: int, folder: Path) -> Path:
    """Write the frozen model and the autoencoder of its texts' vectors into the new or empty `folder`; return it.

    Args:
        model: what the frozen model's folder says; max_length: longest text in tokens.

    Raises:
        CheckpointError: something is in the folder.
    """
    with tempfile.TemporaryDirectory() as aside:
        root = Path(aside)
        _copy_model(model, root)
        write_autoencoder(autoencoder, root / _LATENTS)
        document = EncoderLayout(
            "autoencoder", pooling=model.pooling, latents=_LATENTS, unit=True, prompt=model.document_prompt,
            max_length=max_length, lower_case=model.lower_case,
        )  # fmt: skip
        write_own_layout(Layout(root, document, replace(document, prompt=model.query_prompt)))
        return save_encoder(LearnedEncoder(root), folder)


def export_latent_terms(
    description: LatentDescription, model: DenseLayout, max_length: int, latents: LatentsRecipe, folder: Path
) -> Path:
    """Write the frozen model and the autoencoder of its tokens' states into the new or empty `folder`; return it.

    sentence-transformers has no such encoder, so `lexhound_encoder.json` describes it.

    Args:
        model: what the frozen model's folder says; max_length: longest text in tokens.

    Raises:
        CheckpointError: something is in the folder.
    """
    if folder.exists() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} is not empty", "Give a new folder")
    document = EncoderLayout(
        "autoencoder", pooling="sum", latents=_LATENTS, max_length=max_length, lower_case=model.lower_case,
        saturation=LatentSaturation(round(description.length, 3)), top_k=latents.document_terms,
    )  # fmt: skip
    query = replace(document, saturation=None, top_k=None, query_top_k=latents.query_terms, prior=PRIOR)
    make_directories(folder.parent)
    with replace_directory(folder) as aside:
        _copy_model(model, aside)
        write_autoencoder(description.autoencoder, aside / _LATENTS)
        write_words(description.words, aside / _LATENTS)
        write_own_layout(Layout(aside, document, query))
    return folder


def export_beside_words(
    description: LatentDescription, model: DenseLayout, latents: LatentsRecipe, folder: Path
) -> Path:
    """Write the sparse encoder whose model was frozen, and the latents of its tokens beside its words, into the new or
    empty `folder`; return it.

    Raises:
        CheckpointError: something is in the folder; or as of `require_words`.
    """
    if folder.exists() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} is not empty", "Give a new folder")
    layout = require_words(model.root)
    document = replace(
        layout.document, latents=_LATENTS, latent_terms=latents.document_terms,
        saturation=LatentSaturation(round(description.length, 3)),
    )  # fmt: skip
    query = replace(
        layout.query, latents=_LATENTS, latent_terms=latents.query_terms, latent_weight=latents.weight,
        latent_prior=PRIOR,
    )  # fmt: skip
    make_directories(folder.parent)
    with replace_directory(folder) as aside:
        for part in {"", document.folder, query.folder}:
            (aside / part).mkdir(parents=True, exist_ok=True)
            for path in (model.root / part).iterdir():
                if path.is_file() and not path.name.startswith((*_WHOLE_ENCODERS, "README")):
                    shutil.copyfile(path, aside / part / path.name)
        write_autoencoder(description.autoencoder, aside / _LATENTS)
        write_words(description.words, aside / _LATENTS)
        write_own_layout(Layout(aside, document, query))
    return folder


def require_words(root: Path) -> Layout:
    """Return the layout of a sparse encoder that latents may stand beside.

    Raises:
        CheckpointError: the folder is none, or not of a masked language model and a table of idf.
    """
    advice = "Leave latents.words out, or start from a sparse encoder whose queries are a table, as lexhound-mini"
    try:
        layout = read_layout(root)
    except CheckpointError as error:
        raise CheckpointError(f"{root} has no words to keep beside latents: {error}", advice) from error
    if layout.document.kind != "mlm" or layout.query.kind != "table" or layout.query.weights is None:
        raise CheckpointError(
            f"{root} has no words to keep beside latents: it is no masked language model with a table for queries",
            advice,
        )
    if layout.document.latents is not None:
        raise CheckpointError(f"{root} has latents already", "Start from the encoder without them")
    return layout


def _copy_model(model: DenseLayout, root: Path) -> None:
    names = [name for name in SMALL_FILES if not name.startswith(_NOT_THE_MODELS)]
    sources = [model.transformer / name for name in names if (model.transformer / name).is_file()]
    if not any((model.transformer / name).is_file() for name in TOKENIZER_FILES):
        sources += [model.root / name for name in names if (model.root / name).is_file() and name != CONFIG]
    for path in [*sources, *weight_files(model.transformer)]:
        shutil.copyfile(path, root / path.name)
