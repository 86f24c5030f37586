"""The verbs of the admin channel about the running daemon: its streams, login, logs and day."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from risk_manager.admin.gateway_login import GatewayProblem, log_out
from risk_manager.admin.verbs import Verb
from risk_manager.broker.hubs.supervisor import HubSupervisor
from risk_manager.broker.session import CredentialsRefused, GatewaySession, GatewayUnavailable
from risk_manager.clock import Clock
from risk_manager.domain.events import Hub, HubState, Tick
from risk_manager.domain.state import State
from risk_manager.feed.admin import AdminError
from risk_manager.store.store import Store

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
WAIT_S = 20.0
LOOK_EVERY_S = 0.05
ACTOR = "administrator"
ASKED = "an administrator asked for a new connection"


class RunningVerbs:
    """`reconnect` opens the streams anew. `session_drop` logs in anew and logs the old token out.

    `log_level` changes how much is logged until the next start. `day_reset` has a reset that is
    due made now, and refuses one that is not, as it would lift locks. `end_guard` records what
    stands on the accounts before somebody stops or removes the service; it ends nothing itself.
    """

    def __init__(
        self,
        hubs: HubSupervisor,
        session: GatewaySession,
        store: Store,
        clock: Clock,
        state: Callable[[], State],
        take: Callable[..., Awaitable[None]],
        *,
        set_log_level: Callable[[str], None],
    ) -> None:
        self._hubs = hubs
        self._session = session
        self._store = store
        self._clock = clock
        self._state = state
        self._take = take
        self._set_log_level = set_log_level
        self._level = ""

    def verbs(self) -> dict[str, Verb]:
        return {
            "reconnect": self._reconnect,
            "session_drop": self._drop_session,
            "log_level": self._change_log_level,
            "day_reset": self._reset_day,
            "end_guard": self._record_end,
        }

    async def _reconnect(self, params: dict[str, Any]) -> dict[str, Any]:
        self._require_login()
        wanted = params.get("hub", "both")
        hubs = tuple(Hub) if wanted == "both" else tuple(h for h in Hub if h == wanted)
        if not hubs:
            raise AdminError("bad_request", "hub is user, market or both")
        await self._store.audit(ACTOR, "reconnect", wanted)
        before = {hub: self._opens(hub) for hub in hubs}
        for hub in hubs:
            self._hubs.mark_suspect(hub, ASKED)
        return {"hubs": await self._opened_since(before)}

    async def _drop_session(self, _: dict[str, Any]) -> dict[str, Any]:
        self._require_login()
        before = {hub: self._opens(hub) for hub in Hub}
        old = self._session.token
        try:
            await self._session.renew()
        except (CredentialsRefused, GatewayUnavailable) as error:
            raise AdminError("gateway", f"the session stays: {error}") from None
        # Each stream opens with the new token before the one with the old token is closed.
        hubs = await self._opened_since(before)
        ended, why = False, "a stream still uses the old token"
        if all(hub["opened"] for hub in hubs.values()):
            try:
                await asyncio.to_thread(log_out, self._session.address.api_url, old)
                ended, why = True, ""
            except GatewayProblem as problem:
                why = str(problem)
        await self._store.audit(
            ACTOR, "session.dropped", "gateway", new={"old_token_ended": ended}, ok=ended
        )
        return {"hubs": hubs, "old_token_ended": ended, "why": why}

    async def _change_log_level(self, params: dict[str, Any]) -> dict[str, Any]:
        level = str(params.get("level", "")).upper()
        if level not in LEVELS:
            raise AdminError("bad_request", f"level is one of {', '.join(LEVELS)}")
        await self._store.audit(ACTOR, "log.level", level)
        self._set_log_level(level)
        return {"level": level}

    async def _reset_day(self, _: dict[str, Any]) -> dict[str, Any]:
        self._require_login()
        state, now = self._state(), self._clock.now()
        if now < state.day.ends_at and not self._behind(state):
            raise AdminError(
                "not_due",
                f"the trading day {state.day.date} turns by itself at "
                f"{state.day.ends_at.astimezone():%a %H:%M}; a reset before that would lift locks, "
                "which nobody can do",
            )
        await self._store.audit(ACTOR, "day.reset", str(state.day.date))
        await self._take(Tick(at=now))
        state = self._state()
        behind = self._behind(state)
        if behind:
            raise AdminError("failed", f"accounts still on an older day: {behind}; see the log")
        return {"trading_date": str(state.day.date), "ends_at": state.day.ends_at.isoformat()}

    async def _record_end(self, params: dict[str, Any]) -> dict[str, Any]:
        by = params.get("by")
        if not isinstance(by, str) or not by.strip():
            raise AdminError("bad_request", "by says which command is to end the guard")
        stands = [
            {
                "account_id": account.id,
                "open": sorted(account.positions),
                "locks": sorted(lock.rule_id for lock in account.locks.values()),
            }
            for account in self._state().accounts.values()
            if account.positions or account.locks
        ]
        await self._store.audit(ACTOR, "guard.ends", by.strip()[:80], new={"accounts": stands})
        return {"recorded": True}

    def _behind(self, state: State) -> list[int]:
        return [a.id for a in state.accounts.values() if a.trading_date < state.day.date]

    def _require_login(self) -> None:
        if not self._session.logged_in:
            raise AdminError(
                "starting", "the daemon is still logging in to the gateway; try again once it has"
            )

    def _opens(self, hub: Hub) -> int:
        return self._hubs.counters(hub).opens

    async def _opened_since(self, before: dict[Hub, int]) -> dict[str, dict[str, Any]]:
        """Wait until each hub has been opened once more and is up, and return how it is."""
        end = self._clock.monotonic() + WAIT_S
        while not all(map(self._is_new, before, before.values())):
            if self._clock.monotonic() >= end:
                break
            await asyncio.sleep(LOOK_EVERY_S)
        return self._told(before)

    def _is_new(self, hub: Hub, opens_before: int) -> bool:
        status = self._state().hubs.get(hub)
        is_up = status is not None and status.state is HubState.UP
        return is_up and self._opens(hub) > opens_before

    def _told(self, before: dict[Hub, int]) -> dict[str, dict[str, Any]]:
        hubs: Collection[Hub] = before
        statuses = {hub: self._state().hubs.get(hub) for hub in hubs}
        return {
            str(hub): {
                "opened": self._is_new(hub, before[hub]),
                "state": "unknown" if status is None else str(status.state),
            }
            for hub, status in statuses.items()
        }
