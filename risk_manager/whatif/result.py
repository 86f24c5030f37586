"""The sums over all days: by day, by rule, and in total. Nothing unknowable is ever added."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from risk_manager.domain.money import ZERO
from risk_manager.whatif.amounts import NOTHING, Between
from risk_manager.whatif.intervention import Source
from risk_manager.whatif.judging import JudgedDay
from risk_manager.whatif.outcomes import Kind, Outcome, Slippage, outcomes_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountResult:
    """A day of one account. Amounts are after fees.

    `locked_in_record_at` is since when the limits of that day had locked what the others would have
    left open: what would have been traded then is not on record.

    `known` is the result under the limits of all turns whose outcome can be known, and
    `not_counted` the recorded result of the others.
    """

    day: date
    account_id: int
    outcomes: tuple[Outcome, ...]
    intervened_at: datetime | None
    intervened_by: str
    reason: str
    parted_by_record: bool
    lived_under_rules: bool
    locked_in_record_at: datetime | None

    @property
    def recorded(self) -> Decimal:
        return sum((o.episode.net for o in self.outcomes), ZERO)

    @property
    def known(self) -> Between:
        return Between.total(o.result for o in self.outcomes if o.result is not None)

    @property
    def not_counted(self) -> Decimal:
        return sum((o.episode.net for o in self.outcomes if o.result is None), ZERO)

    @property
    def change(self) -> Between:
        """How much better or worse the turns with a known outcome would have ended."""
        return Between.total(o.change for o in self.outcomes if o.change is not None)


@dataclass(slots=True, kw_only=True)
class RuleResult:
    """How often one rule acted, and over the turns it touched, what it saved and missed."""

    rule_id: str
    acted: int = 0
    prevented: int = 0
    cut_early: int = 0
    saved: Between = NOTHING
    missed: Between = NOTHING


@dataclass(slots=True, kw_only=True)
class Result:
    """Everything judged. `is_reproduced`: on all days, the decisions were those of the record."""

    days: list[AccountResult] = field(default_factory=list)
    rules: dict[str, RuleResult] = field(default_factory=dict)
    has_quotes: bool = True
    is_reproduced: bool = True
    has_other_trading_day: bool = False

    @property
    def recorded(self) -> Decimal:
        return sum((d.recorded for d in self.days), ZERO)

    @property
    def known(self) -> Between:
        return Between.total(d.known for d in self.days)

    @property
    def change(self) -> Between:
        return Between.total(d.change for d in self.days)

    @property
    def not_counted(self) -> Decimal:
        return sum((d.not_counted for d in self.days), ZERO)

    @property
    def counts(self) -> dict[Kind, int]:
        found = Counter(o.kind for d in self.days for o in d.outcomes)
        return {kind: found[kind] for kind in Kind}

    @property
    def after(self) -> int:
        """How many turns began after the first intervention of their day."""
        return sum(o.is_after for d in self.days for o in d.outcomes)

    @property
    def best_day_change(self) -> Between | None:
        """The change of the day that gained most."""
        changes = [d.change for d in self.days]
        return max(changes, key=lambda c: c.high, default=None)


def result_of(
    days: Iterable[JudgedDay],
    slippage: Slippage,
    *,
    has_quotes: bool,
    account_id: int | None = None,
) -> Result:
    """Classify and sum up judged days, of all accounts or of one."""
    result = Result(has_quotes=has_quotes)
    for judged in days:
        result.is_reproduced &= judged.is_reproduced
        result.has_other_trading_day |= judged.has_other_trading_day
        for number, account in sorted(judged.accounts.items()):
            if account_id not in (None, number):
                continue
            came = account.difference
            outcomes = outcomes_of(judged, account, slippage, has_quotes=has_quotes)
            by_record = came is not None and came.source is Source.RECORD
            result.days.append(
                AccountResult(
                    day=judged.day,
                    account_id=number,
                    outcomes=tuple(outcomes),
                    intervened_at=None if came is None else came.at,
                    intervened_by="" if came is None else came.rule_id,
                    reason="" if came is None else came.reason,
                    parted_by_record=by_record,
                    lived_under_rules=account.lived_under_rules,
                    locked_in_record_at=account.locked_in_record_at,
                )
            )
            for rule_id, times in account.acted.items():
                _rule(result, rule_id).acted += times
            if not by_record:
                _add_up(result, outcomes)
    return result


def _rule(result: Result, rule_id: str) -> RuleResult:
    return result.rules.setdefault(rule_id, RuleResult(rule_id=rule_id))


def _add_up(result: Result, outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        change = outcome.change
        if outcome.kind is Kind.UNCHANGED or change is None:
            continue
        rule = _rule(result, outcome.rule_id)
        rule.prevented += outcome.kind is Kind.PREVENTED
        rule.cut_early += outcome.kind is Kind.CUT_EARLY
        rule.saved = Between.total((rule.saved, change.gained))
        rule.missed = Between.total((rule.missed, change.lost))
