"""REST in two lanes: enforcement, which nothing may delay, and reads, which wait for room."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

import httpx
import orjson
from project_x_py import ProjectX

from risk_manager.async_closing import AsyncClosing
from risk_manager.broker.replies import Answer, Reply, StatusError, reply_of, reply_of_error
from risk_manager.broker.session import ask_once
from risk_manager.broker.task_group import OnError, TaskGroup, log_error
from risk_manager.broker.warm_connections import WarmConnections
from risk_manager.clock import Clock
from risk_manager.domain.call_codes import CANCEL
from risk_manager.domain.read_budget import READS_A_MINUTE

READ_AGAIN_AFTER_SECONDS = (0.15, 0.5)
PAUSE_WITHOUT_ADVICE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_PAUSE_OF_LOOKS_SECONDS = 2.0
READS_OF_A_CALL = 4
"""An estimate of the reads that go with one call, routine reads of that time included."""
READS_OF_A_START = 10


class Lane(StrEnum):
    FAST = "fast"  # closes, cancels, exits, and the reads that belong to them
    SLOW = "slow"  # everything that can wait


type Body = Mapping[str, Any]


class Gateway(Protocol):
    """Sends one request in one attempt, and raises on any failure. `renew` replaces a refused
    token; concurrent callers of `renew` share one login.
    """

    @property
    def token(self) -> str: ...

    async def request(self, lane: Lane, path: str, body: Body) -> object: ...

    async def renew(self, stale_token: str) -> object: ...


class Session(Protocol):
    """The part of the gateway session used here: both HTTP clients, and the login they share."""

    client: ProjectX
    connections: WarmConnections

    @property
    def token(self) -> str: ...

    async def renew(self, stale_token: str | None = None) -> str: ...


@dataclass(slots=True)
class _Seen:
    """Status and headers of one request, as seen on the wire."""

    status: int | None = None
    retry_after: str | None = None
    date: str | None = None


_seen: ContextVar[_Seen | None] = ContextVar("seen", default=None)


async def _note_status(response: httpx.Response) -> None:
    seen = _seen.get()
    if seen is not None:
        seen.status = response.status_code
        seen.retry_after = response.headers.get("Retry-After")
        seen.date = response.headers.get("Date")


class SessionGateway:
    """Sends single requests without any retry. Enforcement uses its own connections, everything
    else the SDK's client.

    The SDK turns 401, 429 and lost answers of an order into one exception, and status codes into
    words. Therefore the status is recorded on the wire here.

    `on_date` receives the Date header of every answer.
    """

    def __init__(self, session: Session, on_date: Callable[[str], None] = lambda _: None) -> None:
        self._session = session
        self._on_date = on_date

    @property
    def token(self) -> str:
        return self._session.token

    async def request(self, lane: Lane, path: str, body: Body) -> object:
        if lane is Lane.FAST:
            return await self._by_connections(path, body)
        return await self._by_sdk(path, body)

    async def _by_connections(self, path: str, body: Body) -> object:
        session = self._session
        answered = await session.connections.post(path, body, session.token)
        if answered.date is not None:
            self._on_date(answered.date)
        status = answered.status
        if 200 <= status < 300:
            return answered.body
        raise StatusError(status, _said(status, answered.text), answered.retry_after)

    async def _by_sdk(self, path: str, body: Body) -> object:
        client = self._session.client
        await _watch_answers(client)
        seen = _Seen()
        token = _seen.set(seen)
        try:
            return await ask_once(client, path, dict(body))
        except Exception as error:
            if seen.status is None or 200 <= seen.status < 300:
                raise
            detail = "" if seen.status in (401, 429) else str(error)
            raise StatusError(seen.status, detail, seen.retry_after) from error
        finally:
            _seen.reset(token)
            if seen.date is not None:
                self._on_date(seen.date)

    async def renew(self, stale_token: str) -> object:
        return await self._session.renew(stale_token)


def _said(status: int, text: str) -> str:
    """Return the gateway's message for a status; empty for 401 and 429."""
    if status in (401, 429):
        return ""
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text[:200]
    if isinstance(told, dict):
        told = told.get("message") or told.get("error") or told.get("title") or ""
    return str(told)[:200]


async def _watch_answers(client: Any) -> None:
    # Before each request, as the SDK may have replaced its client. The request runs in a task of
    # its own, which inherits the context and therefore shares `_seen`.
    hooks = (await client._ensure_client()).event_hooks["response"]
    if _note_status not in hooks:
        hooks.append(_note_status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How the gateway's 200 requests a minute are shared, and how long an answer is awaited.

    Per `window_seconds`, the slow lane has `reads`. The fast lane has `looks` (reads that belong to
    enforcement); more of them use the slow lane. Both kinds together are limited to
    `reads_and_looks`. Each close or cancel lowers `reads_and_looks` by one and `reads` by two, as
    more calls and their looks are likely to follow. `at_least` reads are always allowed. Closes and
    cancels are not limited here.
    """

    reads: int = READS_A_MINUTE
    looks: int = 50
    reads_and_looks: int = 160
    at_least: int = 30
    window_seconds: float = 60.0
    act_seconds: float = 3.5
    cancel_seconds: float = 2.0  # shorter, as a cancel sent twice does no harm
    look_seconds: float = 1.0
    try_seconds: float = 2.5
    read_seconds: float = 4.5
    patience_seconds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One finished request, for audit and logs. `late`: it was no longer being waited for."""

    at: datetime
    lane: Lane
    path: str
    body: Body
    answer: Answer
    code: int | None
    message: str
    took_ms: float
    late: bool = False


class _Window:
    """Counts the requests sent in the last `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._times: deque[float] = deque()

    def add(self, now: float) -> None:
        self._times.append(now)

    def count(self, now: float) -> int:
        while self._times and self._times[0] <= now - self._seconds:
            self._times.popleft()
        return len(self._times)

    def room_in_seconds(self, limit: int, now: float) -> float:
        """Return how long until one more may be sent; 0 for now."""
        over = self.count(now) - limit
        return 0.0 if over < 0 else self._times[over] + self._seconds - now


@dataclass(slots=True)
class _Attempt:
    """A call to the broker in flight. Once `given_up`, it must not be sent again."""

    given_up: bool = False
    on_the_wire: bool = True


class Lanes(AsyncClosing):
    """The only access to the gateway's REST, as an async context manager.

    Nothing the gateway or the network does raises an exception here: see `Answer`.
    """

    def __init__(
        self,
        gateway: Gateway,
        clock: Clock,
        *,
        limits: Limits | None = None,
        on_call: Callable[[Call], None] = lambda _: None,
        on_error: OnError = log_error,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._limits = limits or Limits()
        self._on_call = on_call
        self._on_error = on_error
        self._tasks = TaskGroup(on_error)
        self._fast = _Window(self._limits.window_seconds)
        self._slow = _Window(self._limits.window_seconds)
        self._acts = _Window(self._limits.window_seconds)
        self._all_reads = _Window(self._limits.window_seconds)
        self._reads_paused_until = 0.0
        self._looks_paused_until = 0.0

    async def close(self) -> None:
        """Drop requests in flight. The next start reads what they have done."""
        await self._tasks.close()

    def take_up(self, calls_ago: Iterable[timedelta]) -> None:
        """Count the requests of an earlier run in the last minute, before the first request.

        `calls_ago` says how long ago each call was. The reads that went with them are estimated,
        leaving room for the few reads that a start needs.
        """
        now = self._clock.monotonic()
        ages = sorted(max(ago.total_seconds(), 0.0) for ago in calls_ago)
        calls = [now - age for age in reversed(ages) if age < self._limits.window_seconds]
        for at in calls:
            self._acts.add(at)
        most = max(self._reads_of_all_lanes(now) - READS_OF_A_START, 0)
        reads = [at for at in calls for _ in range(READS_OF_A_CALL)]
        for at in reads[max(len(reads) - most, 0) :]:
            self._all_reads.add(at)

    @property
    def reads_paused_seconds(self) -> float:
        """For how much longer reads are paused after a 429; 0 when they are not."""
        return max(self._reads_paused_until - self._clock.monotonic(), 0.0)

    @property
    def reads_left(self) -> int:
        """How many reads the slow lane may send now; 0 while reads are paused."""
        now = self._clock.monotonic()
        if now < self._reads_paused_until:
            return 0
        own = self._reads_allowed(now) - self._slow.count(now)
        shared = self._reads_of_all_lanes(now) - self._all_reads.count(now)
        return max(min(own, shared), 0)

    @property
    def looks_left(self) -> int:
        """How many reads the fast lane may send now."""
        now = self._clock.monotonic()
        if now < self._looks_paused_until:
            return 0
        own = self._limits.looks - self._fast.count(now)
        return max(min(own, self._reads_of_all_lanes(now) - self._all_reads.count(now)), 0)

    # --- enforcement ---

    async def act(self, path: str, body: Body) -> Reply:
        """Send a call to the broker now and once; wait a few seconds for the answer.

        If the token is rejected it is renewed and the request sent once more, as nothing has been
        done. If the wait ends first the answer is UNKNOWN, and the request runs on until it ends.
        """
        attempt = _Attempt()
        limit = self._limits.cancel_seconds if path == CANCEL else self._limits.act_seconds
        task = self._tasks.start(f"act {path}", self._act(path, body, attempt), at_once=True)
        if not task.done():
            try:
                await asyncio.wait({task}, timeout=limit)
            finally:
                attempt.given_up = not task.done()
        if task.done() and not task.cancelled():
            return task.result()
        if not attempt.on_the_wire:
            reply = Reply(
                answer=Answer.UNAUTHORISED, message="the login was not renewed in time; not sent"
            )
        else:
            reply = Reply(
                answer=Answer.UNKNOWN,
                message=f"no answer to {path} within {limit:.1f} s",
            )
        self._tell(Lane.FAST, path, body, reply, limit * 1000)
        return reply

    async def _act(self, path: str, body: Body, attempt: _Attempt) -> Reply:
        token = self._gateway.token
        reply = await self._once(Lane.FAST, path, body, attempt)
        if reply.answer is Answer.UNAUTHORISED and not attempt.given_up:
            attempt.on_the_wire = False
            failure = await self._renew(token)
            if failure is not None:
                return Reply(answer=Answer.UNAUTHORISED, message=failure)
            if attempt.given_up:
                return reply
            attempt.on_the_wire = True
            reply = await self._once(Lane.FAST, path, body, attempt)
        return reply

    async def look(self, path: str, body: Body, limit_seconds: float | None = None) -> Reply:
        """Make a read that enforcement waits for: ahead of all others, one try, a short wait."""
        limit = self._limits.look_seconds if limit_seconds is None else limit_seconds
        now = self._clock.monotonic()
        if now < self._looks_paused_until:
            return _limited(self._looks_paused_until - now)
        lane = Lane.FAST if self._fast.count(now) < self._limits.looks else Lane.SLOW
        wait = self._shared_room_in_seconds(now)
        if lane is Lane.SLOW:
            wait = max(wait, self._slow.room_in_seconds(self._limits.reads, now))
        if wait > 0:  # the rest of the gateway's limit is reserved for closes and cancels
            return _limited(wait)
        return await self._read_once(lane, path, body, limit)

    # --- reads ---

    async def read(self, path: str, body: Body) -> Reply:
        """Make a read that can wait, in up to three tries within `read_seconds`.

        LIMITED is returned at once, with the time to wait, if the budget is spent or the gateway
        asked for a pause.
        """
        ends = self._clock.monotonic() + self._limits.read_seconds
        reply = await self._read_in_turn(path, body, ends)
        for pause in READ_AGAIN_AFTER_SECONDS:
            pause *= random.uniform(0.7, 1.3)
            if not reply.is_transient or self._clock.monotonic() + pause >= ends:
                break
            await asyncio.sleep(pause)
            reply = await self._read_in_turn(path, body, ends)
        return reply

    async def _read_in_turn(self, path: str, body: Body, ends: float) -> Reply:
        while True:
            now = self._clock.monotonic()
            wait = max(
                self._reads_paused_until - now,
                self._shared_room_in_seconds(now),
                self._slow.room_in_seconds(self._reads_allowed(now), now),
            )
            if wait <= 0:
                left = max(ends - now, 0.05)
                return await self._read_once(
                    Lane.SLOW, path, body, min(self._limits.try_seconds, left)
                )
            if wait > self._limits.patience_seconds or now + wait >= ends:
                return _limited(wait)
            await asyncio.sleep(wait)

    def _shared_room_in_seconds(self, now: float) -> float:
        """Return how long until any lane may read; 0 for now. Room for closes is kept free."""
        return self._all_reads.room_in_seconds(self._reads_of_all_lanes(now), now)

    def _reads_of_all_lanes(self, now: float) -> int:
        limits = self._limits
        return max(limits.reads_and_looks - self._acts.count(now), 2 * limits.at_least)

    def _reads_allowed(self, now: float) -> int:
        limits = self._limits
        return max(limits.reads - 2 * self._acts.count(now), min(limits.at_least, limits.reads))

    async def _read_once(self, lane: Lane, path: str, body: Body, limit_seconds: float) -> Reply:
        token = self._gateway.token
        reply = await self._send(lane, path, body, limit_seconds)
        if reply.answer is Answer.UNAUTHORISED:
            failure = await self._renew_within(limit_seconds, token)
            if failure is not None:
                return Reply(answer=Answer.UNAUTHORISED, message=failure)
            reply = await self._send(lane, path, body, limit_seconds)
        return reply

    async def _send(self, lane: Lane, path: str, body: Body, limit_seconds: float) -> Reply:
        """Send one read, which may be dropped without harm."""
        try:
            async with asyncio.timeout(limit_seconds):
                return await self._once(lane, path, body)
        except TimeoutError:
            reply = Reply(
                answer=Answer.UNKNOWN, message=f"no answer to {path} within {limit_seconds:.1f} s"
            )
            self._tell(lane, path, body, reply, limit_seconds * 1000)
            return reply

    # --- both ---

    async def _once(
        self, lane: Lane, path: str, body: Body, attempt: _Attempt | None = None
    ) -> Reply:
        started = self._clock.monotonic()
        (self._fast if lane is Lane.FAST else self._slow).add(started)
        (self._all_reads if attempt is None else self._acts).add(started)
        try:
            reply = reply_of(path, await self._gateway.request(lane, path, body))
        except Exception as error:  # a failure outside; returned as an answer and to `on_call`
            reply = reply_of_error(path, error)
        if reply.answer is Answer.LIMITED:
            self._pause_reads(reply.retry_after_seconds)
        took_ms = (self._clock.monotonic() - started) * 1000
        late = attempt is not None and attempt.given_up
        self._tell(lane, path, body, reply, took_ms, late=late)
        return reply

    def _pause_reads(self, advised_seconds: float | None) -> None:
        # Also after a 429 on a close: requests that reads do not use are left for the next close.
        pause = PAUSE_WITHOUT_ADVICE_SECONDS if advised_seconds is None else advised_seconds
        now = self._clock.monotonic()
        until = now + min(pause, LONGEST_PAUSE_SECONDS)
        self._reads_paused_until = max(self._reads_paused_until, until)
        # Looks pause only briefly, so that a close or cancel gets the next free request.
        until = now + min(pause, LONGEST_PAUSE_OF_LOOKS_SECONDS)
        self._looks_paused_until = max(self._looks_paused_until, until)

    async def _renew(self, stale_token: str) -> str | None:
        """Log in again. Returns None, or why it failed."""
        try:
            await self._gateway.renew(stale_token)
        except Exception as error:  # told in the reply
            return f"logging in again failed: {type(error).__name__}: {error}"
        return None

    async def _renew_within(self, limit_seconds: float, stale_token: str) -> str | None:
        # The login is not cancelled at the limit, as others may be waiting for it.
        task = self._tasks.start("renew", self._renew(stale_token))
        await asyncio.wait({task}, timeout=limit_seconds)
        if not task.done() or task.cancelled():
            return f"logging in again took longer than {limit_seconds:g} s"
        return task.result()

    def _tell(
        self,
        lane: Lane,
        path: str,
        body: Body,
        reply: Reply,
        took_ms: float,
        *,
        late: bool = False,
    ) -> None:
        call = Call(
            at=self._clock.now(),
            lane=lane,
            path=path,
            body=body,
            answer=reply.answer,
            code=reply.code,
            message=reply.message,
            took_ms=took_ms,
            late=late,
        )
        try:
            self._on_call(call)
        except Exception as error:  # the listener's fault must not stop enforcement
            self._on_error("on_call", error)


def _limited(wait_seconds: float) -> Reply:
    return Reply(
        answer=Answer.LIMITED,
        message=f"reads pause for {wait_seconds:.0f} s: too many requests",
        retry_after_seconds=wait_seconds,
    )
