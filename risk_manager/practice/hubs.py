"""The two SignalR hubs of the practice gateway: negotiation, handshake, subscriptions, frames."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from aiohttp import WSMsgType, web

from risk_manager.practice.faults import Faults, HubFaults, HubName
from risk_manager.practice.records import Event

SEPARATOR = b"\x1e"
PING = b'{"type":6}' + SEPARATOR
HANDSHAKE_SECONDS = 15.0
MAX_OUTBOX = 100_000  # a client this far behind is cut off, as a real server would
BEST_ASK, BEST_BID = 3, 4  # the gateway's DomType
TARGETS = {
    "order": "GatewayUserOrder",
    "trade": "GatewayUserTrade",
    "position": "GatewayUserPosition",
    "account": "GatewayUserAccount",
    "quote": "GatewayQuote",
    "market_trade": "GatewayTrade",
}
# The kind of event a subscription method is for, and whether it takes an argument.
SUBSCRIPTIONS: dict[HubName, dict[str, tuple[str, bool]]] = {
    "user": {
        "Accounts": ("account", False),
        "Orders": ("order", True),
        "Positions": ("position", True),
        "Trades": ("trade", True),
    },
    "market": {
        "ContractQuotes": ("quote", True),
        "ContractTrades": ("market_trade", True),
        "ContractMarketDepth": ("depth", True),
    },
}

type PayloadShape = Literal["wrapped", "plain", "list"]
type OddFrame = Literal["close_error", "close", "unknown_target", "extra_key", "no_type", "null"]

ODD_FRAMES: dict[OddFrame, bytes] = {
    "close_error": b'{"type":7,"error":"Connection closed with an error.","allowReconnect":true}',
    "close": b'{"type":7}',
    "unknown_target": b'{"type":1,"target":"GatewayUserWeather","arguments":[{"rain":true}]}',
    "extra_key": b'{"type":1,"target":"GatewayUserAccount","arguments":[],"novelty":1}',
    "no_type": b'{"target":"GatewayUserAccount","arguments":[]}',
    "null": b"null",
}
GARBLED = b'{"type":1,"target":"GatewayUserPosition","arguments":[{"acti'


@dataclass(slots=True, eq=False)
class Connection:
    """One open socket of one client."""

    id: str
    hub: HubName
    ws: web.WebSocketResponse
    request: web.Request
    opened_at: float
    token: str | None
    subscriptions: set[tuple[str, int | str | None]] = field(default_factory=set)
    outbox: deque[tuple[float, bytes]] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    last_sent: float = 0.0
    frames_sent: int = 0

    def enqueue(self, frame: bytes, not_before: float = 0.0) -> None:
        if len(self.outbox) >= MAX_OUTBOX:
            self.abort()
            return
        self.outbox.append((not_before, frame))
        self.wake.set()

    def abort(self) -> None:
        """Cut the socket without a word."""
        if self.request.transport is not None:
            self.request.transport.abort()

    def wants(self, event: Event) -> bool:
        match event.kind:
            case "account":
                return ("account", None) in self.subscriptions
            case "quote" | "market_trade":
                return (event.kind, event.contract_id) in self.subscriptions
            case _:
                return (event.kind, event.account_id) in self.subscriptions


def invocation(target: str, *arguments: Any) -> bytes:
    """A SignalR invocation as bytes, ready for a socket."""
    return orjson.dumps({"type": 1, "target": target, "arguments": list(arguments)}) + SEPARATOR


LOGOUT = invocation("GatewayLogout", {"reason": "Logged in from another location"})


class Hub:
    """One hub: who is connected, what they asked for, and what they are sent."""

    def __init__(
        self,
        name: HubName,
        faults: Faults,
        is_valid_token: Callable[[str | None], bool],
        *,
        ping_seconds: float,
        strict_methods: bool = False,
        reuse_connection_ids: bool = False,
    ) -> None:
        self.name = name
        self.connections: list[Connection] = []
        self.payload_shape: PayloadShape = "wrapped"
        self.partial_quotes = False
        self.ping_seconds = ping_seconds
        self.strict_methods = strict_methods
        self.reuse_connection_ids = reuse_connection_ids
        self.negotiations = 0
        self._all_faults = faults
        self._is_valid_token = is_valid_token
        self._negotiated: set[str] = set()
        self._last_quotes: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Event()

    @property
    def faults(self) -> HubFaults:
        return self._all_faults.hub(self.name)

    # ---- requests -----------------------------------------------------------------------------

    async def negotiate(self, request: web.Request) -> web.Response:
        self.negotiations += 1
        self._signal()
        if self.faults.hang_negotiate:
            await self._all_faults.wait_released()
        status = self.faults.take_refusal()
        if status is not None:
            return web.Response(status=status)
        if not self._is_valid_token(_token(request)):
            return web.Response(status=401)
        id_ = secrets.token_urlsafe(16)
        self._negotiated.add(id_)
        answer: dict[str, Any] = {
            "negotiateVersion": 0,
            "connectionId": id_,
            "availableTransports": [
                {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}
            ],
        }
        if request.query.get("negotiateVersion") == "1":
            answer |= {"negotiateVersion": 1, "connectionToken": id_}
        return web.json_response(answer)

    async def connect(self, request: web.Request) -> web.StreamResponse:
        if not self._is_valid_token(_token(request)):
            return web.Response(status=401)
        id_ = request.query.get("id")
        if id_ is None:
            id_ = secrets.token_urlsafe(16)  # a client that skipped the negotiation
        elif id_ not in self._negotiated:
            # As ASP.NET Core does: an id is good for one connection.
            return web.Response(status=404, text="No Connection with that ID")
        elif not self.reuse_connection_ids:
            self._negotiated.discard(id_)
        ws = web.WebSocketResponse(timeout=1.0)
        await ws.prepare(request)
        if not await self._shake_hands(ws):
            await ws.close()
            return ws
        connection = Connection(id_, self.name, ws, request, time.monotonic(), _token(request))
        connection.last_sent = time.monotonic()
        self.connections.append(connection)
        self._signal()
        writer = asyncio.create_task(self._write(connection), name=f"practice-{self.name}-writer")
        try:
            async for message in ws:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self._receive(connection, message.data)
        finally:
            self.connections.remove(connection)
            self._signal()
            writer.cancel()
            with suppress(asyncio.CancelledError):
                await writer
        return ws

    async def _shake_hands(self, ws: web.WebSocketResponse) -> bool:
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                message = await ws.receive()
        except TimeoutError:
            return False
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return False
        raw = message.data.encode() if isinstance(message.data, str) else message.data
        try:
            asked = orjson.loads(raw.split(SEPARATOR)[0])
            is_json = bool(asked["protocol"] == "json" and asked["version"] == 1)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            is_json = False
        answer = b"{}" if is_json else b'{"error":"Only the json protocol, version 1, is served."}'
        await ws.send_frame(answer + SEPARATOR, WSMsgType.TEXT)
        return is_json

    def _receive(self, connection: Connection, data: str | bytes) -> None:
        raw = data.encode() if isinstance(data, str) else data
        for piece in raw.split(SEPARATOR):
            if not piece:
                continue
            try:
                message = orjson.loads(piece)
            except orjson.JSONDecodeError:
                continue
            if isinstance(message, dict) and message.get("type") == 1:
                self._invoked(connection, message)

    def _invoked(self, connection: Connection, message: dict[str, Any]) -> None:
        target = str(message.get("target"))
        arguments = message.get("arguments") or []
        known = self._subscribe(connection, target, arguments) or target == "Heartbeat"
        invocation_id = message.get("invocationId")
        if invocation_id is None:
            if not known and self.strict_methods:
                connection.enqueue(ODD_FRAMES["close_error"] + SEPARATOR)
            return
        reply: dict[str, Any] = {"type": 3, "invocationId": invocation_id}
        if known:
            reply["result"] = None
        else:
            reply["error"] = f"Unknown hub method '{target}'"
        connection.enqueue(orjson.dumps(reply) + SEPARATOR)

    def _subscribe(self, connection: Connection, target: str, arguments: list[Any]) -> bool:
        adding = target.startswith("Subscribe")
        subject = target.removeprefix("Subscribe").removeprefix("Unsubscribe")
        if subject == target or subject not in SUBSCRIPTIONS[self.name]:
            return False
        kind, takes_argument = SUBSCRIPTIONS[self.name][subject]
        if takes_argument and not arguments:
            return False
        key = (kind, arguments[0] if takes_argument else None)
        if adding:
            connection.subscriptions.add(key)
            self._last_quotes.pop(str(key[1]), None)  # whoever is new gets a full quote first
        else:
            connection.subscriptions.discard(key)
        self._signal()
        return True

    # ---- frames -------------------------------------------------------------------------------

    def publish(self, events: Iterable[Event]) -> None:
        """Queue events that happened together for everyone who subscribed to them."""
        batch = list(events)
        faults = self.faults
        if faults.reorder:
            batch.reverse()
        not_before = time.monotonic() + faults.delay if faults.delay else 0.0
        for event in batch:
            if event.kind == "quote":
                self._publish_depth(event)
            takers = [one for one in self.connections if one.wants(event)]
            if not takers or faults.take_loss():
                continue
            frame = self.frame(event)
            for connection in takers:
                for _ in range(1 + faults.duplicate):
                    connection.enqueue(frame, not_before)

    def _publish_depth(self, quote: Event) -> None:
        """The top of the book, as depth, for whoever asked: the SDK always does."""
        key = ("depth", quote.contract_id)
        takers = [one for one in self.connections if key in one.subscriptions]
        if not takers:
            return
        levels = [
            {
                "timestamp": quote.data["timestamp"],
                "type": kind,
                "price": quote.data[side],
                "volume": 1 + quote.data["volume"] % 40,
                "currentVolume": 0,
            }
            for kind, side in ((BEST_BID, "bestBid"), (BEST_ASK, "bestAsk"))
        ]
        frame = invocation("GatewayDepth", quote.contract_id, levels)
        for connection in takers:
            connection.enqueue(frame)

    def frame(self, event: Event) -> bytes:
        """The event as this hub sends it, in the payload shape now set."""
        target = TARGETS[event.kind]
        if event.is_market:
            data = self._changed_only(event) if self.partial_quotes else event.data
            return invocation(target, event.contract_id, data)
        wrapped = {"action": event.action, "data": event.data}
        match self.payload_shape:
            case "wrapped":
                return invocation(target, wrapped)
            case "plain":
                return invocation(target, event.data)
            case "list":
                return invocation(target, [wrapped])

    def _changed_only(self, event: Event) -> dict[str, Any]:
        data = dict(event.data)
        if event.kind != "quote":
            return data
        before = self._last_quotes.get(event.contract_id, {})
        self._last_quotes[event.contract_id] = data
        return {
            key: value for key, value in data.items() if key == "symbol" or before.get(key) != value
        }

    def broadcast(self, frame: bytes) -> None:
        """Queue a frame for every connection."""
        for connection in self.connections:
            connection.enqueue(frame)

    def drop_expired(self) -> None:
        """Cut every connection whose token is no longer good."""
        for connection in list(self.connections):
            if not self._is_valid_token(connection.token):
                connection.abort()

    def ping(self) -> None:
        """A SignalR ping to each connection that was idle for the interval."""
        now = time.monotonic()
        for connection in self.connections:
            if now - connection.last_sent >= self.ping_seconds:
                connection.last_sent = now
                connection.enqueue(PING)

    async def send_now(self, frame: bytes) -> int:
        """Write a frame to every connection, past the queues; `time.monotonic_ns()` just before."""
        stamp = time.monotonic_ns()
        for connection in list(self.connections):
            await connection.ws.send_frame(frame, WSMsgType.TEXT)
            connection.frames_sent += 1
        return stamp

    async def drop(self, *, clean: bool = False) -> int:
        """Cut every connection, as a network would or with a websocket close; how many."""
        dropped = list(self.connections)
        for connection in dropped:
            if clean:
                await connection.ws.close(code=1001, message=b"going away")
            else:
                connection.abort()
        return len(dropped)

    async def wait_until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        """Until the condition holds for this hub's connections or subscriptions; TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                await self._changed.wait()

    def _signal(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _write(self, connection: Connection) -> None:
        # A client that goes away mid-frame is an ordinary thing.
        with suppress(ConnectionError, RuntimeError):
            while True:
                await connection.wake.wait()
                connection.wake.clear()
                while connection.outbox:
                    not_before, frame = connection.outbox.popleft()
                    wait = not_before - time.monotonic() if not_before else 0.0
                    if wait > 0:
                        await asyncio.sleep(wait)
                    if self.faults.mute:
                        continue
                    await connection.ws.send_frame(frame, WSMsgType.TEXT)
                    connection.last_sent = time.monotonic()
                    connection.frames_sent += 1


def _token(request: web.Request) -> str | None:
    header = request.headers.get("Authorization", "")
    return request.query.get("access_token") or header.removeprefix("Bearer ") or None
