"""The configuration of RULE-009, and where the present lies among its sessions."""

from datetime import datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, model_validator

from risk_manager.domain.durations import Duration
from risk_manager.domain.market_calendar import EVERY, MarketCalendar
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.session_hours import SHUT, Standing, ZoneName, schedule
from risk_manager.domain.symbols import PatternSet
from risk_manager.domain.view import View
from risk_manager.rules.session_block_outside.early_closes import closing_sooner
from risk_manager.rules.session_block_outside.hours import Hours, Place, Windows


def _upper_keys(value: Any) -> Any:
    return {str(k).upper(): v for k, v in value.items()} if isinstance(value, dict) else value


class Sessions(Rule):
    """The fields of the rule, and the hours and the calendar of each product."""

    rule: Literal["session_block_outside"] = "session_block_outside"
    timezone: ZoneName | None = None
    """The zone of the hours; null: that of the trading day."""
    sessions: Windows
    """The hours in which trading is allowed."""
    per_symbol: Annotated[dict[str, Hours], BeforeValidator(_upper_keys)] = Field(
        default_factory=dict
    )
    """Hours of one product, by root, instead of those above."""
    respect_holidays: bool = True
    early_close_margin: Duration = timedelta(0)
    """So long before an early close of the exchange the session ends."""
    pre_close_warning: Duration = timedelta(minutes=5)
    """So long before the end it is announced."""
    at_end: Literal["close_and_cancel", "cancel_only", "none"] = "close_and_cancel"
    """At the end close and cancel, only cancel, or do nothing."""
    fills_outside: Literal["close", "alert"] = "close"
    """A position opened outside the hours is closed, or only told."""
    working_orders_outside: Literal["cancel", "keep"] = "cancel"
    """Orders outside the hours are cancelled, or kept."""
    lockout: Literal["until_session_start", "none"] = "until_session_start"
    """The account is locked until the next session, or not."""

    @model_validator(mode="after")
    def _the_words_fit_together(self) -> Self:
        if self.lockout != "none":
            if self.fills_outside == "alert":
                raise ValueError(
                    "fills_outside: alert leaves what is opened outside, and a lockout closes it; "
                    "write lockout: none, or fills_outside: close"
                )
            if self.working_orders_outside == "keep":
                raise ValueError(
                    "working_orders_outside: keep leaves entry orders, and a lockout cancels them; "
                    "write lockout: none, or working_orders_outside: cancel"
                )
        if any(not key.strip() for key in self.per_symbol):
            raise ValueError("per_symbol: an empty symbol")
        return self

    @cached_property
    def global_hours(self) -> Hours:
        return Hours(timezone=self.timezone, sessions=self.sessions)

    @cached_property
    def symbols(self) -> PatternSet:
        """The symbols that have hours of their own."""
        return PatternSet.of(self.per_symbol)

    def hours(self, root: str, contract_id: str = "") -> Hours:
        """The hours of a product: its own replace the global ones."""
        if not self.per_symbol:
            return self.global_hours
        key = self.symbols.best(root, contract_id)
        return self.global_hours if key is None else self.per_symbol[key]

    def place(self, view: View, contract_id: str) -> Place:
        """Return the place whose hours count for a contract."""
        root = view.root(contract_id)
        return Place(root, contract_id if self.symbols.tells_apart(root, view.root) else "")

    def calendar(self, view: View) -> MarketCalendar | None:
        """Return the calendar of exceptional days, if it counts for this rule."""
        return self.calendar_in(view.state.rulebook)

    def calendar_in(self, rulebook: Rulebook) -> MarketCalendar | None:
        """Return the same from the rulebook alone."""
        if not self.respect_holidays:
            return None
        return closing_sooner(rulebook.calendar, self.early_close_margin)

    def standing(self, view: View, root: str, contract_id: str = "") -> Standing:
        """Return where the present lies among the sessions of a product. An unknown one is shut.

        If the two clocks differ, a session is open only while both say so.
        """
        book, calendar = view.state.rulebook, self.calendar(view)
        if calendar is not None and root != EVERY and not calendar.knows(root):
            return SHUT
        hours = self.hours(root, contract_id)
        zone = hours.timezone or book.day.timezone
        found = schedule(hours.weekly, zone, calendar, root, view.now.date()).at(view.now)
        latest = view.state.latest
        if found.current is None or latest == view.now:
            return found
        by_the_gateway = schedule(hours.weekly, zone, calendar, root, latest.date()).at(latest)
        return by_the_gateway if by_the_gateway.current is None else found

    # --- for people ---

    def why_shut(self, view: View, place: Place) -> str:
        """Return why a place is shut, as the beginning of a sentence."""
        root, calendar = place.root, view.state.rulebook.calendar
        if root != EVERY and self.respect_holidays and not calendar.knows(root):
            return (
                f"{root} is in no group of the market calendar and counts as shut "
                "(add it to calendar.yaml, or set respect_holidays: false)"
            )
        if root == EVERY:
            return "outside the session"
        return f"{place.label(view)} is outside its session"

    def local_time(self, view: View, place: Place, at: datetime) -> str:
        """Return an instant in the zone of the place's hours."""
        zone = self.hours(*place).timezone or view.state.rulebook.day.timezone
        return f"{at.astimezone(ZoneInfo(zone)):%a %d %b %H:%M} {zone}"
