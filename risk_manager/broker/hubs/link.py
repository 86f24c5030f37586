"""One connection of one hub, by the SDK's realtime client, which is used as a transport only."""

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from project_x_py.realtime import ProjectXRealtimeClient
from pysignalr.exceptions import AuthorizationError, ServerError
from pysignalr.exceptions import ConnectionError as HubRefusedError
from pysignalr.messages import CloseMessage

from risk_manager.broker.sdk_logging import quieten_sdk_logging
from risk_manager.broker.session import GatewayAddress
from risk_manager.domain.events import Hub

quieten_sdk_logging()

log = logging.getLogger(__name__)

NEVER_STALE = 1e9
LOGOUT = "GatewayLogout"
LONGEST_REASON = 200

type Handler = Callable[..., Awaitable[None]]
type BuildRealtime = Callable[[GatewayAddress, str], ProjectXRealtimeClient]
type Call = tuple[str, tuple[int | str, ...]]
"""A hub method and its arguments."""


class OpenFailed(Exception):
    """A hub could not be opened. `refused_token` is set if the hub did not accept that token."""

    def __init__(self, reason: str, *, refused_token: str | None = None) -> None:
        super().__init__(reason)
        self.refused_token = refused_token


def build_realtime(address: GatewayAddress, token: str) -> ProjectXRealtimeClient:
    """Return the SDK's realtime client with explicit addresses."""
    return ProjectXRealtimeClient(
        token,
        "0",  # accounts are subscribed by id, not through the client's own one
        user_hub_url=address.user_hub_url,
        market_hub_url=address.market_hub_url,
    )


class HubLink:
    """One connection of one hub. Only this class uses the internals of the realtime client.

    A link is opened once and closed once. Once it is in doubt it is never trusted again. `doubt` is
    why it is not trusted; None while it is. `refused`: the hub did not accept the token.
    `signed_out`: the gateway ended the login. `last_frame` is the time of the last frame of any
    kind by the monotonic clock. `on_doubt` is called once, at the first doubt.
    """

    def __init__(
        self,
        hub: Hub,
        realtime: ProjectXRealtimeClient,
        token: str,
        *,
        monotonic: Callable[[], float],
        on_doubt: Callable[["HubLink"], None],
    ) -> None:
        self.hub = hub
        self.token = token
        self.doubt: str | None = None
        self.refused = False
        self.signed_out = False
        self.last_frame = monotonic()
        self.frames = 0
        self._realtime = realtime
        self._monotonic = monotonic
        self._on_doubt = on_doubt
        self._opened = asyncio.Event()
        self._doubted = asyncio.Event()
        self._connection: Any = None
        self._client: Any = None
        self._run: asyncio.Task[None] | None = None
        self._keepalives: list[asyncio.Task[Any]] = []

    # --- opening and closing ---

    async def open(self, handlers: dict[str, Handler], *, seconds: float) -> None:
        """Connect and wait until the handshake is done. Raises OpenFailed."""
        try:
            async with asyncio.timeout(seconds):
                await self._start(handlers)
                await self._opened_or_doubted()
        except TimeoutError:
            self.mark_suspect(f"no answer within {seconds:g} s")
        except Exception as error:  # any error of the SDK is a reason to try again
            self.mark_suspect(self._describe(error))
        self.raise_doubt()
        self.last_frame = self._monotonic()

    async def _start(self, handlers: dict[str, Handler]) -> None:
        realtime = self._realtime
        realtime.stale_feed_seconds = NEVER_STALE
        await realtime.setup_connections()
        connection: Any = (
            realtime.user_connection if self.hub is Hub.USER else realtime.market_connection
        )
        self._connection = connection
        # The SDK's own handlers start a task per event and merge quotes. Ours run in the receive
        # loop, in the order of arrival.
        connection._event_handlers.clear()
        for target, handler in handlers.items():
            connection.on(target, handler)
        connection.on(LOGOUT, self._on_logout)
        connection.on_open(self._opened.set)
        connection.on_close(partial(self.mark_suspect, "the connection was lost"))
        await connection.start()
        self._tap(connection)

    def _tap(self, connection: Any) -> None:
        """Observe every frame of the transport. Must run before the transport's task starts."""
        self._client = connection._client
        transport = self._client._transport
        deliver = transport._callback
        keep_alive = transport._keepalive

        async def observed(message: Any) -> None:
            self.last_frame = self._monotonic()
            self.frames += 1
            if type(message) is CloseMessage:
                why = f": {message.error}" if message.error else ""
                self.mark_suspect(f"the server closed the hub{why}")
            await deliver(message)

        async def owned_keep_alive(conn: Any) -> None:
            # If the receive task ends, this task would run on without an owner until the next ping.
            task = asyncio.current_task()
            if task is not None:
                self._keepalives.append(task)
            await keep_alive(conn)

        transport._callback = observed
        transport._keepalive = owned_keep_alive
        self._run = connection._run_task
        if self._run is not None:
            self._run.add_done_callback(self._run_ended)

    async def _opened_or_doubted(self) -> None:
        waits = [
            asyncio.create_task(event.wait(), name=f"{self.hub}-hub-{name}")
            for name, event in (("opened", self._opened), ("doubted", self._doubted))
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def close(self, *, seconds: float) -> None:
        """Close the socket. Tasks that do not end in time are cancelled."""
        self.mark_suspect("closed by us")
        socket = getattr(getattr(self._client, "_transport", None), "_ws", None)
        try:
            async with asyncio.timeout(seconds):
                if self._connection is not None:
                    await self._connection.stop()
                if socket is not None:
                    await socket.close()
        except Exception as error:  # the link is discarded, so an error in closing it is harmless
            log.debug("closing a %s hub link: %s", self.hub, self._describe(error))
        finally:
            for task in self._keepalives:
                task.cancel()
            if self._run is not None:
                self._run.cancel()
            wire = getattr(socket, "transport", None)
            if wire is not None:
                wire.abort()

    # --- doubt ---

    def mark_suspect(self, reason: str) -> None:
        """Mark this link as no longer trusted. Only the first reason counts."""
        if self.doubt is None:
            self.doubt = reason[:LONGEST_REASON]
            self._doubted.set()
            self._on_doubt(self)

    async def doubted(self, *, seconds: float) -> None:
        """Wait until the link is in doubt, but no longer than `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._doubted.wait()

    def raise_doubt(self) -> None:
        """Raise OpenFailed if the link is in doubt."""
        if self.doubt is not None:
            raise OpenFailed(self.doubt, refused_token=self.token if self.refused else None)

    def _run_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.mark_suspect("its task was cancelled")
            return
        error = task.exception()
        if error is None:
            self.mark_suspect("its task ended")
            return
        self.refused = isinstance(error, AuthorizationError)
        self.mark_suspect(self._describe(error))

    async def _on_logout(self, *arguments: Any) -> None:
        self.signed_out = True
        self.mark_suspect("the gateway signed this login out; is it in use elsewhere?")

    def _describe(self, error: BaseException) -> str:
        match error:
            case AuthorizationError():
                return "the hub refused the token (HTTP 401)"
            case HubRefusedError(status=status):
                return f"the hub answered HTTP {status}"
            case ServerError(message=message):
                text = f"the server closed the hub: {message}"
            case ValueError() | TypeError() | KeyError():
                text = f"a frame could not be understood ({type(error).__name__}: {error})"
            case _:
                text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return without_token(text, self.token)[:LONGEST_REASON]

    # --- calls to the server ---

    async def invoke(self, call: Call, *, seconds: float) -> asyncio.Future[str | None]:
        """Invoke a hub method. The future resolves to None for success, or to the server's error.

        The invocation carries an id, which the SDK's own `send` does not give, so that the server
        answers. If it cannot be written, the link is marked suspect and OpenFailed is raised.
        """
        method, arguments = call
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

        async def completed(message: Any) -> None:
            if not answer.done():
                answer.set_result(message.error or None)

        try:
            async with asyncio.timeout(seconds):
                await self._client.send(method, list(arguments), on_invocation=completed)
        except Exception as error:  # a socket that cannot be written to is dead
            self.mark_suspect(f"{method} could not be sent: {self._describe(error)}")
            raise OpenFailed(self.doubt or method) from error
        return answer


def without_token(text: str, token: str) -> str:
    """Remove the token from an error text: HTTP libraries quote the URL, which contains it."""
    if token:
        text = text.replace(token, "***")
    return re.sub(r"(access_token=|Bearer )[^\s'\"&)]+", r"\1***", text)
