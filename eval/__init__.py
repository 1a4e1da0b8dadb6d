"""Data sets, runs, measures, significance and reports."""
