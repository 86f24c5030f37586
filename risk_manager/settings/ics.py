"""Reads the events of an iCalendar file (.ics): when each begins, and its summary.

Read is what a calendar of scheduled releases needs: VEVENT with DTSTART, SUMMARY and STATUS. What
would change the instants and is not read, such as a repetition, is refused and never ignored.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

# Names of zones that office programs write instead of those of the IANA.
OFFICE_ZONES = {
    "Central Standard Time": "America/Chicago",
    "Eastern Standard Time": "America/New_York",
    "GMT Standard Time": "Europe/London",
    "Mountain Standard Time": "America/Denver",
    "Pacific Standard Time": "America/Los_Angeles",
    "Tokyo Standard Time": "Asia/Tokyo",
    "UTC": "UTC",
    "W. Europe Standard Time": "Europe/Berlin",
}
_WHEN = re.compile(r"(\d{8})T(\d{6})(Z?)")
_DATE = re.compile(r"\d{8}")
_ESCAPED = re.compile(r"\\([\\;,nN])")
_REPEATS = ("RRULE", "RDATE", "EXDATE", "RECURRENCE-ID")


class NotReadable(ValueError):
    """The file is no calendar that can be relied on. `line` is counted from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """An event. `at` is in UTC, or without a zone if the file names none; None: it has no hour."""

    line: int
    summary: str
    at: datetime | None
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class _Property:
    line: int
    name: str
    parameters: dict[str, str]
    value: str


@dataclass(slots=True)
class _Event:
    line: int
    properties: dict[str, _Property] = field(default_factory=dict)


def read_events(text: str) -> list[CalendarEvent]:
    """Return the events that are not cancelled, in the order of the file. Raises NotReadable."""
    lines = list(_unfolded(text))
    if not lines or lines[0][1].strip().upper() != "BEGIN:VCALENDAR":
        raise NotReadable(1, "does not begin with BEGIN:VCALENDAR")
    zone: str | None = None
    inside: list[str] = []
    event: _Event | None = None
    found: list[CalendarEvent] = []
    for number, line in lines:
        if not line.strip():
            continue
        prop = _property(number, line)
        if prop.name == "BEGIN":
            inside.append(prop.value.upper())
            if inside[-1] == "VEVENT":
                event = _Event(number)
        elif prop.name == "END":
            if not inside or inside.pop() != prop.value.upper():
                raise NotReadable(number, f"END:{prop.value} without its BEGIN")
            if prop.value.upper() == "VEVENT" and event is not None:
                found += _events(event, zone)
                event = None
        elif inside == ["VCALENDAR"] and prop.name == "X-WR-TIMEZONE":
            zone = _zone(prop.line, prop.value)
        elif event is not None and inside[-1] == "VEVENT":
            if prop.name == "DTSTART" and prop.name in event.properties:
                raise NotReadable(number, "an event has two DTSTART")
            event.properties.setdefault(prop.name, prop)
    if inside:
        raise NotReadable(len(text.splitlines()), f"ends inside {inside[-1]}; is it complete?")
    return found


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines with their numbers; one that begins with a space continues the one before."""
    kept: tuple[int, str] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if line[:1] in (" ", "\t") and kept is not None:
            kept = (kept[0], kept[1] + line[1:])
            continue
        if kept is not None:
            yield kept
        kept = (number, line)
    if kept is not None:
        yield kept


def _property(number: int, line: str) -> _Property:
    """NAME;PARAMETER="a:b":VALUE. A colon in quotes does not end the parameters."""
    head, quoted = "", False
    for position, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == ":" and not quoted:
            head, value = line[:position], line[position + 1 :]
            break
    else:
        raise NotReadable(number, "is not a line of a calendar (no colon)")
    name, *rest = re.split(r';(?=(?:[^"]*"[^"]*")*[^"]*$)', head)
    pairs = (part.partition("=") for part in rest)
    return _Property(
        number,
        name.strip().upper(),
        {key.strip().upper(): given.strip().strip('"') for key, _, given in pairs},
        value.strip(),
    )


def _events(event: _Event, zone: str | None) -> Iterator[CalendarEvent]:
    known = event.properties
    status, start, summary = known.get("STATUS"), known.get("DTSTART"), known.get("SUMMARY")
    if status is not None and status.value.upper() == "CANCELLED":
        return
    if start is None:
        raise NotReadable(event.line, "an event without DTSTART")
    yield CalendarEvent(
        line=start.line,
        summary="" if summary is None else _ESCAPED.sub(_unescaped, summary.value),
        at=_instant(start, zone),
        repeats=any(name in known for name in _REPEATS),
    )


def _unescaped(match: re.Match[str]) -> str:
    return " " if match[1] in "nN" else match[1]


def _instant(start: _Property, zone: str | None) -> datetime | None:
    if _DATE.fullmatch(start.value):
        return None
    written = _WHEN.fullmatch(start.value)
    try:
        if written is None:
            raise ValueError
        local = datetime.strptime(written[1] + written[2], "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        raise NotReadable(start.line, f"DTSTART {start.value!r} is not a date and time") from None
    if written[3]:
        return local.replace(tzinfo=UTC)
    named = start.parameters.get("TZID")
    own = zone if named is None else _zone(start.line, named)
    return local if own is None else local.replace(tzinfo=ZoneInfo(own)).astimezone(UTC)


def _zone(line: int, name: str) -> str:
    name = OFFICE_ZONES.get(name, name)
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise NotReadable(line, f"the time zone {name!r} is not known") from None
    return name
