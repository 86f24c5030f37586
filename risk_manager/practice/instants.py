"""The check of every instant that is given to the practice exchange."""

from datetime import UTC, datetime


def require_utc(now: datetime) -> None:
    """Raise ValueError for a naive time."""
    if now.tzinfo is not UTC and now.utcoffset() is None:
        raise ValueError("a naive time reached the exchange")
