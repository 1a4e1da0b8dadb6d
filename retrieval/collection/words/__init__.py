"""The words of a collection's documents: what a query's last word may become, and what a misspelt one was to be."""
