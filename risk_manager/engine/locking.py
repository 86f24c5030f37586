"""Putting locks in force, prolonging and clearing them; ceilings under them; starting closings."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from itertools import count

from risk_manager.domain.account import Account, Closing
from risk_manager.domain.decisions import Alarm, Fact, LockCleared, LockSet
from risk_manager.domain.events import AdminAsked
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.locks import MANUAL_ID, Lock, LockKind, LockPolicy, Release
from risk_manager.domain.state import State

ROUNDED_TO = timedelta(seconds=10)


def put_lock(state: State, account: Account, lock: Lock, facts: list[Fact]) -> Account:
    """Put this lock in force. A lock of the same rule and scope is prolonged, never shortened."""
    lock = _by_the_later_clock(state, lock)
    known = account.locks.get(lock.key)
    kept = lock if known is None else known.prolonged_by(lock)
    if kept is known:
        return account
    if kept.policy is LockPolicy.NO_ENTRIES and known is None:
        account = _raise_ceilings(state, account, kept)
    facts.append(LockSet(at=state.now, lock=kept))
    return fast_replace(account, locks={**account.locks, lock.key: kept})


def _by_the_later_clock(state: State, lock: Lock) -> Lock:
    """Count a lock's duration from the later of our clock and the gateway's.

    If ours is behind and is corrected, the jump must not end the lock early. The lead is rounded,
    as the gateway's header has whole seconds.
    """
    if not state.lead or lock.release is not Release.TIME or lock.expires_at is None:
        return lock
    steps = -(-state.lead // ROUNDED_TO)
    return fast_replace(lock, expires_at=lock.expires_at + steps * ROUNDED_TO)


def _raise_ceilings(state: State, account: Account, lock: Lock) -> Account:
    ceilings = dict(account.ceilings)
    for contract_id, position in account.positions.items():
        root = state.root(contract_id)
        if not lock.covers(root, contract_id):
            continue
        # Under another lock the lower ceiling stays: a position opened in spite of that lock does
        # not become allowed because a second rule locks as well.
        if not any(other.covers(root, contract_id) for other in account.locks.values()):
            ceilings[contract_id] = position.net
    return fast_replace(account, ceilings=ceilings)


def lower_ceilings(account: Account) -> Account:
    if not account.ceilings:
        return account
    lowered = {}
    for contract_id, ceiling in account.ceilings.items():
        net = account.net(contract_id)
        if net * ceiling <= 0:
            lowered[contract_id] = 0
        else:
            lowered[contract_id] = net if abs(net) < abs(ceiling) else ceiling
    return account if lowered == account.ceilings else fast_replace(account, ceilings=lowered)


def close_down(
    account: Account, contract_ids: Iterable[str], now: datetime, rule_id: str, reason: str
) -> Account:
    """Start a closing for each of these contracts: driven to flat, its orders cancelled."""
    closings = dict(account.closings)
    for contract_id in contract_ids:
        position = account.positions.get(contract_id)
        episode = position.episode if position else 0
        known = closings.get(contract_id)
        orders = frozenset(o.id for o in account.orders_in(contract_id))
        if known is not None and known.episode == episode:
            rules = known.rule_ids if rule_id in known.rule_ids else (*known.rule_ids, rule_id)
            orders |= known.order_ids
            if rules == known.rule_ids and orders == known.order_ids:
                continue
            closings[contract_id] = fast_replace(known, rule_ids=rules, order_ids=orders)
        elif position is not None or orders:
            closings[contract_id] = Closing(
                contract_id=contract_id,
                episode=episode,
                since=now,
                rule_ids=(rule_id,),
                reason=reason,
                order_ids=orders,
            )
    return account if closings == account.closings else fast_replace(account, closings=closings)


# --- by an administrator ---


def manual_id(account: Account, event: AdminAsked) -> str:
    """Return the id for a lock set by hand: a new one, unless the lock repeats an existing one.

    Under one id different locks would be merged, and the laxer or shorter would lose its terms.
    """
    taken = set()
    for lock in account.locks.values():
        if lock.scope != event.scope:
            continue
        if lock.kind is LockKind.MANUAL and (lock.policy, lock.reason) == (
            LockPolicy(event.policy),
            event.reason,
        ):
            return lock.rule_id
        taken.add(lock.rule_id)
    names = (MANUAL_ID if n == 1 else f"{MANUAL_ID}-{n}" for n in count(1))
    return next(name for name in names if name not in taken)


def may_be_cleared(account: Account, lock: Lock, today: date) -> bool:
    """Whether an administrator may end this lock on this trading date."""
    if lock.release is Release.MANUAL:
        return lock.admin_may_clear or lock.trading_date < today
    if lock.release is Release.CAN_TRADE:
        return lock.admin_may_clear and account.can_trade is True
    return lock.admin_may_clear and lock.release is not Release.CONFIG


def unlocked_by_admin(
    state: State, account: Account, event: AdminAsked, facts: list[Fact]
) -> Account:
    locks = dict(account.locks)
    for key, lock in account.locks.items():
        if lock.scope != event.scope or event.rule_id not in (None, lock.rule_id):
            continue
        if not may_be_cleared(account, lock, state.day.date):
            facts.append(
                Alarm(
                    at=state.now,
                    account_id=account.id,
                    code="unlock_refused",
                    message=f"the lock of {lock.rule_id} cannot be cleared by hand: {lock.reason}",
                )
            )
            continue
        del locks[key]
        facts.append(LockCleared(at=state.now, lock=lock, cleared_by="admin_override"))
    return account if len(locks) == len(account.locks) else fast_replace(account, locks=locks)
