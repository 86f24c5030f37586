"""EXTRA-005: stop for the day at a profit."""

from decimal import Decimal
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from risk_manager.domain.decisions import Flatten, Remember, Verdict
from risk_manager.domain.lockout import Lockout, LockoutSpec
from risk_manager.domain.locks import Release
from risk_manager.domain.money import ZERO, dollars
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.rulebook import PnlBasis
from risk_manager.domain.view import View


class DailyProfitTarget(Rule):
    """A profit of exactly the target ends the day."""

    spec_id: ClassVar[str] = "EXTRA-005"
    title: ClassVar[str] = "Profit today"

    rule: Literal["daily_profit_target"] = "daily_profit_target"
    target: Decimal = Field(gt=0, decimal_places=2)
    include_unrealized: bool = False
    pnl_basis: PnlBasis | None = None
    action: Literal["close_all_and_lockout", "close_all"] = "close_all_and_lockout"
    lockout: LockoutSpec = Lockout(Release.RESET)
    unlock: Literal["timer_only", "admin"] = "timer_only"

    @model_validator(mode="after")
    def _lockout_fits_the_action(self) -> "DailyProfitTarget":
        if self.action == "close_all_and_lockout" and self.lockout is None:
            raise ValueError("action close_all_and_lockout needs a lockout, such as until_reset")
        return self

    @property
    def uses_prices(self) -> bool:  # type: ignore[override]  # per configuration here
        return self.include_unrealized

    @property
    def rank(self) -> int:
        return 20

    def judge(self, view: View) -> Verdict | None:
        result = self._result(view)
        if result is None or result < self.target:
            return None
        day = view.account.trading_date.isoformat()
        reason = f"made {dollars(result)} today, target {dollars(self.target)}"
        if self.action == "close_all" or self.lockout is None:
            return Verdict(reason=f"{reason}; closed everything", subject=day, asks=(Flatten(),))
        lock = self.lockout.lock(
            view, self.id, reason, trigger=day, admin_may_clear=self.unlock == "admin"
        )
        reason = f"{reason}; flat and locked"
        if isinstance(self.lockout.until, Release):
            return Verdict(reason=reason, subject=day, asks=(lock,))
        # A timed lock arms again only after a further profit, or it would never end.
        mark = view.mark(self.id, f"reached:{day}")
        if mark is not None and result <= Decimal(mark.value):
            return None
        subject = day if mark is None else f"{day}:{result}"
        reached = Remember(f"reached:{day}", value=str(result))
        return Verdict(reason=reason, subject=subject, asks=(lock, reached))

    def _result(self, view: View) -> Decimal | None:
        """None while an open position has no trusted price: a profit nobody can see is none."""
        realised = view.realised_today(self.pnl_basis)
        if not self.include_unrealized or not view.account.positions:
            return realised
        open_pnl = view.unrealised_total()
        return None if open_pnl is None else realised + open_pnl

    def meter(self, view: View) -> Meter:
        result = self._result(view)
        state = MeterState.OK
        if result is None:
            current, state = None, MeterState.UNKNOWN
            sentence = "no trusted price for an open position"
        elif result >= self.target:
            current, state = result, MeterState.BREACH
            sentence = f"target reached: {dollars(result)} made today"
        else:
            current = max(result, ZERO)
            sentence = f"{dollars(result)} made today, {dollars(self.target - result)} to go"
        return Meter(
            rule_id=self.id,
            spec_id=self.spec_id,
            title=self.title,
            current=current,
            limit=self.target,
            unit="USD",
            sentence=sentence,
            state=state,
        )
