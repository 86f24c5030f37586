"""The reader's side: it finds the daemon, comes back after every cut, and trusts no text."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from feed_daemon import FeedDaemon, until
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from risk_manager.feed.access import ADMIN_PATH, FEED_PATH
from risk_manager.feed.admin import AdminChannel, AdminError, AdminSession
from risk_manager.feed.client import (
    AdminClient,
    AdminRefused,
    Connected,
    Disconnected,
    FeedClient,
    FeedUnreachable,
    read_once,
)
from risk_manager.feed.messages import AccountSnapshot, DaemonStatus, Message, Snapshot
from risk_manager.feed.text import looks_plain, plain, plain_json

pytestmark = pytest.mark.wire

QUICK = (0.02, 0.02)


class Reading:
    def __init__(self) -> None:
        self.seen: list[Message | Connected | Disconnected] = []

    def of[T](self, kind: type[T]) -> list[T]:
        return [x for x in self.seen if isinstance(x, kind)]

    def data[T](self, kind: type[T]) -> list[T]:
        return [m.data for m in self.of(Message) if isinstance(m.data, kind)]


@asynccontextmanager
async def reading(data_dir: Path, url: str | None = None) -> AsyncIterator[Reading]:
    kept = Reading()

    async def read() -> None:
        client = FeedClient(data_dir, url=url, reconnect_s=QUICK)
        async with aclosing(client.stream()) as stream:
            async for item in stream:
                kept.seen.append(item)

    task = asyncio.create_task(read(), name="reading")
    try:
        yield kept
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_it_reads_status_snapshot_and_changes(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon, reading(tmp_path) as reader:
        await until(lambda: reader.data(Snapshot))
        assert isinstance(reader.seen[0], Connected)
        assert reader.data(DaemonStatus)[0].status == "RUNNING"
        await daemon.position(2)
        await until(lambda: reader.data(Snapshot)[-1].accounts[0].contracts_held == 2)
        account = reader.data(Snapshot)[-1].accounts[0]
        assert isinstance(account, AccountSnapshot)
        assert account.positions[0].opened_at.tzinfo is not None


async def test_it_comes_back_after_a_restart_with_the_new_token_and_address(
    tmp_path: Path,
) -> None:
    async with reading(tmp_path) as reader:
        await until(lambda: reader.of(Disconnected))
        assert "no daemon has run" in reader.of(Disconnected)[0].reason
        async with FeedDaemon(tmp_path):
            await until(lambda: len(reader.data(Snapshot)) == 1)
        cut = len(reader.of(Disconnected))
        await until(lambda: len(reader.of(Disconnected)) > cut)
        async with FeedDaemon(tmp_path, run_id="run-2"):
            await until(lambda: reader.data(Snapshot)[-1].run_id == "run-2")


async def test_another_program_on_the_port_is_not_taken_for_the_daemon(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon:
        daemon.run_id = "another"
        daemon.write_daemon_json()
        async with reading(tmp_path) as reader:
            await until(lambda: reader.of(Disconnected))
            assert "another run" in reader.of(Disconnected)[0].reason
            assert not reader.data(Snapshot)


async def test_a_missing_number_means_a_fresh_connection(tmp_path: Path) -> None:
    connections = 0

    async def answer(ws: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        for seq in (1, 2, 4):
            await ws.send(
                orjson.dumps(
                    {
                        "v": 1,
                        "seq": seq,
                        "ts": "2026-11-16T15:00:00Z",
                        "type": "something_new",
                        "account_id": None,
                        "data": {},
                    }
                ).decode()
            )
        await ws.wait_closed()

    (tmp_path / "feed.token").write_text("secret")
    async with serve(answer, "127.0.0.1", 0, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        async with reading(tmp_path, f"ws://127.0.0.1:{port}/feed") as reader:
            await until(lambda: connections >= 2)
            assert reader.of(Disconnected)[0].reason == "frame 3 is missing (got 4)"


async def test_one_reading_is_one_sentence_when_there_is_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(FeedUnreachable, match="no daemon has run in"):
        await read_once(tmp_path)
    (tmp_path / "daemon.json").write_text('{"feed_url": null}')
    with pytest.raises(FeedUnreachable, match="not opened its feed yet"):
        await read_once(tmp_path)
    (tmp_path / "daemon.json").write_text('{"feed_url": "ws://127.0.0.1:1/feed"}')
    with pytest.raises(FeedUnreachable, match=r"feed\.token cannot be read"):
        await read_once(tmp_path)
    (tmp_path / "feed.token").write_text("x")
    with pytest.raises(FeedUnreachable, match="nothing listens there"):
        await read_once(tmp_path)
    async with FeedDaemon(tmp_path):
        (tmp_path / "feed.token").write_text("stale")
        with pytest.raises(FeedUnreachable, match="another data folder listens there"):
            await read_once(tmp_path)


async def test_a_daemon_with_another_data_folder_is_named_so(tmp_path: Path) -> None:
    """F7.21: A daemon that knows another token has another data folder: give --data."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    other.mkdir()
    channel = AdminChannel(Verbs().handle)
    async with FeedDaemon(other, admin=channel) as daemon:
        about = {"run_id": "x", "feed_url": daemon.server.url, "status": "STOPPED"}
        (mine / "daemon.json").write_bytes(orjson.dumps(about))
        for name in ("feed.token", "admin.token"):
            (mine / name).write_text("of my own run")
        told = "a daemon with another data folder listens there; give --data"
        with pytest.raises(FeedUnreachable, match=f"cannot be reached: {told}$"):
            await read_once(mine)
        with pytest.raises(FeedUnreachable, match=f"cannot be reached: {told}$"):
            async with AdminClient.connect(mine):
                pass
        with pytest.raises(FeedUnreachable, match=told):
            await read_once(mine, daemon.server.url)
        async with reading(mine, daemon.server.url) as reader:
            await until(lambda: reader.of(Disconnected))
            assert reader.of(Disconnected)[0].reason == told


async def test_another_program_on_the_port_is_named_so(tmp_path: Path) -> None:
    """F7.21: A program that speaks another protocol on the port is told as such."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n")
        writer.close()

    (tmp_path / "feed.token").write_text("secret")
    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(FeedUnreachable, match="another program listens there"):
            await read_once(tmp_path, f"ws://127.0.0.1:{port}/feed")


@pytest.mark.parametrize(
    ("status", "told"),
    [("STOPPED", "it was stopped"), ("RUNNING", "it ended without being stopped")],
)
async def test_a_daemon_that_is_gone_is_told_with_how_it_ended(
    tmp_path: Path, status: str, told: str
) -> None:
    """F7.11: Who looks for a daemon that was killed is told so, and that nobody guards."""
    about = {"feed_url": "ws://127.0.0.1:1/feed", "status": status}
    (tmp_path / "daemon.json").write_bytes(orjson.dumps(about))
    (tmp_path / "feed.token").write_text("x")
    with pytest.raises(FeedUnreachable, match=f"nothing listens there; {told}, nobody guards"):
        await read_once(tmp_path)


async def test_hostile_text_arrives_plain(tmp_path: Path) -> None:
    hostile = "MNQ[/]\x1b[31m\u202eevil\x00\nnext"
    async with FeedDaemon(tmp_path, accounts={101: hostile}):
        _, raw, message = await read_once(tmp_path)
    assert isinstance(message.data, Snapshot)
    assert message.data.accounts[0].name == "MNQ[/][31mevil next"
    assert raw["accounts"][0]["name"] == "MNQ[/][31mevil next"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ESZ6", "ESZ6"),
        ("Straße – 金", "Straße – 金"),
        ("a\tb\r\nc", "a b  c"),
        ("\x1b]0;title\x07x", "]0;titlex"),
        ("abc\u202edef\u2066", "abcdef"),
        ("\u200bzero\ufeff", "zero"),
        ("\x9b31m", "31m"),
    ],
)
def test_text_for_a_screen_holds_no_controls(text: str, shown: str) -> None:
    assert plain(text) == shown
    frame = orjson.dumps({"k": text}).decode()
    assert looks_plain(frame) == (text == shown)
    assert plain_json({"k": [text, 1]}) == {"k": [shown, 1]}


# --- the admin channel ---


class Verbs:
    def __init__(self) -> None:
        self.password = "x1"
        self.asked: list[str] = []

    async def handle(
        self, method: str, params: dict[str, Any], session: AdminSession
    ) -> dict[str, Any]:
        self.asked.append(method)
        match method:
            case "login":
                if params.get("password") != self.password:
                    raise AdminError("wrong_password", "that is not the password")
                session.logged_in = True
                return {"ok": True}
            case "status":
                return {"logged_in": session.logged_in}
            case "crash":
                raise ZeroDivisionError
        raise AdminError("unknown_method", f"there is no {method}")


async def test_admin_verbs_are_asked_in_order_and_refused_in_words(tmp_path: Path) -> None:
    verbs = Verbs()
    async with (
        FeedDaemon(tmp_path, admin=AdminChannel(verbs.handle)),
        AdminClient.connect(tmp_path) as admin,
    ):
        assert await admin.call("status") == {"logged_in": False}
        with pytest.raises(AdminRefused, match="there is no dance") as refused:
            await admin.call("dance")
        assert refused.value.code == "unknown_method"
        with pytest.raises(AdminRefused, match="ZeroDivisionError"):
            await admin.call("crash")
        assert await admin.call("status") == {"logged_in": False}


async def test_with_a_password_nothing_but_login_is_heard_before_it(tmp_path: Path) -> None:
    verbs = Verbs()
    channel = AdminChannel(verbs.handle, login_required=lambda: True)
    async with FeedDaemon(tmp_path, admin=channel):
        async with AdminClient.connect(tmp_path) as admin:
            with pytest.raises(AdminRefused, match="log in first"):
                await admin.call("status")
            with pytest.raises(AdminRefused, match="not the password"):
                await admin.call("login", {"password": "no"})
            with pytest.raises(AdminRefused, match="log in first"):
                await admin.call("status")
            await admin.call("login", {"password": "x1"})
            assert await admin.call("status") == {"logged_in": True}
        # A login ends with its connection.
        async with AdminClient.connect(tmp_path) as admin:
            with pytest.raises(AdminRefused, match="log in first"):
                await admin.call("status")
    assert verbs.asked == ["login", "login", "status"]


async def test_the_feed_token_does_not_open_the_admin_channel(tmp_path: Path) -> None:
    verbs = Verbs()
    async with FeedDaemon(tmp_path, admin=AdminChannel(verbs.handle)):
        viewer = (tmp_path / "feed.token").read_text()
        assert viewer != (tmp_path / "admin.token").read_text()
        (tmp_path / "admin.token").write_text(viewer)
        with pytest.raises(FeedUnreachable, match="another data folder"):
            async with AdminClient.connect(tmp_path):
                pass


@pytest.mark.parametrize(
    "request_text", ["not json", "[]", '{"id": null, "method": "status"}', '{"id": 1}']
)
async def test_a_malformed_request_gets_an_answer(tmp_path: Path, request_text: str) -> None:
    verbs = Verbs()
    async with FeedDaemon(tmp_path, admin=AdminChannel(verbs.handle)) as daemon:
        key = {"Authorization": f"Bearer {(tmp_path / 'admin.token').read_text()}"}
        url = daemon.server.url.replace(FEED_PATH, ADMIN_PATH)
        async with connect(url, additional_headers=key, proxy=None) as ws:
            await ws.send(request_text)
            reply = orjson.loads(await ws.recv())
            assert reply["error"]["code"] == "bad_request"
            await ws.send('{"id": 1, "method": "status"}')
            assert orjson.loads(await ws.recv()) == {"id": 1, "result": {"logged_in": False}}
        assert daemon.server.readers == 0
