"""How the frames that wait for one client are sent: in turns with all other work of the loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import cast

from virtual_time import in_virtual_time
from websockets.asyncio.server import ServerConnection

from risk_manager.feed.reader import Reader
from risk_manager.right_of_way import RightOfWay


class Socket:
    """A connection that takes each frame at once, as one whose client keeps up does.

    While `free` is cleared it takes none, as one whose client is stuck.
    """

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.on_frame: Callable[[bytes], object] = self.frames.append
        self.free = asyncio.Event()
        self.free.set()

    async def send(self, frame: bytes, *, text: bool) -> None:
        await self.free.wait()
        self.on_frame(frame)


class Client:
    """A reader at work on such a socket. `composed` are the accounts whose frames were made."""

    def __init__(self, one_at_a_time: asyncio.Lock | None = None) -> None:
        self.socket = Socket()
        self.composed: list[int] = []
        self.right_of_way = RightOfWay()
        self.reader = Reader(
            cast(ServerConnection, self.socket),
            1,
            self._account_frame,
            self.right_of_way,
            one_at_a_time or asyncio.Lock(),
        )

    def _account_frame(self, account_id: int) -> bytes:
        self.composed.append(account_id)
        return b'"account_id":%d}' % account_id

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Client"]:
        tasks = [
            asyncio.create_task(self.reader.send_messages(), name="messages"),
            asyncio.create_task(self.reader.send_figures(), name="figures"),
        ]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def listening_together(number: int) -> AsyncIterator[list[Client]]:
    one_at_a_time = asyncio.Lock()
    clients = [Client(one_at_a_time) for _ in range(number)]
    async with AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(client.listening())
        await asyncio.sleep(0)  # each has begun to wait
        yield clients


async def sent_in_each_turn(clients: list[Client], turns: int = 60) -> list[int]:
    """How many frames all clients together were sent in each of so many turns of the loop."""
    sent = [0]
    for _ in range(turns):
        await asyncio.sleep(0)
        sent.append(sum(len(client.socket.frames) for client in clients))
    return [after - before for before, after in pairwise(sent)]


@in_virtual_time
async def test_after_each_frame_the_other_work_of_the_loop_has_a_turn() -> None:
    async with Client().listening() as client:
        for number in range(5):
            client.reader.refresh(number)
            client.reader.offer(b'"alarm":%d}' % number)
            client.reader.offer_quote(f"CON.{number}", b'"quote":%d}' % number)
        sent = await sent_in_each_turn([client])
        assert (sum(sent), max(sent)) == (15, 1)


@in_virtual_time
async def test_nothing_is_composed_or_sent_while_a_fact_is_judged() -> None:
    async with Client().listening() as client:
        client.right_of_way.take()
        client.reader.refresh(101)
        client.reader.offer(b'"account_id":102}')
        await asyncio.sleep(0.05)
        assert (client.composed, client.socket.frames) == ([], [])
        client.right_of_way.give_back()
        await asyncio.sleep(0.001)
        assert client.socket.frames == [
            b'{"v":1,"seq":1,"account_id":102}',
            b'{"v":1,"seq":2,"account_id":101}',
        ]


@in_virtual_time
async def test_in_one_turn_of_the_loop_one_client_is_sent_an_account() -> None:
    async with listening_together(3) as clients:
        for client in clients:
            client.reader.refresh(101)
            client.reader.refresh(102)
        sent = await sent_in_each_turn(clients)
        assert (sum(sent), max(sent)) == (6, 1)


@in_virtual_time
async def test_what_happened_is_sent_to_all_clients_before_any_account() -> None:
    order: list[bytes] = []
    async with listening_together(3) as clients:
        for client in clients:
            client.socket.on_frame = lambda frame: order.append(frame.split(b'"')[5])
        for client in clients:
            client.reader.refresh(101)
            for number in range(4):
                client.reader.offer(b'"alarm":%d}' % number)
        await sent_in_each_turn(clients)
        assert order == [b"alarm"] * 12 + [b"account_id"] * 3


@in_virtual_time
async def test_clients_that_keep_up_are_not_let_go_in_a_flood_of_messages() -> None:
    async with listening_together(10) as clients:
        for turn in range(100):
            for client in clients:
                client.reader.refresh(turn)
                # So many may follow from the steps of one turn of the loop.
                assert all([client.reader.offer(b'"order":1}') for _ in range(48)])
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        for client in clients:
            assert sum(b"order" in frame for frame in client.socket.frames) == 4800
            assert len(client.composed) == 100


@in_virtual_time
async def test_a_client_that_is_stuck_does_not_stop_the_others() -> None:
    async with listening_together(3) as clients:
        clients[0].socket.free.clear()
        for client in clients:
            client.reader.refresh(101)
            client.reader.refresh(102)
        await asyncio.sleep(0.001)
        assert [len(client.socket.frames) for client in clients] == [0, 2, 2]
        clients[0].socket.free.set()
        await asyncio.sleep(0.001)
        assert len(clients[0].socket.frames) == 2
