"""One fill as the gateway tells it."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from risk_manager.domain.money import ZERO
from risk_manager.domain.records import OrderSide, TradeRecord
from risk_manager.domain.trading_calendar import TradingDay

ROUND_TURN_SETTLE = timedelta(milliseconds=750)
HEARD_AT_ONCE = timedelta(seconds=5)
"""A fill that reached us later than this after it happened was reported afterwards."""
type TradeKey = int | tuple[int, int]
"""An execution: the gateway's trade id, and of a further one under the same id also its part."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One fill. `pnl` before fees, None for an opening half-turn; `fees` never negative.

    `part` tells apart what comes under one trade id, as both halves of a reversal may.
    """

    id: int
    contract_id: str
    order_id: int
    side: OrderSide
    size: int
    price: Decimal
    pnl: Decimal | None
    fees: Decimal
    voided: bool
    executed_at: datetime
    received_at: datetime
    trading_date: date
    part: int = 0

    @property
    def key(self) -> TradeKey:
        return (self.id, self.part) if self.part else self.id

    @property
    def name(self) -> str:
        return f"{self.id}.{self.part}" if self.part else str(self.id)

    @property
    def net(self) -> Decimal:
        """P&L less fees; an opening half-turn is worth minus its fees."""
        return (self.pnl or ZERO) - self.fees

    @property
    def signed_size(self) -> int:
        return self.side.sign * self.size

    @property
    def counts_from(self) -> datetime:
        """When a pause that this fill starts begins: at receipt, so that no clock of the gateway
        shortens it; for a fill reported afterwards, when it happened."""
        late = self.received_at - self.executed_at > HEARD_AT_ONCE
        return self.executed_at if late else self.received_at

    @classmethod
    def of(
        cls,
        record: TradeRecord,
        received_at: datetime,
        day: TradingDay,
        today: date = date.max,
    ) -> "Execution":
        """A fill as the gateway tells it. One of a trading date that has not begun counts today:
        where the gateway's clock is ahead of ours it would else count on a day nobody judges."""
        return cls(
            id=record.id,
            contract_id=record.contract_id,
            order_id=record.order_id,
            side=record.side,
            size=record.size,
            price=record.price,
            pnl=record.profit_and_loss,
            fees=record.fees,
            voided=record.voided,
            executed_at=record.creation_timestamp,
            received_at=received_at,
            # By its own timestamp: a fill of 16:59:59 that arrives at 17:00:02 is yesterday's.
            trading_date=min(day.date_of(record.creation_timestamp), today),
        )
