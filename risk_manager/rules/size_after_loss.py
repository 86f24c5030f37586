"""EXTRA-024: no larger size after a losing trade."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from risk_manager.domain.decisions import Ask, Cancel, Close, ReduceTo, Verdict
from risk_manager.domain.durations import Duration, plain_duration
from risk_manager.domain.executions import ROUND_TURN_SETTLE, Execution
from risk_manager.domain.fill_attribution import enforced_by
from risk_manager.domain.holdings import Position
from risk_manager.domain.money import ZERO, dollars
from risk_manager.domain.round_turns import RoundTurn
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.rulebook import PnlBasis
from risk_manager.domain.view import View
from risk_manager.rules.pauses import in_whole_seconds, is_gross
from risk_manager.rules.position_life import Change, is_reversal, largest_size, life_of

ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Cap:
    """The lots that an entry may reach after a losing trade, and that trade."""

    lots: int
    loser: RoundTurn
    order_id: int


class SizeAfterLoss(Rule):
    """An entry soon after a losing trade may not be larger than that trade was.

    The latest losing trade that ended before the entry counts. A trade lasts from flat to flat or
    to the other side, and its size is the most it held at one time. An entry is an order, dated by
    its first fill. An entry that began before the loss is left alone, and so is the new side of a
    reversal.
    """

    spec_id: ClassVar[str] = "EXTRA-024"
    title: ClassVar[str] = "Size after a loss"

    rule: Literal["size_after_loss"] = "size_after_loss"
    factor: Decimal = Field(default=ONE, gt=0, le=100, decimal_places=2)
    window: Duration = timedelta(minutes=15)
    """So long after the losing trade its size is the limit."""
    trip: Literal["over", "reach"] = "over"
    scope: Literal["account", "root"] = "account"
    scratch_below: Decimal = Field(default=ZERO, ge=0, decimal_places=2)
    action: Literal["reduce_to_limit", "close_position"] = "reduce_to_limit"
    include_enforced: bool = False
    pnl_basis: PnlBasis | None = None

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.window <= timedelta(0):
            raise ValueError('window must be longer than zero, as "15m"')
        if self.trip == "reach" and self.factor <= 1:
            raise ValueError(
                f"trip: reach with factor {self.factor} would forbid entries of the same size; "
                "use trip: over, or a factor above 1"
            )
        return self

    def in_words(self) -> str:
        where = " of the same product" if self.scope == "root" else ""
        bound = "above" if self.trip == "over" else "of"
        or_more = "" if self.trip == "over" else " or more"
        done = "reduced" if self.action == "reduce_to_limit" else "closed"
        told = (
            f"For {plain_duration(self.window)} after a losing trade{where}, an entry {bound} "
            f"{self.factor.normalize():f} times its size{or_more} is {done}."
        )
        if self.scope == "account":
            told += " Products are compared in micros."
        if self.scratch_below:
            told += f" A loss of up to {dollars(self.scratch_below)} does not count."
        if not self.include_enforced:
            told += " What this program closed does not count."
        return told

    @property
    def rank(self) -> int:
        return 71

    def is_stricter_than(self, other: Self) -> bool:
        return (
            self.same_but(other, "factor", "window")
            and self.factor <= other.factor
            and self.window >= other.window
        )

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        account = view.account
        if not account.positions or not account.ledger.finished_turns:
            return None
        verdicts: list[Verdict] = []
        for position in account.positions.values():
            known = position.memo.get(self.id)
            same = (self, account.ledger, view.state.rulebook)
            if known is not None and all(a is b for a, b in zip(known, same, strict=True)):
                continue
            verdicts += self._judge_position(view, position)
        return tuple(verdicts) or None

    def _judge_position(self, view: View, position: Position) -> Iterator[Verdict]:
        life = life_of(view, position)
        if life is None:
            return  # unknown: judged once executions and position agree
        allowed, cap = self._allowed(view, life)
        if cap is None or position.size <= allowed:
            position.memo[self.id] = (self, view.account.ledger, view.state.rulebook)
            return
        contract_id = position.contract_id
        if abs(view.projected()[contract_id]) <= allowed:
            return
        keep = 0 if self.action == "close_position" else allowed
        ask: Ask = ReduceTo(contract_id, keep) if keep else Close(contract_id)
        working = [o.id for o in view.entry_orders(contract_id) if o.id == cap.order_id]
        loser = cap.loser
        lost = f"{view.name(loser.contract_id)} trade of {self._size(view, loser)}"
        yield Verdict(
            reason=(
                f"{position.size} {view.name(contract_id)} after a losing {lost}: "
                f"{cap.lots} allowed; {f'reduced to {keep}' if keep else 'closing'}"
            ),
            subject=f"{position.subject}:{loser.name}",
            asks=(ask, Cancel(tuple(working))) if working else (ask,),
        )

    # --- what an entry may reach ---

    def _allowed(self, view: View, life: tuple[Change, ...]) -> tuple[int, Cap | None]:
        """Return how many lots may stay, and the cap that cut the latest entry, if one did."""
        allowed, cut = 0, None
        caps: dict[int, Cap | None] = {}
        for change in life:
            if not change.added:
                allowed = min(allowed, change.after)
                continue
            e = change.execution
            if e.order_id not in caps:
                is_exempt = change is life[0] and is_reversal(view.account.ledger, e)
                first = view.account.ledger.increasing_orders().get(e.order_id, e)
                caps[e.order_id] = None if is_exempt else self._cap(view, first)
            cap = caps[e.order_id]
            wanted = allowed + change.added
            allowed = wanted if cap is None else max(allowed, min(wanted, cap.lots))
            if cap is not None and allowed < wanted:
                cut = cap
        return allowed, cut

    def _cap(self, view: View, first: Execution) -> Cap | None:
        """Return the cap on an entry with this first fill; None where no loss came before it."""
        root = view.root(first.contract_id)
        for loser in self._losers(view):
            last = loser.last
            if last.order_id == first.order_id or not _is_before(last, first):
                continue
            if self.scope == "root" and view.root(loser.contract_id) != root:
                continue
            if first.executed_at - last.executed_at > self.window:
                return None
            return Cap(self._lots(view, loser, root), loser, first.order_id)
        return None

    def _lots(self, view: View, loser: RoundTurn, root: str) -> int:
        weigh = view.state.rulebook.symbols.weight
        weight = weigh(root)
        least = weight if self.scope == "root" else ONE
        of_loser = self._size(view, loser) * weigh(view.root(loser.contract_id))
        lots = max(self.factor * of_loser, least) / weight
        if self.trip == "reach" and self.factor * of_loser > least:
            return int(lots.to_integral_value(ROUND_CEILING)) - 1
        return int(lots.to_integral_value(ROUND_FLOOR))

    def _size(self, view: View, loser: RoundTurn) -> int:
        return largest_size(view.account.ledger, loser)

    def _losers(self, view: View) -> Iterator[RoundTurn]:
        """The losing trades that count, newest first."""
        gross = is_gross(view, self.pnl_basis)
        for turn in reversed(view.account.ledger.finished_turns):
            if (turn.pnl if gross else turn.net) < -self.scratch_below and (
                self.include_enforced or not enforced_by(view.account, turn.last)
            ):
                yield turn

    # --- for people ---

    def meter(self, view: View) -> Meter:
        loser = next(self._losers(view), None)
        left = timedelta(0)
        if loser is not None:
            left = loser.last.counts_from + self.window - view.now
        if loser is None or left <= timedelta(0):
            return self.reading(
                current=ZERO,
                limit=None,
                unit="contracts",
                sentence="no losing trade lately: any size",
            )
        root = view.root(loser.contract_id)
        lots = self._lots(view, loser, root)
        held = max(
            (
                p.size
                for p in view.account.positions.values()
                if view.root(p.contract_id) == root
                and p.opened_at >= loser.last.received_at - ROUND_TURN_SETTLE
            ),
            default=0,
        )
        return self.reading(
            current=Decimal(held),
            limit=Decimal(lots),
            unit="contracts",
            sentence=f"at most {lots} {root} for another {in_whole_seconds(left)} after a loss",
            state=MeterState.WARN,
        )


def _is_before(one: Execution, other: Execution) -> bool:
    return (one.executed_at, one.id) < (other.executed_at, other.id)
