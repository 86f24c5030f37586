"""A frozen value with some fields changed, made quickly: every event makes a few."""

from typing import Any


def fast_replace[T](value: T, **changes: Any) -> T:
    """`dataclasses.replace` for frozen dataclasses without slots, at a tenth of its cost.

    It copies the fields at once and runs no `__init__`: only for values without
    `__post_init__`. Cached properties are not copied, as they follow from the old fields.
    TypeError for a name that is no field.
    """
    kind = type(value)
    fields = value.__dict__ | changes
    surplus = len(fields) - len(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    while surplus:  # what is no field stands last: cached properties, then unknown names
        name, _ = fields.popitem()
        if name in changes:
            raise TypeError(f"{kind.__name__} has no field {name}")
        surplus -= 1
    new = object.__new__(kind)
    object.__setattr__(new, "__dict__", fields)
    return new
