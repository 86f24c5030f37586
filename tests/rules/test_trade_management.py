"""RULE-012, example by example (breakeven at 10 ticks plus 1, trailing from 20 at 10)."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from desk import Desk, DeskMaker, contract_id, make_desk, rules_from
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from risk_manager.domain.decisions import MoveStop, Outcome, PlaceExit
from risk_manager.domain.records import OrderStatus, OrderType
from risk_manager.domain.rulebook import Mode
from risk_manager.rules.trade_management import TradeManagement
from risk_manager.rules.trade_management.memory import Memory, recalled
from risk_manager.store.serialization import dumps, loads

OFF = {"enabled": False}
BREAKEVEN: dict[str, Any] = {
    "enabled": True,
    "breakeven": {"trigger_ticks": 10, "offset_ticks": 1},
    "trailing": OFF,
}
TRAILING: dict[str, Any] = {
    "enabled": True,
    "breakeven": OFF,
    "trailing": {"activation_ticks": 20, "distance_ticks": 10, "step_ticks": 1},
}


def stops(d: Desk) -> list[tuple[int, str]]:
    """The working stops: contracts and price."""
    return [(o.remaining, f"{o.stop_price:.2f}") for o in d.account().orders.values() if o.is_stop]


async def test_012_1_breakeven_is_placed_at_the_trigger_and_not_a_tick_before(
    desk: DeskMaker,
) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21002.25)
    assert d.actions == []
    await d.quote("MNQ", 21002.50)
    assert d.actions == ["place stop MNQ -2 at 21000.25"]
    assert d.reasons == ["MNQZ6: breakeven stop placed: 2 at 21000.25"]


async def test_012_2_for_a_short_the_offset_goes_the_other_way(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("ES", -1, 5800)
    await d.quote("ES", 5797.50)
    assert d.actions == ["place stop ES +1 at 5799.75"]


async def test_a_trend_in_three_contracts_leaves_calls_for_closing(desk: DeskMaker) -> None:
    d = desk(trade_management=TRAILING)
    start = {"ES": 5800, "NQ": 21000, "MES": 5800}
    for symbol, price in start.items():
        await d.position(symbol, 1, price)
    asked_at: list[datetime] = []
    seen = 0
    for second in range(180):
        await d.wait(seconds=1)
        for symbol, price in start.items():
            await d.quote(symbol, price + 6 + second)
            await d.obey()
        asked_at += [d.now] * (len(d.enforcer.actions) - seen)
        seen = len(d.enforcer.actions)
    in_a_minute = max(sum(at <= t < at + timedelta(minutes=1) for t in asked_at) for at in asked_at)
    assert 25 <= in_a_minute <= 40
    assert "calls_braked" not in d.alarms
    await d.wait(seconds=10)
    for symbol, price in start.items():
        await d.quote(symbol, price + 6 + 179)
        await d.obey()
    assert sorted(price for _, price in stops(d)) == ["21182.50", "5982.50", "5982.50"]


async def test_012_3_the_trail_follows_and_never_goes_back(desk: DeskMaker) -> None:
    d = desk(trade_management=TRAILING)
    await d.position("ES", 1, 5800)
    await d.quote("ES", 5804.75)
    assert d.actions == []
    await d.quote("ES", 5805)
    await d.obey()
    assert stops(d) == [(1, "5802.50")]
    await d.wait(seconds=1)
    await d.quote("ES", 5810)
    await d.obey()
    assert stops(d) == [(1, "5807.50")]
    await d.wait(seconds=1)
    await d.quote("ES", 5808)
    await d.wait(seconds=5)
    await d.obey()
    assert stops(d) == [(1, "5807.50")]
    assert len(d.actions) == 2


async def test_012_4_the_trail_stands_below_the_best_price(desk: DeskMaker) -> None:
    d = desk(trade_management=TRAILING)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21005)
    assert d.actions == ["place stop MNQ -2 at 21002.50"]


async def test_012_5_the_traders_own_better_stop_is_left_alone(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 2, 21000)
    stop = await d.stop("MNQ", -2, 21001)
    await d.quote("MNQ", 21003)
    await d.wait(seconds=5)
    assert d.actions == []
    await d.stop("MNQ", -2, 20990, order_id=stop)
    await d.quote("MNQ", 21003.25)
    await d.wait(seconds=5)
    assert d.actions == []  # loosened by hand: moved again only for a better stop


async def test_012_5_a_loosened_stop_is_moved_for_the_next_better_one(desk: DeskMaker) -> None:
    d = desk(trade_management={**TRAILING, "breakeven": BREAKEVEN["breakeven"]})
    await d.position("MNQ", 2, 21000)
    stop = await d.stop("MNQ", -2, 21001)
    await d.quote("MNQ", 21003)
    await d.stop("MNQ", -2, 20990, order_id=stop)
    await d.quote("MNQ", 21004.75)
    assert d.actions == []
    await d.quote("MNQ", 21005)
    assert d.actions == [f"move {stop} to 21002.50 for 2"]


async def test_012_6_what_is_added_is_covered_and_breakeven_is_not_done_again(
    desk: DeskMaker,
) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21002.50)
    await d.obey()
    await d.quote("MNQ", 21010)
    await d.position("MNQ", 3, 21003.3333)
    await d.obey()
    assert stops(d) == [(3, "21000.25")]
    await d.quote("MNQ", 21020)
    await d.wait(seconds=5)
    await d.obey()
    assert stops(d) == [(3, "21000.25")]


async def test_012_7_a_trail_the_market_has_jumped_over_closes(desk: DeskMaker) -> None:
    d = desk(trade_management=TRAILING)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21006)
    await d.obey()
    assert stops(d) == [(2, "21003.50")]
    await d.quote("MNQ", 21010)  # within a second of the last move: it has to wait
    assert len(d.actions) == 1
    await d.wait(seconds=1)
    assert len(d.actions) == 2
    await d.quote("MNQ", 21004)
    assert d.actions[-1] == "close MNQ"
    assert d.reasons[-1] == (
        "trailing stop 21007.50 in MNQZ6 is through the market (21004.00); closing"
    )


async def test_012_8_an_average_between_ticks_is_rounded_towards_safety(desk: DeskMaker) -> None:
    rule = {**BREAKEVEN, "breakeven": {"trigger_ticks": 10, "offset_ticks": 0}}
    d = desk(trade_management=rule)
    await d.position("MNQ", 2, 21000.125)
    await d.quote("MNQ", 21003)
    assert d.actions == ["place stop MNQ -2 at 21000.25"]

    short = desk(trade_management=rule)
    await short.position("MNQ", -2, 21000.125)
    await short.quote("MNQ", 20997)
    assert short.actions == ["place stop MNQ +2 at 21000.00"]


async def test_a_skipped_move_is_made_up_for_by_the_clock(desk: DeskMaker) -> None:
    d = desk(trade_management=TRAILING)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21005)
    await d.obey()
    for price in (21005.5, 21006, 21006.5):
        await d.quote("MNQ", price)
    assert len(d.actions) == 1
    await d.wait(seconds=1)
    await d.obey()
    assert stops(d) == [(1, "21004.00")]
    assert len(d.actions) == 2


async def test_small_steps_are_saved_up(desk: DeskMaker) -> None:
    d = desk(trade_management={**TRAILING, "trailing": {"step_ticks": 4}})
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21005)
    await d.obey()
    await d.wait(seconds=2)
    await d.quote("MNQ", 21005.75)
    await d.wait(seconds=2)
    assert len(d.actions) == 1
    await d.quote("MNQ", 21006)
    await d.obey()
    assert stops(d) == [(1, "21003.50")]


async def test_the_traders_worse_stop_is_moved_instead_of_adding_one(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 2, 21000)
    stop = await d.stop("MNQ", -2, 20990)
    await d.quote("MNQ", 21003)
    assert d.actions == [f"move {stop} to 21000.25 for 2"]

    never = desk(trade_management={**BREAKEVEN, "adopt_manual_stops": "never"})
    await never.position("MNQ", 2, 21000)
    await never.stop("MNQ", -2, 20990)
    await never.quote("MNQ", 21003)
    await never.wait(seconds=5)
    assert never.actions == []  # a second one would make the exits bigger than the position


async def test_of_several_stops_one_is_moved_and_the_sum_stays(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 3, 21000)
    await d.stop("MNQ", -1, 20980)
    larger = await d.stop("MNQ", -2, 20990)
    await d.quote("MNQ", 21003)
    await d.obey()
    assert d.actions == [f"move {larger} to 21000.25 for 2"]
    assert sum(size for size, _ in stops(d)) == 3


async def test_a_stop_that_trails_natively_is_the_platforms(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 2, 21000)
    await d.order("MNQ", -2, kind=OrderType.TRAILING_STOP, price=20995)
    await d.quote("MNQ", 21003)
    await d.wait(seconds=5)
    assert d.actions == []


async def test_a_partial_exit_shrinks_the_stop(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 3, 21000)
    await d.quote("MNQ", 21003)
    await d.obey()
    await d.position("MNQ", 1, 21000)
    await d.obey()
    assert stops(d) == [(1, "21000.25")]
    await d.position("MNQ", 0)
    await d.obey()
    assert d.account().is_flat


async def test_without_resizing_a_stop_is_still_never_too_big(desk: DeskMaker) -> None:
    d = desk(trade_management={**BREAKEVEN, "resize_with_position": False})
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21003)
    await d.obey()
    await d.position("MNQ", 3, 21000)
    await d.wait(seconds=2)
    await d.obey()
    assert stops(d) == [(2, "21000.25")]
    await d.position("MNQ", 1, 21000)
    await d.wait(seconds=2)
    await d.obey()
    assert stops(d) == [(1, "21000.25")]


async def test_breakeven_the_market_has_left_is_not_sent_and_waits(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", bid=20999, ask=21003, last=21002.5)
    assert d.actions == []
    assert d.reasons == [
        "breakeven stop 21000.25 in MNQZ6 is through the market (20999.00); not sent"
    ]
    await d.quote("MNQ", 21001)
    assert d.actions == ["place stop MNQ -1 at 21000.25"]


async def test_a_stop_that_is_refused_is_asked_for_again(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21003)
    await d.settle(d.enforcer.actions[-1], Outcome.REFUSED, code=2)
    await d.quote("MNQ", 21003.25)
    assert len(d.actions) == 1
    await d.wait(seconds=1)
    assert d.actions == ["place stop MNQ -1 at 21000.25"] * 2
    await d.obey()
    await d.wait(seconds=5)
    assert stops(d) == [(1, "21000.25")]


async def test_a_stop_just_placed_and_not_listed_yet_is_not_placed_twice(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21003)
    await d.settle(d.enforcer.actions[-1], Outcome.DONE)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21003.25)
    assert len(d.actions) == 1


async def test_a_stop_that_fills_is_not_placed_again_before_the_position_is_heard_of(
    desk: DeskMaker,
) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21003)
    await d.obey()
    stop = next(iter(d.account().orders))
    await d.stop("MNQ", -1, 21000.25, order_id=stop, status=OrderStatus.FILLED, tag="rm-test")
    await d.quote("MNQ", 21000)
    await d.wait(seconds=1)
    assert len(d.actions) == 1
    await d.position("MNQ", 0)
    await d.wait(seconds=5)
    assert len(d.actions) == 1
    assert all("MNQ" not in m.subject for m in d.account().marks.values())


async def test_our_stop_is_put_back_when_it_is_cancelled_or_loosened(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21003)
    await d.obey()
    stop = next(iter(d.account().orders))
    await d.stop("MNQ", -1, 20990, order_id=stop, tag="rm-test")
    assert d.actions[-1] == f"move {stop} to 21000.25 for 1"
    await d.obey()
    await d.stop("MNQ", -1, order_id=stop, status=OrderStatus.CANCELLED, tag="rm-test")
    for _ in range(3):
        await d.wait(seconds=1)
        await d.quote("MNQ", 21003)
    assert d.actions[-1] == "place stop MNQ -1 at 21000.25"


async def test_the_best_price_survives_a_restart(desk: DeskMaker) -> None:
    d = desk(trade_management=TRAILING)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21010)
    await d.obey()
    await d.restart()
    await d.report(positions={"MNQ": 1}, orders=[])
    await d.wait(seconds=3)
    await d.quote("MNQ", 21009)
    assert d.actions[-1] == "place stop MNQ -1 at 21007.50"


async def test_an_initial_stop_is_placed_where_there_is_none(desk: DeskMaker) -> None:
    rule = {"enabled": True, "initial_stop": {"enabled": True, "ticks": 40}}
    d = desk(trade_management=rule)
    await d.position("MNQ", 2, 21000)
    await d.obey()
    assert stops(d) == [(2, "20990.00")]
    await d.position("MNQ", 3, 21000)
    await d.wait(seconds=1)
    await d.obey()
    assert stops(d) == [(3, "20990.00")]

    own = desk(trade_management=rule)
    await own.stop("MNQ", -2, 20950)
    await own.position("MNQ", 2, 21000)
    await own.wait(seconds=5)
    assert own.actions == []


async def test_it_satisfies_the_rule_that_wants_a_stop(desk: DeskMaker) -> None:
    d = desk(
        trade_management={"enabled": True, "initial_stop": {"enabled": True, "ticks": 40}},
        no_stop_loss_grace={"grace": "5s"},
    )
    await d.position("MNQ", 2, 21000)
    await d.obey()
    await d.wait(minutes=1)
    assert d.actions == ["place stop MNQ -2 at 20990.00"]


async def test_a_target_is_placed_once_and_goes_with_the_position(desk: DeskMaker) -> None:
    rule = {
        "enabled": True,
        "initial_stop": {"enabled": True, "ticks": 40},
        "take_profit": {"enabled": True, "ticks": 80},
    }
    d = desk(trade_management=rule)
    await d.position("MNQ", 2, 21000)
    await d.obey()
    assert sorted(d.taken()) == [
        "place stop MNQ -2 at 20990.00",
        "place target MNQ -2 at 21020.00",
    ]
    target = next(o.id for o in d.account().orders.values() if not o.is_stop)
    stop = next(o.id for o in d.account().orders.values() if o.is_stop)
    await d.order("MNQ", -2, order_id=target, status=OrderStatus.FILLED, filled=2, tag="rm-t")
    await d.position("MNQ", 0)
    assert d.taken() == [f"cancel {stop}"]


async def test_a_target_taken_away_by_the_trader_stays_away(desk: DeskMaker) -> None:
    d = desk(trade_management={"enabled": True, "take_profit": {"enabled": True, "ticks": 80}})
    await d.position("MNQ", 1, 21000)
    await d.obey()
    target = next(iter(d.account().orders))
    await d.order("MNQ", -1, order_id=target, status=OrderStatus.CANCELLED, tag="rm-t")
    await d.wait(seconds=10)
    assert d.actions == ["place target MNQ -1 at 21020.00"]


async def test_a_target_is_made_to_fit_the_position(desk: DeskMaker) -> None:
    d = desk(trade_management={"enabled": True, "take_profit": {"enabled": True, "ticks": 80}})
    await d.position("MNQ", 2, 21000)
    await d.obey()
    await d.position("MNQ", 1, 21000)
    await d.wait(seconds=1)
    await d.obey()
    for _ in range(3):
        await d.wait(seconds=1)
        await d.obey()
    working = [o for o in d.account().orders.values()]
    assert [(o.remaining, f"{o.limit_price:.2f}") for o in working] == [(1, "21020.00")]


async def test_a_position_being_closed_is_not_touched(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN, daily_realized_loss={"limit": "500"})
    await d.position("MNQ", 1, 21000)
    await d.loss(500)
    await d.quote("MNQ", 21003)
    await d.wait(seconds=5)
    assert d.actions == ["close MNQ"]


async def test_after_a_reversal_our_old_stop_goes_and_nothing_is_carried_over(
    desk: DeskMaker,
) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21003)
    await d.obey()
    stop = next(iter(d.account().orders))
    await d.position("MNQ", -1, 21003)
    await d.obey()
    assert d.actions[-1] == f"cancel {stop}"
    await d.quote("MNQ", 21002)
    await d.wait(seconds=5)
    assert d.actions[-1] == f"cancel {stop}"


async def test_a_bad_print_moves_nothing(desk: DeskMaker) -> None:
    d = desk(trade_management=TRAILING)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 30000)
    await d.quote("MNQ", 21001)
    await d.wait(seconds=5)
    assert d.actions == []


async def test_profit_may_be_measured_at_what_can_be_had(desk: DeskMaker) -> None:
    d = desk(trade_management={**BREAKEVEN, "price": "executable"})
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", bid=21002.25, ask=21002.75, last=21002.75)
    assert d.actions == []
    await d.quote("MNQ", bid=21002.50, ask=21003, last=21002.25)
    assert d.actions == ["place stop MNQ -1 at 21000.25"]


async def test_shadow_tells_and_touches_nothing(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN, desk_mode=Mode.SHADOW)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21003)
    await d.wait(seconds=5)
    assert d.actions == []
    assert d.reasons == ["MNQZ6: breakeven stop placed: 1 at 21000.25"]


async def test_it_is_off_unless_asked_for(desk: DeskMaker) -> None:
    d = desk(trade_management={})
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21010)
    assert d.actions == []


async def test_the_meter_says_what_comes_next(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21001.50)
    meter = d.meter("trade_management")
    assert meter.sentence == "MNQZ6: breakeven in 4 ticks"
    assert (meter.current, meter.limit, meter.headroom) == tuple(map(Decimal, (6, 10, 4)))
    assert meter.used == 0.6
    await d.quote("MNQ", 20998)  # at a loss nothing of the way is used
    assert d.meter("trade_management").used == 0.0
    await d.quote("MNQ", 21003)
    assert d.meter("trade_management").sentence == "MNQZ6: breakeven stop at 21000.25"


async def test_two_positions_are_managed_apart(desk: DeskMaker) -> None:
    d = desk(trade_management=BREAKEVEN)
    await d.position("MNQ", 1, 21000)
    await d.position("ES", -1, 5800)
    await d.quote("MNQ", 21003)
    await d.quote("ES", 5797)
    await d.obey()
    assert sorted(d.actions) == ["place stop ES +1 at 5799.75", "place stop MNQ -1 at 21000.25"]
    assert {o.contract_id for o in d.account().orders.values()} == {
        contract_id("MNQ"),
        contract_id("ES"),
    }


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("quote"), st.integers(-60, 60)),
        st.tuples(st.just("size"), st.integers(-3, 3)),
        st.tuples(st.just("wait"), st.integers(1, 3)),
        st.tuples(st.just("own stop"), st.integers(-60, -1)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
async def test_whatever_happens_stops_only_tighten_and_never_exceed_the_position(
    steps: list[tuple[str, int]],
) -> None:
    d = make_desk(
        trade_management={
            "enabled": True,
            "initial_stop": {"enabled": True, "ticks": 40},
            "take_profit": {"enabled": True, "ticks": 50},
            "trailing": {"activation_ticks": 15, "distance_ticks": 10},
        }
    )
    await d.wait(seconds=0)
    for what, value in steps:
        asked = len(d.enforcer.actions)
        before = dict(d.account().orders)
        match what:
            case "quote":
                await d.quote("MNQ", 21000 + value / 4)
            case "size":
                await d.position("MNQ", value, 21000)
            case "wait":
                await d.wait(seconds=value)
            case "own stop" if (net := d.account().net(contract_id("MNQ"))) > 0:
                await d.stop("MNQ", -net, 21000 + value / 4)
        size = abs(d.account().net(contract_id("MNQ")))
        for action in d.enforcer.actions[asked:]:
            if isinstance(action, PlaceExit | MoveStop):
                assert action.size <= size
            if isinstance(action, MoveStop) and (old := before.get(action.order_id)):
                assert old.stop_price is not None
                assert action.stop_price is not None
                assert (action.stop_price - old.stop_price) * action.side >= 0
        await d.obey()
        for _ in range(2):
            await d.wait(seconds=1)
            await d.obey()
        size = abs(d.account().net(contract_id("MNQ")))
        working = [o for o in d.account().orders.values() if (o.custom_tag or "").startswith("rm-")]
        assert "rule_failed" not in d.alarms
        for kind in (True, False):
            assert sum(o.remaining for o in working if o.is_stop is kind) <= size


@pytest.mark.parametrize(
    "memory",
    [
        Memory(),
        Memory(stop=-5, high=-7, order=12, stage="trailing"),
        Memory(breakeven=True, seen=True, target=True),
    ],
)
def test_what_is_remembered_is_read_back(memory: Memory) -> None:
    assert recalled(str(memory)) == memory


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"breakeven": {"trigger_ticks": 10, "offset_ticks": 10}}, "must be below trigger_ticks"),
        ({"breakeven": {"trigger_ticks": 0}}, "greater than 0"),
        ({"trailing": {"min_interval": "100ms"}}, "shorter than 250ms"),
        ({"trailing": {"step_ticks": 0}}, "greater than 0"),
        ({"initial_stop": {"ticks": -40}}, "greater than 0"),
        ({"price": "mid"}, "'last' or 'executable'"),
        ({"adopt_manual_stops": "always"}, "'improve_only' or 'never'"),
        ({"auto_stop_loss": 40}, "Extra inputs"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        rules_from(trade_management=fields)


def test_it_is_written_down_under_the_names_that_older_journals_know() -> None:
    rule = TradeManagement()
    written = dumps(rule)
    for name in ("Breakeven", "InitialStop", "TakeProfit", "TradeManagement", "Trailing"):
        assert f'"rules.trade_management:{name}"' in written
    assert loads(written) == rule
