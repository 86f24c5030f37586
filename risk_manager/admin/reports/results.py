"""Results and trades of some trading dates, with the running total. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from risk_manager.admin.reports.attribution import causes
from risk_manager.admin.reports.records import Records
from risk_manager.domain.executions import Execution, TradeKey
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.money import ZERO
from risk_manager.domain.records import OrderSide
from risk_manager.rules.position_life import largest_size


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult:
    """One trading date. Money is None where nothing is recorded of it.

    `trades` counts those that ended on it. `note` says where two records disagree.
    """

    date: date
    realised: Decimal | None
    fees: Decimal | None
    net: Decimal | None
    executions: int | None
    trades: int | None
    end_balance: Decimal | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeLine:
    """One trade from flat to flat. `ended_at` None: a part of it is still open.

    `opened_at` None: its opening is not among the stored executions. `lots` is the most it held.
    `day_so_far` is the day's net after it, with the fees of everything executed until then.
    `closed_by` names the rules that ended it; empty for the trader.
    """

    symbol: str
    side: str
    lots: int
    opened_at: datetime | None
    ended_at: datetime | None
    last_at: datetime
    trading_date: date
    pnl: Decimal
    fees: Decimal
    net: Decimal
    day_so_far: Decimal
    closed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The net of the whole report after an execution."""

    at: datetime
    net: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPosition:
    """What the executions leave open at the end of the report. `net` is signed."""

    symbol: str
    net: int


def day_results(records: Records, ledger: Ledger, today: date) -> list[DayResult]:
    """Return the result of each trading date of the report that has begun."""
    return [_day_result(records, ledger, day, today) for day in records.dates if day <= today]


def _day_result(records: Records, ledger: Ledger, day: date, today: date) -> DayResult:
    summary, totals = records.days.get(day), ledger.day(day)
    balance = None if summary is None else summary.end_balance
    trades = sum(t.is_over and t.trading_date == day for t in ledger.round_turns())
    if summary is not None and totals.executions == 0 and summary.executions:
        return DayResult(
            date=day,
            realised=summary.realised,
            fees=summary.fees,
            net=summary.net,
            executions=summary.executions,
            trades=None,
            end_balance=balance,
            note="the single executions are no longer stored",
        )
    if summary is None and totals.executions == 0 and day != records.today:
        return DayResult(
            date=day, realised=None, fees=None, net=None, executions=None, trades=None,
            end_balance=None, note="nothing is recorded of this day",
        )  # fmt: skip
    note = ""
    if summary is None and not day == records.today == today:
        note = "the day was not watched to its end"
    elif summary is not None and summary.net != totals.net:
        note = f"the summary made at the reset says net {summary.net}"
    return DayResult(
        date=day,
        realised=totals.pnl,
        fees=totals.fees,
        net=totals.net,
        executions=totals.executions,
        trades=trades,
        end_balance=balance,
        note=note,
    )


def trade_lines(records: Records, ledger: Ledger) -> list[TradeLine]:
    """Return the trades that closed lots within the report, by their newest close."""
    caused = causes(ledger.standing(), records.entries)
    running = _running(ledger)
    lines = []
    for turn in ledger.round_turns():
        if not records.first <= turn.trading_date <= records.last:
            continue
        call = caused.get(turn.last.key)
        lines.append(
            TradeLine(
                symbol=records.symbol(turn.contract_id),
                side="short" if turn.last.side is OrderSide.BUY else "long",
                lots=largest_size(ledger, turn),
                opened_at=None if turn.opened_by is None else turn.first_at,
                ended_at=turn.last_at if turn.is_over else None,
                last_at=turn.last_at,
                trading_date=turn.trading_date,
                pnl=turn.pnl,
                fees=turn.fees,
                net=turn.net,
                day_so_far=running[turn.last.key],
                closed_by=() if call is None else call.rule_ids,
            )
        )
    return lines


def _running(ledger: Ledger) -> dict[TradeKey, Decimal]:
    """Return the net of an execution's day up to and with it."""
    days: dict[date, Decimal] = {}
    running: dict[TradeKey, Decimal] = {}
    for e in ledger.standing():
        days[e.trading_date] = running[e.key] = days.get(e.trading_date, ZERO) + e.net
    return running


def curve(records: Records, ledger: Ledger) -> list[CurvePoint]:
    """Return the running net, execution by execution."""
    points, total = [], ZERO
    for e in in_report(records, ledger):
        total += e.net
        points.append(CurvePoint(at=e.executed_at, net=total))
    return points


def in_report(records: Records, ledger: Ledger) -> list[Execution]:
    """Return the executions of the report's own dates, oldest first."""
    return [e for e in ledger.standing() if records.first <= e.trading_date <= records.last]


def held_after(executions: Iterable[Execution]) -> dict[str, int]:
    """Return the signed lots by contract that executions leave, as far as they know the opening.

    A close whose opening is not among them leaves nothing.
    """
    held: dict[str, int] = {}
    for e in executions:
        net = held.get(e.contract_id, 0)
        held[e.contract_id] = net + e.signed_size if net or e.pnl is None else 0
    return held


def open_positions(records: Records, ledger: Ledger) -> list[OpenPosition]:
    """Return what is open after the last execution of the report."""
    held = held_after(ledger.standing())
    return [OpenPosition(symbol=records.symbol(c), net=n) for c, n in held.items() if n]
