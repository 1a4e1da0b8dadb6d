"""States of tokens on disk: the model's own, resumed after a kill; what a pool says of latents, by a plain twin."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoints import build_tiny_embedding_model

from lexhound.encoders.errors import CheckpointError, TrainingDataError
from lexhound.encoders.latent.autoencoder import Autoencoder, LatentActivations
from lexhound.encoders.latent.token_latents import summed_latents
from lexhound.encoders.runtime.backbone import Backbone
from lexhound.encoders.sparse.pruning import prune
from lexhound.training.latents import token_states
from lexhound.training.latents.description import described
from lexhound.training.latents.token_states import read_states

TEXTS = ["heat transfer in flow", "", "wing", "the cat sat on the mat " * 9, "shock wave", "drag"] * 3


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = build_tiny_embedding_model(tmp_path_factory.mktemp("states") / "body")
    return Backbone(folder, folder, max_length=20, device="cpu", precision="float32")


def test_states_are_those_of_the_model_without_special_tokens(backbone: Backbone, tmp_path: Path) -> None:
    found = read_states(backbone, TEXTS, 12, tmp_path)
    subwords = backbone.subwords
    ids = [each[:10] for each in subwords.ids_of(TEXTS)]
    assert found.lengths.tolist() == [len(each) for each in ids]
    assert found.tokens.tolist() == [token for each in ids for token in each]
    start = 0
    for each in ids:
        if each:
            expected = backbone.states([[*subwords.prefix, *each, *subwords.suffix]])[1:-1]
            np.testing.assert_allclose(found.states[start : start + len(each)], expected, atol=2e-3)
        start += len(each)
    np.testing.assert_allclose(found.centre(), np.asarray(found.states, np.float32).mean(axis=0), atol=1e-5)
    drawn, queries = found.drawn(np.random.default_rng(1), 7, queries=True)
    assert (drawn.dtype, drawn.shape, queries) == (np.float32, (7, backbone.width), 0)


@pytest.mark.parametrize("lost", [{}, {"states": 7}, {"tokens": 5}, {"lengths": 3}, {"states": 10**9, "lengths": 4}])
def test_a_killed_run_goes_on(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: dict[str, int]
) -> None:
    monkeypatch.setattr(token_states, "_TEXTS", 4)
    whole = read_states(backbone, TEXTS, 12, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    for part, size in lost.items():
        (path,) = (tmp_path / "part").glob(f"*.{part}")
        with path.open("ab") as file:
            file.truncate(max(0, path.stat().st_size - size))
    told: list[int] = []
    again = read_states(backbone, TEXTS, 12, tmp_path / "part", lambda done, _total: told.append(done))
    for name in ("states", "tokens", "lengths"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    assert bool(told) == bool(lost)
    if lost and "states" not in lost:
        assert len(told) == 1  # no more than what was lost is computed again


def test_what_cannot_be_kept_is_told(backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingDataError, match="none of the texts has a token"):
        read_states(backbone, ["", " "], 12, tmp_path / "empty")
    full = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: full)
    with pytest.raises(CheckpointError, match=r"has room for 0\.0 GB"):
        read_states(backbone, TEXTS, 12, tmp_path / "full")
    assert not any(path.stat().st_size for path in (tmp_path / "full").iterdir())


def test_what_a_pool_says_of_latents(backbone: Backbone, tmp_path: Path) -> None:
    random, most = np.random.default_rng(2), 6
    weight = random.normal(size=(40, backbone.width)).astype(np.float32)
    model = Autoencoder(weight, np.zeros(40, np.float32), np.zeros(backbone.width, np.float32), 3)
    states = read_states(backbone, TEXTS, 12, tmp_path)
    found = described(model, states, backbone.subwords, most)
    latents = LatentActivations(model)
    vectors = [
        prune(*vector, most, 0.0)
        for vector in summed_latents(latents, states.states.astype(np.float32), states.lengths.tolist(), 3)
    ]
    frequencies = np.zeros(40)
    for ids, _ in vectors:
        frequencies[ids] += 1
    np.testing.assert_allclose(found.autoencoder.idf, -np.log((frequencies + 0.5) / (len(TEXTS) + 1)), rtol=1e-5)
    assert found.length == pytest.approx(sum(float(f.sum()) for _, f in vectors) / len(TEXTS), rel=1e-2)
    excitement: dict[tuple[int, int], float] = {}
    for token, state in zip(states.tokens.tolist(), states.states.astype(np.float32), strict=True):
        z = weight @ state
        for latent in np.argsort(-z, kind="stable")[:3].tolist():
            if z[latent] > 0:
                excitement[latent, token] = excitement.get((latent, token), 0.0) + float(z[latent])
    times = Counter(states.tokens.tolist())
    for latent, words in enumerate(found.words):
        own = sorted(
            (-value / times[token] ** 0.5, token) for (row, token), value in excitement.items() if row == latent
        )
        expected = list(dict.fromkeys(backbone.subwords.text(token).removeprefix("##") for _, token in sorted(own)))[:3]
        assert words == expected
    part = states.sampled(np.random.default_rng(3), 4, 6)
    assert len(part.lengths) == 4
    assert len(part.states) == len(part.tokens) == part.lengths.sum()
