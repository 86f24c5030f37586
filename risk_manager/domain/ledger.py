"""The executions of the trading day, each counted once, and the sums derived from them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property, reduce
from itertools import islice
from types import MappingProxyType
from typing import Any

from risk_manager.domain.executions import Execution, TradeKey
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.memo import Memo
from risk_manager.domain.money import ZERO
from risk_manager.domain.records import LIST_LAG
from risk_manager.domain.round_turns import RoundTurn, RoundTurns
from risk_manager.domain.trading_calendar import TradingDay

_EMPTY: Mapping[TradeKey, "Execution"] = MappingProxyType({})


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


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """The realised result of one position since it was opened, as far as the executions show it.

    `in_step` False: executions and position do not agree, as one of them has not arrived yet.
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

    An opening execution never has a P&L, and a closing one always has. Two executions under one id,
    one with a P&L and one without, are the two halves of a reversal, and both count. Any other
    record under a known id corrects the known one.
    """

    entries: Mapping[TradeKey, Execution] = _EMPTY
    totals: Mapping[date, DayTotals] = field(default_factory=lambda: MappingProxyType({}))

    def day(self, day: date) -> DayTotals:
        return self.totals.get(day, NOTHING_YET)

    def counts(self, trade_id: int) -> int:
        """Return how many executions under a trade id are not voided."""
        return sum(not e.voided for e in _parts(self.entries, trade_id))

    def record(self, execution: Execution) -> "Ledger":
        """Record this execution once. A voided execution is removed from the sums for good."""
        return self.stated((execution,))

    def stated(self, executions: Iterable[Execution], *, as_of: datetime | None = None) -> "Ledger":
        """Record the executions of one frame or list. Rows that differ are separate executions.

        `as_of` is when a list was asked for. An execution first reported without a P&L and then
        with it, of which that list has only one row, was a single execution.
        """
        entries, totals = dict(self.entries), dict(self.totals)
        corrected = False
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
            corrected |= _put(entries, totals, execution)
        if as_of is not None:
            for rows in taken.values():
                for first_word in _superseded(rows, _parts(entries, rows[0].id), as_of):
                    corrected |= _put(entries, totals, fast_replace(first_word, voided=True))
        if entries == self.entries:
            return self
        after = Ledger(entries, totals)
        if not corrected:
            after._take_over(self)
        return after

    def _take_over(self, before: "Ledger") -> None:
        """Extend the cached results of `before`, if all added executions are newer than its own."""
        known = before.__dict__.get("_oldest_first")
        added = sorted(islice(self.entries.values(), len(before.entries), None), key=_age)
        if known is None or any(e.voided for e in added):
            return
        if known and _age(known[-1]) >= _age(added[0]):
            return
        worked_out = self.__dict__
        worked_out["_oldest_first"] = known + tuple(added)
        turns = before.__dict__.get("_round_turns")
        if turns is not None:
            worked_out["_round_turns"] = turns.plus(added)
        increasing = before.__dict__.get("_increasing")
        if increasing is not None:
            worked_out["_increasing"] = _with_first_fills(dict(increasing), added)
        newest = before.__dict__.get("newest_in")
        if newest is not None:
            worked_out["newest_in"] = _with_newest(dict(newest), added)
        traded = {e.contract_id for e in added}
        agreements = before.__dict__.get("_agreements", {})
        worked_out["_agreements"] = {k: v for k, v in agreements.items() if k[0] not in traded}

    def carried_over(self, day: TradingDay, old: date, today: date) -> "Ledger":
        """Move executions that counted on `old`, as their own date had not begun, to that date."""
        for e in self.on(old):
            own = min(day.date_of(e.executed_at), today)
            if own > old:
                self = self.record(fast_replace(e, trading_date=own))
        return self

    def forget_before(self, day: date) -> "Ledger":
        """Drop the executions of trading dates before `day`. The store keeps them."""
        if all(e.trading_date >= day for e in self.entries.values()):
            return self
        kept = {k: e for k, e in self.entries.items() if e.trading_date >= day}
        return Ledger(kept, {d: t for d, t in self.totals.items() if d >= day})

    def on(self, day: date) -> Iterator[Execution]:
        """Yield the executions of one trading date that are not voided, oldest first."""
        return iter(
            sorted(
                (e for e in self.entries.values() if e.trading_date == day and not e.voided),
                key=_age,
            )
        )

    def between(self, start: datetime, end: datetime) -> DayTotals:
        """Return the totals of the executions with start <= time < end."""
        inside = (e for e in self.standing() if start <= e.executed_at < end)
        return reduce(lambda totals, e: totals.plus(e, +1), inside, NOTHING_YET)

    def standing(self) -> list[Execution]:
        """All executions that are not voided, oldest first."""
        return list(self._oldest_first)

    # Cached per ledger value: the next execution makes a new ledger.

    @cached_property
    def memo(self) -> Memo[tuple[Any, ...]]:
        """Results by rule id, for rules that look back over the day."""
        return Memo()

    @cached_property
    def newest(self) -> Execution | None:
        """The execution recorded last, which was received last, whatever its own timestamp."""
        return list(self.entries.values())[-1] if self.entries else None

    @cached_property
    def _oldest_first(self) -> tuple[Execution, ...]:
        standing = (e for e in self.entries.values() if not e.voided)
        return tuple(sorted(standing, key=_age))

    @cached_property
    def _round_turns(self) -> RoundTurns:
        return RoundTurns().plus(self._oldest_first)

    @cached_property
    def _episodes(self) -> dict[tuple[str, int], EpisodeResult]:
        return {}

    def round_turns(self) -> tuple[RoundTurn, ...]:
        """Trades that have closed lots, by their newest close. See `RoundTurns`."""
        return self._round_turns.turns

    @cached_property
    def finished_turns(self) -> tuple[RoundTurn, ...]:
        """The round turns that have ended. Only these are won or lost."""
        return tuple(turn for turn in self._round_turns.turns if turn.is_over)

    def episode(self, contract_id: str, net: int) -> EpisodeResult:
        """Return the realised result of the position now at `net` since it was opened."""
        known = self._episodes.get((contract_id, net))
        if known is None:
            known = self._episodes[contract_id, net] = _episode(
                (e for e in reversed(self._oldest_first) if e.contract_id == contract_id), net
            )
        return known

    def agrees_with(self, nets: Mapping[str, int]) -> bool:
        """Whether the executions lead to these signed nets, as far as they are known.

        False while an execution or the position it led to has not arrived yet.
        """
        known = self._agreements
        for contract_id in self.newest_in:
            net = nets.get(contract_id, 0)
            agrees = known.get((contract_id, net))
            if agrees is None:
                agrees = known[contract_id, net] = _leads_to(
                    (e for e in reversed(self._oldest_first) if e.contract_id == contract_id), net
                )
            if not agrees:
                return False
        return True

    @cached_property
    def newest_in(self) -> Mapping[str, Execution]:
        """The execution received last of each contract."""
        return _with_newest({}, self._oldest_first)

    @cached_property
    def _agreements(self) -> dict[tuple[str, int], bool]:
        """Whether the executions of a contract lead to a signed net."""
        return {}

    def average_of(self, contract_id: str, net: int) -> Decimal | None:
        """Return the average price of the position now at `net`, computed from its fills.

        None where the fills do not reach back to the opening.
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
        return _with_first_fills({}, self._oldest_first)

    def increasing_orders(self) -> Mapping[int, Execution]:
        """Return the first fill of each order that opened or added, which traders call an entry.

        A half-turn without a P&L opened or added. A reversal is one entry.
        """
        return self._increasing


def _with_first_fills(
    first: dict[int, Execution], executions: Iterable[Execution]
) -> Mapping[int, Execution]:
    for execution in executions:
        if execution.pnl is None:
            first.setdefault(execution.order_id, execution)
    return MappingProxyType(first)


def _with_newest(
    newest: dict[str, Execution], executions: Iterable[Execution]
) -> Mapping[str, Execution]:
    for e in executions:
        known = newest.get(e.contract_id)
        if known is None or e.received_at >= known.received_at:
            newest[e.contract_id] = e
    return newest


def _average(newest_first: list[Execution], opened: int, side: int) -> Decimal:
    """Return the weighted average price. Additions change it, reductions do not."""
    *later, opening = newest_first
    average, size = opening.price, opened
    for e in reversed(later):
        lots = size + side * e.signed_size
        if lots > size:
            average = (average * size + e.price * e.size) / lots
        size = lots
    return average


def _age(e: Execution) -> tuple[datetime, int, bool, int]:
    """Sort key, oldest first. Under one trade id the closing half comes before the opening one."""
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
    """Return the known execution that this one repeats, if any."""
    return next(
        (p for p in parts if fast_replace(execution, part=p.part, received_at=p.received_at) == p),
        None,
    )


def _corrected(execution: Execution, parts: list[Execution]) -> Execution | None:
    """Return the execution that this one corrects or voids: the most similar of its kind.

    The kinds are opening (no P&L) and closing. A void falls back to an execution of either kind.
    """
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
    """Yield executions first reported without a P&L that a list states only with one."""
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
) -> bool:
    """Enter an execution. Returns whether it replaced an earlier record of the same execution."""
    known = entries.get(execution.key)
    if known == execution:
        return False
    if known is not None:
        day = known.trading_date
        totals[day] = totals.get(day, NOTHING_YET).plus(known, -1)
    day = execution.trading_date
    totals[day] = totals.get(day, NOTHING_YET).plus(execution, +1)
    entries[execution.key] = execution
    return known is not None


def _leads_to(newest_first: Iterable[Execution], net: int) -> bool:
    """Walk back from `net` to the execution that opened the position. Unknown openings agree."""
    held = net
    for e in newest_first:
        before, opened = held - e.signed_size, e.pnl is None
        if held == 0:
            if opened:
                return False
        elif before * held <= 0:
            # Opened here, or turned round here: then this is the half that closed the old side.
            return (before == 0) == opened
        elif (abs(before) < abs(held)) != opened:
            return False
        held = before
    return True


def _episode(newest_first: Iterable[Execution], net: int) -> EpisodeResult:
    """Sum the executions backwards from `net` to the one that opened the position."""
    heard_at: datetime | None = None
    pnl = fees = ZERO
    in_step = False
    held = net
    for e in newest_first:
        heard_at = heard_at or e.received_at
        before = held - e.signed_size
        if before * net <= 0:
            # The position was opened here. If this execution was a reversal, its P&L belongs to
            # the old side.
            in_step = (before == 0) == (e.pnl is None)
            break
        if (abs(before) < abs(held)) != (e.pnl is None):
            break
        if e.pnl is not None:
            pnl += e.pnl
            fees += e.fees
        held = before
    return EpisodeResult(pnl, fees, in_step, heard_at)
