"""Whether an exit order may be added or made smaller now. A surplus exit could open a position."""

from datetime import timedelta

from risk_manager.domain.account import Account, Attempt
from risk_manager.domain.decisions import Action, MoveStop, Outcome, PlaceExit
from risk_manager.domain.events import Hub, HubState
from risk_manager.domain.records import LIST_LAG, OrderStatus
from risk_manager.domain.state import State

# If no list has come for this long, the stream's word alone suffices that an exit is over.
BORNE_OUT_WITHIN = timedelta(seconds=3)
# While the stream is down, an exit is placed only for a position stated within this time.
SEEN_WITHIN = timedelta(seconds=3)


def adds_exits(account: Account, action: Action) -> bool:
    """Whether the action would raise the number of lots in exit orders."""
    if isinstance(action, PlaceExit):
        return True
    if not isinstance(action, MoveStop):
        return False
    order = account.orders.get(action.order_id)
    return order is not None and action.size > order.remaining


def may_have_woken(account: Account, action: Action) -> bool:
    """Whether a suspended exit like the one to be placed may have become active.

    Bracket exits are suspended until their entry fills. True where no list asked for since the
    position grew has settled the question.
    """
    contract_id = action.contract_id
    position, listed_as_of = account.positions[contract_id], account.reported_as_of
    if listed_as_of is not None and listed_as_of >= position.increased_at + LIST_LAG:
        return False
    is_stop = not isinstance(action, PlaceExit) or action.stop_price is not None
    return any(
        order.status is OrderStatus.SUSPENDED
        and order.is_stop is is_stop
        and order.side.sign != position.side
        for order in account.orders_in(contract_id)
    )


def may_have_enlarged(account: Account, attempt: Attempt) -> bool:
    """Whether this call may have made an exit order larger than it is known to be.

    True until the answer says that it was not carried out, or a list asked for `LIST_LAG` after the
    answer shows the order.
    """
    move = attempt.action
    order = account.orders.get(move.order_id) if isinstance(move, MoveStop) else None
    if order is None or not isinstance(move, MoveStop) or move.size <= order.remaining:
        return False
    if attempt.in_flight or attempt.settled_at is None:
        return True
    if attempt.outcome not in (Outcome.DONE, Outcome.UNKNOWN):
        return False
    listed_as_of = account.reported_as_of
    return listed_as_of is None or listed_as_of < attempt.settled_at + LIST_LAG


def leaves_less(account: Account, move: MoveStop, cancelled: set[int]) -> bool:
    """Whether a stop would be made smaller while another stop of the position is being cancelled.

    Together the two would cover less than the position. A cancel that has failed does not count.
    """
    stop = account.orders[move.order_id]
    if move.size >= stop.remaining:
        return False
    for other in account.orders_in(move.contract_id):
        if other.id in cancelled and other.is_stop and other.side is stop.side:
            attempt = account.attempts.get(f"order:{other.id}")
            if attempt is None or attempt.in_flight:
                return True
    return False


def is_known_as_of_now(state: State, account: Account, contract_id: str) -> bool:
    """Whether position and exits are known well enough to place an exit order.

    A new exit for a closed position would open another one. So would a new exit beside one that
    still works. Required: nothing in the contract is disputed. The position was stated after the
    last end of an order that may have closed it. While the stream is down, it was stated within
    `SEEN_WITHIN`. If it seems to be an ended position, a list stated it. A list has also confirmed
    the end of that order, unless none has come for `BORNE_OUT_WITHIN`.
    """
    listed_as_of = account.reported_as_of
    if account.disputed(contract_id) is not None:
        return False
    if account.is_back(contract_id) and (
        listed_as_of is None or listed_as_of < account.positions[contract_id].opened_at
    ):
        return False
    stated = account.heard.get(contract_id), listed_as_of
    known_as_of = max((at for at in stated if at is not None), default=None)
    if known_as_of is None:
        return False
    stream = state.hubs.get(Hub.USER)
    blind = stream is not None and stream.state is not HubState.UP
    if blind and state.now - known_as_of > SEEN_WITHIN:
        return False
    over = account.exit_over.get(contract_id)
    if over is None:
        return True
    unread = listed_as_of is None or listed_as_of < over
    return known_as_of >= over and not (unread and state.now - over < BORNE_OUT_WITHIN)
