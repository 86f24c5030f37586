"""A broker on paper: REST without a wire, whose answers can be delayed, lost, refused or broken."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp

from risk_manager.broker.replies import StatusError
from risk_manager.broker.single_requests import Lane
from risk_manager.broker.warm_connections import UnreadableAnswer

type Effect = Callable[[], dict[str, Any]]
type Fault = Callable[[Effect], Awaitable[object]]

CLOSE = "/Position/closeContract"
PARTIAL_CLOSE = "/Position/partialCloseContract"
POSITIONS = "/Position/searchOpen"
ORDERS = "/Order/searchOpen"
TRADES = "/Trade/search"
ACCOUNTS = "/Account/search"
CANCEL = "/Order/cancel"
PLACE = "/Order/place"
MODIFY = "/Order/modify"
CONTRACT = "/Contract/searchById"

MNQ = "CON.F.US.MNQ.Z26"
ES = "CON.F.US.EP.Z26"


# --- how an answer can go wrong ------------------------------------------------------------------


def status(code: int, retry_after: str | None = None) -> Fault:
    async def fault(effect: Effect) -> object:
        raise StatusError(code, retry_after=retry_after)

    return fault


def refuse(code: int, message: str | None = None) -> Fault:
    async def fault(effect: Effect) -> object:
        return {"success": False, "errorCode": code, "errorMessage": message}

    return fault


def answer(body: object) -> Fault:
    async def fault(effect: Effect) -> object:
        return body

    return fault


async def lost_reply(effect: Effect) -> object:
    """It happens, and nobody hears of it."""
    effect()
    raise aiohttp.ServerDisconnectedError


async def fails_after_effect(effect: Effect) -> object:
    effect()
    raise StatusError(500, "oops")


async def garbled(effect: Effect) -> object:
    effect()
    raise UnreadableAnswer("unexpected end of data")


async def no_line(effect: Effect) -> object:
    raise aiohttp.ClientOSError("connection reset")


async def never_left(effect: Effect) -> object:
    raise aiohttp.ConnectionTimeoutError("Connection timeout")


def hang(gate: asyncio.Event) -> Fault:
    """Waits until the gate opens, then does what was asked."""

    async def fault(effect: Effect) -> object:
        await gate.wait()
        return effect()

    return fault


def slow(seconds: float) -> Fault:
    async def fault(effect: Effect) -> object:
        await asyncio.sleep(seconds)
        return effect()

    return fault


# --- the broker ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived; `at` in seconds of the loop."""

    at: float
    lane: Lane
    path: str
    body: Mapping[str, Any]


@dataclass
class PaperBroker:
    """Positions (signed) and orders per account. `fill_seconds` is how long a close takes to fill.

    `faults[path]` are used up one a request; `always[path]` hits every one.
    """

    latency: float = 0.01
    fill_seconds: float = 0.0
    token: str = "token-1"
    held: dict[tuple[int, str], int] = field(default_factory=dict)
    identities: dict[tuple[int, str], tuple[int, datetime]] = field(default_factory=dict)
    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    trades: list[dict[str, Any]] = field(default_factory=list)
    accounts: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"id": 101, "name": "A", "balance": 50_000.0, "canTrade": True},
            {"id": 102, "name": "B", "balance": 50_000.0, "canTrade": True},
        ]
    )
    inactive: set[int] = field(default_factory=set)
    contracts: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    always: dict[str, Fault] = field(default_factory=dict)
    renewals: int = 0
    login: Callable[[], Awaitable[object]] | None = None
    executed: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    next_id: int = 1000
    reversals: int = 0
    on_fill: Callable[[int, str, int], None] = lambda account_id, contract_id, net: None

    async def renew(self, stale_token: str) -> object:
        if self.login is not None:
            return await self.login()
        await asyncio.sleep(self.latency)
        self.renewals += 1
        self.token = f"token-{self.renewals + 1}"
        return self.token

    async def request(self, lane: Lane, path: str, body: Mapping[str, Any]) -> object:
        loop = asyncio.get_running_loop()
        self.asked.append(Asked(loop.time(), lane, path, dict(body)))
        if self.latency:
            await asyncio.sleep(self.latency)

        def effect() -> dict[str, Any]:
            return self._answer(path, body)

        waiting = self.faults[path]
        fault = waiting.popleft() if waiting else self.always.get(path, self.always.get("*"))
        return effect() if fault is None else await fault(effect)

    def calls(self, *paths: str) -> list[Asked]:
        return [a for a in self.asked if a.path in paths]

    def hold(
        self,
        account_id: int,
        contract_id: str,
        net: int,
        identity: tuple[int, datetime] | None = None,
    ) -> None:
        """The account holds this. `identity`: the position's id and its time of creation."""
        if identity is not None:
            self.identities[account_id, contract_id] = identity
        if net:
            self.held[account_id, contract_id] = net
        else:
            self.held.pop((account_id, contract_id), None)

    def add_order(self, account_id: int, contract_id: str, **fields: Any) -> int:
        self.next_id += 1
        self.orders[self.next_id] = {
            "id": self.next_id,
            "accountId": account_id,
            "contractId": contract_id,
            "status": 1,
            "type": 1,
            "side": 0,
            "size": 1,
            **fields,
        }
        return self.next_id

    # --- what it does ---

    def _answer(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        account_id = body.get("accountId", 0)
        match path:
            case "/Account/search":
                hidden = self.inactive if body["onlyActiveAccounts"] else set()
                return _ok(accounts=[a for a in self.accounts if a["id"] not in hidden])
            case "/Position/searchOpen":
                return _ok(positions=self._positions(account_id))
            case "/Order/searchOpen":
                return _ok(orders=[o for o in self.orders.values() if o["accountId"] == account_id])
            case "/Trade/search":
                return _ok(trades=self._trades_since(account_id, body["startTimestamp"]))
            case "/Contract/searchById":
                record = self.contracts.get(body["contractId"])
                return _ok(contract=record) if record else _no(1)
            case "/Position/closeContract":
                return self._close(path, body, None)
            case "/Position/partialCloseContract":
                return self._close(path, body, body["size"])
            case "/Order/cancel":
                if self.orders.pop(body["orderId"], None) is None:
                    return _no(2)
                self.executed.append((path, body))
                return _ok()
            case "/Order/place":
                keys = ("type", "side", "size", "stopPrice", "limitPrice", "customTag")
                fields = {k: body[k] for k in keys if k in body}
                self.executed.append((path, body))
                return _ok(orderId=self.add_order(account_id, body["contractId"], **fields))
            case "/Order/modify":
                order = self.orders.get(body["orderId"])
                if order is None:
                    return _no(2)
                order |= {k: body[k] for k in ("size", "stopPrice", "limitPrice") if k in body}
                self.executed.append((path, body))
                return _ok()
        raise StatusError(404)

    def _trades_since(self, account_id: int, start: str) -> list[dict[str, Any]]:
        began = datetime.fromisoformat(start)
        return [
            t
            for t in self.trades
            if t["accountId"] == account_id
            and datetime.fromisoformat(t["creationTimestamp"]) >= began
        ]

    def _positions(self, account_id: int) -> list[dict[str, Any]]:
        return [
            {
                **self._identity(holder, contract_id),
                "accountId": account_id,
                "contractId": contract_id,
                "type": 1 if net > 0 else 2,
                "size": abs(net),
                "averagePrice": 6000.25,
            }
            for (holder, contract_id), net in self.held.items()
            if holder == account_id
        ]

    def _identity(self, account_id: int, contract_id: str) -> dict[str, Any]:
        known = self.identities.get((account_id, contract_id))
        if known is None:
            return {"id": 5000}
        return {"id": known[0], "creationTimestamp": known[1].isoformat()}

    def _close(self, path: str, body: Mapping[str, Any], size: int | None) -> dict[str, Any]:
        key = (body["accountId"], body["contractId"])
        net = self.held.get(key, 0)
        if not net:
            return _no(2)
        if size is not None and not 0 < size <= abs(net):
            return _no(5)
        lots = abs(net) if size is None else size
        self.executed.append((path, body))
        loop = asyncio.get_running_loop()

        # As careless as a market order: a second one meanwhile would go through flat.
        def fill() -> None:
            left = self.held.get(key, 0) - (lots if net > 0 else -lots)
            self.reversals += left * net < 0
            self.hold(*key, left)
            self.on_fill(*key, left)

        if self.fill_seconds:
            loop.call_later(self.fill_seconds, fill)
        else:
            fill()
        return _ok()


def _ok(**fields: Any) -> dict[str, Any]:
    return {**fields, "success": True, "errorCode": 0, "errorMessage": None}


def _no(code: int) -> dict[str, Any]:
    return {"success": False, "errorCode": code, "errorMessage": None}
