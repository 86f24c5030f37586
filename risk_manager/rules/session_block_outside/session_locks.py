"""The locks from the end of a session to the beginning of the next."""

from collections.abc import Iterator

from risk_manager.domain.decisions import LockOut, Severity, Unlock, Verdict
from risk_manager.domain.lockout import new_lock
from risk_manager.domain.locks import Lock, LockKind, LockPolicy, Release
from risk_manager.domain.scope import ACCOUNT_SCOPE, scope_name, scoped_contract
from risk_manager.domain.session_hours import Standing
from risk_manager.domain.view import View
from risk_manager.rules.session_block_outside.hours import Place
from risk_manager.rules.session_block_outside.sessions import Sessions


def lock_verdicts(rule: Sessions, view: View, place: Place, where: Standing) -> Iterator[Verdict]:
    """Lock a place that is shut, unless it is locked already or the rule locks nothing."""
    if rule.lockout == "none":
        return
    scope, reason = place.scope, rule.why_shut(view, place)
    if where.opens_at is not None:
        reason += f", until {rule.local_time(view, place, where.opens_at)}"
    ask = new_lock(
        view,
        rule.id,
        reason,
        until=Release.SESSION_START,
        expires_at=where.opens_at,
        policy=LockPolicy.FLAT if rule.at_end == "close_and_cancel" else LockPolicy.NO_ENTRIES,
        kind=LockKind.SESSION,
        scope=scope,
        trigger="" if where.ended_at is None else where.ended_at.isoformat(),
    )
    yield Verdict(
        reason=reason,
        subject=f"{scope}:{ask.lock.trigger or 'shut'}",
        asks=() if _stands(view.lock(rule.id, scope), ask) else (ask,),
        severity=Severity.INFO,
    )


def has_session_lock(rule: Sessions, view: View) -> bool:
    """Whether a lock of this rule is in force that the beginning of a session ends."""
    for lock in view.account.locks.values():
        if lock.rule_id == rule.id and lock.release is Release.SESSION_START:
            return True
    return False


def release_verdicts(rule: Sessions, view: View, *, account_shut: bool) -> Iterator[Verdict]:
    """End the locks of this rule whose session has begun or whose scope no longer exists."""
    for lock in view.account.locks.values():
        if lock.rule_id != rule.id or lock.release is not Release.SESSION_START:
            continue
        if lock.scope == ACCOUNT_SCOPE:
            is_over = not account_shut
        else:
            place = _locked_place(rule, view, lock.scope)
            is_over = place is None or rule.standing(view, *place).current is not None
        if is_over or rule.lockout == "none":
            yield Verdict(
                reason="the session is open",
                subject=f"open:{lock.scope}",
                asks=(Unlock(lock.scope, "session_start"),),
                silent=True,
            )


def _locked_place(rule: Sessions, view: View, scope: str) -> Place | None:
    """Return the place of a lock; None where the hours no longer have that scope."""
    contract_id = scoped_contract(scope)
    if contract_id is not None:
        place = rule.place(view, contract_id)
        return place if place.scope == scope else None
    root = scope_name(scope)
    return None if rule.symbols.tells_apart(root, view.root) else Place(root)


def _stands(known: Lock | None, ask: LockOut) -> bool:
    return (
        known is not None
        and known.expires_at == ask.lock.expires_at
        and known.policy is ask.lock.policy
    )
