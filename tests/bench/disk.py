"""The database: how soon a lock is durable, and what a million old trades cost a start."""

import asyncio
import os
import sqlite3
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter_ns

from bench.broker import ACCOUNTS
from bench.figures import Figures
from bench.wire import PACE_S
from desk import contract_id, rules_from
from stored_desk import StoredDesk, opened

from risk_manager.clock import SystemClock
from risk_manager.domain.events import TradeExecuted
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.engine.step import step
from risk_manager.store.store import Store

LOCKS = 300
RESTED = 100
TRADES = 1_000_000
STARTS = 7
OLD_TRADES = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :trades)
INSERT INTO trades (trade_id, account_id, contract_id, order_id, side, size, price, pnl, fees,
    commissions, voided, executed_at, received_at, trading_day, part)
SELECT 1000000 + n, 101 + n % 10, 'CON.F.US.MNQ.Z25', n, n % 2, 1, '21000.25',
    CASE WHEN n % 2 THEN NULL ELSE '12.50' END, '0.37', NULL, 0,
    strftime('%s', '2025-01-01') * 1000000 + n * 20000000,
    strftime('%s', '2025-01-01') * 1000000 + n * 20000000,
    date('2025-01-01', (n / 4000) || ' days'), 0
FROM numbers
"""


async def run(figures: Figures) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder)
        figures.line("the disk itself: fdatasync of 4 KB", _syncs(path, LOCKS), "us")
        rested = _syncs(path, RESTED, after_s=PACE_S)
        figures.line(f"the same, each after {PACE_S:g} s without work", rested, "us")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        direct, ours = await _locks(Path(folder))
    beside = ("sqlite3 FULL, one row direct", direct)
    figures.line("lock committed", ours, "us", beside=beside, aim="<= 1.5x")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        empty, full, checked = await _starts(Path(folder))
    beside = ("with an empty one", empty)
    name = "database opened and restored, 1,000,000 trades"
    figures.line(name, full, "ms", beside=beside, aim="<= 20 ms more")
    figures.line("the whole file looked through, beside the login", checked, "ms")


def _syncs(folder: Path, number: int, *, after_s: float = 0.0) -> list[float]:
    """Microseconds until the disk says that it has so much, each after a rest of `after_s`."""
    found = []
    with (folder / "file").open("wb", buffering=0) as file:
        for _ in range(number):
            time.sleep(after_s)
            file.write(b"x" * 4096)
            begun = perf_counter_ns()
            os.fdatasync(file.fileno())
            found.append((perf_counter_ns() - begun) / 1000)
    return found


async def _locks(folder: Path) -> tuple[list[float], list[float]]:
    """Microseconds per commit, in turns: one row by sqlite3 itself, one lock by our store."""
    other = sqlite3.connect(folder / "direct.db", isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("PRAGMA synchronous = FULL")
    other.execute("CREATE TABLE locks (id INTEGER PRIMARY KEY, content TEXT)")
    direct, ours = [], []
    accounts = tuple(range(1, LOCKS + 1))
    async with Store.open(folder / "state.db", SystemClock()) as store:
        rules = rules_from(daily_realized_loss={"limit": 100})
        desk = await opened(StoredDesk(store, rules, accounts=accounts))
        state = desk.pipeline.state
        for account in accounts:
            loss = _loss(account, desk.now)
            outcome = step(state, loss)
            assert outcome.state.accounts[account].locks
            begun = perf_counter_ns()
            await store.commit(loss, state, outcome)
            ours.append((perf_counter_ns() - begun) / 1000)
            state = outcome.state
            begun = perf_counter_ns()
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO locks (content) VALUES (?)", ("x" * 200,))
            other.execute("COMMIT")
            direct.append((perf_counter_ns() - begun) / 1000)
            await asyncio.sleep(0.002)
    other.close()
    return direct, ours


def _loss(account: int, at: datetime) -> TradeExecuted:
    return TradeExecuted.model_validate(
        {
            "at": at,
            "id": account,
            "accountId": account,
            "contractId": contract_id("MNQ"),
            "creationTimestamp": at,
            "price": 21000.0,
            "profitAndLoss": -150.0,
            "fees": 0.37,
            "side": 1,
            "size": 1,
            "orderId": account,
        }
    )


async def _starts(folder: Path) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds to open and restore, in turns: nothing remembered, a million trades.

    The last are until the file with the million has been looked through as well, which a start
    waits for when it has logged in.
    """
    places = folder / "empty", folder / "full"
    for place in places:
        place.mkdir()
        await _used_today(place)
        await _open_and_restore(place)  # which lets go of the days before
    connection = sqlite3.connect(places[1] / "state.db")
    connection.execute(OLD_TRADES, {"trades": TRADES})
    connection.commit()
    connection.close()
    empty, full, checked = [], [], []
    for _ in range(STARTS):
        empty.append((await _open_and_restore(places[0]))[0])
        restored_ms, checked_ms = await _open_and_restore(places[1])
        full.append(restored_ms)
        checked.append(checked_ms)
    return empty, full, checked


async def _used_today(place: Path) -> None:
    async with Store.open(place / "state.db", SystemClock()) as store:
        rules = rules_from(daily_realized_loss={"limit": 1000})
        desk = await opened(StoredDesk(store, rules, accounts=ACCOUNTS, at=datetime.now(UTC)))
        for account in ACCOUNTS:
            await desk.happens(_loss(account, desk.now))
        await desk.wait(seconds=2)


async def _open_and_restore(place: Path) -> tuple[float, float]:
    rulebook = Rulebook(accounts={a: AccountRules.of([]) for a in ACCOUNTS})
    begun = perf_counter_ns()
    async with Store.open(place / "state.db", SystemClock()) as store:
        await store.restore(rulebook, datetime.now(UTC))
        restored_ns = perf_counter_ns() - begun
        await store.checked()
        return restored_ns / 1e6, (perf_counter_ns() - begun) / 1e6
