"""The document encoder of an encoder while it is trained: a masked language model whose head gives one weight a term.

Only the columns of the vocabulary that a step asks for are computed: the terms of the step's queries, on which every
score depends, and a sample of the others, from which the sparsity is estimated. On a CPU the head over a whole
vocabulary costs as much as the backbone; over a tenth of it, next to nothing, and the scores are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lexhound.encoders.checkpoints.files import MODULES, OWN_FILE, read_json
from lexhound.encoders.checkpoints.hub import locate
from lexhound.encoders.checkpoints.loading import open_masked_lm
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.runtime.batching import by_length
from lexhound.encoders.runtime.pooling import activate, largest_logits
from lexhound.encoders.sparse.folders import read_layout
from lexhound.encoders.text.subwords import Subwords
from lexhound.encoders.text.token_reader import TokenReader

_BATCH, _CPU_BATCH = 4096, 1024


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Settings of how a document encoder reads texts and makes weights.

    Attributes:
        start: folder or name of the checkpoint to start from: a masked language model, a backbone without a head, or a
            sparse encoder, whose document encoder is meant.
        max_length: longest document in tokens while training, special tokens included.
        activation: one of `lexhound.encoders.runtime.pooling.ACTIVATIONS`.
        frozen_layers: how many of the lowest transformer layers, and the embeddings below them, are left as they are.
            Training costs that much less; the embeddings still learn as the head's decoder where the two are tied.
    """

    start: str
    max_length: int = 128
    activation: str = "log1p_relu"
    frozen_layers: int = 0


class TrainableEncoder(torch.nn.Module):
    """A document encoder under training.

    Attributes:
        subwords: its tokenizer.
        has_head: False where the checkpoint brought a backbone alone, whose head is then random until it is solved for
            (see `initialise`).
        vocabulary_size: width of the head.
        terms: bool[vocabulary], False for special tokens and outputs without a token, which never become terms.

    Raises:
        CheckpointError: see `open_masked_lm` and `Subwords.open`; or the tokenizer does not fit the head.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        folder = self.folder = _document_folder(locate(settings.start).folder)
        self.settings = settings
        self.subwords = Subwords.open(folder)
        opened = open_masked_lm(folder)
        self.network: Any = opened.network
        self.has_head = opened.has_head
        self._backbone, self._transform, self._decoder = opened.backbone, opened.transform, opened.decoder
        self._padding = opened.padding
        self._limit = opened.max_length
        self.vocabulary_size = len(self._decoder.weight)
        if self.subwords.size > self.vocabulary_size:
            raise CheckpointError(
                f"{folder}: the tokenizer has {self.subwords.size} tokens and the head {self.vocabulary_size} outputs",
                "The two come from different models: bring the model's own tokenizer",
            )
        terms = np.zeros(self.vocabulary_size, dtype=bool)
        terms[: self.subwords.size] = ~self.subwords.special
        self.terms = terms
        self._detached = settings.frozen_layers > 0
        self._freeze(settings.frozen_layers)
        self.eval()  # no dropout: at this size and so few steps it costs more than it brings

    def _freeze(self, layers: int) -> None:
        if layers == 0:
            return
        stack = max(
            (module for module in self._backbone.modules() if isinstance(module, torch.nn.ModuleList)),
            key=len,
            default=torch.nn.ModuleList(),
        )
        if layers > len(stack):
            raise CheckpointError(f"the model has {len(stack)} layers, fewer than the {layers} to freeze", "Lower it")
        for layer in stack[:layers]:
            layer.requires_grad_(False)
        embeddings = self._backbone.get_input_embeddings().weight
        for name, parameter in self._backbone.named_parameters():
            if name.startswith("embeddings.") and parameter is not embeddings:
                parameter.requires_grad_(False)
        if self._decoder.weight is not embeddings:
            embeddings.requires_grad_(False)

    def head_parameters(self) -> list[torch.nn.Parameter]:
        """Return the weights between backbone and decoder."""
        others = {id(parameter) for parameter in (*self._backbone.parameters(), *self._decoder.parameters())}
        return [parameter for parameter in self.network.parameters() if id(parameter) not in others]

    def token_ids(self, texts: Sequence[str], max_length: int | None = None) -> list[NDArray[np.int32]]:
        """Return each text's token ids, int32, cut to the limit or the model's own, without special tokens around."""
        room = self._room(max_length)
        return [np.array(ids[:room], dtype=np.int32) for ids in self.subwords.ids_of(texts, room)]

    def reader(self, max_length: int | None = None) -> TokenReader:
        """Return how a text is read, as `token_ids` cuts it."""
        around = len(self.subwords.prefix) + len(self.subwords.suffix)
        return TokenReader(self.subwords, self._room(max_length), around)

    def _room(self, max_length: int | None) -> int:
        extra = len(self.subwords.prefix) + len(self.subwords.suffix)
        length = max_length or self.settings.max_length
        return max(1, (length if self._limit is None else min(length, self._limit)) - extra)

    def hidden(self, token_ids: Sequence[NDArray[np.int32]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the backbone's float[batch, length, width] and the bool[batch, length] of what is no padding."""
        rows = [[*self.subwords.prefix, *text_ids.tolist(), *self.subwords.suffix] for text_ids in token_ids]
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self._padding, dtype=torch.int64)
        mask = torch.zeros((len(rows), longest), dtype=torch.bool)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = True
        ids, mask = ids.to(self.device), mask.to(self.device)
        # Without padding there is nothing to mask, and attention takes its fastest path.
        attention = None if bool(mask.all()) else mask.long()
        if self._detached:
            embedded = self._backbone.get_input_embeddings()(ids).detach()
            return self._backbone(inputs_embeds=embedded, attention_mask=attention).last_hidden_state, mask
        return self._backbone(input_ids=ids, attention_mask=attention).last_hidden_state, mask

    def logits_and_means(
        self,
        token_ids: Sequence[NDArray[np.int32]],
        columns: torch.Tensor | None = None,
        *,
        batch_tokens: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each document's largest logit of each term, and its mean hidden state; both with their gradients.

        Args:
            token_ids: as `token_ids` makes them.
            columns: int64[columns], the terms asked for; all of the vocabulary by default.
            batch_tokens: tokens a pass through the backbone, padding included; by default what suits the device.

        Returns:
            float32[len(token_ids), columns] and float32[len(token_ids), width], special tokens counted in the mean as
            sentence encoders do.
        """
        weight, bias = self._decoder.weight, self._decoder.bias
        if columns is not None:
            weight = weight.index_select(0, columns)
            bias = None if bias is None else bias.index_select(0, columns)
        extra = len(self.subwords.prefix) + len(self.subwords.suffix)
        order: list[int] = []
        logits: list[torch.Tensor] = []
        means: list[torch.Tensor] = []
        most = batch_tokens or self._batch_tokens
        for positions in by_length([len(text_ids) + extra for text_ids in token_ids], most):
            hidden, mask = self.hidden([token_ids[position] for position in positions])
            logits.append(largest_logits(self._transform(hidden), mask, weight, bias))
            counted = mask.unsqueeze(-1).to(hidden.dtype)
            means.append(((hidden * counted).sum(dim=1) / counted.sum(dim=1)).float())
            order += positions
        back = torch.empty(len(order), dtype=torch.int64)
        back[torch.tensor(order)] = torch.arange(len(order))
        back = back.to(logits[0].device)
        return torch.cat(logits).index_select(0, back), torch.cat(means).index_select(0, back)

    def logits(self, token_ids: Sequence[NDArray[np.int32]], *, batch_tokens: int | None = None) -> torch.Tensor:
        """Return float32[len(token_ids), vocabulary]: each document's largest logit of each term."""
        return self.logits_and_means(token_ids, batch_tokens=batch_tokens)[0]

    def weights_of(self, logits: torch.Tensor) -> torch.Tensor:
        """Apply the activation."""
        return activate(logits, self.settings.activation)

    @property
    def _batch_tokens(self) -> int:
        """Tokens a pass: on a CPU few, so that texts of a pass are of one length and hardly any padding is computed."""
        return _CPU_BATCH if self.device.type == "cpu" else _BATCH

    @property
    def width(self) -> int:
        """Length of a hidden state."""
        return int(self.network.config.hidden_size)

    @property
    def device(self) -> torch.device:
        weight: torch.Tensor = self._decoder.weight
        return weight.device

    @property
    def decoder_bias(self) -> torch.nn.Parameter:
        """float[vocabulary], the head's bias.

        Raises:
            CheckpointError: the head has none.
        """
        bias = self._decoder.bias
        if bias is None:
            raise CheckpointError("the head's decoder has no bias", "Start from a model whose head has one")
        parameter: torch.nn.Parameter = bias
        return parameter

    @property
    def decoder_weight(self) -> torch.nn.Parameter:
        """float[vocabulary, width], tied to the input embeddings in most models."""
        parameter: torch.nn.Parameter = self._decoder.weight
        return parameter

    def transformed(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return what the decoder takes: the head's transform of hidden states."""
        return self._transform(hidden)

    def encode(
        self,
        token_ids: Sequence[NDArray[np.int32]],
        *,
        batch_tokens: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> csr_array:
        """Return float32 csr_array[len(token_ids), vocabulary], without gradients; texts without a token have no terms.

        Args:
            progress: called with the number of documents done after every batch.
        """
        return self.encode_with_means(token_ids, batch_tokens=batch_tokens, progress=progress)[0]

    def encode_with_means(
        self,
        token_ids: Sequence[NDArray[np.int32]],
        *,
        batch_tokens: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> tuple[csr_array, NDArray[np.float32]]:
        """Return what `encode` does, and float32[len(token_ids), width], the mean states of the same pass; zeros for
        texts without a token.
        """
        extra = len(self.subwords.prefix) + len(self.subwords.suffix)
        vectors: list[tuple[NDArray[np.int32], NDArray[np.float32]]] = [
            (np.empty(0, np.int32), np.empty(0, np.float32))
        ] * len(token_ids)
        means = np.zeros((len(token_ids), self.width), dtype=np.float32)
        allowed = torch.from_numpy(self.terms)
        done = 0
        with torch.inference_mode():
            most = batch_tokens or self._batch_tokens
            for positions in by_length([len(text_ids) + extra for text_ids in token_ids], most):
                logits, states = self.logits_and_means(
                    [token_ids[position] for position in positions], batch_tokens=most
                )
                rows = (self.weights_of(logits).cpu() * allowed).numpy()
                for position, row, state in zip(positions, rows, states.cpu().numpy(), strict=True):
                    if len(token_ids[position]):
                        terms = np.flatnonzero(row > 0).astype(np.int32)
                        vectors[position] = terms, row[terms]
                        means[position] = state
                done += len(positions)
                if progress is not None:
                    progress(done)
        starts = np.zeros(len(token_ids) + 1, dtype=np.int64)
        np.cumsum([len(terms) for terms, _ in vectors], out=starts[1:])
        terms = np.concatenate([terms for terms, _ in vectors]) if vectors else np.empty(0, np.int32)
        values = np.concatenate([values for _, values in vectors]) if vectors else np.empty(0, np.float32)
        return csr_array((values, terms, starts), shape=(len(token_ids), self.vocabulary_size)), means


def _document_folder(root: Path) -> Path:
    """Return where the document encoder's model lies: in a folder of its own if `root` holds a whole sparse encoder."""
    if not any((root / name).is_file() for name in (OWN_FILE, MODULES)):
        return root
    if (root / MODULES).is_file() and not (root / OWN_FILE).is_file():
        kinds = {str(module.get("type", "")).rpartition(".")[2] for module in read_json(root / MODULES)}
        if "Pooling" in kinds:  # a sentence-embedding model: its backbone is what one starts from
            return root
    document = read_layout(root).document
    if document.kind != "mlm":
        raise CheckpointError(f"{root} has no language model on its document encoder", "Start from one that has")
    return root / document.folder
