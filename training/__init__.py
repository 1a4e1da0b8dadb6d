"""Training document sides and query tables: recipes, losses, sparsity, data, and the loop."""
