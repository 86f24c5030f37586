"""Turns hub payloads into events. Pure, and never raises.

A payload that cannot be read becomes `Unreadable`. Payloads come wrapped
(`{"action": n, "data": {...}}`), plain, or as a list of either. The action number is not documented
and is ignored.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from pydantic import ValidationError

from risk_manager.broker.surrogates import without_surrogates, without_surrogates_in
from risk_manager.domain.events import (
    AccountChanged,
    OrderChanged,
    PositionChanged,
    QuoteChanged,
    TradeExecuted,
    Unreadable,
)

type UserEvent = PositionChanged | OrderChanged | TradeExecuted | AccountChanged
type Read = Callable[[Any, datetime], list[UserEvent | Unreadable]]

# Larger values are not real on a futures account, and would break arithmetic, SQLite or display.
LARGEST_AMOUNT = Decimal(10) ** 12
LARGEST_PRICE = 1e9
LARGEST_ID = 2**63 - 1
LARGEST_SIZE = 1_000_000
LONGEST_NAME = 128
LONGEST_DETAIL = 300
DEEPEST_NESTING = 3
MOST_RECORDS = 1000

_WHOLE = {
    "id": LARGEST_ID,
    "account_id": LARGEST_ID,
    "order_id": LARGEST_ID,
    "size": LARGEST_SIZE,
    "fill_volume": LARGEST_SIZE,
}


def read_position(payload: Any, at: datetime) -> list[UserEvent | Unreadable]:
    """GatewayUserPosition."""
    return _read(PositionChanged, "GatewayUserPosition", payload, at)


def read_order(payload: Any, at: datetime) -> list[UserEvent | Unreadable]:
    """GatewayUserOrder."""
    return _read(OrderChanged, "GatewayUserOrder", payload, at)


def read_trade(payload: Any, at: datetime) -> list[UserEvent | Unreadable]:
    """GatewayUserTrade."""
    return _read(TradeExecuted, "GatewayUserTrade", payload, at)


def read_account(payload: Any, at: datetime) -> list[UserEvent | Unreadable]:
    """GatewayUserAccount."""
    return _read(AccountChanged, "GatewayUserAccount", payload, at)


USER_TARGETS: dict[str, Read] = {
    "GatewayUserPosition": read_position,
    "GatewayUserOrder": read_order,
    "GatewayUserTrade": read_trade,
    "GatewayUserAccount": read_account,
}
"""The reader for each message of the user hub, by message name."""


def read_quote(contract_id: Any, payload: Any, at: datetime) -> QuoteChanged | Unreadable:
    """GatewayQuote. Partial quotes are valid; a price that is no number makes it unreadable."""
    try:
        last = payload.get("lastPrice")
        bid = payload.get("bestBid")
        ask = payload.get("bestAsk")
        for price in (last, bid, ask):
            # The comparison is False for NaN and raises TypeError for anything but a number.
            if price is not None and not -LARGEST_PRICE < price < LARGEST_PRICE:
                return _unread("GatewayQuote", f"price {_shown(price)} is not a price", at)
        if not _is_name(contract_id):
            return _unread("GatewayQuote", f"contract id {_shown(contract_id)}", at)
        return QuoteChanged.model_validate(
            {"at": at, "contractId": contract_id, "lastPrice": last, "bestBid": bid, "bestAsk": ask}
        )
    except Exception as error:  # any error of a bad payload is reported, not raised
        return _unread("GatewayQuote", _why(error), at)


def _read(
    kind: type[UserEvent], source: str, payload: Any, at: datetime
) -> list[UserEvent | Unreadable]:
    items = list(islice(_items(payload), MOST_RECORDS + 1))
    events = [_read_one(kind, source, item, at) for item in items[:MOST_RECORDS]]
    if not items:
        return [_unread(source, "the message is empty", at)]
    if len(items) > MOST_RECORDS:
        events.append(_unread(source, f"more than {MOST_RECORDS} records in one message", at))
    return events


def _items(payload: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the records in a payload, however it is wrapped."""
    if depth < DEEPEST_NESTING:
        if isinstance(payload, list | tuple):
            for item in payload:
                yield from _items(item, depth + 1)
            return
        if isinstance(payload, dict) and "data" in payload and "accountId" not in payload:
            yield from _items(payload["data"], depth + 1)
            return
    yield payload


def _read_one(
    kind: type[UserEvent], source: str, data: Any, at: datetime
) -> UserEvent | Unreadable:
    try:
        event = kind.model_validate({**without_surrogates_in(data), "at": at})
        wrong = _implausible(event)
    except Exception as error:  # any error of a bad payload is reported, not raised
        return _unread(source, _why(error), at, _account_in(kind, data))
    if wrong is not None:
        return _unread(source, wrong, at, _account_in(kind, data))
    return event


def _implausible(event: UserEvent) -> str | None:
    """Return why a field is implausible although its type is right; None if all are fine."""
    for name, value in event.__dict__.items():
        if isinstance(value, Decimal):
            if not -LARGEST_AMOUNT < value < LARGEST_AMOUNT:
                return f"{name} {_shown(value)} is not a real amount"
        elif name in _WHOLE:
            if not 0 <= value <= _WHOLE[name]:
                return f"{name} {_shown(value)} is out of range"
        elif name == "contract_id" and not _is_name(value):
            return f"{name} {_shown(value)} is not a contract id"
    return None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME and value.isprintable()


def _account_in(kind: type[UserEvent], data: Any) -> int | None:
    """Return the account id of an unreadable message, if that can be read."""
    if not isinstance(data, dict):
        return None
    value = data.get("id" if kind is AccountChanged else "accountId")
    if type(value) is int and 0 <= value <= LARGEST_ID:
        return value
    return None


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problems = [
            f"{'.'.join(map(str, one['loc'])) or 'message'}: {one['msg']}"
            + ("" if one["type"] == "missing" else f" (got {_shown(one['input'])})")
            for one in error.errors(include_url=False, include_context=False)[:3]
        ]
        return "; ".join(problems)
    return f"{type(error).__name__}: {_shown(error)}"


def _shown(value: Any) -> str:
    try:
        text = str(value) if isinstance(value, Exception) else repr(value)
    except Exception as error:  # repr of a huge integer raises
        text = f"<{type(value).__name__}: {type(error).__name__}>"
    text = without_surrogates(text)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _unread(source: str, detail: str, at: datetime, account_id: int | None = None) -> Unreadable:
    detail = detail if len(detail) <= LONGEST_DETAIL else f"{detail[:LONGEST_DETAIL]}..."
    return Unreadable(at=at, source=source, detail=detail, account_id=account_id)
