"""The console's connection to the daemon: kept open, so that the password is given once and kept
nowhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from risk_manager.admin.daemon_line import AskPassword, DaemonLine


class KeptLine:
    """One connection, opened when needed and again after it was lost. One request at a time."""

    def __init__(self, data: Path, url: str | None, ask_password: AskPassword) -> None:
        self._data = data
        self._url = url
        self._ask_password = ask_password
        self._kept: DaemonLine | None = None
        self._stack = AsyncExitStack()
        self._one_at_a_time = asyncio.Lock()

    @asynccontextmanager
    async def line(self) -> AsyncIterator[DaemonLine]:
        """Lend the connection. Raises FeedUnreachable where none can be made."""
        async with self._one_at_a_time:
            if self._kept is None or not self._kept.is_open:
                await self.aclose()
                self._kept = await self._stack.enter_async_context(
                    DaemonLine.connect(self._data, self._url, self._ask_password)
                )
            yield self._kept

    async def aclose(self) -> None:
        """End the connection, and with it the login."""
        self._kept = None
        await self._stack.aclose()
