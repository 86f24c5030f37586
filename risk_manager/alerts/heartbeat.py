"""Tells an address outside that the guard is at work, so that its silence is noticed there.

The convention of healthchecks.io: the address itself means that all is well, and the address with
`/fail` that the guard has failed.
"""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import structlog
from pydantic import SecretStr

from risk_manager.alerts.address import conceal_address

LIMIT_S = 10.0
AGAIN_AFTER_S = 10.0
FAIL_TRIES = 3
FAIL_PAUSE_S = 0.5

log = structlog.get_logger("risk_manager.alerts")

Send = Callable[[str, bytes], str]
"""Sends a text to an address and returns "" or the reason why that failed. Blocks."""


class OutsideHeartbeat:
    """Pings after completed cycles of the watchdog, at most once per `every`, from its own thread.

    `is_fresh` says whether what the daemon knows is up to date. Without that there is no ping.
    """

    def __init__(
        self,
        url: SecretStr,
        every: timedelta,
        *,
        is_fresh: Callable[[], bool],
        send: Send | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        conceal_address(url.get_secret_value())
        self.sent = 0
        self.reason = ""
        """Why the last ping failed; empty after a success."""
        self._url = url
        self._every_s = every.total_seconds()
        self._is_fresh = is_fresh
        self._send = send or post
        self._monotonic = monotonic
        self._due_at = monotonic()
        self._failing_since: float | None = None
        self._changed = threading.Condition()
        self._is_wanted = False
        self._failure: bytes | None = None
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="outside heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def failing_s(self) -> float:
        """For how many seconds no ping has got through; 0 while the last one did."""
        since = self._failing_since
        return 0.0 if since is None else self._monotonic() - since

    def after_cycle(self) -> None:
        """Ask for a ping if one is due and the daemon's data are fresh. Returns at once."""
        if self._monotonic() < self._due_at or not self._is_fresh():
            return
        self._due_at = self._monotonic() + self._every_s
        with self._changed:
            self._is_wanted = True
            self._changed.notify_all()

    def stop(self, within_s: float, failure: str = "") -> None:
        """End the thread. With a `failure` the address with /fail is told first. Blocks."""
        with self._changed:
            self._is_stopping = True
            self._failure = failure.encode() if failure else None
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(within_s)

    # --- the thread ---

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_wanted or self._is_stopping)
                is_stopping, failure = self._is_stopping, self._failure
                self._is_wanted = False
            if is_stopping:
                if failure is not None:
                    self._tell_failure(failure)
                return
            self._ping()

    def _ping(self) -> None:
        self.reason = self._send(self._url.get_secret_value(), b"")
        if not self.reason:
            self.sent += 1
            self._failing_since = None
            return
        if self._failing_since is None:
            self._failing_since = self._monotonic()
            log.warning("outside_heartbeat_not_sent", reason=self.reason)
        self._due_at = min(self._due_at, self._monotonic() + AGAIN_AFTER_S)

    def _tell_failure(self, why: bytes) -> None:
        address = with_fail(self._url.get_secret_value())
        for _ in range(FAIL_TRIES):
            if not self._send(address, why):
                return
            time.sleep(FAIL_PAUSE_S)


def with_fail(url: str) -> str:
    """Return the address with /fail behind its path, before a query."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/fail"))


class _NoDetours(urllib.request.HTTPRedirectHandler):
    """A redirection would carry the address, which is a secret, to another place."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def post(url: str, text: bytes) -> str:
    """Send a text. Returns "" or the reason, which never contains the address. Blocks."""
    request = urllib.request.Request(url, data=text, headers={"User-Agent": "risk_manager"})
    opener = urllib.request.build_opener(_NoDetours)
    try:
        with opener.open(request, timeout=LIMIT_S) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answered {error.code}"
    except urllib.error.URLError as error:
        return type(error.reason).__name__ if error.reason is not None else "URLError"
    except (OSError, HTTPException, ValueError) as error:
        return type(error).__name__
    return ""
