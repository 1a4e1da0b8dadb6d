"""What a folder says its dense vectors are made of: a transformer, how its tokens become one vector, and prompts.

Three kinds of folder are read: a sparse encoder of ours whose document side makes dense vectors too
(`lexhound_encoder.json` says so), one of sentence-transformers (`modules.json`: a Transformer, a Pooling and at most a
Normalize), and a plain one of Hugging Face, which says nothing of pooling and is taken for the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import CheckpointError
from .hub import CONFIG, files_hash
from .layout import MODULES, OWN_FILE, inside, read_json, read_layout
from .routes import INPUT_CONFIG, ST_CONFIG

POOLINGS = ("mean", "cls", "lasttoken")
# Under which names sentence-transformers looks for the prompt of a document, the first that is there.
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


@dataclass(frozen=True, slots=True)
class DenseLayout:
    """A sentence-embedding model.

    Attributes:
        root: its folder; transformer: the folder in it that holds config, weights and mostly the tokenizer.
        pooling: one of POOLINGS; "lasttoken" is the last token that is no padding.
        normalise: whether vectors are brought to unit length. A plain folder's are: their products are cosines then.
        query_prompt, document_prompt: put before every text of that side.
        pool_prompt: whether the prompt's tokens are pooled with the others.
        max_length: the longest input in tokens that the folder states, or None.
        lower_case: whether texts are lower-cased before they become tokens.
    """

    root: Path
    transformer: Path
    pooling: str = "mean"
    normalise: bool = True
    query_prompt: str = ""
    document_prompt: str = ""
    pool_prompt: bool = True
    max_length: int | None = None
    lower_case: bool = False

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
        return DenseLayout(root, root / side.folder, side.dense, max_length=side.max_length)
    path = root / MODULES
    if not path.is_file():
        if not (root / CONFIG).is_file():
            raise CheckpointError(f"{root} has no {CONFIG}", "Give the folder of a sentence-embedding model")
        limit, lower = _input(root)
        return DenseLayout(root, root, max_length=limit, lower_case=lower)
    listed = read_json(path)
    try:
        modules = [(str(module["type"]).rpartition(".")[2], str(module["path"])) for module in listed]
    except (TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is not a list of modules", "Download the checkpoint again") from error
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or set(kinds[2:]) - {"Normalize"}:
        raise CheckpointError(
            f"{root} is made of {', '.join(kinds) or 'nothing'}",
            "A dense model is a Transformer, a Pooling and at most a Normalize of sentence-transformers",
        )
    transformer, pooling = (inside(root, folder, path) for _, folder in modules[:2])
    found, pool_prompt = _pooling(root / pooling / CONFIG)
    query, document = _prompts(root)
    limit, lower = _input(root / transformer)
    return DenseLayout(
        root, root / transformer, found, "Normalize" in kinds, query, document, pool_prompt, limit, lower
    )


def _pooling(path: Path) -> tuple[str, bool]:
    """The pooling that a file names, and whether it covers the prompt."""
    values = read_json(path)
    found: object = values.get("pooling_mode") if isinstance(values, dict) else None
    if isinstance(values, dict) and found is None:  # as older versions wrote it
        on = [name for name, value in values.items() if name.startswith("pooling_mode_") and value]
        names = [name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for name in on]
        found = names[0] if len(names) == 1 else names
    if found not in POOLINGS:
        raise CheckpointError(f"{path}: the pooling is {found!r}", f"It must be one of {', '.join(POOLINGS)}")
    return str(found), bool(values.get("include_prompt", True))


def _prompts(root: Path) -> tuple[str, str]:
    """The prompts of queries and of documents: as sentence-transformers' `encode_query` and `encode_document` do."""
    path = root / ST_CONFIG
    values = read_json(path) if path.is_file() else {}
    told: Any = values.get("prompts") if isinstance(values, dict) else None
    prompts = told if isinstance(told, dict) else {}
    fallback = prompts.get(values.get("default_prompt_name")) if isinstance(values, dict) else None
    query = prompts.get("query", fallback)
    document = next((prompts[name] for name in _DOCUMENT_PROMPTS if name in prompts), fallback)
    return str(query or ""), str(document or "")


def _input(folder: Path) -> tuple[int | None, bool]:
    """The longest input that a transformer's folder states, and whether its texts are lower-cased."""
    path = folder / INPUT_CONFIG
    values = read_json(path) if path.is_file() else {}
    limit = values.get("max_seq_length") if isinstance(values, dict) else None
    lower = bool(values.get("do_lower_case")) if isinstance(values, dict) else False
    return (limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 else None), lower
