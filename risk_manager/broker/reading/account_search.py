"""The login's list of accounts: one search serves every account that is read at that time."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from pydantic import ValidationError

from risk_manager.broker.lanes import Lanes
from risk_manager.broker.reading.readings import PATHS, Part
from risk_manager.broker.replies import Reply
from risk_manager.broker.task_group import TaskGroup
from risk_manager.clock import Clock
from risk_manager.domain.records import AccountRecord

SHARED_WITHIN_SECONDS = 0.25


class AccountSearch:
    """Searches the accounts of the login, and shares each search.

    `on_listed` receives the active accounts of every search that succeeded, watched or not, and
    the instant at which they were asked for. `tasks` ends the searches.
    """

    def __init__(
        self,
        lanes: Lanes,
        clock: Clock,
        tasks: TaskGroup,
        on_listed: Callable[[datetime, tuple[AccountRecord, ...]], None],
    ) -> None:
        self._lanes = lanes
        self._clock = clock
        self._tasks = tasks
        self._on_listed = on_listed
        self._newest: dict[bool, tuple[float, asyncio.Task[Reply]]] = {}
        """By `only_active`: when the newest search was begun, and its task."""

    async def find(self, account_id: int, *, is_urgent: bool) -> Reply:
        """Return the list that contains the account; if none does, the list of all accounts."""
        reply = await self.search(is_urgent=is_urgent, only_active=True)
        if reply.ok and record_in(reply, account_id) is None:
            # It is not documented whether a locked account counts as inactive.
            reply = await self.search(is_urgent=is_urgent, only_active=False)
        return reply

    async def search(self, *, is_urgent: bool, only_active: bool) -> Reply:
        """Return the answer to a search that was begun now or a moment ago."""
        now = self._clock.monotonic()
        newest = self._newest.get(only_active)
        if newest is None or now - newest[0] > SHARED_WITHIN_SECONDS or newest[1].cancelled():
            fetch = self._lanes.look if is_urgent else self._lanes.read
            body = {"onlyActiveAccounts": only_active}
            task = self._tasks.start("search accounts", fetch(PATHS[Part.ACCOUNT], body))
            if only_active:
                task.add_done_callback(partial(self._pass_on, self._clock.now()))
            newest = self._newest[only_active] = (now, task)
        return await asyncio.shield(newest[1])

    def _pass_on(self, asked_at: datetime, search: asyncio.Task[Reply]) -> None:
        if search.cancelled() or search.exception() is not None or not search.result().ok:
            return
        listed = search.result().body.get("accounts")
        accounts = []
        for raw in listed if isinstance(listed, list) else ():
            try:
                accounts.append(AccountRecord.model_validate(raw))
            except ValidationError:
                continue  # reported by the pass of that account, if it is watched
        self._on_listed(asked_at, tuple(accounts))


def record_in(reply: Reply, account_id: int) -> dict[str, Any] | None:
    """Return the unchecked record of an account in an answer; None if it is not listed."""
    listed = reply.body.get("accounts")
    records = listed if isinstance(listed, list) else ()
    return next((r for r in records if isinstance(r, dict) and r.get("id") == account_id), None)
