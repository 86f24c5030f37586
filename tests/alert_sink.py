"""A local address that alerts and heartbeats are sent to: it keeps them, refuses them or hangs."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from said_secrets import outputs
from written_secrets import ALERT_SECRET

SECRET = ALERT_SECRET  # part of every address; must never be seen anywhere


@dataclass
class Sink:
    """`async with Sink() as sink:` and send to `sink.url`. What has arrived is in `messages`."""

    port: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    pings: list[str] = field(default_factory=list)
    tried: int = 0
    mode: str = "accept"  # accept, refuse, hang
    _runner: web.AppRunner | None = None
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """The address for apprise."""
        return f"json://127.0.0.1:{self.port}/{SECRET}"

    @property
    def heartbeat_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ping/{SECRET}"

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.messages]

    def texts(self, title: str) -> list[str]:
        """The texts of the messages with this in their title."""
        return [m["message"] for m in self.messages if title in m["title"]]

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Listen, at the same port as before."""
        app = web.Application()
        app.router.add_post(f"/{SECRET}", self._message)
        app.router.add_post(f"/ping/{SECRET}", self._ping)
        app.router.add_post(f"/ping/{SECRET}/fail", self._ping)
        self._released = asyncio.Event()
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Nobody listens any more."""
        self._released.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _message(self, request: web.Request) -> web.Response:
        self.tried += 1
        outputs.search("an alert", await request.read())
        if self.mode == "hang":
            await self._released.wait()
        if self.mode != "accept":
            return web.Response(status=503)
        self.messages.append(await request.json())
        return web.Response()

    async def _ping(self, request: web.Request) -> web.Response:
        outputs.search("a heartbeat", await request.read())
        self.pings.append(request.path.removeprefix(f"/ping/{SECRET}") + await request.text())
        return web.Response()


def settings(*, channels: bool = True, heartbeat: bool = False, more: str = "") -> str:
    """Lines for settings.yaml that name the sink by two variables."""
    lines = ["alerts:"]
    if channels:
        lines.append("  channels: [{name: phone, url: env:ALERT_URL}]")
    if heartbeat:
        lines += ["  heartbeat_url: env:HEARTBEAT_URL", "  heartbeat_every: 10s"]
    return "\n".join([*lines, *(f"  {line}" for line in more.splitlines())]) + "\n"


def env(sink: Sink) -> dict[str, str]:
    return {"ALERT_URL": sink.url, "HEARTBEAT_URL": sink.heartbeat_url}
