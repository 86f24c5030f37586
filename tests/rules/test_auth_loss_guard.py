"""RULE-010, example by example (confirm 2 s, alarm after 10 s without a stream)."""

from datetime import timedelta
from typing import Any

import pytest
from desk import DeskMaker, rules_from
from pydantic import ValidationError

from risk_manager.domain.decisions import Outcome
from risk_manager.domain.rulebook import Mode

RULE: dict[str, Any] = {}
LOCKED = {"auth_loss_guard": "account"}


async def test_010_1_what_the_platform_restricts_is_closed_and_locked(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE)
    await d.can_trade(True)
    await d.position("MNQ", 1)
    await d.position("ES", 1, 6000)
    order = await d.order("RTY", 1, price=2200)
    await d.can_trade(False)
    assert d.locked_by() == LOCKED
    assert d.taken() == [f"cancel {order}"]  # entries at once; closes once it is confirmed
    await d.wait(seconds=2)
    assert sorted(d.taken()) == ["close ES", "close MNQ"]
    await d.obey()
    assert d.account().is_flat
    assert d.reasons == ["the platform does not let the account trade; locked until it does"]


async def test_010_2_a_restriction_found_at_the_start_counts(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE)
    await d.can_trade(False)
    await d.wait(seconds=5)
    assert d.locked_by() == LOCKED
    assert d.actions == []


async def test_010_3_a_flicker_closes_nothing(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE)
    await d.can_trade(True)
    await d.position("MNQ", 1)
    await d.can_trade(False)
    await d.wait(seconds=1)
    await d.can_trade(True)
    await d.wait(seconds=5)
    assert d.actions == []
    assert d.locked_by() == {}
    assert [c.cleared_by for c in d.locks_cleared] == ["can_trade_restored"]


async def test_010_4_the_same_word_twenty_times_is_one_restriction(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE)
    await d.position("MNQ", 1)
    for number in range(20):
        await d.can_trade(False, balance=50_000 + number)
        await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]
    assert len(d.decisions) == 1


async def test_010_5_another_lock_outlasts_the_restriction(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE, daily_realized_loss={"limit": "500"})
    await d.loss(500)
    await d.can_trade(False)
    await d.wait(seconds=5)
    assert d.locked_by() == {**LOCKED, "daily_realized_loss": "account"}
    await d.can_trade(True)
    assert d.locked_by() == {"daily_realized_loss": "account"}


async def test_010_6_the_other_account_is_not_touched(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE, desk_accounts=(101, 102))
    await d.position("MNQ", 1, account=101)
    await d.position("MNQ", 1, account=102)
    await d.can_trade(True, account=102)
    await d.can_trade(False, account=101)
    await d.wait(seconds=3)
    assert [(a.account_id, a.contract_id) for a in d.enforcer.actions] == [
        (101, "CON.F.US.MNQ.Z26")
    ]
    assert d.locked_by(102) == {}


async def test_010_7_a_lost_stream_is_an_alarm_and_what_was_missed_is_judged_late(
    desk: DeskMaker,
) -> None:
    d = desk(auth_loss_guard=RULE, daily_realized_loss={"limit": "500"})
    await d.position("MNQ", 10)
    await d.hub("user", "up")
    await d.report(positions={"MNQ": 10})
    await d.hub("user", "down")
    await d.wait(seconds=9)
    assert d.reasons == []
    await d.wait(seconds=31)
    assert d.reasons == [
        "the user stream is down: positions and orders are not seen; nothing is closed blindly; "
        "watch the account in the trading platform"
    ]
    assert d.actions == []
    stopped_at = d.now - timedelta(seconds=20)
    await d.hub("user", "up")
    await d.report(
        positions={},
        trades=[
            {
                "id": 7,
                "accountId": 101,
                "contractId": "CON.F.US.MNQ.Z26",
                "creationTimestamp": stopped_at,
                "price": 20970,
                "profitAndLoss": -600,
                "fees": 0,
                "side": 1,
                "size": 10,
                "orderId": 70,
            }
        ],
    )
    assert d.account().positions == {}
    assert d.locked_by() == {"daily_realized_loss": "account"}


async def test_a_stream_that_is_back_but_not_reconciled_is_told(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE)
    await d.report(positions={})
    await d.hub("user", "up")
    await d.wait(seconds=1)
    await d.hub("user", "down")
    await d.wait(seconds=3)
    await d.hub("user", "up")
    await d.wait(seconds=11)
    assert d.reasons[-1].startswith("the user stream is back, but the account has not been read")
    await d.report(positions={})
    told = len(d.reasons)
    await d.wait(seconds=30)
    assert len(d.reasons) == told


async def test_the_market_stream_is_missed_too(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE)
    await d.hub("market", "down")
    await d.wait(seconds=11)
    assert d.reasons == [
        "the market stream is down: prices are not seen; limits on open profit and loss cannot "
        "be judged"
    ]
    assert d.meter("auth_loss_guard").sentence.endswith("no market stream")


async def test_an_administrator_cannot_clear_it_while_it_holds(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE)
    await d.can_trade(False)
    await d.admin("unlock")
    assert d.locked_by() == LOCKED
    assert "unlock_refused" in d.alarms


async def test_the_reset_does_not_clear_it(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE)
    await d.can_trade(False)
    await d.wait(days=1)
    assert d.locked_by() == LOCKED


async def test_it_survives_a_restart_and_ends_with_the_restriction(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE)
    await d.can_trade(False)
    await d.wait(seconds=3)
    await d.restart()
    await d.position("MNQ", 1)
    assert d.actions == ["close MNQ"]
    await d.can_trade(True)
    assert d.locked_by() == {}


async def test_a_platform_that_refuses_the_close_is_not_hammered(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE)
    await d.position("MNQ", 1)
    await d.can_trade(False)
    await d.wait(seconds=2)
    for number, pause in enumerate((1, 2, *[5] * 6, *[10] * 5), start=1):
        await d.settle(d.enforcer.actions[-1], Outcome.REFUSED, code=8)
        await d.wait(seconds=pause - 1)
        assert d.actions == ["close MNQ"] * number
        await d.wait(seconds=1)
    assert d.actions == ["close MNQ"] * 14
    assert "cannot_enforce" in d.alarms


async def test_a_missing_word_keeps_the_last_one_and_is_told(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE)
    await d.can_trade(True)
    await d.can_trade(None)
    await d.wait(seconds=5)
    assert d.locked_by() == {}
    assert d.reasons == [
        "the platform did not say whether the account may trade; last known: it may"
    ]

    strict = desk(auth_loss_guard={"can_trade": {"missing_field": "restrict"}})
    await strict.can_trade(True)
    await strict.position("MNQ", 1)
    await strict.can_trade(None)
    assert strict.locked_by() == LOCKED
    assert strict.actions == []
    await strict.wait(seconds=2)
    assert strict.actions == ["close MNQ"]
    await strict.can_trade(True)
    assert strict.locked_by() == {}


async def test_an_account_that_is_hidden_is_told(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE)
    await d.can_trade(True, isVisible=False)
    await d.wait(seconds=3)
    assert d.reasons == ["the platform no longer shows this account"]
    assert d.actions == []


async def test_lock_only_holds_and_alert_only_tells(desk: DeskMaker) -> None:
    hold = desk(auth_loss_guard={"on_restrict": "lockout_only"})
    await hold.position("MNQ", 1)
    await hold.can_trade(False)
    await hold.wait(seconds=10)
    assert (hold.actions, hold.locked_by()) == ([], LOCKED)
    await hold.position("MNQ", 2)
    assert hold.actions == ["reduce MNQ to 1"]

    alert = desk(auth_loss_guard={"on_restrict": "alert"})
    await alert.position("MNQ", 1)
    await alert.can_trade(False)
    await alert.wait(seconds=10)
    assert (alert.actions, alert.locked_by()) == ([], {})
    assert alert.reasons == ["the platform does not let the account trade"]


async def test_only_the_edge_counts_where_the_start_is_not_checked(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard={"can_trade": {"startup_check": False}})
    await d.can_trade(False)
    await d.wait(seconds=5)
    assert d.locked_by() == {}
    await d.can_trade(True)
    await d.can_trade(False)
    assert d.locked_by() == LOCKED


async def test_an_administrator_may_be_asked_for_after_the_restriction(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard={"auto_unlock_on_restore": False})
    await d.can_trade(False)
    await d.wait(seconds=5)
    await d.can_trade(True)
    await d.wait(minutes=5)
    assert d.locked_by() == LOCKED
    await d.admin("unlock")
    await d.wait(minutes=5)
    assert d.locked_by() == {}


async def test_shadow_tells_and_locks_nothing(desk: DeskMaker) -> None:
    d = desk(auth_loss_guard=RULE, desk_mode=Mode.SHADOW)
    await d.position("MNQ", 1)
    await d.can_trade(False)
    await d.wait(seconds=5)
    assert (d.actions, d.locked_by()) == ([], {})
    assert len(d.decisions) == 1


@pytest.mark.parametrize(
    ("allowed", "sentence", "state"),
    [
        (True, "the platform lets the account trade", "ok"),
        (False, "the platform does not let the account trade", "breach"),
        (None, "not yet known whether the platform lets the account trade", "unknown"),
    ],
)
async def test_the_meter(desk: DeskMaker, allowed: bool | None, sentence: str, state: str) -> None:
    d = desk(auth_loss_guard=RULE)
    await d.can_trade(allowed)
    meter = d.meter("auth_loss_guard")
    assert (meter.sentence, meter.state) == (sentence, state)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"can_trade": {"poll": "5s"}}, "not between 10s and 10m"),
        ({"can_trade": {"poll": "11m"}}, "not between 10s and 10m"),
        ({"can_trade": {"confirm": "2m"}}, "longer than 1m"),
        ({"can_trade": {"missing_field": "ignore"}}, "'alert' or 'restrict'"),
        ({"consecutive_losses": 3}, "consecutive_loss_limit"),
        ({"on_restrict": "close_all"}, "close_all_and_lockout"),
        ({"connection_loss": {"alert_after": 10}}, "not a duration"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        rules_from(auth_loss_guard=fields)
