"""Orders, positions and executions of which one word says this and another that."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from desk import MORNING, Desk, DeskMaker, contract_id

from risk_manager.domain.decisions import Outcome
from risk_manager.domain.events import AccountReported, OrderChanged
from risk_manager.domain.records import OrderSide, OrderStatus, OrderType

MES = contract_id("MES")
ORDER = 77


def frame(
    d: Desk,
    status: OrderStatus,
    *,
    symbol: str = "MES",
    stop: float | None = 5990.0,
    limit: float | None = None,
    side: OrderSide = OrderSide.SELL,
    updated_at: datetime | None,
    order_id: int = ORDER,
) -> OrderChanged:
    """An order of one contract as the gateway tells it; `updated_at` None: it is not dated."""
    return OrderChanged.model_validate(
        {
            "at": d.now,
            "id": order_id,
            "accountId": 101,
            "contractId": contract_id(symbol),
            "creationTimestamp": d.now - timedelta(minutes=1),
            "updateTimestamp": updated_at,
            "status": status,
            "type": OrderType.LIMIT if stop is None else OrderType.STOP,
            "side": side,
            "size": 1,
            "stopPrice": stop,
            "limitPrice": limit,
            "fillVolume": 0,
        }
    )


async def says(d: Desk, status: OrderStatus, **more: Any) -> None:
    more.setdefault("updated_at", d.now)
    await d.happens(frame(d, status, **more))


async def lists(d: Desk, *orders: OrderChanged, asked_ago: float = 0, **held: int) -> None:
    """A full reading of the account: these orders, these positions."""
    await d.report(
        positions=held, orders=[], asked_at=d.now - timedelta(seconds=asked_ago), listed=orders
    )


# --- an order told as ended that works ------------------------------------------------------------


@pytest.mark.parametrize("action", [{}, {"action": "place_stop", "place_stop_ticks": 20}])
@pytest.mark.parametrize("listed", [True, False])
async def test_a_stop_told_cancelled_and_then_open_again_is_a_stop(
    desk: DeskMaker, action: dict[str, Any], listed: bool
) -> None:
    """F1.1: A modified stop is told as cancelled, then as open again: the position has its stop."""
    d = desk(no_stop_loss_grace={"grace": "3s", "rearm_grace": "3s", **action})
    await d.position("MES", 1, 6000)
    await says(d, OrderStatus.OPEN)
    await d.wait(seconds=5)
    await says(d, OrderStatus.CANCELLED)
    await d.wait(seconds=0.05)
    await says(d, OrderStatus.OPEN, stop=5991.0)
    open_again = frame(d, OrderStatus.OPEN, stop=5991.0, updated_at=d.now)
    d.listed = [open_again]
    for _ in range(20):
        if listed:
            await lists(d, open_again, MES=1)
        await d.wait(seconds=1)
    assert d.actions == []
    assert d.reasons == []
    assert ORDER in d.account().orders


@pytest.mark.parametrize("action", [{}, {"action": "place_stop", "place_stop_ticks": 20}])
async def test_a_stop_told_cancelled_that_every_list_shows_is_a_stop(
    desk: DeskMaker, action: dict[str, Any]
) -> None:
    """F1.1: The second word is lost, but each list says that the stop works."""
    d = desk(no_stop_loss_grace={"grace": "3s", "rearm_grace": "1s", **action})
    await d.position("MES", 1, 6000)
    await says(d, OrderStatus.OPEN)
    works = frame(d, OrderStatus.OPEN, updated_at=d.now)
    await d.wait(seconds=5)
    await says(d, OrderStatus.CANCELLED)
    d.listed = [works]
    await d.wait(seconds=20)
    assert d.actions == []
    assert ORDER in d.account().orders


@pytest.mark.parametrize("action", [{}, {"action": "place_stop", "place_stop_ticks": 20}])
@pytest.mark.parametrize("is_known_of", [True, False])
async def test_a_stop_that_a_list_without_the_positions_shows_is_a_stop(
    desk: DeskMaker, action: dict[str, Any], is_known_of: bool
) -> None:
    """F1.1: The positions cannot be read, but the position that the stop protects is known."""
    d = desk(no_stop_loss_grace={"grace": "8s", "rearm_grace": "8s", **action})
    await d.position("MES", 1, 6000)
    works = frame(d, OrderStatus.OPEN, updated_at=d.now)
    if is_known_of:
        await says(d, OrderStatus.OPEN)
        await says(d, OrderStatus.CANCELLED, updated_at=d.now - timedelta(seconds=1))
    await d.wait(seconds=4)
    await d.report(positions=None, orders=[], listed=[works])
    await d.wait(seconds=3)
    assert ORDER in d.account().orders
    assert (d.actions, d.reasons) == ([], [])


async def test_a_list_without_the_positions_shows_no_order_that_could_be_an_entry(
    desk: DeskMaker,
) -> None:
    """It may protect what is not known yet, and would be cancelled under the lock."""
    d = desk(no_stop_loss_grace={"grace": "1h"})
    await d.position("MES", 1, 6000)
    await d.admin("lock", policy="no_entries")
    shown = [
        frame(d, OrderStatus.OPEN, updated_at=d.now, order_id=1),
        frame(d, OrderStatus.OPEN, updated_at=d.now, order_id=2),  # the first covers it all
        frame(d, OrderStatus.OPEN, updated_at=d.now, order_id=3, side=OrderSide.BUY),
        frame(d, OrderStatus.OPEN, updated_at=d.now, order_id=4, stop=None, limit=6010.0),
        frame(d, OrderStatus.OPEN, updated_at=d.now, order_id=5, symbol="ES"),
    ]
    await d.report(positions=None, orders=[], listed=shown)
    assert list(d.account().orders) == [1]
    assert not any(action.startswith("cancel") for action in d.actions)


async def test_an_entry_told_cancelled_and_then_open_again_is_cancelled_under_a_lock(
    desk: DeskMaker,
) -> None:
    """F1.2: An order told as cancelled and then as open again is cancelled under a lock."""
    d = desk(daily_realized_loss={"limit": 100})
    entry: dict[str, Any] = {"symbol": "ES", "stop": None, "limit": 5950.0, "side": OrderSide.BUY}
    await says(d, OrderStatus.OPEN, **entry)
    await d.wait(seconds=5)
    await says(d, OrderStatus.CANCELLED, **entry)
    await d.wait(seconds=0.05)
    await says(d, OrderStatus.OPEN, **entry)
    await d.wait(seconds=1)
    await d.loss(150)
    assert d.actions == [f"cancel {ORDER}"]


async def test_an_entry_told_cancelled_that_a_list_shows_is_cancelled_under_a_lock(
    desk: DeskMaker,
) -> None:
    """F1.2: The same where the second word has no date, or none comes: the list brings it back."""
    d = desk(daily_realized_loss={"limit": 100})
    entry: dict[str, Any] = {"symbol": "ES", "stop": None, "limit": 5950.0, "side": OrderSide.BUY}
    await says(d, OrderStatus.OPEN, **entry)
    works = frame(d, OrderStatus.OPEN, updated_at=d.now, **entry)
    await d.wait(seconds=5)
    await says(d, OrderStatus.CANCELLED, **entry)
    await d.wait(seconds=0.05)
    await says(d, OrderStatus.OPEN, **{**entry, "updated_at": None})
    await d.loss(150)
    assert d.actions == []
    d.listed = [works]
    await d.wait(seconds=4)
    assert d.actions == [f"cancel {ORDER}"]


async def test_the_word_that_an_order_works_overtakes_the_older_one_that_it_has_ended(
    desk: DeskMaker,
) -> None:
    """F1.1: The two words in the other order: the newer one counts, and the list is asked."""
    d = desk()
    await d.position("MES", 1, 6000)
    await says(d, OrderStatus.OPEN)
    await d.wait(seconds=5)
    cancelled_at = d.now
    await d.wait(seconds=0.05)
    await says(d, OrderStatus.OPEN, stop=5991.0)
    await says(d, OrderStatus.CANCELLED, updated_at=cancelled_at)
    assert ORDER in d.account().orders
    d.listed = []
    await d.wait(seconds=3)
    assert d.account().orders == {}, "it had ended after all, says the list"


async def test_our_stop_is_not_placed_beside_one_that_may_work(desk: DeskMaker) -> None:
    """F1.3: No stop of ours is placed while a list shows the one that was told as cancelled."""
    managed = {"enabled": True, "initial_stop": {"enabled": True, "ticks": 40}}
    d = desk(trade_management=managed, desk_rest=False)
    await d.position("MES", 1, 6000)
    await d.quote("MES", 6000)
    await d.obey()
    (own,) = d.account().orders.values()
    await d.wait(seconds=5)
    before = len(d.actions)
    await d.order(
        "MES",
        -1,
        kind=OrderType.STOP,
        price=5990,
        order_id=own.id,
        tag=own.custom_tag,
        status=OrderStatus.CANCELLED,
    )
    await d.wait(seconds=2.1)
    await d.quote("MES", 6000.25)
    assert len(d.actions) == before, "the list is asked first"
    await d.report(positions={"MES": 1}, orders=[own], price=6000)
    await d.quote("MES", 6000)
    await d.wait(seconds=1)
    assert len(d.actions) == before, "the list shows it"
    await d.wait(seconds=1)
    await d.report(positions={"MES": 1}, orders=[own], price=6000)
    await d.wait(seconds=3)
    assert own.id in d.account().orders
    assert len(d.actions) == before


async def test_a_stop_that_has_ended_by_every_word_is_replaced(desk: DeskMaker) -> None:
    """F1.3: When the list leaves it out as well, the position gets another stop."""
    managed = {"enabled": True, "initial_stop": {"enabled": True, "ticks": 40}}
    d = desk(trade_management=managed, desk_rest=False)
    await d.position("MES", 1, 6000)
    await d.quote("MES", 6000)
    await d.obey()
    (own,) = d.account().orders.values()
    await d.wait(seconds=5)
    before = len(d.actions)
    await d.order(
        "MES",
        -1,
        kind=OrderType.STOP,
        price=5990,
        order_id=own.id,
        tag=own.custom_tag,
        status=OrderStatus.CANCELLED,
    )
    await d.wait(seconds=2.1)
    await d.quote("MES", 6000.25)
    assert len(d.actions) == before, "the list is asked first"
    await d.report(positions={"MES": 1}, orders=[], price=6000)
    await d.quote("MES", 6000)
    assert len(d.actions) == before + 1


async def test_a_cancel_that_was_confirmed_and_did_not_take_is_repeated_at_a_bounded_pace(
    desk: DeskMaker,
) -> None:
    """F1.2: A confirmed cancel that did not take: the list brings the order back, and it is
    cancelled again, ever more seldom, with an alarm."""
    d = desk()
    await d.admin("lock")
    entry: dict[str, Any] = {"stop": None, "limit": 5950.0, "side": OrderSide.BUY}
    await says(d, OrderStatus.OPEN, **entry)
    works = frame(d, OrderStatus.OPEN, updated_at=d.now, **entry)
    seen = 0
    d.listed = [works]
    for _ in range(120):
        fresh, seen = d.enforcer.actions[seen:], len(d.enforcer.actions)
        for action in fresh:
            await says(d, OrderStatus.CANCELLED, **entry)
            await d.settle(action)
        await d.wait(seconds=1)
    assert set(d.actions) == {f"cancel {ORDER}"}
    assert 10 <= len(d.actions) <= 45
    assert d.alarms.count("cannot_enforce") >= 1
    assert d.reads <= 80


async def test_a_gateway_that_opens_an_order_again_on_each_cancel_makes_no_storm(
    desk: DeskMaker,
) -> None:
    """F1.2: Cancelled, Open, Cancelled, Open at the pace of the wire: our calls keep a pace."""
    d = desk()
    await d.admin("lock")
    entry: dict[str, Any] = {"stop": None, "limit": 5950.0, "side": OrderSide.BUY}
    await says(d, OrderStatus.OPEN, **entry)
    seen = 0
    for _ in range(600):
        fresh, seen = d.enforcer.actions[seen:], len(d.enforcer.actions)
        for action in fresh:
            await says(d, OrderStatus.CANCELLED, **entry)
            await d.settle(action)
            await d.wait(seconds=0.02)
            await says(d, OrderStatus.OPEN, **entry)
        await d.wait(seconds=0.05)
    assert 5 <= len(d.actions) <= 15


async def test_an_order_closed_with_its_position_that_comes_back_is_cancelled(
    desk: DeskMaker,
) -> None:
    """F1.2: Without a lock too, a stop cancelled with its position that lives on is cancelled."""
    d = desk(max_contracts={"limit": 1, "action": "close_all"})
    await d.position("MES", 2, 6000)
    await says(d, OrderStatus.OPEN)
    works = frame(d, OrderStatus.OPEN, updated_at=d.now)
    await d.position("MES", 3, 6000)
    await d.obey()
    assert d.account().positions == {}
    assert d.account().orders == {}
    before = d.actions.count(f"cancel {ORDER}")
    d.listed = [works]
    await d.wait(seconds=4)
    assert d.actions.count(f"cancel {ORDER}") == before + 1
    d.listed = []
    await d.obey()
    await d.wait(seconds=8)
    assert d.actions.count(f"cancel {ORDER}") == before + 1
    assert not [m for m in d.account().marks if m[0] == "enforcer" and str(ORDER) in m[1]]


# --- a list that lags behind the stream -----------------------------------------------------------


@pytest.mark.parametrize("answer", [Outcome.GONE, Outcome.UNKNOWN, Outcome.REFUSED])
async def test_an_entry_the_list_does_not_know_yet_is_cancelled_under_a_lock(
    desk: DeskMaker, answer: Outcome
) -> None:
    """F1.4: The stream tells of an entry under a lock before the lists know it: it is cancelled,
    and again until that has worked."""
    d = desk()
    await d.admin("lock")
    await d.wait(seconds=1)
    await says(d, OrderStatus.OPEN, stop=None, limit=5950.0, side=OrderSide.BUY)
    assert d.actions == [f"cancel {ORDER}"]
    await d.wait(seconds=0.02)
    await lists(d)
    await d.settle(d.enforcer.actions[-1], answer)
    assert ORDER in d.account().orders
    for _ in range(22):
        await d.wait(seconds=0.05)
    assert 2 <= len(d.actions) <= 7


async def test_an_entry_whose_cancel_was_accepted_and_that_no_list_shows_is_gone(
    desk: DeskMaker,
) -> None:
    """F1.4: Accepted, and not in the list: it is not cancelled again and again."""
    d = desk()
    await d.admin("lock")
    await says(d, OrderStatus.OPEN, stop=None, limit=5950.0, side=OrderSide.BUY)
    await d.wait(seconds=0.02)
    await lists(d)
    await d.settle(d.enforcer.actions[-1])
    assert d.account().orders == {}
    d.listed = []
    await d.wait(seconds=6)
    assert len(d.actions) == 1


async def test_an_end_that_no_list_has_confirmed_is_asked_about_for_as_long_as_reads_are_refused(
    desk: DeskMaker,
) -> None:
    """F1.2: A cancelled order may still work, and only a list can tell. Lists are refused for a
    quarter of a minute: the first moment at which they are answered again is used."""
    d = desk()
    await d.admin("lock")
    await says(d, OrderStatus.OPEN, stop=None, limit=5950.0, side=OrderSide.BUY)
    works = frame(
        d, OrderStatus.OPEN, stop=None, limit=5950.0, side=OrderSide.BUY, updated_at=d.now
    )
    await d.obey()
    d.rest = False
    await d.wait(seconds=15)
    await d.settle(d.enforcer.actions[-1], verified=False)
    d.rest, d.listed = True, [works]
    cancels = d.actions.count(f"cancel {ORDER}")
    await d.wait(seconds=2)
    assert d.actions.count(f"cancel {ORDER}") > cancels


async def test_a_list_taken_before_an_order_existed_says_nothing_about_it(desk: DeskMaker) -> None:
    """F1.4: It stands until a list that must know it leaves it out, which is soon asked for."""
    d = desk()
    await d.position("MES", 1, 6000)
    await says(d, OrderStatus.OPEN)
    await d.wait(seconds=0.4)
    await lists(d, MES=1)
    assert ORDER in d.account().orders
    d.listed = []
    await d.wait(seconds=3)
    assert d.account().orders == {}
    assert d.reads == 1


async def test_a_list_that_is_older_than_a_position_does_not_confirm_its_close(
    desk: DeskMaker,
) -> None:
    """The gateway accepts a close and forgets it, and a list that lags does not show the
    position yet. The next list is asked for as soon as it must know the position."""
    d = desk(symbol_blocks={"blocked": ["MNQ"]})
    d.rest = False
    await d.position("MNQ", 2, 21000)
    await d.wait(seconds=0.3)
    await d.report(positions={}, orders=[])
    await d.settle(d.enforcer.actions[-1])
    assert (d.account().positions, d.taken()) == ({}, ["close MNQ"])
    d.rest = True
    await d.wait(seconds=2)
    assert d.reads == 1
    await d.report(positions={"MNQ": 2}, orders=[])
    assert d.taken() == ["close MNQ"]


async def test_a_list_from_before_the_end_of_an_order_does_not_bring_it_back(
    desk: DeskMaker,
) -> None:
    """F1.4: The other way round: a list that lags still shows what the stream has told as ended."""
    d = desk()
    await d.admin("lock")
    await says(d, OrderStatus.OPEN, stop=None, limit=5950.0, side=OrderSide.BUY)
    works = frame(
        d, OrderStatus.OPEN, stop=None, limit=5950.0, side=OrderSide.BUY, updated_at=d.now
    )
    await d.wait(seconds=0.05)
    await d.obey()
    await d.wait(seconds=0.4)
    await lists(d, works)
    assert d.account().orders == {}
    d.listed = []
    await d.wait(seconds=5)
    assert len(d.actions) == 1


@pytest.mark.parametrize("is_newer", [False, True])
async def test_a_list_under_way_when_an_order_is_told_cancelled_may_know_better(
    desk: DeskMaker, is_newer: bool
) -> None:
    """F1.2: Its request left before the word came, and its answer shows the order as of the same
    date. Another list decides. Where the word is of a later date, the list was the older one."""
    d = desk()
    await d.admin("lock")
    entry: dict[str, Any] = {"symbol": "ES", "stop": None, "limit": 5950.0, "side": OrderSide.BUY}
    works = frame(d, OrderStatus.OPEN, updated_at=d.now, **entry)
    later = timedelta(milliseconds=5 if is_newer else 0)
    await says(d, OrderStatus.CANCELLED, **{**entry, "updated_at": d.now + later})
    await d.wait(seconds=0.05)
    d.listed = [works]
    await lists(d, works, asked_ago=0.06)
    await d.wait(seconds=4)
    assert d.actions == ([] if is_newer else [f"cancel {ORDER}"])


async def test_a_list_does_not_lay_an_older_version_over_a_newer_one(desk: DeskMaker) -> None:
    """F1.4: What the stream has just told of an order stands against a list that is older."""
    d = desk()
    await d.position("MES", 1, 6000)
    await says(d, OrderStatus.OPEN, updated_at=None)
    older = frame(d, OrderStatus.OPEN, updated_at=None)
    await d.wait(seconds=5)
    await says(d, OrderStatus.OPEN, stop=5995.0, updated_at=None)
    await d.wait(seconds=0.3)
    await lists(d, older, MES=1)
    assert d.account().orders[ORDER].stop_price == 5995
    await d.wait(seconds=5)
    await lists(d, older, MES=1)
    assert d.account().orders[ORDER].stop_price == 5990, "by now the list knows"


async def test_a_date_in_the_future_does_not_outrank_every_later_list(desk: DeskMaker) -> None:
    """F1.1: No single word holds for ever: not one that is dated a year ahead either."""
    d = desk()
    await d.position("MES", 1, 6000)
    await says(d, OrderStatus.OPEN, updated_at=d.now + timedelta(days=365))
    await d.wait(seconds=5)
    moved = frame(d, OrderStatus.OPEN, stop=5995.0, updated_at=d.now)
    await lists(d, moved, MES=1)
    assert d.account().orders[ORDER].stop_price == 5995


@pytest.mark.parametrize(("told", "listed"), [(5, 4), (3, 5), (-2, 4)])
async def test_a_list_from_before_a_change_of_size_does_not_undo_it(
    desk: DeskMaker, told: int, listed: int
) -> None:
    """F1.4: The stream tells of a larger, a smaller and a reversed position before the lists know
    it. The stream's size holds until a list comes that must know it."""
    d = desk()
    await d.position("MES", listed, 6000, creationTimestamp=MORNING)
    await d.wait(seconds=30)
    await d.position("MES", told, 6000, creationTimestamp=MORNING)
    await d.wait(seconds=0.05)
    await d.report(positions={"MES": listed}, asked_at=d.now)
    assert d.account().net(contract_id("MES")) == told
    await d.wait(seconds=3)
    assert d.reads >= 1, "the difference is to be decided soon"
    await d.report(positions={"MES": listed}, asked_at=d.now)
    assert d.account().net(contract_id("MES")) == listed, "by now the list knows"


async def test_a_size_the_list_does_not_know_yet_is_reduced_in_the_end(desk: DeskMaker) -> None:
    """F1.4: A reduction looks at a list that still shows the old size. It is asked for again, and
    the lists read meanwhile do not end the breach."""
    d = desk(max_contracts_per_instrument={"limits": {"MES": 4}})
    await d.position("MES", 4, 6000)
    await d.wait(seconds=30)
    await d.position("MES", 5, 6000)
    (reduce,) = d.enforcer.actions
    await d.wait(seconds=0.1)
    await d.report(positions={"MES": 4}, asked_at=d.now - timedelta(seconds=0.1))
    await d.settle(reduce, Outcome.GONE)
    await d.wait(seconds=0.5)
    assert 2 <= len(d.enforcer.actions) <= 12
    assert d.account().net(contract_id("MES")) == 5


async def test_a_stream_that_goes_on_speaking_does_not_outrank_every_list(desk: DeskMaker) -> None:
    """F1.4: A stream that is late states old sizes again and again. A list that was asked for long
    enough after the first difference decides, however fresh the last word is."""
    d = desk()
    d.rest = False
    await d.position("MES", 4, 6000)
    await d.wait(seconds=30)
    for number in range(12):
        await d.position("MES", 5 + number % 2, 6000)
        await d.wait(seconds=0.3)
        await d.report(positions={"MES": 9}, asked_at=d.now)
        if d.account().net(contract_id("MES")) == 9:
            break
    assert 5 <= number <= 8


# --- two executions under one id ------------------------------------------------------------------


async def test_a_reversal_under_one_trade_id_counts_its_loss_whatever_the_list_states_last(
    desk: DeskMaker,
) -> None:
    """F1.5: Both halves of a reversal under one id, then another loss: day -550, locked."""
    d = desk(daily_realized_loss={"limit": 500})
    flip: dict[str, Any] = {"trade_id": 9002, "order_id": 5}
    await d.fill("MNQ", 1, order_id=4)
    await d.fill("MNQ", -1, **flip)
    await d.fill("MNQ", -1, pnl=-300, **flip)
    half = {
        "id": 9002,
        "accountId": 101,
        "contractId": contract_id("MNQ"),
        "creationTimestamp": d.now,
        "price": 21000.0,
        "fees": 0,
        "side": 1,
        "size": 1,
        "orderId": 5,
    }
    await d.wait(seconds=5)
    rows = [{**half, "profitAndLoss": -300.0}, {**half, "profitAndLoss": None}]
    await d.report(positions={"MNQ": -1}, trades=rows)
    await d.fill("MNQ", 1, pnl=-250)
    assert d.account().ledger.day(d.account().trading_date).pnl == -550
    assert d.locked_by() == {"daily_realized_loss": "account"}


async def test_the_opening_half_of_a_reversal_is_an_entry(desk: DeskMaker) -> None:
    """F1.5: What counts entries counts it, and once."""
    window = {"per": "1m", "max": 1, "cooldown": "1m"}
    d = desk(trade_frequency_limit={"windows": [window]})
    await d.fill("MNQ", 1, order_id=4)
    await d.position("MNQ", 1)
    await d.wait(seconds=1)
    for pnl in (-300, None, -300, None):
        await d.fill("MNQ", -1, pnl=pnl, trade_id=9002, order_id=5)
    await d.position("MNQ", -1)
    await d.wait(seconds=2)
    assert d.locked_by() == {"trade_frequency_limit": "account"}
    assert d.account().ledger.day(d.account().trading_date).executions == 3


# --- positions and the account --------------------------------------------------------------------


@pytest.mark.parametrize("word", ["list", "stream"])
async def test_a_position_told_as_closed_that_is_there_is_closed_under_a_lock(
    desk: DeskMaker, word: str
) -> None:
    """F1.4: That a position has ended is taken back by a later list, or a later word."""
    d = desk()
    await d.position("MNQ", 1)
    await d.admin("lock")
    await d.position("MNQ", 0)
    await d.settle(d.enforcer.actions[0])
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]
    if word == "list":
        await d.report(positions={"MNQ": 1})
    else:
        await d.position("MNQ", 1)
    assert d.actions == ["close MNQ", "close MNQ"]


@pytest.mark.parametrize("answer", [Outcome.GONE, Outcome.UNKNOWN])
async def test_a_position_the_list_does_not_know_yet_is_closed_under_a_lock(
    desk: DeskMaker, answer: Outcome
) -> None:
    """F1.4: A position opened under a lock is closed, and again until that has worked, although a
    list that lags leaves it out."""
    d = desk(desk_rest=False)
    await d.admin("lock")
    await d.position("MNQ", 1)
    assert d.actions == ["close MNQ"]
    await d.wait(seconds=0.05)
    await d.report(positions={})
    assert d.account().net(contract_id("MNQ")) == 1
    await d.settle(d.enforcer.actions[0], answer)
    await d.wait(seconds=0.2)
    assert d.actions == ["close MNQ", "close MNQ"]
    await d.settle(d.enforcer.actions[1])
    assert d.account().positions == {}, "carried out, and no list shows it"
    await d.wait(seconds=5)
    assert len(d.actions) == 2


async def test_a_position_that_a_list_leaves_out_stands_no_longer_than_lists_lag(
    desk: DeskMaker,
) -> None:
    """F1.4: Then the list is asked, and decides; one that was held for longer is gone at once."""
    d = desk(desk_rest=False)
    await d.position("MNQ", 1)
    await d.position("ES", 1)
    await d.wait(seconds=3)
    await d.position("MES", 1)
    await d.position("ES", 2)
    await d.wait(seconds=0.5)
    await d.report(positions={"MNQ": 1})
    assert set(d.account().positions) == {MES, contract_id("MNQ")}
    await d.wait(seconds=3)
    await d.report(positions={"MNQ": 1})
    assert set(d.account().positions) == {contract_id("MNQ")}
    assert d.account().disputes == {}


@pytest.mark.parametrize("first", [True, False])
async def test_a_list_that_lags_does_not_turn_the_permission_to_trade(
    desk: DeskMaker, first: bool
) -> None:
    """F1.4: What the stream has just said of the permission stands until a list can know it."""
    d = desk(auth_loss_guard={})
    await d.can_trade(not first)
    await d.wait(seconds=10)
    await d.can_trade(first)
    locked = dict(d.locked_by())

    async def listed(may: bool) -> None:
        await d.happens(
            AccountReported.model_validate(
                {
                    "at": d.now,
                    "asked_at": d.now,
                    "account_id": 101,
                    "account": {"id": 101, "canTrade": may, "balance": 50_000},
                }
            )
        )

    await d.wait(seconds=0.3)
    await listed(not first)
    assert d.account().can_trade is first
    assert d.locked_by() == locked
    assert d.account().balance == 50_000
    assert "account" in d.account().disputes
    await d.wait(seconds=3)
    await listed(not first)
    assert d.account().can_trade is not first, "by now it knows"
    assert d.account().disputes == {}


# --- a word of an earlier stage in an order's life, with the date of a later one ------------------


def child(
    d: Desk, status: OrderStatus, dated: datetime | None, *, stop: float | None, filled: int = 0
) -> OrderChanged:
    """A stop that came with its entry: it sleeps until that fills, and has no price so long."""
    told = frame(d, status, stop=5990.0, updated_at=dated)
    price = None if stop is None else Decimal(str(stop))
    changed = {"size": 3, "stop_price": price, "fill_volume": filled}
    return told.model_copy(update=changed)


@pytest.mark.parametrize("dated", [True, False])
async def test_a_stop_that_works_does_not_fall_asleep_by_a_late_word(
    desk: DeskMaker, dated: bool
) -> None:
    """A gateway dates a bracket's stop with the instant of its entry, asleep and awake alike. The
    earlier word comes late: the stop works on, and no other is placed beside it."""
    d = desk(no_stop_loss_grace={"grace": "2s", "action": "place_stop", "place_stop_ticks": 20})
    entered_at = d.now if dated else None
    awake = child(d, OrderStatus.OPEN, entered_at, stop=5990.0)
    await d.position("MES", 3, 6000)
    await d.happens(awake)
    await d.wait(seconds=1.5)
    await d.happens(child(d, OrderStatus.SUSPENDED, entered_at, stop=None))
    assert d.account().orders[ORDER].status is OrderStatus.OPEN
    d.listed = [awake]
    await d.wait(seconds=20)
    assert d.actions == []
    assert d.account().orders[ORDER].status is OrderStatus.OPEN
    assert d.account().disputes == {}


async def test_a_list_that_shows_a_stop_awake_is_believed_at_once(desk: DeskMaker) -> None:
    """The word that the stop works was lost, and the one that it sleeps came late. A list asked for
    a moment later knows better, though both are of the same date."""
    d = desk(no_stop_loss_grace={"grace": "2s", "action": "place_stop", "place_stop_ticks": 20})
    entered_at = d.now
    awake = child(d, OrderStatus.OPEN, entered_at, stop=5990.0)
    await d.position("MES", 3, 6000)
    d.listed = [awake]
    await d.wait(seconds=1.5)
    await d.happens(child(d, OrderStatus.SUSPENDED, entered_at, stop=None))
    await d.wait(seconds=0.2)
    await lists(d, awake, asked_ago=0.1, MES=3)
    assert d.account().orders[ORDER].status is OrderStatus.OPEN
    await d.wait(seconds=20)
    assert d.actions == []


@pytest.mark.parametrize("dated", [True, False])
async def test_a_fill_is_not_taken_back_by_a_late_word(desk: DeskMaker, dated: bool) -> None:
    """The word of an order before a part of it filled comes after the one that tells the fill."""
    d = desk()
    worked_at = d.now if dated else None
    await d.position("MES", 3, 6000)
    filled = child(d, OrderStatus.OPEN, worked_at, stop=5990.0, filled=2)
    await d.happens(filled)
    await d.wait(seconds=0.5)
    await d.happens(child(d, OrderStatus.OPEN, worked_at, stop=5990.0))
    assert d.account().orders[ORDER].remaining == 1


@pytest.mark.parametrize(("later", "size"), [(0.01, 1), (3.0, 2)], ids=["at once", "late"])
async def test_the_size_of_a_stop_is_not_taken_back_by_a_late_repeat(
    desk: DeskMaker, later: float, size: int
) -> None:
    """An entry fills in two parts within one instant and its stop grows with it. The first of the
    two statements about the stop comes once more, seconds later."""
    d = desk()
    d.rest = False
    worked_at = d.now
    await d.position("MES", 2, 6000)
    first = child(d, OrderStatus.OPEN, worked_at, stop=5990.0).model_copy(update={"size": 1})
    second = first.model_copy(update={"size": 2})
    await d.happens(first)
    await d.happens(second)
    d.now += timedelta(seconds=later)
    await d.happens(first.model_copy(update={"at": d.now}))
    assert d.account().orders[ORDER].size == size
    assert (f"order:{ORDER}" in d.account().disputes) is (size == 2), "a list is asked for"
    d.now += timedelta(seconds=0.1)
    await lists(d, first.model_copy(update={"update_timestamp": d.now}), MES=2)
    assert d.account().orders[ORDER].size == 1, "the list decides"


async def test_an_order_that_sleeps_again_by_a_newer_word_does(desk: DeskMaker) -> None:
    """A date that is later decides, whatever the stage."""
    d = desk()
    await d.position("MES", 3, 6000)
    await d.happens(child(d, OrderStatus.OPEN, d.now, stop=5990.0))
    await d.wait(seconds=1)
    await d.happens(child(d, OrderStatus.SUSPENDED, d.now, stop=None))
    assert d.account().orders[ORDER].status is OrderStatus.SUSPENDED


async def bracket_filled(d: Desk) -> OrderChanged:
    """A bracket's entry fills; the word that its stop works now is lost. Returns that word."""
    await d.happens(child(d, OrderStatus.SUSPENDED, d.now, stop=None))
    await d.wait(seconds=4)
    await d.position("MES", 3, 6000)
    return child(d, OrderStatus.OPEN, d.now, stop=5990.0)


@pytest.mark.parametrize(
    "rules",
    [
        {"no_stop_loss_grace": {"grace": "2s", "action": "place_stop", "place_stop_ticks": 20}},
        {"trade_management": {"enabled": True, "initial_stop": {"enabled": True, "ticks": 20}}},
    ],
)
async def test_no_stop_is_placed_beside_a_sleeping_one_that_may_have_woken(
    desk: DeskMaker, rules: dict[str, Any]
) -> None:
    """While no list can be had the stop of a filled bracket may work: a second one beside it would
    be one too many. The list shows it, and nothing is placed."""
    d = desk(**rules)
    d.rest = False
    await d.quote("MES", 6000)
    awake = await bracket_filled(d)
    for _ in range(20):
        await d.quote("MES", 6000)
        await d.wait(seconds=1)
    assert not [a for a in d.actions if "stop" in a]
    d.rest, d.listed = True, [awake]
    await d.wait(seconds=10)
    assert not [a for a in d.actions if "stop" in a]
    assert d.account().orders[ORDER].status is OrderStatus.OPEN


async def test_a_stop_is_placed_once_a_list_shows_that_the_sleeping_one_is_gone(
    desk: DeskMaker,
) -> None:
    d = desk(trade_management={"enabled": True, "initial_stop": {"enabled": True, "ticks": 20}})
    await d.quote("MES", 6000)
    d.listed = []
    await bracket_filled(d)
    for _ in range(6):
        await d.quote("MES", 6000)
        await d.wait(seconds=1)
    assert ORDER not in d.account().orders
    assert [a for a in d.actions if "stop" in a]


# --- a cancel that no list can bear out -----------------------------------------------------------


async def cancelled_without_a_list(d: Desk, outcome: Outcome = Outcome.DONE) -> None:
    """An entry under a lock: its cancel is accepted and told, and no list can be had."""
    d.rest = False
    await d.admin("lock")
    await says(d, OrderStatus.OPEN, stop=None, limit=5950.0, side=OrderSide.BUY)
    await d.wait(seconds=0.02)
    await says(d, OrderStatus.CANCELLED, stop=None, limit=5950.0, side=OrderSide.BUY)
    await d.wait(seconds=3)
    await d.settle(d.enforcer.actions[-1], outcome, verified=False)


@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.UNKNOWN])
async def test_a_cancel_that_no_list_can_bear_out_is_sent_again(
    desk: DeskMaker, outcome: Outcome
) -> None:
    """F1: A confirmed cancel may not have taken; while the lists are refused it is repeated."""
    d = desk()
    await cancelled_without_a_list(d, outcome)
    assert d.account().orders == {}
    await d.wait(seconds=2)
    assert d.actions == [f"cancel {ORDER}"] * 2
    for _ in range(5):
        await d.settle(d.enforcer.actions[-1], verified=False)
        await d.wait(seconds=31)
    assert d.actions == [f"cancel {ORDER}"] * 5, "a few times, not for ever"


@pytest.mark.parametrize("failed", [Outcome.REFUSED, Outcome.UNSENT])
async def test_calls_that_failed_before_the_confirmed_one_do_not_count(
    desk: DeskMaker, failed: Outcome
) -> None:
    """The gateway was too busy for the first cancels. The one that it confirms is the first that
    may not have taken, and is repeated as soon and as often as any."""
    d = desk()
    d.rest = False
    await d.admin("lock")
    await says(d, OrderStatus.OPEN, stop=None, limit=5950.0, side=OrderSide.BUY)
    while len(d.enforcer.actions) < 6:
        await d.settle(d.enforcer.actions[-1], failed, verified=False)
        await d.wait(seconds=6)
    await says(d, OrderStatus.CANCELLED, stop=None, limit=5950.0, side=OrderSide.BUY)
    await d.settle(d.enforcer.actions[-1], verified=False)
    await d.wait(seconds=2)
    assert len(d.actions) == 7
    for _ in range(5):
        await d.settle(d.enforcer.actions[-1], verified=False)
        await d.wait(seconds=31)
    assert len(d.actions) == 10, "a few times, not for ever"


@pytest.mark.parametrize("repeated", [1, 2, 3, 4])
async def test_a_repeated_cancel_that_could_not_be_sent_is_tried_again_and_does_not_count(
    desk: DeskMaker, repeated: int
) -> None:
    """It has never left this machine: the order is as unproven as before, for as long as that."""
    d = desk()
    await cancelled_without_a_list(d)
    for _ in range(repeated - 1):
        await d.wait(seconds=31)
        await d.settle(d.enforcer.actions[-1], verified=False)
    for _ in range(6):
        await d.wait(seconds=31)
        sent = len(d.actions)
        await d.settle(d.enforcer.actions[-1], Outcome.UNSENT, verified=False)
        await d.wait(seconds=0.4)
        assert len(d.actions) == sent, "no storm"
    for _ in range(6):
        await d.wait(seconds=31)
        await d.settle(d.enforcer.actions[-1], verified=False)
    assert d.actions == [f"cancel {ORDER}"] * (5 + 6), "as often as if each had been sent"
    assert not [m for m in d.account().marks if "borne out" in m[1]]


async def test_a_repeated_cancel_that_could_not_be_sent_is_given_up_once_a_list_tells(
    desk: DeskMaker,
) -> None:
    d = desk()
    await cancelled_without_a_list(d)
    await d.wait(seconds=2)
    await lists(d)
    await d.settle(d.enforcer.actions[-1], Outcome.UNSENT, verified=False)
    await d.wait(seconds=60)
    assert d.actions == [f"cancel {ORDER}"] * 2
    assert not [m for m in d.account().marks if "borne out" in m[1]]


async def test_a_cancel_that_the_stream_confirms_after_its_answer_is_sent_again_without_a_list(
    desk: DeskMaker,
) -> None:
    """The same where the answer came first, and no list could be had then either."""
    d = desk()
    d.rest = False
    await d.admin("lock")
    await says(d, OrderStatus.OPEN, stop=None, limit=5950.0, side=OrderSide.BUY)
    await d.wait(seconds=0.5)
    await d.settle(d.enforcer.actions[-1], verified=False)
    await d.wait(seconds=0.5)
    await says(d, OrderStatus.CANCELLED, stop=None, limit=5950.0, side=OrderSide.BUY)
    assert d.actions == [f"cancel {ORDER}"]
    await d.wait(seconds=4)
    assert d.actions == [f"cancel {ORDER}"] * 2
    await d.settle(d.enforcer.actions[-1], Outcome.REFUSED, code=3, verified=False)
    await d.wait(seconds=60)
    assert d.actions == [f"cancel {ORDER}"] * 2, "the gateway says the same: the order is over"


async def test_a_cancel_that_a_list_has_confirmed_is_not_sent_again(desk: DeskMaker) -> None:
    d = desk()
    d.rest = False
    await d.admin("lock")
    await says(d, OrderStatus.OPEN, stop=None, limit=5950.0, side=OrderSide.BUY)
    await d.wait(seconds=3)
    await lists(d)
    await d.settle(d.enforcer.actions[-1])
    await says(d, OrderStatus.CANCELLED, stop=None, limit=5950.0, side=OrderSide.BUY)
    await d.wait(seconds=60)
    assert d.actions == [f"cancel {ORDER}"]


async def entry_told_as_cancelled(d: Desk) -> OrderChanged:
    """An entry in a locked account, 50 ms later its end, and no list; returns how it worked."""
    d.rest = False
    await d.admin("lock")
    entry: dict[str, Any] = {"stop": None, "limit": 5950.0, "side": OrderSide.BUY}
    works = frame(d, OrderStatus.OPEN, updated_at=d.now, **entry)
    await says(d, OrderStatus.OPEN, **entry)
    await d.wait(seconds=0.05)
    await says(d, OrderStatus.CANCELLED, **entry)
    return works


@pytest.mark.parametrize("next_list", [True, False])
async def test_a_list_asked_for_right_after_an_order_was_placed_does_not_confirm_its_cancel(
    desk: DeskMaker, next_list: bool
) -> None:
    """A lagging list does not show an order because it is older than the order. Unless a later one
    can be had, the cancel is repeated."""
    d = desk()
    await entry_told_as_cancelled(d)
    await d.wait(seconds=0.3)
    await lists(d)
    await d.settle(d.enforcer.actions[-1])
    await d.wait(seconds=2)
    assert d.actions == [f"cancel {ORDER}"], "the next list may decide"
    if next_list:
        await lists(d)
        await d.wait(seconds=60)
        assert d.actions == [f"cancel {ORDER}"]
        return
    await d.wait(seconds=3)
    assert d.actions == [f"cancel {ORDER}"] * 2
    await d.settle(d.enforcer.actions[-1], Outcome.REFUSED, verified=False, code=5)
    await d.wait(seconds=60)
    assert d.actions == [f"cancel {ORDER}"] * 2, "the gateway says the same: the order is over"


async def test_a_confirmed_cancel_of_an_order_that_a_list_shows_is_repeated_after_a_second(
    desk: DeskMaker,
) -> None:
    """A list has shown the order although the stream says that it has ended: that is no reason to
    wait for another list."""
    d = desk()
    works = await entry_told_as_cancelled(d)
    await d.wait(seconds=0.3)
    await lists(d, works)
    await d.settle(d.enforcer.actions[-1])
    assert d.actions == [f"cancel {ORDER}"]
    await d.wait(seconds=1)
    assert d.actions == [f"cancel {ORDER}"] * 2


@pytest.mark.parametrize("shown_after_s", [0.1, 1.5])
async def test_a_cancel_that_a_lagging_list_confirmed_and_the_next_one_doubts_is_sent_again(
    desk: DeskMaker, shown_after_s: float
) -> None:
    """The first list is older than the order itself. The next one shows the order, so soon after
    the stream's word that it may be old; after that no list can be had."""
    d = desk()
    works = await entry_told_as_cancelled(d)
    await lists(d)
    await d.settle(d.enforcer.actions[-1])
    await d.wait(seconds=shown_after_s)
    await lists(d, works)
    await d.wait(seconds=1)
    assert d.actions == [f"cancel {ORDER}"], "the next list may decide"
    await d.wait(seconds=5)
    assert d.actions == [f"cancel {ORDER}"] * 2
    await d.settle(d.enforcer.actions[-1], Outcome.REFUSED, verified=False, code=5)
    await d.wait(seconds=60)
    assert d.actions == [f"cancel {ORDER}"] * 2, "the gateway says the same: the order is over"


async def test_a_list_that_knows_of_the_change_called_the_end_shows_that_the_stop_works(
    desk: DeskMaker,
) -> None:
    """The trader moves his stop, the stream reports it as cancelled at that moment. A list asked
    for afterwards shows it, moved at that same moment; after that no list can be had."""
    d = desk(no_stop_loss_grace={"grace": "3s", "rearm_grace": "3s"})
    d.rest = False
    await d.position("MES", 1, 6000)
    await says(d, OrderStatus.OPEN)
    await d.wait(seconds=5)
    moved_at = d.now
    await says(d, OrderStatus.CANCELLED, stop=5991.0)
    await d.wait(seconds=0.1)
    await lists(d, frame(d, OrderStatus.OPEN, stop=5991.0, updated_at=moved_at), MES=1)
    assert d.account().orders[ORDER].stop_price == Decimal(5991)
    await d.wait(seconds=30)
    assert d.actions == []


@pytest.mark.parametrize("locked", [True, False])
async def test_an_order_reported_as_cancelled_that_lists_show_does_not_work_in_a_locked_account(
    desk: DeskMaker, locked: bool
) -> None:
    """The gateway reports a new order as cancelled and never takes that back. The lists of the next
    two seconds show it, and after that none can be had."""
    d = desk()
    d.rest = False
    if locked:
        await d.admin("lock")
    entry: dict[str, Any] = {"stop": None, "limit": 5950.0, "side": OrderSide.BUY}
    works = frame(d, OrderStatus.OPEN, updated_at=d.now, **entry)
    await d.wait(seconds=0.1)
    await says(d, OrderStatus.CANCELLED, **entry)
    for _ in range(3):
        await d.wait(seconds=0.1)
        await lists(d, works)
    await d.wait(seconds=1)
    assert d.actions == [], "the next list may decide"
    await d.wait(seconds=3)
    assert d.actions == ([f"cancel {ORDER}"] if locked else [])


async def test_an_exit_reported_as_cancelled_that_lists_show_is_left_to_its_position(
    desk: DeskMaker,
) -> None:
    d = desk()
    d.rest = False
    await d.position("MES", 1, 6000)
    await d.admin("lock", policy="no_entries")
    works = frame(d, OrderStatus.OPEN, updated_at=d.now)
    await d.wait(seconds=0.1)
    await says(d, OrderStatus.CANCELLED)
    await d.wait(seconds=0.1)
    await lists(d, works, MES=1)
    await d.wait(seconds=30)
    assert d.actions == []


async def test_an_order_that_a_list_shows_does_not_wait_for_the_next_repeating(
    desk: DeskMaker,
) -> None:
    """While no list can be had, a cancel is repeated ever more seldom. The list that shows the
    order at last ends that: it works, and is cancelled at once."""
    d = desk()
    await cancelled_without_a_list(d)
    for _ in range(3):
        await d.wait(seconds=11)
        await d.settle(d.enforcer.actions[-1], verified=False)
    sent = len(d.actions)
    works = frame(
        d,
        OrderStatus.OPEN,
        stop=None,
        limit=5950.0,
        side=OrderSide.BUY,
        updated_at=d.now - timedelta(minutes=1),
    )
    await d.wait(seconds=1)
    assert len(d.actions) == sent
    await lists(d, works)
    assert len(d.actions) == sent + 1


async def test_a_cancel_that_no_list_can_bear_out_is_sent_again_after_a_restart(
    desk: DeskMaker,
) -> None:
    d = desk()
    await cancelled_without_a_list(d)
    await d.restart(read=False)
    await d.wait(seconds=5)
    assert d.actions == [f"cancel {ORDER}"] * 2
    for _ in range(5):
        await d.settle(d.enforcer.actions[-1], verified=False)
        await d.wait(seconds=31)
    assert d.actions == [f"cancel {ORDER}"] * 5, "as often as without the restart"
    assert not [m for m in d.account().marks if "borne out" in m[1]]


@pytest.mark.parametrize(("asked_ago", "sent"), [(0.0, 1), (4.5, 2)])
async def test_a_list_after_a_restart_bears_out_the_cancel_unless_it_is_older(
    desk: DeskMaker, asked_ago: float, sent: int
) -> None:
    d = desk()
    await cancelled_without_a_list(d)
    await d.restart(read=False)
    await d.wait(seconds=2.5)
    await lists(d, asked_ago=asked_ago)
    await d.wait(seconds=30)
    assert d.actions == [f"cancel {ORDER}"] * sent


async def test_a_second_word_ends_the_repeating(desk: DeskMaker) -> None:
    """The gateway refuses the second cancel, as the order is over: nothing more is sent."""
    d = desk()
    await cancelled_without_a_list(d)
    await d.wait(seconds=2)
    await d.settle(d.enforcer.actions[-1], Outcome.REFUSED, verified=False, code=5)
    await d.wait(seconds=60)
    assert d.actions == [f"cancel {ORDER}"] * 2
    assert not [m for m in d.account().marks if "borne out" in m[1]]


async def test_a_list_ends_the_repeating(desk: DeskMaker) -> None:
    d = desk()
    await cancelled_without_a_list(d)
    await lists(d)
    await d.wait(seconds=60)
    assert d.actions == [f"cancel {ORDER}"]
    assert not [m for m in d.account().marks if "borne out" in m[1]]


async def test_nothing_is_repeated_that_may_be_an_exit_of_what_is_held(desk: DeskMaker) -> None:
    d = desk()
    await cancelled_without_a_list(d)
    await d.admin("unlock")
    await d.position("MES", -1, 6000)
    await d.wait(seconds=60)
    assert d.actions.count(f"cancel {ORDER}") == 1


async def test_a_stop_that_outlived_its_position_is_left_to_the_next_one(desk: DeskMaker) -> None:
    """F1: Its cancel was confirmed and did not take. Meanwhile it protects what is held now."""
    d = desk(daily_realized_loss={"enabled": True, "limit": 100, "action": "close_all"})
    await d.position("MES", 1, 6000)
    await says(d, OrderStatus.OPEN)
    await d.admin("flatten")
    await d.wait(seconds=0.1)
    await d.position("MES", 0)
    await says(d, OrderStatus.CANCELLED)
    await d.settle(d.enforcer.actions[-1])
    cancels = d.actions.count(f"cancel {ORDER}")
    assert cancels == 1
    await d.wait(seconds=0.2)
    await d.position("MES", 1, 6000)
    later = frame(d, OrderStatus.OPEN, updated_at=d.now)
    await says(d, OrderStatus.OPEN)
    assert ORDER in d.account().orders
    await d.wait(seconds=5)
    assert d.actions.count(f"cancel {ORDER}") == cancels
    await lists(d, later, MES=1)
    await d.wait(seconds=5)
    assert d.actions.count(f"cancel {ORDER}") == cancels


@pytest.mark.parametrize(("theirs", "repeated"), [(1, True), (0, False)])
async def test_an_unproven_cancel_is_repeated_beside_stops_that_cover_the_position(
    desk: DeskMaker, theirs: int, repeated: bool
) -> None:
    """An administrator has a stop cancelled, the gateway confirms that and forgets it, and the
    trader places another stop. If both filled, they would open a position the other way round."""
    d = desk()
    d.rest = False
    await d.position("MES", 1, 6000)
    await says(d, OrderStatus.OPEN)
    await d.admin("cancel_all")
    assert d.actions == [f"cancel {ORDER}"]
    await d.wait(seconds=0.02)
    await says(d, OrderStatus.CANCELLED)
    if theirs:
        await d.stop("MES", -theirs, 5995)
    await d.settle(d.enforcer.actions[-1], verified=False)
    await d.wait(seconds=5)
    assert d.actions == [f"cancel {ORDER}"] * (2 if repeated else 1)
