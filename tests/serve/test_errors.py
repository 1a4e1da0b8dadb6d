"""How exceptions end commands and requests."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
from our_exceptions import our_exceptions

from lexhound.core.errors import FAILED, USAGE, LexhoundError
from lexhound.encoders.errors import SettingsError
from lexhound.index.errors import CorruptFileError
from lexhound.retrieval.errors import BadRowError, FilterSyntaxError, NotACollectionError, QueryError
from lexhound.serve.errors import describe_failure

# How each exception ends a command and a request. A new one is put here on purpose.
DELIBERATE = {
    (FAILED, 400): "Array BadRow Cell Corpus FrontMatter InvalidDocument Office OpenSearch Request Row",
    (FAILED, 403): "Access",
    (FAILED, 404): "NotACollection NotFound UnknownAlias UnknownName UnknownTenant",
    (FAILED, 409): "Alias CollectionExists Conflict UnfinishedRun",
    (FAILED, 413): "TooLarge",
    (FAILED, 415): "MediaType",
    (FAILED, 429): "Busy",
    (FAILED, 500): (
        "Api Checkpoint Client Cluster Collection Comparison CorruptFile Dataset DenseIndex Download Encoder Evaluation"
        " Export Identity IndexStorage Lexhound MissingEngine MissingExtra Retrieval RunFormat Service Storage Training"
        " TrainingData Tuning UnfitSystem Unreachable UnsupportedFormat VectorFile"
    ),
    (FAILED, 503): (
        "CollectionGone CollectionLocked CorruptCollection Engine EngineUnreachable NewerFormat ReadOnly StaleSnapshot"
        " Unavailable"
    ),
    (FAILED, 504): "Deadline",
    (FAILED, 507): "StorageFull",
    (USAGE, 400): "FilterSyntax Language Query Settings Tenant TenantRequired UnknownField Unsupported Usage",
    (USAGE, 500): "Measure UnknownAddress UnknownDataset",
    (FAILED, 400, "not a usage error: the hub may be away"): "UnknownEncoder",
}
TOLD = (
    "CollectionExists CollectionGone CollectionLocked CorruptCollection Deadline Engine EngineUnreachable NewerFormat"
    " NotACollection ReadOnly StaleSnapshot StorageFull UnfinishedRun"
)


def test_every_exception_has_deliberate_values() -> None:
    expected = {name: values[:2] for values, names in DELIBERATE.items() for name in names.split()}
    exceptions = our_exceptions()
    assert {name: (kind.exit_code, kind.http_status) for name, kind in exceptions.items()} == expected
    assert {name for name, kind in exceptions.items() if kind.public is not None} == set(TOLD.split())
    for name, kind in exceptions.items():
        assert not kind.public or "/srv" not in kind.public.message + kind.public.hint, name


def test_exceptions_survive_pickling_and_copying() -> None:
    for error in (
        NotACollectionError("it is none", where="x", hint="look"),
        CorruptFileError(Path("a/b.bin"), "too short"),
        FilterSyntaxError("what is this", "a = =", 4, hint="see docs/filters.md"),
    ):
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301  our own bytes
            assert type(again) is type(error)
            assert str(again) == str(error)
            assert vars(again) == vars(error)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LexhoundError("it is none"), "it is none"),
        (LexhoundError("it is none", "look here"), "it is none. Look here."),
        (LexhoundError("it is none", "pip install 'x'", where="a"), "a: it is none. pip install 'x'."),
        (LexhoundError("it is none", "", where="a"), "a: it is none"),
        (LexhoundError("it is none", "is it there?"), "it is none. Is it there?"),
    ],
)
def test_text_of_an_error(error: LexhoundError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            NotACollectionError("it is none", where="x", hint="look"),
            ("not_a_collection", "it is none", "x", "look", FAILED),
        ),
        (BadRowError("no id", where="c.jsonl, line 3"), ("bad_row", "no id", "c.jsonl, line 3", None, FAILED)),
        (QueryError("k is 0"), ("query", "k is 0", None, None, USAGE)),
        (SettingsError("b is 2", "0 to 1"), ("settings", "b is 2", None, "0 to 1", USAGE)),
        (
            CorruptFileError(Path("a/b.bin"), "too short"),
            (
                "corrupt_file",
                "a/b.bin: too short",
                None,
                "the file is damaged: restore it or build the index again",
                FAILED,
            ),
        ),
        (FileNotFoundError(2, "No such file", "ids"), ("system", "No such file", "ids", None, FAILED)),
    ],
)
def test_what_is_told(error: Exception, expected: tuple[object, ...]) -> None:
    failure = describe_failure(error)
    assert failure is not None
    assert (failure.code, failure.message, failure.where, failure.hint, failure.exit_code) == expected
    assert failure.to_json()["error"]["message"] == expected[1]


def test_an_unknown_child_is_told_as_its_parent_and_the_rest_is_unexpected() -> None:
    class OtherError(QueryError):
        pass

    failure = describe_failure(OtherError("x"))
    assert failure is not None
    assert failure.exit_code == USAGE
    assert describe_failure(ZeroDivisionError("x")) is None
