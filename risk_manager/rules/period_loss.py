"""EXTRA-003: stop for the week or the month at a loss."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Flatten, Severity, Verdict
from risk_manager.domain.holdings import Position
from risk_manager.domain.lockout import new_lock
from risk_manager.domain.money import ZERO, Band, dollars
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.rulebook import PnlBasis
from risk_manager.domain.trading_days import weekdays
from risk_manager.domain.view import View
from risk_manager.rules.closed_now import is_reached_if_closed, left_if_closed, ticks_from_here
from risk_manager.rules.day_course import (
    Course,
    day_course,
    is_net,
    may_be_quiet,
    quiet_band,
    settling,
)

Fraction = Annotated[Decimal, Field(gt=0, lt=1)]
WEEK = timedelta(days=7)


@lru_cache(maxsize=16)
def _beginning(period: str, day: date) -> tuple[date, str]:
    """Return the first day of the week or month of this day, and its name."""
    first = day.replace(day=1) if period == "month" else day - timedelta(days=day.weekday())
    return first, first.isoformat()


class PeriodLoss(Rule):
    """A loss of exactly the limit breaches. The lock lasts until the next week or month opens."""

    spec_id: ClassVar[str] = "EXTRA-003"
    title: ClassVar[str] = "Loss in the period"
    bands_hold_together: ClassVar[bool] = True

    rule: Literal["period_loss"] = "period_loss"
    period: Literal["week", "month"] = "week"
    limit: Decimal = Field(gt=0, decimal_places=2)
    """The loss of the period at which the rule acts."""
    include_unrealized: bool = False
    """true: the P&L of open positions counts as well."""
    pnl_basis: PnlBasis | None = None
    warn_at: tuple[Fraction, ...] = (Decimal("0.5"), Decimal("0.8"))
    """Warn when these fractions of the limit are reached."""
    action: Literal["close_all_and_lockout", "close_all"] = "close_all_and_lockout"
    unlock: Literal["timer_only", "admin"] = "timer_only"

    def in_words(self) -> str:
        counted = "open positions included" if self.include_unrealized else "closed trades only"
        done = "everything is closed."
        if self.action == "close_all_and_lockout":
            by_admin = self.unlock == "admin"
            lifts = "an administrator may lift it" if by_admin else "nobody can lift it"
            done = (
                f"everything is closed and the account is locked until the next {self.period} "
                f"opens; {lifts}."
            )
        told = f"At a loss of {dollars(self.limit)} in the {self.period} ({counted}) {done}"
        if self.warn_at:
            told += f" It warns at {' and '.join(f'{w * 100:.0f} %' for w in self.warn_at)} of it."
        return told

    @property
    def uses_prices(self) -> bool:  # type: ignore[override]  # per configuration here
        return self.include_unrealized

    @property
    def rank(self) -> int:
        return 20

    def is_stricter_than(self, other: Self) -> bool:
        return (
            self.same_but(other, "limit", "warn_at")
            and self.limit <= other.limit
            and (self.action == "close_all" or self.unlock == "timer_only")
        )

    def history_from(self, account: Account) -> date:
        return self._began(account.trading_date)

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        since, subject = _beginning(self.period, view.account.trading_date)
        before = self._before(view, since)
        realised = before + view.realised_today(self.pnl_basis)
        if realised <= self._floor:  # unknown prices do not excuse it
            return (self._end(view, realised, subject, ""),)
        if not self.include_unrealized:
            return self._warning(realised, subject) or None
        kept: tuple[Verdict, ...] = ()
        if not view.stands(self.id, subject):
            waits, kept = settling(view, self.id)
            if waits:
                return kept or None
        result = self._result(view, before)
        if result.most is None:
            return kept or None
        if result.most <= self._floor:
            return (*kept, self._end(view, result.likely, subject, result.told_doubts))
        return (*kept, *self._warning(result.most, subject)) or None

    @cached_property
    def _floor(self) -> Decimal:
        return -self.limit

    def _began(self, day: date) -> date:
        return _beginning(self.period, day)[0]

    def _opens_again(self, view: View) -> datetime:
        """Return when the next week or month opens."""
        since = self._began(view.account.trading_date)
        if self.period == "week":
            following = since + WEEK
        else:
            following = (since + timedelta(days=31)).replace(day=1)
        return view.state.rulebook.day.opens(next(weekdays(following, following + WEEK)))

    def _before(self, view: View, since: date) -> Decimal:
        account = view.account
        after_fees = is_net(view, self.pnl_basis)
        return account.days.made(since, account.trading_date, after_fees=after_fees).total

    def _result(self, view: View, before: Decimal) -> Course:
        return day_course(view, self.pnl_basis, with_open=self.include_unrealized).plus(before)

    def _end(self, view: View, result: Decimal, subject: str, doubts: str) -> Verdict:
        reason = f"lost {dollars(-result)} this {self.period}{doubts}, limit {dollars(self.limit)}"
        if self.action == "close_all":
            return Verdict(
                reason=f"{reason}; closing everything", subject=subject, asks=(Flatten(),)
            )
        lock = new_lock(
            view,
            self.id,
            reason,
            until=self._opens_again(view),
            trigger=subject,
            admin_may_clear=self.unlock == "admin",
        )
        return Verdict(reason=f"{reason}; locked flat", subject=subject, asks=(lock,))

    def _warning(self, result: Decimal, subject: str) -> tuple[Verdict, ...]:
        if result >= 0:
            return ()
        used = -result / self.limit
        passed = [w for w in self.warn_at if used >= w]
        if not passed:
            return ()
        warning = Verdict(
            reason=f"{dollars(-result)} of the {self.period}'s loss limit {dollars(self.limit)} "
            "is used",
            subject=f"warning:{subject}:{max(passed)}",
            severity=Severity.WARNING,
        )
        return (warning,)

    def quiet_between(self, view: View, position: Position) -> Band | None:
        if not may_be_quiet(view, self.id):
            return None
        before = self._before(view, self._began(view.account.trading_date))
        first = min(self.warn_at, default=Decimal(1))
        realised = before + view.realised_today(self.pnl_basis)
        return quiet_band(view, position, realised, above=-self.limit * first, below=None)

    def meter(self, view: View) -> Meter:
        account = view.account
        since = self._began(account.trading_date)
        before = self._before(view, since)
        result = self._result(view, before).known
        meter = self._reading(view, result, account.days.unknown(since, account.trading_date))
        today = -self.limit - before
        at = today if is_net(view, self.pnl_basis) else today - view.today.fees
        return replace(meter, day_result=at, counts_open=self.include_unrealized)

    def _reading(self, view: View, result: Decimal | None, unknown: tuple[date, ...]) -> Meter:
        if result is None:
            return self.reading(
                current=None,
                limit=self.limit,
                unit="USD",
                sentence="no trusted price for an open position",
                state=MeterState.UNKNOWN,
            )
        lost, left = max(-result, ZERO), self.limit + result
        state = MeterState.OK
        if any(lost >= w * self.limit for w in self.warn_at) or (
            not self.include_unrealized and is_reached_if_closed(view, left)
        ):
            state = MeterState.WARN
        sentence = f"{dollars(left)} left this {self.period}"
        if result > 0:
            sentence = f"in profit by {dollars(result)} this {self.period}, {sentence}"
        if left <= 0:
            state = MeterState.BREACH
            sentence = f"limit reached: {dollars(-result)} lost this {self.period}"
        elif unknown:
            state = MeterState.UNKNOWN
            sentence += f", without {len(unknown)} unknown day{'' if len(unknown) == 1 else 's'}"
        if left > 0:
            here = ticks_from_here if self.include_unrealized else left_if_closed
            sentence += here(view, left)
        return self.reading(
            current=lost, limit=self.limit, unit="USD", sentence=sentence, state=state
        )
