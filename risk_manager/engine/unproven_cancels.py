"""Orders that have ended by the stream, but not yet by any list, and that must not work.

A gateway may confirm a cancel without carrying it out, or report an order as cancelled that works
on. If lists are available, the next one shows the order again. If none is available, it is
cancelled (again) a few times, which is harmless for an order that has ended. These orders are kept
as marks of the account and survive a restart.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from risk_manager.domain.account import ENFORCER, Account, Attempt, Mark
from risk_manager.domain.decisions import Action, CancelOrder, Outcome
from risk_manager.domain.events import ActionSettled, OrderChanged
from risk_manager.domain.exit_orders import is_exit_stop
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.records import LIST_LAG, OrderStatus
from risk_manager.engine.wanted import Wanted

PREFIX = "cancel not borne out:"
STILL_LISTED = "a list shows the order although its cancel was confirmed"
NOT_ENDED = "a list shows the order although it was reported as ended"
PAUSES = tuple(timedelta(seconds=s) for s in (1, 3, 10, 30))
LIST_PATIENCE = PAUSES[1]
"""How long a list may take that is asked for at the next tick."""


def answered(account: Account, attempt: Attempt, event: ActionSettled) -> Account:
    """Return the account after an answer, with a mark if the order must be cancelled again.

    There is no mark where the gateway refused with an error code: it refuses to cancel an order
    that has ended, which agrees with the stream. Nor is there one once all pauses are used up. A
    repeated cancel that was never sent does not count: it is due again after the same pause.
    """
    action = attempt.action
    if not isinstance(action, CancelOrder):
        return account
    key = _key(action.order_id)
    known = account.marks.get(key)
    never_left = event.outcome is Outcome.UNSENT
    pause = _last_pause(known) if never_left else _next_pause(known)
    if pause is None or not _is_unproven(account, action, event):
        if known is None:
            return account
        return fast_replace(account, marks={k: m for k, m in account.marks.items() if k != key})
    if event.verified and not _is_shown(account, action.order_id):
        # Another list is asked for once it can tell. The cancel is repeated if none comes.
        asked_for = account.finished[action.order_id].at + LIST_LAG
        return _with_mark(
            account, action, attempt, max(event.at, asked_for), max(pause, LIST_PATIENCE)
        )
    return _with_mark(account, action, attempt, event.at, pause)


def reported_over(before: Account, after: Account, event: OrderChanged) -> Account:
    """Return the account after an order's report, with a mark if the order has thereby been
    cancelled and the answer to our cancel came before, while it was still known as working.

    No list had confirmed that answer then, so the stream alone says that the order has ended.
    """
    order_id = event.id
    if order_id not in before.orders or order_id in after.orders:
        return after
    if event.status is OrderStatus.FILLED:
        return after
    attempt = before.attempts.get(f"order:{order_id}")
    key = _key(order_id)
    if attempt is None or attempt.in_flight or key in after.marks:
        return after
    action = attempt.action
    if not isinstance(action, CancelOrder) or attempt.outcome in (None, Outcome.GONE):
        return after
    return _with_mark(after, action, attempt, event.at, PAUSES[0])


def doubted_over(before: Account, after: Account, at: datetime) -> Account:
    """Return the account after a list, with a mark for each order that the list shows although it
    has ended, so soon after that the list may be the older statement.

    The next list decides, but the gateway may refuse it. Of orders that we did not cancel, only
    those of a locked account are marked.
    """
    if after.disputes is before.disputes:
        return after
    for key, dispute in after.disputes.items():
        kind, _, number = key.partition(":")
        if key in before.disputes or kind != "order" or dispute.left_out:
            continue
        ended, attempt = after.finished.get(int(number)), after.attempts.get(key)
        is_under_way = attempt is not None and attempt.in_flight  # its own end sets the mark
        if ended is None or is_under_way or _key(int(number)) in after.marks:
            continue
        if ended.cancelled or after.locks:
            reason = STILL_LISTED if ended.cancelled else NOT_ENDED
            value = f"{dispute.contract_id} protection {reason}"
            after = _marked(after, int(number), value, at, dispute.decided_from + PAUSES[0])
    return after


def _may_protect(account: Account, contract_id: str, wanted: Mapping[str, Wanted]) -> bool:
    """Whether an order of this contract may be the stop of a position that no others cover."""
    held = account.positions.get(contract_id)
    if held is None:
        return False
    leaving = wanted[contract_id].cancel if contract_id in wanted else frozenset[int]()
    stops = [
        order
        for order in account.orders_in(contract_id)
        if is_exit_stop(order, held) and order.id not in leaving
    ]
    return sum(order.remaining for order in stops) < held.size


def _with_mark(
    account: Account, action: CancelOrder, attempt: Attempt, at: datetime, pause: timedelta
) -> Account:
    """Return the account with the order marked, its cancel due again after the pause.

    A mark that is already set keeps its rules and its reason.
    """
    known = account.marks.get(_key(action.order_id))
    if known is None:
        value = f"{action.contract_id} {','.join(attempt.rule_ids)} {attempt.reason}"
    else:
        value = known.value
    return _marked(account, action.order_id, value, at, at + pause)


def _marked(
    account: Account, order_id: int, value: str, set_at: datetime, due_at: datetime
) -> Account:
    key = _key(order_id)
    mark = Mark(rule_id=key[0], subject=key[1], set_at=set_at, due_at=due_at, value=value)
    return fast_replace(account, marks={**account.marks, key: mark})


def _key(order_id: int) -> tuple[str, str]:
    return ENFORCER, f"{PREFIX}{order_id}"


def _last_pause(known: Mark | None) -> timedelta | None:
    """Return the pause stored in the mark; None where there is none."""
    return None if known is None or known.due_at is None else known.due_at - known.set_at


def _next_pause(known: Mark | None) -> timedelta | None:
    """Return the pause after the one stored in the mark; None once all have been used.

    Calls that failed before the order was reported as ended are not counted.
    """
    last = _last_pause(known)
    return PAUSES[0] if last is None else next((p for p in PAUSES if p > last), None)


def _is_unproven(account: Account, action: CancelOrder, event: ActionSettled) -> bool:
    """Whether only the stream says that the order has ended."""
    order_id = action.order_id
    if event.outcome is Outcome.REFUSED and event.error_code is not None:
        return False
    if event.outcome is Outcome.GONE:
        return False
    known = account.marks.get(_key(order_id))
    told_over = order_id in account.finished or known is not None
    unread = (
        not event.verified
        or _is_shown(account, order_id)
        or _may_be_too_new(account, order_id, event.at)
    )
    is_gone = account.is_gone(order_id) if known is None else _is_gone(account, order_id, known)
    return unread and told_over and order_id not in account.orders and not is_gone


def _is_gone(account: Account, order_id: int, mark: Mark) -> bool:
    """Whether a list has confirmed that a marked order no longer works."""
    if order_id in account.finished:
        return account.is_gone(order_id)
    # The end of the order was reported to an earlier run, before the mark was set.
    listed_as_of = account.reported_as_of
    return listed_as_of is not None and listed_as_of >= mark.set_at + LIST_LAG


def _is_shown(account: Account, order_id: int) -> bool:
    """Whether a list has shown the order although the stream says that it has ended."""
    dispute = account.disputes.get(f"order:{order_id}")
    return dispute is not None and not dispute.left_out


def _may_be_too_new(account: Account, order_id: int, read_at: datetime) -> bool:
    """Whether a list read by then may lack the order only because it is older than the order."""
    ended = account.finished.get(order_id)
    return ended is not None and ended.seen_at is not None and read_at < ended.seen_at + LIST_LAG


def is_marked(account: Account, action: Action) -> bool:
    return due_at(account, action) is not None


def due_at(account: Account, action: Action) -> datetime | None:
    """Return from when on an unconfirmed cancel is sent again; None where it is not."""
    if not isinstance(action, CancelOrder):
        return None
    mark = account.marks.get(_key(action.order_id))
    return None if mark is None else mark.due_at or mark.set_at


def demanded(
    account: Account, wanted: dict[str, Wanted], root: Callable[[str], str], now: datetime
) -> Account:
    """Add a cancel of each marked order to `wanted`; return the account without finished marks.

    Nothing is cancelled that may be the stop of a position held, but an order beside stops that
    cover the whole position is: if both filled, they would turn it round. An order that we did not
    cancel before is cancelled if a lock covers its product. `root` names the product of a contract.
    """
    over = set()
    for mark in account.own_marks(PREFIX.removesuffix(":")):
        order_id = int(mark.subject.removeprefix(PREFIX))
        if order_id in account.orders or _is_gone(account, order_id, mark):
            over.add((ENFORCER, mark.subject))
            continue
        if f"order:{order_id}" not in account.attempts and now < (mark.due_at or now):
            continue  # otherwise the attempt keeps the pause
        contract_id, names, reason = mark.value.split(" ", 2)
        is_barred = reason != NOT_ENDED or any(
            lock.covers(root(contract_id), contract_id) for lock in account.locks.values()
        )
        if is_barred and not _may_protect(account, contract_id, wanted):
            want = wanted.setdefault(contract_id, Wanted())
            want.cancel_again.add(order_id)
            want.reason = want.reason or reason
            want.name(names.split(","))
    if not over:
        return account
    return fast_replace(account, marks={k: m for k, m in account.marks.items() if k not in over})
