"""Training document encoders and query tables: recipes, losses, sparsity, data, and the loop."""
