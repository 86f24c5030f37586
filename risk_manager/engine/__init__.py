"""The engine: what must follow from what has happened. Pure: facts in, decisions out."""
