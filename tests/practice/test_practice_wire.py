"""The unmodified SDK against the practice gateway: it must not be able to tell the difference."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from project_x_py import ProjectX, ProjectXConfig
from project_x_py.exceptions import ProjectXError
from project_x_py.realtime import ProjectXRealtimeClient

from risk_manager.practice.assembly import practice_gateway, serve
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.market import Market
from risk_manager.practice.records import Bracket, OrderType, Side
from risk_manager.practice.trader import Deed

pytestmark = pytest.mark.wire
WAIT = 5.0


class Inbox:
    """What the SDK called back with, in order of arrival, and a way to wait for more."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self._more = asyncio.Event()

    async def listen(self, hubs: ProjectXRealtimeClient, *kinds: str) -> None:
        for kind in kinds:

            async def callback(data: Any, kind: str = kind) -> None:
                self.seen.append((kind, data))
                self._more.set()

            await hubs.add_callback(kind, callback)

    def of(self, kind: str) -> list[Any]:
        return [data for name, data in self.seen if name == kind]

    async def until(self, kind: str, count: int = 1) -> list[Any]:
        async with asyncio.timeout(WAIT):
            while len(self.of(kind)) < count:
                self._more.clear()
                await self._more.wait()
        return self.of(kind)


USER = ("order_update", "trade_execution", "position_update", "account_update")


async def subscribed(gateway: PracticeGateway, hubs: ProjectXRealtimeClient) -> Inbox:
    """An inbox, with the user subscriptions in force at the gateway."""
    inbox = Inbox()
    await inbox.listen(hubs, *USER)
    assert await hubs.subscribe_user_updates()
    await gateway.user_hub.wait_until(
        lambda: (
            bool(gateway.user_hub.connections)
            and len(gateway.user_hub.connections[-1].subscriptions) == 4
        )
    )
    return inbox


def mnq(gateway: PracticeGateway) -> str:
    return gateway.exchange.contract_of("MNQ").id


def now() -> datetime:
    return datetime.now(UTC)


async def test_the_sdk_logs_in_and_lists_the_practice_accounts(client: ProjectX) -> None:
    accounts = await client.list_accounts()
    assert [(one.id, one.name, one.balance) for one in accounts] == [
        (101, "PRACTICE-50K-1", 50_000.0),
        (102, "PRACTICE-50K-2", 50_000.0),
    ]
    assert client.account_info is not None
    assert client.account_info.id == 101
    pong: Any = await client._make_request("GET", "/Status/ping")
    assert pong == "pong"


async def test_a_wrong_key_is_error_code_3_with_http_200(gateway: PracticeGateway) -> None:
    async with httpx.AsyncClient() as http:
        reply = await http.post(
            f"{gateway.api_url}/Auth/loginKey",
            json={"userName": gateway.username, "apiKey": "wrong"},
        )
    assert reply.status_code == 200
    assert reply.json()["success"] is False
    assert reply.json()["errorCode"] == 3
    assert reply.json()["token"] is None
    assert all("wrong" not in str(one.body) for one in gateway.requests)


async def test_the_sdk_finds_contracts_by_root_and_by_id(
    gateway: PracticeGateway, client: ProjectX
) -> None:
    found = await client.get_instrument("MNQ")
    assert found.id == mnq(gateway)
    assert (found.tickSize, found.tickValue) == (0.25, 0.5)
    euro = await client.get_instrument(gateway.exchange.contract_of("6E").id)
    assert euro.symbolId == "F.US.EU6"
    assert len(await client.list_available_contracts()) == 11


async def test_a_fill_reaches_the_sdk_as_order_trade_position_account(
    gateway: PracticeGateway, realtime: ProjectXRealtimeClient
) -> None:
    inbox = await subscribed(gateway, realtime)
    gateway.exchange.order_entry.place(101, mnq(gateway), Side.BUY, 2, now=now())
    await inbox.until("account_update")
    assert [kind for kind, _ in inbox.seen] == ["order_update", *USER]
    [position] = inbox.of("position_update")
    assert position["action"] == 0
    data = position["data"]
    assert (data["contractId"], data["type"], data["size"]) == (mnq(gateway), 1, 2)
    [trade] = inbox.of("trade_execution")
    assert trade["data"]["profitAndLoss"] is None
    assert trade["data"]["fees"] == pytest.approx(0.74)
    assert inbox.of("account_update")[0]["data"]["balance"] == pytest.approx(49_999.26)
    assert [one["data"]["status"] for one in inbox.of("order_update")] == [1, 2]


async def test_the_sdk_closes_a_position_and_hears_of_it(
    gateway: PracticeGateway, client: ProjectX, realtime: ProjectXRealtimeClient
) -> None:
    inbox = await subscribed(gateway, realtime)
    gateway.exchange.order_entry.place(101, mnq(gateway), Side.SELL, 3, now=now())
    assert [held.size for held in await client.search_open_positions(account_id=101)] == [3]
    body = {"accountId": 101, "contractId": mnq(gateway)}
    reply = await client._make_request("POST", "/Position/closeContract", data=body)
    assert reply == {"success": True, "errorCode": 0, "errorMessage": None}
    positions = await inbox.until("position_update", 2)
    assert (positions[-1]["data"]["size"], positions[-1]["action"]) == (0, 2)
    assert gateway.exchange.is_flat(101)
    again = await client._make_request("POST", "/Position/closeContract", data=body)
    assert isinstance(again, dict)
    assert (again["success"], again["errorCode"]) == (False, 2)
    trades = await client.search_trades(account_id=101, limit=1_000_000)
    assert [one.profitAndLoss for one in trades] == [-1.5, None]  # newest first; a tick of spread


async def test_a_stop_is_placed_modified_listed_and_cancelled_through_rest(
    gateway: PracticeGateway, client: ProjectX
) -> None:
    last = gateway.exchange.book(mnq(gateway)).last
    placed = await client._make_request(
        "POST",
        "/Order/place",
        data={
            "accountId": 101,
            "contractId": mnq(gateway),
            "type": 4,
            "side": 1,
            "size": 1,
            "stopPrice": float(last - 10),
            "customTag": "guard-1",
        },
    )
    assert isinstance(placed, dict)
    assert placed["success"] is True
    order = {"accountId": 101, "orderId": placed["orderId"]}
    changed = await client._make_request(
        "POST", "/Order/modify", data={**order, "stopPrice": float(last - 5)}
    )
    assert isinstance(changed, dict)
    assert changed["success"] is True
    working = await client._make_request("POST", "/Order/searchOpen", data={"accountId": 101})
    assert isinstance(working, dict)
    assert [(one["stopPrice"], one["status"]) for one in working["orders"]] == [
        (float(last - 5), 1)
    ]
    gone = await client._make_request("POST", "/Order/cancel", data=order)
    assert isinstance(gone, dict)
    assert gone["success"] is True
    one = await client._make_request("POST", "/Order/searchById", data=order)
    assert isinstance(one, dict)
    assert one["order"]["status"] == 3
    assert gateway.exchange.working_orders(101) == []


async def test_only_subscribed_accounts_are_told_and_balances_of_all(
    gateway: PracticeGateway, realtime: ProjectXRealtimeClient
) -> None:
    inbox = await subscribed(gateway, realtime)
    gateway.exchange.order_entry.place(102, mnq(gateway), Side.BUY, 1, now=now())
    await inbox.until("account_update")
    gateway.exchange.order_entry.place(101, mnq(gateway), Side.BUY, 1, now=now())
    await inbox.until("account_update", 2)
    assert {data["data"]["accountId"] for data in inbox.of("position_update")} == {101}
    assert [data["data"]["id"] for data in inbox.of("account_update")] == [102, 101]


async def test_quotes_and_market_trades_arrive_for_subscribed_contracts_only(
    gateway: PracticeGateway, realtime: ProjectXRealtimeClient
) -> None:
    inbox = Inbox()
    await inbox.listen(realtime, "quote_update", "market_trade", "market_depth")
    assert await realtime.subscribe_market_data([mnq(gateway)])
    await gateway.market_hub.wait_until(
        lambda: len(gateway.market_hub.connections[-1].subscriptions) == 3
    )
    es = gateway.exchange.contract_of("ES").id
    gateway.exchange.move_price(es, Decimal("6700.25"), now=now(), volume=1)
    gateway.exchange.move_price(mnq(gateway), Decimal("24801.50"), now=now(), volume=2)
    [quote] = await inbox.until("quote_update")
    assert quote["contract_id"] == mnq(gateway)
    assert quote["data"]["lastPrice"] == 24801.5
    assert quote["data"]["bestAsk"] == 24801.75
    [trade] = await inbox.until("market_trade")
    assert trade["data"]["volume"] == 2
    [depth] = await inbox.until("market_depth")
    assert [level["price"] for level in depth["data"]] == [24801.5, 24801.75]
    realtime_unsubscribed = await realtime.unsubscribe_market_data([mnq(gateway)])
    assert realtime_unsubscribed
    await gateway.market_hub.wait_until(
        lambda: not gateway.market_hub.connections[-1].subscriptions
    )


async def test_a_live_market_quotes_by_itself() -> None:
    gateway = practice_gateway(seed=5, speed=20.0)
    async with gateway:
        hubs = ProjectXRealtimeClient(
            gateway.tokens.issue(),
            "101",
            user_hub_url=gateway.user_hub_url,
            market_hub_url=gateway.market_hub_url,
        )
        hubs.stale_feed_seconds = 1e9
        inbox = Inbox()
        await inbox.listen(hubs, "quote_update")
        assert await hubs.connect()
        assert await hubs.subscribe_market_data([mnq(gateway)])
        quotes = await inbox.until("quote_update", 5)
        assert {quote["contract_id"] for quote in quotes} == {mnq(gateway)}
        await hubs.disconnect()


async def test_the_scripted_trader_begins_when_told_and_each_deed_is_announced() -> None:
    deeds: list[Deed] = []
    told = asyncio.Event()

    def on_deed(deed: Deed) -> None:
        deeds.append(deed)
        if len(deeds) == 3:
            told.set()

    gateway = practice_gateway(
        seed=2, speed=200.0, trader_account=101, on_deed=on_deed, trader_waits=True
    )
    async with gateway:
        await asyncio.sleep(0)
        assert deeds == []
        gateway.playback.start_trader()
        async with asyncio.timeout(WAIT):
            await told.wait()
        assert deeds[1].step.caption == "buys 6 MNQ with a stop, one too many for a limit of 5"
        assert max(one.size for one in gateway.exchange.trades(101)) == 6


async def test_the_gateway_alone_announces_where_it_is_and_closes_when_cancelled() -> None:
    lines: list[str] = []
    ready = asyncio.Event()

    def announce(line: str) -> None:
        lines.append(line)
        if line.startswith("api_key"):
            ready.set()

    serving = asyncio.create_task(serve(announce=announce, seed=1))
    async with asyncio.timeout(WAIT):
        await ready.wait()
    said = dict(line.split(": ", 1) for line in lines)
    async with httpx.AsyncClient() as http:
        reply = await http.post(
            f"{said['api_url']}/Auth/loginKey",
            json={"userName": said["username"], "apiKey": said["api_key"]},
        )
    assert reply.json()["success"] is True
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_a_bracket_shows_its_children_only_once_the_parent_filled(
    gateway: PracticeGateway, client: ProjectX
) -> None:
    last = gateway.exchange.book(mnq(gateway)).last
    placed = gateway.exchange.order_entry.place(
        101,
        mnq(gateway),
        Side.BUY,
        1,
        OrderType.LIMIT,
        limit_price=last - 1,
        stop_loss=Bracket(-20, OrderType.STOP),
        take_profit=Bracket(40, OrderType.LIMIT),
        now=now(),
    )
    body = {"accountId": 101}
    before = await client._make_request("POST", "/Order/searchOpen", data=body)
    assert isinstance(before, dict)
    assert [one["id"] for one in before["orders"]] == [placed]
    gateway.exchange.move_price(mnq(gateway), last - 2, now=now())
    after = await client._make_request("POST", "/Order/searchOpen", data=body)
    assert isinstance(after, dict)
    assert [(one["type"], one["side"]) for one in after["orders"]] == [(4, 1), (1, 1)]


async def test_a_token_that_was_revoked_or_ran_out_is_answered_401(
    gateway: PracticeGateway, client: ProjectX
) -> None:
    stale = client.session_token
    await gateway.revoke_tokens()
    headers = {"Authorization": f"Bearer {stale}"}
    async with httpx.AsyncClient() as http:
        reply = await http.post(
            f"{gateway.api_url}/Account/search", json={"onlyActiveAccounts": True}, headers=headers
        )
        hub = await http.post(f"{gateway.user_hub_url}/negotiate?access_token={stale}")
    assert (reply.status_code, hub.status_code) == (401, 401)
    later = now() + timedelta(hours=25)
    async with PracticeGateway(clock=lambda: later) as other:
        token = other.tokens.issue()
        assert other.tokens.is_valid(token)
        later += timedelta(hours=24)
        assert not other.tokens.is_valid(token)


async def test_the_rate_limit_answers_429_and_pings_are_free() -> None:
    async with PracticeGateway(rate_limit=3, bars_limit=1) as gateway, httpx.AsyncClient() as http:
        headers = {"Authorization": f"Bearer {gateway.tokens.issue()}"}

        async def ask(path: str, body: dict[str, Any]) -> int:
            reply = await http.post(f"{gateway.api_url}{path}", json=body, headers=headers)
            return reply.status_code

        assert [await ask("/Account/search", {}) for _ in range(4)] == [200, 200, 200, 429]
        bars = {"contractId": mnq(gateway), "unit": 2, "unitNumber": 1, "limit": 5}
        assert [await ask("/History/retrieveBars", bars) for _ in range(2)] == [200, 429]
        assert await ask("/Status/ping", {}) == 200


async def test_bars_end_at_todays_price_and_the_sdk_reads_them(
    gateway: PracticeGateway, client: ProjectX
) -> None:
    frame = await client.get_bars("MNQ", days=1, interval=15)
    assert len(frame) > 50
    assert frame["close"][-1] == float(gateway.exchange.book(mnq(gateway)).last)


async def test_a_body_without_an_account_is_a_400(client: ProjectX) -> None:
    with pytest.raises(ProjectXError):
        await client._make_request("POST", "/Position/searchOpen", data={})


@pytest.mark.parametrize(
    ("shape", "expected"), [("plain", dict), ("wrapped", dict), ("list", list)]
)
async def test_user_payloads_come_wrapped_plain_or_as_a_list(
    gateway: PracticeGateway,
    realtime: ProjectXRealtimeClient,
    shape: Any,
    expected: type,
) -> None:
    inbox = await subscribed(gateway, realtime)
    gateway.user_hub.frames.payload_shape = shape
    gateway.exchange.firm.set_can_trade(101, False, now=now())
    [data] = await inbox.until("account_update")
    assert isinstance(data, expected)
    inner: Any = data
    if shape == "list":
        inner = inner[0]
    if shape != "plain":
        inner = inner["data"]
    assert inner["canTrade"] is False


async def test_a_frame_can_be_sent_with_the_instant_it_left(
    gateway: PracticeGateway, realtime: ProjectXRealtimeClient
) -> None:
    inbox = await subscribed(gateway, realtime)
    sent_at = await gateway.injection.send_user("position", {"accountId": 101, "size": 7})
    [data] = await inbox.until("position_update")
    assert data["data"]["size"] == 7
    assert sent_at > 0
    assert gateway.exchange.positions(101) == []


async def test_the_gateway_frees_everything_when_it_closes() -> None:
    gateway = practice_gateway(trader_account=101)
    assert isinstance(gateway.market, Market)
    async with gateway:
        port = gateway.port
    await gateway.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("practice-")]
    async with PracticeGateway(port=port) as again:
        assert again.port == port


async def test_another_process_can_drive_it_through_the_control_endpoint(
    gateway: PracticeGateway,
) -> None:
    async with httpx.AsyncClient(base_url=gateway.base_url) as http:
        assert (await http.post("/practice/truth", json={})).status_code == 401
        http.headers["Authorization"] = "Bearer test-control"

        async def say(verb: str, **body: Any) -> Any:
            reply = await http.post(f"/practice/{verb}", json=body)
            assert reply.status_code == 200, reply.text
            return reply.json()

        placed = await say("place", accountId=101, root="MNQ", side=0, size=6, type=2)
        assert placed["success"] is True
        await say("price", root="MNQ", last=24700.0)
        await say("fault", path="/Order/place", refuse=[5, "outside trading hours"], times=1)
        await say("hub_fault", hub="user", duplicate=1)
        assert gateway.faults.user.duplicate == 1
        [account] = (await say("truth", accountId=101))["accounts"]
        assert (account["flat"], account["positions"][0]["size"]) == (False, 6)
        assert account["unrealised"] == pytest.approx((24700 - 24800.25) * 2 * 6)
        await say("close", accountId=101, root="MNQ")
        assert gateway.exchange.is_flat(101)
        await say("can_trade", accountId=101, canTrade=False)
        await say("clear_faults")
        assert gateway.faults.rest == []
        assert (await say("requests"))["requests"] == []
        assert (await http.post("/practice/nonsense", json={})).status_code == 404
        assert (await http.post("/practice/hub_fault", json={"hub": "x"})).status_code == 400


async def test_a_second_login_by_the_sdk_works_beside_the_first(
    gateway: PracticeGateway, client: ProjectX
) -> None:
    config = ProjectXConfig(api_url=gateway.api_url)
    async with ProjectX(
        gateway.username, gateway.api_key, config=config, account_name="PRACTICE-50K-2"
    ) as other:
        await other.authenticate()
        assert other.account_info is not None
        assert other.account_info.id == 102
        assert len(await client.list_accounts()) == 2
