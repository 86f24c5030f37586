"""Locks. An account may have many, the strictest wins, and none ends early."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.scope import in_scope

MANUAL_ID = "manual"
"""The rule id of an administrator's orders; further manual locks are "manual-2", "manual-3"..."""


class LockPolicy(StrEnum):
    """How much a lock allows. `flat`: no position, no working order. `no_entries`: no increase."""

    FLAT = "flat"
    NO_ENTRIES = "no_entries"


class LockKind(StrEnum):
    """The kind of a lock as shown to people. Its effect is given by policy and release."""

    HARD = "hard"
    COOLDOWN = "cooldown"
    SESSION = "session"
    RESTRICTION = "restriction"
    BLOCK = "block"
    MANUAL = "manual"


class Release(StrEnum):
    """The event that ends a lock."""

    TIME = "time"  # its `expires_at`
    RESET = "reset"  # the reset that begins a later trading date
    SESSION_START = "session_start"  # its rule, when the session opens
    CAN_TRADE = "can_trade"  # its rule, when the platform lets the account trade again
    CONFIG = "config"  # its rule, when the configuration no longer asks for it
    MANUAL = "manual"  # an administrator


ENDED_BY_ITS_RULE = (Release.CONFIG, Release.SESSION_START, Release.CAN_TRADE)
"""The other kinds end by the clock or by an administrator, whatever a rule says."""

LockKey = tuple[str, str]
"""(scope, rule id). An account has at most one active lock for each."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """One reason why an account, a product or a contract may not be traded.

    `scope` is described in `domain.scope`. `expires_at` (UTC) is also shown as the countdown of
    locks that something else releases. `trading_date` is the date on which the lock was set.
    """

    account_id: int
    scope: str
    rule_id: str
    kind: LockKind
    policy: LockPolicy
    release: Release
    reason: str
    set_at: datetime
    expires_at: datetime | None
    trading_date: date
    trigger: str = ""
    admin_may_clear: bool = True

    @property
    def key(self) -> LockKey:
        return (self.scope, self.rule_id)

    def covers(self, root: str, contract_id: str) -> bool:
        return in_scope(self.scope, root, contract_id)

    def is_over(self, now: datetime, trading_date: date) -> bool:
        """Whether time alone has ended the lock. Rules and administrators end the other kinds."""
        if self.release is Release.TIME:
            return self.expires_at is not None and now >= self.expires_at
        if self.release is Release.RESET:
            # Both conditions: an edited reset time must not end today's lock early.
            reset_passed = self.expires_at is None or now >= self.expires_at
            return self.trading_date < trading_date and reset_passed
        if self.release is Release.SESSION_START:
            # If the rule is in force and the session has not begun, it locks again in this step.
            return self.expires_at is not None and now >= self.expires_at
        return False

    def prolonged_by(self, later: "Lock") -> "Lock":
        """Merge this lock with a later one of its own rule: never shorter, never laxer.

        The result is over only once both would be. Returns `self` where nothing changes.
        """
        above = _RANK[later.release] - _RANK[self.release]
        ahead = later if above >= 0 else self
        by_the_clock = {self.release, later.release} <= {Release.TIME, Release.RESET}
        newest = max(self.trading_date, later.trading_date)
        merged = fast_replace(
            ahead,
            set_at=self.set_at,
            policy=LockPolicy.FLAT if self.policy is LockPolicy.FLAT else later.policy,
            expires_at=_end_of_both(self, later) if by_the_clock else ahead.expires_at,
            trading_date=ahead.trading_date if above else newest,
            # For a lock that only an administrator ends, False means: not on the day it was set.
            admin_may_clear=self.admin_may_clear and later.admin_may_clear,
        )
        return self if merged._terms == self._terms else merged

    @property
    def _terms(self) -> tuple[object, ...]:
        """The fields with effect, without the texts."""
        return (self.release, self.policy, self.expires_at, self.trading_date, self.admin_may_clear)


# A rule cannot replace a release by one of lower rank: a lock that waits for an event outlasts a
# countdown.
_RANK = {
    Release.TIME: 0,
    Release.CONFIG: 1,
    Release.SESSION_START: 1,
    Release.RESET: 2,
    Release.CAN_TRADE: 3,
    Release.MANUAL: 4,
}


def _end_of_both(a: Lock, b: Lock) -> datetime | None:
    """Return the later end. A lock until the reset also lasts until that instant (`is_over`)."""
    if any(lock.release is Release.TIME and lock.expires_at is None for lock in (a, b)):
        return None
    return max((e for e in (a.expires_at, b.expires_at) if e is not None), default=None)


def strictest(locks: Iterable[Lock]) -> LockPolicy | None:
    """Return the strictest policy of these locks; None when there are none."""
    policies = {lock.policy for lock in locks}
    if LockPolicy.FLAT in policies:
        return LockPolicy.FLAT
    return LockPolicy.NO_ENTRIES if policies else None
