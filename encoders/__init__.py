"""Text in, vectors out: lexical, learned sparse and dense encoders."""
