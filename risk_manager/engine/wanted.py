"""Merges what rules and enforcement want in each contract of an account."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Cancel, Protect, ReduceTo
from risk_manager.engine.exit_placement import merged


@dataclass(slots=True)
class Wanted:
    """The merged demands on one contract; the strongest wins.

    `keep` None: leave the position alone; 0: close it; n: reduce it to n contracts.
    """

    keep: int | None = None
    cancel: set[int] = field(default_factory=set)
    cancel_again: set[int] = field(
        default_factory=set
    )  # ended by the stream's word only, to be cancelled once more
    shrink: dict[int, int] = field(default_factory=dict)  # stop order id -> lots it may keep
    rule_ids: list[str] = field(default_factory=list)
    reason: str = ""
    protect: Protect | None = None

    def hold_at_most(self, keep: int, rule_ids: Iterable[str], reason: str) -> None:
        if self.keep is None or keep < self.keep:
            self.keep = keep
            self.reason = reason
        self.name(rule_ids)

    def cancel_orders(self, orders: Iterable[int], rule_ids: Iterable[str], reason: str) -> None:
        self.cancel.update(orders)
        self.reason = self.reason or reason
        self.name(rule_ids)

    def shrink_stops(self, stops: dict[int, int], rule_ids: Iterable[str], reason: str) -> None:
        self.shrink.update(stops)
        self.reason = self.reason or reason
        self.name(rule_ids)

    def name(self, rule_ids: Iterable[str]) -> None:
        self.rule_ids += [r for r in rule_ids if r not in self.rule_ids]


def want_from(
    account: Account,
    ask: Cancel | ReduceTo | Protect,
    rule_id: str,
    reason: str,
    wanted: dict[str, Wanted],
) -> None:
    match ask:
        case ReduceTo(contract_id, keep):
            wanted.setdefault(contract_id, Wanted()).hold_at_most(keep, [rule_id], reason)
        case Cancel(order_ids):
            for order_id in order_ids:
                order = account.orders.get(order_id)
                if order is not None:
                    want = wanted.setdefault(order.contract_id, Wanted())
                    want.cancel_orders([order_id], [rule_id], reason)
        case Protect():
            want = wanted.setdefault(ask.contract_id, Wanted())
            want.protect = merged(want.protect, ask)
            want.name([rule_id])
            want.reason = want.reason or reason
