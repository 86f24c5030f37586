"""Text from outside as text that can be kept: half a character (a lone surrogate) becomes "?".

JSON may carry one ("\\ud83d", an emoji cut in two); no database, journal or frame can.
"""

from typing import Any


def whole(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def with_whole_texts(value: Any) -> Any:
    """The same decoded JSON, its texts (keys too) made whole."""
    match value:
        case str():
            return whole(value)
        case dict():
            return {with_whole_texts(k): with_whole_texts(v) for k, v in value.items()}
        case list():
            return [with_whole_texts(v) for v in value]
    return value
