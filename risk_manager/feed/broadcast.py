"""Sends each frame to every client that listens, and disconnects the slow ones."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from risk_manager.clock import Clock
from risk_manager.feed.composer import Composer
from risk_manager.feed.connection_closing import ConnectionCloser, close_connection
from risk_manager.feed.messages import CLOSED_SLOW, AlarmRow, Data, Outlook
from risk_manager.feed.reader import Reader
from risk_manager.right_of_way import RightOfWay

READS_PER_MINUTE = 600  # messages of a client, requests among them

log = structlog.get_logger(__name__)


class Answer(NamedTuple):
    """The answer to a client's request, for that client alone."""

    account_id: int | None
    data: Data


class Broadcast:
    """The clients that listen. Each gets the state first and then all that is sent.

    `answer` answers a client's message; None where the message is no request.
    """

    def __init__(
        self,
        composer: Composer,
        clock: Clock,
        closer: ConnectionCloser,
        answer: Callable[[str | bytes], Awaitable[Answer | None]],
        right_of_way: RightOfWay,
    ) -> None:
        self._composer = composer
        self._clock = clock
        self._closer = closer
        self._answer = answer
        self._right_of_way = right_of_way
        self._one_at_a_time = asyncio.Lock()
        self._readers: dict[ServerConnection, Reader] = {}
        self._numbers = 0
        self._outlook: Outlook | None = None

    def __len__(self) -> int:
        return len(self._readers)

    @property
    def readers(self) -> list[Reader]:
        return list(self._readers.values())

    def send(self, account_id: int | None, data: Data) -> None:
        """Queue a message for every client."""
        if not self._readers:
            return
        frame = self._composer.frame(account_id, data)
        for reader in self.readers:
            if not reader.offer(frame):
                self._let_go(reader, "too slow; connect again for a snapshot")

    def send_status(self, alarm: AlarmRow | None = None) -> None:
        """Queue the daemon's status, with an alarm that has just been raised."""
        if self._readers:
            about = None if alarm is None else alarm.account_id
            self.send(about, self._composer.daemon_status(alarm))

    def send_outlook(self) -> None:
        """Queue the outlook for every client if it has changed since it was sent."""
        if not self._readers:
            return
        outlook = self._composer.outlook()
        if outlook is not self._outlook:
            self._outlook = outlook
            self.send(None, outlook)

    def disconnect_all(self, reason: str) -> None:
        for reader in self.readers:
            self._let_go(reader, reason)

    async def serve(self, ws: ServerConnection) -> None:
        """Serve one client, from its snapshot until it disconnects."""
        self._numbers += 1
        composer = self._composer
        reader = Reader(
            ws, self._numbers, composer.account_frame, self._right_of_way, self._one_at_a_time
        )
        reader.offer(composer.frame(None, composer.daemon_status()))
        if not self._readers:
            self._outlook = composer.outlook()
        reader.offer(composer.frame(None, composer.snapshot()))
        self._readers[ws] = reader
        tasks = [
            asyncio.create_task(work, name=f"{reader.name} {name}")
            for name, work in (
                ("messages", reader.send_messages()),
                ("figures", reader.send_figures()),
                ("inbound", self._listen(reader)),
            )
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._readers.pop(ws, None)
            faults = await _stop(*tasks)
        for fault in faults:
            raise fault

    async def _listen(self, reader: Reader) -> None:
        """Answer the client's requests, one after the other, and drop all else it sends."""
        since, heard = self._clock.monotonic(), 0
        async for frame in reader.ws:
            heard += 1
            if heard > READS_PER_MINUTE:
                now = self._clock.monotonic()
                if now - since < 60:
                    await close_connection(reader.ws, 1008, "the feed is read-only")
                    return
                since, heard = now, 0
            answer = await self._answer(frame)
            if answer is not None and not reader.offer(self._composer.frame(*answer)):
                self._let_go(reader, "too slow; connect again for a snapshot")

    def _let_go(self, reader: Reader, reason: str) -> None:
        if self._readers.pop(reader.ws, None) is None:
            return
        reader.let_go()
        log.warning("feed_reader_let_go", reader=reader.name, reason=reason)
        self._closer.close_soon(reader.ws, CLOSED_SLOW, reason, name=f"{reader.name} end")


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
