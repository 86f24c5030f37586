"""A YAML text that is made to say other data: only the characters that must change do.

The places come from ruamel's composer. Where a change has no safe place it is not made, so the
caller reads the result back.
"""

import json
import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from itertools import pairwise, zip_longest
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from risk_manager.settings.yaml_writing import (
    block_lines,
    entry_lines,
    in_line,
    is_block,
    is_deep,
    is_same,
    item_lines,
)

_GAP_BEFORE_COMMENT = re.compile(r" {2,}(?=#)")
_COMMENT_AND_SPACE = re.compile(r" *(#[^\n]*)?\s*")
_LINE = re.compile(r"[^\n]*\n")


class YamlText:
    """A text, and the changes collected for it.

    `copies` has the list or mapping of the new data by the identity of the one in the old data that
    it was copied from (the memo of `deepcopy`). It tells a changed item of a list from a new one.
    """

    def __init__(self, text: str, copies: Mapping[int, Any]) -> None:
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._added = self._newline if text and not text.endswith("\n") else ""
        self._text = text + self._added
        self._copies = copies
        self._changes: list[tuple[int, int, str]] = []

    def changed(self, old: Any, new: Any) -> str:
        """Return the text with the new data in place of the old, which it says now."""
        root = YAML(typ="safe", pure=True).compose(self._text)
        if root is None:
            self._insert(len(self._text), block_lines(new, 0))
        else:
            self._value(root, old, new, None)
        result, at = [], 0
        for start, end, text in sorted(self._changes, key=lambda change: change[:2]):
            result += [self._text[at:start], text]
            at = end
        return "".join([*result, self._text[at:]]).removesuffix(self._added)

    # --- block style ---

    def _value(self, node: Node, old: Any, new: Any, key: Node | None) -> None:
        """Change a value: that of a key in block style, or without a key an item or the root."""
        if is_same(old, new):
            return
        if not (_is_block(node) and _are_alike(old, new)):
            self._rewrite(node, old, new, key)
        elif isinstance(node, MappingNode):
            self._mapping(node, old, new)
        elif isinstance(node, SequenceNode):
            self._sequence(node, old, new, key)

    def _rewrite(self, node: Node, old: Any, new: Any, key: Node | None) -> None:
        start, end = self._span(node)
        if key is None:
            if not _is_block(node):
                self._put_in_place(start, end, self._flow(node, old, new))
            return
        colon, column = self._colon(key), key.start_mark.column
        if _is_block(node):
            self._cut(self._line_below(colon), self._end(node))
        if _is_block(node) or start == end:  # nothing stands behind the colon
            start = end = colon
        is_flow = start != colon and bool(old) and isinstance(node, CollectionNode)
        if is_deep(new) and not is_deep(old) if is_flow else is_block(new, column):
            self._put_in_place(colon, end, "")
            self._insert(self._line_below(end), block_lines(new, column + 2))
        else:
            space = " " if start == colon else ""
            self._put_in_place(start, end, space + self._flow(node, old, new))

    def _mapping(self, node: MappingNode, old: dict[str, Any], new: dict[str, Any]) -> None:
        entries = {key.value: (key, value) for key, value in node.value}
        names = list(entries)
        for (name, (key, value)), follower in zip_longest(entries.items(), names[1:]):
            if name in new:
                self._value(value, old[name], new[name], key)
                continue
            until = entries[follower][0].start_mark.index if follower in new else None
            self._remove(key.start_mark.index, self._end_of_entry(key, value), until)
        place, column = names[-1], node.value[0][0].start_mark.column
        for name, value in new.items():
            if name in entries:
                place = name
            else:
                below = self._line_below(self._end_of_entry(*entries[place]))
                self._insert(below, entry_lines(name, value, column))

    def _sequence(
        self, node: SequenceNode, old: list[Any], new: list[Any], key: Node | None
    ) -> None:
        like, column = node.value[0], node.start_mark.column
        top = node.start_mark.index - column
        place = top if key is None else self._line_below(self._colon(key))
        for i, j in self._pairs(old, new):
            if i is not None:
                like = node.value[i]
                place = self._line_below(self._end(like))
                if j is not None and (not _is_block(like) or _is_changed_item(old[i], new[j])):
                    self._value(like, old[i], new[j], None)
                    continue
                dash = self._text.rfind("-", 0, like.start_mark.index)
                self._remove(dash, self._end(like), None)
            if j is not None:
                is_in_lines = _is_block(like) and isinstance(new[j], dict) and bool(new[j])
                gap = max(1, like.start_mark.column - column - 1) if is_in_lines else 1
                self._insert(place, item_lines(new[j], column, is_block=is_in_lines, gap=gap))

    def _pairs(
        self, old: list[Any], new: list[Any]
    ) -> Iterator[tuple[int, int | None] | tuple[None, int]]:
        """Yield the places of each item before and after; None where it is not there."""
        copied = {id(self._copies[id(x)]): repr(x) for x in old if id(x) in self._copies}
        before = [repr(item) for item in old]
        after = [copied.get(id(item), repr(item)) for item in new]
        matcher = SequenceMatcher(None, before, after, autojunk=False)
        for _, i1, i2, j1, j2 in matcher.get_opcodes():
            yield from zip_longest(range(i1, i2), range(j1, j2))

    # --- flow style ---

    def _flow(self, node: Node, old: Any, new: Any) -> str:
        """Return the new text of a scalar, or of a collection in flow style."""
        if is_same(old, new):
            start, end = self._span(node)
            return self._text[start:end]
        if isinstance(node, ScalarNode) and isinstance(new, str):
            if node.style == "'" and "'" not in new and new.isprintable():
                return f"'{new}'"
            if node.style == '"':
                return json.dumps(new, ensure_ascii=False)
        if _is_block(node) or not _are_alike(old, new) or not old:
            return in_line(new)
        if isinstance(node, MappingNode):
            spans = [(key.start_mark.index, self._span(value)[1]) for key, value in node.value]
            return self._joined(node, spans, list(self._flow_entries(node, old, new)))
        items = [
            (i, in_line(new[j]) if i is None else self._flow(node.value[i], old[i], new[j]))
            for i, j in self._pairs(old, new)
            if j is not None
        ]
        return self._joined(node, [self._span(item) for item in node.value], items)

    def _flow_entries(
        self, node: MappingNode, old: dict[str, Any], new: dict[str, Any]
    ) -> Iterator[tuple[int | None, str]]:
        places = {key.value: index for index, (key, _) in enumerate(node.value)}
        for name, item in new.items():
            if (index := places.get(name)) is None:
                yield None, in_line({name: item})[1:-1]
                continue
            key, value = node.value[index]
            start, end = self._span(value)
            if start == end and not is_same(old[name], item):
                yield index, self._text[slice(*self._span(key))] + ": " + in_line(item)
            else:
                yield (
                    index,
                    self._text[key.start_mark.index : start] + self._flow(value, old[name], item),
                )

    def _joined(
        self, node: Node, spans: list[tuple[int, int]], parts: list[tuple[int | None, str]]
    ) -> str:
        """Return a collection of these parts, each with its place among the old ones, if any."""
        (start, end), text = self._span(node), self._text
        between = [text[a:b] for (_, a), (b, _) in pairwise(spans)]
        edges = [text[start : spans[0][0]], text[spans[-1][1] : end]]
        is_shorter = bool(set(range(len(spans))) - {index for index, _ in parts})
        if is_shorter and "#" in "".join(edges + between):
            return text[start:end]  # which comment goes with a part is not known
        result = edges[0] + parts[0][1]
        for (before, _), (index, part) in pairwise(parts):
            if before is not None and index == before + 1:
                result += between[before] + part
            else:
                result += ", " + part
        return result + edges[1]

    # --- places ---

    def _put_in_place(self, start: int, end: int, new: str) -> None:
        """Put a text in place of another; a comment behind it keeps its column if it can."""
        gap = _GAP_BEFORE_COMMENT.match(self._text, end)
        if gap and "\n" not in self._text[start:end] + new:
            kept = len(gap[0]) - len(new) + end - start
            end, new = gap.end(), new + " " * max(2, kept)
        self._changes.append((start, end, new))

    def _insert(self, at: int, lines: list[str]) -> None:
        self._changes.append((at, at, "".join(line + self._newline for line in lines)))

    def _remove(self, start: int, end: int, follower: int | None) -> None:
        """Remove a key or an item; `follower` is the start of the key that stays below it."""
        if not self._text[self._text.rfind("\n", 0, start) + 1 : start].strip():
            self._cut(start, end)
        elif follower is not None and _COMMENT_AND_SPACE.fullmatch(self._text, end, follower):
            self._changes.append((start, follower, ""))  # it stood behind a dash

    def _cut(self, start: int, end: int) -> None:
        """Remove whole lines, but not the comments on lines of their own."""
        begin, below = self._text.rfind("\n", 0, start) + 1, self._line_below(end)
        kept, above = "", ""
        for line in _LINE.findall(self._text[begin:below]):
            column = len(line) - len(line.lstrip())
            if line[column : column + 1] != "#" or above[column : column + 1] == "#":
                above = line
            else:
                kept, above = kept + line, ""
        self._changes.append((begin, below, kept))

    def _line_below(self, at: int) -> int:
        """Return where the next line begins. A comment that goes on in its column is passed."""
        line = self._text.rfind("\n", 0, at) + 1
        below = self._text.find("\n", at) + 1
        comment = self._text.find("#", at, below)
        while comment >= 0 and self._text.startswith(" " * (comment - line) + "#", below):
            below = self._text.find("\n", below) + 1
        return below

    def _colon(self, key: Node) -> int:
        return self._text.find(":", key.end_mark.index) + 1

    def _span(self, node: Node) -> tuple[int, int]:
        start = int(node.start_mark.index)
        return start, max(start, len(self._text[: node.end_mark.index].rstrip()))

    def _end(self, node: Node) -> int:
        """Return the index behind the last character of a node, before comments that follow."""
        if _is_block(node) and isinstance(node, MappingNode):
            return self._end_of_entry(*node.value[-1])
        if _is_block(node):
            return self._end(node.value[-1])
        return self._span(node)[1]

    def _end_of_entry(self, key: Node, value: Node) -> int:
        is_empty = value.start_mark.index == value.end_mark.index
        return self._colon(key) if is_empty else self._end(value)


def _is_block(node: Node) -> bool:
    return isinstance(node, CollectionNode) and not node.flow_style


def _are_alike(old: Any, new: Any) -> bool:
    """Whether both are mappings, or both lists, with something in the new one."""
    return isinstance(new, dict | list) and bool(new) and type(old) is type(new)


def _is_changed_item(old: Any, new: Any) -> bool:
    """Whether an item is the old one changed: a mapping has one of its first two keys still."""
    is_other = isinstance(old, dict) and isinstance(new, dict) and not {*list(old)[:2]} & {*new}
    return _are_alike(old, new) and not is_other
