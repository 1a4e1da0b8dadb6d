"""BERT and its kin run with 16-bit integer products: token ids in, last hidden states out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .kernels import available, layers, normalised
from .packing import filled, in_turn, packed
from .tiles import COLUMNS

if TYPE_CHECKING:
    import torch

_CHUNK = (
    240  # tokens that one thread takes through all layers: enough to use each weight often, few enough for its cache
)
_CLOSE = 5e-3  # of the largest state: ten times what rounding makes of it


@dataclass(frozen=True, slots=True)
class Layers:
    """The weights of all layers, each array stacked over them; `packed` gives the first three of a linear layer."""

    in_weight: NDArray[np.int16]
    in_scales: NDArray[np.float32]
    in_bias: NDArray[np.float32]
    mix_weight: NDArray[np.int16]
    mix_scales: NDArray[np.float32]
    mix_bias: NDArray[np.float32]
    mix_gain: NDArray[np.float32]
    mix_shift: NDArray[np.float32]
    up_weight: NDArray[np.int16]
    up_scales: NDArray[np.float32]
    up_bias: NDArray[np.float32]
    down_weight: NDArray[np.int16]
    down_scales: NDArray[np.float32]
    down_bias: NDArray[np.float32]
    down_gain: NDArray[np.float32]
    down_shift: NDArray[np.float32]


class IntegerBackbone:
    """A transformer's layers in integers. Safe to call from several threads.

    Attributes:
        width: of a state.
    """

    def __init__(
        self,
        words: NDArray[np.float32],
        positions: NDArray[np.float32],
        gain: NDArray[np.float32],
        shift: NDArray[np.float32],
        stacked: Layers,
        heads: int,
        epsilon: float,
        uncounted: int | None,
    ) -> None:
        self.width = words.shape[1]
        self._words = words
        self._positions = positions  # with what the type of a token adds
        self._uncounted = (
            uncounted  # the token that RoBERTa and its kin do not count, also the place of the others' zero
        )
        self._norm = gain, shift
        self._layers = tuple(getattr(stacked, name) for name in Layers.__dataclass_fields__)
        self._heads = heads
        self._epsilon = np.float32(epsilon)

    def states(self, rows: Sequence[Sequence[int]], threads: int = 1) -> NDArray[np.float32]:
        """Return float32[tokens, width], the last hidden states of the rows' tokens, one row after the other."""
        lengths = [len(row) for row in rows]
        ends = np.cumsum([0, *lengths])
        out = np.empty((int(ends[-1]), self.width), dtype=np.float32)
        chunks = list(_chunks(lengths))

        def run(chunk: range) -> None:
            out[ends[chunk.start] : ends[chunk.stop]] = self._chunk([rows[number] for number in chunk])

        for _ in in_turn(run, chunks, threads):
            pass
        return out

    def _chunk(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        starts = np.cumsum([0, *(len(row) for row in rows)])
        tokens = int(starts[-1])
        x = np.zeros((filled(tokens), self.width), dtype=np.float32)
        for row, start in zip(rows, starts, strict=False):
            x[start : start + len(row)] = self._words[row] + self._positions[self._position_ids(row)]
        normalised(x, *self._norm, self._epsilon)
        layers(x, starts, self._heads, self._epsilon, self._layers)
        return x[:tokens]

    def _position_ids(self, row: Sequence[int]) -> NDArray[np.int64]:
        if self._uncounted is None:
            return np.arange(len(row))
        counted = np.asarray(row) != self._uncounted
        position_ids: NDArray[np.int64] = np.cumsum(counted) * counted + self._uncounted
        return position_ids


def _chunks(lengths: Sequence[int]) -> list[range]:
    """Return ranges of rows with about `_CHUNK` tokens, or one longer row."""
    chunks, start, tokens = [], 0, 0
    for number, length in enumerate(lengths):
        if number > start and tokens + length > _CHUNK:
            chunks.append(range(start, number))
            start, tokens = number, 0
        tokens += length
    return [*chunks, range(start, len(lengths))] if lengths else []


def integer_backbone(backbone: torch.nn.Module, vocabulary_size: int) -> IntegerBackbone | None:
    """Return the twin of a transformer of transformers; None where it has another form, or the processor lacks AVX2.

    Understood are BERT, RoBERTa, XLM-RoBERTa, CamemBERT and DistilBERT with absolute positions and the exact GELU. That
    the twin gives what the model gives is checked here.
    """
    config = getattr(backbone, "config", None)
    kind = getattr(config, "model_type", None)
    if not available() or kind not in _FORMS:
        return None
    try:
        twin = _FORMS[kind](backbone, config)
    except (AttributeError, TypeError):
        return None
    return twin if twin is not None and _same(backbone, twin, vocabulary_size) else None


def _same(backbone: Any, twin: IntegerBackbone, vocabulary_size: int) -> bool:
    import torch

    generator = np.random.default_rng(0)
    for length in (3, 19):
        ids = generator.integers(0, vocabulary_size, length)
        ids[ids == getattr(backbone.config, "pad_token_id", None)] = 0 if backbone.config.pad_token_id else 1
        row = torch.from_numpy(ids)[None]
        with torch.inference_mode():
            expected = backbone(input_ids=row, attention_mask=torch.ones_like(row)).last_hidden_state[0].float().numpy()
        if not np.abs(twin.states([ids.tolist()]) - expected).max() <= _CLOSE * np.abs(expected).max():
            return False
    return True


def _bert(backbone: Any, config: Any) -> IntegerBackbone | None:
    if (
        getattr(config, "position_embedding_type", None) not in (None, "absolute")
        or getattr(config, "is_decoder", False)
        or config.hidden_act != "gelu"
    ):
        return None
    parts = backbone.embeddings
    positions = _array(parts.position_embeddings.weight) + _array(parts.token_type_embeddings.weight)[0]
    return _build(
        parts.word_embeddings,
        positions,
        parts.LayerNorm,
        [
            (
                (layer.attention.self.query, layer.attention.self.key, layer.attention.self.value),
                layer.attention.output.dense,
                layer.attention.output.LayerNorm,
                layer.intermediate.dense,
                layer.output.dense,
                layer.output.LayerNorm,
            )
            for layer in backbone.encoder.layer
        ],
        config.num_attention_heads,
        parts.padding_idx if config.model_type in ("roberta", "xlm-roberta", "camembert") else None,
    )


def _distilbert(backbone: Any, config: Any) -> IntegerBackbone | None:
    if config.activation != "gelu":
        return None
    parts = backbone.embeddings
    return _build(
        parts.word_embeddings,
        _array(parts.position_embeddings.weight),
        parts.LayerNorm,
        [
            (
                (layer.attention.q_lin, layer.attention.k_lin, layer.attention.v_lin),
                layer.attention.out_lin,
                layer.sa_layer_norm,
                layer.ffn.lin1,
                layer.ffn.lin2,
                layer.output_layer_norm,
            )
            for layer in backbone.transformer.layer
        ],
        config.n_heads,
    )


_FORMS = {"bert": _bert, "roberta": _bert, "xlm-roberta": _bert, "camembert": _bert, "distilbert": _distilbert}


def _build(
    words: Any,
    positions: NDArray[np.float32],
    norm: Any,
    parts: list[tuple[Any, ...]],
    heads: int,
    uncounted: int | None = None,
) -> IntegerBackbone | None:
    width = words.weight.shape[1]
    size = width // heads
    inner = parts[0][3].weight.shape[0]
    epsilons = {float(each.eps) for part in parts for each in (part[2], part[5])} | {float(norm.eps)}
    if width % COLUMNS or size % COLUMNS or inner % COLUMNS or len(epsilons) != 1:
        return None
    stacked: list[list[NDArray[Any]]] = [[] for _ in Layers.__dataclass_fields__]
    for asking, mixing, mixing_norm, up, down, down_norm in parts:
        weight = np.concatenate([_array(each.weight) for each in asking])
        bias = np.concatenate([_array(each.bias) for each in asking])
        weight[:width] /= np.sqrt(np.float32(size))  # the attention's scale, which the kernel leaves to the queries
        bias[:width] /= np.sqrt(np.float32(size))
        arrays: tuple[NDArray[Any], ...] = (
            *packed(weight, bias),
            *packed(_array(mixing.weight), _array(mixing.bias)),
            *(_array(mixing_norm.weight), _array(mixing_norm.bias)),
            *packed(_array(up.weight), _array(up.bias)),
            *packed(_array(down.weight), _array(down.bias)),
            *(_array(down_norm.weight), _array(down_norm.bias)),
        )
        for number, array in enumerate(arrays):
            stacked[number].append(array)
    together = Layers(*(np.stack(each) for each in stacked))
    gain, shift = _array(norm.weight), _array(norm.bias)
    return IntegerBackbone(_array(words.weight), positions, gain, shift, together, heads, epsilons.pop(), uncounted)


def _array(parameter: Any) -> NDArray[np.float32]:
    array: NDArray[np.float32] = parameter.detach().float().cpu().numpy()
    return array
