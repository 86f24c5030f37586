"""The last fire drill in words: when it was, what fired, and whether it still speaks for today."""

from datetime import datetime

from risk_manager.dashboard.wording import date_and_clock
from risk_manager.feed.messages import LastDrill

RUN = "risk-manager admin selftest"


def last_drill(drill: LastDrill | None, now: datetime | None) -> tuple[str, bool, str]:
    """Return the result in a few words, whether all is well, and what there is to know or do."""
    if drill is None:
        return "NEVER HELD", False, f"run: {RUN}"
    result = f"{drill.fired} of {drill.armed} armed rules fired"
    told = date_and_clock(drill.at, now)
    if drill.faults:
        return result, False, f"NOT AS THEY SHOULD: {', '.join(drill.faults)}; {told}"
    if drill.limits_changed:
        return result, False, f"LIMITS CHANGED SINCE; run: {RUN}; {told}"
    return result, drill.armed > 0, f"{told}; the limits are the same"
