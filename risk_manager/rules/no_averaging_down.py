"""EXTRA-013: nothing is added to a trade that is losing."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Literal, Self

from pydantic import Field

from risk_manager.domain.decisions import Ask, Cancel, Close, ReduceTo, Verdict
from risk_manager.domain.holdings import Position
from risk_manager.domain.money import ZERO, cents, dollars
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.symbols import Contract
from risk_manager.domain.view import View
from risk_manager.rules.position_life import Change, life_of


@dataclass(slots=True)
class Additions:
    """What of a position may stay, and the orders that added to it at a loss.

    `losses` maps each such order to the result of the trade just before its first fill.
    """

    allowed: int = 0
    losses: dict[int, Decimal] = field(default_factory=dict)


class NoAveragingDown(Rule):
    """An order that adds to a losing trade is taken back, or the position is closed.

    A trade lasts from flat to flat, or to the other side. Its result is what was realised of it
    and the open result at the price of the fill, before fees. An order is judged by its first fill:
    the further fills of an order are the same entry. The order that opened the position is never
    judged, so neither is the new side of a reversal.
    """

    spec_id: ClassVar[str] = "EXTRA-013"
    title: ClassVar[str] = "No averaging down"

    rule: Literal["no_averaging_down"] = "no_averaging_down"
    tolerance: Decimal = Field(default=ZERO, ge=0, decimal_places=2)
    action: Literal["reduce_back", "close_position"] = "reduce_back"

    def in_words(self) -> str:
        by = f" by more than {dollars(self.tolerance)}" if self.tolerance else ""
        done = (
            "what was added is closed"
            if self.action == "reduce_back"
            else "the whole position is closed"
        )
        return f"If a trade that loses{by} is added to, {done}."

    @property
    def rank(self) -> int:
        return 72

    def is_stricter_than(self, other: Self) -> bool:
        return self.same_but(other, "tolerance") and self.tolerance <= other.tolerance

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        verdicts: list[Verdict] = []
        ledger = view.account.ledger
        for position in view.account.positions.values():
            known = position.memo.get(self.id)
            if known is not None and known[0] is self and known[1] is ledger:
                continue
            verdicts += self._judge_position(view, position)
        return tuple(verdicts) or None

    def _judge_position(self, view: View, position: Position) -> Iterator[Verdict]:
        contract = view.state.contracts.get(position.contract_id)
        life = life_of(view, position)
        if contract is None or life is None:
            return  # unknown: judged once executions and position agree
        found = self.additions(life, position.side, contract)
        if position.size <= found.allowed:
            position.memo[self.id] = (self, view.account.ledger)
            return
        if abs(view.projected()[position.contract_id]) <= found.allowed:
            return
        order_id, result = list(found.losses.items())[-1]
        closes = self.action == "close_position"
        ask: Ask = (
            Close(position.contract_id) if closes else ReduceTo(position.contract_id, found.allowed)
        )
        working = [o.id for o in view.entry_orders(position.contract_id) if o.id in found.losses]
        yield Verdict(
            reason=(
                f"{view.name(position.contract_id)} was added to while the trade was down "
                f"{dollars(-result)}; {'closing' if closes else f'reduced to {found.allowed}'}"
            ),
            subject=f"{position.subject}:{order_id}",
            asks=(ask, Cancel(tuple(working))) if working else (ask,),
        )

    def additions(self, life: tuple[Change, ...], side: int, contract: Contract) -> Additions:
        """Return what may stay of a position with this life."""
        found = Additions()
        good = {life[0].execution.order_id}
        average = realised = ZERO
        for change in life:
            e, before = change.execution, change.before
            if not change.added:
                realised += e.pnl or ZERO
                found.allowed = min(found.allowed, change.after)
                continue
            if e.order_id not in good and e.order_id not in found.losses:
                ticks = (e.price - average) * side / contract.tick_size
                result = cents(realised + ticks * contract.tick_value * before)
                if result < -self.tolerance:
                    found.losses[e.order_id] = result
                else:
                    good.add(e.order_id)
            if e.order_id in good:
                found.allowed += change.added
            average = (average * before + e.price * change.added) / change.after
        return found

    def meter(self, view: View) -> Meter:
        current: Decimal | None = None
        state = MeterState.OK
        sentence = "flat"
        for position in view.account.positions.values():
            name = view.name(position.contract_id)
            open_result = view.unrealised(position)
            realised = view.account.ledger.episode(position.contract_id, position.net)
            if open_result is None or not realised.in_step:
                sentence, state = f"{name}: its result is not known", MeterState.UNKNOWN
                current = None
                break
            result = open_result + realised.pnl
            loss = max(-result, ZERO)
            if current is None or loss > current:
                current = loss
                sentence = f"{name} is up {dollars(result)}: it may be added to"
                if loss > self.tolerance:
                    state = MeterState.WARN
                    sentence = f"{name} is down {dollars(loss)}: nothing may be added to it"
        return self.reading(current=current, limit=None, unit="USD", sentence=sentence, state=state)
