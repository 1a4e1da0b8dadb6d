"""The shapes of answers about the service itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Told


class Alive(Told):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Told):
    """Searches are answered."""

    status: Literal["ready"]
    damaged: int = Field(description="Collections that are damaged, so that searches of them are refused.")
