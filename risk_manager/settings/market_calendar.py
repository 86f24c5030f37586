"""Builds the calendar in force from the shipped table, calendar.yaml and risk_config.yaml.

The shipped table comes with the program (market_calendar.json, see generate_calendar). A product
listed in a group of calendar.yaml follows that group, unless the table of calendar.yaml ends sooner
than the shipped one. The dated overrides of calendar.yaml take precedence over both tables, and the
`calendar` section of risk_config.yaml takes precedence over everything.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from zoneinfo import ZoneInfo

from risk_manager.domain import market_calendar as domain
from risk_manager.domain.exchange_hours import close_of
from risk_manager.domain.market_calendar import EVERY, EXCHANGE_DAY, MarketCalendar
from risk_manager.domain.trading_calendar import DAY
from risk_manager.settings.calendar_file import CalendarFile, ExchangeDay
from risk_manager.settings.risk_file import CalendarSection

SHIPPED = "market_calendar.json"


@cache
def shipped_table() -> CalendarFile:
    """Return the table that comes with the program."""
    text = files("risk_manager.settings").joinpath(SHIPPED).read_text(encoding="utf-8")
    return CalendarFile.model_validate_json(text)


def market_calendar(
    file: CalendarFile,
    section: CalendarSection,
    zone: str,
    *,
    shipped: CalendarFile | None = None,
) -> MarketCalendar:
    """Return the calendar for the rules. `zone` is that of early closes without a zone."""
    shipped = shipped_table() if shipped is None else shipped
    tables = [shipped, file]
    if file.through is not None and shipped.through is not None and file.through < shipped.through:
        tables = [file, shipped]
    groups: dict[str, str] = {}
    days: dict[tuple[str, date], domain.ExchangeDay] = {}
    round_the_clock: dict[str, datetime] = {}
    through: date | None = None
    sources: list[str] = []
    for number, table in enumerate(tables):
        if not table.groups:
            continue
        through = table.through or through
        sources.append(table.source)
        for name, group in table.groups.items():
            key = f"{name}:{number}"  # both tables may use the same name for a group
            groups.update(dict.fromkeys(group.products, key))
            days.update(((key, day.date), _day(day, group.timezone)) for day in group.days)
            if group.round_the_clock_since is not None:
                round_the_clock[key] = close_of(group.round_the_clock_since)
    overrides: dict[tuple[str, date], domain.ExchangeDay] = {}
    for root, day, timezone in _overrides(file, section, zone):
        if root == EVERY:  # the later entry wins, also over entries for single products
            overrides = {k: v for k, v in overrides.items() if k[1] != day.date}
        overrides[root, day.date] = _day(day, timezone)
    return MarketCalendar(
        groups=MappingProxyType(groups),
        days=MappingProxyType(days),
        overrides=MappingProxyType(overrides),
        round_the_clock=MappingProxyType(round_the_clock),
        through=through,
        source=", ".join(dict.fromkeys(s for s in reversed(sources) if s)),
    )


def _overrides(
    file: CalendarFile, section: CalendarSection, zone: str
) -> Iterator[tuple[str, ExchangeDay, str]]:
    for override in file.overrides:
        for root in override.products or (EVERY,):
            yield root, override, override.timezone
    for closed in section.holidays:
        yield EVERY, ExchangeDay(date=closed, closed=True, note="holiday"), zone
    for early in section.early_closes:
        day = ExchangeDay(date=early.date, close=early.flat_by, note="early close")
        yield EVERY, day, early.timezone or zone


def _day(day: ExchangeDay, timezone: str) -> domain.ExchangeDay:
    """Return the day with instants for local times; an evening opening is on the day before."""
    if day.normal:
        return domain.ORDINARY
    zone = ZoneInfo(timezone)
    return domain.ExchangeDay(
        closed=day.closed,
        opens_at=None if day.open is None else max(_instants(day.date, day.open, zone)),
        closes_at=None if day.close is None else min(_instants(day.date, day.close, zone)),
        note=day.note,
    )


def _instants(trading_date: date, local: time, zone: ZoneInfo) -> tuple[datetime, datetime]:
    at = datetime.combine(trading_date, local, tzinfo=zone)
    if at.astimezone(UTC) >= EXCHANGE_DAY.window(_noon(trading_date)).ends_at:
        at = datetime.combine(trading_date - DAY, local, tzinfo=zone)
    return at.astimezone(UTC), at.replace(fold=1).astimezone(UTC)


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), tzinfo=EXCHANGE_DAY.zone).astimezone(UTC)
