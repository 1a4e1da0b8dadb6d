"""Korean nouns are found inside the forms in which particles stand behind them."""

from __future__ import annotations

from pathlib import Path

import pytest
from korean_sentences import QUERIES, SENTENCES

from lexhound.encoders.bm25.encoder import LexicalEncoder
from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.encoders.bm25.vocabulary import MemoryVocabulary
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.documents.snippet import make_snippet


@pytest.mark.parametrize("language", ["korean", "ko", "english", "none"])
def test_nouns_are_found_with_their_particles(language: str, tmp_path: Path) -> None:
    """The figures of docs/encoders.md: recall 1, and of what is found .92 are right."""
    with Collection.create(tmp_path / "it", lexical=LexicalSettings(language=language)) as collection:
        collection.add([Document(str(number), text) for number, text in enumerate(SENTENCES)])
        precision = []
        for query, right in QUERIES.items():
            found = {int(hit.id) for hit in collection.search(query, len(SENTENCES)).hits}
            assert right <= found, query
            precision.append(len(right) / len(found))
        assert sum(precision) / len(precision) == pytest.approx(0.924, abs=0.001)


@pytest.mark.parametrize(
    ("query", "marked"), [("도서관", ["도서관"]), ("책", ["책"]), ("도서관에서 책", ["도서관에서", "책"])]
)
def test_what_matched_is_marked(query: str, marked: list[str]) -> None:
    encoder = LexicalEncoder(LexicalSettings(language="korean"), MemoryVocabulary())
    encoder.count_documents([SENTENCES[0]])
    terms = set(encoder.query_counts(query)[0].tolist())
    snippet = make_snippet(SENTENCES[0], encoder.highlights(SENTENCES[0], terms), terms)
    assert [snippet.text[start:end] for start, end in snippet.marks] == marked


def test_words_of_several_terms_are_counted_alike_when_they_come_again() -> None:
    encoder = LexicalEncoder(LexicalSettings(language="korean"), MemoryVocabulary())
    texts = [*SENTENCES, "学生" * 20]
    first = encoder.count_documents(texts).toarray()
    assert (encoder.count_documents(texts).toarray() == first).all()
    assert "도서관에서" in encoder._spelled
    assert all(len(form) <= 12 for form in encoder._spelled)
