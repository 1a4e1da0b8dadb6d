"""A head in closed form, for a backbone that has none.

Ridge regression maps each position's hidden state to the embedding of the token that stands there, centred and
normalised (Hoerl & Kennard, 1970). Through the decoder, which is tied to those embeddings, a document then weighs its
own tokens and what lies near them: a sparse retriever after seconds, and a better start for training than chance.

BERT's head is a dense layer, an activation, a layer norm and the decoder. The activation is made to do nothing: the
dense layer's bias is raised by a constant so large that GELU is the identity, and the layer norm takes the constant
away again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lexhound.encoders.errors import CheckpointError

from .model import TrainableEncoder

_LIFT = 5.0  # GELU(x) differs from x by less than 0.001 where x > 3.5; outputs are scaled to a deviation near 0.5
_SPREAD = 0.5
_RIDGE = 1e-3  # of the mean diagonal
_SAMPLE = 4000  # positions whose logits give the scale


@dataclass(frozen=True, slots=True)
class HeadStart:
    """The result of the closed form.

    Attributes:
        cosine: mean cosine between a position's mapped state and its token's embedding.
        own_first: share of positions whose own token has the largest logit.
        gain: factor of the layer norm.
    """

    cosine: float
    own_first: float
    gain: float


def solve_head(
    model: TrainableEncoder,
    token_ids: Sequence[NDArray[np.int32]],
    *,
    own: float = 5.0,
    absent_quantile: float = 0.98,
) -> HeadStart:
    """Solve for the head's weights from some hundred to a few thousand documents; returns how good it is.

    Args:
        token_ids: documents, as `TrainableEncoder.token_ids` makes them.
        own: how far a document's median own token lies above the threshold, in logits.
        absent_quantile: a term that a document lacks is left out of it in this share of documents, at the start.

    The model runs where it is; what is solved, which not every device can, is solved on the CPU.

    Raises:
        CheckpointError: the head is not of BERT's kind, or no document has a token.
    """
    dense, norm = _parts(model)
    token_ids = [text_ids for text_ids in token_ids if len(text_ids)]
    if not token_ids:
        raise CheckpointError("there is no text to solve the head from", "Give documents that hold words")
    with torch.no_grad():
        states, tokens = _positions(model, token_ids)
        embeddings = model.decoder_weight.detach().float().cpu()
        centre = embeddings[torch.unique(tokens)].mean(dim=0)
        targets = torch.nn.functional.normalize(embeddings[tokens] - centre, dim=1)
        # Frequent tokens say little: each token's positions weigh together as much as the root of their number.
        weights = torch.bincount(tokens, minlength=len(embeddings)).float().rsqrt()[tokens].unsqueeze(1)
        mean = (states * weights).sum(dim=0) / weights.sum()
        centred = states - mean
        gram = (centred * weights).T @ centred
        ridge = torch.eye(len(gram)) * gram.diagonal().mean() * _RIDGE
        mapping = torch.linalg.solve(gram + ridge, (centred * weights).T @ targets)
        mapped = centred @ mapping
        cosine = float(torch.nn.functional.cosine_similarity(mapped, targets).mean())
        factor = _SPREAD / float(mapped.std())
        dense.weight.copy_(mapping.T * factor)
        dense.bias.copy_(-(mean @ mapping) * factor + _LIFT)
        norm.weight.fill_(1.0)
        norm.bias.zero_()
        model.decoder_bias.zero_()
        sample = torch.nn.functional.linear(model.transformed(states[:_SAMPLE].to(model.device)).cpu(), embeddings)
        own_logits = sample.gather(1, tokens[:_SAMPLE, None])
        own_first = float((sample > own_logits).sum(dim=1).eq(0).float().mean())
        gain = _set_scale(model, norm, token_ids, own, absent_quantile)
    model.has_head = True
    return HeadStart(cosine, own_first, gain)


def _set_scale(
    model: TrainableEncoder,
    norm: Any,
    token_ids: Sequence[NDArray[np.int32]],
    own_margin: float,
    absent_quantile: float,
) -> float:
    """Stretch logits and set each term's threshold to the wanted quantile over documents without it."""
    logits = model.logits(token_ids[:512]).cpu()
    present = torch.zeros(logits.shape, dtype=torch.bool)
    for number, text_ids in enumerate(token_ids[:512]):
        present[number, torch.from_numpy(text_ids.astype(np.int64))] = True
    absent = logits[~present]
    common = float(torch.quantile(absent[:: max(1, len(absent) // 1_000_000)], absent_quantile))
    # A term's own quantile is a noisy estimate in so few documents: halfway between it and everybody's.
    rows = logits.masked_fill(present, -torch.inf)
    position = min(len(rows) - 1, int(absent_quantile * len(rows)))
    single = rows.kthvalue(position + 1, dim=0).values if len(rows) > 1 else torch.full((rows.shape[1],), common)
    single = torch.where(single.isfinite(), single, torch.tensor(common))
    threshold = 0.5 * (single + common)
    gain = own_margin / max(1e-6, float((logits - threshold)[present].median()))
    norm.weight.mul_(gain)
    norm.bias.mul_(gain)
    model.decoder_bias.copy_(-threshold * gain)
    return gain


def _positions(model: TrainableEncoder, token_ids: Sequence[NDArray[np.int32]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the hidden states of all tokens of the documents, float32[tokens, width], and their ids."""
    states, tokens = [], []
    first = len(model.subwords.prefix)
    ordered = sorted(token_ids, key=len)
    for start in range(0, len(ordered), 32):
        batch = ordered[start : start + 32]
        hidden, _ = model.hidden(batch)
        for number, text_ids in enumerate(batch):
            states.append(hidden[number, first : first + len(text_ids)].float().cpu())
            tokens.append(torch.from_numpy(text_ids.astype(np.int64)))
    return torch.cat(states), torch.cat(tokens)


def _parts(model: TrainableEncoder) -> tuple[Any, Any]:
    """Return the dense layer and the layer norm of a head of BERT's kind."""
    head = getattr(getattr(model.network, "cls", None), "predictions", None)
    transform = getattr(head, "transform", None)
    dense, norm = getattr(transform, "dense", None), getattr(transform, "LayerNorm", None)
    width = model.decoder_weight.shape[1]
    if dense is None or norm is None or tuple(dense.weight.shape) != (width, width):
        raise CheckpointError(
            f"a {type(model.network).__name__} has no head of BERT's kind to solve for",
            "Start from a masked language model that was saved with its head",
        )
    return dense, norm
