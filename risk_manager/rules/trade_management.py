"""RULE-012: stops that are placed, moved to breakeven and trailed for the trader."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

from risk_manager.domain.account import Mark
from risk_manager.domain.decisions import Ask, Close, Forget, Protect, Remember, Severity, Verdict
from risk_manager.domain.durations import Duration, plain_duration
from risk_manager.domain.events import QuoteChanged, Tick
from risk_manager.domain.exit_orders import WORKING, is_exit_stop, stop_ticks, target_ticks
from risk_manager.domain.holdings import Order, Position
from risk_manager.domain.money import Band
from risk_manager.domain.records import OrderType
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.symbols import Contract
from risk_manager.domain.view import View

MOVABLE = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
"""A stop that trails natively is the platform's to move."""

FILL_PATIENCE = timedelta(seconds=2)
"""A stop that has ended may have filled: the position is heard of in a moment."""


class InitialStop(BaseModel):
    """A stop this far from the average price, where the position has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    ticks: PositiveInt = 40


class TakeProfit(BaseModel):
    """A target this far from the average price, placed once where the position has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    ticks: PositiveInt = 80


class Breakeven(BaseModel):
    """At `trigger_ticks` of profit the stop goes to the average price plus `offset_ticks`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    trigger_ticks: PositiveInt = 10
    offset_ticks: int = 1
    if_through: Literal["close", "skip"] = "skip"

    @model_validator(mode="after")
    def _offset_below_trigger(self) -> "Breakeven":
        if self.offset_ticks >= self.trigger_ticks:
            raise ValueError(
                f"offset_ticks {self.offset_ticks} must be below trigger_ticks "
                f"{self.trigger_ticks}: the stop would stand at or beyond the market"
            )
        return self


class Trailing(BaseModel):
    """From `activation_ticks` of profit the stop follows the best price at `distance_ticks`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    activation_ticks: PositiveInt = 20
    distance_ticks: PositiveInt = 10
    step_ticks: PositiveInt = 1
    min_interval: Duration = timedelta(seconds=1)
    if_through: Literal["close", "skip"] = "close"

    @model_validator(mode="after")
    def _not_too_often(self) -> "Trailing":
        if self.min_interval < timedelta(milliseconds=250):
            raise ValueError(
                f"min_interval: {plain_duration(self.min_interval)} is shorter than 250ms"
            )
        return self


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of an episode. Prices in ticks times the side: higher is better.

    `stop` is the one asked for so far, `high` the best price since trailing began, `order` the
    stop that was managed last. `seen` is set once the working stop stood at `stop`: a trader's
    own stop that is loosened afterwards is moved again only for a better one. `watch` is the
    price at which something new happens, `idle` says that nothing waits for the clock.
    """

    stop: int | None = None
    high: int | None = None
    order: int | None = None
    watch: int | None = None
    stage: str = ""
    breakeven: bool = False
    seen: bool = False
    target: bool = False
    idle: bool = False

    def __str__(self) -> str:
        words = [f"{n}={v}" for n in _NUMBERS if (v := getattr(self, n)) is not None]
        words += [f"stage={self.stage}"] if self.stage else []
        return " ".join(words + [name for name in _FLAGS if getattr(self, name)])


_NUMBERS = ("stop", "high", "order", "watch")
_FLAGS = ("breakeven", "seen", "target", "idle")


@lru_cache(maxsize=4096)
def _memory(text: str) -> Memory:
    words = dict(word.partition("=")[::2] for word in text.split())
    values: dict[str, Any] = {name: int(words[name]) for name in _NUMBERS if name in words}
    values |= {name: name in words for name in _FLAGS}
    return Memory(**values, stage=words.get("stage", ""))


NOTHING = Memory()


@dataclass(frozen=True, slots=True)
class Levels:
    """Where things happen for one position, in ticks times its side: higher is better."""

    initial: int
    breakeven_at: int
    breakeven: int
    trail_at: int
    target: int


@lru_cache(maxsize=1024)
def _levels(
    average: Decimal, side: int, tick: Decimal, ticks: tuple[int, int, int, int, int]
) -> Levels:
    initial, trigger, offset, activation, target = ticks

    def stop(away: int) -> int:
        return side * stop_ticks(average + side * away * tick, side, tick)

    return Levels(
        initial=stop(-initial),
        breakeven_at=stop(trigger),
        breakeven=stop(offset),
        trail_at=stop(activation),
        target=side * target_ticks(average + side * target * tick, side, tick),
    )


class TradeManagement(Rule):
    """Moves one stop per position, and only ever closer to the market."""

    spec_id: ClassVar[str] = "RULE-012"
    title: ClassVar[str] = "Stop management"
    uses_prices: ClassVar[bool] = True

    rule: Literal["trade_management"] = "trade_management"
    enabled: bool = False
    initial_stop: InitialStop = InitialStop()
    take_profit: TakeProfit = TakeProfit()
    breakeven: Breakeven = Breakeven()
    trailing: Trailing = Trailing()
    price: Literal["last", "executable"] = "last"
    adopt_manual_stops: Literal["improve_only", "never"] = "improve_only"
    resize_with_position: bool = True

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
            if mark is not None and self._is_quiet(view, position, _memory(mark.value)):
                return None
            return self._position(view, position, mark) or None
        if not account.positions and not account.marks:
            return None
        verdicts: list[Verdict] = []
        alive: set[str] = set()
        for position in account.positions.values():
            subject = position.subject
            alive.add(subject)
            mark = account.marks.get((self.id, subject))
            if mark is not None:
                memory = _memory(mark.value)
                if type(event) is Tick and self._is_quiet(view, position, memory):
                    continue
                if self._still_holds(view, position, mark, memory):
                    continue
            verdicts += self._position(view, position, mark)
        gone = [m.subject for m in view.marks(self.id) if m.subject not in alive]
        if gone:
            asks = tuple(Forget(subject) for subject in gone)
            verdicts.append(Verdict(reason="noted", subject="memory", asks=asks, silent=True))
        return tuple(verdicts) or None

    def quiet_between(self, view: View, position: Position) -> Band | None:
        mark, valuation = view.mark(self.id, position.subject), position.valuation
        if mark is None or valuation is None:
            return None
        memory = _memory(mark.value)
        if not memory.idle:
            return None
        if memory.watch is None:
            return Band()
        if position.net > 0:
            return Band(high=(memory.watch - 1) * valuation.tick_size)
        return Band(low=(1 - memory.watch) * valuation.tick_size)

    # --- one position ---

    def _is_quiet(self, view: View, position: Position, memory: Memory) -> bool:
        """Whether the price changes nothing; asked hundreds of times a second."""
        if not memory.idle:
            return False
        watch, valuation = memory.watch, position.valuation
        if watch is None or valuation is None:
            return True
        quote = view.state.quotes.get(position.contract_id)
        if quote is None:
            return True
        price = quote.last_price
        if self.price == "executable":
            near = quote.best_bid if position.net > 0 else quote.best_ask
            price = price if near is None else near
        if price is None:
            return True
        ticks = round(price / valuation.tick_size)
        return (ticks if position.net > 0 else -ticks) < watch

    def _still_holds(self, view: View, position: Position, mark: Mark, memory: Memory) -> bool:
        """Whether this very position was judged before, all else was the same, and it waits for
        nothing but a price that is not there."""
        if not self._is_quiet(view, position, memory):
            return False
        known = position.worked_out.get(self.id)
        return (
            known is not None
            and known[0] is self
            and known == self._circumstances(view, position, mark, memory)
        )

    def _circumstances(
        self, view: View, position: Position, mark: Mark, memory: Memory
    ) -> tuple[object, ...]:
        """Besides price and time, all that the plan for a position follows from."""
        return (
            self,
            mark,
            view.account.finished.get(memory.order or 0),
            view.account.orders_in(position.contract_id),
            view.state.contracts.get(position.contract_id),
        )

    def _position(self, view: View, position: Position, mark: Mark | None) -> tuple[Verdict, ...]:
        contract = view.state.contracts.get(position.contract_id)
        if contract is None or position.average_price is None or position.valuation is None:
            return ()
        if not view.projected()[position.contract_id]:
            return ()  # it is being closed
        known = NOTHING if mark is None else _memory(mark.value)
        levels = self._levels(position.average_price, position.side, contract)
        price = self._price(view, position)
        now = known
        if price is not None:
            now = self._advanced(known, levels, price)
        verdicts = tuple(_Plan(self, view, position, contract, mark, known, now, levels).verdicts())
        if mark is not None and not verdicts:
            position.worked_out[self.id] = self._circumstances(view, position, mark, known)
        return verdicts

    def watch(self, memory: Memory, levels: Levels) -> int | None:
        """The next price at which something new happens; None where nothing will."""
        prices = []
        if self.breakeven.enabled and not memory.breakeven:
            prices.append(levels.breakeven_at)
        if self.trailing.enabled:
            prices.append(levels.trail_at if memory.high is None else memory.high + 1)
        return min(prices, default=None)

    def _levels(self, average: Decimal, side: int, contract: Contract) -> Levels:
        return _levels(average, side, contract.tick_size, self._distances)

    @cached_property
    def _distances(self) -> tuple[int, int, int, int, int]:
        return (
            self.initial_stop.ticks,
            self.breakeven.trigger_ticks,
            self.breakeven.offset_ticks,
            self.trailing.activation_ticks,
            self.take_profit.ticks,
        )

    def _price(self, view: View, position: Position) -> int | None:
        """The price that profit is measured at, in ticks times the side; None if untrusted."""
        quote = view.quote(position.contract_id)
        valuation = position.valuation
        if quote is None or valuation is None:
            return None
        price = quote.last_price
        if self.price == "executable":
            near = quote.best_bid if position.net > 0 else quote.best_ask
            price = price if near is None else near
        if price is None:
            return None
        return position.side * round(price / valuation.tick_size)

    def _advanced(self, known: Memory, levels: Levels, price: int) -> Memory:
        """With what this price has reached; the same value when it reached nothing new."""
        trigger = self.breakeven.enabled and not known.breakeven and price >= levels.breakeven_at
        high = known.high
        if self.trailing.enabled:
            if high is None:
                high = price if price >= levels.trail_at else None
            elif price > high:
                high = price
        if not trigger and high == known.high:
            return known
        return replace(known, high=high, breakeven=known.breakeven or trigger)

    # --- the meter ---

    def meter(self, view: View) -> Meter:
        """The first position held: what its stop is doing, and what comes next."""
        sentence, current, limit = "flat", None, None
        state = MeterState.OK
        for position in view.account.positions.values():
            contract = view.state.contracts.get(position.contract_id)
            if contract is None or position.average_price is None:
                sentence, state = "tick size or average price is not known", MeterState.UNKNOWN
                break
            name = view.name(position.contract_id)
            mark = view.mark(self.id, position.subject)
            memory = NOTHING if mark is None else _memory(mark.value)
            if memory.stop is not None:
                stop = memory.stop * position.side * contract.tick_size
                sentence = f"{name}: {memory.stage} stop at {stop}"
                break
            levels = self._levels(position.average_price, position.side, contract)
            price = self._price(view, position)
            steps = [
                (at, word)
                for at, word, on in (
                    (levels.breakeven_at, "breakeven", self.breakeven.enabled),
                    (levels.trail_at, "trailing", self.trailing.enabled),
                )
                if on
            ]
            if price is None or not steps:
                sentence = f"{name}: {'no trusted price' if steps else 'nothing to move'}"
                state = MeterState.UNKNOWN if steps else MeterState.OK
                break
            at, word = min(steps)
            entry = levels.breakeven_at - self.breakeven.trigger_ticks
            current, limit = Decimal(price - entry), Decimal(at - entry)
            sentence = f"{name}: {word} in {at - price} ticks"
            break
        return Meter(
            rule_id=self.id,
            spec_id=self.spec_id,
            title=self.title,
            current=current,
            limit=limit,
            unit="ticks",
            sentence=sentence,
            state=state,
        )


class _Plan:
    """What to do about one position now; lives for one judgement."""

    def __init__(
        self,
        rule: TradeManagement,
        view: View,
        position: Position,
        contract: Contract,
        mark: Mark | None,
        known: Memory,
        now: Memory,
        levels: Levels,
    ) -> None:
        self.rule = rule
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
        if limits or self.rule.take_profit.enabled:
            asks += self._target(limits)
        idle = not (asks or told or self.waits)
        watch = self.rule.watch(self.memory, self.levels)
        if idle != self.memory.idle or watch != self.memory.watch:
            self.memory = replace(self.memory, idle=idle, watch=watch)
        changed = self.memory is not self.known and self.memory != self.known
        if changed or (self.mark and self.due_at != self.mark.due_at):
            memory = Remember(self.position.subject, due_at=self.due_at, value=str(self.memory))
            yield Verdict(reason="noted", subject="memory", asks=(memory,), silent=True)
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
        if self.rule.adopt_manual_stops == "never":
            return None
        movable = [o for o in stops if o.stop_price is not None and o.type in MOVABLE]
        return min(movable, key=lambda o: (-o.remaining, o.id), default=None)

    def _aim(self, stops: list[Order]) -> None:
        """Set the stop to ask for: the tightest reached, never looser than the last."""
        memory, rule = self.memory, self.rule
        if memory.breakeven and not self.known.breakeven:
            self._tighten(self.levels.breakeven, "breakeven")
        if memory.high is not None:
            trail = memory.high - rule.trailing.distance_ticks
            stop = self.memory.stop
            far_enough = stop is None or trail - stop >= rule.trailing.step_ticks
            if far_enough and self.due_at is not None and self.view.now < self.due_at:
                self.waits = True
            elif far_enough:
                self._tighten(trail, "trailing")
                self.due_at = self.view.now + max(rule.trailing.min_interval, self._pace())
        if rule.initial_stop.enabled and (
            (memory.stop is None and not stops) or memory.stage == "initial"
        ):
            self._tighten(self.levels.initial, "initial")

    def _pace(self) -> timedelta:
        """Trailing stops share what the closing of positions can spare of a minute's calls."""
        account = self.view.account
        limit = self.view.state.rulebook.defaults.max_calls_a_minute
        return account.brake.pace(self.view.now, limit, len(account.positions))

    def _tighten(self, stop: int, stage: str) -> None:
        if self.memory.stop is None or stop > self.memory.stop:
            self.memory = replace(self.memory, stop=stop, stage=stage, seen=False)

    def _settled(self) -> bool:
        """Whether the stop managed last has not just ended: its fill would flatten us."""
        ended = self.view.account.finished.get(self.memory.order or 0)
        return ended is None or self.view.now - ended.at >= FILL_PATIENCE

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
        if managed is not None and not self.rule.resize_with_position:
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
            return None  # no fresh price to check it against; the next quote brings it back
        if near is None or stop < near:
            return self._protect(stop, managed, size)
        words = (
            f"{self.memory.stage} stop {self._price(stop)} in "
            f"{self.view.name(self.position.contract_id)} is through the market "
            f"({self._price(near)})"
        )
        closes = {
            "initial": True,
            "breakeven": self.rule.breakeven.if_through == "close",
            "trailing": self.rule.trailing.if_through == "close",
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
            # Cut back elsewhere; a target of the right size is placed when it is gone.
            self.memory = replace(self.memory, target=False)
        if own and not self.memory.target and working <= self.position.size:
            self.memory = replace(self.memory, target=True)
        if not self.rule.take_profit.enabled:
            return
        grown = (
            self.rule.resize_with_position
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
        if quote is None:
            return None
        near = quote.best_bid if self.position.net > 0 else quote.best_ask
        price = quote.last_price if near is None else near
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
