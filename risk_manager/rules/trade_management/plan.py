"""The plan of RULE-012 for one position: one stop, its level, and one target."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from risk_manager.domain.account import Mark
from risk_manager.domain.decisions import (
    Ask,
    Close,
    Protect,
    Remember,
    Severity,
    Verdict,
    bookkeeping,
)
from risk_manager.domain.exit_orders import WORKING, is_exit_stop, stop_ticks
from risk_manager.domain.holdings import Order, Position
from risk_manager.domain.records import OrderType
from risk_manager.domain.symbols import Contract
from risk_manager.domain.view import View
from risk_manager.rules.trade_management.configuration import Configuration
from risk_manager.rules.trade_management.levels import Levels
from risk_manager.rules.trade_management.memory import Memory, next_watch

MOVABLE = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
"""The types of stops that this rule moves. The platform itself moves its trailing stops."""

ENDED_STOP_PATIENCE = timedelta(seconds=2)
"""A stop that has ended may have filled; the report of the position follows within this time."""


class Plan:
    """The decisions about one position; lives for one judgement."""

    def __init__(
        self,
        config: Configuration,
        view: View,
        position: Position,
        contract: Contract,
        mark: Mark | None,
        known: Memory,
        now: Memory,
        levels: Levels,
    ) -> None:
        self.config = config
        self.view = view
        self.position = position
        self.contract = contract
        self.mark = mark
        self.known = known
        self.memory = now
        self.levels = levels
        self.due_at = mark.due_at if mark else None
        self.waits = False  # for the clock, a price or an answer
        self.exits = [
            o
            for o in view.account.orders_in(position.contract_id)
            if o.side.sign != position.side and o.status in WORKING
        ]

    def verdicts(self) -> Iterator[Verdict]:
        stops = [o for o in self.exits if is_exit_stop(o, self.position)]
        managed = self._managed(stops)
        self._aim(stops)
        asks: list[Ask] = []
        told: list[Verdict] = []
        if self._settled():
            wish = self._wish(stops, managed, told)
            if wish is not None:
                asks.append(wish)
        else:
            self.waits = True
        limits = [o for o in self.exits if o.type is OrderType.LIMIT]
        if limits or self.config.take_profit.enabled:
            asks += self._target(limits)
        idle = not (asks or told or self.waits)
        watch = next_watch(self.config, self.memory, self.levels)
        if idle != self.memory.idle or watch != self.memory.watch:
            self.memory = replace(self.memory, idle=idle, watch=watch)
        changed = self.memory is not self.known and self.memory != self.known
        if changed or (self.mark and self.due_at != self.mark.due_at):
            memory = Remember(self.position.subject, due_at=self.due_at, value=str(self.memory))
            yield bookkeeping(memory)
        yield from told
        if asks:
            yield Verdict(
                reason=self._sentence(asks),
                subject=f"{self.position.subject}:{self.memory.stage or 'exits'}",
                asks=tuple(asks),
                severity=Severity.INFO,
            )

    # --- which stop, and where it should be ---

    def _managed(self, stops: list[Order]) -> Order | None:
        """The one stop that is moved: ours, else the trader's largest if it may be touched."""
        if not stops:
            return None
        own = [o for o in stops if o.is_own]
        if own:
            return min(own, key=lambda o: o.id)
        if self.config.adopt_manual_stops == "never":
            return None
        movable = [o for o in stops if o.stop_price is not None and o.type in MOVABLE]
        return min(movable, key=lambda o: (-o.remaining, o.id), default=None)

    def _aim(self, stops: list[Order]) -> None:
        """Set the stop to ask for: the tightest reached, never looser than the last."""
        memory, config = self.memory, self.config
        if memory.breakeven and not self.known.breakeven:
            self._tighten(self.levels.breakeven, "breakeven")
        if memory.high is not None:
            trail = memory.high - config.trailing.distance_ticks
            stop = self.memory.stop
            far_enough = stop is None or trail - stop >= config.trailing.step_ticks
            if far_enough and self.due_at is not None and self.view.now < self.due_at:
                self.waits = True
            elif far_enough:
                self._tighten(trail, "trailing")
                self.due_at = self.view.now + max(config.trailing.min_interval, self._pace())
        if config.initial_stop.enabled and (
            (memory.stop is None and not stops) or memory.stage == "initial"
        ):
            self._tighten(self.levels.initial, "initial")

    def _pace(self) -> timedelta:
        """Return the interval between moves: trailing stops share the calls that closing spares."""
        account = self.view.account
        limit = self.view.state.rulebook.defaults.max_calls_a_minute
        return account.brake.pace(self.view.now, limit, len(account.positions))

    def _tighten(self, stop: int, stage: str) -> None:
        if self.memory.stop is None or stop > self.memory.stop:
            self.memory = replace(self.memory, stop=stop, stage=stage, seen=False)

    def _settled(self) -> bool:
        """Whether the last managed stop has not just ended, as its fill may have flattened us."""
        ended = self.view.account.finished.get(self.memory.order or 0)
        return ended is None or self.view.now - ended.at >= ENDED_STOP_PATIENCE

    # --- what to ask ---

    def _wish(self, stops: list[Order], managed: Order | None, told: list[Verdict]) -> Ask | None:
        stop = self.memory.stop
        if stop is None or (managed is not None and managed.filled):
            return None
        if managed is not None and managed.id != self.memory.order:
            self.memory = replace(self.memory, order=managed.id)
        room = self.position.size - sum(o.remaining for o in stops if o is not managed)
        if room <= 0:
            return None
        size = room
        if managed is not None and not self.config.resize_with_position:
            size = min(managed.remaining, room)
        stands = None if managed is None else self._sided(managed.stop_price)
        if stands is not None and stands >= stop and not self.memory.seen:
            self.memory = replace(self.memory, seen=True)
        loosened = (
            managed is not None and not managed.is_own and self.memory.seen and stands is not None
        )
        if stands is not None and (stands >= stop or loosened):
            assert managed is not None
            return self._protect(stands, managed, size) if managed.remaining != size else None
        return self._move(stop, managed, size, told)

    def _move(self, stop: int, managed: Order | None, size: int, told: list[Verdict]) -> Ask | None:
        near = self._near()
        if near is None and self.memory.stage != "initial":
            self.waits = True
            return None  # no fresh price to check the stop against; tried again at the next quote
        if near is None or stop < near:
            return self._protect(stop, managed, size)
        words = (
            f"{self.memory.stage} stop {self._price(stop)} in "
            f"{self.view.name(self.position.contract_id)} is through the market "
            f"({self._price(near)})"
        )
        closes = {
            "initial": True,
            "breakeven": self.config.breakeven.if_through == "close",
            "trailing": self.config.trailing.if_through == "close",
        }[self.memory.stage]
        told.append(
            Verdict(
                reason=f"{words}; {'closing' if closes else 'not sent'}",
                subject=f"{self.position.subject}:through:{self.memory.stage}",
                asks=(Close(self.position.contract_id),) if closes else (),
                severity=Severity.BREACH if closes else Severity.WARNING,
            )
        )
        return None

    def _protect(self, stop: int, managed: Order | None, size: int) -> Protect:
        return Protect(
            self.position.contract_id,
            stop_price=self._price(stop),
            stop_order_id=None if managed is None else managed.id,
            size=size,
        )

    def _target(self, limits: list[Order]) -> Iterator[Ask]:
        own = [o for o in limits if o.is_own]
        working = sum(o.remaining for o in limits)
        if working > self.position.size and self.memory.target:
            # The target is being reduced elsewhere; one of the right size follows when it is gone.
            self.memory = replace(self.memory, target=False)
        if own and not self.memory.target and working <= self.position.size:
            self.memory = replace(self.memory, target=True)
        if not self.config.take_profit.enabled:
            return
        grown = (
            self.config.resize_with_position
            and bool(own)
            and working < self.position.size
            and not any(o.filled for o in limits)
        )
        if grown or not (limits or self.memory.target):
            yield Protect(self.position.contract_id, limit_price=self._price(self.levels.target))

    # --- ticks and words ---

    def _sided(self, price: Decimal | None) -> int | None:
        if price is None:
            return None
        side = self.position.side
        return side * stop_ticks(price, -side, self.contract.tick_size)

    def _price(self, sided: int) -> Decimal:
        return sided * self.position.side * self.contract.tick_size

    def _near(self) -> int | None:
        """The price a stop would trigger against now."""
        quote = self.view.quote(self.position.contract_id)
        price = None if quote is None else quote.near(self.position.side)
        if price is None:
            return None
        return self.position.side * round(price / float(self.contract.tick_size))

    def _sentence(self, asks: list[Ask]) -> str:
        name = self.view.name(self.position.contract_id)
        words = []
        for ask in asks:
            match ask:
                case Protect(stop_price=stop) if stop is not None:
                    verb = "placed" if ask.stop_order_id is None else "moved"
                    words.append(f"{self.memory.stage} stop {verb}: {ask.size} at {stop}")
                case Protect(limit_price=limit):
                    words.append(f"target placed at {limit}")
        return f"{name}: {'; '.join(words)}"
