"""The gateway of the bench: a broker that fills, tells it as a real one does, and notes each close.

A fill is five frames that arrive together: the order working, the order filled, the execution, the
position and the account. A close that was asked for is answered at once and told the same way a
moment later. It has no market, no limits and no faults but slow or refused reads.
"""

import asyncio
import base64
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from time import monotonic_ns
from types import TracebackType
from typing import Any, Literal, Self

import orjson
from bench.server import PING, SEPARATOR, Wire, frame, invocation

from risk_manager.practice.products import contracts_on

ACCOUNTS = tuple(range(101, 111))
ROOTS = ("MNQ", "MES", "M2K", "MCL", "MGC")
BREACHED, BLOCKED = "MNQ", "RTY"
CLOSE_PATH = "/Position/closeContract"
READ_PATHS = frozenset(
    {"/Account/search", "/Position/searchOpen", "/Order/searchOpen", "/Trade/search"}
)
FILLED_AFTER_S = 0.002
"""From a close request to the frames of its fill."""
SLOW_READ_S = 2.0
BUY, SELL = 0, 1
WORKING, FILLED, CANCELLED = 1, 2, 3
MARKET, STOP = 2, 4
FEE = 0.37

type Reads = Literal["well", "slow", "refused"]

LISTED = {c.root: c for c in contracts_on(datetime.now(UTC).date())}
CONTRACT_IDS = {root: contract.id for root, contract in LISTED.items()}
PRICES = {root: float(c.product.start_price) for root, c in LISTED.items()}


def now() -> str:
    return datetime.now(UTC).isoformat()


def succeeded(**fields: object) -> dict[str, object]:
    return {**fields, "success": True, "errorCode": 0, "errorMessage": None}


@dataclass(frozen=True, slots=True)
class CloseRequest:
    at_ns: int
    account_id: int
    contract_id: str
    was_needed: bool
    """Whether anything was held, and no close of it was under way already."""


@dataclass(slots=True)
class _Book:
    """What one account holds, has working and has traded."""

    positions: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    trades: list[tuple[str, bytes]] = field(default_factory=list)
    closing: set[str] = field(default_factory=set)


class Broker:
    """A gateway on a port of its own, for one client. An async context manager.

    Every account starts with one lot of each product but the first, each with a stop.
    """

    def __init__(self) -> None:
        self.books = {account_id: _Book() for account_id in ACCOUNTS}
        self.reads: Reads = "well"
        self.closes: list[CloseRequest] = []
        self.quoted: set[str] = set()
        self._numbers = count(1_000_000)
        self._hubs: list[Wire] = []
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._server: asyncio.Server | None = None
        self._pinging: asyncio.Task[None] | None = None
        for account_id in ACCOUNTS:
            self._hold_the_usual(account_id)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Wire(self), "127.0.0.1", 0)
        self._pinging = asyncio.create_task(self._ping(), name="broker pings")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        assert self._pinging is not None
        self._pinging.cancel()
        self._server.close()
        for wire in list(self._hubs):
            wire.transport.abort()

    @property
    def base_url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(5.0)
            for wire in self._hubs:
                wire.transport.write(frame(b'{"type":6}' + SEPARATOR))

    # ---- trading ------------------------------------------------------------------------------

    def fill(self, account_id: int, root: str, signed_lots: int) -> int:
        """The trader's market order is filled; `time.monotonic_ns()` before the frames left."""
        frames = self._filled(account_id, CONTRACT_IDS[root], signed_lots)
        return self._tell(frames)

    def working_order(self, account_id: int, root: str) -> int:
        """An order of the trader's is working: one frame. Returns its number."""
        order = self._order(account_id, CONTRACT_IDS[root], BUY, 1, 1, WORKING)
        order |= {"limitPrice": PRICES[root] / 2}
        self.books[account_id].orders[order["id"]] = order
        self._tell([_user("Order", order)])
        return int(order["id"])

    def cancelled_order(self, account_id: int, order_id: int) -> None:
        """It is cancelled by the trader: one frame."""
        order = self.books[account_id].orders.pop(order_id)
        self._tell([_user("Order", {**order, "status": CANCELLED, "updateTimestamp": now()})])

    def make_usual(self, account_id: int) -> None:
        """Hold again what is held at the start, told as fills and stops, if it is no longer."""
        book = self.books[account_id]
        for root in ROOTS[1:]:
            contract_id = CONTRACT_IDS[root]
            if contract_id not in book.positions:
                self.fill(account_id, root, 1)
                if not any(o["contractId"] == contract_id for o in book.orders.values()):
                    self._tell([_user("Order", self._put_stop(account_id, root))])

    def _hold_the_usual(self, account_id: int) -> None:
        for root in ROOTS[1:]:
            self._position(account_id, CONTRACT_IDS[root], 1)
            self._put_stop(account_id, root)

    def _put_stop(self, account_id: int, root: str) -> dict[str, Any]:
        price = PRICES[root] - 100 * float(LISTED[root].tick_size)
        order = self._order(account_id, CONTRACT_IDS[root], SELL, 1, STOP, WORKING)
        order |= {"stopPrice": round(price, 6)}
        self.books[account_id].orders[order["id"]] = order
        return order

    def _position(self, account_id: int, contract_id: str, lots: int) -> dict[str, Any]:
        positions = self.books[account_id].positions
        held = positions.get(contract_id)
        if held is None:
            held = {
                "id": next(self._numbers),
                "accountId": account_id,
                "contractId": contract_id,
                "creationTimestamp": now(),
                "type": 1,
                "size": 0,
                "averagePrice": PRICES[_root(contract_id)],
            }
        held = {**held, "size": held["size"] + lots}
        if held["size"]:
            positions[contract_id] = held
        else:
            positions.pop(contract_id, None)
        return held

    def _order(
        self, account_id: int, contract_id: str, side: int, size: int, kind: int, status: int
    ) -> dict[str, Any]:
        at = now()
        return {
            "id": next(self._numbers),
            "accountId": account_id,
            "contractId": contract_id,
            "symbolId": LISTED[_root(contract_id)].product.symbol_id,
            "creationTimestamp": at,
            "updateTimestamp": at,
            "status": status,
            "type": kind,
            "side": side,
            "size": size,
            "limitPrice": None,
            "stopPrice": None,
            "fillVolume": 0,
            "filledPrice": None,
            "customTag": None,
        }

    def _filled(self, account_id: int, contract_id: str, signed_lots: int) -> list[bytes]:
        """The five frames of one fill. What is sold was held, at a small profit after fees."""
        lots = abs(signed_lots)
        side = BUY if signed_lots > 0 else SELL
        price = PRICES[_root(contract_id)]
        working = self._order(account_id, contract_id, side, lots, MARKET, WORKING)
        done = {**working, "status": FILLED, "fillVolume": lots, "filledPrice": price}
        fees = round(FEE * lots, 2)
        trade = {
            "id": next(self._numbers),
            "accountId": account_id,
            "contractId": contract_id,
            "creationTimestamp": now(),
            "price": price,
            "profitAndLoss": None if side == BUY else round(2 * fees + 1, 2),
            "fees": fees,
            "side": side,
            "size": lots,
            "voided": False,
            "orderId": working["id"],
        }
        self.books[account_id].trades.append((trade["creationTimestamp"], orjson.dumps(trade)))
        return [
            _user("Order", working),
            _user("Order", done),
            _user("Trade", trade),
            _user("Position", self._position(account_id, contract_id, signed_lots)),
            _user("Account", _account(account_id)),
        ]

    def _tell(self, frames: Sequence[bytes]) -> int:
        """Frames that belong together, in one write."""
        together = b"".join(frames)
        wires = [wire for wire in self._hubs if wire.hub.endswith("user")]
        at_ns = monotonic_ns()
        for wire in wires:
            wire.transport.write(together)
        return at_ns

    # ---- prices -------------------------------------------------------------------------------

    def tell_quotes(self, frames: bytes) -> None:
        for wire in self._hubs:
            if wire.hub.endswith("market"):
                wire.transport.write(frames)

    async def quotes_are_read(self) -> None:
        """Wait until the client has read every quote sent so far: it answers a ping behind them."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()

        def ponged() -> None:
            if not answered.done():
                answered.set_result(None)

        (wire,) = (wire for wire in self._hubs if wire.hub.endswith("market"))
        wire.ponged = ponged
        wire.transport.write(frame(b"read", PING))
        await answered

    # ---- what is asked of it ------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until a close request makes this true; whether it became so in time."""
        if condition():
            return True
        seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((condition, seen))
        try:
            async with asyncio.timeout(seconds):
                await seen
        except TimeoutError:
            return False
        finally:
            self._waiting = [one for one in self._waiting if one[1] is not seen]
        return True

    def requested(self, wire: Wire, path: str, body: bytes, at_ns: int) -> None:
        path = path.removeprefix("/api")
        if path == CLOSE_PATH:
            self._asked_to_close(wire, orjson.loads(body), at_ns)
            return
        if path in READ_PATHS and self.reads != "well":
            if self.reads == "refused":
                wire.answer_raw(b"", 429)
                return
            asyncio.get_running_loop().call_later(SLOW_READ_S, self._answer, wire, path, body)
            return
        self._answer(wire, path, body)

    def _asked_to_close(self, wire: Wire, body: dict[str, Any], at_ns: int) -> None:
        account_id, contract_id = body["accountId"], body["contractId"]
        book = self.books[account_id]
        was_needed = contract_id in book.positions and contract_id not in book.closing
        self.closes.append(CloseRequest(at_ns, account_id, contract_id, was_needed))
        if was_needed:
            book.closing.add(contract_id)
            wire.answer(succeeded())
            asyncio.get_running_loop().call_later(
                FILLED_AFTER_S, self._close_filled, account_id, contract_id
            )
        else:
            refused = {"success": False, "errorCode": 2, "errorMessage": "position not found"}
            wire.answer(refused)
        self._look_round()

    def _close_filled(self, account_id: int, contract_id: str) -> None:
        book = self.books[account_id]
        book.closing.discard(contract_id)
        self._tell(self._filled(account_id, contract_id, -book.positions[contract_id]["size"]))
        self._look_round()

    def _look_round(self) -> None:
        for condition, seen in list(self._waiting):
            if not seen.done() and condition():
                seen.set_result(None)

    def _answer(self, wire: Wire, path: str, body: bytes) -> None:
        asked = orjson.loads(body) if body and body != b"null" else {}
        match path:
            case "/hubs/user/negotiate" | "/hubs/market/negotiate":
                wire.answer(_negotiated())
            case _ if path.startswith("/hubs/"):
                wire.answer(_negotiated())
            case "/Auth/loginKey":
                wire.answer(succeeded(token=_token()))
            case "/Auth/validate":
                wire.answer(succeeded(newToken=_token()))
            case "/Account/search":
                wire.answer(succeeded(accounts=[_account(a) for a in ACCOUNTS]))
            case "/Position/searchOpen":
                held = self.books[asked["accountId"]].positions
                wire.answer(succeeded(positions=list(held.values())))
            case "/Order/searchOpen":
                working = self.books[asked["accountId"]].orders
                wire.answer(succeeded(orders=list(working.values())))
            case "/Trade/search":
                self._answer_trades(wire, asked)
            case "/Contract/searchById":
                contract = LISTED[_root(asked["contractId"])]
                wire.answer(succeeded(contract=contract.record()))
            case "/Order/cancel":
                wire.answer(succeeded())
                with contextlib.suppress(KeyError):
                    self.cancelled_order(asked["accountId"], asked["orderId"])
            case "/Status/ping":
                wire.answer("pong")
            case _:
                wire.answer_raw(b"", 404)

    def _answer_trades(self, wire: Wire, asked: dict[str, Any]) -> None:
        since, trades = asked["startTimestamp"], self.books[asked["accountId"]].trades
        first = len(trades)
        while first and trades[first - 1][0] >= since:
            first -= 1
        listed = b",".join(raw for _, raw in trades[first:])
        wire.answer_raw(
            b'{"trades":[' + listed + b'],"success":true,"errorCode":0,"errorMessage":null}'
        )

    # ---- hubs ---------------------------------------------------------------------------------

    def connected(self, wire: Wire) -> None:
        self._hubs.append(wire)

    def disconnected(self, wire: Wire) -> None:
        if wire in self._hubs:
            self._hubs.remove(wire)

    def invoked(self, wire: Wire, target: str, arguments: list[object]) -> None:
        if target == "SubscribeContractQuotes":
            self.quoted.add(str(arguments[0]))


def quote(root: str, number: int) -> bytes:
    """The quote of that number of a product: it moves by a tick or two, and ends where it began."""
    contract = LISTED[root]
    price = PRICES[root] + number % 3 * float(contract.tick_size)
    return invocation(
        "GatewayQuote",
        contract.id,
        {
            "symbol": contract.product.symbol_id,
            "lastPrice": round(price, 6),
            "bestBid": round(price, 6),
            "bestAsk": round(price + float(contract.tick_size), 6),
            "volume": 1000 + number,
            "timestamp": now(),
        },
    )


def _user(kind: str, data: dict[str, Any]) -> bytes:
    return invocation(f"GatewayUser{kind}", {"action": 1, "data": data})


def _account(account_id: int) -> dict[str, Any]:
    return {
        "id": account_id,
        "name": f"BENCH-{account_id}",
        "balance": 50000.0,
        "canTrade": True,
        "isVisible": True,
        "simulated": True,
    }


def _negotiated() -> dict[str, Any]:
    id_ = base64.urlsafe_b64encode(monotonic_ns().to_bytes(8, "big")).decode().rstrip("=")
    transports = [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}]
    return {"negotiateVersion": 0, "connectionId": id_, "availableTransports": transports}


def _token() -> str:
    """Shaped as a JWT, good for a day."""
    expires = int(datetime.now(UTC).timestamp()) + 86_400
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": "bench", "exp": expires})
    text = [base64.urlsafe_b64encode(orjson.dumps(p)).decode().rstrip("=") for p in parts]
    return ".".join([*text, "c2VhbA"])


def _root(contract_id: str) -> str:
    return next(root for root, id_ in CONTRACT_IDS.items() if id_ == contract_id)
