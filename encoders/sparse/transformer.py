"""Language models that torch runs as sparse encoders: on a GPU, and those that are not of BERT's form."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.base import QueryVector
from lexhound.encoders.checkpoints.loading import load_language_model
from lexhound.encoders.runtime.activation import activated
from lexhound.encoders.runtime.bert.model import not_in_integers
from lexhound.encoders.runtime.device import choose_device, choose_precision, precision_name
from lexhound.encoders.runtime.padding import padded
from lexhound.encoders.runtime.pooling import pooled
from lexhound.encoders.text.subwords import Subwords

from .layout import EncoderLayout
from .model_encoder import VocabularyEncoder
from .settings import LearnedSettings
from .vocabulary_size import require_outputs

if TYPE_CHECKING:
    import torch

    from lexhound.encoders.runtime.int16.head import MaximumHead


class LanguageModelEncoder(VocabularyEncoder):
    """The head of a masked or causal language model over the vocabulary: SPLADE, CLS-MLM, Mistral-SPLADE.

    Raises:
        CheckpointError: see `load_language_model`; or the tokenizer has more tokens than the head has outputs.
        SettingsError: 16-bit integers are asked for, or a device that is not there.
    """

    def __init__(self, root: Path, subwords: Subwords, layout: EncoderLayout, settings: LearnedSettings) -> None:
        if precision_name(settings.precision) == "int16":
            raise not_in_integers(root / layout.folder)
        self._device = choose_device(settings.device)
        dtype = choose_precision(settings.precision, self._device)
        self._model = load_language_model(
            root / layout.folder,
            self._device,
            dtype,
            causal=layout.echo,
            adapter=None if layout.adapter is None else root / layout.adapter,
            trust_remote_code=settings.trust_remote_code,
        )
        self.vocabulary_size = len(self._model.weight)
        require_outputs(root, subwords, self.vocabulary_size)
        self.width = int(self._model.weight.shape[1])
        self._pooling = settings.pooling or layout.pooling
        self._activation = settings.activation or layout.activation or "log1p_relu"
        super().__init__(subwords, layout, settings, model_limit=self._model.max_length)
        self._screened = self._screened_head(dtype)

    def _screened_head(self, dtype: torch.dtype) -> MaximumHead | None:
        """Return what takes the place of the head's product on a CPU with AVX2."""
        import torch

        from lexhound.encoders.runtime.int16.head import MaximumHead
        from lexhound.encoders.runtime.int16.kernels import available

        if self._device.type != "cpu" or dtype != torch.float32 or self._pooling != "max" or not available():
            return None
        bias = None if self._model.bias is None else self._model.bias.numpy()
        return MaximumHead(self._model.weight.numpy(), bias, whole=False)

    def _inference(self) -> AbstractContextManager[object]:
        import torch

        return torch.inference_mode()

    def _encode_batch(self, token_ids: list[list[int]]) -> list[QueryVector]:
        return self._pooled(*self._hidden(token_ids))

    def _encode_batch_with_states(
        self, token_ids: list[list[int]]
    ) -> list[tuple[QueryVector, NDArray[np.float32], NDArray[np.float32]]]:
        hidden, mask = self._hidden(token_ids)
        counted = mask.unsqueeze(-1)
        states = hidden.float()
        means = ((states * counted).sum(1) / counted.sum(1)).cpu().numpy()
        apart = [own[rows] for own, rows in zip(states.cpu().numpy(), mask.cpu().numpy(), strict=True)]
        return list(zip(self._pooled(hidden, mask), means, apart, strict=True))

    def _hidden(self, token_ids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return floating[n, longest, width] and the bool[n, longest] of what is pooled."""
        rows = [self._around(text_ids * 2 if self._layout.echo else text_ids) for text_ids in token_ids]
        ids, mask = padded(rows, self._model.padding, self._device)
        hidden = self._model.backbone(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        if self._layout.echo:  # only the second copy has seen the whole text
            for number, text_ids in enumerate(token_ids):
                start = len(self._subwords.prefix) + len(text_ids)
                mask[number, :start] = False
                mask[number, start + len(text_ids) :] = False
        return hidden, mask

    def _pooled(self, hidden: torch.Tensor, mask: torch.Tensor) -> list[QueryVector]:
        import torch

        model = self._model
        hidden = model.transform(hidden)
        if self._screened is not None:
            lengths = mask.sum(dim=1).tolist()
            vectors = self._screened.largest(hidden[mask].numpy(), lengths, torch.get_num_threads())
            if vectors is not None:
                return [self._vector(terms, logits) for terms, logits in vectors]
        weights = pooled(hidden, mask, model.weight, model.bias, pooling=self._pooling, activation=self._activation)
        return self._sparse(weights.float().cpu().numpy())

    def _vector(self, terms: NDArray[np.int32], logits: NDArray[np.float32]) -> QueryVector:
        allowed = self._is_term[terms]
        return terms[allowed], activated(logits[allowed], self._activation)
