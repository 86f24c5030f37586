"""One fill as the gateway reports it."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from risk_manager.domain.money import ZERO
from risk_manager.domain.records import OrderSide, TradeRecord
from risk_manager.domain.trading_calendar import TradingDay

ROUND_TURN_SETTLE = timedelta(milliseconds=750)
HEARD_AT_ONCE = timedelta(seconds=5)
"""A fill that arrives later than this after its own timestamp counts as reported late."""
type TradeKey = int | tuple[int, int]
"""The gateway's trade id; for a further execution under the same id, (trade id, part)."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One fill. `pnl` is before fees, and None for an opening half-turn. `fees` is never negative.

    `part` tells apart executions under one trade id, such as the two halves of a reversal.
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
        """P&L less fees. An opening half-turn counts as minus its fees."""
        return (self.pnl or ZERO) - self.fees

    @property
    def signed_size(self) -> int:
        return self.side.sign * self.size

    @property
    def counts_from(self) -> datetime:
        """The instant from which a pause caused by this fill counts.

        It is the receipt, so that the gateway's clock cannot shorten the pause. For a fill
        reported late it is the execution time.
        """
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
        """Make an execution from the gateway's record.

        A fill dated on a later trading date than `today` counts today. Otherwise, with the
        gateway's clock ahead of ours, it would count on a day that no rule judges yet.
        """
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
            # By the fill's own timestamp: one of 16:59:59 that arrives at 17:00:02 is yesterday's.
            trading_date=min(day.date_of(record.creation_timestamp), today),
        )
