"""The first reading of every account after the start, and what of it is still owed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from risk_manager.broker.reading.pacing import is_exposed
from risk_manager.broker.reading.readings import Part
from risk_manager.daemon.assembly import Parts
from risk_manager.daemon.data_place import Announce
from risk_manager.daemon.guarded_accounts import GuardedAccounts
from risk_manager.daemon.status import Status
from risk_manager.domain.events import Hub, HubState
from risk_manager.domain.read_budget import in_minutes, reading_time, time_for
from risk_manager.domain.state import State

STREAM_FIRST_S = 3.0
CHECK_EVERY_S = 0.02


class FirstReading:
    """Reads all accounts once, and says what is not known yet.

    With many accounts, positions and orders are read first, and each account is guarded from then
    on. The trades of the day are known later and are reported as missing until then.
    """

    def __init__(
        self, parts: Parts, accounts: GuardedAccounts, status: Status, announce: Announce
    ) -> None:
        self._parts = parts
        self._accounts = accounts
        self._status = status
        self._announce = announce

    async def run(self) -> None:
        """Request a whole reading of every account, and go on reading until cancelled.

        Few accounts are read at once. Many are read only once, and therefore after the stream is
        up, so that it reports later changes, or after a short wait for it.
        """
        if not reading_time(len(self._accounts.watched)).is_at_once:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STREAM_FIRST_S):
                    await self._stream_is_up()
        await self._parts.reconciler.run()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is owed any more, including the trades of the day."""
        return not self._parts.reconciler.owed()

    async def wait_until_guarded(self) -> None:
        """Wait until every account of the login is guarded, and show the progress meanwhile."""
        self._parts.reconciler.ask()
        wanted = reading_time(len(self._accounts.watched - self._accounts.missing))
        if not wanted.is_at_once:
            self._announce(
                f"{len(self._accounts.watched)} accounts are read one after the other, each is "
                f"guarded as it is read: {wanted}"
            )
        async for _ in self._changes():
            if not (waiting := self._unread()):
                break
            if not self.is_whole:
                self._status.set("STARTING", self.what_waits(len(waiting)))

    async def wait_until_whole(self) -> None:
        async for _ in self._changes():
            if self.is_whole:
                return

    def what_waits(self, unread: int) -> str:
        """Return a sentence on what is not known yet, of how many accounts, and for how long."""
        owed = self._parts.reconciler.owed()
        number, what = next(
            (n, words)
            for part, words in (
                (Part.POSITIONS, "positions"),
                (Part.ORDERS, "working orders"),
                (Part.TRADES, "today's trades"),
                (Part.ACCOUNT, "balances"),
            )
            if (n := owed[part])
        )
        left = sum(n for part, n in owed.items() if part is not Part.ACCOUNT)
        exposed = any(is_exposed(a) for a in self._parts.state.accounts.values())
        within = in_minutes(time_for(left, self._parts.lanes.reads_left, is_exposed=exposed))
        guarded = (
            f"; {unread} of {len(self._accounts.watched)} accounts are not guarded yet"
            * bool(unread)
        )
        return f"{what} of {number} accounts wait to be read, all within {within}{guarded}"

    def _unread(self) -> list[int]:
        """Return the accounts of the login that have not been read yet."""
        found = []
        for account_id in self._accounts.watched - self._accounts.missing:
            status = self._parts.reconciler.status(account_id)
            waits_for_trades = status.is_seen and Part.TRADES in status.owes
            if status.last_ok_at is None and not waits_for_trades:
                found.append(account_id)
        return found

    async def _stream_is_up(self) -> None:
        async for state in self._changes():
            user = state.hubs.get(Hub.USER)
            if user is not None and user.state is HubState.UP:
                return

    async def _changes(self) -> AsyncIterator[State]:
        """Yield the state again and again, for a condition to be checked."""
        while True:
            yield self._parts.state
            await asyncio.sleep(CHECK_EVERY_S)
