"""From trained weights to an encoder's folder, in the format of sentence-transformers."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class DocumentUse:
    """An exported encoder's treatment of documents; see `encoders.sparse.layout.EncoderLayout` for the values."""

    exact_terms: ExactTermBoost | None = None
    top_k: int | None = None
    dense: str | None = None


def export_encoder(
    model: TrainableEncoder,
    table: NDArray[np.float32] | None,
    folder: Path,
    *,
    half: bool = True,
    query: QueryRecipe | None = None,
    surface_match: NDArray[np.float32] | None = None,
    document: DocumentUse | None = None,
) -> Path:
    """Write the document encoder, and the query table if there is one, into the new or empty `folder`; return it.

    What sentence-transformers cannot read of `query`, `surface_match` and `document` stands in files beside its own.

    Args:
        table: float32[vocabulary], the weights of queries; None where the model reads queries too.
        query: how the table is used (`counted`, `power`, `common`, `prior`); as it stands by default.
        surface_match: float32[vocabulary], see `lexhound.encoders.sparse.exact_terms`.
        document: how documents are encoded in use.
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
    use = document or DocumentUse()
    changed = replace(
        layout, document=replace(layout.document, exact_terms=use.exact_terms, top_k=use.top_k, dense=use.dense)
    )
    if table is not None and query is not None:
        changed = replace(
            changed,
            query=replace(
                layout.query,
                counted=query.counted,
                power=query.power,
                common=query.common,
                prior=query.prior,
                surface_match=surface_match is not None,
            ),
        )
        if surface_match is not None:
            write_tensor(folder / layout.query.folder / SURFACE_MATCH_FILE, surface_match)
    if changed != layout:
        write_own_layout(changed)
    return folder
