"""Sending messages to one channel, in a thread of its own, so that a slow address delays nothing.

Messages wait in a bounded queue while the channel cannot be reached. A newer message of the same
subject takes the place of a waiting one.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from risk_manager.alerts.book import Message
from risk_manager.alerts.notice import RANKS
from risk_manager.domain.decisions import Severity

MOST_WAITING = 100
PAUSES_S = (2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0)
TRIES_IN_A_ROW = 5
"""After so many tries of one message the next one is tried: it may be the text that is refused."""
GIVEN_UP_AFTER_S = 12 * 3600.0

log = structlog.get_logger("risk_manager.alerts")


class Channel(Protocol):
    """An address that messages go to. `send` blocks, and never raises or tells the address."""

    @property
    def name(self) -> str: ...

    def send(self, message: Message) -> str:
        """Send one message. Returns "" once it was accepted, else the reason why not."""
        ...


@dataclass(slots=True)
class _Waiting:
    message: Message
    since: float
    tries: int = 0


class Delivery:
    """The queue of one channel and the thread that empties it.

    `on_reached` is called in that thread for each message that the channel accepted. Every method
    returns at once, except `stop`.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        least: Severity = Severity.INFO,
        on_reached: Callable[[Message], None] = lambda _: None,
        pauses_s: Sequence[float] = PAUSES_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = channel.name
        self.sent = 0
        self.dropped = 0
        """Messages given up: too many were waiting, or for too long."""
        self.reason = ""
        """Why the last try failed; empty after a success."""
        self.channel = channel
        self._least = least
        self._on_reached = on_reached
        self._pauses_s = pauses_s
        self._monotonic = monotonic
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._changed = threading.Condition()
        self._failing_since: float | None = None
        self._sending_since: float | None = None
        self._is_stopping = False
        self._ends_at: float | None = None
        # A daemon thread: an address that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"alerts {self.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wants(self, message: Message) -> bool:
        """Whether the message is grave enough for this channel."""
        return RANKS[message.severity] >= RANKS[self._least]

    def offer(self, message: Message) -> None:
        """Queue a message. The oldest of the least grave ones gives way where there is no room."""
        with self._changed:
            known = self._waiting.get(message.subject)
            if known is not None:
                known.message = message
            else:
                self._waiting[message.subject] = _Waiting(message, self._monotonic())
            while len(self._waiting) > MOST_WAITING:
                least = min(self._waiting.values(), key=lambda w: RANKS[w.message.severity])
                del self._waiting[least.message.subject]
                self.dropped += 1
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        with self._changed:
            return len(self._waiting)

    @property
    def failing_s(self) -> float:
        """For how many seconds nothing has got through; 0 while the last try succeeded.

        A try that does not return counts from when it began.
        """
        begun = [at for at in (self._failing_since, self._sending_since) if at is not None]
        return self._monotonic() - min(begun) if begun else 0.0

    def stop(self, within_s: float) -> None:
        """Send what waits, for so long at most, with a single try each. Blocks."""
        with self._changed:
            self._is_stopping = True
            self._ends_at = self._monotonic() + within_s
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(within_s)

    # --- the thread ---

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            message = waiting.message
            self._sending_since = self._monotonic()
            reason = self.channel.send(message)
            self._sending_since = None
            if reason:
                self._failed(waiting, reason)
            else:
                self._succeeded(waiting, message)

    def _next(self) -> _Waiting | None:
        """Wait for a message that may be tried now; None once the thread is to end."""
        with self._changed:
            while True:
                if self._is_stopping and (not self._waiting or self._is_late()):
                    return None
                if self._waiting:
                    return next(iter(self._waiting.values()))
                self._changed.wait()

    def _is_late(self) -> bool:
        return self._ends_at is not None and self._monotonic() >= self._ends_at

    def _succeeded(self, waiting: _Waiting, message: Message) -> None:
        with self._changed:
            if waiting.message is message:
                self._remove(waiting)
            waiting.tries = 0
            self.sent += 1
        if self._failing_since is not None:
            log.info("alerts_get_through_again", channel=self.name)
        self._failing_since, self.reason = None, ""
        self._on_reached(message)

    def _failed(self, waiting: _Waiting, reason: str) -> None:
        now = self._monotonic()
        if self._failing_since is None:
            self._failing_since = now
            log.warning("alert_not_sent", channel=self.name, reason=reason)
        self.reason = reason
        with self._changed:
            waiting.tries += 1
            if self._is_stopping or now - waiting.since > GIVEN_UP_AFTER_S:
                self.dropped += 1
                self._remove(waiting)
                return
            if waiting.tries % TRIES_IN_A_ROW == 0 and self._is_kept(waiting):
                self._waiting.move_to_end(waiting.message.subject)
            pause_s = self._pauses_s[min(waiting.tries, len(self._pauses_s)) - 1]
            self._changed.wait_for(lambda: self._is_stopping, timeout=pause_s)

    def _is_kept(self, waiting: _Waiting) -> bool:
        return self._waiting.get(waiting.message.subject) is waiting

    def _remove(self, waiting: _Waiting) -> None:
        if self._is_kept(waiting):
            del self._waiting[waiting.message.subject]
