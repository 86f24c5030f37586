"""The first moment at which other limits would have changed an account's day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import (
    Action,
    CancelOrder,
    ClosePosition,
    LockSet,
    MoveStop,
    PlaceExit,
    ReducePosition,
)
from risk_manager.domain.events import QuoteChanged, Tick
from risk_manager.domain.locks import Lock, LockPolicy
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.engine.turn import Judged
from risk_manager.whatif.episodes import SETTLES_IN


class Source(StrEnum):
    """Whose enforcement made the two courses differ."""

    RULES = "rules"  # the limits that are tried
    RECORD = "record"  # the limits of that day; the record shows what came of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A position when enforcement came. `net` is signed.

    `keep` is the number of lots enforcement left open; None: it did not touch the position.
    `bid` and `ask` are None where no fresh quote is on record. `just_entered`: enforcement answered
    to the entry itself. `has_new_exit`: it placed or moved an exit order.
    """

    net: int
    keep: int | None
    bid: float | None
    ask: float | None
    just_entered: bool
    has_new_exit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervention:
    """`rule_id` is the rule that acted first, `locks` are all locks in force at that moment."""

    at: datetime
    source: Source
    rule_id: str
    reason: str
    held: Mapping[str, Holding]
    locks: tuple[Lock, ...]
    cancelled: frozenset[int]

    def had_forbidden(self, root: str, contract_id: str, entered_at: datetime) -> bool:
        """Whether one of the locks was in force before an entry, so that the trader knew of it."""
        return any(
            lock.covers(root, contract_id) and lock.set_at < entered_at for lock in self.locks
        )

    def forbids(self, root: str, contract_id: str, at: datetime, today: date) -> bool:
        """Whether one of the locks was still in force for an entry at this instant."""
        return any(
            lock.covers(root, contract_id) and not lock.is_over(at, today) for lock in self.locks
        )


def first_difference(
    account_id: int, as_recorded: Judged, under_other: Judged
) -> Intervention | None:
    """Return how one event was answered differently; None where the same was asked of the broker.

    A lock alone is no difference: it makes one once an entry meets it.
    """
    recorded = _actions(account_id, as_recorded.outcome)
    other = _actions(account_id, under_other.outcome)
    if recorded == other:
        return None
    acts = any(action not in recorded for action in other)
    source, judged = (Source.RULES, under_other) if acts else (Source.RECORD, as_recorded)
    return _intervention(account_id, source, judged)


def locked_only_in_record(account_id: int, as_recorded: Judged, under_other: Judged) -> bool:
    """Whether the record set a lock here that the other limits have not set, nor one like it."""
    there = under_other.outcome.state.accounts.get(account_id)
    known = () if there is None else there.locks.values()
    return any(
        not any(
            other.scope == lock.scope and other.policy in (LockPolicy.FLAT, lock.policy)
            for other in known
        )
        for lock in _locks_set(account_id, as_recorded.outcome)
    )


def _locks_set(account_id: int, outcome: Step) -> list[Lock]:
    return [
        fact.lock
        for fact in outcome.facts
        if isinstance(fact, LockSet) and fact.lock.account_id == account_id
    ]


def _actions(account_id: int, outcome: Step) -> list[Action]:
    return [action for action in outcome.actions if action.account_id == account_id]


def _intervention(account_id: int, source: Source, judged: Judged) -> Intervention:
    outcome = judged.outcome
    state = outcome.state
    account = state.accounts[account_id]
    actions = _actions(account_id, outcome)
    locks = tuple(account.locks.values())
    rule_id, reason = _by_whom(account, actions, _locks_set(account_id, outcome))
    return Intervention(
        at=state.now,
        source=source,
        rule_id=rule_id,
        reason=reason,
        held={c: _holding(c, state, account, actions, locks, judged) for c in account.positions},
        locks=locks,
        cancelled=frozenset(a.order_id for a in actions if isinstance(a, CancelOrder)),
    )


def _by_whom(account: Account, actions: list[Action], new_locks: list[Lock]) -> tuple[str, str]:
    for lock in new_locks:
        return lock.rule_id, lock.reason
    for action in actions:
        attempt = account.attempts.get(action.key)
        if attempt is not None and attempt.rule_ids:
            return attempt.rule_ids[0], attempt.reason
    return "", "what was recorded would not have been asked for"


def _holding(
    contract_id: str,
    state: State,
    account: Account,
    actions: list[Action],
    locks: tuple[Lock, ...],
    judged: Judged,
) -> Holding:
    position = account.positions[contract_id]
    quote = state.fresh_quote(contract_id)
    mine = [a for a in actions if a.contract_id == contract_id]
    keep: int | None = next((a.keep for a in mine if isinstance(a, ReducePosition)), None)
    root = state.root(contract_id)
    if (
        any(isinstance(a, ClosePosition) for a in mine)
        or contract_id in account.closings
        or any(x.policy is LockPolicy.FLAT and x.covers(root, contract_id) for x in locks)
    ):
        keep = 0
    return Holding(
        net=position.net,
        keep=keep,
        bid=None if quote is None else quote.best_bid,
        ask=None if quote is None else quote.best_ask,
        just_entered=not isinstance(judged.event, QuoteChanged | Tick)
        and state.now - position.increased_at <= SETTLES_IN,
        has_new_exit=any(isinstance(a, PlaceExit | MoveStop) for a in mine),
    )
