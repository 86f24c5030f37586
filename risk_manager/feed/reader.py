"""One client of the feed as the server sees it: what waits for it, and the tasks that send it."""

import asyncio
from collections import deque
from collections.abc import Callable

from websockets.asyncio.server import ServerConnection

from risk_manager.right_of_way import RightOfWay

QUEUE = 256
LONG_LINE = 32
"""While more messages wait, they are sent without a pause, so that the line never fills up."""


class Reader:
    """Queues frames for one client. No other part ever waits for this client.

    Messages tell what happened and are all sent, in order. Figures are accounts and quotes: they
    are sent once no message waits, and as they are then. Nothing is composed or sent while a fact
    is judged. `one_at_a_time` is shared by all clients: in one turn of the loop one of them is sent
    figures, so that a fill that arrives meanwhile is read soon.

    Frames are queued without their number: each client's numbers start at 1 and have no gap.
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
        self._messages: deque[bytes] = deque()
        self._quotes: dict[str, bytes] = {}
        self._stale: dict[int, None] = {}
        self._messages_wait = asyncio.Event()
        self._figures_wait = asyncio.Event()
        self._no_message_waits = asyncio.Event()
        self._no_message_waits.set()
        self._seq = 0

    def offer(self, frame: bytes) -> bool:
        """Queue a message. Returns False when this client is too far behind to be kept."""
        if len(self._messages) >= QUEUE:
            return False
        self._messages.append(frame)
        self._messages_wait.set()
        self._no_message_waits.clear()
        return True

    def offer_quote(self, contract_id: str, frame: bytes) -> None:
        """Queue a quote. It replaces an older quote of the contract that is still waiting."""
        self._quotes[contract_id] = frame
        self._figures_wait.set()

    def refresh(self, account_id: int) -> None:
        """Queue the account, to be sent as it is when this client is ready for it."""
        self._stale[account_id] = None
        self._figures_wait.set()

    def let_go(self) -> None:
        """Drop all waiting frames."""
        self._messages.clear()
        self._quotes.clear()
        self._stale.clear()

    async def send_messages(self) -> None:
        """Send messages until the connection ends."""
        while True:
            await self._messages_wait.wait()
            await self._right_of_way.give_way()
            if self._messages:
                await self._send(self._messages.popleft())
            # `send` itself gives the loop to nobody for as long as the socket takes the frames.
            if not self._messages:
                self._messages_wait.clear()
                self._no_message_waits.set()
            elif len(self._messages) < LONG_LINE:
                await asyncio.sleep(0)

    async def send_figures(self) -> None:
        """Send accounts, and quotes after them, until the connection ends."""
        while True:
            await self._figures_wait.wait()
            async with self._one_at_a_time:
                await asyncio.sleep(0)
            # Not while the turn is held: a client that is stuck must not stop the others.
            await self._right_of_way.give_way()
            await self._no_message_waits.wait()
            frame = self._figures()
            if frame is None:
                self._figures_wait.clear()
            else:
                await self._send(frame)

    async def _send(self, frame: bytes) -> None:
        self._seq += 1
        await self.ws.send(b'{"v":1,"seq":%d,%b' % (self._seq, frame), text=True)

    def _figures(self) -> bytes | None:
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
