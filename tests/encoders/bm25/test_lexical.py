"""BM25 against a plain Python twin, the vocabulary's growth and roll-back, languages, stop words and settings."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexhound.encoders.base import Encoder, EncoderIdentity, fingerprint_of
from lexhound.encoders.bm25.encoder import MAX_FREQUENCY, PIECE_CHARACTERS, LexicalEncoder
from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary, Vocabulary
from lexhound.encoders.errors import EncoderError, IdentityError, LanguageError, SettingsError
from lexhound.encoders.text.analyzer import languages, resolve_language, stop_words_of
from lexhound.encoders.text.tokenizer import tokenise

PLAIN = LexicalSettings(language="none")
WORDS = st.sampled_from(["a", "b", "c", "dé", "Straße", "½", "日本語", "it's", "'", "-", "x" * 80])
TEXTS = st.lists(WORDS, max_size=12).map(" ".join)


def encoder_over(texts: list[str], settings: LexicalSettings = PLAIN) -> LexicalEncoder:
    encoder = LexicalEncoder(settings, MemoryVocabulary())
    encoder.count_documents(texts)
    return encoder


def oracle_scores(texts: list[str], query: str, k1: float, b: float) -> list[float]:
    """BM25 from its definition, in plain Python floats."""
    documents = [Counter(tokenise(text)) for text in texts]
    lengths = [sum(document.values()) for document in documents]
    average = sum(lengths) / len(lengths)
    scores = [0.0] * len(texts)
    for term in tokenise(query):
        df = sum(term in document for document in documents)
        if not df:
            continue
        idf = math.log(1 + (len(texts) - df + 0.5) / (df + 0.5))
        for row, document in enumerate(documents):
            if document[term]:
                norm = k1 * (1 - b + b * lengths[row] / average)
                scores[row] += idf * document[term] / (document[term] + norm)
    return scores


@given(
    st.lists(TEXTS, min_size=1, max_size=6), TEXTS, st.sampled_from([0.0, 0.9, 2.0]), st.sampled_from([0.0, 0.4, 1.0])
)
def test_scores_equal_bm25_from_its_definition(texts: list[str], query: str, k1: float, b: float) -> None:
    encoder = LexicalEncoder(LexicalSettings(k1=k1, b=b, language="none"), MemoryVocabulary())
    counts = encoder.count_documents(texts)
    lengths = np.asarray(counts.sum(axis=1))
    weights = encoder.compute_weights(counts.data, np.repeat(lengths, np.diff(counts.indptr)), float(lengths.mean()))
    assert weights.dtype == np.float32
    assert ((weights > 0) & (weights <= 1)).all()
    df = np.bincount(counts.indices, minlength=counts.shape[1])
    terms, values = encoder.query_counts(query)
    terms, values = encoder.query_weights(terms, values, df[terms], len(texts))
    assert terms.dtype == np.int32
    assert values.dtype == np.float32
    assert (np.diff(terms) > 0).all()
    assert (values > 0).all()
    dense = np.zeros(counts.shape)
    dense[np.repeat(np.arange(len(texts)), np.diff(counts.indptr)), counts.indices] = weights
    np.testing.assert_allclose(dense[:, terms] @ values, oracle_scores(texts, query, k1, b), rtol=1e-5, atol=1e-6)


@given(st.lists(TEXTS, max_size=6))
def test_counts_equal_a_counter(texts: list[str]) -> None:
    vocabulary = MemoryVocabulary()
    encoder = LexicalEncoder(PLAIN, vocabulary)
    for _ in range(2):  # the second time from what is remembered
        counts = encoder.count_documents(texts)
        assert counts.dtype == np.float32
        assert counts.shape == (len(texts), len(vocabulary))
        assert counts.has_sorted_indices
        for row, text in enumerate(texts):
            part = slice(counts.indptr[row], counts.indptr[row + 1])
            ids, values = counts.indices[part], counts.data[part]
            assert {vocabulary.text(term): count for term, count in zip(ids, values, strict=True)} == Counter(
                tokenise(text)
            )


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_a_row_does_not_depend_on_its_batch(texts: list[str]) -> None:
    together = encoder_over([]).count_documents(texts).toarray()
    encoder = encoder_over([])
    alone = [encoder.count_documents([text]).toarray()[0] for text in texts]
    for row, values in enumerate(alone):
        np.testing.assert_array_equal(together[row, : len(values)], values)
        assert not together[row, len(values) :].any()


def test_a_text_that_is_counted_ahead_counts_the_same() -> None:
    words = [f"word{number % 90_000}" for number in range(120_000)] + ["common"] * 300 + ["Straße", "日本語", "it's"]
    text = " ".join(words)
    assert len(text) > 3 * PIECE_CHARACTERS
    encoder, fresh = encoder_over(["of others"]), encoder_over(["of others"])
    steps = 0
    for _ in encoder.count_ahead(text):
        steps += 1
        encoder.count_documents([f"others go on {steps}", "word1 again"])  # which moves ids, and nothing else
    assert steps > 3
    ahead = encoder.count_documents(["short", text, "common"])
    again = encoder.count_documents(["short", text, "common"])  # nothing is remembered twice
    assert (ahead != again).nnz == 0
    plain = fresh.count_documents([text])

    def by_term(counts: Any, row: int, of: LexicalEncoder) -> dict[str, float]:
        kept = counts[[row]]
        return {
            of.term_text(term): count for term, count in zip(kept.indices.tolist(), kept.data.tolist(), strict=True)
        }

    assert by_term(ahead, 1, encoder) == by_term(plain, 0, fresh)
    assert by_term(ahead, 1, encoder)["common"] == MAX_FREQUENCY


def test_frequencies_stop_at_one_byte() -> None:
    counts = encoder_over([]).count_documents(["word " * 200_000, "word " * 255, "word " * 256])
    assert counts.toarray().tolist() == [[255], [255], [255]]


def test_no_documents_and_empty_documents() -> None:
    encoder = encoder_over([])
    assert encoder.count_documents([]).shape == (0, 0)
    assert encoder.count_documents(["", "...", "\0"]).nnz == 0
    assert len(encoder.query_counts("")[0]) == 0


def test_without_an_average_every_document_counts_as_average() -> None:
    encoder = encoder_over(["a"])
    np.testing.assert_allclose(
        encoder.compute_weights(np.float32([1, 3]), np.float32([1, 9]), 0.0), [1 / 1.9, 3 / 3.9], rtol=1e-6
    )


def test_idf_is_never_negative() -> None:
    idf = encoder_over(["a"]).idf(np.array([0, 1, 5, 10]), 10)
    assert idf.dtype == np.float32
    assert (idf > 0).all()
    assert (np.diff(idf) < 0).all()
    assert idf[1] == pytest.approx(math.log(1 + 9.5 / 1.5))


def test_queries_know_only_what_documents_hold_and_never_grow_the_vocabulary() -> None:
    encoder = encoder_over(["flow heat flow"])
    terms, counts = encoder.query_counts("heat unknown flow heat 日本")
    assert [encoder.term_text(term) for term in terms] == ["flow", "heat"]
    assert counts.tolist() == [1, 2]
    assert len(encoder.vocabulary) == 2


def test_a_long_query() -> None:
    terms, counts = encoder_over(["alpha beta"]).query_counts("beta " * 20_000)
    assert (terms.tolist(), counts.tolist()) == ([1], [20_000])


def test_a_query_finds_a_term_that_a_document_brings_later() -> None:
    encoder = encoder_over(["heat"])
    assert len(encoder.query_counts("flow")[0]) == 0
    encoder.count_documents(["flow"])
    assert encoder.query_counts("flow")[0].tolist() == [1]


def test_forget_after_a_rolled_back_vocabulary() -> None:
    encoder = encoder_over(["one two"])
    encoder.vocabulary = MemoryVocabulary(["two"])
    encoder.forget()
    assert encoder.count_documents(["one two two"]).toarray().tolist() == [[2, 1]]
    assert [encoder.term_text(term) for term in (0, 1)] == ["two", "one"]


def test_forget_drops_the_ids_that_queries_asked_for() -> None:
    encoder = encoder_over(["one two"])
    assert encoder.query_counts("two two")[0].tolist() == [1]
    encoder.vocabulary = MemoryVocabulary(["two"])
    encoder.forget()
    assert encoder.query_counts("two two")[0].tolist() == [0]


def test_queries_look_up_each_known_word_once() -> None:
    class Watched(MemoryVocabulary):
        def __init__(self) -> None:
            self.asked: list[list[str]] = []
            super().__init__()

        def lookup(self, terms: list[str]) -> np.ndarray:  # type: ignore[override]
            self.asked.append(list(terms))
            return super().lookup(terms)

    vocabulary = Watched()
    encoder = LexicalEncoder(PLAIN, vocabulary)
    encoder.count_documents(["heat flow 日本"])
    for _ in range(2):
        assert encoder.query_counts("heat unknown heat flow 日本語")[1].tolist() == [2, 1, 1]
    # What is not known in full may come with a later document.
    assert vocabulary.asked == [["heat", "unknown", "flow", "日本", "本語"], ["unknown", "日本", "本語"]]
    encoder.count_documents(["日本語"])
    assert encoder.query_counts("日本語")[1].tolist() == [1, 1]
    encoder.query_counts("é" * 100 + " 日本語")
    assert set(encoder._asked) == {"heat", "flow", "日本語"}


def test_a_vocabulary_that_fails_to_grow_leaves_nothing_remembered() -> None:
    class Failing(MemoryVocabulary):
        full = True

        def grow(self, terms: list[str]) -> np.ndarray:  # type: ignore[override]
            if terms and self.full:
                raise OSError("disk full")
            return super().grow(terms)

    vocabulary = Failing()
    encoder = LexicalEncoder(PLAIN, vocabulary)
    with pytest.raises(OSError, match="disk full"):
        encoder.count_documents(["one 日本語"])
    vocabulary.full = False
    assert encoder.count_documents(["two one 日本語"]).toarray().tolist() == [[1, 1, 1, 1]]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexhound.encoders.bm25.encoder._MAX_REMEMBERED", 10)
    encoder = encoder_over([])
    for batch in range(20):
        encoder.count_documents([f"a{batch} b{batch} c{batch} 日本語 " + "é" * 100])
        assert len(encoder._ids) < 15
    assert encoder.query_counts("a0 a19")[1].tolist() == [1, 1]
    for batch in range(20):
        encoder.query_counts(f"a{batch} b{batch} c{batch}")
        assert len(encoder._asked) < 15


def test_spans_mark_the_words_of_known_terms() -> None:
    settings = LexicalSettings()
    encoder = encoder_over(["heated flows in STRASSE, 日本語"], settings)
    text = "Heating: the flow’s Straße — 日本語 unknown"
    assert [(text[start:end], encoder.term_text(term)) for start, end, term in encoder.spans(text)] == [
        ("Heating", "heat"), ("flow’s", "flow"), ("Straße", "strass"), ("日本", "日本"), ("本語", "本語"),
    ]  # fmt: skip


# Stop words and languages


def query_terms(encoder: LexicalEncoder, query: str, frequencies: dict[str, int], n_documents: int) -> list[str]:
    terms, counts = encoder.query_counts(query)
    df = np.array([frequencies.get(encoder.term_text(term), 1) for term in terms], dtype=np.int64)
    kept, weights = encoder.query_weights(terms, counts, df, n_documents)
    np.testing.assert_allclose(weights, encoder.idf(df[np.isin(terms, kept)], n_documents), rtol=1e-6)
    return sorted(encoder.term_text(term) for term in kept)


def test_a_listed_word_is_left_out_where_it_is_frequent() -> None:
    encoder = encoder_over(["the computer of the year flow"], LexicalSettings())
    frequent = {"the": 90_000, "of": 80_000, "comput": 9_000, "flow": 60_000}
    assert query_terms(encoder, "the flow of the computer", frequent, 100_000) == ["comput", "flow"]
    assert query_terms(encoder, "of the", frequent, 100_000) == ["of", "the"]  # nothing else remains
    assert query_terms(encoder, "the flow", {"the": 90, "flow": 2}, 100) == ["flow", "the"]  # a small collection
    never = encoder_over(["the flow"], LexicalSettings(stop_words=False))
    assert query_terms(never, "the flow", frequent, 100_000) == ["flow", "the"]


def test_terms_of_no_live_document_are_left_out() -> None:
    encoder = encoder_over(["heat flow"])
    terms, counts = encoder.query_counts("heat flow")
    kept, weights = encoder.query_weights(terms, counts, np.array([0, 3]), 5)
    assert (kept.tolist(), len(weights)) == ([1], 1)


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("english", "running flows", "run flow"),
        ("german", "Häuser Straßen", "Häusern STRASSE"),
        ("french", "l'eau chevaux", "eau cheval"),
        ("russian", "книгами", "книга"),
        ("turkish", "KIZLAR", "kız"),
        ("none", "flow", "FLOW"),
        ("zh", "中国人", "中国人"),
    ],
)
def test_inflections_meet(language: str, one: str, other: str) -> None:
    encoder = encoder_over([one], LexicalSettings(language=language))
    assert len(encoder.query_counts(other)[0]) == len(other.split()) + (language == "zh")


def test_every_language_works() -> None:
    for language in languages():
        encoder = encoder_over(["text 42 один 日本"], LexicalSettings(language=language))
        assert encoder.count_documents(["42"]).sum() == 1


def test_stop_words_come_folded_and_whole() -> None:
    english = stop_words_of("english")
    assert {"the", "don't", "of"} <= english
    assert "al" in english or "et-al" not in english
    assert all(tokenise(word) == [word] for word in english)
    assert stop_words_of("none") == frozenset()
    assert stop_words_of("porter") == english


def test_languages_by_code_and_in_any_case() -> None:
    assert resolve_language(" DE ") == "german"
    assert LexicalSettings(language="German") == LexicalSettings(language="de")


def test_an_unknown_language_names_the_nearest() -> None:
    with pytest.raises(LanguageError, match=r"'englsh'.*Nearest: english"):
        LexicalSettings(language="englsh")


@pytest.mark.parametrize(
    "values",
    [{"k1": -0.1}, {"k1": float("nan")}, {"k1": float("inf")}, {"k1": "1"}, {"k1": True}, {"b": -0.1}, {"b": 1.1},
     {"b": None}, {"language": 3}, {"stemming": 1}, {"stop_words": "yes"}],
)  # fmt: skip
def test_settings_out_of_range(values: dict[str, object]) -> None:
    (name,) = values
    with pytest.raises(SettingsError, match=f"^{name} is"):
        LexicalSettings(**values)  # type: ignore[arg-type]


# Identity, vocabulary, imports


def test_identity_survives_json_and_tells_settings_apart() -> None:
    identity = encoder_over([]).identity
    assert EncoderIdentity.from_json(identity.to_json()) == identity
    assert identity.vocabulary_size is None
    assert LexicalSettings(**identity.settings) == PLAIN
    other = LexicalEncoder(LexicalSettings(language="none", k1=1.2), MemoryVocabulary()).identity
    assert not identity.same_vectors(other)
    assert identity.same_vectors(EncoderIdentity("bm25", "another name", identity.fingerprint))
    assert len({identity, other}) == 2


def test_fingerprints_are_the_same_for_ever() -> None:
    assert fingerprint_of({"b": [1, 2.5], "a": "é"}) == "1d5aa48ef9cd2b6be14efd77e6aa32fc"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not JSON"),
        ("[]", "object, not list"),
        ('{"kind": "bm25", "name": "bm25"}', "'fingerprint'"),
        ('{"kind": 1, "name": "n", "fingerprint": "f"}', "'kind'"),
        ('{"kind": "k", "name": "n", "fingerprint": "f", "vocabulary_size": -3}', "-3"),
        ('{"kind": "k", "name": "n", "fingerprint": "f", "settings": 3}', "'settings'"),
    ],
)
def test_broken_identities(text: str, message: str) -> None:
    with pytest.raises(IdentityError, match=message):
        EncoderIdentity.from_json(text)


def test_protocols() -> None:
    assert isinstance(encoder_over([]), Encoder)
    assert isinstance(MemoryVocabulary(), Vocabulary)


def test_memory_vocabulary() -> None:
    vocabulary = MemoryVocabulary(["b", "a"])
    assert vocabulary.grow(["a", "c", "c", "b"]).tolist() == [1, 2, 2, 0]
    assert vocabulary.lookup(["c", "d"]).tolist() == [2, -1]
    assert vocabulary.text(2) == "c"
    for missing in (-1, 3):
        with pytest.raises(IndexError):
            vocabulary.text(missing)


def test_errors_say_what_and_what_to_do() -> None:
    error = EncoderError("it broke", "Mend it")
    assert (error.message, error.hint, str(error)) == ("it broke", "Mend it", "it broke. Mend it.")
    assert str(EncoderError("it broke")) == "it broke"


def test_queries_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from lexhound.encoders.bm25.encoder import LexicalEncoder\n"
        "from lexhound.encoders.bm25.settings import LexicalSettings\n"
        "from lexhound.encoders.bm25.vocabulary import MemoryVocabulary\n"
        "import lexhound.encoders.load\n"
        "LexicalEncoder(LexicalSettings(), MemoryVocabulary(['flow'])).query_counts('the flow')\n"
        "print([name for name in ('torch', 'transformers', 'scipy', 'tokenizers') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Quality


@pytest.mark.parametrize(("name", "least"), [("scifact", 0.670), ("nfcorpus", 0.318)])
def test_quality_on_judged_collections(shared_data: Path, name: str, least: float) -> None:
    import ir_measures
    import orjson
    from ir_measures import nDCG

    folder = shared_data / "beir" / name
    rows = [orjson.loads(line) for line in (folder / "corpus.jsonl").read_bytes().splitlines()]
    queries = {
        (row := orjson.loads(line))["_id"]: row["text"] for line in (folder / "queries.jsonl").read_bytes().splitlines()
    }
    lines = (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]
    qrels = [ir_measures.Qrel(query, row, int(grade)) for query, row, grade in (line.split("\t") for line in lines)]

    encoder = LexicalEncoder(LexicalSettings(), MemoryVocabulary())
    weights = encoder.count_documents([f"{row['title']} {row['text']}" for row in rows])
    df = np.bincount(weights.indices)
    lengths = np.asarray(weights.sum(axis=1))
    weights.data = encoder.compute_weights(
        weights.data, np.repeat(lengths, np.diff(weights.indptr)), float(lengths.mean())
    )
    by_term = weights.tocsc()
    run = []
    for query in {qrel.query_id for qrel in qrels}:
        terms, counts = encoder.query_counts(queries[query])
        terms, values = encoder.query_weights(terms, counts, df[terms], len(rows))
        scores = by_term[:, terms] @ values
        best = np.argsort(-scores, kind="stable")[:100]
        run += [ir_measures.ScoredDoc(query, rows[row]["_id"], float(scores[row])) for row in best if scores[row] > 0]
    assert ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10] >= least
