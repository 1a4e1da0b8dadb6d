"""Cross-encoders: a model reads query and document together (Nogueira & Cho, "Passage Re-ranking with BERT", 2019).

Any cross-encoder of sentence-transformers with one output will do; that package runs it, on a GPU where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from lexhound.core.errors import first_line
from lexhound.core.extras import extra
from lexhound.encoders.checkpoints.hub import locate
from lexhound.encoders.errors import CheckpointError
from lexhound.encoders.text.subwords import encodable

BATCH = 16
"""Pairs that are read together."""
_MODELS = 2  # kept in this process
# Of a text, given to the tokenizer: models read some hundred tokens of it.
_CHARACTERS = 20_000
_AROUND = 8  # special tokens beside query and text, at most; no token is shorter than a byte


class CrossEncoder:
    """A cross-encoder of a folder, or of the Hugging Face hub; safe to use from several threads.

    Raises:
        MissingExtraError: sentence-transformers or torch is not installed.
        CheckpointError, UnknownEncoderError: there is no such model, it cannot be loaded, or has more than one output.
    """

    def __init__(self, model: str) -> None:
        with extra("rerank", "reranking"):
            import sentence_transformers
        located = locate(model)
        self.name = located.name
        self._lock = Lock()  # tokenizers are not to be used by two threads at a time
        try:
            # Only what is in the folder: no code of its own, and nothing from the network.
            self._model = sentence_transformers.CrossEncoder(str(located.folder), local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(
                f"the reranker {model} cannot be loaded: {first_line(error)}",
                "give the folder or the hub name of a cross-encoder of sentence-transformers",
            ) from error
        if self._model.num_labels != 1:
            raise CheckpointError(
                f"the model {model} has {self._model.num_labels} outputs, and a reranker has one",
                "give a cross-encoder that was trained for ranking, such as cross-encoder/ms-marco-MiniLM-L6-v2",
            )

    def scores(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return float64[texts]: how well each answers the query; scores of different models do not compare."""
        pairs = [(encodable(query), encodable(text[:_CHARACTERS])) for text in texts]
        if not pairs:
            return np.empty(0, np.float64)
        with self._lock:
            found = self._model.predict(pairs, batch_size=BATCH, show_progress_bar=False)
        return np.asarray(found, np.float64).reshape(len(pairs))

    def count_cut(self, query: str, texts: Sequence[str]) -> int:
        """Return how many texts, with the query before them, are longer than the model reads."""
        limit, query = self._model.max_seq_length, encodable(query)
        if limit is None:
            return sum(len(text) > _CHARACTERS for text in texts)
        room = limit - len(query.encode()) - _AROUND
        long = [encodable(text[:_CHARACTERS]) for text in texts if len(text.encode("utf-8", "replace")) > room]
        if not long:
            return 0
        with self._lock:
            read = self._model.tokenizer([query] * len(long), long, truncation=False, verbose=False)["input_ids"]
        return sum(len(tokens) > limit for tokens in read)


@lru_cache(_MODELS)
def open_cross_encoder(model: str) -> CrossEncoder:
    """Return a cross-encoder; the last two that were asked for stay loaded."""
    return CrossEncoder(model)
