"""Lexhound itself under evaluation: indexes are built once, finished when interrupted, and their costs are true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lexhound.encoders.bm25.settings import LexicalSettings
from lexhound.eval import systems as module
from lexhound.eval.datasets.folder import load_folder
from lexhound.eval.datasets.own import load_judged_file
from lexhound.eval.errors import DatasetError
from lexhound.eval.evaluation import EvaluationOptions, evaluate
from lexhound.eval.systems import CollectionSystem, EncoderSystem, SearchOptions
from lexhound.eval.workspace import Workspace
from lexhound.retrieval import Collection, Document
from lexhound.retrieval.collection.write.progress import Progress
from lexhound.retrieval.errors import TenantRequiredError, UnknownTenantError

OPTIONS = EvaluationOptions(measures=("nDCG@10", "R@100"), latency_queries=3)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


def test_title_and_text_are_searched_joined_by_a_blank(make_folder, workspace: Workspace) -> None:
    folder = make_folder(
        corpus={"d1": ("zeppelin", "airship"), "d2": ("", "balloon"), "d3": ("glider", "zeppelins")},
        queries={"q1": "zeppelin"},
        qrels=[("q1", "d1", 1)],
    )
    system = EncoderSystem("bm25", workspace)
    preparation = system.prepare(load_folder(folder))
    (ranking,) = system.rank(["zeppelin"], 10)
    assert {document for document, _ in ranking} == {"d1", "d3"}
    (one,) = system.rank(["airship"], 10)
    assert [document for document, _ in one] == ["d1"], "title and text are two words, not one"
    assert system.rank(["zeppelinairship"], 10) == [[]]
    assert preparation.documents == 3
    assert preparation.document_dimensions == pytest.approx(5 / 3)
    assert system.texts(["d1", "nowhere"])["d1"].title == "zeppelin"
    system.close()


def test_costs_are_those_of_the_vectors(samples: Path, workspace: Workspace) -> None:
    dataset = load_folder(samples / "cranfield")
    system = EncoderSystem("bm25", workspace)
    preparation = system.prepare(dataset)
    queries = list(dataset.queries.values())[:20]
    encoded = [query.terms for query in system.collection.encode_queries(queries)]
    snapshot = system.collection.snapshot()
    by_hand = [int(snapshot.document_frequencies(terms).sum()) for terms in encoded]
    sparsity = system.sparsity(queries)
    assert sparsity.flops == pytest.approx(np.mean(by_hand) / 1400)
    assert sparsity.dimensions == pytest.approx(np.mean([len(terms) for terms in encoded]))
    info = system.collection.info()
    assert preparation.index_bytes == info.index_bytes > 100_000
    assert preparation.document_dimensions == pytest.approx(info.postings / 1400)
    assert preparation.encoding_seconds is not None
    assert preparation.encoding_seconds > 0
    system.close()


def test_an_index_is_built_once(samples: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_folder(samples / "cranfield")
    first = EncoderSystem("bm25", workspace)
    built = first.prepare(dataset)
    first.close()

    def never(*arguments: object, **options: object) -> Collection:
        raise AssertionError("the index is there")

    monkeypatch.setattr(module.Collection, "create", never)
    second = EncoderSystem("bm25", workspace)
    assert second.prepare(dataset) == built
    second.close()
    other = EncoderSystem("bm25", workspace, name="other", lexical=LexicalSettings(k1=1.2))
    with pytest.raises(AssertionError):
        other.prepare(dataset)


def test_an_interrupted_index_is_finished(samples: Path, workspace: Workspace) -> None:
    dataset = load_folder(samples / "cranfield")

    def stop(step: Progress) -> None:
        if step.documents:
            raise KeyboardInterrupt

    system = EncoderSystem("bm25", workspace)
    with pytest.raises(KeyboardInterrupt):
        system.prepare(dataset, stop)
    preparation = system.prepare(dataset)
    assert preparation.documents == 1400
    assert preparation.encoding_seconds is None, "a part of the time was not measured"
    system.close()


def test_a_damaged_index_is_made_anew(make_folder, workspace: Workspace) -> None:
    dataset = load_folder(make_folder())
    system = EncoderSystem("bm25", workspace)
    system.prepare(dataset)
    system.close()
    (folder,) = workspace.path("indexes").iterdir()
    (folder / module.PREPARED).unlink()
    next(folder.glob("*.json")).write_text("rubbish")
    assert system.prepare(dataset).documents == 3
    system.close()


def test_broken_rows_of_a_corpus_are_passed_over_and_reported(make_folder, workspace: Workspace) -> None:
    folder = make_folder()
    with (folder / "corpus.jsonl").open("a") as file:
        file.write('{"_id": ""}\nnot json\n')
    evaluation = evaluate([load_folder(folder)], [EncoderSystem("bm25", workspace)], OPTIONS)
    assert evaluation.parts[0].cost.documents == 3
    assert evaluation.datasets[0].report.broken_documents == 2


def test_an_existing_collection_is_searched_as_it_is(lines_file, tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "my.index"
    with Collection.create(path) as collection:
        collection.add([Document("a", "heat flow"), Document("b", "sound waves"), Document("c", "heat")])
    dataset = load_judged_file(lines_file("own.csv", ["query,document_id", "heat flow,a", "waves,b", "nothing,c"]))
    system = CollectionSystem(path)
    first = evaluate([dataset], [system], OPTIONS, workspace=workspace)
    assert first.systems == ("my.index",)
    assert first.parts[0].of("R@100").per_query == {"q1": 1.0, "q2": 1.0, "q3": 0.0}
    assert first.parts[0].cost.encoding_seconds is None
    system.close()
    again = evaluate([dataset], [CollectionSystem(path)], OPTIONS, workspace=workspace)
    assert again.parts[0].reused
    with Collection.open(path, writable=True) as collection:
        collection.delete(["a"])
    changed = CollectionSystem(path)
    after = evaluate([dataset], [changed], OPTIONS, workspace=workspace)
    assert not after.parts[0].reused, "a write to the collection matters"
    assert after.parts[0].of("R@100").per_query["q1"] == 0.0
    changed.close()


def test_judgments_without_documents_cannot_be_indexed(lines_file, workspace: Workspace) -> None:
    dataset = load_judged_file(lines_file("own.csv", ["query,document_id", "heat,a"]))
    with pytest.raises(DatasetError, match="nothing to index"):
        evaluate([dataset], [EncoderSystem("bm25", workspace)], OPTIONS, workspace=workspace)


@pytest.mark.slow
def test_threads_do_not_change_the_run(samples: Path, tmp_path: Path) -> None:
    dataset = load_folder(samples / "cranfield")
    runs = []
    for threads in (1, 2):
        system = EncoderSystem(
            "bm25", Workspace(tmp_path / str(threads)), options=SearchOptions("sparse", threads=threads)
        )
        evaluation = evaluate([dataset], [system], OPTIONS, workspace=Workspace(tmp_path / str(threads)))
        path = evaluation.parts[0].run_path
        assert path is not None
        runs.append(path.read_bytes())
        system.close()
    assert runs[0] == runs[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "published"),
    [("scifact", {"nDCG@10": 0.679, "R@100": 0.925}), ("nfcorpus", {"nDCG@10": 0.322, "R@100": 0.246})],
)
def test_bm25_is_near_the_published_figures(
    shared_data: Path, workspace: Workspace, name: str, published: dict[str, float]
) -> None:
    """Anserini's BM25 with k1 .9 and b .4 over title and text (docs/evaluation.md explains the differences)."""
    system = EncoderSystem("bm25", workspace)
    dataset = load_folder(shared_data / "beir" / name)
    (part,) = evaluate([dataset], [system], OPTIONS, workspace=workspace).parts
    for measure, expected in published.items():
        assert part.mean(measure) == pytest.approx(expected, abs=0.006)
    system.close()


def test_a_tenant_of_a_collection_is_a_system(lines_file, tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "shared.index"
    texts = {"acme": {"a": "heat flow", "b": "sound waves"}, "other": {"a": "waves", "b": "heat", "c": "heat flow"}}
    with Collection.create(path, encoder="bm25", tenant_field="org") as collection:
        collection.add(
            Document(name, text, "", {"org": org}) for org, own in texts.items() for name, text in own.items()
        )
    dataset = load_judged_file(lines_file("own.csv", ["query,document_id", "heat flow,a", "waves,b"]))
    acme, other = (CollectionSystem(path, tenant=tenant, name=tenant) for tenant in texts)
    evaluation = evaluate([dataset], [acme, other], OPTIONS, workspace=workspace)
    mine, theirs = (evaluation.part("own", system) for system in ("acme", "other"))
    assert mine.of("R@100").per_query == {"q1": 1.0, "q2": 1.0}
    assert theirs.of("R@100").per_query == {"q1": 0.0, "q2": 0.0}
    assert (mine.cost.documents, theirs.cost.documents) == (2, 3)
    assert not any(part.reused for part in (mine, theirs)), "one tenant's run is not another's"
    assert acme.texts(["c"]) == {}
    again = evaluate([dataset], [CollectionSystem(path, tenant="acme", name="acme")], OPTIONS, workspace=workspace)
    assert again.parts[0].reused
    assert "documents" not in mine.settings, "of all"
    with pytest.raises(UnknownTenantError):
        evaluate([dataset], [CollectionSystem(path, tenant="nobody")], OPTIONS, workspace=workspace)
    with pytest.raises(TenantRequiredError):
        evaluate([dataset], [CollectionSystem(path, name="all")], OPTIONS, workspace=workspace)
    for system in (acme, other):
        system.close()


@pytest.mark.model
def test_texts_that_are_split_or_cut_are_told(
    make_folder, workspace: Workspace, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from tiny_checkpoints import build_tiny_masked_lm

    folder = make_folder(
        corpus={"d1": ("", "heat flow " * 80), "d2": ("", "wing")}, queries={"q1": "heat"}, qrels=[("q1", "d1", 1)]
    )
    model = str(build_tiny_masked_lm(tmp_path_factory.mktemp("eval") / "tiny"))
    path = tmp_path / "cut.index"
    with Collection.create(path, encoder=model, passages="none") as collection:
        collection.add([Document("d1", "heat flow " * 80), Document("d2", "wing")])
    split, cut = EncoderSystem(model, workspace, name="split"), CollectionSystem(path, name="cut")
    evaluation = evaluate([load_folder(folder)], [split, cut], OPTIONS, workspace=workspace)
    (label,) = [dataset.label for dataset in evaluation.datasets]
    assert evaluation.notices()[-2:] == [
        f"{label}, split: 1 of 2 documents split into passages",
        f"{label}, cut: 1 longer than the model reads: what is beyond is not searched",
    ]
    assert (evaluation.mean_cost("split").split, evaluation.mean_cost("cut").cut) == (1, 1)
    for system in (split, cut):
        system.close()
