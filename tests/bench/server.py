"""A gateway's sockets with as little as possible between the wire and the stamp.

HTTP/1.1 with keep-alive and server-side WebSockets, by hand: a request is stamped when its bytes
are read, and frames that belong together leave in one write. A web framework would add the same
hundreds of microseconds to both sides of every ratio, and so make them look alike.
"""

import asyncio
import base64
import hashlib
from collections.abc import Callable
from time import monotonic_ns
from typing import Protocol

import orjson

WS_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SEPARATOR = b"\x1e"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
SMALL_SEND_BUFFER = 65_536


class Application(Protocol):
    """What the sockets need of the gateway behind them."""

    def requested(self, wire: "Wire", path: str, body: bytes, at_ns: int) -> None:
        """An HTTP request has come; answer it with `wire.answer`, now or later."""
        ...

    def invoked(self, wire: "Wire", target: str, arguments: list[object]) -> None:
        """A hub method was called."""
        ...

    def connected(self, wire: "Wire") -> None: ...

    def disconnected(self, wire: "Wire") -> None: ...


class Wire(asyncio.Protocol):
    """One connection: HTTP until it asks to become a hub."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.transport: asyncio.Transport
        self.hub = ""
        """The path of the hub this has become; empty for plain HTTP."""
        self.ponged: Callable[[], None] | None = None
        self._buffer = bytearray()
        self._shaken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.hub:
            self.application.disconnected(self)

    def data_received(self, data: bytes) -> None:
        at_ns = monotonic_ns()
        self._buffer += data
        while self._read_frame() if self.hub else self._read_request(at_ns):
            pass

    # ---- HTTP ---------------------------------------------------------------------------------

    def _read_request(self, at_ns: int) -> bool:
        head_ends = self._buffer.find(b"\r\n\r\n")
        if head_ends < 0:
            return False
        first, *lines = bytes(self._buffer[:head_ends]).split(b"\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(b":") for line in lines)}
        ends = head_ends + 4 + int(headers.get(b"content-length", 0))
        path = first.split(b" ")[1].decode()
        if len(self._buffer) < ends:
            # The head is here: this is when the request arrived, whenever its body does.
            self._arrived_ns = getattr(self, "_arrived_ns", 0) or at_ns
            return False
        arrived_ns, self._arrived_ns = getattr(self, "_arrived_ns", 0) or at_ns, 0
        body = bytes(self._buffer[head_ends + 4 : ends])
        del self._buffer[:ends]
        key = headers.get(b"sec-websocket-key")
        if key is not None:
            self._become_hub(path, key)
        else:
            self.application.requested(self, path, body, arrived_ns)
        return bool(self._buffer)

    def answer(self, value: object, status: int = 200) -> None:
        """Answer the oldest request on this connection that has none."""
        self.answer_raw(orjson.dumps(value), status)

    def answer_raw(self, body: bytes, status: int = 200) -> None:
        if not self.transport.is_closing():
            head = (
                f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            self.transport.write(head.encode() + body)

    # ---- WebSocket ----------------------------------------------------------------------------

    def _become_hub(self, path: str, key: bytes) -> None:
        accept = base64.b64encode(hashlib.sha1(key + WS_GUID).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.hub = path.partition("?")[0]

    def _read_frame(self) -> bool:
        """Read one frame of the client's, which are masked and small."""
        buffer = self._buffer
        if len(buffer) < 6:
            return False
        opcode, length, start = buffer[0] & 15, buffer[1] & 127, 2
        if length == 126:
            length, start = int.from_bytes(buffer[2:4], "big"), 4
        elif length == 127:
            length, start = int.from_bytes(buffer[2:10], "big"), 10
        ends = start + 4 + length
        if len(buffer) < ends:
            return False
        mask = buffer[start : start + 4]
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(buffer[start + 4 : ends]))
        del buffer[:ends]
        match opcode:
            case 1 | 2:
                for piece in payload.split(SEPARATOR):
                    if piece:
                        self._heard(orjson.loads(piece))
            case 8:
                self.transport.write(frame(payload, CLOSE))
                self.transport.close()
            case 9:
                self.transport.write(frame(payload, PONG))
            case 10 if self.ponged is not None:
                self.ponged()
        return bool(buffer)

    def _heard(self, message: dict[str, object]) -> None:
        if not self._shaken:
            self._shaken = True
            self.transport.write(frame(b"{}" + SEPARATOR))
            self.application.connected(self)
            return
        if message.get("type") != 1:
            return
        arguments = message.get("arguments")
        assert isinstance(arguments, list)
        self.application.invoked(self, str(message["target"]), arguments)
        number = message.get("invocationId")
        if number is not None:
            reply = {"type": 3, "invocationId": number, "result": None}
            self.transport.write(frame(orjson.dumps(reply) + SEPARATOR))


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A whole WebSocket frame as a server sends it."""
    length = len(payload)
    if length < 126:
        head = bytes((0x80 | opcode, length))
    elif length < 65_536:
        head = bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big")
    return head + payload


def invocation(target: str, *arguments: object) -> bytes:
    """A SignalR invocation in a frame of its own."""
    message = {"type": 1, "target": target, "arguments": arguments}
    return frame(orjson.dumps(message) + SEPARATOR)
