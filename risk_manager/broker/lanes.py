"""REST in two lanes: enforcement, which nothing may delay, and reads, which wait for room."""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from risk_manager.async_closing import AsyncClosing
from risk_manager.broker.replies import Answer, Reply, reply_of, reply_of_error
from risk_manager.broker.request_budget import Limits, RequestBudget
from risk_manager.broker.single_requests import Body, Gateway, Lane
from risk_manager.broker.task_group import OnError, TaskGroup, log_error
from risk_manager.clock import Clock
from risk_manager.domain.call_codes import CANCEL
from risk_manager.right_of_way import RightOfWay

READ_AGAIN_AFTER_SECONDS = (0.15, 0.5)


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


@dataclass(slots=True)
class _Attempt:
    """A call to the broker in flight. Once `given_up`, it must not be sent again."""

    given_up: bool = False
    on_the_wire: bool = True


class Lanes(AsyncClosing):
    """The only access to the gateway's REST, as an async context manager.

    Nothing the gateway or the network does raises an exception here: see `Answer`. Reads wait while
    the `right_of_way` is taken, closes and cancels do not.
    """

    def __init__(
        self,
        gateway: Gateway,
        clock: Clock,
        *,
        limits: Limits | None = None,
        on_call: Callable[[Call], None] = lambda _: None,
        on_error: OnError = log_error,
        right_of_way: RightOfWay | None = None,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._right_of_way = right_of_way or RightOfWay()
        self._limits = limits or Limits()
        self._on_call = on_call
        self._on_error = on_error
        self._tasks = TaskGroup(on_error)
        self._budget = RequestBudget(self._limits)

    async def close(self) -> None:
        """Drop requests in flight. The next start reads what they have done."""
        await self._tasks.close()

    def take_up(self, calls_ago: Iterable[timedelta]) -> None:
        """Count the requests of an earlier run in the last minute, before the first request.

        `calls_ago` says how long ago each call was. The reads that went with them are estimated,
        leaving room for the few reads that a start needs.
        """
        self._budget.take_up(calls_ago, self._clock.monotonic())

    @property
    def reads_paused_seconds(self) -> float:
        """For how much longer reads are paused after a 429; 0 when they are not."""
        return self._budget.reads_paused_seconds(self._clock.monotonic())

    @property
    def reads_left(self) -> int:
        """How many reads the slow lane may send now; 0 while reads are paused."""
        return self._budget.reads_left(self._clock.monotonic())

    @property
    def looks_left(self) -> int:
        """How many reads the fast lane may send now."""
        return self._budget.looks_left(self._clock.monotonic())

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
        """Make a read that enforcement waits for: ahead of all others, one try, a short wait.

        It leaves once the facts that have arrived are judged, as every read does.
        """
        await self._right_of_way.give_way()
        limit = self._limits.look_seconds if limit_seconds is None else limit_seconds
        now = self._clock.monotonic()
        lane = self._budget.lane_of_look(now)
        account_id = body.get("accountId")
        subject = account_id if isinstance(account_id, int) else None
        wait = self._budget.look_in_seconds(lane, subject, now)
        if wait > 0:
            return _limited(wait)
        self._budget.note_look(subject, now)
        return await self._read_once(lane, path, body, limit)

    # --- reads ---

    async def read(self, path: str, body: Body) -> Reply:
        """Make a read that can wait, in up to three tries within `read_seconds`.

        A slow answer may take all of that time. LIMITED is returned at once, with the time to wait,
        if the budget is spent or the gateway asked for a pause.
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
            # Before the budget is asked: between the answer and the request nothing may wait.
            await self._right_of_way.give_way()
            now = self._clock.monotonic()
            wait = self._budget.read_in_seconds(now)
            if wait <= 0:
                return await self._read_doubled(path, body, max(ends - now, 0.05))
            if wait > self._limits.patience_seconds or now + wait >= ends:
                return _limited(wait)
            await asyncio.sleep(wait)

    async def _read_doubled(self, path: str, body: Body, limit_seconds: float) -> Reply:
        """Send a read, and a second one if no answer comes within `double_seconds`.

        The first answer that is no failure counts. The first request may have been lost, or the
        gateway may be slow: then its answer still comes.
        """
        tries = [self._start_read(path, body, limit_seconds)]
        try:
            double_seconds = min(self._limits.double_seconds, limit_seconds)
            await asyncio.wait(tries, timeout=double_seconds)
            left = limit_seconds - double_seconds
            if not tries[0].done() and left > 0 and self.reads_left:
                tries.append(self._start_read(path, body, left))
            pending = set(tries)
            while True:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for ended in (each for each in tries if each in done):
                    reply = ended.result()
                    if not (pending and reply.is_transient):
                        return reply
        finally:
            for each in tries:
                each.cancel()

    def _start_read(self, path: str, body: Body, limit_seconds: float) -> asyncio.Task[Reply]:
        read = self._read_once(Lane.SLOW, path, body, limit_seconds)
        return self._tasks.start(f"read {path}", read, at_once=True)

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
        if attempt is None:
            self._budget.count_read(lane, started)
        else:
            self._budget.count_act(lane, started)
        try:
            reply = reply_of(path, await self._gateway.request(lane, path, body))
        except Exception as error:  # a failure outside; returned as an answer and to `on_call`
            reply = reply_of_error(path, error)
        if reply.answer is Answer.LIMITED:
            self._budget.pause(reply.retry_after_seconds, self._clock.monotonic())
        took_ms = (self._clock.monotonic() - started) * 1000
        late = attempt is not None and attempt.given_up
        self._tell(lane, path, body, reply, took_ms, late=late)
        return reply

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
