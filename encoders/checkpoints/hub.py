"""Finding a checkpoint's folder, on the disk or on the Hugging Face hub, and telling whether its files changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lexhound.core.errors import first_line
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.text.subwords import TOKENIZER_FILES

from .bundled import DEFAULT, MINI, bundled_folder
from .misspelt import BUILT_IN, check_spelling, encoder_folders

CONFIG = "config.json"
SAFE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
OLD_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin")
SURFACE_MATCH_FILE = "shares.safetensors"  # beside a query table: `lexhound.encoders.sparse.exact_terms`
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_TOKENIZER_FILES = (
    *TOKENIZER_FILES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
)  # fmt: skip
# Early versions of sentence-transformers named a file after the architecture.
OLD_KINDS = ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
# What else determines the vectors; README files, training logs and other formats' weights do not.
SMALL_FILES = (
    CONFIG, *_TOKENIZER_FILES, "adapter_config.json", "lexhound_encoder.json", "modules.json", "router_config.json",
    "idf.json", "query_token_weights.txt", SURFACE_MATCH_FILE, "config_sentence_transformers.json",
    "sentence_bert_config.json",
    *(f"sentence_{kind}_config.json" for kind in OLD_KINDS),
)  # fmt: skip
# An organisation and a name, or the name alone of the hub's first models.
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Located:
    """The place of a checkpoint.

    Attributes:
        folder: the folder that holds it.
        name: what it is found by again: the hub name, or the folder's absolute path.
        revision: the hub's commit, or None for a folder.
    """

    folder: Path
    name: str
    revision: str | None = None


def locate(source: str | Path) -> Located:
    """Return the folder of a checkpoint: a folder, an encoder that comes with the package, or a hub name, downloaded.

    Raises:
        UnknownEncoderError: the name is nearly that of an encoder that is here.
        CheckpointError: there is no such folder, or the hub does not serve such a model or cannot be reached.
    """
    text = MINI if str(source) == DEFAULT and not Path(DEFAULT).is_dir() else str(source)
    bundled = bundled_folder(text)
    if bundled is not None and not Path(text).is_dir():
        return Located(bundled, text)
    try:
        path = Path(source).expanduser()
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, RuntimeError, ValueError):  # too long, or the home of nobody
        path, is_folder, exists = Path(), False, False
    if is_folder:
        return Located(path, str(path.resolve()))
    if exists:
        raise CheckpointError(f"{text} is a file", f"Give the folder that holds {CONFIG} and the weights")
    if isinstance(source, Path) or not _HUB_NAME.fullmatch(text):
        if not isinstance(source, Path):
            check_spelling(text, encoder_folders(Path()))
        raise CheckpointError(
            f"there is no folder {text[:200]}", "Give an existing folder, or a hub name such as org/model"
        )
    check_spelling(text, encoder_folders(Path()))
    folder = _download(text)
    return Located(folder, text, folder.name if _COMMIT.fullmatch(folder.name) else None)


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files that will be loaded: safetensors where there are any."""
    for patterns in (SAFE_WEIGHTS, OLD_WEIGHTS):
        paths = sorted(path for pattern in patterns for path in folder.glob(pattern))
        if any(path.suffix != ".json" for path in paths):
            return paths
    return []


def files_hash(folder: Path, tables: Sequence[str] | None = None) -> str:
    """Return a hex SHA-256 over names and contents of the files of one folder that determine its vectors.

    Args:
        tables: where no model is run, the files beside the tokenizer's that count: so that opening a collection need
            not read a model that its searches do not use.
    """
    if tables is None:
        code = (path.name for path in folder.glob("*.py"))  # what --trust-remote-code runs
        names = [*SMALL_FILES, *ADAPTER_WEIGHTS, *(path.name for path in weight_files(folder)), *code]
    else:
        names = [*_TOKENIZER_FILES, *tables]
    total = hashlib.sha256()
    for path in (folder / name for name in sorted(set(names)) if name and (folder / name).is_file()):
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _download(name: str) -> Path:
    """Return the local snapshot of a hub model; what is cached already is not fetched again."""
    by_hand = (
        f"Where there is a network, run `hf download {name} --local-dir {name.rpartition('/')[2]}`, bring that folder "
        f"here and give its path; it must hold {CONFIG}, the tokenizer's files and model.safetensors"
    )
    if "/" not in name:
        by_hand = f"Lexhound brings {' and '.join(BUILT_IN)}; a folder is given by its path. {by_hand}"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    # Modules of sentence-transformers lie in folders of their own.
    small = [*SMALL_FILES, *(f"*/{file}" for file in SMALL_FILES), *ADAPTER_WEIGHTS]
    safe = [*SAFE_WEIGHTS, *(f"*/{file}" for file in SAFE_WEIGHTS)]
    old = [*OLD_WEIGHTS, *(f"*/{file}" for file in OLD_WEIGHTS)]
    try:
        folder = Path(snapshot_download(name, allow_patterns=[*small, *safe]))
        if not any(weight_files(part) for part in (folder, *(path for path in folder.iterdir() if path.is_dir()))):
            folder = Path(snapshot_download(name, allow_patterns=[*small, *old]))
    except GatedRepoError as error:
        raise CheckpointError(
            f"the model {name} is only for those who accept its conditions on the Hugging Face hub",
            f"Accept them on its page, then run `hf auth login`. {by_hand}",
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{name} is neither a folder here nor a model on the Hugging Face hub",
            f"Check the spelling; Lexhound brings {' and '.join(BUILT_IN)}",
        ) from error
    except Exception as error:
        reason = first_line(error)
        raise CheckpointError(
            f"{name} is not a folder here, and the Hugging Face hub cannot be reached ({reason})", by_hand
        ) from error
    return folder
