"""Tells systemd how the daemon is, by datagrams to $NOTIFY_SOCKET. Without it nothing is sent."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from typing import Self

import structlog

from risk_manager.async_closing import AsyncClosing

NOTIFY_SOCKET = "NOTIFY_SOCKET"
BEAT_S = 1.0
START_LIMIT_S = 60
"""A start may take this long without a sign of life. Each beat begins the time anew."""

log = structlog.get_logger("risk_manager.daemon")


class ServiceNotices(AsyncClosing):
    """The daemon's side of a service of the type "notify": an async context manager.

    Each second the event loop itself sends a sign of life (WATCHDOG), so that a hung loop is
    noticed and the process killed. READY is sent once, when `is_guarding`. STATUS is `in_a_line`,
    sent when it changes. Nothing here raises or waits: a lost datagram is followed by the next one.
    """

    def __init__(
        self,
        address: str | None,
        *,
        is_guarding: Callable[[], bool],
        in_a_line: Callable[[], str],
        beat_s: float = BEAT_S,
    ) -> None:
        self._address = _socket_address(address)
        self._is_guarding = is_guarding
        self._in_a_line = in_a_line
        self._beat_s = beat_s
        self._is_ready = False
        self._told = ""
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def from_environment(
        cls,
        env: Mapping[str, str],
        *,
        is_guarding: Callable[[], bool],
        in_a_line: Callable[[], str],
    ) -> Self:
        return cls(env.get(NOTIFY_SOCKET), is_guarding=is_guarding, in_a_line=in_a_line)

    async def __aenter__(self) -> Self:
        if self._address is not None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            self._task = asyncio.create_task(self._beat(), name="service notices")
        return self

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def stopping(self) -> None:
        """Tell that the daemon has been asked to stop."""
        self._send("STOPPING=1", f"STATUS={self._status()}")

    async def _beat(self) -> None:
        while True:
            self._send(*self._news())
            await asyncio.sleep(self._beat_s)

    def _news(self) -> list[str]:
        news = ["WATCHDOG=1"]
        if not self._is_ready:
            self._is_ready = self._is_guarding()
            # Before READY the watchdog does not count; the limit of the start does.
            limit = f"EXTEND_TIMEOUT_USEC={START_LIMIT_S * 1_000_000}"
            news.append("READY=1" if self._is_ready else limit)
        status = self._status()
        if status != self._told:
            self._told = status
            news.append(f"STATUS={status}")
        return news

    def _status(self) -> str:
        try:
            return " ".join(self._in_a_line().split())
        except Exception as error:  # a fault in the words must not end the signs of life
            log.error("service_status_failed", exc_info=error)
            return self._told

    def _send(self, *lines: str) -> None:
        if self._socket is None or self._address is None:
            return
        message = "\n".join(lines).encode("utf-8", "replace")
        with contextlib.suppress(OSError):  # the queue is full, or nobody listens any more
            self._socket.sendto(message, self._address)


def _socket_address(address: str | None) -> str | None:
    """Return the address for `sendto`; None where there is none that can be used."""
    if not address or os.name != "posix":
        return None
    if address.startswith("@"):  # an abstract socket, which has no file
        return "\0" + address[1:]
    if address.startswith("/"):
        return address
    log.warning("notify_socket_unknown", address=address)
    return None
