"""The ground floor: files, locks, rows of text and errors. It imports nothing else of Lexhound."""
