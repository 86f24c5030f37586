"""Records of the practice exchange: accounts, orders, positions, trades, and their payloads.

Prices and money are `Decimal`; they become floats only in the payloads, as on the gateway's wire.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any, Literal

ZERO = Decimal(0)


class Side(IntEnum):
    BUY = 0
    SELL = 1

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(IntEnum):
    LIMIT = 1
    MARKET = 2
    STOP_LIMIT = 3
    STOP = 4
    TRAILING_STOP = 5
    JOIN_BID = 6
    JOIN_ASK = 7


class OrderStatus(IntEnum):
    NONE = 0
    OPEN = 1
    FILLED = 2
    CANCELLED = 3
    EXPIRED = 4
    REJECTED = 5
    PENDING = 6
    PENDING_CANCELLATION = 7
    SUSPENDED = 8


TERMINAL = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED}
)
WORKING = frozenset({OrderStatus.OPEN, OrderStatus.PENDING})


@dataclass(frozen=True, slots=True)
class Event:
    """One frame's worth of news.

    `kind` is order, trade, position or account (user hub) or quote, market_trade (market hub);
    `action` is 0 added, 1 changed, 2 gone. `contract_id` is empty for account events, `account_id`
    is 0 for market events. `data` is the payload as it goes on the wire.
    """

    kind: Literal["order", "trade", "position", "account", "quote", "market_trade"]
    account_id: int
    contract_id: str
    action: int
    data: Mapping[str, Any]

    @property
    def is_market(self) -> bool:
        return self.kind in ("quote", "market_trade")


@dataclass(slots=True)
class Account:
    """An account. `balance` is the start plus realised P&L less fees; open P&L is not in it."""

    id: int
    name: str
    start_balance: Decimal = Decimal(50_000)
    can_trade: bool = True
    is_visible: bool = True
    simulated: bool = True
    realised: Decimal = ZERO  # before fees
    fees: Decimal = ZERO

    @property
    def balance(self) -> Decimal:
        return self.start_balance + self.realised - self.fees

    def payload(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "balance": float(self.balance),
            "canTrade": self.can_trade,
            "isVisible": self.is_visible,
            "simulated": self.simulated,
        }


@dataclass(slots=True)
class Order:
    """An order through its whole life. Terminal orders are kept for `Order/search`."""

    id: int
    account_id: int
    contract_id: str
    symbol_id: str
    type: OrderType
    side: Side
    size: int
    created_at: datetime
    updated_at: datetime
    status: OrderStatus = OrderStatus.OPEN
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None  # a distance, not a level
    filled: int = 0
    filled_price: Decimal | None = None  # average over all fills
    custom_tag: str | None = None
    parent_id: int | None = None  # bracket children only
    bracket_ticks: int | None = None  # bracket children only; always positive
    triggered: bool = False  # a stop-limit whose stop has been touched
    is_close: bool = False  # placed by the exchange for a close request

    @property
    def remaining(self) -> int:
        return self.size - self.filled

    @property
    def is_working(self) -> bool:
        return self.status in WORKING

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    def payload(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "accountId": self.account_id,
            "contractId": self.contract_id,
            "symbolId": self.symbol_id,
            "creationTimestamp": self.created_at.isoformat(),
            "updateTimestamp": self.updated_at.isoformat(),
            "status": int(self.status),
            "type": int(self.type),
            "side": int(self.side),
            "size": self.size,
            "limitPrice": _wire(self.limit_price),
            "stopPrice": _wire(self.stop_price),
            "fillVolume": self.filled,
            "filledPrice": _wire(self.filled_price),
            "customTag": self.custom_tag,
        }


@dataclass(slots=True)
class Position:
    """The position of an account in a contract. `net` is positive for long, negative for short."""

    id: int
    account_id: int
    contract_id: str
    created_at: datetime
    net: int
    average_price: Decimal

    @property
    def size(self) -> int:
        return abs(self.net)

    def payload(self, *, closed_from: int = 0) -> dict[str, Any]:
        """The wire form; `closed_from` gives the side of a position that is now 0."""
        side_of = self.net or closed_from
        return {
            "id": self.id,
            "accountId": self.account_id,
            "contractId": self.contract_id,
            "creationTimestamp": self.created_at.isoformat(),
            "type": 1 if side_of > 0 else 2,
            "size": self.size,
            "averagePrice": float(self.average_price),
        }


@dataclass(slots=True)
class Trade:
    """A half-turn. `profit_and_loss` is None when it opened or added; fees are never inside it."""

    id: int
    account_id: int
    contract_id: str
    created_at: datetime
    price: Decimal
    profit_and_loss: Decimal | None
    fees: Decimal
    side: Side
    size: int
    order_id: int
    voided: bool = False

    def payload(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "accountId": self.account_id,
            "contractId": self.contract_id,
            "creationTimestamp": self.created_at.isoformat(),
            "price": float(self.price),
            "profitAndLoss": _wire(self.profit_and_loss),
            "fees": float(self.fees),
            "side": int(self.side),
            "size": self.size,
            "voided": self.voided,
            "orderId": self.order_id,
        }


@dataclass(frozen=True, slots=True)
class Bracket:
    """A child order at a distance from the entry's fill. The sign of `ticks` does not matter.

    The gateway wants a negative number for a long's stop; clients differ, and the side is plain
    from the parent.
    """

    ticks: int
    type: OrderType


def _wire(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
