"""One open socket of a client of a practice hub: its subscriptions and its queue of frames."""

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from risk_manager.practice.faults import HubFaults, HubName
from risk_manager.practice.records import Event

MAX_OUTBOX = 100_000  # a client this far behind is cut off, as a real server would


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

    async def write_forever(self, faults: HubFaults) -> None:
        """Send the queued frames, each when it is due. Ends when the client has gone."""
        # A client that goes away mid-frame is an ordinary thing.
        with suppress(ConnectionError, RuntimeError):
            while True:
                await self.wake.wait()
                self.wake.clear()
                while self.outbox:
                    not_before, frame = self.outbox.popleft()
                    wait = not_before - time.monotonic() if not_before else 0.0
                    if wait > 0:
                        await asyncio.sleep(wait)
                    if faults.mute:
                        continue
                    await self.ws.send_frame(frame, WSMsgType.TEXT)
                    self.last_sent = time.monotonic()
                    self.frames_sent += 1
