"""RULE-012 itself: it decides which positions are looked at, and when."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from risk_manager.domain.account import Ended, Mark
from risk_manager.domain.decisions import Forget, Verdict, bookkeeping
from risk_manager.domain.events import QuoteChanged, Tick
from risk_manager.domain.holdings import Order, Position
from risk_manager.domain.money import Band
from risk_manager.domain.rule import Meter
from risk_manager.domain.symbols import Contract
from risk_manager.domain.view import View
from risk_manager.rules.trade_management.configuration import Configuration
from risk_manager.rules.trade_management.levels import levels_of, price_of
from risk_manager.rules.trade_management.memory import NOTHING, advanced, recalled
from risk_manager.rules.trade_management.meter import read_meter
from risk_manager.rules.trade_management.plan import Plan
from risk_manager.rules.trade_management.quiet_band import is_in_quiet_band, quiet_band


class _Judged(NamedTuple):
    """All inputs of the plan for a position, except price and time."""

    rule: "TradeManagement"
    mark: Mark
    order: int
    ended: Ended | None
    orders: Sequence[Order]
    contract: Contract


class TradeManagement(Configuration):
    """Moves one stop per position, and only ever closer to the market."""

    spec_id: ClassVar[str] = "RULE-012"
    title: ClassVar[str] = "Stop management"
    uses_prices: ClassVar[bool] = True

    def in_words(self) -> str:
        told = []
        if self.initial_stop.enabled:
            told.append(
                f"A position without a stop gets one {self.initial_stop.ticks} ticks from its "
                "average price."
            )
        if self.take_profit.enabled:
            told.append(f"It gets a target {self.take_profit.ticks} ticks away.")
        if self.breakeven.enabled:
            told.append(
                f"At {self.breakeven.trigger_ticks} ticks of profit the stop moves to the average "
                f"price {self.breakeven.offset_ticks:+d} ticks."
            )
        if self.trailing.enabled:
            told.append(
                f"From {self.trailing.activation_ticks} ticks of profit on it follows the best "
                f"price at {self.trailing.distance_ticks} ticks."
            )
        told.append("A stop is only ever moved closer to the market.")
        return " ".join(told)

    @property
    def rank(self) -> int:
        return 90

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        account = view.account
        event = view.event
        if type(event) is QuoteChanged:
            position = account.positions.get(event.contract_id)
            if position is None or position.valuation is None:
                return None
            mark = account.marks.get((self.id, position.subject))
            if mark is not None and is_in_quiet_band(self, view, position, recalled(mark.value)):
                return None
            return self._position(view, position, mark) or None
        if not account.positions and not account.marks:
            return None
        verdicts: list[Verdict] = []
        rule_id, marks_by_key, is_tick = self.id, account.marks, type(event) is Tick
        known = 0
        for position in account.positions.values():
            mark = marks_by_key.get((rule_id, position.subject))
            if mark is not None:
                known += 1
                if (
                    is_in_quiet_band(self, view, position, recalled(mark.value))
                    if is_tick
                    else self._still_holds(view, position, mark)
                ):
                    continue
            verdicts += self._position(view, position, mark)
        marks = view.marks(self.id)
        if len(marks) > known:
            alive = {p.subject for p in account.positions.values()}
            asks = tuple(Forget(m.subject) for m in marks if m.subject not in alive)
            verdicts.append(bookkeeping(*asks))
        return tuple(verdicts) or None

    def quiet_between(self, view: View, position: Position) -> Band | None:
        mark = view.mark(self.id, position.subject)
        return None if mark is None else quiet_band(position, recalled(mark.value))

    def meter(self, view: View) -> Meter:
        return read_meter(self, view)

    # --- one position ---

    def _still_holds(self, view: View, position: Position, mark: Mark) -> bool:
        """Whether this same position was judged before in the same circumstances, and waits only
        for a price that has not been reached.

        Asked about every position at every event of the account.
        """
        known: _Judged | None = position.memo.get(self.id)
        if known is None:
            return False
        rule, kept_mark, order, ended, orders, contract = known
        account, contract_id = view.account, position.contract_id
        return (
            rule is self
            and (mark is kept_mark or mark == kept_mark)
            and contract is view.state.contracts.get(contract_id)
            and orders == account.orders_in(contract_id)
            and ended == account.finished.get(order)
            and is_in_quiet_band(self, view, position, recalled(mark.value))
        )

    def _position(self, view: View, position: Position, mark: Mark | None) -> tuple[Verdict, ...]:
        contract = view.state.contracts.get(position.contract_id)
        if contract is None or position.average_price is None or position.valuation is None:
            return ()
        if not view.projected()[position.contract_id]:
            return ()  # it is being closed
        known = NOTHING if mark is None else recalled(mark.value)
        levels = levels_of(self, position.average_price, position.side, contract)
        price = price_of(self, view.quote(position.contract_id), position)
        now = known
        if price is not None:
            now = advanced(self, known, levels, price)
        verdicts = tuple(Plan(self, view, position, contract, mark, known, now, levels).verdicts())
        if mark is not None and not verdicts:
            account, contract_id, order = view.account, position.contract_id, known.order or 0
            position.memo[self.id] = _Judged(
                rule=self,
                mark=mark,
                order=order,
                ended=account.finished.get(order),
                orders=account.orders_in(contract_id),
                contract=contract,
            )
        return verdicts
