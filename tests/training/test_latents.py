"""Training autoencoders: losses against sentence-transformers and a plain formula, resuming, recipes, a whole run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lexhound.encoders.errors import SettingsError, TrainingError
from lexhound.encoders.latent.autoencoder import LatentActivations
from lexhound.encoders.runtime.int16.kernels import available
from lexhound.training.latents.autoencoder import TrainableAutoencoder
from lexhound.training.latents.loop import LatentTrainer, LatentTrainingSet
from lexhound.training.latents.recipe import (
    LatentLossRecipe,
    LatentModelRecipe,
    LatentOptimiserRecipe,
    LatentRecipe,
    LatentsRecipe,
)
from lexhound.training.recipe import DataRecipe, ValidationRecipe
from lexhound.training.recipe_file import read_recipe
from lexhound.training.regularization import flops

WIDTH, COUNT = 12, 40


def make_model(*, normalise: bool = False) -> TrainableAutoencoder:
    random = np.random.default_rng(1)
    model = TrainableAutoencoder(
        WIDTH, COUNT, random.normal(0, 0.2, WIDTH).astype(np.float32), normalise=normalise, seed=2
    )
    with torch.no_grad():
        model.bias.copy_(torch.from_numpy(random.normal(0, 0.1, COUNT).astype(np.float32)))
        model.idle.copy_(torch.from_numpy(random.integers(0, 9, COUNT)))
    return model


def vectors(count: int = 30) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).normal(size=(count, WIDTH)).astype(np.float32))


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("k", [1, 4, 10])
def test_losses_are_those_of_sentence_transformers(normalise: bool, k: int) -> None:
    from sentence_transformers.sparse_encoder.losses.csr import CSRReconstructionLoss
    from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder

    model = make_model(normalise=normalise)
    theirs = SparseAutoEncoder(WIDTH, COUNT, k=k, k_aux=7, normalize=normalise, dead_threshold=5)
    theirs.load_state_dict(
        {
            "encoder.weight": model.weight, "decoder.linear.weight": model.weight, "latent_bias": model.bias,
            "pre_bias": model.centre, "stats_last_nonzero": model.idle,
        }
    )  # fmt: skip
    features = theirs.train()({"sentence_embedding": vectors()})
    expected = CSRReconstructionLoss(model=None, beta=0.3).compute_loss_from_embeddings([features])
    found = model.losses(vectors(), [k], auxiliary_k=7, dead_after=5)
    assert float(found.rebuilt[0].detach()) == pytest.approx(
        float(expected["reconstruction_loss_k"].detach()), rel=1e-5
    )
    assert float(found.wider.detach()) / 8 == pytest.approx(
        float(expected["reconstruction_loss_4k"].detach()), rel=1e-5
    )
    assert 0.3 * float(found.auxiliary.detach()) == pytest.approx(
        float(expected["reconstruction_loss_aux"].detach()), rel=1e-4
    )
    torch.testing.assert_close(found.latents(), features["sentence_embedding"])


def test_losses_are_those_of_the_formula() -> None:
    model, given = make_model(), vectors().numpy().astype(np.float64)
    weight, bias, centre = (
        each.detach().numpy().astype(np.float64) for each in (model.weight, model.bias, model.centre)
    )
    idle = model.idle.numpy().copy()

    def rebuilt(z: np.ndarray, k: int) -> np.ndarray:
        kept = np.zeros_like(z)
        for row, values in enumerate(z):
            for latent in np.argsort(-values, kind="stable")[:k]:
                kept[row, latent] = max(values[latent], 0)
        return kept @ weight + centre

    z = (given - centre) @ weight.T + bias
    found = model.losses(torch.from_numpy(given.astype(np.float32)), [2, 5], auxiliary_k=6, dead_after=5)
    for each, k in zip(found.rebuilt, (2, 5), strict=True):
        assert float(each.detach()) == pytest.approx(np.mean((rebuilt(z, k) - given) ** 2), rel=1e-4)
    assert float(found.wider.detach()) == pytest.approx(np.mean((rebuilt(z, 20) - given) ** 2), rel=1e-4)
    used = np.zeros(COUNT, bool)
    for values in z:
        best = np.argsort(-values, kind="stable")[:5]
        used[best[values[best] > 1e-5]] = True
    now = np.where(used, 0, idle) + 1
    np.testing.assert_array_equal(model.idle.numpy(), now)
    rest = given - (rebuilt(z, 5) - centre)
    error = np.mean((rebuilt(np.where(now > 5, z, 0), 6) - rest) ** 2)
    assert float(found.auxiliary.detach()) == pytest.approx(error / np.mean((rest - rest.mean(axis=0)) ** 2), rel=1e-3)
    assert ((found.latents() > 0).sum(dim=1) <= 5).all()
    assert found.flops() == pytest.approx(float(flops(found.latents().detach())), rel=1e-5)
    spared = model.losses(torch.from_numpy(given.astype(np.float32)), [2, 5], 0, dead_after=5, wider=False)
    assert (float(spared.wider), float(spared.auxiliary)) == (0.0, 0.0)
    torch.testing.assert_close(torch.stack(spared.rebuilt), torch.stack(found.rebuilt))


@pytest.mark.skipif(not available(), reason="the kernels need AVX2")
def test_the_largest_by_integers_rebuild_as_well() -> None:
    exact, quick = make_model(), make_model()
    quick.in_integers = True
    given = torch.cat([vectors(300), -1e3 * vectors(2)])  # of the last few latents are above 0
    expected = exact.losses(given, [2, 5], 0, 5, wider=False)
    found = quick.losses(given, [2, 5], 0, 5, wider=False)
    for ours, theirs in zip(found.rebuilt, expected.rebuilt, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=0)
    assert all(len(set(row)) == 5 for row in found.ids.tolist())
    torch.testing.assert_close(found.latents(), expected.latents(), rtol=1e-3, atol=1e-3)
    sum(found.rebuilt).backward()
    sum(expected.rebuilt).backward()
    torch.testing.assert_close(quick.weight.grad, exact.weight.grad, rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        quick.bias.fill_(-1e6)
    assert not quick.losses(given, [2, 5], 0, 5, wider=False).values.any()


def make_run(**changes: object) -> tuple[LatentTrainingSet, LatentRecipe]:
    random = np.random.default_rng(5)
    bases = random.normal(size=(20, WIDTH))
    documents = np.stack([bases[random.choice(20, 2, replace=False)].sum(axis=0) for _ in range(60)]).astype(np.float32)
    queries = (documents[:40] + random.normal(0, 0.1, (40, WIDTH))).astype(np.float32)
    recipe = LatentRecipe(
        LatentModelRecipe("model"), LatentsRecipe(COUNT, (2, 4)), DataRecipe(),
        optimiser=LatentOptimiserRecipe(steps=30, batch=16, rate=1e-2), validation=ValidationRecipe(every=10),
    )  # fmt: skip
    return LatentTrainingSet(documents, queries, np.arange(40)), replace(recipe, **changes)


def test_a_run_learns_to_rebuild(tmp_path: Path) -> None:
    training, recipe = make_run()
    trainer = LatentTrainer(training, recipe, tmp_path)
    outcome = trainer.run()
    records = trainer.log.read()
    assert (outcome.steps, len(records)) == (30, 30)
    assert records[-1]["rebuilt 4"] < 0.6 * records[0]["rebuilt 4"]
    assert records[-1]["rebuilt 2"] > records[-1]["rebuilt 4"]
    assert records[-1]["contrast"] < records[0]["contrast"]
    found = LatentActivations(trainer.frozen()).largest(training.documents)
    assert {len(ids) for ids, _ in found} == {4}


@pytest.mark.parametrize("contrast", [0.0, 1.0])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path, contrast: float) -> None:
    training, recipe = make_run(loss=LatentLossRecipe(contrast=contrast))

    def validate(autoencoder: object) -> dict[str, float]:
        return {"set": float(abs(autoencoder.weight).sum())}  # type: ignore[attr-defined]

    whole = LatentTrainer(training, recipe, tmp_path / "a", validate=validate)
    expected = whole.run()
    parts = LatentTrainer(training, recipe, tmp_path / "b", validate=validate)
    with pytest.raises(KeyboardInterrupt):
        parts.run(stop=lambda: parts._step == 13)
    again = LatentTrainer(training, recipe, tmp_path / "b", validate=validate)
    assert again.run() == expected
    for name in ("weight", "bias", "centre"):
        np.testing.assert_array_equal(getattr(again.frozen(), name), getattr(whole.frozen(), name))

    def told(folder: Path) -> list[dict[str, float]]:
        lines = (folder / "log.jsonl").read_text().splitlines()
        return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]

    assert told(tmp_path / "b") == told(tmp_path / "a")
    other = replace(recipe, seed=9)
    with pytest.raises(TrainingError, match="another recipe"):
        LatentTrainer(training, other, tmp_path / "b").run()


def test_what_cannot_go_on_is_told(tmp_path: Path) -> None:
    training, recipe = make_run(optimiser=LatentOptimiserRecipe(steps=200, batch=16, rate=1e30))
    with pytest.raises(TrainingError, match=r"the loss is|no latents"):
        LatentTrainer(training, recipe, tmp_path).run()


def write_recipe(folder: Path, text: str) -> Path:
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


def test_recipes_of_latents(tmp_path: Path) -> None:
    path = write_recipe(tmp_path, '[model]\nstart = "m"\n[latents]\nk = [4]\n[[data.corpora]]\npath = "c.jsonl"\n')
    recipe = read_recipe(path, ["latents.count=64", "batch=8"])
    assert isinstance(recipe, LatentRecipe)
    assert (recipe.latents.count, recipe.latents.k, recipe.optimiser.batch) == (64, (4,), 8)
    for change, message in (
        ("latents.kk=3", "unknown key 'kk'"), ("latents.k=[0]", "latents.k.0 is 0"),
        ("loss.kl=1.0", "unknown key 'kl'"),
        ("latents.count=1", "at least 2"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=r"recipe\.toml") as caught:
            read_recipe(path, [change])
        assert message in f"{caught.value} {caught.value.hint}"
    with pytest.raises(SettingsError, match="has no documents"):
        read_recipe(write_recipe(tmp_path, '[model]\nstart = "m"\n[latents]\n[data]\n'))
