"""What only Milvus has: filters in its expressions, counts of terms beside a collection, what it cannot hold, retries.

The engine is the real one, as it ships in milvus-lite.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backend_corpus import DOCUMENTS, METADATA, encoders
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from installed_engines import needs_milvus
from plain_engine import holds

from lexhound.encoders.base import EncoderIdentity
from lexhound.retrieval import Document
from lexhound.retrieval.collection.store.manifest import Manifest
from lexhound.retrieval.documents.metadata import flatten
from lexhound.retrieval.engines.address import read_address
from lexhound.retrieval.engines.engine import EngineDocument, Scope
from lexhound.retrieval.engines.milvus import MilvusEngine, open_milvus
from lexhound.retrieval.engines.milvus.filters import tenant_key, tenant_of, translate
from lexhound.retrieval.engines.milvus.frequencies import SUFFIX, Frequencies
from lexhound.retrieval.engines.opening import create_collection, open_collection
from lexhound.retrieval.engines.settings import MilvusSettings
from lexhound.retrieval.errors import (
    EngineError,
    EngineUnreachableError,
    NewerFormatError,
    NotACollectionError,
    UnsupportedError,
)
from lexhound.retrieval.filters import And, Comparison, Exists, Expression, Membership, Not, Or, parse_filter

pytestmark = [pytest.mark.engine, needs_milvus]
MANIFEST = Manifest.new("a test", EncoderIdentity("test", "none", "0" * 32, 100))
SETTINGS = MilvusSettings(timeout=30)


def row(number: int, metadata: dict[str, Any], terms: tuple[int, ...] = (1,), text: str = "") -> EngineDocument:
    vector = (np.array(terms, np.int32), np.ones(len(terms), np.float32))
    return EngineDocument(number, number, Document(f"d{number}", text, metadata=metadata), [vector])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("milvus")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[MilvusEngine]:
    made = open_milvus(read_address(f"milvus-lite:{folder}/data.db/filters"), MANIFEST, SETTINGS)
    made.upsert([row(number, metadata) for number, metadata in enumerate(METADATA)])
    yield made
    made.close()


fields = st.sampled_from(["year", "lang", "author", "author.name", "peer", "odd name", "missing"])
values = st.sampled_from([1990, 1991.5, 1, 0, 3000, -3, "en", "de", "É\"\\'x/~", "", "1990", "Lin", 2**62, 0.1])
comparisons = st.builds(
    Comparison, fields, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), values.filter(lambda v: v != 2**62)
)
leaves = (
    comparisons
    | st.builds(Membership, fields, st.lists(values, min_size=1, max_size=3, unique=True).map(tuple), st.booleans())
    | st.builds(Exists, fields)
)
pairs = lambda inner: st.tuples(inner, inner)  # noqa: E731
expressions = st.recursive(
    leaves,
    lambda inner: st.builds(Not, inner) | st.builds(And, pairs(inner)) | st.builds(Or, pairs(inner)),
    max_leaves=5,
)


@settings(max_examples=examples(80), deadline=None)
@given(expression=expressions)
def test_a_translated_filter_holds_of_the_same_documents(engine: MilvusEngine, expression: Expression) -> None:
    expected = {f"d{number}" for number, metadata in enumerate(METADATA) if holds(expression, flatten(metadata))}
    vector = (np.array([1], np.int32), np.ones(1, np.float32))
    assert set(engine.search_sparse([vector], 100, Scope(expression))[0].ids) == expected
    assert engine.count(expression) == len(expected)


def test_a_number_that_float64_does_not_hold_is_refused_where_size_counts(engine: MilvusEngine) -> None:
    assert engine.count(parse_filter(f"year = {2**62}")) == 0
    for text in (f"year < {2**53}", f"year >= {-(2**53)}", "not year > 1e300"):
        with pytest.raises(UnsupportedError, match="float64"):
            translate(parse_filter(text))


def test_the_tenant_of_a_filter_is_one_that_all_its_documents_have() -> None:
    for text, confined in (
        ('who = "a"', True),
        ('who = "a" and year > 3', True),
        ('(year > 3 and who = "a") and exists x', True),
        ('who = "a" or year > 3', False),
        ('not who = "a"', False),
        ('who != "a"', False),
        ('who in ("a")', False),
        ("year > 3", False),
    ):
        found = tenant_of(parse_filter(text), "who")
        assert found == (tenant_key({"who": "a"}, "who") if confined else None)
    assert tenant_key({}, "who") == ""
    assert tenant_key({"who": True}, "who") == tenant_key({"who": 1.0}, "who")
    with pytest.raises(UnsupportedError, match="2 values"):
        tenant_key({"who": ["a", "b"]}, "who")


def test_what_does_not_fit_is_refused_before_anything_is_written(folder: Path) -> None:
    with create_collection(f"milvus-lite:{folder}/data.db/long", **encoders()) as collection:
        for document, named in (
            (Document("long", "x" * 65_536), "text"),
            (Document("long", "é" * 32_768), "text"),
            (Document("long", "", "x" * 65_536), "title"),
            (Document("long", "", metadata={"a": "x" * 65_536}), "metadata"),
            (Document("long", "", metadata={"a": list(range(4000))}), "metadata for filters"),
        ):
            with pytest.raises(UnsupportedError, match=f"{named} of document 'long'"):
                collection.add([DOCUMENTS[0], document])
        assert collection.count() == 0
        collection.add([Document("just", "é" * 32_767)])
        assert collection.get("just") == Document("just", "é" * 32_767)


def test_counts_survive_merging_and_a_crash_in_the_middle_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = read_address(f"milvus-lite:{folder}/data.db/counts")
    engine = open_milvus(address, MANIFEST, SETTINGS)
    terms = np.arange(10_000, dtype=np.int32)
    for number in range(5):
        engine.upsert([row(number, {}, tuple(range(0, 10_000, number + 1)))])
    engine.upsert([row(0, {}, (7,))])
    engine.delete(["d4"])
    expected = np.array([sum(t % n == 0 for n in (2, 3, 4)) + (t == 7) for t in terms.tolist()])
    assert np.array_equal(engine.document_frequencies(terms), expected)

    def loaded() -> np.ndarray[Any, Any]:
        counts = Frequencies(engine._client, "counts")
        counts.load()
        return counts.of(terms)

    assert np.array_equal(loaded(), expected)
    write = engine._client.write

    def crash(method: str, *arguments: Any, **options: Any) -> Any:
        if method == "delete":
            raise EngineError("the power went off")
        return write(method, *arguments, **options)

    monkeypatch.setattr(engine._client, "write", crash)
    with pytest.raises(EngineError, match="power"):
        engine._frequencies.merge(at=2)
    monkeypatch.undo()
    assert np.array_equal(loaded(), expected)
    other = open_milvus(address, None, SETTINGS)
    other.finish()  # removes what the crash left
    other.upsert([row(9, {}, (7, 9_999))])
    assert engine.refresh()
    expected[[7, 9_999]] += 1
    assert np.array_equal(engine.document_frequencies(terms), expected)
    assert not engine.refresh()
    rows = engine._client("query", "counts" + SUFFIX, filter='key >= ""', output_fields=["group"], limit=1000)
    assert len({each["group"] for each in rows}) == 2
    other.finish()
    assert np.array_equal(loaded(), expected)
    other.close()
    engine.close()


def test_what_is_not_ours_is_left_alone(folder: Path) -> None:
    base = f"milvus-lite:{folder}/data.db"
    engine = open_milvus(read_address(f"{base}/ours"), MANIFEST, SETTINGS)
    client = engine._client
    client("create_collection", "theirs", dimension=4)
    client("create_collection", "later", schema=_schema('{"lexhound": {"layout": 99}}'))
    with pytest.raises(NotACollectionError, match="not Lexhound's"):
        open_collection(f"{base}/theirs")
    with pytest.raises(NewerFormatError, match="layout 99"):
        open_collection(f"{base}/later")
    with pytest.raises(NotACollectionError, match="no such collection"):
        open_collection(f"{base}/nothing")
    with pytest.raises(NotACollectionError, match="no such collection"):
        open_collection(f"milvus-lite:{folder}/nothing.db/nothing")
    assert not (folder / "nothing.db").exists()
    engine.close()


def _schema(description: str) -> Any:
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=description)
    schema.add_field("key", DataType.VARCHAR, max_length=64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    return schema


def test_settings_that_milvus_lite_lacks_are_refused(folder: Path) -> None:
    address = read_address(f"milvus-lite:{folder}/data.db/settings")
    for chosen, named in (
        (MilvusSettings(dense_index="HNSW"), "HNSW"),
        (MilvusSettings(tenant_field="who"), "partition"),
    ):
        with pytest.raises(UnsupportedError, match=named):
            open_milvus(address, MANIFEST, chosen)


def test_a_busy_server_is_asked_again_and_a_broken_request_is_not(
    engine: MilvusEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymilvus.exceptions import MilvusException

    client, pauses, calls = engine._client, [], []
    monkeypatch.setattr("time.sleep", pauses.append)

    def failing(times: int, code: int) -> Any:
        def method(**options: Any) -> str:
            calls.append(code)
            if len(calls) <= times:
                raise MilvusException(code=code, message="no")
            return "done"

        return method

    monkeypatch.setattr(client._client, "busy", failing(3, 8), raising=False)
    assert client.write("busy") == "done"
    assert pauses == [0.5, 1.0, 2.0]
    calls.clear()
    monkeypatch.setattr(client._client, "busy", failing(100, 8), raising=False)
    with pytest.raises(EngineUnreachableError, match="could not do it now: no"):
        client.write("busy")
    assert len(calls) == SETTINGS.attempts
    calls.clear()
    monkeypatch.setattr(client._client, "broken", failing(100, 1100), raising=False)
    with pytest.raises(EngineError, match="Milvus failed: no"):
        client.write("broken")
    assert len(calls) == 1
