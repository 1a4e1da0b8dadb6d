"""Lexhound: a learned sparse retrieval search engine. The folders beside this file are links to the rooms."""
