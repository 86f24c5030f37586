"""A seeded market that moves the prices of the practice exchange realistically.

Each leader (ES, NQ, RTY, CL, GC, 6E) walks in ticks: a slow trend, a weak pull back to its anchor,
volatility that comes in clusters, and for the index products a shared factor. A micro quotes its
leader's price. Only seconds of market time count here; who advances it decides how fast they pass.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from random import Random

from risk_manager.practice.exchange import Exchange
from risk_manager.practice.products import BELOW_ZERO, BY_ROOT, Contract

INDEX_LEADERS = frozenset({"ES", "NQ", "RTY"})
INDEX_CORRELATION = 0.85
CALM_RETURN_PER_SECOND = 1 / 600  # how fast volatility forgets a burst
VOLATILITY_JITTER = 0.04
TREND_JITTER = 0.004
TREND_MEMORY_SECONDS = 240.0
PULL_PER_SECOND = 1 / 7200
LOWEST_LEVEL = 100.0  # ticks, where a price cannot be negative
QUOTE_CHANCE = 0.7  # a contract whose price did not change still quotes this often


@dataclass(slots=True)
class _Push:
    ticks_per_second: float
    seconds_left: float


@dataclass(slots=True)
class _Walk:
    """A leader's path. `level` is in ticks and need not be whole."""

    level: float
    anchor: float
    wander: float
    log_volatility: float = 0.0
    trend: float = 0.0
    pushes: list[_Push] = field(default_factory=list)
    lowest: float = LOWEST_LEVEL


class Market:
    """Moves the prices of an exchange. The same seed and steps give the same prices.

    `step_seconds` is the market time of one `step`, so a contract quotes at most 1/step_seconds
    times a market second.
    """

    def __init__(
        self,
        exchange: Exchange,
        seed: int = 7,
        *,
        roots: Iterable[str] | None = None,
        step_seconds: float = 0.25,
    ) -> None:
        self.exchange = exchange
        self.step_seconds = step_seconds
        self.paused = False
        self._random = Random(seed)
        wanted = None if roots is None else set(roots)
        self._contracts: list[Contract] = [
            contract
            for contract in exchange.contracts.values()
            if wanted is None or contract.root in wanted
        ]
        self._silent: set[str] = set()
        self._walks: dict[str, _Walk] = {}
        for contract in self._contracts:
            leader = BY_ROOT[contract.product.leader]
            if leader.root not in self._walks:
                start = float(exchange.book(contract.id).last / leader.tick_size)
                walk = _Walk(start, start, leader.ticks_per_root_second)
                if leader.root in BELOW_ZERO:
                    walk.lowest = -math.inf
                self._walks[leader.root] = walk

    def push(self, root: str, ticks: float, over_seconds: float) -> None:
        """Lean on a product's price: `ticks` (signed) over so many seconds of market time.

        A push on a micro moves its mini too. The random walk goes on, subdued, under the push.
        """
        if over_seconds <= 0:
            raise ValueError("a push takes time")
        walk = self._walks[BY_ROOT[root].leader]
        walk.pushes.append(_Push(ticks / over_seconds, over_seconds))

    def set_level(self, root: str, price: Decimal) -> None:
        """Put a product's walk (and so its next quote) at `price`."""
        product = BY_ROOT[BY_ROOT[root].leader]
        walk = self._walks[product.root]
        walk.level = walk.anchor = float(price / product.tick_size)

    def gap(self, root: str, fraction: float) -> None:
        """Let a product's price jump by so much of itself (signed); it stays there."""
        walk = self._walks[BY_ROOT[root].leader]
        level = walk.level * (1 + fraction)
        walk.anchor += level - walk.level
        walk.level = level

    def silence(self, root: str, is_silent: bool) -> None:
        """Let one contract's price stand still, without a quote, while its market is open."""
        (self._silent.add if is_silent else self._silent.discard)(root)

    def step(self, now: datetime) -> None:
        """Advance `step_seconds` and quote. Nothing happens while paused."""
        if self.paused:
            return
        dt = self.step_seconds
        shared = self._random.gauss(0.0, 1.0)
        for root, walk in self._walks.items():
            own = self._random.gauss(0.0, 1.0)
            noise = own
            if root in INDEX_LEADERS:
                noise = INDEX_CORRELATION * shared + math.sqrt(1 - INDEX_CORRELATION**2) * own
            self._advance(walk, noise, dt)
        for contract in self._contracts:
            self._quote(contract, self._walks[contract.product.leader], now)

    def _advance(self, walk: _Walk, noise: float, dt: float) -> None:
        root_dt = math.sqrt(dt)
        walk.log_volatility += (
            -walk.log_volatility * CALM_RETURN_PER_SECOND * dt
            + VOLATILITY_JITTER * root_dt * self._random.gauss(0.0, 1.0)
        )
        walk.log_volatility = max(-1.0, min(1.2, walk.log_volatility))
        walk.trend += -walk.trend * dt / TREND_MEMORY_SECONDS + (
            TREND_JITTER * walk.wander * root_dt * self._random.gauss(0.0, 1.0)
        )
        pushed = 0.0
        for push in walk.pushes:
            lasted = min(dt, push.seconds_left)
            pushed += push.ticks_per_second * lasted
            push.seconds_left -= lasted
        subdued = 0.3 if walk.pushes else 1.0
        walk.pushes = [push for push in walk.pushes if push.seconds_left > 1e-9]
        # A push is news: the walk does not pull back to where it was before.
        walk.anchor += pushed
        walk.level += (
            pushed
            + walk.trend * dt
            + (walk.anchor - walk.level) * PULL_PER_SECOND * dt
            + walk.wander * math.exp(walk.log_volatility) * root_dt * noise * subdued
        )
        walk.level = max(walk.level, walk.lowest)

    def _quote(self, contract: Contract, walk: _Walk, now: datetime) -> None:
        tick = contract.tick_size
        bid = round(walk.level) * tick
        book = self.exchange.book(contract.id)
        if contract.root in self._silent:
            return
        if not book.is_open:
            return  # a shut market is silent; the walk goes on, so it may open with a gap
        if bid == book.bid and self._random.random() > QUOTE_CHANCE:
            return
        excited = walk.log_volatility > 0.6
        spread = 2 if self._random.random() < (0.35 if excited else 0.06) else 1
        ask = bid + tick * spread
        last = ask if self._random.random() < 0.5 else bid
        volume = int(self._random.expovariate(1 / 4)) if self._random.random() < 0.6 else 0
        self.exchange.move_price(contract.id, last, now=now, bid=bid, ask=ask, volume=volume)
