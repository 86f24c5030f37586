"""Whether an answer by REST may be older than the stream, and what a later list has to decide.

Statements are ordered by when they were true. Where two statements contradict each other and
neither is known to be newer, a dispute is kept.
"""

from datetime import datetime

from risk_manager.domain.account import Account, Dispute
from risk_manager.domain.decisions import (
    Action,
    CancelOrder,
    ClosePosition,
    MoveStop,
    ReducePosition,
)
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.records import LIST_LAG


def is_told_freshly(account: Account, key: str, asked_at: datetime) -> bool:
    """Whether a REST reply asked for at `asked_at` may lag behind the stream's newest message.

    `key` names an order ("order:7"), a contract, or "account".
    """
    heard = account.heard.get(key)
    return heard is not None and asked_at < heard + LIST_LAG


def opened_freshly(account: Account, contract_id: str, asked_at: datetime) -> bool:
    """Whether a REST reply asked for at `asked_at` may not know this position yet.

    True where the stream reported the opening within `LIST_LAG` before. A late message about an
    ended position does not count as an opening.
    """
    held, heard = account.positions.get(contract_id), account.heard.get(contract_id)
    return (
        held is not None
        and heard is not None
        and heard >= held.opened_at
        and asked_at < held.opened_at + LIST_LAG
        and not account.is_back(contract_id)
    )


def is_for_news(account: Account, action: Action, now: datetime) -> bool:
    """Whether REST may not know the action's order or position yet, as the stream has only just
    reported it."""
    if isinstance(action, CancelOrder | MoveStop):
        return action.order_id in account.orders and is_told_freshly(account, action.key, now)
    if not isinstance(action, ClosePosition | ReducePosition):
        return False
    held = account.positions.get(action.contract_id)
    if held is None or held.episode != action.episode:
        return False
    if isinstance(action, ReducePosition):
        return is_told_freshly(account, action.contract_id, now)
    return opened_freshly(account, action.contract_id, now)


def with_dispute(account: Account, key: str, dispute: Dispute) -> Account:
    """Record that two statements about an order, a contract or the account differ."""
    if account.disputes.get(key) == dispute:
        return account
    return fast_replace(account, disputes={**account.disputes, key: dispute})


def with_disputed_order(
    account: Account, order_id: int, contract_id: str, decided_from: datetime
) -> Account:
    """Record a dispute about an order; a list asked for at `decided_from` or later decides it."""
    return with_dispute(account, f"order:{order_id}", Dispute(contract_id, decided_from))


def without_disputes(account: Account, asked_at: datetime) -> Account:
    """Return the account without the disputes that a list asked for at `asked_at` has decided."""
    left = {
        k: d for k, d in account.disputes.items() if k == "account" or d.decided_from > asked_at
    }
    return account if len(left) == len(account.disputes) else fast_replace(account, disputes=left)


def is_older(stated: datetime | None, known: datetime | None) -> bool:
    """Whether a statement is dated before another. False where a date is unknown."""
    return stated is not None and known is not None and stated < known
