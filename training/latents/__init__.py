"""Training sparse autoencoders over the vectors of a frozen dense model."""
