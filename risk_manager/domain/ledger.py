"""Executions of the trading day, each counted once, and what follows from them by summing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType

from risk_manager.domain.evolve import evolve
from risk_manager.domain.money import ZERO
from risk_manager.domain.records import OrderSide, TradeRecord
from risk_manager.domain.trading_calendar import TradingDay

ROUND_TURN_SETTLE = timedelta(milliseconds=750)
HEARD_AT_ONCE = timedelta(seconds=5)
"""A fill that reached us later than this after it happened was reported afterwards."""
_EMPTY: Mapping[int, "Execution"] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One fill. `pnl` before fees, None for an opening half-turn; `fees` never negative."""

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
    def of(cls, record: TradeRecord, received_at: datetime, day: TradingDay) -> "Execution":
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
            trading_date=day.date_of(record.creation_timestamp),
        )


@dataclass(frozen=True, slots=True)
class DayTotals:
    """One trading date of one account, voided executions left out. Money in account currency."""

    pnl: Decimal = ZERO
    fees: Decimal = ZERO
    executions: int = 0

    @property
    def net(self) -> Decimal:
        return self.pnl - self.fees

    def plus(self, execution: Execution, sign: int) -> "DayTotals":
        if execution.voided:
            return self
        return DayTotals(
            pnl=self.pnl + sign * (execution.pnl or ZERO),
            fees=self.fees + sign * execution.fees,
            executions=self.executions + sign,
        )


NOTHING_YET = DayTotals()


@dataclass(frozen=True, kw_only=True)
class RoundTurn:
    """All executions of one order that realised P&L: what a trader calls one closed trade."""

    order_id: int
    contract_id: str
    pnl: Decimal
    fees: Decimal
    size: int
    first_at: datetime
    last_at: datetime
    last_id: int
    trading_date: date

    @property
    def net(self) -> Decimal:
        """P&L less fees, the opening half's fees included where they are known."""
        return self.pnl - self.fees

    def settled(self, now: datetime, settle: timedelta = ROUND_TURN_SETTLE) -> bool:
        """Whether no further fill of the same order is to be expected."""
        return now - self.last_at >= settle


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """What one position has realised since it was opened, as far as the executions show it.

    `in_step` False: executions and position do not agree, one of them has not arrived (yet).
    `heard_at` is when the newest execution of the contract was received.
    """

    pnl: Decimal
    fees: Decimal
    in_step: bool
    heard_at: datetime | None

    @property
    def net(self) -> Decimal:
        return self.pnl - self.fees


@dataclass(frozen=True)
class Ledger:
    """Executions keyed by the gateway's trade id: duplicates, replays and voids are harmless."""

    entries: Mapping[int, Execution] = _EMPTY
    totals: Mapping[date, DayTotals] = field(default_factory=lambda: MappingProxyType({}))

    def day(self, day: date) -> DayTotals:
        return self.totals.get(day, NOTHING_YET)

    def record(self, execution: Execution) -> "Ledger":
        """With this execution, once. A voided one undoes itself and never comes back."""
        known = self.entries.get(execution.id)
        if known is not None:
            if known.voided and not execution.voided:
                return self
            execution = evolve(execution, received_at=known.received_at)
            if known == execution:
                return self
        totals = dict(self.totals)
        if known is not None:
            totals[known.trading_date] = self.day(known.trading_date).plus(known, -1)
        day = execution.trading_date
        totals[day] = totals.get(day, NOTHING_YET).plus(execution, +1)
        return Ledger({**self.entries, execution.id: execution}, totals)

    def forget_before(self, day: date) -> "Ledger":
        """Without the executions of trading dates before `day` (the store keeps them)."""
        if all(e.trading_date >= day for e in self.entries.values()):
            return self
        kept = {i: e for i, e in self.entries.items() if e.trading_date >= day}
        return Ledger(kept, {d: t for d, t in self.totals.items() if d >= day})

    def on(self, day: date) -> Iterator[Execution]:
        """The executions of one trading date that stand, oldest first."""
        return iter(
            sorted(
                (e for e in self.entries.values() if e.trading_date == day and not e.voided),
                key=lambda e: (e.executed_at, e.id),
            )
        )

    def standing(self) -> list[Execution]:
        """All executions that are not voided, oldest first."""
        return list(self._oldest_first)

    # Worked out once for each ledger: the next execution makes a new one.

    @cached_property
    def newest(self) -> Execution | None:
        """The last one recorded, which is the last one received, whatever its own time."""
        return list(self.entries.values())[-1] if self.entries else None

    @cached_property
    def _oldest_first(self) -> tuple[Execution, ...]:
        standing = (e for e in self.entries.values() if not e.voided)
        return tuple(sorted(standing, key=lambda e: (e.executed_at, e.id)))

    @cached_property
    def _round_turns(self) -> tuple[RoundTurn, ...]:
        return round_turns_of(self._oldest_first)

    @cached_property
    def _episodes(self) -> dict[tuple[str, int], EpisodeResult]:
        return {}

    def round_turns(self) -> tuple[RoundTurn, ...]:
        """Closed trades, oldest first. See `round_turns_of`."""
        return self._round_turns

    def episode(self, contract_id: str, net: int) -> EpisodeResult:
        """What the position that now stands at `net` has realised since it was opened."""
        known = self._episodes.get((contract_id, net))
        if known is None:
            known = self._episodes[contract_id, net] = _episode(
                [e for e in self._oldest_first if e.contract_id == contract_id], net
            )
        return known

    @cached_property
    def _increasing(self) -> Mapping[int, Execution]:
        first: dict[int, Execution] = {}
        for execution in self._oldest_first:
            if execution.pnl is None:
                first.setdefault(execution.order_id, execution)
        return MappingProxyType(first)

    def increasing_orders(self) -> Mapping[int, Execution]:
        """The first fill of each order that opened or added: what a trader counts as an entry.

        A half-turn without P&L is one that opened or added. A reversal is one entry.
        """
        return self._increasing


def _episode(executions: list[Execution], net: int) -> EpisodeResult:
    """Backwards from `net` to the execution that opened it."""
    heard_at = executions[-1].received_at if executions else None
    pnl = fees = ZERO
    in_step = False
    held = net
    for e in reversed(executions):
        before = held - e.signed_size
        if before * net <= 0:
            # Opened here; or, where one execution turned it round, that one realised the old side.
            in_step = (before == 0) == (e.pnl is None)
            break
        if (abs(before) < abs(held)) != (e.pnl is None):
            break
        if e.pnl is not None:
            pnl += e.pnl
            fees += e.fees
        held = before
    return EpisodeResult(pnl, fees, in_step, heard_at)


def round_turns_of(executions: Iterable[Execution]) -> tuple[RoundTurn, ...]:
    """Group what realised P&L by order, and charge each lot its share of the opening fees.

    Executions must be oldest first. Opening fees are matched to closes first in, first out, lot
    by lot, so that a loss is judged with what it really cost.
    """
    open_fees: dict[str, list[tuple[int, Decimal]]] = {}
    turns: dict[int, RoundTurn] = {}
    for e in executions:
        if e.pnl is None:
            open_fees.setdefault(e.contract_id, []).append((e.size, e.fees))
            continue
        fees = e.fees + _take_fees(open_fees.setdefault(e.contract_id, []), e.size)
        known = turns.get(e.order_id)
        if known is None:
            turns[e.order_id] = RoundTurn(
                order_id=e.order_id,
                contract_id=e.contract_id,
                pnl=e.pnl,
                fees=fees,
                size=e.size,
                first_at=e.executed_at,
                last_at=e.executed_at,
                last_id=e.id,
                trading_date=e.trading_date,
            )
        else:
            turns[e.order_id] = evolve(
                known,
                pnl=known.pnl + e.pnl,
                fees=known.fees + fees,
                size=known.size + e.size,
                last_at=e.executed_at,
                last_id=e.id,
                trading_date=e.trading_date,
            )
    return tuple(sorted(turns.values(), key=lambda t: (t.last_at, t.last_id)))


def _take_fees(waiting: list[tuple[int, Decimal]], size: int) -> Decimal:
    taken = ZERO
    while size > 0 and waiting:
        lots, fees = waiting[0]
        used = min(lots, size)
        share = fees * used / lots if lots else ZERO
        taken += share
        size -= used
        if used == lots:
            waiting.pop(0)
        else:
            waiting[0] = (lots - used, fees - share)
    return taken
