"""Over random days: a floor never falls, and what is kept step by step is what a fresh sum says."""

import asyncio
from datetime import date
from decimal import Decimal

from desk import Desk, rules_from
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trading_month import closed, next_morning, open_profit, opened, read, trade

from risk_manager.domain.trading_days import weekday_before

CENT = Decimal("0.01")
FEES = Decimal("0.74")
START = Decimal(50_000)
DISTANCE = Decimal(2_000)
MODES = ("eod", "intraday_balance", "intraday_equity")

results = st.integers(-90_000, 90_000).map(lambda cents: cents * CENT)
peaks = st.integers(0, 3_000).map(lambda ticks: ticks * Decimal("0.5"))
# One day: trades that are closed, and perhaps a position with its best open result.
days = st.lists(
    st.tuples(st.lists(results, max_size=2), st.none() | st.tuples(peaks, results), st.booleans()),
    min_size=1,
    max_size=8,
)
Day = tuple[list[Decimal], tuple[Decimal, Decimal] | None, bool]
random_days = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def floor(desk: Desk, mode: str) -> Decimal:
    sentence = desk.meter(mode).sentence.replace("$", "").replace(",", "")
    return Decimal(sentence.partition("today ")[2].split()[0].rstrip(";"))


class Model:
    """The same days added up anew: the best balances, and the results."""

    def __init__(self) -> None:
        self.balance = START
        self.best = dict.fromkeys(MODES, START)
        self.results: dict[date, Decimal] = {}

    def makes(self, amount: Decimal, *, fees: Decimal = FEES) -> None:
        self.balance += amount - fees
        for mode in MODES[1:]:
            self.best[mode] = max(self.best[mode], self.balance)

    def stands_at(self, open_result: Decimal) -> None:
        mode = "intraday_equity"
        self.best[mode] = max(self.best[mode], self.balance + open_result)

    def ends(self, day: date, began_with: Decimal) -> None:
        self.best["eod"] = max(self.best["eod"], self.balance)
        self.results[day] = self.balance - began_with

    def floor(self, mode: str) -> Decimal:
        return max(START - DISTANCE, min(START, self.best[mode] - DISTANCE))


async def live_through(month: list[Day]) -> None:
    rules = [
        {"id": mode, "mode": mode, "start_balance": START, "distance": DISTANCE, "shadow": True}
        for mode in MODES
    ]
    desk = Desk(rules_from(trailing_max_drawdown=rules))
    model, floors = Model(), dict.fromkeys(MODES, Decimal(0))
    await read(desk, str(START))
    for trades, position, restarts in month:
        began_with, today = model.balance, desk.account().trading_date
        for result in trades:
            await trade(desk, str(result))
            model.makes(result)
        if position is not None:
            peak, last = position
            await opened(desk)
            model.makes(Decimal(0), fees=FEES / 2)
            await open_profit(desk, "0", str(peak))
            model.stands_at(peak)
            await closed(desk, str(last))
            model.makes(last, fees=FEES / 2)
        if restarts:
            await desk.restart()
        for mode in MODES[1:]:
            assert floor(desk, mode) == model.floor(mode)
        model.ends(today, began_with)
        await next_morning(desk, str(model.balance))
        for mode in MODES:
            assert floor(desk, mode) == model.floor(mode)
            assert floor(desk, mode) >= floors[mode]
            floors[mode] = floor(desk, mode)
        kept = desk.account().days.ended
        assert {day: ended.net for day, ended in kept.items()} == model.results
        newest = kept[weekday_before(desk.account().trading_date)]
        assert newest.balance == model.balance


@random_days
@given(days)
def test_floors_only_rise_and_equal_those_worked_out_anew(month: list[Day]) -> None:
    asyncio.run(live_through(month))


async def fall_back(moves: list[Decimal]) -> None:
    desk = Desk(
        rules_from(
            trailing_daily_loss={"limit": 500, "trail": "realized"},
            giveback={"arm_at": 400, "fraction": "0.4", "include_unrealized": False},
        )
    )
    best = total = Decimal(0)
    locked: set[str] = set()
    for move in moves:
        await trade(desk, str(move), fee="0")
        total += move
        best = max(best, total)
        if total <= best - 500:
            locked.add("trailing_daily_loss")
        if best >= 400 and total <= best * Decimal("0.6"):
            locked.add("giveback")
        assert set(desk.locked_by()) == locked


@random_days
@given(st.lists(results, max_size=12))
def test_a_fall_from_the_best_of_the_day_locks_exactly_when_it_is_deep_enough(
    moves: list[Decimal],
) -> None:
    asyncio.run(fall_back(moves))


async def weeks(month: list[list[Decimal]]) -> None:
    desk = Desk(
        rules_from(
            period_loss={"limit": 1_000, "shadow": True, "warn_at": []},
            consistency={"since": "2026-11-20"},
        )
    )
    await read(desk)
    made: dict[date, Decimal] = {}
    for number, results_of_day in enumerate(month):
        today = desk.account().trading_date
        for result in results_of_day:
            await trade(desk, str(result), fee="0")
        made[today] = sum(results_of_day, Decimal(0))
        week = sum(m for d, m in made.items() if d.isocalendar()[:2] == today.isocalendar()[:2])
        assert desk.meter("period_loss").current == max(-week, Decimal(0))
        others = sum((m for d, m in made.items() if d != today), Decimal(0))
        assert desk.meter("consistency").limit == (others if others > 0 else None)
        if number % 2:
            await desk.restart()
        await next_morning(desk)


@random_days
@given(st.lists(st.lists(results, max_size=2), min_size=1, max_size=10))
def test_sums_over_days_equal_those_worked_out_anew(month: list[list[Decimal]]) -> None:
    asyncio.run(weeks(month))
