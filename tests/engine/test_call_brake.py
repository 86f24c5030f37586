"""Too many calls of our own: only what takes risk away goes on. And closes at a shut exchange."""

from datetime import UTC, datetime, timedelta

from desk import Desk, make_desk

from risk_manager.domain.call_brake import Brake
from risk_manager.domain.decisions import MoveStop, Outcome, PlaceExit, Severity
from risk_manager.domain.records import OrderStatus, OrderType
from risk_manager.domain.rulebook import Defaults
from risk_manager.store.reading import BRAKE_READ_BACK

FEW = Defaults(max_calls_a_minute=10)


async def fight(desk: Desk, orders: int) -> None:
    """The trader enters against a lock, the broker obeys us."""
    for _ in range(orders):
        await desk.order("MNQ", 1, price=20000)
        await desk.obey()


async def test_cancels_of_entries_under_a_lock_go_on_whatever_their_number() -> None:
    desk = make_desk(desk_defaults=FEW)
    await desk.admin("lock", policy="flat")
    await fight(desk, 40)
    assert len(desk.enforcer.actions) == 40
    assert desk.account().is_flat
    assert desk.alarms.count("calls_braked") == 1


async def test_closes_go_on_with_the_brake_on_and_cancels_are_repeated_a_few_times() -> None:
    desk = make_desk(desk_defaults=FEW)
    await desk.admin("lock", policy="flat")
    await fight(desk, 11)
    stubborn = await desk.order("MNQ", 1, price=20000)
    await desk.position("MES", 1)
    fresh = desk.enforcer.actions[11:]
    assert [type(a).__name__ for a in fresh] == ["CancelOrder", "ClosePosition"]
    for action in fresh:
        await desk.settle(action, Outcome.REFUSED)
    done = 13
    for _ in range(50):
        await desk.wait(seconds=1)
        for action in desk.enforcer.actions[done:]:
            done += 1
            await desk.settle(action, Outcome.REFUSED)
    later = [type(a).__name__ for a in desk.enforcer.actions[13:]]
    assert 1 <= later.count("CancelOrder") <= 2
    assert later[-1] == "ClosePosition"
    assert stubborn in desk.account().orders


async def test_stops_stop_first_and_come_back_after_a_quiet_minute() -> None:
    desk = make_desk(
        desk_defaults=FEW,
        no_stop_loss_grace={"grace": "5s", "action": "place_stop", "place_stop_ticks": 20},
    )
    await desk.admin("lock", policy="flat", scope="root:MES")
    for _ in range(11):
        await desk.order("MES", 1, price=6000)
        await desk.obey()
    await desk.position("MNQ", 1)
    await desk.quote("MNQ", 21000)
    await desk.wait(seconds=30)
    assert not any(isinstance(a, PlaceExit | MoveStop) for a in desk.enforcer.actions)
    await desk.quote("MNQ", 21000)
    await desk.wait(seconds=40)
    assert any(isinstance(a, PlaceExit) for a in desk.enforcer.actions)
    assert desk.alarms.count("calls_braked") == 1
    assert desk.alarms.count("calls_unbraked") == 1


def test_the_brake_forgets_what_is_older_than_a_minute() -> None:
    start = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)
    brake = Brake()
    for second in range(0, 600, 2):
        now = start + timedelta(seconds=second)
        brake = brake.at(now, 60).after_call(now, 60)
    assert brake.on_since is None
    assert len(brake.calls) == 30


def test_what_can_wait_leaves_room_for_what_else_is_called() -> None:
    now = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)
    paces = []
    for calls in (0, 9, 10, 29, 30, 59):
        brake = Brake(tuple(now - timedelta(milliseconds=500) for _ in range(calls)))
        paces.append(brake.pace(now, 60, among=1) / timedelta(seconds=1))
    assert paces == [0, 0, 2, 2, 4, 4]
    assert brake.pace(now, 60, among=3) == timedelta(seconds=12)
    assert brake.pace(now + timedelta(minutes=1), 60, among=3) == timedelta(0)


async def test_a_close_refused_at_a_shut_exchange_is_tried_again_the_moment_it_opens() -> None:
    # Sunday, 16:58:30 in Chicago; the week opens at 17:00.
    desk = make_desk(desk_at=datetime(2026, 11, 22, 22, 58, 30, tzinfo=UTC))
    await desk.position("MNQ", 1)
    await desk.admin("lock", policy="flat")
    opens_at = datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
    asked: list[datetime] = []
    done = 0
    while desk.now < opens_at + timedelta(seconds=2):
        for action in desk.enforcer.actions[done:]:
            done += 1
            asked.append(desk.now)
            await desk.settle(action, Outcome.REFUSED)
        await desk.wait(seconds=1)
    assert opens_at in asked
    assert len(asked) < 10
    assert desk.alarms.count("market_shut") == 1
    assert "cannot_enforce" not in desk.alarms
    told = next(
        f for s in desk.store.steps for f in s.facts if getattr(f, "code", "") == "market_shut"
    )
    assert getattr(told, "severity", None) is Severity.CRITICAL
    assert "Sun 17:00" in getattr(told, "message", "")


async def halted(desk: Desk, *, seconds: int) -> None:
    """Prices stop, and every call is refused."""
    done = len(desk.enforcer.actions)
    for _ in range(seconds):
        await desk.wait(seconds=1)
        for action in desk.enforcer.actions[done:]:
            done += 1
            await desk.settle(action, Outcome.REFUSED, code=5)


async def test_a_close_refused_in_a_halt_is_tried_again_with_the_first_price_after_it() -> None:
    desk = make_desk()
    await desk.position("MNQ", 1)
    await desk.quote("MNQ", 21000)
    await desk.admin("lock", policy="flat")
    await desk.settle(desk.enforcer.actions[-1], Outcome.REFUSED, code=5)
    await halted(desk, seconds=60)
    asked = len(desk.enforcer.actions)
    while len(desk.enforcer.actions) == asked:
        await halted(desk, seconds=1)
    asked = len(desk.enforcer.actions)
    await halted(desk, seconds=3)
    assert len(desk.enforcer.actions) == asked  # the pause between two tries is longer by now
    await desk.quote("MNQ", 20990)
    await desk.wait(seconds=1)
    assert desk.actions[asked:] == ["close MNQ"]


async def test_prices_that_flow_do_not_hurry_a_close_that_is_refused() -> None:
    desk = make_desk()
    await desk.position("MNQ", 1)
    await desk.admin("lock", policy="flat")
    await desk.settle(desk.enforcer.actions[-1], Outcome.REFUSED, code=5)
    for second in range(120):
        await desk.quote("MNQ", 21000 + second)
        await halted(desk, seconds=1)
    assert len(desk.enforcer.actions) < 25


async def test_over_a_weekend_the_refusals_come_once_a_minute_and_alarm_once() -> None:
    desk = make_desk(desk_at=datetime(2026, 11, 21, 12, 0, tzinfo=UTC))
    await desk.position("MNQ", 1)
    await desk.admin("lock", policy="flat")
    done = 0
    for _ in range(1800):
        for action in desk.enforcer.actions[done:]:
            done += 1
            await desk.settle(action, Outcome.REFUSED)
        await desk.wait(seconds=1)
    assert 25 <= done <= 40
    assert desk.alarms.count("market_shut") == 1
    assert "cannot_enforce" not in desk.alarms


async def braked(desk: Desk) -> None:
    """The trader goes on entering against a lock on MES: too many calls in a minute."""
    await desk.admin("lock", policy="flat", scope="root:MES")
    for _ in range(11):
        await desk.order("MES", 1, price=6000)
        await desk.obey()
    assert desk.alarms.count("calls_braked") == 1
    desk.taken()


async def test_our_target_is_cancelled_with_the_brake_on_when_the_position_is_gone() -> None:
    desk = make_desk(
        desk_defaults=FEW,
        trade_management={
            "enabled": True,
            "initial_stop": {"enabled": True, "ticks": 40},
            "take_profit": {"enabled": True, "ticks": 80},
        },
    )
    await desk.position("MNQ", 1)
    await desk.quote("MNQ", 21000)
    await desk.wait(seconds=1)
    await desk.obey()
    (stop,) = [o for o in desk.account().orders.values() if o.is_stop]
    (target,) = [o for o in desk.account().orders.values() if not o.is_stop]
    await braked(desk)
    await desk.order("MNQ", -1, kind=OrderType.STOP, status=OrderStatus.FILLED, order_id=stop.id)
    await desk.position("MNQ", 0)
    await desk.wait(seconds=30)
    assert f"cancel {target.id}" in desk.taken()


async def test_our_stop_is_made_smaller_with_the_brake_on() -> None:
    desk = make_desk(
        desk_defaults=FEW,
        no_stop_loss_grace={"grace": "5s", "action": "place_stop", "place_stop_ticks": 40},
    )
    await desk.position("MNQ", 2)
    await desk.quote("MNQ", 21000)
    await desk.wait(seconds=6)
    await desk.obey()
    (stop,) = desk.account().orders.values()
    await braked(desk)
    await desk.position("MNQ", 1)
    await desk.wait(seconds=30)
    assert any(a.startswith(f"move {stop.id}") for a in desk.taken())


async def test_an_administrator_cancels_all_with_the_brake_on() -> None:
    desk = make_desk(desk_defaults=FEW)
    await braked(desk)
    entry = await desk.order("MNQ", 5, price=20990)
    await desk.admin("cancel_all")
    await desk.wait(seconds=10)
    assert f"cancel {entry}" in desk.taken()


def test_a_brake_that_has_been_on_for_long_is_on_after_a_restart() -> None:
    start = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)
    brake, calls, now = Brake(), [], start
    for n in range(61 + 5 * 50):  # 61 at once, then fifty a minute for five minutes
        now = start if n < 61 else now + timedelta(seconds=1.2)
        brake = brake.at(now, 60).after_call(now, 60)
        calls.append(now)
    lately = [at for at in calls if at >= now - BRAKE_READ_BACK]
    assert brake.at(now, 60).on_since is not None
    assert Brake.taken_up(lately, now, 60) == brake.at(now, 60)
