"""Late interaction over a tiny encoder, beside a plain twin that computes MaxSim from states and sorts anew."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from command import run
from service import running
from tiny_checkpoints import build_tiny_masked_lm

from lexhound.encoders.errors import SettingsError
from lexhound.encoders.late.vectors import MOST, kept_vectors, max_similarities, quantised, query_tokens
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.backup import backup_collection
from lexhound.retrieval.collection.request import SearchRequest
from lexhound.retrieval.collection.reranking.options import Rerank
from lexhound.retrieval.errors import QueryError
from lexhound.serve.client.errors import ClientError

WORDS = ("heat", "transfer", "flow", "wing", "shock", "wave", "pressure", "boundary", "layer")
QUERIES = ("heat transfer", "wing wing flow", "shock wave pressure boundary", "layer")
SETTINGS = LearnedSettings(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build_tiny_masked_lm(tmp_path_factory.mktemp("late") / "model")
    tokens = LearnedEncoder(folder, SETTINGS).subwords("document").ids_by_token
    idf = {token: 0.5 + (number * 7 % 11) / 4 for token, number in tokens.items() if not token.startswith("[")}
    (folder / "idf.json").write_text(json.dumps(idf))
    sides = {"document": {"kind": "mlm", "dense": "mean"}, "query": {"kind": "table", "weights": "idf.json"}}
    (folder / "lexhound_encoder.json").write_text(json.dumps({"format": 1, **sides}))
    return folder


@pytest.fixture(scope="module")
def encoder(model: Path) -> LearnedEncoder:
    return LearnedEncoder(model, SETTINGS)


def text_of(number: int) -> str:
    return " ".join(WORDS[(number * step + step) % len(WORDS)] for step in range(1, 3 + number % 9))


def documents() -> list[Document]:
    plain = [Document(f"d{number}", text_of(number), f"about {WORDS[number % 4]}") for number in range(24)]
    return [*plain, Document("same", plain[3].text, plain[3].title), Document("empty", "")]


def make(path: Path, model: Path, **settings: object) -> Collection:
    return Collection.create(path, encoder=str(model), dense=str(model), learned=SETTINGS, late=True, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def shared(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with make(tmp_path_factory.mktemp("shared") / "my.index", model) as made:
        made.add(documents())
        yield made


def twin_states(encoder: LearnedEncoder, text: str) -> list[tuple[int, np.ndarray]]:
    """Each token of a text with its state, of unit length."""
    found: list[tuple[int, np.ndarray]] = []

    def keep(tokens: np.ndarray, states: np.ndarray) -> None:
        found.extend((int(token), state / np.linalg.norm(state)) for token, state in zip(tokens, states, strict=True))

    encoder._encoder("document").encode_with_states([text], keep)  # type: ignore[attr-defined]
    return found


def twin_vectors(encoder: LearnedEncoder, text: str) -> list[np.ndarray]:
    idf = encoder.require_tokens()
    states = twin_states(encoder, text)
    counts = Counter(token for token, _ in states)
    best = sorted(counts, key=lambda token: (-float(idf[token]) * np.sqrt(counts[token]), token))[:MOST]
    vectors = []
    for token in best:
        total = sum(state for own, state in states if own == token)
        vector = total / np.linalg.norm(total)
        step = np.abs(vector).max() / 127
        vectors.append(np.rint(vector / step) * step)
    return vectors


def twin_late(encoder: LearnedEncoder, query: str, text: str) -> float | None:
    idf = encoder.require_tokens()
    vectors = twin_vectors(encoder, text)
    tokens = twin_states(encoder, query)
    weight = sum(float(idf[token]) for token, _ in tokens)
    if not vectors or not weight:
        return None
    return sum(float(idf[token]) * max(float(state @ own) for own in vectors) for token, state in tokens) / weight


def deviations(scores: list[float]) -> list[float]:
    spread = float(np.std(scores))
    return [(score - float(np.mean(scores))) / spread if spread else 0.0 for score in scores]


def twin(encoder: LearnedEncoder, collection: Collection, query: str, mode: str, options: Rerank) -> list[tuple]:
    """(id, score, late score), reranked by hand; ties by the order of insertion, which ids tell."""
    hits = collection.search(query, k=options.hits, mode=mode, rerank="none").hits
    late = [twin_late(encoder, query, f"{hit.title} {hit.text}" if hit.title else hit.text or "") for hit in hits]
    least = min((each for each in late if each is not None), default=0.0)
    before = deviations([hit.score for hit in hits])
    after = deviations([least if each is None else each for each in late])
    weight = options.weight or 0.0
    scores = [(1 - weight) * one + weight * other for one, other in zip(before, after, strict=True)]
    order = sorted(range(len(hits)), key=lambda place: (-round(scores[place], 5), place_of(hits[place].id)))
    return [(hits[place].id, scores[place], late[place]) for place in order]


def place_of(identifier: str) -> int:
    return [each.id for each in documents()].index(identifier)


@pytest.mark.parametrize("mode", ["hybrid", "sparse", "dense"])
def test_hits_are_those_of_a_plain_twin(encoder: LearnedEncoder, shared: Collection, mode: str) -> None:
    for query in QUERIES:
        for options in (Rerank("late"), Rerank("late", 7, 1.0), Rerank("late", 12, 0.0)):
            expected = twin(encoder, shared, query, mode, options)
            found = shared.search(query, k=min(options.hits, 9), mode=mode, rerank=options, explain=True).hits
            assert [hit.score for hit in found] == pytest.approx([each[1] for each in expected[:9]], abs=2e-3)
            by_id = {identifier: (score, late) for identifier, score, late in expected}
            for rank, hit in enumerate(found, 1):
                score, late = by_id[hit.id]
                assert (hit.rank, hit.score, hit.late_score) == (
                    rank,
                    pytest.approx(score, abs=2e-3),
                    pytest.approx(late, abs=2e-3),
                )
                assert sum(part.score for part in hit.contributions or ()) == pytest.approx(hit.retrieval_score)
            pages = [shared.search(query, 3, offset=offset, mode=mode, rerank=options).hits for offset in (0, 3)]
            assert [hit for page in pages for hit in page] == list(shared.search(query, 6, mode=mode, rerank=options))


def test_equal_scores_come_in_the_order_of_insertion(shared: Collection) -> None:
    for query in QUERIES:
        for options in (Rerank("late"), Rerank("late", weight=1.0)):
            found = [hit.id for hit in shared.search(query, k=30, mode="dense", rerank=options)]
            scores = {hit.id: hit.score for hit in shared.search(query, k=30, mode="dense", rerank=options)}
            assert scores["d3"] == scores["same"]
            assert found.index("same") == found.index("d3") + 1


def test_a_score_depends_on_the_two_texts_alone() -> None:
    random = np.random.default_rng(3)
    idf = random.random(50).astype(np.float32)
    texts = [
        kept_vectors(random.integers(0, 50, size), random.normal(size=(size, 12)).astype(np.float32), idf)
        for size in (1, 2, 40, 90, 0, 5)
    ]
    assert [len(text.scales) for text in texts][3:] == [MOST, 0, len(texts[5].scales)]
    tokens = random.integers(0, 50, 6)
    query = query_tokens(tokens, random.normal(size=(6, 12)).astype(np.float32), idf)
    together = max_similarities(query, texts)
    assert np.isnan(together[4])
    for own, text in zip(together.tolist(), texts, strict=True):
        assert max_similarities(query, [text]).tolist() == [own] or np.isnan(own)
    mixed = max_similarities(query, texts[::-1] + texts)
    assert np.array_equal(mixed[:6][::-1], together, equal_nan=True)
    silent = query_tokens(tokens, np.ones((6, 12), np.float32), np.zeros(50, np.float32))
    assert np.isnan(max_similarities(silent, texts)).all()
    assert not quantised(np.zeros((2, 4), np.float32)).values.any()


def test_pending_rows_segments_changes_and_compaction(model: Path, tmp_path: Path) -> None:
    def answers(collection: Collection) -> list[list[tuple[str, float | None]]]:
        return [
            [(hit.id, hit.late_score) for hit in collection.search(query, k=40, mode=mode, rerank="late")]
            for query in QUERIES
            for mode in ("sparse", "dense")
        ]

    path = tmp_path / "my.index"
    with make(path, model) as collection:
        collection.add(documents())
        pending = answers(collection)
        assert collection.info().segments == ()
        collection.compact()
        assert len(collection.info().segments) == 1
        assert answers(collection) == pending
        assert collection.verify() == []
        # A document that goes and comes again, one that is replaced, one that is deleted.
        collection.delete(["d1", "d2"])
        collection.put([documents()[2], Document("d5", "shock wave")])
        changed = answers(collection)
        assert collection.verify() == []
        collection.compact()
        assert answers(collection) == changed
        assert collection.verify() == []
        with ThreadPoolExecutor(4) as pool:
            assert all(each == changed for each in pool.map(lambda _: answers(collection), range(4)))
        many = collection.search_many(QUERIES, k=5, mode="sparse", rerank="late")
        assert many[0] == [
            (hit.id, hit.score) for hit in collection.search(QUERIES[0], 5, mode="sparse", rerank="late")
        ]
    with make(tmp_path / "other.index", model) as other:
        other.add([document for document in documents() if document.id not in ("d1", "d2", "d5")])
        other.add([documents()[2], Document("d5", "shock wave")])
        assert [sorted(each) for each in answers(other)] == [sorted(each) for each in changed]
    backup_collection(path, tmp_path / "backup")
    with Collection.open(tmp_path / "backup") as copy:
        assert answers(copy) == changed
        assert copy.verify() == []


def test_documents_in_passages(model: Path, encoder: LearnedEncoder, tmp_path: Path) -> None:
    long = "heat transfer flow. " * 12 + "Shock wave pressure. " * 12
    with make(tmp_path / "my.index", model, passages="24/0") as collection:
        collection.add([Document("long", long), Document("short", "wing flow")])
        assert collection.info().rows > 2
        for group in ("document", "none"):
            hits = collection.search("shock wave", mode="dense", rerank="late", group=group).hits
            for hit in hits:
                text = hit.text if hit.passage is None else hit.passage.text
                assert hit.late_score == pytest.approx(twin_late(encoder, "shock wave", text or ""), abs=2e-3)
        collection.put([Document("long", "heat")])
        collection.delete(["short"])
        assert collection.verify() == []
        with collection.snapshot().reading() as connection:
            assert connection.execute("SELECT count(*) FROM token_vectors").fetchone() == (1,)


def test_damage_is_found(model: Path, tmp_path: Path) -> None:
    from lexhound.retrieval.errors import CorruptCollectionError

    with make(tmp_path / "my.index", model) as collection:
        collection.add(documents())
        connection = collection._writing().connection
        connection.execute("UPDATE token_vectors SET vectors = substr(vectors, 1, 20) WHERE seq = 3")
        assert [problem.message for problem in collection.verify()] == ["the token vectors of row 3 are damaged"]
        with pytest.raises(CorruptCollectionError, match="token vectors of row 3"):
            collection.search("heat transfer", k=40, mode="dense", rerank="late")
        connection.execute("DELETE FROM token_vectors WHERE seq = 3")
        assert "1 rows have no token vectors, row 3" in collection.verify()[0].message
        with pytest.raises(CorruptCollectionError, match="1 rows have no token vectors, row 3"):
            collection.search("heat transfer", k=40, mode="dense", rerank="late")


def test_what_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="bm25 makes no vectors of tokens"):
        Collection.create(tmp_path / "words.index", encoder="bm25", late=True)
    plain = Path(shutil.copytree(model, tmp_path / "plain"))
    sides = {"document": {"kind": "mlm"}, "query": {"kind": "table"}}
    (plain / "lexhound_encoder.json").write_text(json.dumps({"format": 1, **sides}))
    with pytest.raises(SettingsError, match="no table of idf"):
        Collection.create(tmp_path / "plain.index", encoder=str(plain), late=True)
    assert not (tmp_path / "words.index").exists()
    assert not (tmp_path / "plain.index").exists()
    with Collection.create(tmp_path / "my.index", encoder="bm25") as collection:
        collection.add([Document("a", "heat")])
        for ask in (lambda: collection.search("heat", rerank="late"), lambda: collection.keep_reranker(Rerank("late"))):
            with pytest.raises(QueryError, match="keeps no vectors of tokens"):
                ask()
    for values in ({"weight": 2.0}, {"weight": True}, {"depth": 0}):
        with pytest.raises(QueryError):
            Rerank("late", **values)  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="late interaction alone"):
        Rerank("model", weight=0.5)


def test_every_door(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "data" / "my"
    path.parent.mkdir()
    corpus = tmp_path / "corpus.jsonl"
    rows = [{"_id": each.id, "title": each.title, "text": each.text} for each in documents()]
    corpus.write_text("\n".join(json.dumps(row) for row in rows))
    made = run("index", corpus, "--into", path, "--encoder", model, "--dense", model, "--late", "--json")
    assert made.json["documents"] == len(rows)
    assert run("info", path, "--json").json["late_bytes"] > 0
    assert "late interaction" in run("info", path).out
    with Collection.open(path) as collection:
        expected = [(hit.id, hit.late_score) for hit in collection.search("heat transfer", rerank="late")]
        weighed = [hit.id for hit in collection.search("heat transfer", rerank=Rerank("late", 20, 1.0))]
    found = run("search", path, "heat transfer", "--rerank", "late", "--json").json["hits"]
    assert [(hit["id"], hit["late_score"]) for hit in found] == expected
    asked = ("--rerank", "late", "--rerank-depth", "20", "--rerank-weight", "1", "--json")
    assert [hit["id"] for hit in run("search", path, "heat transfer", *asked).json["hits"]] == weighed
    with running(path.parent, "--encoders", f"tiny={model}") as service, service.client() as client:
        answer = client.search("my", "heat transfer", rerank="late")
        assert [(hit.id, hit.late_score) for hit in answer.hits] == expected
        assert [hit.id for hit in client.search("my", SearchRequest("heat transfer", rerank="late")).hits] == [
            identifier for identifier, _ in expected
        ]
        many = client.search_many("my", ["heat transfer"], rerank="late")
        assert [identifier for identifier, _ in many[0]] == [identifier for identifier, _ in expected]
        client.create_collection("new", encoder="tiny", late=True)
        client.create_collection("plain", encoder="tiny")
        client.put("new", documents(), refresh=True)
        client.put("plain", documents(), refresh=True)
        assert client.search("new", "heat transfer", rerank="late").hits[0].late_score is not None
        assert client.collection("new").details["late_bytes"] > 0
        with pytest.raises(ClientError, match="keeps no vectors of tokens"):
            client.search("plain", "heat", rerank="late")
        with pytest.raises(ClientError, match="keeps it, its depth and its weight"):
            client.search("my", SearchRequest("heat", rerank=Rerank("late", 20)))
    outcome = run("export", path, "--format", "parquet", "--out", tmp_path / "out")
    assert "token vectors of late interaction are left out" in outcome.err
    assert run("import", tmp_path / "out", "--into", tmp_path / "again.index").code == 0
    outcome = run("search", tmp_path / "again.index", "heat", "--rerank", "late")
    assert outcome.code == 2
    assert "Index the corpus again with --late" in outcome.err
    kept = run("reranker", path, "late", "--weight", "1", "--depth", "20", "--json").json["reranker"]
    assert kept == {"model": "late", "depth": 20, "weight": 1.0}
    with Collection.open(path) as collection:
        assert [hit.id for hit in collection.search("heat transfer")] == weighed
        assert collection.search({"heat": 1.0}).hits[0].late_score is None


def test_a_tenant_is_reranked_among_its_own(model: Path, encoder: LearnedEncoder, tmp_path: Path) -> None:
    with make(tmp_path / "my.index", model, tenant_field="org") as collection:
        for tenant in ("a", "b"):
            collection.for_tenant(tenant).add(documents()[:8])
        for _ in range(2):
            hits = collection.for_tenant("b").search("heat transfer", k=20, mode="dense", rerank="late").hits
            assert sorted(hit.id for hit in hits) == [f"d{number}" for number in range(8)]
            for hit in hits:
                assert hit.late_score == pytest.approx(
                    twin_late(encoder, "heat transfer", f"{hit.title} {hit.text}"), abs=2e-3
                )
            assert collection.verify() == []
            collection.for_tenant("a").delete(["d1"])
            collection.compact()
