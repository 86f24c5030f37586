"""Exact arithmetic with ticks and money."""

from decimal import ROUND_HALF_EVEN, Decimal
from math import inf
from typing import NamedTuple

from risk_manager.domain.symbols import Contract

CENT = Decimal("0.01")
ZERO = Decimal(0)


def cents(amount: Decimal) -> Decimal:
    """Round to whole cents, as shown to people and compared with the broker."""
    return amount.quantize(CENT, rounding=ROUND_HALF_EVEN)


def dollars(amount: Decimal) -> str:
    """Format an amount for a sentence: -$1,234.50."""
    sign = "-" if amount < 0 else ""
    return f"{sign}${abs(cents(amount)):,.2f}"


class Band(NamedTuple):
    """The prices strictly between two bounds."""

    low: float = -inf
    high: float = inf

    def within(self, other: "Band") -> "Band":
        return Band(max(self.low, other.low), min(self.high, other.high))


NOWHERE = Band(inf, -inf)


class Valuation(NamedTuple):
    """The P&L arithmetic of a position, prepared once per change of the position.

    unrealised = price in ticks * `per_tick` - `cost`, all exact. `per_tick` is signed.
    """

    per_tick: Decimal
    cost: Decimal
    tick_size: float
    average_price: float

    @classmethod
    def of(cls, net: int, average_price: Decimal, contract: Contract) -> "Valuation":
        per_tick = net * contract.tick_value
        return cls(
            per_tick=per_tick,
            cost=per_tick * (average_price / contract.tick_size),
            tick_size=float(contract.tick_size),
            average_price=float(average_price),
        )

    def unrealised(self, price: float) -> Decimal:
        """Return the P&L before fees, in account currency, if closed at `price`."""
        return self.per_tick * round(price / self.tick_size) - self.cost

    def above(self, result: Decimal) -> Band:
        """Return the prices at which the P&L is surely above `result`; one tick is left out."""
        ticks = float((result + self.cost) / self.per_tick)
        if self.per_tick > 0:
            return Band(low=(ticks + 1) * self.tick_size)
        return Band(high=(ticks - 1) * self.tick_size)

    def below(self, result: Decimal) -> Band:
        """Return the prices at which the P&L is surely below `result`; one tick is left out."""
        ticks = float((result + self.cost) / self.per_tick)
        if self.per_tick > 0:
            return Band(high=(ticks - 1) * self.tick_size)
        return Band(low=(ticks + 1) * self.tick_size)
