"""The machine's clock and the gateway's differ: nothing ends early, and no loss goes uncounted."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from desk import MORNING, Desk, make_desk, rules_from

from risk_manager.domain.events import HealthIssueChanged, RulebookReplaced, Tick
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.health_issue import CLOCK_AHEAD, IssueKind
from risk_manager.domain.records import OrderType

DAY = timedelta(days=1)
TODAY, NEXT = date(2026, 11, 20), date(2026, 11, 23)  # a Friday, and the Monday after it


async def ahead(desk: Desk, reason: str) -> None:
    kind, account_id, subject = CLOCK_AHEAD
    await desk.happens(
        HealthIssueChanged(
            at=desk.now, doubt=kind, account_id=account_id, subject=subject, reason=reason
        )
    )


async def test_by_a_clock_that_is_ahead_of_the_gateways_no_day_turns() -> None:
    """F6.1: While our time is later than the gateway's the trading day does not turn."""
    desk = make_desk(daily_realized_loss={"limit": 100})
    await desk.loss(150)
    await ahead(desk, "the daemon's time is an hour late")
    today = desk.account().trading_date
    await desk.wait(hours=30)
    book = desk.pipeline.state.rulebook
    await desk.happens(RulebookReplaced(at=desk.now, rulebook=book))
    assert desk.resets == []
    assert desk.pipeline.state.day.date == desk.account().trading_date == today
    assert desk.locked_by() == {"daily_realized_loss": "account"}
    await ahead(desk, "")
    await desk.wait(seconds=1)
    assert len(desk.resets) == 1
    assert desk.locked_by() == {}


async def test_a_loss_the_gateway_dates_tomorrow_counts_today_and_tomorrow() -> None:
    """F6.2: A trade of a day that has not begun here is judged at once, and again on its day."""
    desk = make_desk(daily_realized_loss={"limit": 100})
    await desk.loss(150, at=desk.now + DAY)
    assert desk.locked_by() == {"daily_realized_loss": "account"}
    assert desk.account().ledger.day(TODAY).net == -150
    await desk.wait_until(desk.pipeline.state.day.ends_at + timedelta(seconds=1))
    assert desk.account().trading_date == NEXT
    assert desk.account().ledger.day(NEXT).net == -150
    assert desk.account().ledger.day(TODAY).net == 0
    assert desk.locked_by() == {"daily_realized_loss": "account"}


async def test_an_account_dated_on_a_day_to_come_is_dated_today_again() -> None:
    """F6.2: What was dated tomorrow by a clock that was ahead is dated, and judged, today."""
    desk = make_desk(daily_realized_loss={"limit": 500})
    await desk.loss(150)
    state = desk.pipeline.state
    dated = fast_replace(desk.account(), trading_date=NEXT)
    desk.pipeline.state = fast_replace(state, accounts={101: dated})
    await desk.restart()
    assert desk.account().trading_date == TODAY
    (doubt,) = [d for d in desk.pipeline.state.health_issues.values() if d.stands]
    assert (doubt.kind, doubt.account_id) == (IssueKind.CLOCK_TURNED, 101)
    assert desk.resets == []
    await desk.loss(400)  # 550 in all
    assert desk.locked_by() == {"daily_realized_loss": "account"}
    await desk.wait_until(desk.pipeline.state.day.ends_at + timedelta(seconds=1))
    assert not any(d.stands for d in desk.pipeline.state.health_issues.values())


CHICAGO = ZoneInfo("America/Chicago")
SESSION = {"sessions": [{"days": ["thu"], "start": "08:30", "end": "15:00"}]}


@pytest.mark.parametrize(
    ("at", "lead_h", "policy"),
    [
        ("2026-11-19 14:30", 0, None),
        ("2026-11-19 14:30", 1, "flat"),  # the session is over by the gateway's clock
        ("2026-11-19 08:00", 1, "flat"),  # it has begun by the gateway's clock alone
        ("2026-11-19 09:00", 1, None),
        ("2026-11-18 10:00", 24, "flat"),  # Thursday by the gateway's clock alone
    ],
)
async def test_a_session_begins_by_the_later_clock_and_ends_by_the_earlier(
    at: str, lead_h: int, policy: str | None
) -> None:
    """F6.1: A session is open only while both clocks say so."""
    rules = rules_from(session_block_outside={"timezone": "America/Chicago", **SESSION})
    desk = Desk(rules, at=datetime.fromisoformat(at).replace(tzinfo=CHICAGO).astimezone(UTC))
    desk.lead = timedelta(hours=lead_h)
    await desk.wait(seconds=2)
    locks = [lock.policy.value for lock in desk.account().locks.values()]
    assert locks == ([policy] if policy else [])


async def test_a_pause_set_by_a_clock_that_is_behind_does_not_end_when_it_is_set_right() -> None:
    """F6.1: The machine's clock turned back, a pause, and right again: the pause is as long."""
    desk = make_desk(cooldown_after_loss={"tiers": [{"loss": 100, "cooldown": "30m"}]})
    true = MORNING + timedelta(hours=2)
    desk.lead = true - desk.now
    await desk.wait(seconds=1)
    await desk.loss(150)
    await desk.admin("lock", scope="root:CL", until=desk.now + timedelta(minutes=30))
    await desk.wait(seconds=2)
    assert desk.locked_by() == {"cooldown_after_loss": "account", "manual": "root:CL"}
    desk.now, desk.lead = true, timedelta(0)
    await desk.wait(minutes=29)
    assert desk.locked_by() == {"cooldown_after_loss": "account", "manual": "root:CL"}
    await desk.wait(minutes=2)
    assert desk.locked_by() == {}


async def test_the_lead_of_the_gateways_clock_is_what_the_last_tick_said() -> None:
    desk = make_desk()
    await desk.happens(Tick(at=MORNING, lead=DAY))
    assert desk.pipeline.state.latest == MORNING + DAY
    await desk.happens(Tick(at=MORNING))
    assert desk.pipeline.state.latest == MORNING
    assert desk.pipeline.state.day.date == TODAY


@pytest.mark.parametrize("first", ["tick", "quote", "order"])
async def test_what_is_under_way_is_not_sent_again_when_the_time_leaps(first: str) -> None:
    """Our clock is set right by 40 minutes within a second after a close was sent. The call is
    still under way, and counts as lost only once it has been so for long by any clock."""
    desk = make_desk()
    await desk.admin("lock")
    await desk.position("MES", 1, 6000)
    assert desk.actions == ["close MES"]
    desk.now += timedelta(minutes=40)
    if first == "quote":
        await desk.quote("MES", 6000)
    if first == "order":
        await desk.order("MES", -1, kind=OrderType.MARKET)
    await desk.wait(seconds=25)
    assert desk.actions.count("close MES") == 1
    await desk.wait(seconds=10)
    assert desk.actions.count("close MES") == 2, "nobody has told of it for half a minute"
