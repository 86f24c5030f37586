"""A fast `dataclasses.replace`, as every event makes several changed values."""

from collections.abc import Mapping
from dataclasses import fields as fields_of
from typing import Any

_NOTHING: Mapping[str, frozenset[str]] = {}


class _FieldCounts(dict[type[Any], int]):
    """The number of fields of each class, counted once."""

    def __missing__(self, kind: type[Any]) -> int:
        count = self[kind] = len(fields_of(kind))
        return count


_FIELD_COUNTS = _FieldCounts()
_new = object.__new__
_set_attribute = object.__setattr__


def fast_replace[T](value: T, **changes: Any) -> T:
    """`dataclasses.replace` for frozen dataclasses without slots, at a tenth of its cost.

    It copies the fields without running `__init__`, so it is only for classes without
    `__post_init__`. A cached property is dropped, unless `FOLLOWS_FROM` of the class says that all
    the fields it is derived from stay unchanged. Raises TypeError for a name that is no field.
    """
    kind = type(value)
    fields = value.__dict__ | changes
    surplus = len(fields) - _FIELD_COUNTS[kind]
    if surplus:
        follows_from = getattr(kind, "FOLLOWS_FROM", _NOTHING)
        kept = {}
        while surplus:  # entries that are no fields come last: cached properties, unknown names
            name, worked_out = fields.popitem()
            if name in changes:
                raise TypeError(f"{kind.__name__} has no field {name}")
            if name in follows_from and follows_from[name].isdisjoint(changes):
                kept[name] = worked_out
            surplus -= 1
        fields |= kept
    new = _new(kind)
    _set_attribute(new, "__dict__", fields)
    return new
