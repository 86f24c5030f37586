"""Notices: something that people outside should be told, and the end of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from risk_manager.domain.decisions import Severity

FLICKER_WITH_MONEY = timedelta(seconds=3)
FLICKER = timedelta(seconds=30)
RANKS = {
    Severity.INFO: 0,
    Severity.WARNING: 1,
    Severity.BREACH: 2,
    Severity.CRITICAL: 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A matter that begins, or more news about it.

    The same `subject` is the same matter. `is_money` is told in quiet hours as well. A higher
    `stage` of a known matter is told anew. `lasts`: a `Ended` of this subject is to be expected.
    `patience`: it is not told if it ends within that time.
    """

    subject: str
    at: datetime
    severity: Severity
    title: str
    text: str
    account_id: int | None = None
    is_money: bool = False
    stage: int = 0
    lasts: bool = True
    patience: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The matter `subject` is over, if it was known."""

    subject: str
    at: datetime
    text: str


News = Notice | Ended
