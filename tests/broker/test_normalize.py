"""Hub payloads: what the gateway sends becomes events, what nobody can read becomes a notice."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk_manager.broker.normalize import (
    LONGEST_DETAIL,
    USER_TARGETS,
    read_account,
    read_order,
    read_position,
    read_quote,
    read_trade,
)
from risk_manager.domain.events import (
    AccountChanged,
    OrderChanged,
    PositionChanged,
    QuoteChanged,
    TradeExecuted,
    Unreadable,
)
from risk_manager.domain.records import OrderSide, OrderStatus, OrderType, PositionType

AT = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)
PAYLOADS = Path(__file__).parent.parent / "payloads"
NAN, INF = float("nan"), float("inf")


def payload(name: str) -> Any:
    """A payload as it came off the wire, recorded."""
    return orjson.loads((PAYLOADS / f"{name}.json").read_bytes())


def data(name: str, **changes: Any) -> dict[str, Any]:
    """The record inside a payload, with some fields changed."""
    return {**payload(name)["data"], **changes}


def without(name: str, field: str) -> dict[str, Any]:
    return {key: value for key, value in data(name).items() if key != field}


def test_a_position_is_read_with_its_side_size_and_price() -> None:
    (event,) = read_position(payload("position_update"), AT)
    assert isinstance(event, PositionChanged)
    assert event.at == AT
    assert (event.account_id, event.contract_id) == (101, "CON.F.US.EP.Z26")
    assert (event.type, event.size) == (PositionType.LONG, 2)
    assert event.average_price == Decimal("6000.25")


def test_an_order_is_read_with_its_life_and_its_prices() -> None:
    (event,) = read_order(payload("order_update"), AT)
    assert isinstance(event, OrderChanged)
    assert (event.id, event.status) == (1001, OrderStatus.OPEN)
    assert (event.type, event.side, event.size) == (OrderType.MARKET, OrderSide.BUY, 2)
    assert event.stop_price is None


def test_half_an_emoji_in_a_tag_can_be_kept() -> None:
    (event,) = read_order(data("order_update", customTag="to the \ud83d"), AT)
    assert isinstance(event, OrderChanged)
    assert event.custom_tag == "to the ?"
    assert event.model_dump_json()


def test_an_opening_trade_has_no_profit_rather_than_a_profit_of_zero() -> None:
    (event,) = read_trade(payload("trade_execution"), AT)
    assert isinstance(event, TradeExecuted)
    assert event.profit_and_loss is None
    assert event.fees == Decimal("2.8")
    (scratch,) = read_trade(data("trade_execution", profitAndLoss=0.0), AT)
    assert isinstance(scratch, TradeExecuted)
    assert scratch.profit_and_loss == 0


def test_an_account_is_read_and_an_unstated_permission_stays_unknown() -> None:
    (event,) = read_account(payload("account_update"), AT)
    assert isinstance(event, AccountChanged)
    assert (event.account_id, event.balance) == (101, Decimal("49997.2"))
    assert event.can_trade is True
    (silent,) = read_account({"id": 101, "name": "ACC-A"}, AT)
    assert isinstance(silent, AccountChanged)
    assert silent.can_trade is None
    assert silent.balance is None


def test_a_quote_is_read_and_a_partial_one_leaves_the_rest_unknown() -> None:
    quote = payload("quote_update")
    event = read_quote(quote["contract_id"], quote["data"], AT)
    assert isinstance(event, QuoteChanged)
    assert (event.last_price, event.best_bid, event.best_ask) == (5990.0, 5990.0, 5990.25)
    partial = read_quote("CON.F.US.EP.Z26", {"bestBid": 5989.75}, AT)
    assert partial == QuoteChanged(at=AT, contract_id="CON.F.US.EP.Z26", best_bid=5989.75)


@pytest.mark.parametrize("name", ["position_update", "order_update", "trade_execution"])
def test_wrapped_plain_and_listed_payloads_say_the_same(name: str) -> None:
    read = {
        "position_update": read_position,
        "order_update": read_order,
        "trade_execution": read_trade,
    }[name]
    wrapped = payload(name)
    expected = read(wrapped, AT)
    assert read(wrapped["data"], AT) == expected
    assert read([wrapped], AT) == expected
    assert read([wrapped["data"], wrapped["data"]], AT) == expected * 2
    assert read({"action": 1, "data": [wrapped["data"]]}, AT) == expected


def test_the_action_number_is_not_believed() -> None:
    gone = {**payload("position_update"), "action": 2}
    assert read_position(gone, AT) == read_position(payload("position_update"), AT)


def test_enum_numbers_invented_later_read_as_unknown_but_an_unknown_side_cannot_be_read() -> None:
    (order,) = read_order(data("order_update", status=42, type=99), AT)
    assert isinstance(order, OrderChanged)
    assert (order.status, order.type) == (OrderStatus.NONE, OrderType.UNKNOWN)
    (position,) = read_position(data("position_update", type=7), AT)
    assert isinstance(position, PositionChanged)
    assert position.type is PositionType.UNDEFINED
    (sideless,) = read_order(data("order_update", side=7), AT)
    assert isinstance(sideless, Unreadable)


JUNK: list[Any] = [None, 5, "x", [], {}, True]
UNREADABLE: list[tuple[Any, Any]] = [
    (read_position, data("position_update", size=-1)),
    (read_position, data("position_update", size=2.5)),
    (read_position, data("position_update", size=10**30)),
    (read_position, data("position_update", size=None)),
    (read_position, data("position_update", averagePrice=NAN)),
    (read_position, data("position_update", averagePrice=INF)),
    (read_position, data("position_update", averagePrice=1e300)),
    (read_position, data("position_update", averagePrice="1E+999999")),
    (read_position, data("position_update", id=2**63)),
    (read_position, data("position_update", id=-1)),
    (read_position, data("position_update", accountId="ten")),
    (read_position, data("position_update", accountId=2**80)),
    (read_position, data("position_update", contractId="")),
    (read_position, data("position_update", contractId="X" * 1000)),
    (read_position, data("position_update", contractId="CON\nX")),
    (read_position, data("position_update", creationTimestamp="yesterday")),
    (read_position, data("position_update", creationTimestamp="9999-12-31T23:59:59-05:00")),
    (read_position, without("position_update", "size")),
    (read_position, without("position_update", "accountId")),
    (read_position, without("position_update", "contractId")),
    (read_order, without("order_update", "id")),
    (read_order, data("order_update", stopPrice=NAN)),
    (read_order, data("order_update", fillVolume=-1)),
    (read_trade, data("trade_execution", profitAndLoss=-INF)),
    (read_trade, data("trade_execution", price=None)),
    (read_trade, data("trade_execution", fees="none")),
    (read_trade, data("trade_execution", creationTimestamp="0001-01-01T00:00:00")),
    (read_trade, data("trade_execution", creationTimestamp="0001-01-01T00:00:00+00:00")),
    (read_trade, data("trade_execution", creationTimestamp="9999-12-31T23:59:59+00:00")),
    (read_account, {"id": None}),
    (read_account, {"id": 101, "balance": NAN}),
    (read_account, {"id": 101, "canTrade": "perhaps"}),
    *((read, junk) for read in USER_TARGETS.values() for junk in JUNK),
]


@pytest.mark.parametrize(("read", "message"), UNREADABLE)
def test_what_cannot_be_true_is_told_and_not_believed(read: Any, message: Any) -> None:
    (event,) = read(message, AT)
    assert isinstance(event, Unreadable)
    assert event.source.startswith("GatewayUser")
    assert 0 < len(event.detail) <= LONGEST_DETAIL + 3


def test_a_message_of_endless_records_is_cut_and_that_is_told() -> None:
    events = read_position([payload("position_update")] * 5000, AT)
    assert len(events) == 1001
    assert isinstance(events[-1], Unreadable)
    assert "more than 1000 records" in events[-1].detail


def test_an_unreadable_message_still_says_whose_it_was() -> None:
    (event,) = read_position(data("position_update", size=-3), AT)
    assert isinstance(event, Unreadable)
    assert event.account_id == 101
    assert "size" in event.detail
    assert "-3" in event.detail


@pytest.mark.parametrize("price", [NAN, INF, -INF, 1e12, "5990", [], {}])
@pytest.mark.parametrize("field", ["lastPrice", "bestBid", "bestAsk"])
def test_a_quote_with_a_price_that_is_none_is_told(field: str, price: Any) -> None:
    event = read_quote("CON.F.US.EP.Z26", {field: price}, AT)
    assert isinstance(event, Unreadable)
    assert event.source == "GatewayQuote"


@pytest.mark.parametrize("contract_id", [None, "", 7, "X" * 1000, "A\x00"])
def test_a_quote_of_nothing_is_told(contract_id: Any) -> None:
    assert isinstance(read_quote(contract_id, {"lastPrice": 1.0}, AT), Unreadable)


def test_a_price_below_zero_is_a_price() -> None:
    # Crude oil settled at -37.63 on 2020-04-20.
    assert isinstance(read_quote("CON.F.US.CLE.K20", {"lastPrice": -37.63}, AT), QuoteChanged)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["1E+999999", "NaN", "-0", "2026-11-20", "0001-01-01T00:00:00+14:00"])
)
fields = st.sampled_from(
    sorted(
        {
            *(key for name in ("position", "order", "account") for key in data(f"{name}_update")),
            *data("trade_execution"),
            *("commissions", "data", "action", "at", "kind", "lastPrice", "bestBid", "bestAsk"),
        }
    )
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(fields, inner, max_size=8),
    max_leaves=25,
)


@given(message=anything)
def test_no_message_of_any_shape_raises(message: Any) -> None:
    for read in USER_TARGETS.values():
        events = read(message, AT)
        assert events
        assert all(event.at == AT for event in events)
    assert read_quote("CON.F.US.EP.Z26", message, AT).at == AT
    assert read_quote(message, {"lastPrice": 1.0}, AT).at == AT


@given(changes=st.dictionaries(fields, scalars, max_size=4))
def test_a_real_message_with_some_fields_gone_mad_never_raises(changes: dict[str, Any]) -> None:
    for name, read in (
        ("position_update", read_position),
        ("order_update", read_order),
        ("trade_execution", read_trade),
        ("account_update", read_account),
    ):
        for event in read({**data(name), **changes}, AT):
            assert event.at == AT
            if isinstance(event, PositionChanged):
                assert event.size >= 0
                assert event.average_price is None or event.average_price.is_finite()
