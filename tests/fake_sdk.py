"""A small stand-in for the part of project-x-py that the broker room touches, written by hand.

Shapes and private names are those of the real thing; `tests/broker/test_sdk_contract.py` keeps
them true. `FakeApi` plays the REST side, `FakeHubs` the hubs.
"""

import asyncio
import base64
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson
from project_x_py import ProjectX, ProjectXConfig
from project_x_py.exceptions import ProjectXAuthenticationError
from project_x_py.realtime import ProjectXRealtimeClient
from pysignalr.messages import CompletionMessage, InvocationMessage, PingMessage

from risk_manager.broker.session import GatewayAddress
from risk_manager.broker.warm_connections import WarmConnections
from risk_manager.clock import SystemClock

type Handler = Callable[..., Any]
type Answer = dict[str, Any] | Exception


class MovableClock(SystemClock):
    """The system's clock, which can be moved forward."""

    def __init__(self) -> None:
        super().__init__()
        self._moved = timedelta()

    def move(self, by: timedelta) -> None:
        self._moved += by

    def now(self) -> datetime:
        return super().now() + self._moved

    def monotonic(self) -> float:
        return super().monotonic() + self._moved.total_seconds()


def fake_token(number: int, expires_at: datetime) -> str:
    """Shaped as a JWT; the number makes it unlike any other."""
    claims = orjson.dumps({"exp": int(expires_at.timestamp()), "jti": number})
    body = base64.urlsafe_b64encode(claims).rstrip(b"=").decode()
    return f"eyJhbGciOiJub25lIn0.{body}.seal{number}"


class FakeApi:
    """The gateway's REST side. `script[path]` is used up answer by answer, then `always[path]`."""

    def __init__(self, *, token_life: timedelta = timedelta(hours=24)) -> None:
        self.token_life = token_life
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.tokens: list[str] = []
        self.valid: set[str] = set()
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.script: defaultdict[str, deque[Answer]] = defaultdict(deque)
        self.always: dict[str, Answer] = {
            "/Status/ping": {"pong": True},
            "/Account/search": {
                "success": True,
                "errorCode": 0,
                "errorMessage": None,
                "accounts": [{"id": 101, "name": "ACC-A", "balance": 50000.0, "canTrade": True}],
            },
        }
        self.gate = asyncio.Event()
        """Requests wait for it; it stands open unless cleared."""
        self.gate.set()
        self.clients: list[FakeProjectX] = []
        self.connections: list[FakeConnections] = []
        self.pings = 0

    def build(self, address: GatewayAddress, timeout_seconds: int) -> ProjectX:
        client = FakeProjectX(self, address.config(timeout_seconds=timeout_seconds))
        self.clients.append(client)
        return cast(ProjectX, client)

    def connect(self, address: GatewayAddress, answer_seconds: float) -> WarmConnections:
        connections = FakeConnections(self)
        self.connections.append(connections)
        return cast(WarmConnections, connections)

    def count(self, path: str) -> int:
        return sum(1 for asked, _ in self.requests if asked == path)

    async def answer(self, client: "FakeProjectX", path: str, body: dict[str, Any]) -> Any:
        self.requests.append((path, body))
        await self.gate.wait()
        scripted = self.script[path]
        if scripted:
            answer: Answer | None = scripted.popleft()
        elif path == "/Auth/loginKey":
            answer = self._log_in()
        elif path != "/Status/ping" and client.session_token not in self.valid:
            answer = ProjectXAuthenticationError("Authentication failed")
        else:
            answer = self.always.get(path)
        if isinstance(answer, Exception):
            raise answer
        return {} if answer is None else answer

    def _log_in(self) -> dict[str, Any]:
        token = fake_token(len(self.tokens) + 1, self.now() + self.token_life)
        self.tokens.append(token)
        self.valid.add(token)
        return {"token": token, "success": True, "errorCode": 0, "errorMessage": None}


class FakeConnections:
    """`WarmConnections`, as far as the session sees them."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.opened = self.closed = False

    async def __aenter__(self) -> "FakeConnections":
        self.opened = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self.closed = True

    async def keep_warm(self) -> None:
        self.api.pings += 1


class FakeProjectX:
    """`ProjectX`, as far as the session and the lanes see it."""

    def __init__(self, api: FakeApi, config: ProjectXConfig) -> None:
        self.api = api
        self.config = config
        self.session_token = ""
        self.token_expiry: datetime | None = None
        self._authenticated = False
        self.account_info: object | None = None
        self.headers = {"Content-Type": "application/json"}
        self.opened = self.closed = False
        self.event_hooks: dict[str, list[Any]] = {"request": [], "response": []}

    async def _ensure_client(self) -> "FakeProjectX":
        """The HTTP client, of which ours only uses the hooks."""
        return self

    async def __aenter__(self) -> "FakeProjectX":
        self.opened = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self.closed = True

    async def _execute_http_request(
        self,
        method: str,
        endpoint: str,
        data: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        retry_count: int = 0,
    ) -> Any:
        return await self.api.answer(self, endpoint, data or {})

    async def _make_request(
        self, method: str, endpoint: str, data: dict[str, Any] | None = None
    ) -> Any:
        return await self._execute_http_request(method, endpoint, data=data)

    async def authenticate(self) -> None:
        reply = await self._make_request("POST", "/Auth/loginKey")
        self.session_token = reply["token"]
        self._authenticated = True


class FakeSocket:
    """The websocket under a hub. `stuck` sockets never finish closing."""

    def __init__(self) -> None:
        self.stuck = self.closed = self.aborted = False
        self.transport = self

    async def close(self) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class FakeTransport:
    """pysignalr's `WebsocketTransport`."""

    def __init__(self, callback: Callable[[Any], Awaitable[None]]) -> None:
        self._callback = callback
        self._ws: FakeSocket | None = None

    async def _keepalive(self, conn: Any) -> None:
        await asyncio.Event().wait()


class FakeSignalR:
    """pysignalr's `SignalRClient`."""

    def __init__(self, hub: "FakeHub") -> None:
        self._hub = hub
        self._transport = FakeTransport(self._on_message)
        self._pending: dict[str, Callable[[Any], Awaitable[None]]] = {}

    async def send(
        self,
        method: str,
        arguments: list[Any],
        on_invocation: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        hub = self._hub
        hub.invoked.append((method, *arguments))
        if hub.server.deaf:
            raise RuntimeError("Connection is closed")
        if on_invocation is None or not hub.server.acknowledges:
            return
        number = str(len(hub.invoked))
        self._pending[number] = on_invocation
        error = hub.server.refusals.get(method)
        hub.later(self._transport._callback, CompletionMessage(number, None, error))

    async def _on_message(self, message: Any) -> None:
        if isinstance(message, CompletionMessage):
            await self._pending.pop(message.invocation_id)(message)
        elif isinstance(message, InvocationMessage):
            for handler in self._hub._event_handlers.get(message.target, []):
                await handler(*message.arguments)


class FakeHub:
    """The SDK's `AsyncHubConnection`."""

    def __init__(self, server: "FakeHubs", name: str, token: str) -> None:
        self.server = server
        self.name = name
        self.token = token
        self.invoked: list[tuple[Any, ...]] = []
        self.is_open = False
        self._event_handlers: dict[str, list[Handler]] = {"GatewayUserPosition": [_sdk_forward]}
        self._open_handlers: list[Callable[[], Any]] = []
        self._close_handlers: list[Callable[[], Any]] = []
        self._client: FakeSignalR | None = None
        self._run_task: asyncio.Task[None] | None = None
        self._end: asyncio.Future[None] | None = None
        self._later: set[asyncio.Task[None]] = set()

    def on(self, event: str, handler: Handler) -> None:
        self._event_handlers.setdefault(event, []).append(handler)

    def on_open(self, handler: Callable[[], Any]) -> None:
        self._open_handlers.append(handler)

    def on_close(self, handler: Callable[[], Any]) -> None:
        self._close_handlers.append(handler)

    async def start(self) -> None:
        self._client = FakeSignalR(self)
        self._run_task = asyncio.create_task(self._run(), name=f"hub:{self.name}")

    async def stop(self) -> None:
        task, self._run_task = self._run_task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._client = None

    async def send(self, method: str, arguments: list[Any] | None = None) -> None:
        assert self._client is not None
        await self._client.send(method, arguments or [])

    async def _run(self) -> None:
        server = self.server
        server.attempts.append((self.name, self.token))
        if server.hangs:
            await asyncio.Event().wait()
        refusal = server.refuse(self.name)
        if refusal is not None:
            raise refusal
        assert self._client is not None
        transport = self._client._transport
        transport._ws = FakeSocket()
        keepalive = asyncio.create_task(transport._keepalive(None), name="hub:keepalive")
        self._end = asyncio.get_running_loop().create_future()
        server.links.append(self)
        self.is_open = True
        for handler in self._open_handlers:
            handler()
        try:
            await self._end
        except asyncio.CancelledError:
            keepalive.cancel()
            raise
        finally:
            # As the real one: a receive loop that dies leaves its keepalive behind.
            self.is_open = False

    def later(self, deliver: Callable[[Any], Awaitable[None]], message: Any) -> None:
        async def go() -> None:
            await deliver(message)

        task = asyncio.create_task(go())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    @property
    def socket(self) -> FakeSocket:
        """What it is connected by."""
        assert self._client is not None
        socket = self._client._transport._ws
        assert socket is not None
        return socket

    # ---- what the server does to it -------------------------------------------------------------

    async def deliver(self, target: str, *arguments: Any) -> None:
        await self._receive(InvocationMessage(None, target, list(arguments), None))

    async def ping(self) -> None:
        await self._receive(PingMessage())

    async def close_message(self, message: Any) -> None:
        await self._receive(message)

    async def _receive(self, message: Any) -> None:
        assert self._client is not None
        await self._client._transport._callback(message)

    def die(self, error: Exception) -> None:
        """The receive loop ends with this error; no close callback, as in the real one."""
        assert self._end is not None
        self._end.set_exception(error)

    def drop(self) -> None:
        """The connection is lost; the real one would now try again by itself."""
        for handler in self._close_handlers:
            handler()


def _sdk_forward(*arguments: Any) -> None:
    raise AssertionError("the SDK's own forwarders are not to run")


class FakeHubs:
    """The servers behind both hubs."""

    def __init__(self) -> None:
        self.links: list[FakeHub] = []
        self.attempts: list[tuple[str, str]] = []
        self.acknowledges = True
        self.hangs = False
        self.deaf = False
        self.refusals: dict[str, str] = {}
        """Hub methods that are answered with an error."""
        self._refusing: dict[str, deque[Exception]] = {"user": deque(), "market": deque()}

    def build(self, address: GatewayAddress, token: str) -> ProjectXRealtimeClient:
        return cast(ProjectXRealtimeClient, FakeRealtime(self, token))

    def refuse_next(self, name: str, *errors: Exception) -> None:
        self._refusing[name].extend(errors)

    def refuse(self, name: str) -> Exception | None:
        return self._refusing[name].popleft() if self._refusing[name] else None

    def of(self, name: str) -> list[FakeHub]:
        """Every link this hub ever had open, oldest first."""
        return [one for one in self.links if one.name == name]

    def last(self, name: str) -> FakeHub:
        return self.of(name)[-1]


class FakeRealtime:
    """`ProjectXRealtimeClient`, as far as the hub supervisor sees it."""

    def __init__(self, server: FakeHubs, token: str) -> None:
        self.jwt_token = token
        self.stale_feed_seconds = 30.0
        self.user_connection: FakeHub | None = None
        self.market_connection: FakeHub | None = None
        self._server = server

    async def setup_connections(self) -> None:
        assert self.stale_feed_seconds >= 1e9
        self.user_connection = FakeHub(self._server, "user", self.jwt_token)
        self.market_connection = FakeHub(self._server, "market", self.jwt_token)
