"""A fast `dataclasses.replace`, as every event makes several changed values."""

from collections.abc import Mapping
from dataclasses import fields as fields_of
from functools import cached_property
from typing import Any

_NOTHING: Mapping[str, frozenset[str]] = {}


class _FieldCounts(dict[type[Any], int]):
    """The number of fields of each class, counted once."""

    def __missing__(self, kind: type[Any]) -> int:
        count = self[kind] = len(fields_of(kind))
        return count


class _Dropped(dict[tuple[Any, ...], tuple[str, ...]]):
    """By class and names of changed fields: the cached properties to work out again."""

    def __missing__(self, key: tuple[Any, ...]) -> tuple[str, ...]:
        kind, *names = key
        unknown = set(names).difference(field.name for field in fields_of(kind))
        if unknown:
            raise TypeError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
        follows_from = getattr(kind, "FOLLOWS_FROM", _NOTHING)
        cached = {
            name
            for each in kind.__mro__
            for name, value in vars(each).items()
            if isinstance(value, cached_property)
        }
        kept = {
            name for name in cached & follows_from.keys() if follows_from[name].isdisjoint(names)
        }
        self[key] = tuple(sorted(cached - kept))
        return self[key]


_FIELD_COUNTS = _FieldCounts()
_DROPPED = _Dropped()
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
    if len(fields) != _FIELD_COUNTS[kind]:  # cached properties, or a name that is no field
        for name in _DROPPED[kind, *changes]:
            fields.pop(name, None)
    new = _new(kind)
    _set_attribute(new, "__dict__", fields)
    return new
