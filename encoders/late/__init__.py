"""Late interaction: a text as some vectors of its tokens, and the score of a query's tokens against them."""
