"""Release windows (EXTRA-011), example by example. CPI is at 07:30 in Chicago, 13:30 UTC."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from desk import Desk, DeskMaker, rules_from
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from risk_manager.domain.locks import LockPolicy
from risk_manager.domain.rule import MeterState
from risk_manager.rules.release_window import ReleaseWindow
from risk_manager.rules.release_window.spans import Span, stretch_at

CPI_AT = datetime(2026, 12, 10, 13, 30, tzinfo=UTC)
BEFORE = datetime(2026, 12, 10, 13, 0, tzinfo=UTC)
CPI = {"at": "2026-12-10 07:30", "name": "CPI"}
INDEX_MINIS = ["ES", "NQ", "YM", "RTY", "NKD"]
MINUTE = timedelta(minutes=1)


async def read_desk(desk: DeskMaker, *windows: dict[str, Any], **fields: Any) -> Desk:
    """A desk half an hour before the release, whose account has been read."""
    d = desk(release_window={"windows": list(windows), **fields}, desk_at=BEFORE)
    await d.report(positions={})
    return d


async def test_011_1_it_is_in_force_from_07_25_00_and_no_longer_at_07_35_00(
    desk: DeskMaker,
) -> None:
    d = await read_desk(desk, CPI)
    await d.wait_until(CPI_AT - timedelta(minutes=5, seconds=1))
    assert d.locked_by() == {}
    await d.wait(seconds=1)
    assert d.locked_by() == {"release_window": "account"}
    assert d.lock_ends("release_window") == CPI_AT + timedelta(minutes=5)
    await d.wait_until(CPI_AT + timedelta(minutes=5, seconds=-1))
    assert d.locked_by() == {"release_window": "account"}
    await d.wait(seconds=1)
    assert d.locked_by() == {}
    assert d.reasons == ["CPI at 07:30: no new entries until 07:35"]


async def test_011_2_what_is_held_stays_with_its_stop_and_entries_go(desk: DeskMaker) -> None:
    d = await read_desk(desk, CPI)
    await d.position("MNQ", 2)
    await d.stop("MNQ", -2)
    entry = await d.order("MES", 1, price=5900)
    await d.wait_until(CPI_AT - 5 * MINUTE)
    assert d.actions == [f"cancel {entry}"]
    await d.obey()
    await d.position("MNQ", 3)
    assert d.actions == [f"cancel {entry}", "reduce MNQ to 2"]


async def test_011_3_flat_closes_everything_at_the_beginning_of_the_window(
    desk: DeskMaker,
) -> None:
    d = await read_desk(desk, CPI, action="flat")
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    await d.wait_until(CPI_AT - timedelta(minutes=5, seconds=1))
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]
    await d.obey()
    assert f"cancel {stop}" in d.actions
    await d.position("MES", 1, 6000)
    assert d.actions[-1] == "close MES"


async def test_011_4_products_that_are_named_alone_are_blocked_and_micros_are_capped(
    desk: DeskMaker,
) -> None:
    caps = [{"roots": ["MES", "MNQ", "M2K", "MYM"], "limit": 3}]
    d = await read_desk(desk, {**CPI, "roots": INDEX_MINIS, "caps": caps})
    await d.wait_until(CPI_AT)
    await d.position("ES", 1, 6000)
    assert d.actions == ["close ES"]
    await d.position("GC", 1, 4000)
    await d.position("MNQ", 2)
    await d.wait(seconds=1)
    await d.position("MES", 1, 6000)
    assert d.actions == ["close ES"]
    await d.position("MES", 2, 6000)
    assert d.actions == ["close ES", "reduce MES to 1"]
    assert d.reasons[-1] == "CPI at 07:30: at most 3 MES + MNQ + M2K + MYM; closing 1 MESZ6"
    assert set(d.account().locks) == {(f"root:{root}", "release_window") for root in INDEX_MINIS}


async def test_011_5_a_mini_held_before_may_be_held_and_not_grow(desk: DeskMaker) -> None:
    d = await read_desk(desk, {**CPI, "roots": INDEX_MINIS})
    await d.position("ES", 2, 6000)
    await d.wait_until(CPI_AT)
    assert d.actions == []
    await d.position("ES", 3, 6000)
    assert d.actions == ["reduce ES to 2"]


async def test_011_6_overlapping_windows_are_one(desk: DeskMaker) -> None:
    claims = {"at": "2026-12-10 07:38", "name": "Claims"}
    d = await read_desk(desk, CPI, claims)
    await d.wait_until(CPI_AT)
    assert d.lock_ends("release_window") == CPI_AT + timedelta(minutes=13)
    await d.wait_until(CPI_AT + timedelta(minutes=12, seconds=59))
    assert d.locked_by() == {"release_window": "account"}
    await d.wait(seconds=1)
    assert d.locked_by() == {}
    assert len(d.locks_set) == 1


async def test_011_7_a_window_that_flattens_goes_before_one_that_blocks(desk: DeskMaker) -> None:
    """Entries are blocked for half an hour on either side; nothing is open around the release."""
    d = await read_desk(
        desk,
        {**CPI, "before": "20m", "after": "20m"},
        {**CPI, "before": "2m", "after": "2m", "action": "flat"},
    )
    await d.position("MNQ", 1)
    await d.wait_until(CPI_AT - timedelta(minutes=3))
    assert d.actions == []
    await d.wait(minutes=1)
    assert d.actions == ["close MNQ"]
    await d.obey()
    await d.wait_until(CPI_AT + timedelta(minutes=2))
    (lock,) = d.account().locks.values()
    assert lock.policy is LockPolicy.NO_ENTRIES
    assert lock.expires_at == CPI_AT + timedelta(minutes=20)


async def test_011_8_a_position_opened_in_the_window_while_nobody_looked_is_closed(
    desk: DeskMaker,
) -> None:
    d = desk(release_window={"windows": [CPI]}, desk_at=CPI_AT - timedelta(minutes=6))
    await d.position("MES", 1, 6000)
    d.now = CPI_AT  # the daemon was down
    await d.report(positions={"MES": 1, "MNQ": 1})  # stated as created now
    assert d.actions == ["close MNQ"]
    assert d.locked_by() == {"release_window": "account"}


async def test_011_9_nothing_is_taken_for_new_before_the_account_has_been_read(
    desk: DeskMaker,
) -> None:
    """Started in the window with an empty database: what is held was there before."""
    d = desk(release_window={"windows": [CPI]}, desk_at=CPI_AT, desk_rest=False)
    await d.wait(seconds=2)
    assert d.locked_by() == {}
    held_since = CPI_AT - timedelta(hours=1)
    await d.position("MNQ", 2, creationTimestamp=held_since)
    await d.read_whole(101)
    assert d.locked_by() == {"release_window": "account"}
    assert d.actions == []
    await d.position("MNQ", 3)
    assert d.actions == ["reduce MNQ to 2"]


async def test_011_10_a_restart_in_the_window_changes_nothing(desk: DeskMaker) -> None:
    d = await read_desk(desk, CPI)
    await d.position("MNQ", 2)
    await d.wait_until(CPI_AT)
    await d.restart()
    assert d.locked_by() == {"release_window": "account"}
    assert d.actions == []
    await d.position("MNQ", 3)
    assert d.actions == ["reduce MNQ to 2"]


async def test_011_11_nobody_lifts_it_by_hand(desk: DeskMaker) -> None:
    d = await read_desk(desk, CPI)
    await d.wait_until(CPI_AT)
    await d.admin("unlock")
    assert "unlock_refused" in d.alarms
    assert d.locked_by() == {"release_window": "account"}


async def test_011_12_while_the_clocks_differ_it_begins_by_the_later_one(desk: DeskMaker) -> None:
    d = await read_desk(desk, CPI)
    d.lead = timedelta(minutes=25)
    await d.wait(seconds=1)  # by the gateway 07:25:01
    assert d.locked_by() == {"release_window": "account"}


async def test_011_13_the_local_hour_is_that_of_its_zone(desk: DeskMaker) -> None:
    """Also where the clocks change: 01:30 on 1 November occurs twice, and both are covered."""
    twice = ReleaseWindow.model_validate({"windows": [{"at": "2026-11-01 01:30"}]})
    (span,) = twice.spans
    assert span.starts_at == datetime(2026, 11, 1, 6, 25, tzinfo=UTC)
    assert span.ends_at == datetime(2026, 11, 1, 7, 35, tzinfo=UTC)
    summer, winter, stated = ReleaseWindow.model_validate(
        {
            "windows": [
                {"at": "2026-07-14 07:30"},
                {"at": "2026-12-10 08:30", "timezone": "America/New_York"},
                {"at": "2026-12-11T13:30:00Z"},
            ]
        }
    ).spans
    assert summer.at == datetime(2026, 7, 14, 12, 30, tzinfo=UTC)
    assert winter.at == CPI_AT
    assert stated.at == datetime(2026, 12, 11, 13, 30, tzinfo=UTC)


async def test_a_calendar_that_has_ended_is_a_health_issue_and_never_silence(
    desk: DeskMaker,
) -> None:
    """With `through` the file is complete up to the end of that date; else up to its last."""
    file = {"name": "news.yaml", "through": "2026-12-10", "releases": [CPI]}
    d = await read_desk(desk, file=file)
    await d.wait_until(datetime(2026, 12, 11, 5, 59, tzinfo=UTC))
    assert "data_ended" not in d.alarms
    await d.wait(minutes=1)
    assert d.alarms.count("data_ended") == 1
    assert d.meter("release_window").state is MeterState.UNKNOWN

    last = {"name": "news.ics", "last_at": CPI_AT, "releases": [CPI]}
    d = await read_desk(desk, file=last)
    await d.wait_until(CPI_AT - timedelta(seconds=1))
    assert "data_ended" not in d.alarms
    await d.wait(seconds=1)
    assert "data_ended" in d.alarms


async def test_a_file_that_nobody_read_is_told_at_once(desk: DeskMaker) -> None:
    d = await read_desk(desk, CPI, file="news.ics")
    await d.wait(seconds=1)
    assert "data_ended" in d.alarms
    await d.wait_until(CPI_AT)
    assert d.locked_by() == {"release_window": "account"}  # what is known still holds


async def test_the_meter_tells_what_comes_and_what_is(desk: DeskMaker) -> None:
    d = await read_desk(desk, {**CPI, "roots": ["ES", "NQ"]})
    await d.wait(seconds=1)
    meter = d.meter("release_window")
    assert meter.state is MeterState.OK
    assert meter.sentence == (
        "next CPI, Thu 10 Dec 07:30 America/Chicago; the window begins in 24m"
    )
    await d.wait_until(CPI_AT - 6 * MINUTE)
    assert d.meter("release_window").state is MeterState.WARN
    await d.wait_until(CPI_AT)
    meter = d.meter("release_window")
    assert meter.sentence == "CPI: no new entries in ES, NQ for another 6m"
    assert (meter.current, meter.limit) == (Decimal(5), Decimal(10))
    await d.wait_until(CPI_AT + 6 * MINUTE)
    assert d.meter("release_window").sentence == "no release is listed from here on"


async def test_caps_hold_in_the_window_alone(desk: DeskMaker) -> None:
    d = await read_desk(desk, {**CPI, "roots": ["ES"], "caps": [{"roots": "MNQ", "limit": 1}]})
    await d.position("MNQ", 3)
    assert d.actions == []
    await d.wait_until(CPI_AT - 5 * MINUTE)
    assert d.actions == ["reduce MNQ to 1"]
    await d.obey()
    await d.wait_until(CPI_AT + 5 * MINUTE)
    await d.position("MNQ", 3)
    assert d.actions == ["reduce MNQ to 1"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"windows": [{"at": "tomorrow"}]}, "not a date and time"),
        ({"windows": [{"at": "2026-12-10"}]}, "not a date and time"),
        ({"windows": [{**CPI, "timezone": "Chicago"}]}, "not a known time zone"),
        ({"windows": [{**CPI, "before": "72h"}]}, "longer than two days"),
        ({"windows": [{**CPI, "roots": []}]}, "names no product"),
        ({"windows": [{**CPI, "roots": ["M*"]}]}, "is not a product"),
        ({"windows": [{**CPI, "action": "close"}]}, "block_entries"),
    ],
)
def test_windows_without_sense_are_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        rules_from(release_window=fields)


# --- windows as sets of minutes -------------------------------------------------------------------


def minutes_from(start: int, length: int, is_flat: bool) -> Span:
    begins = BEFORE + start * MINUTE
    return Span(begins, begins + length * MINUTE, begins, "x", (), is_flat, ())


SPANS = st.lists(
    st.builds(minutes_from, st.integers(0, 90), st.integers(1, 30), st.booleans()), max_size=8
)


@settings(deadline=None)
@given(spans=SPANS)
def test_the_union_of_windows_is_what_counting_minutes_gives(spans: list[Span]) -> None:
    """From each stretch to the next, its end is the minute at which the policy changes."""
    expected: list[LockPolicy | None] = []
    for minute in range(125):
        inside = [s for s in spans if s.starts_at <= BEFORE + minute * MINUTE < s.ends_at]
        flat = any(s.is_flat for s in inside)
        expected.append(LockPolicy.FLAT if flat else LockPolicy.NO_ENTRIES if inside else None)
    for minute, policy in enumerate(expected):
        at = BEFORE + minute * MINUTE
        stretch = stretch_at(spans, at)
        assert (None if stretch is None else stretch.policy) == policy
        if stretch is None:
            continue
        first, end = minute, minute
        while end < len(expected) and expected[end] == policy:
            end += 1
        while first and expected[first - 1] == policy:
            first -= 1
        assert stretch.ends_at == BEFORE + end * MINUTE
        assert stretch.starts_at == BEFORE + first * MINUTE
        half = at + timedelta(seconds=59.999)
        assert stretch_at(spans, half) == stretch


@settings(deadline=None)
@given(spans=SPANS)
def test_the_rule_is_in_force_exactly_in_its_windows(spans: list[Span]) -> None:
    rule = ReleaseWindow.model_validate(
        {
            "before": "0s",
            "after": "0s",
            "windows": [
                {
                    "at": s.starts_at.isoformat(),
                    "after": f"{(s.ends_at - s.starts_at).seconds}s",
                    "action": "flat" if s.is_flat else "block_entries",
                }
                for s in spans
            ],
        }
    )
    for minute in range(125):
        at = BEFORE + minute * MINUTE
        inside = {(s.starts_at, s.ends_at) for s in spans if at in s}
        assert {(s.starts_at, s.ends_at) for s in rule.in_force(at)} == inside
        assert rule.is_in_some_window(at) == bool(inside)
