"""Which calls under way have nothing left to do, so that what is held now is a new matter.

A close is in flight for the position it was sent for. It is looked after until the broker has been
read back; but what the trader opens after its position has ended does not wait for that.
"""

from datetime import datetime

from risk_manager.domain.account import Account, Attempt
from risk_manager.domain.decisions import (
    Action,
    CancelOrder,
    ClosePosition,
    MoveStop,
    PlaceExit,
    ReducePosition,
)
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.engine.unproven_cancels import is_marked


def with_end_shown(account: Account, contract_id: str, at: datetime, *, by_stream: bool) -> Account:
    """The account after a word on this position: whether it leaves a call nothing to close.

    That a position has been cut back counts only from the stream. A list may be of before it grew.
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
    """Whether this action is about something later than the one before it on the same key.

    Not where what is held may be a late word of what has ended, and not without the fill of a call
    that was to leave a part, or that went out for a position which perhaps had ended already: what
    it has still to close is in doubt then.
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
    # By its age it is what has ended. A gateway that lets a position live on turns it round once.
    if held.side != over.side and not done.follows:
        return True
    return _entered_since(account, before, held.side)


def _is_turned(account: Account, before: Attempt) -> bool:
    """Whether the position of that call became the one held now without a word of flat between."""
    held = account.positions.get(before.action.contract_id)
    return held is not None and before.shown_at == held.opened_at


def is_behind(account: Account, contract_id: str) -> bool:
    """Whether something was closed that the position, as it is known, need not show yet."""
    stated = (account.heard.get(contract_id), account.reported_as_of)
    known_as_of = max((at for at in stated if at is not None), default=None)
    return any(
        e.contract_id == contract_id
        and e.pnl is not None
        and (known_as_of is None or e.received_at > known_as_of)
        for e in account.ledger.standing()
    )


def stands(account: Account, action: Action) -> bool:
    """Whether there still is what an action is about: its position, or its order."""
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


def without_unsent(account: Account, action: Action) -> Account:
    """The account after an action was not sent: nothing is under way but what it followed."""
    attempt = account.attempts.get(action.key)
    if attempt is None or attempt.action.id != action.id:
        return account
    attempts = {k: a for k, a in account.attempts.items() if k != action.key}
    earlier = attempts.pop(f"{action.key}#{action.follows}", None)
    if earlier is not None:
        attempts[action.key] = earlier
    return fast_replace(account, attempts=attempts)


def following(account: Account, attempts: dict[str, Attempt], action: Action) -> Action:
    """The action, as one that follows what is under way on its key; that is kept beside it."""
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
    """Whether the newest execution since the call opened something on this side."""
    lately = [
        e
        for e in account.ledger.standing()
        if e.contract_id == attempt.action.contract_id and e.received_at > attempt.asked_at
    ]
    newest = max(lately, key=lambda e: (e.executed_at, e.id), default=None)
    return newest is not None and newest.pnl is None and newest.side.sign == side
