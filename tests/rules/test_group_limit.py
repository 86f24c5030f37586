"""One limit over several accounts (EXTRA-015), example by example."""

from decimal import Decimal

import pytest
from desk import Desk, DeskMaker, rules_from
from pydantic import ValidationError

from risk_manager.domain.locks import LockPolicy, Release
from risk_manager.domain.rule import MeterState
from risk_manager.domain.rulebook import AccountRules

LEADER, FOLLOWER, OTHER = 101, 102, 103
GROUP = [LEADER, FOLLOWER, OTHER]


async def group_of(desk: DeskMaker, *, more: int = 0, **fields: object) -> Desk:
    """A desk with three accounts of a group, all read, and `more` accounts besides."""
    accounts = (*GROUP, *range(201, 201 + more))
    d = desk(group_limit={"accounts": GROUP, **fields}, desk_accounts=accounts)
    for account in accounts:
        await d.report(positions={}, account=account, trades=[])
    return d


def said(d: Desk) -> list[tuple[int, str]]:
    """Each action with its account."""
    return [(a.account_id, s) for a, s in zip(d.enforcer.actions, d.actions, strict=True)]


# --- contracts ------------------------------------------------------------------------------------


async def test_015_1_the_limit_itself_is_fine_and_the_newest_goes_above_it(desk: DeskMaker) -> None:
    d = await group_of(desk, measure="contracts", limit=5)
    await d.position("MNQ", 2, account=LEADER)
    await d.wait(seconds=1)
    await d.position("MNQ", 3, account=FOLLOWER)
    assert said(d) == []
    await d.wait(seconds=1)
    await d.position("MNQ", 1, account=OTHER)
    assert said(d) == [(OTHER, "close MNQ")]
    assert d.reasons == ["the accounts 101, 102, 103 hold 6 contracts, limit 5; closing 1 MNQZ6"]


async def test_015_2_the_event_may_come_from_another_member_than_the_one_to_be_cut(
    desk: DeskMaker,
) -> None:
    d = await group_of(desk, measure="contracts", limit=4)
    await d.position("MNQ", 3, account=LEADER)
    await d.wait(seconds=1)
    entry = await d.order("MES", 1, price=5900, account=FOLLOWER)
    step = await d.position("MNQ", 5, account=LEADER)
    assert said(d) == [(LEADER, "reduce MNQ to 4"), (FOLLOWER, f"cancel {entry}")]
    assert {a.account_id for a in step.actions} == {LEADER, FOLLOWER}


async def test_015_3_a_close_of_one_member_is_not_asked_of_another_too(desk: DeskMaker) -> None:
    d = await group_of(desk, measure="contracts", limit=4)
    await d.position("MNQ", 2, account=LEADER)
    await d.wait(seconds=1)
    await d.position("MNQ", 2, account=FOLLOWER)
    await d.wait(seconds=1)
    await d.position("MNQ", 2, account=OTHER)
    assert said(d) == [(OTHER, "close MNQ")]
    await d.position("MES", 1, account=LEADER)  # while the close is under way
    assert said(d) == [(OTHER, "close MNQ"), (LEADER, "close MES")]
    await d.obey()
    await d.wait(minutes=2)
    assert said(d) == [(OTHER, "close MNQ"), (LEADER, "close MES")]


async def test_015_4_an_excess_over_several_members_is_cut_in_each(desk: DeskMaker) -> None:
    d = await group_of(desk, measure="contracts", limit=9)
    await d.position("MNQ", 3, account=LEADER)
    await d.wait(seconds=1)
    await d.position("MNQ", 3, account=FOLLOWER)
    await d.wait(seconds=1)
    await d.position("MNQ", 3, account=OTHER)
    await d.new_rules(rules_from(group_limit={"accounts": GROUP, "measure": "contracts",
                                              "limit": 4}))  # fmt: skip
    assert said(d) == [(FOLLOWER, "reduce MNQ to 1"), (OTHER, "close MNQ")]


async def test_015_5_minis_count_as_their_micros(desk: DeskMaker) -> None:
    d = await group_of(desk, measure="micro_equivalents", limit=50)
    await d.position("ES", 4, 6000, account=LEADER)
    await d.wait(seconds=1)
    await d.position("MES", 11, 6000, account=FOLLOWER)
    assert said(d) == [(FOLLOWER, "reduce MES to 10")]


async def test_015_6_longs_and_shorts_of_different_accounts_do_not_cancel_out(
    desk: DeskMaker,
) -> None:
    d = await group_of(desk, measure="contracts", limit=5)
    await d.position("MNQ", 3, account=LEADER)
    await d.wait(seconds=1)
    await d.position("MNQ", -3, account=FOLLOWER)
    assert said(d) == [(FOLLOWER, "reduce MNQ to 2")]


async def test_015_7_entry_orders_of_every_member_go_while_it_is_exceeded(desk: DeskMaker) -> None:
    d = await group_of(desk, measure="contracts", limit=2)
    entry = await d.order("MES", 1, price=5900, account=LEADER)
    await d.position("MNQ", 3, account=FOLLOWER)
    stop = await d.stop("MNQ", -2, account=FOLLOWER)
    assert said(d) == [(FOLLOWER, "reduce MNQ to 2"), (LEADER, f"cancel {entry}")]
    assert stop in d.account(FOLLOWER).orders

    kept = await group_of(desk, measure="contracts", limit=2, cancel_entry_orders=False)
    await kept.order("MES", 1, price=5900, account=LEADER)
    await kept.position("MNQ", 3, account=FOLLOWER)
    assert said(kept) == [(FOLLOWER, "reduce MNQ to 2")]


async def test_015_8_an_account_outside_the_group_neither_counts_nor_is_touched(
    desk: DeskMaker,
) -> None:
    d = await group_of(desk, more=1, measure="contracts", limit=3)
    await d.position("MNQ", 9, account=201)
    await d.position("MNQ", 3, account=LEADER)
    assert said(d) == []


async def test_015_9_a_member_in_shadow_counts_and_the_others_are_cut_for_it(
    desk: DeskMaker,
) -> None:
    fields = {"accounts": GROUP, "measure": "contracts", "limit": 3}
    own = rules_from(group_limit=fields)
    told = rules_from(group_limit={**fields, "shadow": True})
    d = desk(desk_accounts=tuple(GROUP), desk_per_account={101: own, 102: told, 103: own})
    for account in GROUP:
        await d.report(positions={}, account=account)
    await d.position("MNQ", 2, account=LEADER)
    await d.wait(seconds=1)
    await d.position("MNQ", 3, account=FOLLOWER)
    assert said(d) == [(LEADER, "close MNQ")]


# --- the loss of the day --------------------------------------------------------------------------


async def test_015_10_a_loss_of_all_together_locks_every_member(desk: DeskMaker) -> None:
    d = await group_of(desk, measure="day_loss", limit=1000)
    await d.position("MNQ", 2, account=FOLLOWER)
    await d.order("MES", 1, price=5900, account=OTHER)
    await d.loss(400, account=LEADER)
    await d.loss(599.99, account=FOLLOWER)
    assert said(d) == []
    await d.loss("0.01", account=LEADER)  # exactly the limit
    assert sorted(said(d)) == [(FOLLOWER, "close MNQ"), (OTHER, "cancel 1001")]
    for account in GROUP:
        (lock,) = d.account(account).locks.values()
        assert (lock.policy, lock.release) == (LockPolicy.FLAT, Release.RESET)
        assert not lock.admin_may_clear
    assert d.reasons[0] == (
        "the accounts 101, 102, 103 lost $1,000.00 today, limit $1,000.00; locked flat"
    )


async def test_015_11_a_profit_of_one_member_makes_room_for_another(desk: DeskMaker) -> None:
    d = await group_of(desk, measure="day_loss", limit=1000)
    await d.win(500, account=LEADER)
    await d.loss(1400, account=FOLLOWER)
    assert d.decisions == []
    await d.fill("MNQ", -1, pnl=-99, fees=1, account=OTHER)  # fees count
    assert {x.account_id for x in d.decisions} == set(GROUP)


async def test_015_12_what_was_reached_holds_for_a_member_that_comes_later(desk: DeskMaker) -> None:
    """The losing trade is voided after the lock; a member read only then is locked all the same."""
    d = await group_of(desk, measure="day_loss", limit=1000)
    await d.restart(read=False)
    await d.read_whole(LEADER)
    lost = await d.loss(1000, account=LEADER)
    assert [d.locked_by(a) for a in GROUP] == [{"group_limit": "account"}, {}, {}]
    await d.fill("MNQ", -1, pnl=-1000, trade_id=lost, voided=True, account=LEADER)
    await d.read_whole(FOLLOWER)
    assert [d.locked_by(a) for a in GROUP] == [{"group_limit": "account"}] * 2 + [{}]
    await d.wait(seconds=4)  # the third is never read; what is known of it is judged by now
    assert [d.locked_by(a) for a in GROUP] == [{"group_limit": "account"}] * 3
    assert d.reasons[-1].startswith("locked with account 101: the accounts 101, 102, 103 lost")
    await d.admin("unlock", account=OTHER)
    assert "unlock_refused" in d.alarms


async def test_015_13_the_reset_ends_all_of_them_and_the_next_day_begins_at_zero(
    desk: DeskMaker,
) -> None:
    d = await group_of(desk, measure="day_loss", limit=1000)
    await d.loss(1000, account=LEADER)
    await d.wait(hours=6)
    assert [d.locked_by(a) for a in GROUP] == [{}] * 3
    await d.loss(999, account=FOLLOWER)
    assert [d.locked_by(a) for a in GROUP] == [{}] * 3


async def test_015_14_a_restart_keeps_sums_and_locks(desk: DeskMaker) -> None:
    d = await group_of(desk, measure="day_loss", limit=1000)
    await d.loss(600, account=LEADER)
    await d.restart()
    await d.loss(400, account=FOLLOWER)
    assert [d.locked_by(a) for a in GROUP] == [{"group_limit": "account"}] * 3
    await d.restart()
    await d.position("MNQ", 1, account=OTHER)
    assert said(d) == [(OTHER, "close MNQ")]


async def test_015_15_open_positions_count_where_the_rule_is_told_so(desk: DeskMaker) -> None:
    d = await group_of(desk, measure="day_loss", limit=1000, include_unrealized=True)
    await d.loss(400, account=OTHER)
    await d.position("MNQ", 10, 21000, account=LEADER)
    await d.quote("MNQ", 21000)
    await d.quote("MNQ", 20970.25)  # 119 ticks of 5 dollars: -595
    assert d.decisions == []
    await d.quote("MNQ", 20970)
    assert {x.account_id for x in d.decisions} == set(GROUP)  # whoever holds the contract or not
    assert said(d) == [(LEADER, "close MNQ")]


async def test_015_16_a_gain_at_an_old_price_excuses_no_loss(desk: DeskMaker) -> None:
    d = await group_of(desk, measure="day_loss", limit=1000, include_unrealized=True)
    await d.position("MNQ", 10, 21000, account=LEADER)
    await d.quote("MNQ", 21100)  # +1000
    await d.loss(1000, account=FOLLOWER)
    assert d.decisions == []
    await d.wait(seconds=12)
    assert {x.account_id for x in d.decisions if x.severity == "breach"} == set(GROUP)


# --- members in doubt -----------------------------------------------------------------------------


async def test_015_17_a_member_that_was_never_read_is_unknown_and_told(desk: DeskMaker) -> None:
    d = desk(
        group_limit={"accounts": GROUP, "measure": "contracts", "limit": 3},
        desk_accounts=(LEADER, FOLLOWER),
    )
    for account in (LEADER, FOLLOWER):
        await d.report(positions={}, account=account)
    await d.wait(seconds=9)
    assert d.decisions == []
    await d.wait(seconds=2)
    assert [(x.account_id, x.reason) for x in d.decisions] == [
        (LEADER, "account 103 of the group: is not in the login; it is not counted")
    ]
    meter = d.meter("group_limit")
    assert (meter.state, meter.current) == (MeterState.UNKNOWN, None)
    assert meter.sentence == "101, 102, 103 hold 0 contracts, limit 3; 103 not known"
    await d.position("MNQ", 4, account=LEADER)  # what is known is enough
    assert said(d) == [(LEADER, "reduce MNQ to 3")]
    assert d.meter("group_limit").state is MeterState.BREACH


async def test_015_18_a_member_that_is_not_seen_counts_as_last_known(desk: DeskMaker) -> None:
    d = await group_of(desk, measure="contracts", limit=5)
    await d.hub("user", "up")
    await d.position("MNQ", 3, account=LEADER)
    await d.hub("user", "down")
    await d.wait(seconds=12)
    told = [x.reason for x in d.decisions]
    assert len(told) == 3
    assert told[0].startswith("account 101 of the group: the user stream is down")
    assert told[0].endswith("it counts as last known")
    await d.report(positions={"MNQ": 3}, account=FOLLOWER)
    assert said(d) == [(FOLLOWER, "reduce MNQ to 2")]


async def test_015_19_after_a_restart_a_member_not_read_yet_counts_as_it_was(
    desk: DeskMaker,
) -> None:
    d = await group_of(desk, measure="contracts", limit=5)
    await d.position("MNQ", 4, account=LEADER)
    await d.restart(read=False)
    await d.wait(seconds=1)
    await d.read_whole(FOLLOWER)
    await d.position("MNQ", 2, account=FOLLOWER)
    assert said(d) == [(FOLLOWER, "reduce MNQ to 1")]


async def test_an_account_without_a_group_is_judged_by_its_own_events_alone(
    desk: DeskMaker,
) -> None:
    """The event of another account is none of it, nor of the members of a group as such."""
    d = desk(
        trade_frequency_limit={
            "count": "orders",
            "windows": [{"per": "1m", "max": 2, "cooldown": "5m"}],
        },
        group_limit={"accounts": [101, 102], "measure": "contracts", "limit": 9},
        desk_accounts=(101, 102, 103),
    )
    for _ in range(3):
        await d.order("MNQ", 1, price=20000, account=101)
    assert d.locked_by(101) == {"trade_frequency_limit": "account"}
    assert d.locked_by(102) == d.locked_by(103) == {}


def test_the_accounts_judged_together_are_those_of_the_group() -> None:
    (rule,) = rules_from(group_limit={"accounts": GROUP, "measure": "contracts", "limit": 1})
    (other,) = rules_from(max_contracts={"limit": 1})
    assert AccountRules.of([rule, other]).judged_with == set(GROUP)
    assert AccountRules.of([other]).judged_with == frozenset()


async def test_the_meter_names_the_sum(desk: DeskMaker) -> None:
    d = await group_of(desk, measure="day_loss", limit=1000)
    await d.loss(800, account=LEADER)
    meter = d.meter("group_limit", account=OTHER)
    assert (meter.current, meter.limit) == (Decimal(800), Decimal(1000))
    assert meter.state is MeterState.WARN
    assert meter.sentence == "101, 102, 103 lost $800.00 today, limit $1,000.00"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"accounts": [101], "measure": "contracts", "limit": 5}, "two or more"),
        ({"measure": "contracts", "limit": 5}, "two or more"),
        ({"accounts": GROUP, "measure": "contracts", "limit": "2.5"}, "whole number"),
        (
            {"accounts": GROUP, "measure": "contracts", "limit": 2, "include_unrealized": True},
            "belongs to measure",
        ),
        ({"accounts": GROUP, "measure": "day_loss", "limit": -5}, "greater than 0"),
    ],
)
def test_a_group_without_sense_is_refused(fields: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        rules_from(group_limit=fields)
