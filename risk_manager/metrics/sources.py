"""Where the figures of the parts come from. Needs no prometheus_client."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from risk_manager.domain.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFigures:
    """What the alerts have done so far."""

    open: int = 0
    sent: int = 0
    waiting: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the figures of the parts come from. Asked in the event loop, on a scrape."""

    state: Callable[[], State]
    status: Callable[[], str]
    inbox: Callable[[], int]
    reads_left: Callable[[], int]
    looks_left: Callable[[], int]
    hub_ages_s: Callable[[], Mapping[str, float | None]]
    database_ok: Callable[[], bool]
    token_expires_at: Callable[[], datetime | None]
