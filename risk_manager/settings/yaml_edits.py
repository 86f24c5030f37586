"""Edits of YAML text that keep the comments and the layout of everything they do not touch."""

import io
import re
from collections import Counter
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, YAMLError
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from ruamel.yaml.tokens import CommentToken

from risk_manager.settings.documents import CLOCK, Document, parse

Edit = Callable[[Any], None]
"""Changes the data of a file in place: mappings, lists and values, however they are kept."""


class EditRefused(Exception):
    """The edit cannot be made; the message is one line for a person."""


class _Representer(RoundTripRepresenter):
    """Writes a null as `null`; the default writes nothing."""


_Representer.add_representer(
    type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null")
)


def edited(name: str, text: str, edit: Edit) -> str:
    """Return the text of a file after an edit. Raises EditRefused.

    The edit is also made on the plain data of the file, and both results must agree: an edit that
    reads back as anything else is refused.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n")
    untouched, data = _dumped(lines, _nothing), _read(name, lines)
    edit(data)
    after = _dumped(lines, edit)
    for result in (_in_layout_of(lines, untouched, after), after):
        if _reads_as(name, result, data):
            kept = result.replace("\n", "\r\n") if "\r\n" in text else result
            return "\ufeff" + kept if text.startswith("\ufeff") else kept
    raise EditRefused(f"{name} cannot be edited here without changing more; edit it by hand")


def value_of(text: str) -> Any:
    """Return the value written as a scalar or in one line of YAML. Raises EditRefused."""
    try:
        found = YAML(typ="rt", pure=True).load(text)
    except (YAMLError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise EditRefused(f"{text!r} is not readable as a YAML value ({reason})") from None
    return in_one_line(found)


def in_one_line(value: Any) -> Any:
    """Return a value in flow style, with times quoted as every YAML reader needs them."""
    if isinstance(value, Mapping):
        result = CommentedMap({key: in_one_line(item) for key, item in value.items()})
        result.fa.set_flow_style()
        return result
    if isinstance(value, list | tuple):
        items = CommentedSeq([in_one_line(item) for item in value])
        items.fa.set_flow_style()
        return items
    if isinstance(value, str) and CLOCK.fullmatch(value):
        return DoubleQuotedScalarString(value)
    return value


def key_in(mapping: Any, name: str | int) -> Any:
    """Return the key as it stands in a mapping, where 101 may be text; `name` if missing."""
    return next((key for key in mapping if str(key) == str(name)), name)


def put(mapping: Any, name: str | int, value: Any, *, after: tuple[str, ...] = ()) -> None:
    """Set a key. A new one goes behind the last of the keys `after`, or at the end."""
    key = key_in(mapping, name)
    if key in mapping or not isinstance(mapping, CommentedMap):
        mapping[key] = value
        return
    keys = list(mapping)
    places = [keys.index(k) + 1 for k in after if k in keys]
    place = max(places, default=len(keys))
    below = _take_lines_below(mapping, keys[place - 1]) if keys and place == len(keys) else None
    mapping.insert(place, key, value)
    if below is not None:
        _put_lines_below(mapping, key, below)


def append(items: Any, item: Mapping[str, Any]) -> None:
    """Add a mapping to a list. Comments below the list stay below it."""
    made = CommentedMap({key: in_one_line(value) for key, value in item.items()})
    below = None
    if isinstance(items, CommentedSeq) and items and not items.fa.flow_style():
        below = _take_lines_below(items, len(items) - 1)
    items.append(made)
    if below is not None:
        _put_lines_below(items, len(items) - 1, below)


def drop(mapping: Any, name: str | int) -> None:
    """Remove a key, and the comment on its line. Comments below it stay."""
    key = key_in(mapping, name)
    if key not in mapping:
        return
    if isinstance(mapping, CommentedMap):
        keys = list(mapping)
        place = keys.index(key)
        below = _take_lines_below(mapping, key)
        if below is not None and place > 0:
            _put_lines_below(mapping, keys[place - 1], below)
    del mapping[key]


# --- text -----------------------------------------------------------------------------------------


def _nothing(_: Any) -> None:
    pass


def _read(name: str, text: str) -> Any:
    document = Document(name)
    parse(document, text.encode())
    if document.problems:
        raise EditRefused(str(document.problems[0]))
    return document.data


def _dumped(text: str, edit: Edit) -> str:
    yaml = YAML(typ="rt", pure=True)
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 100_000
    offset = _list_offset(text)
    yaml.indent(mapping=2, sequence=2 + offset, offset=offset)
    try:
        data = yaml.load(text)
    except YAMLError as error:
        raise EditRefused(str(error).partition("\n")[0]) from None
    edit(data)
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def _list_offset(text: str) -> int:
    """Return by how much the file indents the lists of its top level."""
    found = re.search(r"^\w[^\n]*:[^\n]*\n(?:[ ]*(?:#[^\n]*)?\n)*( *)- ", text, re.MULTILINE)
    return len(found[1]) if found else 2


def _in_layout_of(original: str, untouched: str, after: str) -> str:
    """Return `after` with the lines that the edit left alone as they are in the original.

    Comments on lines of their own stay too: ruamel keeps them with the value above them, and drops
    them with it.
    """
    lost = Counter(_comments(original)) - Counter(_comments(after))
    ours, plain, new = (t.splitlines(keepends=True) for t in (original, untouched, after))
    place_of = _places(plain, ours)
    result: list[str] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, plain, new, autojunk=False).get_opcodes():
        begin, end = place_of.get(i1), place_of.get(i2)
        if begin is None or end is None:
            return after
        if tag == "equal":
            result += ours[begin:end]
            continue
        for comment in _comments("".join(ours[begin:end])):
            if lost[comment]:
                lost[comment] -= 1
                result.append(comment + "\n")
        result += new[j1:j2]
    return "".join(result)


def _comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.lstrip().startswith("#")]


def _places(plain: list[str], ours: list[str]) -> dict[int, int]:
    """Return for each line of one text where it begins in the other, as far as that is certain."""
    found: dict[int, int] = {0: 0, len(plain): len(ours)}
    for _, i1, i2, j1, j2 in SequenceMatcher(None, plain, ours, autojunk=False).get_opcodes():
        found[i1], found[i2] = j1, j2
        if i2 - i1 == j2 - j1:
            found |= {i1 + n: j1 + n for n in range(i2 - i1)}
    return found


def _reads_as(name: str, text: str, data: Any) -> bool:
    try:
        return bool(_with_text_keys(_read(name, text)) == _with_text_keys(data))
    except EditRefused:
        return False


def _with_text_keys(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _with_text_keys(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_with_text_keys(item) for item in data]
    return data


# --- comments -------------------------------------------------------------------------------------


def _take_lines_below(part: Any, key: Any) -> str | None:
    """Take the comment lines that follow the last line of a value, which ruamel keeps with it."""
    value = part[key]
    if isinstance(value, CommentedMap | CommentedSeq) and value and not value.fa.flow_style():
        last = len(value) - 1 if isinstance(value, CommentedSeq) else list(value)[-1]
        return _take_lines_below(value, last)
    kept = part.ca.items.get(key)
    place = 0 if isinstance(part, CommentedSeq) else 2
    token = kept[place] if kept else None
    if not isinstance(token, CommentToken):
        return None
    own, _, below = token.value.partition("\n")
    if not below:
        return None
    token.value = own + "\n"
    return str(below)


def _put_lines_below(part: Any, key: Any, lines: str) -> None:
    value = part[key]
    if isinstance(value, CommentedMap | CommentedSeq) and value and not value.fa.flow_style():
        last = len(value) - 1 if isinstance(value, CommentedSeq) else list(value)[-1]
        _put_lines_below(value, last, lines)
        return
    kept = part.ca.items.setdefault(key, [None, None, None, None])
    place = 0 if isinstance(part, CommentedSeq) else 2
    token = kept[place]
    if isinstance(token, CommentToken):
        token.value = token.value.rstrip("\n") + "\n" + lines
    else:
        kept[place] = CommentToken("\n" + lines, CommentMark(0), None)
