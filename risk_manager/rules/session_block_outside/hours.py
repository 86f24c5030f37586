"""Hours as they are configured, and the places that may have hours of their own."""

from functools import cached_property
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from risk_manager.domain.market_calendar import EVERY
from risk_manager.domain.scope import ACCOUNT_SCOPE, contract_scope, root_scope
from risk_manager.domain.session_hours import (
    WEEKDAYS,
    MinuteOfDay,
    WeeklyHours,
    Window,
    ZoneName,
    plain_minutes,
)
from risk_manager.domain.view import View

DAY_MINUTES = 24 * 60
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class SessionWindow(BaseModel):
    """One window of the day, end exclusive. `days` name the day it starts on.

    A start after the end crosses midnight; "00:00" to "24:00" is the whole day.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: Annotated[tuple[Day, ...], Field(min_length=1)]
    """The days a window starts on."""
    start: MinuteOfDay
    """A local time, as "08:30"."""
    end: MinuteOfDay
    """A local time; on the next day where it is not after `start`."""

    @model_validator(mode="after")
    def _has_a_length(self) -> "SessionWindow":
        if self.start == self.end:
            raise ValueError(
                f"start and end are both {plain_minutes(self.start)}; "
                'for the whole day write start: "00:00", end: "24:00"'
            )
        if self.start == DAY_MINUTES:
            raise ValueError('"24:00" is an end; for a start write "00:00" of the next day')
        if len(set(self.days)) < len(self.days):
            raise ValueError("a day is named twice")
        return self

    @property
    def minutes(self) -> int:
        return (self.end - self.start) % DAY_MINUTES or DAY_MINUTES

    def window(self) -> Window:
        return Window(frozenset(WEEKDAYS.index(day) for day in self.days), self.start, self.end)


Windows = Annotated[tuple[SessionWindow, ...], Field(min_length=1)]


class Hours(BaseModel):
    """Sessions, and the zone their times are in; without one, the zone of the trading day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timezone: ZoneName | None = None
    """The zone of these hours; null: that of the rule."""
    sessions: Windows
    """The hours in which the product may be traded."""

    @cached_property
    def weekly(self) -> WeeklyHours:
        return WeeklyHours(tuple(window.window() for window in self.sessions))


class Place(NamedTuple):
    """A product with hours of its own, or one contract of it (`EVERY`: all of the account)."""

    root: str
    contract_id: str = ""

    @property
    def scope(self) -> str:
        if self.contract_id:
            return contract_scope(self.contract_id)
        return ACCOUNT_SCOPE if self.root == EVERY else root_scope(self.root)

    def label(self, view: View) -> str:
        """Return the name of this place for people."""
        return view.name(self.contract_id) if self.contract_id else self.root


WHOLE_ACCOUNT = Place(EVERY)
