"""When the trader clocked in and out: kept in the table `sessions`, and audited."""

from datetime import datetime

import structlog

from risk_manager.clock import Clock
from risk_manager.store import reading
from risk_manager.store.schema import StoreError
from risk_manager.store.store import Store

log = structlog.get_logger("risk_manager.daemon")


class StoredTimeClock:
    """One open session an account at most. It outlives a restart."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._since: dict[int, datetime] = {}

    async def load(self) -> None:
        """Take up the sessions that are open in the database."""
        try:
            self._since = await self._store.look_up(reading.open_sessions)
        except (StoreError, ValueError) as error:
            # Nothing that guards depends on it, so the start goes on.
            log.warning("sessions_unreadable", reason=str(error))

    def since(self, account_id: int) -> datetime | None:
        return self._since.get(account_id)

    async def clock_in(self, account_id: int) -> bool:
        at = self._clock.now()
        self._since[account_id] = at
        return await self._store.side_records.clock_in(account_id, at)

    async def clock_out(self, account_id: int) -> bool:
        self._since.pop(account_id, None)
        return await self._store.side_records.clock_out(account_id, self._clock.now())
