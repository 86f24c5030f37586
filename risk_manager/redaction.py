"""Masks secrets in everything that is written or shown: known values, by key, and by pattern."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

MASK = "[redacted]"
TEXT_LIMIT = 20_000
"""Longer texts are cut to so many characters."""
_DEPTH_LIMIT = 6
_ITEMS_LIMIT = 200

_SECRET_KEY = re.compile(
    r"token|secret|passw|passphrase|api_?-?key|authorization|credential|jwt|cookie|login_?key",
    re.IGNORECASE,
)
# Keys such as token_expires_at hold a time or a count, never a secret.
_HARMLESS_KEY = re.compile(r"(_at|_s|_ms|_age|_count|_left)$")
_KEY_WORDS = (
    r"(?:access_?token|refresh_?token|id_?token|token|api_?-?key|login_?key|password|passwd"
    r"|passphrase|secret|jwt|authorization)"
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,2}"), MASK),
    (re.compile(r"risk-manager-(?:feed|admin)-[A-Za-z0-9_-]{43}"), MASK),
    (re.compile(r"\b(Bearer|Basic)(\s+|%20)[A-Za-z0-9._~+/=-]+", re.IGNORECASE), rf"\1 {MASK}"),
    # "token": "abc", 'apiKey': 'abc', also with the quotes escaped once more
    (
        re.compile(
            rf"""({_KEY_WORDS}\\?["']\s*[:=]\s*(?:b|SecretStr\()?\\?["'])[^"'\\]+""",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    # access_token=abc, api_key: abc
    (
        re.compile(
            rf"""({_KEY_WORDS}\s*(?:=|:\s|%3D)\s*(?:b?["'])?)(?!\[redacted)[^\s"'&,;)\]}}\\]+""",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
)
_SHORTEST_SECRET = 5
_secrets: tuple[str, ...] = ()


def conceal(value: str) -> None:
    """Mask this value from now on wherever it appears, URL- or JSON-encoded forms included.

    Values too short to tell from ordinary words are not masked.
    """
    global _secrets  # one process, one set of secrets: every log and every error must know them
    if len(value) < _SHORTEST_SECRET:
        return
    forms = {value, quote(value, safe=""), quote(value), json.dumps(value)[1:-1], repr(value)[1:-1]}
    _secrets = tuple(sorted({*_secrets, *forms}, key=len, reverse=True))


def redact(text: str) -> str:
    """Return the text with known secrets masked, and all that looks like a token or a key."""
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, MASK)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def redacted(value: Any, depth: int = 0) -> Any:
    """Return any value as JSON-ready data, with secrets masked by key and by value."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return masked(value)
    if depth < _DEPTH_LIMIT:
        if isinstance(value, Mapping):
            return {
                redact(str(key)): MASK
                if item is not None and _is_secret_key(str(key))
                else redacted(item, depth + 1)
                for key, item in list(value.items())[:_ITEMS_LIMIT]
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [redacted(item, depth + 1) for item in list(value)[:_ITEMS_LIMIT]]
    if isinstance(value, datetime):
        return timestamp(value)
    return masked(text_of(value))


def _is_secret_key(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None and _HARMLESS_KEY.search(key) is None


def masked(text: str) -> str:
    """Return the text masked and cut. The second cut removes a secret that the first divided."""
    return redact(text[: 2 * TEXT_LIMIT])[:TEXT_LIMIT]


def text_of(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # a broken __str__ must not break the log
        return f"<{type(value).__name__}: {type(error).__name__} when shown>"


def timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
