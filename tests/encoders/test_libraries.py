"""What libraries made is stored with a digest, and another library's output is refused in one sentence."""

from __future__ import annotations

import unicodedata
from dataclasses import asdict, replace

import pytest
import Stemmer

from lexhound.encoders.base import EncoderIdentity, fingerprint_of
from lexhound.encoders.bm25.encoder import LexicalEncoder
from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary
from lexhound.encoders.errors import IdentityError
from lexhound.encoders.load import load_encoder
from lexhound.encoders.text import analyzer as analysis
from lexhound.encoders.text.analyzer import Analyser, languages
from lexhound.encoders.text.version_probes import CHARACTERS, probes_of

# Words whose stems differ between PyStemmer 2.2.0.3, 3.0.0 and 3.1.0: one of each change that was found in 60,000
# frequent words of each language.
CHANGED = {
    "danish": "succes",
    "dutch": "voor",
    "english": "university organization evening emergency international skis",
    "finnish": "turhan",
    "french": "française mauvais bijoux",
    "german": "findet system zuerst gibt's",
    "greek": "ίσα",
    "italian": "divano all'interno",
    "lithuanian": "moterų",
    "norwegian": "tvers fôret",
    "romanian": "bucurești",
    "spanish": "informacion",
    "swedish": "livet",
    "turkish": "türkiye'de",
}


def identity_of(**settings: object) -> EncoderIdentity:
    return LexicalEncoder(LexicalSettings(**settings), MemoryVocabulary()).identity  # type: ignore[arg-type]


def rewritten(identity: EncoderIdentity, parts: dict[str, str], libraries: dict[str, str]) -> EncoderIdentity:
    """The identity as another version of a library would have made it."""
    made = {"parts": parts} if parts else {}
    fingerprint = fingerprint_of({"kind": "bm25", "tokeniser": 2, **identity.settings, **made})
    return replace(identity, parts=parts, libraries=libraries, fingerprint=fingerprint)


def reopened(identity: EncoderIdentity) -> LexicalEncoder:
    encoder = load_encoder(EncoderIdentity.from_json(identity.to_json()), vocabulary=MemoryVocabulary())
    assert isinstance(encoder, LexicalEncoder)
    return encoder


def test_an_identity_tells_the_libraries_and_opens_again() -> None:
    identity = identity_of()
    assert set(identity.parts) == {"characters", "stems", "stop_words"}
    assert set(identity.libraries) == {"Unicode", "PyStemmer", "stop-words"}
    assert identity.libraries["Unicode"] == unicodedata.unidata_version
    assert reopened(identity).count_documents(["heated flows"]).sum() == 2
    plain = identity_of(language="none", stop_words=False, stemming=False)
    assert (set(plain.parts), set(plain.libraries)) == ({"characters"}, {"Unicode"})


def test_every_language_has_a_digest_of_its_own() -> None:
    digests = {name: identity_of(language=name).parts for name in languages()}
    stems = [parts["stems"] for parts in digests.values() if "stems" in parts]
    assert len(set(stems)) == len(stems) == len(Stemmer.algorithms())
    for name in Stemmer.algorithms():
        assert len(probes_of(name)) >= 6 * 20
        assert len(set(probes_of(name))) == len(probes_of(name))


def test_the_probes_hold_a_word_of_every_known_change() -> None:
    for language, words in CHANGED.items():
        assert set(words.split()) <= set(probes_of(language)), language


def test_the_probe_characters_are_in_every_table_of_python() -> None:
    assert "Cn" not in {unicodedata.category(char) for char in CHARACTERS}
    assert identity_of().parts["characters"] == "16e95f16ea482b45"  # the same with Unicode 13, 14, 15 and 15.1


def test_another_stemmer_makes_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Analyser("english", stemming=True, stop_words=True).digests()
    monkeypatch.setattr(analysis, "_stemmer_of", lambda language: Stemmer.Stemmer("porter"))
    there = Analyser("english", stemming=True, stop_words=True).digests()
    assert {name for name in here if here[name] != there[name]} == {"stems"}


@pytest.mark.parametrize(
    ("parts", "libraries", "message"),
    [
        (
            {"stems": "0"},
            {"PyStemmer": "3.0.0"},
            r"the stems that are stored are those of PyStemmer 3\.0\.0, and PyStemmer \S+, which is here, makes others:"
            r" a search would miss documents\. Install PyStemmer 3\.0\.0 again, or make it anew",
        ),
        (
            {"stems": None},
            {"PyStemmer": "3.0.0"},
            r"PyStemmer 3\.0\.0 made no stems for the documents that are stored, and PyStemmer \S+, which is here, d",
        ),
        (
            {"characters": "0"},
            {"Unicode": "9.0.0"},
            r"the words that are stored are those of Unicode 9\.0\.0, and Unicode \S+, which is here, makes others.*"
            r"\. Make it anew from its texts: lexhound export",
        ),
    ],
)
def test_what_another_library_made_is_refused_when_a_text_is_read(
    parts: dict[str, str | None], libraries: dict[str, str], message: str
) -> None:
    identity = identity_of()
    changed = {name: digest for name, digest in ({**identity.parts, **parts}).items() if digest is not None}
    encoder = reopened(rewritten(identity, changed, {**identity.libraries, **libraries}))
    assert encoder.identity.parts == changed  # what reads no text works: `info`, `get`, `export`, `compact`
    for read in (
        encoder.query_counts,
        encoder.spans,
        lambda text: encoder.highlights(text, ()),
        lambda text: encoder.count_documents([text]),
    ):
        with pytest.raises(IdentityError, match=message):
            read("heat")
    with pytest.raises(IdentityError, match=message):
        encoder.prepare()


def test_a_language_that_has_lost_its_stemmer_is_refused() -> None:
    identity = identity_of(language="korean")
    encoder = reopened(rewritten(identity, {**identity.parts, "stems": "0"}, {**identity.libraries, "PyStemmer": "9"}))
    with pytest.raises(IdentityError, match=r"stems that are stored are those of PyStemmer 9, and .* makes none"):
        encoder.query_counts("책")


def test_other_stop_words_are_no_reason_to_refuse() -> None:
    """Documents keep them all, and which of them a query leaves out is decided when it is asked."""
    identity = identity_of()
    encoder = reopened(rewritten(identity, {**identity.parts, "stop_words": "0"}, {"stop-words": "2018.7.23"}))
    assert encoder.count_documents(["the heat"]).sum() == 2


def test_an_identity_without_digests_opens_as_it_did() -> None:
    settings = asdict(LexicalSettings(language="korean"))
    for version, terms in ((1, 1), (2, 4)):
        fingerprint = fingerprint_of({"kind": "bm25", "tokeniser": version, **settings})
        encoder = reopened(EncoderIdentity("bm25", "bm25", fingerprint, None, settings))
        assert encoder.count_documents(["도서관에서"]).sum() == terms


def test_a_tokeniser_of_the_future_is_refused() -> None:
    settings = asdict(LexicalSettings())
    fingerprint = fingerprint_of({"kind": "bm25", "tokeniser": 3, **settings})
    with pytest.raises(IdentityError, match=r"no tokeniser that this version knows\. Upgrade lexhound"):
        reopened(EncoderIdentity("bm25", "bm25", fingerprint, None, settings))
