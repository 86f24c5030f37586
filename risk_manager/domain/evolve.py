"""A frozen value with some fields changed, made quickly: every event makes a few."""

from typing import Any


def evolve[T](value: T, **changes: Any) -> T:
    """`dataclasses.replace` for frozen dataclasses without slots, at a tenth of its cost.

    It copies the fields at once and runs no `__init__`: only for values without
    `__post_init__`. TypeError for a name that is no field.
    """
    fields = value.__dict__
    if not changes.keys() <= fields.keys():
        raise TypeError(
            f"{type(value).__name__} has no field {sorted(changes.keys() - fields.keys())}"
        )
    new = object.__new__(type(value))
    new.__dict__.update(fields, **changes)
    return new
