"""Latent terms: what a dense model knows of a text, as a sparse vector over the units of a sparse autoencoder."""
