"""Replaces lone surrogates (half of a character pair) in text from outside by "?".

JSON may contain one ("\\ud83d", an emoji cut in two). Databases, journals and frames cannot.
"""

from typing import Any


def without_surrogates(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def without_surrogates_in(value: Any) -> Any:
    """Return decoded JSON with the lone surrogates in all texts, keys included, replaced."""
    match value:
        case str():
            return without_surrogates(value)
        case dict():
            return {without_surrogates_in(k): without_surrogates_in(v) for k, v in value.items()}
        case list():
            return [without_surrogates_in(v) for v in value]
    return value
