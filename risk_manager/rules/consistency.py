"""EXTRA-012: no single day may make too large a part of the profit."""

from datetime import date
from decimal import ROUND_FLOOR, Decimal
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Severity, Verdict
from risk_manager.domain.money import CENT, ZERO, dollars
from risk_manager.domain.rule import Meter, MeterState
from risk_manager.domain.trading_days import Made
from risk_manager.domain.view import View
from risk_manager.rules.day_course import is_net
from risk_manager.rules.day_result import DayResultRule

Share = Annotated[Decimal, Field(gt=0, lt=1)]


class Consistency(DayResultRule):
    """Tells how much today may make. With `enforce` the day ends there, as at a profit target.

    With `profit_target` the best day may make `share` of it; a better day raises the target to
    that day divided by `share`. Without it the best day must stay below `share` of all profit,
    which has no meaning while the other days have made nothing.
    """

    spec_id: ClassVar[str] = "EXTRA-012"
    title: ClassVar[str] = "Consistency"
    reached: ClassVar[str] = "consistent"

    rule: Literal["consistency"] = "consistency"
    share: Share = Decimal("0.5")
    """The largest part of the profit, or of the target, that one day may make."""
    profit_target: Decimal | None = Field(default=None, gt=0, decimal_places=2)
    since: date
    enforce: bool = False

    def in_words(self) -> str:
        part = f"{(self.share * 100).normalize():f} %"
        if self.profit_target is None:
            told = f"Since {self.since} no day may make {part} or more of all profit."
        else:
            told = (
                f"Since {self.since} the best day may make {part} of the profit target of "
                f"{dollars(self.profit_target)}; a better day raises the target."
            )
        if not self.enforce:
            return f"{told} It warns when today has made what it may; nothing is closed."
        counted = "open positions included" if self.include_unrealized else "closed trades only"
        return f"{told} When today has made what it may ({counted}), {self._what_follows()}"

    def is_stricter_than(self, other: Self) -> bool:
        """A smaller part of the same profit."""
        if not self.same_but(other, "share", "profit_target") or self.share > other.share:
            return False
        if self.profit_target is None or other.profit_target is None:
            same_target = self.profit_target is other.profit_target
        else:
            same_target = self.profit_target <= other.profit_target
        return same_target and (not self.enforce or self._answers_for_the_whole_day)

    def history_from(self, account: Account) -> date:
        return self.since

    def earlier(self, view: View) -> Made | None:
        """Return what the days before today made; None where one of them is unknown."""
        account = view.account
        days, today = account.days, account.trading_date
        if days.unknown(self.since, today):
            return None
        return days.made(self.since, today, after_fees=is_net(view, self.pnl_basis))

    def most_today(self, earlier: Made) -> Decimal | None:
        """Return the profit of today at which it has made what it may; None if undefined."""
        if self.profit_target is not None:
            allowed = self.share * self.profit_target
            return max(allowed, earlier.best or ZERO)
        if earlier.total <= 0:
            return None
        most = self.share * earlier.total / (1 - self.share)
        return most.quantize(CENT, rounding=ROUND_FLOOR)

    def raised_target(self, best: Decimal) -> Decimal | None:
        """Return the profit target as the best day has raised it; None without a target."""
        if self.profit_target is None:
            return None
        return max(self.profit_target, best / self.share)

    def judge(self, view: View) -> Verdict | tuple[Verdict, ...] | None:
        earlier = self.earlier(view)
        most = None if earlier is None else self.most_today(earlier)
        if most is None:
            return None
        waits, kept = self.settling(view)
        if waits:
            return kept or None
        result, doubts = self.day_result(view), ""
        if result is None:
            between = self.day_between(view)
            if between.least is None or between.least < most:
                return kept or None
            result, doubts = between.likely, f" ({between.doubts})"
        if result < most:
            return (*kept, *self.armed_anew(view)) or None
        reason = f"made {dollars(result)} today{doubts}, may make {dollars(most)} to be consistent"
        if self.enforce:
            ended = self.end_the_day(view, result, reason)
            return (*kept, ended) if kept and ended is not None else ended
        told = Verdict(
            reason=reason,
            subject=f"told:{view.account.trading_date.isoformat()}",
            severity=Severity.WARNING,
        )
        return (*kept, told)

    def meter(self, view: View) -> Meter:
        earlier, result = self.earlier(view), self.day_result(view)
        if earlier is None or result is None:
            lacks = "earlier days are not known"
            if earlier is not None:
                lacks = "no trusted price for an open position"
            return self.reading(
                current=None, limit=None, unit="USD", sentence=lacks, state=MeterState.UNKNOWN
            )
        most = self.most_today(earlier)
        total = earlier.total + result
        best = max(result, earlier.best or ZERO, ZERO)
        told = f"best day {dollars(best)} of {dollars(total)}"
        if total > 0:
            told += f" = {best / total * 100:.1f} %"
        target = self.raised_target(best)
        if target is not None:
            told += f", target {dollars(target)}"
        if most is None:
            return self.reading(
                current=None,
                limit=None,
                unit="USD",
                sentence=f"{told}; undefined before other days have made a profit",
            )
        state = MeterState.OK
        if result >= most:
            state = MeterState.BREACH if self.enforce else MeterState.WARN
            sentence = f"{told}; today has made what it may, {dollars(most)}"
        else:
            sentence = f"{told}; today may still make {dollars(most - result)}"
        meter = self.reading(
            current=max(result, ZERO), limit=most, unit="USD", sentence=sentence, state=state
        )
        return self.on_the_day(view, meter, most)
