"""From a trained autoencoder to an encoder's folder, in the format of sentence-transformers."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from lexhound.encoders.checkpoints.hub import SMALL_FILES, weight_files
from lexhound.encoders.dense.layout import DenseLayout
from lexhound.encoders.latent.autoencoder import Autoencoder, write_autoencoder
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.folders import write_own_layout
from lexhound.encoders.sparse.layout import EncoderLayout, Layout
from lexhound.encoders.sparse.saving import save_encoder
from lexhound.encoders.text.subwords import TOKENIZER_FILES

_LATENTS = "latents"
_NOT_THE_MODELS = ("modules", "router", "idf", "query_token", "config_s", "sentence_", "lexhound", "adapter")


def export_latents(autoencoder: Autoencoder, model: DenseLayout, max_length: int, folder: Path) -> Path:
    """Write the frozen model and the autoencoder into the new or empty `folder`; return it.

    Args:
        model: what the frozen model's folder says; max_length: longest text in tokens.

    Raises:
        CheckpointError: something is in the folder.
    """
    with tempfile.TemporaryDirectory() as aside:
        root = Path(aside)
        names = [name for name in SMALL_FILES if not name.startswith(_NOT_THE_MODELS)]
        sources = [model.transformer / name for name in names if (model.transformer / name).is_file()]
        if not any((model.transformer / name).is_file() for name in TOKENIZER_FILES):
            sources += [model.root / name for name in names if (model.root / name).is_file() and name != "config.json"]
        for path in [*sources, *weight_files(model.transformer)]:
            shutil.copyfile(path, root / path.name)
        write_autoencoder(autoencoder, root / _LATENTS)
        document = EncoderLayout(
            "autoencoder", pooling=model.pooling, latents=_LATENTS, unit=True, prompt=model.document_prompt,
            max_length=max_length, lower_case=model.lower_case,
        )  # fmt: skip
        write_own_layout(Layout(root, document, replace(document, prompt=model.query_prompt)))
        return save_encoder(LearnedEncoder(root), folder)
