"""Dense vectors on the command line: index, add, search, info, eval."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra neural")
pytest.importorskip("transformers", reason="needs the extra neural")

from command import run
from tiny_checkpoints import build_tiny_embedding_model

from lexhound.retrieval.collection.request import METHODS, MODES
from lexhound.retrieval.collection.store.dense_index import POLICIES
from lexhound.serve.cli.dense_options import DenseIndex, Method, Mode

TEXTS = {"a": "heat transfer in flow", "b": "the wing of an aircraft", "c": "boundary layer heat", "d": "shock wave"}


def test_the_choices_are_those_of_the_library() -> None:
    assert tuple(mode.value for mode in Mode) == MODES
    assert tuple(method.value for method in Method) == METHODS
    assert tuple(index.value for index in DenseIndex) == POLICIES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dense")
    build_tiny_embedding_model(path / "model")
    (path / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in TEXTS.items())
    )
    (path / "queries.jsonl").write_text('{"_id": "1", "text": "heat"}\n{"_id": "2", "text": "wing"}\n')
    (path / "qrels").mkdir()
    (path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n1\tc\t1\n2\tb\t1\n")
    made = run(
        "index", path / "corpus.jsonl", "--into", path / "both", "--dense", path / "model",
        "--dense-query-prompt", "what is ", "--device", "cpu", "--precision", "float32",
    )  # fmt: skip
    assert made.code == 0, made.err
    (path / "more.jsonl").write_text('{"_id": "e", "text": "cold water"}\n')
    added = run("add", path / "both", path / "more.jsonl")
    assert added.code == 0, added.err
    return path


def test_info_tells_the_dense_side(folder: Path) -> None:
    shown = run("info", folder / "both")
    assert "5 vectors of 32 values" in shown.out
    dense = run("info", folder / "both", "--json").json["dense"]
    assert (dense["vectors"], dense["width"]) == (5, 32)
    assert dense["encoder"]["settings"] == {"query_prompt": "what is "}


def test_the_kind_of_index_is_chosen_and_told(folder: Path) -> None:
    made = run(
        "index", folder / "corpus.jsonl", "--into", folder / "clustered", "--dense", folder / "model",
        "--dense-index", "spann", "--device", "cpu", "--precision", "float32",
    )  # fmt: skip
    assert made.code == 0, made.err
    dense = run("info", folder / "clustered", "--json").json["dense"]
    assert (dense["index"], dense["clustered"]) == ("spann", 4)
    assert "4 of them in clustered segments" in run("info", folder / "clustered").out
    for recall in ("0.9", "1"):
        ask = ("heat flow", "--mode", "dense", "--recall", recall, "--json")
        answer = run("search", folder / "clustered", *ask)
        assert sorted(hit["id"] for hit in answer.json["hits"]) == ["a", "b", "c", "d"]
    assert run("verify", folder / "clustered").code == 0
    assert run("info", folder / "both", "--json").json["dense"]["index"] == "auto"


def test_modes_and_explanations_that_sum(folder: Path) -> None:
    by_index = run("search", folder / "both", "heat flow", "--mode", "sparse", "--json").json
    assert by_index["mode"] == "lexical", "bm25's index has two names, and is shown by this one"
    for mode in ("lexical", "dense", "hybrid"):
        answer = run("search", folder / "both", "heat flow", "--mode", mode, "--explain", "--json").json
        assert answer["mode"] == mode
        assert len(answer["hits"]) == (2 if mode == "lexical" else 5)
        for hit in answer["hits"]:
            total = sum(part["score"] for part in hit["contributions"])
            assert math.isclose(total, hit["score"], rel_tol=1e-9, abs_tol=1e-12)
            for part in hit["contributions"]:
                product = part["query_weight"] * part["document_weight"] * part["factor"]
                assert math.isclose(product, part["score"], rel_tol=1e-5, abs_tol=1e-12), part
                assert (part["kind"] == "dense") == (part["term"] == "(dense)")
            assert ("shares" in hit) == (mode != "lexical")
            if mode != "lexical":
                assert math.isclose(sum(part["share"] for part in hit["shares"]), hit["score"], rel_tol=1e-12)
    shown = run("search", folder / "both", "heat flow", "--mode", "hybrid", "--explain", "-k", "1").out
    assert "(dense)" in shown
    for line in shown.splitlines():  # what is printed multiplies to what is printed
        if "█" in line:
            given, product = line.replace("(dense)", "dense").split("█", 1)
            factors = [float(part.split()[-1]) for part in product.lstrip("█ ").split(" × ")]
            assert math.isclose(math.prod(factors), float(given.split()[1]), rel_tol=2e-3, abs_tol=1e-4), line
    assert "sparse: " in shown
    assert run("search", folder / "both", "heat flow", "--json").json["mode"] == "hybrid"


def test_fusion_options(folder: Path) -> None:
    ask = ("search", folder / "both", "heat flow", "--json")
    dense = [hit["id"] for hit in run(*ask, "--mode", "dense").json["hits"]]
    for method in METHODS:
        fused = run(*ask, "--fusion", method, "--dense-weight", "1")
        assert [hit["id"] for hit in fused.json["hits"]] == dense
    assert len(run(*ask, "--fusion-depth", "1").json["hits"]) <= 2
    many = run("search", folder / "both", "--queries", folder / "queries.jsonl", "--mode", "dense", "-k", "2")
    assert len(many.out.splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("search", "plain", "heat", "--mode", "hybrid"), 2, "no dense vectors, which mode hybrid needs"),
        (("search", "plain", "heat", "--mode", "dense", "--json"), 2, "no dense vectors"),
        (("search", "plain", "heat", "--fusion", "rrf"), 2, "fusion is for mode hybrid"),
        (("search", "both", "heat", "--dense-weight", "2"), 2, "dense_weight of the fusion is 2.0"),
        (("search", "both", "heat", "--mode", "vector"), 2, "--mode"),
        (("index", "corpus.jsonl", "--into", "x", "--dense-pooling", "cls"), 2, "belongs to --dense"),
        (("index", "corpus.jsonl", "--into", "x", "--dense", "nowhere/at-all/x"), 1, "there is no folder"),
        (("index", "corpus.jsonl", "--into", "x", "--dense", "model", "--dense-max-length", "1"), 2, "--dense-max-len"),
        (("index", "corpus.jsonl", "--into", "x", "--dense-index", "flat"), 2, "belongs to --dense"),
        (("index", "corpus.jsonl", "--into", "x", "--dense", "model", "--dense-index", "tree"), 2, "--dense-index"),
        (("index", "corpus.jsonl", "--into", "x", "--device", "cpu"), 2, "belongs to learned encoders"),
        (("eval", ".", "--mode", "dense"), 1, "no dense model is named"),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    if not (folder / "plain").exists():
        assert run("index", folder / "corpus.jsonl", "--into", folder / "plain").code == 0
    outcome = run(*arguments, cwd=folder)
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert not (folder / "x").exists()


def test_eval_measures_each_mode(folder: Path, tmp_path: Path) -> None:
    outcome = run(
        "eval", folder, "--dense", folder / "model", "--mode", "sparse", "--mode", "dense", "--mode", "hybrid",
        "--work", tmp_path / "work", "--fusion", "rrf", "--json", "--run", tmp_path / "runs",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert {path.name.split(".", 1)[1] for path in (tmp_path / "runs").iterdir()} == {
        "bm25.trec", "model.trec", "bm25 + model.trec",
    }  # fmt: skip
    # One index serves all modes.
    assert len([path for path in (tmp_path / "work" / "indexes").iterdir() if path.is_dir()]) == 1
    shown = run("eval", folder, "--collection", folder / "both", "--mode", "hybrid", "--work", tmp_path / "work")
    assert "both hybrid" in shown.out
