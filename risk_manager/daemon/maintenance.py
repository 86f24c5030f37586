"""Maintenance: daily backups, pruning, and the audit of calls to the broker."""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from risk_manager.broker.lanes import Call
from risk_manager.broker.single_requests import Lane
from risk_manager.clock import Clock
from risk_manager.domain.state import State
from risk_manager.store.audit import Entry
from risk_manager.store.rows import micros
from risk_manager.store.schema import StoreError
from risk_manager.store.upkeep import newest_backup

if TYPE_CHECKING:
    from risk_manager.store.store import Store

LOOK_EVERY_S = 60.0
WRITE_CALLS_EVERY_S = 0.5
MOST_CALLS_WAITING = 10_000

log = structlog.get_logger("risk_manager.daemon.maintenance")


class Maintenance:
    """Makes a backup and prunes after each daily reset.

    A daemon that was not running at the reset does so at its start. A failure is reported and
    tried again a minute later. Enforcement never waits for any of this.
    """

    def __init__(
        self,
        store: "Store",
        state: Callable[[], State],
        clock: Clock,
        *,
        is_running: Callable[[], bool],
        prune_more: Callable[[datetime], object] = lambda _: None,
    ) -> None:
        self._store = store
        self._state = state
        self._clock = clock
        self._is_running = is_running
        self._prune_more = prune_more
        self._failed: str | None = None

    async def run(self) -> None:
        """Check once a minute, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def look(self) -> Path | None:
        """Back up and prune if this trading day has no backup yet. Returns the copy made."""
        if not self._is_running() or self._store.trouble is not None:
            return None
        try:
            newest = await asyncio.to_thread(newest_backup, self._store.path)
            if newest is not None and newest >= self._state().day.starts_at:
                return None
            made = await self._store.backup()
            removed = await self._store.prune(self._clock.now())
            await asyncio.to_thread(self._prune_more, self._clock.now())
        except (StoreError, OSError) as error:
            if str(error) != self._failed:
                self._failed = str(error)
                log.error("backup_failed", reason=str(error))
                await self._store.audit(
                    "daemon", "database.backup", "database", new={"error": str(error)}, ok=False
                )
            return None
        self._failed = None
        log.info("backed_up", file=made.name, pruned=removed)
        await self._store.audit("daemon", "database.backup", "database", new={"file": made.name})
        return made


class CallAudit:
    """Writes every call to the broker and its answer to the audit, a little later.

    `note` only queues, as it is called on the path of a close.
    """

    def __init__(self, store: "Store") -> None:
        self.dropped = 0
        self._store = store
        self._waiting: deque[Entry] = deque()

    def note(self, call: Call) -> None:
        if call.lane is not Lane.FAST or "search" in call.path:
            return
        if len(self._waiting) >= MOST_CALLS_WAITING:
            self.dropped += 1
            return
        self._waiting.append(
            Entry(
                at=micros(call.at),
                actor="gateway",
                action="call.answered",
                target=f"account:{call.body.get('accountId', '?')}",
                new={
                    "path": call.path,
                    "body": dict(call.body),
                    "answer": str(call.answer),
                    "code": call.code,
                    "message": call.message,
                    "took_ms": round(call.took_ms, 1),
                    "late": call.late,
                },
                ok=call.answer == "ok",
            )
        )

    async def run(self) -> None:
        """Write the noted calls, until cancelled."""
        while True:
            await asyncio.sleep(WRITE_CALLS_EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Write the calls noted so far."""
        if self._waiting:
            entries = list(self._waiting)
            self._waiting.clear()
            await self._store.audit_all(entries)
