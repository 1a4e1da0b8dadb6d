"""What a checkpoint's folder says its two sides are.

An encoder is a document side and a query side (Nguyen et al., "A Unified Framework for Learned Sparse Retrieval",
ECIR 2023, section 3). Four layouts are read, the first that fits:

- `lexhound_encoder.json`: ours, which can say everything this package can do (docs/encoders.md);
- `modules.json`: a SparseEncoder of sentence-transformers (`routes.py`);
- `config.json` of a masked language model, alone (both sides: SPLADE) or with OpenSearch's `idf.json` or
  `query_token_weights.txt` (a table for the queries);
- `config.json` of a term-weighting model: uniCOIL (both sides), DeepImpact and DeepCT (queries: presence).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lexhound.encoders.errors import CheckpointError, SettingsError
from lexhound.encoders.sparse.exact_terms import WrittenWords
from lexhound.encoders.sparse.settings import ACTIVATIONS, POOLINGS

from .hub import CONFIG, SHARES, files_hash

OWN_FILE = "lexhound_encoder.json"
MODULES = "modules.json"
KINDS = ("mlm", "regression", "table")
_FORMAT = 1
_TABLE_FILES = ("idf.json", "query_token_weights.txt")
# Published before sentence-transformers could say so: these models of OpenSearch were trained with two logarithms.
_TWO_LOGARITHMS = re.compile(r"opensearch-neural-sparse-encoding-(multilingual-v1|doc-v3)")


@dataclass(frozen=True, slots=True)
class SideLayout:
    """One side of an encoder.

    Attributes:
        kind: "mlm" (a language model's head over the vocabulary), "regression" (one weight a token of the text) or
            "table" (one weight a token of the vocabulary, no model).
        folder: where its files lie, relative to the encoder's folder; "" is that folder itself.
        pooling: "max", "sum" or "cls" of an mlm side; "max", "sum" or "first" of a regression side: what becomes of a
            token that occurs several times.
        activation: one of `settings.ACTIVATIONS`; None for the usual one (log1p_relu of an mlm side, relu of a
            regression side).
        weights: of a table, the file in `folder` that holds them; None for 1 each (presence).
        counted: of a table, whether a token that occurs n times weighs n**power times as much.
        power: see `counted`; below 1, words that a long query repeats do not drown the others.
        common: of a table of idf weights with a prior, leave tokens that more than this share of documents hold out of
            a query, where a rarer one remains: they cost the most and say the least. 0 for all tokens.
        shares: of a table with a prior, whether `shares.safetensors` in `folder` tells which share of the documents of
            each token are written with it (`encoders.sparse.exact_terms`); without it vectors are taken for what is
            written.
        prior: of a table of idf weights, how many documents it counts for beside those of the collection that is
            searched, whose own document frequencies then make the weights (`encoders.sparse.live_idf`); 0 for the
            table as it stands.
        echo: of an mlm side, give the text twice and pool over the second copy: in a decoder-only model the first
            copy's tokens do not see what follows (Springer et al., "Repetition Improves Language Model Embeddings",
            2024; Doshi et al., "Mistral-SPLADE", 2024, section 3).
        adapter: folder of a LoRA adapter, relative to the encoder's folder, merged into the model's weights.
        expansion: folder of a masked language model whose `expansion_terms` likeliest terms that the text lacks are
            appended before its tokens are weighed (exp-MLP; Zhuang & Zuccon, "TILDEv2", 2021, section 3).
        dense: of an mlm side whose states were also trained to make dense vectors, how they are pooled ("mean"); see
            `lexhound.encoders.dense.layout`. None where they mean nothing.
        top_k, query_top_k: how many of a document's and of a query's heaviest terms are kept where the settings do not
            say; None for all.
        written: of an mlm side, what a text's own words weigh beside what the model says; None for nothing.
        prompt: put before every text.
        max_length: longest input in tokens, where the folder says one.
        lower_case: whether texts are lower-cased before they become tokens.
    """

    kind: str
    folder: str = ""
    pooling: str = "max"
    activation: str | None = None
    weights: str | None = None
    counted: bool = False
    power: float = 1.0
    common: float = 0.0
    shares: bool = False
    prior: int = 0
    echo: bool = False
    adapter: str | None = None
    expansion: str | None = None
    expansion_terms: int = 128
    dense: str | None = None
    top_k: int | None = None
    query_top_k: int | None = None
    written: WrittenWords | None = None
    prompt: str = ""
    max_length: int | None = None
    lower_case: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return what differs from the defaults, for `lexhound_encoder.json` and fingerprints."""
        return {
            field.name: value
            for field, value in zip(fields(self), asdict(self).values(), strict=True)
            if value != field.default
        }

    def hash(self, root: Path) -> str:
        """Return a hex SHA-256 over the files of this side."""
        if self.kind == "table":
            return files_hash(root / self.folder, [self.weights or "", *([SHARES] if self.shares else [])])[:32]
        folders = [self.folder, *(part for part in (self.adapter, self.expansion) if part is not None)]
        rule = [] if self.written is None else [repr(self.written)]
        return "-".join([*(files_hash(root / folder)[:32] for folder in folders), *rule])


@dataclass(frozen=True, slots=True)
class Layout:
    """An encoder's two sides, in the folder `root`.

    Attributes:
        before: how earlier versions read the same folder, where that makes other vectors; collections made so go on so.
    """

    root: Path
    document: SideLayout
    query: SideLayout
    before: Layout | None = None

    @property
    def family(self) -> str:
        """What a person would call it; also the kind of its identity."""
        if self.document.echo:
            return "decoder"
        if self.document.kind == "mlm":
            return {"mlm": "splade", "table": "inference-free"}.get(self.query.kind, "mixed")
        return "term-weighting" if self.document.kind == "regression" else "table"


FAMILIES = ("splade", "inference-free", "term-weighting", "decoder", "table", "mixed")


def read_layout(root: Path) -> Layout:
    """Tell what the checkpoint in `root` is.

    Raises:
        CheckpointError: none of the layouts fits, or a file cannot be read.
    """
    if (root / OWN_FILE).is_file():
        return _read_own(root)
    if (root / MODULES).is_file():
        from .routes import read_modules

        return read_modules(root)
    return _read_plain(root)


def read_json(path: Path) -> Any:
    """Return a JSON file's value; raises CheckpointError naming the file."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}", "Download the checkpoint again") from error


def inside(root: Path, folder: str, where: Path) -> str:
    """Return `folder` if it is one of `root`'s own; raises CheckpointError where the file `where` names another."""
    path = Path(folder)
    if path.is_absolute() or ".." in path.parts:
        raise CheckpointError(f"{where} names a folder outside of the checkpoint: {folder}", "Correct that file")
    if not (root / path).is_dir():
        raise CheckpointError(f"{where} names the folder {folder}, which is not there", "Download the whole checkpoint")
    return folder


def write_own_layout(layout: Layout) -> None:
    """Write `lexhound_encoder.json` into the layout's folder, where it comes before every other description."""
    sides = {"document": {"kind": layout.document.kind} | layout.document.as_dict()}
    if layout.query != layout.document:
        sides["query"] = {"kind": layout.query.kind} | layout.query.as_dict()
    text = json.dumps({"format": _FORMAT, **sides}, indent=2, ensure_ascii=False)
    (layout.root / OWN_FILE).write_text(text + "\n", encoding="utf-8")


def _read_own(root: Path) -> Layout:
    path = root / OWN_FILE
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is not of format {_FORMAT}", "Upgrade lexhound, or correct the file")
    document = _side(root, path, values.get("document"))
    return Layout(root, document, document if "query" not in values else _side(root, path, values["query"]))


def _side(root: Path, path: Path, values: object) -> SideLayout:
    known = {field.name: field for field in fields(SideLayout)}
    if not isinstance(values, Mapping) or values.get("kind") not in KINDS:
        raise CheckpointError(f"{path}: a side has no kind", f"It must be one of {', '.join(KINDS)}")
    for name, value in values.items():
        kind = str(known[name].type).split(" |")[0] if name in known else ""
        right: Any = {"str": str, "bool": bool, "int": int, "float": (int, float), "WrittenWords": dict}.get(kind)
        if (
            right is None
            or not (isinstance(value, right) or (value is None and "None" in str(known[name].type)))
            or (kind == "int" and isinstance(value, int) and value < 1)
        ):
            raise CheckpointError(f"{path}: {name} is {value!r}", "See docs/encoders.md for what a side may say")
    if not 0 <= values.get("common", 0) < 1 or not 0 <= values.get("power", 0) <= 1:
        raise CheckpointError(f"{path}: common or power is out of range", "common: 0 to below 1; power: 0 to 1")
    written = {"written": _written(path, values["written"])} if values.get("written") else {}
    side = SideLayout(**dict(values) | written)
    poolings = {"mlm": POOLINGS, "regression": ("max", "sum", "first"), "table": ("max",)}[side.kind]
    if side.pooling not in poolings:
        raise CheckpointError(f"{path}: pooling is {side.pooling!r}", f"It must be one of {', '.join(poolings)}")
    if side.activation is not None and side.activation not in ACTIVATIONS:
        raise CheckpointError(f"{path}: activation is {side.activation!r}", f"One of {', '.join(ACTIVATIONS)}")
    if side.dense not in (None, "mean"):
        raise CheckpointError(f"{path}: dense is {side.dense!r}", "It must be mean")
    for folder in (side.folder, side.adapter, side.expansion):
        if folder is not None:
            inside(root, folder, path)
    if side.weights is not None and Path(side.weights).name != side.weights:
        raise CheckpointError(f"{path}: weights is {side.weights!r}", "Name a file of the side's own folder")
    return side


def _written(path: Path, values: Mapping[str, Any]) -> WrittenWords:
    try:
        return WrittenWords(**values)
    except (TypeError, SettingsError) as error:
        raise CheckpointError(f"{path}: written is {dict(values)}: {error}", "See docs/encoders.md") from error


def _read_plain(root: Path) -> Layout:
    path = root / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{root} has no {CONFIG}", "Give the folder of a Hugging Face masked language model")
    values = read_json(path)
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} cannot be read: it is not an object", "Download the checkpoint again")
    names = [str(name) for name in values.get("architectures") or ()]
    presence = SideLayout("table")
    if any(name.lower().startswith("unicoil") for name in names):
        side = SideLayout("regression")
        return Layout(root, side, side)
    if any(name.lower().startswith("deepimpact") for name in names):
        return Layout(root, SideLayout("regression", pooling="first"), presence)
    if any(name.endswith("ForTokenClassification") for name in names):
        return Layout(root, SideLayout("regression"), presence)
    if names and not any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in names):
        raise CheckpointError(
            f"{root} is not a masked language model: {CONFIG} says {', '.join(names)}",
            f"Choose a checkpoint saved as ...ForMaskedLM, such as a SPLADE: its head makes the vectors. A decoder "
            f"that was trained to be a sparse encoder needs a {OWN_FILE} that says so (docs/encoders.md)",
        )
    called = f"{root.resolve()} {values.get('_name_or_path', '')}"
    two = _TWO_LOGARITHMS.search(called) is not None
    document = SideLayout("mlm", activation="log1p_log1p_relu" if two else None)
    table = next((name for name in _TABLE_FILES if (root / name).is_file()), None)
    return Layout(root, document, document if table is None else SideLayout("table", weights=table))
