"""A turn: facts that arrived together, judged one after the other and acted on once."""

from collections.abc import Iterable
from typing import NamedTuple

from risk_manager.domain.account import ENFORCER, Account
from risk_manager.domain.decisions import Action, ClosePosition, ReducePosition
from risk_manager.domain.events import (
    AccountChanged,
    AccountReported,
    ActionSettled,
    AnyEvent,
    OrderChanged,
    PositionChanged,
    TradeExecuted,
)
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.state import State
from risk_manager.engine import attempts
from risk_manager.engine.accounts import with_account
from risk_manager.engine.exit_placement import cut_subject
from risk_manager.engine.left_behind import subject_of as left_subject
from risk_manager.engine.step import Step, step

SHARES_A_TURN = frozenset(
    {PositionChanged, OrderChanged, TradeExecuted, AccountChanged, AccountReported, ActionSettled}
)
"""Events from the broker share a turn. Ticks, quotes and orders by people have their own."""

ENDS_NO_ACTION = frozenset({AccountChanged})
"""Events that never make an action needless. They do not hold up one that is due."""


class Judged(NamedTuple):
    """One event of a turn, with the state before it."""

    event: AnyEvent
    before: State
    outcome: Step


class Turn:
    """Takes events in their order; `end` returns the results of all of them.

    Each event is judged by itself and has its own decisions. Only actions that are still needed
    after the last event are sent: no close for a position that a later event ended, no cancel of
    an order that it filled. The other actions were never in flight.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._judged: list[Judged] = []
        self._unsent: set[str] = set()

    def __len__(self) -> int:
        return len(self._judged)

    @property
    def has_actions(self) -> bool:
        """Whether an event so far led to an action."""
        return bool(self._unsent)

    def take(self, event: AnyEvent) -> None:
        before = self.state
        outcome = step(before, event, self._unsent)
        self._unsent.update(action.id for action in outcome.actions)
        self._judged.append(Judged(event, before, outcome))
        self.state = outcome.state

    def end(self) -> list[Judged]:
        """Return each event with its outcome; the last outcome holds the final state."""
        if len(self._judged) < 2 or not self._unsent:
            return self._judged
        left: set[str] = set()
        for judged in self._judged:
            left |= {a.id for a in judged.outcome.actions if self._stands(a, judged.before)}
        if len(left) < len(self._unsent):
            self._judged = [_with_only(judged, left) for judged in self._judged]
            event, before, outcome = self._judged[-1]
            self._judged[-1] = Judged(event, before, outcome._replace(state=self.state))
        return self._judged

    def _stands(self, action: Action, before: State) -> bool:
        account = self.state.accounts[action.account_id]
        attempt = account.attempts.get(action.key)
        if attempt is None or attempt.action.id != action.id:
            return False  # a later action on the same key has replaced it
        if attempts.stands(account, action):
            return True
        unsent = attempts.without_unsent(account, action)
        if isinstance(action, ClosePosition | ReducePosition):
            unsent = _with_exit_marks_of(unsent, action.contract_id, before.accounts[account.id])
        self.state = with_account(self.state, account, unsent)
        return False


def _with_exit_marks_of(account: Account, contract_id: str, before: Account) -> Account:
    """Return the account with the exit marks of a contract as they were in `before`."""
    noted = [(ENFORCER, subject_of(contract_id)) for subject_of in (cut_subject, left_subject)]
    marks = {k: m for k, m in account.marks.items() if k not in noted}
    marks |= {k: before.marks[k] for k in noted if k in before.marks}
    return fast_replace(account, marks=marks)


def _with_only(judged: Judged, left: set[str]) -> Judged:
    event, before, outcome = judged
    actions = tuple(action for action in outcome.actions if action.id in left)
    return Judged(event, before, outcome._replace(actions=actions))


def take_turn(state: State, events: Iterable[AnyEvent]) -> list[Judged]:
    """Judge these events as one turn. Pure, like `step`."""
    turn = Turn(state)
    for event in events:
        turn.take(event)
    return turn.end()
