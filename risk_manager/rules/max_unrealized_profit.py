"""RULE-005: take a profit at a sum, or do not let one become a loss."""

from collections.abc import Iterator
from decimal import Decimal
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from risk_manager.domain.decisions import Forget, Remember, Verdict, bookkeeping
from risk_manager.domain.events import QuoteChanged
from risk_manager.domain.holdings import Position
from risk_manager.domain.money import ZERO, Band, dollars
from risk_manager.domain.open_pnl_bounds import open_between
from risk_manager.domain.rule import Meter, MeterState
from risk_manager.domain.view import View
from risk_manager.rules.open_pnl import OpenPnlRule, in_ticks

ACCOUNT = "armed:account"


class MaxUnrealizedProfit(OpenPnlRule):
    """`profit_target`: an open profit that reaches the target is taken.

    `breakeven`: an open profit that has reached `arm_at` is closed when it falls to `floor`. That
    it was reached is remembered for the life of the position.
    """

    spec_id: ClassVar[str] = "RULE-005"
    title: ClassVar[str] = "Open profit"

    rule: Literal["max_unrealized_profit"] = "max_unrealized_profit"
    mode: Literal["profit_target", "breakeven"] = "profit_target"
    """Take the profit at `target`, or close at `floor` once `arm_at` was reached."""
    target: Decimal | None = Field(default=None, gt=0, decimal_places=2)
    """The open profit that is taken; needed with `profit_target`."""
    arm_at: Decimal | None = Field(default=None, gt=0, decimal_places=2)
    """The open profit that arms the rule; needed with `breakeven`."""
    floor: Decimal = Field(default=ZERO, decimal_places=2)
    """The open result at which an armed position is closed."""
    scope: Literal["position", "account"] = "position"
    """Each position by itself, or all open ones added up."""

    @model_validator(mode="after")
    def _fields_fit_the_mode(self) -> "MaxUnrealizedProfit":
        if self.mode == "profit_target":
            if self.target is None:
                raise ValueError("mode profit_target needs a target, the profit to take")
            if self.arm_at is not None or self.floor != 0:
                raise ValueError("arm_at and floor belong to mode breakeven; remove them")
            return self
        if self.arm_at is None:
            raise ValueError(
                "mode breakeven needs arm_at, the profit that arms it; without it a new position "
                "would be closed at once, being down by the spread"
            )
        if self.target is not None:
            raise ValueError(
                "target belongs to mode profit_target; remove it, or add a second rule"
            )
        if self.floor >= self.arm_at:
            raise ValueError(f"floor {self.floor} must be below arm_at {self.arm_at}")
        return self

    def in_words(self) -> str:
        who = "a position" if self.scope == "position" else "all open positions together"
        up = "is up" if self.scope == "position" else "are up"
        if self.target is not None:
            return f"When {who} {up} by {dollars(self.target)} or more, {self._what_follows()}"
        assert self.arm_at is not None
        has = "has" if self.scope == "position" else "have"
        return (
            f"Once {who} {has} been up by {dollars(self.arm_at)} and the result falls to "
            f"{dollars(self.floor)}, {self._what_follows()}"
        )

    @property
    def rank(self) -> int:
        return 85

    def is_stricter_than(self, other: Self) -> bool:
        if not self.same_but(other, "target", "arm_at", "floor") or self._locks_for_a_time:
            return False
        if self.target is not None and other.target is not None:
            return self.target < other.target
        if self.arm_at is not None and other.arm_at is not None:
            return self.arm_at <= other.arm_at and self.floor >= other.floor
        return False

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        target = self.target
        if target is not None:
            results = self.results_alone(view)
            if results is not None and all([r is None or r < target for r in results]):
                return None  # the usual case
        verdicts: list[Verdict] = []
        if view.account.positions and not self.locked(view):
            if self.scope == "account":
                verdicts += self._judge_account(view)
            else:
                for position in self.in_question(view):
                    verdicts += self._judge_position(view, position)
        if view.account.marks and type(view.event) is not QuoteChanged:
            over = view.forget_ended(self.id)
            if view.mark(self.id, ACCOUNT) and not self._account_armed(view):
                over += (Forget(ACCOUNT),)
            if over:
                verdicts.append(bookkeeping(*over))
        return tuple(verdicts) or None

    def quiet_between(self, view: View, position: Position) -> Band | None:
        valuation = position.valuation
        if valuation is None or self.scope != "position" or view.stands(self.id):
            return None
        if self.target is not None:
            return valuation.below(self.target)
        if view.mark(self.id, f"armed:{position.episode}") is not None:
            return valuation.above(self.floor)
        return None if self.arm_at is None else valuation.below(self.arm_at)

    def _judge_position(self, view: View, position: Position) -> Iterator[Verdict]:
        subject = f"episode:{position.episode}"
        name = view.name(position.contract_id)
        if self.is_decided(view, subject, (position,)):
            yield Verdict(reason=f"{name} is being closed", subject=subject)
            return
        result = view.unrealised(position)
        if result is None:
            return
        armed = False
        if self.mode == "breakeven":
            mark = f"armed:{position.episode}"
            armed = view.mark(self.id, mark) is not None
            if not armed and self._arms(result):
                yield bookkeeping(Remember(mark, value=str(result)))
        reason = self._reason(result, armed, f"{name} is", f"{name} was up {{}} or more and is")
        if reason is not None:
            yield self.remedy(view, position, reason, subject)

    def _judge_account(self, view: View) -> Iterator[Verdict]:
        subject = f"account:{view.account.trading_date}"
        positions = view.account.positions.values()
        if self.is_decided(view, subject, positions):
            yield Verdict(reason="everything is being closed", subject=subject)
            return
        armed = self.mode == "breakeven" and self._account_armed(view)
        result, doubts = view.unrealised_total(), ""
        if result is None:
            # Some positions have no fresh price: judged by the certain bound of the result.
            between = open_between(view)
            result = between.most if armed else between.least
            doubts = f" ({between.doubts})"
        if result is None:
            return
        if not armed and self._arms(result):
            episodes = " ".join(str(p.episode) for p in positions)
            yield bookkeeping(Remember(ACCOUNT, value=episodes))
        what = f"the open positions together{doubts}"
        reason = self._reason(result, armed, f"{what} are", f"{what} were up {{}} or more and are")
        if reason is not None:
            yield self.remedy(view, None, reason, subject)

    def _account_armed(self, view: View) -> bool:
        """Whether one of the positions that reached the profit is still open."""
        mark = view.mark(self.id, ACCOUNT)
        if mark is None:
            return False
        held = {str(p.episode) for p in view.account.positions.values()}
        return not held.isdisjoint(mark.value.split())

    def _arms(self, result: Decimal) -> bool:
        return self.arm_at is not None and result >= self.arm_at

    def _reason(self, result: Decimal, armed: bool, at_target: str, fell: str) -> str | None:
        """Return why to close now; None if there is no reason."""
        if self.target is not None:
            if result < self.target:
                return None
            return f"{at_target} up {dollars(result)}, target {dollars(self.target)}"
        if not armed or self.arm_at is None or result > self.floor:
            return None
        fell = fell.format(dollars(self.arm_at))
        return f"{fell} back at {dollars(result)}, floor {dollars(self.floor)}"

    # --- for people ---

    def meter(self, view: View) -> Meter:
        """Towards the target; in breakeven mode towards being armed."""
        limit = self.target or self.arm_at or ZERO
        positions = list(view.account.positions.values())
        if not positions:
            return self.meter_of(ZERO, limit, f"nothing open; {self._aim}")
        blind = sorted(view.name(p.contract_id) for p in positions if view.unrealised(p) is None)
        if blind:
            return self.meter_of(None, limit, f"no trusted price for {', '.join(blind)}")
        if self.scope == "account":
            total = view.unrealised_total() or ZERO
            armed = self._account_armed(view)
            return self._measured(total, limit, "open", "", armed)
        best = max(positions, key=lambda p: view.unrealised(p) or ZERO)
        result = view.unrealised(best) or ZERO
        armed = view.mark(self.id, f"armed:{best.episode}") is not None
        ticks = in_ticks(view, best, limit - result)
        return self._measured(result, limit, view.name(best.contract_id), ticks, armed)

    def _measured(
        self, result: Decimal, limit: Decimal, what: str, ticks: str, armed: bool
    ) -> Meter:
        if armed:
            room = dollars(result - self.floor)
            sentence = f"{what} {dollars(result)}, armed: closes in {room} at {dollars(self.floor)}"
            return self.meter_of(max(result, ZERO), limit, sentence, MeterState.WARN)
        left = f"{dollars(limit - result)} to go{ticks}" if result < limit else "reached"
        sentence = f"{what} {dollars(result)}, {self._aim}: {left}"
        return self.meter_of(max(result, ZERO), limit, sentence)

    @property
    def _aim(self) -> str:
        if self.target is not None:
            return f"target {dollars(self.target)}"
        return f"protected from {dollars(self.arm_at or ZERO)}"
