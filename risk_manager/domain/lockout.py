"""The lock that a rule asks for, and the `lockout` words of the configuration for its length."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from risk_manager.domain.decisions import LockOut
from risk_manager.domain.durations import parse_duration, plain_duration
from risk_manager.domain.locks import Lock, LockKind, LockPolicy, Release
from risk_manager.domain.scope import ACCOUNT_SCOPE
from risk_manager.domain.view import View


def new_lock(
    view: View,
    rule_id: str,
    reason: str,
    *,
    until: timedelta | datetime | Release,
    expires_at: datetime | None = None,
    policy: LockPolicy = LockPolicy.FLAT,
    kind: LockKind = LockKind.HARD,
    scope: str = ACCOUNT_SCOPE,
    trigger: str = "",
    admin_may_clear: bool = True,
) -> LockOut:
    """Return a lock from now on: for a duration, to an instant, or until a `Release`.

    `expires_at` is the countdown of a lock that an event releases. A lock until the reset lasts at
    least until `expires_at`.
    """
    release = Release.TIME
    if isinstance(until, timedelta):
        expires_at = view.now + until
    elif isinstance(until, datetime):
        expires_at = until
    else:
        release = until
        if release is Release.RESET:
            expires_at = max(view.next_reset(), expires_at or view.now)
    return LockOut(
        Lock(
            account_id=view.account.id,
            scope=scope,
            rule_id=rule_id,
            kind=kind,
            policy=policy,
            release=release,
            reason=reason,
            set_at=view.now,
            expires_at=expires_at,
            trading_date=view.state.day.date,
            trigger=trigger,
            admin_may_clear=admin_may_clear,
        )
    )


@dataclass(frozen=True, slots=True)
class Lockout:
    """The length of a lock: a duration, to the next reset, or until an administrator clears it."""

    until: timedelta | Release

    def lock(
        self,
        view: View,
        rule_id: str,
        reason: str,
        *,
        policy: LockPolicy = LockPolicy.FLAT,
        scope: str = ACCOUNT_SCOPE,
        admin_may_clear: bool = True,
        trigger: str = "",
    ) -> LockOut:
        """Return the lock to put in force now."""
        timed = isinstance(self.until, timedelta)
        return new_lock(
            view,
            rule_id,
            reason,
            until=self.until,
            policy=policy,
            kind=LockKind.COOLDOWN if timed else LockKind.HARD,
            scope=scope,
            trigger=trigger,
            admin_may_clear=admin_may_clear,
        )

    def in_words(self) -> str:
        """Return how long, to complete "is locked ..."."""
        if isinstance(self.until, timedelta):
            return f"for {plain_duration(self.until)}"
        return (
            "until the daily reset"
            if self.until is Release.RESET
            else "until an administrator lifts it"
        )

    def __str__(self) -> str:
        if isinstance(self.until, timedelta):
            return plain_duration(self.until)
        return "until_reset" if self.until is Release.RESET else "manual"


def _parse(value: Any) -> Any:
    if value is None or isinstance(value, Lockout):
        return value
    words = {"until_reset": Release.RESET, "manual": Release.MANUAL}
    if value == "none":
        return None
    if value in words:
        return Lockout(words[value])
    try:
        return Lockout(parse_duration(value))
    except ValueError as error:
        raise ValueError(f"{error}; or one of none, until_reset, manual") from None


LockoutSpec = Annotated[
    Lockout | None,
    BeforeValidator(_parse),
    PlainSerializer(lambda v: "none" if v is None else str(v), return_type=str),
]
"""`none`, `until_reset`, `manual`, or a duration such as "30m"."""
