"""What the search page is tested with: short notes in several scripts, and an encoder that knows some synonyms.

The encoder is a real checkpoint that runs through the same code as any other, but its weights are written by hand:
every word of the notes activates itself and the words that `RELATED` names, so that expansion can be seen and foretold.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

NOTES: tuple[dict[str, Any], ...] = tuple(
    json.loads(line) for line in (Path(__file__).parent / "page_notes.jsonl").read_text("utf-8").splitlines()
)

# What nobody should be able to do to a reader of the page.
ATTACK = "<script>alert(1)</script>"
ATTACKS: tuple[dict[str, Any], ...] = (
    {
        "_id": "attack/1?x=<b>&y=#z",
        "title": f"attack {ATTACK}",
        "text": f"An attack {ATTACK}<img src=x onerror=alert(2)> in a text.",
        "topic": ATTACK,
        "lang": "en",
        "year": 2023,
        "note": '"><svg onload=alert(3)>',
        'odd "name" <i>': 'attack \\ "quoted"',
    },
)

# word -> what the hand-made encoder adds to it, and how strongly.
RELATED: dict[str, dict[str, float]] = {
    "heat": {"thermal": 0.55, "temperature": 0.5, "warm": 0.4, "hot": 0.4, "warmth": 0.3, "energy": 0.2},
    "hot": {"heat": 0.5, "warm": 0.4, "temperature": 0.3},
    "temperature": {"thermometer": 0.45, "heat": 0.4, "warm": 0.25, "degrees": 0.3},
    "doctor": {"physician": 0.6, "hospital": 0.4, "patient": 0.4, "medicine": 0.35, "health": 0.2},
    "car": {"automobile": 0.6, "vehicle": 0.5, "engine": 0.4, "drive": 0.3},
    "film": {"movies": 0.5, "films": 0.5, "cinema": 0.4, "pictures": 0.3},
    "movement": {"journey": 0.4, "moves": 0.4, "motion": 0.4, "travel": 0.3},
}  # fmt: skip


def write_corpus(path: Path, *, attacks: bool = False) -> Path:
    """Write the notes as JSON Lines."""
    notes = NOTES + (ATTACKS if attacks else ())
    path.write_text("".join(json.dumps(note, ensure_ascii=False) + "\n" for note in notes), "utf-8")
    return path


def build_synonym_checkpoint(path: Path) -> Path:
    """Write a masked language model whose logits are what `RELATED` says; return its folder.

    It has no layers. Its embeddings are one-hot, so that the hidden state of a word is 1 in the word's own dimension
    and nearly 0 elsewhere, and row j of its decoder says how much each word activates term j. Rare words weigh more.
    """
    import torch
    import transformers
    from tokenizers import BertWordPieceTokenizer

    counts = _word_counts()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(counts)]
    ids = {word: number for number, word in enumerate(vocabulary)}
    size = len(vocabulary)
    path.mkdir(parents=True, exist_ok=True)
    backend = BertWordPieceTokenizer(vocab=ids, lowercase=True)
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend._tokenizer,
        model_max_length=256,
        **{f"{name}_token": token for name, token in names.items()},
    ).save_pretrained(path)

    config = transformers.BertConfig(
        vocab_size=size, hidden_size=size, num_hidden_layers=0, num_attention_heads=1, intermediate_size=1,
        max_position_embeddings=256, tie_word_embeddings=False, hidden_act="relu",
    )  # fmt: skip
    model = transformers.BertForMaskedLM(config).eval()
    decoder = torch.zeros(size, size)
    for word, number in ids.items():
        if not word.startswith("["):
            weight = 0.35 + 1.5 * math.log(1 + len(NOTES) / counts[word])
            decoder[number, number] = math.expm1(weight / 2.2)
            for other, strength in RELATED.get(word, {}).items():
                decoder[ids[other], number] = math.expm1(weight / 2.2) * strength
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.bert.embeddings.word_embeddings.weight.copy_(torch.eye(size))
        model.cls.predictions.transform.dense.weight.copy_(torch.eye(size))
        # A one-hot vector normalised is sqrt(size) at its place: scaled back to 1.
        for norm in (model.bert.embeddings.LayerNorm, model.cls.predictions.transform.LayerNorm):
            norm.weight.fill_(1 / math.sqrt(size))
        model.cls.predictions.decoder.weight.copy_(decoder)
        model.cls.predictions.decoder.bias.fill_(-0.05)
    model.save_pretrained(path)
    return path


def _word_counts() -> Counter[str]:
    """In how many notes each word stands, in the pieces that the tokenizer cuts: Chinese characters are one each."""
    counts: Counter[str] = Counter()
    for note in NOTES:
        text = _folded(f"{note['title']} {note['text']}")
        counts.update(set(re.findall(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+", text)))
    for related in RELATED.values():
        counts.update({word: 1 for word in related if word not in counts})
    return counts


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(char for char in decomposed if unicodedata.category(char) != "Mn")
