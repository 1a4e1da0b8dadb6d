"""The layout of a dense model's folder: a transformer, how its tokens become one vector, and prompts.

Three kinds of folder are read: a sparse encoder of ours whose document encoder makes dense vectors too
(`lexhound_encoder.json` says so), one of sentence-transformers (`modules.json`: a Transformer, a Pooling and at most a
Normalize), and a plain one of Hugging Face, which says nothing of pooling and is taken for the mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lexhound.encoders.checkpoints.files import MODULES, OWN_FILE, read_json, read_object
from lexhound.encoders.checkpoints.hub import CONFIG, files_hash
from lexhound.encoders.checkpoints.modules import (
    DENSE_TASK,
    INPUT_CONFIG,
    ST_CONFIG,
    InputConfig,
    check_normalize,
    folders_of,
    listed_modules,
    read_input_config,
    read_model_config,
    read_pooling,
)
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.sparse.folders import read_layout

# Under which names earlier versions looked for the prompt of a document, the first that is there.
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")
_NOTHING_DONE = {"Normalize", "Dropout"}  # to the text's vector, but that it is brought to unit length


@dataclass(frozen=True, slots=True)
class DenseLayout:
    """A sentence-embedding model.

    Attributes:
        root: its folder; transformer: the folder in it that holds config, weights and mostly the tokenizer.
        pooling: one of `lexhound.encoders.checkpoints.modules.POOLINGS`; "lasttoken" is the last token that is no
            padding.
        normalise: whether vectors are brought to unit length, so that their products are cosines: where the folder
            compares by cosine, and where it is a plain one.
        dimensions: how many of a vector's first values are kept, before it is brought to unit length; None for all.
        unit_before: whether the whole vector is of unit length before it is cut to `dimensions`.
        similarity: what the folder compares vectors by, where an inner product of them does not rank alike, or None.
        query_prompt, document_prompt: put before every text of that side.
        pool_prompt: whether the prompt's tokens are pooled with the others.
        query_length, document_length: the longest inputs in tokens that the folder states, or None.
        lower_case: whether texts are lower-cased before they become tokens.
        before: how earlier versions read the same folder, where that makes other vectors; collections made so go on so.
    """

    root: Path
    transformer: Path
    pooling: str = "mean"
    normalise: bool = True
    query_prompt: str = ""
    document_prompt: str = ""
    pool_prompt: bool = True
    query_length: int | None = None
    document_length: int | None = None
    lower_case: bool = False
    dimensions: int | None = None
    unit_before: bool = False
    similarity: str | None = None
    before: DenseLayout | None = None

    def hash(self) -> str:
        """Return a hex digest over the files that determine the vectors, whatever this layout says of them."""
        return files_hash(self.transformer)[:32]


def read_dense_layout(root: Path) -> DenseLayout:
    """Tell what the dense model in `root` is.

    Raises:
        CheckpointError: it is made of modules that this package does not know, or a file cannot be read.
    """
    if (root / OWN_FILE).is_file():
        side = read_layout(root).document
        if side.dense is None:
            raise CheckpointError(
                f"{root} is a sparse encoder that makes no dense vectors", "Give a sentence-embedding model"
            )
        layout = DenseLayout(root, root / side.folder, side.dense, lower_case=side.lower_case)
        if side.max_length is None:
            return layout
        return replace(layout, query_length=side.max_length, document_length=side.max_length, before=layout)
    path = root / MODULES
    if not path.is_file():
        if not (root / CONFIG).is_file():
            raise CheckpointError(f"{root} has no {CONFIG}", "Give the folder of a sentence-embedding model")
        # Without a list of modules nothing says that this file is of the model: not so much of it is looked at.
        input_config = read_input_config(root, DENSE_TASK) if (root / INPUT_CONFIG).is_file() else InputConfig()
        return DenseLayout(
            root,
            root,
            query_length=input_config.query_length,
            document_length=input_config.document_length,
            lower_case=input_config.lower_case,
        )
    modules = listed_modules(path, read_json(path))
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or set(kinds[2:]) - _NOTHING_DONE:
        raise CheckpointError(
            f"{root} is made of {', '.join(kinds) or 'nothing'}",
            "A dense model is a Transformer, a Pooling and at most a Normalize of sentence-transformers",
        )
    transformer, pooling = folders_of(root, path, modules[:2])
    for kind, folder in modules[2:]:
        if kind == "Normalize":
            check_normalize(root / folder / CONFIG)
    return _read(root, transformer, root / pooling / CONFIG, unit="Normalize" in kinds)


def _read(root: Path, transformer: str, pooling: Path, *, unit: bool) -> DenseLayout:
    config = read_model_config(root)
    if config.max_active_dims is not None:
        raise CheckpointError(
            f"{root / ST_CONFIG}: max_active_dims is {config.max_active_dims}, and a dense vector has all its values",
            "It is for sparse encoders: take it out",
        )
    input_config = read_input_config(root / transformer, DENSE_TASK)
    mode, pool_prompt = read_pooling(pooling)
    cut = config.truncate_dim
    # A folder that says nothing is compared by cosine there.
    cosine = config.similarity in (None, "cosine")
    # Of vectors of one length, the nearest are those of the largest product.
    other = config.similarity if config.similarity == "manhattan" or (not unit or cut) else None
    layout = DenseLayout(
        root,
        root / transformer,
        mode,
        cosine or (unit and cut is None),
        config.query_prompt,
        config.document_prompt,
        pool_prompt,
        input_config.query_length,
        input_config.document_length,
        input_config.lower_case,
        cut,
        unit and cut is not None,
        other if other in ("euclidean", "manhattan") else None,
    )
    query, document = _old_prompts(root)
    before = replace(
        layout,
        normalise=unit,
        query_prompt=query,
        document_prompt=document,
        dimensions=None,
        unit_before=False,
        similarity=None,
    )
    return layout if before == layout else replace(layout, before=before)


def _old_prompts(root: Path) -> tuple[str, str]:
    """Return the prompts of queries and of documents as earlier versions chose them, of names and by default."""
    path = root / ST_CONFIG
    values: Mapping[str, Any] = read_object(path) if path.is_file() else {}
    prompts = values.get("prompts") or {}
    fallback = prompts.get(values.get("default_prompt_name"))
    document = next((prompts[name] for name in _DOCUMENT_PROMPTS if name in prompts), fallback)
    return str(prompts.get("query", fallback) or ""), str(document or "")
