"""How the gateway words what happens, while the exchange's own book stays right."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import httpx
import pytest

from risk_manager.practice.control import control_routes
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.market import Market
from risk_manager.practice.records import Bracket, OrderStatus, OrderType, Side
from risk_manager.practice.words import Habits, Telling, Words

ORDERS = "/Order/searchOpen"
POSITIONS = "/Position/searchOpen"
TRADES = "/Trade/search"
OPEN, CANCELLED = int(OrderStatus.OPEN), int(OrderStatus.CANCELLED)
NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)


class Desk:
    """An exchange, what is said of it, and a clock."""

    def __init__(self) -> None:
        self.now = NOW
        self.exchange = Exchange()
        self.words = Words(self.exchange, Random(1))
        self.mnq = self.exchange.contract_of("MNQ").id

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def place(self, side: Side, size: int = 1, **fields: Any) -> int:
        placed = self.exchange.order_entry.place(101, self.mnq, side, size, now=self.now, **fields)
        assert isinstance(placed, int)
        return placed

    def rest(self, **fields: Any) -> int:
        return self.place(Side.BUY, 1, type=OrderType.LIMIT, limit_price=Decimal(24_000), **fields)

    def hear(self) -> list[Telling]:
        return self.words.hear(self.exchange.drain_events(), self.now)

    def ask(self, path: str, **body: Any) -> list[dict[str, Any]]:
        reply = self.words.answer(path, {"accountId": 101, **body}, self.now).reply
        assert reply["success"]
        return next(value for value in reply.values() if isinstance(value, list))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def told(tellings: list[Telling], kind: str, *fields: str) -> list[tuple[Any, ...]]:
    return [tuple(t.event.data[f] for f in fields) for t in tellings if t.event.kind == kind]


def test_by_default_everything_is_told_at_once_and_as_it_is(desk: Desk) -> None:
    desk.place(Side.BUY, 2)
    desk.place(Side.SELL, 3)
    events = desk.exchange.drain_events()
    assert desk.words.hear(events, desk.now) == [Telling(0.0, e) for e in events]
    assert desk.ask(POSITIONS) == [p.payload() for p in desk.exchange.positions(101)]
    assert desk.ask(TRADES) == [t.payload() for t in reversed(desk.exchange.trades(101))]


def test_an_order_told_cancelled_is_told_open_again_with_a_newer_stamp(desk: Desk) -> None:
    order = desk.rest()
    desk.hear()
    desk.words.habits = Habits(order_taken_back=1.0)
    desk.exchange.order_entry.modify(101, order, now=desk.now, limit_price=Decimal(24_001))
    first, second = desk.hear()
    assert (first.after_s, first.event.data["status"]) == (0.0, CANCELLED)
    assert second.after_s == 0.05
    desk.wait(0.05)
    again = desk.words.due(second, desk.now)
    assert again is not None
    assert again.data["status"] == OPEN
    assert again.data["updateTimestamp"] > first.event.data["updateTimestamp"]
    assert again.data["updateTimestamp"] == desk.ask(ORDERS)[0]["updateTimestamp"]


def test_an_order_that_ended_meanwhile_is_not_told_open_again(desk: Desk) -> None:
    desk.words.habits = Habits(order_taken_back=1.0)
    order = desk.rest()
    second = desk.hear()[-1]
    desk.exchange.order_entry.cancel(101, order, now=desk.now)
    assert desk.words.due(second, desk.now) is None


def test_of_some_orders_only_the_list_says_that_they_live(desk: Desk) -> None:
    desk.words.habits = Habits(order_taken_back=1.0, only_listed=1.0)
    order = desk.rest()
    assert told(desk.hear(), "order", "id", "status") == [(order, CANCELLED)]
    assert [o["id"] for o in desk.ask(ORDERS)] == [order]


def test_a_market_order_is_never_told_cancelled(desk: Desk) -> None:
    desk.words.habits = Habits(order_taken_back=1.0)
    desk.place(Side.BUY)
    assert told(desk.hear(), "order", "status") == [(OPEN,), (int(OrderStatus.FILLED),)]


def test_a_cancel_is_confirmed_and_the_order_lives_and_fills(desk: Desk) -> None:
    order = desk.rest()
    desk.hear()
    desk.words.habits = Habits(cancel_not_taken=1.0)
    body = {"accountId": 101, "orderId": order}
    for _ in range(2):
        answered = desk.words.answer("/Order/cancel", body, desk.now)
        assert answered.reply["success"]
        assert told(list(answered.tellings), "order", "id", "status") == [(order, CANCELLED)]
        assert [o["id"] for o in desk.ask(ORDERS)] == [order]
    desk.exchange.move_price(desk.mnq, Decimal(23_990), now=desk.now)
    assert told(desk.hear(), "position", "size") == [(1,)]


def test_the_third_cancel_of_an_order_takes(desk: Desk) -> None:
    order = desk.rest()
    desk.words.habits = Habits(cancel_not_taken=1.0)
    for _ in range(3):
        desk.words.answer("/Order/cancel", {"accountId": 101, "orderId": order}, desk.now)
    assert desk.exchange.is_flat(101)


@pytest.mark.parametrize(
    ("path", "size"), [("closeContract", {}), ("partialCloseContract", {"size": 1})]
)
def test_the_first_close_of_a_position_is_confirmed_and_the_second_takes(
    desk: Desk, path: str, size: dict[str, int]
) -> None:
    desk.place(Side.BUY)
    desk.hear()
    desk.words.habits = Habits(close_not_taken=1.0)
    body = {"accountId": 101, "contractId": desk.mnq, **size}
    assert desk.words.answer(f"/Position/{path}", body, desk.now).reply["success"]
    assert desk.hear() == []
    assert [p["size"] for p in desk.ask(POSITIONS)] == [1]
    assert desk.words.answer(f"/Position/{path}", body, desk.now).reply["success"]
    assert desk.exchange.is_flat(101)


def test_a_lagging_list_shows_the_book_as_it_was(desk: Desk) -> None:
    first = desk.rest()
    desk.hear()
    desk.wait(10)
    desk.words.habits = Habits(list_lags=1.0, list_lag_s=(0.6, 0.6))
    second = desk.rest()
    desk.hear()
    desk.wait(0.2)
    desk.exchange.order_entry.cancel(101, first, now=desk.now)
    desk.place(Side.BUY)
    desk.hear()
    assert [o["id"] for o in desk.ask(ORDERS)] == [first]
    assert desk.ask(POSITIONS) == []
    assert desk.ask(TRADES) == []
    desk.wait(0.5)  # the second order is 0.7 s old by now, the end of the first 0.5 s
    assert {o["id"] for o in desk.ask(ORDERS)} == {first, second}
    desk.wait(0.2)
    assert [o["id"] for o in desk.ask(ORDERS)] == [second]
    assert [p["size"] for p in desk.ask(POSITIONS)] == [1]
    assert len(desk.ask(TRADES)) == 1


def test_a_lagging_list_still_shows_a_position_that_is_closed(desk: Desk) -> None:
    desk.place(Side.BUY, 2)
    desk.hear()
    desk.wait(10)
    desk.words.habits = Habits(list_lags=1.0)
    desk.exchange.order_entry.close_position(101, desk.mnq, now=desk.now)
    desk.hear()
    assert [p["size"] for p in desk.ask(POSITIONS)] == [2]
    desk.wait(0.7)
    assert desk.ask(POSITIONS) == []


def test_both_halves_of_a_flip_go_under_one_id(desk: Desk) -> None:
    desk.place(Side.BUY, 1)
    desk.hear()
    desk.words.habits = Habits(shared_trade_id=1.0)
    orders = set()
    for side in (Side.SELL, Side.BUY) * 4:
        desk.place(side, 2)
        halves = told(desk.hear(), "trade", "id", "profitAndLoss")
        assert len({id_ for id_, _ in halves}) == 1
        orders.add(halves[0][1] is None)
        listed = [t for t in desk.ask(TRADES) if t["id"] == halves[0][0]]
        assert len(listed) == 2
        assert sum(t["profitAndLoss"] is None for t in listed) == 1
    assert orders == {True, False}  # either half may come first
    for trade in desk.exchange.trades(101)[1:]:
        assert len(desk.words.told_with(trade.id)) == 2
    truth = desk.exchange.realised(101) - desk.exchange.fees(101)
    said = sum(
        Decimal(str(t["profitAndLoss"] or 0)) - Decimal(str(t["fees"])) for t in desk.ask(TRADES)
    )
    assert said == truth


def test_fees_come_later_by_stream_and_list(desk: Desk) -> None:
    desk.words.habits = Habits(late_fees=1.0, fees_after_s=(3.0, 3.0))
    desk.place(Side.BUY)
    at_once, *_, later = [t for t in desk.hear() if t.event.kind == "trade"]
    assert (at_once.event.data["fees"], later.after_s) == (0.0, 3.0)
    assert desk.ask(TRADES)[0]["fees"] == 0.0
    desk.wait(3)
    again = desk.words.due(later, desk.now)
    assert again is not None
    assert again.data["fees"] == desk.ask(TRADES)[0]["fees"] == 0.37


def test_a_void_is_not_undone_by_fees_that_come_later(desk: Desk) -> None:
    desk.words.habits = Habits(late_fees=1.0)
    desk.place(Side.BUY)
    later = next(t for t in desk.hear() if t.event.kind == "trade" and t.after_s)
    desk.exchange.firm.void_trade(desk.exchange.trades(101)[0].id, now=desk.now)
    desk.wait(30)
    again = desk.words.due(later, desk.now)
    assert again is not None
    assert again.data["voided"] is True


def test_a_position_is_told_without_its_price(desk: Desk) -> None:
    desk.words.habits = Habits(price_gone=1.0)
    hows = set()
    for _ in range(12):
        desk.place(Side.BUY)
        by_stream = told(desk.hear(), "position", "averagePrice")[0][0]
        assert desk.ask(POSITIONS)[0]["averagePrice"] == 0.0
        hows.add(by_stream > 0)
        desk.exchange.order_entry.close_position(101, desk.mnq, now=desk.now)
        desk.hear()
    assert hows == {True, False}


def test_a_quote_without_a_side_and_one_that_is_wild(desk: Desk) -> None:
    bid = desk.exchange.book(desk.mnq).bid
    desk.words.habits = Habits(one_sided=1.0)
    desk.exchange.move_price(desk.mnq, bid, now=desk.now)
    [(low, high, last)] = told(desk.hear(), "quote", "bestBid", "bestAsk", "lastPrice")
    assert sorted((low, high))[0] == 0.0
    assert last == bid
    desk.words.habits = Habits(wild_quote=1.0)
    desk.exchange.move_price(desk.mnq, bid, now=desk.now)
    wild, later = desk.hear()
    assert wild.event.data["bestAsk"] - wild.event.data["bestBid"] > 5_000
    right = desk.words.due(later, desk.now)
    assert right is not None
    assert right.data == desk.exchange.quote_payload(desk.mnq, now=desk.now)


def test_crude_may_cost_less_than_nothing_and_be_protected_there(desk: Desk) -> None:
    crude = desk.exchange.contract_of("MCL").id
    for price in ("0.01", "0.00", "-0.01", "-37.63"):
        desk.exchange.move_price(crude, Decimal(price), now=desk.now)
    bought = desk.exchange.order_entry.place(
        101, crude, Side.BUY, 1, now=desk.now, stop_loss=Bracket(10, OrderType.STOP)
    )
    assert isinstance(bought, int)
    [stop] = desk.exchange.working_orders(101)
    assert stop.stop_price == Decimal("-37.72")  # 10 ticks below the ask
    moved = desk.exchange.order_entry.modify(
        101, stop.id, now=desk.now, stop_price=Decimal("-37.80")
    )
    assert moved is None
    desk.exchange.move_price(crude, Decimal("-38.00"), now=desk.now)
    assert desk.exchange.realised(101) == Decimal("-38.00")


def test_a_market_of_crude_walks_below_nothing_and_gaps(desk: Desk) -> None:
    market = Market(desk.exchange, 3)
    market.set_level("CL", Decimal("0.50"))
    market.push("CL", -200, 2.0)
    market.set_level("NQ", Decimal(24_000))
    market.gap("NQ", -0.2)
    for _ in range(12):
        desk.wait(0.25)
        market.step(desk.now)
    assert desk.exchange.book(desk.exchange.contract_of("MCL").id).last < -1
    assert Decimal(19_000) < desk.exchange.book(desk.mnq).last < Decimal(19_400)


def test_a_silent_contract_quotes_nothing_while_its_market_is_open(desk: Desk) -> None:
    market = Market(desk.exchange, 3)
    market.silence("MNQ", True)
    for _ in range(20):
        desk.wait(0.25)
        market.step(desk.now)
    quoted = {t.event.contract_id for t in desk.hear() if t.event.kind == "quote"}
    assert desk.exchange.contract_of("NQ").id in quoted
    assert desk.mnq not in quoted
    market.silence("MNQ", False)
    market.gap("NQ", 0.1)
    market.step(desk.now)
    assert told(desk.hear(), "quote", "symbol")


@pytest.mark.wire
async def test_the_control_endpoint_sets_habits_and_floods() -> None:
    async with (
        PracticeGateway(routes=control_routes("c")) as gateway,
        httpx.AsyncClient(base_url=gateway.base_url, headers={"Authorization": "Bearer c"}) as http,
    ):
        token = {"Authorization": f"Bearer {gateway.tokens.issue()}"}

        async def say(verb: str, **body: Any) -> Any:
            answer = await http.post(f"/practice/{verb}", json=body)
            assert answer.status_code == 200, answer.text
            return answer.json()

        async def ask(path: str, **body: Any) -> httpx.Response:
            return await http.post(f"/api{path}", json=body, headers=token)

        await say("habits", list_lags=1.0, list_lag_s=[2.0, 3.0], hidden=[102])
        assert gateway.words.habits == Habits(list_lags=1.0, list_lag_s=(2.0, 3.0))
        listed = await ask("/Account/search", onlyActiveAccounts=True)
        assert [a["id"] for a in listed.json()["accounts"]] == [101]
        assert await say("flood", accountId=101, root="MNQ", count=50) == {"placed": 50}
        assert (await ask(ORDERS, accountId=101)).json()["orders"] == []
        await say("clear_faults")
        assert len((await ask(ORDERS, accountId=101)).json()["orders"]) == 50
        assert (await http.post("/practice/habits", json={"colour": "red"})).status_code == 400
