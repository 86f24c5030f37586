"""The screen in a browser on this machine. Each page has a screen of its own, in its own process.

textual-serve runs the screens and joins each to its page. Its own server lets anybody in who
reaches the port, so it is not used; neither is its page, which loads a font from elsewhere.
"""

import asyncio
import errno
import logging
import secrets
import shlex
import signal
import string
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import textual_serve
from aiohttp import web
from textual_serve.server import Server

from risk_manager.dashboard.browser_access import HOST, guarding_headers, refusal

MAX_SCREENS = 4
KEY_BYTES = 32
ENDING_S = 2.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PortTaken(Exception):
    """The port cannot be used. The message says why and what to do."""


class ServedScreen:
    """Serves one command, the screen, to a browser that knows the key."""

    def __init__(self, command: Sequence[str], *, key: str | None = None) -> None:
        self._key = key or secrets.token_urlsafe(KEY_BYTES)
        self._port = 0
        self._joined: set[asyncio.Task[Any]] = set()
        self._joining = Server(_as_shell_line(command), host=HOST)
        self._page = string.Template(
            (files("risk_manager.dashboard") / "served_page.html").read_text(encoding="utf-8")
        )

    @property
    def address(self) -> str:
        """What to open in the browser. Whoever has it sees the screen."""
        return f"http://{HOST}:{self._port}/{self._key}/"

    async def start(self, port: int) -> web.AppRunner:
        """Listen on a port, 0 for any. `cleanup` of what is returned ends it. Raises PortTaken."""
        app = web.Application(middlewares=[self._guard])
        app.on_shutdown.append(self._end_screens)
        app.on_response_prepare.append(self._add_headers)
        static = Path(textual_serve.__path__[0]) / "static"
        app.add_routes(
            [
                web.get(f"/{self._key}/", self._show_page),
                web.get(f"/{self._key}/ws", self._join),
                web.static(f"/{self._key}/static", static),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=ENDING_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            await runner.cleanup()
            taken = error.errno == errno.EADDRINUSE
            why = "the port is taken" if taken else error.strerror or str(error)
            told = f"cannot listen on {HOST}:{port} ({why}); choose another --port"
            raise PortTaken(told) from None
        self._port = runner.addresses[0][1]
        return runner

    # --- requests ---

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        turned_away = refusal(
            request.method, request.path, request.headers, port=self._port, key=self._key
        )
        if turned_away is not None:
            status, text = turned_away
            return web.Response(status=status, text=text)
        return await handler(request)

    async def _add_headers(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(guarding_headers(self._port))

    async def _show_page(self, request: web.Request) -> web.Response:
        websocket = f"ws://{HOST}:{self._port}/{self._key}/ws"
        page = self._page.substitute(websocket=websocket)
        return web.Response(text=page, content_type="text/html")

    async def _join(self, request: web.Request) -> web.StreamResponse:
        if len(self._joined) >= MAX_SCREENS:
            return web.Response(status=503, text=f"there are {MAX_SCREENS} screens already\n")
        task = asyncio.current_task()
        assert task is not None
        self._joined.add(task)
        try:
            return await self._joining.handle_websocket(request)
        finally:
            self._joined.discard(task)

    async def _end_screens(self, _: web.Application) -> None:
        for task in self._joined:
            task.cancel()


def _as_shell_line(command: Sequence[str]) -> str:
    return subprocess.list2cmdline(command) if sys.platform == "win32" else shlex.join(command)


def serve(command: Sequence[str], port: int, announce: Callable[[str], None]) -> None:
    """Serve until the user ends it. `announce` tells the address. Raises PortTaken."""
    logging.getLogger("textual-serve").setLevel(logging.CRITICAL)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(_serve(ServedScreen(command), port, announce))
    except KeyboardInterrupt:
        return


async def _serve(screen: ServedScreen, port: int, announce: Callable[[str], None]) -> None:
    runner = await screen.start(port)
    try:
        announce(screen.address)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
