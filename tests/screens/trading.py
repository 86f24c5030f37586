"""Trading days with fixed facts, under the shipped limits, in front of a feed and a database."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from config_folder import ConfigFolder
from desk import Desk, contract
from stored_desk import StoppedClock, at

from risk_manager.daemon.day_curves import DayCurves
from risk_manager.daemon.feed_history import FeedHistory
from risk_manager.domain.decisions import Outcome
from risk_manager.domain.events import AccountOpened, AccountReported, AnyEvent, ContractResolved
from risk_manager.domain.records import AccountRecord, OrderStatus, OrderType
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.feed.messages import RUNNING, DatabaseRow, RestRow, Vitals
from risk_manager.feed.server import FeedServer
from risk_manager.pipeline import Pipeline
from risk_manager.store.store import Store

MONDAY = datetime(2026, 11, 16, 14, 30, tzinfo=UTC)  # 08:30 in Chicago
DAY = timedelta(days=1)
NAMES = {101: "combine-50k", 102: "express"}
POINT = {"MNQ": Decimal(2), "MES": Decimal(5)}
FEE = Decimal("0.37")
"""Per contract and side."""


class ShownDesk(Desk):
    """A desk whose steps are stored, and told by a feed. Positions are opened with a bracket."""

    def __init__(self, store: Store, clock: StoppedClock, folder: Path, rulebook: Rulebook) -> None:
        super().__init__(accounts=tuple(NAMES), at=clock.now())
        self.rulebook = rulebook
        self._clock = clock
        self.balances = {101: Decimal(50_000), 102: Decimal(25_000)}
        self.curves = DayCurves(folder / "day_curves.json", lambda: self.pipeline.state)
        self.history = FeedHistory(folder / "state.db", lambda: self.pipeline.state, self.curves)
        self.feed = FeedServer(
            feed_source=lambda: self.pipeline.state,
            clock=clock,
            data_dir=folder,
            run_id="run-1",
            version="0.1.0",
            vitals=self.vitals,
            history=self.history,
        )
        self.pipeline = Pipeline(
            State.at(self.now, rulebook), store=store, enforcer=self.enforcer, feed=self.feed
        )

    def vitals(self) -> Vitals:
        return Vitals(
            rest=RestRow(ok=True, latency_ms=42.0, budget_left=180),
            db=DatabaseRow(ok=True, size_bytes=1_482_752, last_write_at=self.now),
            token_expires_at=self.now + timedelta(hours=19, minutes=12),
            hub_message_age_s={"user": 1.4, "market": 0.2},
        )

    async def happens(self, event: AnyEvent) -> Step:
        self._clock.at = self.now
        return await super().happens(event)

    async def open(self) -> None:
        self._opened = True
        for account_id, name in NAMES.items():
            await self.happens(AccountOpened(at=self.now, account_id=account_id, name=name))
            await self.balance(account_id)
        for symbol in ("MNQ", "MES", "MGC"):
            await self.happens(ContractResolved(at=self.now, contract=contract(symbol)))
        for hub in ("user", "market"):
            await self.hub(hub, "up")
        self.feed.set_status(RUNNING, "enforcement is armed")

    async def balance(self, account_id: int) -> None:
        record = AccountRecord(
            id=account_id,
            name=NAMES[account_id],
            balance=self.balances[account_id],
            can_trade=True,
            simulated=True,
        )
        await self.happens(
            AccountReported(
                at=self.now,
                asked_at=self.now,
                account_id=account_id,
                account=record,
                positions=(),
                orders=(),
                trades=(),
            )
        )

    async def frames(self) -> list[bytes]:
        """The frames of which a screen that connects now learns everything."""
        listener = _Listener()
        ws: Any = listener
        serving = asyncio.create_task(self.feed.serve_reader(ws))
        try:
            await listener.is_told.wait()
        finally:
            serving.cancel()
            await asyncio.wait({serving})
        return listener.frames

    # --- a trade ---

    async def enter(
        self,
        symbol: str,
        net: int,
        price: float,
        *,
        stop: float | None = None,
        target: float | None = None,
        account: int = 101,
    ) -> "Held":
        """Open a position, and put a stop and a target beside it."""
        held = Held(symbol=symbol, net=net, price=price, account=account)
        await self.quote_around(symbol, price)
        await self.fill(symbol, net, price=price, fees=str(FEE * abs(net)), account=account)
        await self.position(symbol, net, price, account=account)
        for kind, level in ((OrderType.STOP, stop), (OrderType.LIMIT, target)):
            if level is not None:
                held.exits[kind] = await self.order(
                    symbol, -net, kind=kind, price=level, account=account
                )
                held.levels[kind] = level
        return held

    async def leave(self, held: "Held", price: float, cancels_exits: bool = True) -> None:
        """Close a position at a price."""
        gain = (Decimal(str(price)) - Decimal(str(held.price))) * POINT[held.symbol] * held.net
        fees = FEE * abs(held.net)
        await self.quote_around(held.symbol, price)
        await self.fill(
            held.symbol, -held.net, pnl=gain, price=price, fees=str(fees), account=held.account
        )
        await self.position(held.symbol, 0, held.price, account=held.account)
        self.balances[held.account] += gain - 2 * fees
        for kind, order_id in held.exits.items() if cancels_exits else ():
            await self.order(
                held.symbol,
                -held.net,
                kind=kind,
                price=held.levels[kind],
                order_id=order_id,
                status=OrderStatus.CANCELLED,
                account=held.account,
            )

    async def trade(
        self,
        symbol: str,
        net: int,
        entry: float,
        exit: float,
        *,
        minutes: float = 6,
        account: int = 101,
    ) -> None:
        """Open, hold and close; the price goes its way with a swing."""
        lowest, highest = (min(entry, exit), max(entry, exit))
        stop, target = (lowest - 8, highest + 16) if net > 0 else (highest + 8, lowest - 16)
        held = await self.enter(symbol, net, entry, stop=stop, target=target, account=account)
        await self.hold(symbol, entry, exit, minutes)
        await self.leave(held, exit)

    async def hold(self, symbol: str, begin: float, end: float, minutes: float) -> None:
        """Let the price go from one to the other, with a swing on the way."""
        steps = max(int(minutes * 12), 1)
        for step in range(1, steps + 1):
            self.now += timedelta(seconds=5)
            share = step / steps
            swing = 3.0 * math.sin(share * 17) * (1 - share)
            await self.quote_around(symbol, begin + (end - begin) * share + swing)
            await self.tick()

    async def quote_around(self, symbol: str, price: float) -> None:
        bid = round(price * 4) / 4
        await self.quote(symbol, bid, bid + 0.25, bid)

    async def tick(self) -> None:
        await super().wait(seconds=1)
        self.curves.watch()

    async def refused(self, after_ms: int) -> None:
        """The broker refuses the next call asked of it."""
        action = self.enforcer.actions[self._seen]
        self._seen += 1
        self.now += timedelta(milliseconds=after_ms)
        await self.settle(action, Outcome.REFUSED)

    async def answered(self, *after_ms: int) -> None:
        """The broker carries out what is asked of it, each call so long after the one before."""
        pauses = iter(after_ms)
        while fresh := self.enforcer.actions[self._seen : self._seen + 1]:
            self._seen += 1
            self.now += timedelta(milliseconds=next(pauses, 9))
            await self._carry_out(fresh[0])
            await self.settle(fresh[0])


class _Listener:
    """A client of the feed that says nothing, and has enough after the first snapshot."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.is_told = asyncio.Event()

    async def send(self, frame: bytes, text: bool) -> None:
        self.frames.append(frame)
        if len(self.frames) == 2:
            self.is_told.set()
            await asyncio.Event().wait()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""  # pragma: no cover - a client that never speaks


@dataclass
class Held:
    """An open position and its exits, by type of order."""

    symbol: str
    net: int
    price: float
    account: int

    def __post_init__(self) -> None:
        self.exits: dict[OrderType, int] = {}
        self.levels: dict[OrderType, float] = {}


EARLIER = (  # the results of four days, trade by trade, in points of two MNQ
    (21.0, -9.5, 14.25),
    (-12.0, -18.75, 6.5),
    (32.5, 11.0),
    (-14.5, 9.25, -3.0, 17.75),
)


@asynccontextmanager
async def trading_week(folder: Path) -> AsyncIterator[ShownDesk]:
    """A desk on Friday, 09:30 in Chicago, after four days of trading."""
    clock = StoppedClock(MONDAY)
    async with at(folder, clock=clock) as store:
        desk = ShownDesk(store, clock, folder, _rulebook(folder))
        telling = [asyncio.create_task(work) for _, work in desk.feed.loops()]
        await desk.open()
        for number, points in enumerate(EARLIER):
            await desk.wait_until(MONDAY + number * DAY)
            for moved in points:
                await desk.trade("MNQ", 2, 21000, 21000 + moved, minutes=0.5)
                await desk.wait(minutes=61)
        await desk.wait_until(MONDAY + 4 * DAY + timedelta(hours=1))
        for account_id in NAMES:
            await desk.balance(account_id)
        try:
            yield desk
        finally:
            for task in telling:
                task.cancel()


def _rulebook(folder: Path) -> Rulebook:
    """The shipped limits, with more of the rules enabled."""
    files = ConfigFolder(folder / "config")
    text = (files.path / "risk_config.yaml").read_text(encoding="utf-8")
    for rule in ("daily_profit_target", "session_block_outside", "consecutive_loss_limit"):
        head, name, rest = text.partition(f"- rule: {rule}\n")
        enabled = "enabled: true" + ("\n    shadow: true" if rule.startswith("conse") else "")
        text = head + name + rest.replace("enabled: false", enabled, 1)
    files.write("risk_config.yaml", text)
    return files.load().rulebook()
