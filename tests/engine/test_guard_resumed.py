"""A time in which nobody guarded is told after the start, with what was traded in it."""

from datetime import timedelta

import pytest
from desk import Desk, make_desk

from risk_manager.domain.decisions import Alarm, Severity
from risk_manager.domain.events import GuardResumed


async def told(desk: Desk, *, minutes: float = 4, clean: bool = False) -> Alarm | None:
    since = desk.now - timedelta(minutes=minutes)
    step = await desk.happens(GuardResumed(at=desk.now, since=since, clean=clean))
    alarms = [f for f in step.facts if isinstance(f, Alarm)]
    assert len(alarms) < 2
    return alarms[0] if alarms else None


async def test_a_crash_is_told_with_since_when_nobody_guarded() -> None:
    """F7.11: After a crash the gap is told: from when to when nobody guarded, and why."""
    desk = make_desk()
    await desk.wait(minutes=10)
    alarm = await told(desk)
    assert alarm is not None
    assert (alarm.code, alarm.account_id, alarm.severity) == ("was_down", None, Severity.WARNING)
    assert alarm.message == (
        "nobody guarded from Fri 11:06:00 to 11:10:00 EST (4m): the daemon ended without being "
        "stopped. Nothing was traded in that time."
    )


@pytest.mark.parametrize("clean", [True, False])
async def test_what_was_traded_unguarded_is_told_for_each_account(clean: bool) -> None:
    """F7.11: What was traded while nobody guarded is told, also after a stop that was asked for."""
    desk = Desk(accounts=(101, 102))
    await desk.loss(70)
    await desk.wait(minutes=10)
    for pnl in ("-20", "-30"):
        await desk.fill("MNQ", -1, pnl=pnl, fees="1", at=desk.now - timedelta(minutes=1))
    alarm = await told(desk, clean=clean)
    assert alarm is not None
    assert alarm.severity is (Severity.WARNING if clean else Severity.CRITICAL)
    assert ("it had been stopped" in alarm.message) is clean
    assert alarm.message.endswith("Traded in that time: account 101, 2 executions, net -$52.00.")


async def test_a_stop_in_which_nothing_was_traded_is_no_alarm() -> None:
    """F7.11: A daemon that was stopped, with nothing traded meanwhile, raises no alarm."""
    desk = make_desk()
    await desk.loss(70)
    await desk.wait(minutes=10)
    assert await told(desk, clean=True) is None


async def test_a_gap_over_midnight_names_both_days() -> None:
    """F7.11: A gap that ends on another day than it began names both."""
    desk = make_desk()
    await desk.wait(minutes=1)
    alarm = await told(desk, minutes=60 * 48)
    assert alarm is not None
    assert "from Wed 11:01:00 to Fri 11:01:00 EST (2d)" in alarm.message
