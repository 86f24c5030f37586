"""The reader of .ics files: what it reads, and that it refuses what it would read wrongly."""

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk_manager.settings.ics import NotReadable, read_events

NOON = datetime(2026, 12, 10, 13, 30, tzinfo=UTC)


def calendar(*events: str, head: str = "") -> str:
    inner = "\r\n".join(f"BEGIN:VEVENT\r\n{event}\r\nEND:VEVENT" for event in events)
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{head}{inner}\r\nEND:VCALENDAR\r\n"


@pytest.mark.parametrize(
    "start",
    [
        "DTSTART:20261210T133000Z",
        "DTSTART;TZID=America/Chicago:20261210T073000",
        'DTSTART;TZID="America/New_York":20261210T083000',
        "DTSTART;TZID=Central Standard Time:20261210T073000",
        "DTSTART;VALUE=DATE-TIME;TZID=Europe/Berlin:20261210T143000",
        "dtstart;tzid=America/Chicago:20261210T073000",
        "DTSTART;TZID=America/\r\n Chicago:2026121\r\n\t0T073000",
    ],
)
def test_an_instant_is_the_same_however_it_is_written(start: str) -> None:
    (event,) = read_events(calendar(f"{start}\r\nSUMMARY:CPI"))
    assert (event.at, event.summary, event.repeats) == (NOON, "CPI", False)


def test_an_hour_without_a_zone_is_that_of_the_calendar_or_local() -> None:
    event = "DTSTART:20261210T073000\r\nSUMMARY:CPI"
    (local,) = read_events(calendar(event))
    assert local.at == datetime(2026, 12, 10, 7, 30)  # noqa: DTZ001
    (named,) = read_events(calendar(event, head="X-WR-TIMEZONE:America/Chicago\r\n"))
    assert named.at == NOON


def test_summaries_are_unescaped_and_lines_may_be_folded() -> None:
    (event,) = read_events(
        calendar(
            f"DTSTART:{NOON:%Y%m%dT%H%M%SZ}\nSUMMARY;LANGUAGE=en:CPI\\, core\\; Y/Y\n  and more"
        )
    )
    assert event.summary == "CPI, core; Y/Y and more"


def test_cancelled_events_are_left_out_and_all_day_events_have_no_hour() -> None:
    told = read_events(
        calendar(
            "DTSTART:20261210T133000Z\r\nSUMMARY:CPI\r\nSTATUS:CANCELLED",
            "DTSTART;VALUE=DATE:20261225\r\nSUMMARY:Christmas",
            "DTSTART:20261211T133000Z\r\nSUMMARY:Claims\r\nRRULE:FREQ=WEEKLY",
        )
    )
    assert [(e.summary, e.at is None, e.repeats) for e in told] == [
        ("Christmas", True, False),
        ("Claims", False, True),
    ]


def test_alarms_and_zones_inside_are_passed_over() -> None:
    zone = (
        "BEGIN:VTIMEZONE\r\nTZID:America/Chicago\r\nBEGIN:STANDARD\r\n"
        "DTSTART:19701101T020000\r\nRRULE:FREQ=YEARLY\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
    )
    alarm = "BEGIN:VALARM\r\nTRIGGER:-PT5M\r\nSUMMARY:soon\r\nEND:VALARM"
    (event,) = read_events(
        calendar(f"SUMMARY:CPI\r\n{alarm}\r\nDTSTART:20261210T133000Z", head=zone)
    )
    assert (event.at, event.summary, event.repeats) == (NOON, "CPI", False)


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 1, "does not begin with"),
        ("<html>", 1, "does not begin with"),
        (calendar("SUMMARY:CPI"), 3, "without DTSTART"),
        (calendar("DTSTART:20261310T133000Z"), 4, "not a date and time"),
        (calendar("DTSTART:tomorrow"), 4, "not a date and time"),
        (calendar("DTSTART;TZID=Chicago:20261210T073000"), 4, "'Chicago' is not known"),
        (calendar("DTSTART:20261210T133000Z\r\nDTSTART:20261211T133000Z"), 5, "two DTSTART"),
        (calendar("DTSTART:20261210T133000Z\r\nrubbish"), 5, "no colon"),
        (calendar("DTSTART:20261210T133000Z").rpartition("END:VCALENDAR")[0], 5, "complete?"),
        ("BEGIN:VCALENDAR\r\nEND:VEVENT\r\nEND:VCALENDAR", 2, "without its BEGIN"),
    ],
)
def test_what_cannot_be_relied_on_is_refused_with_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(NotReadable, match=why) as refused:
        read_events(text)
    assert refused.value.line == line


@given(cut=st.integers(0, 400), noise=st.text(max_size=8))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(cut: int, noise: str) -> None:
    whole = calendar(*(f"DTSTART:202612{day}T133000Z\r\nSUMMARY:CPI" for day in range(10, 20)))
    with contextlib.suppress(NotReadable):
        read_events(whole[:cut] + noise + whole[cut:])
