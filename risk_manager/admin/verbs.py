"""The daemon's handling of administrator requests: each verb becomes one ordered event."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from risk_manager.admin.alert_verbs import AlertVerbs, answer_alerts
from risk_manager.admin.outcomes import Carried, lifted, rows_of, who_may_lift
from risk_manager.admin.password import AdminPassword
from risk_manager.admin.second_passphrase import EarlyUnlockCheck
from risk_manager.clock import Clock
from risk_manager.domain.account import Account
from risk_manager.domain.durations import parse_duration
from risk_manager.domain.events import AdminAsked
from risk_manager.domain.locks import Lock, LockKind
from risk_manager.domain.scope import is_scope
from risk_manager.domain.state import State
from risk_manager.engine.locking import may_be_cleared
from risk_manager.feed.admin import AdminError, AdminSession
from risk_manager.settings.problems import ConfigurationErrors

VERBS = {"set_lockout": "lock", "clear_lockout": "unlock", "close_all": "flatten"}
WITHOUT_PASSWORD = frozenset(
    {
        "login",
        "set_password",
        "status",
        "preview_config",
        "set_lockout",
        "close_all",
        "cancel_all",
        "alerts_list",
        "alerts_test",
    }
)
"""Verbs that only read or only tighten. `set_password` checks the old password itself."""
Verb = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Carries out one further verb: params -> result. Raises AdminError or ConfigurationErrors."""
LONGEST_WAIT_S = 60.0
LOOK_EVERY_S = 0.05


class AdminDesk:
    """Answers the admin channel. Verbs that change something are events like any other.

    `close_all` and `cancel_all` take an account id or "all"; `set_lockout` and `clear_lockout`
    take one account. Each is answered with its effect once it is stored. With `wait_s`, `close_all`
    and `cancel_all` are answered once the broker confirms that everything is gone, or after that
    time in seconds. With `lock`, `close_all` also locks the accounts flat. `reload_config` reads
    the files again; `shutdown` stops the daemon. `more` are further verbs, by name.
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
        read: Callable[[int], None] = lambda _: None,
        more: Mapping[str, Verb] | None = None,
        alerts: AlertVerbs | None = None,
        second: EarlyUnlockCheck | None = None,
    ) -> None:
        self._take = take
        self._state = state
        self._clock = clock
        self._shut_down = shut_down
        self._password = password
        self._reload = reload
        self._status = status
        self._is_open = is_open
        self._read = read
        self._more = more or {}
        self._alerts = alerts
        self._second = second

    async def handle(
        self, method: str, params: dict[str, Any], session: AdminSession
    ) -> dict[str, Any]:
        """Carry out one verb. Raises AdminError, which says what to do instead."""
        match method:
            case "status":
                return self._status()
            case "set_lockout" | "clear_lockout" | "close_all" | "cancel_all":
                return await self._order(VERBS.get(method, method), params, session)
            case "reload_config" if self._reload is not None:
                return await _checked(self._reload())
            case name if name in self._more:
                return await _checked(self._more[name](params))
            case "login" if self._password is not None:
                await self._password.log_in(params.get("password"))
                session.logged_in = True
                return {"logged_in": True}
            case "set_password" if self._password is not None:
                await self._password.change(params.get("old"), params.get("new"))
                session.logged_in = True
                return {"password_set": True}
            case "alerts_list" | "alerts_ack" | "alerts_test":
                return await answer_alerts(self._alerts, method, params, session)
            case "shutdown":
                self._shut_down()
                return {"stopping": True}
        known = ", ".join(
            [
                "status, reload_config, set_lockout, clear_lockout, close_all, cancel_all",
                *self._more,
                "shutdown",
            ]
        )
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
            # Before the login the event would carry the machine's time. With a clock set forward,
            # it would end every lock and pause whose deadline lies before it.
            raise AdminError(
                "starting", "the daemon is still logging in to the gateway; try again once it has"
            )
        now = self._clock.now()
        scope = params.get("scope", "account")
        if not (isinstance(scope, str) and is_scope(scope)):
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
        accepted: dict[str, Any] = {"accepted": True, "accounts": accounts}
        match verb:
            case "lock":
                return accepted | await self._locked(events[0])
            case "unlock":
                return accepted | await self._unlocked(events[0], params.get("second"))
        locks = [_lock_of(e) for e in events] if verb == "flatten" and params.get("lock") else []
        if locks:
            accepted["locked"] = accounts
        wait_s = _wait_s(params.get("wait_s"))
        if wait_s is None:
            await self._take(*locks, *events)
            return accepted
        return accepted | {"report": await self._carried_out(events, wait_s, locks)}

    async def _locked(self, event: AdminAsked) -> dict[str, Any]:
        """Return the lock that carries the order, and all locks in force on the account."""
        await self._take(event)
        locks = self._state().accounts[event.account_id].locks.values()
        ours = [
            lock
            for lock in locks
            if lock.kind is LockKind.MANUAL
            and (lock.scope, lock.policy, lock.reason) == (event.scope, event.policy, event.reason)
        ]
        return {"lock": next(iter(rows_of(ours)), None), "locks": rows_of(locks)}

    async def _unlocked(self, event: AdminAsked, second: Any) -> dict[str, Any]:
        """Return the locks that were lifted and those that stay."""
        event = await self._confirmed(event, second)
        before = self._state().accounts[event.account_id]
        meant = self._meant(before, event)
        await self._take(event)
        state = self._state()
        return lifted(before, state.accounts[event.account_id], meant, state.day.date)

    async def _confirmed(self, event: AdminAsked, second: Any) -> AdminAsked:
        """Return the order to lift locks, confirmed by the second person where that is needed.

        It is not needed for locks of an earlier day which end by hand only, as that is not early.
        Raises AdminError.
        """
        check, state = self._second, self._state()
        account = state.accounts[event.account_id]
        early = [
            lock
            for lock in self._meant(account, event)
            if lock.admin_may_clear and may_be_cleared(account, lock, state.day.date)
        ]
        if check is None or not check.is_set or not early:
            return event
        about = {
            "reason": event.reason,
            "scope": event.scope,
            "rule_id": event.rule_id,
            "with": event.actor,
        }
        await check.confirm(second, f"account:{event.account_id}", about)
        return event.model_copy(
            update={"at": self._clock.now(), "actor": f"{event.actor} and second"}
        )

    async def _carried_out(
        self, events: list[AdminAsked], wait_s: float, locks: list[AdminAsked]
    ) -> list[dict[str, Any]]:
        """Return what was closed and cancelled, once the broker confirms it or `wait_s` is over.

        For an account that has not been read since the start the order is given again after the
        read, as unknown positions cannot be closed.
        """
        if not events:
            return []
        scope, verb = events[0].scope, events[0].verb
        unread = {e.account_id: e for e in events if not self._has_been_read(e.account_id)}
        carried = Carried([e.account_id for e in events], scope, with_positions=verb == "flatten")
        carried.find(self._state())
        await self._take(*locks, *events)
        end = self._clock.monotonic() + wait_s
        while True:
            for account_id in [i for i in unread if self._has_been_read(i)]:
                carried.find(self._state())
                await self._take(_again(unread.pop(account_id), self._clock.now()))
            waiting = carried.look(self._state(), self._clock.now())
            if not (waiting or unread) or self._clock.monotonic() >= end:
                break
            for account_id in waiting:
                self._read(account_id)
            await asyncio.sleep(LOOK_EVERY_S)
        return carried.rows(self._state())

    def _has_been_read(self, account_id: int) -> bool:
        return self._state().accounts[account_id].reported_as_of is not None

    def _meant(self, account: Account, event: AdminAsked) -> list[Lock]:
        """Return the locks to be cleared. Raises AdminError where the engine would only alarm."""
        today = self._state().day.date
        meant = [
            lock
            for lock in account.locks.values()
            if lock.scope == event.scope and event.rule_id in (None, lock.rule_id)
        ]
        if not meant:
            there = ", ".join(f"{x.rule_id} ({x.scope})" for x in account.locks.values()) or "none"
            raise AdminError(
                "no_lock",
                f"no such lock on account {account.id} ({event.scope}); in force: {there}",
            )
        if not any(may_be_cleared(account, lock, today) for lock in meant):
            told = "; ".join(
                f"{x.rule_id}: {x.reason} ({who_may_lift(account, x, today)})" for x in meant
            )
            raise AdminError("refused", f"this lock cannot be cleared by hand: {told}")
        return meant

    def _accounts(self, wanted: Any, *, several: bool) -> list[int]:
        known = sorted(self._state().accounts)
        if wanted == "all" and several:
            return known
        if isinstance(wanted, int) and wanted in known:
            return [wanted]
        listed = ", ".join(map(str, known)) or "none"
        more = ', or "all"' if several else ""
        raise AdminError("unknown_account", f"account_id is one of {listed}{more}")


async def _checked(answer: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    try:
        return await answer
    except ConfigurationErrors as errors:
        raise AdminError("configuration", str(errors)) from None


def _lock_of(event: AdminAsked) -> AdminAsked:
    """Return the order to lock the account of another order, for the same time and reason."""
    return event.model_copy(update={"verb": "lock", "policy": "flat"})


def _again(event: AdminAsked, at: datetime) -> AdminAsked:
    return event.model_copy(update={"at": at})


def _wait_s(wanted: Any) -> float | None:
    if wanted is None:
        return None
    if isinstance(wanted, bool) or not isinstance(wanted, int | float) or not wanted >= 0:
        raise AdminError("bad_request", "wait_s is a number of seconds")
    return min(float(wanted), LONGEST_WAIT_S)


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
