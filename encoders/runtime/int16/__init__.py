"""Transformers on processors with AVX2 alone: products of 16-bit integers, and a head that is multiplied in part."""
