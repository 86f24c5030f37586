"""The windows around scheduled releases, for people to look ahead."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ComingRelease:
    """A release, and the window around it: starts_at <= t < ends_at (UTC).

    `products` are roots; empty: all products. `is_flat`: nothing may be open in the window, else
    nothing may be entered.
    """

    name: str
    at: datetime
    starts_at: datetime
    ends_at: datetime
    products: tuple[str, ...]
    is_flat: bool
