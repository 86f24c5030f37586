"""`trading_day: flat_by`, the hour from which nothing may be open, as hours of RULE-009."""

from datetime import UTC, date, datetime, time, timedelta
from typing import ClassVar, Self

from risk_manager.domain.market_calendar import EVERY, EXCHANGE_DAY, MarketCalendar
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.session_hours import WEEKDAYS, Interval, Standing, plain_minutes
from risk_manager.domain.trading_calendar import DAY, TradingDay
from risk_manager.domain.view import View
from risk_manager.rules.session_block_outside import Place, SessionBlockOutside
from risk_manager.rules.session_block_outside.early_closes import closing_sooner

FLAT_BY = "flat_by"
AHEAD_OF_AN_EARLY_CLOSE = timedelta(minutes=2)
"""At the minute the exchange halts it refuses a close."""
_A_MONDAY = date(2026, 1, 5)


class FlatBy(SessionBlockOutside):
    """Everything is closed at `flat_by`, and nothing may be opened until the next session.

    It is not written under `rules`; `trading_day` brings it. A product that the market calendar
    does not know follows the others.
    """

    title: ClassVar[str] = "Flat by"

    @classmethod
    def of(cls, day: TradingDay, flat_by: time) -> Self:
        """Return the sessions from each reset to the next `flat_by`, on trading days."""
        ends = [_A_MONDAY + DAY * n for n in range(7)]
        ends = [on for on in ends if _trades_before(datetime.combine(on, flat_by, day.zone))]
        starts = ends if day.reset < flat_by else [on - DAY for on in ends]
        session = {
            "days": [WEEKDAYS[on.weekday()] for on in starts],
            "start": f"{day.reset:%H:%M}",
            "end": f"{flat_by:%H:%M}",
        }
        return cls.model_validate({"id": FLAT_BY, "timezone": day.timezone, "sessions": [session]})

    def calendar_in(self, rulebook: Rulebook) -> MarketCalendar:
        return closing_sooner(rulebook.calendar, AHEAD_OF_AN_EARLY_CLOSE)

    def in_words(self) -> str:
        session = self.sessions[0]
        return (
            f"At {plain_minutes(session.end)} ({self.timezone} time) everything is closed. Nothing "
            f"may be opened until {plain_minutes(session.start)}. Where the exchange closes early, "
            "this comes two minutes before."
        )

    def open_hours(self, rulebook: Rulebook, root: str, around: date) -> tuple[Interval, ...]:
        known = rulebook.calendar.knows(root)
        return super().open_hours(rulebook, root if known else EVERY, around)

    def standing(self, view: View, root: str, contract_id: str = "") -> Standing:
        known = view.state.rulebook.calendar.knows(root)
        return super().standing(view, root if known else EVERY, contract_id)

    def why_shut(self, view: View, place: Place) -> str:
        if place.root == EVERY:
            return f"past the day's {FLAT_BY}"
        return f"{place.root} is past the day's flat_by"


def _trades_before(local: datetime) -> bool:
    """Whether the exchange trades in the day that ends after this instant, unlike a weekend."""
    at = local.astimezone(UTC)
    return EXCHANGE_DAY.window(at).ends_at - at <= DAY
