"""What rules leave out because they know the answer: it is the one they would have worked out."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from desk import MORNING, Desk, contract_id, rules_from

from risk_manager.domain.account import Account
from risk_manager.domain.events import Tick
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.holdings import Order, Position
from risk_manager.domain.market_calendar import EVERY, MarketCalendar
from risk_manager.domain.records import OrderSide, OrderStatus, OrderType
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.session_hours import Interval, open_intervals, shared_schedule
from risk_manager.domain.state import State
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.domain.view import View
from risk_manager.rules.flat_by import FlatBy
from risk_manager.rules.session_block_outside import SessionBlockOutside
from risk_manager.rules.stop_guard.levels import Stop, compared, levels_of, raised, stand_as_before
from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.market_calendar import market_calendar
from risk_manager.settings.risk_file import CalendarSection

CHICAGO = ZoneInfo("America/Chicago")
NIGHT: dict[str, Any] = {
    "timezone": "America/Chicago",
    "sessions": [{"days": ["sun", "mon", "tue", "wed", "thu"], "start": "17:00", "end": "15:10"}],
}
NEW_YORK: dict[str, Any] = {
    "timezone": "America/New_York",
    "sessions": [{"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:30", "end": "16:00"}],
}
HOURS = {
    "plain": NIGHT,
    "ordinary days": {**NIGHT, "respect_holidays": False},
    "margin": {**NIGHT, "early_close_margin": "15m", "pre_close_warning": "20m"},
    "two sessions": {
        "timezone": "Europe/Berlin",
        "sessions": [
            {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "01:30", "end": "02:45"},
            {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "02:45", "end": "23:00"},
        ],
    },
    "products": {**NIGHT, "per_symbol": {"CL": NEW_YORK, contract_id("ES"): NEW_YORK}},
}
# The clocks go forward and back in Chicago, and back in Berlin; an early close; a shut day.
DATES = (date(2026, 3, 8), date(2026, 11, 1), date(2026, 10, 25), date(2026, 11, 27))
HELD = ((), ("MNQ",), ("MNQ", "CL", "ES"), ("MNQ", "XYZ"))


def shipped() -> MarketCalendar:
    return market_calendar(CalendarFile(), CalendarSection(), "America/Chicago")


def session_rule(hours: str) -> SessionBlockOutside:
    if hours == "flat by":
        return FlatBy.of(TradingDay(time(17, 0), "America/Chicago"), time(15, 10))
    (rule,) = rules_from(session_block_outside=HOURS[hours])
    assert isinstance(rule, SessionBlockOutside)
    return rule


def holding(symbols: tuple[str, ...]) -> Account:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [contract_id(symbol) if "X" not in symbol else "CON.F.US.XYZ.Z26" for symbol in symbols]
    held = {
        id_: Position(contract_id=id_, net=1, episode=n, opened_at=at, increased_at=at)
        for n, id_ in enumerate(ids, 1)
    }
    return Account(id=101, trading_date=at.date(), positions=held)


def minutes_around(day: date) -> Iterator[datetime]:
    """Each minute of three days and the seconds beside it, in turn."""
    start = datetime.combine(day - timedelta(days=1), time(0), tzinfo=CHICAGO).astimezone(UTC)
    for minute in range(3 * 24 * 60):
        yield start + timedelta(minutes=minute, seconds=minute % 3 - 1)


@pytest.mark.parametrize("day", DATES)
@pytest.mark.parametrize("hours", [*HOURS, "flat by"])
def test_a_session_has_nothing_to_say_where_every_product_is_open(hours: str, day: date) -> None:
    rule, book = session_rule(hours), Rulebook(calendar=shipped())
    leads = (timedelta(0), timedelta(seconds=2), timedelta(minutes=7))
    accounts = [holding(symbols) for symbols in HELD]
    quiet = 0
    for number, now in enumerate(minutes_around(day)):
        account, lead = accounts[number % len(accounts)], leads[number // 5 % len(leads)]
        state = fast_replace(State.at(now, book), lead=lead)
        view = View(state, account, Tick(at=now, lead=lead))
        places = [rule.place(view, c) for c in account.contract_ids()]
        current = [rule.standing(view, *place).current for place in places]
        if not rule.per_symbol:
            whole = rule.standing(view, EVERY)
            assert whole.current is not None or rule.judge(view) is not None
        all_open = all(c and c.ends_at - now > rule.pre_close_warning for c in current)
        if rule.per_symbol or account.positions:
            assert (rule.judge(view) is None) is all_open, now
        quiet += all_open
    assert 0 < quiet < number, "always open or always shut: the test tests nothing"


@pytest.mark.parametrize("day", DATES)
def test_the_shared_hours_are_those_in_which_each_product_is_open(day: date) -> None:
    calendar, hours = shipped(), session_rule("plain").global_hours.weekly
    zone, around = "America/Chicago", day

    def each(root: str) -> tuple[Interval, ...]:
        return open_intervals(hours, zone, calendar, root, around)

    for roots in product(("MNQ", "CL", "GC", "6E"), ("ZC", "LE", "MNQ")):
        shared = shared_schedule(hours, zone, calendar, (EVERY, *roots), around)
        for now in minutes_around(day):
            at = [next((i for i in each(r) if i.starts_at <= now < i.ends_at), None) for r in roots]
            current = shared.at(now).current
            assert (current is not None) is (None not in at), (roots, now)
            if current is not None:
                assert current.ends_at == min(i.ends_at for i in at if i is not None)


COVERING: tuple[dict[str, Any], ...] = (
    {},
    {"require": "any", "accept_beyond_entry": False},
    {"max_stop_distance_ticks": 60, "accept_order_types": ["stop", "trailing_stop"]},
)


@pytest.mark.parametrize("covering", COVERING)
async def test_what_is_kept_of_a_position_changes_no_judgement(covering: dict[str, Any]) -> None:
    """Judged with all that is kept beside positions, and again with nothing of it."""
    said = 0
    for seed in range(25):
        rules = rules_from(
            no_stop_loss_grace={"grace": "5s", "rearm_grace": "2s", **covering},
            stop_guard={"grace": "2s"},
            max_risk_at_entry={"limit": 80},
        )
        trader = Trader(Desk(rules, at=MORNING), Random(seed))
        for _ in range(60):
            await trader.does_something()
            said += judged_the_same(trader.desk, rules)
    assert said > 500, "the rules said hardly anything: the test tests nothing"


def judged_the_same(d: Desk, rules: list[Rule]) -> int:
    """How many rules said something."""
    state, account = d.pipeline.state, d.account()
    bare = {c: fast_replace(p, net=p.net) for c, p in account.positions.items()}
    without, event = fast_replace(account, positions=bare), Tick(at=state.now)
    said = [rule.judge(View(state, account, event)) for rule in rules]
    assert said == [rule.judge(View(state, without, event)) for rule in rules]
    return sum(each is not None for each in said)


class Trader:
    """Positions, stops and prices at random, in two products."""

    def __init__(self, desk: Desk, dice: Random) -> None:
        self.desk = desk
        self.dice = dice
        self.orders: list[tuple[int, str, int, OrderType]] = []

    async def does_something(self) -> None:
        d, dice = self.desk, self.dice
        symbol, roll = dice.choice(("MNQ", "MES")), dice.random()
        if roll < 0.15:
            await d.position(symbol, dice.choice((-2, -1, 0, 1, 2, 3)), dice.choice((21000, 21005)))
        elif roll < 0.4:
            kind = dice.choice((OrderType.STOP, OrderType.TRAILING_STOP, OrderType.LIMIT))
            lots, price = dice.choice((-2, -1, 1, 2)), dice.randint(20980, 21020)
            number = await d.order(symbol, lots, kind=kind, price=price)
            self.orders.append((number, symbol, lots, kind))
        elif roll < 0.5 and self.orders:
            number, symbol, lots, kind = self.orders.pop(dice.randrange(len(self.orders)))
            ended = OrderStatus.CANCELLED
            await d.order(symbol, lots, kind=kind, status=ended, order_id=number, price=1)
        elif roll < 0.8:
            await d.quote(symbol, dice.randint(20975, 21025))
        else:
            await d.wait(seconds=dice.choice((1, 3, 40)))


def test_stops_that_stand_as_before_compare_as_unmet_by_none() -> None:
    dice = Random(1)
    same = 0
    for _ in range(5000):
        stops = tuple(
            Stop(
                Order(
                    id=number,
                    contract_id=contract_id("MNQ"),
                    type=dice.choice((OrderType.STOP, OrderType.STOP, OrderType.TRAILING_STOP)),
                    status=OrderStatus.OPEN,
                    side=OrderSide.SELL,
                    size=dice.randint(1, 2),
                    seen_at=MORNING,
                ),
                dice.choice((None, -2, -1, -1, 0, 0, 0)),
            )
            for number in range(dice.randint(0, 3))
        )
        size = dice.randint(1, 4)
        reference = levels_of(stops, dice.choice((size, size, size + 1)))[-size:]
        if stand_as_before(reference, stops, size):
            same += 1
            found = compared(reference, stops)
            assert found.unmet == ()
            assert raised(reference, found, stops, size) == reference
    assert same > 1000
