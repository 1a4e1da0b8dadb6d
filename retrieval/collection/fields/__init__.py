"""The vector fields of a collection: how text becomes vectors, and which index keeps them."""
