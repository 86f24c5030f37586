"""Cleans text from outside for display: removes control, escape and direction characters."""

import re
from typing import Any

# C0 and C1 controls, zero-width and direction marks, line and paragraph separators, BOM, tags.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
# The same characters as they can appear in a JSON text: literal, or escaped by a backslash.
_SUSPECT = re.compile(
    r"\\[^\"\\/]|[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def plain(text: str) -> str:
    """Return the text on one line: line breaks and tabs become spaces, other controls go."""
    if not _UNSAFE.search(text):
        return text
    return _UNSAFE.sub("", text.replace("\n", " ").replace("\r", " ").replace("\t", " "))


def looks_plain(json_text: str) -> bool:
    """Whether no string in this JSON text can contain anything that `plain` would change."""
    return _SUSPECT.search(json_text) is None


def plain_json(value: Any) -> Any:
    """Return the JSON value with `plain` applied to every string, keys included."""
    match value:
        case str():
            return plain(value)
        case list():
            return [plain_json(item) for item in value]
        case dict():
            return {plain(key): plain_json(item) for key, item in value.items()}
    return value
