"""The practice exchange by tables: what fills, at what price, and what it does to the money."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import pytest

from risk_manager.practice.exchange import Exchange
from risk_manager.practice.products import BY_ROOT, contracts_on
from risk_manager.practice.records import Account, Bracket, Event, OrderStatus, OrderType, Side
from risk_manager.practice.refusals import (
    CancelError,
    CloseError,
    ModifyError,
    PartialCloseError,
    PlaceError,
    Refusal,
)

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
MNQ = "CON.F.US.MNQ.Z26"
ES = "CON.F.US.EP.Z26"
BUY, SELL = Side.BUY, Side.SELL
D = Decimal


@pytest.fixture
def exchange() -> Exchange:
    """MNQ at 100.00 bid, 100.25 ask, and nothing to drain."""
    venue = Exchange()
    set_price(venue, "100.00")
    venue.drain_events()
    return venue


def set_price(venue: Exchange, last: str, contract: str = MNQ) -> None:
    venue.move_price(contract, D(last), now=NOW)


def placed(venue: Exchange, side: Side, size: int, *args: Any, **options: Any) -> int:
    answer = venue.order_entry.place(101, MNQ, side, size, *args, now=NOW, **options)
    assert isinstance(answer, int), answer
    return answer


def status(venue: Exchange, order_id: int) -> OrderStatus:
    order = venue.order(order_id)
    assert order is not None
    return order.status


def fills(venue: Exchange) -> list[tuple[int, Decimal, Decimal | None]]:
    """Signed lots, price and P&L of every half-turn of account 101."""
    return [(one.size * one.side.sign, one.price, one.profit_and_loss) for one in venue.trades(101)]


# type, side, prices; then where the market goes; then the fill price, None for still working
ORDER_TYPES = [
    (OrderType.MARKET, BUY, {}, [], "100.25"),
    (OrderType.MARKET, SELL, {}, [], "100.00"),
    (OrderType.LIMIT, BUY, {"limit_price": D("101.00")}, [], "100.25"),
    (OrderType.LIMIT, SELL, {"limit_price": D("99.00")}, [], "100.00"),
    (OrderType.LIMIT, BUY, {"limit_price": D("99.00")}, ["99.00"], None),
    (OrderType.LIMIT, BUY, {"limit_price": D("99.00")}, ["98.75"], "99.00"),
    (OrderType.LIMIT, BUY, {"limit_price": D("99.00")}, ["90.00"], "99.00"),
    (OrderType.LIMIT, SELL, {"limit_price": D("101.00")}, ["101.00"], "101.00"),
    (OrderType.STOP, BUY, {"stop_price": D("101.00")}, ["100.75"], None),
    (OrderType.STOP, BUY, {"stop_price": D("101.00")}, ["101.00"], "101.25"),
    (OrderType.STOP, SELL, {"stop_price": D("99.00")}, ["99.00"], "99.00"),
    (OrderType.STOP, SELL, {"stop_price": D("99.00")}, ["95.00"], "95.00"),  # a gap slips
    (
        OrderType.STOP_LIMIT,
        SELL,
        {"stop_price": D("99.00"), "limit_price": D("98.50")},
        ["99.00"],
        "99.00",
    ),
    (
        OrderType.STOP_LIMIT,
        SELL,
        {"stop_price": D("99.00"), "limit_price": D("98.50")},
        ["95.00"],
        None,
    ),
    (
        OrderType.STOP_LIMIT,
        SELL,
        {"stop_price": D("99.00"), "limit_price": D("98.50")},
        ["95.00", "98.50"],
        "98.50",
    ),
    (OrderType.TRAILING_STOP, SELL, {"trail_price": D("2.00")}, ["103.00", "101.25"], None),
    (OrderType.TRAILING_STOP, SELL, {"trail_price": D("2.00")}, ["103.00", "101.00"], "101.00"),
    (OrderType.TRAILING_STOP, BUY, {"trail_price": D("2.00")}, ["95.00", "97.00"], "97.25"),
    (OrderType.JOIN_BID, BUY, {}, ["99.75"], "100.00"),
    (OrderType.JOIN_ASK, SELL, {}, ["100.25"], "100.25"),
    (OrderType.JOIN_BID, BUY, {}, ["100.00"], None),
]


@pytest.mark.parametrize(("kind", "side", "prices", "path", "filled_at"), ORDER_TYPES)
def test_each_order_type_fills_where_it_should(
    exchange: Exchange,
    kind: OrderType,
    side: Side,
    prices: dict[str, Decimal],
    path: list[str],
    filled_at: str | None,
) -> None:
    order_id = placed(exchange, side, 1, kind, **prices)
    for price in path:
        set_price(exchange, price)
    if filled_at is None:
        assert status(exchange, order_id) is OrderStatus.OPEN
        assert fills(exchange) == []
    else:
        assert status(exchange, order_id) is OrderStatus.FILLED
        assert fills(exchange) == [(side.sign, D(filled_at), None)]


# signed orders at prices; then net, average price, realised before fees, half-turns
NETTING = [
    ([(2, "100.00")], 2, "100.25", "0", 1),
    ([(2, "100.00"), (2, "101.00")], 4, "100.75", "0", 2),
    ([(2, "100.00"), (-1, "110.25")], 1, "100.25", "20.00", 2),
    ([(2, "100.00"), (-2, "110.25")], 0, None, "40.00", 2),
    ([(2, "100.00"), (-5, "90.25")], -3, "90.25", "-40.00", 3),
    ([(-3, "100.00"), (3, "99.75")], 0, None, "0.00", 2),  # a scratch is 0.00, not nothing
    ([(-3, "100.00"), (1, "109.75")], -2, "100.00", "-20.00", 2),
    ([(1, "100.00"), (1, "100.25"), (1, "100.25"), (-3, "100.25")], 0, None, "-1.00", 4),
]


@pytest.mark.parametrize(("orders", "net", "average", "realised", "half_turns"), NETTING)
def test_positions_net_and_realise_against_the_average_price(
    exchange: Exchange,
    orders: list[tuple[int, str]],
    net: int,
    average: str | None,
    realised: str,
    half_turns: int,
) -> None:
    for signed, price in orders:
        set_price(exchange, price)
        placed(exchange, BUY if signed > 0 else SELL, abs(signed))
    assert exchange.net(101, MNQ) == net
    held = exchange.positions(101)
    assert [one.average_price for one in held] == ([] if average is None else [D(average)])
    assert exchange.realised(101) == D(realised)
    assert len(exchange.trades(101)) == half_turns


def test_a_reversal_is_one_closing_and_one_opening_half_turn(exchange: Exchange) -> None:
    placed(exchange, BUY, 2)
    before = exchange.positions(101)[0].id
    set_price(exchange, "110.25")
    placed(exchange, SELL, 5)
    assert fills(exchange) == [
        (2, D("100.25"), None),
        (-2, D("110.25"), D("40.00")),
        (-3, D("110.25"), None),
    ]
    assert exchange.positions(101)[0].id != before


@pytest.mark.parametrize(("max_fill", "sizes"), [(None, [5]), (2, [2, 2, 1]), (1, [1] * 5)])
def test_a_large_order_fills_in_pieces(max_fill: int | None, sizes: list[int]) -> None:
    venue = Exchange(max_fill=max_fill)
    placed(venue, BUY, 5)
    assert [one.size for one in venue.trades(101)] == sizes
    assert venue.net(101, MNQ) == 5
    statuses = [event.data["status"] for event in venue.drain_events() if event.kind == "order"]
    assert statuses == [1] * len(sizes) + [2]


def test_thin_liquidity_leaves_the_rest_working_until_the_next_quote() -> None:
    venue = Exchange(lots_per_touch=2)
    set_price(venue, "100.00")
    order_id = placed(venue, BUY, 5)
    assert [one.filled for one in venue.working_orders(101)] == [2]
    set_price(venue, "100.00")
    set_price(venue, "100.00")
    assert status(venue, order_id) is OrderStatus.FILLED
    venue.order_entry.close_position(101, MNQ, now=NOW)
    again = venue.order_entry.close_position(101, MNQ, now=NOW)
    assert again == Refusal(CloseError.ORDER_PENDING, "a close is already pending")
    # Someone else flattens meanwhile: what is left of the close must not open a short.
    placed(venue, SELL, 2)
    set_price(venue, "100.00")
    set_price(venue, "100.00")
    assert venue.is_flat(101)


def test_fees_are_on_both_halves_and_outside_the_pnl(exchange: Exchange) -> None:
    placed(exchange, BUY, 3)
    set_price(exchange, "101.25")
    exchange.order_entry.close_position(101, MNQ, now=NOW)
    assert [one.fees for one in exchange.trades(101)] == [D("1.11"), D("1.11")]
    assert exchange.realised(101) == D("6.00")
    assert exchange.balance(101) == D("50000") + D("6.00") - D("2.22")


@pytest.mark.parametrize(
    ("root", "points", "dollars"),
    [
        ("ES", "1", "50"),
        ("NQ", "1", "20"),
        ("MES", "1", "5"),
        ("MNQ", "1", "2"),
        ("RTY", "1", "50"),
        ("M2K", "1", "5"),
        ("CL", "1", "1000"),
        ("MCL", "1", "100"),
        ("GC", "1", "100"),
        ("MGC", "1", "10"),
        ("6E", "0.0001", "12.50"),
    ],
)
def test_a_point_is_worth_what_the_contract_says(root: str, points: str, dollars: str) -> None:
    venue = Exchange()
    contract = venue.contract_of(root)
    book = venue.book(contract.id)
    venue.order_entry.place(101, contract.id, BUY, 1, now=NOW)
    venue.move_price(contract.id, book.ask + D(points), now=NOW)
    assert venue.unrealised(101) == D(dollars)
    venue.order_entry.close_position(101, contract.id, now=NOW)
    assert venue.realised(101) == D(dollars)


def test_the_four_frames_of_a_fill_come_in_order_and_the_order_can_be_changed(
    exchange: Exchange,
) -> None:
    placed(exchange, BUY, 1)
    assert [one.kind for one in exchange.drain_events()] == [
        "order",
        "order",
        "trade",
        "position",
        "account",
    ]
    exchange.matching.event_order = ("position", "account", "trade", "order")
    exchange.order_entry.close_position(101, MNQ, now=NOW)
    events = exchange.drain_events()
    assert [one.kind for one in events] == ["order", "position", "account", "trade", "order"]
    closed = next(one for one in events if one.kind == "position")
    assert (closed.action, closed.data["size"], closed.data["type"]) == (2, 0, 1)


class TestBrackets:
    def bracket(self, venue: Exchange, size: int = 2) -> tuple[int, int, int]:
        """A resting buy at 99 with a stop 20 ticks under it and a target 40 above."""
        parent = placed(
            venue,
            BUY,
            size,
            OrderType.LIMIT,
            limit_price=D("99.00"),
            stop_loss=Bracket(-20, OrderType.STOP),
            take_profit=Bracket(40, OrderType.LIMIT),
        )
        return parent, parent + 1, parent + 2

    def test_children_sleep_until_the_parent_fills(self, exchange: Exchange) -> None:
        parent, stop, target = self.bracket(exchange)
        assert [one.id for one in exchange.working_orders(101)] == [parent]
        assert status(exchange, stop) is OrderStatus.SUSPENDED
        set_price(exchange, "98.00")
        assert [one.id for one in exchange.working_orders(101)] == [stop, target]
        prices = {one.id: one.stop_price or one.limit_price for one in exchange.working_orders(101)}
        assert prices == {stop: D("94.00"), target: D("109.00")}

    @pytest.mark.parametrize(("to", "pnl"), [("94.00", "-20.00"), ("109.00", "40.00")])
    def test_one_child_filling_cancels_the_other(
        self, exchange: Exchange, to: str, pnl: str
    ) -> None:
        self.bracket(exchange)
        set_price(exchange, "98.00")
        set_price(exchange, to)
        assert exchange.is_flat(101)
        assert exchange.realised(101) == D(pnl)

    def test_cancelling_the_parent_cancels_its_children(self, exchange: Exchange) -> None:
        parent, stop, target = self.bracket(exchange)
        assert exchange.order_entry.cancel(101, parent, now=NOW) is None
        assert {status(exchange, one) for one in (parent, stop, target)} == {OrderStatus.CANCELLED}

    def test_flattening_by_hand_takes_the_children_away(self, exchange: Exchange) -> None:
        self.bracket(exchange)
        set_price(exchange, "98.00")
        exchange.order_entry.close_position(101, MNQ, now=NOW)
        assert exchange.is_flat(101)

    def test_or_leaves_them_working_where_the_platform_does_that(self) -> None:
        venue = Exchange(cancel_brackets_when_flat=False)
        set_price(venue, "100.00")
        self.bracket(venue)
        set_price(venue, "98.00")
        venue.order_entry.close_position(101, MNQ, now=NOW)
        assert len(venue.working_orders(101)) == 2

    def test_a_partly_filled_parent_is_protected_for_what_it_holds(self) -> None:
        venue = Exchange(lots_per_touch=1)
        set_price(venue, "100.00")
        parent, stop, _ = self.bracket(venue, size=3)
        set_price(venue, "98.00")
        assert [one.size for one in venue.working_orders(101) if one.id == stop] == [1]
        set_price(venue, "98.00")
        assert [one.size for one in venue.working_orders(101) if one.id == stop] == [2]
        venue.order_entry.cancel(101, parent, now=NOW)
        set_price(venue, "94.00")
        set_price(venue, "94.00")
        assert venue.is_flat(101)

    def test_children_follow_each_others_partial_fills(self) -> None:
        venue = Exchange(lots_per_touch=1)
        set_price(venue, "100.00")
        _, stop, target = self.bracket(venue, size=3)
        set_price(venue, "98.00")
        set_price(venue, "98.00")
        set_price(venue, "109.00")  # one of two lots reaches the target
        left = {one.id: one.remaining for one in venue.working_orders(101)}
        assert (left[stop], left[target], venue.net(101, MNQ)) == (1, 1, 1)
        set_price(venue, "98.00")  # the parent's last lot
        left = {one.id: one.remaining for one in venue.working_orders(101)}
        assert (left[stop], left[target], venue.net(101, MNQ)) == (2, 2, 2)

    def test_a_sibling_made_smaller_by_hand_never_goes_below_nothing(self) -> None:
        venue = Exchange(lots_per_touch=1)
        set_price(venue, "100.00")
        _, stop, target = self.bracket(venue, size=2)
        set_price(venue, "98.00")
        set_price(venue, "98.00")
        assert venue.order_entry.modify(101, stop, size=1, now=NOW) is None
        set_price(venue, "109.00")
        assert status(venue, stop) is OrderStatus.CANCELLED
        assert [one.id for one in venue.working_orders(101)] == [target]

    def test_a_trailing_child_trails(self, exchange: Exchange) -> None:
        placed(exchange, BUY, 1, stop_loss=Bracket(8, OrderType.TRAILING_STOP))
        set_price(exchange, "105.00")
        [child] = exchange.working_orders(101)
        assert child.stop_price == D("103.00")
        set_price(exchange, "103.00")
        assert exchange.realised(101) == D("5.50")


REFUSED_PLACES: list[tuple[dict[str, Any], PlaceError]] = [
    ({"account_id": 999}, PlaceError.ACCOUNT_NOT_FOUND),
    ({"contract_id": "CON.F.US.XX.Z26"}, PlaceError.CONTRACT_NOT_FOUND),
    ({"size": 0}, PlaceError.ORDER_REJECTED),
    ({"size": -2}, PlaceError.ORDER_REJECTED),
    ({"size": 501}, PlaceError.ORDER_REJECTED),
    ({"type": 9}, PlaceError.ORDER_REJECTED),
    ({"side": 2}, PlaceError.ORDER_REJECTED),
    ({"type": 1}, PlaceError.ORDER_REJECTED),
    ({"type": 1, "limit_price": D("100.10")}, PlaceError.ORDER_REJECTED),
    ({"type": 1, "limit_price": D("NaN")}, PlaceError.ORDER_REJECTED),
    ({"type": 1, "limit_price": D("-5")}, PlaceError.ORDER_REJECTED),
    ({"type": 4}, PlaceError.ORDER_REJECTED),
    ({"type": 4, "stop_price": D("99.00")}, PlaceError.ORDER_REJECTED),
    ({"type": 4, "side": 1, "stop_price": D("101.00")}, PlaceError.ORDER_REJECTED),
    ({"type": 3, "stop_price": D("101.00")}, PlaceError.ORDER_REJECTED),
    ({"type": 5}, PlaceError.ORDER_REJECTED),
    ({"stop_loss": Bracket(0, OrderType.STOP)}, PlaceError.ORDER_REJECTED),
    ({"stop_loss": Bracket(9, OrderType.LIMIT)}, PlaceError.ORDER_REJECTED),
    ({"custom_tag": "used"}, PlaceError.ORDER_REJECTED),
]


@pytest.mark.parametrize(("wrong", "code"), REFUSED_PLACES)
def test_what_cannot_be_placed_is_refused_and_changes_nothing(
    exchange: Exchange, wrong: dict[str, Any], code: PlaceError
) -> None:
    placed(exchange, BUY, 1, OrderType.LIMIT, limit_price=D("50.00"), custom_tag="used")
    exchange.drain_events()
    asked: dict[str, Any] = {
        "account_id": 101,
        "contract_id": MNQ,
        "side": 0,
        "size": 1,
        "type": 2,
    } | wrong
    answer = exchange.order_entry.place(**asked, now=NOW)
    assert isinstance(answer, Refusal)
    assert answer.code == code
    assert exchange.drain_events() == []
    assert len(exchange.orders(101)) == 1


def test_the_same_tag_is_free_in_another_account(exchange: Exchange) -> None:
    placed(exchange, BUY, 1, custom_tag="mine")
    assert isinstance(exchange.order_entry.place(102, MNQ, BUY, 1, custom_tag="mine", now=NOW), int)


def test_a_locked_account_cannot_place_but_can_close_and_cancel(exchange: Exchange) -> None:
    placed(exchange, BUY, 1)
    order_id = placed(exchange, SELL, 1, OrderType.LIMIT, limit_price=D("200.00"))
    exchange.firm.set_can_trade(101, False, now=NOW)
    answer = exchange.order_entry.place(101, MNQ, BUY, 1, now=NOW)
    assert isinstance(answer, Refusal)
    assert answer.code == PlaceError.ACCOUNT_VIOLATION
    assert exchange.order_entry.cancel(101, order_id, now=NOW) is None
    exchange.order_entry.refuse_closes_when_locked = True
    refusal = exchange.order_entry.close_position(101, MNQ, now=NOW)
    assert isinstance(refusal, Refusal)
    assert refusal.code == CloseError.ACCOUNT_REJECTED
    exchange.order_entry.refuse_closes_when_locked = False
    assert isinstance(exchange.order_entry.close_position(101, MNQ, now=NOW), int)


def test_a_shut_market_refuses_orders_and_closes_fills_nothing_and_lets_cancels_through(
    exchange: Exchange,
) -> None:
    placed(exchange, BUY, 1)
    stop = placed(exchange, SELL, 1, OrderType.STOP, stop_price=D("99.00"))
    limit = placed(exchange, BUY, 1, OrderType.LIMIT, limit_price=D("98.00"))
    exchange.set_market_open(False, now=NOW)
    answers = [
        exchange.order_entry.place(101, MNQ, BUY, 1, now=NOW),
        exchange.order_entry.close_position(101, MNQ, now=NOW),
        exchange.order_entry.partial_close(101, MNQ, 1, now=NOW),
    ]
    codes = [answer.code for answer in answers if isinstance(answer, Refusal)]
    assert codes == [
        PlaceError.OUTSIDE_TRADING_HOURS,
        CloseError.ORDER_REJECTED,
        PartialCloseError.ORDER_REJECTED,
    ]
    set_price(exchange, "90.00")
    assert status(exchange, stop) is OrderStatus.OPEN
    assert exchange.order_entry.cancel(101, limit, now=NOW) is None
    exchange.set_market_open(True, now=NOW)
    assert exchange.is_flat(101)
    assert exchange.realised(101) == D("-20.50")  # the stop filled at the open, far below


def test_closing_refusals_carry_the_endpoints_own_codes(exchange: Exchange) -> None:
    def code(answer: int | Refusal) -> int:
        assert isinstance(answer, Refusal)
        return answer.code

    assert (
        code(exchange.order_entry.close_position(9, MNQ, now=NOW)) == CloseError.ACCOUNT_NOT_FOUND
    )
    assert (
        code(exchange.order_entry.close_position(101, "X", now=NOW))
        == CloseError.CONTRACT_NOT_FOUND
    )
    assert (
        code(exchange.order_entry.close_position(101, MNQ, now=NOW))
        == CloseError.POSITION_NOT_FOUND
    )
    placed(exchange, BUY, 2)
    for size in (0, 3, -1):
        answer = exchange.order_entry.partial_close(101, MNQ, size, now=NOW)
        assert code(answer) == PartialCloseError.INVALID_CLOSE_SIZE
    assert isinstance(exchange.order_entry.partial_close(101, MNQ, 1, now=NOW), int)
    assert exchange.net(101, MNQ) == 1


def test_cancel_and_modify_refusals(exchange: Exchange) -> None:
    done = placed(exchange, BUY, 1)
    working = placed(exchange, SELL, 2, OrderType.LIMIT, limit_price=D("200.00"))

    def cancel(account_id: int, order_id: int) -> int:
        refusal = exchange.order_entry.cancel(account_id, order_id, now=NOW)
        assert refusal is not None
        return refusal.code

    def modify(account_id: int, order_id: int, **change: Any) -> int:
        refusal = exchange.order_entry.modify(account_id, order_id, now=NOW, **change)
        assert refusal is not None
        return refusal.code

    assert cancel(9, working) == CancelError.ACCOUNT_NOT_FOUND
    assert cancel(101, 1) == CancelError.ORDER_NOT_FOUND
    assert cancel(102, working) == CancelError.ORDER_NOT_FOUND
    assert cancel(101, done) == CancelError.REJECTED
    assert modify(9, working) == ModifyError.ACCOUNT_NOT_FOUND
    assert modify(102, working) == ModifyError.ORDER_NOT_FOUND
    assert modify(101, done, size=2) == ModifyError.REJECTED
    assert modify(101, working, size=0) == ModifyError.REJECTED
    assert modify(101, working, limit_price=D("200.10")) == ModifyError.REJECTED


def test_a_modified_order_may_fill_at_once(exchange: Exchange) -> None:
    order_id = placed(exchange, SELL, 1, OrderType.LIMIT, limit_price=D("200.00"))
    assert (
        exchange.order_entry.modify(101, order_id, size=3, limit_price=D("100.00"), now=NOW) is None
    )
    assert exchange.net(101, MNQ) == -3


def test_a_voided_trade_leaves_the_money_once(exchange: Exchange) -> None:
    placed(exchange, BUY, 1)
    set_price(exchange, "110.25")
    exchange.order_entry.close_position(101, MNQ, now=NOW)
    closing = exchange.trades(101)[-1]
    for _ in range(2):
        exchange.firm.void_trade(closing.id, now=NOW)
    assert exchange.realised(101) == 0
    assert exchange.fees(101) == D("0.37")
    assert exchange.trades(101)[-1].voided
    with pytest.raises(KeyError):
        exchange.firm.void_trade(1, now=NOW)


@pytest.mark.parametrize("end", [OrderStatus.EXPIRED, OrderStatus.REJECTED])
def test_the_exchange_can_end_an_order_itself(
    exchange: Exchange, end: Literal[OrderStatus.EXPIRED, OrderStatus.REJECTED]
) -> None:
    order_id = placed(exchange, BUY, 1, OrderType.LIMIT, limit_price=D("50.00"))
    exchange.end_order(order_id, end, now=NOW)
    assert status(exchange, order_id) is end
    assert exchange.working_orders() == []


def test_ids_can_start_elsewhere_so_that_a_new_run_never_repeats_them() -> None:
    venue = Exchange([Account(7, "A")], first_id=1_000_000)
    assert venue.order_entry.place(7, ES, BUY, 1, now=NOW) == 1_001_001
    assert venue.trades(7)[0].id == 1_009_001


def test_events_carry_a_picture_of_their_moment(exchange: Exchange) -> None:
    placed(exchange, BUY, 2)
    first: list[Event] = exchange.drain_events()
    exchange.order_entry.close_position(101, MNQ, now=NOW + timedelta(seconds=1))
    held = next(one for one in first if one.kind == "position")
    assert held.data["size"] == 2
    assert held.data["creationTimestamp"] == "2026-11-20T15:00:00+00:00"


def test_a_naive_time_is_a_bug(exchange: Exchange) -> None:
    with pytest.raises(ValueError, match="naive"):
        exchange.order_entry.place(101, MNQ, BUY, 1, now=NOW.replace(tzinfo=None))


def test_trades_and_orders_are_found_by_time(exchange: Exchange) -> None:
    placed(exchange, BUY, 1)
    later = NOW + timedelta(minutes=1)
    exchange.order_entry.place(101, MNQ, BUY, 1, now=later)
    assert len(exchange.trades(101, since=later)) == 1
    assert len(exchange.trades(101, until=later)) == 1
    assert len(exchange.orders(101, since=later)) == 1


@pytest.mark.parametrize(
    ("root", "day", "contract_id", "name"),
    [
        ("ES", date(2026, 11, 20), "CON.F.US.EP.Z26", "ESZ6"),
        ("NQ", date(2026, 12, 9), "CON.F.US.ENQ.Z26", "NQZ6"),
        ("NQ", date(2026, 12, 10), "CON.F.US.ENQ.H27", "NQH7"),
        ("CL", date(2026, 11, 17), "CON.F.US.CLE.Z26", "CLZ6"),
        ("CL", date(2026, 11, 18), "CON.F.US.CLE.F27", "CLF7"),
        ("GC", date(2026, 11, 20), "CON.F.US.GCE.Z26", "GCZ6"),
        ("MGC", date(2026, 12, 20), "CON.F.US.MGC.G27", "MGCG7"),
        ("6E", date(2026, 11, 20), "CON.F.US.EU6.Z26", "6EZ6"),
        ("M2K", date(2027, 1, 5), "CON.F.US.M2K.H27", "M2KH7"),
    ],
)
def test_the_front_contract_of_a_date(root: str, day: date, contract_id: str, name: str) -> None:
    [contract] = contracts_on(day, products=(BY_ROOT[root],))
    assert (contract.id, contract.name) == (contract_id, name)
    record = contract.record()
    assert set(record) == {
        "id",
        "name",
        "description",
        "tickSize",
        "tickValue",
        "activeContract",
        "symbolId",
    }
    assert len(contracts_on(day, expiries=2)) == 22
