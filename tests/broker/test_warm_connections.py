"""The connections of enforcement: open before they are needed, and nothing sent twice."""

import asyncio
import select
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from aiohttp import web

from risk_manager.broker import warm_connections
from risk_manager.broker.replies import Answer, reply_of_error
from risk_manager.broker.warm_connections import KEPT_OPEN, UnreadableAnswer, WarmConnections
from risk_manager.domain.call_codes import CLOSE

pytestmark = pytest.mark.wire

BODY = {"accountId": 101, "contractId": "CON.F.US.MNQ.Z26"}
OK = b'{"success": true, "errorCode": 0}'
type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """An HTTP server that answers as it is told to, and keeps what it was asked."""

    def __init__(self, answer: Handler) -> None:
        self.answer = answer
        self.asked: list[web.Request] = []
        self.peers: list[object] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.asked.append(request)
        assert request.transport is not None
        self.peers.append(request.transport.get_extra_info("peername"))
        if request.path.endswith("/Status/ping"):
            await asyncio.sleep(0.05)
            return web.json_response("pong")
        return await self.answer(request)


@asynccontextmanager
async def serving(answer: Handler) -> AsyncIterator[Server]:
    server = Server(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}/api"
    try:
        yield server
    finally:
        await runner.cleanup()


def saying(body: bytes, status: int = 200, **headers: str) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=headers)

    return answer


@contextmanager
def a_socket() -> Iterator[tuple[str, "list[socket.socket]"]]:
    """A bare server: connections are taken, nothing is read but by the test."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def take() -> None:
            try:
                while True:
                    taken.append(listening.accept()[0])
            except OSError:
                pass

        threading.Thread(target=take, name="accepting", daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", taken
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for one in taken:
                one.close()


async def test_what_is_asked_arrives_with_the_token_and_the_answer_comes_whole() -> None:
    async with (
        serving(saying(OK, Date="Thu, 26 Nov 2026 12:00:00 GMT")) as server,
        WarmConnections(server.url + "/", answer_seconds=5) as connections,
    ):
        answered = await connections.post(CLOSE, BODY, "token-1")
    (request,) = server.asked
    assert (request.method, request.path) == ("POST", "/api" + CLOSE)
    assert await request.json() == BODY
    assert request.headers["Authorization"] == "Bearer token-1"
    assert request.headers["Content-Type"] == "application/json"
    assert (answered.status, answered.body) == (200, {"success": True, "errorCode": 0})
    assert answered.date == "Thu, 26 Nov 2026 12:00:00 GMT"


async def test_a_request_has_left_before_anything_is_waited_for() -> None:
    """An eager task has put the whole request on an open connection when it first waits."""
    loop = asyncio.get_running_loop()
    with a_socket() as (url, taken):
        async with WarmConnections(url, answer_seconds=5) as connections:
            first = asyncio.create_task(connections.post(CLOSE, BODY, "token"))
            while not taken:  # noqa: ASYNC110 - another thread fills it
                await asyncio.sleep(0.001)
            (line,) = taken
            await loop.run_in_executor(None, line.recv, 65536)
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(OK), OK))
            await first
            second = asyncio.Task(
                connections.post(CLOSE, BODY, "token"), loop=loop, eager_start=True
            )
            # No turn of the loop has passed.
            readable, _, _ = select.select([line], [], [], 5)
            assert readable == [line]
            assert line.recv(65536).endswith(b'{"accountId":101,"contractId":"CON.F.US.MNQ.Z26"}')
            assert len(taken) == 1
            second.cancel()


async def test_connections_are_open_beforehand_and_used_again() -> None:
    async with (
        serving(saying(OK)) as server,
        WarmConnections(server.url, answer_seconds=5) as connections,
    ):
        for _ in range(3):
            await connections.keep_warm()
        assert len(set(server.peers)) == KEPT_OPEN
        together = [connections.post(CLOSE, BODY, "token") for _ in range(KEPT_OPEN)]
        await asyncio.gather(*together)
    assert len(set(server.peers)) == KEPT_OPEN


async def test_a_redirect_is_not_followed_and_a_cookie_not_kept() -> None:
    gave = saying(b"", 302, Location="/api/elsewhere", **{"Set-Cookie": "a=b"})
    async with (
        serving(gave) as server,
        WarmConnections(server.url, answer_seconds=5) as connections,
    ):
        assert (await connections.post(CLOSE, BODY, "token")).status == 302
        assert (await connections.post(CLOSE, BODY, "token")).status == 302
    assert [request.path for request in server.asked] == ["/api" + CLOSE] * 2
    assert "Cookie" not in server.asked[1].headers


@pytest.mark.parametrize(
    ("status", "body", "retry_after"),
    [(429, b"slow down", "3"), (500, b"<html>oops</html>", None), (401, b"", None)],
)
async def test_another_status_comes_with_its_words(
    status: int, body: bytes, retry_after: str | None
) -> None:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    async with (
        serving(saying(body, status, **headers)) as server,
        WarmConnections(server.url, answer_seconds=5) as connections,
    ):
        answered = await connections.post(CLOSE, BODY, "token")
    assert (answered.status, answered.body) == (status, None)
    assert (answered.text, answered.retry_after) == (body.decode(), retry_after)


async def test_half_a_character_pair_is_read_and_what_is_no_json_is_not() -> None:
    async with (
        serving(saying(rb'{"errorMessage": "a \ud83d"}')) as server,
        WarmConnections(server.url, answer_seconds=5) as connections,
    ):
        answered = await connections.post(CLOSE, BODY, "token")
        assert answered.body == {"errorMessage": "a ?"}
        server.answer = saying(b"{success: maybe")
        with pytest.raises(UnreadableAnswer) as unreadable:
            await connections.post(CLOSE, BODY, "token")
    assert reply_of_error(CLOSE, unreadable.value).answer is Answer.UNKNOWN


async def test_an_answer_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_connections, "LARGEST_ANSWER_BYTES", 1024)
    async with (
        serving(saying(b" " * 4096)) as server,
        WarmConnections(server.url, answer_seconds=5) as connections,
    ):
        with pytest.raises(UnreadableAnswer, match="larger than"):
            await connections.post(CLOSE, BODY, "token")


async def test_a_connection_that_breaks_under_a_request_is_not_tried_again() -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with (
        serving(hang_up) as server,
        WarmConnections(server.url, answer_seconds=5) as connections,
    ):
        await connections.keep_warm()
        pings = len(server.asked)
        with pytest.raises(Exception) as broke:  # noqa: PT011 - what it means is looked at
            await connections.post(CLOSE, BODY, "token")
        assert len(server.asked) == pings + 1
        assert reply_of_error(CLOSE, broke.value).answer is Answer.UNKNOWN
        server.answer = saying(OK)
        assert (await connections.post(CLOSE, BODY, "token")).status == 200


async def test_an_answer_that_does_not_come_is_unknown_and_nobody_there_is_unsent() -> None:
    async def hang(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    async with serving(hang) as server:
        async with WarmConnections(server.url, answer_seconds=0.05) as connections:
            with pytest.raises(TimeoutError) as hung:
                await connections.post(CLOSE, BODY, "token")
        url = server.url
    assert reply_of_error(CLOSE, hung.value).answer is Answer.UNKNOWN
    async with WarmConnections(url, answer_seconds=5) as connections:
        with pytest.raises(OSError) as refused:  # noqa: PT011 - what it means is looked at
            await connections.post(CLOSE, BODY, "token")
    assert reply_of_error(CLOSE, refused.value).answer is Answer.UNSENT


async def test_the_proxy_of_the_environment_is_used_but_for_its_exceptions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(saying(OK)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/api"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with WarmConnections("http://gateway.invalid/api", answer_seconds=5) as connections:
            assert (await connections.post(CLOSE, BODY, "token")).status == 200
        assert proxy.asked[0].headers["Host"] == "gateway.invalid"
        async with WarmConnections("http://127.0.0.1:9/api", answer_seconds=5) as connections:
            with pytest.raises(OSError):  # noqa: PT011 - not by the proxy, which would answer
                await connections.post(CLOSE, BODY, "token")
    assert len(proxy.asked) == 1
