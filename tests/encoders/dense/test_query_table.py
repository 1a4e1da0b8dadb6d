"""Tables of dense queries against the closed form of the regression, and as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_checkpoints import build_tiny_embedding_model

from lexhound.encoders.dense.encoder import DenseEncoder
from lexhound.encoders.dense.settings import DenseSettings
from lexhound.encoders.dense.static_queries import StaticQueryEmbeddings, fit
from lexhound.encoders.errors import CheckpointError, SettingsError

WORDS = ["wing", "heat", "transfer", "the", "flow", "shock", "plate", "boundary", "layer", "drag", "lift", "fuel"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> DenseEncoder:
    folder = build_tiny_embedding_model(tmp_path_factory.mktemp("model") / "model")
    return DenseEncoder(folder, DenseSettings(device="cpu", precision="float32"))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    random = np.random.default_rng(3)
    drawn = [" ".join(random.choice(WORDS, random.integers(1, 9))) for _ in range(120)]
    return [*drawn[:50], "", *drawn[50:]]


@pytest.fixture(scope="module")
def vectors(encoder: DenseEncoder, texts: list[str]) -> NDArray[np.float32]:
    return encoder.encode_documents(texts)


def regression(
    encoder: DenseEncoder, texts: list[str], vectors: NDArray[np.float32], ridge: float
) -> tuple[dict[int, NDArray[np.float64]], list[int]]:
    """The vector of each token by the normal equations, in float64; and the texts that were kept out."""
    tokens = [encoder.backbone.subwords.ids(text) for text in texts]
    rows = [row for row, ids in enumerate(tokens) if ids]
    held = rows[19::20]
    rows = [row for row in rows if row not in held]
    vocabulary = sorted({token for row in rows for token in tokens[row]})
    n = len(rows)
    idf = {t: np.log((n + 1) / (sum(t in tokens[row] for row in rows) + 1)) + 0.5 for t in vocabulary}
    design = np.zeros((n, len(vocabulary) + 1))
    for place, row in enumerate(rows):
        total = sum(idf[t] for t in tokens[row])
        for token in tokens[row]:
            design[place, vocabulary.index(token)] += idf[token] / total
        design[place, -1] = 1.0
    square = design.T @ design + ridge * np.eye(design.shape[1])
    solution = np.linalg.solve(square, design.T @ vectors[rows].astype(np.float64))
    found = {t: idf[t] * (solution[place] + solution[-1]) for place, t in enumerate(vocabulary)}
    return found, held


def test_a_table_is_the_ridge_regression_of_the_vectors(
    encoder: DenseEncoder, texts: list[str], vectors: NDArray[np.float32]
) -> None:
    table = fit(encoder, texts, vectors, ridge=0.1)
    wanted, held = regression(encoder, texts, vectors, 0.1)
    assert (table.facts.texts, table.facts.tokens) == (120, len(wanted))
    queries = ["heat transfer", "wing wing the", "plate zebra", "flow " * 50]
    limit = encoder.backbone.limit - 2
    for query, found in zip(queries, table.encode_queries(queries), strict=True):
        ids = encoder.backbone.subwords.ids(query)[:limit]
        total = sum((wanted.get(token, np.zeros(32)) for token in ids), np.zeros(32))
        assert np.allclose(found, total / np.linalg.norm(total), atol=5e-3)
    cosines = [
        float(query @ vectors[row])
        for row, query in zip(held, table.encode_queries([texts[row] for row in held]), strict=True)
    ]
    assert table.facts.agreement == pytest.approx(float(np.mean(cosines)), abs=1e-4)


def test_a_text_without_known_tokens_has_no_direction(
    encoder: DenseEncoder, texts: list[str], vectors: NDArray[np.float32]
) -> None:
    table = fit(encoder, texts, vectors)
    assert not table.encode_queries(["", "z"]).any()
    assert table.encode_queries([]).shape == (0, 32)


def test_a_table_on_disk_is_the_same(
    encoder: DenseEncoder, texts: list[str], vectors: NDArray[np.float32], tmp_path: Path
) -> None:
    table = fit(encoder, texts, vectors)
    table.save(tmp_path / "t")
    opened = StaticQueryEmbeddings.open(tmp_path / "t")
    assert opened.facts == table.facts == fit(encoder, texts, vectors).facts
    assert np.array_equal(opened.encode_queries(texts), table.encode_queries(texts))
    assert StaticQueryEmbeddings.verify(tmp_path / "t") == []
    data = tmp_path / "t" / "vectors.npy"
    whole = data.read_bytes()
    data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert [path for path, _ in StaticQueryEmbeddings.verify(tmp_path / "t")] == [data]
    data.write_bytes(whole[:200])
    with pytest.raises(CheckpointError, match="fit-static-queries"):
        StaticQueryEmbeddings.open(tmp_path / "t")
    (tmp_path / "t" / "query_table.json").write_text("{}")
    with pytest.raises(CheckpointError, match="fit-static-queries"):
        StaticQueryEmbeddings.open(tmp_path / "t")
    assert len(StaticQueryEmbeddings.verify(tmp_path / "t")) == 1


def test_what_cannot_be_fitted_is_told(
    encoder: DenseEncoder, texts: list[str], vectors: NDArray[np.float32], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="too few"):
        fit(encoder, texts[:12], vectors[:12])
    long = DenseEncoder(build_tiny_embedding_model(tmp_path / "m"), DenseSettings(device="cpu", normalise=False))
    with pytest.raises(SettingsError, match="unit length"):
        fit(long, texts, vectors)
