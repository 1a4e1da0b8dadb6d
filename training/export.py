"""From trained weights to an encoder's folder, in the format of sentence-transformers."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.checkpoints.hub import SURFACE_MATCH_FILE
from lexhound.encoders.checkpoints.loading import quiet
from lexhound.encoders.errors import TrainingError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.exact_terms import ExactTermBoost
from lexhound.encoders.sparse.folders import read_layout, write_own_layout
from lexhound.encoders.sparse.saving import save_encoder, write_tensor
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.encoders.text.subwords import TOKENIZER

from .model import TrainableEncoder
from .recipe import QueryRecipe

_CONFIG = "config.json"


def export_encoder(
    model: TrainableEncoder,
    table: NDArray[np.float32] | None,
    folder: Path,
    *,
    half: bool = True,
    query: QueryRecipe | None = None,
    written: ExactTermBoost | None = None,
    shares: NDArray[np.float32] | None = None,
    top_k: int | None = None,
    dense: str | None = None,
) -> Path:
    """Write the document side, and the query table if there is one, into the new or empty folder `folder`; return it.

    Args:
        table: float32[vocabulary], the query side's weights; None where the model reads queries too.
        query: how the table is used (`counted`, `power`, `common`, `prior`); as it stands by default.
        shares: float32[vocabulary], see `lexhound.encoders.sparse.exact_terms`.
        written, top_k, dense: see `encoders.sparse.layout.EncoderLayout`. What sentence-transformers cannot read
            of these stands in files beside its own.
        half: store the model's weights in 16 bits, half the bytes; they are read as 32 bits again.

    Raises:
        TrainingError: something is in the folder.
        CheckpointError: see `save_encoder`.
    """
    if folder.exists() and any(folder.iterdir()):
        raise TrainingError(f"{folder} is not empty", "Give a new folder")
    with tempfile.TemporaryDirectory() as aside:
        plain = Path(aside)
        # A copy of the whole, so that weights that are tied stay so, and are written once.
        network = copy.deepcopy(model.network).half() if half else model.network
        with quiet():
            network.save_pretrained(plain)
        config = json.loads((plain / _CONFIG).read_bytes())
        # Else libraries would compute in 16 bits too, which a CPU does slowly or not at all.
        config.pop("torch_dtype", None)
        config["dtype"] = "float32"
        (plain / _CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        model.subwords.save(plain / TOKENIZER)
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            source = model.folder / name
            if source.is_file():
                shutil.copyfile(source, plain / name)
        if table is not None:
            tokens = {model.subwords.text(term): float(table[term]) for term in np.flatnonzero(table > 0).tolist()}
            (plain / "idf.json").write_text(json.dumps(tokens, ensure_ascii=False), encoding="utf-8")
        settings = LearnedSettings(pooling="max", activation=model.settings.activation)
        save_encoder(LearnedEncoder(plain, settings), folder)
    layout = read_layout(folder)
    document = replace(layout.document, written=written, top_k=top_k, dense=dense)
    asked = layout.query
    if table is not None and query is not None:
        asked = replace(
            asked,
            counted=query.counted,
            power=query.power,
            common=query.common,
            prior=query.prior,
            shares=shares is not None,
        )
        if shares is not None:
            write_tensor(folder / asked.folder / SURFACE_MATCH_FILE, shares)
    if (document, asked) != (layout.document, layout.query):
        write_own_layout(replace(layout, document=document, query=asked))
    return folder
