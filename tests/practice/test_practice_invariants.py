"""What must hold at the practice exchange whatever anyone does, checked on random trading days."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from risk_manager.practice.exchange import Exchange
from risk_manager.practice.records import TERMINAL, Bracket, Event, OrderType, Side

OPEN = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
ROOTS = ("MNQ", "ES", "6E")
ACCOUNTS = (101, 102)

places = st.tuples(
    st.just("place"),
    st.sampled_from(ACCOUNTS),
    st.sampled_from(ROOTS),
    st.sampled_from(list(Side)),
    st.integers(1, 6),
    st.sampled_from(list(OrderType)),
    st.integers(-8, 8),  # where the price is, in ticks from the last
    st.booleans(),  # with a bracket
)
closes = st.tuples(
    st.just("close"), st.sampled_from(ACCOUNTS), st.sampled_from(ROOTS), st.integers(0, 4)
)
cancels = st.tuples(st.just("cancel"), st.integers(0, 30))
modifies = st.tuples(st.just("modify"), st.integers(0, 30), st.integers(1, 8), st.integers(-8, 8))
moves = st.tuples(st.just("move"), st.sampled_from(ROOTS), st.integers(-12, 12))
hours = st.tuples(st.just("hours"), st.booleans())
permits = st.tuples(st.just("permit"), st.sampled_from(ACCOUNTS), st.booleans())
days = st.lists(
    st.one_of(places, places, moves, moves, closes, cancels, modifies, hours, permits),
    max_size=40,
)
venues = st.tuples(
    st.sampled_from([None, 1, 2]), st.sampled_from([None, 1, 3]), st.booleans(), st.booleans()
)


def build(settings_: tuple[int | None, int | None, bool, bool]) -> Exchange:
    max_fill, lots_per_touch, random_fills, tidy = settings_
    return Exchange(
        max_fill=max_fill,
        lots_per_touch=lots_per_touch,
        rng=Random(3) if random_fills else None,
        cancel_brackets_when_flat=tidy,
    )


def act(venue: Exchange, deed: tuple[object, ...], now: datetime) -> None:
    match deed:
        case ("place", int(account), str(root), Side() as side, int(size), kind, int(ticks), flag):
            contract = venue.contract_of(root)
            price = venue.book(contract.id).last + ticks * contract.tick_size
            assert isinstance(kind, OrderType)
            venue.order_entry.place(
                account,
                contract.id,
                side,
                size,
                kind,
                now=now,
                limit_price=price,
                stop_price=price,
                trail_price=contract.tick_size * (abs(ticks) + 1),
                stop_loss=Bracket(4, OrderType.STOP) if flag else None,
                take_profit=Bracket(6, OrderType.LIMIT) if flag else None,
            )
        case ("close", int(account), str(root), int(size)):
            contract_id = venue.contract_of(root).id
            if size:
                venue.order_entry.partial_close(account, contract_id, size, now=now)
            else:
                venue.order_entry.close_position(account, contract_id, now=now)
        case ("cancel", int(back)):
            for account in ACCOUNTS:
                venue.order_entry.cancel(account, 1001 + back, now=now)
        case ("modify", int(back), int(size), int(ticks)):
            for account in ACCOUNTS:
                order = venue.order(1001 + back)
                if order is not None:
                    book = venue.book(order.contract_id)
                    tick = venue.contracts[order.contract_id].tick_size
                    venue.order_entry.modify(
                        account, order.id, size=size, limit_price=book.last + ticks * tick, now=now
                    )
        case ("move", str(root), int(ticks)):
            contract = venue.contract_of(root)
            last = venue.book(contract.id).last + ticks * contract.tick_size
            venue.move_price(contract.id, last, now=now, volume=1)
        case ("hours", bool(is_open)):
            venue.set_market_open(is_open, now=now)
        case ("permit", int(account), bool(can_trade)):
            venue.firm.set_can_trade(account, can_trade, now=now)
        case _:
            raise AssertionError(deed)


def play(venue: Exchange, day: list[tuple[object, ...]]) -> list[Event]:
    events: list[Event] = []
    now = OPEN
    for deed in day:
        now += timedelta(seconds=1)
        act(venue, deed, now)
        check(venue)
        events.extend(venue.drain_events())
    return events


def check(venue: Exchange) -> None:
    for account in venue.accounts():
        trades = venue.trades(account.id)
        pnl = sum((one.profit_and_loss or Decimal(0) for one in trades), Decimal(0))
        fees = sum((one.fees for one in trades), Decimal(0))
        assert account.balance == account.start_balance + pnl - fees
        net: dict[str, int] = defaultdict(int)
        for trade in trades:
            before = net[trade.contract_id]
            after = before + trade.size * trade.side.sign
            opens = before * trade.side.sign >= 0
            assert trade.size > 0
            assert opens == (trade.profit_and_loss is None)
            assert opens or before * after >= 0, "one half-turn crossed flat"
            net[trade.contract_id] = after
        assert {key: held for key, held in net.items() if held} == {
            held.contract_id: held.net for held in venue.positions(account.id)
        }
        for order in venue.orders(account.id):
            filled = sum(one.size for one in trades if one.order_id == order.id)
            assert order.filled == filled
            assert 0 <= order.filled <= order.size
            if order.is_working:
                assert order.remaining > 0
        alive = {one.id for one in venue.working_orders(account.id, suspended=True)}
        assert alive == {one.id for one in venue.orders(account.id) if one.status not in TERMINAL}


@settings(max_examples=150, deadline=None)
@given(venues, days)
def test_money_and_positions_always_add_up(
    venue: tuple[int | None, int | None, bool, bool], day: list[tuple[object, ...]]
) -> None:
    play(build(venue), day)


@settings(max_examples=60, deadline=None)
@given(venues, days)
def test_the_same_day_gives_the_same_events(
    venue: tuple[int | None, int | None, bool, bool], day: list[tuple[object, ...]]
) -> None:
    assert play(build(venue), day) == play(build(venue), day)


@settings(max_examples=60, deadline=None)
@given(venues, days)
def test_the_events_alone_tell_what_is_so(
    venue: tuple[int | None, int | None, bool, bool], day: list[tuple[object, ...]]
) -> None:
    """Someone who only heard the frames knows the positions, the working orders, the balance."""
    exchange = build(venue)
    held: dict[tuple[int, str], tuple[int, int]] = {}
    working: set[int] = set()
    balance: dict[int, float] = {}
    for event in play(exchange, day):
        data = event.data
        match event.kind:
            case "position":
                held[event.account_id, event.contract_id] = (data["type"], data["size"])
            case "order":
                (working.add if data["status"] in (1, 6) else working.discard)(data["id"])
            case "account":
                balance[event.account_id] = data["balance"]
    assert {key: value for key, value in held.items() if value[1]} == {
        (one.account_id, one.contract_id): (1 if one.net > 0 else 2, one.size)
        for one in exchange.positions()
    }
    assert working == {one.id for one in exchange.working_orders()}
    for account_id, last in balance.items():
        assert last == float(exchange.balance(account_id))


@settings(max_examples=100, deadline=None)
@given(venues, days, st.sampled_from(ACCOUNTS))
def test_closing_everything_never_opens_anything(
    venue: tuple[int | None, int | None, bool, bool],
    day: list[tuple[object, ...]],
    account: int,
) -> None:
    exchange = build(venue)
    play(exchange, day)
    exchange.set_market_open(True, now=OPEN)
    for order in exchange.working_orders(account, suspended=True):
        exchange.order_entry.cancel(account, order.id, now=OPEN)
    for position in exchange.positions(account):
        exchange.order_entry.close_position(account, position.contract_id, now=OPEN)
    for _ in range(60):  # thin venues take a quote for each lot or so
        for contract_id in {held.contract_id for held in exchange.positions(account)}:
            before = abs(exchange.net(account, contract_id))
            exchange.move_price(contract_id, exchange.book(contract_id).last, now=OPEN)
            assert abs(exchange.net(account, contract_id)) < before
    assert exchange.is_flat(account)
