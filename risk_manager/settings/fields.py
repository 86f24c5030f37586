"""Types of values that several configuration files share."""

from datetime import time
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer


class Section(BaseModel):
    """A part of a file. An unknown key is an error, and values never change once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def parse_clock(value: Any) -> time:
    """Return a wall-clock time from "HH:MM" or "H:MM". Raises ValueError for anything else."""
    if isinstance(value, time):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1440:
        raise ValueError(f'a time must be quoted; write "{value // 60:02d}:{value % 60:02d}"')
    parts = value.split(":") if isinstance(value, str) else []
    written = len(parts) == 2 and len(parts[0]) in (1, 2) and len(parts[1]) == 2
    if written and all(p.isascii() and p.isdigit() for p in parts):
        hour, minute = int(parts[0]), int(parts[1])
        if hour < 24 and minute < 60:
            return time(hour, minute)
    raise ValueError('not a time of day; write it quoted, as "17:00"')


def known_zone(value: str) -> str:
    """Return the name of an IANA time zone that this machine knows; ValueError for others."""
    try:
        ZoneInfo(value)
    except (OSError, ValueError, LookupError):
        raise ValueError(
            "not a known time zone; write for example America/New_York or America/Chicago"
        ) from None
    return value


ClockTime = Annotated[
    time,
    BeforeValidator(parse_clock),
    PlainSerializer(lambda t: t.strftime("%H:%M"), return_type=str),
]
Zone = Annotated[str, AfterValidator(known_zone)]
Root = Annotated[str, AfterValidator(lambda text: text.strip().upper())]
"""A canonical product root such as ES, upper-cased."""
