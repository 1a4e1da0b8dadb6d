"""What the search page is tested with: short notes in several scripts, and an encoder that knows some synonyms.

The encoder is a real checkpoint that runs through the same code as any other, but its weights are written by hand:
every word of the notes activates itself and the words that `RELATED` names, so that expansion can be seen and foretold.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

NOTES: tuple[dict[str, Any], ...] = (
    {"_id": "kettle", "title": "Why a kettle sings", "topic": "physics", "lang": "en", "year": 2016,
     "author": {"name": "Ines Holm"}, "tags": ["water", "kitchen"],
     "text": "Before water boils, steam bubbles form at the hot bottom of the kettle, rise into cooler water and collapse. "
             "Each collapse is a tiny click, and thousands of clicks a second make the kettle sing. The sound falls silent "
             "just before boiling, when the water is warm all the way up and the bubbles reach the surface whole."},
    {"_id": "heat-transfer", "title": "Three ways for heat to travel", "topic": "physics", "lang": "en", "year": 2019,
     "author": {"name": "Ines Holm"}, "tags": ["heat"],
     "text": "Heat moves by conduction, by convection and by radiation. Conduction hands thermal energy from one atom to the "
             "next; convection carries warm fluid away; radiation needs nothing in between, which is how the sun's heat "
             "reaches us. In most walls all three share the work, and insulation has to slow each of them."},
    {"_id": "reentry", "title": "Coming home through the atmosphere", "topic": "physics", "lang": "en", "year": 1998,
     "author": {"name": "Paul Adeyemi"}, "tags": ["heat", "flight"],
     "text": "A capsule meets the upper air at hypersonic speed. The shock wave in front of its blunt nose turns most of the "
             "energy of motion into heat and carries it away with the flow. What is left is the work of the thermal shield, "
             "which chars slowly and takes the temperature with it."},
    {"_id": "heat-pump", "title": "A refrigerator turned inside out", "topic": "technology", "lang": "en", "year": 2022,
     "author": {"name": "Mei Tanaka"}, "tags": ["heat", "energy", "house"],
     "text": "A heat pump collects warmth from cold outside air and raises its temperature with a compressor. For each unit of "
             "electricity it delivers three or four of heat, because it moves energy rather than making it. The colder the "
             "day, the harder the pump has to work."},
    {"_id": "thermometer", "title": "What a thermometer tells", "topic": "physics", "lang": "en", "year": 2008,
     "author": {"name": "Paul Adeyemi"}, "tags": ["measurement"],
     "text": "A thermometer shows its own temperature. Only when it has come into balance with what it touches is that also "
             "the temperature of the patient, the oven or the sea. Waiting is part of the measurement."},
    {"_id": "fever", "title": "Is a fever an illness?", "topic": "medicine", "lang": "en", "year": 2014,
     "author": {"name": "Sara Lindqvist"}, "tags": ["health"],
     "text": "Fever is a raised body temperature that the brain itself has ordered. It slows some germs and wakes the immune "
             "system. A doctor treats the cause, and the number on the thermometer only when the patient suffers from it."},
    {"_id": "sauna", "title": "Ninety degrees, and nobody is cooked", "topic": "medicine", "lang": "en", "year": 2011,
     "author": {"name": "Sara Lindqvist"}, "tags": ["health", "heat"],
     "text": "The hot air of a sauna is dry and thin and holds little heat, and sweat carries that little away. Touch the iron "
             "stove and you learn the difference between temperature and heat."},
    {"_id": "heart", "title": "Who listens to the heart", "topic": "medicine", "lang": "en", "year": 2003,
     "author": {"name": "Sara Lindqvist"}, "tags": ["health"],
     "text": "In 1816 a physician in Paris rolled a sheet of paper into a tube and heard his patient's heart better than with "
             "his ear alone. Every doctor has carried his invention since: the stethoscope."},
    {"_id": "hospital", "title": "The hospital that was moved", "topic": "history", "lang": "en", "year": 1987,
     "author": {"name": "Jonas Weber"}, "tags": ["city"],
     "text": "When the river flooded the old town the hospital was carried uphill in a single night: patients on doors, "
             "medicine in milk cans, and one physician on the last cart with the clock of the chapel on his knees."},
    {"_id": "car", "title": "The first long drive", "topic": "history", "lang": "en", "year": 1991,
     "author": {"name": "Jonas Weber"}, "tags": ["engine", "journey"],
     "text": "In August 1888 Bertha Benz took her husband's automobile without asking and drove it a hundred kilometres to her "
             "mother. She bought fuel at a chemist's, cleaned a blocked pipe with her hat pin, and had a cobbler put leather "
             "on the brakes. The car was a curiosity before that journey and a vehicle after it."},
    {"_id": "engine", "title": "Four strokes", "topic": "technology", "lang": "en", "year": 1996,
     "author": {"name": "Mei Tanaka"}, "tags": ["engine", "heat"],
     "text": "Suck, squeeze, bang, blow: in two turns of its shaft a car engine draws in air and fuel, compresses them, burns "
             "them, and throws out what is left. Two thirds of the heat leaves through the pipe and the radiator; the last "
             "third moves the vehicle."},
    {"_id": "bicycle", "title": "Why a bicycle stays up", "topic": "physics", "lang": "en", "year": 2012,
     "author": {"name": "Ines Holm"}, "tags": ["journey"],
     "text": "Neither the spinning wheels nor the trail of the front fork alone keeps a bicycle upright. It steers into a fall, "
             "and so brings its wheels back under its weight. A bicycle that cannot steer falls like any other thing."},
    {"_id": "cinema", "title": "Twenty-four pictures a second", "topic": "arts", "lang": "en", "year": 2005,
     "author": {"name": "Amira Nasser"}, "tags": ["film"],
     "text": "A film shows no movement, only pictures, and each of them twice so that it does not flicker. The movement is made "
             "in the eye of the person who pays for the ticket."},
    {"_id": "silent", "title": "Silent films were never silent", "topic": "arts", "lang": "en", "year": 1993,
     "author": {"name": "Amira Nasser"}, "tags": ["film", "music"],
     "text": "There was a piano, or an orchestra, or somebody who told the story aloud. When movies learned to speak, thousands "
             "of musicians lost their work within three years."},
    {"_id": "violin", "title": "What varnish does", "topic": "arts", "lang": "en", "year": 2018,
     "author": {"name": "Amira Nasser"}, "tags": ["music"],
     "text": "Varnish keeps sweat and dirt from the wood of a violin. It changes the sound a little and the price a great deal."},
    {"_id": "bridge", "title": "The bridge that sang", "topic": "technology", "lang": "en", "year": 2001,
     "author": {"name": "Paul Adeyemi"}, "tags": ["wind", "city"],
     "text": "Wind past a round cable sheds vortices, now above and now below, and the cable hums like a string. On a deck of "
             "the wrong shape the same thing is flutter, and has torn down bridges."},
    {"_id": "wing", "title": "Where lift comes from", "topic": "physics", "lang": "en", "year": 2010,
     "author": {"name": "Paul Adeyemi"}, "tags": ["flight", "wind"],
     "text": "A wing turns the air downward, and the air turns the wing upward. All the rest (pressure, circulation, vortices) "
             "is a way to work out how much. Near the surface a thin boundary layer decides when the flow gives up."},
    {"_id": "dune", "title": "Dunes that boom", "topic": "physics", "lang": "en", "year": 2015,
     "author": {"name": "Ines Holm"}, "tags": ["sound", "desert"],
     "text": "When dry sand slides down a tall dune the grains fall into step, and the whole slope sounds a deep note that can "
             "be heard ten kilometres away. Heat and drought tune it."},
    {"_id": "bread", "title": "Bread in two temperatures", "topic": "kitchen", "lang": "en", "year": 2020,
     "author": {"name": "Mei Tanaka"}, "tags": ["kitchen", "heat"],
     "text": "Start hot, so that the loaf springs up before its crust sets; finish warm, so that the inside dries without the "
             "outside burning. Steam in the first minutes keeps the crust soft for long enough."},
    {"_id": "ice", "title": "Does warm water freeze first?", "topic": "physics", "lang": "en", "year": 1969,
     "author": {"name": "Jonas Weber"}, "tags": ["water", "kitchen"],
     "text": "A schoolboy in Tanzania said that his hot milk froze sooner than his friends' cold milk. Everybody laughed, and "
             "then they measured. Whether warm water freezes first depends on so much that the question is still open."},
    {"_id": "ar-heat", "title": "انتقال الحرارة", "topic": "physics", "lang": "ar", "year": 2017,
     "author": {"name": "أميرة ناصر"}, "tags": ["heat"],
     "text": "تنتقل الحرارة بثلاث طرق: التوصيل والحمل والإشعاع. لا يحتاج الإشعاع إلى وسط بين الجسمين، "
             "ولهذا تصل حرارة الشمس إلى الأرض عبر الفراغ (نحو 150 مليون km)."},
    {"_id": "ar-coffee", "title": "القهوة في الصحراء", "topic": "kitchen", "lang": "ar", "year": 2004,
     "author": {"name": "أميرة ناصر"}, "tags": ["desert", "kitchen"],
     "text": "تُحمَّص القهوة على نار هادئة ثم تُدق مع الهيل. يشرب الضيف ثلاثة فناجين: واحدا للضيافة، وواحدا للكيف، وواحدا للسيف."},
    {"_id": "zh-heat", "title": "热的三种传递方式", "topic": "physics", "lang": "zh", "year": 2013,
     "author": {"name": "田中美"}, "tags": ["heat"],
     "text": "热量通过传导、对流和辐射三种方式传递。辐射不需要介质,所以太阳的热量能够穿过真空到达地球。"},
    {"_id": "zh-tea", "title": "泡茶的水温", "topic": "kitchen", "lang": "zh", "year": 2021,
     "author": {"name": "田中美"}, "tags": ["kitchen", "water"],
     "text": "绿茶用八十度的水,红茶用沸水。水温太高,绿茶会变苦;水温太低,红茶的香气出不来。"},
    {"_id": "de-oven", "title": "Der Kachelofen", "topic": "history", "lang": "de", "year": 1979,
     "author": {"name": "Jonas Weber"}, "tags": ["house", "heat"],
     "text": "Ein Kachelofen speichert am Morgen die Wärme eines einzigen Feuers und gibt sie bis in die Nacht zurück. "
             "Auf seiner Bank saßen die Großmütter und erzählten."},
)  # fmt: skip

# What nobody should be able to do to a reader of the page.
ATTACK = "<script>alert(1)</script>"
ATTACKS: tuple[dict[str, Any], ...] = (
    {"_id": "attack/1?x=<b>&y=#z", "title": f"attack {ATTACK}", "text": f"An attack {ATTACK}<img src=x onerror=alert(2)> in a text.",
     "topic": ATTACK, "lang": "en", "year": 2023, "note": '"><svg onload=alert(3)>', 'odd "name" <i>': "attack \\ \"quoted\""},
)  # fmt: skip

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
        tokenizer_object=backend._tokenizer, model_max_length=256, **{f"{name}_token": token for name, token in names.items()}
    ).save_pretrained(path)  # fmt: skip

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
    import unicodedata

    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(char for char in decomposed if unicodedata.category(char) != "Mn")
