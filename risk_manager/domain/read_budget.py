"""How many reads a minute the gateway leaves us, and so how long many accounts take to read."""

from dataclasses import dataclass
from datetime import timedelta

READS_A_MINUTE = 120
"""Of the gateway's 200 requests; the others are for closes, cancels and the looks they need."""
RESERVED_READS = 12
"""Of these, what is left for contracts, permissions and the like while many accounts are read."""

EXPOSED_RESERVE = 20
"""Of these, what flat accounts leave to those that hold something."""


@dataclass(frozen=True, slots=True)
class ReadingTime:
    """How long a start takes until something is known of every account."""

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
    """For a first reading, in the order in which many accounts are read."""
    return ReadingTime(*(time_for(part * accounts) for part in (1, 2, 3)))


def in_minutes(length: timedelta) -> str:
    """For people: within how long."""
    minutes = round(length / timedelta(minutes=1))
    return f"{minutes} min" if minutes else "seconds"


def time_for(reads: int, room: int | None = None, *, is_exposed: bool = False) -> timedelta:
    """How long until so many reads have left, where `room` of them may leave now."""
    reserved = RESERVED_READS + EXPOSED_RESERVE * is_exposed
    a_minute = READS_A_MINUTE - reserved
    left = reads - (a_minute if room is None else max(room - reserved, 0))
    return timedelta(minutes=max(-(-left // a_minute), 0))
