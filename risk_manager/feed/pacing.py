"""Sends accounts and quotes again after a change, no more often than a screen can show."""

import asyncio
import math
from collections.abc import Callable, Iterable

from risk_manager.clock import Clock
from risk_manager.domain.state import State
from risk_manager.feed.broadcast import Broadcast
from risk_manager.feed.composer import Composer
from risk_manager.right_of_way import RightOfWay

CHANGE_GAP_S = 0.1
FIGURES_GAP_S = 0.5
QUOTE_GAP_S = 0.25
REST_PER_COST = 10
REST_PER_COST_OF_ALL = 100
LONGEST_REST_OF_ALL_S = 0.5


class Pacer:
    """Collects what has changed, and sends it at the pace of its kind.

    An account that changed is sent at most ten times a second, and one whose figures moved with
    the prices or the time at most twice a second. While many accounts change, each is sent less
    often, but still twice a second. `report` is given what goes wrong.
    """

    def __init__(
        self,
        broadcast: Broadcast,
        composer: Composer,
        *,
        state: Callable[[], State],
        clock: Clock,
        right_of_way: RightOfWay,
        report: Callable[[Exception], None],
    ) -> None:
        self._broadcast = broadcast
        self._composer = composer
        self._state = state
        self._clock = clock
        self._right_of_way = right_of_way
        self._report = report
        self._quoted: set[str] = set()
        self._changed: set[int] = set()
        self._moved: set[int] = set()
        self._work_waits = asyncio.Event()
        self._refreshed_at: dict[int, float] = {}
        self._quoted_at = 0.0

    def quote_changed(self, contract_id: str) -> None:
        self._quoted.add(contract_id)
        self._work_waits.set()

    def accounts_changed(self, account_ids: Iterable[int]) -> None:
        """Note changed accounts, to be sent after the next `wake`."""
        self._changed.update(account_ids)

    def figures_moved(self, account_ids: Iterable[int]) -> None:
        """Note accounts of which only figures moved, to be sent after the next `wake`."""
        self._moved.update(account_ids)

    def wake(self) -> None:
        """Send the accounts noted so far as soon as they are due."""
        if self._changed or self._moved:
            self._work_waits.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._work_waits.wait()
            await self._right_of_way.give_way()
            self._work_waits.clear()
            try:
                others_wait = self._send_due(self._clock.monotonic())
            except Exception as error:  # the feed may fail, enforcement must go on
                self._report(error)
                others_wait = False
            await asyncio.sleep(CHANGE_GAP_S)
            if others_wait:
                self._work_waits.set()

    def _send_due(self, now: float) -> bool:
        """Send the quotes and accounts that are due. Returns whether others must still wait."""
        readers = self._broadcast.readers
        if not readers:
            self._quoted.clear()
            self._changed.clear()
            self._moved.clear()
            return False
        state = self._state()
        if self._quoted and now - self._quoted_at >= QUOTE_GAP_S:
            self._quoted_at = now
            for contract_id in self._quoted:
                self._moved.update(state.holders.get(contract_id, ()))
                if contract_id in state.quotes:
                    quote = self._composer.quote(state, contract_id)
                    frame = self._composer.frame(None, quote)
                    for reader in readers:
                        reader.offer_quote(contract_id, frame)
            self._quoted.clear()
        long_ago = now - FIGURES_GAP_S
        due = set(self._changed)
        due |= {a for a in self._moved if self._refreshed_at.get(a, long_ago) <= long_ago}
        shared_s = self._shared_rest_s(now)
        due -= {
            a
            for a in due
            if now - self._refreshed_at.get(a, -math.inf) < max(self._rest_s(a), shared_s)
        }
        self._changed -= due
        for account_id in due:
            self._moved.discard(account_id)
            self._refreshed_at[account_id] = now
            for reader in readers:
                reader.refresh(account_id)
        return bool(self._quoted or self._moved or self._changed)

    def _rest_s(self, account_id: int) -> float:
        """Return the pause after a snapshot of this account was made.

        Snapshots of an account with thousands of orders are slow and may take a tenth of the time
        at most.
        """
        return REST_PER_COST * self._composer.cost_s(account_id)

    def _shared_rest_s(self, now: float) -> float:
        """Return the pause of each account after its snapshot, while others change as well.

        The snapshots of all accounts take a hundredth of the time, unless the pause became too long
        to watch.
        """
        lately = now - LONGEST_REST_OF_ALL_S
        sent = [a for a, at in self._refreshed_at.items() if at > lately]
        cost_s = sum(map(self._composer.cost_s, sent))
        return min(REST_PER_COST_OF_ALL * cost_s, LONGEST_REST_OF_ALL_S)
