"""What was decided and done: which entries pass the filter, and the day's totals of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from risk_manager.dashboard.glance import Glance
from risk_manager.feed.messages import AccountSnapshot, EnforcementAction, EnforcementTotals

DAY = timedelta(days=1)
KEPT = 20  # entries of an account that the daemon tells of
LOCKING = ("CLOSE_ALL_AND_LOCKOUT", "LOCKOUT", "COOLDOWN")
"""Decisions that set a lock."""

Entry = tuple[AccountSnapshot, EnforcementAction]


def accounts_shown(glance: Glance) -> tuple[AccountSnapshot, ...]:
    """The account chosen, or all of them."""
    if glance.every_account:
        return glance.picture.accounts
    return () if glance.account is None else (glance.account,)


def entries(glance: Glance) -> list[Entry]:
    """What passes the filter, the newest first, of the page that is looked at.

    The newest page holds what the daemon tells by itself, at once, and below it the database's.
    """
    found: list[Entry] = []
    for account in accounts_shown(glance):
        answer = glance.history("enforcements", account.account_id)
        told = () if answer is None else answer.enforcements
        if answer is None or answer.before is None:
            known = {_matter(entry) for entry in account.enforcements}
            told = (*account.enforcements, *(e for e in told if _matter(e) not in known))
        found += [(account, e) for e in told if glance.rule_filter in ("", *e.rule_ids)]
    return sorted(found, key=lambda pair: pair[1].timestamp, reverse=True)


def _matter(entry: EnforcementAction) -> object:
    """What an entry is about, the same in both places that it may be told in."""
    if entry.action_id is not None:
        return entry.action_id
    return entry.rule_ids, str(entry.details.get("subject", "")), entry.reason


def rules_to_choose(glance: Glance) -> list[str]:
    """Rules that have decided, locked or ended a lock on the accounts shown."""
    named = set[str]()
    for account in accounts_shown(glance):
        named.update(rule for entry in account.enforcements for rule in entry.rule_ids)
        named.update(lock.rule_id for lock in account.locks)
        for kind in ("enforcements", "totals", "locks"):
            answer = glance.history(kind, account.account_id)
            if answer is not None:
                named.update(rule for e in answer.enforcements for rule in e.rule_ids)
                named.update(rule for e in answer.totals for rule in e.rule_ids)
                named.update(lock.rule_id for lock in answer.locks)
        named.update(
            e.rule_id for e in glance.picture.ended_locks if e.account_id == account.account_id
        )
    return sorted(named)


def after(rules: list[str], rule: str) -> str:
    """The next filter: each rule in turn, then all of them, which is the empty one."""
    choices = ["", *rules]
    return choices[(choices.index(rule) + 1) % len(choices)] if rule in choices else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    decisions: int = 0  # of breaches, that were acted on
    locks: int = 0  # of these
    pauses: int = 0  # of these
    shadowed: int = 0
    reductions: int = 0  # closed or reduced, confirmed
    cancels: int = 0
    stops: int = 0  # placed or moved
    failed: int = 0
    unsure: int = 0
    slowest_ms: float | None = None


def totals(shown: Iterable[EnforcementAction]) -> Totals:
    """Totals of these entries."""
    told = list(shown)
    done = [e for e in told if e.phase == "confirmed" and not e.shadow]
    times = [e.duration_ms for e in done if e.duration_ms is not None]
    grave = [e for e in told if e.phase == "decided" and e.severity not in ("info", "warning")]
    acted = [e for e in grave if not e.shadow]
    return Totals(
        decisions=len(acted),
        locks=sum(e.action in ("CLOSE_ALL_AND_LOCKOUT", "LOCKOUT") for e in acted),
        pauses=sum(e.action == "COOLDOWN" for e in acted),
        shadowed=sum(e.shadow for e in grave),
        reductions=sum(e.action in ("CLOSE_POSITION", "REDUCE_POSITION") for e in done),
        cancels=sum(e.action == "CANCEL_ORDER" for e in done),
        stops=sum(e.action in ("PLACE_EXIT", "MOVE_STOP") for e in done),
        failed=sum(e.phase == "failed" for e in told),
        unsure=sum(e.phase == "uncertain" for e in told),
        slowest_ms=max(times, default=None),
    )


def exact_totals(glance: Glance) -> Totals | None:
    """The day's totals of the accounts and rules looked at; None where they are not told."""
    rows: list[EnforcementTotals] = []
    for account in accounts_shown(glance):
        answer = glance.history("totals", account.account_id)
        if answer is None or answer.error:
            return None
        rows += [t for t in answer.totals if glance.rule_filter in ("", *t.rule_ids)]
    return Totals(
        decisions=sum(t.breaches for t in rows),
        locks=sum(t.locks for t in rows),
        pauses=sum(t.pauses for t in rows),
        shadowed=sum(t.shadowed for t in rows),
        reductions=sum(t.closes for t in rows),
        cancels=sum(t.cancels for t in rows),
        stops=sum(t.stops for t in rows),
        failed=sum(t.failed for t in rows),
        unsure=sum(t.uncertain for t in rows),
        slowest_ms=max((t.slowest_ms for t in rows if t.slowest_ms is not None), default=None),
    )


def day_began(next_reset: datetime | None, now: datetime | None) -> datetime | None:
    """The last time of day at which the trading day may have turned.

    A trading day over a weekend is longer than 24 hours; nothing trades in what is left out.
    """
    if next_reset is None or now is None:
        return None
    days = max((next_reset - now) // DAY + 1, 1)
    return next_reset - days * DAY
