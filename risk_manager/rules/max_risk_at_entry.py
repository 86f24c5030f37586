"""EXTRA-009: no more at risk between the entry and its stops than a set amount."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import ClassVar, Literal, Self

from pydantic import Field

from risk_manager.domain.decisions import Ask, Close, LookAgain, ReduceTo, Verdict, bookkeeping
from risk_manager.domain.durations import Duration, plain_duration
from risk_manager.domain.exit_orders import is_exit_stop
from risk_manager.domain.holdings import Position
from risk_manager.domain.money import ZERO, dollars
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.view import View

READ_PATIENCE = timedelta(seconds=3)
"""While statements about a contract contradict each other, a list is awaited for this long."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Lots of a position behind a stop, and what one of them loses there. Never below zero."""

    lots: int
    loss_per_lot: Decimal


@dataclass(frozen=True, slots=True)
class Risk:
    """What a position loses at its stops. `unknown` is the number of lots without a known stop."""

    stopped: tuple[Stopped, ...]
    unknown: int

    @property
    def amount(self) -> Decimal:
        return sum((s.lots * s.loss_per_lot for s in self.stopped), ZERO)

    def lots_within(self, limit: Decimal) -> int:
        """Return how many lots may stay. The stops nearest to the market are filled first."""
        kept, left = self.unknown, limit
        for stopped in self.stopped:
            lots = stopped.lots
            if stopped.loss_per_lot * lots > left:
                lots = int((left / stopped.loss_per_lot).to_integral_value(ROUND_FLOOR))
            kept += lots
            left -= lots * stopped.loss_per_lot
            if lots < stopped.lots:
                break
        return kept


class MaxRiskAtEntry(Rule):
    """A position that would lose more than the limit at its stops is reduced or closed.

    It is judged whenever the position or its stops change. Lots without a stop have an unknown
    risk, which is never counted as zero and never acted on: that is the task of RULE-008.
    """

    spec_id: ClassVar[str] = "EXTRA-009"
    title: ClassVar[str] = "Risk to the stop"

    rule: Literal["max_risk_at_entry"] = "max_risk_at_entry"
    limit: Decimal = Field(gt=0, decimal_places=2)
    """The most that a position may lose at its stops, before fees and slippage."""
    grace: Duration = timedelta(seconds=2)
    action: Literal["reduce_to_limit", "close_position"] = "reduce_to_limit"

    def in_words(self) -> str:
        done = "it is reduced" if self.action == "reduce_to_limit" else "it is closed"
        told = (
            f"If a position would lose more than {dollars(self.limit)} at its stops, {done}. "
            "Contracts without a stop are not judged by this rule."
        )
        if self.grace:
            told += (
                f" The stops may be placed within {plain_duration(self.grace)} of an entry first."
            )
        return told

    @property
    def rank(self) -> int:
        return 66

    def is_stricter_than(self, other: Self) -> bool:
        return (
            self.same_but(other, "limit", "grace")
            and self.limit <= other.limit
            and self.grace <= other.grace
        )

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        verdicts: list[Verdict] = []
        account, contracts = view.account, view.state.contracts
        for contract_id, position in account.positions.items():
            given = (self, contracts.get(contract_id), account.orders_in(contract_id))
            known = position.memo.get(self.id)
            if known is not None and known[0] is self and known == given:
                continue  # the same position and the same orders, within the limit before
            risk = self.risk(view, position)
            if risk is None or risk.amount <= self.limit:
                position.memo[self.id] = given
            else:
                verdicts += self._above_limit(view, position, risk)
        return tuple(verdicts) or None

    def _above_limit(self, view: View, position: Position, risk: Risk) -> Iterator[Verdict]:
        contract_id = position.contract_id
        if view.now < position.increased_at + self.grace or not view.projected()[contract_id]:
            return
        # Where stream and list differ about an order, the list of a moment later decides.
        decided_from = view.account.disputed(contract_id)
        if decided_from is not None and view.now < decided_from + READ_PATIENCE:
            if view.now >= decided_from:
                yield bookkeeping(LookAgain())
            return
        name, keep = view.name(contract_id), 0
        if self.action == "reduce_to_limit":
            keep = risk.lots_within(self.limit)
        done = "closing" if not keep else f"reduced to {keep}"
        ask: Ask = ReduceTo(contract_id, keep) if keep else Close(contract_id)
        yield Verdict(
            reason=(
                f"{position.size} {name} would lose {dollars(risk.amount)} at the stop, limit "
                f"{dollars(self.limit)}; {done}"
            ),
            subject=position.subject,
            asks=(ask,),
        )

    def risk(self, view: View, position: Position) -> Risk | None:
        """Return what the position loses at its stops; None while it cannot be worked out."""
        contract = view.state.contracts.get(position.contract_id)
        average = position.average_price
        if contract is None or average is None or not position.sided:
            return None
        stops = []
        for order in view.account.orders_in(position.contract_id):
            if is_exit_stop(order, position) and order.stop_price is not None:
                ticks = (average - order.stop_price) * position.side / contract.tick_size
                stops.append(Stopped(order.remaining, max(ticks, ZERO) * contract.tick_value))
        stops.sort(key=lambda s: s.loss_per_lot)
        left = position.size
        counted: list[Stopped] = []
        for stop in stops:
            if left:
                counted.append(Stopped(min(stop.lots, left), stop.loss_per_lot))
                left -= counted[-1].lots
        return Risk(tuple(counted), left)

    def meter(self, view: View) -> Meter:
        most: tuple[Decimal, Position] | None = None
        unknown = ""
        for position in view.account.positions.values():
            risk = self.risk(view, position)
            if risk is None or risk.unknown:
                unknown = view.name(position.contract_id)
            if risk is not None and (most is None or risk.amount > most[0]):
                most = risk.amount, position
        current: Decimal | None = ZERO
        state = MeterState.OK
        sentence = f"flat; a position may lose {dollars(self.limit)} at its stops"
        if most is not None:
            current, held = most
            sentence = f"{held.size} {view.name(held.contract_id)} lose {dollars(current)}"
            sentence += f" at the stop, limit {dollars(self.limit)}"
            state = MeterState.BREACH if current > self.limit else MeterState.OK
        if unknown and state is MeterState.OK:
            current, state = None, MeterState.UNKNOWN
            sentence = f"{unknown} has no stop for all its contracts: its risk is not known"
        return self.reading(
            current=current, limit=self.limit, unit="USD", sentence=sentence, state=state
        )
