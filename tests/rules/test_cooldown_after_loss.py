"""RULE-007, example by example (100/5m, 200/15m, 300/30m)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar, Literal

import pytest
from desk import MORNING, Desk, DeskMaker, rules_from
from pydantic import ValidationError

from risk_manager.domain.decisions import Close, Outcome, Verdict
from risk_manager.domain.rule import MeterState, Rule
from risk_manager.domain.rulebook import Mode
from risk_manager.domain.view import View

TIERS = [
    {"loss": 100, "cooldown": "5m"},
    {"loss": 200, "cooldown": "15m"},
    {"loss": 300, "cooldown": "30m"},
]
LIMIT = {"tiers": TIERS}
RULE = "cooldown_after_loss"
LOCKED = {RULE: "account"}


async def settled(d: Desk) -> None:
    """Long enough for no further fill of the same order to be expected."""
    await d.wait(seconds=1)


def lasts(d: Desk, *, since: Any = MORNING) -> timedelta | None:
    """How long the pause is, from the loss on; None without one."""
    if RULE not in d.locked_by():
        return None
    ends = d.lock_ends(RULE)
    return None if ends is None else ends - since


@pytest.mark.parametrize(
    ("loss", "minutes"), [("99.99", None), ("100", 5), ("199.99", 5), ("250", 15), ("900", 30)]
)
async def test_007_1_and_2_the_deepest_tier_reached_counts(
    desk: DeskMaker, loss: str, minutes: int | None
) -> None:
    d = desk(cooldown_after_loss=LIMIT)
    await d.loss(loss)
    assert d.locked_by() == {}  # it may still be filling
    await settled(d)
    assert lasts(d) == (None if minutes is None else timedelta(minutes=minutes))


@pytest.mark.parametrize(("overlap", "minutes"), [("longest", 32), ("replace", 32), ("add", 35)])
async def test_007_3_a_second_loss_during_the_pause(
    desk: DeskMaker, overlap: str, minutes: int
) -> None:
    d = desk(cooldown_after_loss={**LIMIT, "overlap": overlap})
    await d.position("MNQ", 1)
    await d.position("ES", 1, 5800)
    await d.loss(120)
    await d.position("MNQ", 0)
    await settled(d)
    assert lasts(d) == timedelta(minutes=5)
    await d.wait_until(MORNING + timedelta(minutes=2))
    await d.loss(310, "ES")
    await d.position("ES", 0)
    await settled(d)
    assert lasts(d) == timedelta(minutes=minutes)
    assert d.actions == []


async def test_007_3_a_smaller_loss_never_shortens_the_pause(desk: DeskMaker) -> None:
    d = desk(cooldown_after_loss={**LIMIT, "overlap": "replace"})
    await d.loss(310)
    await settled(d)
    await d.loss(120, "ES")
    await settled(d)
    assert lasts(d) == timedelta(minutes=30)


async def test_007_4_fees_count_unless_gross_is_asked_for(desk: DeskMaker) -> None:
    net = desk(cooldown_after_loss=LIMIT)
    await net.fill("MNQ", 1, fees="0.70")
    await net.loss("99.30", fees="0.70")
    await settled(net)
    assert lasts(net) == timedelta(minutes=5)
    assert net.reasons == ["MNQZ6 trade lost $100.70; no new entries for 4m59s"]

    gross = desk(cooldown_after_loss={**LIMIT, "pnl_basis": "gross"})
    await gross.fill("MNQ", 1, fees="0.70")
    await gross.loss("99.30", fees="0.70")
    await settled(gross)
    assert gross.locked_by() == {}


@pytest.mark.parametrize(("on_reversal", "actions"), [("keep", []), ("close", ["close MNQ"])])
async def test_007_5_what_a_reversal_opened_before_the_lock_is_kept_unless_asked(
    desk: DeskMaker, on_reversal: str, actions: list[str]
) -> None:
    d = desk(cooldown_after_loss={**LIMIT, "reversal_on_loss": on_reversal})
    await d.fill("MNQ", 2)
    await d.position("MNQ", 2)
    await d.fill("MNQ", -2, pnl=-150, order_id=9)
    await d.fill("MNQ", -2, order_id=9)
    await d.position("MNQ", -2, 20900)
    await settled(d)
    assert d.locked_by() == LOCKED
    assert d.actions == actions
    await d.obey()
    await d.position("MNQ", -3, 20900)
    assert d.actions[-1] == ("reduce MNQ to 2" if on_reversal == "keep" else "close MNQ")


async def test_007_6_a_restart_changes_nothing_about_the_pause(desk: DeskMaker) -> None:
    d = desk(cooldown_after_loss=LIMIT)
    await d.loss(100)
    await d.wait(minutes=3)
    await d.restart()
    assert lasts(d, since=d.now) == timedelta(minutes=2)
    await d.wait(minutes=2)
    assert d.locked_by() == {}
    await d.restart()
    await d.wait(seconds=5)
    assert (d.locked_by(), len(d.decisions)) == ({}, 1)


@pytest.mark.parametrize("pnl", ["0.0", None, "50"])
async def test_007_7_what_is_no_loss_pauses_nothing(desk: DeskMaker, pnl: str | None) -> None:
    d = desk(cooldown_after_loss={"tiers": [{"loss": 1, "cooldown": "5m"}]})
    await d.fill("MNQ", -1, pnl=pnl)
    await settled(d)
    assert d.locked_by() == {}


async def test_three_stops_of_one_entry_are_one_loss(desk: DeskMaker) -> None:
    """F5.1: Three one-lot stops that each lose 60 make one losing trade of 180."""
    d = desk(cooldown_after_loss=LIMIT, consecutive_loss_limit={"losses": 3})
    await d.fill("MNQ", 3)
    await d.position("MNQ", 3)
    for left in (2, 1, 0):
        await d.fill("MNQ", -1, pnl=-60)
        await d.position("MNQ", left)
        await d.wait(seconds=20)
    assert d.locked_by() == LOCKED
    assert lasts(d) == timedelta(minutes=5, seconds=40)  # from the last of them on
    assert d.meter("consecutive_loss_limit").current == 1


async def test_a_lot_kept_back_delays_no_pause(desk: DeskMaker) -> None:
    """F5.1: A trade that is still open in part pauses by what it has lost so far."""
    d = desk(cooldown_after_loss=LIMIT, consecutive_loss_limit={"losses": 1})
    await d.fill("MNQ", 3)
    await d.position("MNQ", 3)
    await d.fill("MNQ", -2, pnl=-120)
    await d.position("MNQ", 1)
    await settled(d)
    assert d.locked_by() == LOCKED  # and the trade has not been lost before it has ended


async def test_a_winner_that_gives_some_back_pauses_nothing(desk: DeskMaker) -> None:
    """F5.1: A loss of the last lot counts with what the same trade won before."""
    d = desk(cooldown_after_loss=LIMIT)
    await d.fill("MNQ", 2)
    await d.fill("MNQ", -1, pnl=300)
    await d.fill("MNQ", -1, pnl=-150)
    await settled(d)
    assert d.locked_by() == {}


async def test_partial_exits_of_one_order_add_up(desk: DeskMaker) -> None:
    d = desk(cooldown_after_loss=LIMIT)
    for size in (2, 2, 1):
        await d.fill("MNQ", -size, pnl=-60, order_id=7)
    await settled(d)
    assert lasts(d) == timedelta(minutes=5)
    assert len(d.decisions) == 1

    each = desk(cooldown_after_loss={**LIMIT, "measure": "execution"})
    for size in (2, 2, 1):
        await each.fill("MNQ", -size, pnl=-60, order_id=7)
    await settled(each)
    assert each.locked_by() == {}


async def test_a_fill_that_comes_after_all_deepens_the_same_loss(desk: DeskMaker) -> None:
    d = desk(cooldown_after_loss={**LIMIT, "overlap": "add"})
    await d.loss(120, order_id=7)
    await settled(d)
    await d.loss(100, order_id=7)
    await settled(d)
    assert lasts(d) == timedelta(minutes=15)  # not 5 and 15


async def test_what_is_held_stays_and_nothing_is_added(desk: DeskMaker) -> None:
    d = desk(cooldown_after_loss=LIMIT)
    await d.position("ES", 2, 5800)
    stop = await d.stop("ES", -2, 5790)
    entry = await d.order("MNQ", 1, price=20900)
    await d.loss(150)
    await settled(d)
    await d.obey()
    assert d.taken() == [f"cancel {entry}"]
    await d.position("ES", 3, 5800)
    await d.obey()
    assert d.taken() == ["reduce ES to 2"]
    assert stop in d.account().orders


async def test_close_all_flattens_too(desk: DeskMaker) -> None:
    d = desk(cooldown_after_loss={**LIMIT, "action": "close_all"})
    await d.position("ES", 2, 5800)
    await d.loss(150)
    await settled(d)
    assert d.actions == ["close ES"]
    assert d.reasons == ["MNQZ6 trade lost $150.00; locked flat for 4m59s"]


async def test_a_pause_outlasts_the_daily_reset(desk: DeskMaker) -> None:
    d = desk(cooldown_after_loss=LIMIT, desk_at=MORNING.replace(hour=21, minute=58))
    await d.loss(250)
    await d.wait(minutes=14, seconds=59)
    assert len(d.resets) == 1
    assert d.locked_by() == LOCKED
    await d.wait(seconds=1)
    assert d.locked_by() == {}


def _trade(number: int, when: Any, pnl: float) -> dict[str, Any]:
    return {
        "id": number,
        "accountId": 101,
        "contractId": "CON.F.US.MNQ.Z26",
        "creationTimestamp": when,
        "price": 21000,
        "profitAndLoss": pnl,
        "side": 1,
        "size": 1,
        "orderId": number,
    }


async def test_a_loss_heard_of_late_pauses_only_for_what_is_left(desk: DeskMaker) -> None:
    d = desk(cooldown_after_loss=LIMIT)
    await d.wait(minutes=3)
    await d.report(trades=[_trade(1, MORNING, -150)])
    await settled(d)
    assert lasts(d) == timedelta(minutes=5)

    over = desk(cooldown_after_loss=LIMIT)
    await over.wait(minutes=6)
    await over.report(trades=[_trade(1, MORNING, -150)])
    await settled(over)
    assert over.locked_by() == {}


async def test_late_losses_arrive_in_any_order(desk: DeskMaker) -> None:
    d = desk(cooldown_after_loss=LIMIT)
    await d.wait(minutes=10)
    await d.report(trades=[_trade(2, MORNING + timedelta(minutes=9), -120)])
    await settled(d)
    assert lasts(d) == timedelta(minutes=14)
    await d.report(trades=[_trade(1, MORNING, -310)])
    await settled(d)
    assert lasts(d) == timedelta(minutes=30)


async def test_a_gateway_clock_a_little_behind_does_not_shorten_the_pause(
    desk: DeskMaker,
) -> None:
    d = desk(cooldown_after_loss=LIMIT)
    await d.loss(100, at=MORNING - timedelta(seconds=4))
    await settled(d)
    assert lasts(d) == timedelta(minutes=5)


async def test_a_loss_that_is_voided_before_it_is_complete_pauses_nothing(
    desk: DeskMaker,
) -> None:
    d = desk(cooldown_after_loss=LIMIT)
    busted = await d.loss(150)
    await d.fill("MNQ", -1, pnl=-150, trade_id=busted, order_id=busted, voided=True)
    await settled(d)
    assert d.locked_by() == {}


async def test_an_administrator_may_end_the_pause(desk: DeskMaker) -> None:
    d = desk(cooldown_after_loss=LIMIT)
    await d.loss(150)
    await settled(d)
    await d.admin("unlock")
    await d.wait(seconds=10)
    assert d.locked_by() == {}


@pytest.mark.parametrize(("included", "locked"), [(True, LOCKED), (False, {})])
async def test_a_loss_that_another_rule_realised_counts_unless_left_out(
    desk: DeskMaker, included: bool, locked: dict[str, str]
) -> None:
    d = desk(
        cooldown_after_loss={**LIMIT, "include_enforced": included},
        daily_unrealized_loss={"limit": 300},
    )
    await d.position("MNQ", 2, 21000)
    await d.quote("MNQ", 20900)
    await d.position("MNQ", 0)
    await d.settle(d.enforcer.actions[0], Outcome.DONE)
    await d.fill("MNQ", -2, pnl=-400)
    await d.restart()
    await settled(d)
    assert d.locked_by() == locked


class Bell(Rule):
    """Stands for the session rule: it closes what is open in ES."""

    spec_id: ClassVar[str] = "RULE-009"
    title: ClassVar[str] = "Bell"
    rule: Literal["bell"] = "bell"

    def judge(self, view: View) -> Verdict | None:
        held = [c for c in view.account.positions if view.root(c) == "ES"]
        return Verdict(reason="bell", subject="bell", asks=(Close(held[0]),)) if held else None


async def test_a_loss_at_the_end_of_the_session_does_not_count(desk: DeskMaker) -> None:
    d = Desk([*rules_from(cooldown_after_loss=LIMIT), Bell()])
    await d.position("ES", 1, 5800)
    await d.fill("ES", -1, pnl=-150)
    await d.position("ES", 0)
    await d.settle(d.enforcer.actions[0], Outcome.DONE)
    await settled(d)
    assert d.locked_by() == {}
    await d.wait(seconds=5)
    await d.loss(150, "ES")
    await settled(d)
    assert d.locked_by() == LOCKED


async def test_shadow_tells_and_locks_nothing(desk: DeskMaker) -> None:
    d = desk(cooldown_after_loss=LIMIT, desk_mode=Mode.SHADOW)
    await d.loss(150)
    await d.wait(seconds=5)
    assert (d.locked_by(), len(d.decisions), d.decisions[0].shadow) == ({}, 1, True)


async def test_what_it_remembers_is_forgotten_when_it_no_longer_matters(desk: DeskMaker) -> None:
    d = desk(cooldown_after_loss=LIMIT)
    await d.loss(100)
    await d.wait(minutes=35)
    assert d.account().marks == {}


async def test_the_meter_says_what_pauses_and_for_how_long(desk: DeskMaker) -> None:
    d = desk(cooldown_after_loss=LIMIT)
    await d.loss(40)
    await settled(d)
    meter = d.meter(RULE)
    assert meter.sentence == (
        "a trade that loses $100.00 pauses entries for 5m; the last one lost $40.00; "
        "15m from $200, 30m from $300"
    )
    assert (meter.current, meter.headroom) == (Decimal(0), Decimal(100))
    await d.loss(100)
    await d.wait(minutes=2)
    assert d.meter(RULE).sentence == "no new entries for another 3m"


@pytest.mark.parametrize(
    ("tiers", "result", "told"),
    [
        (TIERS[:1], "40", "; the last one made $40.00"),
        (TIERS[:1], "0", "; the last one made $0.00"),
        (TIERS[:1], None, ""),
        (TIERS[:2], None, "; 15m from $200"),
        (
            [TIERS[0], {"loss": "250.50", "cooldown": "1h"}],
            "-99",
            "; the last one lost $99.00; 1h from $250.50",
        ),
    ],
)
async def test_the_meter_says_wins_losses_and_further_tiers(
    desk: DeskMaker, tiers: list[dict[str, Any]], result: str | None, told: str
) -> None:
    d = desk(cooldown_after_loss={"tiers": tiers})
    await settled(d)
    if result is not None:
        await d.fill("MNQ", -1, pnl=result)
        await settled(d)
    assert d.meter(RULE).sentence == f"a trade that loses $100.00 pauses entries for 5m{told}"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"tiers": []}, "at least 1 item"),
        ({"tiers": [{"loss": -100, "cooldown": "5m"}]}, "greater than 0"),
        ({"tiers": [{"loss": 100, "cooldown": "0s"}]}, "longer than zero"),
        ({"tiers": [{"loss": 100, "cooldown": 300}]}, "is not a duration"),
        ({"tiers": [TIERS[0], {"loss": 100, "cooldown": "9m"}]}, "stands twice"),
        ({"tiers": [TIERS[0], {"loss": 150, "cooldown": "5m"}]}, "needs a longer cooldown"),
        ({"tiers": [TIERS[1], {"loss": 100, "cooldown": "1h"}]}, "needs a longer cooldown"),
        ({**LIMIT, "overlap": "sum"}, "Input should be"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        rules_from(cooldown_after_loss=fields)


def test_tiers_may_be_written_in_any_order() -> None:
    (rule,) = rules_from(cooldown_after_loss={"tiers": list(reversed(TIERS))})
    assert [t["loss"] for t in rule.model_dump()["tiers"]] == [100, 200, 300]


async def test_a_pause_that_was_cleared_leaves_no_full_bar(desk: DeskMaker) -> None:
    """F7.23: A trade that is over uses up nothing of what the next one may lose."""
    d = desk(cooldown_after_loss=LIMIT)
    await d.fill("MNQ", 2)
    await d.fill("MNQ", -1, pnl=-60)
    assert d.meter(RULE).used == 0.6
    assert d.meter(RULE).sentence.endswith(
        "; this one has lost $60.00; 15m from $200, 30m from $300"
    )
    await d.fill("MNQ", -1, pnl=-244)
    await settled(d)
    assert d.meter(RULE).used == 3.04
    await d.admin("unlock", rule_id=RULE)
    meter = d.meter(RULE)
    assert (d.locked_by(), meter.used, meter.state) == ({}, 0, MeterState.OK)
