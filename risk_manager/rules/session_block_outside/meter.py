"""The meter of RULE-009: the time left in the session that ends first."""

from datetime import timedelta
from decimal import Decimal

from risk_manager.domain.durations import plain_duration
from risk_manager.domain.rule import Meter, MeterState
from risk_manager.domain.view import View
from risk_manager.rules.session_block_outside.hours import WHOLE_ACCOUNT
from risk_manager.rules.session_block_outside.sessions import Sessions

MINUTE = timedelta(minutes=1)


def read_meter(rule: Sessions, view: View) -> Meter:
    """Show the held product that closes first, or else the hours shared by all products."""
    found = sorted({rule.place(view, c) for c in view.account.contract_ids()})
    places = [(place, rule.standing(view, *place)) for place in found or [WHOLE_ACCOUNT]]
    shut = [(place, where) for place, where in places if where.current is None]
    state, current, limit = MeterState.OK, None, None
    if shut:
        place, where = shut[0]
        opens_at = where.opens_at
        sentence = rule.why_shut(view, place) + (
            "" if opens_at is None else f", opens {rule.local_time(view, place, opens_at)}"
        )
        state = MeterState.BREACH
    else:
        ends_at, starts_at, place = min(
            (where.current.ends_at, where.current.starts_at, place)
            for place, where in places
            if where.current is not None
        )
        limit = Decimal((ends_at - starts_at) // MINUTE)
        current = Decimal((view.now - starts_at) // MINUTE)
        if ends_at - view.now <= rule.pre_close_warning:
            state = MeterState.WARN
        left = plain_duration(max((ends_at - view.now) // MINUTE * MINUTE, timedelta(0)))
        sentence = f"session open, {left} left until {rule.local_time(view, place, ends_at)}"
    return rule.reading(
        current=current,
        limit=limit,
        unit="min",
        sentence=sentence,
        state=state,
    )
