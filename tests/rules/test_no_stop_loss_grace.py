"""RULE-008, example by example (grace 30 s, rearm 10 s)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from desk import Desk, DeskMaker, contract_id, rules_from
from pydantic import ValidationError

from risk_manager.domain.decisions import Outcome
from risk_manager.domain.holdings import Order
from risk_manager.domain.records import OrderSide, OrderStatus, OrderType
from risk_manager.domain.rulebook import Mode

RULE: dict[str, Any] = {}


def stop_at_the_broker(d: Desk) -> Order:
    """A working stop for one long MNQ that the stream has never told of."""
    return Order(
        id=77,
        contract_id=contract_id("MNQ"),
        type=OrderType.STOP,
        status=OrderStatus.OPEN,
        side=OrderSide.SELL,
        size=1,
        stop_price=Decimal(20990),
        seen_at=d.now,
    )


def reads(d: Desk) -> list[int]:
    """The accounts that were to be read, each time."""
    return [account_id for step in d.store.steps for account_id in step.reads]


async def test_008_1_a_stop_within_the_grace_is_in_time(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 1)
    await d.wait(seconds=10)
    await d.stop("MNQ", -1)
    await d.wait(minutes=10)
    assert d.actions == []
    assert d.decisions == []


async def test_008_2_a_target_alone_protects_nothing(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 1)
    await d.order("MNQ", -1, price=21100)
    await d.wait(seconds=29)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]
    assert d.reasons == ["1 MNQZ6 without a stop; closing"]
    await d.obey()
    assert d.account().is_flat  # the target is gone too
    assert d.locked_by() == {}


async def test_008_3_the_stop_may_be_heard_of_before_its_position(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.stop("MNQ", -1)
    await d.wait(seconds=1)
    await d.position("MNQ", 1)
    await d.wait(minutes=2)
    assert d.actions == []


async def test_008_4_half_a_stop_closes_all_unless_any_stop_will_do(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 2)
    await d.stop("MNQ", -1)
    await d.wait(seconds=30)
    assert d.actions == ["close MNQ"]
    assert d.reasons == ["stops cover 1 of 2 MNQZ6; closing"]

    lenient = desk(no_stop_loss_grace={"require": "any"})
    await lenient.position("MNQ", 2)
    await lenient.stop("MNQ", -1)
    await lenient.wait(minutes=2)
    assert lenient.actions == []


async def test_008_5_a_stop_cancelled_later_must_be_replaced_soon(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 1)
    stop = await d.stop("MNQ", -1)
    await d.wait(seconds=300)
    await d.stop("MNQ", -1, order_id=stop, status=OrderStatus.CANCELLED)
    await d.wait(seconds=9)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]

    replaced = desk(no_stop_loss_grace=RULE)
    await replaced.position("MNQ", 1)
    stop = await replaced.stop("MNQ", -1)
    await replaced.wait(seconds=300)
    await replaced.stop("MNQ", -1, order_id=stop, status=OrderStatus.CANCELLED)
    await replaced.stop("MNQ", -1, 20995.0)
    await replaced.wait(minutes=2)
    assert replaced.actions == []


async def test_008_6_what_is_added_needs_its_stop_too(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 2)
    await d.stop("MNQ", -2)
    await d.wait(seconds=100)
    await d.position("MNQ", 3)
    await d.wait(seconds=9)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]


async def test_008_6_adding_within_the_first_grace_does_not_restart_it(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 1)
    await d.wait(seconds=20)
    await d.position("MNQ", 2)
    await d.wait(seconds=10)
    assert d.actions == ["close MNQ"]


async def test_008_7_a_stop_on_the_wrong_side_is_an_entry(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", -1)
    await d.stop("MNQ", -1, 20990)
    await d.wait(seconds=30)
    assert d.actions[0].startswith("c")
    assert "close MNQ" in d.actions


async def test_008_8_a_reversal_begins_anew_and_its_old_stop_is_warned_of(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    await d.wait(seconds=100)
    await d.position("MNQ", -2)
    assert d.reasons == [
        f"the position in MNQZ6 turned round: order {stop}, its old stop, would now add to it"
    ]
    await d.wait(seconds=29)
    assert d.actions == []
    await d.wait(seconds=1)
    assert "close MNQ" in d.actions


async def test_008_9_a_stop_that_fills_in_part_covers_what_is_left(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    await d.wait(seconds=60)
    await d.stop("MNQ", -2, order_id=stop, filled=1)
    await d.position("MNQ", 1)
    await d.wait(minutes=2)
    assert d.actions == []


async def test_008_10_what_the_trader_closed_is_forgotten(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 1)
    await d.wait(seconds=20)
    await d.position("MNQ", 0)
    await d.wait(seconds=1)
    assert [m for m in d.account().marks.values() if m.due_at] == []
    await d.position("MNQ", 1)
    await d.wait(seconds=29)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]


@pytest.mark.parametrize("kind", [OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP])
async def test_every_kind_of_stop_counts(desk: DeskMaker, kind: OrderType) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 1)
    await d.order("MNQ", -1, kind=kind, price=20990)
    await d.wait(minutes=1)
    assert d.actions == []


@pytest.mark.parametrize("status", [OrderStatus.SUSPENDED, OrderStatus.PENDING_CANCELLATION])
async def test_a_stop_that_does_not_work_does_not_count(
    desk: DeskMaker, status: OrderStatus
) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 1)
    await d.stop("MNQ", -1, status=status)
    await d.wait(seconds=30)
    assert d.actions == ["close MNQ"]


async def test_a_stop_in_profit_counts_unless_it_must_stand_below_the_entry(
    desk: DeskMaker,
) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21050)
    await d.stop("MNQ", -1, 21001)
    await d.wait(seconds=40)
    assert d.actions == []

    strict = desk(no_stop_loss_grace={"accept_beyond_entry": False})
    await strict.position("MNQ", 1, 21000)
    await strict.stop("MNQ", -1, 21001)
    await strict.wait(seconds=30)
    assert strict.actions == ["close MNQ"]


async def test_a_stop_too_far_away_is_no_stop(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace={"max_stop_distance_ticks": 200})
    await d.position("MNQ", 1, 21000)
    await d.stop("MNQ", -1, 20949.75)
    await d.wait(seconds=30)
    assert d.actions == ["close MNQ"]

    near = desk(no_stop_loss_grace={"max_stop_distance_ticks": 200})
    await near.position("MNQ", 1, 21000)
    await near.stop("MNQ", -1, 20950)
    await near.wait(seconds=40)
    assert near.actions == []


async def test_a_stop_the_market_has_passed_protects_nothing(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 1, 21000)
    await d.stop("MNQ", -1, 20990)
    await d.wait(seconds=60)
    for _ in range(12):
        await d.quote("MNQ", 20980)
        await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]


async def test_a_stop_is_placed_where_that_is_asked_for(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace={"action": "place_stop", "place_stop_ticks": 40})
    await d.position("MNQ", 2, 21000)
    await d.wait(seconds=30)
    assert d.actions == ["place stop MNQ -2 at 20990.00"]
    await d.obey()
    await d.wait(minutes=5)
    assert len(d.actions) == 1
    assert d.reasons == ["2 MNQZ6 without a stop; placing a stop at 20990.00"]


async def test_only_what_lacks_a_stop_is_given_one(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace={"action": "place_stop", "place_stop_ticks": 40})
    await d.position("MNQ", -3, 21000.125)
    await d.stop("MNQ", 2, 21005)
    await d.wait(seconds=30)
    assert d.actions == ["place stop MNQ +1 at 21010.00"]


async def test_where_no_stop_can_be_had_the_position_is_closed(desk: DeskMaker) -> None:
    rule = {"action": "place_stop", "place_stop_ticks": 40}
    fallen = desk(no_stop_loss_grace=rule)
    await fallen.position("MNQ", 1, 21000)
    await fallen.wait(seconds=29)
    await fallen.quote("MNQ", 20980)
    await fallen.wait(seconds=1)
    assert fallen.actions == ["close MNQ"]

    refused = desk(no_stop_loss_grace=rule)
    await refused.position("MNQ", 1, 21000)
    await refused.wait(seconds=30)
    for _ in range(3):
        await refused.settle(refused.enforcer.actions[-1], Outcome.REFUSED, code=2)
        await refused.wait(seconds=6)
    assert refused.actions == ["place stop MNQ -1 at 20990.00"] * 3 + ["close MNQ"]


async def test_our_stop_goes_with_its_position_and_shrinks_with_it(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace={"action": "place_stop", "place_stop_ticks": 40})
    await d.position("MNQ", 2, 21000)
    await d.wait(seconds=30)
    await d.obey()
    stop = next(iter(d.account().orders))
    await d.position("MNQ", 1, 21000)
    await d.wait(seconds=1)
    await d.obey()
    assert d.actions[-1] == f"move {stop} to 20990.00 for 1"
    await d.position("MNQ", 0)
    assert d.actions[-1] == f"cancel {stop}"


async def test_the_deadline_survives_a_restart(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 1)
    await d.wait(seconds=20)
    await d.restart()
    await d.report(positions={"MNQ": 1}, orders=[])
    await d.wait(seconds=9)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]


async def test_after_a_restart_the_account_is_read_before_anything_is_closed(
    desk: DeskMaker,
) -> None:
    d = desk(no_stop_loss_grace=RULE, desk_rest=False)
    await d.position("MNQ", 1)
    await d.wait(seconds=20)
    d.now += timedelta(hours=1)
    await d.restart(read=False)
    assert d.actions == []
    await d.stop("MNQ", -1)
    await d.report(positions={"MNQ": 1})
    await d.wait(minutes=1)
    assert d.actions == []

    blind = desk(no_stop_loss_grace=RULE, desk_rest=False)
    await blind.position("MNQ", 1)
    await blind.wait(seconds=20)
    blind.now += timedelta(hours=1)
    await blind.restart(read=False)
    await blind.wait(seconds=4)
    assert blind.actions == []
    await blind.wait(seconds=1)
    assert blind.actions == ["close MNQ"]


async def test_a_stop_whose_event_was_lost_is_found_before_anything_is_closed(
    desk: DeskMaker,
) -> None:
    d = desk(no_stop_loss_grace=RULE, desk_rest=False)
    await d.position("MNQ", 1)
    await d.wait(seconds=30)
    assert d.actions == []
    assert reads(d) == [101]
    await d.report(positions={"MNQ": 1}, orders=[stop_at_the_broker(d)])
    await d.wait(minutes=10)
    assert reads(d) == [101]
    assert (d.actions, d.decisions) == ([], [])


async def test_the_broker_is_asked_at_the_deadline_and_no_sooner(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 1)
    await d.wait(seconds=29)
    assert reads(d) == []
    await d.wait(seconds=1)
    await d.wait(minutes=1)
    assert reads(d) == [101]
    assert d.taken() == ["close MNQ"] * 2  # nobody settles it: after 30 s it is asked again


async def test_a_list_asked_for_before_the_deadline_proves_nothing(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE, desk_rest=False)
    await d.position("MNQ", 1)
    await d.wait(seconds=29)
    before = d.now
    await d.wait(seconds=1)
    await d.report(positions={"MNQ": 1}, asked_at=before)
    assert d.actions == []
    await d.report(positions={"MNQ": 1})
    assert d.actions == ["close MNQ"]


async def test_a_broker_that_cannot_be_read_is_waited_for_three_seconds(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE, desk_rest=False)
    await d.position("MNQ", 1)
    await d.wait(seconds=32)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]


async def test_a_stop_is_not_placed_over_one_whose_event_was_lost(desk: DeskMaker) -> None:
    rule = {"action": "place_stop", "place_stop_ticks": 40}
    d = desk(no_stop_loss_grace=rule, desk_rest=False)
    await d.position("MNQ", 1)
    await d.wait(seconds=30)
    assert d.actions == []
    await d.report(positions={"MNQ": 1}, orders=[stop_at_the_broker(d)])
    await d.wait(minutes=1)
    assert d.actions == []


async def test_a_shadowed_rule_looks_again_as_well(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace={"shadow": True}, desk_rest=False)
    await d.position("MNQ", 1)
    await d.wait(seconds=30)
    await d.report(positions={"MNQ": 1}, orders=[stop_at_the_broker(d)])
    await d.wait(minutes=1)
    assert d.reasons == []


async def test_a_position_found_at_the_start_gets_a_grace_of_its_own(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    old: dict[str, Any] = {"creationTimestamp": d.now - timedelta(hours=2)}
    await d.position("MNQ", 1, **old)
    await d.wait(seconds=29)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]

    left = desk(no_stop_loss_grace={"adopt_existing_at_startup": False})
    await left.position("MNQ", 1, **old)
    await left.wait(minutes=5)
    assert left.actions == []
    assert left.reasons == [
        "1 MNQZ6 without a stop; it was open before the start and is left alone"
    ]


async def test_a_position_heard_of_late_has_its_own_age(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.wait(seconds=60)
    await d.position("MNQ", 1, creationTimestamp=d.now - timedelta(seconds=40))
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]


async def test_a_position_being_closed_anyway_is_left_to_it(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE, daily_realized_loss={"limit": "500"})
    await d.position("MNQ", 1)
    await d.loss(500)
    await d.wait(minutes=2)
    assert {x.spec_id for x in d.decisions} == {"RULE-003"}


async def test_shadow_tells_and_touches_nothing(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace={"shadow": True})
    await d.position("MNQ", 1)
    await d.wait(minutes=2)
    assert (d.actions, d.reasons) == ([], ["1 MNQZ6 without a stop; closing"])
    everything = desk(no_stop_loss_grace=RULE, desk_mode=Mode.SHADOW)
    await everything.position("MNQ", 1)
    await everything.wait(minutes=2)
    assert everything.actions == []


async def test_the_meter_counts_down(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 2)
    await d.wait(seconds=18)
    shown = d.meter("no_stop_loss_grace")
    assert shown.sentence == "2 MNQZ6 without a stop: closed in 12 s"
    assert (shown.current, shown.limit, shown.headroom) == tuple(map(Decimal, (18, 30, 12)))
    await d.stop("MNQ", -2)
    assert d.meter("no_stop_loss_grace").sentence == "every position has its stop"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"grace": "0s"}, "grace: 0s is not between 1s and 1h"),
        ({"grace": "2h"}, "not between 1s and 1h"),
        ({"rearm_grace": "500ms"}, "rearm_grace"),
        ({"grace": 30}, "is not a duration"),
        ({"action": "place_stop"}, "belong together"),
        ({"place_stop_ticks": 40}, "belong together"),
        ({"action": "place_stop", "place_stop_ticks": 0}, "greater than 0"),
        (
            {
                "action": "place_stop",
                "place_stop_ticks": 40,
                "accept_order_types": ["trailing_stop"],
            },
            "would not count",
        ),
        (
            {"action": "place_stop", "place_stop_ticks": 40, "max_stop_distance_ticks": 20},
            "farther away",
        ),
        ({"accept_order_types": []}, "at least 1"),
        ({"grace_period_seconds": 30}, "Extra inputs"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        rules_from(no_stop_loss_grace=fields)


async def test_two_contracts_run_on_their_own_clocks(desk: DeskMaker) -> None:
    d = desk(no_stop_loss_grace=RULE)
    await d.position("MNQ", 1)
    await d.wait(seconds=15)
    await d.position("ES", 1, 6000)
    await d.wait(seconds=15)
    assert d.actions == ["close MNQ"]
    await d.wait(seconds=15)
    assert d.actions == ["close MNQ", "close ES"]
    assert contract_id("ES") in d.account().closings


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("close_position", "1 of 3 MESZ6 without a stop: all 3 closed in 9 s"),
        ("place_stop", "1 of 3 MESZ6 without a stop: a stop is placed in 9 s"),
    ],
)
async def test_the_meter_says_what_will_be_done(desk: DeskMaker, action: str, said: str) -> None:
    """F7.22: Two stops for three lots: the sentence says what becomes of all three."""
    stop = {"place_stop_ticks": 40} if action == "place_stop" else {}
    d = desk(no_stop_loss_grace={"grace": "10s", "action": action, **stop})
    await d.position("MES", -3)
    for _ in range(2):
        await d.stop("MES", 1, 21010)
    await d.wait(seconds=1)
    assert d.meter("no_stop_loss_grace").sentence == said


@pytest.mark.parametrize(("covered", "closed"), [(4, False), (3, False), (1, True)])
async def test_what_lacks_a_stop_is_not_closed_again_while_another_rule_reduces_it(
    desk: DeskMaker, covered: int, closed: bool
) -> None:
    """A reduction from five to three may have been carried out although nothing tells of it yet:
    closing all for want of a stop would close what the stops cover."""
    d = desk(no_stop_loss_grace=RULE, max_contracts={"limit": 3})
    await d.position("MNQ", 5)
    await d.stop("MNQ", -covered)
    assert d.taken() == ["reduce MNQ to 3"]
    for _ in range(6):
        await d.settle(d.enforcer.actions[-1], verified=False)
        await d.wait(seconds=6)
    closes = [action for action in d.actions if action == "close MNQ"]
    assert bool(closes) is closed
