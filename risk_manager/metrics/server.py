"""Serves the figures on 127.0.0.1 in the daemon's own loop, behind enforcement."""

from collections.abc import Callable
from typing import Self

from aiohttp import web

from risk_manager.async_closing import AsyncClosing
from risk_manager.right_of_way import RightOfWay

HOST = "127.0.0.1"
PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CLOSE_S = 1.0


class MetricsUnavailable(Exception):
    """The port of the metrics cannot be opened. The message says what to change."""


class MetricsServer(AsyncClosing):
    """Answers GET /metrics. `async with` opens and closes it. Raises MetricsUnavailable."""

    def __init__(
        self, text: Callable[[], bytes], port: int, right_of_way: RightOfWay | None = None
    ) -> None:
        self.port = port
        self._text = text
        self._right_of_way = right_of_way or RightOfWay()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}{PATH}"

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get(PATH, self._answer)
        runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=CLOSE_S
        )
        await runner.setup()
        site = web.TCPSite(runner, HOST, self.port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise MetricsUnavailable(
                f"settings.yaml: metrics.port: {self.port} cannot be opened "
                f"({error.strerror or error}); choose another one"
            ) from None
        self._runner = runner
        self.port = runner.addresses[0][1]
        return self

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Origin") or request.host not in self._hosts:
            # A page in a browser on this machine must not read it, by whatever name.
            return web.Response(status=403, text="for programs on this machine only\n")
        await self._right_of_way.give_way()
        return web.Response(body=self._text(), headers={"Content-Type": CONTENT_TYPE})

    @property
    def _hosts(self) -> frozenset[str]:
        return frozenset({f"{HOST}:{self.port}", f"localhost:{self.port}"})
