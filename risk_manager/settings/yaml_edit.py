"""Changes single values of a YAML text and leaves every other character as the operator wrote it.

The places come from ruamel's composer. Every change is checked: the new text must read as the old
data with exactly that change.
"""

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from risk_manager.settings.documents import Document, Path_, parse

type Value = str | int | bool | Mapping[str, "Value"]

_PLAIN = re.compile(r"[A-Za-z/_~](?:[\w .@+/~-]|:(?=\S))*(?<! )")
_NOT_TEXT = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n", "~"})


class CannotEdit(Exception):
    """The file is written in a way that is not edited here. The message says what to do."""


class YamlEdit:
    """A YAML text under change. Raises CannotEdit, and then the text is as before."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"

    @property
    def data(self) -> Any:
        """The plain data of the text. Raises CannotEdit if it cannot be read."""
        return _data_of(self.name, self.text)

    # --- changes ---

    def set(self, path: Path_, value: Value) -> None:
        """Set the value of a key. A missing key is added to its mapping, which may be missing."""
        parent, key = path[:-1], path[-1]
        if parent and self._find(parent) is None:
            return self.set(parent, {str(key): value})
        expected = deepcopy(self.data)
        if expected is None:
            expected = {}
        _at(expected, parent)[key] = _plain(value)
        node = self._find(path)
        if node is not None:
            text = self._with_value(node, value)
        else:
            text = self._with_key(self._find(parent), str(key), value)
        return self._take(text, expected)

    def remove(self, path: Path_) -> None:
        """Remove a key of a mapping, or an item of a list, with the comments on its own lines."""
        expected = deepcopy(self.data)
        del _at(expected, path[:-1])[path[-1]]
        parent = self._find(path[:-1])
        if isinstance(parent, MappingNode):
            spans = [(k.start_mark.index, _end(v)) for k, v in parent.value]
            index = next(i for i, (k, _) in enumerate(parent.value) if k.value == path[-1])
        elif isinstance(parent, SequenceNode):
            spans = [(item.start_mark.index, _end(item)) for item in parent.value]
            index = int(path[-1])
        else:
            raise self._by_hand()
        self._take(self._without(spans, index, is_flow=bool(parent.flow_style)), expected)

    def append(self, path: Path_, item: Mapping[str, Value]) -> None:
        """Add an item to the end of a list, in the style of the item before it."""
        expected = deepcopy(self.data)
        _at(expected, path).append(_plain(item))
        node = self._find(path)
        if not isinstance(node, SequenceNode):
            raise self._by_hand()
        if node.flow_style:
            text = self._into_flow(node, _flow(item))
        else:
            last = node.value[-1]
            dash = " " * node.start_mark.column + "-"
            if isinstance(last, MappingNode) and not last.flow_style:
                gap = last.start_mark.column - node.start_mark.column - 1
                between = self._newline + " " * last.start_mark.column
                lines = between.join(f"{k}: {_written(v)}" for k, v in item.items())
                line = dash + " " * gap + lines
            else:
                line = f"{dash} {_flow(item)}"
            text = self._with_line(_end(node), line)
        self._take(text, expected)

    # --- texts ---

    def _with_value(self, node: Node, value: Value) -> str:
        start, end = node.start_mark.index, _end(node)
        style = node.style if isinstance(node, ScalarNode) else None
        if isinstance(value, str) and style == "'" and "'" not in value and value.isprintable():
            new = f"'{value}'"
        elif isinstance(value, str) and style == '"':
            new = json.dumps(value, ensure_ascii=False)
        else:
            new = _written(value)
        if start == end:  # `key:` without a value, whose place is before the next word
            start = end = len(self.text[:start].rstrip())
            new = f" {new}"
        rest = self.text[end:]
        spaces = len(rest) - len(rest.lstrip(" "))
        if spaces > 1 and rest[spaces : spaces + 1] == "#":  # a comment keeps its column
            kept = max(1, spaces - (len(new) - (end - start)))
            rest = " " * kept + rest[spaces:]
        return self.text[:start] + new + rest

    def _with_key(self, parent: Node | None, key: str, value: Value) -> str:
        entry = f"{key}: {_written(value)}"
        if parent is None:  # an empty file
            return self._with_line(len(self.text), self._block(0, key, value))
        if isinstance(parent, ScalarNode):
            return self._with_value(parent, {key: value})
        if not isinstance(parent, MappingNode):
            raise self._by_hand()
        if parent.flow_style:
            return self._into_flow(parent, entry)
        column = parent.value[0][0].start_mark.column
        return self._with_line(_end(parent), self._block(column, key, value))

    def _block(self, column: int, key: str, value: Value) -> str:
        """Return a key in block style, and a mapping below it with two more spaces."""
        indent = " " * column
        if not isinstance(value, Mapping):
            return f"{indent}{key}: {_written(value)}"
        lines = [self._block(column + 2, k, v) for k, v in value.items()]
        return self._newline.join([f"{indent}{key}:", *lines])

    def _into_flow(self, node: MappingNode | SequenceNode, entry: str) -> str:
        if not node.value:
            at = node.start_mark.index + 1
            return self.text[:at] + entry + self.text[at:]
        last = node.value[-1]
        at = _end(last[1] if isinstance(last, tuple) else last)
        return f"{self.text[:at]}, {entry}{self.text[at:]}"

    def _with_line(self, after: int, line: str) -> str:
        """Return the text with a line after the one that contains an index."""
        end = self.text.find("\n", after)
        if end >= 0:
            return self.text[: end + 1] + line + self._newline + self.text[end + 1 :]
        gap = self._newline if self.text and not self.text.endswith("\n") else ""
        return self.text + gap + line + self._newline

    def _without(self, spans: list[tuple[int, int]], index: int, *, is_flow: bool) -> str:
        start, end = spans[index]
        if is_flow:
            if index > 0:
                start = spans[index - 1][1]
            elif len(spans) > 1:
                end = spans[1][0]
            return self.text[:start] + self.text[end:]
        start = self.text.rfind("\n", 0, start) + 1
        after = self.text.find("\n", end)
        return self.text[:start] + ("" if after < 0 else self.text[after + 1 :])

    # --- places and checks ---

    def _find(self, path: Path_) -> Node | None:
        """Return the node at a path; None if there is none."""
        node: Node | None = YAML(typ="safe", pure=True).compose(self.text)
        for part in path:
            if isinstance(node, MappingNode):
                node = next((v for k, v in node.value if k.value == str(part)), None)
            elif isinstance(node, SequenceNode) and isinstance(part, int):
                node = node.value[part] if part < len(node.value) else None
            else:
                return None
        return node

    def _take(self, text: str, expected: Any) -> None:
        try:
            is_right = _data_of(self.name, text) == expected
        except CannotEdit:
            is_right = False
        if not is_right:
            raise self._by_hand()
        self.text = text

    def _by_hand(self) -> CannotEdit:
        return CannotEdit(
            f"{self.name} is written in a way that this command cannot change safely; edit it by "
            "hand, then run: risk-manager admin config reload"
        )


def _data_of(name: str, text: str) -> Any:
    document = Document(name)
    parse(document, text.encode())
    if document.problems:
        raise CannotEdit(str(document.problems[0]))
    return document.data


def _at(data: Any, path: Path_) -> Any:
    for part in path:
        below = data.get(part) if isinstance(data, dict) else data[part]
        if below is None and isinstance(data, dict):
            below = data[part] = {}
        data = below
    return data


def _end(node: Node) -> int:
    """Return the index after the last character of a node; comments that follow are not part."""
    if isinstance(node, MappingNode | SequenceNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _plain(value: Value) -> Any:
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def _flow(item: Mapping[str, Value]) -> str:
    return "{" + ", ".join(f"{key}: {_written(value)}" for key, value in item.items()) + "}"


def _written(value: Value) -> str:
    """Return a value as YAML; a text is quoted where it could be read as something else."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            is_plain = _PLAIN.fullmatch(value) and value.casefold() not in _NOT_TEXT
            return value if is_plain else json.dumps(value, ensure_ascii=False)
    return _flow(value)
