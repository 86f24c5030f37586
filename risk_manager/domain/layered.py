"""Frozen mappings that stay cheap to change when they grow to thousands of entries.

Copying a whole dictionary for each change costs time in proportion to its size: twenty thousand
orders reported at once would keep the daemon busy for minutes. Here a change copies the newest
layer only (`LAYER` entries at most). Small mappings stay plain dictionaries, which are faster to
read.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from risk_manager.domain.holdings import Order

SMALL = 64
"""Up to this many entries, copying a plain dictionary is as fast."""
LAYER = 1024
"""After this many changes all layers are merged into a new dictionary."""
_GONE: Any = object()
_ABSENT: Any = object()


class Layered[K, V](Mapping[K, V]):
    """A fixed dictionary, and above it the changes made since."""

    def __init__(
        self, below: Mapping[K, V], above: Mapping[K, V] | None = None, size: int | None = None
    ) -> None:
        self._below = below
        self._above: Mapping[K, V] = {} if above is None else above
        self._size = len(below) if size is None else size

    @cached_property
    def whole(self) -> Mapping[K, V]:
        """All entries as one plain dictionary."""
        if not self._above:
            return self._below
        return {k: v for k, v in {**self._below, **self._above}.items() if v is not _GONE}

    @cached_property
    def all_values(self) -> tuple[V, ...]:
        return tuple(self.whole.values())

    def plus(self, key: K, value: V) -> "Layered[K, V]":
        """Return the mapping with this entry added or replaced."""
        if len(self._above) >= LAYER or self._above.get(key) is _GONE:
            # A key that was removed and comes back goes last, as in a dictionary.
            return Layered({**self.whole, key: value})
        size = self._size + (key not in self)
        return Layered(self._below, {**self._above, key: value}, size)

    def minus(self, key: K) -> "Layered[K, V]":
        if key not in self:
            return self
        if len(self._above) >= LAYER or key not in self._below:
            return Layered({k: v for k, v in self.whole.items() if k != key})
        return Layered(self._below, {**self._above, key: _GONE}, self._size - 1)

    def touched_since(self, old: "Layered[K, V]") -> Iterable[K]:
        """Every key that may have changed since `old`, whichever of the two has it."""
        if old is self:
            return ()
        if old._below is self._below:
            return dict.fromkeys((*old._above, *self._above))
        before, after = old.whole, self.whole
        changed = [k for k, v in after.items() if before.get(k, _ABSENT) is not v]
        return changed + [k for k in before if k not in after]

    def __getitem__(self, key: K) -> V:
        found: V = self.get(key, _ABSENT)
        if found is _ABSENT:
            raise KeyError(key)
        return found

    def get(self, key: K, default: Any = None) -> Any:
        found = self._above.get(key, _ABSENT)
        if found is _ABSENT:
            return self._below.get(key, default)
        return default if found is _GONE else found

    def __contains__(self, key: object) -> bool:
        return self.get(key, _ABSENT) is not _ABSENT  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[K]:
        return iter(self.whole)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"Layered({self.whole!r})"


def plus[K, V](mapping: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    """Return the mapping with this entry added or replaced."""
    if isinstance(mapping, Layered):
        return mapping.plus(key, value)
    changed = {**mapping, key: value}
    return changed if len(changed) <= SMALL else Layered(changed)


class ManyOrders(Mapping[int, "Order"]):
    """Working orders by their ids, kept apart by contract.

    `own` are the contracts that may hold orders placed by this program.
    """

    def __init__(
        self, parts: Mapping[str, Layered[int, "Order"]], own: frozenset[str] = frozenset()
    ) -> None:
        self._parts = parts
        self.own = own

    @classmethod
    def of(cls, orders: Mapping[int, "Order"]) -> "ManyOrders":
        if isinstance(orders, ManyOrders):
            return orders
        parts: dict[str, dict[int, Order]] = {}
        own = set()
        for order in orders.values():
            parts.setdefault(order.contract_id, {})[order.id] = order
            if order.is_own:
                own.add(order.contract_id)
        layers = {contract_id: Layered(part) for contract_id, part in parts.items()}
        return cls(layers, frozenset(own))

    @property
    def contracts(self) -> Iterable[str]:
        return self._parts.keys()

    def in_contract(self, contract_id: str) -> tuple["Order", ...]:
        part = self._parts.get(contract_id)
        return part.all_values if part is not None else ()

    def plus(self, order: "Order") -> "ManyOrders":
        part = self._parts.get(order.contract_id)
        changed = Layered({order.id: order}) if part is None else part.plus(order.id, order)
        own = self.own | {order.contract_id} if order.is_own else self.own
        return ManyOrders({**self._parts, order.contract_id: changed}, own)

    def minus(self, order_id: int) -> "ManyOrders":
        for contract_id, part in self._parts.items():
            if order_id in part:
                left = part.minus(order_id)
                parts = {**self._parts, contract_id: left}
                if not left:
                    del parts[contract_id]
                return ManyOrders(parts, self.own)
        return self

    def touched_since(self, old: "ManyOrders") -> Iterator[int]:
        """The id of every order that may have changed since `old`."""
        nothing: Layered[int, Order] = Layered({})
        for contract_id in dict.fromkeys((*old._parts, *self._parts)):
            before = old._parts.get(contract_id, nothing)
            yield from self._parts.get(contract_id, nothing).touched_since(before)

    def __getitem__(self, order_id: int) -> "Order":
        found: Order | None = self.get(order_id)
        if found is None:
            raise KeyError(order_id)
        return found

    def get(self, order_id: int, default: Any = None) -> Any:
        for part in self._parts.values():
            found = part.get(order_id)
            if found is not None:
                return found
        return default

    def __contains__(self, order_id: object) -> bool:
        return any(order_id in part for part in self._parts.values())

    def __iter__(self) -> Iterator[int]:
        for part in self._parts.values():
            yield from part

    def __len__(self) -> int:
        return sum(map(len, self._parts.values()))

    def __repr__(self) -> str:
        return f"ManyOrders({dict(self)!r})"


def with_order(orders: Mapping[int, "Order"], order: "Order") -> Mapping[int, "Order"]:
    """Return the working orders with this one added or replaced."""
    if isinstance(orders, ManyOrders):
        return orders.plus(order)
    changed = {**orders, order.id: order}
    return changed if len(changed) <= SMALL else ManyOrders.of(changed)


def without_order(orders: Mapping[int, "Order"], order_id: int) -> Mapping[int, "Order"]:
    """Return the working orders without this one."""
    if isinstance(orders, ManyOrders):
        left = orders.minus(order_id)
        return left if len(left) > SMALL // 2 else dict(left)
    return {k: v for k, v in orders.items() if k != order_id}
