"""Vectors in, ranked rows out: the inverted index, its files and its kernels."""
