"""An autoencoder of tokens small enough for a test, and the precisions that latents are tested in."""

from __future__ import annotations

import numpy as np
import pytest

from lexhound.encoders.latent.autoencoder import Autoencoder
from lexhound.encoders.runtime.int16.kernels import available

LATENTS, WIDTH = 96, 32
TEXTS = ["heat transfer in hypersonic flow", "", "the cat sat on the mat", "wing", "wing wing wing wing"]
PRECISIONS = ["float32", pytest.param("int16", marks=pytest.mark.skipif(not available(), reason="AVX2"))]


def make_autoencoder(k: int = 4) -> Autoencoder:
    """Return one of random weights, of the states of the tiny checkpoints."""
    random = np.random.default_rng(5)
    return Autoencoder(
        random.normal(size=(LATENTS, WIDTH)).astype(np.float32), random.normal(size=LATENTS).astype(np.float32),
        random.normal(size=WIDTH).astype(np.float32), k, False, np.linspace(0, 3, LATENTS).astype(np.float32),
    )  # fmt: skip
