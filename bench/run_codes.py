"""Codes of vectors by themselves: sign codes as postings hold them, scalars, and product quantisation.

    python bench/run_codes.py --vectors passages.npy --queries questions.npy

Sign codes take an eighth of a byte a dimension, and three numbers a vector. A search knows how far off they may be, and
reads the vectors of all that could be among the best, so here they only show how rough one bit is. At one byte a
dimension product quantisation gets as many code books as there are dimensions: its subspaces have one dimension each,
and clusters of equal size (RepCONC's constraint) are equal shares of the sorted values, which is their exact solution.
Plain k-means of the same size (Lloyd) stands beside it, and each also with half the bytes: 4 bits a scalar, one code of
8 bits for two dimensions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexhound.index.spann.rotation import Rotation

K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--count", type=int, default=8000)
    arguments = parser.parse_args()
    vectors = np.load(arguments.vectors)[: arguments.count]
    queries = np.load(arguments.queries)[:300]
    exact = queries @ vectors.T
    truth = np.argsort(-exact, axis=1, kind="stable")[:, :K]
    print("| codes | bytes a dimension | error of a score (root mean square) | recall@10 of codes alone |")
    print("|---|---|---|---|")
    for name, size, kept in (
        ("sign codes about the mean", 0.125, signs(vectors)),
        ("8-bit scalars, scale by vector", 1, scalars(vectors, 127)),
        ("PQ, equal shares", 1, equal_shares(vectors, 256)),
        ("PQ, k-means", 1, means(vectors, 1, 256)),
        ("4-bit scalars, scale by vector", 0.5, scalars(vectors, 7)),
        ("PQ of two dimensions, k-means", 0.5, means(vectors, 2, 256)),
    ):
        scores = queries @ kept.T
        found = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        recall = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found, truth, strict=True)])
        print(f"| {name} | {size} | {np.sqrt(((scores - exact) ** 2).mean()):.6f} | {recall:.4f} |", flush=True)


def signs(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """One bit a value of a vector's difference from the mean, after a rotation (`index/spann/sign_codes.py`)."""
    rotation = Rotation(vectors.shape[1], 0)
    centre = vectors.mean(axis=0)
    rest = rotation.rotated(vectors - centre)
    factors = (rest**2).sum(axis=1, keepdims=True) / np.abs(rest).sum(axis=1, keepdims=True)
    turned = factors * np.where(rest > 0, np.float32(1), np.float32(-1))
    kept: NDArray[np.float32] = centre + turned @ rotation.rotated(np.eye(vectors.shape[1], dtype=np.float32)).T
    return kept


def scalars(vectors: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Every value rounded to a multiple of its vector's largest / steps."""
    scales = np.abs(vectors).max(axis=1, keepdims=True) / steps
    kept: NDArray[np.float32] = np.rint(vectors / scales) * scales
    return kept


def equal_shares(vectors: NDArray[np.float32], codes: int) -> NDArray[np.float32]:
    """In each dimension the sorted values are cut into `codes` equal shares, each kept as its mean."""
    kept = np.empty_like(vectors)
    for j in range(vectors.shape[1]):
        order = np.argsort(vectors[:, j], kind="stable")
        for share in np.array_split(order, codes):
            kept[share, j] = vectors[share, j].mean()
    return kept


def means(vectors: NDArray[np.float32], width: int, codes: int) -> NDArray[np.float32]:
    """Product quantisation with subspaces of `width` dimensions, k-means by faiss."""
    import faiss

    quantiser = faiss.ProductQuantizer(vectors.shape[1], vectors.shape[1] // width, int(np.log2(codes)))
    quantiser.cp.niter = 10
    quantiser.cp.min_points_per_centroid = 1
    quantiser.train(vectors)
    kept: NDArray[np.float32] = quantiser.decode(quantiser.compute_codes(vectors))
    return kept


if __name__ == "__main__":
    main()
