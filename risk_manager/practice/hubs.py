"""The two SignalR hubs of the practice gateway: negotiation, handshake and subscriptions."""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from risk_manager.practice.connection import Connection
from risk_manager.practice.faults import Faults, HubFaults, HubName
from risk_manager.practice.frames import ODD_FRAMES, PING, SEPARATOR, FrameWriter, depth
from risk_manager.practice.records import Event

HANDSHAKE_SECONDS = 15.0
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


class Hub:
    """One hub: its connections, their subscriptions, and what is sent to them."""

    def __init__(
        self,
        name: HubName,
        faults: Faults,
        is_valid_token: Callable[[str | None], bool],
        frames: FrameWriter,
        *,
        ping_seconds: float,
        strict_methods: bool = False,
        reuse_connection_ids: bool = False,
    ) -> None:
        self.name = name
        self.connections: list[Connection] = []
        self.frames = frames
        self.ping_seconds = ping_seconds
        self.strict_methods = strict_methods
        self.reuse_connection_ids = reuse_connection_ids
        self.negotiations = 0
        self._all_faults = faults
        self._is_valid_token = is_valid_token
        self._negotiated: set[str] = set()
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
        writer = asyncio.create_task(
            connection.write_forever(self.faults), name=f"practice-{self.name}-writer"
        )
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
            self.frames.forget_quote(str(key[1]))  # a new subscriber gets a full quote first
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
            frame = self.frames.write(event)
            for connection in takers:
                for _ in range(1 + faults.duplicate):
                    connection.enqueue(frame, not_before)

    def _publish_depth(self, quote: Event) -> None:
        """The top of the book, as depth, for whoever asked: the SDK always does."""
        key = ("depth", quote.contract_id)
        takers = [one for one in self.connections if key in one.subscriptions]
        if not takers:
            return
        frame = depth(quote)
        for connection in takers:
            connection.enqueue(frame)

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
        """Wait until a condition on connections or subscriptions holds. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not condition():
                await self._changed.wait()

    def _signal(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _token(request: web.Request) -> str | None:
    header = request.headers.get("Authorization", "")
    return request.query.get("access_token") or header.removeprefix("Bearer ") or None
