"""Vectors that were made before, indexed and added: the same answers as from the texts, and one message where not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Outcome, environment, lines, run
from tiny_checkpoints import build_tiny_masked_lm, vocabulary

from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.encoders.vector_files import Maker, compress, stacked, write_npz
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.documents.encoded_document import EncodedDocument
from lexhound.retrieval.errors import InvalidDocumentError

EXACT = ("--device", "cpu", "--precision", "float32")
QUERIES = ("hot flow", "the cat", "wing of an aircraft", "zz")
WORDS = ("heat", "flow", "wing", "cat", "mat", "boundary", "layer", "hot", "cold", "of", "the", "shock", "wave")
Refused = Callable[..., Outcome]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder whose queries need no model."""
    folder = build_tiny_masked_lm(tmp_path_factory.mktemp("checkpoints") / "free")
    weights = {token: 1.0 + number / 100 for number, token in enumerate(vocabulary())}
    (folder / "idf.json").write_text(json.dumps(weights), "utf-8")
    return folder


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """More texts than are encoded together; one is empty, and some are equal."""
    generator = np.random.default_rng(3)
    found: list[dict[str, Any]] = [
        {"id": f"d{number}", "text": " ".join(generator.choice(WORDS, 1 + number % 7)), "year": 1900 + number % 5}
        for number in range(290)
    ]
    found[7]["text"] = ""
    return found


@pytest.fixture(scope="module")
def made(model: Path, rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the texts, a collection of them, and their vectors in every form."""
    folder = tmp_path_factory.mktemp("made")
    texts = folder / "texts.jsonl"
    texts.write_bytes(lines(*rows))
    assert run("index", texts, "--into", folder / "texts.index", "--encoder", model, *EXACT).code == 0
    for name in ("v.jsonl", "v.npz"):
        outcome = run("encode", texts, "--encoder", model, "--out", folder / name, *EXACT)
        assert outcome.code == 0, outcome.err
    compress(folder / "v.jsonl", folder / "v.jsonl.zst")
    vectors = [json.loads(line)["vector"] for line in (folder / "v.jsonl").read_bytes().splitlines()]
    whole = [row | {"vector": vector} for row, vector in zip(rows, vectors, strict=True)]
    (folder / "whole.jsonl").write_bytes(lines(*whole))
    return folder


@pytest.fixture
def refused() -> Refused:
    """Run a command that has to fail in the way every failure is told."""

    def check(*arguments: str | Path, says: str, where: str = "", code: int = 1) -> Outcome:
        outcome = run(*arguments)
        assert outcome.code == code, outcome
        assert says in outcome.err
        assert where in outcome.err
        assert outcome.err.count("error:") == 1
        assert "Traceback" not in outcome.err
        assert outcome.out == ""
        return outcome

    return check


def answers(collection: Path, *, whole: bool) -> list[Any]:
    """Hits of all queries, explained; without what only texts give unless `whole`."""
    found = []
    with Collection.open(collection) as opened:
        for query in QUERIES:
            for filter in (None, "year >= 1903") if whole else (None,):
                result = opened.search(query, 400, filter=filter, explain=True)
                for hit in result.hits:
                    terms = hit.contributions or ()
                    if not whole:  # which terms are in the text
                        terms = tuple(replace(each, in_text=True) for each in terms)
                    found.append((hit.id, hit.score, terms, whole and hit.document))
        assert opened.verify() == []
    return found


def test_answers_are_those_of_the_texts(model: Path, made: Path, tmp_path: Path) -> None:
    expected = answers(made / "texts.index", whole=False)
    assert all(expected[:3])
    for name in ("v.jsonl", "v.jsonl.zst", "v.npz", "whole.jsonl"):
        into = tmp_path / f"{name}.index"
        outcome = run("index", made / name, "--into", into, "--encoder", model, "--vectors", "--json")
        assert outcome.code == 0, outcome.err
        assert outcome.json["documents"] == 290
        assert answers(into, whole=False) == expected
    assert answers(tmp_path / "whole.jsonl.index", whole=True) == answers(made / "texts.index", whole=True)


def test_indexing_and_searching_load_no_model(model: Path, made: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from lexhound.serve.cli import main\n"
        "code = main(['index', sys.argv[1], '--into', sys.argv[2], '--encoder', sys.argv[3], '--vectors', '--json'])\n"
        "code = code or main(['search', sys.argv[2], 'hot flow', '--json'])\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)), code, file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, str(made / "v.npz"), str(tmp_path / "x"), str(model)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=100, env=environment())
    assert done.stderr == b"[] 0\n"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_special_tokens_of_other_tools_are_left_out_and_counted(
    model: Path, made: Path, rows: list[dict[str, Any]], tmp_path: Path, refused: Refused
) -> None:
    from sentence_transformers import SparseEncoder

    peer = SparseEncoder(str(model), device="cpu")
    words = vocabulary()
    theirs = []
    for row, vector in zip(rows, peer.encode_document([row["text"] for row in rows]).to_dense().numpy(), strict=True):
        if not row["text"]:  # there the special tokens around nothing make a vector too
            vector[5:] = 0
        theirs.append(row | {"vector": {words[term]: float(vector[term]) for term in vector.nonzero()[0]}})
    special = sum(len(vocabulary_of(row).intersection(words[:5])) for row in theirs)
    assert special > 200
    (tmp_path / "theirs.jsonl").write_bytes(lines(*theirs))
    index = ("index", tmp_path / "theirs.jsonl", "--into", tmp_path / "x", "--encoder", model, "--vectors")
    outcome = run(*index)
    assert outcome.code == 0, outcome.err
    assert f"{special:,} weights of special tokens, which are no terms, left out" in outcome.out
    with Collection.open(tmp_path / "x") as found, Collection.open(made / "texts.index") as own:
        for query in QUERIES:
            ours, other = (each.search(query, 400).hits for each in (own, found))
            assert [hit.id for hit in ours] == [hit.id for hit in other]
            np.testing.assert_allclose([hit.score for hit in ours], [hit.score for hit in other], rtol=0.02)
        # A query of theirs, too: what is no term is told and not searched.
        result = found.search({"heat": 1.0, "[CLS]": 9.0, "[UNK]": 9.0})
        assert result.unknown == ("[CLS]", "[UNK]")
        assert [hit.id for hit in result.hits] == [hit.id for hit in found.search({"heat": 1.0}).hits]
    again = run("add", tmp_path / "x", tmp_path / "theirs.jsonl", "--vectors", "--json")
    assert again.json["runs"][0]["special_weights"] == special
    (tmp_path / "theirs.jsonl").write_bytes(lines(theirs[0] | {"vector": {"[CLS]": 1, "no token": 1}}))
    refused("add", tmp_path / "x", tmp_path / "theirs.jsonl", "--vectors", says="the encoder has no term 'no token'")


def vocabulary_of(row: dict[str, Any]) -> set[str]:
    return set(row["vector"])


def test_special_tokens_of_matrices_and_arrays_are_left_out(model: Path, tmp_path: Path) -> None:
    encoder = LearnedEncoder(model, LearnedSettings(device="cpu", precision="float32"))
    vector = np.array([2, vocabulary().index("heat")], np.int32), np.array([9, 1], np.float32)
    write_npz(tmp_path / "v.npz", ["a"], stacked([vector], len(vocabulary())), Maker.of(encoder.identity))
    index = ("index", tmp_path / "v.npz", "--into", tmp_path / "x", "--encoder", model, "--vectors", *EXACT, "--json")
    outcome = run(*index)
    assert outcome.code == 0, outcome.err
    assert outcome.json["special_weights"] == 1
    with Collection.open(tmp_path / "x", writable=True) as collection:
        collection.add([EncodedDocument(Document("b", ""), vector)])
        found = collection.search({"heat": 1.0}, explain=True).hits
        assert [hit.id for hit in found] == ["a", "b"]
        assert collection.snapshot().document_frequencies(np.array([2], np.int32)).tolist() == [0]


def test_an_interrupted_run_goes_on(model: Path, made: Path, tmp_path: Path, refused: Refused) -> None:
    source, into = tmp_path / "v.jsonl", tmp_path / "x"
    whole = (made / "whole.jsonl").read_bytes().splitlines(keepends=True)
    source.write_bytes(b"".join([*whole[:280], b'{"id": "x", "vector": {"heat": -1}}\n', *whole[280:]]))
    index = ("index", source, "--into", into, "--encoder", model, "--vectors")
    outcome = refused(*index, says="the weight of 'heat' is -1", where="v.jsonl, line 281")
    assert "280 documents before this row are kept" in outcome.err
    refused(*index[:-1], *EXACT, says="was interrupted and holds 280 documents")  # read as texts: all would be dropped
    # A vector that is no longer the one that was kept is read again, with all that follow.
    changed = json.loads(whole[9])
    changed["vector"] = {"cat": 5.0}
    source.write_bytes(b"".join([*whole[:9], *lines(changed).splitlines(keepends=True), *whole[10:]]))
    outcome = run(*index, "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.json["documents"], outcome.json["resumed"]) == (290, 9)
    with Collection.open(into) as collection:
        assert collection.search("cat", 1).hits[0].id == "d9"
    source.write_bytes(b"".join(whole))
    again = run("add", into, source, "--vectors", "--json")
    assert again.code == 0, again.err
    assert {name: again.json["runs"][0][name] for name in ("added", "replaced", "unchanged")} == {
        "added": 0,
        "replaced": 1,
        "unchanged": 289,
    }


def test_vectors_and_texts_may_be_mixed(model: Path, made: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    parts = {"one": rows[:100], "two": rows[100:200], "three": rows[200:]}
    vectors = (made / "whole.jsonl").read_bytes().splitlines(keepends=True)
    paths = {name: tmp_path / f"{name}.jsonl" for name in parts}
    for name, part in parts.items():
        paths[name].write_bytes(lines(*part))
    paths["two"].write_bytes(b"".join(vectors[100:200]))
    into = tmp_path / "x"
    assert run("index", paths["one"], "--into", into, "--encoder", model, *EXACT).code == 0
    assert run("add", into, paths["two"], "--vectors").code == 0
    assert run("add", into, paths["three"]).code == 0
    with Collection.open(into) as mixed, Collection.open(made / "texts.index") as plain:
        for query in QUERIES:
            ours, theirs = ({hit.id: hit.score for hit in each.search(query, 400).hits} for each in (mixed, plain))
            assert ours.keys() == theirs.keys()
            assert [ours[name] for name in ours] == pytest.approx([theirs[name] for name in ours], rel=0.03)


def test_bad_rows_are_told_with_file_and_line(model: Path, tmp_path: Path, refused: Refused) -> None:
    source = tmp_path / "v.jsonl"
    index = ("index", source, "--encoder", model, "--vectors", "--into")
    good = b'{"id": "a", "vector": {"heat": 1.5}}\n'
    cases = (
        (b'{"id": "b", "vector": {"zzz": 1}}', "the encoder has no term 'zzz'"),
        (b'{"id": "b", "vector": {"[CLS]": 1, "zzz": 1}}', "the encoder has no term 'zzz'"),
        (b'{"id": "b", "vector": {"heat": NaN}}', "NaN is no weight"),
        (b'{"id": "b", "vector": {"heat": -0.5}}', "the weight of 'heat' is -0.5"),
        (b'{"id": "b", "vector": {"heat": 1e60}}', "the weight of 'heat' is 1e+60"),
        (b'{"id": "b", "vector": {"heat": "1"}}', "the weight of 'heat' is not a number"),
        (b'{"id": "b", "vector": {"heat": true}}', "the weight of 'heat' is not a number"),
        (b'{"id": "b", "text": "heat"}', "'b' has no vector"),
        (b'{"id": "b", "vector": [1]}', "'b' has no vector"),
        (b'{"vector": {"heat": 1}}', "no id"),
        (b'{"id": "a", "vector": {"heat": 1}}', "its id occurs a second time"),
        (b'{"id": "b", "text": 7, "vector": {}}', "the text must be a string"),
    )
    for number, (line, says) in enumerate(cases):
        source.write_bytes(good + line + b"\n")
        outcome = refused(*index, tmp_path / str(number), says=says, where="v.jsonl, line 2")
        assert "--on-error skip" in outcome.err
    source.write_bytes(good + b'{"id": "b", "vector": {"zzz": 1}}\n{"id": "c", "vector": {}}\n')
    outcome = run(*index, tmp_path / "x", "--on-error", "skip", "--json")
    assert (outcome.json["documents"], outcome.json["rejected"]) == (2, 1)
    assert json.loads((tmp_path / "x.rejects.jsonl").read_bytes())["line"] == 2


def test_files_of_another_encoder_or_form(
    model: Path, made: Path, tmp_path: Path, refused: Refused, tmp_path_factory: pytest.TempPathFactory
) -> None:
    into = ("--into", tmp_path / "x")
    index = ("index", made / "v.npz", *into, "--encoder", model, "--vectors")
    refused(*index, "--top-k", "9", says="not by", where="v.npz")
    other = build_tiny_masked_lm(tmp_path_factory.mktemp("checkpoints") / "other", seed=4)
    refused(*index[:5], other, "--vectors", *EXACT, says="these vectors were made by", where="v.npz")
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes((made / "v.npz").read_bytes()[:999])
    refused("index", damaged, *index[2:], says="not a file of vectors", where="damaged.npz")
    refused(*index, "--dense", model, code=2, says="--dense encodes texts")
    refused("index", tmp_path / "none.npz", *index[2:], says="no such file")
    refused("index", made / "v.npz", *into, "--vectors", code=2, says="--vectors needs the encoder that made them")
    table = tmp_path / "v.csv"
    table.write_text("id,text\n1,heat\n")
    refused("index", table, *index[2:], says="vectors are read from JSON Lines and .npz files")
    refused(*index, "--id-field", "x", says="has no fields")
    assert not (tmp_path / "x").exists()
    texts = tmp_path / "t.jsonl"
    texts.write_bytes(lines({"id": "a", "text": "heat"}))
    assert run("index", texts, *into).code == 0
    refused("add", tmp_path / "x", made / "v.jsonl", "--vectors", says="bm25, which counts the words of texts")
    # Rows that only a matrix can get wrong.
    encoder = LearnedEncoder(model, LearnedSettings())
    vectors = [(np.array([9], np.int32), np.ones(1, np.float32))] * 2
    matrix = stacked(vectors, encoder.identity.vocabulary_size or 0)
    write_npz(tmp_path / "m.npz", ["a", "x\ny"], matrix, Maker.of(encoder.identity))
    refused("index", tmp_path / "m.npz", *into[:1], tmp_path / "m", *index[4:], says="control", where="m.npz, row 2")


def test_documents_with_vectors_from_python(model: Path, tmp_path: Path) -> None:
    def vector(*pairs: tuple[int, float]) -> tuple[Any, Any]:
        return np.array([term for term, _ in pairs], np.int32), np.array([weight for _, weight in pairs], np.float32)

    heat, cat = vocabulary().index("heat"), vocabulary().index("cat")
    with Collection.create(tmp_path / "x", encoder=str(model), load_model=False) as collection:
        report = collection.add(
            [
                EncodedDocument(Document("a", "any text"), vector((heat, 2.0), (cat, 1.0))),
                EncodedDocument(Document("b", ""), vector((heat, 1.0))),
                EncodedDocument(Document("c", ""), vector()),
            ]
        )
        assert report.added == 3
        assert [hit.id for hit in collection.search("heat").hits] == ["a", "b"]
        assert collection.get("a") == Document("a", "any text")
        assert collection.add([EncodedDocument(Document("b", ""), vector((heat, 1.0)))]).unchanged == 1
        assert collection.put([EncodedDocument(Document("b", ""), vector((heat, 3.0)))]) == ["replaced"]
        assert [hit.id for hit in collection.search("heat").hits] == ["b", "a"]
        with pytest.raises(InvalidDocumentError, match="the encoder has"):
            collection.add([EncodedDocument(Document("d", ""), vector((9_999, 1.0)))])
        assert collection.count() == 3
    for bad in (vector((5, 1.0), (5, 1.0)), vector((-1, 1.0)), vector((5, 0.0)), vector((5, np.nan))):
        with pytest.raises(InvalidDocumentError):
            EncodedDocument(Document("a", ""), bad)
    with pytest.raises(InvalidDocumentError, match="int32"):
        EncodedDocument(Document("a", ""), (np.array([1]), np.array([1.0])))  # type: ignore[arg-type]
    with (
        Collection.create(tmp_path / "words") as words,
        pytest.raises(InvalidDocumentError, match="bm25"),
    ):
        words.add([EncodedDocument(Document("a", "heat"), vector((heat, 1.0)))])
