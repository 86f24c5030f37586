"""A client of the feed that keeps every frame it gets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from feed_daemon import FeedDaemon, until
from websockets.asyncio.client import ClientConnection, connect


class Listener:
    """Keeps every frame it gets."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.frames: list[dict[str, Any]] = []
        self.sizes: list[int] = []  # of each frame, in bytes

    async def listen(self) -> None:
        async for frame in self.ws:
            self.frames.append(orjson.loads(frame))
            self.sizes.append(len(frame))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [f for f in self.frames if f["type"] == kind]

    def refreshed(self) -> list[dict[str, Any]]:
        return [f for f in self.of("snapshot") if f["account_id"] is not None]

    def account(self, account_id: int = 101) -> dict[str, Any]:
        """The account as last told whole."""
        for frame in reversed(self.of("snapshot")):
            for account in frame["data"]["accounts"]:
                if account["account_id"] == account_id:
                    found: dict[str, Any] = account
                    return found
        raise LookupError(account_id)


@asynccontextmanager
async def listening(daemon: FeedDaemon, tmp_path: Path) -> AsyncIterator[Listener]:
    token = (tmp_path / "feed.token").read_text()
    async with connect(
        daemon.server.url,
        additional_headers={"Authorization": f"Bearer {token}"},
        proxy=None,
        compression=None,
        max_size=None,
    ) as ws:
        listener = Listener(ws)
        task = asyncio.create_task(listener.listen(), name="listener")
        try:
            await until(lambda: len(listener.frames) >= 2)
            yield listener
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
