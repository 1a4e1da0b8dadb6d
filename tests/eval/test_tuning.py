"""Choosing a fusion: against a plain twin that searches with every setting, and what becomes of the choice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra neural")
pytest.importorskip("ir_measures", reason="needs the extra eval")

from command import run
from tiny_checkpoints import build_tiny_embedding_model

from lexhound.core.errors import ReadOnlyError
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.eval.datasets import Dataset, open_dataset
from lexhound.eval.errors import MeasureError, TuningError
from lexhound.eval.measures import cutoff_of, score_run
from lexhound.eval.runs import Run
from lexhound.eval.tuning import TuningOptions, tune_fusion
from lexhound.retrieval import Collection, Document, Fusion
from lexhound.retrieval.errors import CorruptCollectionError, QueryError

WORDS = ["heat", "transfer", "flow", "wing", "shock", "wave", "layer", "plate", "cold", "water"]
SETTINGS = DenseSettings(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BEIR folder whose documents and judgments are drawn at random, and a collection over it."""
    path = tmp_path_factory.mktemp("tuning")
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice(WORDS, 5)) for _ in range(60)]
    (path / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": f"d{i}", "text": t}) + "\n" for i, t in enumerate(texts))
    )
    asked = [" ".join(rng.choice(WORDS, 2, replace=False)) for _ in range(12)]
    (path / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{i}", "text": t}) + "\n" for i, t in enumerate(asked))
    )
    (path / "qrels").mkdir()
    judged = [(i, d, int(rng.integers(0, 3))) for i in range(12) for d in rng.choice(60, 15, replace=False)]
    lines = "".join(f"q{i}\td{d}\t{grade}\n" for i, d, grade in judged)
    for split in ("train", "test"):
        (path / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    model = build_tiny_embedding_model(path / "model")
    with Collection.create(path / "c", dense=str(model), dense_settings=SETTINGS) as collection:
        collection.add([Document(f"d{i}", text) for i, text in enumerate(texts)])
    return path


@pytest.fixture
def collection(folder: Path) -> Iterator[Collection]:
    with Collection.open(folder / "c", writable=True) as opened:
        yield opened
        opened.keep_fusion(None)


@pytest.fixture
def dataset(folder: Path) -> Dataset:
    (found,) = open_dataset(folder, split="train")
    return found


OPTIONS = TuningOptions(weights=(0.2, 0.5, 0.8), rank_constants=(10.0, 60.0), folds=3)


def test_every_figure_is_that_of_searching_with_the_setting(collection: Collection, dataset: Dataset) -> None:
    tuning = tune_fusion(collection, dataset, OPTIONS)

    def values(fusion: Fusion | None, mode: str = "hybrid") -> np.ndarray:
        answers = collection.search_many(list(dataset.queries.values()), 10, mode=mode, fusion=fusion)
        run = Run("twin", dict(zip(dataset.queries, map(list, answers), strict=True)))
        (scores,) = score_run(run, dataset.qrels, ["nDCG@10"])
        return np.array([scores.per_query[name] for name in dataset.queries])

    table = {fusion: values(fusion) for fusion in OPTIONS.settings()}
    assert tuning.dense == pytest.approx(values(None, "dense").mean())
    assert tuning.present_mean == pytest.approx(values(None).mean())
    for tuned in tuning.methods:
        own = [each.mean() for fusion, each in table.items() if fusion.method == tuned.fusion.method]
        assert tuned.mean == pytest.approx(max(own)) == pytest.approx(table[tuned.fusion].mean())
    assert tuning.best.mean == pytest.approx(max(each.mean() for each in table.values()))
    # Folds: whatever was chosen for a fold, its queries' figures are those of one setting each, and no better than
    # choosing with the fold's own help.
    assert tuning.best.cross_validated <= np.max(list(table.values()), axis=0).mean() + 1e-12
    assert tuning.better + tuning.same + tuning.worse == tuning.queries == 12


def test_cross_validation_judges_a_fold_by_what_the_others_chose(collection: Collection, dataset: Dataset) -> None:
    tuning = tune_fusion(collection, dataset, OPTIONS)
    names = list(dataset.queries)
    folds = np.random.default_rng(OPTIONS.seed).permutation(len(names)) % OPTIONS.folds
    rows = []
    for fusion in OPTIONS.settings():
        answers = collection.search_many(list(dataset.queries.values()), 10, mode="hybrid", fusion=fusion)
        (scores,) = score_run(Run("x", dict(zip(names, map(list, answers), strict=True))), dataset.qrels, ["nDCG@10"])
        rows.append([scores.per_query[name] for name in names])
    values, settings = np.array(rows), OPTIONS.settings()
    held = []
    for fold in range(OPTIONS.folds):
        means = values[:, folds != fold].mean(axis=1)
        top = [i for i in range(len(means)) if means[i] >= means.max() - 1e-12]
        chosen = min(top, key=lambda i: (abs(settings[i].dense_weight - 0.5), i))
        held += values[chosen, folds == fold].tolist()
    assert tuning.best.cross_validated == pytest.approx(np.mean(held))
    gained = tuning.best.cross_validated > tuning.present_mean
    assert tuning.chosen == (tuning.best.fusion if gained else tuning.present)


def test_a_kept_fusion_is_what_searches_use_unless_they_name_one(collection: Collection, folder: Path) -> None:
    kept = Fusion("rrf", dense_weight=0.3, rank_constant=7.0, depth=50)
    usual = collection.search("heat flow", mode="hybrid")
    collection.keep_fusion(kept)
    assert collection.fusion == kept
    ours = collection.search("heat flow", mode="hybrid")
    assert ours.hits == collection.search("heat flow", mode="hybrid", fusion=kept).hits != usual.hits
    assert collection.search("heat flow", mode="hybrid", fusion=Fusion()).hits == usual.hits
    (many,) = collection.search_many(["heat flow"], mode="hybrid")
    assert [identifier for identifier, _ in many] == [hit.id for hit in ours.hits]
    with Collection.open(folder / "c") as reader:
        assert reader.fusion == kept
        assert reader.info().fusion == kept
        with pytest.raises(ReadOnlyError):
            reader.keep_fusion(None)
        collection.keep_fusion(None)
        reader.refresh()
        assert reader.fusion == Fusion()


def test_compaction_leaves_the_kept_fusion(collection: Collection) -> None:
    collection.keep_fusion(Fusion(dense_weight=0.9))
    collection.compact()
    assert collection.fusion.dense_weight == 0.9


def test_a_damaged_kept_fusion_is_said(folder: Path, collection: Collection) -> None:
    with collection._writing().transaction() as connection:
        connection.execute("INSERT OR REPLACE INTO properties VALUES ('fusion', ?)", ('{"method": "magic"}',))
    with pytest.raises(CorruptCollectionError, match="fusion"), Collection.open(folder / "c") as reader:
        reader.search("heat")


def test_what_cannot_be_tuned(tmp_path: Path, collection: Collection, dataset: Dataset, folder: Path) -> None:
    with pytest.raises(TuningError, match="12 queries"):
        tune_fusion(collection, dataset, TuningOptions(folds=13))
    with pytest.raises(MeasureError):
        tune_fusion(collection, dataset, TuningOptions(measure="nDGC@10"))
    with pytest.raises(TuningError, match="folds"):
        TuningOptions(folds=1)
    with Collection.create(tmp_path / "plain") as plain:
        plain.add([Document("d1", "heat")])
        with pytest.raises(QueryError, match="no dense vectors"):
            tune_fusion(plain, dataset)
        with pytest.raises(QueryError, match="nothing to fuse"):
            plain.keep_fusion(Fusion())
    with Collection.create(tmp_path / "other", dense=str(folder / "model"), dense_settings=SETTINGS) as other:
        other.add([Document("x", "heat transfer")])
        with pytest.raises(TuningError, match="no judged document"):
            tune_fusion(other, dataset, OPTIONS)


def test_how_deep_measures_look() -> None:
    assert (cutoff_of("nDCG@10"), cutoff_of("R@100"), cutoff_of("AP")) == (10, 100, None)


def test_the_command_chooses_shows_and_keeps(folder: Path) -> None:
    arguments = ("tune-fusion", folder / "c", folder, "--folds", "3", "--method", "rrf", "--method", "z-score")
    shown = run(*arguments)
    assert shown.code == 0, shown.err
    assert "12 queries" in shown.out
    assert "chosen: " in shown.out
    told = run(*arguments, "--save", "--json")
    assert told.code == 0, told.err
    assert told.json["saved"] == told.json["gained"]
    kept = run("info", folder / "c", "--json").json["fusion"]
    assert kept == (told.json["chosen"] if told.json["saved"] else None)
    with Collection.open(folder / "c", writable=True) as collection:
        collection.keep_fusion(None)


def test_a_wrong_split_and_a_wrong_measure_get_one_message(folder: Path) -> None:
    missing = run("tune-fusion", folder / "c", folder, "--split", "dev")
    assert missing.code == 1
    assert "dev" in missing.err
    wrong = run("tune-fusion", folder / "c", folder, "--measure", "nDGC@10")
    assert wrong.code == 2
    assert "nDCG@10" in wrong.err
    assert "Traceback" not in missing.err + wrong.err
