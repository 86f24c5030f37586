"""The budget of reads per minute, and how long many accounts take to read within it."""

from dataclasses import dataclass
from datetime import timedelta

READS_A_MINUTE = 120
"""Of the gateway's 200 requests a minute. The rest is for closes, cancels and their read-backs."""
RESERVED_READS = 12
"""Of these, reads reserved for contracts, permissions and the like."""

EXPOSED_RESERVE = 20
"""Of these, reads that flat accounts leave to accounts with exposure."""


@dataclass(frozen=True, slots=True)
class ReadingTime:
    """How long a start takes until each part is known of every account."""

    positions: timedelta
    orders: timedelta
    trades: timedelta

    def __str__(self) -> str:
        return (
            f"positions within {in_minutes(self.positions)}, orders within "
            f"{in_minutes(self.orders)}, today's trades within {in_minutes(self.trades)}, as the "
            f"gateway answers {READS_A_MINUTE} reads a minute"
        )

    @property
    def is_at_once(self) -> bool:
        return not self.trades


def reading_time(accounts: int) -> ReadingTime:
    """Return the times for a first reading: all positions, then all orders, then all trades."""
    return ReadingTime(*(time_for(part * accounts) for part in (1, 2, 3)))


def in_minutes(length: timedelta) -> str:
    """Format a length of time for people, in whole minutes."""
    minutes = round(length / timedelta(minutes=1))
    return f"{minutes} min" if minutes else "seconds"


def time_for(reads: int, room: int | None = None, *, is_exposed: bool = False) -> timedelta:
    """Return how long it takes to send `reads` requests, if `room` of them may be sent now."""
    reserved = RESERVED_READS + EXPOSED_RESERVE * is_exposed
    a_minute = READS_A_MINUTE - reserved
    left = reads - (a_minute if room is None else max(room - reserved, 0))
    return timedelta(minutes=max(-(-left // a_minute), 0))
