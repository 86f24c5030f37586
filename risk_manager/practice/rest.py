"""The answers of each REST endpoint: plain functions from a request body to a reply body.

Tokens, limits and faults are the gateway's business; here there is only the exchange.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from random import Random
from typing import Any

from risk_manager.practice.exchange import Exchange
from risk_manager.practice.records import Bracket, OrderType
from risk_manager.practice.refusals import Refusal

type Body = Mapping[str, Any]
type Reply = dict[str, Any]
type Endpoint = Callable[[Exchange, Body, datetime], Reply]

MAX_CONTRACTS = 20
MAX_BARS = 20_000
UNIT_SECONDS = {1: 1, 2: 60, 3: 3600, 4: 86_400, 5: 7 * 86_400, 6: 30 * 86_400}


class BadRequestError(Exception):
    """The body does not have the form the endpoint needs: HTTP 400."""


def succeeded(**fields: Any) -> Reply:
    return {**fields, "success": True, "errorCode": 0, "errorMessage": None}


def refused(code: int, message: str, **fields: Any) -> Reply:
    return {**fields, "success": False, "errorCode": int(code), "errorMessage": message}


def search_accounts(exchange: Exchange, body: Body, now: datetime) -> Reply:
    return succeeded(accounts=[account.payload() for account in exchange.accounts()])


def search_contracts(exchange: Exchange, body: Body, now: datetime) -> Reply:
    text = str(body.get("searchText") or "").upper()
    found = [
        contract.record()
        for contract in exchange.contracts.values()
        if contract.active
        and any(text in field.upper() for field in (contract.name, contract.id, contract.root))
    ]
    return succeeded(contracts=found[:MAX_CONTRACTS])


def available_contracts(exchange: Exchange, body: Body, now: datetime) -> Reply:
    return succeeded(contracts=[contract.record() for contract in exchange.contracts.values()])


def contract_by_id(exchange: Exchange, body: Body, now: datetime) -> Reply:
    contract = exchange.contracts.get(_text(body, "contractId"))
    if contract is None:
        return refused(1, "contract not found", contract=None)
    return succeeded(contract=contract.record())


def open_positions(exchange: Exchange, body: Body, now: datetime) -> Reply:
    account_id = _int(body, "accountId")
    if exchange.account(account_id) is None:
        return refused(1, "account not found", positions=None)
    return succeeded(positions=[held.payload() for held in exchange.positions(account_id)])


def close_contract(exchange: Exchange, body: Body, now: datetime) -> Reply:
    return _done(
        exchange.order_entry.close_position(
            _int(body, "accountId"), _text(body, "contractId"), now=now
        )
    )


def partial_close_contract(exchange: Exchange, body: Body, now: datetime) -> Reply:
    return _done(
        exchange.order_entry.partial_close(
            _int(body, "accountId"), _text(body, "contractId"), _int(body, "size"), now=now
        )
    )


def place_order(exchange: Exchange, body: Body, now: datetime) -> Reply:
    tag = body.get("customTag")
    answer = exchange.order_entry.place(
        _int(body, "accountId"),
        _text(body, "contractId"),
        _int(body, "side"),
        _int(body, "size"),
        _int(body, "type"),
        now=now,
        limit_price=_price(body, "limitPrice"),
        stop_price=_price(body, "stopPrice"),
        trail_price=_price(body, "trailPrice"),
        custom_tag=None if tag is None else str(tag),
        stop_loss=_bracket(body, "stopLossBracket"),
        take_profit=_bracket(body, "takeProfitBracket"),
    )
    if isinstance(answer, Refusal):
        return refused(answer.code, answer.message, orderId=None)
    return succeeded(orderId=answer)


def modify_order(exchange: Exchange, body: Body, now: datetime) -> Reply:
    return _done(
        exchange.order_entry.modify(
            _int(body, "accountId"),
            _int(body, "orderId"),
            now=now,
            size=None if body.get("size") is None else _int(body, "size"),
            limit_price=_price(body, "limitPrice"),
            stop_price=_price(body, "stopPrice"),
            trail_price=_price(body, "trailPrice"),
        )
    )


def cancel_order(exchange: Exchange, body: Body, now: datetime) -> Reply:
    return _done(
        exchange.order_entry.cancel(_int(body, "accountId"), _int(body, "orderId"), now=now)
    )


def search_orders(exchange: Exchange, body: Body, now: datetime) -> Reply:
    account_id = _int(body, "accountId")
    if exchange.account(account_id) is None:
        return refused(1, "account not found", orders=None)
    until = _time(body, "endTimestamp")
    return succeeded(
        orders=[
            order.payload()
            for order in reversed(exchange.orders(account_id, _time(body, "startTimestamp")))
            if until is None or order.created_at < until
        ]
    )


def open_orders(exchange: Exchange, body: Body, now: datetime) -> Reply:
    account_id = _int(body, "accountId")
    if exchange.account(account_id) is None:
        return refused(1, "account not found", orders=None)
    return succeeded(orders=[order.payload() for order in exchange.working_orders(account_id)])


def order_by_id(exchange: Exchange, body: Body, now: datetime) -> Reply:
    order = exchange.order(_int(body, "orderId"))
    if order is None or order.account_id != _int(body, "accountId"):
        return refused(2, "order not found", order=None)
    return succeeded(order=order.payload())


def search_trades(exchange: Exchange, body: Body, now: datetime) -> Reply:
    account_id = _int(body, "accountId")
    if exchange.account(account_id) is None:
        return refused(1, "account not found", trades=None)
    found = exchange.trades(account_id, _time(body, "startTimestamp"), _time(body, "endTimestamp"))
    wanted = body.get("contractId")
    return succeeded(
        trades=[
            trade.payload()
            for trade in reversed(found)
            if wanted is None or trade.contract_id == wanted
        ]
    )


def retrieve_bars(exchange: Exchange, body: Body, now: datetime) -> Reply:
    """Invented history that ends at today's price: the same bar is the same each time asked."""
    contract_id = _text(body, "contractId")
    contract = exchange.contracts.get(contract_id)
    if contract is None:
        return refused(1, "contract not found", bars=None)
    seconds = UNIT_SECONDS.get(_int(body, "unit"))
    if seconds is None:
        return refused(2, "unknown unit", bars=None)
    seconds *= max(1, _int(body, "unitNumber"))
    limit = min(int(body.get("limit") or MAX_BARS), MAX_BARS)
    end = min(_time(body, "endTime") or now, now)
    start = _time(body, "startTime") or end - timedelta(seconds=seconds * limit)
    slot = int(end.timestamp()) // seconds * seconds
    if not body.get("includePartialBar"):
        slot -= seconds
    tick = contract.tick_size
    close = exchange.book(contract_id).last
    wander = contract.product.ticks_per_root_second * seconds**0.5
    bars: list[dict[str, Any]] = []
    while len(bars) < limit and slot >= start.timestamp():
        luck = Random(f"{contract_id}/{seconds}/{slot}")
        opened = close - round(luck.gauss(0, wander)) * tick
        high = max(opened, close) + abs(round(luck.gauss(0, wander / 2))) * tick
        low = min(opened, close) - abs(round(luck.gauss(0, wander / 2))) * tick
        bars.append(
            {
                "t": datetime.fromtimestamp(slot, UTC).isoformat(),
                "o": float(opened),
                "h": float(high),
                "l": float(low),
                "c": float(close),
                "v": luck.randint(1, 40 * max(1, seconds // 10)),
            }
        )
        close = opened
        slot -= seconds
    return succeeded(bars=bars)


ENDPOINTS: dict[str, Endpoint] = {
    "/Account/search": search_accounts,
    "/Contract/search": search_contracts,
    "/Contract/available": available_contracts,
    "/Contract/searchById": contract_by_id,
    "/Position/searchOpen": open_positions,
    "/Position/closeContract": close_contract,
    "/Position/partialCloseContract": partial_close_contract,
    "/Order/place": place_order,
    "/Order/modify": modify_order,
    "/Order/cancel": cancel_order,
    "/Order/search": search_orders,
    "/Order/searchOpen": open_orders,
    "/Order/searchById": order_by_id,
    "/Trade/search": search_trades,
    "/History/retrieveBars": retrieve_bars,
}


def _done(answer: int | Refusal | None) -> Reply:
    # A close makes an order, but the gateway does not tell its id.
    if isinstance(answer, Refusal):
        return refused(answer.code, answer.message)
    return succeeded()


def _int(body: Body, key: str) -> int:
    value = body.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequestError(f"{key} must be a whole number")
    return value


def _text(body: Body, key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str):
        raise BadRequestError(f"{key} must be a string")
    return value


def _price(body: Body, key: str) -> Decimal | None:
    value = body.get(key)
    if value is None:
        return None
    try:
        return Decimal(str(value))
    except InvalidOperation as error:
        raise BadRequestError(f"{key} must be a number") from error


def _time(body: Body, key: str) -> datetime | None:
    value = body.get(key)
    if value is None:
        return None
    try:
        stamp = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise BadRequestError(f"{key} must be an ISO 8601 time") from error
    return stamp.replace(tzinfo=UTC) if stamp.tzinfo is None else stamp


def _bracket(body: Body, key: str) -> Bracket | None:
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise BadRequestError(f"{key} must be an object")
    try:
        return Bracket(_int(value, "ticks"), OrderType(_int(value, "type")))
    except ValueError as error:
        raise BadRequestError(f"{key} has an unknown type") from error
