"""RULE-005, example by example (target 1000)."""

from decimal import Decimal
from typing import Any

import pytest
from desk import DeskMaker, rules_from
from pydantic import ValidationError

from risk_manager.domain.rulebook import Mode

TARGET = {"target": 1000}
BREAKEVEN = {"mode": "breakeven", "arm_at": 200}


async def test_005_1_the_target_itself_is_taken(desk: DeskMaker) -> None:
    d = desk(max_unrealized_profit=TARGET)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21250)
    assert d.actions == ["close MNQ"]
    assert d.reasons == ["MNQZ6 is up $1,000.00, target $1,000.00; closing 2 MNQZ6"]
    assert d.locked_by() == {}


async def test_005_2_a_tick_less_is_not(desk: DeskMaker) -> None:
    d = desk(max_unrealized_profit=TARGET)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", bid=21249.75, ask=21251, last=21251)  # nobody pays what was printed
    assert d.actions == []
    assert d.meter("max_unrealized_profit").current == Decimal(999)


async def test_005_3_one_winner_or_the_account(desk: DeskMaker) -> None:
    together = desk(max_unrealized_profit={**TARGET, "scope": "account"})
    await together.position("MNQ", 2, 21000)
    await together.position("ES", 1, 5800)
    await together.quote("ES", 5788)  # -600
    await together.quote("MNQ", 21399.75)
    assert together.actions == []
    await together.quote("MNQ", 21400)  # +1600
    assert set(together.actions) == {"close MNQ", "close ES"}

    d = desk(max_unrealized_profit=TARGET)
    await d.position("MNQ", 2, 21000)
    await d.position("ES", 1, 5800)
    await d.quote("ES", 5788)
    await d.quote("MNQ", 21400)
    assert d.actions == ["close MNQ"]


async def test_005_4_breakeven_closes_only_what_was_up_before(desk: DeskMaker) -> None:
    d = desk(max_unrealized_profit=BREAKEVEN)
    await d.position("MNQ", 1, 21000)
    for price in (20995, 21075, 20990):  # -10, +150, -20
        await d.quote("MNQ", price)
    assert d.actions == []
    for price in (21105, 21020):  # +210, +40
        await d.quote("MNQ", price)
    assert d.actions == []
    await d.quote("MNQ", 21000)
    assert d.actions == ["close MNQ"]
    assert d.reasons == [
        "MNQZ6 was up $200.00 or more and is back at $0.00, floor $0.00; closing 1 MNQZ6"
    ]


async def test_005_5_a_restart_does_not_disarm(desk: DeskMaker) -> None:
    d = desk(max_unrealized_profit=BREAKEVEN)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21105)
    await d.quote("MNQ", 21025)
    await d.restart()
    assert d.actions == []
    await d.quote("MNQ", 20985)
    assert d.actions == ["close MNQ"]


async def test_005_6_a_reversal_disarms(desk: DeskMaker) -> None:
    d = desk(max_unrealized_profit=BREAKEVEN)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21105)
    await d.position("MNQ", -1, 21100)
    await d.quote("MNQ", 21110)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.account().marks == {}


async def test_005_7_an_old_price_is_no_profit(desk: DeskMaker) -> None:
    d = desk(max_unrealized_profit=TARGET)
    await d.quote("MNQ", 21250)
    await d.wait(seconds=11)
    await d.position("MNQ", 2, 21000)
    await d.wait(seconds=60)
    assert d.actions == []
    assert d.meter("max_unrealized_profit").current is None


@pytest.mark.parametrize(
    ("symbol", "net", "average", "price", "profit"),
    [
        ("MNQ", 2, 21000, 21500, 2000),
        ("ES", 1, 5800, 5848, 2400),
        ("ES", -1, 5800, 5848, -2400),
    ],
)
async def test_a_tick_is_worth_what_the_contract_record_says(
    desk: DeskMaker, symbol: str, net: int, average: float, price: float, profit: int
) -> None:
    d = desk(max_unrealized_profit={"target": 5000})
    await d.position(symbol, net, average)
    await d.quote(symbol, price)
    assert d.meter("max_unrealized_profit").current == max(profit, 0)


async def test_the_account_is_armed_while_one_of_its_positions_is_open(desk: DeskMaker) -> None:
    d = desk(max_unrealized_profit={**BREAKEVEN, "scope": "account"})
    await d.position("MNQ", 1, 21000)
    await d.position("ES", 1, 5800)
    await d.quote("MNQ", 21050)
    await d.quote("ES", 5802)  # +100 and +100
    await d.position("ES", 0)
    await d.restart()
    await d.quote("MNQ", 21001)
    assert d.actions == []
    await d.quote("MNQ", 21000)
    assert d.actions == ["close MNQ"]

    over = desk(max_unrealized_profit={**BREAKEVEN, "scope": "account"})
    await over.position("MNQ", 1, 21000)
    await over.quote("MNQ", 21100)
    await over.position("MNQ", 0)
    await over.wait(seconds=1)
    await over.position("MNQ", 1, 21100)
    await over.quote("MNQ", 21090)
    assert over.actions == []


async def test_a_floor_may_lie_in_profit_or_in_loss(desk: DeskMaker) -> None:
    d = desk(max_unrealized_profit={**BREAKEVEN, "floor": 50})
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 21100)
    await d.quote("MNQ", 21025.5)
    assert d.actions == []
    await d.quote("MNQ", 21025)
    assert d.actions == ["close MNQ"]

    below = desk(max_unrealized_profit={**BREAKEVEN, "floor": -20})
    await below.position("MNQ", 1, 21000)
    await below.quote("MNQ", 21100)
    await below.quote("MNQ", 20990.5)
    assert below.actions == []
    await below.quote("MNQ", 20990)
    assert below.actions == ["close MNQ"]


@pytest.mark.parametrize(("bid", "ask"), [(21300, 21299), (40000, 40000), (0, 0)])
async def test_a_price_that_hardly_can_be_gives_no_verdict_for_a_moment(
    desk: DeskMaker, bid: float, ask: float
) -> None:
    d = desk(max_unrealized_profit=TARGET)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", bid=bid, ask=ask)
    assert d.actions == []
    await d.quote("MNQ", 21001)
    await d.wait(seconds=2)
    assert d.actions == []


async def test_one_unknown_price_leaves_the_account_unknown(desk: DeskMaker) -> None:
    d = desk(max_unrealized_profit={**TARGET, "scope": "account"})
    await d.position("ES", 1, 5800)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21400)
    assert d.actions == []


async def test_a_quiet_part_excuses_nothing_that_is_certain(desk: DeskMaker) -> None:
    """F4.1: The sum of the account counts where the quiet part cannot turn it."""
    for gold, closed in (((2600,), True), ((2600, 2590, 2600), False)):
        target = desk(max_unrealized_profit={**TARGET, "scope": "account"})
        back = desk(max_unrealized_profit={**BREAKEVEN, "scope": "account"})
        for d in (target, back):
            await d.position("MNQ", 2, 21000)
            await d.position("MGC", 1, 2600)
            await d.quote("MNQ", 21000)
            for price in gold:
                await d.quote("MGC", price)
        await back.quote("MNQ", 21050)  # +200: armed
        for d in (target, back):
            await d.wait(seconds=11)
        await target.quote("MNQ", 21260)  # +1040; MGC has moved by 100 at most
        await back.quote("MNQ", 20990)  # -40
        assert (bool(target.actions), bool(back.actions)) == (closed, closed)


async def test_the_account_can_be_locked_for_the_day(desk: DeskMaker) -> None:
    d = desk(
        max_unrealized_profit={
            **TARGET,
            "scope": "account",
            "action": "close_all_and_lockout",
            "lockout": "until_reset",
        }
    )
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21250)
    await d.obey()
    await d.position("MNQ", 1, 21000)
    assert d.actions == ["close MNQ", "close MNQ"]
    assert d.locked_by() == {"max_unrealized_profit": "account"}


async def test_the_stop_and_the_target_order_go_with_the_position(desk: DeskMaker) -> None:
    d = desk(max_unrealized_profit=TARGET)
    await d.position("MNQ", 2, 21000)
    stop = await d.stop("MNQ", -2, 20950)
    target = await d.order("MNQ", -2, price=21300)
    await d.quote("MNQ", 21250)
    await d.obey()
    assert d.actions == ["close MNQ", f"cancel {stop}", f"cancel {target}"]


async def test_shadow_tells_and_touches_nothing(desk: DeskMaker) -> None:
    d = desk(max_unrealized_profit=TARGET, desk_mode=Mode.SHADOW)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21250)
    await d.quote("MNQ", 21251)
    assert (d.actions, len(d.decisions), d.decisions[0].shadow) == ([], 1, True)


async def test_the_meter_says_how_far_it_is(desk: DeskMaker) -> None:
    d = desk(max_unrealized_profit=TARGET)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 21100)
    sentence = "MNQZ6 $400.00, target $1,000.00: $600.00 to go = 600 ticks on 2"
    assert d.meter("max_unrealized_profit").sentence == sentence

    armed = desk(max_unrealized_profit=BREAKEVEN)
    await armed.position("MNQ", 1, 21000)
    await armed.quote("MNQ", 21050)
    sentence = "MNQZ6 $100.00, protected from $200.00: $100.00 to go = 200 ticks on 1"
    assert armed.meter("max_unrealized_profit").sentence == sentence
    await armed.quote("MNQ", 21105)
    sentence = "MNQZ6 $210.00, armed: closes in $210.00 at $0.00"
    assert armed.meter("max_unrealized_profit").sentence == sentence


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "needs a target"),
        ({"target": 0}, "greater than 0"),
        ({"target": 1000, "arm_at": 200}, "belong to mode breakeven"),
        ({"target": 1000, "floor": 10}, "belong to mode breakeven"),
        ({"mode": "breakeven"}, "needs arm_at"),
        ({"mode": "breakeven", "arm_at": 200, "floor": 200}, "must be below arm_at"),
        ({"mode": "breakeven", "arm_at": 200, "target": 1000}, "belongs to mode profit_target"),
        ({"target": 1000, "lockout": "until_reset"}, "a lockout does not go with"),
        ({"target": 1000, "scope": "account", "action": "close_position"}, "scope account"),
        ({"target": 1000, "action": "close_all_and_lockout"}, "needs a lockout"),
        ({"target": 1000, "scope": "trade"}, "'position' or 'account'"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        rules_from(max_unrealized_profit=fields)


def test_the_section_of_the_shipped_example_is_read() -> None:
    (rule,) = rules_from(
        max_unrealized_profit={
            "mode": "profit_target",
            "target": 1000,
            "arm_at": None,
            "floor": 0,
            "scope": "position",
            "action": "close_position",
            "lockout": "none",
        }
    )
    assert (rule.spec_id, rule.rank) == ("RULE-005", 85)
