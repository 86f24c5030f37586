"""Compares the stops that work with the stops that stood before, lot by lot.

A level is a stop price in ticks times the side of the position: higher is nearer to profit. Which
order holds a lot does not matter, as a stop that is cancelled and placed anew, split, or merged
with another one protects as before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from risk_manager.domain.exit_orders import is_exit_stop, stop_ticks
from risk_manager.domain.holdings import Order, Position
from risk_manager.domain.records import OrderType
from risk_manager.domain.symbols import Contract


class Stop(NamedTuple):
    """A working exit stop. `level` None: its price is not known."""

    order: Order
    level: int | None

    @property
    def is_elastic(self) -> bool:
        """Whether it counts as in place wherever it is: the platform itself moves it."""
        return self.level is None or self.order.type is OrderType.TRAILING_STOP


@dataclass(frozen=True, slots=True)
class Comparison:
    """What has become of the levels that stood before.

    `unmet` are the levels, highest first, that no lot of a working stop stands at or above.
    `spare` are the ids of the working stops with lots that met none. `too_low` maps those of them
    that are wanted elsewhere to the levels that these lots should take. `missing` are the unmet
    levels without any such lot: their stop is gone. `under_elastic` are levels met by a stop whose
    price may change.
    """

    unmet: tuple[int, ...]
    spare: frozenset[int]
    too_low: dict[int, tuple[int, ...]]
    missing: tuple[int, ...]
    under_elastic: tuple[int, ...]


def stops_of(position: Position, orders: Iterable[Order], contract: Contract) -> tuple[Stop, ...]:
    """Return the working exit stops of a position."""
    side, tick = position.side, contract.tick_size
    return tuple(
        Stop(o, None if o.stop_price is None else side * stop_ticks(o.stop_price, -side, tick))
        for o in orders
        if is_exit_stop(o, position)
    )


def levels_of(stops: Iterable[Stop], size: int) -> tuple[int, ...]:
    """Return the known level of each lot behind a stop, highest first; of `size` lots at most.

    If there are more, the lowest count: the surplus will be taken away.
    """
    levels = [s.level for s in stops for _ in range(s.order.remaining) if s.level is not None]
    return tuple(sorted(levels, reverse=True)[-size:])


def stand_as_before(reference: Sequence[int], stops: Sequence[Stop], size: int) -> bool:
    """Whether each lot stands at exactly its level of before: the usual case.

    Then `compared` finds none unmet, and `raised` leaves the reference as it is.
    """
    for stop in stops:
        if stop.is_elastic:
            return False
    return levels_of(stops, size) == reference


def compared(reference: Sequence[int], stops: Sequence[Stop]) -> Comparison:
    """Compare the stops with the levels that stood before, one per lot, highest first."""
    free = list(reference)
    spare: list[Stop] = []  # once per lot
    firm = [s for s in stops if not s.is_elastic]
    for stop in sorted(firm, key=lambda s: (s.level or 0, s.order.id)):
        for _ in range(stop.order.remaining):
            met = next((i for i, level in enumerate(free) if level <= (stop.level or 0)), None)
            if met is None:
                spare.append(stop)
            else:
                del free[met]
    elastic = sum(s.order.remaining for s in stops if s.is_elastic)
    under_elastic, free = free[:elastic], free[elastic:]
    spare.reverse()  # the highest first, as the levels are
    too_low: dict[int, tuple[int, ...]] = {}
    for stop, level in zip(spare, free, strict=False):
        too_low[stop.order.id] = (*too_low.get(stop.order.id, ()), level)
    return Comparison(
        unmet=tuple(free),
        spare=frozenset(s.order.id for s in spare),
        too_low=too_low,
        missing=tuple(free[len(spare) :]),
        under_elastic=tuple(under_elastic),
    )


def after_reduction(reference: Sequence[int], lots: int) -> tuple[int, ...]:
    """Return the levels to expect after the position became smaller by so many lots.

    Which stop went with the lots is not known. The highest are dropped, so that no stop is missed
    that has filled or was cancelled with its target.
    """
    return tuple(reference[max(lots, 0) :])


def raised(
    reference: Sequence[int], found: Comparison, stops: Iterable[Stop], size: int
) -> tuple[int, ...]:
    """Return the levels that stand now, where none of those before is unmet.

    A lot behind an elastic stop keeps the level that it met, unless the stop is known to be higher.
    """
    stops = tuple(stops)
    elastic = _higher(found.under_elastic, levels_of((s for s in stops if s.is_elastic), size))
    firm = levels_of((s for s in stops if not s.is_elastic), size)
    now = sorted((*firm, *elastic), reverse=True)[-size:]
    return _higher(reference, now)


def _higher(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    """Return the higher of each pair; where one is longer, the rest of it."""
    longer = one if len(one) > len(other) else other
    return (*map(max, one, other), *longer[min(len(one), len(other)) :])


def joint_level(stop: Stop, levels: Sequence[int], lots: int) -> int:
    """Return the level at which `lots` of a stop together risk no more than lot by lot.

    `levels` are those that some of these lots should take; the others may stay where they are.
    """
    lots = max(lots, len(levels))
    total = sum(levels) + (stop.level or 0) * (lots - len(levels))
    return -(-total // lots)
