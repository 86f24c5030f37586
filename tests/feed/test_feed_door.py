"""Who gets in: the feed turns away pages, strangers and crowds before it says a word."""

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from feed_daemon import FeedDaemon, until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from risk_manager.feed.admin import AdminChannel, AdminSession
from risk_manager.feed.admission import MAX_ADMINS
from risk_manager.feed.client import AdminClient
from risk_manager.feed.messages import CLOSED_SLOW

pytestmark = pytest.mark.wire


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FeedDaemon]:
    async with FeedDaemon(tmp_path) as running:
        yield running


def bearer(tmp_path: Path, name: str = "feed.token") -> dict[str, str]:
    return {"Authorization": f"Bearer {(tmp_path / name).read_text()}"}


async def knock(
    daemon: FeedDaemon, headers: dict[str, str], *, path: str = "/feed", host: str | None = None
) -> int:
    """The HTTP status of a handshake written by hand, as a hostile client would."""
    lines = [
        f"GET {path} HTTP/1.1",
        *([] if host == "" else [f"Host: {host or f'127.0.0.1:{daemon.server.port}'}"]),
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *(f"{k.strip()}: {v}" for k, v in headers.items()),
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.server.port)
    try:
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        async with asyncio.timeout(5):
            answer = await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()
    return int(answer.split()[1])


async def end_of(ws: ClientConnection) -> int | None:
    """Read on until the server hangs up; with which code it did."""
    with suppress(ConnectionClosed):
        async for _ in ws:
            pass
    return ws.close_code


async def test_only_a_local_program_with_the_token_of_this_run_gets_in(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    key = bearer(tmp_path)
    port = daemon.server.port
    assert await knock(daemon, key) == 101
    assert await knock(daemon, key, host=f"localhost:{port}") == 101
    assert await knock(daemon, key, host=f"[::1]:{port}") == 101

    assert await knock(daemon, {**key, "Origin": "https://evil.example"}) == 403
    assert await knock(daemon, {**key, "Origin": "null"}) == 403
    assert await knock(daemon, {**key, "Origin": f"http://127.0.0.1:{port}"}) == 403
    assert await knock(daemon, key, host="evil.example") == 403
    assert await knock(daemon, key, host=f"127.0.0.1:{port + 1}") == 403
    assert await knock(daemon, key, host="127.0.0.1") == 403
    assert await knock(daemon, {**key, "Host": "evil.example"}) == 403  # a second Host
    assert await knock(daemon, {}) == 401
    assert await knock(daemon, {"Authorization": "Bearer wrong"}) == 401
    assert await knock(daemon, {"Authorization": key["Authorization"] + "x"}) == 401
    assert (
        await knock(daemon, {"Authorization": key["Authorization"].removeprefix("Bearer ")}) == 401
    )
    assert await knock(daemon, {**key, "authorization": "Bearer wrong"}) == 401
    assert await knock(daemon, key, path="/other") == 404
    assert await knock(daemon, key, path="/admin") == 404  # no admin handler, no such path


async def test_the_token_is_new_at_each_start_and_its_file_is_private(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path):
        first = (tmp_path / "feed.token").read_text()
        if os.name == "posix":
            assert stat.S_IMODE((tmp_path / "feed.token").stat().st_mode) == 0o600
    async with FeedDaemon(tmp_path) as daemon:
        second = (tmp_path / "feed.token").read_text()
        assert re.fullmatch(r"risk-manager-feed-[\w-]{43}", second)
        assert first != second
        assert await knock(daemon, {"Authorization": f"Bearer {first}"}) == 401
        assert sorted(os.listdir(tmp_path)) == ["daemon.json", "feed.token"]


async def test_the_seventeenth_client_is_turned_away_and_a_place_becomes_free_again(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    async def open_one() -> ClientConnection:
        return await connect(
            daemon.server.url, additional_headers=bearer(tmp_path), proxy=None, compression=None
        )

    clients = list(await asyncio.gather(*(open_one() for _ in range(16))))
    with pytest.raises(InvalidStatus) as refused:
        await open_one()
    assert refused.value.response.status_code == 503
    await clients.pop().close()
    await until(lambda: daemon.server.readers == 15)
    clients.append(await open_one())
    await asyncio.gather(*(c.close() for c in clients))


async def test_an_oversize_frame_ends_the_connection_and_small_talk_is_ignored(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    async with connect(
        daemon.server.url, additional_headers=bearer(tmp_path), proxy=None, compression=None
    ) as ws:
        await ws.send('{"method": "close_all"}')
        await ws.recv()
        await ws.recv()
        await ws.send("x" * 5000)
        assert await end_of(ws) == 1009


async def test_a_client_that_never_stops_talking_is_shown_out(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    async with connect(
        daemon.server.url, additional_headers=bearer(tmp_path), proxy=None, compression=None
    ) as ws:
        with suppress(ConnectionClosed):
            for _ in range(5000):
                await ws.send("hello")
        assert await end_of(ws) == 1008


async def test_a_half_open_handshake_is_cut_after_two_seconds(daemon: FeedDaemon) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.server.port)
    writer.write(b"GET /feed HTTP/1.1\r\nHost: ")
    async with asyncio.timeout(4):
        await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_an_order_gets_in_however_many_connections_idle(tmp_path: Path) -> None:
    """F6.9: 500 idle connections with a valid token do not keep an order to close out."""

    async def handle(method: str, params: dict[str, Any], session: AdminSession) -> dict[str, Any]:
        return {"method": method}

    async with FeedDaemon(tmp_path, admin=AdminChannel(handle)) as daemon:
        url = f"ws://127.0.0.1:{daemon.server.port}/admin"
        key = bearer(tmp_path, "admin.token")
        async with AsyncExitStack() as idle:
            for _ in range(500):
                await idle.enter_async_context(connect(url, additional_headers=key))
            async with AdminClient.connect(tmp_path) as admin:
                assert await admin.call("close_all") == {"method": "close_all"}


async def test_the_connection_that_gives_way_is_one_that_asks_for_nothing(tmp_path: Path) -> None:
    """F6.9: An order that is being carried out keeps its connection; the oldest idle one goes."""
    asked, carried_out = asyncio.Event(), asyncio.Event()

    async def handle(method: str, params: dict[str, Any], session: AdminSession) -> dict[str, Any]:
        asked.set()
        await carried_out.wait()
        return {"done": True}

    async with FeedDaemon(tmp_path, admin=AdminChannel(handle)) as daemon:
        url = f"ws://127.0.0.1:{daemon.server.port}/admin"
        key = bearer(tmp_path, "admin.token")
        async with AsyncExitStack() as open_now, AdminClient.connect(tmp_path) as busy:
            call = asyncio.create_task(busy.call("close_all"))
            await asked.wait()
            idle = [
                await open_now.enter_async_context(connect(url, additional_headers=key))
                for _ in range(MAX_ADMINS)
            ]
            assert await end_of(idle[0]) == CLOSED_SLOW
            carried_out.set()
            assert await call == {"done": True}
