"""A position and a working order, as frozen values."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from risk_manager.domain.memo import Memo
from risk_manager.domain.money import Valuation
from risk_manager.domain.records import (
    OWN_TAG,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionRecord,
)

TERMINAL = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED}
)
STOP_TYPES = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})


@dataclass(frozen=True, kw_only=True)
class Position:
    """The position in one contract. `net` is signed (long > 0) and never 0.

    `sided` is False when the gateway did not say which side: `net` is then a gross size, and no P&L
    is known. `episode` numbers the life of a position from flat (or reversal) to flat (or
    reversal); marks and closings refer to it. `average_price` None: unknown. `average_stated`
    False: the broker's last statement left the average out or was far from the fills' average,
    which is used instead.
    """

    contract_id: str
    net: int
    episode: int
    opened_at: datetime
    increased_at: datetime
    average_price: Decimal | None = None
    average_stated: bool = True
    created_at: datetime | None = None
    gateway_id: int = 0
    sided: bool = True
    valuation: Valuation | None = None

    @property
    def size(self) -> int:
        return abs(self.net)

    @property
    def side(self) -> int:
        """+1 long, -1 short."""
        return 1 if self.net > 0 else -1

    def precedes(self, record: PositionRecord) -> bool:
        """Whether the record is a later position, so that this one has ended."""
        return (
            record.id != self.gateway_id
            and record.creation_timestamp is not None
            and self.created_at is not None
            and record.creation_timestamp > self.created_at
        )

    @cached_property
    def subject(self) -> str:
        """The name of the episode, for marks and verdicts of rules."""
        return f"{self.contract_id}:{self.episode}"

    @cached_property
    def priced(self) -> Memo[Any]:
        """The open P&L at the quote it was asked for last: see `View.unrealised`."""
        return Memo()

    @cached_property
    def memo(self) -> Memo[Any]:
        """By rule id: see `rules.trade_management`."""
        return Memo()


@dataclass(frozen=True, kw_only=True)
class Order:
    """A working order (not terminal). `seen_at` is when it was first reported to us."""

    id: int
    contract_id: str
    type: OrderType
    status: OrderStatus
    side: OrderSide
    size: int
    seen_at: datetime
    filled: int = 0
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    custom_tag: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def remaining(self) -> int:
        return max(self.size - self.filled, 0)

    @property
    def is_own(self) -> bool:
        """Whether this program placed it."""
        return self.custom_tag is not None and self.custom_tag.startswith(OWN_TAG)

    @property
    def is_stop(self) -> bool:
        return self.type in STOP_TYPES
