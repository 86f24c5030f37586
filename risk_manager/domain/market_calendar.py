"""The exchange's own calendar: days it is shut, closes early or opens late, per product group."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from types import MappingProxyType

from risk_manager.domain.trading_calendar import TradingDay

EXCHANGE_DAY = TradingDay(time(17, 0), "America/Chicago")
"""Which trading date an instant belongs to at the exchange, whatever reset the operator chose:
Christmas Eve at 17:00 in Chicago is Christmas Day's session."""

EVERY = "*"
"""In place of a root: every product."""

NOTICE = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class ExchangeDay:
    """What differs on one trading date. Instants in UTC; None is the usual hour."""

    closed: bool = False
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    note: str = ""


ORDINARY = ExchangeDay()


@dataclass(frozen=True, eq=False)
class MarketCalendar:
    """Exceptions by trading date. Without `groups` nothing is known, and nothing is asked of it.

    `groups` maps a root to its group, `days` holds the exceptions of the groups, `overrides` the
    operator's word for a root or for `EVERY` one. `round_the_clock` says of a group since when it
    has no week and no daily break. `through` is the last date the table knows.
    Compared by identity, so that what follows from it can be cached.
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
        """Whether the product is in the table; of an empty table nothing is asked."""
        return not self.groups or root in self.groups

    def day(self, root: str, on: date) -> ExchangeDay:
        """What differs for a product on a trading date; an ordinary day where nothing does."""
        for key in ((root, on), (EVERY, on)):
            if (found := self.overrides.get(key)) is not None:
                return found
        group = self.groups.get(root)
        return ORDINARY if group is None else self.days.get((group, on), ORDINARY)

    def never_shuts_since(self, root: str) -> datetime | None:
        """Since when a product trades round the clock; None for one with an ordinary week."""
        group = self.groups.get(root)
        return None if group is None else self.round_the_clock.get(group)

    def exceptions(self, root: str) -> tuple[tuple[date, ExchangeDay], ...]:
        """The trading dates on which something differs for a product, oldest first."""
        group = self.groups.get(root)
        dates = {on for name, on in self.overrides if name in (root, EVERY)}
        dates |= {on for name, on in self.days if name == group}
        found = ((on, self.day(root, on)) for on in sorted(dates))
        return tuple((on, day) for on, day in found if day != ORDINARY)

    def representatives(self) -> tuple[str, ...]:
        """One root for each way a day can go: of each group, and each overridden one."""
        first: dict[str, str] = {}
        for root in sorted(self.groups):
            first.setdefault(self.groups[root], root)
        named = {root for root, _ in self.overrides if root != EVERY and self.knows(root)}
        return tuple(sorted({*first.values(), *named}))

    def ends_soon(self, now: datetime) -> bool:
        """Whether the table ends within 60 days (or has ended)."""
        return self.through is not None and self.through - now.date() < NOTICE
