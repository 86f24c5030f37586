"""Recorded days under other limits: each round turn, in figures worked out by hand.

MNQ: a tick is 0.25 and worth $0.50, a point $2.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from desk import rules_from
from stored_desk import StoppedClock, StoredDesk

from risk_manager.domain.rulebook import AccountRules, Mode, Rulebook
from risk_manager.store.recorded_days import Recorded
from risk_manager.store.store import Store
from risk_manager.whatif.amounts import Between
from risk_manager.whatif.judging import judge_day
from risk_manager.whatif.outcomes import Kind, Slippage
from risk_manager.whatif.result import AccountResult, Result, result_of

DAY = date(2026, 11, 20)


@asynccontextmanager
async def trading(folder: Path, **rules: Any) -> AsyncIterator[StoredDesk]:
    """A recorded day under these rules."""
    async with Store.open(folder / "state.db", StoppedClock(), keep_every=timedelta(hours=1)) as s:
        await s.keep_journal(folder / "journal", "1.0")
        desk = StoredDesk(s, rules_from(**rules))
        await desk.open_with_one_contract()
        await desk.report()
        yield desk


async def round_turn(
    desk: StoredDesk, net: int, entry: float, prices: Sequence[float], exit_at: float
) -> None:
    """A trade in MNQ with quotes a second apart between entry and exit. Fees are $1 a fill."""
    await desk.quote("MNQ", entry - 0.25, entry)
    await desk.fill("MNQ", net, price=entry, fees=1)
    await desk.position("MNQ", net, entry)
    for price in prices:
        await desk.wait(seconds=1)
        await desk.quote("MNQ", price - 0.25, price)
    await desk.wait(seconds=5)
    pnl = Decimal(str(exit_at - entry)) * net * 2
    await desk.fill("MNQ", -net, price=exit_at, fees=1, pnl=pnl)
    await desk.position("MNQ", 0)
    await desk.wait(seconds=30)


def book(mode: Mode = Mode.ENFORCE, **rules: Any) -> Rulebook:
    return Rulebook(accounts={101: AccountRules.of(rules_from(**rules), mode)})


def judged(folder: Path, rulebook: Rulebook) -> Result:
    done = judge_day(DAY, Recorded(day=DAY).turns(folder / "state.db"), rulebook)
    return result_of([done], Slippage(), has_quotes=True)


def only(result: Result) -> AccountResult:
    (day,) = result.days
    return day


def kinds(result: Result) -> list[Kind]:
    return [o.kind for o in only(result).outcomes]


def between(low: str, high: str) -> Between:
    return Between(Decimal(low), Decimal(high))


async def test_a_tighter_daily_loss_prevents_the_trades_after_it(tmp_path: Path) -> None:
    async with trading(tmp_path) as desk:
        await round_turn(desk, 2, 21000, [], 20950)  # -200 - 2
        await round_turn(desk, 2, 21000, [], 20950)  # -200 - 2: 404 lost
        await round_turn(desk, 1, 21000, [], 21050)  # +100 - 2
        await round_turn(desk, -2, 21000, [], 21100)  # -400 - 2
    result = judged(tmp_path, book(daily_realized_loss={"limit": 400}))
    assert kinds(result) == [Kind.UNCHANGED, Kind.UNCHANGED, Kind.PREVENTED, Kind.PREVENTED]
    day = only(result)
    assert day.recorded == Decimal(-708)
    # An order in spite of the lock costs its fees and two ticks a lot: 2 + 1, and 2 + 2.
    assert [o.result for o in day.outcomes[2:]] == [between("-3", "0"), between("-4", "0")]
    assert day.known == between("-411", "-404")
    assert [o.is_after for o in day.outcomes] == [False, False, True, True]
    rule = result.rules["daily_realized_loss"]
    assert (rule.acted, rule.prevented, rule.cut_early) == (1, 2, 0)
    assert rule.saved == between("398", "402")
    assert rule.missed == between("98", "101")
    assert not result.is_reproduced


async def test_a_position_is_cut_at_the_bid_with_a_range_for_slippage(tmp_path: Path) -> None:
    async with trading(tmp_path) as desk:
        await round_turn(desk, 2, 21000, [20990, 20950.25, 20900], 20880)  # -480 - 2
    limits = book(daily_unrealized_loss={"limit": 190, "scope": "position"})
    (turn,) = only(judged(tmp_path, limits)).outcomes
    # At a bid of 20950.00 the loss is 50 * 2 * 2 = 200; two ticks on two lots are 2 more.
    assert (turn.kind, turn.result) == (Kind.CUT_EARLY, between("-204", "-202"))
    assert turn.change == between("278", "280")
    assert not turn.is_estimate


async def test_a_close_takes_the_stop_with_it_that_ended_the_trade_in_the_record(
    tmp_path: Path,
) -> None:
    async with trading(tmp_path) as desk:
        await desk.quote("MNQ", 20999.75, 21000)
        await desk.fill("MNQ", 1, price=21000, fees=1)
        await desk.position("MNQ", 1)
        stop = await desk.stop("MNQ", -1, 20900)
        await desk.wait(seconds=5)
        await desk.quote("MNQ", 20949.75, 20950)
        await desk.wait(seconds=5)
        await desk.fill("MNQ", -1, price=20900, fees=1, pnl=-200, order_id=stop)
        await desk.position("MNQ", 0)
    limits = book(daily_unrealized_loss={"limit": 100, "scope": "position"})
    (turn,) = only(judged(tmp_path, limits)).outcomes
    assert (turn.kind, turn.result) == (Kind.CUT_EARLY, between("-103.5", "-102.5"))


async def test_a_stop_that_is_moved_makes_the_exit_unknowable(tmp_path: Path) -> None:
    async with trading(tmp_path) as desk:
        await desk.fill("MNQ", 1, price=21000, fees=1)
        await desk.position("MNQ", 1)
        await desk.stop("MNQ", -1, 20900)
        await desk.quote("MNQ", 21019.75, 21020)
        await desk.wait(seconds=5)
        await desk.fill("MNQ", -1, price=20990, fees=1, pnl=-20)
        await desk.position("MNQ", 0)
    moved = {"enabled": True, "breakeven": {"trigger_ticks": 10, "offset_ticks": 1}}
    limits = book(trade_management={**moved, "trailing": {"enabled": False}})
    (turn,) = only(judged(tmp_path, limits)).outcomes
    assert (turn.kind, turn.result) == (Kind.UNKNOWABLE, None)
    assert turn.rule_id == "trade_management"


async def test_a_short_is_cut_at_the_ask(tmp_path: Path) -> None:
    async with trading(tmp_path) as desk:
        await round_turn(desk, -1, 21000, [21050], 21010)  # -20 - 2
    limits = book(daily_unrealized_loss={"limit": 100, "scope": "position"})
    result = judged(tmp_path, limits)
    (turn,) = only(result).outcomes
    assert (turn.kind, turn.result) == (Kind.CUT_EARLY, between("-103", "-102"))
    assert result.rules["daily_unrealized_loss"].missed == between("80", "81")


async def test_what_is_closed_without_a_quote_on_record_is_unknowable(tmp_path: Path) -> None:
    async with trading(tmp_path) as desk:
        await desk.fill("MNQ", 1, price=21000, fees=1)
        await desk.position("MNQ", 1)
        await desk.wait(seconds=40)
        await desk.fill("MNQ", -1, price=21010, fees=1, pnl=20)
        await desk.position("MNQ", 0)
    result = judged(tmp_path, book(no_stop_loss_grace={"grace": "30s"}))
    (turn,) = only(result).outcomes
    assert (turn.kind, turn.result) == (Kind.UNKNOWABLE, None)
    assert only(result).not_counted == Decimal(18)
    assert only(result).known == between("0", "0")


async def test_an_entry_above_the_limit_is_cut_to_it_and_the_rest_goes_on(tmp_path: Path) -> None:
    async with trading(tmp_path) as desk:
        await round_turn(desk, 3, 21000, [], 20900)  # -600 - 2
    (turn,) = only(judged(tmp_path, book(max_contracts={"limit": 1}))).outcomes
    # Two lots at the bid of 20999.75: -1; the third as recorded: -200; fees 1, and 1/3 a lot more.
    assert turn.kind is Kind.CUT_EARLY
    assert turn.result is not None
    assert [round(x, 2) for x in turn.result] == [Decimal("-205.00"), Decimal("-203.00")]


async def test_an_entry_into_a_blocked_product_is_prevented(tmp_path: Path) -> None:
    async with trading(tmp_path) as desk:
        await round_turn(desk, 1, 21000, [], 20900)
    (turn,) = only(judged(tmp_path, book(symbol_blocks={"blocked": ["MNQ"]}))).outcomes
    # Closed at once at the bid, a tick below: -0.5, fees 2, up to two ticks more.
    assert (turn.kind, turn.result) == (Kind.PREVENTED, between("-3.5", "-2.5"))


async def test_trades_after_a_pause_are_marked_and_never_added(tmp_path: Path) -> None:
    async with trading(tmp_path) as desk:
        await round_turn(desk, 1, 21000, [], 20970)  # -60 - 2
        await round_turn(desk, 1, 21000, [], 21030)  # within the pause
        await desk.wait(minutes=3)
        await round_turn(desk, 1, 21000, [], 21500)  # +1000 - 2, after it
    pause = {"tiers": [{"loss": 50, "cooldown": "2m"}]}
    result = judged(tmp_path, book(cooldown_after_loss=pause))
    assert kinds(result) == [Kind.UNCHANGED, Kind.PREVENTED, Kind.UNKNOWABLE]
    late = only(result).outcomes[2]
    assert (late.result, late.is_after) == (None, True)
    assert only(result).known == between("-65", "-62")
    assert result.not_counted == Decimal(998)
    assert result.after == 1


async def test_a_lock_that_no_trade_meets_changes_nothing(tmp_path: Path) -> None:
    async with trading(tmp_path) as desk:
        await round_turn(desk, 1, 21000, [], 20970)
        await desk.wait(minutes=3)
        await round_turn(desk, 1, 21000, [], 21500)
    pause = {"tiers": [{"loss": 50, "cooldown": "2m"}]}
    result = judged(tmp_path, book(cooldown_after_loss=pause))
    assert kinds(result) == [Kind.UNCHANGED, Kind.UNCHANGED]
    assert result.rules["cooldown_after_loss"].acted == 1


async def test_a_lock_that_only_the_record_had_is_told(tmp_path: Path) -> None:
    async with trading(tmp_path, daily_realized_loss={"limit": 60}) as desk:
        await round_turn(desk, 1, 21000, [], 20970)  # locked, and the trader went home
    result = judged(tmp_path, book(daily_realized_loss={"limit": 500}))
    assert kinds(result) == [Kind.UNCHANGED]
    assert only(result).locked_in_record_at is not None
    tighter = judged(tmp_path, book(daily_realized_loss={"limit": 50}))
    assert only(tighter).locked_in_record_at is None


async def test_limits_that_are_looser_than_those_of_the_day_leave_the_rest_unknowable(
    tmp_path: Path,
) -> None:
    async with trading(tmp_path, daily_realized_loss={"limit": 100}) as desk:
        await round_turn(desk, 1, 21000, [], 20980)  # -40 - 2
        await round_turn(desk, 1, 21000, [], 20960)  # -80 - 2: the lock of that day
        await round_turn(desk, 1, 21000, [], 20999)
    result = judged(tmp_path, book(daily_realized_loss={"limit": 500}))
    assert kinds(result) == [Kind.UNCHANGED, Kind.UNCHANGED, Kind.UNKNOWABLE]
    assert only(result).parted_by_record
    assert only(result).lived_under_rules
    assert result.rules == {}


async def test_unchanged_limits_decide_as_recorded_and_change_nothing(tmp_path: Path) -> None:
    rules: dict[str, Any] = {
        "daily_realized_loss": {"limit": 100},
        "max_contracts": {"limit": 1},
        "no_stop_loss_grace": {"grace": "10s"},
    }
    async with trading(tmp_path, **rules) as desk:
        await round_turn(desk, 2, 21000, [20999, 20998], 20995)
        await desk.obey()
        await round_turn(desk, 1, 21000, [], 20940)
        await desk.obey()
        await round_turn(desk, 1, 21000, [], 20990)
    result = judged(tmp_path, book(**rules))
    assert result.is_reproduced
    assert set(kinds(result)) == {Kind.UNCHANGED}
    assert result.known == Between.exactly(result.recorded)
    assert result.rules["daily_realized_loss"].acted == 1


async def test_a_restart_within_the_day_keeps_what_the_tried_limits_remember(
    tmp_path: Path,
) -> None:
    limits = book(daily_realized_loss={"limit": 300, "warn_at": ["0.5"]})
    async with trading(tmp_path) as desk:
        await round_turn(desk, 2, 21000, [], 20950)  # two thirds of the limit: one warning
        earlier = desk.pipeline.state
    async with Store.open(
        tmp_path / "state.db", StoppedClock(desk.now), keep_every=timedelta(hours=1)
    ) as store:
        await store.keep_journal(tmp_path / "journal", "1.0")
        again = StoredDesk(store, at=desk.now)
        again.number_on_from(desk)
        await again.restored()
        await again.report()
        await round_turn(again, 2, 21000, [], 20950)
    assert earlier.accounts
    done = judge_day(DAY, Recorded(day=DAY).turns(tmp_path / "state.db"), limits)
    assert [d.severity.value for d in done.decisions] == ["warning", "breach"]


async def test_a_fill_that_was_reported_late_belongs_to_the_position_that_was_cut(
    tmp_path: Path,
) -> None:
    async with trading(tmp_path) as desk:
        entered_at = desk.now
        await desk.quote("MNQ", 20999.75, 21000)
        await desk.position("MNQ", 1)  # the frame of the fill is lost
        await desk.wait(seconds=10)
        await desk.quote("MNQ", 20940, 20940.25)
        await desk.wait(seconds=20)
        await desk.fill("MNQ", 1, price=21000, fees=1, at=entered_at)
        await desk.fill("MNQ", -1, price=20900, fees=1, pnl=-200)
        await desk.position("MNQ", 0)
    limits = book(daily_unrealized_loss={"limit": 100, "scope": "position"})
    (turn,) = only(judged(tmp_path, limits)).outcomes
    assert (turn.kind, turn.result) == (Kind.CUT_EARLY, between("-123", "-122"))


async def test_a_reversal_is_two_round_turns(tmp_path: Path) -> None:
    async with trading(tmp_path) as desk:
        await desk.fill("MNQ", 1, fees=1)
        await desk.position("MNQ", 1)
        await desk.wait(seconds=5)
        trade = await desk.fill("MNQ", -1, fees=1, pnl=-20, price=20990)
        await desk.fill("MNQ", -2, fees=2, price=20990, trade_id=trade)
        await desk.position("MNQ", -2, 20990)
        await desk.wait(seconds=5)
        await desk.fill("MNQ", 2, fees=2, pnl=40, price=20980)
        await desk.position("MNQ", 0)
    first, second = only(judged(tmp_path, book())).outcomes
    assert (first.episode.side, first.episode.size, first.episode.net) == (1, 1, Decimal(-22))
    assert (second.episode.side, second.episode.size, second.episode.net) == (-1, 2, Decimal(36))


async def test_limits_in_shadow_change_nothing(tmp_path: Path) -> None:
    async with trading(tmp_path) as desk:
        await round_turn(desk, 2, 21000, [], 20900)
        await round_turn(desk, 2, 21000, [], 20900)
    result = judged(tmp_path, book(Mode.SHADOW, daily_realized_loss={"limit": 100}))
    assert set(kinds(result)) == {Kind.UNCHANGED}
    assert result.rules == {}


def test_ranges_part_into_what_was_saved_and_what_was_missed() -> None:
    table: dict[Between, tuple[Between, Between]] = {
        between("5", "7"): (between("5", "7"), between("0", "0")),
        between("-7", "-5"): (between("0", "0"), between("5", "7")),
        between("-2", "3"): (between("0", "3"), between("0", "2")),
    }
    for change, parts in table.items():
        assert (change.gained, change.lost) == parts
