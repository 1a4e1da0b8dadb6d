"""`lexhound encode`, `inspect` and the options of learned encoders, as a user runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import COMMAND, environment, ids_of, lines, run
from tiny_checkpoints import build_tiny_masked_lm, vocabulary

from lexhound.encoders.runtime import device, pooling
from lexhound.encoders.sparse import settings
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.encoders.vector_files import read_json_lines, read_npz
from lexhound.retrieval.bulk_encode.encoding import in_shard
from lexhound.retrieval.collection.collection import Collection
from lexhound.serve.cli import learned_options

Fails = Callable[..., None]
TEXTS = {
    "a": "heat transfer in flow",
    "b": "",
    "c": "the cat sat on the mat",
    "d": "flow " * 200_000,
    "e": "日本 of the wing",
}
EXACT = ("--device", "cpu", "--precision", "float32")
CLOSE = 1e-5


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_masked_lm(tmp_path_factory.mktemp("checkpoints") / "tiny")


@pytest.fixture(scope="session")
def free(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder whose queries need no model."""
    folder = build_tiny_masked_lm(tmp_path_factory.mktemp("checkpoints") / "free")
    weights = {token: 1.0 + number / 100 for number, token in enumerate(vocabulary())}
    (folder / "idf.json").write_text(json.dumps(weights), "utf-8")
    return folder


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    path.write_bytes(lines(*({"id": name, "text": text} for name, text in TEXTS.items())))
    return path


def many(path: Path, count: int) -> Path:
    path.write_bytes(lines(*({"id": f"d{number}", "text": f"heat flow {number}"} for number in range(count))))
    return path


def test_all_forms_hold_the_vectors_of_the_library(model: Path, texts: Path, tmp_path: Path) -> None:
    encoder = LearnedEncoder(model, LearnedSettings(top_k=50, device="cpu", precision="float32"))
    expected = encoder.encode_documents(list(TEXTS.values())).toarray()
    for name in ("v.jsonl", "v.jsonl.zst", "v.npz"):
        outcome = run("encode", texts, "--encoder", model, "--out", tmp_path / name, "--top-k", "50", *EXACT, "--json")
        assert outcome.code == 0, outcome.err
        assert (outcome.json["vectors"], outcome.json["resumed"]) == (5, 0)
        assert outcome.json["encoder"]["settings"] == {"top_k": 50}
        found = np.zeros_like(expected)
        if name.endswith("npz"):
            table = read_npz(tmp_path / name)
            table.require(encoder.identity)
            ids, found = table.ids, table.vectors.toarray()
        else:
            ids = []
            for row, (identifier, (terms, weights)) in enumerate(read_json_lines(tmp_path / name, encoder)):
                ids.append(identifier)
                found[row, terms] = weights
        assert ids == list(TEXTS)
        np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE)
    assert len(list(tmp_path.iterdir())) == 3, "nothing is left beside the results"


def test_queries_standard_input_and_shards(free: Path, texts: Path, tmp_path: Path) -> None:
    encoder = LearnedEncoder(free)
    ids = []
    for part in ("1/2", "2/2"):
        out = tmp_path / f"{part[0]}.jsonl"
        arguments = ("--encoder", free, "--out", out, "--queries", "--shard", part)
        outcome = run("encode", "-", *arguments, stdin=texts.read_bytes())
        assert outcome.code == 0, outcome.err
        for identifier, (terms, weights) in read_json_lines(out, encoder):
            assert in_shard(identifier, int(part[0]), 2)
            wanted, exact = encoder.encode_query(TEXTS[identifier])
            assert terms.tolist() == wanted.tolist()
            assert weights.tobytes() == exact.tobytes()
            ids.append(identifier)
    assert sorted(ids) == sorted(TEXTS)
    assert [in_shard(name, 1, 3) for name in "abcdef"] == [False, False, False, False, False, True], "for ever the same"


def test_an_interrupted_run_goes_on(model: Path, tmp_path: Path, fails: Fails) -> None:
    source, out = many(tmp_path / "c.jsonl", 600), tmp_path / "v.jsonl"
    whole = source.read_bytes()
    source.write_bytes(whole + b"broken\n")
    encode = ("encode", source, "--encoder", model, "--out", out, *EXACT)
    fails(*encode, code=1, says="c.jsonl, line 601")
    assert not out.exists()
    partial = tmp_path / "v.jsonl.partial"
    with partial.open("ab") as file:
        file.write(b'{"id":"torn","vec')
    kept = partial.read_bytes().splitlines()[0]
    fails(*encode, "--top-k", "3", code=1, says="encoder or settings")
    fails(*encode, "--queries", code=1, says="another side")
    fails(*encode, "--shard", "1/2", code=1, says="another shard")
    other = many(tmp_path / "other.jsonl", 9)
    fails("encode", other, *encode[2:], code=1, says="another input")
    source.write_bytes(whole.replace(b'heat flow 7"', b'cold flow 7"'))
    fails(*encode, code=1, says="no longer those")
    source.write_bytes(whole)
    outcome = run(*encode, "--json")
    assert outcome.code == 0, outcome.err
    assert (outcome.json["vectors"], outcome.json["resumed"]) == (600, 600)
    found = [json.loads(line)["id"] for line in out.read_bytes().splitlines()]
    assert found == [f"d{number}" for number in range(600)]
    assert out.read_bytes().startswith(kept)
    assert not partial.exists()
    fails(*encode, code=1, says="something is here already")
    assert run(*encode, "--overwrite", "--json").json["resumed"] == 0


def test_ctrl_c_keeps_what_is_done(model: Path, tmp_path: Path) -> None:
    source, out = many(tmp_path / "c.jsonl", 60_000), tmp_path / "v.jsonl"
    arguments = [*COMMAND, "encode", str(source), "--encoder", str(model), "--out", str(out), *EXACT]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, env=environment(), text=True)
    notes = tmp_path / "v.jsonl.partial.json"
    for _ in range(1000):
        if notes.exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130
    kept = json.loads(notes.read_bytes())["kept"]["lines"]
    assert kept > 0
    assert f"interrupted: {kept:,} vectors kept for" in err
    assert "goes on from there" in err


def test_usage(model: Path, texts: Path, tmp_path: Path, fails: Fails) -> None:
    out = ("--out", tmp_path / "v.jsonl")
    fails("encode", texts, "--encoder", "bm25", *out, code=2, says="depend on the collection")
    fails("encode", texts, "--encoder", model, "--out", tmp_path / "v.txt", code=1, says="form of the vectors")
    fails("encode", texts, "--encoder", model, *out, "--shard", "3/2", code=2, says="--shard is 3/2")
    fails("encode", texts, "--encoder", model, *out, "--prune-ratio", "1", code=2, says="--prune-ratio is 1.0")
    fails("encode", texts, "--encoder", tmp_path, *out, code=1, says="config.json")
    into = ("--into", tmp_path / "x")
    fails("index", texts, *into, "--top-k", "3", code=2, says="--top-k belongs to learned encoders")
    fails("index", texts, *into, "--encoder", model, "--top-k", "0", code=2, says="--top-k is 0")
    fails("inspect", "bm25", "heat", "--against", "flow", code=2, says="depend on a collection")
    assert list(tmp_path.iterdir()) == []
    for kind, known in (
        (learned_options.LongTexts, settings.LONG_TEXTS),
        (learned_options.Pooling, pooling.POOLINGS),
        (learned_options.Activation, pooling.ACTIVATIONS),
        (learned_options.Precision, device.PRECISIONS),
        (learned_options.Device, device.DEVICES),
    ):
        assert tuple(member.value for member in kind) == known


def test_inspect_tells_terms_expansions_and_overlap(free: Path) -> None:
    encoder = LearnedEncoder(free, LearnedSettings(device="cpu", precision="float32"))
    found = run("inspect", free, "heat flow", "--against", "hot flow", "--top", "7", "--json", *EXACT).json
    row = encoder.encode_documents(["heat flow"])
    assert found["active"] == row.nnz
    assert [part["weight"] for part in found["terms"]] == pytest.approx(sorted(row.data, reverse=True)[:7], abs=CLOSE)
    assert all(part["in_text"] == (part["term"] in {"heat", "flow"}) for part in found["terms"])
    assert found["encoder"]["fingerprint"] == encoder.identity.fingerprint
    dense = row.toarray()[0]
    terms, weights = encoder.encode_query("hot flow")
    assert found["against"]["score"] == pytest.approx(float(dense[terms] @ weights), abs=CLOSE)
    assert sum(part["score"] for part in found["against"]["overlap"]) == pytest.approx(found["against"]["score"])
    shown = run("inspect", free, "heat flow", "--query")
    assert shown.code == 0
    assert "  heat " in shown.out
    assert "+ " not in shown.out, "queries of a table are not expanded"
    assert f"active       2 of {len(vocabulary())} terms" in shown.out
    assert "empty" in run("inspect", free, "", "--query").err
    long = run("inspect", free, "heat flow " * 99, "--against", "hot " * 99, "--max-length", "50", "--json", *EXACT)
    assert (long.json["cut"], found["cut"]) == (True, False)
    assert "the text is longer than the model reads (50 tokens)" in long.err
    assert "the query is longer than the model reads (50 tokens)" in long.err
    assert "counts" in run("inspect", "bm25", "heat heat flow").err


def test_settings_are_stored_and_searching_loads_no_model(free: Path, texts: Path, tmp_path: Path) -> None:
    into = tmp_path / "x"
    options = ("--top-k", "20", "--long-texts", "windows", "--query-prune-ratio", "0.1", "--batch-tokens", "900")
    outcome = run("index", texts, "--into", into, "--encoder", free, *options, *EXACT)
    assert outcome.code == 0, outcome.err
    stored = run("info", into, "--json").json["encoder"]["settings"]
    assert stored == {"top_k": 20, "long_texts": "windows", "query_ratio": 0.1}
    assert run("search", into, "flow", "--json").code == 0
    program = (
        "import sys; from lexhound.serve.cli import main; code = main(sys.argv[1:]);"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)), code, file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, "search", str(into), "flow", "--json"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=100, env=environment())
    assert done.stderr == b"[] 0\n"
    assert set(ids_of(json.loads(done.stdout)["hits"])) <= set(TEXTS)


def test_a_collection_refuses_vectors_of_another_encoder(texts: Path, tmp_path: Path, fails: Fails) -> None:
    folder = build_tiny_masked_lm(tmp_path / "model")
    assert run("index", texts, "--into", tmp_path / "x", "--encoder", folder, *EXACT).code == 0
    build_tiny_masked_lm(folder, seed=5)
    more = many(tmp_path / "more.jsonl", 2)
    fails("add", tmp_path / "x", more, code=1, says="no longer the encoder whose vectors are stored")


def test_threads_change_no_vector(model: Path) -> None:
    import torch

    encoder = LearnedEncoder(model, LearnedSettings(device="cpu", precision="float32"))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(encoder.encode_documents(list(TEXTS.values())).toarray())
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-4)
    for one, other in zip(*found, strict=True):
        assert np.argsort(-one, kind="stable")[:10].tolist() == np.argsort(-other, kind="stable")[:10].tolist()


LONG = {
    "a": "heat transfer in flow",
    "b": "Heat flow in a layer. The wing of the cat.\n\n" * 9,
    "b#1": "the mat",
    "e": " \n\n ",
    "x": "flow " * 60,
}


@pytest.fixture(scope="session")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "long.jsonl"
    path.write_bytes(lines(*({"id": name, "title": "flow", "text": text} for name, text in LONG.items())))
    return path


def test_passages_are_those_of_a_collection(model: Path, handbook: Path, tmp_path: Path) -> None:
    given = ("--passages", "24/8", "--encoder", model, *EXACT)
    outcome = run("encode", handbook, "--out", tmp_path / "v.jsonl", *given, "--json")
    assert outcome.code == 0, outcome.err
    assert run("index", handbook, "--into", tmp_path / "x", *given).code == 0
    with Collection.open(tmp_path / "x") as collection:
        info = collection.info()
        expected = {
            (hit.document.id, hit.passage.number, hit.passage.start, hit.passage.end)
            for hit in collection.search("flow heat layer wing mat the", k=100, group="none").hits
            if hit.passage is not None
        }
    told = outcome.json
    assert (told["texts"], told["split"], told["cut"]) == (len(LONG), info.split, 0)
    assert (told["vectors"], told["passages"]) == (info.rows, info.rows - len(LONG) + info.split)
    rows = [json.loads(line) for line in (tmp_path / "v.jsonl").read_bytes().splitlines()]
    assert len({row["id"] for row in rows}) == len(rows)
    places = [(row["document"], row["passage"], row["start"], row["end"]) for row in rows]
    assert [row["id"] for row in rows] == [f"{document}#{number}" for document, number, _, _ in places]
    split = {document for document, number, _, _ in places if number}
    assert {place for place in places if place[0] in split} == expected
    texts = [f"flow {LONG[document][start:end]}" for document, _, start, end in places]
    exact = LearnedEncoder(model, LearnedSettings(device="cpu", precision="float32"))
    vectors = exact.encode_documents(texts).toarray()
    for row, (_, (terms, weights)) in enumerate(read_json_lines(tmp_path / "v.jsonl", exact)):
        np.testing.assert_allclose(weights, vectors[row, terms], atol=CLOSE)
        assert np.count_nonzero(vectors[row]) == len(terms)

    packed = run("encode", handbook, "--out", tmp_path / "v.npz", *given)
    assert f"{told['split']} texts split into {told['passages']} passages" in packed.out
    table = read_npz(tmp_path / "v.npz")
    assert [tuple(place) for place in table.places or ()] == places
    for name in ("v.jsonl", "v.npz"):
        into = tmp_path / f"of-{name}"
        assert run("index", tmp_path / name, "--into", into, "--encoder", model, "--vectors", *EXACT).code == 0
        hits = run("search", into, "heat", "--collapse", "document", "--json").json["hits"]
        assert sorted(hit["metadata"]["document"] for hit in hits) == sorted(LONG)


def test_what_is_cut_is_told(model: Path, handbook: Path, tmp_path: Path, fails: Fails) -> None:
    given = ("encode", handbook, "--encoder", model, "--max-length", "24", *EXACT)
    told = run(*given, "--out", tmp_path / "v.jsonl")
    assert "2 texts longer than the model reads: what is beyond is in no vector (see --passages)" in told.out
    found = run(*given, "--out", tmp_path / "q.jsonl", "--queries", "--json").json
    assert (found["texts"], found["vectors"], found["split"], found["passages"], found["cut"]) == (5, 5, 0, 0, 2)
    assert run(*given, "--out", tmp_path / "w.jsonl", "--long-texts", "windows", "--json").json["cut"] == 0
    out = ("--out", tmp_path / "other.jsonl")
    fails(*given, *out, "--passages", "25", code=2, says="passages of 25 tokens are too long: the model reads 24")
    fails(*given, *out, "--passages", "5", code=2, says="passages of 5 tokens are too small")
    fails(*given, *out, "--passages", "many", code=2, says="passages are 'many'")
    fails(*given, *out, "--passages", "20", "--queries", code=2, says="queries are not split")
    assert not list(tmp_path.glob("other*"))


def test_passages_go_on_after_an_interruption(model: Path, handbook: Path, tmp_path: Path, fails: Fails) -> None:
    whole, source, out = handbook.read_bytes(), tmp_path / "c.jsonl", tmp_path / "v.jsonl"
    given = ("encode", source, "--encoder", model, "--out", out, *EXACT)
    split = (*given, "--passages", "24/8")
    source.write_bytes(whole)
    expected = run(*split, "--json").json
    complete = out.read_bytes()
    out.unlink()
    source.write_bytes(b"".join([*whole.splitlines(keepends=True)[:2], b"broken\n"]))
    fails(*split, code=1, says="line 3")
    source.write_bytes(whole)
    fails(*given, code=1, says="size of passages")
    fails(*given, "--passages", "24/4", code=1, says="size of passages")
    found = run(*split, "--json").json
    assert 0 < found["resumed"] < found["vectors"]
    for name in ("texts", "vectors", "split", "passages", "cut"):
        assert found[name] == expected[name], name
    assert out.read_bytes() == complete
