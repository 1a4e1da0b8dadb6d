"""What is compiled is told once."""

from __future__ import annotations

from lexhound.core.compilation import compiling, on_compiling


def test_each_kind_is_told_once() -> None:
    told: list[tuple[str, int]] = []
    on_compiling(lambda what, seconds: told.append((what, seconds)))
    for what in ("search kernels", "search kernels", "kernels of encoders", "search kernels"):
        compiling(what, 10)
    assert told == [("search kernels", 10), ("kernels of encoders", 10)]


def test_the_latest_listener_is_told() -> None:
    before: list[str] = []
    after: list[str] = []
    on_compiling(lambda what, _: before.append(what))
    compiling("search kernels", 10)
    on_compiling(lambda what, _: after.append(what))
    compiling("search kernels", 10)
    assert (before, after) == (["search kernels"], ["search kernels"])
