"""The memory of RULE-012 for an episode, and the progress that a price adds to it."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from risk_manager.rules.trade_management.configuration import Configuration
from risk_manager.rules.trade_management.levels import Levels


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of one episode. Prices in ticks times the side: higher is better.

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
def recalled(text: str) -> Memory:
    """The memory that was written as this text."""
    words = dict(word.partition("=")[::2] for word in text.split())
    values: dict[str, Any] = {name: int(words[name]) for name in _NUMBERS if name in words}
    values |= {name: name in words for name in _FLAGS}
    return Memory(**values, stage=words.get("stage", ""))


NOTHING = Memory()


def advanced(config: Configuration, known: Memory, levels: Levels, price: int) -> Memory:
    """The memory with all that this price has reached; the same value where that is nothing new."""
    trigger = config.breakeven.enabled and not known.breakeven and price >= levels.breakeven_at
    high = known.high
    if config.trailing.enabled:
        if high is None:
            high = price if price >= levels.trail_at else None
        elif price > high:
            high = price
    if not trigger and high == known.high:
        return known
    return replace(known, high=high, breakeven=known.breakeven or trigger)


def next_watch(config: Configuration, memory: Memory, levels: Levels) -> int | None:
    """The next price at which something new happens; None where nothing will."""
    prices = []
    if config.breakeven.enabled and not memory.breakeven:
        prices.append(levels.breakeven_at)
    if config.trailing.enabled:
        prices.append(levels.trail_at if memory.high is None else memory.high + 1)
    return min(prices, default=None)
