"""A gateway, a trader with bad habits, and daemons that live and die between them."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any, Self

from daemon_process import ACCOUNT, DaemonProcess, day_net, now, still_gateway
from torture.remembering import remembered

from risk_manager.clock import SystemClock
from risk_manager.domain.rulebook import Rulebook
from risk_manager.feed.client import FeedUnreachable
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.records import OrderType, Side
from risk_manager.store.schema import StoreError
from risk_manager.store.store import Store, verify_audit

TESTS = Path(__file__).parents[1]
CANARY = "canary-key-5d41402abc4b2a76b9719d911017c592"
RULES = """
version: 1
rules:
  - {rule: max_contracts, limit: 5}
  - {rule: daily_realized_loss, limit: 500}
  - {rule: symbol_blocks, blocked: [RTY]}
  - {rule: no_stop_loss_grace, grace: 10m}
"""
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows: both are TerminateProcess
STEP_WITHIN_S = 20.0


class Watch:
    """A practice gateway with the tokens it has issued, and who did what on its exchange."""

    def __init__(self, gateway: PracticeGateway) -> None:
        self.gateway = gateway
        self.exchange: Exchange = gateway.exchange
        self.secrets = [gateway.api_key]
        self.traders: set[int] = set()
        issue = gateway.tokens.issue

        def remember() -> str:
            token = issue()
            self.secrets.append(token.rpartition(".")[2])
            return token

        gateway.tokens.issue = remember  # type: ignore[method-assign]  # the tokens of this run

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        async with still_gateway(api_key=CANARY, rate_limit=None) as gateway:
            yield cls(gateway)

    # --- the trader ---

    def trade(self, root: str, size: int) -> None:
        """Buy (or sell, below 0) at the market."""
        side = Side.BUY if size > 0 else Side.SELL
        order = self.exchange.order_entry.place(ACCOUNT, self.id(root), side, abs(size), now=now())
        self._note(order)

    def rest(self, root: str, size: int, ticks_away: int) -> None:
        """Leave a limit order that far below (to buy) or above (to sell) the market."""
        contract = self.exchange.contract_of(root)
        side = Side.BUY if size > 0 else Side.SELL
        price = self.exchange.book(contract.id).last - side.sign * ticks_away * contract.tick_size
        order = self.exchange.order_entry.place(
            ACCOUNT,
            contract.id,
            side,
            abs(size),
            OrderType.LIMIT,
            limit_price=price,
            now=now(),
        )
        self._note(order)

    def close(self, root: str) -> None:
        self._note(self.exchange.order_entry.close_position(ACCOUNT, self.id(root), now=now()))

    def move(self, root: str, points: int) -> None:
        contract_id = self.id(root)
        last = self.exchange.book(contract_id).last
        self.exchange.move_price(contract_id, last + points, now=now())

    def _note(self, order: object) -> None:
        if isinstance(order, int):
            self.traders.add(order)

    # --- what is so ---

    def id(self, root: str) -> str:
        return self.exchange.contract_of(root).id

    def net(self, root: str) -> int:
        return self.exchange.net(ACCOUNT, self.id(root))

    def is_done(self) -> bool:
        """Flat, and nothing works."""
        return self.exchange.is_flat(ACCOUNT) and not self.exchange.working_orders(ACCOUNT)

    def risks_made(self) -> list[str]:
        """Fills not of the trader's asking that enlarged or reversed a position."""
        held: dict[str, int] = {}
        found = []
        for trade in self.exchange.trades(ACCOUNT):
            before = held.get(trade.contract_id, 0)
            after = before + trade.side.sign * trade.size
            held[trade.contract_id] = after
            if trade.order_id not in self.traders and (
                abs(after) >= abs(before) or after * before < 0
            ):
                found.append(f"{trade.contract_id} went from {before} to {after} by our doing")
        return found


class Nursery:
    """Brings daemons with a fate into the world, one at a time: see doomed.py."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def born(self, folder: "Folder", watch: Watch, *, dies_at: int = 0) -> "Doomed":
        """A daemon begins. `dies_at` counts its marked steps; 0 for never."""
        told = {
            "config": str(folder.daemon.config),
            "data": str(folder.daemon.data),
            "journal": str(folder.journal),
            "output": str(folder.output),
            "dies_at": dies_at,
            "env": {
                "PROJECT_X_USERNAME": watch.gateway.username,
                "PROJECT_X_API_KEY": watch.gateway.api_key,
                "XDG_STATE_HOME": str(folder.path / "user_state"),
            },
        }
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "ignore::DeprecationWarning", "-m", "torture.doomed"),
                env={**os.environ, "PYTHONPATH": str(TESTS)},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(told).encode() + b"\n")
        async with asyncio.timeout(30):
            words = (await process.stdout.readline()).split()
        if words[:1] != [b"born"]:
            raise AssertionError(f"no daemon could be started: {words}")
        return Doomed(int(words[1]), folder, process.stdout)

    async def close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()


class Doomed:
    """A daemon process that ends when it is told to, or at its step."""

    def __init__(self, pid: int, folder: "Folder", line: asyncio.StreamReader) -> None:
        self.pid = pid
        self._output = folder.output
        self._end = asyncio.create_task(line.readline(), name="daemon's end")

    @property
    def is_dead(self) -> bool:
        return self._end.done()

    @property
    def is_running(self) -> bool:
        return self._output.exists() and b"RUNNING" in self._output.read_bytes()

    async def kill(self) -> None:
        """kill -9, and wait until it is over."""
        if not self.is_dead:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, KILL)
        await self._end


class Folder:
    """Where one daemon lives: its configuration, its data, and the journal of what it said."""

    def __init__(self, path: Path, watch: Watch, rules: str = RULES) -> None:
        self.path = path
        self.journal = path / "journal"
        self.output = path / "output"
        self.daemon = DaemonProcess(path, rules=rules).point_at(watch.gateway)

    def last_words(self) -> list[str]:
        if not self.output.exists():
            return []
        return self.output.read_text("utf-8", "replace").splitlines()[-3:]

    def entries(self) -> list[dict[str, Any]]:
        if not self.journal.exists():
            return []
        lines = self.journal.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines[:-1]]

    def secrets_in(self, secrets: list[str]) -> list[str]:
        """Files (or the output) in which one of these stands."""
        texts = {"said": "\n".join(self.daemon.said).encode()}
        texts |= {
            str(p.relative_to(self.path)): p.read_bytes()
            for p in (self.output, *self.daemon.data.rglob("*"))
            if p.is_file()
        }
        return [name for name, text in texts.items() if any(s.encode() in text for s in secrets)]


@contextlib.contextmanager
def scratch() -> Any:
    """A folder that goes away, in memory where the system has a place for that."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


# --- what must be so after a death ----------------------------------------------------------------


async def losses(folder: Folder) -> list[str]:
    """What was acknowledged and is not in the database, or is not as it was. Works on a copy."""
    entries = folder.entries()
    kept = [e for e in entries if e["kind"] == "kept"]
    data = folder.daemon.data
    if not (data / "state.db").exists():
        return ["the database is missing"] if kept else []
    with scratch() as copy:
        for part in ("state.db", "state.db-wal", "state.marker", "audit.head"):
            if (data / part).exists():
                shutil.copy(data / part, copy / part)
        found = _soundness(copy / "state.db", kept)
        if not kept:
            return found
        try:
            async with Store.open(copy / "state.db", SystemClock()) as store:
                if not store.opened_as.is_trusted:
                    found.append(f"opened as {store.opened_as}: {store.opened_why}")
                state = await store.restore(Rulebook(), now())
        except StoreError as error:
            return [*found, f"cannot be read back: {error}"]
    has = json.loads(json.dumps({a.id: remembered(a) for a in state.accounts.values()}))
    acceptable = [kept[-1]["accounts"]]
    last = next(e for e in reversed(entries) if e["kind"] in ("begun", "kept"))
    if last["kind"] == "begun":
        acceptable.append(last["accounts"])  # it may have been written, or not
    if has not in acceptable:
        found += _differences(has, acceptable[-1])
    return found


def _soundness(database: Path, kept: list[dict[str, Any]]) -> list[str]:
    found = []
    broken = None
    with contextlib.suppress(StoreError):  # killed before there was an audit table
        broken = verify_audit(database)
    if broken is not None:
        found.append(f"audit chain: row {broken.seq}: {broken.why}")
    with closing(sqlite3.connect(database)) as connection:
        verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
        if verdict != "ok":
            found.append(f"integrity_check: {verdict}")
        for entry in kept[-1:]:
            seq, digest = entry["audit"]
            row = connection.execute("SELECT hash FROM audit WHERE id = ?", (seq,)).fetchone()
            if seq and (row is None or row[0] != digest):
                found.append(f"audit row {seq} was acknowledged and is not there")
    return found


def _differences(has: dict[str, Any], ought: dict[str, Any]) -> list[str]:
    found = []
    for account_id, parts in ought.items():
        there = has.get(account_id)
        if there is None:
            found.append(f"account {account_id} is gone")
            continue
        found += [
            f"{account_id} {name}: has {there.get(name)}, acknowledged {value}"
            for name, value in parts.items()
            if there.get(name) != value
        ]
    return found


@dataclass(slots=True)
class Recovery:
    """What a restart came to. Seconds since the process was started; None: not within the limit."""

    cold: bool = False
    flat_s: float | None = None
    locked_s: float | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def took_s(self) -> float | None:
        """Until both were so."""
        times = [t for t in (self.flat_s, self.locked_s) if t is not None]
        return max(times, default=None)


async def recover(
    folder: Folder,
    watch: Watch,
    nursery: Nursery | None = None,
    *,
    locked: bool = True,
    within_s: float = STEP_WITHIN_S,
) -> Recovery:
    """Start again: flat, locked, and every figure as the broker has it.

    As `python -m risk_manager run`, imports and all, or from the nursery, which is faster.
    """
    outcome = Recovery()
    started = monotonic()
    child: Doomed | None = None
    if nursery is None:
        outcome.cold = True
        await folder.daemon.start()
    else:
        child = await nursery.born(folder, watch)
    shown: dict[str, Any] = {}
    try:
        while monotonic() - started < within_s:
            if outcome.flat_s is None and watch.is_done():
                outcome.flat_s = monotonic() - started
            shown = await seen(folder.daemon) or shown
            if outcome.locked_s is None and shown and shown["lock_policy"] == "flat":
                outcome.locked_s = monotonic() - started
            settled = outcome.flat_s is not None and (outcome.locked_s is not None or not locked)
            if (
                settled
                and shown
                and shown["realised_net"] == day_net(watch.exchange)
                # A snapshot may be a moment ahead of the disk.
                and _trades_kept(folder.daemon.data) == len(watch.exchange.trades(ACCOUNT))
            ):
                break
            if child is not None and child.is_dead:
                outcome.problems.append("it ended: " + " | ".join(folder.last_words()))
                break
            await asyncio.sleep(0.03)
        outcome.problems += _shortfalls(outcome, shown, watch, locked)
    finally:
        await (child.kill() if child is not None else folder.daemon.kill())
    outcome.problems += _ledger_faults(folder.daemon.data / "state.db", watch)
    return outcome


def _trades_kept(data: Path) -> int:
    with (
        contextlib.suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{(data / 'state.db').as_uri()}?mode=ro", uri=True)) as reader,
    ):
        return int(reader.execute("SELECT count(*) FROM trades").fetchone()[0])
    return -1


async def seen(daemon: DaemonProcess, account_id: int = ACCOUNT) -> dict[str, Any] | None:
    """The account as a screen would show it; None while there is nothing to see."""
    try:
        snapshot = await daemon.snapshot()
    except FeedUnreachable:
        return None
    return next((a for a in snapshot["accounts"] if a["account_id"] == account_id), None)


def _shortfalls(outcome: Recovery, shown: dict[str, Any], watch: Watch, locked: bool) -> list[str]:
    found = []
    if outcome.flat_s is None:
        found.append(f"not flat: {watch.exchange.positions(ACCOUNT)}")
    if locked and outcome.locked_s is None:
        found.append(f"not locked: {shown.get('lock_policy')}")
    if shown.get("realised_net") != day_net(watch.exchange):
        found.append(f"P&L {shown.get('realised_net')}, the broker says {day_net(watch.exchange)}")
    return found


def _ledger_faults(database: Path, watch: Watch) -> list[str]:
    """Each fill of the broker exactly once in the trades table, and the sum to the cent."""
    with scratch() as copy:
        for part in ("state.db", "state.db-wal"):
            if (database.with_name(part)).exists():
                shutil.copy(database.with_name(part), copy / part)
        with closing(sqlite3.connect(copy / "state.db")) as connection:
            rows = connection.execute("SELECT trade_id, pnl, fees FROM trades").fetchall()
            verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
        broken = verify_audit(copy / "state.db")
    found = [] if verdict == "ok" else [f"integrity_check after the restart: {verdict}"]
    if broken is not None:
        found.append(f"audit chain after the restart: row {broken.seq}: {broken.why}")
    has, ought = sorted(r[0] for r in rows), sorted(t.id for t in watch.exchange.trades(ACCOUNT))
    if has != ought:
        found.append(f"trades {has}, the broker has {ought}")
    net = sum((Decimal(r[1] or 0) - Decimal(r[2]) for r in rows), Decimal(0))
    if float(net) != day_net(watch.exchange):
        found.append(f"trades sum up to {net}, the broker has {day_net(watch.exchange)}")
    return found


async def until(condition: Callable[[], Any], what: str, within: timedelta | None = None) -> None:
    """Wait until something is so. Raises AssertionError saying what was awaited."""
    limit_s = STEP_WITHIN_S if within is None else within.total_seconds()
    end = monotonic() + limit_s
    while not condition():
        if monotonic() > end:
            raise AssertionError(f"not within {limit_s} s: {what}")
        await asyncio.sleep(0.005)
