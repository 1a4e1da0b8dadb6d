"""Finding, checking and loading a Hugging Face masked-language-model checkpoint.

A checkpoint is a folder with `config.json`, a tokenizer and weights. It is loaded only if every weight of its
masked-language-model head is in the files: a head that the library would fill with random numbers makes vectors that
look like any others. Code that comes with a checkpoint is never run.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError, MissingExtraError

if TYPE_CHECKING:
    import torch

CONFIG = "config.json"
_TOKENIZERS = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
_SAFE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
_OLD_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin")
# What else determines the vectors; README files, training logs and other formats' weights do not.
_SMALL_FILES = (
    CONFIG, *_TOKENIZERS, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
)  # fmt: skip
# An organisation and a name, or the name alone of the hub's first models.
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_NO_LIMIT = 1_000_000  # tokenizers without a limit say 10 ** 30


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A loaded masked language model, taken apart into its body and its head.

    Attributes:
        name: the hub name, or the folder's absolute path.
        body: token ids and attention mask -> hidden states.
        head: hidden states, given as `inputs_embeds` -> an output with `logits`.
        tokenizer: a fast (Rust) tokenizer.
        vocabulary_size: number of logits the head gives.
        max_length: the longest input in tokens, special tokens included.
        files_hash: hex SHA-256 over the files that determine the vectors.
    """

    name: str
    body: torch.nn.Module
    head: torch.nn.Module
    tokenizer: Any
    vocabulary_size: int
    max_length: int
    files_hash: str


def load_checkpoint(source: str | Path, device: torch.device) -> Checkpoint:
    """Load a masked language model from a folder or, by name, from the Hugging Face hub, in evaluation mode.

    Raises:
        CheckpointError: nothing is there, files are missing or unreadable, it is not a masked language model, the
            tokenizer has more tokens than the head has outputs, or the hub cannot be reached.
        MissingExtraError: torch or transformers is not installed.
    """
    require_neural()
    folder, name = locate(source)
    config = _read_config(folder)
    if not any((folder / file).is_file() for file in _TOKENIZERS):
        raise CheckpointError(
            f"{folder} has no tokenizer", f"Put its tokenizer files ({_TOKENIZERS[0]}) beside {CONFIG}"
        )
    if not _weight_files(folder):
        raise CheckpointError(f"{folder} has no weights", f"Put model.safetensors beside {CONFIG}")
    with _quiet():
        tokenizer = _load_tokenizer(folder)
        model = _load_model(folder, config)
    model = model.to(device=device).float().eval()
    width = _head_width(model)
    if len(tokenizer) > width:
        raise CheckpointError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens and the model's head {width} outputs",
            "The two come from different models: put the tokenizer that the model was trained with into the folder",
        )
    body, head = _take_apart(model, folder)
    return Checkpoint(name, body, head, tokenizer, width, _longest_input(model, tokenizer), files_hash(folder))


def require_neural() -> None:
    """Raise MissingExtraError unless torch and transformers can be imported."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"encoding with a model needs {error.name}, which is not installed", "pip install 'lexhound[neural]'"
        ) from error


def locate(source: str | Path) -> tuple[Path, str]:
    """Return the folder of a checkpoint (downloaded first, for a hub name) and the name to find it by again."""
    text = str(source)
    try:
        path = Path(source).expanduser()
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, RuntimeError, ValueError):  # too long, or the home of nobody
        path, is_folder, exists = Path(), False, False
    if is_folder:
        return path, str(path.resolve())
    if exists:
        raise CheckpointError(f"{text} is a file", f"Give the folder that holds {CONFIG} and the weights")
    if isinstance(source, Path) or not _HUB_NAME.fullmatch(text):
        raise CheckpointError(
            f"there is no folder {text[:200]}", "Give an existing folder, or a hub name such as org/model"
        )
    return _download(text), text


def files_hash(folder: Path) -> str:
    """Return a hex SHA-256 over names and contents of the files that determine the vectors."""
    files = [folder / name for name in _SMALL_FILES if (folder / name).is_file()] + _weight_files(folder)
    total = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _download(name: str) -> Path:
    """Return the local snapshot of a hub model; what is cached already is not fetched again."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    by_hand = (
        f"Where there is a network, run `hf download {name} --local-dir {name.rpartition('/')[2]}`, bring that folder "
        f"here and give its path; it must hold {CONFIG}, the tokenizer's files and model.safetensors"
    )
    try:
        folder = Path(snapshot_download(name, allow_patterns=[*_SMALL_FILES, *_SAFE_WEIGHTS]))
        if not _weight_files(folder):
            folder = Path(snapshot_download(name, allow_patterns=[*_SMALL_FILES, *_OLD_WEIGHTS]))
    except GatedRepoError as error:
        raise CheckpointError(
            f"the model {name} is only for those who accept its conditions on the Hugging Face hub",
            f"Accept them on its page, then run `hf auth login`. {by_hand}",
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{name} is neither a folder here nor a model on the Hugging Face hub", "Check the spelling"
        ) from error
    except Exception as error:
        raise CheckpointError(
            f"{name} is not a folder here, and the Hugging Face hub cannot be reached ({_first_line(error)})", by_hand
        ) from error
    return folder


def _read_config(folder: Path) -> Any:
    """Return the checkpoint's configuration, after making sure that it says masked language model."""
    import transformers

    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {CONFIG}", "Give the folder of a Hugging Face masked language model")
    try:
        values = json.loads(path.read_bytes())
        if not isinstance(values, dict):
            raise ValueError("it is not an object")
        with _quiet():
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {_first_line(error)}", "Download the checkpoint again"
        ) from error
    names = [str(name) for name in config.architectures or ()]
    if names and not any(name.endswith(("ForMaskedLM", "ForPreTraining")) for name in names):
        raise CheckpointError(
            f"{folder} is not a masked language model: {CONFIG} says {', '.join(names)}",
            "Choose a checkpoint saved as ...ForMaskedLM, such as a SPLADE: its head makes the vectors",
        )
    return config


def _load_tokenizer(folder: Path) -> Any:
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, use_fast=True, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise CheckpointError(
            f"the tokenizer in {folder} cannot be read: {_first_line(error)}", "Download the checkpoint again"
        ) from error
    if not tokenizer.is_fast:
        raise CheckpointError(f"{folder} has no fast tokenizer", f"Its folder must hold {_TOKENIZERS[0]}")
    return tokenizer


def _load_model(folder: Path, config: Any) -> torch.nn.Module:
    import transformers
    from safetensors import SafetensorError

    try:
        model, report = transformers.AutoModelForMaskedLM.from_pretrained(
            folder, config=config, output_loading_info=True, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} cannot be loaded as a masked language model: {_first_line(error)}",
            "Check that the checkpoint is complete and of a ...ForMaskedLM architecture",
        ) from error
    absent = sorted(report["missing_keys"]) + sorted(str(key) for key in report.get("mismatched_keys", ()))
    if absent:
        raise CheckpointError(
            f"{folder} is not a masked language model: its files lack {len(absent)} of the weights"
            f" ({', '.join(absent[:3])})",
            "A head without weights would be random; choose a checkpoint saved as ...ForMaskedLM",
        )
    loaded: torch.nn.Module = model
    return loaded


def _head_width(model: Any) -> int:
    output = model.get_output_embeddings()
    return int(model.config.vocab_size if output is None else output.weight.shape[0])


def _longest_input(model: Any, tokenizer: Any) -> int:
    """Return how many tokens the model takes: the smaller of what its tokenizer and its positions say."""
    limits = [int(tokenizer.model_max_length)] if tokenizer.model_max_length < _NO_LIMIT else []
    positions = getattr(model.config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        # RoBERTa and its kin number positions from after the padding index.
        embeddings = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
        padding = getattr(embeddings, "padding_idx", None)
        limits.append(positions - (padding + 1 if padding is not None else 0))
    return min(limits, default=512)


def _take_apart(model: Any, folder: Path) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Return the model's body and its head, so that the head can be applied to one document at a time.

    The head is the model itself with a body that hands `inputs_embeds` through: so every architecture's own head is
    used as it is, whatever its parts are called. That the two together give what the whole gives is checked here.
    """
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    class Through(torch.nn.Module):
        def forward(self, *_: Any, inputs_embeds: torch.Tensor, **__: Any) -> Any:
            return BaseModelOutput(last_hidden_state=inputs_embeds)

    body = model.base_model
    head = copy.copy(model)
    head.__dict__["_modules"] = {**model._modules, model.base_model_prefix: Through()}
    ids = torch.tensor([[0, 1, 2]], device=next(model.parameters()).device)
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        try:
            whole = model(input_ids=ids, attention_mask=mask).logits
            parts = head(inputs_embeds=body(input_ids=ids, attention_mask=mask).last_hidden_state).logits
            same = whole.shape == parts.shape and torch.allclose(whole, parts, rtol=1e-4, atol=1e-4)
        except (AttributeError, TypeError, KeyError, IndexError, RuntimeError, ValueError) as error:
            raise _unsupported(folder, model) from error
    if body is model or not same:
        raise _unsupported(folder, model)
    return body, head


def _unsupported(folder: Path, model: Any) -> CheckpointError:
    return CheckpointError(
        f"{folder} is a {type(model).__name__}, whose head cannot be told from its body",
        "BERT, DistilBERT, RoBERTa, XLM-RoBERTa, MPNet, ModernBERT and their kin are supported",
    )


def _weight_files(folder: Path) -> list[Path]:
    """Return the weight files that will be loaded: safetensors where there are any."""
    for patterns in (_SAFE_WEIGHTS, _OLD_WEIGHTS):
        found = sorted(path for pattern in patterns for path in folder.glob(pattern))
        if any(path.suffix != ".json" for path in found):
            return found
    return []


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and loading reports off standard error: what matters in them becomes an error."""
    import transformers

    reports: Any = transformers.utils.logging
    level, bars = reports.get_verbosity(), reports.is_progress_bar_enabled()
    reports.set_verbosity(logging.CRITICAL)
    reports.disable_progress_bar()
    try:
        yield
    finally:
        reports.set_verbosity(level)
        if bars:
            reports.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
