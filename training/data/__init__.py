"""Training data: files, pools, candidates, examples."""
