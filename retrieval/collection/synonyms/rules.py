"""Rules of synonyms, as people write them, and as a collection keeps them.

`car, automobile, motor car` are words that stand for each other; `tv => television` lets a query for `tv` find
`television` too, and not the other way round. A line of a file is a rule; empty lines, and what follows a `#` at the
beginning of a line, are passed over. (Solr and Elasticsearch have the same form; there a word on the left of an arrow
is replaced, and here it is kept.)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from lexhound.retrieval.collection.store.properties import read_property, write_property
from lexhound.retrieval.errors import CorruptCollectionError, QueryError

MAX_RULES, MAX_RULE_CHARACTERS, MAX_WORDS = 10_000, 2_000, 50
_NAME = "synonyms"
_ARROW = "=>"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: each of `words`, in a query, brings those of `others` that it is not itself.

    Attributes:
        text: the rule as it was written, blanks made one.
    """

    words: tuple[str, ...]
    others: tuple[str, ...]
    text: str


def parse_rules(lines: Iterable[str]) -> tuple[Rule, ...]:
    """Return the rules of lines.

    Raises:
        QueryError: a line is no rule, or they are too many; says which line.
    """
    rules = []
    for number, line in enumerate(lines, 1):
        text = " ".join(line.split())
        if text and not text.startswith("#"):
            rules.append(_parse(text, f"rule {number}"))
    if len(rules) > MAX_RULES:
        raise QueryError(f"there are {len(rules):,} rules of synonyms", hint=f"at most {MAX_RULES:,} are kept")
    return tuple(rules)


def rules_for(lines: Iterable[str], *, lexical: bool) -> tuple[Rule, ...]:
    """Return the rules of lines, for a collection whose encoder is BM25 (`lexical`).

    Raises:
        QueryError: as `parse_rules`; or the encoder is another.
    """
    parsed = parse_rules(lines)
    if not lexical:
        raise QueryError(
            "synonyms are for the words of BM25, and the collection's encoder is learned: it brings its own",
            hint="leave them out, or index the corpus with the encoder bm25",
        )
    return parsed


def read_rules(connection: sqlite3.Connection) -> tuple[Rule, ...]:
    """Return the rules that a collection keeps.

    Raises:
        CorruptCollectionError: what is kept is not rules.
    """
    kept = read_property(connection, _NAME)
    if kept is None:
        return ()
    try:
        return parse_rules(orjson.loads(kept))
    except (orjson.JSONDecodeError, TypeError, AttributeError, QueryError) as error:
        raise CorruptCollectionError(
            f"damaged: the synonyms that it keeps cannot be read ({error})",
            hint="replace them: lexhound synonyms COLLECTION FILE",
        ) from error


def write_rules(connection: sqlite3.Connection, rules: tuple[Rule, ...]) -> None:
    """Keep rules in the place of those that were kept, or none; inside the caller's transaction."""
    write_property(connection, _NAME, orjson.dumps([rule.text for rule in rules]).decode() if rules else None)


def _parse(text: str, where: str) -> Rule:
    if len(text) > MAX_RULE_CHARACTERS:
        raise QueryError(f"{where} has {len(text):,} characters", hint=f"at most {MAX_RULE_CHARACTERS:,} are allowed")
    left, arrow, right = text.partition(_ARROW)
    words, others = _words(left), _words(right) if arrow else _words(left)
    if _ARROW in right or not words or not others or (not arrow and len(words) < 2):
        raise QueryError(
            f"{where} is {text[:60]!a}, which is no rule of synonyms",
            hint="write words that stand for each other as `car, automobile`, one way as `tv => television`",
        )
    if len(words) + len(others) > 2 * MAX_WORDS:
        raise QueryError(f"{where} has more than {MAX_WORDS} words", hint="divide it")
    return Rule(words, others, text)


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in map(str.strip, text.split(",")) if word))
