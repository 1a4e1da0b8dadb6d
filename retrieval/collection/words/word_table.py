"""Tables of the words of documents, and how many documents have each.

A table is made of the texts of the very documents that may be told of: those that are live, pass the filter and belong
to who asks. It is kept under a digest of their internal ids, which are never used again. So no word of other documents
can come into it, and what has been deleted is in no table of a later state.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexhound.encoders.text.tokenizer import surface_tokens
from lexhound.retrieval.collection.query.row_filter import rows_passing
from lexhound.retrieval.deadline import check_deadline

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from lexhound.retrieval.collection.query.snapshot import Snapshot

SAMPLED_DOCUMENTS = 10_000
"""Documents whose words are counted, at most, evenly spread over all: some seconds, once for each state."""
CHARACTERS, TEXT_CHARACTERS = 30_000_000, 2_000
"""Of all sampled texts together, how many are read; of each at least the second, whatever their number."""
MAX_WORD = 40
_KEPT_WORDS = 2_000_000  # of all tables together, about 100 bytes each
_ROWS_AT_ONCE = 500
_LETTER = re.compile(r"[^\W\d_]")
# Scripts without blanks between words: a run of them is no word.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True, slots=True, eq=False)
class WordTable:
    """Words in ascending order, and int32[words]: how many of the documents have each.

    Attributes:
        whole: whether all documents were read, and not a sample of them.
    """

    words: list[str]
    counts: NDArray[np.int32]
    whole: bool

    def count(self, word: str) -> int:
        """Return how many documents have a word."""
        place = bisect_left(self.words, word)
        return int(self.counts[place]) if place < len(self.words) and self.words[place] == word else 0

    def beginning(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the words that begin with a prefix, with their counts."""
        first, end = bisect_left(self.words, prefix), bisect_left(self.words, prefix + "\U0010ffff")
        return zip(self.words[first:end], self.counts[first:end].tolist(), strict=True)


class WordTables:
    """The tables that were made last; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._tables: OrderedDict[bytes, WordTable] = OrderedDict()

    def of(self, snapshot: Snapshot, filter: str | None, *, allow_unknown_fields: bool = False) -> list[WordTable]:
        """Return the tables of the documents that a search with this filter may find, one a part of the snapshot.

        Raises:
            FilterSyntaxError, UnknownFieldError: as for a search. DeadlineError: the time for it is over.
        """
        masks = rows_passing(snapshot, filter, allow_unknown_fields=allow_unknown_fields)
        parts = []
        for view, mask in zip(snapshot.segments, masks, strict=True):
            rows = view.first_passages(np.ones(view.segment.n_rows, np.bool_) if mask is None else mask)
            parts.append(view.segment.internal_ids[rows])
        total = sum(map(len, parts))
        share = min(1.0, SAMPLED_DOCUMENTS / total) if total else 1.0
        # A power of two, so that tables are not made anew whenever there is one more document.
        longest = max(TEXT_CHARACTERS, 1 << (CHARACTERS // max(1, min(total, SAMPLED_DOCUMENTS))).bit_length() - 1)
        return [self._table(snapshot, part, share, longest) for part in parts if len(part)]

    def _table(self, snapshot: Snapshot, internal_ids: NDArray[np.int64], share: float, longest: int) -> WordTable:
        if share < 1:
            places = np.linspace(0, len(internal_ids) - 1, max(1, int(len(internal_ids) * share))).astype(np.int64)
            internal_ids = internal_ids[places]
        key = blake2b(internal_ids.tobytes(), digest_size=16, key=f"{share == 1} {longest}".encode()).digest()
        with self._lock:  # one thread counts, the others wait for what it comes to
            table = self._tables.get(key)
            if table is None:
                with snapshot.reading() as connection:
                    table = count_words(_texts(connection, internal_ids.tolist(), longest), whole=share == 1)
                self._tables[key] = table
                while sum(len(each.words) for each in self._tables.values()) > _KEPT_WORDS and len(self._tables) > 1:
                    self._tables.popitem(last=False)
            self._tables.move_to_end(key)
        return table


def count_words(texts: Iterable[str], *, whole: bool = True) -> WordTable:
    """Return the words of texts, in lower case, and in how many of them each is."""
    counted: Counter[str] = Counter()
    for text in texts:
        counted.update(_tokens(text))
    words = sorted(filter(is_word, counted))
    return WordTable(words, np.fromiter((counted[word] for word in words), np.int32, len(words)), whole)


def words_of(text: str) -> list[str]:
    """Return the distinct words of a text in lower case: letters and digits, a letter among them, of spaced scripts."""
    return sorted(filter(is_word, _tokens(text)))


def _tokens(text: str) -> set[str]:
    """Return the distinct surface tokens of a text in lower case, without quotation marks around them."""
    tokens = set(surface_tokens(text))
    if not text.isascii():  # otherwise they are in lower case already
        tokens = {token.lower().strip("'\u2019") for token in tokens}
    elif "'" in text:
        tokens = {token.strip("'") for token in tokens}
    return tokens


def is_word(token: str) -> bool:
    """Return whether a surface token is a word that people type and read."""
    return 1 < len(token) <= MAX_WORD and _LETTER.search(token) is not None and _UNSPACED.search(token) is None


def _texts(connection: sqlite3.Connection, internal_ids: list[int], longest: int) -> Iterator[str]:
    for start in range(0, len(internal_ids), _ROWS_AT_ONCE):
        check_deadline()
        chunk = internal_ids[start : start + _ROWS_AT_ONCE]
        marks = ",".join("?" * len(chunk))
        for title, text in connection.execute(f"SELECT title, text FROM contents WHERE seq IN ({marks})", chunk):
            yield f"{title or ''}\n{text or ''}"[:longest]
