"""Prices that look absurd: doubted for a moment, never for good. The rules see what is believed."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from desk import Desk, DeskMaker, contract_id, make_desk
from hypothesis import given, settings
from hypothesis import strategies as st

from risk_manager.domain.events import QuoteChanged, Tick
from risk_manager.domain.rulebook import Defaults, PriceBasis

LIMIT: dict[str, Any] = {"limit": 300}
CLOSED = ["close MNQ"]


async def raw(desk: Desk, symbol: str, **prices: float) -> None:
    """A quote that says only this much."""
    await desk.happens(QuoteChanged(at=desk.now, contract_id=contract_id(symbol), **prices))


# --- F3.1: confirmed by a second quote, the other side of the book, or a second -------------------


async def test_a_gap_beyond_a_fifth_that_stays_is_acted_on(desk: DeskMaker) -> None:
    """F3.1: Long 5 MET from 2500, the market gaps to 1900 and stays there: closed."""
    d = desk(daily_unrealized_loss={"limit": 250})  # 5 MET lose 300 at 1900
    await d.position("MET", 5, 2500)
    await d.quote("MET", 2500)
    await d.quote("MET", 1900)
    assert d.actions == []
    for _ in range(3):
        await d.wait(seconds=1)
        await d.quote("MET", 1900)
    assert d.actions == ["close MET"]
    assert d.reasons == ["METZ6 is down $300.00, limit $250.00; closing 5 METZ6"]


async def test_a_second_quote_confirms_a_jump(desk: DeskMaker) -> None:
    """F3.1: A second quote near the first one of a jump confirms it."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21000)
    await d.quote("MNQ", 15000)
    assert d.actions == []
    await d.quote("MNQ", 15002)
    assert d.actions == CLOSED


async def test_the_other_side_of_the_book_confirms_a_jump(desk: DeskMaker) -> None:
    """F3.1: A bid that jumps is confirmed when the offers have moved with it."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", bid=21000, ask=21000.5)
    await raw(d, "MNQ", best_bid=15000.0)
    assert d.actions == []
    await raw(d, "MNQ", best_ask=15000.5)
    assert d.actions == CLOSED

    whole = desk(daily_unrealized_loss=LIMIT)
    await whole.position("MNQ", 2, 21000)
    await whole.quote("MNQ", bid=21000, ask=21000.5)
    await whole.quote("MNQ", bid=15000, ask=15000.5, last=21000)
    assert whole.actions == CLOSED


async def test_a_second_of_time_confirms_a_jump(desk: DeskMaker) -> None:
    """F3.1: A jump after which no quote comes is believed when it has stood for a second."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21000)
    await d.quote("MNQ", 15000)
    await d.wait(seconds=1)
    assert d.actions == CLOSED


async def test_a_wild_tick_does_nothing(desk: DeskMaker) -> None:
    """F3.1: One bad print, on one side or on all, followed by an ordinary quote, does nothing."""
    d = desk(daily_unrealized_loss=LIMIT, max_unrealized_profit={"target": 500})
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", bid=21000, ask=21000.5)
    for wild in (15000.0, 30000.0, 0.25):
        await d.quote("MNQ", wild)
        await d.quote("MNQ", bid=20999, ask=20999.5)
        await raw(d, "MNQ", best_bid=wild)
        await raw(d, "MNQ", best_bid=20999.0)
        await raw(d, "MNQ", last_price=wild)
        await d.wait(seconds=2)
        await raw(d, "MNQ", best_bid=20998.0, best_ask=20999.0)
    assert (d.actions, d.decisions) == ([], [])


@pytest.mark.parametrize("basis", list(PriceBasis))
async def test_a_jump_is_measured_from_the_last_price_not_from_the_entry(
    desk: DeskMaker, basis: PriceBasis
) -> None:
    """F3.1: A price that has walked more than a fifth away from the entry is a price."""
    d = desk(daily_unrealized_loss={"limit": 5000}, desk_defaults=Defaults(pnl_price=basis))
    await d.position("MNQ", 1, 21000)
    price = 21000
    while price > 18_500:
        price -= 250
        await d.quote("MNQ", price)
    assert d.actions == CLOSED
    deep = desk(daily_unrealized_loss={"limit": 9000}, desk_defaults=Defaults(pnl_price=basis))
    await deep.position("MNQ", 1, 21000)
    for price in (21000, 18500, 16600):  # the last is -8800
        await deep.quote("MNQ", price)
    assert deep.actions == []
    await deep.quote("MNQ", 16500)
    assert deep.actions == CLOSED


async def test_while_a_jump_is_in_doubt_the_last_price_counts(desk: DeskMaker) -> None:
    """F3.1: A doubted price does not make the position unknown."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20990)
    await d.quote("MNQ", 15000)
    assert "-$40.00" in d.meter("daily_unrealized_loss").sentence


async def test_the_first_price_after_a_start_is_doubted_when_it_is_far_from_the_entry(
    desk: DeskMaker,
) -> None:
    """F3.1: With no price known yet the first is compared with the entry, and confirmed alike."""
    for confirmed_by in ("quote", "time", "book"):
        d = desk(daily_unrealized_loss=LIMIT)
        await d.position("MNQ", 2, 21000)
        if confirmed_by == "book":
            await d.quote("MNQ", bid=15000, ask=15000.5)
        else:
            await d.quote("MNQ", 15000)
            assert d.actions == []
        if confirmed_by == "quote":
            await d.quote("MNQ", 15000)
        elif confirmed_by == "time":
            await d.wait(seconds=1)
        assert d.actions == CLOSED, confirmed_by

    wild = desk(daily_unrealized_loss=LIMIT)
    await wild.position("MNQ", 2, 21000)
    await wild.quote("MNQ", 15000)
    await wild.quote("MNQ", 20990)
    await wild.wait(seconds=2)
    assert wild.actions == []


async def test_a_wild_price_from_before_the_entry_is_not_held_against_it(desk: DeskMaker) -> None:
    """F3.1: A first price that nothing speaks for is none, also for a position opened after it;
    one near the entry is believed as soon as the entry is known."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.quote("MNQ", 15000)
    await d.position("MNQ", 2, 21000)
    assert d.actions == []
    await d.quote("MNQ", 20990)
    await d.wait(seconds=2)
    assert d.actions == []

    near = desk(daily_unrealized_loss=LIMIT)
    await near.quote("MNQ", 20900)
    await near.position("MNQ", 2, 21000)
    assert near.actions == CLOSED


async def test_a_jump_is_seen_by_every_rule_that_uses_prices(desk: DeskMaker) -> None:
    """F3.1: The day's limit, the profit target and the trailing stop go by the same prices."""
    day = desk(daily_realized_loss={"limit": 500, "include_unrealized": True})
    await day.position("MNQ", 2, 21000)
    await day.quote("MNQ", 21000)
    await day.quote("MNQ", 15000)
    await day.wait(seconds=1)
    assert day.locked_by() == {"daily_realized_loss": "account"}

    target = desk(max_unrealized_profit={"target": 1000})
    await target.position("MNQ", 2, 21000)
    await target.quote("MNQ", 21000)
    await target.quote("MNQ", 26000)
    assert target.actions == []
    await target.wait(seconds=1)
    assert target.actions == CLOSED

    managed = desk(trade_management={"enabled": True, "breakeven": {"enabled": False}})
    await managed.position("MNQ", 2, 21000)
    await managed.quote("MNQ", 21000)
    await managed.quote("MNQ", 26000)
    assert managed.actions == []
    await managed.wait(seconds=1)
    assert managed.actions == ["place stop MNQ -2 at 25997.50"]


async def test_a_doubted_price_is_not_lost_in_the_quiet_band(desk: DeskMaker) -> None:
    """F3.1: A quote that was passed over because nothing could follow from it confirms a jump."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    for _ in range(3):
        await d.quote("MNQ", bid=20999, ask=20999.5)  # the account is quiet here by now
    await raw(d, "MNQ", best_bid=15000.0)
    await raw(d, "MNQ", best_bid=15000.0)
    assert d.actions == CLOSED


# --- brothers: books that stay crossed ------------------------------------------------------------


async def test_a_book_that_stays_crossed_is_valued_at_the_last_price(desk: DeskMaker) -> None:
    """F3.1: A crossed book is doubted for a moment; when it stays, the last price counts."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21000)
    await d.quote("MNQ", bid=21000, ask=20800, last=21000)
    await raw(d, "MNQ", last_price=20840.0)  # the bid is stuck, the market has fallen
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == CLOSED

    moment = desk(daily_unrealized_loss=LIMIT, max_unrealized_profit={"target": 300})
    await moment.position("MNQ", 2, 21000)
    await moment.quote("MNQ", 21000)
    await raw(moment, "MNQ", best_bid=21090.0)
    await raw(moment, "MNQ", best_bid=20999.0)
    await moment.wait(seconds=2)
    assert moment.actions == []


# --- F3.2 and F3.3: negative prices, no price -----------------------------------------------------


@pytest.mark.parametrize("side", [1, -1])
async def test_a_side_that_is_no_longer_stated_has_passed_no_stop(
    desk: DeskMaker, side: int
) -> None:
    """The feed states the side that the market moves towards, and the last price. The other side
    stays where it was: the stop that follows the market is beyond it, and protects."""
    d = desk(no_stop_loss_grace={"grace": "5s", "rearm_grace": "3s"})
    await d.position("MES", side, 6000)
    await d.quote("MES", 6000)
    stop = await d.stop("MES", -side, 6000 - 20 * side)
    stated = "best_bid" if side > 0 else "best_ask"
    for point in range(1, 61):
        await d.wait(seconds=1)
        price = 6000.0 + point * side
        await raw(d, "MES", **{stated: price, "last_price": price})
    await d.stop("MES", -side, 6000 + 40 * side, order_id=stop)
    for _ in range(10):
        await d.wait(seconds=1)
        await raw(d, "MES", **{stated: price, "last_price": price})
    assert d.actions == []
    await raw(d, "MES", last_price=6000.0 + 30 * side)
    await d.wait(seconds=5)
    assert d.actions == ["close MES"], "the last price has passed it"


@pytest.mark.parametrize("side", [1, -1])
async def test_a_stop_is_not_placed_beyond_the_last_price_of_a_crossed_book(
    desk: DeskMaker, side: int
) -> None:
    d = desk(no_stop_loss_grace={"grace": "70s", "action": "place_stop", "place_stop_ticks": 20})
    await d.position("MES", side, 6000)
    await d.quote("MES", 6000)
    stated = "best_ask" if side > 0 else "best_bid"
    for point in range(1, 80):
        await d.wait(seconds=1)
        price = 6000.0 - point * side
        await raw(d, "MES", **{stated: price, "last_price": price})
    assert d.actions == ["close MES"], "its stop would fill at once"


async def test_negative_prices_are_prices(desk: DeskMaker) -> None:
    """F3.2: Long 1 MCL from 5.00 while bids walk through zero to -37.63: closed at the limit."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MCL", 1, 5.0)
    for cents in range(460, 200, -20):
        await d.quote("MCL", cents / 100)
    assert d.actions == []
    await d.quote("MCL", 2.0)
    assert d.actions == ["close MCL"]
    assert d.reasons == ["MCLZ6 is down $300.00, limit $300.00; closing 1 MCLZ6"]


@pytest.mark.parametrize(
    ("limit", "closed_at"), [(450, 0.4), (499, 0.01), (500, -0.01), (501, -0.01), (900, -4.1)]
)
async def test_the_walk_through_zero_is_followed_to_its_end(
    desk: DeskMaker, limit: int, closed_at: float
) -> None:
    """F3.2: Wherever the limit lies on the way, it is acted on there."""
    walk = [4.6, 3.9, 3.2, 2.5, 1.8, 1.1, 0.4, 0.01, -0.01, -0.6, -1.5, -2.3, -3.2, -4.1, -5.2]
    d = desk(daily_unrealized_loss={"limit": limit})
    await d.position("MCL", 1, 5.0)
    for price in walk:
        await d.quote("MCL", bid=price, ask=price + 0.01)
        if d.actions:
            break
    assert price == closed_at


async def test_a_gap_through_zero_is_confirmed_like_any_other(desk: DeskMaker) -> None:
    """F3.2: From 4.60 to -37.63 at once: doubted, confirmed, closed."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MCL", 1, 5.0)
    await d.quote("MCL", 4.6)
    await d.quote("MCL", -37.63)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MCL"]
    assert d.reasons == ["MCLZ6 is down $4,263.00, limit $300.00; closing 1 MCLZ6"]


async def test_a_position_opened_at_a_negative_price_has_a_result(desk: DeskMaker) -> None:
    """F3.2: An average below zero is an average."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MCL", -1, -5.0)
    await d.quote("MCL", -2.01)
    assert d.actions == []
    await d.quote("MCL", -2.0)
    assert d.actions == ["close MCL"]


async def test_without_a_bid_the_last_price_counts(desk: DeskMaker) -> None:
    """F3.3: Long 2 MNQ from 21000; bid 0, ask 20000, last 20000: closed by the last price."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", bid=0, ask=20000, last=20000)
    assert d.actions == CLOSED

    short = desk(daily_unrealized_loss=LIMIT)
    await short.position("MNQ", -2, 21000)
    await short.quote("MNQ", bid=22000, ask=0, last=22000)
    assert short.actions == CLOSED

    later = desk(daily_unrealized_loss=LIMIT)
    await later.position("MNQ", 2, 21000)
    await later.quote("MNQ", bid=21000, ask=21000.25)
    await raw(later, "MNQ", best_bid=0.0)
    assert later.actions == []
    await raw(later, "MNQ", last_price=20900.0)
    assert later.actions == CLOSED


async def test_zeros_only_are_no_price_and_are_missed(desk: DeskMaker) -> None:
    """F3.3: A feed that tells nothing but zeros tells no price: missed, and closed if asked."""
    d = desk(
        daily_unrealized_loss=LIMIT, desk_defaults=Defaults(flatten_after=timedelta(seconds=30))
    )
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21000)
    for _ in range(29):
        await d.wait(seconds=1)
        await d.quote("MNQ", 0)
    assert d.actions == []
    assert d.reasons == ["no trusted price for MNQZ6 for 11s; its loss is not watched"]
    await d.wait(seconds=1)
    assert d.actions == CLOSED


async def test_a_missing_ask_near_zero_is_no_ask(desk: DeskMaker) -> None:
    """F3.3: Crude oil climbs through zero while its quotes have no ask: no price of zero is left
    behind, by which the market would have gone through the stop."""
    d = desk(no_stop_loss_grace={"grace": "3s", "rearm_grace": "3s"})
    await d.position("MCL", 1, -3.0)
    await d.quote("MCL", bid=-0.10, ask=-0.09)
    stop = await d.stop("MCL", -1, -0.50)
    for cents in range(-5, 100, 5):
        await d.quote("MCL", bid=cents / 100, ask=0.0, last=cents / 100)
        await d.wait(seconds=1)
    await d.stop("MCL", -1, 0.45, order_id=stop)  # moved up
    for cents in range(100, 130, 5):
        await d.quote("MCL", bid=cents / 100, ask=0.0, last=cents / 100)
        await d.wait(seconds=1)
    assert d.actions == []
    quote = d.pipeline.state.quotes[contract_id("MCL")]
    assert (quote.best_bid, quote.best_ask) == (1.25, None)


async def test_zero_is_a_price_where_the_market_is_near_it(desk: DeskMaker) -> None:
    """F3.3: Zero is a price for crude oil that has walked there."""
    d = desk(daily_unrealized_loss={"limit": 40})
    await d.position("MCL", 1, 0.4)
    await d.quote("MCL", bid=0.01, ask=0.02)
    assert d.actions == []
    await d.quote("MCL", bid=0.0, ask=0.01)
    assert d.actions == ["close MCL"]


# --- F3.4: no average price -----------------------------------------------------------------------


async def test_the_average_of_the_fills_counts_where_the_broker_states_none(
    desk: DeskMaker,
) -> None:
    """F3.4: The list says averagePrice 0, our fill is known at 21000; bid 20000: closed, and a
    doubt says so."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.fill("MNQ", 2, price=21000)
    await d.report(positions={"MNQ": 2}, price=0)
    await d.wait(seconds=1)
    await d.quote("MNQ", bid=20000, ask=20000.25)
    assert d.actions == CLOSED
    assert d.reasons[-1] == "MNQZ6 is down $4,000.00, limit $300.00; closing 2 MNQZ6"
    assert "average_unknown" in d.alarms


@pytest.mark.parametrize("position_first", [True, False])
async def test_the_fills_may_come_before_or_after_the_position(
    desk: DeskMaker, position_first: bool
) -> None:
    """F3.4: Whichever of the two is told first; an addition and a reduction keep the average."""
    d = desk(daily_unrealized_loss=LIMIT)
    if position_first:
        await d.position("MNQ", 2, 0)
        await d.fill("MNQ", 2, price=21000)
    else:
        await d.fill("MNQ", 2, price=21000)
        await d.position("MNQ", 2, 0)
    assert d.account().positions[contract_id("MNQ")].average_price == 21000
    await d.fill("MNQ", 2, price=20990)
    await d.position("MNQ", 4, 0)
    assert d.account().positions[contract_id("MNQ")].average_price == 20995
    await d.fill("MNQ", -2, price=20800, pnl=-780)
    await d.position("MNQ", 2, 0)
    assert d.account().positions[contract_id("MNQ")].average_price == 20995
    await d.quote("MNQ", 20920.25)
    assert d.actions == []
    await d.quote("MNQ", 20920)
    assert d.actions == CLOSED


async def test_an_average_that_cannot_be_that_of_the_fills_is_not_believed(
    desk: DeskMaker,
) -> None:
    """F3.4: Long 2 MNQ from 21000 by its fills, the broker says 26500: no loss of 22000."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.quote("MNQ", 21000)
    await d.fill("MNQ", 2, price=21000)
    await d.position("MNQ", 2, 26500)
    await d.quote("MNQ", 21000)
    await d.wait(seconds=1)
    assert (d.actions, d.alarms) == ([], ["average_unknown"])
    await d.quote("MNQ", 20925)
    assert d.actions == CLOSED


async def test_a_later_word_of_the_broker_ends_the_doubt(desk: DeskMaker) -> None:
    """F3.4: As soon as the broker states an average, it counts and the doubt is over."""
    d = desk(daily_unrealized_loss={"limit": 9000})
    await d.fill("MNQ", 2, price=21000)
    await d.position("MNQ", 2, 0)
    await d.wait(seconds=1)
    assert d.alarms == ["average_unknown"]
    await d.position("MNQ", 2, 21001)
    await d.wait(seconds=1)
    assert d.alarms == ["average_unknown", "average_unknown"]
    assert d.account().positions[contract_id("MNQ")].average_price == 21001


async def test_without_fills_an_unknown_average_stays_unknown_and_is_told(desk: DeskMaker) -> None:
    """F3.4: With neither a stated average nor fills there is no result, and that is told."""
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 0)
    await d.quote("MNQ", 15000)
    await d.wait(seconds=2)
    assert (d.actions, d.alarms) == ([], ["average_unknown"])
    assert d.meter("daily_unrealized_loss").current is None


# --- any path -------------------------------------------------------------------------------------

PRICES = st.integers(1, 60_000).map(lambda ticks: ticks * 0.25)  # up to 15,000: beyond the limit
GAPS = st.integers(50, 900)


@settings(max_examples=60, deadline=None)
@given(path=st.lists(st.tuples(PRICES, st.integers(0, 3), GAPS), min_size=4, max_size=20))
def test_any_path_beyond_the_limit_is_closed_within_two_seconds(
    path: list[tuple[float, int, int]],
) -> None:
    """F3.1: Whatever prices are quoted beyond the limit, one that stays beyond is acted on."""

    async def trade() -> None:
        d = make_desk(daily_unrealized_loss=LIMIT)
        await d.position("MNQ", 2, 21000)
        await d.quote("MNQ", 21000)
        began = next_tick = d.now
        for price, spread, gap in [*path, *path]:
            if d.now - began > timedelta(seconds=2):
                break
            await d.quote("MNQ", bid=price, ask=price + spread * 0.25)
            d.now += timedelta(milliseconds=gap)
            while next_tick + timedelta(seconds=1) <= d.now:
                next_tick += timedelta(seconds=1)
                await d.happens(Tick(at=next_tick))
        await d.wait(seconds=1)
        assert d.actions == CLOSED

    asyncio.run(trade())


@settings(max_examples=60, deadline=None)
@given(
    wild=st.lists(
        st.tuples(
            st.sampled_from(["best_bid", "best_ask", "last_price", "all"]),
            st.one_of(
                st.integers(-80_000, 67_000).map(lambda t: t * 0.25),
                st.integers(101_000, 400_000).map(lambda t: t * 0.25),
            ),
            st.integers(0, 900),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_lone_outliers_never_do_anything(wild: list[tuple[str, float, int]]) -> None:
    """F3.1: Any wild tick between ordinary quotes, on any side: nothing is closed."""

    async def trade() -> None:
        d = make_desk(
            daily_unrealized_loss={"limit": 100},
            max_unrealized_profit={"target": 100},
            daily_realized_loss={"limit": 100, "include_unrealized": True},
            daily_profit_target={"target": 100, "include_unrealized": True},
            trade_management={"enabled": True},
        )
        await d.position("MNQ", 2, 21000)
        for side, price, gap in wild:
            await d.quote("MNQ", bid=21000, ask=21000.25)
            if side == "all":
                await d.quote("MNQ", price)
            else:
                await raw(d, "MNQ", **{side: price})
            d.now += timedelta(milliseconds=gap)
            await d.quote("MNQ", bid=21000, ask=21000.25)
            await d.happens(Tick(at=d.now))
        assert (d.actions, d.locked_by()) == ([], {})

    asyncio.run(trade())
