"""Clients for the feed and the admin channel, for use in another process."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any, Self

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidMessage,
    InvalidStatus,
    WebSocketException,
)
from websockets.protocol import State

from risk_manager.feed.history_request import HistoryRequest
from risk_manager.feed.messages import HEARTBEAT_S, TYPES, DaemonStatus, Data, Message
from risk_manager.feed.text import looks_plain, plain, plain_json
from risk_manager.feed.tokens import ADMIN_TOKEN, FEED_TOKEN, read_token

RECONNECT_S = (1.0, 2.0, 4.0, 8.0, 10.0)
SILENCE = 3  # heartbeats missed before a connection counts as dead
MAX_FRAME = 16 * 1024 * 1024
OPEN_S = 5.0
CLOSE_S = 1.0
NOBODY_THERE = "nothing listens there"
START = "python -m risk_manager run"

_ADAPTERS: dict[str, TypeAdapter[Data]] = {name: TypeAdapter(t) for name, t in TYPES.items()}


class FeedUnreachable(Exception):
    """No daemon can be reached. The message says where it was looked for and what to do."""


class AdminRefused(Exception):
    """The daemon answered an admin request with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection was made; a status and a complete snapshot follow."""

    url: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection ended or could not be made. The next try is `retry_in_s` away."""

    reason: str
    retry_in_s: float


class _Envelope(BaseModel):
    v: int
    seq: int
    ts: datetime
    type: str
    account_id: int | None = None
    data: dict[str, Any]


class _Gap(Exception):
    """A sequence number is missing, so a message was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """The addresses of a daemon, as stated in its data folder."""

    feed_url: str
    token: str = field(repr=False)
    run_id: str | None
    status: str | None = None

    @classmethod
    def find(cls, data_dir: Path, url: str | None = None, *, token: str = FEED_TOKEN) -> Self:
        """Read the address and a token. Raises FeedUnreachable with a sentence for a person."""
        run_id: str | None = None
        status: str | None = None
        if url is None:
            told = data_dir / "daemon.json"
            try:
                about = json.loads(told.read_text(encoding="utf-8"))
                url, run_id, status = about["feed_url"], about.get("run_id"), about.get("status")
            except FileNotFoundError:
                raise FeedUnreachable(
                    f"no daemon has run in {data_dir} (no daemon.json); start it with: {START}"
                ) from None
            except OSError as error:
                raise FeedUnreachable(f"{told} cannot be read: {error.strerror}") from None
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise FeedUnreachable(f"{told} cannot be read: {error}") from None
            if not isinstance(url, str):
                raise FeedUnreachable("the daemon has not opened its feed yet")
        try:
            secret = read_token(data_dir / token)
        except OSError as error:
            raise FeedUnreachable(
                f"the token {data_dir / token} cannot be read ({error.strerror}); "
                "is this the data folder of the daemon, and yours to read?"
            ) from None
        return cls(feed_url=url, token=secret, run_id=run_id, status=status)

    @property
    def admin_url(self) -> str:
        return self.feed_url.removesuffix("/feed") + "/admin"

    def unreachable(self, url: str, why: str) -> FeedUnreachable:
        """Make an error that says where the daemon was looked for, why, and what to do."""
        said = f"the daemon at {url} cannot be reached: {why}"
        if why == NOBODY_THERE and self.status is not None:
            ended = "was stopped" if self.status == "STOPPED" else "ended without being stopped"
            said += f"; it {ended}, nobody guards; start it with: {START}"
        return FeedUnreachable(said)

    def open(self, url: str) -> connect:
        """Return a connection, not opened yet, to one of its addresses. Never uses a proxy."""
        return connect(
            url,
            additional_headers={"Authorization": f"Bearer {self.token}"},
            compression=None,
            proxy=None,
            user_agent_header=None,
            max_size=MAX_FRAME,
            open_timeout=OPEN_S,
            close_timeout=CLOSE_S,
        )


class FeedClient:
    """The feed as an endless stream, across restarts of the daemon and lost connections.

        async for item in FeedClient(data_dir).stream(): ...

    It reconnects after 1, 2, 4, 8, 10, 10, ... seconds (each varied a little), and reads address
    and token again each time. A missing number or silence counts as a lost connection. Control
    characters are removed from all text.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        url: str | None = None,
        reconnect_s: tuple[float, ...] = RECONNECT_S,
        vary: Callable[[], float] = random.random,
    ) -> None:
        self._data_dir = data_dir
        self._url = url
        self._reconnect_s = reconnect_s
        self._vary = vary
        self._spoke = False
        self._ws: ClientConnection | None = None
        self._requests = 0

    async def ask(self, request: HistoryRequest) -> bool:
        """Send a request; its answer comes in the stream. False where no connection is there."""
        return await self._sent(request.frame())

    async def request(self, method: str, account_id: int) -> bool:
        """Ask the daemon to clock in or out; the answer comes with the stream.

        Returns False where it could not be sent.
        """
        self._requests += 1
        request = {"id": self._requests, "method": method, "params": {"account_id": account_id}}
        return await self._sent(orjson.dumps(request))

    async def _sent(self, frame: str | bytes) -> bool:
        if self._ws is None:
            return False
        try:
            await self._ws.send(frame, text=True)
        except ConnectionClosed:
            return False
        return True

    async def stream(self) -> AsyncGenerator[Message | Connected | Disconnected]:
        """Yield messages, and a marker whenever the connection is made or lost. Never ends."""
        failures = 0
        while True:
            self._spoke = False
            reason = "the daemon closed the connection"
            try:
                async with self._connected() as (daemon, ws):
                    yield Connected(daemon.feed_url)
                    async with aclosing(self._messages(ws, daemon)) as messages:
                        async for message in messages:
                            yield message
            except (FeedUnreachable, _Gap) as error:
                reason = str(error)
            except ConnectionClosed as error:
                reason = _closing(error)
            except TimeoutError:
                reason = "the daemon does not answer"
            except (OSError, WebSocketException) as error:
                reason = _in_words(error)
            failures = 1 if self._spoke else failures + 1
            pause = self._reconnect_s[min(failures, len(self._reconnect_s)) - 1]
            pause *= 0.8 + 0.4 * self._vary()
            yield Disconnected(reason, pause)
            await asyncio.sleep(pause)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[Daemon, ClientConnection]]:
        daemon = Daemon.find(self._data_dir, self._url)
        # Not `async for ws in connect(...)`: the gateway's SDK patches that for the whole process.
        async with daemon.open(daemon.feed_url) as ws:
            self._ws = ws
            try:
                yield daemon, ws
            finally:
                self._ws = None

    async def _messages(self, ws: ClientConnection, daemon: Daemon) -> AsyncGenerator[Message]:
        silence_s = SILENCE * HEARTBEAT_S
        for expected in count(1):
            async with asyncio.timeout(silence_s):
                frame = await ws.recv(decode=True)
            envelope = read_envelope(frame)
            if envelope is None:
                raise _Gap("the daemon sent something that is not a feed frame")
            if envelope.seq != expected:
                raise _Gap(f"frame {expected} is missing (got {envelope.seq})")
            message = read_message(envelope)
            if message is None:
                continue
            if isinstance(message.data, DaemonStatus):
                if daemon.run_id is not None and message.data.run_id != daemon.run_id:
                    raise _Gap("another run of the daemon answers than daemon.json names")
                silence_s = SILENCE * message.data.heartbeat_s
            self._spoke = True
            yield message


def read_envelope(frame: str) -> _Envelope | None:
    """Parse the envelope of a message and clean its text; None when it is not a valid one."""
    try:
        raw = orjson.loads(frame)
        return _Envelope.model_validate(raw if looks_plain(frame) else plain_json(raw))
    except (ValueError, ValidationError):
        return None


def read_message(envelope: _Envelope) -> Message | None:
    """Parse the message in an envelope; None for an unknown type or unreadable data."""
    adapter = _ADAPTERS.get(envelope.type)
    if adapter is None:
        return None
    try:
        data = adapter.validate_python(envelope.data)
    except ValidationError:
        if envelope.type == "snapshot":
            raise _Gap("the snapshot cannot be read: is the daemon of another version?") from None
        return None
    return Message(
        seq=envelope.seq,
        ts=envelope.ts,
        type=envelope.type,
        account_id=envelope.account_id,
        data=data,
    )


async def read_once(
    data_dir: Path, url: str | None = None, *, timeout_s: float = OPEN_S
) -> tuple[DaemonStatus, dict[str, Any], Message]:
    """Return the status, the snapshot as plain JSON, and the parsed snapshot.

    Raises FeedUnreachable, with one sentence, when none comes within the time.
    """
    daemon = Daemon.find(data_dir, url)
    try:
        async with asyncio.timeout(timeout_s), daemon.open(daemon.feed_url) as ws:
            status: DaemonStatus | None = None
            while True:
                envelope = read_envelope(await ws.recv(decode=True))
                message = None if envelope is None else read_message(envelope)
                if message is not None and isinstance(message.data, DaemonStatus):
                    status = message.data
                if envelope and message and message.type == "snapshot" and status is not None:
                    return status, envelope.data, message
    except _Gap as error:
        raise FeedUnreachable(str(error)) from None
    except TimeoutError:
        why = "no answer in time"
    except ConnectionClosed as error:
        why = _closing(error)
    except (OSError, WebSocketException) as error:
        why = _in_words(error)
    raise daemon.unreachable(daemon.feed_url, why)


async def who_listens(url: str) -> str:
    """Return a sentence on who uses the port of an address, for a person who wants to use it."""
    stranger = Daemon(feed_url=url, token="nobody", run_id=None)
    try:
        async with stranger.open(url):
            return "a daemon that lets anybody in"
    except (OSError, TimeoutError, WebSocketException) as error:
        return _in_words(error)


class AdminClient:
    """Requests to the daemon, one at a time.

    async with AdminClient.connect(data_dir) as admin:
        await admin.call("status")
    """

    def __init__(self, ws: ClientConnection) -> None:
        self._ws = ws
        self._ids = count(1)

    @classmethod
    @asynccontextmanager
    async def connect(cls, data_dir: Path, url: str | None = None) -> AsyncIterator[Self]:
        """Connect. `url` is the feed's address. Raises FeedUnreachable."""
        daemon = Daemon.find(data_dir, url, token=ADMIN_TOKEN)
        try:
            ws = await daemon.open(daemon.admin_url)
        except (OSError, TimeoutError, WebSocketException) as error:
            raise daemon.unreachable(daemon.admin_url, _in_words(error)) from None
        try:
            yield cls(ws)
        finally:
            await ws.close()

    @property
    def is_open(self) -> bool:
        """False once the connection has ended."""
        return self._ws.state is State.OPEN

    async def call(
        self, method: str, params: dict[str, Any] | None = None, *, timeout_s: float = 30.0
    ) -> dict[str, Any]:
        """Return the result of one verb. Raises AdminRefused, or FeedUnreachable on a lost
        connection."""
        number = next(self._ids)
        request = {"id": number, "method": method, "params": params or {}}
        try:
            async with asyncio.timeout(timeout_s):
                await self._ws.send(orjson.dumps(request), text=True)
                while True:
                    reply = plain_json(orjson.loads(await self._ws.recv(decode=True)))
                    if reply.get("id") in (number, None):
                        break
        except ConnectionClosed as error:
            raise FeedUnreachable(f"the daemon went away: {_closing(error)}") from None
        except TimeoutError:
            raise FeedUnreachable(f"no answer to {method} within {timeout_s:g} s") from None
        if (refused := reply.get("error")) is not None:
            raise AdminRefused(str(refused.get("code", "")), str(refused.get("message", "")))
        result: dict[str, Any] = reply.get("result") or {}
        return result


def _closing(error: ConnectionClosed) -> str:
    if error.rcvd is not None and error.rcvd.reason:
        return plain(error.rcvd.reason)
    return "the daemon closed the connection" if error.rcvd else "the connection was cut"


def _in_words(error: Exception) -> str:
    match error:
        case InvalidStatus() if error.response.status_code == HTTPStatus.UNAUTHORIZED:
            return "a daemon with another data folder listens there; give --data"
        case InvalidStatus():
            code = error.response.status_code
            said = plain((error.response.body or b"").decode("utf-8", "replace")).strip()
            return f"refused with {code}" + (f" ({said[:120]})" if said else "")
        case InvalidMessage():
            return "another program listens there, which is no daemon"
        case ConnectionRefusedError():
            return NOBODY_THERE
        case TimeoutError():
            return "no answer in time"
        case OSError():
            return error.strerror or "the connection failed"
    return plain(str(error)) or type(error).__name__
