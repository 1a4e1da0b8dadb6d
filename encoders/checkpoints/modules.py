"""The JSON files of sentence-transformers beside the weights. Every key is obeyed, or refused in one sentence.

Not looked at are keys that change no vector: versions and requirements, names and numbers of modules, widths, whether
weights are frozen, and how inputs are padded. `docs/encoders.md` lists the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lexhound.encoders.errors import CheckpointError

from .files import inside, read_object
from .hub import OLD_KINDS

ST_CONFIG = "config_sentence_transformers.json"
INPUT_CONFIG = "sentence_bert_config.json"
# The first that is there; all but the first were written by early versions.
INPUT_CONFIGS = (INPUT_CONFIG, *(f"sentence_{kind}_config.json" for kind in OLD_KINDS))
DENSE_TASK, SPARSE_TASK = "feature-extraction", "fill-mask"
POOLINGS = ("mean", "cls", "lasttoken")
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
_OURS = "sentence_transformers."
_STATES = {DENSE_TASK: "last_hidden_state", SPARSE_TASK: "logits"}
# Arguments of transformers' loaders that change how a model is held, and not what it computes.
_HARMLESS = frozenset(
    {
        "add_pooling_layer", "attn_implementation", "cache_dir", "device_map", "dtype", "local_files_only",
        "low_cpu_mem_usage", "padding_side", "revision", "subfolder", "token", "torch_dtype", "trust_remote_code",
        "use_cache", "use_fast", "use_safetensors",
    }
)  # fmt: skip
_TRUNCATED = (True, "longest_first", "only_first")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """`config_sentence_transformers.json`.

    Attributes:
        query_prompt, document_prompt: put before every text of that side, as `encode_query` and `encode_document` do,
            which know the prompts of these names alone.
        similarity: one of SIMILARITIES, or None where it says nothing.
        truncate_dim: how many of a dense vector's first values are kept; None for all.
        max_active_dims: how many of a sparse vector's largest values are kept; None for all.
    """

    query_prompt: str = ""
    document_prompt: str = ""
    similarity: str | None = None
    truncate_dim: int | None = None
    max_active_dims: int | None = None


@dataclass(frozen=True, slots=True)
class InputConfig:
    """`sentence_bert_config.json`: the longest inputs in tokens, or None, and whether texts are lower-cased."""

    query_length: int | None = None
    document_length: int | None = None
    lower_case: bool = False


def read_model_config(root: Path) -> ModelConfig:
    """Read a folder's `config_sentence_transformers.json`, where there is one; raises CheckpointError."""
    path = root / ST_CONFIG
    if not path.is_file():
        return ModelConfig()
    values = read_object(path)
    prompts = values.get("prompts") or {}
    if not isinstance(prompts, Mapping) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise _refused(path, "prompts", prompts, "It must be an object of texts")
    similarity = values.get("similarity_fn_name")
    if similarity is not None and similarity not in SIMILARITIES:
        raise _refused(path, "similarity_fn_name", similarity, f"It must be one of {', '.join(SIMILARITIES)}")
    return ModelConfig(
        prompts.get("query") or "",
        prompts.get("document") or "",
        similarity,
        _count(path, values, "truncate_dim"),
        _count(path, values, "max_active_dims"),
    )


def read_input_config(folder: Path, task: str, *, legacy_task: bool = False) -> InputConfig:
    """Read how a Transformer's folder takes texts.

    Args:
        task: what its model is wanted for, DENSE_TASK or SPARSE_TASK; that of a file that names none is DENSE_TASK, or
            with `legacy_task` (the class MLMTransformer) the other.

    Raises:
        CheckpointError: the file cannot be read, or asks for what is not done here.
    """
    if (folder / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{folder} holds an adapter ({folder / 'adapter_config.json'}), which is not applied to such folders",
            "Merge it into the weights (PEFT's merge_and_unload) and save the model again",
        )
    path = next((folder / name for name in INPUT_CONFIGS if (folder / name).is_file()), folder / INPUT_CONFIG)
    values = read_object(path) if path.is_file() else {}
    stated_task = values.get("transformer_task") or (SPARSE_TASK if legacy_task else DENSE_TASK)
    if stated_task != task:
        raise _refused(path, "transformer_task", stated_task, f"With these modules it must be {task}")
    _check_outputs(path, values, task)
    for name in ("tokenizer_name_or_path", "query_expansion"):
        if values.get(name) is not None:
            raise _refused(path, name, values[name], "That is not done here: save the model without it")
    stated = _count(path, values, "max_seq_length")
    for group in ("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs"):
        stated = _loading(path, group, values.get(group), stated)
    stated = _processing(path, values.get("processing_kwargs"), stated)
    lower = values.get("do_lower_case") or False
    if not isinstance(lower, bool):
        raise _refused(path, "do_lower_case", lower, "It must be true or false")
    query, document = (_count(path, values, f"{side}_length") or stated for side in ("query", "document"))
    return InputConfig(query, document, lower)


def stated_length(folder: Path) -> int | None:
    """Return the longest input in tokens that a folder's `sentence_bert_config.json` states; raises CheckpointError."""
    path = folder / INPUT_CONFIG
    return _count(path, read_object(path), "max_seq_length") if path.is_file() else None


def listed_modules(path: Path, listed: object) -> list[tuple[str, str]]:
    """Return (class, folder) of each module that `modules.json` lists, in order; raises CheckpointError."""
    try:
        return [(class_name(path, module["type"]), str(module["path"])) for module in listed]  # type: ignore[attr-defined]
    except (TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is not a list of modules", "Download the checkpoint again") from error


def class_name(path: Path, kind: object) -> str:
    """Return the name of a module's class; raises CheckpointError unless it is one of sentence-transformers' own."""
    text = str(kind)
    if not text.startswith(_OURS):
        raise CheckpointError(
            f"{path}: the module {text} is not one of sentence-transformers' own, and other code is not run",
            "Choose a checkpoint made of its modules",
        )
    return text.rpartition(".")[2]


def read_pooling(path: Path) -> tuple[str, bool]:
    """Return how a Pooling makes one vector of tokens, one of POOLINGS, and whether it covers the prompt.

    Raises:
        CheckpointError: the file cannot be read, or names another.
    """
    values = read_object(path)
    mode: object = values.get("pooling_mode")
    if mode is None:  # as older versions wrote it
        on = [name for name, value in values.items() if name.startswith("pooling_mode_") and value]
        mode = [name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for name in on]
        mode = mode or "mean"
    if isinstance(mode, list) and len(mode) == 1:
        mode = mode[0]
    if mode not in POOLINGS:
        raise CheckpointError(f"{path}: the pooling is {mode!r}", f"It must be one of {', '.join(POOLINGS)}")
    return str(mode), bool(values.get("include_prompt", True))


def check_normalize(path: Path) -> None:
    """Refuse a Normalize of anything but the text's vector; raises CheckpointError."""
    values = read_object(path) if path.is_file() else {}
    for name in ("module_input_name", "module_output_name"):
        if values.get(name) not in (None, "sentence_embedding"):
            raise _refused(path, name, values[name], "Only the vector of a text is brought to unit length")


def folders_of(root: Path, path: Path, modules: list[tuple[str, str]]) -> list[str]:
    """Return the folders of modules, all inside of `root`; raises CheckpointError."""
    return [inside(root, folder, path) for _, folder in modules]


def _check_outputs(path: Path, values: Mapping[str, Any], task: str) -> None:
    """Refuse a module that hands on something else than what its task makes of each token."""
    modalities = values.get("modality_config")
    if modalities is not None:
        text = modalities.get("text") if isinstance(modalities, Mapping) else None
        usual = {"method": "forward", "method_output_name": _STATES[task]}
        if not isinstance(text, Mapping) or {name: text.get(name) for name in usual} != usual:
            raise _refused(path, "modality_config", modalities, f"Texts must be read by forward, for {_STATES[task]}")
        if "message" in modalities:
            raise _refused(path, "modality_config", modalities, "Texts are not put into chat templates here")
    output = values.get("module_output_name")
    if output not in (None, "token_embeddings"):
        raise _refused(path, "module_output_name", output, "It must be token_embeddings")


def _loading(path: Path, group: str, values: Any, stated: int | None) -> int | None:
    """Return what one group of loading arguments makes of the longest input; refuses those that change vectors."""
    if values is None:
        return stated
    if not isinstance(values, Mapping):
        raise _refused(path, group, values, "It must be an object")
    for name, value in values.items():
        if name == "model_max_length" and group in ("tokenizer_args", "processor_kwargs"):
            stated = _count(path, values, name)
        elif name not in _HARMLESS and value is not None:
            raise _refused(
                path, f"{group}.{name}", value, "Such arguments are not passed on: save the model without it"
            )
    return stated


def _processing(path: Path, values: Any, stated: int | None) -> int | None:
    """Return what the arguments of tokenizing make of the longest input."""
    if values is None:
        return stated
    if not isinstance(values, Mapping):
        raise _refused(path, "processing_kwargs", values, "It must be an object")
    for group in ("common", "text"):
        for name, value in (values.get(group) or {}).items():
            if name == "max_length":
                stated = _count(path, values[group], name) or stated
            elif (name == "truncation" and value not in _TRUNCATED) or name not in (
                "padding",
                "return_tensors",
                "truncation",
            ):
                raise _refused(path, f"processing_kwargs.{group}.{name}", value, "Tokenizing is not changed by it here")
    return stated


def _count(path: Path, values: Mapping[str, Any], name: str) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _refused(path, name, value, "It must be a whole number of at least 1")
    return value


def _refused(path: Path, name: str, value: object, hint: str) -> CheckpointError:
    shown = repr(value)
    return CheckpointError(f"{path}: {name} is {shown if len(shown) <= 200 else shown[:200] + '...'}", hint)
