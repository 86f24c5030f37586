"""The exchange calendar: days that are shut, close early or open late, per product group."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from types import MappingProxyType

from risk_manager.domain.trading_calendar import TradingDay

EXCHANGE_DAY = TradingDay(time(17, 0), "America/Chicago")
"""The exchange's own trading day, independent of the operator's reset hour: Christmas Eve at 17:00
in Chicago belongs to Christmas Day's session."""

EVERY = "*"
"""Stands for every product in place of a root."""

NOTICE = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class ExchangeDay:
    """The exceptions of one trading date. Instants are in UTC; None means the usual hour."""

    closed: bool = False
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    note: str = ""


ORDINARY = ExchangeDay()


@dataclass(frozen=True, eq=False)
class MarketCalendar:
    """Exceptions by trading date. An empty `groups` means that there is no calendar.

    `groups` maps a root to its group. `days` holds the exceptions of the groups, and `overrides`
    the operator's own for a root or for `EVERY` product. `round_the_clock` says since when a group
    trades without weekend and daily break. `through` is the last date that the table covers.
    Calendars are compared by identity, so that derived results can be cached.
    """

    groups: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    days: Mapping[tuple[str, date], ExchangeDay] = field(
        default_factory=lambda: MappingProxyType({})
    )
    overrides: Mapping[tuple[str, date], ExchangeDay] = field(
        default_factory=lambda: MappingProxyType({})
    )
    round_the_clock: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    through: date | None = None
    source: str = ""

    def knows(self, root: str) -> bool:
        """Whether the table covers the product; True for an empty table."""
        return not self.groups or root in self.groups

    def day(self, root: str, on: date) -> ExchangeDay:
        """Return the exceptions for a product on a trading date; an ordinary day if none."""
        for key in ((root, on), (EVERY, on)):
            if (found := self.overrides.get(key)) is not None:
                return found
        group = self.groups.get(root)
        return ORDINARY if group is None else self.days.get((group, on), ORDINARY)

    def never_shuts_since(self, root: str) -> datetime | None:
        """Return since when a product trades around the clock; None for an ordinary week."""
        group = self.groups.get(root)
        return None if group is None else self.round_the_clock.get(group)

    def exceptions(self, root: str) -> tuple[tuple[date, ExchangeDay], ...]:
        """Return the trading dates with exceptions for a product, oldest first."""
        group = self.groups.get(root)
        dates = {on for name, on in self.overrides if name in (root, EVERY)}
        dates |= {on for name, on in self.days if name == group}
        found = ((on, self.day(root, on)) for on in sorted(dates))
        return tuple((on, day) for on, day in found if day != ORDINARY)

    def representatives(self) -> tuple[str, ...]:
        """One root per group, and each root with an override: together they cover every case."""
        first: dict[str, str] = {}
        for root in sorted(self.groups):
            first.setdefault(self.groups[root], root)
        named = {root for root, _ in self.overrides if root != EVERY and self.knows(root)}
        return tuple(sorted({*first.values(), *named}))

    def ends_soon(self, now: datetime) -> bool:
        """Whether the table ends within 60 days (or has ended)."""
        return self.through is not None and self.through - now.date() < NOTICE
