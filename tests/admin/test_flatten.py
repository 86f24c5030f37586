"""Flattening over REST alone, on the practice exchange, under every kind of trouble."""

import asyncio
from collections import deque
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import LoopClock, in_virtual_time

from risk_manager.admin.flatten import CLOSE_AGAIN_S, Row, flatten, symbol_of
from risk_manager.admin.rest_gateway import Answer, LoginRefused, Outcome
from risk_manager.domain.call_codes import CANCEL, CLOSE
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.records import OrderType, Side
from risk_manager.practice.words import Habits, Words

LIMITED = Answer(outcome=Outcome.LIMITED, code=429, why="too many requests")
UNSENT = Answer(outcome=Outcome.UNSENT, why="no connection")
LOST = Answer(outcome=Outcome.UNKNOWN, why="no answer within 6 s")
SHUT = Answer(outcome=Outcome.REFUSED, code=5, why="outside trading hours")


class OneExchange:
    """The exchange as `flatten` asks it.

    `troubles` are taken one a request for their path: an answer in place of the real one, with or
    without the effect, after a time.
    """

    def __init__(self, habits: Habits | None = None, seed: int = 0) -> None:
        self.exchange = Exchange()
        self.words = Words(self.exchange, Random(seed))
        self.words.habits = habits or Habits()
        self.troubles: dict[str, deque[tuple[Answer | LoginRefused, bool, float]]] = {}
        self.asked: list[tuple[float, str, Mapping[str, Any]]] = []
        self._clock = LoopClock()

    def hold(self, root: str, net: int, *, account: int = 101) -> None:
        side = Side.BUY if net > 0 else Side.SELL
        contract_id = self.exchange.contract_of(root).id
        entry = self.exchange.order_entry
        assert isinstance(
            entry.place(account, contract_id, side, abs(net), now=self._clock.now()), int
        )

    def work(self, root: str, size: int, ticks_below: int, *, account: int = 101) -> int:
        """A buy limit below the market; its id."""
        contract = self.exchange.contract_of(root)
        order = self.exchange.order_entry.place(
            account,
            contract.id,
            Side.BUY,
            size,
            OrderType.LIMIT,
            now=self._clock.now(),
            limit_price=self.exchange.book(contract.id).last - ticks_below * contract.tick_size,
        )
        assert isinstance(order, int)
        return order

    def trouble(
        self, path: str, *answers: Answer | LoginRefused, effect: bool = False, after_s: float = 0
    ) -> None:
        self.troubles.setdefault(path, deque()).extend((a, effect, after_s) for a in answers)

    async def ask(self, path: str, body: Mapping[str, Any]) -> Answer:
        self.asked.append((self._clock.monotonic(), path, body))
        await asyncio.sleep(0.02)
        waiting = self.troubles.get(path)
        if not waiting:
            return self._real(path, body)
        answer, effect, after_s = waiting.popleft()
        await asyncio.sleep(after_s)
        if effect:
            self._real(path, body)
        if isinstance(answer, LoginRefused):
            raise answer
        return answer

    def _real(self, path: str, body: Mapping[str, Any]) -> Answer:
        reply = self.words.answer(path, body, self._clock.now()).reply
        if reply["success"]:
            return Answer(outcome=Outcome.DONE, body=reply, code=0)
        gone = (path, reply["errorCode"]) in ((CLOSE, 2), (CANCEL, 2))
        outcome = Outcome.GONE if gone else Outcome.REFUSED
        return Answer(outcome=outcome, body=reply, code=reply["errorCode"], why="refused")

    def calls(self, path: str) -> list[float]:
        return [at for at, asked, _ in self.asked if asked == path]

    async def flatten(self, *accounts: int, limit_s: float = 90.0) -> list[Row]:
        return await flatten(self, {i: str(i) for i in accounts or (101,)}, limit_s=limit_s)


@in_virtual_time
async def test_positions_are_closed_orders_cancelled_and_both_verified() -> None:
    gateway = OneExchange()
    gateway.hold("MNQ", 2)
    gateway.hold("ES", -1)
    order = gateway.work("MES", 3, ticks_below=40)
    (row,) = await gateway.flatten()
    assert [(p["symbol"][:-2], p["net"]) for p in row["closed"]] == [("MNQ", 2), ("ES", -1)]
    assert [o["order_id"] for o in row["cancelled"]] == [order]
    assert row["verified"]
    assert gateway.exchange.is_flat(101)
    assert len(gateway.calls(CLOSE)) == 2
    assert asyncio.get_running_loop().time() < 3.5


@in_virtual_time
async def test_every_account_is_flattened_at_the_same_time_and_a_flat_one_is_verified() -> None:
    gateway = OneExchange()
    gateway.hold("MNQ", 2, account=101)
    rows = await gateway.flatten(101, 102)
    assert [row["verified"] for row in rows] == [True, True]
    assert rows[1]["closed"] == rows[1]["cancelled"] == []
    assert asyncio.get_running_loop().time() < 3.5


@in_virtual_time
async def test_an_order_that_fills_meanwhile_is_closed_as_well() -> None:
    gateway = OneExchange()
    gateway.work("MNQ", 2, ticks_below=4)
    gateway.trouble(CANCEL, LIMITED)
    running = asyncio.create_task(gateway.flatten(), name="flatten")
    await asyncio.sleep(0.1)
    contract = gateway.exchange.contract_of("MNQ")
    fallen = gateway.exchange.book(contract.id).last - 20 * contract.tick_size
    gateway.exchange.move_price(contract.id, fallen, now=LoopClock().now())
    assert gateway.exchange.net(101, contract.id) == 2
    (row,) = await running
    assert row["verified"]
    assert [p["net"] for p in row["closed"]] == [2]
    assert gateway.exchange.is_flat(101)


@in_virtual_time
async def test_a_minute_of_too_many_requests_is_survived() -> None:
    gateway = OneExchange()
    gateway.hold("MNQ", 2)
    for path in ("/Position/searchOpen", "/Order/searchOpen", CLOSE):
        gateway.trouble(path, *[LIMITED] * 11)
    (row,) = await gateway.flatten()
    assert row["verified"]
    assert gateway.exchange.is_flat(101)


@in_virtual_time
async def test_a_close_without_an_answer_is_not_repeated_before_three_seconds() -> None:
    """It has been carried out: a second one before the list shows that could do harm."""
    gateway = OneExchange(Habits(list_lags=1.0, list_lag_s=(1.9, 2.0)))
    gateway.hold("MNQ", 2)
    await asyncio.sleep(3)
    gateway.trouble(CLOSE, LOST, effect=True)
    (row,) = await gateway.flatten()
    assert row["verified"]
    assert len(gateway.calls(CLOSE)) == 1


@in_virtual_time
async def test_a_close_that_was_lost_is_repeated_after_three_seconds() -> None:
    gateway = OneExchange()
    gateway.hold("MNQ", 2)
    gateway.trouble(CLOSE, LOST)
    (row,) = await gateway.flatten()
    assert row["verified"]
    first, second = gateway.calls(CLOSE)
    assert CLOSE_AGAIN_S <= second - first < CLOSE_AGAIN_S + 2.5


@in_virtual_time
async def test_while_no_list_can_be_had_a_close_is_repeated_blind() -> None:
    gateway = OneExchange()
    gateway.hold("MNQ", 2)
    gateway.trouble(CLOSE, UNSENT, LOST)
    running = asyncio.create_task(gateway.flatten(), name="flatten")
    await asyncio.sleep(0.03)
    gateway.trouble("/Position/searchOpen", *[LIMITED] * 4)
    (row,) = await running
    assert row["verified"]
    # Unsent, lost, carried out; and one that hears that there is nothing left to close.
    assert len(gateway.calls(CLOSE)) == 4


@in_virtual_time
async def test_orders_that_hang_do_not_delay_the_close() -> None:
    gateway = OneExchange()
    gateway.hold("MNQ", 2)
    gateway.trouble("/Order/searchOpen", LOST, after_s=6.0)
    (row,) = await gateway.flatten()
    assert row["verified"]
    assert gateway.calls(CLOSE)[0] < 0.1


@in_virtual_time
async def test_a_shut_market_is_tried_again_until_the_time_is_up_and_told() -> None:
    gateway = OneExchange()
    gateway.hold("MNQ", 2)
    gateway.trouble(CLOSE, *[SHUT] * 1000)
    (row,) = await gateway.flatten(limit_s=30.0)
    assert not row["verified"]
    assert row["closed"] == []
    (left,) = row["still_open"]
    assert (left["net"], left["outcome"]) == (2, "outside trading hours")
    assert left["tries"] >= 6
    assert asyncio.get_running_loop().time() < 32


@in_virtual_time
async def test_lists_that_never_come_are_told_as_such() -> None:
    gateway = OneExchange()
    gateway.trouble("/Position/searchOpen", *[LIMITED] * 1000)
    (row,) = await gateway.flatten(limit_s=10.0)
    assert not row["verified"]
    assert row["why"] == "positions cannot be read (too many requests)"


@in_virtual_time
async def test_an_account_of_another_login_ends_at_once() -> None:
    gateway = OneExchange()
    (row,) = await gateway.flatten(999)
    assert not row["verified"]
    assert row["why"] == "the gateway knows no such account in this login"
    assert asyncio.get_running_loop().time() < 1


@in_virtual_time
async def test_a_refused_login_ends_it_before_anything_was_read() -> None:
    gateway = OneExchange()
    no = LoginRefused("refused")
    gateway.trouble("/Position/searchOpen", no)
    gateway.trouble("/Order/searchOpen", no)
    with pytest.raises(LoginRefused):
        await gateway.flatten()


class OddLists(OneExchange):
    """Lists whose records have odd fields."""

    def _real(self, path: str, body: Mapping[str, Any]) -> Answer:
        answer = super()._real(path, body)
        for record in answer.body.get("positions") or ():
            record["size"] = "two"
        for record in answer.body.get("orders") or ():
            record["status"] = record["side"] = "odd"
        return answer


@in_virtual_time
async def test_records_with_odd_fields_are_closed_and_cancelled_all_the_same() -> None:
    gateway = OddLists()
    gateway.hold("MNQ", 2)
    gateway.work("MES", 3, ticks_below=40)
    (row,) = await gateway.flatten()
    assert row["verified"]
    assert gateway.exchange.is_flat(101)


def test_a_contract_is_named_as_people_do() -> None:
    assert symbol_of("CON.F.US.EP.Z26") == "ESZ6"
    assert symbol_of("odd") == "ODD"


# --- whatever the gateway does --------------------------------------------------------------------

ANSWERS = st.sampled_from(
    [
        (LIMITED, False, 0.0),
        (UNSENT, False, 0.0),
        (SHUT, False, 0.0),
        (LOST, False, 6.0),
        (LOST, True, 6.0),
        (LOST, True, 0.0),
        (LOST, False, 1.0),
    ]
)
PATHS = ("/Position/searchOpen", "/Order/searchOpen", CLOSE, CANCEL)


@given(
    held=st.dictionaries(st.sampled_from(["MNQ", "ES", "MGC"]), st.integers(-4, 4)),
    working=st.lists(st.sampled_from(["MNQ", "MES"]), max_size=3),
    troubles=st.dictionaries(st.sampled_from(PATHS), st.lists(ANSWERS, max_size=4)),
    lags=st.sampled_from([0.0, 0.5, 1.0]),
    lost_cancels=st.sampled_from([0.0, 1.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_no_trouble_opens_or_enlarges_a_position_and_all_is_flat_in_the_end(
    held: dict[str, int],
    working: list[str],
    troubles: dict[str, list[tuple[Answer, bool, float]]],
    lags: float,
    lost_cancels: float,
    seed: int,
) -> None:
    habits = Habits(list_lags=lags, list_lag_s=(0.1, 1.9), cancel_not_taken=lost_cancels)

    @in_virtual_time
    async def panic() -> None:
        gateway = OneExchange(habits, seed)
        for root, net in held.items():
            if net:
                gateway.hold(root, net)
        for root in working:
            gateway.work(root, 2, ticks_below=50)
        await asyncio.sleep(5)  # the lists show it by now
        gateway.troubles = {path: deque(answers) for path, answers in troubles.items()}
        before = sizes(gateway.exchange)
        running = asyncio.create_task(gateway.flatten(), name="flatten")
        while not running.done():
            await asyncio.sleep(0.01)
            after = sizes(gateway.exchange)
            for contract_id, net in after.items():
                was = before.get(contract_id, 0)
                assert abs(net) <= abs(was)
                assert net * was >= 0
            before = after
        (row,) = await running
        assert row["verified"]
        assert gateway.exchange.is_flat(101)
        assert {path for _, path, _ in gateway.asked} <= set(PATHS)

    panic()


def sizes(exchange: Exchange) -> dict[str, int]:
    return {p.contract_id: exchange.net(101, p.contract_id) for p in exchange.positions(101)}
