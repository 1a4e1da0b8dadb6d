"""The document encoder and the query encoder that a checkpoint's folder describes (Nguyen et al., "A Unified Framework
for Learned Sparse Retrieval", ECIR 2023, section 3). Four layouts are read, the first that fits:

- `lexhound_encoder.json`: ours, which can say everything this package can do (docs/encoders.md);
- `modules.json`: a SparseEncoder of sentence-transformers (`st_layout.py`);
- `config.json` of a masked language model, alone (both encoders: SPLADE) or with OpenSearch's `idf.json` or
  `query_token_weights.txt` (a table for the queries);
- `config.json` of a term-weighting model: uniCOIL (both encoders), DeepImpact and DeepCT (queries: presence).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from lexhound.core.atomic_files import write_file
from lexhound.encoders.checkpoints.files import MODULES, OWN_FILE, inside, read_json, read_object
from lexhound.encoders.checkpoints.hub import CONFIG
from lexhound.encoders.errors import CheckpointError, SettingsError
from lexhound.encoders.latent.token_latents import LatentSaturation
from lexhound.encoders.runtime.pooling import ACTIVATIONS, POOLINGS

from .exact_terms import ExactTermBoost
from .layout import KINDS, EncoderLayout, Layout, key_of
from .st_layout import read_modules

Part = TypeVar("Part", ExactTermBoost, LatentSaturation)

_FORMAT = 1
_TABLE_FILES = ("idf.json", "query_token_weights.txt")
# Published before sentence-transformers could say so: these models of OpenSearch were trained with two logarithms.
_TWO_LOGARITHMS = re.compile(r"opensearch-neural-sparse-encoding-(multilingual-v1|doc-v3)")


def read_layout(root: Path) -> Layout:
    """Tell what the checkpoint in `root` is.

    Raises:
        CheckpointError: none of the layouts fits, or a file cannot be read.
    """
    if (root / OWN_FILE).is_file():
        return _read_own(root)
    if (root / MODULES).is_file():
        return read_modules(root)
    return _read_plain(root)


def write_own_layout(layout: Layout) -> None:
    """Write `lexhound_encoder.json` into the layout's folder, where it comes before every other description."""
    encoders = {"document": {"kind": layout.document.kind} | layout.document.as_dict()}
    if layout.query != layout.document:
        encoders["query"] = {"kind": layout.query.kind} | layout.query.as_dict()
    text = json.dumps({"format": _FORMAT, **encoders}, indent=2, ensure_ascii=False)
    write_file(layout.root / OWN_FILE, f"{text}\n".encode())


def _read_own(root: Path) -> Layout:
    path = root / OWN_FILE
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is not of format {_FORMAT}", "Upgrade lexhound, or correct the file")
    document = _encoder(root, path, values.get("document"))
    query = document if "query" not in values else _encoder(root, path, values["query"])
    if document.beside_words != query.beside_words or (document.beside_words and query.kind != "table"):
        raise CheckpointError(
            f"{path}: latents beside words are of an mlm document encoder and a table of queries, both",
            "Name their folder in both, or in neither",
        )
    return Layout(root, document, query)


def _encoder(root: Path, path: Path, values: object) -> EncoderLayout:
    known = {key_of(field): field for field in fields(EncoderLayout)}
    if not isinstance(values, Mapping) or values.get("kind") not in KINDS:
        raise CheckpointError(f"{path}: an encoder has no kind", f"It must be one of {', '.join(KINDS)}")
    for name, value in values.items():
        kind = str(known[name].type).split(" |")[0] if name in known else ""
        right: Any = {
            "str": str,
            "bool": bool,
            "int": int,
            "float": (int, float),
            "ExactTermBoost": dict,
            "LatentSaturation": dict,
        }.get(kind)
        if (
            right is None
            or not (isinstance(value, right) or (value is None and "None" in str(known[name].type)))
            or (kind == "int" and isinstance(value, int) and value < 1)
        ):
            raise CheckpointError(f"{path}: {name} is {value!r}", "See docs/encoders.md for what it may say")
    if not 0 <= values.get("common", 0) < 1 or not 0 <= values.get("power", 0) <= 1:
        raise CheckpointError(f"{path}: common or power is out of range", "common: 0 to below 1; power: 0 to 1")
    parts: dict[str, object] = {}
    if values.get("written"):
        parts["written"] = _part(path, "written", ExactTermBoost, values["written"])
    if values.get("saturation"):
        parts["saturation"] = _part(path, "saturation", LatentSaturation, values["saturation"])
    layout = EncoderLayout(**{known[key].name: value for key, value in (dict(values) | parts).items()})
    poolings = {
        "mlm": POOLINGS, "regression": ("max", "sum", "first"), "table": ("max",),
        "autoencoder": ("mean", "cls", "lasttoken", "sum"),
    }[layout.kind]  # fmt: skip
    if layout.pooling not in poolings:
        raise CheckpointError(f"{path}: pooling is {layout.pooling!r}", f"It must be one of {', '.join(poolings)}")
    if layout.activation is not None and layout.activation not in ACTIVATIONS:
        raise CheckpointError(f"{path}: activation is {layout.activation!r}", f"One of {', '.join(ACTIVATIONS)}")
    if layout.dense not in (None, "mean"):
        raise CheckpointError(f"{path}: dense is {layout.dense!r}", "It must be mean")
    if (
        layout.latents is None
        if layout.kind == "autoencoder"
        else layout.latents is not None and layout.kind == "regression"
    ):
        raise CheckpointError(
            f"{path}: latents is {layout.latents!r}", "An autoencoder names its folder, term weighting has none"
        )
    if not (layout.of_tokens or layout.beside_words) and (layout.token_k or layout.saturation):
        raise CheckpointError(
            f"{path}: token_k and saturation are of latents of tokens", "Say kind autoencoder and pooling sum"
        )
    if layout.latent_weight <= 0:
        raise CheckpointError(f"{path}: latent_weight is {layout.latent_weight}", "It must be above 0")
    for folder in (layout.folder, layout.adapter, layout.expansion, layout.latents):
        if folder is not None:
            inside(root, folder, path)
    if layout.weights is not None and Path(layout.weights).name != layout.weights:
        raise CheckpointError(f"{path}: weights is {layout.weights!r}", "Name a file of the encoder's own folder")
    return layout


def _part(path: Path, key: str, kind: type[Part], values: Mapping[str, Any]) -> Part:
    try:
        return kind(**values)
    except (TypeError, SettingsError) as error:
        raise CheckpointError(f"{path}: {key} is {dict(values)}: {error}", "See docs/encoders.md") from error


def _read_plain(root: Path) -> Layout:
    path = root / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{root} has no {CONFIG}", "Give the folder of a Hugging Face masked language model")
    values = read_object(path)
    names = [str(name) for name in values.get("architectures") or ()]
    presence = EncoderLayout("table")
    if any(name.lower().startswith("unicoil") for name in names):
        layout = EncoderLayout("regression")
        return Layout(root, layout, layout)
    if any(name.lower().startswith("deepimpact") for name in names):
        return Layout(root, EncoderLayout("regression", pooling="first"), presence)
    if any(name.endswith("ForTokenClassification") for name in names):
        return Layout(root, EncoderLayout("regression"), presence)
    if names and not any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in names):
        raise CheckpointError(
            f"{root} is not a masked language model: {CONFIG} says {', '.join(names)}",
            f"Choose a checkpoint saved as ...ForMaskedLM, such as a SPLADE: its head makes the vectors. A decoder "
            f"that was trained to be a sparse encoder needs a {OWN_FILE} that says so (docs/encoders.md)",
        )
    called = f"{root.resolve()} {values.get('_name_or_path', '')}"
    two = _TWO_LOGARITHMS.search(called) is not None
    document = EncoderLayout("mlm", activation="log1p_log1p_relu" if two else None)
    table = next((name for name in _TABLE_FILES if (root / name).is_file()), None)
    return Layout(root, document, document if table is None else EncoderLayout("table", weights=table))
