"""Logs in to the gateway, and agrees with it on the time."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from risk_manager.broker.session import GatewayUnavailable
from risk_manager.clock import SystemClock
from risk_manager.daemon.assembly import Parts
from risk_manager.daemon.data_place import Announce
from risk_manager.daemon.limits_in_force import LimitsInForce
from risk_manager.daemon.status import Status
from risk_manager.domain.records import AccountRecord
from risk_manager.store.schema import StoreError

PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class Login:
    """The first requests to the gateway, each repeated until the gateway answers.

    Raises `CredentialsRefused` and `StoreError`.
    """

    def __init__(
        self, parts: Parts, limits: LimitsInForce, status: Status, announce: Announce
    ) -> None:
        self._parts = parts
        self._limits = limits
        self._status = status
        self._announce = announce

    async def log_in(self) -> None:
        await self._until_answered(self._parts.session.log_in)

    async def accounts(self) -> tuple[AccountRecord, ...]:
        """Return the accounts of the login."""
        wanted = [a.id for a in self._limits.configuration.accounts.enabled]
        return await self._until_answered(lambda: self._parts.session.accounts(also=wanted))

    async def agree_on_the_time(self) -> None:
        """Compare the machine's clock with the gateway's, which counts where they differ.

        To be done before anything is judged.
        """
        clock, venue, store = self._parts.clock, self._parts.venue, self._parts.store
        if venue is None or not isinstance(clock, SystemClock):
            return
        with contextlib.suppress(StoreError):
            at, day = await store.recovery.last_judged()
            limits = await self._limits.last_known()
            began = limits.day_began(day) if limits is not None and day is not None else None
            # A clock that was turned back must not lengthen pauses or begin a day twice.
            for judged_at in filter(None, (at, began)):
                clock.correct(judged_at)
        moved = await venue.agree(self._request_the_time)
        if moved is not None:
            off_s = clock.drift().total_seconds()
            self._announce(f"this machine's clock is {off_s:+.0f} s off; the gateway's counts")
            await store.audit(
                "daemon", "clock.corrected", "daemon", new={"by_s": moved.total_seconds()}
            )
        elif venue.lead:
            lead_s = venue.lead.total_seconds()
            self._announce(
                f"the gateway's time is {lead_s:.0f} s later than this machine's clock; the "
                "earlier of the two counts"
            )
            await store.audit("daemon", "clock.differs", "daemon", new={"by_s": lead_s})

    async def _request_the_time(self) -> bool:
        return (await self._parts.lanes.read("/Account/search", {"onlyActiveAccounts": True})).ok

    async def _until_answered[T](self, request: Callable[[], Awaitable[T]]) -> T:
        """Repeat a request until it is answered, as a network failure must not end the daemon."""
        attempt = 0
        while True:
            try:
                return await request()
            except GatewayUnavailable as trouble:
                pause_s = PAUSES_S[min(attempt, len(PAUSES_S) - 1)]
                attempt += 1
                self._status.set("STARTING", f"{trouble}; trying again")
                self._announce(f"{trouble}; trying again in {pause_s:.0f} s")
                await asyncio.sleep(pause_s)
