"""Ranges of money, as a close that never happened has no single price."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple, Self

from risk_manager.domain.money import ZERO, dollars


class Between(NamedTuple):
    """An amount in account currency that lies between two bounds, both included."""

    low: Decimal
    high: Decimal

    @classmethod
    def exactly(cls, amount: Decimal) -> Self:
        return cls(amount, amount)

    @classmethod
    def total(cls, parts: Iterable["Between"]) -> Self:
        kept = list(parts)
        return cls(sum((p.low for p in kept), ZERO), sum((p.high for p in kept), ZERO))

    def less(self, amount: Decimal) -> "Between":
        return Between(self.low - amount, self.high - amount)

    @property
    def gained(self) -> "Between":
        """The part above zero."""
        return Between(max(self.low, ZERO), max(self.high, ZERO))

    @property
    def lost(self) -> "Between":
        """The part below zero, as a positive amount."""
        return Between(max(-self.high, ZERO), max(-self.low, ZERO))

    def __str__(self) -> str:
        if self.low == self.high:
            return dollars(self.low)
        return f"{dollars(self.low)} to {dollars(self.high)}"


NOTHING = Between(ZERO, ZERO)
