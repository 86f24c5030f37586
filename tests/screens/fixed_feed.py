"""A feed that says the same at each reading: frames of a daemon, at fixed times, then silence."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path

from risk_manager.feed.client import (
    Connected,
    Disconnected,
    FeedClient,
    read_envelope,
    read_message,
)
from risk_manager.feed.history_request import HistoryRequest, HistorySource
from risk_manager.feed.messages import Message


class FixedFeed(FeedClient):
    """`mono` is the time of the screen that reads it, in seconds: it moves only here."""

    def __init__(self, frames: list[bytes], history: HistorySource, now: datetime) -> None:
        super().__init__(Path())
        self._told = [_message(frame) for frame in frames]
        self._history = history
        self._now = now
        self._later: asyncio.Queue[Message | Disconnected] = asyncio.Queue()
        self.mono = 100.0

    def disconnect(self, reason: str, after_s: float, retry_in_s: float) -> None:
        """The connection ends, or cannot be made, so long after what was last said."""
        self.mono += after_s
        self._later.put_nowait(Disconnected(reason, retry_in_s))

    def wait(self, seconds: float) -> None:
        self.mono += seconds

    async def stream(self) -> AsyncGenerator[Message | Connected | Disconnected]:
        yield Connected("ws://127.0.0.1:8765/feed")
        for message in self._told:
            yield message
        while True:
            yield await self._later.get()

    async def ask(self, request: HistoryRequest) -> bool:
        answer = await self._history(request)
        self._later.put_nowait(
            Message(seq=0, ts=self._now, type="history", account_id=request.account_id, data=answer)
        )
        return True

    async def request(self, method: str, account_id: int) -> bool:
        return False


def _message(frame: bytes) -> Message:
    envelope = read_envelope(frame.decode())
    message = None if envelope is None else read_message(envelope)
    assert message is not None, frame[:200]
    return message
