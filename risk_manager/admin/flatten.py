"""Drives accounts to flat over REST alone: read, close and cancel, read again until verified.

Positions are closed by the gateway's closeContract only, so nothing is ever opened or enlarged.
There is one call at a time for a contract or an order. A close that may have been carried out is
not repeated before a list asked for `CLOSE_AGAIN_S` later still shows the position.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import ValidationError

from risk_manager.admin.rest_gateway import Answer, LoginRefused, Outcome
from risk_manager.domain.call_codes import CANCEL, CLOSE
from risk_manager.domain.holdings import TERMINAL
from risk_manager.domain.records import (
    LIST_LAG,
    OrderRecord,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionRecord,
    PositionType,
)
from risk_manager.domain.symbols import Symbols

POSITIONS = "/Position/searchOpen"
ORDERS = "/Order/searchOpen"
ACCOUNT_NOT_FOUND = 1

CLOSE_AGAIN_S = 3.0
CANCEL_AGAIN_S = 1.0
LOOKS_S = (0.2, 0.3, 0.5, 1.0, 1.0, 2.0)
"""The pauses between looks at one account; the last one repeats."""
ACCOUNTS_AT_FULL_PACE = 3
"""With more accounts the pauses grow in proportion, for the gateway's limit of requests."""
PAUSE_AFTER_LIMIT_S = 2.0
LONGEST_PAUSE_S = 5.0

Row = dict[str, Any]
Say = Callable[[str], None]


class Gateway(Protocol):
    async def ask(self, path: str, body: Mapping[str, Any]) -> Answer: ...


@dataclass(slots=True)
class _Attempt:
    """The calls made for one position or order. Times are of the loop's clock, in seconds.

    `is_gone`: by the newest answer there is nothing left to act on.
    """

    tries: int = 0
    not_before: float = 0.0
    failures: int = 0
    said: str = ""
    is_accepted: bool = False
    is_in_flight: bool = False
    is_gone: bool = False


@dataclass(slots=True)
class _List:
    """The newest answer to one of the two lists. `asked_at` is None before the first answer."""

    asked_at: float | None = None
    trouble: str = "not asked yet"
    is_unknown_account: bool = False
    failures: int = 0
    not_before: float = 0.0


@dataclass(slots=True)
class _Account:
    id: int
    name: str
    held: dict[str, PositionRecord] = field(default_factory=dict)
    working: dict[int, OrderRecord] = field(default_factory=dict)
    every_position: dict[tuple[str, int], PositionRecord] = field(default_factory=dict)
    every_order: dict[int, OrderRecord] = field(default_factory=dict)
    closes: dict[tuple[str, int], _Attempt] = field(default_factory=dict)
    cancels: dict[int, _Attempt] = field(default_factory=dict)
    positions: _List = field(default_factory=_List)
    orders: _List = field(default_factory=_List)
    empty_since: float | None = None
    sent_at: float = 0.0
    verified_at: datetime | None = None

    @property
    def is_unknown(self) -> bool:
        return self.positions.is_unknown_account and self.orders.is_unknown_account


async def flatten(
    gateway: Gateway, names: Mapping[int, str], *, limit_s: float, say: Say = lambda _: None
) -> list[Row]:
    """Close every position and cancel every order of these accounts, for `limit_s` at most.

    Returns a row for each account, in the form of the daemon's report. Raises LoginRefused if the
    gateway refuses the login before anything was read.
    """
    work = [_Flattening(gateway, _Account(i, name), len(names), say) for i, name in names.items()]
    end = asyncio.get_running_loop().time() + limit_s
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one.run(end), name=f"flatten {one.account.id}")
    refused = next((one.refused for one in work if one.refused is not None), None)
    if refused is not None and not any(one.has_been_read for one in work):
        raise refused
    return [row_of(one.account) for one in work]


class _Flattening:
    """One account on its way to flat."""

    def __init__(self, gateway: Gateway, account: _Account, accounts: int, say: Say) -> None:
        self.account = account
        self.refused: LoginRefused | None = None
        self._gateway = gateway
        self._slower = max(1.0, accounts / ACCOUNTS_AT_FULL_PACE)
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def has_been_read(self) -> bool:
        lists = (self.account.positions, self.account.orders)
        return any(one.asked_at is not None for one in lists)

    async def run(self, end: float) -> None:
        """Look and act until the account is verified flat, or until `end`."""
        try:
            await self._insist(end)
        except Exception as error:  # an error in one account must not leave the others open
            self.account.positions.trouble = f"internal error: {type(error).__name__}"

    async def _insist(self, end: float) -> None:
        account, looks = self.account, 0
        try:
            while True:
                await self._look()
                if account.verified_at or account.is_unknown or self.refused:
                    return
                if self._loop.time() >= end:
                    break
                # Also for lists that could not be had just now.
                self._close_what_is_held()
                self._cancel_what_works()
                pause = LOOKS_S[min(looks, len(LOOKS_S) - 1)] * self._slower
                looks += 1
                await self._wait(min(pause, max(end - self._loop.time(), 0.0)))
        finally:
            if self._calls:  # their answers belong in the report
                await asyncio.wait(self._calls)
        await self._look(act=False)

    async def _wait(self, seconds: float) -> None:
        """Wait, but not longer than for the answers to the calls in flight."""
        if not self._calls:
            await asyncio.sleep(seconds)
            return
        began = self._loop.time()
        await asyncio.wait(self._calls, timeout=seconds)
        # An answer says that a call has ended, not yet that the lists show it.
        await asyncio.sleep(min(LOOKS_S[0], max(seconds - (self._loop.time() - began), 0.0)))

    # --- looking ---

    async def _look(self, *, act: bool = True) -> None:
        """Read both lists, and act on each as soon as it is there."""
        account = self.account
        asked_at = self._loop.time()
        had = await asyncio.gather(self._read_positions(act=act), self._read_orders(act=act))
        if not all(had) or account.held or account.working or self._calls:
            account.empty_since = None
            return
        if account.empty_since is None:
            account.empty_since = asked_at
        # A list may lag. It counts if it was asked for that much later than anything we know of.
        if asked_at - max(account.empty_since, account.sent_at) >= LIST_LAG.total_seconds():
            account.verified_at = datetime.now(UTC)

    async def _read_positions(self, *, act: bool) -> bool:
        account = self.account
        listed = await self._list(POSITIONS, account.positions, "positions")
        if listed is None:
            return False
        records = [_position(item, account.id) for item in listed]
        account.held = {p.contract_id: p for p in records if p is not None and p.size}
        for p in account.held.values():
            account.every_position[p.contract_id, _side(p)] = p
        if act:
            self._close_what_is_held()
        return _all_were_read(records, account.positions)

    async def _read_orders(self, *, act: bool) -> bool:
        account = self.account
        listed = await self._list(ORDERS, account.orders, "orders")
        if listed is None:
            return False
        records = [_order(item, account.id) for item in listed]
        account.working = {o.id: o for o in records if o is not None and o.status not in TERMINAL}
        account.every_order |= account.working
        if act:
            self._cancel_what_works()
        return _all_were_read(records, account.orders)

    async def _list(self, path: str, about: _List, key: str) -> list[Any] | None:
        now = self._loop.time()
        if now < about.not_before:
            return None
        try:
            answer = await self._gateway.ask(path, {"accountId": self.account.id})
        except LoginRefused as refused:
            self.refused = refused
            about.trouble = str(refused)
            return None
        listed = answer.body.get(key)
        about.is_unknown_account = (
            answer.outcome is Outcome.REFUSED and answer.code == ACCOUNT_NOT_FOUND
        )
        if answer.is_done and isinstance(listed, list):
            about.asked_at, about.trouble, about.failures = now, "", 0
            return listed
        about.failures += 1
        about.trouble = answer.why or "the answer has no list"
        if answer.outcome is Outcome.LIMITED:
            pause = PAUSE_AFTER_LIMIT_S * about.failures
            about.not_before = self._loop.time() + min(pause, LONGEST_PAUSE_S)
        return None

    # --- acting ---

    def _close_what_is_held(self) -> None:
        account = self.account
        for contract_id, position in account.held.items():
            attempt = account.closes.setdefault((contract_id, _side(position)), _Attempt())
            # A side that has turned is another position, but there are never two calls at once.
            if any(a.is_in_flight for (c, _), a in account.closes.items() if c == contract_id):
                continue
            if self._is_due(attempt, account.positions):
                if not attempt.tries:
                    self._say(f"account {account.id}: closing {_told_position(position)}")
                body = {"accountId": account.id, "contractId": contract_id}
                self._send(attempt, CLOSE, body, CLOSE_AGAIN_S)

    def _cancel_what_works(self) -> None:
        account = self.account
        for order_id in account.working:
            attempt = account.cancels.setdefault(order_id, _Attempt())
            if not attempt.is_in_flight and self._is_due(attempt, account.orders):
                if not attempt.tries:
                    self._say(f"account {account.id}: cancelling order {order_id}")
                body = {"accountId": account.id, "orderId": order_id}
                self._send(attempt, CANCEL, body, CANCEL_AGAIN_S)

    def _is_due(self, attempt: _Attempt, about: _List) -> bool:
        """Whether a call may be sent (again), by the time at which its list was asked for.

        While the list cannot be had, the time now counts: better blind than not at all.
        """
        if about.trouble or about.asked_at is None:
            return not attempt.is_gone and self._loop.time() >= attempt.not_before
        return about.asked_at >= attempt.not_before

    def _send(self, attempt: _Attempt, path: str, body: Mapping[str, Any], again_s: float) -> None:
        attempt.tries += 1
        attempt.is_in_flight = True
        self.account.sent_at = self._loop.time()
        attempt.not_before = self.account.sent_at + again_s
        task = self._loop.create_task(
            self._call(attempt, path, body), name=f"{path} {self.account.id}"
        )
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _call(self, attempt: _Attempt, path: str, body: Mapping[str, Any]) -> None:
        try:
            answer = await self._gateway.ask(path, body)
        except LoginRefused as refused:
            self.refused = refused
            answer = Answer(outcome=Outcome.REFUSED, why=str(refused))
        finally:
            attempt.is_in_flight = False
            self.account.sent_at = self._loop.time()
        attempt.is_gone = answer.outcome is Outcome.GONE
        attempt.said = answer.why or str(answer.outcome)
        match answer.outcome:
            case Outcome.DONE | Outcome.PENDING:
                attempt.is_accepted = True
                attempt.said = "accepted, but without effect"
            case Outcome.UNKNOWN:
                pass  # it may have been carried out: `not_before`, counted from the sending, stands
            case Outcome.GONE:
                attempt.not_before = self._loop.time() + CANCEL_AGAIN_S
            case Outcome.LIMITED:
                attempt.not_before = self._loop.time() + PAUSE_AFTER_LIMIT_S
            case Outcome.REFUSED | Outcome.UNSENT:
                attempt.failures += 1
                pause = min(0.5 * 2 ** min(attempt.failures, 8), LONGEST_PAUSE_S)
                attempt.not_before = self._loop.time() + pause


def _position(item: Any, account_id: int) -> PositionRecord | None:
    """Read a listed position. One whose other fields are odd is still known by its contract."""
    try:
        return PositionRecord.model_validate(item)
    except ValidationError:
        contract_id = item.get("contractId") if isinstance(item, dict) else None
        if not isinstance(contract_id, str):
            return None
        return PositionRecord(account_id=account_id, contract_id=contract_id, size=1)


def _order(item: Any, account_id: int) -> OrderRecord | None:
    """Read a listed order. One whose other fields are odd is still known by its id."""
    try:
        return OrderRecord.model_validate(item)
    except ValidationError:
        order_id = item.get("id") if isinstance(item, dict) else None
        if not isinstance(order_id, int):
            return None
        return OrderRecord(
            id=order_id,
            account_id=account_id,
            contract_id=str(item.get("contractId")),
            status=OrderStatus.OPEN,
            type=OrderType.UNKNOWN,
            side=OrderSide.BUY,
            size=0,
        )


def _all_were_read(records: list[Any], about: _List) -> bool:
    if None in records:
        about.trouble = "a record has no id"
    return None not in records


# --- the report -----------------------------------------------------------------------------------


def row_of(account: _Account) -> Row:
    """Return what was done in an account and what is left, in the form of the daemon's report."""
    gone = [o for o in account.every_order.values() if o.id not in account.working]
    ours = {i for i, attempt in account.cancels.items() if attempt.is_accepted}
    return {
        "account_id": account.id,
        "name": account.name,
        "closed": [
            _position_row(position)
            for (contract_id, side), position in account.every_position.items()
            if not _is_held(account, contract_id, side)
        ],
        "cancelled": [_order_row(o) for o in gone if o.id in ours],
        "filled": [],
        "gone": [_order_row(o) for o in gone if o.id not in ours],
        "still_open": [
            {**_position_row(p), **_tries(account.closes.get((p.contract_id, _side(p))))}
            for p in account.held.values()
        ],
        "still_working": [
            {**_order_row(o), **_tries(account.cancels.get(o.id))} for o in account.working.values()
        ],
        "opened_since": [],
        "placed_since": [],
        "verified": account.verified_at is not None,
        "verified_at": None if account.verified_at is None else account.verified_at.isoformat(),
        "why": "" if account.verified_at is not None else _why(account),
        "is_over": True,
    }


def _why(account: _Account) -> str:
    """Return why an account could not be verified, in words; empty if nothing hindered it."""
    if account.is_unknown:
        return "the gateway knows no such account in this login"
    troubles = [
        f"{what} cannot be read ({about.trouble})"
        for what, about in (("positions", account.positions), ("orders", account.orders))
        if about.trouble
    ]
    return "; ".join(troubles)


def _is_held(account: _Account, contract_id: str, side: int) -> bool:
    held = account.held.get(contract_id)
    return held is not None and _side(held) == side


def _side(position: PositionRecord) -> int:
    """Return 1 for long, -1 for short, 0 where the gateway did not say."""
    return {PositionType.LONG: 1, PositionType.SHORT: -1}.get(position.type, 0)


def _position_row(position: PositionRecord) -> Row:
    return {
        "contract_id": position.contract_id,
        "symbol": symbol_of(position.contract_id),
        "net": (_side(position) or 1) * position.size,
    }


def _order_row(order: OrderRecord) -> Row:
    return {
        "order_id": order.id,
        "contract_id": order.contract_id,
        "symbol": symbol_of(order.contract_id),
        "type": order.type.name.lower(),
        "side": order.side.name.lower(),
        "size": max(order.size - order.fill_volume, 0),
    }


def _tries(attempt: _Attempt | None) -> Row:
    if attempt is None:
        return {"tries": 0, "outcome": None}
    return {"tries": attempt.tries, "outcome": attempt.said or None}


def _told_position(position: PositionRecord) -> str:
    side = {1: " long", -1: " short"}.get(_side(position), "")
    return f"{position.size} {symbol_of(position.contract_id)}{side}"


def symbol_of(contract_id: str) -> str:
    """Return ESZ6 for CON.F.US.EP.Z26, as far as the id alone tells."""
    month = contract_id.rpartition(".")[2]
    root = Symbols().root(contract_id, None)
    if contract_id.count(".") != 4 or len(month) != 3:
        return root
    return f"{root}{month[0]}{month[-1]}"
