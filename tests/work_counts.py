"""Counts the work of one event through the whole program: not time, which no test can rely on.

Everything is real but the gateway's REST, which is on paper, the clock, which jumps, and the
database's thread. `test_work_counts.py` runs this in a process of its own, in which Decimal is the
one written in Python: the operations of the other cannot be counted.
"""

import asyncio
import decimal
import functools
import json
import tempfile
import types
from asyncio import Future
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Executor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from bench.judging import SECTIONS, SYMBOLS
from desk import contract, contract_id, rules_from
from paper_broker import CLOSE, PaperBroker
from simulation.life import InlineConnection, InlineStore
from virtual_time import LoopClock, VirtualLoop

from risk_manager.broker.enforcement.enforcer import Enforcer
from risk_manager.broker.lanes import Lanes
from risk_manager.broker.reading.reconciler import Reconciler
from risk_manager.broker.single_requests import Lane
from risk_manager.domain.events import (
    AccountChanged,
    AccountOpened,
    AnyEvent,
    ContractResolved,
    OrderChanged,
    PositionChanged,
    QuoteChanged,
    Tick,
    TradeExecuted,
)
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.domain.state import State
from risk_manager.engine import turn
from risk_manager.engine.disputes import is_for_news
from risk_manager.feed.server import FeedServer
from risk_manager.pipeline import Pipeline
from risk_manager.rules import RULES
from risk_manager.store.writer import Writer

ACCOUNT = 101
PRICE = 6000.25
HELD = SYMBOLS[:5]
TRADED, BLOCKED = HELD[0], "6E"
COLUMNS = (
    "rules",  # asked
    "decimals",  # operations with one, of the judgement
    "figures",  # the same, of all else: what is kept and told
    "statements",
    "transactions",
    "hops",  # to another thread
    "frames",  # to one screen
    "requests",
)
ARITHMETIC = (
    *("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "mod"),
    *("neg", "abs", "eq", "lt", "le", "gt", "ge", "bool", "round", "int", "float", "new"),
)
NAMED = ("quantize", "compare", "max", "min", "normalize", "to_integral_value")


def work(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What was done between the two, by column."""
    return {column: after.get(column, 0) - before.get(column, 0) for column in COLUMNS}


class Counts(Counter[str]):
    """How often each kind of work was done."""

    def __init__(self) -> None:
        super().__init__()
        self.within: Counter[str] = Counter()
        """What is going on now: a comparison that subtracts is one operation, not two."""

    def count_calls(self, owner: object, name: str, column: Callable[[], str]) -> None:
        """Every call of this function from now on, but for those it makes of counted ones."""
        real = getattr(owner, name)

        @functools.wraps(real)
        def counted(*args: Any, **kwargs: Any) -> Any:
            named = column()
            if self.within[named]:
                return real(*args, **kwargs)
            self[named] += 1
            self.within[named] += 1
            try:
                return real(*args, **kwargs)
            finally:
                self.within[named] -= 1

        setattr(owner, name, counted)


COUNTS = Counts()


class CountingLoop(VirtualLoop):
    def run_in_executor[*Ts, T](
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> Future[T]:
        COUNTS["hops"] += 1
        return super().run_in_executor(executor, func, *args)


class CountingConnection(InlineConnection):
    async def connect(self, make: Callable[[], Connection]) -> Writer:
        writer = await super().connect(make)
        writer.connection.set_trace_callback(_statement)
        return writer

    async def run[T](self, work: Callable[[], T]) -> T:
        COUNTS["hops"] += 1
        return await super().run(work)


class CountingStore(InlineStore):
    CONNECTION = CountingConnection


def _statement(sql: str) -> None:
    if not sql.startswith("--"):  # inside of a trigger
        COUNTS["statements"] += 1
        COUNTS["transactions"] += sql == "COMMIT"


@dataclass
class CountingBroker(PaperBroker):
    """`at_the_close`: what had been done when the first close request since it was emptied left."""

    at_the_close: dict[str, int] = field(default_factory=dict)

    async def request(self, lane: Lane, path: str, body: Mapping[str, Any]) -> object:
        COUNTS["requests"] += 1
        if path == CLOSE and not self.at_the_close:
            self.at_the_close.update(COUNTS)
        return await super().request(lane, path, body)


class Screen:
    """A client of the feed, as far as the server needs one."""

    async def send(self, frame: bytes, *, text: bool) -> None:
        COUNTS["frames"] += 1

    def __aiter__(self) -> "Screen":
        return self

    async def __anext__(self) -> bytes:
        await asyncio.Event().wait()
        raise StopAsyncIteration


class Trading:
    """One account under all rules: four products held, each with a stop, one screen attached."""

    def __init__(self, pipeline: Pipeline, broker: CountingBroker) -> None:
        self.pipeline = pipeline
        self.broker = broker
        self.clock = LoopClock()
        self._numbers = count(1000)
        broker.on_fill = self._filled

    # ---- facts --------------------------------------------------------------------------------

    def put(self, *events: AnyEvent) -> None:
        for event in events:
            self.pipeline.inbox.put_nowait(event)

    def fill(self, symbol: str, lots: int, *, pnl: float | None = None) -> None:
        """The trader's fill, as five frames; the broker's lists know of it too."""
        id_ = contract_id(symbol)
        self.broker.hold(ACCOUNT, id_, self.broker.held.get((ACCOUNT, id_), 0) + lots)
        self._tell_fill(id_, lots, pnl)

    def _filled(self, account_id: int, id_: str, net: int) -> None:
        """Our close has been filled at the broker."""
        known = self.pipeline.state.accounts[account_id].net(id_)
        asyncio.get_running_loop().call_later(0.005, self._tell_fill, id_, net - known, 10.0)

    def _tell_fill(self, id_: str, lots: int, pnl: float | None) -> None:
        working = self._order(id_, lots, status=1)
        trade = {
            "id": next(self._numbers),
            "accountId": ACCOUNT,
            "contractId": id_,
            "creationTimestamp": self.clock.now().isoformat(),
            "price": PRICE,
            "profitAndLoss": pnl,
            "fees": 0.37,
            "side": 0 if lots > 0 else 1,
            "size": abs(lots),
            "voided": False,
            "orderId": working["id"],
        }
        self.broker.trades.append(trade)
        at = {"at": self.clock.now()}
        self.put(
            OrderChanged.model_validate(working | at),
            OrderChanged.model_validate(working | at | {"status": 2, "fillVolume": abs(lots)}),
            TradeExecuted.model_validate(trade | at),
            self._position(id_),
            AccountChanged.model_validate(self.broker.accounts[0] | at),
        )

    def _position(self, id_: str) -> PositionChanged:
        net = self.broker.held.get((ACCOUNT, id_), 0)
        return PositionChanged.model_validate(
            {
                "at": self.clock.now(),
                "id": 5000,
                "accountId": ACCOUNT,
                "contractId": id_,
                "creationTimestamp": None,
                "type": 1,
                "size": net,
                "averagePrice": PRICE,
            }
        )

    def _order(self, id_: str, lots: int, **fields: Any) -> dict[str, Any]:
        at = self.clock.now().isoformat()
        return {
            "id": next(self._numbers),
            "accountId": ACCOUNT,
            "contractId": id_,
            "creationTimestamp": at,
            "updateTimestamp": at,
            "type": 2,
            "side": 0 if lots > 0 else 1,
            "size": abs(lots),
            **fields,
        }

    def working_order(self, symbol: str, lots: int, **fields: Any) -> None:
        """One frame: an order of the trader's works."""
        order = self._order(contract_id(symbol), lots, status=1, **fields)
        self.broker.orders[order["id"]] = order
        self.put(OrderChanged.model_validate(order | {"at": self.clock.now()}))

    def quote(self, symbol: str, price: float) -> None:
        self.put(
            QuoteChanged(
                at=self.clock.now(),
                contract_id=contract_id(symbol),
                best_bid=price,
                best_ask=price + 0.25,
                last_price=price,
            )
        )

    def tick(self) -> None:
        self.put(Tick(at=self.clock.now()))

    # ---- time ---------------------------------------------------------------------------------

    async def settle(self, seconds: float = 0.9) -> None:
        """Let everything that follows from what was put happen."""
        await self.pipeline.inbox.join()
        await asyncio.sleep(seconds)

    async def pass_time(self, seconds: int) -> None:
        """As the ticker and the market would have it, with nothing new."""
        for _ in range(seconds):
            self.tick()
            for symbol in HELD:
                self.quote(symbol, PRICE)
            await self.settle()

    async def work_of(self, happens: Callable[[], None]) -> dict[str, int]:
        """All that is done because of this."""
        before = dict(COUNTS)
        happens()
        await self.settle()
        return work(before, COUNTS)


@asynccontextmanager
async def trading(folder: Path) -> AsyncIterator[Trading]:
    """Opened, read whole, quiet."""
    clock: Any = LoopClock()
    sections = SECTIONS | {
        "max_contracts_per_instrument": {
            "limits": {TRADED: 5},
            "unknown_symbol": {"mode": "allow_unlimited"},
            "action": "close_position",
        },
        "trade_frequency_limit": {
            "windows": [{"name": "hour", "per": "1h", "max": 100, "cooldown": "30m"}]
        },
    }
    rules = rules_from(**sections)
    assert len(rules) == len(sections)
    rulebook = Rulebook(accounts={ACCOUNT: AccountRules.of(rules)})
    broker = CountingBroker()
    store = await CountingStore.begin(folder / "state.db", clock)
    store.keep_journal_of(folder)
    feed = FeedServer(
        feed_source=lambda: pipeline.state,
        clock=clock,
        data_dir=folder,
        run_id="count",
        version="0",
        port=0,
        heartbeat_s=1e9,
    )

    def put(event: AnyEvent) -> None:
        pipeline.inbox.put_nowait(event)

    lanes = Lanes(broker, clock)
    reconciler = Reconciler(lanes, clock, put, lambda: pipeline.state)
    enforcer = Enforcer(
        lanes,
        reconciler,
        clock,
        put,
        lambda account_id: pipeline.state.accounts[account_id],
        run_id="count",
        is_for_news=lambda action: is_for_news(
            pipeline.state.accounts[action.account_id], action, clock.now()
        ),
    )
    pipeline = Pipeline(
        State.at(clock.now(), rulebook),
        store=store,
        enforcer=enforcer,
        feed=feed,
        read=reconciler.look_again,
    )
    told = Trading(pipeline, broker)
    async with AsyncExitStack() as stack:
        for part in (lanes, reconciler, enforcer, feed):
            await stack.enter_async_context(part)
        screen: Any = Screen()
        tasks = [
            asyncio.create_task(goes_on, name=name)
            for name, goes_on in (
                ("pipeline", pipeline.run()),
                ("reconciler", reconciler.run()),
                ("screen", feed.serve_reader(screen)),
            )
        ]
        for symbol in (*SYMBOLS, BLOCKED):
            told.put(ContractResolved(at=clock.now(), contract=contract(symbol)))
        told.put(AccountOpened(at=clock.now(), account_id=ACCOUNT))
        await told.settle()
        for symbol in HELD[1:]:
            told.fill(symbol, 1)
            told.working_order(symbol, -1, type=4, stopPrice=PRICE - 100)
        await told.pass_time(10)
        yield told
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.abandon()


# ---- the rows ---------------------------------------------------------------------------------


async def calm_fill(told: Trading) -> dict[str, int]:
    return await told.work_of(lambda: told.fill(TRADED, 1))


async def breach(told: Trading) -> dict[str, int]:
    told.broker.at_the_close.clear()
    before = dict(COUNTS)
    told.fill(TRADED, 6)
    await told.settle()
    return work(before, told.broker.at_the_close)


async def after_the_close(told: Trading) -> dict[str, int]:
    await breach(told)
    assert contract_id(TRADED) not in told.pipeline.state.accounts[ACCOUNT].positions
    return work(told.broker.at_the_close, COUNTS)


async def order(told: Trading) -> dict[str, int]:
    return await told.work_of(lambda: told.working_order(TRADED, 1, type=1, limitPrice=PRICE / 2))


async def calm_quote(told: Trading) -> dict[str, int]:
    return await told.work_of(lambda: told.quote(HELD[1], PRICE + 0.25))


async def quote_near_a_limit(told: Trading) -> dict[str, int]:
    """The open loss of the position is all but what is allowed."""
    low = PRICE - 300_000 / 5 + 1
    for _ in range(2):  # a jump is believed when it is confirmed
        told.quote(HELD[1], low)
        await told.settle()
    assert contract_id(HELD[1]) in told.pipeline.state.accounts[ACCOUNT].positions
    return await told.work_of(lambda: told.quote(HELD[1], low - 0.25))


async def locked_quote(told: Trading) -> dict[str, int]:
    told.fill(BLOCKED, 1)
    await told.settle()
    await told.pass_time(10)
    account = told.pipeline.state.accounts[ACCOUNT]
    assert account.locks
    assert contract_id(BLOCKED) not in account.positions
    return await calm_quote(told)


async def tick(told: Trading) -> dict[str, int]:
    return await told.work_of(told.tick)


ROWS: Mapping[str, Callable[[Trading], Coroutine[None, None, dict[str, int]]]] = {
    "fill, calm": calm_fill,
    "fill over a limit, until the close is sent": breach,
    "the close filled and read back": after_the_close,
    "order": order,
    "quote, calm": calm_quote,
    "quote, near a limit": quote_near_a_limit,
    "quote, under a lock": locked_quote,
    "tick": tick,
}


def main() -> None:
    """Print {row: {column: number}} as JSON."""
    assert isinstance(decimal.Decimal.__add__, types.FunctionType), "not the Decimal in Python"
    for cls in RULES:
        COUNTS.count_calls(cls, "judge", lambda: "rules")
    COUNTS.count_calls(turn, "step", lambda: "steps")
    for name in (*(f"__{name}__" for name in ARITHMETIC), *NAMED):
        COUNTS.count_calls(
            decimal.Decimal, name, lambda: "decimals" if COUNTS.within["steps"] else "figures"
        )
    found = {}
    for name, row in ROWS.items():
        with (
            tempfile.TemporaryDirectory() as folder,
            asyncio.Runner(loop_factory=CountingLoop) as runner,
        ):
            found[name] = runner.run(_one(Path(folder), row))
    print(json.dumps(found))


async def _one(
    folder: Path, row: Callable[[Trading], Coroutine[None, None, dict[str, int]]]
) -> dict[str, int]:
    async with trading(folder) as told:
        return await row(told)
