"""The ordinary week of the exchange, in Chicago time."""

from datetime import UTC, datetime

import pytest

from risk_manager.domain.exchange_hours import CHICAGO, open_since


@pytest.mark.parametrize(
    ("at", "since"),
    [
        ("2026-11-20 10:00", "2026-11-19 17:00"),  # Friday morning
        ("2026-11-20 15:59", "2026-11-19 17:00"),
        ("2026-11-20 16:00", None),
        ("2026-11-20 18:00", None),  # Friday evening
        ("2026-11-21 12:00", None),  # Saturday
        ("2026-11-22 16:59", None),  # Sunday
        ("2026-11-22 17:00", "2026-11-22 17:00"),
        ("2026-11-23 02:00", "2026-11-22 17:00"),
        ("2026-11-23 16:30", None),
        ("2026-11-23 17:00", "2026-11-23 17:00"),
        ("2025-03-10 08:00", "2025-03-09 17:00"),  # the day the clocks moved
    ],
)
def test_when_the_exchange_is_open(at: str, since: str | None) -> None:
    def instant(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=CHICAGO).astimezone(UTC)

    assert open_since(instant(at)) == (None if since is None else instant(since))
