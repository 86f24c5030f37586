"""A few simulated hours under every weather, the same twice, and bugs planted to be found."""

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulation import behaviour_judge, calendar_judge
from simulation import world as simulated_world
from simulation.calendar_judge import limits_for
from simulation.gateway import READS_REFUSED
from simulation.habits import HABITS, Unkind, with_habits
from simulation.life import Life
from simulation.loop import SimulatedLoop, Stuck
from simulation.options import (
    CLOCK_CHANGES,
    Options,
    drill_for,
    options_for,
    with_wall_step,
)
from simulation.oracle import (
    Held,
    Oracle,
    in_session,
    next_reset,
    next_session,
    trading_date,
)
from simulation.world import World, simulate

from risk_manager.domain.call_codes import CANCEL
from risk_manager.domain.decisions import Close, Decision, LockOut, Severity
from risk_manager.domain.locks import Lock, LockKind, LockPolicy, Release
from risk_manager.practice.records import Event, Order, OrderType, Position, Side, Trade
from risk_manager.store.finding import OpenedAs

MAIN = Path(__file__).parent / "__main__.py"
SEEDS_TO_FIND_A_BUG = 9
IN_SESSION = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize("seed", range(1, 5))
def test_an_hour_under_the_weather_of_its_seed_violates_nothing(seed: int) -> None:
    options = options_for(seed, hours=0.75)
    result = simulate(options)
    assert not result.violations, options.expanded()
    assert result.events > 500


MORE_RULES = {"behaviour", "over_days", "calendar"}
"""The limits of rules that came after the first fourteen."""


def with_only(options: Options, *wanted: str) -> Options:
    """The same day with only these of the rules that came later."""
    left_out = MORE_RULES - set(wanted)
    return replace(options, limits={k: v for k, v in options.limits.items() if k not in left_out})


def calendar_day(seed: int) -> Options:
    """Half a busy hour with a release; only the rules of the calendar hold anybody back."""
    whole = options_for(seed, hours=0.5, sky="well", habits=(), all_rules=True)
    options = with_only(whole, "calendar")
    wide = dict.fromkeys(("daily_loss", "open_loss", "account_open_loss"), 10**6)
    return replace(
        options,
        day=date(2026, 11, 18),
        begins=time(10, 0),
        wall_step_seconds=0.0,
        edits_per_hour=0.0,
        admin_per_hour=0.0,
        trades_per_hour=120.0,
        accounts=(101, 102),
        limits={
            **options.limits,
            **wide,
            "patience": 5,
            "contracts": 12,
            "per_instrument": dict.fromkeys(("NQ", "ES", "MNQ", "MES"), 9),
            "calendar": limits_for(seed, datetime(2026, 11, 18, 15, 15, tzinfo=UTC), (101, 102)),
        },
    )


@pytest.mark.parametrize("seed", [4, 5])
def test_half_an_hour_around_a_release_violates_nothing(seed: int) -> None:
    options = calendar_day(seed)
    result = simulate(options)
    assert not result.violations, options.expanded()
    assert result.locks["release_window"]
    assert {"product cap", "group", "group loss"} & result.spans_by_kind.keys()


def test_the_judge_of_the_calendar_finds_what_no_rule_prevents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calendar_judge, "sections", lambda own: {})
    result = simulate(calendar_day(5))
    found = {v.kind if v.kind != "too slow" else v.detail.split("'")[1] for v in result.violations}
    assert {"no lock in a release window", "release", "group", "group loss"} <= found


@pytest.mark.parametrize("seed", [2, 5])
def test_an_hour_with_the_rules_about_behaviour_violates_nothing(seed: int) -> None:
    options = options_for(seed, hours=0.75, all_rules=True)
    result = simulate(options)
    assert not result.violations, options.expanded()


def test_stops_that_a_trader_pulls_away_are_put_back() -> None:
    judged = 0

    async def watch(world: World) -> None:
        nonlocal judged
        while True:
            await asyncio.sleep(60)
            assert world.oracle.behaviour is not None
            judged = world.oracle.behaviour.stops.judged

    options = options_for(302, hours=0.75, all_rules=True)
    result = simulate(options, watch=watch)
    assert not result.violations, options.expanded()
    assert judged >= 10


def test_the_judge_of_stops_finds_what_no_rule_puts_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(behaviour_judge.SECTIONS, "stop_guard")
    result = simulate(options_for(302, hours=0.75, all_rules=True))
    assert {v.kind for v in result.violations} == {"a stop stayed worse"}


def day_of_one_contract() -> Options:
    """An hour in which the scaling plan and the giveback have to act, and little else."""
    options = options_for(303, hours=0.75, all_rules=True, habits=(), sky="well")
    high = Decimal(5000)
    over_days = {
        **options.limits["over_days"],
        **dict.fromkeys(("trailing", "drawdown", "week", "most_today"), high),
        "lots": 1,
        "arm_at": Decimal(30),
        "fraction": Decimal("0.3"),
    }
    loose = dict.fromkeys(("daily_loss", "open_loss", "account_open_loss"), 5000)
    limits = {**options.limits, **loose, "patience": 20, "over_days": over_days}
    return replace(options, limits=limits, edits_per_hour=0.0, admin_per_hour=0.0)


def test_more_than_the_tier_is_reduced_and_a_profit_given_back_ends_the_day() -> None:
    result = simulate(day_of_one_contract())
    assert not result.violations
    assert result.spans_by_kind["scaling plan"] >= 2
    assert result.locks["giveback"]


def test_the_judge_of_days_finds_what_no_rule_reduces_or_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sections = simulated_world.sections_over_days
    left_out = ("scaling_plan", "giveback")
    monkeypatch.setattr(
        simulated_world,
        "sections_over_days",
        lambda own: {k: v for k, v in sections(own).items() if k not in left_out},
    )
    found = [f"{v.kind}: {v.detail}" for v in simulate(day_of_one_contract()).violations]
    assert any("scaling plan" in each for each in found)
    assert any("giveback is due" in each for each in found)


def test_acting_on_behaviour_that_was_none_would_be_found() -> None:
    async def watch(world: World) -> None:
        await asyncio.sleep(60)
        assert world.oracle.behaviour is not None
        for rule_id in ("no_averaging_down", "size_after_loss", "reentry_delay"):
            contract_id = world.exchange.contract_of("MCL").id
            lock = Lock(
                account_id=101,
                scope="root:MCL",
                rule_id=rule_id,
                kind=LockKind.COOLDOWN,
                policy=LockPolicy.NO_ENTRIES,
                release=Release.TIME,
                reason="",
                set_at=world.utc(),
                expires_at=world.utc(),
                trading_date=world.options.day,
            )
            world.oracle.behaviour.judge(
                Decision(
                    at=world.utc(),
                    account_id=101,
                    rule_id=rule_id,
                    spec_id="",
                    reason="made up",
                    subject="",
                    severity=Severity.BREACH,
                    asks=(LockOut(lock) if rule_id == "reentry_delay" else Close(contract_id),),
                )
            )

    options = options_for(2, hours=0.1, habits=(), all_rules=True)
    found = simulate(options, watch=watch).violations
    assert [v.kind for v in found] == ["acted on behaviour that was none"] * 3


def test_a_rough_hour_with_a_broker_that_is_ill_violates_nothing() -> None:
    options = drill_for(2, "")
    result = simulate(options)
    assert not result.violations, options.expanded()
    assert result.trades > 50
    assert result.spans_ill


def test_each_start_trusts_the_database_that_the_life_before_has_left() -> None:
    """As a daemon's does that nobody has edited: or its clock would not go by the record."""
    opened: dict[int, OpenedAs] = {}

    async def watch(world: World) -> None:
        while True:
            if world.life is not None and world.life.is_judging:
                opened[world.life.number] = world.life.store.opened_as
            await asyncio.sleep(1)

    simulate(drill_for(2, "lock_after_call", hours=0.4), watch=watch)
    assert opened.pop(1) is OpenedAs.FRESH
    assert set(opened.values()) == {OpenedAs.RESTORED}


@pytest.mark.parametrize("day", CLOCK_CHANGES)
def test_the_reset_after_a_change_of_the_clocks_comes_on_time(day: date) -> None:
    options = replace(drill_for(3, "naive_time"), plant="", day=day)
    result = simulate(options)
    assert not result.violations, options.expanded()
    assert result.locks.get("daily_realized_loss") or result.locks.get("account-open-loss")


@pytest.mark.parametrize(
    ("plant", "told_as"),
    [
        ("fire_once", {"too slow", "not healed"}),
        ("counts_twice", {"P&L differs", "not locked", "a lock ended early"}),
        ("lock_after_call", {"a lock ended early"}),
        ("naive_time", {"a lock ended early"}),
        ("cancels_all", {"a protective order was cancelled"}),
        ("trusts_silence", {"blind"}),
        (
            "terminal_is_final",
            {"too slow", "orders differ", "closed for want of a stop that works"},
        ),
        ("waits_for_read_back", {"slow to close"}),
        ("never_believes", {"too slow", "a known loss was excused"}),
        ("excuses_the_known", {"a known loss was excused"}),
    ],
)
def test_a_planted_bug_is_found_within_a_few_seeds(plant: str, told_as: set[str]) -> None:
    for seed in range(SEEDS_TO_FIND_A_BUG):
        result = simulate(drill_for(seed, plant))
        if told_as & {v.kind for v in result.violations}:
            return
    pytest.fail(f"{plant} was not found in {SEEDS_TO_FIND_A_BUG} seeds")


def test_the_same_seed_gives_the_same_day_in_another_process() -> None:
    """Sets and dictionaries of strings are ordered differently there."""
    runs = [
        subprocess.Popen(
            [sys.executable, str(MAIN), "--seed", "3", "--hours", "0.4", "--sky", "ill"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "4242")
    ]
    hashes = [run.communicate(timeout=60)[0].rpartition("hash ")[2].strip() for run in runs]
    assert len(hashes[0]) == 32
    assert hashes[0] == hashes[1]


def test_a_loop_that_nothing_can_wake_says_so() -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    runner = asyncio.Runner(loop_factory=SimulatedLoop)
    with pytest.raises(Stuck):
        runner.run(waits_for_ever())
    # Closing would wait for the task that can never end.
    loop = runner.get_loop()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    runner.close()


def test_a_day_that_does_not_end_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(life: Life) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Life, "stop", never)
    result = simulate(options_for(1, hours=0.01))
    assert [v.kind for v in result.violations] == ["not healed"]


def test_the_calendar_of_the_oracle() -> None:
    def utc(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    # The Sunday before is an hour longer: 17:00 in New York is 22:00 in London.
    assert next_reset(utc("2026-11-02 15:00")) == utc("2026-11-02 22:00")
    assert next_reset(utc("2026-10-30 15:00")) == utc("2026-10-30 21:00")
    assert next_reset(utc("2026-10-30 21:00")) == utc("2026-11-02 22:00")
    assert trading_date(utc("2026-10-30 21:00")) == date(2026, 11, 2)
    assert trading_date(utc("2026-10-30 20:59")) == date(2026, 10, 30)
    assert in_session(utc("2026-11-02 14:30"))
    assert not in_session(utc("2026-11-02 21:00"))
    assert next_session(utc("2026-10-30 20:30")) == utc("2026-11-02 14:30")


@pytest.mark.parametrize(
    ("release", "off_when_set_s", "off_s", "early_s", "is_early"),
    [
        ("reset", 0.0, 0.0, 0.5, True),
        ("reset", 0.0, 0.8, 0.5, False),
        ("reset", 0.8, 0.8, 0.5, False),  # ahead all the time: the reset is read from it
        ("reset", 0.8, 0.8, 1.0, True),
        ("reset", -9.0, 0.8, 5.0, True),
        ("reset", 0.8, 60.0, 0.5, True),  # such a clock is put right before anything ends by it
        ("time", 0.0, 0.8, 0.5, False),
        ("time", 0.8, 0.8, 0.5, True),  # a pause is only measured by it
    ],
)
def test_by_how_much_a_lock_may_end_early_for_the_judge(
    release: str, off_when_set_s: float, off_s: float, early_s: float, is_early: bool
) -> None:
    end = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)
    now = end - timedelta(seconds=early_s)
    ahead = now + timedelta(seconds=off_s)
    judge = Oracle(seen(utc=lambda: now, daemon_now=lambda: ahead))
    held = Held("flat", release, [(end, timedelta(seconds=off_when_set_s))], False, None)
    assert bool(judge.why_early((101, "account", "any"), held)) is is_early


@pytest.mark.parametrize(("early_s", "is_early"), [(4.0, False), (5.5, True), (8.5, True)])
def test_each_end_of_a_lock_made_longer_is_judged_by_the_clock_of_its_own_time(
    early_s: float, is_early: bool
) -> None:
    """Set by a clock that was 8 s behind, made longer when it was right again: the first end is
    told 8 s early, the second one is exact."""
    first = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)
    now = first - timedelta(seconds=early_s)
    judge = Oracle(seen(utc=lambda: now, daemon_now=lambda: now))
    ends = [(first, timedelta(seconds=-8)), (first - timedelta(seconds=5), timedelta(0))]
    held = Held("flat", "time", ends, False, None)
    assert bool(judge.why_early((101, "account", "any"), held)) is is_early


@pytest.mark.parametrize(
    ("moves", "failed", "allowed"),
    [
        (0, 0, 40),
        (10, 0, 80),
        (0, 15, 55),  # each call that failed may be made once more
        (0, 300, 80),  # but a storm into a gateway that answers nothing is one too
    ],
)
def test_how_many_calls_in_a_minute_are_no_storm_for_the_judge(
    moves: int, failed: int, allowed: int
) -> None:
    gateway = SimpleNamespace(calls_failed=lambda account_id, since: failed)
    judge = Oracle(seen(account_ids=(101,), gateway=gateway))
    for _ in range(moves):
        judge.on_trader()
    assert judge.calls_allowed() == allowed


ORDER = ("order", 101, 7)
STOPS_TOO_BIG = ("exits exceed", 101, "MNQ", True)


@pytest.mark.parametrize(
    ("key", "ill", "failed", "false_words", "writes", "allowed_s"),
    [
        (ORDER, False, 0, 0, 0, 5),
        (ORDER, False, 0, 1, 0, 10),  # confirmed, and it did not take: one reading more
        (ORDER, False, 0, 2, 0, 15),
        (ORDER, True, 0, 0, 0, 15),
        (ORDER, True, 3, 0, 0, 15),
        (ORDER, True, 5, 0, 0, 25),  # each call past three that failed may be made once more
        (ORDER, True, 5, 1, 0, 30),
        (ORDER, False, 0, 2, 41, 60),  # cancels come less often, so that closes can go
        (("orphan", 101, "MNQ"), False, 0, 2, 41, 15),
        (STOPS_TOO_BIG, False, 0, 1, 0, 10),
        (("flat", 101, "MNQ"), False, 0, 2, 41, 5),  # what is said of orders excuses no position
        (("contracts", 101), True, 4, 2, 0, 20),
    ],
)
def test_for_how_long_something_may_be_that_must_not_for_the_judge(
    key: tuple[Any, ...], ill: bool, failed: int, false_words: int, writes: int, allowed_s: float
) -> None:
    order = working_order(7, 101, "MNQ")
    judge = Oracle(
        seen(
            exchange=SimpleNamespace(order=lambda _: order, contracts={}),
            gateway=SimpleNamespace(calls_failed=lambda account_id, since: failed, out_until=-1.0),
        )
    )
    judge.on_exchange([Event("order", 101, "MNQ", 0, order.payload())])
    for _ in range(false_words):
        judge.after_write(CANCEL, {"orderId": 7}, {"success": True})
    write(judge, writes)
    assert judge.allowed_s(key, 0.0, ill=ill) == allowed_s


@pytest.mark.parametrize(
    ("fault", "lived_s", "calls", "told_again", "answered_at", "found"),
    [
        ("", 100.0, 5, True, 90.0, {"slow to close"}),
        (READS_REFUSED, 100.0, 5, True, 90.0, {"slow to close"}),  # no close waits for a read
        ("hang", 100.0, 5, True, 90.0, set()),
        ("", 2.0, 5, True, 90.0, set()),  # after a start the broker is read first
        ("", 100.0, 21, True, 90.0, set()),  # so many calls are paced
        ("", 100.0, 5, False, 90.0, set()),  # told flat meanwhile: there is nothing to close
        ("", 100.0, 5, True, 99.48, {"slow to close"}),
        ("", 100.0, 5, True, 99.52, set()),  # the close before was answered half a second ago
        ("", 100.0, 5, True, 100.3, set()),  # or has not been yet: a second one would cross it
    ],
)
def test_when_a_close_must_be_asked_for_within_half_a_second_for_the_judge(
    fault: str, lived_s: float, calls: int, told_again: bool, answered_at: float, found: set[str]
) -> None:
    account_id, contract_id = key = (101, "CON.F.US.RTY.Z26")
    told_at, now = 99.4, 100.0
    world = seen(
        now=now - lived_s,
        blocked=frozenset({"RTY"}),
        position=lambda *_: SimpleNamespace(id=5, net=1),
        exchange=SimpleNamespace(contracts={contract_id: SimpleNamespace(root="RTY")}),
        gateway=SimpleNamespace(
            out_until=-1.0,
            close_answered_at={key: answered_at},
            calls_failed=lambda account_id, since: 0,
            was_ill=lambda since, until, besides: bool(fault) and fault != besides,
        ),
    )
    judge = Oracle(world)
    judge.on_life(True)
    write(judge, calls)
    world.now = told_at
    judge.on_closed(account_id, contract_id)
    told = Position(5, account_id, contract_id, IN_SESSION, 1, Decimal(2400))
    judge.told_by_stream("position", {"data": told.payload()})
    if not told_again:
        told.net = 0
        judge.told_by_stream("position", {"data": told.payload(closed_from=1)})
    world.now = now
    judge.look()
    assert {v.kind for v in judge.violations} == found


def test_every_seed_draws_its_own_habits_and_always_the_same() -> None:
    drawn = [options_for(seed).unkind for seed in range(200)]
    assert drawn == [options_for(seed).unkind for seed in range(200)]
    assert {name for unkind in drawn for name in unkind.names} == HABITS.keys()
    assert len({unkind.names for unkind in drawn}) > 150
    assert with_habits(()) == Unkind()
    with pytest.raises(KeyError, match="no such habit: colour"):
        with_habits(["colour"])


def test_a_day_with_two_clocks_that_are_wrong_is_not_drawn() -> None:
    """Where the gateway's clock runs ahead the machine's is right: somebody must be."""
    for seed in range(100):
        options = options_for(seed)
        assert not (options.unkind.clock_ahead and options.wall_step_seconds)
        turned = with_wall_step(options, 7200.0)
        assert turned.wall_step_seconds == 7200.0
        assert not turned.unkind.clock_ahead
        assert with_wall_step(options, 0.0).unkind == options.unkind


@pytest.mark.parametrize(
    ("results", "locks", "found"),
    [
        ((-60, -60, -60), (), {"no pause after a loss"}),  # one trade, however many orders end it
        ((-60, -60, -60), ("cooldown_after_loss",), set()),
        ((-60, -60), (), set()),  # with fees on top: too near to the tier to tell
        ((-300, 200), (), set()),
    ],
)
def test_after_which_trades_a_pause_must_follow_for_the_judge(
    results: tuple[int, ...],
    locks: tuple[str, ...],
    found: set[str],
) -> None:
    class Judge(Oracle):
        def locks_of(self, account_id: int) -> list[str]:
            return list(locks)

    world = seen(
        now=50.0,
        limits={"patience": 1},
        exchange=SimpleNamespace(trade=lambda _: None),
        gateway=SimpleNamespace(
            out_until=-1.0, words=None, was_ill=lambda since, until, besides="": False
        ),
        streams=SimpleNamespace(behind_s=0.0),
        utc=lambda: IN_SESSION,
    )
    judge = Judge(world)
    world.now = 40.0
    judge.on_life(True)
    world.now = 50.0
    judge.on_exchange([traded(0, len(results), Side.BUY)])
    world.now = 100.0
    for number, result in enumerate(results, 1):
        judge.on_exchange([traded(number, 1, Side.SELL, result)])
    world.now += 6.0
    judge.look()
    assert {v.kind for v in judge.violations} == found


def traded(number: int, size: int, side: Side, result: int | None = None) -> Event:
    trade = Trade(
        id=number,
        account_id=101,
        contract_id="MNQ",
        created_at=IN_SESSION,
        price=Decimal(21000),
        profit_and_loss=None if result is None else Decimal(result),
        fees=Decimal("0.37"),
        side=side,
        size=size,
        order_id=number,
    )
    return Event("trade", 101, "MNQ", 0, trade.payload())


def working_order(order_id: int, account_id: int, contract_id: str) -> Order:
    return Order(
        id=order_id,
        account_id=account_id,
        contract_id=contract_id,
        symbol_id="F.US.MNQ",
        type=OrderType.LIMIT,
        side=Side.BUY,
        size=1,
        created_at=IN_SESSION,
        updated_at=IN_SESSION,
    )


def seen(**parts: Any) -> Any:
    """As much of a world as the judge looks at. No account is listed: none is looked through."""
    usual = {
        "now": 100.0,
        "account_ids": (),
        "life": None,
        "opened_at": 0.0,
        "market_open": True,
        "limits": {},
    }
    return SimpleNamespace(**usual | parts)


def write(judge: Oracle, times: int) -> None:
    """So many calls have left, of an account that is allowed as many as any."""
    judge.world.account_ids = (101,)
    for _ in range(times):
        judge.on_write("/any", {})
    judge.world.account_ids = ()


@pytest.mark.parametrize(
    ("is_told", "refused_until", "is_known"),
    [
        (True, -1.0, True),
        (True, 200.0, True),
        (False, -1.0, True),  # it had only to ask
        (False, 100.0, True),
        (False, 100.5, False),  # nobody says what a tick is worth
    ],
)
def test_of_what_contract_a_loss_must_be_seen_for_the_judge(
    is_told: bool, refused_until: float, is_known: bool
) -> None:
    contract_id = "CON.F.US.ENQ.Z26"
    gateway = SimpleNamespace(reads_refused_until=refused_until, out_until=-1.0)
    judge = Oracle(seen(gateway=gateway))
    if is_told:
        asked = {"contractId": contract_id}
        judge.told_by_rest("/Contract/searchById", asked, {"success": True}, 99.0)
    assert judge.may_know_the_tick(contract_id) is is_known


@pytest.mark.parametrize("is_read", [True, False])
def test_seconds_are_no_longer_than_that_until_every_account_has_been_read(is_read: bool) -> None:
    """The news of a start is judged by a tick, three seconds after it at most."""
    read_at = datetime(2026, 10, 22, 18, tzinfo=UTC) if is_read else None
    account = SimpleNamespace(positions={}, orders={}, attempts={}, reported_at=read_at)
    world: Any = SimpleNamespace(
        now=100.0,
        is_busy=lambda: False,
        oracle=SimpleNamespace(has_moved_since=lambda _: False),
        life=SimpleNamespace(state=lambda: SimpleNamespace(accounts={101: account})),
    )
    assert World.is_at_rest(world) is is_read


def test_the_rules_over_days_are_drawn_apart_from_the_others() -> None:
    """The days of a seed, and so its hash, are the same as before there were more rules."""
    before, after = options_for(7, hours=1), options_for(7, hours=1, all_rules=True)
    assert after.limits.keys() >= MORE_RULES
    assert with_only(after) == before


def test_half_an_hour_with_the_rules_over_days_ends_days_and_violates_nothing() -> None:
    whole = options_for(33, hours=0.5, sky="well", day=date(2026, 11, 18), all_rules=True)
    options = with_only(whole, "over_days")
    result = simulate(replace(options, begins=time(10, 0)), keep_log=True)
    assert not result.violations
    assert any("fact LockSet" in line and rule in line for line in result.log for rule in ENDING)


ENDING = ("trailing_max_drawdown", "trailing_daily_loss", "giveback", "period_loss", "consistency")
