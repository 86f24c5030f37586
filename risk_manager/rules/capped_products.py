"""Products counted together against one cap, as firms announce it, and how the cap is kept."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
)

from risk_manager.domain.decisions import ReduceTo
from risk_manager.domain.money import ZERO
from risk_manager.domain.symbols import is_pattern
from risk_manager.domain.view import View


def upper_roots(value: Any) -> Any:
    """Return a list of roots in upper case; one root may be written without brackets."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple):
        return [v.upper() if isinstance(v, str) else v for v in value]
    return value


def plain_and_once(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse patterns, contract ids, and a product that is named twice. Raises ValueError."""
    for root in value:
        if not root.strip() or is_pattern(root) or "." in root:
            raise ValueError(f"{root!r} is not a product; write its root, as GC")
    if len(set(value)) < len(value):
        raise ValueError("a product is named twice")
    return value


Roots = Annotated[
    tuple[str, ...],
    BeforeValidator(upper_roots),
    Field(min_length=1),
    AfterValidator(plain_and_once),
]


class CappedProducts(BaseModel):
    """At most `limit` of these products together. A limit of 0 blocks them."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    roots: Roots
    """The products, by root; they count together."""
    limit: NonNegativeInt
    """The most contracts of them; 0 blocks."""
    count: Literal["contracts", "micro_equivalents"] = "contracts"
    """Contracts, or contracts weighed in micros."""

    @property
    def name(self) -> str:
        return " + ".join(self.roots)

    @property
    def unit(self) -> str:
        return "micro-equivalents" if self.count == "micro_equivalents" else "contracts"

    def weight(self, view: View, contract_id: str) -> Decimal:
        """Return what one contract counts as."""
        if self.count == "contracts":
            return Decimal(1)
        return view.state.rulebook.symbols.weight(view.root(contract_id))

    def counted(self, view: View, nets: Mapping[str, int]) -> Decimal:
        """Return how much of the cap these positions take, by their signed sizes."""
        in_play = view.in_play()
        return sum(
            (
                abs(net) * self.weight(view, contract_id)
                for contract_id, net in nets.items()
                if in_play[contract_id] in self.roots
            ),
            ZERO,
        )

    def reductions(self, view: View, nets: Mapping[str, int]) -> list[ReduceTo]:
        """Return reductions by whole contracts, newest first, down to the cap."""
        count = self.counted(view, nets)
        if count <= self.limit:
            return []
        positions = [
            view.account.positions[c] for c, net in nets.items() if net and self.names(view, c)
        ]
        found = []
        for position in sorted(positions, key=lambda p: (p.increased_at, p.size), reverse=True):
            contract_id = position.contract_id
            keep, weight = abs(nets[contract_id]), self.weight(view, contract_id)
            while keep and count > self.limit:
                keep -= 1
                count -= weight
            found.append(ReduceTo(contract_id, keep))
            if count <= self.limit:
                break
        return found

    def is_in_play(self, view: View) -> bool:
        """Whether anything is held or ordered in these products."""
        in_play = view.in_play().values()
        return any(root in in_play for root in self.roots)

    def names(self, view: View, contract_id: str) -> bool:
        return view.root(contract_id) in self.roots

    def entries(self, view: View) -> tuple[int, ...]:
        """Return the ids of the working entry orders in these products."""
        ids = (c for c in view.in_play() if self.names(view, c))
        return tuple(order.id for c in ids for order in view.entry_orders(c))

    def subject(self, view: View, entries: tuple[int, ...]) -> str:
        """Return the name of a breach: the newest position in these products, or an order."""
        held = view.account.positions
        episodes = [p.episode for c, p in held.items() if self.names(view, c)]
        if episodes:
            return f"{self.name}:episode:{max(episodes)}"
        return f"{self.name}:order:{min(entries)}"


def closing(view: View, nets: Mapping[str, int], reductions: Iterable[ReduceTo]) -> str:
    """Say what is closed by these reductions."""
    return ", ".join(
        f"{abs(nets[r.contract_id]) - r.keep} {view.name(r.contract_id)}" for r in reductions
    )


def reduce_in(nets: dict[str, int], reductions: Iterable[ReduceTo]) -> None:
    """Change signed sizes as if these reductions were done."""
    for reduction in reductions:
        net = nets[reduction.contract_id]
        nets[reduction.contract_id] = reduction.keep if net > 0 else -reduction.keep
