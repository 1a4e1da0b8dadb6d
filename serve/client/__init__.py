"""The Python client of the REST service."""
