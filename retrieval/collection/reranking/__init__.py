"""Hits put in a new order by a model that reads query and document together."""
