"""The feed server, for clients on this machine that have the token of this run.

Nothing here can delay enforcement. `publish` only queues the step. One task turns steps into
frames, another paces figures and quotes, and each client has a bounded queue that a task of its
own empties. A client that falls behind is disconnected.

Figures (P&L, meters, ages) are updated by sending `snapshot` again for one account, with its
`account_id` in the envelope: at once when the account changed (at most ten a second), and at most
twice a second while only prices move. A reader therefore replaces, and never patches or computes.
"""

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, Self

import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from risk_manager.async_closing import AsyncClosing
from risk_manager.clock import Clock
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.feed.access import ADMIN_PATH, FEED_PATH, host_names
from risk_manager.feed.admin import AdminChannel
from risk_manager.feed.admission import Admission, path_of
from risk_manager.feed.broadcast import Answer, Broadcast
from risk_manager.feed.composer import Composer
from risk_manager.feed.connection_closing import CLOSE_S, ConnectionCloser, close_connection
from risk_manager.feed.frames import Memory
from risk_manager.feed.history_request import HistorySource, read_request
from risk_manager.feed.messages import HEARTBEAT_S, AlarmRow, EnforcementAction, Vitals
from risk_manager.feed.outlook import OutlookBook
from risk_manager.feed.pacing import Pacer
from risk_manager.feed.requests import NoTimeClock, Requests, TimeClock
from risk_manager.feed.step_queue import StepQueue
from risk_manager.feed.tokens import ADMIN_TOKEN, FEED_TOKEN, issue_token
from risk_manager.right_of_way import RightOfWay

HOST = "127.0.0.1"
MAX_FRAME = 4096
HANDSHAKE_S = 2.0
PING_S = 20.0

log = structlog.get_logger(__name__)
# The library's tracebacks of failed handshakes are noise, and its debug log contains the token.
_wire_log = logging.getLogger("risk_manager.feed.wire")
_wire_log.setLevel(logging.CRITICAL)


class FeedUnavailable(Exception):
    """The feed cannot be opened; the message says why and what to change."""


class FeedServer(AsyncClosing):
    """Serves /feed and /admin on this machine only. An async context manager; also `Feed`.

    `feed_source` returns the State in force. `vitals` returns facts that are not in the state.
    `read_whole` says whether an account has been read with its trades since the start. `history`
    answers requests for a page of what was; without it they are ignored. `time_clock` keeps when
    the trader clocked in. `outlooks` makes what seldom changes.
    """

    def __init__(
        self,
        *,
        feed_source: Callable[[], State],
        clock: Clock,
        data_dir: Path,
        run_id: str,
        version: str,
        port: int = 8765,
        vitals: Callable[[], Vitals] = Vitals,
        admin: AdminChannel | None = None,
        enforcements: Iterable[tuple[int, EnforcementAction]] = (),
        alarms: Iterable[AlarmRow] = (),
        heartbeat_s: float = HEARTBEAT_S,
        right_of_way: RightOfWay | None = None,
        read_whole: Callable[[int], bool] = lambda _: True,
        history: HistorySource | None = None,
        time_clock: TimeClock | None = None,
        outlooks: OutlookBook | None = None,
    ) -> None:
        self.port = port
        self._clock = clock
        self._data_dir = data_dir
        self._admin = admin
        self._heartbeat_s = heartbeat_s
        self._memory = Memory(enforcements, alarms)
        self._closer = ConnectionCloser()
        self._admission = Admission(admin, self._closer)
        self._state = feed_source
        time_clock = time_clock or NoTimeClock()
        self._requests = Requests(time_clock, lambda: feed_source().accounts, clock.monotonic)
        self._composer = Composer(
            state=feed_source,
            clock=clock,
            vitals=vitals,
            read_whole=read_whole,
            clocked_in_at=time_clock.since,
            memory=self._memory,
            outlooks=outlooks or OutlookBook(),
            run_id=run_id,
            version=version,
            heartbeat_s=heartbeat_s,
        )
        self._right_of_way = right_of_way = right_of_way or RightOfWay()
        self._history = history
        self._broadcast = Broadcast(self._composer, clock, self._closer, self._answer, right_of_way)
        self._pacer = Pacer(
            self._broadcast,
            self._composer,
            state=feed_source,
            clock=clock,
            right_of_way=right_of_way,
            report=self._report_fault,
        )
        self._steps = StepQueue(
            self._broadcast,
            self._pacer,
            self._memory,
            right_of_way=right_of_way,
            report=self._report_fault,
        )
        self._server: Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._open = contextlib.AsyncExitStack()

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self.port}{FEED_PATH}"

    @property
    def readers(self) -> int:
        """How many clients are listening."""
        return len(self._broadcast)

    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None:
        """Queue one step. Returns at once; a separate task makes the frames."""
        self._steps.put(event, before, outcome)

    def set_status(self, status: str, message: str = "") -> None:
        """Send the status (STARTING, RUNNING, DEGRADED, STOPPING or ERROR) to all clients."""
        if self._composer.set_status(status, message):
            self._broadcast.send_status()

    # --- opening and closing ---

    async def __aenter__(self) -> Self:
        self._server = await self._listen()
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            # Issued only now: a second daemon that finds the port taken must not replace the first
            # one's tokens.
            tokens = {FEED_PATH: issue_token(self._data_dir / FEED_TOKEN)}
            if self._admin is not None:
                tokens[ADMIN_PATH] = issue_token(self._data_dir / ADMIN_TOKEN)
        except OSError as error:
            self._server.close()
            await self._server.wait_closed()
            raise FeedUnavailable(
                f"the feed cannot write its token into {self._data_dir} "
                f"({error.strerror or error}); is the folder there, and writable?"
            ) from error
        self._admission.begin(host_names(self.port), tokens)
        await self._open.enter_async_context(self._closer)
        tasks = await self._open.enter_async_context(asyncio.TaskGroup())
        self._loops = [tasks.create_task(work, name=f"feed {name}") for name, work in self.loops()]
        return self

    async def _listen(self) -> Server:
        try:
            return await serve(
                self._serve,
                HOST,
                self.port,
                process_request=self._admission.answer,
                compression=None,
                max_size=MAX_FRAME,
                max_queue=4,
                open_timeout=HANDSHAKE_S,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                close_timeout=CLOSE_S,
                server_header=None,
                logger=_wire_log,
            )
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "the port is taken" if taken else error.strerror or str(error)
            raise FeedUnavailable(
                f"the feed cannot listen on {HOST}:{self.port} ({why}); "
                "is another daemon running? Otherwise change feed.port in settings.yaml"
            ) from error

    def loops(self) -> Iterable[tuple[str, Coroutine[Any, Any, None]]]:
        """Yield the tasks that run for as long as the feed is open, by name."""
        return (
            ("steps", self._steps.run()),
            ("pacer", self._pacer.run()),
            ("heartbeat", self._beat()),
        )

    async def close(self) -> None:
        for task in self._loops:
            task.cancel()
        server, self._server = self._server, None
        if server is not None:
            server.close(close_connections=False)
            await asyncio.gather(
                *(close_connection(ws, 1001, "the daemon stops") for ws in self._admission.admitted)
            )
            for task in self._serving:
                task.cancel()  # it may be waiting for an answer that will not come
            server.close()
            await server.wait_closed()
        await self._open.aclose()

    # --- connections ---

    async def _serve(self, ws: ServerConnection) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            if path_of(ws.request) == ADMIN_PATH:
                assert self._admin is not None  # without it /admin is refused
                await self._admin.serve(ws)
            else:
                await self.serve_reader(ws)
        except ConnectionClosed:
            pass
        except Exception as error:  # an error with one client ends only its connection
            log.error("feed_connection_failed", exc_info=error)
            await close_connection(ws, 1011, "internal error")
        finally:
            self._serving.discard(task)
            self._admission.ended(ws)

    async def serve_reader(self, ws: ServerConnection) -> None:
        """Serve one client, from its snapshot until it disconnects."""
        await self._broadcast.serve(ws)

    # --- the server itself ---

    async def _answer(self, frame: str | bytes) -> Answer | None:
        request = read_request(frame)
        if request is not None and self._history is not None:
            await self._right_of_way.give_way()
            return Answer(request.account_id, await self._history(request))
        answered = await self._requests.answer(frame)
        if answered is None:
            return None
        if answered.ok:
            self._composer.compose_anew()
            self._pacer.accounts_changed(self._state().accounts)
            self._pacer.wake()
        return Answer(None, answered)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            if not self._broadcast:
                continue
            try:
                self._broadcast.send(None, self._composer.heartbeat())
            except Exception as error:  # the feed may fail, enforcement must go on
                self._report_fault(error)

    def _report_fault(self, error: Exception) -> None:
        log.error("feed_could_not_tell", exc_info=error)
        alarm = AlarmRow(
            at=self._clock.now(),
            code="feed_failed",
            message=f"the feed could not tell of an event ({type(error).__name__}: {error}); "
            "enforcement is not affected",
            severity="warning",
        )
        self._memory.alarmed(alarm)
        self._broadcast.send_status(alarm)
