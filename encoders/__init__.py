"""Text in, sparse vectors out: lexical and neural encoders."""
