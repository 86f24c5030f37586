"""One client of the feed as the server sees it: a bounded queue that its own task empties."""

import asyncio
from collections import deque
from collections.abc import Callable

from websockets.asyncio.server import ServerConnection

from risk_manager.right_of_way import RightOfWay

QUEUE = 256


class Reader:
    """Queues frames for one client. No other part ever waits for this client.

    Frames are queued without their number: each client's numbers start at 1 and have no gap.
    `one_at_a_time` is shared by all clients: in one turn of the loop a single one of them is sent
    an account or a quote, so that a fill that arrives meanwhile is read soon.
    """

    def __init__(
        self,
        ws: ServerConnection,
        number: int,
        account_frame: Callable[[int], bytes | None],
        right_of_way: RightOfWay,
        one_at_a_time: asyncio.Lock,
    ) -> None:
        self.ws = ws
        self.name = f"feed reader {number}"
        self._account_frame = account_frame
        self._right_of_way = right_of_way
        self._one_at_a_time = one_at_a_time
        self._queue: deque[bytes] = deque()
        self._quotes: dict[str, bytes] = {}
        self._stale: dict[int, None] = {}
        self._filled = asyncio.Event()
        self._seq = 0

    def offer(self, frame: bytes) -> bool:
        """Queue a frame. Returns False when this client is too far behind to be kept."""
        if len(self._queue) >= QUEUE:
            return False
        self._queue.append(frame)
        self._filled.set()
        return True

    def offer_quote(self, contract_id: str, frame: bytes) -> None:
        """Queue a quote. It replaces an older quote of the contract that is still waiting."""
        self._quotes[contract_id] = frame
        self._filled.set()

    def refresh(self, account_id: int) -> None:
        """Queue the account, to be sent as it is when this client is ready for it."""
        self._stale[account_id] = None
        self._filled.set()

    def let_go(self) -> None:
        """Drop all waiting frames."""
        self._queue.clear()
        self._quotes.clear()
        self._stale.clear()

    async def relay(self) -> None:
        """Send waiting frames, most urgent first, until the connection ends.

        None is composed or sent while anything is being judged.
        """
        while True:
            await self._right_of_way.give_way()
            if self._queue:
                await self._send(self._queue.popleft())
            elif self._stale or self._quotes:
                async with self._one_at_a_time:
                    await asyncio.sleep(0)
                # Not while the turn is held: a client that is stuck must not stop the others.
                await self._right_of_way.give_way()
                frame = self._as_of_now()
                if frame is not None:
                    await self._send(frame)
            else:
                self._filled.clear()
                await self._filled.wait()

    async def _send(self, frame: bytes) -> None:
        self._seq += 1
        await self.ws.send(b'{"v":1,"seq":%d,%b' % (self._seq, frame), text=True)
        # `send` itself gives the loop to nobody for as long as the socket takes the frames.
        await asyncio.sleep(0)

    def _as_of_now(self) -> bytes | None:
        """Return the next account as it is now, else the next quote; None if neither is left."""
        while self._stale:
            account_id = next(iter(self._stale))
            del self._stale[account_id]
            frame = self._account_frame(account_id)
            if frame is not None:
                return frame
        if self._quotes:
            return self._quotes.pop(next(iter(self._quotes)))
        return None
