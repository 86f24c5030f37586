"""RULE-001: cap the number of contracts an account may hold."""

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar, Literal, Self

from pydantic import PositiveInt

from risk_manager.domain.decisions import Ask, Cancel, Flatten, ReduceTo, Verdict
from risk_manager.domain.holdings import Position
from risk_manager.domain.lockout import LockoutSpec
from risk_manager.domain.money import ZERO
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.view import View
from risk_manager.rules.account_locked import lock_allows


class MaxContracts(Rule):
    """At most `limit` contracts; the limit itself is fine, one more is not."""

    spec_id: ClassVar[str] = "RULE-001"
    title: ClassVar[str] = "Contracts held"

    rule: Literal["max_contracts"] = "max_contracts"
    limit: PositiveInt
    """The most contracts that may be held at once; one more is too many."""
    count: Literal["gross", "net", "net_by_symbol", "micro_equivalents"] = "gross"
    """Long and short added (`gross`), the difference (`net`), the difference within each product
    (`net_by_symbol`), or gross with each contract weighed in micros (`micro_equivalents`)."""
    count_working_entries: bool = False
    action: Literal["reduce_to_limit", "close_newest", "close_all"] = "reduce_to_limit"
    """Only what is above the limit, the newest positions whole, or everything."""
    reduce_order: Literal["newest_first", "largest_first", "worst_pnl_first"] = "newest_first"
    """Which positions are reduced first."""
    cancel_entry_orders: bool = True
    """Entry orders are cancelled when the limit is exceeded."""
    lockout: LockoutSpec = None
    """How long the account is locked afterwards."""

    def in_words(self) -> str:
        how = {
            "gross": "longs and shorts of all products together",
            "net": "longs less shorts of all products together",
            "net_by_symbol": "longs less shorts of each product, all products together",
            "micro_equivalents": "all products together, a full-size contract as its micros",
        }[self.count]
        order = self.reduce_order.replace("_", " ").replace("pnl", "result")
        done = {
            "reduce_to_limit": f"what exceeds it is closed, {order}",
            "close_newest": "the newest positions are closed whole",
            "close_all": "everything is closed",
        }[self.action]
        unit = self._unit.removesuffix("s") if self.limit == 1 else self._unit
        told = f"At most {self.limit} {unit}: {how}. Above that, {done}"
        told += ", and entry orders are cancelled." if self.cancel_entry_orders else "."
        if self.count_working_entries:
            told += " Entry orders that would exceed it are cancelled before they fill."
        if self.lockout is not None:
            told += f" The account is locked {self.lockout.in_words()}."
        return told

    @property
    def rank(self) -> int:
        return 75

    def is_stricter_than(self, other: Self) -> bool:
        return (
            self.same_but(other, "limit")
            and self.limit < other.limit
            # Another limit lets other orders of several stay.
            and not self.count_working_entries
        )

    def judge(self, view: View) -> Verdict | None:
        if not view.account.positions and not self.count_working_entries:
            return None
        if self._all_together_are_within(view):
            return None
        held = view.projected()
        count = self._count(view, held)
        if count > self.limit:
            return self._too_many_held(view, held, count)
        if self.count_working_entries:
            return self._too_many_with_entries(view, count)
        return None

    def _all_together_are_within(self, view: View) -> bool:
        """Whether the limit holds even before what was asked so far is done: the usual case."""
        if self.count != "gross" or self.count_working_entries:
            return False
        return view.account.contracts_held <= self.limit

    def _too_many_held(self, view: View, held: Mapping[str, int], count: Decimal) -> Verdict:
        asks: list[Ask] = []
        if self.action == "close_all":
            asks.append(Flatten())
            done = "closing everything"
        else:
            reductions = self._reductions(view, held, count)
            asks += reductions
            done = "closing " + ", ".join(
                f"{abs(held[r.contract_id]) - r.keep} {view.name(r.contract_id)}"
                for r in reductions
            )
        if self.cancel_entry_orders and (entries := view.entry_orders()):
            asks.append(Cancel(tuple(order.id for order in entries)))
        reason = f"holding {_plain(count)} {self._unit}, limit {self.limit}; {done}"
        if self.lockout is not None:
            asks.append(self.lockout.lock(view, self.id, reason))
        newest = max(
            (p for p in view.account.positions.values()), key=lambda p: (p.increased_at, p.episode)
        )
        return Verdict(reason=reason, subject=f"episode:{newest.episode}", asks=tuple(asks))

    def _too_many_with_entries(self, view: View, count: Decimal) -> Verdict | None:
        over: list[int] = []
        for order in view.working_entries():
            weight = self._weight(view, order.contract_id)
            if count + order.remaining * weight > self.limit:
                over.append(order.id)
            else:
                count += order.remaining * weight
        if not over:
            return None
        return Verdict(
            reason=f"entry orders would take the account above {self.limit} {self._unit}; "
            f"cancelled the newest {len(over)}",
            subject=f"orders:{min(over)}",
            asks=(Cancel(tuple(over)),),
        )

    def _count(self, view: View, held: Mapping[str, int]) -> Decimal:
        match self.count:
            case "gross":
                return Decimal(sum(map(abs, held.values())))
            case "net":
                return Decimal(abs(sum(held.values())))
            case "micro_equivalents":
                return sum((abs(n) * self._weight(view, c) for c, n in held.items()), ZERO)
        by_root: dict[str, int] = {}
        for contract_id, net in held.items():
            root = view.root(contract_id)
            by_root[root] = by_root.get(root, 0) + net
        return Decimal(sum(abs(net) for net in by_root.values()))

    def _weight(self, view: View, contract_id: str) -> Decimal:
        if self.count != "micro_equivalents":
            return Decimal(1)
        return view.state.rulebook.symbols.weight(view.root(contract_id))

    @property
    def _unit(self) -> str:
        return "micro-equivalents" if self.count == "micro_equivalents" else "contracts"

    def _reductions(self, view: View, held: Mapping[str, int], count: Decimal) -> list[ReduceTo]:
        """Return reductions by whole contracts, in the configured order, down to the limit."""
        kept = dict(held)
        reductions: dict[str, ReduceTo] = {}
        for position in self._order(view):
            contract_id = position.contract_id
            while kept.get(contract_id, 0) and count > self.limit:
                net = kept[contract_id]
                keep = 0 if self.action == "close_newest" else abs(net) - 1
                trial = {**kept, contract_id: keep if net > 0 else -keep}
                if self._count(view, trial) >= count:
                    break  # a hedge: closing this side would not lower the count
                kept, count = trial, self._count(view, trial)
                reductions[contract_id] = ReduceTo(contract_id, keep)
        return list(reductions.values())

    def _order(self, view: View) -> list[Position]:
        positions = list(view.account.positions.values())
        match self.reduce_order:
            case "newest_first":
                # After a restart all were "increased" at the same report: the largest goes first.
                return sorted(positions, key=lambda p: (p.increased_at, p.size), reverse=True)
            case "largest_first":
                return sorted(positions, key=lambda p: (p.size, p.increased_at), reverse=True)
        return sorted(positions, key=lambda p: view.unrealised(p) or ZERO)

    def meter(self, view: View) -> Meter:
        held = {c: p.net for c, p in view.account.positions.items()}
        count = self._count(view, held)
        left, locked = self.limit - count, lock_allows(view)
        sentence = f"{locked}{_plain(count)} of {self.limit} {self._unit} held"
        if left < 0:
            sentence = f"{_plain(count)} {self._unit} held, {_plain(-left)} above the limit"
        elif not locked:
            sentence += f", room for {_plain(left)}" if left else ", no room"
        return self.reading(
            current=count,
            limit=Decimal(self.limit),
            unit=self._unit,
            sentence=sentence,
            state=MeterState.BREACH
            if left < 0
            else MeterState.WARN
            if left == 0 or locked
            else MeterState.OK,
        )


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
