"""Judges a recorded day twice, as it was and under other limits, until the courses part."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import (
    Decision,
    Forget,
    LookAgain,
    Remember,
    Severity,
    Unlock,
)
from risk_manager.domain.events import AnyEvent, RulebookReplaced
from risk_manager.domain.executions import Execution
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.locks import LockPolicy
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State
from risk_manager.domain.symbols import Contract
from risk_manager.engine.turn import Judged, take_turn
from risk_manager.whatif.intervention import (
    Intervention,
    Source,
    first_difference,
    locked_only_in_record,
)

type Recording = Iterable[Callable[[], State] | Sequence[AnyEvent]]
"""Starts, each a call that makes the state anew, and after each the turns of events."""

_NO_EFFECT = (Remember, Forget, LookAgain, Unlock)


@dataclass(slots=True, kw_only=True)
class AccountDay:
    """The day of one account. `difference` is None where the limits would have changed nothing.

    `acted` counts, by rule, how often it would have acted before the courses parted, the
    difference included. `lived_under_rules` says whether rules were enforced in the record, and
    `locked_in_record_at` since when they had locked what the other limits would have left open.
    """

    account_id: int
    executions: tuple[Execution, ...] = ()
    difference: Intervention | None = None
    acted: Counter[str] = field(default_factory=Counter)
    lived_under_rules: bool = False
    locked_in_record_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class JudgedDay:
    """A day judged twice. `recorded` and `decisions` hold the decisions of the two courses.

    Those of an account after its difference have no meaning, as its trades did not follow them.
    """

    day: date
    accounts: dict[int, AccountDay] = field(default_factory=dict)
    contracts: Mapping[str, Contract] = field(default_factory=dict)
    roots: Mapping[str, str] = field(default_factory=dict)
    recorded: list[Decision] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    has_other_trading_day: bool = False

    @property
    def is_reproduced(self) -> bool:
        """Whether the limits decided exactly as those of the record."""
        return self.recorded == self.decisions

    def of(self, account_id: int) -> AccountDay:
        return self.accounts.setdefault(account_id, AccountDay(account_id=account_id))


def judge_day(day: date, recording: Recording, rulebook: Rulebook) -> JudgedDay:
    """Judge a recorded day under a rulebook. The hour of the reset stays that of the record."""
    done = JudgedDay(day=day)
    recorded: State | None = None
    other: State | None = None
    for item in recording:
        if not isinstance(item, Sequence):
            recorded = item()
            done.has_other_trading_day |= rulebook.day != recorded.rulebook.day
            other = _started(item(), rulebook, other)
            continue
        if recorded is None or other is None:
            continue
        as_recorded = take_turn(recorded, item)
        recorded = as_recorded[-1].outcome.state
        done.recorded += _decisions(as_recorded)
        under_other = take_turn(other, _with_limits(item, rulebook))
        other = under_other[-1].outcome.state
        for one, two in zip(as_recorded, under_other, strict=True):
            _compare(done, one, two)
    if recorded is not None:
        _finish(done, recorded)
    return done


def _decisions(turn: Iterable[Judged]) -> Iterator[Decision]:
    for judged in turn:
        yield from judged.outcome.decisions


def _compare(done: JudgedDay, recorded: Judged, other: Judged) -> None:
    one, two = recorded.outcome, other.outcome
    done.decisions += two.decisions
    for decision in two.decisions:
        account = done.of(decision.account_id)
        if account.difference is None and _has_effect(decision):
            account.acted[decision.rule_id] += 1
    if not (one.actions or one.facts or two.actions):
        return
    for account_id in two.state.accounts:
        account = done.of(account_id)
        if account.difference is not None:
            continue
        account.difference = found = first_difference(account_id, recorded, other)
        if found is not None and found.source is Source.RULES and not account.acted[found.rule_id]:
            account.acted[found.rule_id] = 1
        if account.locked_in_record_at is None and locked_only_in_record(
            account_id, recorded, other
        ):
            account.locked_in_record_at = one.state.now


def _has_effect(decision: Decision) -> bool:
    return (
        not decision.shadow
        and decision.severity in (Severity.BREACH, Severity.CRITICAL)
        and any(not isinstance(ask, _NO_EFFECT) for ask in decision.asks)
    )


def _finish(done: JudgedDay, state: State) -> None:
    done.contracts, done.roots = state.contracts, state.roots
    for account_id, account in state.accounts.items():
        found = done.of(account_id)
        found.executions = tuple(account.ledger.on(done.day))
        found.lived_under_rules = bool(state.rulebook.acting(account_id))


# --- the state under other limits -----------------------------------------------------------------


def _with_limits(turn: Sequence[AnyEvent], rulebook: Rulebook) -> Iterator[AnyEvent]:
    for event in turn:
        if isinstance(event, RulebookReplaced):
            day = event.rulebook.day
            yield event.model_copy(update={"rulebook": replace(rulebook, day=day)})
        else:
            yield event


def _started(state: State, rulebook: Rulebook, before: State | None) -> State:
    """Put other limits into a recorded start.

    Locks and marks of rules that are the same in both stay. Those of other rules are dropped, or
    at a restart within the day taken from `before`, the state so far under the other limits.
    """
    accounts = {}
    for account_id, account in state.accounts.items():
        same = _same_rules(state.rulebook, rulebook, account_id)
        rules = (*state.rulebook.for_account(account_id).rules,)
        rules += rulebook.for_account(account_id).rules
        foreign = {rule.id for rule in rules} - same
        earlier = None if before is None else before.accounts.get(account_id)
        if earlier is not None and earlier.trading_date != account.trading_date:
            earlier = None
        accounts[account_id] = _without(account, foreign, earlier) if foreign else account
    in_force = replace(rulebook, day=state.rulebook.day)
    return fast_replace(state, rulebook=in_force, accounts=accounts)


def _same_rules(recorded: Rulebook, other: Rulebook, account_id: int) -> set[str]:
    """Return the ids of the rules that both have, with equal fields and equal effect."""
    one, two = recorded.for_account(account_id), other.for_account(account_id)
    if (one.mode, one.on_live) != (two.mode, two.on_live) or one.waiting:
        return set()
    others = {rule.id: rule for rule in two.rules}
    return {r.id for r in one.rules if r.id in others and _is_same(r, others[r.id])}


def _is_same(one: Rule, other: Rule) -> bool:
    return type(one) is type(other) and one.model_dump_json() == other.model_dump_json()


def _without(account: Account, rules: set[str], earlier: Account | None) -> Account:
    """Return the account with what these rules remember as `earlier` had it, or forgotten."""
    locks = _exchanged(account, earlier, "locks", lambda lock: lock.rule_id in rules)
    entries_forbidden = any(x.policy is LockPolicy.NO_ENTRIES for x in locks.values())
    return fast_replace(
        account,
        locks=locks,
        marks=_exchanged(account, earlier, "marks", lambda mark: mark.rule_id in rules),
        breaches=_exchanged(account, earlier, "breaches", lambda b: b.rule_id in rules),
        closings=_exchanged(
            account, earlier, "closings", lambda closing: rules.issuperset(closing.rule_ids)
        ),
        ceilings=account.ceilings if entries_forbidden else {},
    )


def _exchanged(
    account: Account, earlier: Account | None, name: str, is_foreign: Callable[[Any], bool]
) -> dict[Any, Any]:
    """Return one mapping of the account with the foreign entries replaced by the earlier ones."""
    kept = {k: v for k, v in getattr(account, name).items() if not is_foreign(v)}
    if earlier is not None:
        kept |= {k: v for k, v in getattr(earlier, name).items() if is_foreign(v)}
    return kept
