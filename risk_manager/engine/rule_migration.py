"""What an account keeps when its rules change.

Each limit that stays in force until the reset keeps its memory. Each lock passes to a rule that can
end it.
"""

from collections.abc import Mapping, Set
from datetime import datetime

from risk_manager.domain.account import Account, Breach, Mark, MarkKey
from risk_manager.domain.decisions import Fact, LockCleared, LockSet
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.locks import ENDED_BY_ITS_RULE, Lock, LockKey, Release
from risk_manager.domain.rulebook import is_older, origin_id


def handed_on(account: Account, rule_ids: Set[str], now: datetime, facts: list[Fact]) -> Account:
    """Hand marks, breaches and locks of each rule to the versions of it that are in force now.

    A limit loosened today goes on as "id (until the reset)". Without its memory that version would
    allow what it had already counted.
    """
    marks = _remembered(account.marks, rule_ids)
    breaches = _remembered(account.breaches, rule_ids)
    if marks is not account.marks or breaches is not account.breaches:
        account = fast_replace(account, marks=marks, breaches=breaches)
    locks: dict[LockKey, Lock] = {}
    for lock in account.locks.values():
        for rule_id in _holders(lock, rule_ids):
            held = lock if rule_id == lock.rule_id else fast_replace(lock, rule_id=rule_id)
            known = locks.get(held.key)
            locks[held.key] = held if known is None else known.prolonged_by(held)
    if locks == account.locks:
        return account
    facts += [LockSet(at=now, lock=x) for k, x in locks.items() if account.locks.get(k) != x]
    facts += [_cleared(x, now) for k, x in account.locks.items() if k not in locks]
    return fast_replace(account, locks=locks)


def without_orphans(
    account: Account, rule_ids: Set[str], now: datetime, facts: list[Fact]
) -> Account:
    """Clear the locks that only a rule could end, where that rule no longer exists.

    A lock for the platform's refusal stays until the platform lets the account trade again. A
    session lock stays until the session would have begun.
    """
    gone = {
        key: lock
        for key, lock in account.locks.items()
        if lock.rule_id not in rule_ids
        and (
            lock.release is Release.CONFIG
            or (lock.release is Release.CAN_TRADE and account.can_trade is True)
        )
    }
    if not gone:
        return account
    facts += [_cleared(lock, now) for lock in gone.values()]
    return fast_replace(account, locks={k: v for k, v in account.locks.items() if k not in gone})


def _cleared(lock: Lock, now: datetime) -> LockCleared:
    return LockCleared(at=now, lock=lock, cleared_by="config")


def _remembered[T: (Mark, Breach)](
    memory: Mapping[MarkKey, T], rule_ids: Set[str]
) -> Mapping[MarkKey, T]:
    """Copy the memory of its origin rule to each older version; drop that of ended versions."""
    kept = {
        key: value for key, value in memory.items() if not is_older(key[0]) or key[0] in rule_ids
    }
    knowing = {rule_id for rule_id, _ in kept}
    for rule_id in sorted(rule_ids - knowing):
        origin = origin_id(rule_id)
        if origin != rule_id:
            kept |= {
                (rule_id, subject): fast_replace(value, rule_id=rule_id)
                for (owner, subject), value in memory.items()
                if owner == origin
            }
    return memory if kept.keys() == memory.keys() else kept


def _holders(lock: Lock, rule_ids: Set[str]) -> list[str]:
    """Return the ids of the rules to hold the lock now; its old rule where there is none."""
    if is_older(lock.rule_id) and lock.rule_id in rule_ids:
        return [lock.rule_id]
    origin = origin_id(lock.rule_id)
    if lock.release in ENDED_BY_ITS_RULE or origin not in rule_ids:
        # The newer version could end the lock today, so each older version holds it too.
        older = sorted(i for i in rule_ids if is_older(i) and origin_id(i) == origin)
        chosen = [origin, *older]
    else:
        chosen = [origin]
    return [c for c in chosen if c in rule_ids] or [lock.rule_id]
