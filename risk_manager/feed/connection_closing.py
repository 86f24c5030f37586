"""Closes connections without waiting for clients that do not read."""

import asyncio
import contextlib
from typing import Self

from websockets.asyncio.server import ServerConnection

from risk_manager.async_closing import AsyncClosing

CLOSE_S = 1.0


class ConnectionCloser(AsyncClosing):
    """Closes connections in tasks of its own. `close` waits until they have ended."""

    def __init__(self) -> None:
        self._closings: asyncio.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._closings = await asyncio.TaskGroup().__aenter__()
        return self

    async def close(self) -> None:
        closings, self._closings = self._closings, None
        if closings is not None:
            await closings.__aexit__(None, None, None)

    def close_soon(self, ws: ServerConnection, code: int, reason: str, *, name: str) -> None:
        """Close in a task of this name. Does nothing unless this part is open."""
        if self._closings is not None:
            self._closings.create_task(close_connection(ws, code, reason), name=name)


async def close_connection(ws: ServerConnection, code: int, reason: str) -> None:
    """Close a connection; cut it off if the client does not answer in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await ws.close(code, reason)
    if not ws.transport.is_closing():
        ws.transport.abort()
