"""Folders of sentence-transformers' SparseEncoder: which modules make the document encoder and which the query encoder.

`modules.json` lists modules in order. Either they are a masked language model and a SpladePooling, for both encoders;
or a transformer, a Pooling and a SparseAutoEncoder, for both; or a Router (called Asym once), whose
`router_config.json` (`config.json` once) lists the modules of each role.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lexhound.encoders.checkpoints.files import MODULES, inside, read_json, read_object
from lexhound.encoders.checkpoints.hub import CONFIG
from lexhound.encoders.checkpoints.modules import (
    DENSE_TASK,
    SPARSE_TASK,
    ST_CONFIG,
    ModelConfig,
    check_normalize,
    class_name,
    folders_of,
    listed_modules,
    read_input_config,
    read_model_config,
    read_pooling,
)
from lexhound.encoders.errors import CheckpointError

from .layout import EncoderLayout, Layout

ROUTER_FILES = ("router_config.json", CONFIG)
# SpladePooling's name of what it applies before its own log1p -> ours of the whole.
ACTIVATION_OF = {"relu": "log1p_relu", "log1p_relu": "log1p_log1p_relu"}
_OLD_MODEL = "MLMTransformer"
_MODELS = ("Transformer", _OLD_MODEL)
_ROUTERS = ("Router", "Asym")
_AUTOENCODER = "SparseAutoEncoder"


def read_modules(root: Path) -> Layout:
    """Tell the two encoders of a SparseEncoder's folder; raises CheckpointError where they are none of ours."""
    path = root / MODULES
    modules = listed_modules(path, read_json(path))
    config = read_model_config(root)
    if config.similarity not in (None, "dot"):
        raise CheckpointError(
            f"{root / ST_CONFIG}: similarity_fn_name is {config.similarity!r}, and sparse vectors are compared by "
            "inner product here",
            "Where that will do, write dot there",
        )
    if len(modules) == 1 and modules[0][0] in _ROUTERS:
        return _routed(root, inside(root, modules[0][1], path), config)
    document, query = (_layout_of(root, path, modules, role) for role in ("document", "query"))
    return _layout(root, document, query, config)


def _layout(root: Path, document: EncoderLayout, query: EncoderLayout, config: ModelConfig) -> Layout:
    """Return two layouts with what the folder says of both, and as earlier versions read them."""
    most = config.max_active_dims
    document = replace(document, prompt=config.document_prompt, top_k=most, query_top_k=most)
    query = replace(query, prompt=config.query_prompt, top_k=most, query_top_k=most)
    layout = Layout(root, document, query)
    old = {"top_k": None, "query_top_k": None, "lower_case": False}
    before = Layout(root, replace(document, **old), replace(query, **old))  # type: ignore[arg-type]
    return layout if before == layout else replace(layout, before=before)


def _routed(root: Path, folder: str, config: ModelConfig) -> Layout:
    paths = [root / folder / name for name in ROUTER_FILES if (root / folder / name).is_file()]
    path = paths[0] if paths else root / folder / ROUTER_FILES[0]
    values: Any = read_json(path)
    try:
        types, structure = values["types"], values["structure"]
        routes = {
            name: [(class_name(path, types[part]), str(Path(folder) / part)) for part in parts]
            for name, parts in structure.items()
        }
        mappings = dict((values.get("parameters") or {}).get("route_mappings") or {})
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{path} does not say which modules each route has", "Download it again") from error
    document, query = (
        _layout_of(root, path, routes[_route(path, routes, mappings, role)], role) for role in ("document", "query")
    )
    return _layout(root, document, query, config)


def _route(path: Path, routes: Mapping[str, Any], mappings: Mapping[str, str], role: str) -> str:
    """Return the route of a role's texts: a rule for both, for the role, for texts, for all; else one of either
    name.
    """
    routes_by_rule: dict[object, str] = {}
    for rule, target in mappings.items():
        try:
            routes_by_rule[ast.literal_eval(rule)] = target
        except (ValueError, SyntaxError, TypeError) as error:
            raise CheckpointError(f"{path}: route_mappings has the rule {rule!r}", "Download it again") from error
    rules = ((role, "text"), (role, None), (None, "text"), (None, None))
    route = next((routes_by_rule[rule] for rule in rules if rule in routes_by_rule), None)
    route = route or next((name for name in (role, "text") if name in routes), None)
    if route is None or route not in routes:
        raise CheckpointError(
            f"{path} has the routes {', '.join(routes)}", "A sparse encoder needs the routes query and document"
        )
    return route


def _layout_of(root: Path, path: Path, modules: list[tuple[str, str]], role: str) -> EncoderLayout:
    names = [name for name, _ in modules]
    folders = folders_of(root, path, modules)
    if names == ["SparseStaticEmbedding"]:
        return _table(root, folders[0])
    if len(names) == 2 and names[0] in _MODELS and names[1] == "SpladePooling":
        return _splade(root, names[0], folders[0], root / folders[1] / CONFIG, role)
    if names[:2] == ["Transformer", "Pooling"] and names[2:] in ([_AUTOENCODER], ["Normalize", _AUTOENCODER]):
        return _autoencoder(root, names, folders, role)
    raise CheckpointError(
        f"{path}: the modules {', '.join(names) or '(none)'} make no sparse vectors",
        "Supported are a Transformer followed by SpladePooling, one followed by Pooling and SparseAutoEncoder, and "
        "SparseStaticEmbedding",
    )


def _splade(root: Path, name: str, folder: str, path: Path, role: str) -> EncoderLayout:
    values = read_json(path)
    pooling = values.get("pooling_strategy", "max") if isinstance(values, dict) else None
    activation = values.get("activation_function", "relu") if isinstance(values, dict) else None
    if pooling not in ("max", "sum") or activation not in ACTIVATION_OF:
        raise CheckpointError(
            f"{path}: pooling_strategy {pooling!r} and activation_function {activation!r} are not known here",
            "They must be max or sum, and relu or log1p_relu",
        )
    input_config = read_input_config(root / folder, SPARSE_TASK, legacy_task=name == _OLD_MODEL)
    limit = input_config.document_length if role == "document" else input_config.query_length
    return EncoderLayout(
        "mlm", folder, pooling, ACTIVATION_OF[activation], max_length=limit, lower_case=input_config.lower_case
    )


def _autoencoder(root: Path, names: list[str], folders: list[str], role: str) -> EncoderLayout:
    pooling = root / folders[1] / CONFIG
    mode, pool_prompt = read_pooling(pooling)
    if not pool_prompt:
        raise CheckpointError(f"{pooling}: include_prompt is false", "Prompts are pooled with the text here")
    if "Normalize" in names:
        check_normalize(root / folders[2] / CONFIG)
    input_config = read_input_config(root / folders[0], DENSE_TASK)
    limit = input_config.document_length if role == "document" else input_config.query_length
    return EncoderLayout(
        "autoencoder",
        folders[0],
        mode,
        latents=folders[-1],
        unit="Normalize" in names,
        max_length=limit,
        lower_case=input_config.lower_case,
    )


def _table(root: Path, folder: str) -> EncoderLayout:
    path = root / folder / CONFIG
    named = (read_object(path) if path.is_file() else {}).get("path")
    weights = "model.safetensors" if (root / folder / "model.safetensors").is_file() else "pytorch_model.bin"
    if isinstance(named, str) and named.endswith(".json"):
        weights = Path(named).name
    return EncoderLayout("table", folder, weights=weights)
