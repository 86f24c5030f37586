"""The demands of locks and closings in force. They hold whatever any rule says now."""

from datetime import timedelta

from risk_manager.domain.account import Account, Closing
from risk_manager.domain.exit_orders import exit_lots
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.holdings import Order
from risk_manager.domain.live_accounts import acting_closings, acting_locks
from risk_manager.domain.locks import Lock, LockPolicy, strictest
from risk_manager.domain.records import OrderStatus, OrderType
from risk_manager.domain.state import State
from risk_manager.engine.wanted import Wanted

# A market order fills within moments and may be our own close. One older than this is stuck.
MARKET_ORDER_PATIENCE = timedelta(seconds=3)
# The position may be smaller because an exit filled; the order's own report comes a moment later.
REDUCED_JUST_NOW = timedelta(milliseconds=500)


def demands(state: State, account: Account, wanted: dict[str, Wanted]) -> Account:
    """Add the demands of locks and closings to `wanted`; return the account without finished
    closings."""
    rules = state.rulebook.for_account(account.id)
    locks = acting_locks(account, rules)
    if locks:
        for contract_id in account.contract_ids():
            _under_locks(state, account, locks, contract_id, wanted)
    if account.closings:
        account = _closings(state, account, wanted)
    return account


def is_at_rest(state: State, account: Account) -> bool:
    """Whether the demands of the locks can change only by a new fact, not by time or a price.

    Time matters for positions being closed, for market orders, and for exits that do not fit.
    """
    if account.closings:
        return False
    for contract_id in account.contract_ids() if account.locks else ():
        orders = account.orders_in(contract_id)
        root = state.root(contract_id)
        if not orders or not any(x.covers(root, contract_id) for x in account.locks.values()):
            continue
        net = account.net(contract_id)
        keeps = exit_lots(net, orders)
        for order in orders:
            fits = net * order.side.sign < 0 and keeps[order.id] == order.remaining
            if not fits or order.type is OrderType.MARKET:
                return False
    return True


def _under_locks(
    state: State,
    account: Account,
    acting: tuple[Lock, ...],
    contract_id: str,
    wanted: dict[str, Wanted],
) -> None:
    root = state.root(contract_id)
    locks = [x for x in acting if x.covers(root, contract_id)]
    policy = strictest(locks)
    if policy is None:
        return
    decisive = [x for x in locks if x.policy is policy]
    rules = [x.rule_id for x in decisive]
    reason = f"locked: {decisive[0].reason}"
    net = account.net(contract_id)
    ceiling = 0 if policy is LockPolicy.FLAT else account.ceilings.get(contract_id, 0)
    too_much = net * ceiling < 0 or abs(net) > abs(ceiling)
    if too_much and not _is_let_finish(state, account, contract_id):
        keep = abs(ceiling) if net * ceiling > 0 else 0
        wanted.setdefault(contract_id, Wanted()).hold_at_most(keep, rules, reason)
    cancel, shrink = _stray_orders(state, account, contract_id)
    if cancel:
        wanted.setdefault(contract_id, Wanted()).cancel_orders(cancel, rules, reason)
    if shrink:
        wanted.setdefault(contract_id, Wanted()).shrink_stops(shrink, rules, reason)


def _closings(state: State, account: Account, wanted: dict[str, Wanted]) -> Account:
    kept: dict[str, Closing] = {}
    acting = acting_closings(account, state.rulebook.for_account(account.id))
    for contract_id, closing in account.closings.items():
        position = account.positions.get(contract_id)
        open_still = position is not None and position.episode == closing.episode
        if open_still:
            # Orders that start working before the position is flat belong to the closing as well.
            orders = closing.order_ids | {o.id for o in account.orders_in(contract_id)}
            if orders != closing.order_ids:
                closing = fast_replace(closing, order_ids=orders)
            if contract_id in acting and not _is_let_finish(state, account, contract_id):
                want = wanted.setdefault(contract_id, Wanted())
                want.hold_at_most(0, closing.rule_ids, closing.reason)
        left = closing.order_ids & account.orders.keys()
        if not open_still and not left:
            continue
        kept[contract_id] = closing
        if contract_id not in acting:
            continue
        cancel, shrink = _stray_orders(state, account, contract_id)
        if cancel & closing.order_ids:
            want = wanted.setdefault(contract_id, Wanted())
            want.cancel_orders(cancel & closing.order_ids, closing.rule_ids, closing.reason)
        if shrink and open_still:
            want = wanted.setdefault(contract_id, Wanted())
            want.shrink_stops(shrink, closing.rule_ids, closing.reason)
    return account if kept == account.closings else fast_replace(account, closings=kept)


def _is_let_finish(state: State, account: Account, contract_id: str) -> bool:
    """Whether a lockout waits for an order with which the trader is reducing the position.

    A close sent beside that order could flatten the position first. The rest of the trader's order
    would then open a new position.
    """
    if not (state.rulebook.defaults.keep_reducing_fills and account.locks):
        return False
    root = state.root(contract_id)
    if not any(lock.covers(root, contract_id) for lock in account.locks.values()):
        return False
    net = account.net(contract_id)
    market = [o for o in account.orders_in(contract_id) if o.type is OrderType.MARKET]
    return 0 < sum(o.remaining for o in market) <= abs(net) and all(
        net * o.side.sign < 0 and state.now - o.seen_at < MARKET_ORDER_PATIENCE for o in market
    )


def _stray_orders(
    state: State, account: Account, contract_id: str
) -> tuple[set[int], dict[int, int]]:
    """Return the orders to cancel, and the stops to make smaller with the lots they keep.

    These are the orders that would open or add. Exits that fit the position stay until it is flat,
    so that it is never left without its stops.
    """
    cancel: set[int] = set()
    shrink: dict[int, int] = {}
    orders = account.orders_in(contract_id)
    if not orders:
        return cancel, shrink
    net = account.net(contract_id)
    keeps = exit_lots(net, orders)
    reduced_just_now = _reduced_just_now(state, account, contract_id)
    for order in orders:
        keep = keeps[order.id]
        is_exit = net * order.side.sign < 0
        if (is_exit and keep == order.remaining) or _fills_by_itself(state, order):
            continue
        if is_exit and reduced_just_now:
            continue
        if keep and order.is_stop:
            shrink[order.id] = keep
        else:
            cancel.add(order.id)
    return cancel, shrink


def _reduced_just_now(state: State, account: Account, contract_id: str) -> bool:
    heard = account.heard.get(contract_id)
    position = account.positions.get(contract_id)
    return (
        position is not None
        and heard is not None
        and heard > position.increased_at
        and state.now - heard < REDUCED_JUST_NOW
    )


def _fills_by_itself(state: State, order: Order) -> bool:
    if order.status is OrderStatus.PENDING_CANCELLATION:
        return True
    return order.type is OrderType.MARKET and state.now - order.seen_at < MARKET_ORDER_PATIENCE
