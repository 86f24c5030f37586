"""Recovery between opening and first event: sources that know more than the database count."""

from collections.abc import Collection, Iterable
from datetime import date, datetime
from functools import partial

from risk_manager.clock import Clock
from risk_manager.domain.locks import Lock
from risk_manager.store import reading
from risk_manager.store.backlog import Backlog
from risk_manager.store.connection import Connection
from risk_manager.store.memory import Memory
from risk_manager.store.mirror import Mirror
from risk_manager.store.taken_back import TakenBack, take_back
from risk_manager.store.trust import Trust
from risk_manager.store.witness import Witnesses


class Recovery:
    """Puts lost locks back in force before the state is read, and ends the suspicion after it."""

    def __init__(
        self,
        connection: Connection,
        memory: Memory,
        trust: Trust,
        mirror: Mirror,
        backlog: Backlog,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._memory = memory
        self._trust = trust
        self._mirror = mirror
        self._backlog = backlog
        self._clock = clock

    async def heed(self, witnesses: Witnesses, account_ids: Collection[int]) -> list[str]:
        """Put locks in force that only the witness files of these accounts know.

        Returns limits that were in force by another database, or by this one before an older copy
        replaced it. To be called before the state is read. Raises `StoreError`.
        """
        known, unread = await self._mirror.follow(witnesses, account_ids)
        writer, now = self._connection.open_writer(), self._clock.now()
        limits, locks = await self._connection.once(
            lambda _: self._trust.believe(known, unread, now, writer)
        )
        # Until the state is read again, these are the locks that are known.
        self._memory.opened_locks, self._memory.latest = locks, None
        return limits

    async def last_judged(self) -> tuple[datetime | None, date | None]:
        """Return the latest instant and trading date judged so far, before which time cannot be.

        Both are None if another program may have written them.
        """
        if self._trust.needs_reconciling:
            return None, None
        return await self._connection.read(reading.last_judged)

    async def take_back(self, now: datetime, today: date, also: Iterable[Lock] = ()) -> TakenBack:
        """Put locks back in force that ended at an instant still in the future.

        `also` are locks that are in force at another gateway. To be called before the state is
        read.
        """
        writer = self._connection.open_writer()
        found = await self._connection.once(
            partial(take_back, writer=writer, now=now, today=today, also=also)
        )
        self._memory.opened_locks = found.in_force
        return found

    async def reconciled(self) -> bool:
        """Trust a suspicious database again, as its state was rebuilt from the broker."""
        if not self._trust.needs_reconciling:
            return True
        self._trust.needs_reconciling = False
        why = {"why": self._trust.opened_why}
        batch = self._backlog.entry("daemon", "database.reconciled", "database", old=why)
        batch.put("DELETE FROM meta WHERE key = 'unreconciled'")
        return await self._backlog.put(batch)
