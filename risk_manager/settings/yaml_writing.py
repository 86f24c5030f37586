"""Values as they stand in YAML text: in one line, or in block style."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode

_LONGEST_LINE = 80
_TEXT = "tag:yaml.org,2002:str"
_PLAIN = re.compile(r"(?:[A-Za-z/_~](?:[\w .@+/~-]|:(?=\S))*|\d[\w .%+-]*)(?<! )")
_PLAIN_KEY = re.compile(r"\w[\w.-]*")
# Text to this program; other YAML readers take these words as true, false or null.
_NOT_TEXT_FOR_ALL = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n", "~"})
_RESOLVER = YAML(typ="safe", pure=True).resolver


def in_line(value: Any) -> str:
    """Return a value in one line. A text is quoted where it could be read as something else."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value, "f")
        case str():
            return value if _is_plain(value) else json.dumps(value, ensure_ascii=False)
        case Mapping():
            return "{" + ", ".join(f"{_key(k)}: {in_line(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(in_line, value)) + "]"
    return str(value)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values say the same in a file: 1 is not true, and the order of keys is free."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    one, other = (float(x) if isinstance(x, Decimal) else x for x in (one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def is_deep(value: Any) -> bool:
    """Whether there is a list of mappings or lists in it, which is not readable in one line."""
    if isinstance(value, Mapping):
        return any(map(is_deep, value.values()))
    return isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value)


def is_block(value: Any, column: int) -> bool:
    """Whether the value of a key in this column is written in lines below the key."""
    if not value or not isinstance(value, Mapping | list):
        return False
    is_section = column == 0 and isinstance(value, Mapping)
    return is_section or is_deep(value) or len(in_line(value)) > _LONGEST_LINE


def entry_lines(key: str, value: Any, column: int) -> list[str]:
    """Return the lines of a key and its value in block style."""
    start = " " * column + _key(key) + ":"
    if is_block(value, column):
        return [start, *block_lines(value, column + 2)]
    return [f"{start} {in_line(value)}"]


def block_lines(value: Any, column: int) -> list[str]:
    """Return the lines of a mapping or list in block style."""
    if isinstance(value, Mapping):
        return [line for key, item in value.items() for line in entry_lines(key, item, column)]
    return [
        line
        for item in value
        for line in item_lines(item, column, is_block=is_block(item, column + 2))
    ]


def item_lines(item: Any, column: int, *, is_block: bool, gap: int = 1) -> list[str]:
    """Return the lines of an item of a list, with so many spaces behind its dash."""
    dash = " " * column + "-" + " " * gap
    if not is_block:
        return [dash + in_line(item)]
    first, *others = block_lines(item, len(dash))
    return [dash + first.lstrip(), *others]


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _is_plain(text: str) -> bool:
    return (
        _PLAIN.fullmatch(text) is not None
        and text.casefold() not in _NOT_TEXT_FOR_ALL
        and _RESOLVER.resolve(ScalarNode, text, (True, False)) == _TEXT
    )
