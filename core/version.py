"""The installed version of Lexhound."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("lexhound")
