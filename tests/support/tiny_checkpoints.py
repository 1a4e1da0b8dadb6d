"""Masked-language-model checkpoints small enough to make in a test: real files, random weights."""

from __future__ import annotations

import string
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    import transformers

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = """
the of and to in is a heat transfer flow boundary layer wing shock wave hypersonic laminar turbulent pressure
temperature velocity number mach supersonic subsonic plate cone cylinder body nose blunt sharp angle attack
lift drag drop jet engine rocket fuel air gas viscous compressible theory experiment result measure surface
skin friction coefficient equation solution method vortex wake separation transition stability buckling shell
panel stress strain thermal structure load creep flutter vibration aircraft missile wind tunnel test model
design cat dog sat mat river bank money loan water cold hot new old first second year world what how why who
where when does can be on for with by from it not are was this that high low
"""
# One piece for every character, so that no word of ASCII is unknown; and a few endings.
PIECES = (*string.ascii_lowercase, *string.digits, *".,;:!?'-()")
ENDINGS = ("##s", "##ing", "##ed", "##er", "##ly", "##al", "##ic", *(f"##{char}" for char in string.ascii_lowercase))


def vocabulary() -> list[str]:
    """Return the tiny WordPiece vocabulary in id order."""
    return list(dict.fromkeys([*SPECIAL, *_WORDS.split(), *PIECES, *ENDINGS]))


def build_tiny_masked_lm(
    path: Path, seed: int = 0, *, architecture: str = "bert", vocabulary_size: int | None = None, positions: int = 64
) -> Path:
    """Write a masked language model with random weights and its tokenizer into the folder `path`; return it.

    Args:
        path: folder to make.
        seed: of the weights.
        architecture: "bert", "distilbert" or "roberta" (one family of heads each); all with the WordPiece tokenizer.
        vocabulary_size: width of the head, the tokenizer's by default.
        positions: the longest input in tokens.
    """
    import torch
    import transformers

    save_tiny_tokenizer(path)
    size = vocabulary_size or len(vocabulary())
    width: dict[str, int] = {"vocab_size": size, "max_position_embeddings": positions, "pad_token_id": 0}
    layers = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(seed)
    if architecture == "bert":
        model = transformers.BertForMaskedLM(transformers.BertConfig(**width, **layers))
    elif architecture == "distilbert":
        config = transformers.DistilBertConfig(**width, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
        model = transformers.DistilBertForMaskedLM(config)
    elif architecture == "roberta":
        width["max_position_embeddings"] += 1  # its positions begin after the padding index
        config = transformers.RobertaConfig(**width, **layers, bos_token_id=2, eos_token_id=3)
        model = transformers.RobertaForMaskedLM(config)
    else:
        raise ValueError(f"no tiny checkpoint of the architecture {architecture!r}")
    _spread(model)
    model.eval()
    model.save_pretrained(path)
    return path


def build_tiny_term_weighting(path: Path, family: str, seed: int = 0) -> Path:
    """Write a BERT with one weight a token into `path`: "unicoil", "deepimpact" or "deepct"; return it."""
    import torch
    import transformers

    save_tiny_tokenizer(path)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary()), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64, pad_token_id=0, num_labels=1,
    )  # fmt: skip

    class UniCOIL(transformers.BertPreTrainedModel):  # type: ignore[misc]
        def __init__(self, config: object) -> None:
            super().__init__(config)
            self.bert = transformers.BertModel(config)
            self.tok_proj = torch.nn.Linear(32, 1)
            self.post_init()

    class DeepImpact(transformers.BertPreTrainedModel):  # type: ignore[misc]
        def __init__(self, config: object) -> None:
            super().__init__(config)
            self.bert = transformers.BertModel(config)
            layers = (torch.nn.Linear(32, 32), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(32, 1))
            self.impact_score_encoder = torch.nn.Sequential(*layers, torch.nn.ReLU())
            self.post_init()

    torch.manual_seed(seed)
    families = {
        "unicoil": UniCOIL,
        "deepimpact": DeepImpact,
        "deepct": transformers.BertForTokenClassification,
    }
    model = families[family](config)
    _spread(model)
    with torch.no_grad():  # so that about half of the tokens weigh something
        list(model.parameters())[-1].fill_(2.0)
    model.eval()
    model.save_pretrained(path)
    return path


def build_tiny_causal_lm(path: Path, seed: int = 0) -> Path:
    """Write a Llama with random weights, tied embeddings and the WordPiece tokenizer into `path`; return it."""
    import torch
    import transformers

    save_tiny_tokenizer(path)
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary()), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64, pad_token_id=0, bos_token_id=2, eos_token_id=3,
        tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(config)
    _spread(model)
    model.save_pretrained(path)
    return path


def build_tiny_embedding_model(path: Path, seed: int = 0) -> Path:
    """Write a BERT body alone, for dense vectors, with random weights and the tokenizer into `path`; return it."""
    import torch
    import transformers

    save_tiny_tokenizer(path)
    torch.manual_seed(seed)
    model = transformers.BertModel(_tiny_bert(), add_pooling_layer=False)
    _spread(model)
    model.save_pretrained(path)
    return path


def build_tiny_cross_encoder(path: Path, seed: int = 0, *, outputs: int = 1) -> Path:
    """Write a BERT that classifies pairs of texts, with random weights and the tokenizer, into `path`; return it."""
    import torch
    import transformers

    save_tiny_tokenizer(path)
    torch.manual_seed(seed)
    model = transformers.BertForSequenceClassification(_tiny_bert(num_labels=outputs))
    _spread(model)
    model.save_pretrained(path)
    return path


def _tiny_bert(**more: int) -> transformers.BertConfig:
    import transformers

    return transformers.BertConfig(
        vocab_size=len(vocabulary()), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64, pad_token_id=0, **more,
    )  # fmt: skip


def _spread(model: torch.nn.Module) -> None:
    """Make weights larger: as initialised, logits lie so near 0 that every term would weigh much the same."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.mul_(8.0)
            elif name.endswith("bias"):
                weight.normal_(0.0, 0.5)


def save_tiny_tokenizer(path: Path) -> None:
    """Write the tiny WordPiece tokenizer's files into the folder `path`."""
    import transformers
    from tokenizers import BertWordPieceTokenizer

    path.mkdir(parents=True, exist_ok=True)
    words = {token: number for number, token in enumerate(vocabulary())}
    backend = BertWordPieceTokenizer(vocab=words, lowercase=True)
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend._tokenizer,
        **{f"{name}_token": token for name, token in names.items()},
        model_max_length=512,
    )  # fmt: skip
    tokenizer.save_pretrained(path)


if __name__ == "__main__":  # a checkpoint to try the command line with: python tests/tiny_checkpoints.py FOLDER
    build_tiny_masked_lm(Path(sys.argv[1]))
