"""The result of a call to the broker: its effect on the account, and when to try again."""

from datetime import datetime, timedelta

from risk_manager.domain import fill_attribution
from risk_manager.domain.account import Account, Attempt
from risk_manager.domain.decisions import (
    Alarm,
    CancelOrder,
    ClosePosition,
    Fact,
    MoveStop,
    Outcome,
    PlaceExit,
    ReducePosition,
    Severity,
)
from risk_manager.domain.events import ActionSettled
from risk_manager.domain.exchange_hours import CHICAGO, opens_next
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.holdings import Position
from risk_manager.domain.records import PositionRecord, PositionType
from risk_manager.domain.state import State
from risk_manager.domain.symbols import Contract
from risk_manager.engine import unproven_cancels
from risk_manager.engine.disputes import is_for_news
from risk_manager.engine.locking import lower_ceilings
from risk_manager.engine.stated_orders import without_order
from risk_manager.engine.stated_positions import with_position

# The pause before a call is repeated: counted from the answer, or, where the outcome is unknown,
# from the sending. While the exchange is known to be shut the pauses are longer.
REFUSED_PAUSES = tuple(timedelta(seconds=s) for s in (1, 2, 5, 5, 5, 5, 5, 5, 10))
SHUT_PAUSES = tuple(timedelta(seconds=s) for s in (1, 2, 5, 10, 30, 60))
# The first pauses are zero, as the enforcer itself waits a moment before it answers.
NOT_KNOWN_YET_PAUSES = tuple(timedelta(seconds=s) for s in (*[0] * 9, 1, 2, 5))
UNKNOWN_PAUSES = tuple(timedelta(seconds=s) for s in (0, 0, 0, 1, 2, 5))
# An exit that was placed appears in the list of orders within this time, or has ended again.
PLACED_PAUSE = timedelta(seconds=1)


def settled(state: State, account: Account, event: ActionSettled, facts: list[Fact]) -> Account:
    key, attempt = next(
        ((k, a) for k, a in account.attempts.items() if a.action.id == event.action_id), ("", None)
    )
    if attempt is None:
        return account
    if key != attempt.action.key:  # a later action on the key has taken over
        ended = fast_replace(attempt, settled_at=event.at, outcome=event.outcome)
        account = fast_replace(account, attempts={**account.attempts, key: ended})
        return fill_attribution.with_answer(account, ended, event)
    account = _ended_by(state, account, attempt, event)
    refused = 0
    if event.outcome is Outcome.REFUSED:
        refused = attempt.refused + 1 if event.error_code == attempt.refused_code else 1
    attempt = fast_replace(attempt, refused=refused, refused_code=event.error_code)
    not_before = event.at + _pause(state, account, event, attempt)
    opens_at = _opens_at(state, attempt, event.at) if refused else None
    if opens_at is not None:
        pause = SHUT_PAUSES[min(refused, len(SHUT_PAUSES)) - 1]
        not_before = min(event.at + pause, opens_at)
        if attempt.tries == 1:
            facts.append(_market_shut(state, account, attempt, event, opens_at))
    account = unproven_cancels.answered(account, attempt, event)
    not_before = unproven_cancels.due_at(account, attempt.action) or not_before
    ended = fast_replace(attempt, settled_at=event.at, outcome=event.outcome, not_before=not_before)
    if event.outcome not in (Outcome.DONE, Outcome.GONE) and opens_at is None:
        limit = state.rulebook.defaults.max_attempts
        if attempt.tries == limit or (attempt.tries > limit and attempt.tries % 10 == 0):
            facts.append(
                Alarm(
                    at=event.at,
                    account_id=account.id,
                    code="cannot_enforce",
                    message=(
                        f"{attempt.tries} attempts on {state.name(attempt.action.contract_id)} "
                        f"have failed ({event.message or event.outcome}); still trying. "
                        "Close it by hand in the trading platform."
                    ),
                    severity=Severity.CRITICAL,
                )
            )
    account = fast_replace(account, attempts={**account.attempts, key: ended})
    return fill_attribution.with_answer(account, ended, event)


def _ended_by(state: State, account: Account, attempt: Attempt, event: ActionSettled) -> Account:
    """Return the account without the position or order that a call ended or the gateway does not
    know.

    The gateway may answer "unknown" for an order that the stream has only just reported. That
    order is kept, and the call is repeated.
    """
    action = attempt.action
    if event.outcome is Outcome.GONE and isinstance(action, CancelOrder | MoveStop):
        if is_for_news(account, action, event.at):
            return account
        return without_order(account, action.order_id, event.at)
    if event.outcome is not Outcome.DONE or not event.verified:
        return account
    if isinstance(action, CancelOrder) and _is_left_out(account, action.key, attempt.asked_at):
        return without_order(account, action.order_id, event.at)
    if isinstance(action, ClosePosition | ReducePosition):
        held = account.positions.get(action.contract_id)
        keep = action.keep if isinstance(action, ReducePosition) else 0
        if (
            held is not None
            and held.episode == action.episode
            and held.size > keep
            and _stream_alone(account, action.contract_id, attempt.asked_at)
        ):
            contract = state.contracts.get(action.contract_id)
            return _with_size(account, held, keep, event.at, contract)
    return account


def _with_size(
    account: Account, held: Position, size: int, at: datetime, contract: Contract | None
) -> Account:
    """Return the account after our call has brought a disputed position to this size.

    The dispute stays: the list that agrees with the call may be older than the position.
    """
    record = PositionRecord(
        id=held.gateway_id,
        account_id=account.id,
        contract_id=held.contract_id,
        type=PositionType.LONG if held.net > 0 else PositionType.SHORT,
        size=size,
        average_price=held.average_price if held.average_stated else None,
    )
    return lower_ceilings(with_position(account, record, at, contract))


def _is_left_out(account: Account, key: str, asked_at: datetime) -> bool:
    dispute = account.disputes.get(key)
    return dispute is not None and dispute.left_out and _stream_alone(account, key, asked_at)


def _stream_alone(account: Account, key: str, asked_at: datetime) -> bool:
    """Whether a list differs from the stream about an order or position, and the stream's message
    is older than the action. If the call was accepted, the difference is the call's effect."""
    dispute, heard = account.disputes.get(key), account.heard.get(key)
    return dispute is not None and heard is not None and heard <= asked_at


def _opens_at(state: State, attempt: Attempt, at: datetime) -> datetime | None:
    """Return when the exchange opens next for the attempt's contract; None while it is open."""
    calendar = state.rulebook.calendar
    return opens_next(calendar, state.root(attempt.action.contract_id), at)


def _market_shut(
    state: State, account: Account, attempt: Attempt, event: ActionSettled, opens_at: datetime
) -> Alarm:
    name = state.name(attempt.action.contract_id)
    return Alarm(
        at=event.at,
        account_id=account.id,
        code="market_shut",
        message=(
            f"{name} cannot be closed or cancelled while the exchange is shut "
            f"({event.message or event.outcome}). It is decided on: tried again each minute, and "
            f"at the opening, {opens_at.astimezone(CHICAGO):%a %H:%M} in Chicago. Or do it by "
            "hand in the trading platform as soon as it opens."
        ),
        severity=Severity.CRITICAL,
    )


def _pause(state: State, account: Account, event: ActionSettled, attempt: Attempt) -> timedelta:
    # The time a try took counts towards the pause.
    took = max(event.at - attempt.asked_at, timedelta(0))
    apart = UNKNOWN_PAUSES[min(attempt.tries, len(UNKNOWN_PAUSES)) - 1]
    growing = max(apart - took, timedelta(0))
    placed = PLACED_PAUSE if isinstance(attempt.action, PlaceExit) else timedelta(0)
    match event.outcome:
        case Outcome.REFUSED:
            return REFUSED_PAUSES[min(attempt.refused, len(REFUSED_PAUSES)) - 1]
        case Outcome.GONE if is_for_news(account, attempt.action, event.at):
            return NOT_KNOWN_YET_PAUSES[min(attempt.tries, len(NOT_KNOWN_YET_PAUSES)) - 1]
        case Outcome.UNSENT:
            return growing
        case Outcome.UNKNOWN if event.verified or isinstance(attempt.action, CancelOrder):
            return max(growing, placed)
        case Outcome.UNKNOWN if isinstance(attempt.action, ClosePosition):
            # The account could not be read back. After `reissue_after` a close that was executed
            # would show in the stream, and a second close of a flat position closes nothing.
            return max(state.rulebook.defaults.reissue_after - took, growing)
        case Outcome.DONE if not event.verified and _has_shown(account, attempt):
            return growing
        case _ if not event.verified:
            return state.rulebook.defaults.reissue_after
    return placed


def _has_shown(account: Account, attempt: Attempt) -> bool:
    """Whether the stream has reported a fill of the close and then the position after it.

    Any excess over the allowed size is then new.
    """
    if not isinstance(attempt.action, ClosePosition | ReducePosition):
        return False
    contract_id = attempt.action.contract_id
    heard = account.heard.get(contract_id)
    return heard is not None and any(
        e.contract_id == contract_id
        and e.pnl is not None
        and attempt.asked_at < e.received_at <= heard
        for e in account.ledger.standing()
    )
