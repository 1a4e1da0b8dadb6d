"""Reports: one HTML file that holds everything it needs and asks nothing of any network."""

from __future__ import annotations

from .page import render_comparison, render_evaluation

__all__ = ["render_comparison", "render_evaluation"]
