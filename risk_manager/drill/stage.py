"""The stage of a drill: the real daemon and a practice gateway at a chosen time of the week."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from risk_manager.broker.request_budget import Limits
from risk_manager.clock import SystemClock, elapsed
from risk_manager.daemon.daemon import Daemon
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.products import Contract
from risk_manager.practice.records import Account
from risk_manager.settings.configuration import Configuration

START_LIMIT_S = 60.0
BALANCE = Decimal(1_000_000)  # no rule looks at it


class DrillTime:
    """The time of the drill: it begins at a chosen instant, runs on, and can be moved forward."""

    def __init__(self, began: datetime) -> None:
        self._ahead = began - datetime.now(UTC)
        self._skipped = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead + self._skipped

    def elapsed(self) -> float:
        return elapsed() + self._skipped.total_seconds()

    def skip(self, span: timedelta) -> None:
        self._skipped += span


class Stage:
    """A running daemon that guards the accounts of a drill, and the exchange they trade at."""

    def __init__(self, daemon: Daemon, exchange: Exchange, at: DrillTime) -> None:
        self.daemon = daemon
        self.exchange = exchange
        self.time = at

    def now(self) -> datetime:
        return self.time.now()


@contextlib.asynccontextmanager
async def open_stage(
    configuration: Configuration,
    contracts: Mapping[str, Contract],
    began: datetime,
    data_dir: Path,
) -> AsyncIterator[Stage]:
    """Start a gateway and a daemon of their own, and end both. Raises CannotStart, TimeoutError."""
    at = DrillTime(began)
    exchange = Exchange(
        [Account(a.id, f"DRILL-{a.id}", BALANCE) for a in configuration.accounts.enabled],
        list(contracts.values()),
    )
    gateway = PracticeGateway(exchange, clock=at.now, rate_limit=None)
    for contract in exchange.contracts.values():
        exchange.move_price(contract.id, contract.product.start_price, now=at.now())
    daemon = Daemon(
        configuration,
        data_dir,
        clock=SystemClock(wall=at.now, elapsed=at.elapsed),
        gateway=gateway,
        console=False,
        limits=Limits(window_seconds=1.0),
    )
    stop = asyncio.Event()
    guarding = asyncio.create_task(daemon.run(stop), name="drilled daemon")
    try:
        await _until_running(daemon, guarding)
        yield Stage(daemon, exchange, at)
    finally:
        stop.set()
        await guarding


async def _until_running(daemon: Daemon, guarding: "asyncio.Task[int]") -> None:
    end = time.monotonic() + START_LIMIT_S
    while not daemon.running.is_set():
        if guarding.done():
            guarding.result()
            raise TimeoutError("the daemon of the drill ended by itself")
        if time.monotonic() > end:
            raise TimeoutError("the daemon of the drill did not start in time")
        await asyncio.sleep(0.01)
