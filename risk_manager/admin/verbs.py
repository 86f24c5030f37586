"""What the daemon does when an administrator asks: each verb becomes one ordered event."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from risk_manager.admin.password import AdminPassword
from risk_manager.clock import Clock
from risk_manager.domain.durations import parse_duration
from risk_manager.domain.events import AdminAsked
from risk_manager.domain.fold import may_be_cleared
from risk_manager.domain.state import State
from risk_manager.feed.admin import AdminError, AdminSession
from risk_manager.settings.problems import ConfigurationErrors

VERBS = {"set_lockout": "lock", "clear_lockout": "unlock", "close_all": "flatten"}
WITHOUT_PASSWORD = frozenset(
    {"login", "set_password", "status", "set_lockout", "close_all", "cancel_all"}
)
"""What only looks or only tightens; `set_password` asks for the old one itself."""
SCOPES = ("account", "root:", "contract:")


class AdminDesk:
    """Answers the admin channel. Verbs that change something are events like any other.

    `close_all` and `cancel_all` take an account id or "all"; `set_lockout` and `clear_lockout`
    take one account. They are answered once they are stored. `reload_config` reads the files
    again; `shutdown` stops the daemon.
    """

    def __init__(
        self,
        take: Callable[..., Awaitable[None]],
        state: Callable[[], State],
        clock: Clock,
        *,
        shut_down: Callable[[], None] = lambda: None,
        password: AdminPassword | None = None,
        reload: Callable[[], Awaitable[dict[str, Any]]] | None = None,
        status: Callable[[], dict[str, Any]] = dict,
        is_open: Callable[[], bool] = lambda: True,
    ) -> None:
        self._take = take
        self._state = state
        self._clock = clock
        self._shut_down = shut_down
        self._password = password
        self._reload = reload
        self._status = status
        self._is_open = is_open

    async def handle(
        self, method: str, params: dict[str, Any], session: AdminSession
    ) -> dict[str, Any]:
        """One verb. Raises AdminError with what to do instead."""
        match method:
            case "status":
                return self._status()
            case "set_lockout" | "clear_lockout" | "close_all" | "cancel_all":
                return await self._order(VERBS.get(method, method), params, session)
            case "reload_config" if self._reload is not None:
                try:
                    return await self._reload()
                except ConfigurationErrors as errors:
                    raise AdminError("configuration", str(errors)) from None
            case "login" if self._password is not None:
                await self._password.log_in(params.get("password"))
                session.logged_in = True
                return {"logged_in": True}
            case "set_password" if self._password is not None:
                await self._password.change(params.get("old"), params.get("new"))
                session.logged_in = True
                return {"password_set": True}
            case "shutdown":
                self._shut_down()
                return {"stopping": True}
        known = "status, reload_config, set_lockout, clear_lockout, close_all, cancel_all, shutdown"
        raise AdminError("unknown_method", f"no such verb {method!r}; there are {known}")

    async def _order(
        self, verb: str, params: dict[str, Any], session: AdminSession
    ) -> dict[str, Any]:
        accounts = self._accounts(
            params.get("account_id"), several=verb in ("flatten", "cancel_all")
        )
        reason = params.get("reason")
        if not isinstance(reason, str) or not reason.strip():
            raise AdminError(
                "reason_missing", "say why: every order of yours is kept with its reason"
            )
        if not self._is_open():
            # Its time would be the machine's: by a clock set forward it would come after every
            # deadline, and end what waits for one.
            raise AdminError(
                "starting", "the daemon is still logging in to the gateway; try again once it has"
            )
        now = self._clock.now()
        scope = params.get("scope", "account")
        if not (isinstance(scope, str) and scope.startswith(SCOPES)):
            raise AdminError("bad_scope", 'scope is "account", "root:ES" or "contract:CON..."')
        try:
            events = [
                AdminAsked(
                    at=now,
                    account_id=account_id,
                    verb=verb,
                    reason=reason.strip(),
                    actor=session.peer,
                    scope=scope,
                    policy=params.get("policy", "flat"),
                    rule_id=params.get("rule_id"),
                    until=_until(params.get("duration"), now),
                )
                for account_id in accounts
            ]
        except ValidationError as error:
            first = error.errors()[0]
            raise AdminError("bad_request", f"{first['loc'][0]}: {first['msg']}") from None
        if verb == "unlock":
            self._check_unlock(events[0])
        await self._take(*events)
        return {"accepted": True, "accounts": accounts}

    def _check_unlock(self, event: AdminAsked) -> None:
        """Say now what the core would only answer with an alarm."""
        state = self._state()
        account = state.accounts[event.account_id]
        meant = [
            lock
            for lock in account.locks.values()
            if lock.scope == event.scope and event.rule_id in (None, lock.rule_id)
        ]
        if not meant:
            raise AdminError("no_lock", f"no such lock on account {account.id} ({event.scope})")
        if not any(may_be_cleared(account, lock, state.day.date) for lock in meant):
            told = "; ".join(f"{lock.rule_id}: {lock.reason}" for lock in meant)
            raise AdminError("refused", f"this lock cannot be cleared by hand: {told}")

    def _accounts(self, wanted: Any, *, several: bool) -> list[int]:
        known = sorted(self._state().accounts)
        if wanted == "all" and several:
            return known
        if isinstance(wanted, int) and wanted in known:
            return [wanted]
        listed = ", ".join(map(str, known)) or "none"
        more = ', or "all"' if several else ""
        raise AdminError("unknown_account", f"account_id is one of {listed}{more}")


def _until(duration: Any, now: datetime) -> datetime | None:
    if duration is None:
        return None
    try:
        length = parse_duration(duration)
    except ValueError as error:
        raise AdminError("bad_duration", str(error)) from None
    if length <= timedelta(0):
        raise AdminError("bad_duration", "a lock lasts longer than nothing")
    return now + length
