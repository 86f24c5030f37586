"""calendar.yaml: the days on which the exchange is shut, closes early or opens late."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from risk_manager.settings.fields import ClockTime, Root, Section, Zone


class ExchangeDay(Section):
    """An exception on one date: shut all day, closing early or opening late, in local times.

    `normal` makes the date an ordinary day although the table has an exception.
    """

    date: date
    """The trading date."""
    closed: bool = False
    """true: shut all day."""
    normal: bool = False
    """true: an ordinary day, although the table has an exception."""
    open: ClockTime | None = None
    """The local time of a late opening."""
    close: ClockTime | None = None
    """The local time of an early close."""
    note: str = Field(default="", max_length=200)
    """Any text, for people."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> "ExchangeDay":
        hours = self.open is not None or self.close is not None
        if [self.closed, self.normal, hours].count(True) != 1:
            raise ValueError(
                'say one thing of a day: closed: true, or close: "12:00" and open, or normal: true'
            )
        return self


class ProductGroup(Section):
    """Products that share their exceptions. `timezone` is the zone of the times in `days`.

    From the close (16:00 in Chicago) of `round_the_clock_since` on, they trade without weekends and
    daily breaks.
    """

    products: Annotated[tuple[Root, ...], Field(min_length=1)]
    """The products by root, as ES."""
    timezone: Zone = "America/Chicago"
    """The zone of the times in `days`."""
    days: tuple[ExchangeDay, ...] = ()
    """The exceptions of these products."""
    round_the_clock_since: date | None = None
    """The trading date from which they trade without weekends and daily breaks; null: they do not.
    """

    @model_validator(mode="after")
    def _each_date_once(self) -> "ProductGroup":
        dates = [day.date for day in self.days]
        twice = sorted({d.isoformat() for d in dates if dates.count(d) > 1})
        if twice:
            raise ValueError(f"days written twice: {', '.join(twice)}")
        return self


class CalendarOverride(ExchangeDay):
    """The operator's correction of a date, for some products or (without `products`) for all."""

    products: Annotated[tuple[Root, ...], Field(min_length=1)] | None = None
    """The products it is for; null: all."""
    timezone: Zone = "America/Chicago"
    """The zone of `open` and `close`."""


class CalendarFile(Section):
    """The whole of calendar.yaml. Dates are trading dates; overrides win over the table."""

    version: Literal[1] = 1
    """The form of this file."""
    source: str = ""
    """Where the dates come from, for people."""
    through: date | None = None
    """The last trading date the table covers."""
    groups: Mapping[str, ProductGroup] = Field(default_factory=dict)
    """Products that share their exceptions, by a name of your choice. The shipped table has the
    usual ones."""
    overrides: tuple[CalendarOverride, ...] = ()
    """Corrections of single dates; they win over the table."""

    @model_validator(mode="after")
    def _each_product_once(self) -> "CalendarFile":
        seen: dict[str, str] = {}
        for name, group in self.groups.items():
            for root in group.products:
                if root in seen:
                    raise ValueError(f"product {root} stands in two groups: {seen[root]}, {name}")
                seen[root] = name
        return self

    @property
    def products(self) -> frozenset[str]:
        return frozenset(root for group in self.groups.values() for root in group.products)

    def exception(self, root: str, day: date) -> tuple[ExchangeDay, str] | None:
        """Return a product's exception on a trading date, and the zone of its times.

        None for an ordinary day, and for a product in no group.
        """
        for override in reversed(self.overrides):
            if override.date == day and (override.products is None or root in override.products):
                return None if override.normal else (override, override.timezone)
        for group in self.groups.values():
            if root in group.products:
                found = next((d for d in group.days if d.date == day), None)
                return None if found is None else (found, group.timezone)
        return None
