"""Teachers of other shapes than the student: what works, and what is told before anything slow begins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoints import build_tiny_cross_encoder, build_tiny_embedding_model, build_tiny_masked_lm

from lexhound.encoders.errors import EncoderError, TrainingError
from lexhound.encoders.sparse.encoder import LearnedEncoder
from lexhound.encoders.sparse.settings import LearnedSettings
from lexhound.training.data.pool import Pool
from lexhound.training.data.training_set import prepare
from lexhound.training.model import ModelSettings, TrainableEncoder
from lexhound.training.recipe import DataRecipe, ModelRecipe, Recipe, TeacherRecipe

pytestmark = pytest.mark.model

DOCUMENTS = ["heat in a wing", "the flow of a jet", "a cat sat on the mat", "a bank of the river"]
QUERIES = ["heat flow", "cat river", "bank money"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("teachers")
    build_tiny_masked_lm(place / "base", seed=1)
    other = build_tiny_masked_lm(place / "other", seed=2)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    ids = tokenizer["model"]["vocab"]
    words = [word for word in ids if ids[word] > 5]
    for word, number in zip(words, reversed([ids[word] for word in words]), strict=True):
        ids[word] = number
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    build_tiny_embedding_model(place / "dense", seed=3)
    build_tiny_cross_encoder(place / "two", seed=4, outputs=2)
    return place


@pytest.fixture(scope="module")
def model(folder: Path) -> TrainableEncoder:
    return TrainableEncoder(ModelSettings(str(folder / "base")))


def recipe_of(folder: Path, *teachers: TeacherRecipe) -> Recipe:
    return Recipe(ModelRecipe("base"), DataRecipe(), teachers, folder=str(folder))


def pool_of(**more: object) -> Pool:
    return Pool(list(DOCUMENTS), list(QUERIES), [0, 2, -1], ["pair"] * 3, **more)  # type: ignore[arg-type]


def quiet(stage: str, done: int, total: int) -> None: ...


def test_a_sparse_teacher_may_have_another_vocabulary(folder: Path, model: TrainableEncoder, tmp_path: Path) -> None:
    """Its scores are those of its own vectors, whatever the student calls the terms."""
    teacher = TeacherRecipe("sparse", "other", normalise="none", max_length=64)
    training = prepare(recipe_of(folder, teacher), pool_of(), model, tmp_path, quiet)
    encoder = LearnedEncoder(folder / "other", LearnedSettings(max_length=64))
    assert encoder.lookup(["heat"]) != LearnedEncoder(folder / "base").lookup(["heat"])
    documents = encoder.encode_documents(DOCUMENTS).toarray()
    expected = np.zeros((3, 4))
    for row, (terms, weights) in enumerate(encoder.encode_queries(QUERIES)):
        expected[row] = documents[:, terms] @ weights
    found = training.teach(np.arange(3), np.arange(4))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert [row[row >= 0].tolist() for row in training.candidates] == [
        [place for place in np.argsort(-row, kind="stable").tolist() if row[place] > 0] for row in expected
    ]


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (TeacherRecipe("cross-encoder", "two"), "gives 2 values a pair"),
        (TeacherRecipe("cross-encoder", "base"), "is not a cross-encoder"),
        (TeacherRecipe("sparse", "dense"), "language model"),
        (TeacherRecipe("dense", "nowhere/at/all"), "there is no folder"),
    ],
)
def test_teachers_that_cannot_teach_are_told_at_once(
    folder: Path, model: TrainableEncoder, tmp_path: Path, teacher: TeacherRecipe, said: str
) -> None:
    seen: list[str] = []
    with pytest.raises(EncoderError, match=said) as caught:
        prepare(
            recipe_of(folder, TeacherRecipe("bm25"), teacher), pool_of(), model, tmp_path,
            lambda stage, done, total: seen.append(stage),
        )  # fmt: skip
    assert caught.value.hint
    assert not seen


def test_a_dense_teacher_of_another_width_cannot_be_followed_in_its_vectors(
    folder: Path, model: TrainableEncoder, tmp_path: Path
) -> None:
    recipe = recipe_of(folder, TeacherRecipe("dense", "dense"))
    recipe = replace(recipe, model=replace(recipe.model, dense=1.0))
    config = json.loads((folder / "dense" / "config.json").read_text())
    wider = tmp_path / "wider"
    import transformers
    from tiny_checkpoints import save_tiny_tokenizer

    wider.mkdir()
    save_tiny_tokenizer(wider)
    transformers.BertModel(transformers.BertConfig(**{**config, "hidden_size": 48})).save_pretrained(wider)
    prepare(recipe, pool_of(), model, tmp_path / "cache", quiet)
    other = replace(recipe, teachers=(TeacherRecipe("dense", str(wider)),))
    with pytest.raises(TrainingError, match="vectors of 48 dimensions, and the states of base have 32"):
        prepare(other, pool_of(), model, tmp_path / "cache", quiet)


def test_what_the_data_names_leads_the_candidates_and_needs_no_teacher(
    folder: Path, model: TrainableEncoder, tmp_path: Path
) -> None:
    pool = pool_of(given={0: [0, 3], 2: [1]})
    alone = prepare(recipe_of(folder), pool, model, tmp_path, quiet)
    assert alone.candidates.tolist() == [[0, 3], [-1, -1], [1, -1]]
    assert alone.given.tolist() == [2, 0, 1]
    assert np.isnan(alone.teach(np.arange(3), np.arange(4))).all()
    scored = pool_of(given={0: [0, 3], 2: [1]}, scores={1: {2: {1: 5.0, 3: 1.0}}})
    teachers = TeacherRecipe("bm25"), TeacherRecipe("scores", path="x.tsv", normalise="none", weight=3.0)
    both = prepare(recipe_of(folder, *teachers), scored, model, tmp_path, quiet)
    assert both.candidates[0, :2].tolist() == [0, 3]
    assert both.candidates[2, 0] == 1
    (lexical, _), (_, weight) = both.teachers
    given = lexical.block(np.array([2]), np.array([1, 2]))[0]
    found = both.teach(np.array([2]), np.array([1, 2]))[0]
    assert weight == 3.0
    np.testing.assert_allclose(found, [(given[0] + 15.0) / 4, given[1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("pool", "teachers", "said"),
    [
        (Pool(["a wing"]), (TeacherRecipe("bm25"),), "holds no query"),
        (Pool(["a wing"], ["a jet"], [-1], ["question"]), (), "no query has a document of its own"),
    ],
)
def test_data_without_anything_to_learn_is_told(
    folder: Path, model: TrainableEncoder, tmp_path: Path, pool: Pool, teachers: tuple[TeacherRecipe, ...], said: str
) -> None:
    with pytest.raises(TrainingError, match=said):
        prepare(recipe_of(folder, *teachers), pool, model, tmp_path, quiet)


def test_what_is_not_read_to_its_end_is_told(folder: Path, model: TrainableEncoder, tmp_path: Path) -> None:
    pool = Pool([*DOCUMENTS, "heat flow " * 200], ["wing " * 90, *QUERIES], [0, 0, 2, -1], ["pair"] * 4)
    teachers = (TeacherRecipe("sparse", "base", max_length=8), TeacherRecipe("bm25"))
    told: list[str] = []
    training = prepare(recipe_of(folder, *teachers), pool, model, tmp_path, quiet, say=told.append)
    count, longest = len(pool.documents), 8
    around = len(model.subwords.prefix) + len(model.subwords.suffix)
    for_teacher = sum(len(model.subwords.ids(text)) > longest - around for text in pool.documents)
    assert told == [
        f"1 of {count} documents are longer than 64 tokens (model.max_length): what is beyond is left out",
        "1 of 4 queries are longer than 64 tokens (query.max_length): what is beyond is left out",
        f"{for_teacher} of {count} documents are, for a teacher, longer than 8 tokens (teachers.0.max_length): what is"
        " beyond is left out",
    ]
    assert [len(ids) for ids in training.documents][-1] == 64 - around
    prepare(recipe_of(folder), pool_of(), model, tmp_path, quiet, say=told.append)
    assert len(told) == 3, "of short texts nothing is told"
