"""One account's report of a trading day or a week. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from risk_manager.admin.reports.discipline import Discipline, discipline
from risk_manager.admin.reports.interventions import (
    Intervention,
    LockLine,
    interventions,
    lock_lines,
)
from risk_manager.admin.reports.records import Gap, Records
from risk_manager.admin.reports.results import (
    CurvePoint,
    DayResult,
    OpenPosition,
    TradeLine,
    curve,
    day_results,
    open_positions,
    trade_lines,
)
from risk_manager.admin.reports.stops import Stops, stop_changes
from risk_manager.domain.money import ZERO
from risk_manager.domain.symbols import Symbols
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.store.rows import ledger_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """The sums over the days of a report. None: a day among them is unknown."""

    realised: Decimal | None
    fees: Decimal | None
    net: Decimal | None
    trades: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`zone` is what its times are printed in. `is_unfinished`: its last day still goes on."""

    account_id: int
    account: str
    first: date
    last: date
    zone: ZoneInfo
    is_unfinished: bool
    total: Total
    days: tuple[DayResult, ...]
    trades: tuple[TradeLine, ...]
    curve: tuple[CurvePoint, ...]
    open_positions: tuple[OpenPosition, ...]
    interventions: tuple[Intervention, ...]
    discipline: Discipline
    stops: Stops
    locks: tuple[LockLine, ...]
    gaps: tuple[Gap, ...]


def make_report(records: Records, symbols: Symbols, day: TradingDay, now: datetime) -> Report:
    """Return the report on these rows. Days that have not begun at `now` are left out."""
    ledger = ledger_of(records.executions)
    days = day_results(records, ledger, day.date_of(now))
    return Report(
        account_id=records.account_id,
        account=records.name,
        first=records.first,
        last=records.last,
        zone=day.zone,
        is_unfinished=now < records.ends_at,
        total=_total(days),
        days=tuple(days),
        trades=tuple(trade_lines(records, ledger)),
        curve=tuple(curve(records, ledger)),
        open_positions=tuple(open_positions(records, ledger)),
        interventions=tuple(interventions(records, ledger)),
        discipline=discipline(records, ledger, symbols),
        stops=stop_changes(records, ledger),
        locks=tuple(lock_lines(records)),
        gaps=tuple(records.gaps),
    )


def _total(days: list[DayResult]) -> Total:
    def summed(amounts: list[Decimal | None]) -> Decimal | None:
        known = [a for a in amounts if a is not None]
        return sum(known, ZERO) if known and len(known) == len(amounts) else None

    counts = [d.trades for d in days if d.trades is not None]
    return Total(
        realised=summed([d.realised for d in days]),
        fees=summed([d.fees for d in days]),
        net=summed([d.net for d in days]),
        trades=sum(counts) if counts and len(counts) == len(days) else None,
    )


def plain(value: Any) -> Any:
    """Return a report as JSON can show it: money as text, times in ISO form, unknown as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Decimal | ZoneInfo):
        return str(value)
    return value.isoformat() if isinstance(value, date | datetime) else value
