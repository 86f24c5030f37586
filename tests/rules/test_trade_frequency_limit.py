"""RULE-006, example by example (3 a minute, over)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from desk import MORNING, Desk, DeskMaker, rules_from
from pydantic import ValidationError

from risk_manager.domain.decisions import Outcome
from risk_manager.domain.records import OrderStatus, OrderType
from risk_manager.domain.rule import MeterState
from risk_manager.domain.rulebook import Mode

MINUTE = {"name": "minute", "per": "1m", "max": 3, "cooldown": "1m"}
HOUR = {"name": "hour", "per": "1h", "max": 10, "cooldown": "30m"}
SESSION = {"name": "session", "per": "trading_day", "max": 50, "cooldown": "until_reset"}
LIMIT = {"windows": [MINUTE]}
LOCKED = {"trade_frequency_limit": "account"}
RULE = "trade_frequency_limit"


async def at(d: Desk, seconds: float) -> None:
    """Until so many seconds after the morning began."""
    await d.wait_until(MORNING + timedelta(seconds=seconds))


async def enter(d: Desk, *seconds: float) -> None:
    """A new entry of one lot at each of these seconds; the position grows."""
    for each in seconds:
        await at(d, each)
        await d.fill("MNQ", 1)
        await d.position("MNQ", d.account().net("CON.F.US.MNQ.Z26") + 1)


async def test_006_1_the_fourth_entry_in_a_minute_locks_for_a_minute(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit=LIMIT)
    await enter(d, 0, 10, 20)
    assert d.locked_by() == {}
    await enter(d, 30)
    assert d.locked_by() == LOCKED
    assert d.lock_ends(RULE) == MORNING + timedelta(seconds=90)
    assert d.reasons == ["4 entries in 1m (limit 3); no new entries for 1m"]
    await at(d, 89)
    assert d.locked_by() == LOCKED
    await at(d, 90)
    assert d.locked_by() == {}
    assert d.actions == []


async def test_two_entries_within_moments_are_both_kept_by_the_pause_they_start(
    desk: DeskMaker,
) -> None:
    d = desk(trade_frequency_limit={"windows": [{**MINUTE, "max": 1}]})
    await d.fill("MNQ", 1)
    await d.position("MNQ", 1)
    d.now += timedelta(milliseconds=20)
    await d.fill("MNQ", 1)  # the position of the first entry says nothing about this one
    d.now += timedelta(milliseconds=20)
    await d.position("MNQ", 2)
    assert d.locked_by() == LOCKED
    await d.wait(seconds=5)
    assert d.actions == []


async def test_006_2_an_entry_exactly_a_minute_old_is_out(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit=LIMIT)
    await enter(d, 0, 10, 20, 60)
    await at(d, 63)
    assert d.locked_by() == {}

    later = desk(trade_frequency_limit=LIMIT)
    await enter(later, 0, 10, 20, 70)
    await at(later, 73)
    assert later.locked_by() == {}
    assert later.meter(RULE).current == 2


async def test_006_3_one_order_filled_in_five_parts_is_one_entry(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit=LIMIT)
    for _ in range(5):
        await d.fill("MNQ", 1, order_id=77)
    await d.wait(seconds=2)
    assert d.locked_by() == {}
    assert d.meter(RULE).current == 1


async def test_006_4_a_reversal_is_one_entry(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit={"windows": [{**MINUTE, "max": 1}]})
    await d.fill("MNQ", 2, order_id=1, at=MORNING - timedelta(minutes=2))
    await d.fill("MNQ", -2, pnl=10, order_id=2)
    await d.fill("MNQ", -2, order_id=2)
    await d.wait(seconds=2)
    assert d.locked_by() == {}
    assert d.meter(RULE).current == 1


async def test_006_5_being_stopped_out_is_no_entry(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit=LIMIT)
    await enter(d, 0, 10, 20)
    await d.fill("MNQ", -3, pnl=-60)
    await d.position("MNQ", 0)
    await d.wait(seconds=2)
    assert d.locked_by() == {}


async def test_006_6_two_windows_at_once_make_one_lock_with_both_reasons(
    desk: DeskMaker,
) -> None:
    d = desk(trade_frequency_limit={"windows": [MINUTE, {**HOUR, "max": 3}]})
    await enter(d, 0, 10, 20, 30)
    assert d.lock_ends(RULE) == MORNING + timedelta(minutes=30, seconds=30)
    assert len(d.locks_set) == 1
    assert d.reasons == [
        "4 entries in 1m (limit 3), 4 entries in 1h (limit 3); no new entries for 30m"
    ]


async def test_006_7_what_is_held_stays_with_its_stop_and_nothing_is_added(
    desk: DeskMaker,
) -> None:
    d = desk(trade_frequency_limit={"windows": [{**MINUTE, "max": 1}]})
    stop = await d.stop("MNQ", -1)
    resting = await d.order("MNQ", 1, price=20900)
    await enter(d, 0, 10)
    assert d.taken() == [f"cancel {resting}"]
    await d.obey()
    assert d.account().net("CON.F.US.MNQ.Z26") == 2
    await d.position("MNQ", 3)
    await d.obey()
    assert d.taken() == ["reduce MNQ to 2"]
    await d.position("MNQ", 1)
    await d.position("MNQ", 2)
    assert d.taken() == ["reduce MNQ to 1"]
    assert stop in d.account().orders


async def test_006_8_the_gateways_clock_counts_not_the_order_of_arrival(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit=LIMIT)
    await at(d, 100)
    for second in (70, 20, 40, 0):
        await d.fill("MNQ", 1, at=MORNING + timedelta(seconds=second))
    await d.wait(seconds=2)
    assert d.locked_by() == {}  # never more than three in one minute
    await d.fill("MNQ", 1, at=MORNING + timedelta(seconds=69))
    await d.wait(seconds=2)
    assert d.locked_by() == LOCKED
    # Heard of late: the minute runs from the entry that was one too many.
    assert d.lock_ends(RULE) == MORNING + timedelta(seconds=70 + 60)


@pytest.mark.parametrize("position_first", [True, False])
async def test_the_entry_that_was_one_too_many_is_kept(
    desk: DeskMaker, position_first: bool
) -> None:
    d = desk(trade_frequency_limit={"windows": [{**MINUTE, "max": 1}]})
    await enter(d, 0)
    await at(d, 10)
    if position_first:
        await d.position("MNQ", 2)
        await d.fill("MNQ", 1)
    else:
        await d.fill("MNQ", 1)
        await d.position("MNQ", 2)
    assert d.locked_by() == LOCKED
    await d.wait(seconds=3)
    assert d.actions == []


async def test_the_lock_does_not_wait_for_a_position_that_never_comes(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit=LIMIT)
    for _ in range(4):
        await d.fill("MNQ", 1)
    await d.wait(seconds=1)
    assert d.locked_by() == LOCKED


async def test_reaching_the_maximum_can_be_enough(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit={**LIMIT, "trip": "reach"})
    await enter(d, 0, 10)
    assert d.locked_by() == {}
    await enter(d, 20)
    assert d.lock_ends(RULE) == MORNING + timedelta(seconds=80)


async def test_close_all_flattens_too(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit={**LIMIT, "action": "close_all"})
    await enter(d, 0, 10, 20, 30)
    await d.obey()
    assert d.actions == ["close MNQ"]
    assert d.reasons == ["4 entries in 1m (limit 3); locked flat for 1m"]


@pytest.mark.parametrize(("on_violation", "ends"), [("keep", 90), ("extend", 120)])
async def test_an_entry_during_the_pause_is_closed_and_may_extend_it(
    desk: DeskMaker, on_violation: str, ends: int
) -> None:
    d = desk(trade_frequency_limit={**LIMIT, "on_violation": on_violation})
    await enter(d, 0, 10, 20, 30, 60)
    await d.obey()
    assert d.actions == ["reduce MNQ to 4"]
    assert d.lock_ends(RULE) == MORNING + timedelta(seconds=ends)
    await at(d, ends)
    assert d.locked_by() == {}


async def test_a_longer_window_is_not_hidden_by_the_pause_of_a_shorter(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit={"windows": [MINUTE, {**HOUR, "max": 4}]})
    await enter(d, 0, 10, 20, 30)
    assert d.lock_ends(RULE) == MORNING + timedelta(seconds=90)
    await enter(d, 40)
    assert d.lock_ends(RULE) == MORNING + timedelta(minutes=30, seconds=40)


async def test_the_day_has_its_own_count_and_the_reset_clears_it(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit={"windows": [{**SESSION, "max": 2}]})
    await enter(d, 0, 1000, 2000)
    assert d.locked_by() == LOCKED
    assert "no new entries until the reset" in d.reasons[0]
    await d.wait(hours=6)
    assert d.locked_by() == {}
    assert d.meter(RULE).current == 0
    await d.fill("MNQ", 1)
    await d.wait(seconds=2)
    assert d.locked_by() == {}


async def test_the_fifth_trade_of_a_day_is_the_last(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit={"trip": "reach", "windows": [{**SESSION, "max": 5}]})
    await enter(d, 0, 100, 200, 300)
    assert d.locked_by() == {}
    await enter(d, 400)
    assert (d.locked_by(), d.actions) == (LOCKED, [])


async def test_a_running_pause_outlasts_the_reset(desk: DeskMaker) -> None:
    d = desk(
        trade_frequency_limit={"windows": [{**MINUTE, "cooldown": "15m"}]},
        desk_at=MORNING.replace(hour=21, minute=58),
    )
    for _ in range(4):
        await d.fill("MNQ", 1)
    await d.wait(minutes=10)
    assert len(d.resets) == 1
    assert d.locked_by() == LOCKED
    await d.wait(minutes=6)
    assert d.locked_by() == {}


async def test_a_voided_trade_never_happened(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit=LIMIT)
    await enter(d, 0, 10, 20)
    busted = await d.fill("MNQ", 1, voided=True)
    assert busted
    await d.wait(seconds=2)
    assert d.locked_by() == {}


async def test_the_pause_survives_a_restart_and_is_not_begun_anew(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit=LIMIT)
    await enter(d, 0, 10, 20, 30)
    d.now += timedelta(seconds=20)
    await d.restart()
    assert d.lock_ends(RULE) == MORNING + timedelta(seconds=90)
    await at(d, 95)
    assert d.locked_by() == {}
    await d.restart()
    await d.wait(seconds=5)
    assert (d.locked_by(), len(d.decisions)) == ({}, 1)


async def test_trades_made_while_the_daemon_was_down_are_judged_by_their_own_time(
    desk: DeskMaker,
) -> None:
    d = desk(trade_frequency_limit={"windows": [{**MINUTE, "cooldown": "5m"}]})
    await at(d, 200)
    await d.report(trades=[_trade(n, MORNING + timedelta(seconds=10 * n)) for n in range(4)])
    await d.wait(seconds=1)
    assert d.lock_ends(RULE) == MORNING + timedelta(seconds=330)

    late = desk(trade_frequency_limit=LIMIT)
    await at(late, 200)
    await late.report(trades=[_trade(n, MORNING + timedelta(seconds=10 * n)) for n in range(4)])
    await late.wait(seconds=1)
    assert late.locked_by() == {}


def _trade(number: int, when: Any) -> dict[str, Any]:
    return {
        "id": 9000 + number,
        "accountId": 101,
        "contractId": "CON.F.US.MNQ.Z26",
        "creationTimestamp": when,
        "price": 21000,
        "side": 0,
        "size": 1,
        "orderId": 9000 + number,
    }


async def test_an_administrator_may_end_the_pause(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit=LIMIT)
    await enter(d, 0, 10, 20, 30)
    await d.admin("unlock")
    await d.wait(seconds=5)
    assert d.locked_by() == {}
    await enter(d, 40)
    assert d.locked_by() == {}  # still within the minute that was forgiven
    await enter(d, 100, 101, 102, 103)
    assert d.locked_by() == LOCKED


# --- other ways to count --------------------------------------------------------------------------


async def test_executions_count_each_fill_as_the_platforms_trade_limit_does(
    desk: DeskMaker,
) -> None:
    d = desk(trade_frequency_limit={**LIMIT, "count": "executions"})
    await d.fill("MNQ", 5)
    await d.fill("MNQ", -2, pnl=1)
    await d.fill("MNQ", -2, pnl=1)
    await d.wait(seconds=1)
    assert d.locked_by() == {}
    await d.fill("MNQ", -1, pnl=1)
    await d.wait(seconds=1)
    assert d.locked_by() == LOCKED


async def test_our_own_closes_do_not_count_as_executions(desk: DeskMaker) -> None:
    d = desk(
        trade_frequency_limit={"count": "executions", "windows": [{**MINUTE, "max": 1}]},
        max_contracts={"limit": 1},
    )
    await d.fill("MNQ", 3)
    await d.position("MNQ", 3)
    await d.fill("MNQ", -1, pnl=-1)  # the close we asked for, before its answer
    await d.position("MNQ", 1)
    await d.settle(d.enforcer.actions[0], Outcome.DONE)
    await d.wait(seconds=1)
    await d.fill("MNQ", -1, pnl=-1)  # and a part that is told after it
    await d.wait(seconds=2)
    assert d.locked_by() == {}
    await d.restart()
    assert d.meter(RULE).current == 1
    await d.wait(seconds=3)
    await d.fill("MNQ", -1, pnl=-1)
    await d.wait(seconds=1)
    assert d.locked_by() == LOCKED


async def test_round_turns_count_trades_that_have_ended(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit={"count": "round_turns", "windows": [{**MINUTE, "max": 1}]})
    await d.fill("MNQ", 5)
    for _ in range(3):
        await d.fill("MNQ", -1, pnl=-1)
    await d.wait(seconds=2)
    assert d.meter(RULE).current == 0
    await d.fill("MNQ", -2, pnl=1)
    await d.wait(seconds=1)
    assert d.meter(RULE).current == 1
    await d.fill("MNQ", 1)
    await d.fill("MNQ", -1, pnl=-1)
    await d.wait(seconds=1)
    assert d.locked_by() == LOCKED


async def test_orders_count_when_placed_but_not_ours(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit={"count": "orders", "windows": [{**MINUTE, "max": 2}]})
    await d.position("MNQ", 1)
    await d.stop("MNQ", -1, tag="rm-101-1")
    first = await d.order("MNQ", 1, price=20900)
    await d.order("MNQ", 1, price=20900, order_id=first, status=OrderStatus.CANCELLED)
    await d.order("ES", 1, kind=OrderType.MARKET, status=OrderStatus.FILLED, order_id=70)
    await d.fill("ES", 1, order_id=70)
    await d.wait(seconds=1)
    assert d.meter(RULE).current == 2
    await d.restart()
    assert d.locked_by() == {}
    third = await d.order("MNQ", 1, price=20800)
    assert d.locked_by() == LOCKED
    assert d.actions == [f"cancel {third}"]


async def test_a_fill_tells_of_an_order_that_was_never_seen(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit={"count": "orders", "windows": [{**MINUTE, "max": 1}]})
    await d.fill("MNQ", 1, order_id=1)
    await d.fill("MNQ", 1, order_id=2)
    await d.wait(seconds=1)
    assert d.locked_by() == LOCKED


# --- shadow, meter, configuration -----------------------------------------------------------------


async def test_shadow_tells_and_locks_nothing(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit=LIMIT, desk_mode=Mode.SHADOW)
    await enter(d, 0, 10, 20, 30, 40)
    await d.wait(seconds=5)
    assert (d.locked_by(), d.actions, len(d.decisions)) == ({}, [], 1)


async def test_the_meter_says_what_is_left(desk: DeskMaker) -> None:
    d = desk(trade_frequency_limit={"windows": [MINUTE, HOUR, SESSION]})
    await enter(d, 0, 10)
    meter = d.meter(RULE)
    assert meter.sentence == "entries 2 of 3 in 1m, 2 of 10 in 1h, 2 of 50 today; 1 left"
    assert (meter.current, meter.headroom, meter.unit) == (Decimal(2), Decimal(1), "entries in 1m")
    await enter(d, 20, 30)
    assert d.meter(RULE).sentence == "no new entries for another 1m"


@pytest.mark.parametrize(
    ("seconds", "ago", "sentence", "used", "unit"),
    [
        # Only three more fit into this minute, though seven are left in the hour.
        ((0, 90, 180), 61, "0 of 3 in 1m, 3 of 10 in 1h, 3 of 50 today; 3 left", 0.3, "1h"),
        # The hour decides as soon as it has fewer left, and where both have the same.
        (range(0, 560, 70), 61, "8 of 10 in 1h, 0 of 3 in 1m, 8 of 50 today; 2 left", 0.8, "1h"),
        (range(0, 490, 70), 61, "7 of 10 in 1h, 0 of 3 in 1m, 7 of 50 today; 3 left", 0.7, "1h"),
        # Of the hour more is used, and of the minute fewer are left.
        (
            (*range(0, 490, 70), 440),
            1,
            "2 of 3 in 1m, 8 of 10 in 1h, 8 of 50 today; 1 left",
            0.8,
            "1h",
        ),
        # One window is full: nothing is left, and all of it is used.
        (range(0, 700, 70), 61, "10 of 10 in 1h, 0 of 3 in 1m, 10 of 50 today; 0 left", 1.0, "1h"),
        ((0, 1, 2), 1, "3 of 3 in 1m, 3 of 10 in 1h, 3 of 50 today; 0 left", 1.0, "1m"),
    ],
)
async def test_the_meter_names_the_window_first_that_lets_fewest_through(
    desk: DeskMaker, seconds: Sequence[int], ago: int, sentence: str, used: float, unit: str
) -> None:
    d = desk(trade_frequency_limit={"windows": [MINUTE, HOUR, SESSION]})
    await enter(d, *seconds)
    await d.wait(seconds=ago)
    meter = d.meter(RULE)
    assert meter.sentence == f"entries {sentence}"
    assert (meter.used, meter.unit) == (used, f"entries in {unit}")
    assert (meter.state is MeterState.WARN) == (used == 1)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"windows": []}, "at least 1 item"),
        ({"windows": [{**MINUTE, "max": 0}]}, "greater than 0"),
        ({"windows": [MINUTE, {**HOUR, "max": 2}]}, "a longer window needs at least"),
        ({"windows": [{**HOUR, "max": 9}, {**SESSION, "max": 8}]}, "a longer window needs"),
        ({"windows": [MINUTE, {**HOUR, "name": "minute"}]}, "named twice"),
        ({"windows": [{**MINUTE, "cooldown": "none"}]}, "cooldown must be a duration"),
        ({"windows": [{**MINUTE, "cooldown": "manual"}]}, "cooldown must be a duration"),
        ({"windows": [{**MINUTE, "cooldown": "0s"}]}, "longer than zero"),
        ({"windows": [{**MINUTE, "per": "0s"}]}, "longer than zero"),
        ({"windows": [{**MINUTE, "per": 60}]}, "is not a duration"),
        ({**LIMIT, "count": "fills"}, "Input should be"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        rules_from(trade_frequency_limit=fields)


def test_a_window_without_a_name_is_called_after_its_length() -> None:
    (rule,) = rules_from(
        trade_frequency_limit={"windows": [{"per": "1m", "max": 3, "cooldown": "1m"}]}
    )
    dumped = rule.model_dump(mode="json")["windows"][0]
    assert dumped == {"name": "in 1m", "per": "1m", "max": 3, "cooldown": "1m"}


BEFORE_THE_RESET = datetime(2026, 11, 19, 21, 50, tzinfo=UTC)
RESET = datetime(2026, 11, 19, 22, 0, tzinfo=UTC)


async def test_a_pause_over_the_reset_is_not_cut_by_a_shorter_one_after_it(
    desk: DeskMaker,
) -> None:
    windows = [MINUTE, {**HOUR, "max": 5}]
    d = desk(desk_at=BEFORE_THE_RESET, trade_frequency_limit={"windows": windows})
    for _ in range(6):
        await d.fill("MNQ", 1)
        await d.wait(seconds=55)
    ends = d.lock_ends(RULE)
    assert ends is not None
    assert ends > RESET + timedelta(minutes=20)
    await d.wait_until(RESET + timedelta(minutes=2))
    for _ in range(4):
        await d.fill("MNQ", 1)
        await d.wait(seconds=2)
    assert d.lock_ends(RULE) == ends
    await d.wait(minutes=5)
    assert d.locked_by() == LOCKED
    await d.wait_until(ends)
    assert d.locked_by() == {}


@pytest.mark.parametrize("together", [True, False])
async def test_a_pause_that_goes_over_the_reset_outlasts_one_until_the_reset(
    desk: DeskMaker, together: bool
) -> None:
    day_max = 3 if together else 4
    windows = [{**HOUR, "max": 3}, {**SESSION, "max": day_max}]
    d = desk(desk_at=BEFORE_THE_RESET, trade_frequency_limit={"windows": windows})
    for _ in range(5):
        await d.fill("MNQ", 1)
        await d.wait(seconds=2)
    await d.wait_until(RESET + timedelta(seconds=5))
    assert d.locked_by() == LOCKED
    ends = d.lock_ends(RULE)
    assert ends == BEFORE_THE_RESET + timedelta(minutes=30, seconds=6)
    await d.wait_until(ends)
    assert d.locked_by() == {}
