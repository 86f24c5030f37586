"""Enforcement over the real SDK against the practice gateway, on sockets of this machine."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from enforcement_bench import Bench, bench
from paper_broker import CANCEL, CLOSE, ORDERS, PARTIAL_CLOSE, POSITIONS, TRADES
from pydantic import SecretStr

from risk_manager.broker.contracts import ContractBook
from risk_manager.broker.enforcement.patience import Patience
from risk_manager.broker.lanes import Lanes
from risk_manager.broker.replies import Answer
from risk_manager.broker.request_budget import Limits
from risk_manager.broker.session import GatewayAddress, GatewaySession
from risk_manager.broker.single_requests import Lane, SessionGateway
from risk_manager.clock import SystemClock
from risk_manager.domain.decisions import Outcome
from risk_manager.domain.events import AnyEvent, ContractResolved, PositionChanged, TradeExecuted
from risk_manager.domain.records import PositionType
from risk_manager.domain.rule import Rule
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.records import OrderType, Side
from risk_manager.rules.max_contracts import MaxContracts
from risk_manager.rules.symbol_blocks import SymbolBlocks

pytestmark = pytest.mark.wire

ACCOUNT = 101
# Two hundred requests a minute are soon used up by tests that never wait.
UNLIMITED = Limits(reads=100_000, looks=100_000, reads_and_looks=100_000)


@asynccontextmanager
async def logged_in(gateway: PracticeGateway) -> AsyncIterator[GatewaySession]:
    address = GatewayAddress(
        kind="practice",
        api_url=gateway.api_url,
        user_hub_url=gateway.user_hub_url,
        market_hub_url=gateway.market_hub_url,
        username=gateway.username,
        api_key=SecretStr(gateway.api_key),
    )
    async with GatewaySession(address, clock=SystemClock()) as session:
        await session.log_in()
        yield session


@asynccontextmanager
async def desk(
    gateway: PracticeGateway,
    *rules: Rule,
    limits: Limits = UNLIMITED,
    patience: Patience | None = None,
) -> AsyncIterator[Bench]:
    async with (
        logged_in(gateway) as session,
        bench(
            SessionGateway(session), SystemClock(), rules=rules, limits=limits, patience=patience
        ) as b,
    ):
        await b.until(lambda: b.account().reported_at is not None)
        yield b


@pytest.fixture
async def gateway() -> AsyncIterator[PracticeGateway]:
    async with PracticeGateway(rate_limit=None) as running:
        yield running


def buy(gateway: PracticeGateway, root: str, lots: int, side: Side = Side.BUY) -> str:
    """The trader buys at the market; the contract's id."""
    contract_id = gateway.exchange.contract_of(root).id
    placed = gateway.exchange.order_entry.place(
        ACCOUNT, contract_id, side, lots, now=datetime.now(UTC)
    )
    assert isinstance(placed, int)
    return contract_id


def see(b: Bench, contract_id: str, net: int) -> None:
    """What the user stream would say."""
    b.pipeline.inbox.put_nowait(
        PositionChanged(
            at=b.clock.now(),
            account_id=ACCOUNT,
            contract_id=contract_id,
            type=PositionType.LONG if net > 0 else PositionType.SHORT,
            size=abs(net),
        )
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait for the exchange, which tells nobody here."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def told(gateway: PracticeGateway, b: Bench, contract_id: str) -> None:
    """What the user stream would say now: the newest execution, and what is held."""
    trade = gateway.exchange.trades(ACCOUNT)[-1]
    heard = TradeExecuted.model_validate({"at": b.clock.now(), **trade.payload()})
    b.pipeline.inbox.put_nowait(heard)
    see(b, contract_id, gateway.exchange.net(ACCOUNT, contract_id))


def closes(gateway: PracticeGateway) -> list[int]:
    """Lots of each order of ours that closed something."""
    return [o.size for o in gateway.exchange.orders(ACCOUNT) if o.is_close and o.filled]


FAULTS: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "503": {"status": 503},
    "429": {"status": 429, "retry_after": 1},
    "401": {"status": 401},
    "404": {"status": 404},
    "refused": {"refuse": (5, "order rejected")},
    "reply lost": {"lose_reply": "close"},
    "reply hangs": {"lose_reply": "hang"},
    "hang": {"hang": True},
    "garbage": {"garbage": True},
    "slow": {"delay": 1.0},
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_locked_account_ends_flat_after_exactly_one_effective_close(
    gateway: PracticeGateway, fault: str
) -> None:
    async with desk(gateway) as b:
        contract_id = buy(gateway, "MNQ", 3)
        see(b, contract_id, 3)
        await b.until(lambda: b.account().net(contract_id) == 3)
        gateway.faults.add(CLOSE, times=1, **FAULTS[fault])
        began = time.monotonic()
        b.lock()
        await b.until(lambda: bool(b.account().locks))
        await b.until_flat(seconds=15)
        took = time.monotonic() - began
        gateway.faults.release()
        # What was held back reaches the exchange now, if it ever does.
        await asyncio.sleep(0.2)
        assert gateway.exchange.is_flat(ACCOUNT)
        assert closes(gateway) == [3]
        assert took < 10
        if fault == "401":
            assert b.settled()[0].outcome is Outcome.DONE


async def test_with_every_read_refused_by_429_the_close_leaves_at_once(
    gateway: PracticeGateway,
) -> None:
    async with desk(gateway) as b:
        contract_id = buy(gateway, "MNQ", 2)
        see(b, contract_id, 2)
        await b.until(lambda: b.account().net(contract_id) == 2)
        for path in (POSITIONS, ORDERS, TRADES, "/Account/search"):
            gateway.faults.add(path, status=429, retry_after=60)
        reads = [asyncio.ensure_future(b.lanes.read(POSITIONS, {"accountId": 101})) for _ in "123"]
        before = time.monotonic_ns()
        b.lock()
        request = await gateway.requests.wait_for(CLOSE, after=before)
        assert (request.at - before) / 1e9 < 30
        assert {r.answer for r in await asyncio.gather(*reads)} == {Answer.LIMITED}
        await b.until(lambda: bool(b.settled()))
        assert (b.settled()[0].outcome, b.settled()[0].verified) == (Outcome.DONE, False)
        assert gateway.exchange.is_flat(ACCOUNT)
        assert time.monotonic_ns() - before < 30e9


READ_FAULTS: dict[str, dict[str, Any] | None] = {
    "well": None,
    "429": {"status": 429, "retry_after": 60},
    "hang": {"hang": True},
}
# Nobody gives up looking within these tests: what waits for a read-back waits for ever.
PATIENT = Patience(accepted_seconds=(0.0, 0.1, 3600.0), look_seconds=3600.0, looks_seconds=3600.0)


@pytest.mark.parametrize("reads", READ_FAULTS)
async def test_ten_reentries_are_closed_without_waiting_for_any_read(
    gateway: PracticeGateway, reads: str
) -> None:
    """F2.1: Ten re-entries into a blocked product: ten closes, whatever becomes of the reads."""
    async with desk(gateway, SymbolBlocks(blocked=("MNQ",)), patience=PATIENT) as b:
        fault = READ_FAULTS[reads]
        for path in (POSITIONS, ORDERS, TRADES, "/Account/search") if fault else ():
            gateway.faults.add(path, **(fault or {}))
        before = time.monotonic_ns()
        for number in range(1, 11):
            contract_id = buy(gateway, "MNQ", 1, Side.BUY if number % 2 else Side.SELL)
            told(gateway, b, contract_id)
            await gateway.requests.wait_for(CLOSE, count=number, after=before)
            await until(lambda: gateway.exchange.is_flat(ACCOUNT))
            told(gateway, b, contract_id)
            await b.until(lambda: not b.account().positions)
        assert closes(gateway) == [1] * 10
        assert len([r for r in gateway.requests if r.path == CLOSE]) == 10
        if fault is None:
            await b.until_flat()
            assert {(s.outcome, s.verified) for s in b.settled()} == {(Outcome.DONE, True)}
        else:
            assert b.settled() == []  # all are still looked after
            assert b.enforcer.under_way == 10
        gateway.faults.release()


@pytest.mark.parametrize("reads", ["well", "429"])
async def test_ten_lots_too_many_are_closed_without_waiting_for_a_read_back(
    gateway: PracticeGateway, reads: str
) -> None:
    """F2.2: Ten times a lot above the size cap: ten reductions, whatever becomes of the reads."""
    async with desk(gateway, MaxContracts(limit=2), patience=PATIENT) as b:
        fault = READ_FAULTS[reads]
        for path in (POSITIONS, ORDERS, TRADES, "/Account/search") if fault else ():
            gateway.faults.add(path, **(fault or {}))
        before = time.monotonic_ns()
        contract_id = buy(gateway, "MNQ", 2)
        told(gateway, b, contract_id)
        for number in range(1, 11):
            buy(gateway, "MNQ", 1)
            told(gateway, b, contract_id)
            await gateway.requests.wait_for(PARTIAL_CLOSE, count=number, after=before)
            await until(lambda: gateway.exchange.net(ACCOUNT, contract_id) == 2)
            told(gateway, b, contract_id)
            await b.until(lambda: b.account().net(contract_id) == 2)
        assert closes(gateway) == [1] * 10
        assert gateway.exchange.net(ACCOUNT, contract_id) == 2


async def test_a_close_does_not_stand_behind_sixty_polls(gateway: PracticeGateway) -> None:
    async with desk(gateway) as b:
        contract_id = buy(gateway, "MNQ", 2)
        gateway.faults.add(POSITIONS, delay=20.0)
        polls = [
            asyncio.ensure_future(b.lanes.read(POSITIONS, {"accountId": 101})) for _ in range(60)
        ]
        await gateway.requests.wait_for(POSITIONS, count=60)
        body = {"accountId": ACCOUNT, "contractId": contract_id}
        assert (await b.lanes.act(CLOSE, body)).ok
        assert not any(poll.done() for poll in polls)
        assert gateway.exchange.is_flat(ACCOUNT)
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)


async def test_the_gateways_own_limit_is_never_reached_by_reads(gateway: PracticeGateway) -> None:
    gateway.rate_limit.limit = 200
    async with desk(gateway, limits=Limits()) as b:
        contract_id = buy(gateway, "MNQ", 2)
        replies = [await b.lanes.read(POSITIONS, {"accountId": 101}) for _ in range(300)]
        assert 100 < sum(r.ok for r in replies) <= 120
        assert {r.answer for r in replies if not r.ok} == {Answer.LIMITED}
        body = {"accountId": ACCOUNT, "contractId": contract_id}
        assert (await b.lanes.act(CLOSE, body)).ok


async def test_too_many_contracts_are_reduced_to_the_limit(gateway: PracticeGateway) -> None:
    async with desk(gateway, MaxContracts(limit=2)) as b:
        contract_id = buy(gateway, "MNQ", 5)
        see(b, contract_id, 5)
        await b.until(lambda: b.account().net(contract_id) == 2)
        assert gateway.exchange.net(ACCOUNT, contract_id) == 2
        assert closes(gateway) == [3]


async def test_the_trader_and_we_reduce_at_the_same_time_and_nothing_is_reversed(
    gateway: PracticeGateway,
) -> None:
    async with desk(gateway, MaxContracts(limit=2)) as b:
        contract_id = buy(gateway, "MNQ", 5)
        gateway.faults.add(PARTIAL_CLOSE, delay=0.2, times=1)
        before = time.monotonic_ns()
        see(b, contract_id, 5)
        await gateway.requests.wait_for(PARTIAL_CLOSE, after=before)
        buy(gateway, "MNQ", 4, Side.SELL)  # one left when our three arrive
        await b.until(lambda: bool(b.settled()))
        assert (b.settled()[0].outcome, b.settled()[0].error_code) == (Outcome.GONE, 5)
        assert gateway.exchange.net(ACCOUNT, contract_id) == 1
        # The stream is silent here: a list asked for later than its last word decides.
        await b.until(lambda: b.account().net(contract_id) == 1)


async def test_three_contracts_are_closed_in_parallel_and_orders_cancelled(
    gateway: PracticeGateway,
) -> None:
    async with desk(gateway) as b:
        ids = [buy(gateway, root, 2) for root in ("MNQ", "MES", "MGC")]
        book = gateway.exchange.book(ids[0])
        gateway.exchange.order_entry.place(
            ACCOUNT,
            ids[0],
            Side.BUY,
            1,
            OrderType.LIMIT,
            limit_price=book.bid - 10,
            now=datetime.now(UTC),
        )
        b.reconciler.ask(ACCOUNT)
        await b.until(lambda: len(b.account().positions) == 3 and len(b.account().orders) == 1)
        gateway.faults.add(CLOSE, delay=0.3)
        before = time.monotonic_ns()
        b.lock()
        third = await gateway.requests.wait_for(CLOSE, count=3, after=before)
        assert (third.at - before) / 1e9 < 0.29  # the first is not even answered yet
        await b.until_flat()
        await b.until(lambda: not b.account().orders)
        assert gateway.exchange.is_flat(ACCOUNT)
        assert gateway.exchange.working_orders(ACCOUNT) == []
        assert len([r for r in gateway.requests if r.path == CLOSE]) == 3
        assert len([r for r in gateway.requests if r.path == CANCEL]) == 1


async def test_a_revoked_token_costs_a_login_and_not_the_close(gateway: PracticeGateway) -> None:
    async with desk(gateway) as b:
        contract_id = buy(gateway, "MNQ", 2)
        see(b, contract_id, 2)
        await b.until(lambda: b.account().net(contract_id) == 2)
        await gateway.revoke_tokens()
        b.lock()
        await b.until(lambda: bool(b.account().locks))
        await b.until_flat(seconds=5)
        assert closes(gateway) == [2]
        logins = [r for r in gateway.requests if r.path == "/Auth/loginKey"]
        assert len(logins) == 2


async def test_everything_the_sdk_can_raise_becomes_an_answer(gateway: PracticeGateway) -> None:
    expected: dict[Answer, list[dict[str, Any]]] = {
        Answer.UNKNOWN: [
            {"status": 500},
            {"status": 408},
            {"status": 302},
            {"lose_reply": "close"},
            {"garbage": True},
        ],
        Answer.LIMITED: [{"status": 429}, {"status": 429, "retry_after": 3}],
        Answer.INVALID: [{"status": 400}, {"status": 403}, {"status": 404}, {"status": 422}],
        Answer.UNAUTHORISED: [{"status": 401}],
        Answer.REFUSED: [{"refuse": (4, "no")}],
        Answer.GONE: [{"refuse": (2, "no")}, {}],
    }
    async with logged_in(gateway) as session:
        async with Lanes(SessionGateway(session), SystemClock(), limits=UNLIMITED) as lanes:
            body = {"accountId": ACCOUNT, "contractId": gateway.exchange.contract_of("MNQ").id}
            for answer, faults in expected.items():
                for fault in faults:
                    gateway.faults.clear()
                    gateway.faults.add(CLOSE, **fault)
                    assert (await lanes.act(CLOSE, body)).answer is answer, fault
            gateway.faults.clear()
            gateway.faults.add(CLOSE, status=429, retry_after=3)
            assert (await lanes.act(CLOSE, body)).retry_after_seconds == 3
        await gateway.close()
        async with Lanes(SessionGateway(session), SystemClock(), limits=UNLIMITED) as lanes:
            await lanes.act(CLOSE, body)  # may still meet a connection that is just being closed
            assert (await lanes.act(CLOSE, body)).answer is Answer.UNSENT


async def test_contracts_come_from_the_gateway(gateway: PracticeGateway) -> None:
    wanted = {c.id: c for c in gateway.exchange.contracts.values()}
    inbox: asyncio.Queue[AnyEvent] = asyncio.Queue()
    async with logged_in(gateway) as session:
        clock = SystemClock()
        async with (
            Lanes(SessionGateway(session), clock) as lanes,
            ContractBook(lanes, clock, inbox.put_nowait) as book,
        ):
            book.want(wanted)
            async with asyncio.timeout(10):
                events = [await inbox.get() for _ in wanted]
    for event in events:
        assert isinstance(event, ContractResolved)
        stated = wanted[event.contract.id]
        assert event.contract.tick_size == stated.tick_size
        assert event.contract.tick_value == stated.tick_value
        assert event.contract.name == stated.name


async def test_a_breach_becomes_a_close_on_the_wire_within_moments(
    gateway: PracticeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the event in the inbox to the request's headers at the gateway, one process."""
    took: list[float] = []
    async with desk(gateway) as b:
        b.lock()
        await b.until(lambda: bool(b.account().locks))
        for _ in range(60):
            contract_id = buy(gateway, "MNQ", 1)
            before = time.monotonic_ns()
            see(b, contract_id, 1)
            request = await gateway.requests.wait_for(CLOSE, after=before)
            took.append((request.at - before) / 1e6)
            await b.until_flat()
    took.sort()
    with capsys.disabled():
        print(f"\nevent -> close received: p50 {took[30]:.2f} ms, worst {took[-1]:.2f} ms")
    assert took[30] < 50
    assert timedelta(milliseconds=took[-1]) < timedelta(seconds=1)
    assert {call.lane for call in b.calls if call.path == CLOSE} == {Lane.FAST}
