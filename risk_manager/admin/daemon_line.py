"""A connection to the daemon's admin channel that gives the password once a verb needs it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from risk_manager.feed.client import AdminClient, AdminRefused

AskPassword = Callable[[], Awaitable[str]]
"""Asks a person for the admin password. May raise, and then nothing is sent."""


class DaemonLine:
    """One connection. The daemon forgets its login when it closes."""

    def __init__(self, admin: AdminClient, ask_password: AskPassword) -> None:
        self._admin = admin
        self._ask_password = ask_password

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, data: Path, url: str | None, ask_password: AskPassword
    ) -> AsyncIterator[Self]:
        """Connect. Raises FeedUnreachable."""
        async with AdminClient.connect(data, url) as admin:
            yield cls(admin, ask_password)

    @property
    def is_open(self) -> bool:
        """Whether the daemon is still there, as far as is known."""
        return self._admin.is_open

    async def log_in(self, password: str) -> None:
        """Give the password. Raises AdminRefused or FeedUnreachable."""
        await self._admin.call("login", {"password": password})

    async def needs_password(self) -> bool:
        """Whether a password is set and has not been given on this connection."""
        try:
            await self._admin.call("authorize")
        except AdminRefused as refused:
            if refused.code != "login_required":
                raise
            return True
        return False

    async def call(
        self, method: str, params: dict[str, Any] | None = None, *, timeout_s: float = 30.0
    ) -> dict[str, Any]:
        """Return the daemon's answer to one verb. Raises AdminRefused or FeedUnreachable."""
        try:
            return await self._admin.call(method, params, timeout_s=timeout_s)
        except AdminRefused as refused:
            if refused.code != "login_required":
                raise
        await self.log_in(await self._ask_password())
        return await self._admin.call(method, params, timeout_s=timeout_s)


class ToDaemon(Protocol):
    """A way to the running daemon."""

    def line(self) -> AbstractAsyncContextManager[DaemonLine]:
        """Return a connection, for the time of the context. Entering raises FeedUnreachable."""
        ...


@dataclass(frozen=True, slots=True)
class OwnLine:
    """A new connection each time. `url` is the feed's address; None: as in the data folder."""

    data: Path
    url: str | None
    ask_password: AskPassword = field(repr=False)

    def line(self) -> AbstractAsyncContextManager[DaemonLine]:
        return DaemonLine.connect(self.data, self.url, self.ask_password)


async def ask_daemon(
    daemon: ToDaemon, method: str, params: dict[str, Any] | None = None, *, timeout_s: float = 30.0
) -> dict[str, Any]:
    """Return the daemon's answer to one verb. Raises AdminRefused or FeedUnreachable."""
    async with daemon.line() as line:
        return await line.call(method, params, timeout_s=timeout_s)
