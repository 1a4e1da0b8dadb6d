"""Filters and metadata drawn at random, that meet."""

from __future__ import annotations

from hypothesis import strategies as st

from lexhound.retrieval.filters import (
    And,
    Comparison,
    Exists,
    Membership,
    Not,
    Or,
)

# Few fields and values, so that documents and expressions meet; text from all of Unicode but surrogates.
FIELDS = ["year", "lang", "a", "a.b", "a.b.c", "über", "with blank", "in", "tick`ed", "", "a/", "a-b"]
numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63 - 1]),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, -2.5, 2.0**53, 9.223372036854775e18, 1e300, 5e-324]),
)
texts = st.one_of(
    st.sampled_from(["", "en", "de", "1", "a\0b", "a", "ß", "\U0001f600", "\uffff", "it's", 'say "x"', "\\", "\n"]),
    st.text(max_size=3),
)
scalars = st.one_of(numbers, texts, st.booleans(), st.none())
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["b", "c", "x"]), inner, max_size=2),
    max_leaves=5,
)
metadatas = st.dictionaries(st.sampled_from(FIELDS), values, max_size=4)
wanted = st.one_of(numbers, texts)
fields = st.sampled_from(FIELDS)
leaves = st.one_of(
    st.builds(Comparison, fields, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), wanted),
    st.builds(
        Membership,
        fields,
        st.lists(wanted, min_size=1, max_size=3, unique=True).map(tuple),
        st.booleans(),
    ),
    st.builds(Exists, fields),
)
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
