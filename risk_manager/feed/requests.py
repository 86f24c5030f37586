"""The two requests that a reader of the feed may make: to clock in and to clock out.

    {"id": 1, "method": "clock_in", "params": {"account_id": 101}}

They note when the trader works and change nothing else. Anything that is no request is ignored.
"""

from collections import deque
from collections.abc import Callable, Container
from datetime import datetime
from typing import Any, Protocol

import orjson
import structlog

from risk_manager.feed.messages import RequestAnswered

CLOCK_IN, CLOCK_OUT = "clock_in", "clock_out"
MOST_A_MINUTE = 20
"""Requests carried out, of all readers together: each one is a row of the audit."""

log = structlog.get_logger(__name__)


class TimeClock(Protocol):
    """Keeps when the trader clocked in, for each account. `False`: not on disk yet."""

    def since(self, account_id: int) -> datetime | None:
        """Return since when the trader is clocked in; None while clocked out."""
        ...

    async def clock_in(self, account_id: int) -> bool: ...

    async def clock_out(self, account_id: int) -> bool: ...


class NoTimeClock:
    """For feeds without one."""

    def since(self, account_id: int) -> datetime | None:
        return None

    async def clock_in(self, account_id: int) -> bool:
        return False

    async def clock_out(self, account_id: int) -> bool:
        return False


class Requests:
    """Carries out requests, one after the other."""

    def __init__(
        self,
        time_clock: TimeClock,
        accounts: Callable[[], Container[int]],
        monotonic: Callable[[], float],
    ) -> None:
        self._time_clock = time_clock
        self._accounts = accounts
        self._monotonic = monotonic
        self._done_at: deque[float] = deque(maxlen=MOST_A_MINUTE)

    async def answer(self, frame: str | bytes) -> RequestAnswered | None:
        """Carry out the request in a frame; None where it is none."""
        try:
            request = orjson.loads(frame)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(request, dict):
            return None
        number, method = request.get("id"), request.get("method")
        if not isinstance(number, int) or not isinstance(method, str):
            return None
        try:
            ok, message = await self._carry_out(method, request.get("params"))
        except Exception as error:  # an error in one request must not end the connection
            log.exception("feed_request_failed", method=method[:32])
            ok, message = False, f"the daemon failed on this request ({type(error).__name__})"
        return RequestAnswered(id=number, method=method[:32], ok=ok, message=message)

    async def _carry_out(self, method: str, params: Any) -> tuple[bool, str]:
        if method not in (CLOCK_IN, CLOCK_OUT):
            return False, f"the feed is read-only; it takes {CLOCK_IN} and {CLOCK_OUT}"
        account_id = params.get("account_id") if isinstance(params, dict) else None
        if type(account_id) is not int or account_id not in self._accounts():
            return False, "params.account_id must be an account that is guarded here"
        if len(self._done_at) == MOST_A_MINUTE and self._monotonic() - self._done_at[0] < 60:
            return False, "too many requests; try again in a minute"
        since = self._time_clock.since(account_id)
        if method == CLOCK_IN:
            if since is not None:
                return False, "clocked in already"
            is_kept = await self._time_clock.clock_in(account_id)
        else:
            if since is None:
                return False, "not clocked in"
            is_kept = await self._time_clock.clock_out(account_id)
        self._done_at.append(self._monotonic())
        done = "clocked in" if method == CLOCK_IN else "clocked out"
        return True, done if is_kept else f"{done}; the database has not confirmed it yet"
