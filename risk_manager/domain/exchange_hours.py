"""The ordinary week of the futures exchange: when no quotes are to be expected.

Without holidays: a missing price on a holiday is told, which is harmless.
"""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

CHICAGO = ZoneInfo("America/Chicago")
_OPENS = time(17, 0)
_SHUTS = time(16, 0)
_FRIDAY, _SATURDAY = 4, 5


def open_since(at: datetime) -> datetime | None:
    """When the session running at this instant opened (UTC); None while the exchange is shut.

    Sunday to Thursday 17:00 to 16:00 of the next day, in Chicago.
    """
    local = at.astimezone(CHICAGO)
    if _SHUTS <= local.time() < _OPENS:
        return None
    day = local.date() if local.time() >= _OPENS else local.date() - timedelta(days=1)
    if day.weekday() in (_FRIDAY, _SATURDAY):
        return None
    return datetime.combine(day, _OPENS, tzinfo=CHICAGO).astimezone(UTC)
