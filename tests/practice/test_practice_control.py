"""The control endpoint, verb by verb, as a test in another process would use it."""

from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from risk_manager.practice.assembly import practice_gateway
from risk_manager.practice.control import VERBS
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.words import Habits

pytestmark = pytest.mark.wire


class Remote:
    """Says verbs to the control endpoint and remembers which."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.said: set[str] = set()
        self.dated = ""

    async def __call__(self, verb: str, **body: Any) -> Any:
        self.said.add(verb)
        reply = await self.http.post(f"/practice/{verb}", json=body)
        assert reply.status_code == 200, f"{verb}: {reply.text}"
        self.dated = reply.headers["Date"]
        return reply.json()


async def test_every_verb_does_what_its_name_says() -> None:
    gateway = practice_gateway(control_token="remote", seed=4)
    async with gateway, httpx.AsyncClient(base_url=gateway.base_url) as http:
        http.headers["Authorization"] = "Bearer remote"
        say = Remote(http)
        exchange, account = gateway.exchange, {"accountId": 101}
        assert gateway.market is not None

        await say("pause_market", paused=True)
        assert gateway.market.paused
        await say("price", root="MNQ", last=24800.0, bid=24800.0, ask=24800.5, volume=3)
        await say("push", root="MNQ", ticks=-40, over_seconds=5)
        assert len((await say("contracts"))["contracts"]) == 11

        await say("options", maxFill=2, lotsPerTouch=None, rateLimit=None, payloadShape="plain")
        await say("options", eventOrder=["position", "order", "trade", "account"])
        assert (await say("place", **account, root="MNQ", side=0, size=3, type=2))["success"]
        assert [one.size for one in exchange.trades(101)] == [2, 1]
        resting = {"side": 1, "size": 1, "type": 1, "limitPrice": 25000.0}
        order = (await say("place", **account, root="MNQ", **resting))["orderId"]
        await say("modify", **account, orderId=order, limitPrice=25001.0)
        await say("cancel", **account, orderId=order)
        other = (await say("place", **account, root="MNQ", **resting))["orderId"]
        await say("end_order", orderId=other, status=4)
        [shown] = (await say("truth", **account))["accounts"]
        assert (shown["positions"][0]["size"], shown["workingOrders"]) == (3, [])
        await say("partial_close", **account, root="MNQ", size=1)
        await say("market_open", open=False, root="MNQ")
        refusal = await say("close", **account, root="MNQ")
        assert (refusal["success"], refusal["errorCode"]) == (False, 5)
        await say("market_open", open=True)
        await say("close", **account, root="MNQ")
        assert exchange.is_flat(101)
        assert await say("flood", **account, root="MES", count=7) == {"placed": 7}
        assert len(exchange.working_orders(101)) == 7
        before = exchange.fees(101)
        await say("void", tradeId=exchange.trades(101)[0].id)
        assert exchange.fees(101) < before
        await say("can_trade", **account, canTrade=False)
        assert not exchange.accounts()[0].can_trade

        await say("fault", path="/Order/place", status=429, retry_after=1, times=2)
        await say("hub_fault", hub="market", mute=True, delay=0.5)
        assert gateway.faults.market.mute
        await say("habits", late_fees=0.5)
        assert gateway.words.habits.late_fees == 0.5
        before_date = gateway.now() + timedelta(minutes=59)
        await say("date_fault", aheadSeconds=3600)
        assert parsedate_to_datetime(say.dated) > before_date
        await say("release")
        await say("clear_faults")
        assert (gateway.faults.rest, gateway.faults.market.mute) == ([], False)
        assert gateway.words.habits == Habits()
        assert gateway.faults.date_ahead == timedelta(0)
        for verb, extra in (
            ("garble", {"hub": "user"}),
            ("odd", {"hub": "market", "shape": "null"}),
            ("logout", {}),
            ("send_user", {"kind": "position", "data": {"accountId": 101, "size": 1}}),
        ):
            assert (await say(verb, **extra))["at"] > 0
        assert (await say("drop", hub="user", clean=True)) == {"dropped": 0}
        token = gateway.tokens.issue()
        await say("revoke_tokens", closeHubs=True)
        assert not gateway.tokens.is_valid(token)
        assert (await say("requests", path="/Order/place")) == {"requests": []}
        assert (await say("connections")) == {"connections": []}
        assert say.said == set(VERBS)


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("push", {"root": "MNQ", "ticks": 1, "over_seconds": 1}),  # this gateway has no market
        ("price", {"root": "XX", "last": 1}),
        ("price", {"root": "MNQ"}),
        ("place", {"accountId": "x"}),
        ("odd", {"hub": "user", "shape": "square"}),
        ("hub_fault", {"hub": "user", "colour": "red"}),
        ("fault", {"nonsense": 1}),
        ("end_order", {"orderId": 1, "status": 2}),
        ("options", {"payloadShape": "round"}),
        ("void", {"tradeId": 1}),
    ],
)
async def test_a_verb_that_cannot_be_done_is_a_400_that_says_why(
    gateway: PracticeGateway, verb: str, body: dict[str, Any]
) -> None:
    async with httpx.AsyncClient(base_url=gateway.base_url) as http:
        http.headers["Authorization"] = "Bearer test-control"
        reply = await http.post(f"/practice/{verb}", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]


async def test_without_a_control_token_there_is_no_control_endpoint() -> None:
    async with PracticeGateway() as gateway, httpx.AsyncClient() as http:
        reply = await http.post(f"{gateway.base_url}/practice/truth", json={})
    assert reply.status_code == 404
