"""RULE-004, example by example (limit 300)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from desk import DeskMaker, rules_from
from pydantic import ValidationError

from risk_manager.domain.decisions import Outcome, Severity
from risk_manager.domain.rulebook import Defaults, Mode, PriceBasis

LIMIT = {"limit": 300}
MNQ = "CON.F.US.MNQ.Z26"
ACCOUNT = {**LIMIT, "scope": "account"}
TRADE = {**LIMIT, "scope": "trade"}


async def test_004_1_a_long_is_closed_at_exactly_the_limit(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", bid=20925.25, ask=20925.5)
    assert d.actions == []  # -299.00
    await d.quote("MNQ", bid=20925.0, ask=20925.25)
    assert d.actions == ["close MNQ"]
    assert d.reasons == ["MNQZ6 is down $300.00, limit $300.00; closing 2 MNQZ6"]


async def test_004_2_a_short_is_valued_at_the_ask(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("ES", -1, 5800)
    await d.quote("ES", bid=5805.75, ask=5805.75)
    assert d.actions == []
    await d.quote("ES", bid=5805.75, ask=5806.0)
    assert d.actions == ["close ES"]


async def test_004_3_one_loser_is_closed_and_the_winner_stays(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    await d.position("ES", 1, 5800)
    await d.quote("ES", 5802.0)  # +100
    await d.quote("MNQ", 20920.0)  # -320
    assert d.actions == ["close MNQ"]

    together = desk(daily_unrealized_loss=ACCOUNT)
    await together.position("MNQ", 2, 21000)
    await together.position("ES", 1, 5800)
    await together.quote("ES", 5802.0)
    await together.quote("MNQ", 20920.0)
    assert together.actions == []  # -220


async def test_004_4_a_gap_is_closed_at_what_it_is(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20950)
    await d.quote("MNQ", 20880)
    assert d.actions == ["close MNQ"]
    assert d.reasons == ["MNQZ6 is down $480.00, limit $300.00; closing 2 MNQZ6"]


async def test_004_5_an_old_price_gives_no_verdict_and_is_told(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.quote("MNQ", 20900)
    await d.wait(seconds=25)
    await d.position("MNQ", 2, 21000)
    assert d.actions == []
    await d.wait(seconds=9)
    assert d.decisions == []
    await d.wait(seconds=30)
    assert d.reasons == ["no trusted price for MNQZ6 for 10s; its loss is not watched"]
    assert (d.decisions[0].severity, d.actions) == (Severity.WARNING, [])


async def test_004_5_flatten_after_closes_what_nobody_can_price(desk: DeskMaker) -> None:
    d = desk(
        daily_unrealized_loss=LIMIT,
        desk_defaults=Defaults(flatten_after=timedelta(seconds=60)),
    )
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20990)
    await d.wait(seconds=59)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]
    assert d.reasons[-1] == "no trusted price for MNQZ6 for 1m; closing 2"
    await d.obey()
    assert d.account().is_flat


@pytest.mark.parametrize(
    ("own", "by_default", "closed_after_s"),
    [("flatten_after:20s", None, 20), ("flatten_after:20s", 60, 20), ("hold", 20, None)],
)
async def test_a_rule_may_treat_a_missing_price_otherwise_than_the_defaults(
    desk: DeskMaker, own: str, by_default: int | None, closed_after_s: int | None
) -> None:
    default = None if by_default is None else timedelta(seconds=by_default)
    d = desk(
        daily_unrealized_loss={**LIMIT, "on_missing_data": own},
        desk_defaults=Defaults(flatten_after=default),
    )
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20990)
    if closed_after_s is None:
        await d.wait(minutes=5)
        assert d.actions == []
        return
    await d.wait(seconds=closed_after_s - 1)
    assert d.actions == []
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]


async def test_004_6_a_reversal_starts_at_zero(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20930)  # -280
    await d.position("MNQ", -2, 20930)
    await d.quote("MNQ", 20930)
    await d.quote("MNQ", 21004.75)  # -299
    assert d.actions == []
    await d.quote("MNQ", 21005)
    assert d.actions == ["close MNQ"]


async def test_004_7_the_gateways_average_price_is_used(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 1, 21000)
    await d.position("MNQ", 2, 20995)
    await d.quote("MNQ", 20920.25)
    assert d.actions == []
    await d.quote("MNQ", 20920)
    assert d.actions == ["close MNQ"]


async def test_004_8_the_trader_was_first(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20900)
    await d.position("MNQ", 0)
    await d.settle(d.enforcer.actions[-1], Outcome.GONE)
    await d.wait(seconds=10)
    assert d.actions == ["close MNQ"]
    assert d.alarms == []


@pytest.mark.parametrize(
    ("symbol", "net", "average", "price", "loss"),
    [
        ("MNQ", 2, 21000, 20700, "-$1,200.00"),
        ("ES", 1, 5800, 5792, "-$400.00"),
        ("MNQ", 2, 21000, 20970, "-$120.00"),
        ("MNQ", 2, 21000, 20990, "-$40.00"),
        ("ES", 1, 5800, 5790, "-$500.00"),
    ],
)
async def test_a_tick_is_worth_what_the_contract_record_says(
    desk: DeskMaker, symbol: str, net: int, average: float, price: float, loss: str
) -> None:
    d = desk(daily_unrealized_loss={"limit": 5000})
    await d.position(symbol, net, average)
    await d.quote(symbol, price)
    assert loss in d.meter("daily_unrealized_loss").sentence


# --- what is closed, and what not -----------------------------------------------------------------


async def test_the_orders_of_the_contract_go_too_and_others_stay(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    stop = await d.stop("MNQ", -2, 20800)
    elsewhere = await d.order("ES", 1, price=5700)
    await d.quote("MNQ", 20900)
    await d.obey()
    assert d.actions == ["close MNQ", f"cancel {stop}"]
    assert elsewhere in d.account().orders
    assert d.locked_by() == {}


async def test_a_close_decided_on_stands_though_the_price_comes_back(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    for price in (20925, 20926, 20925, 20940, 20920):
        await d.quote("MNQ", price)
    await d.wait(seconds=2)
    assert d.actions == ["close MNQ"]
    assert len(d.decisions) == 1


async def test_the_account_scope_closes_everything(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=ACCOUNT)
    await d.position("MNQ", 2, 21000)
    await d.position("ES", 1, 5800)
    await d.quote("ES", 5798.0)  # -100
    await d.quote("MNQ", 20950.25)  # -199
    assert d.actions == []
    await d.quote("MNQ", 20950.0)
    assert set(d.actions) == {"close MNQ", "close ES"}
    await d.obey()
    assert (len(d.actions), d.account().is_flat, d.locked_by()) == (2, True, {})
    assert d.reasons == [
        "the open positions together are down $300.00, limit $300.00; closing everything"
    ]


async def test_the_account_scope_can_lock_for_the_day(desk: DeskMaker) -> None:
    d = desk(
        daily_unrealized_loss={
            **ACCOUNT,
            "action": "close_all_and_lockout",
            "lockout": "until_reset",
        }
    )
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20900)
    await d.obey()
    assert d.locked_by() == {"daily_unrealized_loss": "account"}
    await d.position("ES", 1, 5800)
    assert d.actions == ["close MNQ", "close ES"]
    await d.restart()
    assert d.locked_by() == {"daily_unrealized_loss": "account"}


async def test_a_timed_lock_is_not_drawn_out_while_the_close_is_under_way(
    desk: DeskMaker,
) -> None:
    d = desk(daily_unrealized_loss={**LIMIT, "action": "close_all_and_lockout", "lockout": "15m"})
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20900)
    ends = d.lock_ends("daily_unrealized_loss")
    await d.wait(seconds=5)
    await d.quote("MNQ", 20890)
    assert d.lock_ends("daily_unrealized_loss") == ends
    assert len(d.locks_set) == 1


async def test_a_position_without_a_price_never_helps_the_account(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=ACCOUNT)
    await d.position("ES", 1, 5800)
    await d.quote("ES", 5810)  # +500
    await d.wait(seconds=20)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20925.25)  # -299: the old +500 counts as nothing
    assert d.actions == []
    await d.quote("MNQ", 20925)
    assert set(d.actions) == {"close MNQ", "close ES"}


async def test_a_position_without_a_price_counts_as_what_it_last_lost(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=ACCOUNT)
    await d.position("ES", 1, 5800)
    await d.quote("ES", 5796)  # -200
    await d.wait(seconds=20)
    assert d.actions == []
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20975.25)  # -99
    assert d.actions == []
    await d.quote("MNQ", 20975)
    assert set(d.actions) == {"close MNQ", "close ES"}


# --- scope trade ----------------------------------------------------------------------------------


async def test_a_scale_out_does_not_hide_the_loss_of_the_trade(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=TRADE)
    await d.fill("MNQ", 3)
    await d.position("MNQ", 3, 21000)
    await d.fill("MNQ", -2, pnl=-200)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 20950.5)  # -99 open
    assert d.actions == []
    await d.quote("MNQ", 20950)
    assert d.actions == ["close MNQ"]
    assert d.reasons == [
        "MNQZ6 and what was closed of it are down $300.00, limit $300.00; closing 1 MNQZ6"
    ]


@pytest.mark.parametrize("position_first", [True, False])
async def test_a_scale_out_is_not_judged_while_half_of_it_is_known(
    desk: DeskMaker, position_first: bool
) -> None:
    d = desk(daily_unrealized_loss=TRADE)
    await d.fill("MNQ", 2)
    await d.position("MNQ", 2, 21000)
    await d.wait(seconds=3)
    await d.quote("MNQ", 20930)  # -280
    if position_first:
        await d.position("MNQ", 1, 21000)
        await d.quote("MNQ", 20930)
        await d.fill("MNQ", -1, pnl=-140)
    else:
        await d.fill("MNQ", -1, pnl=-140)
        await d.quote("MNQ", 20930)
        await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 20930)
    await d.wait(seconds=3)
    assert d.actions == []


async def test_a_profit_taken_belongs_to_the_trade_and_the_one_before_does_not(
    desk: DeskMaker,
) -> None:
    d = desk(daily_unrealized_loss=TRADE)
    await d.fill("MNQ", 1)
    await d.fill("MNQ", -1, pnl=-250)  # an earlier trade
    await d.fill("MNQ", 2)
    await d.position("MNQ", 2, 21000)
    await d.fill("MNQ", -1, pnl=100)
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 20800.5)  # -399 + 100
    assert d.actions == []
    await d.quote("MNQ", 20800)
    assert d.actions == ["close MNQ"]


async def test_a_reversal_leaves_its_loss_with_the_old_trade(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=TRADE)
    await d.fill("MNQ", 2)
    await d.position("MNQ", 2, 21000)
    await d.fill("MNQ", -2, pnl=-280, order_id=9)
    await d.fill("MNQ", -2, order_id=9)
    await d.position("MNQ", -2, 20930)
    await d.quote("MNQ", 20940)
    assert d.actions == []


# --- confirm --------------------------------------------------------------------------------------

TWICE = {**LIMIT, "confirm": {"quotes": 2, "within": "500ms"}}


async def test_one_bad_print_is_ridden_over(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=TWICE)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20000)
    await d.quote("MNQ", 20990)
    await d.wait(seconds=2)
    assert d.actions == []
    await d.quote("MNQ", 20900)
    assert d.actions == []
    await d.quote("MNQ", 20899)
    assert d.actions == ["close MNQ"]


async def test_a_loss_that_stands_is_acted_on_though_no_second_quote_comes(
    desk: DeskMaker,
) -> None:
    d = desk(daily_unrealized_loss=TWICE)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20900)
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]


async def test_a_quote_of_another_product_confirms_nothing(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=TWICE)
    await d.position("MNQ", 2, 21000)
    await d.position("ES", 1, 5800)
    await d.quote("MNQ", 20900)
    await d.quote("ES", 5800)
    await d.order("ES", 1, price=5700)
    assert d.actions == []


# --- prices that cannot be trusted ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("average", "bid", "ask"),
    [(21000, 20800, 20799), (21000, 15000, 15000)],  # crossed; more than a fifth away
)
async def test_a_price_that_hardly_can_be_gives_no_verdict_for_a_moment(
    desk: DeskMaker, average: float, bid: float, ask: float
) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, average)
    await d.quote("MNQ", bid=bid, ask=ask)
    assert (d.actions, d.decisions) == ([], [])
    assert d.meter("daily_unrealized_loss").current is None
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]


@pytest.mark.parametrize(
    ("average", "bid", "ask"),
    [
        (21000, 0, 0),
        (0, 20800, 20800),  # nobody said the average
    ],
)
async def test_a_price_that_cannot_be_gives_no_verdict(
    desk: DeskMaker, average: float, bid: float, ask: float
) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, average)
    for _ in range(3):
        await d.quote("MNQ", bid=bid, ask=ask)
        await d.wait(seconds=1)
    assert (d.actions, d.decisions) == ([], [])
    assert d.meter("daily_unrealized_loss").current is None


async def test_no_price_at_all_is_told_after_ten_seconds(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    await d.wait(seconds=9)
    assert d.decisions == []
    await d.wait(seconds=2)
    assert d.reasons == ["no trusted price for MNQZ6 for 10s; its loss is not watched"]
    await d.quote("MNQ", 21010)
    await d.wait(seconds=2)
    assert len(d.decisions) == 1


async def test_an_unknown_side_has_no_result(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000, type=0)
    await d.quote("MNQ", 20000)
    assert d.actions == []


async def test_while_the_exchange_is_shut_no_price_is_missed(desk: DeskMaker) -> None:
    d = desk(
        daily_unrealized_loss=LIMIT,
        desk_at=datetime(2026, 11, 19, 21, 59, 55, tzinfo=UTC),  # almost four in Chicago
        desk_defaults=Defaults(flatten_after=timedelta(seconds=60)),
    )
    await d.position("MNQ", 1, 21000)
    await d.quote("MNQ", 20990)
    await d.wait(minutes=60)
    assert (d.actions, d.decisions) == ([], [])
    await d.wait(seconds=6)
    assert d.actions == []  # shut for an hour; the time without a price begins at the opening
    await d.wait(seconds=65)
    assert d.actions == ["close MNQ"]


async def test_the_worst_price_can_be_asked_for(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT, desk_defaults=Defaults(pnl_price=PriceBasis.WORST))
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", bid=20930, ask=20930.5, last=20925)
    assert d.actions == ["close MNQ"]


# --- restart, shadow ------------------------------------------------------------------------------


async def test_after_a_restart_the_first_quote_is_waited_for(desk: DeskMaker) -> None:
    d = desk(
        daily_unrealized_loss=LIMIT,
        desk_defaults=Defaults(flatten_after=timedelta(seconds=60)),
    )
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20990)
    await d.wait(seconds=50)
    d.now += timedelta(minutes=10)
    await d.restart()
    await d.wait(seconds=50)
    assert d.actions == []
    await d.quote("MNQ", 20920)
    assert d.actions == ["close MNQ"]


async def test_a_close_under_way_is_finished_after_a_restart(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20900)
    await d.restart()
    assert d.actions == ["close MNQ", "close MNQ"]
    assert len(d.decisions) == 1


async def test_shadow_tells_once_and_touches_nothing(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT, desk_mode=Mode.SHADOW)
    await d.position("MNQ", 2, 21000)
    await d.position("ES", 1, 5800)
    for price in (20900, 20899, 20898):
        await d.quote("MNQ", price)
        await d.quote("ES", 5800)
        await d.wait(seconds=1)
    assert d.actions == []
    assert [x.shadow for x in d.decisions] == [True]

    one = desk(daily_unrealized_loss={**LIMIT, "shadow": True})
    await one.position("MNQ", 2, 21000)
    await one.quote("MNQ", 20900)
    assert (one.actions, one.reasons[0][:25]) == ([], "MNQZ6 is down $400.00, li")


# --- with other rules -----------------------------------------------------------------------------


async def test_worked_a_loser_above_its_size_ends_the_day(desk: DeskMaker) -> None:
    d = desk(
        max_contracts_per_instrument={"limits": {"MNQ": 2}},
        daily_unrealized_loss=LIMIT,
        daily_realized_loss={"limit": 500},
        cooldown_after_loss={"tiers": [{"loss": 300, "cooldown": "30m"}]},
    )
    await d.loss(450)
    await d.wait(minutes=31)
    assert d.locked_by() == {}
    await d.quote("MNQ", 20948.25)
    await d.position("MNQ", 3, 21000)  # -310.50
    assert d.actions == ["close MNQ"]
    assert d.decisions[-1].spec_id == "RULE-004"
    await d.fill("MNQ", -3, pnl=-312)
    await d.position("MNQ", 0)
    await d.settle(d.enforcer.actions[-1])
    assert d.locked_by() == {"daily_realized_loss": "account"}
    await d.wait(seconds=1)
    assert d.locked_by() == {"daily_realized_loss": "account", "cooldown_after_loss": "account"}
    assert d.lock_ends("cooldown_after_loss") == d.now + timedelta(minutes=30, seconds=-1)
    await d.wait(minutes=40)
    assert d.locked_by() == {"daily_realized_loss": "account"}
    assert d.actions == ["close MNQ"]


async def test_worked_the_size_is_cut_first_and_the_close_follows(desk: DeskMaker) -> None:
    d = desk(max_contracts_per_instrument={"limits": {"MNQ": 2}}, daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 3, 21000)
    await d.quote("MNQ", 20948.25)
    assert d.actions == ["reduce MNQ to 2"]  # one call at a time for a contract
    await d.settle(d.enforcer.actions[-1], Outcome.DONE)
    await d.obey()
    assert d.actions == ["reduce MNQ to 2", "close MNQ"]
    assert {x.spec_id for x in d.decisions} == {"RULE-002", "RULE-004"}


# --- the meter, the configuration -----------------------------------------------------------------


async def test_the_meter_counts_in_ticks_of_the_worst_position(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss=LIMIT)
    await d.position("MNQ", 2, 21000)
    assert d.meter("daily_unrealized_loss").sentence == "no trusted price for MNQZ6"
    await d.quote("MNQ", 20970)
    meter = d.meter("daily_unrealized_loss")
    assert meter.sentence == "MNQZ6 -$120.00, $180.00 left of $300.00 = 180 ticks on 2"
    assert (meter.current, meter.headroom, meter.unit) == (Decimal(120), Decimal(180), "USD")
    await d.position("MNQ", 0)
    assert d.meter("daily_unrealized_loss").sentence == "nothing open; limit $300.00"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"limit": 0}, "greater than 0"),
        ({"limit": -300}, "greater than 0"),
        ({"limit": 300, "scope": "account", "action": "close_position"}, "scope account"),
        ({"limit": 300, "lockout": "until_reset"}, "a lockout does not go with"),
        ({"limit": 300, "action": "close_all", "lockout": "1h"}, "a lockout does not go with"),
        ({"limit": 300, "action": "close_all_and_lockout"}, "needs a lockout"),
        ({"limit": 300, "confirm": {"quotes": 2}}, "within must say"),
        ({"limit": 300, "confirm": {"quotes": 0}}, "greater than 0"),
        ({"limit": 300, "scope": "day"}, "'position', 'account' or 'trade'"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        rules_from(daily_unrealized_loss=fields)


def test_the_account_scope_needs_no_action_written() -> None:
    (rule,) = rules_from(daily_unrealized_loss=ACCOUNT)
    assert (rule.model_dump()["action"], rule.rank) == ("close_all", 50)
