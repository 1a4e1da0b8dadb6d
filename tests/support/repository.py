"""Folders of the repository that tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
CRANFIELD = SAMPLES / "cranfield"
# Collections that earlier versions made, and the dense encoder that some of them were made with.
GOLDEN = ROOT / "tests" / "golden"
TINY_LATE = ROOT / "tests" / "golden_models" / "tiny-late"
TINY_DENSE = ROOT / "tests" / "golden_models" / "tiny-dense"
