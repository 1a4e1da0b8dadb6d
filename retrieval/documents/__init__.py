"""Documents: text, metadata, vectors they bring, snippets."""
