"""RULE-003: stop for the day at a realised loss."""

from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from risk_manager.domain.decisions import Ask, Flatten, Remember, Severity, Verdict
from risk_manager.domain.lockout import Lockout, LockoutSpec
from risk_manager.domain.locks import Release
from risk_manager.domain.money import ZERO, cents, dollars
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.rulebook import PnlBasis
from risk_manager.domain.view import View

Fraction = Annotated[Decimal, Field(gt=0, lt=1)]


class DailyRealizedLoss(Rule):
    """A loss of exactly the limit breaches. Profits of the day raise the room."""

    spec_id: ClassVar[str] = "RULE-003"
    title: ClassVar[str] = "Loss today"

    rule: Literal["daily_realized_loss"] = "daily_realized_loss"
    limit: Decimal = Field(gt=0, decimal_places=2)
    include_unrealized: bool = False
    pnl_basis: PnlBasis | None = None
    warn_at: tuple[Fraction, ...] = (Decimal("0.5"), Decimal("0.8"))
    action: Literal["close_all_and_lockout", "close_all"] = "close_all_and_lockout"
    lockout: LockoutSpec = Lockout(Release.RESET)
    unlock: Literal["timer_only", "admin"] = "timer_only"

    @model_validator(mode="after")
    def _lockout_fits_the_action(self) -> "DailyRealizedLoss":
        if self.action == "close_all_and_lockout" and self.lockout is None:
            raise ValueError("action close_all_and_lockout needs a lockout, such as until_reset")
        return self

    @property
    def uses_prices(self) -> bool:  # type: ignore[override]  # per configuration here
        return self.include_unrealized

    @property
    def rank(self) -> int:
        return 20

    def judge(self, view: View) -> tuple[Verdict, ...] | Verdict | None:
        result = self._result(view)
        if result is None or result >= 0:
            return None
        day = view.account.trading_date.isoformat()
        if result <= -self.limit:
            return self._breach(view, result, day)
        used = -result / self.limit
        passed = max((w for w in self.warn_at if used >= w), default=None)
        if passed is None:
            return None
        return Verdict(
            reason=f"{dollars(-result)} of the daily loss limit {dollars(self.limit)} is used",
            subject=f"warning:{day}:{passed}",
            severity=Severity.WARNING,
        )

    def _breach(self, view: View, result: Decimal, day: str) -> Verdict | None:
        reason = f"lost {dollars(-result)} today, limit {dollars(self.limit)}"
        if self.action == "close_all" or self.lockout is None:
            return Verdict(reason=reason, subject=day, asks=(Flatten(),))
        asks: list[Ask] = []
        if isinstance(self.lockout.until, Release):
            asks.append(self._lock(view, self.lockout, reason, day))
            return Verdict(reason=f"{reason}; flat and locked", subject=day, asks=tuple(asks))
        # A timed lock arms again only after a further loss, or it would never end.
        mark = view.mark(self.id, f"breach:{day}")
        if mark is not None and result >= Decimal(mark.value):
            return None
        asks = [
            self._lock(view, self.lockout, reason, day),
            Remember(f"breach:{day}", value=str(result)),
        ]
        subject = day if mark is None else f"{day}:{cents(result)}"
        return Verdict(reason=f"{reason}; flat and locked", subject=subject, asks=tuple(asks))

    def _lock(self, view: View, lockout: Lockout, reason: str, day: str) -> Ask:
        may_clear = self.unlock == "admin"
        return lockout.lock(view, self.id, reason, trigger=day, admin_may_clear=may_clear)

    def _result(self, view: View) -> Decimal | None:
        realised = view.realised_today(self.pnl_basis)
        if not self.include_unrealized or not view.account.positions:
            return realised
        open_pnl = view.unrealised_total()
        if open_pnl is None:
            # Unknown prices cannot excuse a loss that is realised already.
            return realised if realised <= -self.limit else None
        return realised + open_pnl

    def meter(self, view: View) -> Meter:
        result = self._result(view)
        base = {
            "rule_id": self.id,
            "spec_id": self.spec_id,
            "title": self.title,
            "limit": self.limit,
            "unit": "USD",
        }
        if result is None:
            return Meter(
                **base,  # type: ignore[arg-type]  # plain keyword values of the right kinds
                current=None,
                sentence="no trusted price for an open position",
                state=MeterState.UNKNOWN,
            )
        lost = max(-result, ZERO)
        left = self.limit + result
        state = MeterState.OK
        if left <= 0:
            state = MeterState.BREACH
        elif any(lost >= w * self.limit for w in self.warn_at):
            state = MeterState.WARN
        return Meter(
            **base,  # type: ignore[arg-type]
            current=lost,
            sentence=f"{dollars(left)} left today{self._in_ticks(view, left)}"
            if left > 0
            else f"limit reached: {dollars(lost)} lost today",
            state=state,
        )

    def _in_ticks(self, view: View, left: Decimal) -> str:
        held = [
            (p, c)
            for p in view.account.positions.values()
            if (c := view.state.contracts.get(p.contract_id)) is not None
        ]
        if len(held) != 1:
            return ""
        position, contract = held[0]
        ticks = int(left / (contract.tick_value * position.size))
        return f" = {ticks} {view.root(position.contract_id)} ticks on {position.size}"
