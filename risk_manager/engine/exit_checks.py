"""Whether an exit order may be added or cut now. One too many could open a position."""

from datetime import timedelta

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Action, MoveStop, PlaceExit
from risk_manager.domain.events import Hub, HubState
from risk_manager.domain.records import LIST_LAG, OrderStatus
from risk_manager.domain.state import State
from risk_manager.engine.account_updates import is_back

# If no list can be had for so long, the stream alone says that an exit is over.
BORNE_OUT_WITHIN = timedelta(seconds=3)
# While the stream is down, so old may our knowledge of a position be that an exit is placed for.
SEEN_WITHIN = timedelta(seconds=3)


def adds_exits(account: Account, action: Action) -> bool:
    """Whether more lots would leave the position than do now."""
    if isinstance(action, PlaceExit):
        return True
    if not isinstance(action, MoveStop):
        return False
    order = account.orders.get(action.order_id)
    return order is not None and action.size > order.remaining


def may_have_woken(account: Account, action: Action) -> bool:
    """Whether an exit like the one to be placed was last told to sleep, as a bracket's do until
    their entry fills, and no list asked for since the position grew has said more of it."""
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


def leaves_less(account: Account, move: MoveStop, cancelled: set[int]) -> bool:
    """Whether a stop would be made smaller while another one beside it goes: together they would
    leave less than the position. A cancel that has failed makes no room."""
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
    """Whether position and exits are known as of now: a new exit order for a position that has
    been closed would open another, and so would one beside an exit that works after all.

    The position must have been stated since an order ended that may have closed it, and while
    the stream is down, lately; by a list, if it had ended already. That order must be over by
    the list as well, unless no list can be had. Nothing of the contract may be disputed."""
    listed_as_of = account.reported_as_of
    if account.disputed(contract_id) is not None:
        return False
    if is_back(account, contract_id) and (
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
