"""The gateway's enums and records, validated from its raw payloads.

Enum values are the gateway's numbers. A number that it adds later reads as unknown and does not
fail.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Self

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

WIRE = ConfigDict(
    frozen=True,
    alias_generator=to_camel,
    validate_by_name=True,
    validate_by_alias=True,
    extra="ignore",
)


LIST_LAG = timedelta(seconds=2)
"""A list may lag behind the stream by this much and miss what the stream has just reported."""

OWN_TAG = "rm-"
"""The prefix of the custom tags of orders that this program placed."""


class OrderType(IntEnum):
    UNKNOWN = 0
    LIMIT = 1
    MARKET = 2
    STOP_LIMIT = 3
    STOP = 4
    TRAILING_STOP = 5
    JOIN_BID = 6
    JOIN_ASK = 7

    @classmethod
    def _missing_(cls, value: object) -> Self:
        return cls(0)


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

    @classmethod
    def _missing_(cls, value: object) -> Self:
        return cls(0)


class OrderSide(IntEnum):
    BUY = 0
    SELL = 1

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is OrderSide.BUY else -1


class PositionType(IntEnum):
    UNDEFINED = 0
    LONG = 1
    SHORT = 2

    @classmethod
    def _missing_(cls, value: object) -> Self:
        return cls(0)


def _to_utc(value: datetime) -> datetime:
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)


UtcTime = Annotated[datetime, AfterValidator(_to_utc)]
"""A gateway timestamp. One without an offset is UTC, as the gateway means it."""


def _real(value: datetime) -> datetime:
    if not 1970 <= value.year < 2200:
        raise ValueError("is not the time of a trade")
    return value


TradeTime = Annotated[UtcTime, AfterValidator(_real)]
"""A timestamp that determines a trading day. .NET's empty date is rejected."""


def _if_known(value: datetime | None) -> datetime | None:
    return value if value is None or 1970 <= value.year < 2200 else None


KnownTime = Annotated[UtcTime | None, AfterValidator(_if_known)]
"""A timestamp, or None where the gateway gives none or sends .NET's empty date."""


class PositionRecord(BaseModel):
    """One open position as the gateway states it; `size` is never negative, 0 means closed."""

    model_config = WIRE

    id: int = 0
    account_id: int
    contract_id: str
    creation_timestamp: KnownTime = None
    type: PositionType = PositionType.UNDEFINED
    size: int = Field(ge=0)
    average_price: Decimal | None = None

    @property
    def net(self) -> int:
        """The signed size: negative for a short position."""
        return -self.size if self.type is PositionType.SHORT else self.size


class OrderRecord(BaseModel):
    """One order as the gateway states it. `size` and `fill_volume` in contracts."""

    model_config = WIRE

    id: int
    account_id: int
    contract_id: str
    symbol_id: str | None = None
    creation_timestamp: KnownTime = None
    update_timestamp: KnownTime = None
    status: OrderStatus
    type: OrderType
    side: OrderSide
    size: int = Field(ge=0)
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    fill_volume: int = 0
    filled_price: Decimal | None = None
    custom_tag: str | None = None


class TradeRecord(BaseModel):
    """One execution (possibly a partial fill).

    `profit_and_loss` is None for a half-turn that opens, 0 for a scratch; it excludes fees.
    `fees` falls back to `commissions` only where the gateway sends no fees: adding both would
    count the same money twice.
    """

    model_config = WIRE

    id: int
    account_id: int
    contract_id: str
    creation_timestamp: TradeTime
    price: Decimal
    profit_and_loss: Decimal | None = None
    fees: Decimal = Field(default=Decimal(0), validation_alias=AliasChoices("fees", "commissions"))
    side: OrderSide
    size: int = Field(ge=0)
    voided: bool = False
    order_id: int


class AccountRecord(BaseModel):
    """The account itself: balance in account currency, and whether the platform lets it trade."""

    model_config = WIRE

    id: int
    name: str = ""
    balance: Decimal | None = None
    can_trade: bool | None = None
    is_visible: bool | None = None
    simulated: bool | None = None
