"""A missing package is told with the extra that brings it."""

from __future__ import annotations

import pytest

from lexhound.core.errors import MissingExtraError
from lexhound.core.extras import extra


def test_a_missing_package_is_told_with_its_extra() -> None:
    with pytest.raises(MissingExtraError) as caught, extra("neural", "encoding with a model"):
        import lexhound_no_such_package.part  # type: ignore[import-not-found]  # noqa: F401
    error = caught.value
    assert error.message == "encoding with a model needs lexhound_no_such_package, which is not installed"
    assert error.hint == "pip install 'lexhound[neural]'"


def test_what_is_there_is_imported_and_other_errors_pass() -> None:
    with extra("neural", "this"):
        import json
    assert json.loads("1") == 1
    with pytest.raises(ZeroDivisionError), extra("neural", "this"):
        1 / 0  # noqa: B018
