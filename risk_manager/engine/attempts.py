"""Decides whether a call in flight still has something to close.

A close is followed up until the account has been read back. A position that the trader opens after
the closed one has ended does not wait for that: it is closed by a call of its own.
"""

from datetime import datetime

from risk_manager.domain.account import Account, Attempt
from risk_manager.domain.decisions import (
    Action,
    CancelOrder,
    ClosePosition,
    MoveStop,
    Outcome,
    PlaceExit,
    ReducePosition,
)
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.records import LIST_LAG, OrderType
from risk_manager.engine.unproven_cancels import is_marked


def with_end_shown(account: Account, contract_id: str, at: datetime, *, by_stream: bool) -> Account:
    """Mark the call in flight on this position (`shown_at`) if it has nothing left to close.

    That a position has been reduced far enough counts only when the stream says so. A list may
    date from before the position grew.
    """
    if not account.attempts:
        return account
    key = f"position:{contract_id}"
    attempt = account.attempts.get(key)
    if attempt is None or attempt.shown_at is not None:
        return account
    position, action = account.positions.get(contract_id), attempt.action
    if not isinstance(action, ClosePosition | ReducePosition):
        return account
    if position is not None and position.episode == action.episode:
        keep = action.keep if isinstance(action, ReducePosition) else 0
        if not by_stream or position.size > keep:
            return account
    attempts = {**account.attempts, key: fast_replace(attempt, shown_at=at)}
    return fast_replace(account, attempts=attempts)


def is_new_matter(account: Account, before: Attempt, action: Action) -> bool:
    """Whether this action concerns a later position than `before`, the action on the same key.

    False while the position held may be a late message about the ended one. False as well while
    it is in doubt what `before` still has to close: until its fill is known, this holds for a
    reduction, and for a call sent when its position had perhaps ended already.
    """
    done = before.action
    if (
        before.shown_at is None
        or not isinstance(done, ClosePosition | ReducePosition)
        or not isinstance(action, ClosePosition | ReducePosition)
    ):
        return False
    if (before.is_behind or action.episode == done.episode) and not _has_filled(account, before):
        return False
    if action.episode == done.episode:
        return isinstance(done, ReducePosition)
    held, over = account.positions.get(action.contract_id), account.ended.get(action.contract_id)
    if held is None or over is None or held.created_at is None or over.created_at is None:
        return True
    if held.created_at > over.created_at:
        return True
    # By its age this is the ended position. A gateway that keeps the id through a reversal shows
    # it on the other side; only one such reversal is believed.
    if held.side != over.side and not done.follows:
        return True
    return _entered_since(account, before, held.side)


def _is_turned(account: Account, before: Attempt) -> bool:
    """Whether the call's position became the one held now with no flat report in between."""
    held = account.positions.get(before.action.contract_id)
    return held is not None and before.shown_at == held.opened_at


def is_behind(account: Account, contract_id: str) -> bool:
    """Whether a closing fill is newer than the last statement of the position."""
    stated = (account.heard.get(contract_id), account.reported_as_of)
    known_as_of = max((at for at in stated if at is not None), default=None)
    return any(
        e.contract_id == contract_id
        and e.pnl is not None
        and (known_as_of is None or e.received_at > known_as_of)
        for e in account.ledger.standing()
    )


def stands(account: Account, action: Action) -> bool:
    """Whether the position or order that an action concerns still exists."""
    position = account.positions.get(action.contract_id)
    match action:
        case ClosePosition():
            return position is not None and position.episode == action.episode
        case ReducePosition():
            return (
                position is not None
                and position.episode == action.episode
                and position.size > action.keep
            )
        case PlaceExit():
            return position is not None and position.episode == action.episode
        case MoveStop():
            on_side = position is not None and position.side == action.side
            return on_side and action.order_id in account.orders
        case CancelOrder():
            return action.order_id in account.orders or is_marked(account, action)
    return True


def is_not_carried_out(account: Account, attempt: Attempt) -> bool:
    """Whether an accepted close has had no effect by a list that is late enough to show one.

    A market order that still works may be the close itself; a second close could then reverse the
    position.
    """
    action, listed_as_of = attempt.action, account.reported_as_of
    return (
        isinstance(action, ClosePosition)
        and attempt.outcome is Outcome.DONE
        and listed_as_of is not None
        and listed_as_of >= attempt.asked_at + LIST_LAG
        and stands(account, action)
        and not any(
            order.type is OrderType.MARKET for order in account.orders_in(action.contract_id)
        )
    )


def without_unsent(account: Account, action: Action) -> Account:
    """Return the account without an action that was never sent; the one it followed returns."""
    attempt = account.attempts.get(action.key)
    if attempt is None or attempt.action.id != action.id:
        return account
    attempts = {k: a for k, a in account.attempts.items() if k != action.key}
    earlier = attempts.pop(f"{action.key}#{action.follows}", None)
    if earlier is not None:
        attempts[action.key] = earlier
    return fast_replace(account, attempts=attempts)


def following(account: Account, attempts: dict[str, Attempt], action: Action) -> Action:
    """Return the action, marked as following the attempt in flight on its key, if there is one.

    That attempt is moved to a key of its own in `attempts`.
    """
    known = attempts.get(action.key)
    if known is None or not known.in_flight:
        return action
    attempts[f"{action.key}#{known.action.id}"] = known
    return fast_replace(action, follows=known.action.id, wary=_is_turned(account, known))


def _has_filled(account: Account, attempt: Attempt) -> bool:
    return any(
        e.contract_id == attempt.action.contract_id
        and e.pnl is not None
        and e.received_at > attempt.asked_at
        for e in account.ledger.standing()
    )


def _entered_since(account: Account, attempt: Attempt, side: int) -> bool:
    """Whether the newest execution received since the call opened or added on this side."""
    lately = [
        e
        for e in account.ledger.standing()
        if e.contract_id == attempt.action.contract_id and e.received_at > attempt.asked_at
    ]
    newest = max(lately, key=lambda e: (e.executed_at, e.id), default=None)
    return newest is not None and newest.pnl is None and newest.side.sign == side
