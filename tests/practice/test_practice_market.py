"""The seeded market and the scripted trader."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from risk_manager.practice.exchange import Exchange
from risk_manager.practice.market import Market
from risk_manager.practice.records import Event, OrderType, Side
from risk_manager.practice.trader import (
    BAD_HABITS,
    Enter,
    ExchangeHands,
    Leave,
    PullStops,
    Push,
    Rest,
    Step,
    Trader,
)

OPEN = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


def watch(seed: int, seconds: int, push: tuple[str, float, float] | None = None) -> list[Event]:
    venue = Exchange()
    market = Market(venue, seed)
    if push is not None:
        market.push(*push)
    for step in range(int(seconds / market.step_seconds)):
        market.step(OPEN + timedelta(seconds=step * market.step_seconds))
    return venue.drain_events()


def lasts(events: list[Event], contract_id: str) -> list[float]:
    return [
        event.data["lastPrice"]
        for event in events
        if event.kind == "quote" and event.contract_id == contract_id
    ]


def test_the_same_seed_gives_the_same_market_and_another_seed_another() -> None:
    assert watch(1, 30) == watch(1, 30)
    assert watch(1, 30) != watch(2, 30)


def test_each_contract_quotes_a_few_times_a_second_on_its_tick_grid() -> None:
    venue = Exchange()
    events = watch(4, 60)
    for contract in venue.contracts.values():
        quotes = [
            event for event in events if event.kind == "quote" and event.contract_id == contract.id
        ]
        assert 1.5 <= len(quotes) / 60 <= 4.0
        for event in quotes:
            bid, ask = Decimal(str(event.data["bestBid"])), Decimal(str(event.data["bestAsk"]))
            assert bid % contract.tick_size == 0
            assert (ask - bid) / contract.tick_size in (1, 2)
            assert event.data["lastPrice"] in (event.data["bestBid"], event.data["bestAsk"])


def test_a_micro_trades_where_its_mini_does() -> None:
    venue = Exchange()
    market = Market(venue, 9)
    mini, micro = venue.contract_of("NQ"), venue.contract_of("MNQ")
    for step in range(400):
        market.step(OPEN + timedelta(seconds=step))
        # Either may have skipped a quote while the price stood still, never while it moved.
        assert venue.book(mini.id).bid == venue.book(micro.id).bid


def test_prices_move_but_not_absurdly() -> None:
    path = lasts(watch(11, 900), "CON.F.US.ENQ.Z26")
    assert 10 < max(path) - min(path) < 600
    jumps = [abs(later - earlier) for earlier, later in pairwise(path)]
    assert max(jumps) < 30


def test_a_push_moves_the_price_by_about_what_was_asked() -> None:
    path = lasts(watch(2, 10, ("MNQ", -280, 10.0)), "CON.F.US.MNQ.Z26")
    assert path[-1] - path[0] == pytest.approx(-70, abs=12)


def test_a_paused_market_is_silent_and_a_level_can_be_set() -> None:
    venue = Exchange()
    market = Market(venue, 1, roots=("MES",))
    market.paused = True
    market.step(OPEN)
    assert venue.drain_events() == []
    market.paused = False
    market.set_level("MES", Decimal("5000"))
    market.step(OPEN)
    assert venue.book(venue.contract_of("MES").id).last == pytest.approx(Decimal(5000), abs=3)


def test_a_shut_market_is_silent_and_opens_where_the_walk_got_to() -> None:
    venue = Exchange()
    market = Market(venue, 6)
    venue.set_market_open(False, now=OPEN)
    market.push("MNQ", 400, 5.0)
    for step in range(20):
        market.step(OPEN + timedelta(seconds=step))
    assert venue.drain_events() == []
    venue.set_market_open(True, now=OPEN)
    before = venue.book(venue.contract_of("MNQ").id).last
    market.step(OPEN)
    assert venue.book(venue.contract_of("MNQ").id).last - before > 50


def run_script(seed: int) -> tuple[Exchange, Trader]:
    venue = Exchange()
    market = Market(venue, seed)
    trader = Trader(ExchangeHands(venue, 101, market))
    elapsed = 0.0
    while not trader.is_done:
        now = OPEN + timedelta(seconds=elapsed)
        market.step(now)
        for step in trader.due(elapsed):
            trader.perform(step, now=now)
        elapsed += market.step_seconds
    return venue, trader


@pytest.mark.parametrize("seed", [1, 3, 7])
def test_the_bad_habits_lose_more_than_a_day_limit_and_end_flat(seed: int) -> None:
    venue, trader = run_script(seed)
    assert venue.is_flat(101)
    day = [one for one in venue.trades(101) if one.created_at < OPEN + timedelta(seconds=60)]
    assert sum((one.profit_and_loss or Decimal(0) for one in day), Decimal(0)) < -500
    assert [deed.refusals for deed in trader.deeds if deed.refusals] == []
    assert len(trader.deeds) == len(BAD_HABITS)
    assert {"MNQ", "RTY", "MES", "NQ", "MGC", "ES"} == {
        venue.contracts[one.contract_id].root for one in venue.trades(101)
    }


def test_the_script_plays_the_same_each_time() -> None:
    first, second = run_script(5)[0], run_script(5)[0]
    assert first.trades(101) == second.trades(101)


def test_steps_are_handed_out_once_and_in_time() -> None:
    script = (
        Step(2, "second", (Leave("MNQ"),)),
        Step(1, "first", (Enter("MNQ", Side.BUY, 1),)),
    )
    trader = Trader(ExchangeHands(Exchange()), script)
    assert trader.due(0.5) == ()
    assert [step.caption for step in trader.due(1.0)] == ["first"]
    assert [step.caption for step in trader.due(9.0)] == ["second"]
    assert trader.due(9.0) == ()
    assert trader.is_done


def test_each_act_does_what_it_says_and_refusals_are_kept() -> None:
    venue = Exchange()
    mnq = venue.contract_of("MNQ").id
    market = Market(venue, 1)
    acts = (
        Enter("MNQ", Side.BUY, 2, stop_ticks=20),
        Rest("MNQ", Side.SELL, 1, ticks_away=100),
        Push("MNQ", 10, 1.0),
    )
    trader = Trader(ExchangeHands(venue, 101, market), (Step(0, "in", acts),))
    assert trader.perform(trader.due(0)[0], now=OPEN).refusals == ()
    kinds = [order.type for order in venue.working_orders(101)]
    assert kinds == [OrderType.STOP, OrderType.LIMIT]
    hands = trader.hands
    assert hands.net("MNQ") == 2
    hands.pull_stops(PullStops("MNQ"), now=OPEN)
    assert [order.type for order in venue.working_orders(101)] == [OrderType.LIMIT]
    assert hands.leave(Leave("MNQ"), now=OPEN) is None
    assert venue.is_flat(101)
    venue.set_market_open(False, now=OPEN, contract_id=mnq)
    deed = trader.perform(Step(1, "again", (Enter("MNQ", Side.BUY, 1),)), now=OPEN)
    assert deed.refusals == ("outside trading hours (code 5)",)
