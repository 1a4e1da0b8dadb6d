"""The table of exit codes knows every exception of every room."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

import lexhound.encoders
import lexhound.eval
import lexhound.index
import lexhound.retrieval
import lexhound.serve.cli
from lexhound.encoders.errors import EncoderError, SettingsError
from lexhound.eval.errors import EvaluationError
from lexhound.index.errors import CorruptFileError, IndexStorageError
from lexhound.retrieval.errors import BadRowError, NotACollectionError, QueryError, RetrievalError
from lexhound.serve.api.http.exceptions import ServiceError
from lexhound.serve.errors import EXIT_CODES, FAILED, USAGE, NotFoundError, UsageError, describe_failure

ROOTS = (EncoderError, IndexStorageError, RetrievalError, EvaluationError, UsageError, NotFoundError, ServiceError)


def family(kind: type[Exception]) -> set[type[Exception]]:
    found = {kind}
    for child in kind.__subclasses__():
        if not child.__name__.startswith("_"):  # those never leave their module
            found |= family(child)
    return found


def test_every_exception_has_an_exit_code() -> None:
    known = set().union(*map(family, ROOTS))
    assert len(known) > 25
    assert known == set(EXIT_CODES)
    assert set(EXIT_CODES.values()) == {FAILED, USAGE}


# Packages of extras without which some modules cannot be imported, and nothing needs them.
EXTRAS = {"triton"}


def test_every_exception_of_the_rooms_belongs_to_a_family() -> None:
    """Nothing that a room raises on purpose stands outside the trees, except what never leaves its module."""
    families = set().union(*map(family, ROOTS))
    for room in (lexhound.encoders, lexhound.index, lexhound.retrieval, lexhound.eval, lexhound.serve.cli):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            if module.name.endswith("__main__"):
                continue
            try:
                opened = importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                if error.name not in EXTRAS:
                    raise
                continue
            for value in vars(opened).values():
                if not (isinstance(value, type) and issubclass(value, Exception)):
                    continue
                if not value.__module__.startswith("lexhound.") or value.__name__.startswith("_"):
                    continue
                if value.__name__ == "Stopped":  # the user's own wish, told in its own way
                    continue
                assert value in families, f"{value.__module__}.{value.__name__}"


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
    del OtherError
    import gc

    gc.collect()  # so that no other test finds the class in the family
