"""How long a rule locks: the `lockout` words of the configuration."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from risk_manager.domain.decisions import LockOut
from risk_manager.domain.durations import parse_duration, plain_duration
from risk_manager.domain.locks import LockKind, LockPolicy, Release
from risk_manager.domain.view import View


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
        scope: str = "account",
        admin_may_clear: bool = True,
        trigger: str = "",
    ) -> LockOut:
        """Return the lock to put in force now."""
        timed = isinstance(self.until, timedelta)
        return view.new_lock(
            rule_id,
            reason,
            until=self.until,
            policy=policy,
            kind=LockKind.COOLDOWN if timed else LockKind.HARD,
            scope=scope,
            trigger=trigger,
            admin_may_clear=admin_may_clear,
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
