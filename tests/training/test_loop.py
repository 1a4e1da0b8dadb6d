"""Training runs: they learn, they resume to the same weights, they tell when something is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_checkpoints import build_tiny_masked_lm

from lexhound.encoders.errors import TrainingError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.training.data.examples import TrainingSet, draw_step
from lexhound.training.export import DocumentUse, export_encoder
from lexhound.training.loop import Trainer
from lexhound.training.model import ModelSettings, TrainableEncoder
from lexhound.training.objective import Objective
from lexhound.training.recipe import (
    DataRecipe,
    ExactTermRecipe,
    LossRecipe,
    ModelRecipe,
    OptimiserRecipe,
    QueryRecipe,
    Recipe,
    SparsityRecipe,
    TeacherRecipe,
    ValidationRecipe,
)
from lexhound.training.surface_match import measure_surface_match
from lexhound.training.teachers.terms import TermTeacher

WORDS = """
heat transfer flow wing shock wave pressure engine rocket fuel gas shell stress cat dog river bank theory jet drag
""".split()  # noqa: SIM905


class Overlap:
    """A teacher: the share of a query's terms that a document holds."""

    def __init__(self, queries: list[np.ndarray], documents: list[np.ndarray]) -> None:
        self.queries, self.documents = queries, documents

    def block(self, queries: np.ndarray, documents: np.ndarray) -> np.ndarray:
        rows = [[np.isin(self.queries[q], self.documents[d]).mean() for d in documents] for q in queries]
        return np.array(rows, dtype=np.float32)


def make_run(folder: Path, changes: dict[str, object] | None = None) -> tuple[TrainableEncoder, TrainingSet, Recipe]:
    model = TrainableEncoder(ModelSettings(str(folder), max_length=24))
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 6, replace=False)) for _ in range(24)]
    documents = model.token_ids(texts)
    queries = [np.unique(random.choice(text_ids, 2)).astype(np.int32) for text_ids in documents]
    own = np.arange(24, dtype=np.int32)
    candidates = np.array([random.permutation(24)[:6] for _ in range(24)], dtype=np.int32)
    training = TrainingSet(
        documents, queries, own, candidates, np.arange(24), [(Overlap(queries, documents), 1.0)],
        np.linspace(1, 3, model.vocabulary_size, dtype=np.float32) * model.terms,
        [random.permutation(query) for query in queries],
    )  # fmt: skip
    recipe = Recipe(
        model=ModelRecipe(str(folder)),
        data=DataRecipe(),
        teachers=(TeacherRecipe("bm25"),),
        loss=LossRecipe(scale=10.0, keep=0.1, info_nce=0.1, margin_mse=0.1),
        sparsity=SparsityRecipe(weight=0.01, frequent=40, sampled=30),
        optimiser=OptimiserRecipe(steps=12, seeds=3, candidates=3, body=1e-3, head=1e-3, average=0.9),
        validation=ValidationRecipe(every=4),
        seed=5,
    )
    for table, values in (changes or {}).items():
        recipe = replace(recipe, **{table: replace(getattr(recipe, table), **values)})
    return model, training, recipe


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return build_tiny_masked_lm(tmp_path / "base", seed=2)


def weights(model: TrainableEncoder) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.network.named_parameters()}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"query": {"kind": "learned"}, "optimiser": {"average": 0.0}},
        {"query": {"kind": "model"}},
        {"exact_terms": {"weight": 0.5}},
        {"loss": {"hybrid": 1.0}},
    ],
)
def test_an_interrupted_run_ends_with_the_weights_of_one_that_was_not(
    base: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    model, training, recipe = make_run(base, changes)
    whole = Trainer(model, training, recipe, tmp_path / "whole")
    whole.run()
    for stop_after in (5, 8):
        stopped, training, recipe = make_run(base, changes)
        trainer = Trainer(stopped, training, recipe, tmp_path / "parts")
        with pytest.raises(KeyboardInterrupt):
            trainer.run(stop=lambda trainer=trainer, after=stop_after: trainer.step >= after)
    resumed, training, recipe = make_run(base, changes)
    last = Trainer(resumed, training, recipe, tmp_path / "parts")
    assert last.run().steps == 12
    for name, value in weights(model).items():
        assert torch.equal(value, weights(resumed)[name]), name
    assert np.array_equal(whole.table(), last.table())
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "parts")]
    assert len(logs[0]) == len(logs[1]) == 12


def test_learning_lowers_the_divergence_and_validation_chooses(base: Path, tmp_path: Path) -> None:
    model, training, recipe = make_run(base, {"optimiser": {"steps": 40}})
    seen: list[float] = []

    def validate(encode: object, table: np.ndarray) -> dict[str, float]:
        seen.append(float(len(seen) == 5))  # the sixth look is the best
        return {"set": seen[-1]}

    trainer = Trainer(model, training, recipe, tmp_path / "run", validate=validate)
    outcome = trainer.run()
    records = [record for record in trainer.log.read() if "kl" in record]
    assert np.mean([r["kl"] for r in records[-5:]]) < 0.8 * np.mean([r["kl"] for r in records[:5]])
    assert outcome.best_step == 24
    assert outcome.best == 1.0
    assert len(seen) == 10


@pytest.mark.parametrize("hybrid", [0.0, 1.0])
def test_gradient_caching_learns_the_same(base: Path, tmp_path: Path, hybrid: float) -> None:
    results = []
    for parts in (1, 3):
        changes = {"optimiser": {"accumulate": parts, "steps": 3}, "loss": {"hybrid": hybrid}}
        model, training, recipe = make_run(base, changes)
        Trainer(model, training, recipe, tmp_path / str(parts)).run()
        results.append(weights(model))
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], atol=2e-4, rtol=1e-3)


def test_early_stop_and_another_recipe(base: Path, tmp_path: Path) -> None:
    model, training, recipe = make_run(base, {"validation": {"every": 2, "patience": 2}})
    notices: list[str] = []

    class Watcher:
        def step(self, record: dict[str, float], total: int) -> None: ...
        def validated(self, step: int, measures: dict[str, float], best: bool) -> None: ...
        def notice(self, message: str) -> None:
            notices.append(message)

    outcome = Trainer(
        model, training, recipe, tmp_path / "run", validate=lambda *_: {"set": 0.5}, watcher=Watcher()
    ).run()
    assert outcome.steps == 6
    assert "stopped after 6 steps" in notices[0]
    model, training, other = make_run(base, {"loss": {"scale": 11.0}})
    with pytest.raises(TrainingError, match="another recipe"):
        Trainer(model, training, other, tmp_path / "run").run()


def test_collapse_is_told(base: Path, tmp_path: Path) -> None:
    model, training, recipe = make_run(base, {"optimiser": {"steps": 60}, "loss": {"keep": 0.0}})
    with torch.no_grad():
        model.decoder_bias.fill_(-1e4)
    with pytest.raises(TrainingError, match="collapsed"):
        Trainer(model, training, recipe, tmp_path / "run").run()


def test_a_damaged_state_is_told(base: Path, tmp_path: Path) -> None:
    model, training, recipe = make_run(base, {"optimiser": {"steps": 1}})
    Trainer(model, training, recipe, tmp_path / "run").run()
    state = tmp_path / "run" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:500])
    with pytest.raises(TrainingError, match="cannot be read"):
        Trainer(model, training, recipe, tmp_path / "run").run()


def test_the_penalty_on_lost_words_is_the_formula(base: Path, tmp_path: Path) -> None:
    model, training, recipe = make_run(base)
    trainer = Trainer(model, training, recipe, tmp_path / "run")
    from lexhound.training.sampled_vocabulary import Columns

    terms = np.array([6, 7, 8, 20], dtype=np.int64)
    logits = torch.tensor([[0.5, 2.0, -1.0, -3.0], [0.0, 0.0, 0.0, 0.0]])
    token_ids = [np.array([6, 8], np.int32), np.array([20, 20], np.int32)]
    found = float(trainer._objective.kept(logits, token_ids, Columns(terms, np.ones(4, np.float32))))
    idf = training.idf
    expected = (idf[6] * 0.5 + idf[8] * 2.0 + idf[20] * 1.0) / (idf[6] + idf[8] + idf[20])
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_the_terms_a_dense_teacher_asks_for_grow(base: Path, tmp_path: Path) -> None:
    """Its targets come from its own vectors of documents and words; weights learn towards them."""
    logits = []
    for terms in (0.0, 20.0):
        model, training, recipe = make_run(base, {"loss": {"terms": terms}, "optimiser": {"steps": 12}})
        asked = np.flatnonzero(model.terms)[[5]]
        dense = np.eye(2, dtype=np.float32)[np.arange(len(training.documents)) % 2]
        taught = TermTeacher(asked, dense[:1], np.zeros(1, np.float32), np.full(1, 0.1, np.float32), 3.0, 0.5)
        Trainer(model, replace(training, dense=dense, term_teacher=taught), recipe, tmp_path / str(terms)).run()
        with torch.no_grad():
            logits.append(model.logits(training.documents)[::2, int(asked[0])].mean().item())
    assert logits[1] > logits[0] + 0.1


def test_queries_of_the_model_are_scored_and_penalised_as_the_formulas_say(base: Path, tmp_path: Path) -> None:
    changes = {"query": {"kind": "model", "sparsity": 3.0}, "sparsity": {"kind": "flops", "weight": 2.0, "ramp": 0.0}}
    model, training, recipe = make_run(base, {**changes, "loss": {"keep": 0.0, "info_nce": 0.0, "margin_mse": 0.0}})
    trainer = Trainer(model, training, recipe, tmp_path / "run")
    step = draw_step(training, recipe.optimiser, recipe.seed, 1)
    token_ids = [training.documents[place] for place in step.documents]
    asked = [training.query_token_ids[place] for place in step.queries]
    terms = np.unique(np.concatenate([training.queries[place] for place in step.queries])).astype(np.int64)
    columns = trainer._sampler.draw(terms, recipe.seed, 1)
    assert columns.terms.tolist() == np.flatnonzero(model.terms).tolist()
    record: dict[str, float] = {}
    with torch.no_grad():
        logits, means = model.logits_and_means(token_ids + asked, torch.from_numpy(columns.terms))
        found = float(
            trainer._objective.loss(torch.cat([logits, means], dim=1), step, 1, token_ids, terms, columns, record)
        )
    # The twin: each text alone, over the whole vocabulary, in NumPy.
    weights = np.concatenate([model.encode([text_ids]).toarray() for text_ids in (*token_ids, *asked)]).astype(
        np.float64
    )
    documents, queries = weights[: len(token_ids)], weights[len(token_ids) :]
    scores = queries @ documents.T / queries.sum(axis=1, keepdims=True) * 20.0
    taught = training.teach(step.queries, step.documents) * recipe.loss.scale
    wanted = np.exp(taught - taught.max(1, keepdims=True))
    wanted /= wanted.sum(1, keepdims=True)
    given = scores - scores.max(1, keepdims=True)
    given -= np.log(np.exp(given).sum(1, keepdims=True))
    divergence = (wanted * (np.log(np.maximum(wanted, 1e-30)) - given)).sum(1).mean()
    penalty = 2.0 * (documents.mean(0) ** 2).sum() + 3.0 * (queries.mean(0) ** 2).sum()
    assert found == pytest.approx(divergence + penalty, rel=1e-4)
    assert record["query_active"] == pytest.approx((queries > 0).sum(1).mean())


def test_queries_of_the_model_learn_and_become_sparse(base: Path, tmp_path: Path) -> None:
    active = []
    for sparsity in (0.0, 30.0):
        changes = {"query": {"kind": "model", "sparsity": sparsity}, "optimiser": {"steps": 40, "accumulate": 2}}
        model, training, recipe = make_run(base, changes)
        trainer = Trainer(model, training, recipe, tmp_path / str(sparsity))
        trainer.run()
        records = trainer.log.read()
        active.append(np.mean([record["query_active"] for record in records[-5:]]))
        if not sparsity:
            divergences = [record["kl"] for record in records]
            assert np.mean(divergences[-5:]) < 0.8 * np.mean(divergences[:5])
    assert active[1] < 0.8 * active[0]


def test_a_collapse_of_queries_is_told(base: Path, tmp_path: Path) -> None:
    model, training, recipe = make_run(base, {"query": {"kind": "model"}, "optimiser": {"steps": 60}})
    trainer = Trainer(model, training, recipe, tmp_path / "run")
    for _ in range(20):
        record = {"loss": 1.0, "active": 5.0, "query_active": 0.0}
        if _ < 19:
            trainer._check(record)
        else:
            with pytest.raises(TrainingError, match=r"queries have had no terms"):
                trainer._check(record)


def test_what_reads_its_queries_is_written_as_one_model(base: Path, tmp_path: Path) -> None:
    """Both sides alike when loaded here and in sentence-transformers."""
    model, training, recipe = make_run(base, {"query": {"kind": "model"}, "optimiser": {"steps": 2}})
    Trainer(model, training, recipe, tmp_path / "run").run()
    folder = export_encoder(model, None, tmp_path / "encoder", half=False)
    encoder = LearnedEncoder(folder)
    assert encoder.layout.query == encoder.layout.document
    text = "heat transfer in flow"
    ((terms, weights_),) = encoder.encode_queries([text])
    expected = model.encode(model.token_ids([text])).toarray()[0]
    dense = np.zeros(model.vocabulary_size)
    dense[terms] = weights_
    np.testing.assert_allclose(dense, expected, atol=1e-5)
    theirs = pytest.importorskip("sentence_transformers").SparseEncoder(str(folder), device="cpu")
    found = theirs.encode_query([text]).to_dense().numpy()[0]
    np.testing.assert_allclose(found[model.terms], expected[model.terms], atol=1e-4)  # it keeps special tokens


def test_boosts_are_part_of_the_vectors_that_scores_compare(base: Path) -> None:
    """Against a run without them whose weights have them added by hand."""
    changes = {"exact_terms": {"weight": 0.6, "length": 7}}
    model, training, recipe = make_run(base, changes)
    objective, bare = (
        Objective(model, training, recipe),
        Objective(model, training, replace(recipe, exact_terms=ExactTermRecipe())),
    )
    step = draw_step(training, recipe.optimiser, recipe.seed, 0)
    terms = np.unique(np.concatenate([training.queries[query] for query in step.queries])).astype(np.int64)
    columns = objective.sampler.draw(terms, recipe.seed, 0)
    token_ids = [training.documents[document] for document in step.documents]
    logits, means = model.logits_and_means(token_ids, torch.from_numpy(columns.terms))
    found: dict[str, float] = {}
    objective.loss(torch.cat([logits, means], dim=1), step, 0, token_ids, terms, columns, found)

    more = np.zeros(logits.shape, np.float32)
    rule = recipe.exact_terms.boost
    assert rule is not None
    for row, text_ids in enumerate(token_ids):
        for term, weight in zip(*rule.weights(text_ids), strict=True):
            more[row, columns.terms == term] = weight
    # log1p_relu of these logits is the sum of both.
    whole = torch.expm1(
        model.weights_of(logits.detach()) * torch.from_numpy(model.terms[columns.terms]) + torch.from_numpy(more)
    )
    expected: dict[str, float] = {}
    bare.loss(torch.cat([whole, means], dim=1), step, 0, token_ids, terms, columns, expected)
    assert found["kl"] == pytest.approx(expected["kl"], rel=1e-4)
    assert found["info_nce"] == pytest.approx(expected["info_nce"], rel=1e-4)
    assert found["flops"] != pytest.approx(expected["flops"])  # what is constant is not penalised


def test_a_run_of_no_steps_changes_no_weight(base: Path, tmp_path: Path) -> None:
    model, training, recipe = make_run(base, {"optimiser": {"steps": 0}})
    before = weights(model)
    assert Trainer(model, training, recipe, tmp_path / "run").run().steps == 0
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())


def test_surface_match_ratios_compare_the_words_of_texts_with_the_vectors_that_are_stored(
    base: Path, tmp_path: Path
) -> None:
    model, training, recipe = make_run(base, {"exact_terms": {"weight": 0.2}})
    boost, top_k = recipe.exact_terms.boost, 12
    ratios = measure_surface_match(model, training.documents, boost, top_k)
    query = QueryRecipe(counted=True, power=0.5, common=0.4, prior=20, surface_match=24)
    table = np.linspace(1, 3, model.vocabulary_size, dtype=np.float32) * model.terms
    folder = export_encoder(
        model,
        table,
        tmp_path / "out",
        half=False,
        query=query,
        surface_match=ratios,
        document=DocumentUse(boost, top_k),
    )
    encoder = LearnedEncoder(folder)
    subwords = encoder.subwords("document")
    texts = [" ".join(subwords.text(int(term)) for term in text_ids) for text_ids in training.documents]
    vectors = encoder.encode_documents(texts)
    held = (vectors.toarray() > 0).sum(axis=0)
    written = np.zeros(model.vocabulary_size)
    for ids in subwords.ids_of(texts):
        written[list(set(ids))] += 1
    np.testing.assert_allclose(ratios, np.minimum(1, (written + 2.5) / (held + 5)), rtol=1e-6)
    assert encoder.layout.query.surface_match
    assert (encoder.layout.query.power, encoder.layout.query.common) == (0.5, 0.4)
    assert encoder.layout.document.exact_terms == boost


@pytest.mark.parametrize("kind", ["idf", "model"])
def test_the_fused_score_is_the_formula(base: Path, kind: str) -> None:
    """The divergence alone, against every text by itself in NumPy."""
    changes = {
        "query": {"kind": kind, "sparsity": 0.0},
        "loss": {"hybrid": 2.0, "kl": 0.0, "keep": 0.0, "info_nce": 0.0, "margin_mse": 0.0},
        "sparsity": {"weight": 0.0},
    }
    model, training, recipe = make_run(base, changes)
    objective = Objective(model, training, recipe)
    assert set(objective.parameters()) == {"scale", "dense_scale"}
    step = draw_step(training, recipe.optimiser, recipe.seed, 2)
    token_ids = [training.documents[place] for place in step.documents]
    asked = [training.query_token_ids[place] for place in step.queries]
    terms = np.unique(np.concatenate([training.queries[place] for place in step.queries])).astype(np.int64)
    columns = objective.sampler.draw(terms, recipe.seed, 2)
    with torch.no_grad():
        logits, means = model.logits_and_means(token_ids + asked, torch.from_numpy(columns.terms))
        objective.parameters()["dense_scale"].fill_(float(np.log(7.0)))
        encoded = torch.cat([logits, means], dim=1)
        found = float(objective.loss(encoded, step, 2, token_ids, terms, columns, {}))

    documents = np.concatenate([model.encode([text_ids]).toarray() for text_ids in token_ids]).astype(np.float64)
    if kind == "model":
        queries = np.concatenate([model.encode([text_ids]).toarray() for text_ids in asked]).astype(np.float64)
        queries[:, ~np.isin(np.arange(model.vocabulary_size), columns.terms)] = 0.0
    else:
        queries = np.array([np.isin(np.arange(model.vocabulary_size), training.queries[q]) for q in step.queries])
        queries = queries * training.idf.astype(np.float64)
    scores = queries @ documents.T / queries.sum(1, keepdims=True) * 20.0
    states = [np.concatenate([model.encode_with_means([text])[1] for text in side]) for side in (asked, token_ids)]
    units = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in states]
    scores += 7.0 * units[0] @ units[1].T
    taught = training.teach(step.queries, step.documents).astype(np.float64) * recipe.loss.scale
    wanted, given = (np.exp(each - each.max(1, keepdims=True)) for each in (taught, scores))
    wanted, given = (each / each.sum(1, keepdims=True) for each in (wanted, given))
    divergence = (wanted * np.log(wanted / given)).sum(1).mean()
    assert found == pytest.approx(2.0 * divergence, rel=1e-4)


def test_both_sides_learn_from_the_fused_score(base: Path, tmp_path: Path) -> None:
    changes = {"loss": {"hybrid": 1.0, "kl": 0.0, "keep": 0.0, "info_nce": 0.0, "margin_mse": 0.0}}
    model, training, recipe = make_run(base, changes | {"optimiser": {"steps": 40}})
    measured: list[set[str]] = []

    def validate(encode: object, table: np.ndarray) -> dict[str, float]:
        vectors, means = encode(["heat transfer", ""], 8)  # type: ignore[operator]
        measured.append({*map(str, (vectors.shape, means.shape))})
        assert not means[1].any()
        return {"set": 0.0}

    trainer = Trainer(model, training, recipe, tmp_path / "run", validate=validate)
    trainer.run()
    losses = [record["hybrid"] for record in trainer.log.read() if "hybrid" in record]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert measured[0] == {str((2, model.vocabulary_size)), str((2, model.width))}
