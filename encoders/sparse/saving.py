"""Writing encoders as folders of sentence-transformers' SparseEncoder, which loads them, as this package does.

Both encoders alike: Transformer and SpladePooling at the top. A query encoder of its own: a Router, the document
encoder's model in one folder and the query encoder's model or table (SparseStaticEmbedding) in another.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexhound.core.atomic_files import make_directories, replace_directory
from lexhound.encoders.checkpoints.files import MODULES, OWN_FILE, read_object
from lexhound.encoders.checkpoints.hub import ADAPTER_WEIGHTS, CONFIG, SMALL_FILES, weight_files
from lexhound.encoders.checkpoints.modules import INPUT_CONFIG, ST_CONFIG
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.text.subwords import TOKENIZER, TOKENIZER_FILES

from .encoder import LearnedEncoder
from .layout import EncoderLayout
from .st_layout import ACTIVATION_OF, ROUTER_FILES

_TRANSFORMER = "sentence_transformers.base.modules.transformer.Transformer"
_ROUTER = "sentence_transformers.base.modules.router.Router"
_POOLING = "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling"
_TABLE = "sentence_transformers.sparse_encoder.modules.sparse_static_embedding.SparseStaticEmbedding"
_POOLER = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
_NORMALIZE = "sentence_transformers.sentence_transformer.modules.normalize.Normalize"
_AUTOENCODER = "sentence_transformers.sparse_encoder.modules.sparse_auto_encoder.SparseAutoEncoder"
_FEATURES = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
_FILL_MASK = {
    "transformer_task": "fill-mask",
    "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
    "module_output_name": "token_embeddings",
}
# A model's own files; what describes a whole encoder is written anew.
_MODEL_FILES = tuple(
    name
    for name in SMALL_FILES
    if not name.startswith(("modules", "router", "idf", "query_token", "config_s", "sentence_", "lexhound", "adapter"))
)


def save_encoder(encoder: LearnedEncoder, folder: Path) -> Path:
    """Write `encoder` as the new or empty folder `folder`, in the format of sentence-transformers; return it.

    A crash leaves the whole folder or nothing in it.

    Pruning and limits in `encoder.settings` are not part of that format: give them again where it is loaded.

    Raises:
        CheckpointError: something is in the folder, or the format cannot say what the encoder is: term weighting,
            CLS pooling, other activations than one or two logarithms, counted tables or such that leave common tokens
            out, boosts of exact terms, decoders, numbers of terms that differ between the encoders.
    """
    if folder.exists() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} is not empty", "Give a new folder")
    layout = encoder.layout
    document, query = (_overridden(encoder, encoder_layout) for encoder_layout in (layout.document, layout.query))
    for encoder_layout in (document, query):
        _check_writable(encoder_layout)
    if document.top_k != query.query_top_k:
        raise _unwritable("number of terms for documents or queries alone")
    make_directories(folder.parent)
    with replace_directory(folder) as aside:
        _write_encoder(encoder, document, query, aside)
    return folder


def _write_encoder(encoder: LearnedEncoder, document: EncoderLayout, query: EncoderLayout, folder: Path) -> None:
    prompts = {"document": document.prompt, "query": query.prompt}
    most = {} if document.top_k is None else {"max_active_dims": document.top_k}
    config = {"model_type": "SparseEncoder", "prompts": prompts, "similarity_fn_name": "dot", **most}
    _write(folder / ST_CONFIG, config)
    if document.kind == "autoencoder":
        modules = _save_autoencoder(encoder, document, folder)
    elif document.kind == "mlm" and document.folder == query.folder and document.kind == query.kind:
        _save_model(encoder, document, folder, _FILL_MASK)
        _save_pooling(document, folder / "1_SpladePooling")
        modules = [("", _TRANSFORMER), ("1_SpladePooling", _POOLING)]
    else:
        parts = {"document": _save_route(encoder, document, "document", folder)}
        parts["query"] = _save_route(encoder, query, "query", folder)
        values = {
            "types": {name: path for names in parts.values() for name, path in names},
            "structure": {route: [name for name, _ in parts[route]] for route in ("query", "document")},
            "parameters": {"default_route": "document", "allow_empty_key": True, "route_mappings": {}},
        }
        _write(folder / ROUTER_FILES[0], values)
        modules = [("", _ROUTER)]
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": kind} for number, (path, kind) in enumerate(modules)
    ]
    _write(folder / MODULES, listed)


def _overridden(encoder: LearnedEncoder, encoder_layout: EncoderLayout) -> EncoderLayout:
    settings = encoder.settings
    if encoder_layout.kind != "mlm":
        return encoder_layout
    return replace(
        encoder_layout,
        pooling=settings.pooling or encoder_layout.pooling,
        activation=settings.activation or encoder_layout.activation or "log1p_relu",
    )


def _check_writable(encoder_layout: EncoderLayout) -> None:
    wrong = None
    if encoder_layout.kind == "regression":
        wrong = "term weighting"
    elif encoder_layout.kind == "table":
        kinds = {
            "counted tables": encoder_layout.counted,
            "tables that leave common tokens out": encoder_layout.common,
            "tables of lower-cased texts": encoder_layout.lower_case,
        }
        wrong = next((kind for kind, unsupported in kinds.items() if unsupported), None)
    elif encoder_layout.echo or encoder_layout.adapter is not None:
        wrong = "decoders with echo, or adapters"
    elif encoder_layout.kind == "mlm" and encoder_layout.pooling == "cls":
        wrong = "CLS pooling"
    elif encoder_layout.exact_terms is not None:
        wrong = "boost of exact terms"
    elif encoder_layout.kind == "mlm" and encoder_layout.activation not in ACTIVATION_OF.values():
        wrong = f"the activation {encoder_layout.activation}"
    if wrong is not None:
        raise _unwritable(wrong)


def _unwritable(what: str) -> CheckpointError:
    return CheckpointError(
        f"the format of sentence-transformers has no {what}", f"Copy the folder with its {OWN_FILE} instead"
    )


def _save_route(
    encoder: LearnedEncoder, encoder_layout: EncoderLayout, route: str, folder: Path
) -> list[tuple[str, str]]:
    if encoder_layout.kind == "table":
        name = f"{route}_0_SparseStaticEmbedding"
        _save_table(encoder, encoder_layout, route, folder / name)
        return [(name, _TABLE)]
    names = f"{route}_0_Transformer", f"{route}_1_SpladePooling"
    _save_model(encoder, encoder_layout, folder / names[0], _FILL_MASK)
    _save_pooling(encoder_layout, folder / names[1])
    return [(names[0], _TRANSFORMER), (names[1], _POOLING)]


def _save_model(
    encoder: LearnedEncoder, encoder_layout: EncoderLayout, folder: Path, task: Mapping[str, object]
) -> None:
    """Write a model, its tokenizer, and how it takes texts: a task of sentence-transformers' Transformer."""
    source = encoder.layout.root / encoder_layout.folder
    folder.mkdir(exist_ok=True)
    names = [name for name in _MODEL_FILES if name not in ADAPTER_WEIGHTS and (source / name).is_file()]
    for name in [*names, *(path.name for path in weight_files(source))]:
        shutil.copyfile(source / name, folder / name)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        _save_tokenizer(encoder, "document", folder)
    input_config = {} if encoder_layout.max_length is None else {"max_seq_length": encoder_layout.max_length}
    if encoder_layout.lower_case:
        input_config["do_lower_case"] = True
    _write(folder / INPUT_CONFIG, {**task, **input_config})


def _save_autoencoder(encoder: LearnedEncoder, layout: EncoderLayout, folder: Path) -> list[tuple[str, str]]:
    """Write the modules of an autoencoder over a text's vector; return their folders and classes."""
    _save_model(encoder, layout, folder, _FEATURES)
    kinds = [_POOLER, *([_NORMALIZE] if layout.unit else []), _AUTOENCODER]
    names = [f"{number}_{kind.rpartition('.')[2]}" for number, kind in enumerate(kinds, 1)]
    for name in names:
        (folder / name).mkdir()
    source = encoder.layout.root / (layout.latents or "")
    width = read_object(source / CONFIG).get("input_dim")
    pooling = {"embedding_dimension": width, "pooling_mode": layout.pooling, "include_prompt": True}
    _write(folder / names[0] / CONFIG, pooling)
    for path in [source / CONFIG, *weight_files(source)]:
        shutil.copyfile(path, folder / names[-1] / path.name)
    return [("", _TRANSFORMER), *zip(names, kinds, strict=True)]


def _save_pooling(encoder_layout: EncoderLayout, pooling: Path) -> None:
    pooling.mkdir(exist_ok=True)
    inner = next(
        activation_name
        for activation_name, activation in ACTIVATION_OF.items()
        if activation == encoder_layout.activation
    )
    values = {"pooling_strategy": encoder_layout.pooling, "activation_function": inner, "embedding_dimension": None}
    _write(pooling / CONFIG, values)


def _save_table(encoder: LearnedEncoder, encoder_layout: EncoderLayout, route: str, folder: Path) -> None:
    from .static import read_weights

    folder.mkdir()
    subwords = encoder.subwords(route)
    weights = read_weights(encoder.layout.root / encoder_layout.folder, encoder_layout.weights, subwords)
    write_tensor(folder / "model.safetensors", weights)
    _write(folder / CONFIG, {"frozen": False})
    source = encoder.layout.root / encoder_layout.folder
    for name in (*TOKENIZER_FILES, "tokenizer_config.json", "special_tokens_map.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if not (folder / TOKENIZER).is_file():
        _save_tokenizer(encoder, route, folder)


def _save_tokenizer(encoder: LearnedEncoder, route: str, folder: Path) -> None:
    encoder.subwords(route).save(folder / TOKENIZER)


def write_tensor(path: Path, weights: NDArray[np.float32]) -> None:
    """Write a safetensors file with one tensor, `weight`."""
    data = np.ascontiguousarray(weights, dtype="<f4").tobytes()
    entry = {"dtype": "F32", "shape": [len(weights)], "data_offsets": [0, len(data)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "weight": entry}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def _write(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
