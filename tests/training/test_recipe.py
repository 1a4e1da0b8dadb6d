"""Recipes: what is read, and what is refused with which words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lexhound.encoders.errors import SettingsError
from lexhound.training.recipe_file import read_recipe, same_run

SMALL = """
name = "small"

[model]
start = "base"

[[data.corpora]]
path = "texts.jsonl"
pseudo = ["sentence"]

[[teachers]]
kind = "bm25"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_reads_what_is_said_and_defaults_for_the_rest(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, SMALL))
    assert recipe.model.start == "base"
    assert recipe.model.max_length == 128
    assert recipe.data.corpora[0].pseudo == ("sentence",)
    assert recipe.teachers[0].weight == 1.0
    assert recipe.path("texts.jsonl") == tmp_path / "texts.jsonl"
    assert "folder" not in recipe.as_dict()  # a run may be moved


def test_overrides_take_numbers_words_lists_and_entries_of_lists(tmp_path: Path) -> None:
    changes = [
        "optimiser.steps=7",
        "sparsity.weight=1",
        "query.kind=learned",
        'validation.sets=["a:dev"]',
        "data.corpora.0.limit=5",
    ]
    recipe = read_recipe(write(tmp_path, SMALL), changes)
    assert recipe.optimiser.steps == 7
    assert recipe.sparsity.weight == 1.0
    assert recipe.query.kind == "learned"
    assert recipe.validation.sets == ("a:dev",)
    assert recipe.data.corpora[0].limit == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("optimiser.stepz=7", "did you mean 'steps'"),
        ("loss.kll=1", "did you mean 'kl'"),
        ("optimiser.steps=many", "optimiser.steps is 'many'. it must be a whole number"),
        ("optimiser.steps=-1", "optimiser.steps is -1. it must be at least 0"),
        ("optimiser.steps=true", "it must be a whole number"),
        ("sparsity.kind=flop", "did you mean 'flops'"),
        ("sparsity.ramp=2", "it must be from 0 to 1"),
        ("teachers.0.kind=bm26", "did you mean 'bm25'"),
        ("teachers.0.kind=dense", "teachers.0 has no model"),
        ("teachers.0.weight=-1", "it must be above 0"),
        ("teachers.0.kind=scores", "teachers.0 has no path"),
        ("teachers.0.path=a.tsv", "teachers.0.path is not for a teacher of the kind bm25"),
        ('data.triples=[{path="a.jsonl", limt=3}]', "did you mean 'limit'"),
        ('data.ids=[{path="a.tsv"}]', "[[data.ids]] needs documents and queries to name"),
        ("teachers.3.kind=bm25", "there is no entry 3"),
        ("data.corpora=3", "it must be a list"),
        ("loss.kl=0", "every loss has the weight 0"),
        ("loss={kl=0, hybrid=-1}", "loss.hybrid is -1. it must be at least 0"),
        ("exact_terms.b=2", "exact_terms.b is 2. it must be from 0 to 1"),
        ("written.k1=-0.5", "exact_terms.k1 is -0.5. it must be at least 0"),
        ("query.power=2", "query.power is 2. it must be from 0 to 1"),
        ("query.power=nan", "query.power is nan. it must be a finite number"),
        ("query.counted=1", "query.counted is 1. it must be true or false"),
        ("name=3", "name is 3. it must be text"),
        ("model=3", "model is 3. it must be a table"),
        ("query.surface_match=9", "query.surface_match is for idf of a live collection. give query.prior too"),
        ("query.shares=9", "query.surface_match is for idf of a live collection. give query.prior too"),
        ("sparsity.free_terms=9", "[sparsity] has the unknown key 'free_terms'. did you mean 'frequent'"),
        ("optimiser.kind=adafactor", "[optimiser] has the unknown key 'kind'"),
        ("max_length=9", "write model.max_length or query.max_length or validation.max_length"),
        ("stepz=9", "the recipe has the unknown key 'stepz'"),
        ("model", "has no value"),
        ("name.first=x", "name is a value, not a table"),
    ],
)
def test_refuses_with_what_to_do(tmp_path: Path, change: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_recipe(write(tmp_path, SMALL), [change])
    assert said in str(caught.value).lower()


def test_the_fused_score_alone_is_enough_but_needs_a_teacher(tmp_path: Path) -> None:
    fused = ["loss.kl=0", "loss.hybrid=1"]
    assert read_recipe(write(tmp_path, SMALL), fused).loss.hybrid == 1
    with pytest.raises(SettingsError, match="there is no teacher to distil from"):
        read_recipe(write(tmp_path, SMALL), [*fused, "teachers=[]"])


def test_a_run_of_an_older_version_is_of_the_same_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, SMALL))
    stored = json.loads(json.dumps(recipe.as_dict()))
    assert same_run(recipe, stored)
    del stored["data"]["triples"]
    assert same_run(recipe, stored)
    former = {**stored, "written": stored["exact_terms"], "query": {**stored["query"], "shares": 0}}
    del former["exact_terms"], former["query"]["surface_match"]
    former["loss"] = {**stored["loss"], "terms_above": 3.0, "terms_strength": 0.3}
    former["optimiser"] = {**stored["optimiser"], "kind": "adamw"}
    assert same_run(recipe, former)
    assert not same_run(recipe, {**former, "optimiser": {**stored["optimiser"], "kind": "adafactor"}})
    assert not same_run(recipe, {**stored, "seed": 2})
    assert not same_run(recipe, {**stored, "later": 2})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SMALL.replace('start = "base"', ""), "[model] lacks 'start'"),
        ("name = 3 4", "cannot be read"),
        ('name = "x"', "lacks 'model'"),
        ('name = "x"\nteachers = []\ndata = {}\n[model]\nstart = "b"', "has no documents"),
    ],
)
def test_refuses_recipes_that_lack_something(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_recipe(write(tmp_path, text))
    assert said in str(caught.value)
    assert "recipe.toml" in str(caught.value)


def test_a_missing_recipe_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no recipe"):
        read_recipe(tmp_path / "no.toml")


def test_overrides_may_leave_out_what_is_plain(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, SMALL), ["steps=7", "name=other", "data.pairs=mine.jsonl"])
    assert recipe.optimiser.steps == 7
    assert recipe.name == "other"
    assert [each.path for each in recipe.data.pairs] == ["mine.jsonl"]
    assert recipe.data.corpora[0].path == "texts.jsonl"


def test_names_of_older_recipes_are_read(tmp_path: Path) -> None:
    former = read_recipe(write(tmp_path, SMALL + "[written]\nweight = 0.5\n[query]\nprior = 9\nshares = 7\n"))
    assert (former.exact_terms.weight, former.query.surface_match) == (0.5, 7)
    both = SMALL + "[written]\nweight = 0.5\n[exact_terms]\nweight = 0.5\n"
    with pytest.raises(SettingsError, match="written and exact_terms are two names of one key"):
        read_recipe(write(tmp_path, both))
