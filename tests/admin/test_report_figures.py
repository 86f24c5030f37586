"""The figures of a report, against those of a day worked out by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from desk import MORNING, contract_id
from hypothesis import given
from hypothesis import strategies as st
from reported_day import FRIDAY, bad_friday
from stored_desk import StoppedClock, at, rows, stored_desk, tamper

from risk_manager.admin.reports.discipline import AfterLoss
from risk_manager.admin.reports.records import Records, read_records, stored_accounts
from risk_manager.admin.reports.report import Report, make_report
from risk_manager.admin.reports.stops import StopChange
from risk_manager.admin.reports.text import WIDTH, as_text
from risk_manager.domain.executions import Execution
from risk_manager.domain.records import OrderSide, OrderStatus
from risk_manager.domain.symbols import Symbols
from risk_manager.domain.trading_calendar import TradingDay

DAY = TradingDay()
LATER = MORNING + timedelta(days=4)


def report(
    folder: Path, first: date = FRIDAY, last: date = FRIDAY, now: datetime = LATER
) -> Report:
    records = read_records(folder, 101, "combine", DAY, first, last)
    return make_report(records, Symbols(), DAY, now)


def minute(of: int, second: int = 0) -> datetime:
    return MORNING + timedelta(minutes=of, seconds=second)


@pytest.fixture
async def friday(tmp_path: Path) -> Path:
    await bad_friday(tmp_path)
    return tmp_path


def test_the_result_is_what_the_executions_add_up_to(friday: Path) -> None:
    made = report(friday)
    (day,) = made.days
    # 100 - 200 - 400 - 10 - 10; fees 0.74 + 1.48 + 2.96 + 0.74 + 0.74
    assert (day.realised, day.fees, day.net) == (
        Decimal("-520"),
        Decimal("6.66"),
        Decimal("-526.66"),
    )
    assert (day.trades, day.executions, day.note) == (5, 10, "")
    assert made.total.net == day.net
    assert not made.open_positions
    assert made.curve[-1].net == day.net


def test_each_trade_has_its_net_and_the_day_so_far(friday: Path) -> None:
    told = [
        (t.symbol, t.side, t.lots, str(t.net), str(t.day_so_far), t.closed_by)
        for t in report(friday).trades
    ]
    rule = ("daily_realized_loss",)
    assert told == [
        ("MNQZ6", "long", 1, "99.26", "99.26", ()),
        ("MNQZ6", "long", 2, "-201.48", "-102.22", ()),
        # The fee of the MES bought before is in the day, not in this trade.
        ("MNQZ6", "long", 4, "-402.96", "-505.55", ()),
        ("MESZ6", "long", 1, "-10.74", "-515.92", rule),
        ("MESZ6", "long", 1, "-10.74", "-526.66", rule),
    ]


def test_what_followed_an_intervention_is_a_fact_and_what_might_have_is_apart(
    friday: Path,
) -> None:
    (done,) = report(friday).interventions
    assert (done.rule_id, done.locks) == ("daily_realized_loss", 1)
    # After 11:35:00: -10.37, then -0.37 and -10.37.
    assert (done.trades_after, done.net_after) == (1, Decimal("-21.11"))
    closed = [(c.symbol, c.lots, c.realised, c.gain_if_held, c.valued_at) for c in done.closed]
    assert closed == [
        # Sold at 5998; the last fill was at 6008, ten points of 5 dollars higher.
        ("MESZ6", 1, Decimal(-10), Decimal(50), minute(50, 1)),
        ("MESZ6", 1, Decimal(-10), None, None),
    ]


def test_the_behaviour_after_losses_is_counted_by_the_definitions_of_the_field(
    friday: Path,
) -> None:
    found = report(friday).discipline
    assert (found.wins, found.losses, found.scratches) == (1, 4, 0)
    twice, same = found.after_losses
    assert twice == AfterLoss(
        lost_at=minute(25),
        lost=Decimal("-201.48"),
        lost_symbol="MNQZ6",
        lost_size=Decimal(2),
        entered_at=minute(30),
        symbol="MNQZ6",
        size=Decimal(4),
        size_ratio=Decimal("2.00"),
        gap_s=300.0,
        is_reentry=True,
        is_revenge=True,
        is_escalation=True,
    )
    assert (same.symbol, same.gap_s, same.size_ratio) == ("MESZ6", 899.0, Decimal("1.00"))
    assert (same.is_reentry, same.is_revenge) == (True, False)
    assert (found.reentries, found.revenge_entries, found.escalations) == (2, 1, 1)
    assert found.size_after_loss == Decimal("1.50")
    assert (found.median_gap_after_loss_s, found.median_gap_after_win_s) == (599.5, 600.0)
    assert (found.entries, found.active_hours) == (5, 1)
    assert found.entries_per_active_hour == Decimal("5.00")
    assert (found.busiest_hour_entries, found.busiest_hour_from) == (5, minute(0))


def test_a_stop_moved_away_and_one_removed_are_told_with_what_the_trade_came_to(
    friday: Path,
) -> None:
    lost = Decimal("-402.96")
    old, far = Decimal("20990.0"), Decimal("20970.0")
    stops = report(friday).stops
    assert stops.unknown_days == ()
    assert stops.changes == (
        StopChange(at=minute(31), symbol="MNQZ6", from_price=old, to_price=far, trade_net=lost),
        StopChange(at=minute(32), symbol="MNQZ6", from_price=far, to_price=None, trade_net=lost),
    )


def test_stops_are_unknown_once_the_events_are_no_longer_stored(friday: Path) -> None:
    tamper(friday, "DELETE FROM journal")
    stops = report(friday).stops
    assert (stops.changes, stops.unknown_days) == ((), (FRIDAY,))


def test_locks_have_their_end_and_gaps_what_was_traded_in_them(friday: Path) -> None:
    made = report(friday)
    (lock,) = made.locks
    assert (lock.rule_id, lock.scope, lock.policy) == ("daily_realized_loss", "account", "flat")
    # The desk's tick after the reset comes at 17:00:01.
    assert lock.ended_at == DAY.window(MORNING).ends_at + timedelta(seconds=1)
    assert lock.ended_by == "daily_reset"
    (gap,) = made.gaps
    assert (gap.ended_at - gap.began_at, gap.clean) == (timedelta(minutes=3), False)
    assert (gap.executions, gap.net) == (0, Decimal("0.00"))


def test_a_day_that_nobody_recorded_is_unknown_and_so_is_the_week_with_it(friday: Path) -> None:
    made = report(friday, date(2026, 11, 16), FRIDAY)
    assert [d.net for d in made.days] == [None, None, None, None, Decimal("-526.66")]
    assert made.days[0].note == "nothing is recorded of this day"
    assert made.total.net is None


def test_days_to_come_are_left_out(friday: Path) -> None:
    made = report(friday, date(2026, 11, 16), FRIDAY, now=datetime(2026, 11, 18, 15, tzinfo=UTC))
    assert [d.date.day for d in made.days] == [16, 17, 18]
    assert made.is_unfinished


def test_the_summary_counts_where_the_executions_are_gone(friday: Path) -> None:
    tamper(friday, "DELETE FROM trades")
    (day,) = report(friday).days
    assert (day.net, day.trades) == (Decimal("-526.66"), None)
    assert day.note == "the single executions are no longer stored"


def test_a_summary_that_differs_is_told(friday: Path) -> None:
    tamper(friday, "UPDATE daily_summary SET net = '-500'")
    (day,) = report(friday).days
    assert (day.net, day.note) == (
        Decimal("-526.66"),
        "the summary made at the reset says net -500",
    )


def test_voided_executions_count_for_nothing(friday: Path) -> None:
    tamper(friday, "UPDATE trades SET voided = 1 WHERE pnl = '100'")
    (day,) = report(friday).days
    assert day.realised == Decimal(-620)


def test_a_decision_in_shadow_is_no_intervention_that_anything_followed(friday: Path) -> None:
    tamper(friday, "DELETE FROM enforcement_log WHERE action <> 'decide'")
    tamper(friday, "UPDATE enforcement_log SET outcome = 'shadowed'")
    (done,) = report(friday).interventions
    assert all(d.is_shadow for d in done.decisions)
    assert (done.trades_after, done.net_after, done.closed) == (None, None, ())


async def test_a_reversal_is_no_re_entry_and_its_new_side_is_told_as_open(
    tmp_path: Path,
) -> None:
    async with at(tmp_path, clock=StoppedClock()) as kept:
        desk = stored_desk(kept)
        await desk.fill("MNQ", 1, price=21000)
        await desk.position("MNQ", 1)
        await desk.wait(seconds=60)
        await desk.fill("MNQ", -2, pnl="-20", price=20990, order_id=7)
        await desk.position("MNQ", -1)
    found = report(tmp_path, now=MORNING + timedelta(hours=1))
    assert found.discipline.losses == 1
    assert found.discipline.after_losses == ()
    assert [(p.symbol, p.net) for p in found.open_positions] == [("MNQZ6", -1)]


async def test_another_stop_within_moments_is_the_same_stop_moved(tmp_path: Path) -> None:
    async with at(tmp_path, clock=StoppedClock()) as kept:
        await kept.keep_journal(tmp_path / "journal", "1.0")
        desk = stored_desk(kept)
        await desk.fill("MNQ", 1, price=21000)
        await desk.position("MNQ", 1)
        for price, following in ((20980.0, 20985.0), (20985.0, 20960.0)):
            await desk.wait(seconds=30)
            known = await desk.stop("MNQ", -1, price)
            await desk.wait(seconds=30)
            await desk.stop("MNQ", -1, price, status=OrderStatus.CANCELLED, order_id=known)
            await desk.wait(seconds=1)
            await desk.stop("MNQ", -1, following)
        await desk.wait(seconds=30)
    changes = report(tmp_path, now=MORNING + timedelta(hours=1)).stops.changes
    assert [(c.from_price, c.to_price) for c in changes] == [(Decimal(20985), Decimal(20960))]


def test_reading_leaves_the_database_as_it_is(friday: Path) -> None:
    before = rows(friday, "SELECT * FROM trades"), rows(friday, "SELECT * FROM audit")
    assert list(stored_accounts(friday)) == [101]
    report(friday)
    assert (rows(friday, "SELECT * FROM trades"), rows(friday, "SELECT * FROM audit")) == before


def test_sizes_of_different_products_compare_in_micros(friday: Path) -> None:
    records = read_records(friday, 101, "", DAY, FRIDAY, FRIDAY)
    mes = next(c for c in records.contracts.values() if c.name == "MESZ6")
    as_mini = replace(mes, name="ESZ6")
    made = make_report(
        replace(records, contracts={**records.contracts, mes.id: as_mini}), Symbols(), DAY, LATER
    )
    assert [a.size for a in made.discipline.after_losses] == [Decimal(4), Decimal(10)]


async def test_a_close_is_blamed_only_for_the_position_it_could_have_closed(
    tmp_path: Path,
) -> None:
    """The rule closes one lot; the trader opens another at once and closes it by themselves."""
    async with at(tmp_path, clock=StoppedClock()) as kept:
        desk = stored_desk(kept, symbol_blocks={"blocked": ["RTY"]})
        for own, price in ((False, 2000.0), (True, 2001.0)):
            if own:
                await desk.new_rules([])
            await desk.fill("RTY", 1, price=price)
            await desk.position("RTY", 1, price)
            desk.now += timedelta(milliseconds=200)
            await (desk.position("RTY", 0) if own else desk.obey())
            await desk.fill("RTY", -1, pnl="0", price=price)
            desk.now += timedelta(milliseconds=200)
    made = report(tmp_path, now=MORNING + timedelta(hours=1))
    assert [t.closed_by for t in made.trades] == [("symbol_blocks",), ()]
    assert [c.lots for i in made.interventions for c in i.closed] == [1]


async def test_a_reduction_is_not_blamed_for_the_lots_it_was_to_keep(tmp_path: Path) -> None:
    async with at(tmp_path, clock=StoppedClock()) as kept:
        desk = stored_desk(kept, max_contracts={"limit": 2})
        await desk.fill("MNQ", 3)
        await desk.position("MNQ", 3)
        desk.now += timedelta(milliseconds=200)
        await desk.obey()
        await desk.fill("MNQ", -1, pnl="-1")
        desk.now += timedelta(milliseconds=200)
        await desk.position("MNQ", 0)
        await desk.fill("MNQ", -2, pnl="10")
    made = report(tmp_path, now=MORNING + timedelta(hours=1))
    assert [t.closed_by for t in made.trades] == [()]
    assert [(c.lots, c.realised) for i in made.interventions for c in i.closed] == [
        (1, Decimal(-1))
    ]


async def test_an_exit_larger_than_the_reduction_asked_for_is_the_traders_own(
    tmp_path: Path,
) -> None:
    async with at(tmp_path, clock=StoppedClock()) as kept:
        desk = stored_desk(kept, max_contracts={"limit": 2})
        await desk.fill("MNQ", 3)
        await desk.position("MNQ", 3)
        await desk.position("MNQ", 0)
        await desk.fill("MNQ", -3, pnl="10")
        await desk.wait(seconds=1)
    (done,) = report(tmp_path, now=MORNING + timedelta(hours=1)).interventions
    assert [(c.action, c.count) for c in done.calls] == [("reduce_position", 1)]
    assert done.closed == ()


async def test_a_stop_kept_overnight_and_moved_away_in_the_morning_is_seen(tmp_path: Path) -> None:
    async with at(tmp_path, clock=StoppedClock()) as kept:
        await kept.keep_journal(tmp_path / "journal", "1.0")
        desk = stored_desk(kept)
        await desk.fill("MNQ", 1)
        await desk.position("MNQ", 1)
        stop = await desk.stop("MNQ", -1, 20990)
        await desk.wait(hours=8)  # the trading date is Monday's since 17:00 in New York
        await desk.stop("MNQ", -1, 20900, order_id=stop)
    monday = date(2026, 11, 23)
    assert report(tmp_path).stops.changes == ()
    (moved,) = report(tmp_path, monday, monday).stops.changes
    assert (moved.from_price, moved.to_price) == (Decimal(20990), Decimal(20900))
    assert moved.trade_net is None


@given(
    st.lists(
        st.tuples(
            st.integers(1, 5), st.integers(-50_000, 50_000), st.integers(0, 500), st.booleans()
        ),
        max_size=12,
    )
)
def test_on_a_flat_day_the_trades_the_curve_and_the_day_agree_to_the_cent(
    trades: list[tuple[int, int, int, bool]],
) -> None:
    executions = []
    for n, (lots, cents, fee_cents, is_long) in enumerate(trades):
        entry, leave = (OrderSide.BUY, OrderSide.SELL)[:: 1 if is_long else -1]
        for half, side in enumerate((entry, leave)):
            when = MORNING + timedelta(minutes=2 * n + half)
            executions.append(
                Execution(
                    id=2 * n + half,
                    contract_id=contract_id("MNQ"),
                    order_id=2 * n + half,
                    side=side,
                    size=lots,
                    price=Decimal(21000),
                    pnl=Decimal(cents) / 100 if half else None,
                    fees=Decimal(fee_cents) / 100,
                    voided=False,
                    executed_at=when,
                    received_at=when,
                    trading_date=FRIDAY,
                )
            )
    records = Records(
        account_id=101,
        name="",
        first=FRIDAY,
        last=FRIDAY,
        starts_at=DAY.began(FRIDAY),
        ends_at=DAY.window(MORNING).ends_at,
        executions=executions,
        days={},
        contracts={},
        today=FRIDAY,
    )
    made = make_report(records, Symbols(), DAY, MORNING + timedelta(hours=1))
    net = sum((e.net for e in executions), Decimal(0))
    assert made.total.net == net == sum((t.net for t in made.trades), Decimal(0))
    assert (made.total.trades, made.discipline.entries) == (len(trades), len(trades))
    if trades:
        assert made.curve[-1].net == made.trades[-1].day_so_far == net
    d = made.discipline
    assert d.wins + d.losses + d.scratches == len(trades)
    assert d.revenge_entries <= d.reentries <= d.losses
    assert max(map(len, as_text(made).splitlines())) <= WIDTH
