"""Rows that no judgement depends on: the trader's sessions, and what completes a day's summary."""

from datetime import date, datetime
from decimal import Decimal

from risk_manager.store import rows
from risk_manager.store.backlog import Backlog
from risk_manager.store.batch import Batch


class SideRecords:
    """Writes them one by one. Each method returns True once its row is durable."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog

    async def clock_in(self, account_id: int, at: datetime) -> bool:
        """Begin a session of the trader; True once it is durable. An open one goes on."""
        batch = self._backlog.entry("trader", "clock.in", f"account:{account_id}")
        batch.put(rows.BEGIN_SESSION, account_id, rows.micros(at), account_id)
        return await self._backlog.put(batch)

    async def clock_out(self, account_id: int, at: datetime) -> bool:
        """End the open session of the trader; True once it is durable."""
        batch = self._backlog.entry("trader", "clock.out", f"account:{account_id}")
        batch.put(rows.END_SESSION, rows.micros(at), account_id)
        return await self._backlog.put(batch)

    async def note_open_extremes(
        self,
        account_id: int,
        day: date,
        low: tuple[datetime, Decimal] | None,
        high: tuple[datetime, Decimal] | None,
    ) -> bool:
        """Complete the summary of a finished day by the extremes of its open P&L, if any was open.

        True once it is durable. A day without a summary is left as it is.
        """
        if low is None or high is None:
            return True
        batch = Batch()
        batch.put(
            rows.NOTE_OPEN_EXTREMES,
            str(low[1]),
            rows.micros(low[0]),
            str(high[1]),
            rows.micros(high[0]),
            account_id,
            day.isoformat(),
        )
        return await self._backlog.put(batch)
