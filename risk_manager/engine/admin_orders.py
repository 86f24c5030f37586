"""What an administrator asks of an account: locks, unlocking, closing and cancelling."""

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Fact
from risk_manager.domain.events import AdminAsked
from risk_manager.domain.locks import MANUAL_ID, Lock, LockKind, LockPolicy, Release
from risk_manager.domain.scope import in_scope
from risk_manager.domain.state import State
from risk_manager.engine import cancel_all
from risk_manager.engine.locking import close_down, manual_id, put_lock, unlocked_by_admin


def obeyed(state: State, account: Account, event: AdminAsked, facts: list[Fact]) -> Account:
    """Return the account with what was asked put into it. The actions follow from the account."""
    now = state.now
    match event.verb:
        case "lock":
            lock = Lock(
                account_id=account.id,
                scope=event.scope,
                rule_id=manual_id(account, event),
                kind=LockKind.MANUAL,
                policy=LockPolicy(event.policy),
                release=Release.MANUAL if event.until is None else Release.TIME,
                reason=event.reason,
                set_at=now,
                expires_at=event.until,
                trading_date=state.day.date,
                trigger=event.actor,
            )
            return put_lock(state, account, lock, facts)
        case "lock_day":
            lock = Lock(
                account_id=account.id,
                scope=event.scope,
                rule_id=event.rule_id or MANUAL_ID,
                kind=LockKind.HARD,
                policy=LockPolicy(event.policy),
                release=Release.RESET,
                reason=event.reason,
                set_at=now,
                expires_at=state.day.ends_at,
                trading_date=state.day.date,
                trigger=event.actor,
                admin_may_clear=False,
            )
            return put_lock(state, account, lock, facts)
        case "unlock":
            return unlocked_by_admin(state, account, event, facts)
        case "flatten":
            chosen = [c for c in account.contract_ids() if in_scope(event.scope, state.root(c), c)]
            return close_down(account, chosen, now, MANUAL_ID, event.reason)
        case "cancel_all":
            return cancel_all.with_called_off(account, event, state.root)
