"""What teachers say of texts and of pairs of texts: dense models, cross-encoders, sparse encoders.

A dense teacher scores a pair by the dot product of two unit vectors (Reimers & Gurevych, "Sentence-BERT", EMNLP 2019,
section 3); a cross-encoder reads the two together (Nogueira & Cho, "Passage Re-ranking with BERT", 2019, section 3).
Any sparse encoder of ours is a teacher too, by the dot product of its vectors (`scoring.sparse_scores`), and so is
BM25, which knows its collection: `lexhound.retrieval.mining`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base import fingerprint_of
from ..batches import by_length, halving
from ..checkpoints import _load, _place, _read_config, _require_weights, quiet, require_neural
from ..errors import CheckpointError, SettingsError
from ..hardware import choose_device, choose_precision
from ..hub import CONFIG, files_hash, locate
from ..layout import MODULES, inside, read_json
from ..routes import INPUT_CONFIG
from ..subwords import TOKENIZER_FILES, Subwords, encodable
from .shards import Progress, in_shards

if TYPE_CHECKING:
    import torch

POOLINGS = ("mean", "cls")
_NO_LIMIT = 512  # where neither the tokenizer nor the model says one
_VERSION = 1  # of how texts become scores: part of the name of every cached shard


@dataclass(frozen=True, slots=True)
class TeacherSettings:
    """Options of a teacher that runs a model.

    Attributes:
        max_length: longest input in tokens, special ones included; None for what the model's folder says.
        pooling: "mean" or "cls", how a dense teacher's tokens become one vector; None for what its folder says, and
            the mean where that says nothing.
        prompt: put before every text of a dense teacher ("query: " for some).
        batch_tokens: tokens a batch, padding included.
        device, precision: as of `lexhound.encoders.settings.LearnedSettings`.
    """

    max_length: int | None = None
    pooling: str | None = None
    prompt: str = ""
    batch_tokens: int = 8192
    device: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, least in (("max_length", 3), ("batch_tokens", 1)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise SettingsError(f"a teacher's {name} is {value!r}", f"It must be a whole number from {least} up")
        if self.pooling is not None and self.pooling not in POOLINGS:
            raise SettingsError(f"a teacher's pooling is {self.pooling!r}", f"It must be one of {', '.join(POOLINGS)}")


class DenseTeacher:
    """A sentence-embedding model: a plain Hugging Face folder, or one of sentence-transformers.

    Of the latter, a transformer followed by mean or CLS pooling is read; vectors are brought to unit length whether or
    not the folder says so. The model is loaded when something has to be computed, so texts whose vectors are all in
    the cache cost no model.

    Raises:
        CheckpointError, MissingExtraError: the folder is no such model, or cannot be read.
    """

    def __init__(self, folder: str | Path, settings: TeacherSettings | None = None) -> None:
        require_neural()
        self.settings = settings or TeacherSettings()
        self._root = locate(folder).folder
        self._transformer, pooling = _read_dense(self._root)
        self._pooling = self.settings.pooling or pooling

    def encode(
        self, texts: Sequence[str], *, cache: Path | None = None, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Return float32[len(texts), width], rows of unit length.

        Args:
            cache: folder in which the vectors are kept, in shards by content (see `in_shards`).
        """
        return in_shards(texts, self._encode, depends_on=self._key, cache=cache, progress=progress)

    @cached_property
    def _key(self) -> str:
        _, dtype = _where(self.settings)
        settings, length = self.settings, self._model.limit
        values = {
            "version": _VERSION, "kind": "dense", "files": files_hash(self._transformer), "length": length,
            "pooling": self._pooling, "prompt": settings.prompt, "precision": str(dtype),
        }  # fmt: skip
        return fingerprint_of(values)

    @cached_property
    def _model(self) -> _Inputs:
        return _Inputs(self._transformer, self._root, self.settings)

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        inputs = self._model
        body, device = inputs.load("AutoModel", "model", ignored="pooler.")
        room = inputs.limit - len(inputs.subwords.prefix) - len(inputs.subwords.suffix)
        prompt = self.settings.prompt
        rows = [
            [*inputs.subwords.prefix, *ids[:room], *inputs.subwords.suffix]
            for ids in inputs.subwords.ids_of([prompt + text for text in texts])
        ]

        def vectors(batch: list[list[int]]) -> list[NDArray[np.float32]]:
            ids, mask = _padded(batch, inputs.padding, device)
            hidden = body(input_ids=ids, attention_mask=_attention(mask)).last_hidden_state.float()
            if self._pooling == "cls":
                pooled = hidden[:, 0]
            else:
                pooled = (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
            return list(torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy())

        width = int(body.config.hidden_size)
        found = np.empty((len(rows), width), dtype=np.float32)
        with torch.inference_mode():
            for places in by_length([len(row) for row in rows], self.settings.batch_tokens):
                found[places] = halving(vectors, [rows[place] for place in places])
        return found


class CrossTeacher:
    """A cross-encoder: a sequence classifier with one output, which reads query and document together.

    Raises:
        CheckpointError, MissingExtraError: the folder is no such model, or cannot be read.
    """

    def __init__(self, folder: str | Path, settings: TeacherSettings | None = None) -> None:
        require_neural()
        self.settings = settings or TeacherSettings()
        self._root = locate(folder).folder

    def score(
        self, pairs: Sequence[tuple[str, str]], *, cache: Path | None = None, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Return float32[len(pairs)]: the logit of each (query, document), cut to the limit at the longer of the two.

        Args:
            cache: folder in which the scores are kept, in shards by content (see `in_shards`).
        """
        return in_shards(pairs, self._score, depends_on=self._key, cache=cache, progress=progress)

    @cached_property
    def _key(self) -> str:
        _, dtype = _where(self.settings)
        values = {
            "version": _VERSION, "kind": "cross-encoder", "files": files_hash(self._root),
            "length": self._model.limit, "precision": str(dtype),
        }  # fmt: skip
        return fingerprint_of(values)

    @cached_property
    def _model(self) -> _Inputs:
        return _Inputs(self._root, self._root, self.settings)

    @cached_property
    def _tokenizer(self) -> Any:
        """The tokenizer, cutting pairs at the model's limit."""
        return self._model.subwords.for_pairs(self._model.limit)

    def _score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        import torch

        inputs = self._model
        model, device = inputs.load("AutoModelForSequenceClassification", "cross-encoder")
        outputs = int(model.config.num_labels)
        if outputs != 1:
            raise CheckpointError(
                f"{self._root} gives {outputs} values a pair", "A teacher must give one: the relevance of the document"
            )
        typed = int(getattr(model.config, "type_vocab_size", 0)) > 1
        encoded = self._tokenizer.encode_batch([(encodable(query), encodable(text)) for query, text in pairs])
        rows = [(encoding.ids, encoding.type_ids) for encoding in encoded]

        def scores(batch: list[tuple[list[int], list[int]]]) -> list[float]:
            ids, mask = _padded([own for own, _ in batch], inputs.padding, device)
            types, _ = _padded([own for _, own in batch], 0, device)
            more = {"token_type_ids": types} if typed else {}
            logits = model(input_ids=ids, attention_mask=_attention(mask), **more).logits
            return [float(value) for value in logits.float().reshape(-1).tolist()]

        found = np.empty(len(rows), dtype=np.float32)
        with torch.inference_mode():
            for places in by_length([len(ids) for ids, _ in rows], self.settings.batch_tokens):
                found[places] = halving(scores, [rows[place] for place in places])
        return found


def encode_dense(
    folder: str | Path,
    texts: Sequence[str],
    *,
    settings: TeacherSettings | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return `DenseTeacher(folder, settings).encode(texts)`: float32[len(texts), width], rows of unit length."""
    return DenseTeacher(folder, settings).encode(texts, cache=cache, progress=progress)


def score_pairs(
    folder: str | Path,
    pairs: Sequence[tuple[str, str]],
    *,
    settings: TeacherSettings | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return `CrossTeacher(folder, settings).score(pairs)`: float32[len(pairs)], a logit each."""
    return CrossTeacher(folder, settings).score(pairs, cache=cache, progress=progress)


def _read_dense(root: Path) -> tuple[Path, str]:
    """Return the folder of the transformer and the pooling ("mean" where none is told) of a dense model."""
    path = root / MODULES
    if not path.is_file():
        return root, "mean"
    listed = read_json(path)
    try:
        modules = [(str(module["type"]).rpartition(".")[2], str(module["path"])) for module in listed]
    except (TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is not a list of modules", "Download the checkpoint again") from error
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or set(kinds[2:]) - {"Normalize"}:
        raise CheckpointError(
            f"{root} is made of {', '.join(kinds) or 'nothing'}",
            "A dense teacher is a Transformer, a Pooling and at most a Normalize of sentence-transformers",
        )
    transformer, pooling = (inside(root, folder, path) for _, folder in modules[:2])
    config = root / pooling / CONFIG
    values = read_json(config)
    found: object = values.get("pooling_mode") if isinstance(values, dict) else None
    if isinstance(values, dict) and found is None:  # as older versions wrote it
        on = [name for name, value in values.items() if name.startswith("pooling_mode_") and value]
        names = [name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for name in on]
        found = names[0] if len(names) == 1 else names
    if found not in POOLINGS:
        raise CheckpointError(f"{config}: the pooling is {found!r}", f"It must be one of {', '.join(POOLINGS)}")
    return root / transformer, str(found)


def _where(settings: TeacherSettings) -> tuple[torch.device, torch.dtype]:
    device = choose_device(settings.device)
    return device, choose_precision(settings.precision, device)


class _Inputs:
    """A teacher's tokenizer, the longest input it takes, and its model once that is needed."""

    def __init__(self, folder: Path, root: Path, settings: TeacherSettings) -> None:
        _require_weights(folder)
        own = any((folder / name).is_file() for name in TOKENIZER_FILES)
        self.subwords = Subwords.open(folder if own else root)
        self._folder = folder
        self._settings = settings
        self._loaded: Any = None
        with quiet():
            config = _read_config(folder, trust_remote_code=False)
        told = read_json(folder / INPUT_CONFIG) if (folder / INPUT_CONFIG).is_file() else {}
        limits = (
            settings.max_length, told.get("max_seq_length") if isinstance(told, dict) else None,
            self.subwords.max_length, _positions(config),
        )  # fmt: skip
        known = [limit for limit in limits if isinstance(limit, int)]
        self.limit = min(known, default=_NO_LIMIT)
        if self.limit <= len(self.subwords.prefix) + len(self.subwords.suffix):
            raise SettingsError(f"a teacher's max_length is {self.limit}", "Special tokens alone are that many")
        padding = getattr(config, "pad_token_id", None)
        self.padding = padding if isinstance(padding, int) and padding >= 0 else 0
        self._config = config

    def load(self, family: str, kind: str, ignored: str = "\0") -> tuple[Any, torch.device]:
        """Return the model, an `AutoModel...` of transformers, in evaluation mode, and its device."""
        import transformers

        device, dtype = _where(self._settings)
        if self._loaded is None:
            with quiet():
                model = _load(getattr(transformers, family), self._folder, self._config, kind, False, ignored)
            model = model.float().eval()
            _place(model, device, dtype)
            self._loaded = model
        return self._loaded, device


def _positions(config: Any) -> int | None:
    """The longest input that a model's positions allow."""
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    # RoBERTa and its kin number positions from after the padding index.
    kind = str(getattr(config, "model_type", ""))
    after = "roberta" in kind or kind in {"mpnet", "camembert", "longformer"}
    return positions - (int(config.pad_token_id) + 1 if after else 0)


def _attention(mask: torch.Tensor) -> torch.Tensor | None:
    """What a model is told of padding: without any, nothing, and attention takes its fastest path."""
    return None if bool(mask.all()) else mask.long()


def _padded(rows: list[list[int]], padding: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return int64 ids and the bool mask of those that are no padding, both [rows, longest]."""
    import torch

    ids = np.full((len(rows), max(map(len, rows))), padding, dtype=np.int64)
    mask = np.zeros(ids.shape, dtype=bool)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = True
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
