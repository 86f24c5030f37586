"""Text from outside as text that can be kept: half a character (a lone surrogate) becomes "?".

JSON may carry one ("\\ud83d", an emoji cut in two); no database, journal or frame can.
"""

from typing import Any


def without_surrogates(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def without_surrogates_in(value: Any) -> Any:
    """The same decoded JSON, its texts (keys too) made whole."""
    match value:
        case str():
            return without_surrogates(value)
        case dict():
            return {without_surrogates_in(k): without_surrogates_in(v) for k, v in value.items()}
        case list():
            return [without_surrogates_in(v) for v in value]
    return value
