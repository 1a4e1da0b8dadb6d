"""Model folders: finding, reading, loading and saving them."""
