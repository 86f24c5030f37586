"""Exits of a position that we have closed whole: without it they would open one."""

from datetime import timedelta

from desk import Desk, DeskMaker, contract_id

from risk_manager.domain.decisions import Outcome
from risk_manager.domain.records import OrderStatus, OrderType

LIMITS = {"limits": {"MNQ": 2}}
STOP = OrderType.STOP


async def two_expiries(desk: DeskMaker) -> tuple[Desk, int]:
    """Two MNQ of each expiry, the second over the limit and with a stop of the trader's."""
    d = desk(max_contracts_per_instrument=LIMITS)
    await d.position("MNQ.Z26", 2)
    await d.wait(seconds=1)
    stop = await d.order("MNQ.H27", -2, kind=STOP, price=20900)
    await d.position("MNQ.H27", 2)
    assert d.taken() == ["close MNQ.H27"]
    return d, stop


async def test_the_traders_stop_of_an_expiry_we_closed_is_cancelled(desk: DeskMaker) -> None:
    """F6.11: Of two expiries one is closed by us; its stop would open a position: cancelled."""
    d, stop = await two_expiries(desk)
    await d.wait(seconds=1)
    assert d.taken() == []  # not before it is flat
    await d.obey()
    assert d.taken() == [f"cancel {stop}"]
    assert stop not in d.account().orders
    await d.wait(seconds=1)
    assert not [m for m in d.account().marks if m[1].startswith("left:")]


async def test_it_is_cancelled_after_a_restart_and_after_a_refusal_as_well(
    desk: DeskMaker,
) -> None:
    """F6.11: What is to be cancelled is remembered until it is gone."""
    d, stop = await two_expiries(desk)
    await d.restart()
    await d.position("MNQ.H27", 0)
    assert d.taken()[-1] == f"cancel {stop}"
    await d.settle(d.enforcer.actions[-1], Outcome.REFUSED, code=5)
    await d.wait(seconds=5)
    assert d.taken()[-1] == f"cancel {stop}"


async def test_what_the_trader_places_afterwards_is_his(desk: DeskMaker) -> None:
    """F6.11: Only exits that were there when we closed; not an order of later."""
    d, stop = await two_expiries(desk)
    await d.order(
        "MNQ.H27", -2, kind=STOP, price=20900, order_id=stop, status=OrderStatus.CANCELLED
    )
    await d.obey()
    d.taken()
    await d.order("MNQ.H27", -1, kind=STOP, price=20800)
    await d.wait(seconds=2)
    assert d.taken() == []


async def test_a_stop_that_protects_what_is_opened_next_stays(desk: DeskMaker) -> None:
    """F6.11: Long again before the cancel is out: the old stop is an exit once more."""
    d, _ = await two_expiries(desk)
    await d.position("MNQ.Z26", 0)
    d.now += timedelta(milliseconds=200)
    await d.position("MNQ.H27", 0)
    cancels = d.taken()
    assert len(cancels) == 1
    await d.settle(d.enforcer.actions[-1], Outcome.REFUSED, code=5)
    await d.position("MNQ.H27", 2, id=5001, creationTimestamp=d.now)
    await d.wait(seconds=20)
    assert d.taken() == []


async def test_a_target_of_a_product_that_may_not_be_held_goes_too(desk: DeskMaker) -> None:
    """F6.11: The same where the only expiry is closed whole by a size cap."""
    d = desk(max_contracts_per_instrument={**LIMITS, "unknown_symbol": "block"})
    target = await d.order("RTY", -1, price=2390)
    d.taken()
    await d.position("RTY", 1, 2380)
    await d.obey()
    assert d.taken() == ["close RTY", f"cancel {target}"]
    assert contract_id("RTY") not in d.account().positions
