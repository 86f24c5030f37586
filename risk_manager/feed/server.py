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
import math
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import orjson
import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from risk_manager.async_closing import AsyncClosing
from risk_manager.clock import Clock
from risk_manager.domain.events import AnyEvent, HubChanged, QuoteChanged, Tick
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.feed import frames, messages
from risk_manager.feed.access import ADMIN_PATH, FEED_PATH, host_names, refusal
from risk_manager.feed.admin import MAX_ADMIN_FRAME, AdminChannel
from risk_manager.feed.messages import (
    CLOSED_SLOW,
    HEARTBEAT_S,
    NAMES,
    PROTOCOL,
    AlarmRow,
    DaemonStatus,
    Data,
    EnforcementAction,
    Heartbeat,
    MarketQuote,
    Vitals,
)
from risk_manager.feed.reader import Reader
from risk_manager.feed.snapshot import (
    Identity,
    TradeBook,
    account_snapshot,
    hub_rows,
    quote_row,
    seconds_since,
    snapshot,
)
from risk_manager.feed.tokens import ADMIN_TOKEN, FEED_TOKEN, issue_token
from risk_manager.right_of_way import RightOfWay

HOST = "127.0.0.1"
MAX_READERS = 16
MAX_ADMINS = 16
MAX_FRAME = 4096
READS_PER_MINUTE = 600  # messages of a client are ignored, up to this number
HANDSHAKE_S = 2.0
PING_S = 20.0
CLOSE_S = 1.0
CHANGE_GAP_S = 0.1
FIGURES_GAP_S = 0.5
REST_PER_COST = 10
QUOTE_GAP_S = 0.25
STEPS_PER_TURN = 16
BACKLOG = 4096
IDLE_TICKS = 5

log = structlog.get_logger(__name__)
# The library's tracebacks of failed handshakes are noise, and its debug log contains the token.
_wire_log = logging.getLogger("risk_manager.feed.wire")
_wire_log.setLevel(logging.CRITICAL)


class FeedUnavailable(Exception):
    """The feed cannot be opened; the message says why and what to change."""


class FeedServer(AsyncClosing):
    """Serves /feed and /admin on this machine only. An async context manager; also `Feed`.

    `feed_source` returns the State in force. `vitals` returns facts that are not in the state.
    `read_whole` says whether an account has been read with its trades since the start.
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
    ) -> None:
        self.port = port
        self.status = messages.STARTING
        self._source = feed_source
        self._clock = clock
        self._data_dir = data_dir
        self._run_id = run_id
        self._version = version
        self._vitals = vitals
        self._admin = admin
        self._heartbeat_s = heartbeat_s
        self._right_of_way = right_of_way or RightOfWay()
        self._read_whole = read_whole
        self._memory = frames.Memory(enforcements, alarms)
        self._trades = TradeBook()
        self._message = ""
        self._started = clock.monotonic()
        self._tokens: dict[str, str] = {}
        self._hosts: frozenset[str] = frozenset()
        self._readers: dict[ServerConnection, Reader] = {}
        self._admitted: dict[ServerConnection, None] = {}  # the oldest first
        self._serving: set[asyncio.Task[None]] = set()
        self._numbers = 0
        self._steps: deque[tuple[AnyEvent, State, Step]] = deque()
        self._noted = asyncio.Event()
        self._quoted: set[str] = set()
        self._changed: set[int] = set()
        self._moved: set[int] = set()
        self._stirred = asyncio.Event()
        self._refreshed_at: dict[int, float] = {}
        self._cost_s: dict[int, float] = {}
        self._quoted_at = 0.0
        self._ticks = 0
        self._account_frames: dict[int, tuple[State, int, bytes]] = {}
        self._server: Server | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._open = contextlib.AsyncExitStack()
        self._loops: list[asyncio.Task[None]] = []

    # --- life ---

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self.port}{FEED_PATH}"

    @property
    def readers(self) -> int:
        """How many clients are listening."""
        return len(self._readers)

    async def __aenter__(self) -> Self:
        try:
            self._server = await serve(
                self._serve,
                HOST,
                self.port,
                process_request=self._admit,
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
        self.port = self._server.sockets[0].getsockname()[1]
        self._hosts = host_names(self.port)
        try:
            # Issued only now: a second daemon that finds the port taken must not replace the first
            # one's tokens.
            self._tokens = {FEED_PATH: issue_token(self._data_dir / FEED_TOKEN)}
            if self._admin is not None:
                self._tokens[ADMIN_PATH] = issue_token(self._data_dir / ADMIN_TOKEN)
        except OSError as error:
            self._server.close()
            await self._server.wait_closed()
            raise FeedUnavailable(
                f"the feed cannot write its token into {self._data_dir} "
                f"({error.strerror or error}); is the folder there, and writable?"
            ) from error
        self._tasks = await self._open.enter_async_context(asyncio.TaskGroup())
        self._loops = [
            self._tasks.create_task(work, name=f"feed {name}") for name, work in self.loops()
        ]
        return self

    def loops(self) -> Iterable[tuple[str, Coroutine[Any, Any, None]]]:
        """Yield the tasks that run for as long as the feed is open, by name."""
        return (
            ("teller", self._tell_steps()),
            ("pacer", self._pace()),
            ("heart", self._beat()),
        )

    async def close(self) -> None:
        for task in self._loops:
            task.cancel()
        server, self._server = self._server, None
        if server is not None:
            server.close(close_connections=False)
            await asyncio.gather(
                *(_end(ws, 1001, "the daemon stops") for ws in list(self._admitted))
            )
            for task in self._serving:
                task.cancel()  # it may be waiting for an answer that will not come
            server.close()
            await server.wait_closed()
        await self._open.aclose()

    def set_status(self, status: str, message: str = "") -> None:
        """Send the status (STARTING, RUNNING, DEGRADED, STOPPING or ERROR) to all clients."""
        if (status, message) == (self.status, self._message):
            return
        self.status, self._message = status, message
        self._tell_status()

    # --- what the pipeline calls ---

    def publish(self, event: AnyEvent, before: State, outcome: Step) -> None:
        """Queue one step. Returns at once; a separate task makes the frames."""
        if not self._readers and not frames.is_worth_keeping(outcome):
            return
        if type(event) is QuoteChanged:
            self._quoted.add(event.contract_id)
            self._stirred.set()
            if outcome.state.accounts is before.accounts and not outcome.decisions:
                return
        if len(self._steps) >= BACKLOG:
            return self._start_over()
        self._steps.append((event, before, outcome))
        self._noted.set()
        return None

    def _start_over(self) -> None:
        """Disconnect all clients, as too many steps wait; they return for a fresh snapshot."""
        log.error("feed_backlog_dropped", steps=len(self._steps))
        self._steps.clear()
        for reader in list(self._readers.values()):
            self._let_go(reader, "the feed fell behind; connect again for a snapshot")

    # --- steps into frames ---

    async def _tell_steps(self) -> None:
        done = 0
        while True:
            while self._steps:
                await self._right_of_way.give_way()
                event, before, outcome = self._steps.popleft()
                try:
                    self._tell_step(event, before, outcome)
                except Exception as error:  # the feed may fail, enforcement must go on
                    self._report_fault(error)
                done += 1
                if done % STEPS_PER_TURN == 0:
                    await asyncio.sleep(0)
            self._noted.clear()
            await self._noted.wait()

    def _tell_step(self, event: AnyEvent, before: State, outcome: Step) -> None:
        for account_id, data in frames.told(event, outcome):
            if isinstance(data, EnforcementAction) and account_id is not None:
                self._memory.enforced(account_id, data)
                self._changed.add(account_id)
            self._tell(account_id, data)
        for alarm in frames.alarms(outcome):
            self._memory.alarmed(alarm)
            self._tell_status(alarm)
        if isinstance(event, HubChanged):
            self._tell_status()
            self._changed.update(outcome.state.accounts)
        elif isinstance(event, Tick):
            self._tick(outcome.state)
        self._changed.update(frames.touched(event, before, outcome))
        if outcome.state.health_issues is not before.health_issues:
            self._changed.update(outcome.state.accounts)
        if self._changed or self._moved:
            self._stirred.set()

    def _tick(self, state: State) -> None:
        """Refresh figures that change with time alone: windows, ages, quotes that become old."""
        self._ticks += 1
        everyone = self._ticks % IDLE_TICKS == 0
        self._moved.update(
            account.id for account in state.accounts.values() if everyone or not account.is_flat
        )

    def _tell(self, account_id: int | None, data: Data) -> None:
        if not self._readers:
            return
        frame = self._frame(account_id, data)
        for reader in list(self._readers.values()):
            if not reader.offer(frame):
                self._let_go(reader, "too slow; connect again for a snapshot")

    def _tell_status(self, alarm: AlarmRow | None = None) -> None:
        if self._readers:
            about = None if alarm is None else alarm.account_id
            self._tell(about, self._daemon_status(alarm))

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
        self._tell_status(alarm)

    # --- pace ---

    async def _pace(self) -> None:
        while True:
            await self._stirred.wait()
            await self._right_of_way.give_way()
            self._stirred.clear()
            try:
                waiting = self._send_due(self._clock.monotonic())
            except Exception as error:  # the feed may fail, enforcement must go on
                self._report_fault(error)
                waiting = False
            await asyncio.sleep(CHANGE_GAP_S)
            if waiting:
                self._stirred.set()

    def _send_due(self, now: float) -> bool:
        """Send the quotes and accounts that are due. Returns whether others must still wait."""
        if not self._readers:
            self._quoted.clear()
            self._changed.clear()
            self._moved.clear()
            return False
        state = self._source()
        readers = list(self._readers.values())
        if self._quoted and now - self._quoted_at >= QUOTE_GAP_S:
            self._quoted_at = now
            for contract_id in self._quoted:
                self._moved.update(state.holders.get(contract_id, ()))
                if contract_id in state.quotes:
                    frame = self._frame(None, self._quote(state, contract_id))
                    for reader in readers:
                        reader.offer_quote(contract_id, frame)
            self._quoted.clear()
        long_ago = now - FIGURES_GAP_S
        due = set(self._changed)
        due |= {a for a in self._moved if self._refreshed_at.get(a, long_ago) <= long_ago}
        due -= {a for a in due if now - self._refreshed_at.get(a, -math.inf) < self._rest_s(a)}
        self._changed -= due
        for account_id in due:
            self._moved.discard(account_id)
            self._refreshed_at[account_id] = now
            for reader in readers:
                reader.refresh(account_id)
        return bool(self._quoted or self._moved or self._changed)

    def _rest_s(self, account_id: int) -> float:
        """Return the pause after a snapshot of this account was made.

        Snapshots of an account with thousands of orders are slow and may take a tenth of the time
        at most.
        """
        return REST_PER_COST * self._cost_s.get(account_id, 0.0)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            if not self._readers:
                continue
            try:
                self._tell(None, self._heartbeat())
            except Exception as error:  # telling may fail; enforcing must go on
                self._report_fault(error)

    # --- data ---

    def _frame(self, account_id: int | None, data: Data) -> bytes:
        """Return a frame without its number, which each reader adds."""
        return b'"ts":%b,"type":"%b","account_id":%b,"data":%b}' % (
            _json(self._clock.now()),
            NAMES[type(data)].encode(),
            b"null" if account_id is None else b"%d" % account_id,
            _json(data),
        )

    def _account_frame(self, account_id: int) -> bytes | None:
        """Return the frame of an account as it is now, made once per state for all readers."""
        state = self._source()
        known = self._account_frames.get(account_id)
        told = self._memory.version
        if known is not None and known[0] is state and known[1] == told:
            return known[2]
        if account_id not in state.accounts:
            return None
        began = self._clock.monotonic()
        frame = self._frame(account_id, self._snapshot(state, [account_id]))
        self._cost_s[account_id] = self._clock.monotonic() - began
        self._account_frames[account_id] = (state, told, frame)
        return frame

    def _snapshot(self, state: State, account_ids: Iterable[int]) -> messages.Snapshot:
        return snapshot(
            state,
            [
                account_snapshot(
                    state,
                    state.accounts[account_id],
                    trades=self._trades,
                    enforcements=self._memory.of(account_id),
                    known=self._read_whole(account_id),
                )
                for account_id in sorted(account_ids)
            ],
            identity=Identity(run_id=self._run_id, version=self._version, status=self.status),
            vitals=self._vitals(),
            now=self._clock.now(),
            alarms=self._memory.alarms,
        )

    def _quote(self, state: State, contract_id: str) -> MarketQuote:
        row = quote_row(state, contract_id, self._clock.now())
        return MarketQuote(
            contractId=row.contract_id,
            symbol=row.symbol,
            bid=row.bid,
            ask=row.ask,
            last=row.last,
            age_ms=row.age_ms,
            timestamp=row.at,
        )

    def _daemon_status(self, alarm: AlarmRow | None = None) -> DaemonStatus:
        state, vitals = self._source(), self._vitals()
        return DaemonStatus(
            status=self.status,
            message=alarm.message if alarm else self._message,
            timestamp=self._clock.now(),
            run_id=self._run_id,
            version=self._version,
            protocol=PROTOCOL,
            accounts=tuple(sorted(state.accounts)),
            heartbeat_s=self._heartbeat_s,
            uptime_s=self._uptime_s(),
            hubs=hub_rows(state, vitals),
            rest=vitals.rest,
            db=vitals.db,
            token_expires_at=vitals.token_expires_at,
            alarm=alarm,
        )

    def _heartbeat(self) -> Heartbeat:
        state, vitals, now = self._source(), self._vitals(), self._clock.now()
        return Heartbeat(
            status=self.status,
            timestamp=now,
            uptime_s=self._uptime_s(),
            state_age_s=seconds_since(state.now, now),
            hubs=hub_rows(state, vitals),
            rest=vitals.rest,
            db=vitals.db,
        )

    def _uptime_s(self) -> float:
        return round(self._clock.monotonic() - self._started, 1)

    # --- connections ---

    def _admit(self, ws: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        turned_away = refusal(path, request.headers, hosts=self._hosts, tokens=self._tokens)
        if turned_away is not None:
            log.warning("feed_refused", status=int(turned_away[0]), path=path[:64])
            return ws.respond(*turned_away)
        same = [c for c in self._admitted if _path(c) == path]
        if path == ADMIN_PATH:
            ws.protocol.max_message_size = MAX_ADMIN_FRAME
            self._make_room_for_an_order(same)
        elif len(same) >= MAX_READERS:
            return ws.respond(503, f"there are {MAX_READERS} connections already\n")
        # Counted from the handshake on, so that a burst of handshakes cannot exceed the limit.
        self._admitted[ws] = None
        ws.connection_lost_waiter.add_done_callback(lambda _: self._admitted.pop(ws, None))
        return None

    def _make_room_for_an_order(self, admins: list[ServerConnection]) -> None:
        """Close one admin connection, so that an order to close everything always gets in.

        The oldest connection is closed, preferably one without a running request. A request it has
        made is still carried out.
        """
        if len(admins) < MAX_ADMINS or self._admin is None or self._tasks is None:
            return
        idle = (c for c in admins if self._admin is None or not self._admin.is_asking(c))
        oldest = next(idle, admins[0])
        self._admitted.pop(oldest, None)
        log.warning("admin_connection_let_go")
        self._tasks.create_task(
            _end(oldest, CLOSED_SLOW, "a newer connection needs the place"), name="admin end"
        )

    async def _serve(self, ws: ServerConnection) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            if _path(ws) == ADMIN_PATH:
                assert self._admin is not None  # without it `_admit` refuses /admin
                await self._admin.serve(ws)
            else:
                await self.serve_reader(ws)
        except ConnectionClosed:
            pass
        except Exception as error:  # an error with one client ends only its connection
            log.error("feed_connection_failed", exc_info=error)
            await _end(ws, 1011, "internal error")
        finally:
            self._serving.discard(task)
            self._admitted.pop(ws, None)

    async def serve_reader(self, ws: ServerConnection) -> None:
        """Serve one client, from its snapshot until it disconnects."""
        self._numbers += 1
        reader = Reader(ws, self._numbers, self._account_frame)
        state = self._source()
        reader.offer(self._frame(None, self._daemon_status()))
        reader.offer(self._frame(None, self._snapshot(state, state.accounts)))
        self._readers[ws] = reader
        relay = asyncio.create_task(reader.relay(), name=reader.name)
        listening = asyncio.create_task(self._ignore(ws), name=f"{reader.name} inbound")
        try:
            await asyncio.wait((relay, listening), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._readers.pop(ws, None)
            ended = await _stop(relay, listening)
        for fault in ended:
            raise fault

    async def _ignore(self, ws: ServerConnection) -> None:
        """Read and drop the client's messages, so that pongs and close frames are processed."""
        since, heard = self._clock.monotonic(), 0
        async for _ in ws:
            heard += 1
            if heard > READS_PER_MINUTE:
                now = self._clock.monotonic()
                if now - since < 60:
                    await _end(ws, 1008, "the feed is read-only")
                    return
                since, heard = now, 0

    def _let_go(self, reader: Reader, reason: str) -> None:
        if self._readers.pop(reader.ws, None) is None or self._tasks is None:
            return
        reader.let_go()
        log.warning("feed_reader_let_go", reader=reader.name, reason=reason)
        self._tasks.create_task(_end(reader.ws, CLOSED_SLOW, reason), name=f"{reader.name} end")


async def _stop(*tasks: asyncio.Task[None]) -> list[BaseException]:
    """Cancel running tasks. Returns their exceptions other than a closed connection."""
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return [
        r
        for r in results
        if isinstance(r, BaseException)
        and not isinstance(r, asyncio.CancelledError | ConnectionClosed)
    ]


async def _end(ws: ServerConnection, code: int, reason: str) -> None:
    """Close a connection without a long wait for a client that does not read."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await ws.close(code, reason)
    if not ws.transport.is_closing():
        ws.transport.abort()


def _path(ws: ServerConnection) -> str:
    return ws.request.path.partition("?")[0] if ws.request is not None else ""


def _json(value: Data | datetime) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
