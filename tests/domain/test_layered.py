"""Mappings for very many entries behave as the plain dictionaries they stand for."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from risk_manager.domain import layered
from risk_manager.domain.account import Account
from risk_manager.domain.holdings import Order
from risk_manager.domain.layered import LAYER, SMALL, Layered, ManyOrders
from risk_manager.domain.records import OrderSide, OrderStatus, OrderType

AT = datetime(2026, 11, 20, 16, tzinfo=UTC)


def order(number: int, contract_id: str = "A", size: int = 1, tag: str | None = None) -> Order:
    return Order(
        id=number,
        contract_id=contract_id,
        type=OrderType.LIMIT,
        status=OrderStatus.OPEN,
        side=OrderSide.BUY,
        size=size,
        seen_at=AT,
        custom_tag=tag,
    )


changes = st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(1, 9)), max_size=120)


@given(changes)
def test_any_changes_leave_what_they_leave_of_a_dictionary(
    steps: list[tuple[bool, int, int]],
) -> None:
    kept: dict[int, int] = {}
    found: Layered[int, int] = Layered({})
    begun = found
    for stays, key, value in steps:
        before, known = found, kept
        if stays:
            kept = {**kept, key: value}
            found = found.plus(key, value)
        else:
            kept = {k: v for k, v in kept.items() if k != key}
            found = found.minus(key)
        changed = {k for k in {*known, *kept} if known.get(k) != kept.get(k)}
        assert changed <= set(found.touched_since(before))
        assert len(found) == len(kept)
        assert found == kept
        assert all((k in found) == (k in kept) for k in range(31))
    assert list(found.items()) == list(kept.items())
    assert kept.keys() <= set(found.touched_since(begun))


@given(changes)
def test_any_orders_are_found_as_in_a_dictionary(steps: list[tuple[bool, int, int]]) -> None:
    kept: dict[int, Order] = {}
    found = ManyOrders.of({})
    for stays, number, size in steps:
        contract_id = "ABC"[number % 3]
        before, known = found, kept
        if stays:
            kept = {**kept, number: order(number, contract_id, size)}
            found = found.plus(kept[number])
        else:
            kept = {k: v for k, v in kept.items() if k != number}
            found = found.minus(number)
        changed = {n for n in {*known, *kept} if known.get(n) != kept.get(n)}
        assert changed <= set(found.touched_since(before))
        assert found == kept
        assert len(found) == len(kept)
        for contract_id in "ABC":
            there = sorted(o.id for o in kept.values() if o.contract_id == contract_id)
            assert sorted(o.id for o in found.in_contract(contract_id)) == there


def test_an_account_with_many_orders_is_the_same_as_with_a_dictionary_of_them() -> None:
    """F6.5: Past a size orders are kept by contract; nobody sees a difference."""
    orders: dict[int, Order] = {}
    account = Account(id=101, trading_date=AT.date())
    for number in range(3 * LAYER):
        one = order(number, "AB"[number % 2], tag="rm-x" if number == 7 else None)
        orders[number] = one
        account = replace(account, orders=layered.with_order(account.orders, one))
    plain = replace(account, orders=orders)
    kept = account.orders
    assert isinstance(kept, ManyOrders)
    assert kept.own == {"B"}
    assert account == plain
    assert account.contract_ids() == plain.contract_ids() == ("A", "B")
    assert list(account.orders_in("B")) == list(plain.orders_in("B"))
    assert account.orders_in("C") == ()
    for number in range(3 * LAYER - 5):
        account = replace(account, orders=layered.without_order(account.orders, number))
    assert isinstance(account.orders, dict)
    assert set(account.orders) == set(sorted(orders)[-5:])
    assert len(account.orders) < SMALL
