"""Executions of the trading day, each counted once, and what follows from them by summing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property, reduce
from types import MappingProxyType

from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.money import ZERO
from risk_manager.domain.records import LIST_LAG, OrderSide, TradeRecord
from risk_manager.domain.trading_calendar import TradingDay

ROUND_TURN_SETTLE = timedelta(milliseconds=750)
HEARD_AT_ONCE = timedelta(seconds=5)
"""A fill that reached us later than this after it happened was reported afterwards."""
type TradeKey = int | tuple[int, int]
"""An execution: the gateway's trade id, and of a further one under the same id also its part."""
_EMPTY: Mapping[TradeKey, "Execution"] = MappingProxyType({})


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
    """One trade as traders count it: from flat to flat, or to the other side, by however many
    orders it was scaled in and out.

    `is_over` False: lots of it are still open, and the result is that of the lots closed so far.
    `opened_by` is the id of the execution that opened it. It is None for a close whose opening is
    not known: there each order counts as a trade. `size` counts the lots closed, and `last` is
    the newest execution that closed any.
    """

    contract_id: str
    opened_by: int | None
    pnl: Decimal
    fees: Decimal
    size: int
    first_at: datetime
    last: Execution
    is_over: bool

    @property
    def name(self) -> str:
        """Names the trade, also while it is still growing."""
        return f"turn:{self.order_id}" if self.opened_by is None else f"trade:{self.opened_by}"

    @property
    def order_id(self) -> int:
        """The order that closed lots last."""
        return self.last.order_id

    @property
    def last_at(self) -> datetime:
        return self.last.executed_at

    @property
    def trading_date(self) -> date:
        return self.last.trading_date

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
    """Executions keyed by the gateway's trade id: duplicates, replays and voids are harmless.

    An execution that opens has no P&L and one that closes has, for good. Where one id comes with
    and without, they are the two halves of a reversal, and both count; all else that comes under a
    known id corrects what is known.
    """

    entries: Mapping[TradeKey, Execution] = _EMPTY
    totals: Mapping[date, DayTotals] = field(default_factory=lambda: MappingProxyType({}))

    def day(self, day: date) -> DayTotals:
        return self.totals.get(day, NOTHING_YET)

    def counts(self, trade_id: int) -> int:
        """How many executions stand under a trade id."""
        return sum(not e.voided for e in _parts(self.entries, trade_id))

    def record(self, execution: Execution) -> "Ledger":
        """With this execution, once. A voided one undoes itself and never comes back."""
        return self.stated((execution,))

    def stated(self, executions: Iterable[Execution], *, as_of: datetime | None = None) -> "Ledger":
        """With what one frame or list states. Rows of it that differ are as many executions.

        `as_of` is when a list was asked for: what was told without P&L at first and then with it,
        and is one row of that list, was one execution.
        """
        entries, totals = dict(self.entries), dict(self.totals)
        taken: dict[int, list[Execution]] = {}
        for execution in executions:
            rows = taken.setdefault(execution.id, [])
            parts = _parts(entries, execution.id)
            known = _same(execution, parts) or _corrected(
                execution, [p for p in parts if p not in rows]
            )
            if known is None:
                execution = fast_replace(execution, part=len(parts))
            elif known.voided and not execution.voided:
                rows.append(known)
                continue
            else:
                execution = fast_replace(execution, part=known.part, received_at=known.received_at)
            rows.append(execution)
            _put(entries, totals, execution)
        if as_of is not None:
            for rows in taken.values():
                for first_word in _superseded(rows, _parts(entries, rows[0].id), as_of):
                    _put(entries, totals, fast_replace(first_word, voided=True))
        return self if entries == self.entries else Ledger(entries, totals)

    def carried_over(self, day: TradingDay, old: date, today: date) -> "Ledger":
        """With those that counted on the old date, as their own had not begun, on their own."""
        for e in self.on(old):
            own = min(day.date_of(e.executed_at), today)
            if own > old:
                self = self.record(fast_replace(e, trading_date=own))
        return self

    def forget_before(self, day: date) -> "Ledger":
        """Without the executions of trading dates before `day` (the store keeps them)."""
        if all(e.trading_date >= day for e in self.entries.values()):
            return self
        kept = {k: e for k, e in self.entries.items() if e.trading_date >= day}
        return Ledger(kept, {d: t for d, t in self.totals.items() if d >= day})

    def on(self, day: date) -> Iterator[Execution]:
        """The executions of one trading date that stand, oldest first."""
        return iter(
            sorted(
                (e for e in self.entries.values() if e.trading_date == day and not e.voided),
                key=_age,
            )
        )

    def between(self, start: datetime, end: datetime) -> DayTotals:
        """What was executed from one instant on, before another."""
        inside = (e for e in self.standing() if start <= e.executed_at < end)
        return reduce(lambda totals, e: totals.plus(e, +1), inside, NOTHING_YET)

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
        return tuple(sorted(standing, key=_age))

    @cached_property
    def _round_turns(self) -> tuple[RoundTurn, ...]:
        return round_turns_of(self._oldest_first)

    @cached_property
    def _episodes(self) -> dict[tuple[str, int], EpisodeResult]:
        return {}

    def round_turns(self) -> tuple[RoundTurn, ...]:
        """Trades that have closed lots, oldest first. See `round_turns_of`."""
        return self._round_turns

    def episode(self, contract_id: str, net: int) -> EpisodeResult:
        """What the position that now stands at `net` has realised since it was opened."""
        known = self._episodes.get((contract_id, net))
        if known is None:
            known = self._episodes[contract_id, net] = _episode(
                [e for e in self._oldest_first if e.contract_id == contract_id], net
            )
        return known

    def average_of(self, contract_id: str, net: int) -> Decimal | None:
        """The average price of the position that now stands at `net`, by its fills.

        None where they do not reach back to its opening.
        """
        life: list[Execution] = []
        held = net
        for e in reversed(self._oldest_first):
            if e.contract_id == contract_id:
                life.append(e)
                before = held - e.signed_size
                if before * net <= 0:
                    return _average(life, abs(held), 1 if net > 0 else -1)
                held = before
        return None

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


def _average(newest_first: list[Execution], opened: int, side: int) -> Decimal:
    """Additions are weighed in; what is taken off leaves the average as it was."""
    *later, opening = newest_first
    average, size = opening.price, opened
    for e in reversed(later):
        lots = size + side * e.signed_size
        if lots > size:
            average = (average * size + e.price * e.size) / lots
        size = lots
    return average


def _age(e: Execution) -> tuple[datetime, int, bool, int]:
    """Of one trade id, what closes comes before what opens."""
    return e.executed_at, e.id, e.pnl is None, e.part


def _parts(entries: Mapping[TradeKey, Execution], trade_id: int) -> list[Execution]:
    first = entries.get(trade_id)
    if first is None:
        return []
    parts = [first]
    while (further := entries.get((trade_id, len(parts)))) is not None:
        parts.append(further)
    return parts


def _same(execution: Execution, parts: list[Execution]) -> Execution | None:
    """The one that this is a repeat of."""
    return next(
        (p for p in parts if fast_replace(execution, part=p.part, received_at=p.received_at) == p),
        None,
    )


def _corrected(execution: Execution, parts: list[Execution]) -> Execution | None:
    """The one that this corrects or voids: of its kind, and of those the most alike."""
    alike = [p for p in parts if (p.pnl is None) == (execution.pnl is None)]
    if not alike and execution.voided:
        alike = [p for p in parts if not p.voided]
    return max(alike, key=lambda p: _likeness(execution, p), default=None)


def _likeness(one: Execution, other: Execution) -> int:
    return sum(
        getattr(one, name) == getattr(other, name)
        for name in ("contract_id", "order_id", "side", "size", "price", "executed_at", "pnl")
    )


def _superseded(
    rows: list[Execution], parts: list[Execution], as_of: datetime
) -> Iterator[Execution]:
    """First words without P&L of executions that a list states with it, and only so."""
    for part in parts:
        if part.pnl is not None or part.voided or any(r.key == part.key for r in rows):
            continue
        bare = {"pnl": None, "fees": ZERO, "part": 0, "received_at": part.received_at}
        if as_of >= part.received_at + LIST_LAG and any(
            fast_replace(r, **bare) == fast_replace(part, **bare) for r in rows
        ):
            yield part


def _put(
    entries: dict[TradeKey, Execution], totals: dict[date, DayTotals], execution: Execution
) -> None:
    known = entries.get(execution.key)
    if known == execution:
        return
    if known is not None:
        day = known.trading_date
        totals[day] = totals.get(day, NOTHING_YET).plus(known, -1)
    day = execution.trading_date
    totals[day] = totals.get(day, NOTHING_YET).plus(execution, +1)
    entries[execution.key] = execution


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
    """The trades that have closed lots, by their newest close, each with what it really cost.

    Executions must be oldest first. Opening fees are matched to closes first in, first out, lot
    by lot, so that a trade still open is charged for the lots it has closed.
    """
    books: dict[str, _TradesOfContract] = {}
    for e in executions:
        books.setdefault(e.contract_id, _TradesOfContract()).add(e)
    turns = (turn for book in books.values() for turn in book.round_turns())
    return tuple(sorted(turns, key=lambda t: (t.last_at, t.last.id)))


@dataclass(slots=True, kw_only=True, eq=False)
class _Trade:
    """A trade while it is added up. `net` is signed: its lots that are open."""

    first_at: datetime
    opened_by: int | None = None
    net: int = 0
    is_over: bool = False
    pnl: Decimal = ZERO
    fees: Decimal = ZERO
    size: int = 0
    last: Execution | None = None

    def is_closed_by(self, e: Execution) -> bool:
        return self.net * e.side.sign < 0


class _TradesOfContract:
    """Tells the executions of one contract apart into trades."""

    def __init__(self) -> None:
        self._trades: list[_Trade] = []
        self._open: _Trade | None = None
        # Of a reversal the opening half may come first: what it ended waits for the closing one.
        self._reversed: _Trade | None = None
        self._of_order: dict[int, _Trade] = {}  # closes whose opening is not known
        self._opening_fees: list[tuple[int, Decimal]] = []

    def add(self, e: Execution) -> None:
        if e.pnl is None:
            self._opening_fees.append((e.size, e.fees))
            self._add_opening(e, e.signed_size)
            return
        trade = self._trade_closed_by(e)
        before = trade.net
        trade.net += e.signed_size if before else 0
        trade.pnl += e.pnl
        trade.fees += e.fees + _take_fees(self._opening_fees, e.size)
        trade.size += e.size
        trade.last = e
        if trade is self._open and before * trade.net <= 0:
            opened = trade.net  # one execution may close a position and open the other side
            trade.net, trade.is_over, self._open = 0, True, None
            if opened:
                self._add_opening(e, opened)

    def _add_opening(self, e: Execution, net: int) -> None:
        if self._open is not None and self._open.is_closed_by(e):
            self._reversed, self._open = self._open, None
            self._reversed.is_over = True
        if self._open is None:
            self._open = self._begun(_Trade(first_at=e.executed_at, opened_by=e.id))
        self._open.net += net

    def _trade_closed_by(self, e: Execution) -> _Trade:
        for trade in (self._open, self._reversed):
            if trade is not None and trade.is_closed_by(e):
                return trade
        known = self._of_order.get(e.order_id)
        if known is None:
            known = self._begun(_Trade(first_at=e.executed_at, is_over=True))
            self._of_order[e.order_id] = known
        return known

    def _begun(self, trade: _Trade) -> _Trade:
        self._trades.append(trade)
        return trade

    def round_turns(self) -> Iterator[RoundTurn]:
        for trade in self._trades:
            if trade.last is not None:
                yield RoundTurn(
                    contract_id=trade.last.contract_id,
                    opened_by=trade.opened_by,
                    pnl=trade.pnl,
                    fees=trade.fees,
                    size=trade.size,
                    first_at=trade.first_at,
                    last=trade.last,
                    is_over=trade.is_over,
                )


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
