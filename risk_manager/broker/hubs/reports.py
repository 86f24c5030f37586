"""Reports a hub's state and its problems to the inbox, and counts them for the status display."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from risk_manager.broker.hubs.link import LONGEST_REASON, Call
from risk_manager.clock import Clock
from risk_manager.domain.events import AnyEvent, Hub, HubChanged, HubState, Unreadable


@dataclass(slots=True)
class HubCounters:
    """The history of a hub, for the status display. `reason` is why it last went down."""

    state: HubState = HubState.CONNECTING
    since: datetime | None = None
    reason: str = ""
    opens: int = 0
    failed_opens: int = 0
    drops: int = 0
    frames: int = 0
    probes: int = 0
    unreadable: int = 0
    logouts: int = 0


class HubReports:
    """The reports of one hub, and their counters."""

    def __init__(self, hub: Hub, clock: Clock, put: Callable[[AnyEvent], None]) -> None:
        self.counters = HubCounters()
        self._hub = hub
        self._clock = clock
        self._put = put
        self._reported: HubState | None = None

    def state(self, state: HubState, reason: str = "") -> None:
        """Report a change of state once. The hub stays DOWN through all attempts until it is UP."""
        if reason:
            self.counters.reason = reason
        if state is self._reported:
            return
        self._reported = state
        self.counters.state = state
        self.counters.since = self._clock.now()
        self._put(HubChanged(at=self._clock.now(), hub=self._hub, state=state, reason=reason))

    def unreadable(self, event: Unreadable) -> None:
        """Report a message that cannot be read."""
        self.counters.unreadable += 1
        self._put(event)

    def unreadable_again(self) -> None:
        """Count an unreadable message that is not reported, as one like it was just now."""
        self.counters.unreadable += 1

    def refused_subscription(self, call: Call, error: str) -> None:
        method, arguments = call
        detail = f"{method}{list(arguments)} was refused: {error}"
        account_id = next((one for one in arguments if isinstance(one, int)), None)
        self.unreadable(
            Unreadable(
                at=self._clock.now(),
                source=f"the {self._hub} hub",
                detail=detail[:LONGEST_REASON],
                account_id=account_id,
            )
        )
