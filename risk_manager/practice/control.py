"""The control endpoint, by which a test in another process acts as trader, market and outage.

POST /practice/<verb> with a JSON object; loopback only, `Authorization: Bearer <control token>`.
Served only by a gateway that was given their routes. Verbs skip REST faults, tokens and limits.
"""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, cast

import orjson
from aiohttp import web

from risk_manager.practice import rest
from risk_manager.practice.exchange import ALL_CONTRACTS
from risk_manager.practice.faults import HubFaults, HubName
from risk_manager.practice.frames import ODD_FRAMES, OddFrame, PayloadShape
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.records import OrderStatus, OrderType, Side
from risk_manager.practice.words import Habits

MAX_DEPTH_TICKS = 200

type Body = Mapping[str, Any]
type Verb = Callable[[PracticeGateway, Body], Awaitable[Any]]


class UnknownError(Exception):
    """A verb was given an argument it does not know."""


def control_routes(token: str) -> Callable[[web.Application, PracticeGateway], None]:
    """The routes of the verbs, for who gives this token."""
    return partial(_add_routes, token)


def _add_routes(token: str, app: web.Application, gateway: PracticeGateway) -> None:

    async def control(request: web.Request) -> web.Response:
        remote = request.remote
        if remote is None or not ipaddress.ip_address(remote).is_loopback:
            return web.Response(status=403)
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            return web.Response(status=401)
        verb = VERBS.get(request.match_info["verb"])
        if verb is None:
            return _answer({"error": "unknown verb", "verbs": sorted(VERBS)}, 404)
        try:
            raw = await request.read()
            body = orjson.loads(raw) if raw else {}
            return _answer(await verb(gateway, body))
        except (rest.BadRequestError, UnknownError, KeyError, ValueError, TypeError) as error:
            return _answer({"error": f"{type(error).__name__}: {error}"}, 400)

    app.router.add_post("/practice/{verb}", control)


def _answer(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")


# ---- the trader ---------------------------------------------------------------------


def _through(path: str) -> Verb:
    """The REST endpoint's own body and reply; `root` may stand for `contractId`."""

    async def verb(gateway: PracticeGateway, body: Body) -> Any:
        full = dict(body)
        if "root" in full:
            full["contractId"] = gateway.exchange.contract_of(full.pop("root")).id
        return rest.ENDPOINTS[path](gateway.exchange, full, gateway.now())

    return verb


# ---- the market and the platform -----------------------------------------------------------


async def price(gateway: PracticeGateway, body: Body) -> Any:
    """{root|contractId, last, bid?, ask?, volume?}: one quote."""
    gateway.exchange.move_price(
        _contract_id(gateway, body),
        Decimal(str(body["last"])),
        bid=_decimal(body, "bid"),
        ask=_decimal(body, "ask"),
        volume=int(body.get("volume", 0)),
        now=gateway.now(),
    )
    return {}


async def flood(gateway: PracticeGateway, body: Body) -> Any:
    """{accountId, root|contractId, count}: places that many limit orders far below the market."""
    contract_id = _contract_id(gateway, body)
    exchange = gateway.exchange
    contract, book = exchange.contracts[contract_id], exchange.book(contract_id)
    deep = book.bid - contract.tick_size * MAX_DEPTH_TICKS
    exchange.notify, notify = None, exchange.notify
    try:
        placed = [
            exchange.order_entry.place(
                int(body["accountId"]),
                contract_id,
                Side.BUY,
                1,
                OrderType.LIMIT,
                limit_price=deep,
                now=gateway.now(),
            )
            for _ in range(int(body["count"]))
        ]
    finally:
        exchange.notify = notify
    gateway.delivery.pump()
    return {"placed": sum(isinstance(one, int) for one in placed)}


async def push(gateway: PracticeGateway, body: Body) -> Any:
    """{root, ticks, over_seconds}: moves the price of the seeded market."""
    if gateway.market is None:
        raise UnknownError("this gateway has no market")
    gateway.market.push(body["root"], float(body["ticks"]), float(body["over_seconds"]))
    return {}


async def pause_market(gateway: PracticeGateway, body: Body) -> Any:
    """{paused}: no more quotes from the seeded market."""
    if gateway.market is None:
        raise UnknownError("this gateway has no market")
    gateway.market.paused = bool(body["paused"])
    return {}


async def market_open(gateway: PracticeGateway, body: Body) -> Any:
    """{open, root?|contractId?}: trading hours."""
    where = ALL_CONTRACTS
    if "root" in body or "contractId" in body:
        where = _contract_id(gateway, body)
    gateway.exchange.set_market_open(bool(body["open"]), now=gateway.now(), contract_id=where)
    return {}


async def can_trade(gateway: PracticeGateway, body: Body) -> Any:
    """{accountId, canTrade}."""
    gateway.exchange.firm.set_can_trade(
        int(body["accountId"]), bool(body["canTrade"]), now=gateway.now()
    )
    return {}


async def void(gateway: PracticeGateway, body: Body) -> Any:
    """{tradeId}: bust a trade."""
    gateway.exchange.firm.void_trade(int(body["tradeId"]), now=gateway.now())
    return {}


async def end_order(gateway: PracticeGateway, body: Body) -> Any:
    """{orderId, status: 4 expired | 5 rejected}."""
    status = OrderStatus(int(body["status"]))
    if status not in (OrderStatus.EXPIRED, OrderStatus.REJECTED):
        raise UnknownError("status must be 4 or 5")
    gateway.exchange.end_order(
        int(body["orderId"]),
        status,
        now=gateway.now(),
    )
    return {}


# ---- faults ---------------------------------------------------------------------


async def fault(gateway: PracticeGateway, body: Body) -> Any:
    """The arguments of `Faults.add`; `refuse` as [code, message]."""
    given = dict(body)
    if given.get("refuse") is not None:
        code, message = given["refuse"]
        given["refuse"] = (int(code), str(message))
    gateway.faults.add(**given)
    return {}


async def hub_fault(gateway: PracticeGateway, body: Body) -> Any:
    """{hub, ...attributes of HubFaults}."""
    hub = gateway.faults.hub(_hub(body))
    known = {one.name for one in fields(HubFaults)}
    for key, value in body.items():
        if key == "hub":
            continue
        if key not in known:
            raise UnknownError(f"no such hub fault: {key}")
        setattr(hub, key, value)
    return {}


async def date_fault(gateway: PracticeGateway, body: Body) -> Any:
    """{aheadSeconds}: the Date header of each answer is so much later; negative: earlier."""
    gateway.faults.date_ahead = timedelta(seconds=float(body["aheadSeconds"]))
    return {}


async def habits(gateway: PracticeGateway, body: Body) -> Any:
    """{...attributes of Habits, hidden?: [account ids]}: the rest is kind."""
    given = dict(body)
    hidden = given.pop("hidden", ())
    ranges = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    gateway.words.habits = Habits(**{**given, **ranges})
    gateway.words.hidden_accounts = set(hidden)
    return {}


async def clear_faults(gateway: PracticeGateway, body: Body) -> Any:
    """Removes all faults and habits: everything is reported at once and correctly."""
    gateway.faults.clear()
    gateway.words.clear()
    return {}


async def release(gateway: PracticeGateway, body: Body) -> Any:
    """Let hanging requests go on."""
    gateway.faults.release()
    return {}


async def drop(gateway: PracticeGateway, body: Body) -> Any:
    """{hub?, clean?}: cut connections."""
    hub = _hub(body) if "hub" in body else None
    return {"dropped": await gateway.drop(hub, clean=bool(body.get("clean", False)))}


async def garble(gateway: PracticeGateway, body: Body) -> Any:
    """{hub}: an undecodable frame."""
    return {"at": await gateway.injection.garble(_hub(body))}


async def odd(gateway: PracticeGateway, body: Body) -> Any:
    """{hub, shape}: a decodable frame that a client may not expect."""
    shape = body["shape"]
    if shape not in ODD_FRAMES:
        raise UnknownError(f"shape must be one of {', '.join(ODD_FRAMES)}")
    return {"at": await gateway.injection.send_odd(_hub(body), cast(OddFrame, shape))}


async def logout(gateway: PracticeGateway, body: Body) -> Any:
    """{hub?}: GatewayLogout."""
    return {"at": await gateway.injection.logout(_hub(body) if "hub" in body else "user")}


async def revoke_tokens(gateway: PracticeGateway, body: Body) -> Any:
    """{closeHubs?}."""
    await gateway.revoke_tokens(close_hubs=bool(body.get("closeHubs", False)))
    return {}


async def options(gateway: PracticeGateway, body: Body) -> Any:
    """{payloadShape?, eventOrder?, rateLimit?, maxFill?, lotsPerTouch?}; null lifts a limit."""
    if "payloadShape" in body:
        if body["payloadShape"] not in ("wrapped", "plain", "list"):
            raise UnknownError("payloadShape must be wrapped, plain or list")
        gateway.user_hub.frames.payload_shape = cast(PayloadShape, body["payloadShape"])
    if "eventOrder" in body:
        gateway.exchange.matching.event_order = tuple(body["eventOrder"])
    if "rateLimit" in body:
        gateway.rate_limit.limit = body["rateLimit"]
    if "maxFill" in body:
        gateway.exchange.matching.max_fill = body["maxFill"]
    if "lotsPerTouch" in body:
        gateway.exchange.matching.lots_per_touch = body["lotsPerTouch"]
    return {}


async def send_user(gateway: PracticeGateway, body: Body) -> Any:
    """{kind, data, action?}: a made-up user event; answers {at} in monotonic ns."""
    at = await gateway.injection.send_user(
        body["kind"], body["data"], action=int(body.get("action", 1))
    )
    return {"at": at}


# ---- the truth ---------------------------------------------------------------------


async def truth(gateway: PracticeGateway, body: Body) -> Any:
    """{accountId?, since?}: the true state, directly from the exchange."""
    exchange = gateway.exchange
    wanted = body.get("accountId")
    since = datetime.fromisoformat(body["since"]) if "since" in body else None
    return {
        "now": gateway.now().isoformat(),
        "accounts": [
            {
                **account.payload(),
                "flat": exchange.is_flat(account.id),
                "realised": float(account.realised),
                "unrealised": float(exchange.unrealised(account.id)),
                "fees": float(account.fees),
                "positions": [held.payload() for held in exchange.positions(account.id)],
                "workingOrders": [one.payload() for one in exchange.working_orders(account.id)],
                "suspendedOrders": [
                    one.payload()
                    for one in exchange.working_orders(account.id, suspended=True)
                    if one.status is OrderStatus.SUSPENDED
                ],
                "trades": [one.payload() for one in exchange.trades(account.id, since)],
            }
            for account in exchange.accounts()
            if wanted in (None, account.id)
        ],
    }


async def requests(gateway: PracticeGateway, body: Body) -> Any:
    """{path?, after?}: the REST requests seen, `at` in monotonic ns."""
    after, path = int(body.get("after", 0)), body.get("path")
    return {
        "requests": [
            {"at": one.at, "path": one.path, "body": one.body, "account": one.account}
            for one in gateway.requests
            if one.at >= after and path in (None, one.path)
        ]
    }


async def connections(gateway: PracticeGateway, body: Body) -> Any:
    """Open hub connections and what each subscribed to."""
    return {
        "connections": [
            {
                "id": one.id,
                "hub": one.hub,
                "framesSent": one.frames_sent,
                "subscriptions": sorted([list(key) for key in one.subscriptions], key=str),
            }
            for one in gateway.connections
        ]
    }


VERBS: dict[str, Verb] = {
    "place": _through("/Order/place"),
    "modify": _through("/Order/modify"),
    "cancel": _through("/Order/cancel"),
    "close": _through("/Position/closeContract"),
    "partial_close": _through("/Position/partialCloseContract"),
    "contracts": _through("/Contract/available"),
    "flood": flood,
    "price": price,
    "push": push,
    "pause_market": pause_market,
    "market_open": market_open,
    "can_trade": can_trade,
    "void": void,
    "end_order": end_order,
    "fault": fault,
    "date_fault": date_fault,
    "hub_fault": hub_fault,
    "habits": habits,
    "clear_faults": clear_faults,
    "release": release,
    "drop": drop,
    "garble": garble,
    "odd": odd,
    "logout": logout,
    "revoke_tokens": revoke_tokens,
    "options": options,
    "send_user": send_user,
    "truth": truth,
    "requests": requests,
    "connections": connections,
}


def _hub(body: Body) -> HubName:
    name = body.get("hub")
    if name not in ("user", "market"):
        raise UnknownError("hub must be user or market")
    return cast(HubName, name)


def _contract_id(gateway: PracticeGateway, body: Body) -> str:
    if "root" in body:
        return gateway.exchange.contract_of(body["root"]).id
    return str(body["contractId"])


def _decimal(body: Body, key: str) -> Decimal | None:
    return None if body.get(key) is None else Decimal(str(body[key]))
