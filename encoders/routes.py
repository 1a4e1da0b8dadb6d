"""Folders of sentence-transformers' SparseEncoder: which modules make the document side and which the query side.

`modules.json` lists modules in order. Either they are a masked language model and a SpladePooling, for both sides; or
a Router (called Asym once), whose `router_config.json` (`config.json` once) lists the modules of each side.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import CheckpointError
from .hub import CONFIG
from .layout import MODULES, Layout, SideLayout, inside, read_json

ROUTER_FILES = ("router_config.json", CONFIG)
ST_CONFIG = "config_sentence_transformers.json"
INPUT_CONFIG = "sentence_bert_config.json"
# SpladePooling's name of what it applies before its own log1p -> ours of the whole.
ACTIVATION_OF = {"relu": "log1p_relu", "log1p_relu": "log1p_log1p_relu"}
_MODELS = ("Transformer", "MLMTransformer")
_ROUTERS = ("Router", "Asym")


def read_modules(root: Path) -> Layout:
    """Tell the two sides of a SparseEncoder's folder; raises CheckpointError where they are none of ours."""
    path = root / MODULES
    listed = read_json(path)
    try:
        modules = [(_class(module["type"]), str(module["path"])) for module in listed]
    except (TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is not a list of modules", "Download the checkpoint again") from error
    prompts = _prompts(root)
    if len(modules) == 1 and modules[0][0] in _ROUTERS:
        return _routed(root, inside(root, modules[0][1], path), prompts)
    document = _side(root, path, modules, prompts.get("document", ""))
    return Layout(root, document, _side(root, path, modules, prompts.get("query", "")))


def _routed(root: Path, folder: str, prompts: dict[str, str]) -> Layout:
    paths = [root / folder / name for name in ROUTER_FILES if (root / folder / name).is_file()]
    path = paths[0] if paths else root / folder / ROUTER_FILES[0]
    values: Any = read_json(path)
    try:
        types, structure = values["types"], values["structure"]
        routes = {
            name: [(_class(types[part]), str(Path(folder) / part)) for part in parts]
            for name, parts in structure.items()
        }
    except (TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path} does not say which modules each route has", "Download it again") from error
    if not {"query", "document"} <= routes.keys():
        raise CheckpointError(
            f"{path} has the routes {', '.join(routes)}", "A sparse encoder needs the routes query and document"
        )
    sides = {name: _side(root, path, routes[name], prompts.get(name, "")) for name in ("document", "query")}
    return Layout(root, sides["document"], sides["query"])


def _side(root: Path, path: Path, modules: list[tuple[str, str]], prompt: str) -> SideLayout:
    names = [name for name, _ in modules]
    folders = [inside(root, folder, path) for _, folder in modules]
    if names == ["SparseStaticEmbedding"]:
        return _table(root, folders[0], prompt)
    if len(names) == 2 and names[0] in _MODELS and names[1] == "SpladePooling":
        return _splade(root, folders[0], root / folders[1] / CONFIG, prompt)
    raise CheckpointError(
        f"{path}: the modules {', '.join(names) or '(none)'} make no sparse vectors over a vocabulary",
        "Supported are a Transformer followed by SpladePooling, and SparseStaticEmbedding",
    )


def _splade(root: Path, folder: str, path: Path, prompt: str) -> SideLayout:
    values = read_json(path)
    pooling = values.get("pooling_strategy", "max") if isinstance(values, dict) else None
    activation = values.get("activation_function", "relu") if isinstance(values, dict) else None
    if pooling not in ("max", "sum") or activation not in ACTIVATION_OF:
        raise CheckpointError(
            f"{path}: pooling_strategy {pooling!r} and activation_function {activation!r} are not known here",
            "They must be max or sum, and relu or log1p_relu",
        )
    limit = None
    if (root / folder / INPUT_CONFIG).is_file():
        found = read_json(root / folder / INPUT_CONFIG)
        limit = found.get("max_seq_length") if isinstance(found, dict) else None
    limit = limit if isinstance(limit, int) and limit > 0 else None
    return SideLayout("mlm", folder, pooling, ACTIVATION_OF[activation], prompt=prompt, max_length=limit)


def _table(root: Path, folder: str, prompt: str) -> SideLayout:
    path = root / folder / CONFIG
    values = read_json(path) if path.is_file() else {}
    named = values.get("path") if isinstance(values, dict) else None
    weights = "model.safetensors" if (root / folder / "model.safetensors").is_file() else "pytorch_model.bin"
    if isinstance(named, str) and named.endswith(".json"):
        weights = Path(named).name
    return SideLayout("table", folder, weights=weights, prompt=prompt)


def _prompts(root: Path) -> dict[str, str]:
    path = root / ST_CONFIG
    values = read_json(path) if path.is_file() else {}
    prompts = values.get("prompts") if isinstance(values, dict) else None
    return {str(key): str(value or "") for key, value in prompts.items()} if isinstance(prompts, dict) else {}


def _class(path: str) -> str:
    return path.rpartition(".")[2]
