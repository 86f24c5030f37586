"""Judges the guard of stops by what works at the exchange: a worse stop must not stay worse.

Only plain cases are judged: the same position for the whole time, a stop that has stood long
enough to be known, a clear loss from before the change, and a gateway in health.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from risk_manager.practice.records import Order, OrderType, Position

if TYPE_CHECKING:
    from simulation.oracle import Oracle

STOOD_S = 10.0
"""A stop that has stood for so long is known to the daemon."""
MENDED_S = 15.0
"""Within this a widened stop is back or its position closed: the grace, a list, and the request."""
PER_LOT_S = 6.0
"""One order is put back at a time, and a new one waits for a list that knows the last."""
LEAST_LOSS = Decimal(10)
"""Dollars. Beside a smaller loss, a quote that was merged may have told of a profit."""
FRESH_S = 3.0
"""Without a price of the last seconds the daemon cannot tell that a position loses."""
STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)

type Key = tuple[int, str]


@dataclass(slots=True)
class Guarded:
    """A position with its worst stop price times its side; None while a lot of it has no stop.

    `since` is when this began to hold, `worse_since` when it got worse, and `losing_since` when the
    position began to lose clearly, by prices that the daemon was told: None while it does not.
    """

    position_id: int
    size: int
    level: Decimal | None
    since: float
    worse_since: float | None = None
    losing_since: float | None = None


class StopJudge:
    """Looks at each position whenever the oracle looks."""

    def __init__(self, oracle: "Oracle") -> None:
        self._oracle = oracle
        self._world = oracle.world
        self._guarded: dict[Key, Guarded] = {}
        self.judged = 0
        self.longest_s = 0.0

    def look(self) -> None:
        held = {
            (account_id, position.contract_id): position
            for account_id in self._world.account_ids
            for position in self._world.exchange.positions(account_id)
        }
        for key in self._guarded.keys() - held.keys():
            self._is_mended(self._guarded.pop(key))
        for key, position in held.items():
            self._look_at(key, position)

    def _look_at(self, key: Key, position: Position) -> None:
        now = self._world.now
        level, is_elastic = self._level(key, position)
        known = self._guarded.get(key)
        is_same = known is not None and (known.position_id, known.size) == (
            position.id,
            position.size,
        )
        if known is None or not is_same or is_elastic:
            self._guarded[key] = Guarded(position.id, position.size, level, now)
            return
        result = self._world.open_result(position)
        if result > -LEAST_LOSS or self._oracle.price_age_s(key[1]) > FRESH_S:
            known.losing_since = None
        elif known.losing_since is None:
            known.losing_since = now
        if known.level is None or (level is not None and level >= known.level):
            self._is_mended(known)
            if level != known.level:
                known.level, known.since = level, now
            known.worse_since = None
            return
        began = now if known.worse_since is None else known.worse_since
        if known.losing_since is None or not (
            known.since <= began - STOOD_S and known.losing_since <= began - STOOD_S
        ):
            known.level, known.since, known.worse_since = level, now, None
            return
        known.worse_since = began
        limit_s = MENDED_S + PER_LOT_S * (position.size - 1)
        if now - began > limit_s and self._is_plain(key, known.since, position):
            self._guarded[key] = Guarded(position.id, position.size, level, now)
            self._oracle.violate(
                "a stop stayed worse",
                f"{key}: {position.size} held, stop level {known.level} until {now - began:.1f} s "
                f"ago, {level} since, result {result}",
            )

    def _is_mended(self, known: Guarded) -> None:
        if known.worse_since is not None:
            self.judged += 1
            self.longest_s = max(self.longest_s, self._world.now - known.worse_since)

    def _level(self, key: Key, position: Position) -> tuple[Decimal | None, bool]:
        """The worst level of the best stops that cover the position, and whether one trails."""
        side = 1 if position.net > 0 else -1
        orders = list(self._exit_stops(key, side))
        levels = sorted(
            (
                side * order.stop_price
                for order in orders
                if order.stop_price is not None
                for _ in range(order.remaining)
            ),
            reverse=True,
        )
        worst = levels[position.size - 1] if len(levels) >= position.size else None
        return worst, any(order.type not in STOPS for order in orders)

    def _exit_stops(self, key: Key, side: int) -> Iterator[Order]:
        for order in self._world.exchange.working_orders(key[0]):
            is_stop = order.type in (*STOPS, OrderType.TRAILING_STOP)
            if order.contract_id == key[1] and is_stop and order.side.sign == -side:
                yield order

    def _is_plain(self, key: Key, since: float, position: Position) -> bool:
        """Whether the daemon has been able to see all of it since then, and to act."""
        oracle = self._oracle
        return oracle.is_well_served(since) and oracle.told_net(key) == position.net
