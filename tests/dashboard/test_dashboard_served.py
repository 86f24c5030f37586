"""The screen in a browser: who gets in, and what the page shows, over HTTP and WebSocket."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSServerHandshakeError
from feed_daemon import FeedDaemon, until
from multidict import CIMultiDict

pytest.importorskip("textual_serve", reason="needs the extra `serve`")

from risk_manager.cli import main
from risk_manager.cli.dashboard import screen_command
from risk_manager.cli.exits import Exit
from risk_manager.dashboard.browser_access import refusal
from risk_manager.dashboard.served import MAX_SCREENS, PortTaken, ServedScreen

KEY = "a-key-that-nobody-guesses"
HOST = {"Host": "127.0.0.1:8766"}
NOT_A_SCREEN = ["a-command-that-is-not-there"]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", f"/{KEY}/", HOST, None),
        ("GET", f"/{KEY}/ws", {**HOST, "Origin": "http://127.0.0.1:8766"}, None),
        ("GET", f"/{KEY}/", {}, 403),
        ("GET", f"/{KEY}/", {"Host": "localhost:8766"}, 403),
        ("GET", f"/{KEY}/", {"Host": "127.0.0.1:8767"}, 403),
        ("GET", f"/{KEY}/", {"Host": "127.0.0.1.evil.example:8766"}, 403),
        ("GET", f"/{KEY}/ws", {**HOST, "Origin": "http://evil.example"}, 403),
        ("GET", f"/{KEY}/ws", {**HOST, "Origin": "http://127.0.0.1:1"}, 403),
        ("GET", f"/{KEY}/ws", {**HOST, "Origin": "null"}, 403),
        ("POST", f"/{KEY}/", HOST, 405),
        ("GET", "/", HOST, 404),
        ("GET", "/ws", HOST, 404),
        ("GET", f"/{KEY[:-1]}/", HOST, 404),
        ("GET", f"/{KEY}x/", HOST, 404),
        ("GET", f"//{KEY}/", HOST, 404),
        ("GET", "/é/", HOST, 404),
    ],
)
def test_who_gets_in(method: str, path: str, headers: dict[str, str], status: int | None) -> None:
    refused = refusal(method, path, CIMultiDict(headers), port=8766, key=KEY)
    assert (None if refused is None else refused[0]) == status


def test_a_second_host_or_origin_does_not_get_in() -> None:
    hosts = CIMultiDict([("Host", "127.0.0.1:8766"), ("Host", "evil.example")])
    assert refusal("GET", f"/{KEY}/", hosts, port=8766, key=KEY)
    good = "http://127.0.0.1:8766"
    origins = CIMultiDict([*HOST.items(), ("Origin", good), ("Origin", "http://evil.example")])
    assert refusal("GET", f"/{KEY}/", origins, port=8766, key=KEY)


def test_each_start_has_another_key() -> None:
    assert len({ServedScreen(NOT_A_SCREEN).address for _ in range(10)}) == 10


@dataclass(frozen=True, slots=True)
class Browser:
    """A client on this machine that was given the address."""

    address: str
    session: ClientSession

    async def join(self, **headers: str) -> ClientWebSocketResponse:
        return await self.session.ws_connect(
            f"{self.address}ws?width=120&height=40", headers=headers, max_msg_size=0
        )


@asynccontextmanager
async def served(command: list[str]) -> AsyncIterator[Browser]:
    screen = ServedScreen(command)
    runner = await screen.start(0)
    try:
        async with ClientSession() as session:
            yield Browser(screen.address, session)
    finally:
        await runner.cleanup()
        # Their transports are closed by this loop, which must not end before them.
        await until(lambda: not psutil.Process().children(), within_s=60)
        for _ in range(10):
            await asyncio.sleep(0)


async def drawn(ws: ClientWebSocketResponse, *words: str) -> str:
    """What is drawn until it has all these words."""
    seen = ""
    async with asyncio.timeout(60):
        while not all(word in seen for word in words):
            message = await ws.receive()
            assert isinstance(message.data, bytes), message
            seen += message.data.decode()
    return seen


def processes_of(folder: Path) -> list[str]:
    """The command lines of the screens that are open on this data folder."""
    lines = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(folder) in line and " dashboard " in line]


@pytest.mark.wire
async def test_a_page_shows_the_screen_and_takes_keys(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon, served(screen_command(tmp_path)) as browser:
        key = browser.address.split("/")[3]
        token = (tmp_path / "feed.token").read_text()
        ws = await browser.join(Origin=browser.address.removesuffix(f"/{key}/"))
        seen = await drawn(ws, "combine-50k", "Limits")
        await daemon.trade("-600")
        seen += await drawn(ws, "LOCKED", "lost $601.00 today")
        await ws.send_str(json.dumps(["stdin", "5"]))
        seen += await drawn(ws, "[5 Connections]", "gateway REST")
        assert token not in seen
        lines = processes_of(tmp_path)
        assert lines
        assert not [line for line in lines if key in line or token in line]
        await ws.send_str(json.dumps(["stdin", "q"]))
        async with asyncio.timeout(60):
            while not ws.closed:
                await ws.receive()
        await until(lambda: not processes_of(tmp_path), within_s=30)


@pytest.mark.wire
async def test_a_screen_ends_with_its_page_and_with_the_server(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path), served(screen_command(tmp_path)) as browser:
        left = await browser.join()
        await drawn(left, "combine-50k")
        await left.close()
        await until(lambda: not processes_of(tmp_path), within_s=30)
        await drawn(await browser.join(), "combine-50k")
        assert processes_of(tmp_path)
    await until(lambda: not processes_of(tmp_path), within_s=30)


@pytest.mark.wire
async def test_the_page_loads_nothing_from_elsewhere_and_tells_its_address_to_nobody() -> None:
    async with served(NOT_A_SCREEN) as browser:
        async with browser.session.get(browser.address) as answer:
            assert answer.status == 200
            page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "http:" not in page
        assert "https:" not in page
        for part in ("js/textual.js", "css/xterm.css", "fonts/RobotoMono-VariableFont_wght.ttf"):
            assert f"static/{part}" in page
            async with browser.session.get(f"{browser.address}static/{part}") as answer:
                assert answer.status == 200


@pytest.mark.wire
async def test_strangers_are_refused_over_the_wire() -> None:
    async with served(NOT_A_SCREEN) as browser:
        root = browser.address.rsplit("/", 2)[0]
        for path in ("/", "/ws", "/static/js/textual.js", "/download/x", "/wrong/ws"):
            async with browser.session.get(root + path) as answer:
                assert answer.status == 404
                assert browser.address.split("/")[3] not in await answer.text()
        async with browser.session.get(browser.address, headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403
        with pytest.raises(WSServerHandshakeError, match="403"):
            await browser.join(Origin="http://evil.example")


@pytest.mark.wire
async def test_there_is_an_end_to_the_number_of_screens(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path), served(screen_command(tmp_path)) as browser:
        open_now = [await browser.join() for _ in range(MAX_SCREENS)]
        with pytest.raises(WSServerHandshakeError, match="503"):
            await browser.join()
        await drawn(open_now[0], "combine-50k")


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"127.0.0.1:{port} .the port is taken.; choose"):
            await ServedScreen(NOT_A_SCREEN).start(port)


def test_options_that_do_not_go_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "--port", "9000"]) == Exit.USAGE
    assert "--port belongs to --serve" in capsys.readouterr().err
    assert main(["dashboard", "--serve", "--once"]) == Exit.USAGE
    assert "leave out --once" in capsys.readouterr().err


def test_without_the_extra_one_line_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["dashboard", "--serve"]) == Exit.REFUSED
    (line,) = capsys.readouterr().err.splitlines()
    assert 'pip install "risk-manager[serve]"' in line
