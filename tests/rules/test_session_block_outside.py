"""RULE-009, example by example (Monday to Friday, 08:30 to 15:00 in Chicago)."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from desk import Desk, DeskMaker, contract_id, rules_from
from pydantic import ValidationError

from risk_manager.domain.events import AccountReported
from risk_manager.domain.market_calendar import EVERY, ExchangeDay, MarketCalendar
from risk_manager.domain.rulebook import Mode
from risk_manager.domain.session_hours import open_intervals
from risk_manager.rules.session_block_outside import SessionBlockOutside
from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.market_calendar import market_calendar
from risk_manager.settings.risk_file import CalendarSection

CHICAGO = ZoneInfo("America/Chicago")
WEEK = ["mon", "tue", "wed", "thu", "fri"]
DAY: dict[str, Any] = {
    "timezone": "America/Chicago",
    "sessions": [{"days": WEEK, "start": "08:30", "end": "15:00"}],
}
NIGHT: dict[str, Any] = {
    "timezone": "America/Chicago",
    "sessions": [{"days": ["sun", "mon", "tue", "wed", "thu"], "start": "17:00", "end": "15:10"}],
}
OUT = {"session_block_outside": "account"}


def chicago(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=CHICAGO).astimezone(UTC)


def shipped(**section: Any) -> MarketCalendar:
    return market_calendar(
        CalendarFile(), CalendarSection.model_validate(section), "America/Chicago"
    )


async def sleep_until(d: Desk, text: str) -> None:
    await d.wait_until(chicago(text))


def rule(**fields: Any) -> SessionBlockOutside:
    (built,) = rules_from(session_block_outside=fields)
    assert isinstance(built, SessionBlockOutside)
    return built


def is_open(fields: dict[str, Any], text: str, calendar: MarketCalendar | None = None) -> bool:
    at = chicago(text)
    intervals = open_intervals(
        rule(**fields).hours("MNQ").weekly, "America/Chicago", calendar, "MNQ", at.date()
    )
    return any(i.starts_at <= at < i.ends_at for i in intervals)


async def test_009_1_the_end_is_exclusive(desk: DeskMaker) -> None:
    d = desk(session_block_outside=DAY, desk_at=chicago("2026-11-20 14:59:59.900000"))
    await d.position("MNQ", 1)
    assert d.actions == []
    d.now = chicago("2026-11-20 15:00:00")
    await d.wait(seconds=0.001)
    assert d.actions == ["close MNQ"]
    assert d.locked_by() == OUT

    late = desk(session_block_outside=DAY, desk_at=chicago("2026-11-20 15:00:00"))
    await late.position("MNQ", 1)
    assert late.actions == ["close MNQ"]
    assert late.reasons == [
        "outside the session, until Mon 23 Nov 08:30 America/Chicago",
        "MNQ is outside its session: closing 1 MNQZ6",
    ]


async def test_009_2_the_start_is_inclusive_and_ends_the_lock(desk: DeskMaker) -> None:
    d = desk(session_block_outside=DAY, desk_at=chicago("2026-11-20 08:29:50"))
    await d.wait(seconds=1)
    assert d.locked_by() == OUT
    assert d.lock_ends("session_block_outside") == chicago("2026-11-20 08:30")
    await d.wait(seconds=9)
    assert d.locked_by() == {}
    assert [c.cleared_by for c in d.locks_cleared] == ["session_start"]
    await d.position("MNQ", 1)
    assert d.actions == []


@pytest.mark.parametrize(
    ("local", "inside"),
    [
        ("2026-11-23 02:00", True),  # Monday night: Sunday's window
        ("2026-11-20 16:00", False),
        ("2026-11-20 18:00", False),  # Friday is not listed
        ("2026-11-22 16:59:59", False),
        ("2026-11-22 17:00", True),
        ("2026-11-20 15:09:59", True),
        ("2026-11-20 15:10", False),
    ],
)
def test_009_3_a_window_over_midnight_belongs_to_the_day_it_starts_on(
    local: str, inside: bool
) -> None:
    assert is_open(NIGHT, local) is inside


@pytest.mark.parametrize(
    ("start", "end", "day", "starts_at", "ends_at"),
    [
        # 02:30 does not exist that night: the later reading starts.
        ("02:30", "09:00", "2025-03-09", "2025-03-09T08:30", "2025-03-09T14:00"),
        ("00:30", "02:30", "2025-03-09", "2025-03-09T06:30", "2025-03-09T07:30"),
        # 01:30 comes twice that night: the first ends, the second starts.
        ("00:00", "01:30", "2025-11-02", "2025-11-02T05:00", "2025-11-02T06:30"),
        ("01:30", "09:00", "2025-11-02", "2025-11-02T07:30", "2025-11-02T15:00"),
        ("20:00", "01:30", "2025-11-01", "2025-11-02T01:00", "2025-11-02T06:30"),
    ],
)
def test_009_4_where_the_clocks_change_the_shorter_window_is_meant(
    start: str, end: str, day: str, starts_at: str, ends_at: str
) -> None:
    on = date.fromisoformat(day)
    weekday = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][on.weekday()]
    hours = rule(sessions=[{"days": [weekday], "start": start, "end": end}]).hours("MNQ")
    found = open_intervals(hours.weekly, "America/Chicago", None, "MNQ", on)
    assert (
        datetime.fromisoformat(starts_at).replace(tzinfo=UTC),
        datetime.fromisoformat(ends_at).replace(tzinfo=UTC),
    ) in [(i.starts_at, i.ends_at) for i in found]


@pytest.mark.parametrize(
    ("local", "inside"),
    [
        ("2025-12-24 10:00", True),
        ("2025-12-24 17:00", False),  # trading date 25 December
        ("2025-12-25 10:00", False),
        ("2025-12-25 17:00", True),  # trading date 26 December
    ],
)
def test_009_5_a_holiday_is_a_trading_date(local: str, inside: bool) -> None:
    calendar = MarketCalendar(
        overrides={(EVERY, date(2025, 12, 25)): ExchangeDay(closed=True)},
    )
    assert is_open(NIGHT, local, calendar) is inside


async def test_009_6_an_early_close_ends_the_session(desk: DeskMaker) -> None:
    calendar = shipped(
        early_closes=[{"date": "2025-11-28", "flat_by": "12:00", "timezone": "America/Chicago"}]
    )
    d = desk(
        session_block_outside=DAY,
        desk_calendar=calendar,
        desk_at=chicago("2025-11-28 11:59:00"),
    )
    await d.position("MNQ", 1)
    await d.wait(seconds=59)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]
    assert d.lock_ends("session_block_outside") == chicago("2025-12-01 08:30")


async def test_009_7_a_product_may_have_hours_of_its_own(desk: DeskMaker) -> None:
    d = desk(
        session_block_outside={**DAY, "per_symbol": {"mgc": NIGHT}},
        desk_at=chicago("2026-11-19 20:00"),
    )
    await d.position("MGC", 1, 2600)
    await d.position("MNQ", 1)
    await d.obey()
    assert d.actions == ["close MNQ"]
    assert d.locked_by() == {"session_block_outside": "root:MNQ"}
    await sleep_until(d, "2026-11-20 08:31")
    assert d.locked_by() == {}


async def test_a_contract_may_have_hours_of_its_own_and_the_other_expiries_keep_theirs(
    desk: DeskMaker,
) -> None:
    d = desk(
        session_block_outside={**DAY, "per_symbol": {"CON.F.US.EP.Z26": NIGHT}},
        desk_at=chicago("2026-11-19 20:00"),
    )
    await d.position("ES.Z26", 1, 6000)
    await d.position("ES.H27", 1, 6000)
    await d.obey()
    await d.wait(seconds=5)
    assert d.actions == ["close ES.H27"]
    assert d.locked_by() == {"session_block_outside": "contract:CON.F.US.EP.H27"}
    await sleep_until(d, "2026-11-20 08:31")
    assert (d.locked_by(), len(d.actions)) == ({}, 1)


async def test_a_contract_outside_its_own_hours_stays_locked_while_its_product_trades(
    desk: DeskMaker,
) -> None:
    d = desk(
        session_block_outside={**NIGHT, "per_symbol": {"CON.F.US.EP.Z26": DAY}},
        desk_at=chicago("2026-11-19 20:00"),
    )
    await d.position("ES.Z26", 1, 6000)
    await d.obey()
    await d.position("ES.H27", 1, 6000)
    await d.wait(seconds=5)
    assert d.actions == ["close ES"]
    assert d.locked_by() == {"session_block_outside": "contract:CON.F.US.EP.Z26"}
    assert len(d.locks_set) == 1
    assert d.reasons == [
        "ESZ6 is outside its session, until Fri 20 Nov 08:30 America/Chicago",
        "ESZ6 is outside its session: closing 1 ESZ6",
    ]
    await sleep_until(d, "2026-11-20 08:31")
    assert d.locked_by() == {}


async def test_hours_of_a_contract_put_in_later_part_the_lock_of_its_product(
    desk: DeskMaker,
) -> None:
    d = desk(
        session_block_outside={**DAY, "per_symbol": {"MGC": NIGHT}},
        desk_at=chicago("2026-11-19 20:00"),
    )
    await d.position("ES.H27", 1, 6000)
    await d.obey()
    assert d.locked_by() == {"session_block_outside": "root:ES"}
    await d.new_rules(
        rules_from(session_block_outside={**DAY, "per_symbol": {"CON.F.US.EP.Z26": NIGHT}})
    )
    assert d.locked_by() == {}
    await d.position("ES.Z26", 1, 6000)
    assert d.taken() == ["close ES.H27"]


async def test_the_meter_names_the_contract_that_has_hours_of_its_own(desk: DeskMaker) -> None:
    d = desk(
        session_block_outside={**NIGHT, "per_symbol": {"CON.F.US.EP.Z26": DAY}},
        desk_at=chicago("2026-11-20 14:00"),
    )
    await d.position("ES.H27", 1, 6000)
    assert d.meter("session_block_outside").sentence == (
        "session open, 1h10m left until Fri 20 Nov 15:10 America/Chicago"
    )
    await d.position("ES.Z26", 1, 6000)
    assert d.meter("session_block_outside").sentence == (
        "session open, 1h left until Fri 20 Nov 15:00 America/Chicago"
    )


async def test_009_8_what_fills_late_is_closed_too(desk: DeskMaker) -> None:
    d = desk(session_block_outside=DAY, desk_at=chicago("2026-11-20 14:59:00"))
    for size in (1, 2, 3, 4):
        await d.position("MNQ", size)
    await d.wait(seconds=60)
    assert d.taken() == ["close MNQ"]
    await d.obey()
    await d.wait(seconds=1)
    await d.position("MNQ", 1)
    assert d.taken() == ["close MNQ"]
    await d.obey()
    assert d.account().is_flat


def test_009_9_the_week_of_the_exchange_in_its_own_clock() -> None:
    week = {
        "timezone": "America/Chicago",
        "sessions": [
            {"days": ["sun", "mon", "tue", "wed", "thu"], "start": "17:00", "end": "16:00"}
        ],
    }
    assert is_open(week, "2026-11-22 17:00")
    assert not is_open(week, "2026-11-20 16:00")


async def test_at_the_end_orders_go_and_stops_stay_until_it_is_flat(desk: DeskMaker) -> None:
    d = desk(session_block_outside=DAY, desk_at=chicago("2026-11-20 14:59:00"))
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    entry = await d.order("ES", 1, price=5990)
    await d.wait(seconds=60)
    assert d.taken() == [f"cancel {entry}", "close MNQ"]
    await d.obey()
    assert d.taken() == [f"cancel {stop}"]
    assert d.account().is_flat


async def test_the_end_is_warned_of_while_something_is_at_stake(desk: DeskMaker) -> None:
    d = desk(session_block_outside=DAY, desk_at=chicago("2026-11-20 14:50:00"))
    await d.wait(minutes=8)
    assert d.reasons == []
    await d.position("MNQ", 1)
    await d.wait(seconds=30)
    assert d.reasons == [
        "MNQ: the session ends at Fri 20 Nov 15:00 America/Chicago; positions are closed and "
        "orders cancelled then"
    ]


async def test_positions_may_be_held_over_the_end_and_not_added_to(desk: DeskMaker) -> None:
    d = desk(
        session_block_outside={**DAY, "at_end": "none"}, desk_at=chicago("2026-11-20 14:59:00")
    )
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    await d.wait(minutes=2)
    assert d.actions == []
    assert stop in d.account().orders
    await d.position("ES", 1, 6000)
    await d.obey()
    assert d.actions == ["close ES"]
    entry = await d.order("MNQ", 1, price=20900)
    assert d.actions[-1] == f"cancel {entry}"


async def test_cancel_only_leaves_the_position_and_its_stop(desk: DeskMaker) -> None:
    d = desk(
        session_block_outside={**DAY, "at_end": "cancel_only", "lockout": "none"},
        desk_at=chicago("2026-11-20 14:59:00"),
    )
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    entry = await d.order("MNQ", 1, price=20900)
    await d.wait(seconds=70)
    await d.obey()
    await d.wait(minutes=2)
    assert d.actions == [f"cancel {entry}"]
    assert stop in d.account().orders
    assert d.locked_by() == {}


async def test_fills_outside_may_only_be_told(desk: DeskMaker) -> None:
    d = desk(
        session_block_outside={
            **DAY,
            "fills_outside": "alert",
            "working_orders_outside": "keep",
            "lockout": "none",
        },
        desk_at=chicago("2026-11-20 15:30:00"),
    )
    await d.position("MNQ", 1)
    await d.order("ES", 1, price=5990)
    await d.wait(minutes=1)
    assert d.actions == []
    assert d.reasons == ["MNQ is outside its session: 1 MNQZ6 opened outside; left as is"]


async def test_without_a_lock_fills_outside_are_closed_all_the_same(desk: DeskMaker) -> None:
    d = desk(
        session_block_outside={**DAY, "lockout": "none"}, desk_at=chicago("2026-11-20 15:30:00")
    )
    await d.position("MNQ", 1)
    order = await d.order("ES", 1, price=5990)
    assert d.actions == ["close MNQ", f"cancel {order}"]


async def test_a_restart_outside_the_session_closes_what_is_open(desk: DeskMaker) -> None:
    d = desk(session_block_outside=DAY, desk_at=chicago("2026-11-20 14:00"))
    await d.position("MNQ", 1)
    d.now = chicago("2026-11-20 18:00")
    await d.restart()
    assert d.actions == ["close MNQ"]
    assert d.locked_by() == OUT


async def test_the_lock_is_worked_out_anew_when_the_hours_are_edited(desk: DeskMaker) -> None:
    d = desk(session_block_outside=DAY, desk_at=chicago("2026-11-20 15:30"))
    await d.wait(seconds=1)
    assert d.locked_by() == OUT
    longer = {**DAY, "sessions": [{"days": WEEK, "start": "08:30", "end": "16:00"}]}
    await d.new_rules(rules_from(session_block_outside=longer))
    assert d.locked_by() == {}
    own = {**DAY, "per_symbol": {"MNQ": {**DAY, "sessions": DAY["sessions"]}}}
    await d.new_rules(rules_from(session_block_outside=DAY))
    assert d.locked_by() == OUT
    await d.new_rules(rules_from(session_block_outside=own))
    assert d.locked_by() == {}  # products are locked by themselves now, as they turn up
    await d.position("MNQ", 1)
    assert d.locked_by() == {"session_block_outside": "root:MNQ"}


async def test_a_rule_taken_out_leaves_its_lock_until_the_session_would_have_begun(
    desk: DeskMaker,
) -> None:
    d = desk(session_block_outside=DAY, desk_at=chicago("2026-11-19 15:30"))
    await d.wait(seconds=1)
    await d.new_rules([])
    await d.position("MNQ", 1)
    assert d.actions == ["close MNQ"]
    await d.obey()
    await sleep_until(d, "2026-11-20 08:31")
    assert d.locked_by() == {}


async def test_the_daily_reset_does_not_open_the_session(desk: DeskMaker) -> None:
    d = desk(session_block_outside=DAY, desk_at=chicago("2026-11-19 15:30"))
    await sleep_until(d, "2026-11-19 18:00")
    assert len(d.resets) == 1
    assert d.locked_by() == OUT


async def test_the_exchanges_holidays_come_with_the_program(desk: DeskMaker) -> None:
    d = desk(
        session_block_outside={**NIGHT},
        desk_calendar=shipped(),
        desk_at=chicago("2026-12-24 16:00"),
    )
    await d.wait(seconds=1)
    assert d.locked_by() == OUT
    await sleep_until(d, "2026-12-25 16:00")
    assert d.locked_by() == OUT
    # The window that would start on Friday evening is not listed: the next is Sunday's.
    assert d.lock_ends("session_block_outside") == chicago("2026-12-27 17:00")


@pytest.mark.parametrize(
    ("local", "root", "inside"),
    [
        ("2026-04-03 08:14", "MNQ", True),
        ("2026-04-03 08:15", "MNQ", False),
        ("2026-06-19 11:59", "ES", True),
        ("2026-06-19 12:00", "ES", False),
        ("2026-06-19 17:00", "ES", False),  # a Friday evening
        ("2026-01-19 12:00", "MES", False),
        ("2026-01-19 17:00", "MES", True),  # Tuesday's session
        ("2026-01-19 13:29", "CL", True),
        ("2026-01-19 13:30", "CL", False),
        ("2026-11-27 12:14", "NQ", True),
        ("2026-11-27 12:15", "NQ", False),
    ],
)
def test_each_product_group_has_its_own_early_closes(local: str, root: str, inside: bool) -> None:
    at = chicago(local)
    hours = rule(**NIGHT).hours(root)
    intervals = open_intervals(hours.weekly, "America/Chicago", shipped(), root, at.date())
    assert any(i.starts_at <= at < i.ends_at for i in intervals) is inside


async def test_a_margin_ends_the_session_before_an_early_close_of_the_exchange(
    desk: DeskMaker,
) -> None:
    d = desk(
        session_block_outside={**NIGHT, "early_close_margin": "15m"},
        desk_calendar=shipped(),
        desk_at=chicago("2026-11-27 11:59:30"),  # the exchange halts at 12:15
    )
    await d.position("MNQ", 1)
    assert d.actions == []
    await sleep_until(d, "2026-11-27 12:00:00")
    await d.obey()
    assert d.actions == ["close MNQ"]


async def test_a_margin_changes_nothing_on_an_ordinary_day(desk: DeskMaker) -> None:
    d = desk(
        session_block_outside={**NIGHT, "early_close_margin": "15m"},
        desk_calendar=shipped(),
        desk_at=chicago("2026-11-30 15:09:00"),
    )
    await d.position("MNQ", 1)
    assert d.actions == []


@pytest.mark.parametrize(("mine", "theirs", "covers"), [("15m", "0s", True), ("0s", "15m", False)])
def test_the_longer_margin_is_the_stricter_one(mine: str, theirs: str, covers: bool) -> None:
    longer, shorter = (rule(**NIGHT, early_close_margin=m) for m in (mine, theirs))
    assert longer.covers(shorter) is covers


async def test_a_group_that_closes_early_is_locked_by_itself(desk: DeskMaker) -> None:
    d = desk(
        session_block_outside=NIGHT, desk_calendar=shipped(), desk_at=chicago("2026-01-19 11:59")
    )
    await d.position("MNQ", 1)
    await d.position("CL", 1, 60)
    await d.wait(seconds=70)
    await d.obey()
    assert d.actions == ["close MNQ"]
    assert d.locked_by() == {"session_block_outside": "root:MNQ"}
    await sleep_until(d, "2026-01-19 13:30")
    await d.obey()
    assert d.actions == ["close MNQ", "close CL"]


async def test_a_product_the_calendar_does_not_know_counts_as_shut(desk: DeskMaker) -> None:
    d = desk(
        session_block_outside=DAY, desk_calendar=shipped(), desk_at=chicago("2026-11-20 10:00")
    )
    await d.position("CON.F.US.XYZ.Z26", 1, 10)
    assert d.actions == ["close XYZ"]
    assert d.reasons[0].startswith("XYZ is in no group of the market calendar and counts as shut")

    without = desk(
        session_block_outside={**DAY, "respect_holidays": False},
        desk_calendar=shipped(),
        desk_at=chicago("2026-11-20 10:00"),
    )
    await without.position("CON.F.US.XYZ.Z26", 1, 10)
    assert without.actions == []


async def test_a_calendar_about_to_end_is_warned_of_once(desk: DeskMaker) -> None:
    d = desk(
        session_block_outside=DAY, desk_calendar=shipped(), desk_at=chicago("2028-11-15 10:00")
    )
    await d.wait(minutes=1)
    assert d.reasons == [
        "the market calendar ends on 2028-12-31; holidays after that are not known; "
        "update the program or calendar.yaml"
    ]


async def test_shadow_tells_and_locks_nothing(desk: DeskMaker) -> None:
    d = desk(session_block_outside=DAY, desk_at=chicago("2026-11-20 15:30"), desk_mode=Mode.SHADOW)
    await d.position("MNQ", 1)
    assert (d.actions, d.locked_by()) == ([], {})
    assert d.reasons[-1] == "MNQ is outside its session: closing 1 MNQZ6"


async def test_the_other_account_trades_on(desk: DeskMaker) -> None:
    d = desk(
        session_block_outside={**DAY, "accounts": [101]},
        desk_at=chicago("2026-11-20 15:30"),
        desk_accounts=(101, 102),
    )
    await d.position("MNQ", 1, account=102)
    assert d.actions == []


async def test_the_meter_says_how_long_the_session_lasts(desk: DeskMaker) -> None:
    d = desk(session_block_outside=DAY, desk_at=chicago("2026-11-20 10:00"))
    await d.wait(seconds=0)
    meter = d.meter("session_block_outside")
    assert meter.sentence == "session open, 5h left until Fri 20 Nov 15:00 America/Chicago"
    assert (meter.current, meter.limit, meter.headroom) == tuple(map(Decimal, (90, 390, 300)))
    await d.wait_until(chicago("2026-11-20 15:00"))
    assert (
        d.meter("session_block_outside").sentence
        == "outside the session, opens Mon 23 Nov 08:30 America/Chicago"
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Field required"),
        ({"sessions": []}, "at least 1"),
        ({"sessions": [{"days": WEEK, "start": "08:30", "end": "08:30"}]}, "both 08:30"),
        ({"sessions": [{"days": WEEK, "start": "24:00", "end": "08:30"}]}, "is an end"),
        ({"sessions": [{"days": WEEK, "start": 510, "end": "15:00"}]}, 'write "08:30"'),
        ({"sessions": [{"days": WEEK, "start": "8:30", "end": "15:00"}]}, "not a time of day"),
        ({"sessions": [{"days": WEEK, "start": "08:30", "end": "25:00"}]}, "not a time of day"),
        ({"sessions": [{"days": [], "start": "08:30", "end": "15:00"}]}, "at least 1"),
        ({"sessions": [{"days": ["mon", "mon"], "start": "08:30", "end": "15:00"}]}, "twice"),
        ({"sessions": [{"days": ["monday"], "start": "08:30", "end": "15:00"}]}, "'mon'"),
        ({**DAY, "timezone": "Chicago"}, "not a known time zone"),
        ({**DAY, "fills_outside": "alert"}, "write lockout: none"),
        ({**DAY, "working_orders_outside": "keep"}, "write lockout: none"),
        ({**DAY, "per_symbol": {" ": DAY}}, "empty symbol"),
        ({**DAY, "pre_close_warning": "soon"}, "not a duration"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        rules_from(session_block_outside=fields)


def test_the_whole_day_and_several_windows() -> None:
    whole = {"sessions": [{"days": WEEK, "start": "00:00", "end": "24:00"}]}
    assert is_open(whole, "2026-11-20 23:59:59")
    assert not is_open(whole, "2026-11-21 00:00")
    two = {
        "sessions": [
            {"days": WEEK, "start": "08:30", "end": "11:00"},
            {"days": WEEK, "start": "10:30", "end": "15:00"},
        ]
    }
    assert is_open(two, "2026-11-20 11:00")
    hours = rule(**two).hours("MNQ")
    found = open_intervals(hours.weekly, "America/Chicago", None, "MNQ", date(2026, 11, 20))
    friday = [i for i in found if i.starts_at == chicago("2026-11-20 08:30")]
    assert friday[0].ends_at == chicago("2026-11-20 15:00")


def test_every_weekday_of_five_years_has_one_session_of_local_hours() -> None:
    hours = rule(**DAY).hours("MNQ")
    day = date(2024, 1, 1)
    while day < date(2029, 1, 1):
        found = open_intervals(hours.weekly, "America/Chicago", None, "MNQ", day)
        mine = [i for i in found if i.starts_at.astimezone(CHICAGO).date() == day]
        assert len(mine) == (1 if day.weekday() < 5 else 0)
        for interval in mine:
            assert interval.starts_at.astimezone(CHICAGO).time() == time(8, 30)
            assert interval.ends_at.astimezone(CHICAGO).time() == time(15, 0)
        day += timedelta(days=1)


NOT_AT_THE_END = {
    "timezone": "America/Chicago",
    "sessions": [{"days": ["fri"], "start": "08:30", "end": "15:00"}],
    "at_end": "none",
    "lockout": "none",
}


@pytest.mark.parametrize("stamp", ["0001-01-01T00:00:00", "0001-01-01T00:00:00+00:00"])
async def test_a_position_without_a_real_date_is_opened_when_it_is_heard_of(
    desk: DeskMaker, stamp: str
) -> None:
    d = desk(session_block_outside=NOT_AT_THE_END)
    await d.wait_until(d.now + timedelta(hours=5, minutes=30))  # 15:30
    await d.position("MNQ", 1, creationTimestamp=stamp)
    await d.wait(seconds=2)
    assert d.actions == ["close MNQ"]


async def test_a_position_turned_round_outside_is_closed_though_its_record_is_older(
    desk: DeskMaker,
) -> None:
    d = desk(session_block_outside=NOT_AT_THE_END)
    await d.wait_until(d.now + timedelta(hours=4, minutes=40))  # 14:40
    opened = d.now
    await d.position("MNQ", 1, creationTimestamp=opened)
    await d.wait_until(d.now + timedelta(minutes=50))  # 15:30
    assert d.actions == []
    await d.fill("MNQ", -1, pnl=0)
    await d.fill("MNQ", -5)
    await d.position("MNQ", -5, creationTimestamp=opened)
    await d.wait(seconds=2)
    assert d.actions == ["close MNQ"]


async def heard_of_after_the_end(d: Desk, size: int, trades: list[dict[str, Any]] | None) -> None:
    """The computer is on again at 15:05: of a position opened at 14:50 is heard only now."""
    await d.wait_until(d.now + timedelta(hours=4, minutes=40))
    opened = d.now + timedelta(minutes=10)
    d.now += timedelta(minutes=25)
    await d.restart(read=False)
    about = {"accountId": 101, "contractId": contract_id("MNQ")}
    position = {"id": 5000, "type": 1, "size": size, "averagePrice": 21000.0}
    fill = {**about, "price": 21000.0, "profitAndLoss": None, "fees": 0, "side": 0}
    await d.happens(
        AccountReported.model_validate(
            {
                "at": d.now,
                "asked_at": d.now,
                "account_id": 101,
                "orders": [],
                "positions": [{**about, **position, "creationTimestamp": opened}],
                "trades": trades and [{**fill, **trade} for trade in trades],
            }
        )
    )
    await d.wait(seconds=5)


async def test_a_position_opened_in_the_session_is_kept_though_heard_of_after_it(
    desk: DeskMaker,
) -> None:
    d = desk(session_block_outside={k: v for k, v in NOT_AT_THE_END.items() if k != "lockout"})
    await heard_of_after_the_end(d, 1, None)
    assert d.actions == []


async def test_what_was_added_outside_while_off_is_closed(desk: DeskMaker) -> None:
    d = desk(session_block_outside={k: v for k, v in NOT_AT_THE_END.items() if k != "lockout"})
    opened = d.now + timedelta(hours=4, minutes=50)
    added = opened + timedelta(minutes=12)
    await heard_of_after_the_end(
        d,
        6,
        [
            {"id": 1, "orderId": 11, "size": 1, "creationTimestamp": opened},
            {"id": 2, "orderId": 12, "size": 5, "creationTimestamp": added},
        ],
    )
    assert d.actions
