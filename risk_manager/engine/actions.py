"""Turns what is wanted of an account into actions, and sends each only when it may go out now."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import NamedTuple

from risk_manager.domain.account import Account, Attempt
from risk_manager.domain.call_brake import Brake
from risk_manager.domain.decisions import (
    Action,
    Alarm,
    CancelOrder,
    ClosePosition,
    Fact,
    MoveStop,
    PlaceExit,
    ReducePosition,
    Severity,
)
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.state import State
from risk_manager.engine import attempts, cancel_all, left_behind
from risk_manager.engine.exit_checks import (
    adds_exits,
    is_known_as_of_now,
    leaves_less,
    may_have_enlarged,
    may_have_woken,
)
from risk_manager.engine.exit_placement import cut_back, protect, resized
from risk_manager.engine.settlement import REFUSED_PAUSES
from risk_manager.engine.wanted import Wanted

# An action without a result for this long counts as lost instead of in flight.
LOST_AFTER = timedelta(seconds=30)
LAST_PAUSE = len(REFUSED_PAUSES)


class Acted(NamedTuple):
    """The result of `act`. `wants_list`: an exit order waits until the broker has been read."""

    account: Account
    actions: tuple[Action, ...]
    facts: tuple[Fact, ...]
    wants_list: bool


def act(
    state: State,
    account: Account,
    wanted: Mapping[str, Wanted],
    unsent: AbstractSet[str],
    *,
    all_were_asked: bool,
) -> Acted:
    """Ask for the wanted actions that are neither in flight nor on hold.

    `unsent` holds the ids of actions of the same turn that have not been sent yet.
    `all_were_asked` says that every rule was asked, so that an attempt nobody wants now is over.
    """
    acting = _Acting(state, unsent)
    account = acting.act(account, wanted, all_were_asked=all_were_asked)
    return Acted(account, tuple(acting.actions), tuple(acting.facts), acting.wants_list)


class _Acting:
    """The working space of `act`: collects actions and facts for one account."""

    def __init__(self, state: State, unsent: AbstractSet[str]) -> None:
        self.state = state
        self.unsent = unsent
        self.actions: list[Action] = []
        self.facts: list[Fact] = []
        self.wants_list = False

    def act(
        self, account: Account, wanted: Mapping[str, Wanted], *, all_were_asked: bool
    ) -> Account:
        now = self.state.now
        under_way = dict(account.attempts)
        next_id = account.next_action
        limit = self.state.rulebook.defaults.max_calls_a_minute
        brake = account.brake.at(now, limit)
        live: set[str] = set()
        for contract_id in sorted(wanted):
            want = wanted[contract_id]
            for action in self._actions(account, contract_id, want):
                live.add(action.key)
                known, replaced = under_way.get(action.key), None
                if known is not None and known.action.id in self.unsent:
                    known, replaced = None, known
                tries = _may_send(account, known, action, now)
                if replaced is not None and _is_same(replaced.action, action):
                    tries = 0
                if not tries or not self._may_pass(account, brake, action, tries, want):
                    continue
                if adds_exits(account, action) and (
                    may_have_woken(account, action)
                    or not is_known_as_of_now(self.state, account, contract_id)
                    or _may_be_larger(account, under_way, action)
                ):
                    decided_from = account.disputed(contract_id)
                    if decided_from is None or now >= decided_from:
                        self.wants_list = True
                    continue
                if isinstance(action, CancelOrder) and not self._may_repeat(account, action, tries):
                    continue
                before = known if tries > 1 else None
                brake = brake.after_call(now, limit)
                action = fast_replace(action, id=f"{account.id}-{next_id}")
                if replaced is not None:
                    asked = replaced.action
                    action = fast_replace(action, follows=asked.follows, wary=asked.wary)
                elif tries == 1:
                    action = attempts.following(account, under_way, action)
                next_id += 1
                self.actions.append(action)
                under_way[action.key] = Attempt(
                    action=action,
                    asked_at=now,
                    tries=tries,
                    rule_ids=tuple(want.rule_ids),
                    reason=want.reason,
                    refused=before.refused if before is not None else 0,
                    refused_code=before.refused_code if before is not None else None,
                    is_behind=attempts.is_behind(account, contract_id),
                )
                account = _with_exits_to_follow(account, action, now)
        if all_were_asked:
            under_way = _without_ended(account, under_way, live, now)
        if brake is not account.brake:
            self._report_brake(account, brake, limit)
            account = fast_replace(account, brake=brake)
        if under_way == account.attempts:
            return account
        return fast_replace(account, attempts=under_way, next_action=next_id)

    def _may_repeat(self, account: Account, cancel: CancelOrder, tries: int) -> bool:
        """Whether an order that still works after a confirmed cancel may be cancelled again now."""
        outlived = account.outlived.get(cancel.order_id)
        if outlived is None:
            return True
        now, times = self.state.now, outlived.times
        if times > 1 and now < outlived.since + REFUSED_PAUSES[min(times - 1, LAST_PAUSE) - 1]:
            return False
        if tries == 1 and (times == 2 or times % 10 == 0):
            self.facts.append(
                Alarm(
                    at=now,
                    account_id=account.id,
                    code="cannot_enforce",
                    message=(
                        f"order {cancel.order_id} in {self.state.name(cancel.contract_id)} was "
                        f"cancelled {times} times, each time it was confirmed, and it still works; "
                        "still trying. Cancel it by hand in the trading platform."
                    ),
                    severity=Severity.CRITICAL,
                )
            )
        return True

    def _may_pass(
        self, account: Account, brake: Brake, action: Action, tries: int, want: Wanted
    ) -> bool:
        if brake.on_since is None:
            return True
        limit = self.state.rulebook.defaults.max_calls_a_minute
        return brake.lets_pass(action, tries, limit, must_go=self._must_go(account, action, want))

    def _must_go(self, account: Account, action: Action, want: Wanted) -> bool:
        """Whether the brake must not hold up this cancel or move.

        True for an order that violates a lock (an entry, or an exit larger than its position), for
        one that an administrator cancelled, for one left behind by a closed position, and for an
        exit of ours that would open or enlarge a position if it filled.
        """
        if not isinstance(action, CancelOrder | MoveStop):
            return False
        contract_id = action.contract_id
        root = self.state.root(contract_id)
        cancels = isinstance(action, CancelOrder)
        locked = contract_id in account.closings or any(
            lock.covers(root, contract_id) for lock in account.locks.values()
        )
        if locked and (cancels or action.order_id in want.shrink):
            return True
        order = account.orders.get(action.order_id)
        if order is None:
            return False
        net = account.net(contract_id)
        outgrown = net * order.side.sign >= 0 or order.remaining > abs(net)
        if isinstance(action, MoveStop):
            return outgrown and action.size < order.size
        if cancel_all.is_called_off(account, order.id) or left_behind.is_left_behind(
            account, order
        ):
            return True
        return outgrown and order.is_own

    def _report_brake(self, account: Account, brake: Brake, limit: int) -> None:
        on, was_on = brake.on_since is not None, account.brake.on_since is not None
        if on is was_on:
            return
        self.facts.append(
            Alarm(
                at=self.state.now,
                account_id=account.id,
                code="calls_braked" if on else "calls_unbraked",
                message=(
                    f"more than {limit} calls to the broker in a minute: stops and targets are "
                    "no longer placed or moved for now; closing goes on. Look at the trading "
                    "platform."
                    if on
                    else "a quiet minute has passed: stops and targets are kept again"
                ),
                severity=Severity.CRITICAL if on else Severity.INFO,
            )
        )

    def _actions(self, account: Account, contract_id: str, want: Wanted) -> Iterator[Action]:
        position = account.positions.get(contract_id)
        closing = False
        if position is not None and want.keep is not None and position.size > want.keep:
            closing = True
            if want.keep == 0:
                yield ClosePosition(
                    id="",
                    account_id=account.id,
                    contract_id=contract_id,
                    episode=position.episode,
                )
            else:
                yield ReducePosition(
                    id="",
                    account_id=account.id,
                    contract_id=contract_id,
                    episode=position.episode,
                    side=position.side,
                    keep=want.keep,
                )
        for order_id in sorted((want.cancel & account.orders.keys()) | want.cancel_again):
            yield CancelOrder(
                id="", account_id=account.id, contract_id=contract_id, order_id=order_id
            )
        if position is None:
            return
        moved: set[str] = set()
        if want.protect is not None and not closing:
            for action in protect(self.state, account, position, want.protect):
                if isinstance(action, MoveStop) and action.order_id in want.cancel:
                    continue  # cancel and move would alternate as fast as the answers come
                if isinstance(action, MoveStop) and leaves_less(account, action, want.cancel):
                    continue  # the cancelled stop already makes room
                moved.add(action.key)
                yield action
        for order_id in sorted(want.shrink.keys() & account.orders.keys() - want.cancel):
            action = resized(account.orders[order_id], account.id, position, want.shrink[order_id])
            if action.key not in moved:
                yield action


def _with_exits_to_follow(account: Account, action: Action, now: datetime) -> Account:
    """Record on the account that the exits of the position must follow this close or reduction."""
    if isinstance(action, ReducePosition):
        return cut_back(account, account.positions[action.contract_id], now)
    if isinstance(action, ClosePosition):
        return left_behind.with_exits_marked(account, account.positions[action.contract_id], now)
    return account


def _may_be_larger(account: Account, under_way: Mapping[str, Attempt], action: Action) -> bool:
    """Whether another call may have made an exit of the same contract larger than it is known."""
    return any(
        attempt.action.contract_id == action.contract_id
        and attempt.action.key != action.key
        and may_have_enlarged(account, attempt)
        for attempt in under_way.values()
    )


def _without_ended(
    account: Account, attempts: Mapping[str, Attempt], live: AbstractSet[str], now: datetime
) -> dict[str, Attempt]:
    """Keep the attempts that are wanted, in flight, or may have made an exit larger.

    An attempt that a later one follows is dropped once it counts as lost.
    """
    return {
        key: attempt
        for key, attempt in attempts.items()
        if key in live
        or may_have_enlarged(account, attempt)
        or (
            attempt.in_flight
            and (key == attempt.action.key or now - attempt.under_way_since <= LOST_AFTER)
        )
    }


def _is_same(asked: Action, action: Action) -> bool:
    """Whether an action without an id yet asks for the same as one already asked."""
    return fast_replace(asked, id="", follows="", wary=False) == action


def _may_send(account: Account, known: Attempt | None, action: Action, now: datetime) -> int:
    """Return the number of this try, or 0 when the action is in flight or must wait."""
    if known is None or attempts.is_new_matter(account, known, action):
        return 1
    same = _is_same(known.action, action)
    if known.in_flight:
        lost = now - known.under_way_since > LOST_AFTER
        return known.tries + 1 if lost else 0
    # An exit just placed may not be listed yet, and a second one could open a position.
    if not same and not isinstance(action, PlaceExit):
        return 1
    is_waiting = known.not_before is not None and now < known.not_before
    if is_waiting and not attempts.is_not_carried_out(account, known):
        return 0
    return known.tries + 1
