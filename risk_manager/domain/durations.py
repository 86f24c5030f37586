"""Durations as people write them: 90s, 30m, 1h30m, 2d, 250ms."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_PART = re.compile(r"([0-9]+)(ms|s|m|h|d)")
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


LONGEST_DAYS = 3650


class TooLong(ValueError):
    """The duration is longer than the longest one allowed."""


def parse_duration(value: Any) -> timedelta:
    """Return the duration. ValueError says how to write one; `TooLong` names the longest."""
    if isinstance(value, timedelta):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if not text or _PART.sub("", text):
        raise ValueError(f'{value!r} is not a duration; write for example "90s", "30m" or "1h30m"')
    parts = [(int(n[:20]), _UNITS[u]) for n, u in _PART.findall(text)]  # 20 digits are too long
    longest = timedelta(days=LONGEST_DAYS)
    if sum(n * (unit // _UNITS["ms"]) for n, unit in parts) > longest / _UNITS["ms"]:
        raise TooLong(f"{text[:40]} is too long; the longest is {LONGEST_DAYS}d")
    return sum((n * unit for n, unit in parts), timedelta(0))


def plain_duration(value: timedelta) -> str:
    """Return the shortest text for a duration: 5400 s is "1h30m"."""
    rest = round(value / _UNITS["ms"])
    parts = []
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count}{unit}")
    if rest:
        parts.append(f"{rest}ms")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(plain_duration, return_type=str)
]
