"""What locks do to an account, whatever the rules say: the guard, told as trading."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from desk import MORNING, Desk, DeskMaker
from hypothesis import given
from hypothesis import strategies as st

from risk_manager.domain.decisions import MoveStop, Outcome
from risk_manager.domain.locks import Lock, LockKind, LockPolicy, Release
from risk_manager.domain.records import OrderStatus, OrderType
from risk_manager.domain.rulebook import Defaults, Mode


async def test_a_flat_lock_closes_all_and_cancels_stops_only_when_flat(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    await d.admin("lock")
    assert d.taken() == ["close MNQ"]
    await d.obey()
    assert d.taken() == [f"cancel {stop}"]
    assert d.account().is_flat


async def test_the_close_order_we_caused_is_not_cancelled_by_us(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("lock")
    await d.order("MNQ", -2, kind=OrderType.MARKET)
    await d.position("MNQ", 0)
    await d.wait(seconds=1)
    assert d.actions == ["close MNQ"]


async def test_no_entries_keeps_position_stop_and_target(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    target = await d.order("MNQ", -2, price=21100)
    entry = await d.order("MNQ", 1, price=20900)
    await d.admin("lock", policy="no_entries")
    await d.obey()
    assert d.actions == [f"cancel {entry}"]
    assert {stop, target} == set(d.account().orders)
    assert d.account().net("CON.F.US.MNQ.Z26") == 2


async def test_no_entries_closes_what_is_added_and_follows_reductions_down(
    desk: DeskMaker,
) -> None:
    d = desk()
    await d.position("MNQ", 3)
    await d.admin("lock", policy="no_entries")
    await d.position("MNQ", 4)
    await d.obey()
    assert d.taken() == ["reduce MNQ to 3"]
    await d.position("MNQ", 1)
    await d.position("MNQ", 2)
    await d.obey()
    assert d.taken() == ["reduce MNQ to 1"]
    await d.position("MNQ", -1)
    await d.obey()
    assert d.taken() == ["close MNQ"]
    await d.position("ES", 1, 6000)
    assert d.taken() == ["close ES"]


async def test_no_entries_cancels_what_would_reverse(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 2)
    first = await d.stop("MNQ", -2)
    second = await d.stop("MNQ", -2, 20980.0)
    await d.admin("lock", policy="no_entries")
    assert d.actions == [f"cancel {second}"]
    assert first in d.account().orders


async def test_no_entries_makes_a_stop_smaller_that_outgrew_its_position(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 3)
    stop = await d.stop("MNQ", -3)
    target = await d.order("MNQ", -3, price=21100)
    await d.admin("lock", policy="no_entries")
    await d.wait(seconds=1)
    await d.position("MNQ", 2)
    assert d.taken() == []  # the fill may have been the stop's own
    await d.wait(seconds=1)
    assert sorted(d.taken()) == [f"cancel {target}", f"move {stop} to 20990.0 for 2"]
    await d.obey()
    await d.wait(minutes=1)
    assert d.taken() == []
    assert [(o.id, o.remaining) for o in d.account().orders.values()] == [(stop, 2)]


async def test_the_stop_of_a_position_that_cannot_be_closed_yet_is_made_smaller(
    desk: DeskMaker,
) -> None:
    d = desk()
    await d.position("MNQ", 3)
    stop = await d.stop("MNQ", -3)
    await d.admin("lock")
    await d.settle(d.enforcer.actions[-1], Outcome.REFUSED, code=5)
    await d.position("MNQ", 1)
    await d.wait(seconds=2)
    assert sorted(d.taken()) == ["close MNQ", "close MNQ", f"move {stop} to 20990.0 for 1"]


async def test_of_several_stops_the_oldest_keep_their_lots(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 3)
    first = await d.stop("MNQ", -1)
    second = await d.stop("MNQ", -2, 20980.0)
    await d.admin("lock", policy="no_entries")
    await d.position("MNQ", 2)
    await d.wait(seconds=1)
    await d.obey()
    assert d.actions == [f"move {second} to 20980.0 for 1"]
    await d.position("MNQ", 1)
    await d.wait(seconds=1)
    assert d.actions[1:] == [f"cancel {second}"]
    assert first in d.account().orders


async def test_a_trailing_stop_is_made_smaller_and_left_where_it_is(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", -2)
    stop = await d.order("MNQ", 2, kind=OrderType.TRAILING_STOP, price=21010)
    await d.admin("lock", policy="no_entries")
    await d.position("MNQ", -1)
    await d.wait(seconds=1)
    (move,) = d.enforcer.actions
    assert isinstance(move, MoveStop)
    assert (move.order_id, move.size, move.stop_price) == (stop, 1, None)


async def test_a_stop_that_is_filling_is_made_smaller_by_what_is_left_of_it(
    desk: DeskMaker,
) -> None:
    d = desk()
    await d.position("MNQ", 4)
    stop = await d.stop("MNQ", -4)
    await d.admin("lock", policy="no_entries")
    await d.stop("MNQ", -4, order_id=stop, filled=1)
    await d.position("MNQ", 2)
    await d.wait(seconds=1)
    (move,) = d.enforcer.actions
    assert isinstance(move, MoveStop)
    assert (move.filled, move.size) == (1, 2)


async def test_a_position_told_before_the_fill_that_made_it_costs_no_stop(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 2)
    first = await d.stop("MNQ", -1)
    second = await d.stop("MNQ", -1, 20980.0)
    await d.admin("lock", policy="no_entries")
    await d.wait(seconds=1)
    await d.position("MNQ", 1)
    await d.stop("MNQ", -1, order_id=first, status=OrderStatus.FILLED, filled=1)
    await d.wait(seconds=2)
    assert d.actions == []
    assert second in d.account().orders


async def test_a_sleeping_bracket_does_not_cost_a_working_stop(desk: DeskMaker) -> None:
    d = desk()
    asleep = await d.stop("MNQ", -1, status=OrderStatus.SUSPENDED)
    await d.position("MNQ", 1)
    stop = await d.stop("MNQ", -1)
    await d.admin("lock", policy="no_entries")
    assert d.actions == [f"cancel {asleep}"]
    assert stop in d.account().orders


async def test_a_stop_left_after_the_exit_is_cancelled_under_no_entries(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    await d.admin("lock", policy="no_entries")
    await d.position("MNQ", 0)
    assert d.actions == [f"cancel {stop}"]


async def test_the_strictest_of_several_locks_rules_and_each_ends_alone(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 1)
    await d.admin("lock", policy="no_entries", until=d.now + timedelta(minutes=30))
    await d.admin("lock", scope="root:MNQ", until=d.now + timedelta(minutes=5))
    assert d.actions == ["close MNQ"]
    await d.obey()
    await d.wait(minutes=6)
    assert [c.lock.scope for c in d.locks_cleared] == ["root:MNQ"]
    await d.position("MNQ", 1)
    assert d.taken()[-1] == "close MNQ"


async def test_what_was_opened_under_a_lock_is_not_allowed_by_the_next_one(
    desk: DeskMaker,
) -> None:
    d = desk(
        trade_frequency_limit={"windows": [{"per": "1m", "max": 1, "cooldown": "5m"}]},
    )
    await d.admin("lock", policy="no_entries", until=d.now + timedelta(minutes=1))
    await d.position("MNQ", 1)
    await d.fill("MNQ", 1)
    await d.fill("MNQ", 1)
    await d.wait(seconds=1)
    assert set(d.locked_by()) == {"manual", "trade_frequency_limit"}
    assert d.account().ceilings.get("CON.F.US.MNQ.Z26", 0) == 0
    await d.wait(minutes=2)
    assert d.locked_by() == {"trade_frequency_limit": "account"}
    assert set(d.taken()) == {"close MNQ"}
    await d.obey()
    assert d.account().is_flat


async def test_a_ceiling_of_a_lock_long_over_binds_nobody(desk: DeskMaker) -> None:
    d = desk()
    until = d.now + timedelta(minutes=30)
    await d.position("ES", 1, 6000)
    await d.admin("lock", scope="root:ES", policy="no_entries", until=until)
    await d.position("MNQ", 1)
    await d.admin("lock", policy="no_entries", until=d.now + timedelta(minutes=1))
    await d.wait(minutes=2)
    await d.position("MNQ", 0)
    await d.position("MNQ", 3)
    await d.admin("lock", policy="no_entries", until=until)
    await d.wait(seconds=2)
    assert d.actions == []


async def test_a_lock_is_prolonged_but_never_shortened(desk: DeskMaker) -> None:
    d = desk()
    await d.admin("lock", until=d.now + timedelta(minutes=30))
    await d.admin("lock", until=d.now + timedelta(minutes=5))
    assert d.lock_ends("manual") == d.now + timedelta(minutes=30)
    await d.admin("lock", until=d.now + timedelta(minutes=45))
    assert d.lock_ends("manual") == d.now + timedelta(minutes=45)


async def test_a_manual_lock_does_not_swallow_another(desk: DeskMaker) -> None:
    """F7.9: A manual lock over another keeps its own policy, end and reason, and so does that."""
    d = desk()
    lunch, news = d.now + timedelta(minutes=30), d.now + timedelta(minutes=10)
    await d.position("MNQ", 1)
    await d.admin("lock", policy="no_entries", until=lunch, reason="lunch")
    await d.admin("lock", policy="flat", until=news, reason="news")
    assert d.actions == ["close MNQ"]
    assert [
        (x.rule_id, x.policy.value, x.expires_at, x.reason) for x in d.account().locks.values()
    ] == [("manual", "no_entries", lunch, "lunch"), ("manual-2", "flat", news, "news")]
    await d.restart()
    await d.obey()
    await d.wait(minutes=11)
    assert d.locked_by() == {"manual": "account"}
    assert d.lock_ends("manual") == lunch
    await d.admin("lock", policy="flat", reason="enough")
    assert set(d.locked_by()) == {"manual", "manual-2"}
    await d.wait(minutes=20)
    assert d.locked_by() == {"manual-2": "account"}
    await d.admin("lock", until=d.now + timedelta(minutes=1), reason="a moment")
    assert set(d.locked_by()) == {"manual", "manual-2"}  # a name that is free is used again


async def test_the_same_manual_lock_again_prolongs_the_one_it_repeats(desk: DeskMaker) -> None:
    """F7.9: A manual lock repeated with its policy and reason is one lock, and the later end."""
    d = desk()
    until = d.now + timedelta(minutes=30)
    await d.admin("lock", policy="no_entries", until=until, reason="lunch")
    await d.admin("lock", until=until, reason="news")
    for minutes in (40, 5):
        again = d.now + timedelta(minutes=minutes)
        await d.admin("lock", until=again, reason="news")
    assert d.locked_by() == {"manual": "account", "manual-2": "account"}
    assert d.lock_ends("manual-2") == d.now + timedelta(minutes=40)


async def test_a_scope_is_exact(desk: DeskMaker) -> None:
    d = desk()
    await d.position("ES", 1, 6000)
    await d.position("MES", 1, 6000)
    await d.admin("lock", scope="root:ES")
    assert d.actions == ["close ES"]


async def test_a_clock_that_goes_back_ends_nothing_and_starts_nothing(desk: DeskMaker) -> None:
    d = desk()
    await d.admin("lock", until=d.now + timedelta(minutes=30))
    await d.wait(minutes=10)
    d.now -= timedelta(hours=3)
    await d.position("MNQ", 1)
    assert d.actions == ["close MNQ"]
    assert d.locked_by() == {"manual": "account"}


async def test_panic_flattens_without_a_lock_and_lets_go_afterwards(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    await d.admin("flatten")
    await d.obey()
    assert d.actions == ["close MNQ", f"cancel {stop}"]
    await d.position("MNQ", 1)
    assert len(d.actions) == 2
    assert d.account().closings == {}


async def test_a_close_decided_on_is_finished_even_after_a_restart(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 2)
    stop = await d.stop("MNQ", -2)
    await d.admin("flatten")
    await d.restart()
    assert d.taken() == ["close MNQ", "close MNQ"]
    await d.position("MNQ", 0)
    await d.settle(d.enforcer.actions[1])
    assert d.taken() == [f"cancel {stop}"]


async def test_a_retry_never_closes_what_was_opened_afterwards(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("flatten")
    await d.settle(d.enforcer.actions[-1], Outcome.REFUSED, code=5)
    await d.position("MNQ", 0)
    await d.position("MNQ", 1)
    await d.wait(minutes=2)
    assert d.actions == ["close MNQ"]


async def test_cancel_all_cancels_everything_working(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 1)
    ids = [await d.stop("MNQ", -1), await d.order("ES", 1, price=5900)]
    await d.admin("cancel_all")
    assert sorted(d.actions) == sorted(f"cancel {i}" for i in ids)


async def test_an_unknown_outcome_is_looked_at_before_anything_is_repeated(
    desk: DeskMaker,
) -> None:
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("lock")
    await d.settle(d.enforcer.actions[-1], Outcome.UNKNOWN, verified=False)
    await d.wait(seconds=2)
    assert d.actions == ["close MNQ"]  # nobody could look yet
    await d.report(positions={})
    await d.wait(minutes=1)
    assert d.actions == ["close MNQ"]  # it had been executed


async def test_a_cancel_of_unknown_fate_is_repeated_without_a_look_as_twice_is_not_too_often(
    desk: DeskMaker,
) -> None:
    d = desk()
    await d.admin("lock")
    order_id = await d.order("MNQ", 1, price=20900)
    for _ in range(3):
        await d.settle(d.enforcer.actions[-1], Outcome.UNKNOWN, verified=False)
    assert d.actions == [f"cancel {order_id}"] * 4
    await d.settle(d.enforcer.actions[-1], Outcome.UNKNOWN, verified=False)
    assert len(d.actions) == 4
    await d.wait(seconds=1)
    assert len(d.actions) == 5


async def test_a_close_without_effect_is_sent_four_times_without_a_pause(desk: DeskMaker) -> None:
    """Each has been waited for as long as an answer may take: three that hang are 14 s."""
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("lock")
    for _ in range(3):
        await d.settle(d.enforcer.actions[-1], Outcome.UNKNOWN)
    assert d.actions == ["close MNQ"] * 4
    await d.settle(d.enforcer.actions[-1], Outcome.UNKNOWN)
    assert len(d.actions) == 4
    await d.wait(seconds=1)
    assert len(d.actions) == 5


async def each_close_ends(
    d: Desk, outcome: Outcome, *, verified: bool = True, code: int | None = None, seconds: int
) -> None:
    """So many seconds in which each close of MNQ ends at once, and in the same way."""
    for _ in range(seconds):
        if (last := d.account().attempts["position:CON.F.US.MNQ.Z26"]).in_flight:
            await d.settle(last.action, outcome, verified=verified, code=code)
        await d.wait(seconds=1)


async def test_a_close_that_never_left_is_sent_again_at_once(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("lock")
    for _ in range(3):
        await d.settle(d.enforcer.actions[-1], Outcome.UNSENT, verified=False)
    assert d.actions == ["close MNQ"] * 4
    await each_close_ends(d, Outcome.UNSENT, verified=False, seconds=200)
    assert 40 <= len(d.actions) <= 48
    assert "cannot_enforce" in d.alarms


async def test_tries_that_take_their_time_need_no_pause_on_top_of_it(desk: DeskMaker) -> None:
    """Each 4.7 s: three and a half without an answer, a look that is not answered either."""
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("lock")
    for _ in range(12):
        await d.wait(seconds=4.7)
        await d.settle(d.enforcer.actions[-1], Outcome.UNKNOWN, verified=False)
        await d.wait(seconds=0.3)
    assert d.actions == ["close MNQ"] * 13


async def test_a_refusal_for_another_reason_begins_again_with_a_short_pause(
    desk: DeskMaker,
) -> None:
    """After a long halt a "too many requests" must not cost ten seconds more."""
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("lock")
    await each_close_ends(d, Outcome.REFUSED, code=5, seconds=60)
    while not (last := d.account().attempts["position:CON.F.US.MNQ.Z26"]).in_flight:
        await d.wait(seconds=1)
    await d.settle(last.action, Outcome.REFUSED)  # no code: too many requests
    before = len(d.actions)
    await d.wait(seconds=1)
    assert len(d.actions) == before + 1


async def test_a_close_nobody_could_look_after_is_repeated_three_seconds_after_it_was_sent(
    desk: DeskMaker,
) -> None:
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("lock")
    await d.wait(seconds=2.9)  # so long it was not answered, nor any question about it
    await d.settle(d.enforcer.actions[-1], Outcome.UNKNOWN, verified=False)
    assert d.actions == ["close MNQ"]
    await d.wait(seconds=0.1)
    assert d.actions == ["close MNQ", "close MNQ"]


async def test_a_reduction_nobody_could_look_after_waits_as_twice_would_be_too_much(
    desk: DeskMaker,
) -> None:
    d = desk(max_contracts={"limit": 2})
    await d.position("MNQ", 5)
    await d.wait(seconds=2.9)
    await d.settle(d.enforcer.actions[-1], Outcome.UNKNOWN, verified=False)
    await d.wait(seconds=2.9)
    assert len(d.actions) == 1
    await d.wait(seconds=0.2)
    assert len(d.actions) == 2


async def test_with_all_reads_refused_the_stream_is_acted_on_within_seconds(
    desk: DeskMaker,
) -> None:
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("lock")
    await d.settle(d.enforcer.actions[-1], Outcome.UNKNOWN, verified=False)
    await d.wait(seconds=3)
    assert d.actions == ["close MNQ", "close MNQ"]


async def test_refusals_are_repeated_every_ten_seconds_in_the_end_and_raise_an_alarm(
    desk: DeskMaker,
) -> None:
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("lock")
    await each_close_ends(d, Outcome.REFUSED, code=5, seconds=400)
    assert 42 <= len(d.actions) <= 46
    assert "cannot_enforce" in d.alarms
    assert d.locked_by() == {"manual": "account"}


async def test_a_first_refusal_after_answers_that_never_came_is_repeated_at_once(
    desk: DeskMaker,
) -> None:
    """Only refusals in a row are a reason to wait for longer."""
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("lock")
    for _ in range(5):
        await d.settle(d.enforcer.actions[-1], Outcome.UNKNOWN)
        await d.wait(seconds=5)
    assert len(d.actions) == 6
    await d.settle(d.enforcer.actions[-1], Outcome.REFUSED, code=5)
    await d.wait(seconds=1)
    assert len(d.actions) == 7


async def test_an_action_nobody_reports_on_is_not_waited_for_for_ever(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 2)
    await d.admin("lock")
    await d.wait(seconds=40)
    assert d.actions == ["close MNQ", "close MNQ"]


async def test_shadow_tells_and_touches_nothing(desk: DeskMaker) -> None:
    quiet = desk(max_contracts={"limit": 1, "lockout": "until_reset"}, desk_mode=Mode.SHADOW)
    await quiet.position("MNQ", 3)
    assert (quiet.actions, quiet.locked_by()) == ([], {})
    assert [x.shadow for x in quiet.decisions] == [True]

    one = desk(
        max_contracts={"limit": 1, "shadow": True},
        max_contracts_per_instrument={"limits": {"MNQ": 2}},
    )
    await one.position("MNQ", 3)
    assert one.actions == ["reduce MNQ to 2"]
    assert {x.rule_id: x.shadow for x in one.decisions} == {
        "max_contracts": True,
        "max_contracts_per_instrument": False,
    }


async def test_an_account_nobody_listed_raises_an_alarm(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 1, account=999)
    assert d.alarms == ["unlisted_account"]
    assert 999 not in d.pipeline.state.accounts


# --- foreign_fill_policy: reduce_only_ok ---

LET_FINISH = Defaults(keep_reducing_fills=True)


@pytest.mark.parametrize("rules", [{}, {"daily_realized_loss": {"limit": 500}}])
async def test_an_exit_the_trader_has_sent_may_fill_before_a_lockout_closes(
    desk: DeskMaker, rules: dict[str, Any]
) -> None:
    """A limit for both lots works as well: a target does not turn his exit into an entry."""
    d = desk(**rules, desk_defaults=LET_FINISH)
    await d.position("MNQ", 2)
    await d.order("MNQ", -2, price=21100)
    sold = await d.order("MNQ", -2, kind=OrderType.MARKET)
    await (d.loss(500, "ES") if rules else d.admin("lock"))
    await d.wait(seconds=2)
    assert [a for a in d.actions if a.startswith("close")] == []
    await d.position("MNQ", 0)
    await d.order("MNQ", -2, kind=OrderType.MARKET, order_id=sold, status=OrderStatus.FILLED)
    await d.wait(seconds=10)
    assert "close MNQ" not in d.actions
    assert len(d.locked_by()) == 1


async def test_what_his_exit_leaves_is_closed_at_once(desk: DeskMaker) -> None:
    d = desk(desk_defaults=LET_FINISH)
    await d.position("MNQ", 2)
    sold = await d.order("MNQ", -1, kind=OrderType.MARKET)
    await d.admin("lock")
    assert d.taken() == []
    await d.position("MNQ", 1)
    await d.order("MNQ", -1, kind=OrderType.MARKET, order_id=sold, status=OrderStatus.FILLED)
    assert d.taken() == ["close MNQ"]


@pytest.mark.parametrize("status", [OrderStatus.OPEN, OrderStatus.PENDING_CANCELLATION])
async def test_an_exit_that_does_not_fill_is_waited_for_three_seconds(
    desk: DeskMaker, status: OrderStatus
) -> None:
    d = desk(desk_defaults=LET_FINISH)
    await d.position("MNQ", 2)
    sold = await d.order("MNQ", -2, kind=OrderType.MARKET, status=status)
    await d.admin("lock")
    await d.wait(seconds=2)
    assert d.taken() == []
    await d.wait(seconds=1)
    assert d.taken() == ["close MNQ"]
    assert sold in d.account().orders


@pytest.mark.parametrize("signed_size", [-3, 1])
async def test_what_would_not_only_reduce_is_not_waited_for(
    desk: DeskMaker, signed_size: int
) -> None:
    d = desk(desk_defaults=LET_FINISH)
    await d.position("MNQ", 2)
    await d.order("MNQ", signed_size, kind=OrderType.MARKET)
    await d.admin("lock")
    assert d.taken() == ["close MNQ"]


async def test_under_a_lock_without_entries_too_much_may_be_sold_by_the_trader(
    desk: DeskMaker,
) -> None:
    d = desk(desk_defaults=LET_FINISH)
    await d.position("MNQ", 2)
    await d.admin("lock", policy="no_entries")
    sold = await d.order("MNQ", -1, kind=OrderType.MARKET)
    await d.position("MNQ", 3)
    assert d.taken() == []
    await d.position("MNQ", 2)
    await d.order("MNQ", -1, kind=OrderType.MARKET, order_id=sold, status=OrderStatus.FILLED)
    await d.wait(seconds=10)
    assert d.taken() == []


async def test_a_limit_of_a_single_position_does_not_wait_for_the_trader(desk: DeskMaker) -> None:
    d = desk(daily_unrealized_loss={"limit": 300}, desk_defaults=LET_FINISH)
    await d.position("MNQ", 2, 21000)
    await d.order("MNQ", -2, kind=OrderType.MARKET)
    await d.quote("MNQ", 20900)
    assert d.taken() == ["close MNQ"]
    assert d.locked_by() == {}


async def test_as_it_ships_a_lockout_waits_for_no_exit(desk: DeskMaker) -> None:
    d = desk()
    await d.position("MNQ", 2)
    await d.order("MNQ", -2, kind=OrderType.MARKET)
    await d.admin("lock")
    assert d.taken() == ["close MNQ"]


async def test_an_order_listed_without_the_positions_is_judged_once_these_are_read(
    desk: DeskMaker,
) -> None:
    d = desk()
    await d.position("MNQ", 1)
    stranger_id = await d.order("MNQ", 1, price=20900)
    [stranger] = d.account().orders.values()
    await d.order("MNQ", 1, price=20900, order_id=stranger_id, status=OrderStatus.CANCELLED)
    d.rest = False
    await d.position("MNQ", 0)
    await d.admin("lock")
    unheard = replace(stranger, id=7777)
    await d.report(positions=None, orders=[unheard])
    assert d.actions == []
    await d.report(positions={}, orders=[unheard])
    assert d.actions == ["cancel 7777"]


async def test_a_lock_by_hand_is_not_shortened_by_a_shorter_one_on_another_day(
    desk: DeskMaker,
) -> None:
    d = desk()
    await d.admin("lock", until=MORNING + timedelta(days=7))
    await d.wait(days=1)
    await d.admin("lock", until=d.now + timedelta(hours=1))
    await d.wait(days=4)
    assert d.locked_by() == {"manual": "account"}
    assert d.lock_ends("manual") == MORNING + timedelta(days=7)
    await d.wait(days=2, minutes=1)
    assert d.locked_by() == {}


DAYS = [date(2026, 11, 19), date(2026, 11, 20), date(2026, 11, 21)]
INSTANTS = [
    datetime(2026, 11, day, hour, minute, tzinfo=UTC)
    for day in (19, 20, 21)
    for hour, minute in ((21, 0), (22, 0), (22, 20))
]
LOCKS = st.builds(
    Lock,
    account_id=st.just(101),
    scope=st.just("account"),
    rule_id=st.just("a rule"),
    kind=st.just(LockKind.HARD),
    policy=st.sampled_from(LockPolicy),
    release=st.sampled_from([Release.TIME, Release.RESET]),
    reason=st.sampled_from(["one thing", "another"]),
    set_at=st.sampled_from(INSTANTS),
    expires_at=st.sampled_from(INSTANTS),
    trading_date=st.sampled_from(DAYS),
    admin_may_clear=st.booleans(),
)


@given(first=LOCKS, second=LOCKS, now=st.sampled_from(INSTANTS), today=st.sampled_from(DAYS))
def test_no_newer_word_of_a_rule_ends_or_softens_a_lock(
    first: Lock, second: Lock, now: datetime, today: date
) -> None:
    both = first.prolonged_by(second)
    assert both.is_over(now, today) <= (first.is_over(now, today) and second.is_over(now, today))
    assert (both.policy is LockPolicy.FLAT) == (LockPolicy.FLAT in (first.policy, second.policy))
    assert both.admin_may_clear == (first.admin_may_clear and second.admin_may_clear)
    assert both.set_at == first.set_at
    assert both.prolonged_by(second) is both


@pytest.mark.parametrize("told", [True, False])
async def test_a_reduction_nobody_looked_after_is_repeated_at_once_if_the_stream_has_told_of_it(
    desk: DeskMaker, told: bool
) -> None:
    d = desk(max_contracts={"limit": 2})
    await d.position("MNQ", 3)
    assert d.actions == ["reduce MNQ to 2"]
    await d.position("MNQ", 5)  # the same order of the trader goes on filling
    if told:
        await d.wait(seconds=0.05)
        await d.fill("MNQ", -1, pnl=-2)
        await d.position("MNQ", 4)
    await d.wait(seconds=3)
    await d.settle(d.enforcer.actions[-1], verified=False)
    assert len(d.actions) == (2 if told else 1)
    await d.wait(seconds=3)
    assert len(d.actions) == 2


@pytest.mark.parametrize(
    ("listed_after", "market_order", "repeated"),
    [(2.0, False, True), (1.9, False, False), (2.0, True, False)],
    ids=["list late enough", "list too early", "a market order works"],
)
async def test_an_accepted_close_without_effect_by_a_list_is_repeated_at_once(
    desk: DeskMaker, listed_after: float, market_order: bool, repeated: bool
) -> None:
    """The gateway accepts a close and forgets it, and reads are too scarce to follow it up."""
    d = desk(desk_rest=False)
    await d.position("MNQ", 2)
    await d.admin("lock")
    assert d.actions == ["close MNQ"]
    if market_order:
        await d.order("MNQ", -2, kind=OrderType.MARKET)
    asked_at = d.now
    await d.wait(seconds=3)
    await d.settle(d.enforcer.actions[-1], verified=False)
    await d.wait(seconds=0.1)
    assert d.actions == ["close MNQ"], "a list may still show that it was carried out"
    await d.report(positions={"MNQ": 2}, asked_at=asked_at + timedelta(seconds=listed_after))
    assert len(d.actions) == (2 if repeated else 1)
    await d.wait(seconds=3)
    assert len(d.actions) == 2
