"""Filter expressions over document metadata."""
