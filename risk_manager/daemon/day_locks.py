"""Locks accounts until the reset at a start that cannot tell what was in force before."""

from datetime import datetime

from risk_manager.clock import CLOCK_IS_WRONG, SystemClock
from risk_manager.daemon.assembly import Parts
from risk_manager.daemon.data_place import Announce
from risk_manager.domain.events import AdminAsked, HealthIssueChanged
from risk_manager.domain.health_issue import IssueKind
from risk_manager.store.finding import OpenedAs


class DayLocks:
    """Locks accounts for the day where locks, limits or the rules' memory may have been lost."""

    def __init__(self, parts: Parts, announce: Announce) -> None:
        self._parts = parts
        self._announce = announce

    async def for_lost_data(self, account_ids: list[int], *, limits_in_doubt: bool) -> None:
        """If locks or limits in force were lost, lock these accounts.

        Raise an alarm if the database is suspicious, even when no lock was in force.
        """
        store = self._parts.store
        if store.needs_reconciling:
            why = store.opened_why
            self._announce(f"warning: {why}")
            doubt = HealthIssueChanged(
                at=self._parts.clock.now(), doubt=IssueKind.DATABASE_LOST, reason=why
            )
            await self._parts.pipeline.process(doubt)
        if limits_in_doubt:
            reason = "nobody can tell which limits were in force; locked until the reset"
            self._announce(f"warning: {reason}")
        elif not store.had_locks:
            return
        elif store.opened_as is OpenedAs.EDITED:
            reason = "the database was edited behind the daemon's back; locked until the reset"
        else:
            reason = (
                "the database was lost while locks were in force; locked until the reset, as "
                "nobody can tell which"
            )
        for account_id in account_ids:
            await self._lock(account_id, "lost_database", reason)

    async def for_a_day_turned_early(self, account_id: int, turned_at: datetime) -> None:
        """Lock an account whose trading day was turned at an instant that has not come.

        Waiting limits and the rules' memory of the day may have been lost by it.
        """
        clock = self._parts.clock
        wall = clock.now()
        if isinstance(clock, SystemClock):
            wall += clock.drift()
        if turned_at - wall <= CLOCK_IS_WRONG:
            return  # by this machine's clock the instant has come: reported, but not proven
        reason = (
            f"the trading day was turned at {turned_at:%Y-%m-%d %H:%M} UTC, which has not come: "
            "the clocks of the gateway and of this machine were ahead; locked until the reset"
        )
        self._announce(f"warning: account {account_id}: {reason}")
        await self._lock(account_id, "clock_ahead", reason)

    async def _lock(self, account_id: int, rule_id: str, reason: str) -> None:
        await self._parts.pipeline.process(
            AdminAsked(
                at=self._parts.clock.now(),
                account_id=account_id,
                verb="lock_day",
                rule_id=rule_id,
                actor="daemon",
                reason=reason,
            )
        )
