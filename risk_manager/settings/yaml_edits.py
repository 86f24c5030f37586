"""Edits of YAML text: an edit changes plain data, and the text changes where the data differs."""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from decimal import Decimal
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from risk_manager.settings.documents import Document, parse
from risk_manager.settings.yaml_text import YamlText
from risk_manager.settings.yaml_writing import is_same

Edit = Callable[[Any], None]
"""Changes the plain data of a file in place: mappings whose keys are text, lists and values."""

_BOM = "\ufeff"
_DECIMAL = re.compile(r"-?\d+\.\d+")


class EditRefused(Exception):
    """The edit cannot be made; the message is one line for a person."""


def read_data(name: str, text: str) -> Any:
    """Return the plain data of a file; an empty mapping for an empty one. Raises EditRefused."""
    document = Document(name)
    parse(document, text.encode())
    if document.problems:
        raise EditRefused(str(document.problems[0]))
    return {} if document.data is None else document.data


def edited(name: str, text: str, edit: Edit) -> str:
    """Return the text of a file after an edit, with all comments. Raises EditRefused.

    A result that would not read back as exactly what the edit made of the data is refused.
    """
    before = read_data(name, text)
    copies: dict[int, Any] = {}
    after = deepcopy(before, copies)
    edit(after)
    if is_same(before, after):
        return text
    lines = text.removeprefix(_BOM)
    found = text[: len(text) - len(lines)] + YamlText(lines, copies).changed(before, after)
    try:
        is_right = is_same(read_data(name, found), after)
    except EditRefused:
        is_right = False
    if not is_right:
        raise EditRefused(
            f"{name} is written in a way that cannot be changed safely here; edit it by hand"
        )
    return found


def value_of(text: str) -> Any:
    """Return the value written as a scalar or in one line of YAML. Raises EditRefused.

    A number with a point is a Decimal, which keeps the digits as they were given.
    """
    if _DECIMAL.fullmatch(text.strip()):
        return Decimal(text.strip())
    try:
        return _with_text_keys(YAML(typ="safe", pure=True).load(text))
    except (YAMLError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise EditRefused(f"{text!r} is not readable as a YAML value ({reason})") from None


def section(data: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a mapping in the data, made where it is missing."""
    if not isinstance(data.get(name), dict):
        data[name] = {}
    found: dict[str, Any] = data[name]
    return found


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value
