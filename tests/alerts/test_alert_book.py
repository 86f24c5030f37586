"""One message a matter, a last one when it is over, and reminders until somebody has seen it."""

import json
from datetime import datetime, time, timedelta
from typing import Any

from desk import MORNING

from risk_manager.alerts.book import MOST_ALERTS, AlertBook, Message, alert_of_plain
from risk_manager.alerts.notice import Ended, Notice
from risk_manager.domain.decisions import Severity
from risk_manager.settings.outside_settings import QuietHours

QUARTER = timedelta(minutes=15)


def later(**by: float) -> datetime:
    return MORNING + timedelta(**by)


def notice(subject: str = "lock:1", at: datetime = MORNING, **more: Any) -> Notice:
    fields: dict[str, Any] = {
        "severity": Severity.CRITICAL,
        "title": subject,
        "text": "why",
        "is_money": True,
    }
    return Notice(subject=subject, at=at, **{**fields, **more})


def ended(at: datetime, subject: str = "lock:1") -> Ended:
    return Ended(subject=subject, at=at, text="it has ended")


def book(**more: Any) -> AlertBook:
    return AlertBook(repeat=QUARTER, **more)


def titles(messages: list[Message]) -> list[str]:
    return [message.title for message in messages]


def test_a_matter_is_told_once_and_once_more_when_it_is_over() -> None:
    b = book()
    b.take(notice(severity=Severity.WARNING))
    assert titles(b.due(MORNING)) == ["lock:1"]
    b.take(notice(severity=Severity.WARNING, at=later(seconds=1)))
    assert b.due(later(hours=2)) == []
    b.take(ended(later(hours=3)))
    assert titles(b.due(later(hours=3))) == ["Done: lock:1"]
    b.due(later(hours=3, seconds=1))
    assert b.alerts == ()


def test_a_critical_one_is_repeated_with_growing_pauses_until_it_is_acknowledged() -> None:
    b = book()
    b.take(notice())
    told = [minute for minute in range(600) if b.due(later(minutes=minute))]
    assert told == [0, 15, 45, 105, 225, 345, 465, 585]
    assert [a.number for a in b.acknowledge(1, "me", later(minutes=600))] == [1]
    assert b.acknowledge(None, "me", later(minutes=601)) == []
    assert not any(b.due(later(minutes=minute)) for minute in range(600, 2000))
    assert b.alerts[0].state == "acknowledged"
    b.take(ended(later(days=2)))
    assert titles(b.due(later(days=2))) == ["Done: lock:1"]


def test_what_is_over_and_was_never_acknowledged_goes_on_being_repeated() -> None:
    b = book()
    b.take(notice())
    b.due(MORNING)
    b.take(ended(later(minutes=1)))
    assert titles(b.due(later(minutes=1))) == ["Done: lock:1"]
    (reminder,) = b.due(later(minutes=20))
    assert "It is over: it has ended" in reminder.text
    b.acknowledge(1, "me", later(minutes=21))
    b.due(later(minutes=22))
    assert b.alerts == ()


def test_what_ends_within_its_patience_is_never_told() -> None:
    b = book()
    b.take(notice(patience=timedelta(seconds=3)))
    assert b.due(later(seconds=2)) == []
    b.take(ended(later(seconds=2.5)))
    assert b.due(later(hours=1)) == []
    b.take(notice(patience=timedelta(seconds=3), at=later(hours=2)))
    assert titles(b.due(later(hours=2, seconds=3))) == ["lock:1"]


def test_what_grows_worse_is_told_anew_though_it_was_acknowledged() -> None:
    b = book()
    b.take(notice(severity=Severity.WARNING))
    b.due(MORNING)
    b.acknowledge(1, "me", MORNING)
    b.take(notice(at=later(seconds=9), title="worse"))
    assert titles(b.due(later(seconds=9))) == ["worse"]
    b.take(notice(at=later(seconds=20), title="stuck", stage=1))
    assert titles(b.due(later(seconds=20))) == ["stuck"]
    b.take(notice(at=later(seconds=21), title="less"))
    assert b.due(later(seconds=21)) == []


def test_a_single_event_is_not_told_again_while_it_keeps_coming() -> None:
    b = book()
    once: dict[str, Any] = {"severity": Severity.WARNING, "lasts": False}
    b.take(notice(**once))
    assert titles(b.due(MORNING)) == ["lock:1"]
    for minute in range(1, 30):
        b.take(notice(at=later(minutes=minute), **once))
        assert b.due(later(minutes=minute)) == []
    assert b.alerts[0].count == 30
    b.due(later(minutes=45))
    b.take(notice(at=later(minutes=46), **once))
    assert titles(b.due(later(minutes=46))) == ["lock:1"]


NIGHT = QuietHours(start=time(22), end=time(7), timezone="UTC")
AT_TWO = MORNING.replace(hour=2)
AT_SEVEN = MORNING.replace(hour=7)


def test_quiet_hours_hold_back_everything_but_money() -> None:
    b = book(is_quiet=NIGHT.covers)
    b.take(notice("start", at=AT_TWO, severity=Severity.INFO, is_money=False, lasts=False))
    b.take(notice("stream", at=AT_TWO, severity=Severity.WARNING, is_money=False))
    b.take(notice("lock", at=AT_TWO))
    assert titles(b.due(AT_TWO)) == ["lock"]
    assert titles(b.due(AT_TWO + QUARTER)) == ["Reminder 1: lock"]
    b.take(ended(AT_TWO + QUARTER, "stream"))
    b.take(ended(AT_TWO + QUARTER, "lock"))
    assert titles(b.due(AT_TWO + 2 * QUARTER)) == ["Done: lock"]
    assert b.due(AT_TWO + 8 * QUARTER) == [], "nothing is at stake any more"
    told = b.due(AT_SEVEN)
    assert titles(told) == ["start", "stream", "Reminder 2: lock"]
    assert "Over since: it has ended" in told[1].text


def test_quiet_hours_by_day_and_over_a_change_of_the_clock() -> None:
    lunch = QuietHours(start=time(12), end=time(13), timezone="America/Chicago")
    assert lunch.covers(datetime.fromisoformat("2026-11-20T18:30:00+00:00"))
    assert lunch.covers(datetime.fromisoformat("2026-07-20T17:30:00+00:00"))
    assert not lunch.covers(datetime.fromisoformat("2026-11-20T19:00:00+00:00"))


def test_a_matter_that_comes_back_is_told_again_under_its_number() -> None:
    b = book()
    b.take(notice())
    b.due(MORNING)
    b.take(ended(later(minutes=1)))
    b.due(later(minutes=1))
    b.take(notice(at=later(minutes=2)))
    (message,) = b.due(later(minutes=2))
    assert (message.title, message.number) == ("lock:1", 1)


def test_it_is_the_same_after_a_restart_and_what_reached_nobody_is_told_again() -> None:
    b = book()
    b.take(notice("reached"))
    b.take(notice("lost"))
    b.due(MORNING)
    b.reached(1, MORNING)
    kept = json.loads(json.dumps([alert.plain() for alert in b.alerts]))
    again = book(alerts=[alert_of_plain(data) for data in kept])
    assert again.alerts == b.alerts
    again.tell_again()
    assert titles(again.due(later(minutes=1))) == ["lost"]
    again.take(notice("new"))
    assert again.find("new") is not None
    assert again.alerts[-1].number == 3


def test_the_book_is_bounded_and_what_waits_for_somebody_goes_last() -> None:
    b = book()
    b.take(notice("critical"))
    for n in range(2 * MOST_ALERTS):
        b.take(notice(f"n{n}", severity=Severity.WARNING, is_money=False))
    assert len(b.alerts) == MOST_ALERTS
    assert b.find("critical") is not None
    assert b.find(f"n{2 * MOST_ALERTS - 1}") is not None
