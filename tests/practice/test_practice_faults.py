"""Every way the practice gateway can be made to misbehave, on the wire and seen from the SDK."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
import pytest
from project_x_py import ProjectX
from project_x_py.exceptions import OrderSubmissionUncertainError, ProjectXDataError
from project_x_py.realtime import ProjectXRealtimeClient

from risk_manager.practice.faults import HubName
from risk_manager.practice.frames import ODD_FRAMES, OddFrame
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.records import Side

pytestmark = pytest.mark.wire
WAIT = 5.0
SEPARATOR = "\x1e"


def now() -> datetime:
    return datetime.now(UTC)


def buy(gateway: PracticeGateway, size: int = 1) -> str:
    """MNQ bought in account 101; its contract id."""
    contract_id = gateway.exchange.contract_of("MNQ").id
    assert isinstance(
        gateway.exchange.order_entry.place(101, contract_id, Side.BUY, size, now=now()), int
    )
    return contract_id


def closing(contract_id: str) -> dict[str, Any]:
    return {"accountId": 101, "contractId": contract_id}


class BareHub:
    """A SignalR client with nothing clever in it: it shows exactly what is on the wire."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self._ready: list[str] = []

    async def say(self, **message: Any) -> None:
        await self.ws.send_str(orjson.dumps(message).decode() + SEPARATOR)

    async def subscribe(self, gateway: PracticeGateway) -> None:
        await self.say(type=1, target="SubscribeAccounts", arguments=[])
        for subject in ("Orders", "Positions"):
            await self.say(type=1, target=f"Subscribe{subject}", arguments=[101])
        await self.say(type=1, target="SubscribeTrades", arguments=[101], invocationId="done")
        assert await self.hear() == {"type": 3, "invocationId": "done", "result": None}

    async def raw(self) -> str:
        if not self._ready:
            async with asyncio.timeout(WAIT):
                data = await self.ws.receive_str()
            self._ready = [piece for piece in data.split(SEPARATOR) if piece]
        return self._ready.pop(0)

    async def hear(self) -> Any:
        return orjson.loads(await self.raw())

    async def until_quiet(self, seconds: float) -> list[Any]:
        """Everything heard until nothing came for so long."""
        heard: list[Any] = []
        while True:
            try:
                async with asyncio.timeout(seconds):
                    heard.append(orjson.loads((await self.ws.receive_str()).rstrip(SEPARATOR)))
            except TimeoutError:
                return heard

    async def past_pings(self) -> Any:
        while (message := await self.hear()) == {"type": 6}:
            pass
        return message

    async def targets(self, count: int) -> list[str]:
        return [(await self.hear())["target"] for _ in range(count)]


@asynccontextmanager
async def bare_hub(
    gateway: PracticeGateway, name: HubName = "user", *, connection_id: str | None = None
) -> AsyncIterator[BareHub]:
    url = gateway.user_hub_url if name == "user" else gateway.market_hub_url
    params = {"access_token": gateway.tokens.issue()}
    async with aiohttp.ClientSession() as session:
        if connection_id is None:
            async with session.post(f"{url}/negotiate", params=params) as reply:
                connection_id = (await reply.json())["connectionId"]
        async with session.ws_connect(url, params={**params, "id": connection_id or ""}) as ws:
            hub = BareHub(ws)
            await hub.say(protocol="json", version=1)
            assert await hub.raw() == "{}"
            yield hub


# ---- REST ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_a_refused_close_is_uncertain_to_the_sdk_and_did_not_happen(
    gateway: PracticeGateway, client: ProjectX, status: int
) -> None:
    contract_id = buy(gateway)
    fault = gateway.faults.add("/Position/closeContract", status=status, retry_after=1, times=1)
    with pytest.raises(OrderSubmissionUncertainError):
        await client._make_request("POST", "/Position/closeContract", data=closing(contract_id))
    assert gateway.exchange.net(101, contract_id) == 1
    assert fault.hits == 1
    await client._make_request("POST", "/Position/closeContract", data=closing(contract_id))
    assert gateway.exchange.is_flat(101)


async def test_a_close_whose_reply_is_lost_did_happen(
    gateway: PracticeGateway, client: ProjectX
) -> None:
    contract_id = buy(gateway)
    gateway.faults.add("/Position/closeContract", lose_reply="close", times=1)
    with pytest.raises(OrderSubmissionUncertainError):
        await client._make_request("POST", "/Position/closeContract", data=closing(contract_id))
    assert gateway.exchange.is_flat(101)


async def test_a_hanging_request_goes_on_when_released(
    gateway: PracticeGateway, client: ProjectX
) -> None:
    contract_id = buy(gateway)
    gateway.faults.add("/Position/closeContract", hang=True, times=1)
    asked = asyncio.create_task(
        client._make_request("POST", "/Position/closeContract", data=closing(contract_id))
    )
    await gateway.requests.wait_for("/Position/closeContract")
    assert not asked.done()
    assert gateway.exchange.net(101, contract_id) == 1
    gateway.faults.release()
    async with asyncio.timeout(WAIT):
        await asked
    assert gateway.exchange.is_flat(101)


async def test_a_lost_reply_that_hangs_outlasts_the_clients_patience(
    gateway: PracticeGateway, client: ProjectX
) -> None:
    contract_id = buy(gateway)
    gateway.faults.add("/Position/closeContract", lose_reply="hang", times=1)
    with pytest.raises(OrderSubmissionUncertainError):
        await client._make_request("POST", "/Position/closeContract", data=closing(contract_id))
    assert gateway.exchange.is_flat(101)


async def test_success_false_garbage_and_delay(gateway: PracticeGateway, client: ProjectX) -> None:
    contract_id = buy(gateway)
    path = "/Position/closeContract"
    gateway.faults.add(path, refuse=(8, "account rejected"), times=1)
    reply: Any = await client._make_request("POST", path, data=closing(contract_id))
    assert (reply["success"], reply["errorCode"]) == (False, 8)
    assert gateway.exchange.net(101, contract_id) == 1
    gateway.faults.add(path, garbage=True, times=1)
    with pytest.raises(ProjectXDataError):
        await client._make_request("POST", path, data=closing(contract_id))
    assert gateway.exchange.is_flat(101)
    gateway.faults.add("*", delay=0.05, times=1)
    started = time.monotonic()
    await client.list_accounts()
    assert time.monotonic() - started >= 0.05


async def test_faults_last_until_cleared_and_only_where_set(
    gateway: PracticeGateway, client: ProjectX
) -> None:
    gateway.faults.add("/Order/place", status=404)
    assert len(await client.list_accounts()) == 2
    gateway.faults.clear()
    assert gateway.faults.take("/Order/place") is None


# ---- hubs ------------------------------------------------------------------------------------


async def test_a_connection_id_is_good_for_one_connection(gateway: PracticeGateway) -> None:
    params = {"access_token": gateway.tokens.issue()}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{gateway.user_hub_url}/negotiate", params=params) as reply,
    ):
        id_ = (await reply.json())["connectionId"]
    async with bare_hub(gateway, connection_id=id_):
        pass
    for stale in (id_, "never-negotiated"):
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            async with bare_hub(gateway, connection_id=stale):
                pass


async def test_another_protocol_is_refused_in_the_handshake(gateway: PracticeGateway) -> None:
    params = {"access_token": gateway.tokens.issue()}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(gateway.user_hub_url, params=params) as ws,
    ):
        hub = BareHub(ws)
        await hub.say(protocol="messagepack", version=1)
        assert "error" in await hub.hear()


async def test_unknown_methods_are_answered_when_they_ask_and_heartbeats_ignored(
    gateway: PracticeGateway,
) -> None:
    async with bare_hub(gateway) as hub:
        await hub.say(type=1, target="Heartbeat", arguments=[])
        await hub.say(type=1, target="Dance", arguments=[], invocationId="1")
        answer = await hub.hear()
        assert answer["invocationId"] == "1"
        assert "Dance" in answer["error"]


async def test_a_quiet_hub_is_pinged_and_a_mute_one_is_not() -> None:
    async with PracticeGateway(ping_seconds=0.02) as gateway, bare_hub(gateway) as hub:
        assert await hub.hear() == {"type": 6}
        gateway.faults.user.mute = True
        heard = await hub.until_quiet(seconds=0.3)
        assert len(heard) <= 1  # one may have been under way
        gateway.faults.user.mute = False
        assert await hub.hear() == {"type": 6}


async def test_duplicates_reordering_loss_and_delay(gateway: PracticeGateway) -> None:
    user = gateway.faults.user
    order, trade = "GatewayUserOrder", "GatewayUserTrade"
    position, account = "GatewayUserPosition", "GatewayUserAccount"
    async with bare_hub(gateway) as hub:
        await hub.subscribe(gateway)
        contract_id = buy(gateway)
        assert await hub.targets(5) == [order, order, trade, position, account]

        user.duplicate = 1
        gateway.exchange.firm.set_can_trade(101, True, now=now())
        assert await hub.targets(2) == [account, account]
        user.clear()

        user.reorder = True
        gateway.exchange.order_entry.close_position(101, contract_id, now=now())
        assert await hub.targets(5) == [account, position, trade, order, order]
        user.clear()

        user.lose = 3
        buy(gateway)
        assert await hub.targets(2) == [position, account]

        user.delay = 0.05
        started = time.monotonic()
        gateway.exchange.firm.set_can_trade(101, True, now=now())
        assert await hub.targets(1) == [account]
        assert time.monotonic() - started >= 0.05


async def test_refused_and_hanging_negotiations(gateway: PracticeGateway) -> None:
    params = {"access_token": gateway.tokens.issue()}
    gateway.faults.user.refuse_negotiate = 503
    gateway.faults.user.refuse_times = 2
    async with aiohttp.ClientSession() as session:

        async def negotiate() -> int:
            async with session.post(f"{gateway.user_hub_url}/negotiate", params=params) as reply:
                return reply.status

        assert [await negotiate() for _ in range(3)] == [503, 503, 200]
        gateway.faults.user.hang_negotiate = True
        waiting = asyncio.create_task(negotiate())
        await gateway.user_hub.wait_until(lambda: gateway.user_hub.negotiations == 4)
        assert not waiting.done()
        gateway.faults.clear()
        assert await waiting == 200
    async with bare_hub(gateway, "market"):
        assert [one.hub for one in gateway.connections] == ["market"]


@pytest.mark.parametrize("shape", sorted(ODD_FRAMES))
async def test_odd_frames_arrive_as_they_are(gateway: PracticeGateway, shape: OddFrame) -> None:
    async with bare_hub(gateway) as hub:
        await gateway.injection.send_odd("user", shape)
        assert (await hub.raw()).encode() == ODD_FRAMES[shape]
        await gateway.injection.garble("user")
        with pytest.raises(orjson.JSONDecodeError):
            await hub.hear()
        await gateway.injection.logout()
        assert (await hub.hear())["target"] == "GatewayLogout"


@pytest.mark.parametrize("clean", [True, False])
async def test_the_sdk_comes_back_after_a_drop_with_its_subscriptions(
    gateway: PracticeGateway, realtime: ProjectXRealtimeClient, clean: bool
) -> None:
    seen = asyncio.Event()

    async def on_position(data: Any) -> None:
        seen.set()

    await realtime.add_callback("position_update", on_position)
    assert await realtime.subscribe_user_updates()
    hub = gateway.user_hub
    await hub.wait_until(lambda: len(hub.connections[-1].subscriptions) == 4)
    first = hub.connections[0]
    assert await gateway.drop("user", clean=clean) == 1
    # The used id is refused with 404, so the client negotiates anew after 1.5 s.
    await hub.wait_until(
        lambda: any(
            one is not first and len(one.subscriptions) == 4 for one in gateway.user_hub.connections
        ),
        seconds=15.0,
    )
    buy(gateway)
    async with asyncio.timeout(WAIT):
        await seen.wait()


async def test_a_garbled_frame_kills_the_sdks_hub_silently(
    gateway: PracticeGateway, realtime: ProjectXRealtimeClient
) -> None:
    """The finding the hub supervisor exists for: were it ever fixed, we want to know."""
    hub = gateway.user_hub
    assert len(hub.connections) == 1
    await gateway.injection.garble("user")
    await hub.wait_until(lambda: not hub.connections)
    assert realtime.user_connected


async def test_the_sdk_hears_that_it_was_logged_out(
    gateway: PracticeGateway, realtime: ProjectXRealtimeClient
) -> None:
    heard = asyncio.Event()

    async def on_logout(*_: Any) -> None:
        heard.set()

    assert realtime.user_connection is not None
    realtime.user_connection.on("GatewayLogout", on_logout)
    await gateway.injection.logout("user")
    async with asyncio.timeout(WAIT):
        await heard.wait()


async def test_revoking_tokens_can_close_the_hubs(gateway: PracticeGateway) -> None:
    async with bare_hub(gateway) as hub:
        await gateway.revoke_tokens(close_hubs=True)
        async with asyncio.timeout(WAIT):
            message = await hub.ws.receive()
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    await gateway.user_hub.wait_until(lambda: gateway.connections == [])


async def test_what_is_unknown_about_the_live_gateway_can_be_had_both_ways() -> None:
    clock = now()
    async with PracticeGateway(
        partial_quotes=True,
        single_session=True,
        expiry_closes_hubs=True,
        hide_locked_accounts=True,
        ping_seconds=0.02,
        clock=lambda: clock,
    ) as gateway:
        contract_id = gateway.exchange.contract_of("MNQ").id
        async with bare_hub(gateway, "market") as hub:
            ask = {"target": "SubscribeContractQuotes", "arguments": [contract_id]}
            await hub.say(type=1, invocationId="q", **ask)
            assert (await hub.past_pings())["invocationId"] == "q"
            last = gateway.exchange.book(contract_id).last
            for _ in range(2):
                gateway.exchange.move_price(contract_id, last, now=clock)
            full, partial = [(await hub.past_pings())["arguments"][1] for _ in range(2)]
            assert full["bestBid"] == float(last)
            assert partial == {"symbol": "F.US.MNQ"}

            async with aiohttp.ClientSession() as session:
                credentials = {"userName": gateway.username, "apiKey": gateway.api_key}
                login = f"{gateway.api_url}/Auth/loginKey"
                async with session.post(login, json=credentials) as reply:
                    token = (await reply.json())["token"]
                assert (await hub.past_pings())["target"] == "GatewayLogout"
                gateway.exchange.firm.set_can_trade(102, False, now=clock)
                async with session.post(
                    f"{gateway.api_url}/Account/search",
                    json={"onlyActiveAccounts": True},
                    headers={"Authorization": f"Bearer {token}"},
                ) as reply:
                    assert [one["id"] for one in (await reply.json())["accounts"]] == [101]
            # The login took this connection's token away, and here that costs it the socket.
            await gateway.market_hub.wait_until(lambda: gateway.connections == [])
