"""Loading transformer checkpoints: language models taken apart into backbone and head, and term-weighting models.

A model is loaded only if every weight of its head is in the files: a head that the library would fill with random
numbers makes vectors that look like any others. Code that comes with a checkpoint is not run unless asked for.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexhound.core.errors import first_line
from lexhound.core.extras import extra
from lexhound.encoders.errors import CheckpointError

from .adapters import merge_adapter
from .hub import CONFIG, weight_files

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class LanguageModel:
    """A language model such that logits = transform(backbone(ids)) · weightᵀ + bias.

    Attributes:
        backbone: token ids and attention mask -> an output with `last_hidden_state`.
        transform: hidden states -> what the decoder takes, of the same shape.
        weight: [vocabulary, width]; bias: [vocabulary] or None.
        max_length: the longest input in tokens that the model's positions allow, special tokens included, or None.
        padding: the token id that fills up a batch.
    """

    backbone: torch.nn.Module
    transform: Callable[[torch.Tensor], torch.Tensor]
    weight: torch.Tensor
    bias: torch.Tensor | None
    max_length: int | None
    padding: int


@dataclass(frozen=True, slots=True, eq=False)
class OpenMaskedLM:
    """A masked language model to be trained, in parts that share the weights of the whole.

    Attributes:
        network: the whole, as the library made it: what is saved.
        backbone, transform, max_length, padding: as of `LanguageModel`; decoder: its linear layer over the vocabulary.
        has_head: False where the folder holds a backbone alone, whose head is random.
    """

    network: Any
    backbone: Any
    transform: Callable[[torch.Tensor], torch.Tensor]
    decoder: Any
    has_head: bool
    max_length: int | None
    padding: int


def require_neural() -> None:
    """Raise MissingExtraError unless torch and transformers can be imported."""
    with extra("neural", "training, a GPU, bfloat16, or a model that is not of BERT's form in safetensors"):
        import torch  # noqa: F401
        import transformers  # noqa: F401


def load_language_model(
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    *,
    causal: bool = False,
    adapter: Path | None = None,
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load a masked (or causal) language model from a folder, in evaluation mode.

    Raises:
        CheckpointError: files are missing or unreadable, it is no language model of that kind, or its head cannot be
            told from its backbone.
        MissingExtraError: torch or transformers is not installed.
    """
    require_neural()
    import transformers

    require_weights(folder)
    family = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMaskedLM
    kind = "causal language model" if causal else "masked language model"
    with quiet():
        config = read_config(folder, trust_remote_code)
        model = load_complete(family, folder, config, kind, trust_remote_code)
    if adapter is not None:
        merge_adapter(model, adapter)
    model = model.float().eval()
    backbone, transform, decoder = _take_apart(model, folder)
    limit, padding = _limit(model), _padding(model)
    place_model(model, device, dtype)
    bias = getattr(decoder, "bias", None)
    return LanguageModel(
        backbone, transform, decoder.weight.detach(), None if bias is None else bias.detach(), limit, padding
    )


def open_masked_lm(folder: Path) -> OpenMaskedLM:
    """Load a masked language model, or a backbone to which a head is added, in float32 and with gradients.

    Raises:
        CheckpointError: files are missing or unreadable, weights of the backbone are missing, or the head cannot be
            told from the backbone.
        MissingExtraError: torch or transformers is not installed.
    """
    require_neural()
    import transformers

    require_weights(folder)
    with quiet():
        config = read_config(folder, trust_remote_code=False)
        model, absent = _load_whole(transformers.AutoModelForMaskedLM, folder, config, "masked language model", False)
    model = model.float().eval()
    backbone, transform, decoder = _take_apart(model, folder)
    backbone_parameters = {id(parameter) for parameter in backbone.parameters()}
    lost = [
        name for name, parameter in model.named_parameters() if name in absent and id(parameter) in backbone_parameters
    ]
    if lost:
        raise without_weights(folder, "masked language model", lost)
    return OpenMaskedLM(model, backbone, transform, decoder, not absent, _limit(model), _padding(model))


def load_backbone(
    folder: Path, device: torch.device, dtype: torch.dtype, *, trust_remote_code: bool = False
) -> tuple[Any, int | None, int]:
    """Return a transformer without a head, the longest input that its positions allow, and the padding token's id.

    Raises as `load_language_model` does.
    """
    require_neural()
    import transformers

    require_weights(folder)
    with quiet():
        config = read_config(folder, trust_remote_code)
        backbone = load_complete(transformers.AutoModel, folder, config, "model", trust_remote_code, ignored="pooler.")
    backbone = backbone.float().eval()
    limit, padding = _limit(backbone), _padding(backbone)
    place_model(backbone, device, dtype)
    return backbone, limit, padding


def require_weights(folder: Path) -> None:
    """Raise CheckpointError unless a folder holds a configuration and weights."""
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} has no {CONFIG}", "Give the folder of a Hugging Face masked language model")
    if not weight_files(folder):
        raise CheckpointError(f"{folder} has no weights", f"Put model.safetensors beside {CONFIG}")


def read_config(folder: Path, trust_remote_code: bool) -> Any:
    """Return transformers' configuration of a folder; raises CheckpointError."""
    import transformers

    path = folder / CONFIG
    try:
        if not isinstance(json.loads(path.read_bytes()), dict):
            raise ValueError("it is not an object")
        return transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if not trust_remote_code and _brings_code(folder):
            raise _untrusted(folder) from error
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}", "Download the checkpoint again") from error


def _brings_code(folder: Path) -> bool:
    """Return whether a checkpoint's configuration names Python code that comes with it."""
    try:
        return bool(json.loads((folder / CONFIG).read_bytes()).get("auto_map"))
    except (OSError, ValueError, AttributeError):
        return False


def _untrusted(folder: Path) -> CheckpointError:
    return CheckpointError(
        f"{folder} needs Python code that comes with it, and such code is not run unless it is asked for",
        "If you trust whoever wrote it, ask for it: --trust-remote-code (from Python, trust_remote_code=True)",
    )


def load_complete(
    family: Any, folder: Path, config: Any, kind: str, trust_remote_code: bool, ignored: str = "\0"
) -> Any:
    """Return a model all of whose weights are in the files, but for those whose names hold `ignored`.

    Args:
        family: an `AutoModel...` of transformers; kind: what to call it in messages.

    Raises:
        CheckpointError: the model cannot be loaded, or a weight is missing.
    """
    model, absent = _load_whole(family, folder, config, kind, trust_remote_code)
    if lost := [key for key in absent if ignored not in key]:
        raise without_weights(folder, kind, lost)
    return model


def without_weights(folder: Path, kind: str, absent: list[str]) -> CheckpointError:
    """Return the error of a folder whose files lack weights, given their names."""
    return CheckpointError(
        f"{folder} is not a {kind}: its files lack {len(absent)} of the weights ({', '.join(absent[:3])})",
        "A head without weights would be random; choose a checkpoint that was saved with its head",
    )


def _load_whole(family: Any, folder: Path, config: Any, kind: str, trust_remote_code: bool) -> tuple[Any, list[str]]:
    """Return the model and the names of its weights that the files lack."""
    from safetensors import SafetensorError

    try:
        model, report = family.from_pretrained(
            folder,
            config=config,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=trust_remote_code,
        )
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, SafetensorError) as error:
        if not trust_remote_code and _brings_code(folder) and "trust_remote_code" in str(error):
            raise _untrusted(folder) from error
        raise CheckpointError(
            f"{folder} cannot be loaded as a {kind}: {first_line(error)}",
            "Check that the checkpoint is complete and of the right architecture",
        ) from error
    absent = sorted(report["missing_keys"]) + sorted(str(key) for key in report.get("mismatched_keys", ()))
    return model, absent


def place_model(model: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Move the model to its device, and its parameters to `dtype`.

    Buffers keep their own: rotary frequencies in bfloat16 would put tokens at wrong places.
    """
    model.requires_grad_(False)
    model.to(device=device)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def _take_apart(model: Any, folder: Path) -> tuple[Any, Callable[[torch.Tensor], torch.Tensor], Any]:
    """Return backbone, transform and decoder, so that the decoder can be fused with the pooling.

    The transform is the model itself with a backbone that hands `inputs_embeds` through and a decoder that does
    nothing: so every architecture's own head is used as it is, whatever its parts are called. That the three together
    give what the whole gives is checked here.
    """
    import torch
    from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

    class Through(torch.nn.Module):
        def forward(self, *_: Any, inputs_embeds: torch.Tensor, **__: Any) -> Any:
            return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=inputs_embeds)

    backbone, decoder = model.base_model, model.get_output_embeddings()
    path = next((name for name, module in model.named_modules() if module is decoder), None)
    if backbone is model or path is None:
        raise _unsupported(folder, model)
    head = _with_part(model, path, torch.nn.Identity())
    head.__dict__["_modules"] = {**head._modules, model.base_model_prefix: Through()}

    def transform(hidden: torch.Tensor) -> torch.Tensor:
        transformed: torch.Tensor = head(inputs_embeds=hidden).logits
        return transformed

    ids = torch.tensor([[0, 1, 2]])
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        try:
            expected = model(input_ids=ids, attention_mask=mask).logits
            hidden = transform(backbone(input_ids=ids, attention_mask=mask).last_hidden_state)
            logits = torch.nn.functional.linear(hidden, decoder.weight, getattr(decoder, "bias", None))
            same = expected.shape == logits.shape and torch.allclose(expected, logits, rtol=1e-4, atol=1e-4)
        except (AttributeError, TypeError, KeyError, IndexError, RuntimeError, ValueError) as error:
            raise _unsupported(folder, model) from error
    if not same:
        raise _unsupported(folder, model)
    return backbone, transform, decoder


def _with_part(module: Any, path: str, part: Any) -> Any:
    """Return a copy of `module` that shares all its parts but the one at the dotted `path`."""
    name, _, rest = path.partition(".")
    twin = copy.copy(module)
    replaced = _with_part(module._modules[name], rest, part) if rest else part
    twin.__dict__["_modules"] = {**module._modules, name: replaced}
    return twin


def _limit(model: Any) -> int | None:
    positions = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    # RoBERTa and its kin number positions from after the padding index.
    embeddings = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(embeddings, "padding_idx", None)
    return positions - (padding + 1 if padding is not None else 0)


def _padding(model: Any) -> int:
    padding = getattr(model.config, "pad_token_id", None)
    return padding if isinstance(padding, int) and padding >= 0 else 0


def _unsupported(folder: Path, model: Any) -> CheckpointError:
    return CheckpointError(
        f"{folder} is a {type(model).__name__}, whose head cannot be told from its body",
        "BERT, DistilBERT, RoBERTa, XLM-RoBERTa, MPNet, ModernBERT, Llama, Mistral and their kin are supported",
    )


@contextmanager
def quiet() -> Iterator[None]:
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
