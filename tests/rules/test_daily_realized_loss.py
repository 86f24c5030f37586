"""RULE-003, example by example (limit 500)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from desk import MORNING, Desk, DeskMaker, rules_from
from trading_month import trade

from risk_manager.domain.decisions import Outcome, Severity
from risk_manager.domain.events import Tick
from risk_manager.domain.rule import MeterState
from risk_manager.domain.rulebook import Mode
from risk_manager.domain.trading_calendar import TradingDay

LIMIT = {"limit": "500"}
LOCKED = {"daily_realized_loss": "account"}
CHICAGO = TradingDay(timezone="America/Chicago")


async def test_003_1_profits_of_the_day_count_against_losses(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss=LIMIT)
    await d.win(100)
    await d.loss(200)
    assert d.locked_by() == {}
    await d.loss(450)
    assert d.locked_by() == LOCKED
    assert d.reasons[-1] == "lost $550.00 today, limit $500.00; locked flat"


async def test_003_2_the_limit_itself_breaches_and_a_cent_less_does_not(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss=LIMIT)
    await d.loss("499.99")
    assert d.locked_by() == {}
    await d.loss("0.01")
    assert d.locked_by() == LOCKED


async def test_003_3_fees_count_unless_gross_is_asked_for(desk: DeskMaker) -> None:
    net = desk(daily_realized_loss=LIMIT)
    await net.fill("MNQ", 1, fees="0.70")
    await net.loss("498.60", fees="0.70")
    assert net.locked_by() == LOCKED

    gross = desk(daily_realized_loss={**LIMIT, "pnl_basis": "gross"})
    await gross.fill("MNQ", 1, fees="0.70")
    await gross.loss("498.60", fees="0.70")
    assert gross.locked_by() == {}


async def test_003_4_an_opening_half_turn_costs_its_fee_and_is_no_trade(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss=LIMIT)
    await d.fill("MNQ", 1, fees="0.70")
    today = d.account().ledger.day(d.account().trading_date)
    assert (str(today.net), d.account().ledger.round_turns()) == ("-0.70", ())


async def test_003_5_a_voided_loss_is_given_back_and_the_lock_stays(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss=LIMIT)
    loss = await d.loss(300)
    await d.loss(200)
    assert d.locked_by() == LOCKED
    await d.fill("MNQ", -1, pnl=-300, trade_id=loss, voided=True)
    assert str(d.account().ledger.day(d.account().trading_date).net) == "-200"
    assert d.locked_by() == LOCKED
    assert "trade_voided" in d.alarms


async def test_003_6_the_reset_unlocks_and_late_fills_belong_to_their_own_day(
    desk: DeskMaker,
) -> None:
    d = desk(
        daily_realized_loss=LIMIT,
        desk_day=CHICAGO,
        desk_at=datetime(2026, 11, 19, 22, 58, tzinfo=UTC),
    )
    await d.loss(500)
    assert d.lock_ends("daily_realized_loss") == datetime(2026, 11, 19, 23, 0, tzinfo=UTC)
    await d.wait(seconds=122)
    assert d.locked_by() == {}
    assert [c.cleared_by for c in d.locks_cleared] == ["daily_reset"]
    await d.loss(500, at=datetime(2026, 11, 19, 22, 59, 59, tzinfo=UTC))
    assert d.locked_by() == {}
    assert len(d.resets) == 1


async def test_003_7_the_reset_keeps_local_time_over_a_clock_change(desk: DeskMaker) -> None:
    d = desk(
        daily_realized_loss=LIMIT,
        desk_day=CHICAGO,
        desk_at=datetime(2025, 3, 7, 23, 30, tzinfo=UTC),
    )
    await d.loss(500)
    # Friday 17:30 in Chicago is Monday's trading day; by its end the clocks have moved.
    assert d.lock_ends("daily_realized_loss") == datetime(2025, 3, 10, 22, 0, tzinfo=UTC)


async def test_003_8_a_friday_lock_ends_when_mondays_trading_day_begins(desk: DeskMaker) -> None:
    d = desk(
        daily_realized_loss=LIMIT,
        desk_day=CHICAGO,
        desk_at=datetime(2026, 11, 20, 20, 0, tzinfo=UTC),
    )
    await d.loss(500)
    assert d.lock_ends("daily_realized_loss") == datetime(2026, 11, 20, 23, 0, tzinfo=UTC)


async def test_003_9_the_other_account_trades_on(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss=LIMIT, desk_accounts=(101, 102))
    await d.loss(500, account=101)
    await d.position("MNQ", 1, account=102)
    assert (d.locked_by(101), d.locked_by(102), d.actions) == (LOCKED, {}, [])


async def test_everything_is_closed_and_whatever_comes_after_too(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss=LIMIT)
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    entry = await d.order("ES", 1, price=5990)
    await d.loss(500)
    assert d.taken() == [f"cancel {entry}", "close MNQ"]  # the stop protects until it is flat
    await d.obey()
    assert d.taken() == [f"cancel {stop}"]
    assert d.account().is_flat
    await d.wait(minutes=10)
    await d.position("MES", 1, 6000)
    await d.obey()
    assert d.taken() == ["close MES"]
    assert d.account().is_flat


async def test_a_failed_close_is_asked_again_until_it_is_done(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss=LIMIT)
    await d.position("MNQ", 2)
    await d.loss(500)
    await d.settle(d.enforcer.actions[-1], Outcome.REFUSED, code=5)
    assert d.taken() == ["close MNQ"]
    await d.wait(seconds=1)
    assert d.taken() == ["close MNQ"]
    await d.settle(d.enforcer.actions[-1], Outcome.REFUSED, code=5)
    await d.wait(seconds=1)
    assert d.taken() == []
    await d.wait(seconds=1)
    assert d.taken() == ["close MNQ"]
    await d.obey()
    assert d.account().is_flat


async def test_the_lock_survives_a_restart_and_a_reload(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss=LIMIT)
    await d.loss(500)
    await d.restart()
    assert d.locked_by() == LOCKED
    await d.new_rules([])
    await d.wait(minutes=5)
    assert d.locked_by() == LOCKED
    await d.position("MNQ", 1)
    assert d.actions == ["close MNQ"]


async def test_an_administrator_cannot_clear_it_unless_the_rule_says_so(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss=LIMIT)
    await d.loss(500)
    await d.admin("unlock")
    assert d.locked_by() == LOCKED
    assert "unlock_refused" in d.alarms

    soft = desk(daily_realized_loss={**LIMIT, "unlock": "admin", "lockout": "manual"})
    await soft.loss(500)
    await soft.wait(days=1)
    assert soft.locked_by() == LOCKED
    await soft.admin("unlock")
    assert soft.locks_cleared[-1].cleared_by == "admin_override"


async def test_a_timed_lock_arms_again_only_after_a_further_loss(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss={**LIMIT, "lockout": "15m"})
    await d.loss(500)
    await d.wait(minutes=16)
    assert d.locked_by() == {}
    await d.loss(10)
    assert d.locked_by() == LOCKED
    assert d.lock_ends("daily_realized_loss") == d.now + timedelta(minutes=15)


async def test_a_limit_crossed_anew_after_a_timed_lock_locks_again(desk: DeskMaker) -> None:
    """F5.2: -900, the lock ends, +700, then -400: the limit of 500 was crossed anew, locked."""
    d = desk(daily_realized_loss={**LIMIT, "lockout": "1h"})
    await d.loss(900)
    await d.wait(minutes=61)
    assert d.locked_by() == {}
    await d.win(700)
    assert d.locked_by() == {}
    await d.restart()
    await d.loss(299)
    assert d.locked_by() == {}
    await d.loss(101)
    assert d.locked_by() == LOCKED
    assert d.lock_ends("daily_realized_loss") == d.now + timedelta(hours=1)
    assert d.reasons[-1] == "lost $600.00 today, limit $500.00; locked flat"


async def test_a_result_that_swings_over_the_limit_under_a_lock_is_answered_once(
    desk: DeskMaker,
) -> None:
    """F5.2: While the lock stands a result inside the limit arms nothing, or the lock would grow
    with each swing of the price until the close has filled."""
    d = desk(daily_realized_loss={**LIMIT, "include_unrealized": True, "lockout": "15m"})
    await d.position("MNQ", 5, 21000)
    for price in (20950, 20960, 20945, 20960, 20955):
        await d.quote("MNQ", price)
    assert [x.severity for x in d.decisions].count(Severity.BREACH) == 1
    await d.wait(minutes=10)
    await d.quote("MNQ", 20960)
    await d.quote("MNQ", 20950)
    assert d.lock_ends("daily_realized_loss") == MORNING + timedelta(minutes=15)


async def test_shadow_tells_a_limit_crossed_anew_once_the_lock_would_have_ended(
    desk: DeskMaker,
) -> None:
    """F5.2: In shadow the time for which the lock would stand counts in its place."""
    d = desk(daily_realized_loss={**LIMIT, "lockout": "1h"}, desk_mode=Mode.SHADOW)
    await d.loss(900)
    await d.win(700)
    await d.loss(400)
    assert [x.severity for x in d.decisions].count(Severity.BREACH) == 1
    await d.win(400)
    await d.wait(minutes=61)
    await d.loss(400)
    assert [x.reason[:9] for x in d.decisions if x.severity is Severity.BREACH] == [
        "lost $900",
        "lost $600",
    ]


async def test_a_loss_that_grows_until_the_close_has_filled_is_told_once(desk: DeskMaker) -> None:
    timed = {**LIMIT, "include_unrealized": True, "lockout": "15m"}
    d = desk(daily_realized_loss=timed)
    await d.position("MNQ", 5, 21000)
    for ticks in range(20):
        await d.quote("MNQ", 20950 - ticks * 0.25)
    assert d.reasons == ["lost $500.00 today, limit $500.00; locked flat"]
    await d.position("MNQ", 0)
    await d.loss(530)
    assert len(d.decisions) == 1
    await d.wait(seconds=5)
    assert d.reasons[1:] == ["lost $530.00 today, limit $500.00; locked flat"]
    assert d.lock_ends("daily_realized_loss") == d.now + timedelta(minutes=15)


@pytest.mark.parametrize(("mode", "fields"), [(Mode.SHADOW, {}), (Mode.ENFORCE, {"shadow": True})])
async def test_shadow_tells_a_timed_lock_once_while_it_would_stand(
    desk: DeskMaker, mode: Mode, fields: dict[str, bool]
) -> None:
    timed = {**LIMIT, **fields, "include_unrealized": True, "lockout": "1h"}
    d = desk(daily_realized_loss=timed, desk_mode=mode)
    await d.position("MNQ", 5, 21000)
    for ticks in range(100):
        await d.quote("MNQ", 20950 - ticks * 0.25)
    await d.wait(minutes=59)
    await d.quote("MNQ", 20900)
    assert d.reasons == ["lost $500.00 today, limit $500.00; locked flat"]
    await d.quote("MNQ", 20950)
    await d.wait(minutes=1)
    assert len(d.decisions) == 1  # nothing lost since
    for ticks in range(100):
        await d.quote("MNQ", 20940 - ticks * 0.25)
    assert d.reasons[1:] == ["lost $600.00 today, limit $500.00; locked flat"]
    assert (d.locked_by(), d.actions) == ({}, [])


async def test_what_was_told_in_shadow_holds_back_no_lock_once_it_counts(desk: DeskMaker) -> None:
    timed = {**LIMIT, "lockout": "1h"}
    d = desk(daily_realized_loss=timed, desk_mode=Mode.SHADOW)
    await d.loss(500)
    assert d.locked_by() == {}
    await d.new_rules(rules_from(daily_realized_loss=timed))
    assert d.locked_by() == LOCKED


async def test_a_further_loss_locks_again_after_an_administrator_ended_a_timed_lock(
    desk: DeskMaker,
) -> None:
    d = desk(daily_realized_loss={**LIMIT, "lockout": "1h", "unlock": "admin"})
    await d.loss(500)
    await d.admin("unlock")
    assert d.locked_by() == {}
    await d.loss(10)
    assert d.locked_by() == LOCKED


async def test_open_losses_count_when_asked_for(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss={**LIMIT, "include_unrealized": True})
    await d.loss(200)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20925.25)
    assert d.locked_by() == {}
    await d.quote("MNQ", 20925.0)
    assert d.locked_by() == LOCKED
    assert d.actions == ["close MNQ"]


async def test_warnings_come_once_each_on_the_way(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss=LIMIT)
    await d.loss(260)
    await d.wait(seconds=3)
    await d.loss(150)
    assert d.reasons == [
        "$260.00 of the daily loss limit $500.00 is used",
        "$410.00 of the daily loss limit $500.00 is used",
    ]


def said(d: Desk) -> str:
    return d.meter("daily_realized_loss").sentence


async def test_the_meter_warns_where_closing_now_would_reach_the_limit(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss={"limit": 500, "warn_at": []})
    await d.loss("334.41")
    await d.position("MNQ", 5, 21000)
    await d.quote("MNQ", 20990)
    assert d.meter("daily_realized_loss").state is MeterState.OK
    await d.quote("MNQ", 20973.75)
    assert said(d) == "$165.59 left today; closed now, $96.91 past the limit"
    assert d.meter("daily_realized_loss").state is MeterState.WARN


async def test_the_meter_counts_ticks_from_the_present_price(desk: DeskMaker) -> None:
    """The position is $45.00 down, which no closed trade shows: 24 ticks are left, not 54."""
    d = desk(daily_realized_loss=LIMIT)
    await d.loss("418.03")
    assert said(d) == "$81.97 left today"
    await d.position("MNQ", 3, 21000)
    assert said(d) == "$81.97 left today"  # no price yet
    await d.quote("MNQ", 20992.5)
    assert said(d) == "$81.97 left today; closed now, $36.97 = 24 ticks on 3"
    await d.quote("MNQ", 20992.5 - 24 * 0.25)
    assert said(d) == "$81.97 left today; closed now, $0.97 = 0 ticks on 3"
    await d.quote("MNQ", 20992.5 - 25 * 0.25)
    assert said(d) == "$81.97 left today; closed now, $0.53 past the limit"
    await d.quote("MNQ", 21000 + 12 * 0.25)
    assert said(d) == "$81.97 left today; closed now, $99.97 = 66 ticks on 3"
    meter = d.meter("daily_realized_loss")
    assert (meter.current, meter.headroom) == (Decimal("418.03"), Decimal("81.97"))
    await d.wait(seconds=31)
    assert said(d) == "$81.97 left today"  # the price is too old


async def test_the_meter_counts_a_short_and_several_contracts(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss=LIMIT)
    await d.loss(400)
    await d.position("MNQ", -2, 21000)
    await d.quote("MNQ", 21010)
    assert said(d) == "$100.00 left today; closed now, $60.00 = 60 ticks on 2"
    await d.position("MES", 1, 6000)
    assert said(d) == "$100.00 left today"
    await d.quote("MES", 6001)
    assert said(d) == "$100.00 left today; closed now, $65.00"


async def test_an_open_result_that_counts_is_in_the_meter_once(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss={**LIMIT, "include_unrealized": True})
    await d.loss("418.03")
    await d.position("MNQ", 3, 21000)
    await d.quote("MNQ", 20992.5)
    assert said(d) == "$36.97 left today = 24 ticks on 3"
    await d.position("MES", 1, 6000)
    await d.quote("MES", 6000)
    assert said(d) == "$36.97 left today"


async def test_the_same_trade_reported_ten_times_counts_once(desk: DeskMaker) -> None:
    d = desk(daily_realized_loss=LIMIT)
    for _ in range(10):
        await d.fill("MNQ", -1, pnl=-100, fees=1, trade_id=7)
    assert str(d.account().ledger.day(MORNING.date()).net) == "-101"


async def test_in_profit_nothing_more_is_left_than_there_was(desk: DeskMaker) -> None:
    """F7.23: In profit the meter tells the distance, and not more left than the whole limit."""
    d = desk(
        daily_realized_loss={"limit": 300},
        daily_unrealized_loss={"limit": 300, "scope": "account"},
    )
    await d.win(5)
    assert d.meter("daily_realized_loss").sentence == (
        "in profit by $5.00 today, $305.00 from the limit of $300.00"
    )
    await d.position("MNQ", 1)
    await d.quote("MNQ", 21002.5)
    assert d.meter("daily_unrealized_loss").sentence == (
        "open in profit by $5.00, $305.00 from the limit of $300.00"
    )
    assert said(d) == (
        "in profit by $5.00 today, $305.00 from the limit of $300.00; "
        "closed now, $310.00 from it = 620 ticks on 1"
    )


# --- F4.1: one unknown part -----------------------------------------------------------------------

OPEN = {**LIMIT, "include_unrealized": True}


async def quiet_gold(desk: DeskMaker, *prices: float, lots: int = 1, **sections: Any) -> Desk:
    """Long 2 MNQ and some MGC, both from their first price; of MGC nothing is heard for 11 s."""
    d = desk(**sections)
    await d.position("MNQ", 2, 21000)
    await d.position("MGC", lots, 2600)
    await d.quote("MNQ", 21000)
    for price in prices:
        await d.quote("MGC", price)
    await d.wait(seconds=11)
    return d


async def test_one_quiet_price_does_not_excuse_the_known_loss(desk: DeskMaker) -> None:
    """F4.1: MNQ has lost 4000 of a limit of 500, MGC was quoted last 11 s ago: locked."""
    d = await quiet_gold(desk, 2600, daily_realized_loss=OPEN)
    await d.quote("MNQ", 20000)
    assert d.locked_by() == LOCKED
    assert d.reasons[-1] == (
        "lost $4,000.00 today (MGCZ6 at its last price), limit $500.00; locked flat"
    )
    assert set(d.actions) == {"close MNQ", "close MGC"}
    await d.wait(seconds=1)
    assert "stale_quotes" in d.alarms


async def test_the_quiet_part_counts_at_its_last_price(desk: DeskMaker) -> None:
    """F4.1: 400 lost in MNQ and 110 in MGC when it was quoted last: locked, though MGC is quiet."""
    d = await quiet_gold(desk, 2589, daily_realized_loss=OPEN)
    await d.quote("MNQ", 20902.75)  # -389 - 110
    assert d.locked_by() == {}
    await d.quote("MNQ", 20902.5)  # -390 - 110
    assert d.locked_by() == LOCKED


async def test_a_quiet_part_that_could_turn_the_verdict_is_waited_for(desk: DeskMaker) -> None:
    """F4.1: 10 MGC that have moved by 100 points today may have made up for it: no verdict yet."""
    d = await quiet_gold(desk, 2600, 2700, 2650, lots=10, daily_realized_loss=OPEN)
    await d.quote("MNQ", 19500)  # -6000, and MGC last at +5000
    assert d.locked_by() == {}
    await d.quote("MGC", 2600)
    assert d.locked_by() == LOCKED


async def test_a_first_price_that_may_be_on_its_way_is_waited_for(desk: DeskMaker) -> None:
    """F4.1: After a start prices come one by one: for ten seconds a missing one may turn it."""
    d = desk(daily_realized_loss=OPEN)
    await d.position("MNQ", 2, 21000)
    await d.position("MGC", 1, 2600)
    await d.quote("MNQ", 20700)
    await d.wait(seconds=9)
    await d.quote("MNQ", 20700)
    assert d.locked_by() == {}
    await d.wait(seconds=2)
    assert d.locked_by() == LOCKED
    assert d.reasons[-1].startswith("lost $1,200.00 today (MGCZ6 has no price), limit")


async def test_a_loss_on_the_way_is_told_though_a_part_is_unknown(desk: DeskMaker) -> None:
    """F4.1: What is lost for certain counts for the warnings too."""
    d = await quiet_gold(desk, 2600, daily_realized_loss=OPEN)
    await d.quote("MNQ", 20890)
    assert d.reasons == ["$440.00 of the daily loss limit $500.00 is used"]
    assert d.meter("daily_realized_loss").current is None


async def test_the_meter_tells_at_which_net_result_the_limit_is_reached(desk: DeskMaker) -> None:
    net = desk(daily_realized_loss={**LIMIT, "include_unrealized": True})
    await net.loss(100, fees="2.00")
    meter = net.meter("daily_realized_loss")
    assert (meter.day_result, meter.counts_open) == (Decimal(-500), True)

    gross = desk(daily_realized_loss={**LIMIT, "pnl_basis": "gross"})
    await gross.loss(100, fees="2.00")
    meter = gross.meter("daily_realized_loss")
    assert (meter.day_result, meter.counts_open) == (Decimal(-502), False)


async def test_a_quote_after_the_reset_is_judged_by_the_new_day_alone(desk: DeskMaker) -> None:
    """It may come before any other event of that day, and is no reason to lock for the old one."""
    d = desk(daily_realized_loss={"limit": 500, "include_unrealized": True})
    await trade(d, "-300.00")
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21000)
    d.now = d.pipeline.state.day.ends_at - timedelta(milliseconds=20)
    await d.happens(Tick(at=d.now))
    d.now += timedelta(milliseconds=40)
    await d.quote("MNQ", 20875)  # 250 dollars less
    assert d.locked_by() == {}
    assert d.pipeline.state.day.date > MORNING.date()
    await d.quote("MNQ", 20745)
    assert d.locked_by() == {"daily_realized_loss": "account"}
