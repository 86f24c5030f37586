"""One contract's market: its prices, whether it is open, and which orders work in it."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from risk_manager.practice.products import Contract
from risk_manager.practice.records import Side


@dataclass(slots=True)
class Book:
    """The top of a contract's book, and the day so far."""

    bid: Decimal
    ask: Decimal
    last: Decimal
    open: Decimal
    high: Decimal
    low: Decimal
    volume: int = 0
    is_open: bool = True
    working: dict[int, None] = field(default_factory=dict)  # order ids, oldest first

    @classmethod
    def opening(cls, contract: Contract) -> "Book":
        """The book of a contract before its first price move."""
        bid = contract.product.start_price
        return cls(bid=bid, ask=bid + contract.tick_size, last=bid, open=bid, high=bid, low=bid)

    def move(self, last: Decimal, bid: Decimal, ask: Decimal, volume: int) -> None:
        """Take a new last price and a new top; ValueError where bid and ask would cross."""
        self.last, self.bid, self.ask = last, bid, ask
        if ask <= bid:
            raise ValueError(f"crossed book: bid {bid}, ask {ask}")
        self.high, self.low = max(self.high, last), min(self.low, last)
        self.volume += volume

    def touch(self, side: Side) -> Decimal:
        """The price at which an order of this side fills at once."""
        return self.ask if side is Side.BUY else self.bid

    def exit_price(self, net: int) -> Decimal:
        """The price at which a position could be closed now."""
        return self.bid if net > 0 else self.ask

    def trail_level(self, side: Side, distance: Decimal) -> Decimal:
        """The stop level that a trailing stop of this side keeps at the last price."""
        return self.last + distance if side is Side.BUY else self.last - distance

    def quote_payload(self, contract: Contract, now: datetime) -> dict[str, Any]:
        change = self.last - self.open
        stamp = now.isoformat()
        return {
            "symbol": contract.product.symbol_id,
            "symbolName": f"/{contract.root}",
            "lastPrice": float(self.last),
            "bestBid": float(self.bid),
            "bestAsk": float(self.ask),
            "change": float(change),
            "changePercent": round(float(change) / float(self.open), 6) if self.open else 0.0,
            "open": float(self.open),
            "high": float(self.high),
            "low": float(self.low),
            "volume": self.volume,
            "lastUpdated": stamp,
            "timestamp": stamp,
        }

    def trade_payload(self, contract: Contract, volume: int, now: datetime) -> dict[str, Any]:
        """A market trade of `volume` lots at the last price."""
        return {
            "symbolId": contract.product.symbol_id,
            "price": float(self.last),
            "timestamp": now.isoformat(),
            "type": 0 if self.last >= self.ask else 1,
            "volume": volume,
        }
