"""What happens at the desk, and what people outside read of it."""

from pathlib import Path

from alert_sink import Sink
from daemon_process import until
from desk import rules_from
from pydantic import SecretStr
from told_desk import ToldDesk, told_desk

from risk_manager.alerts.apprise_channel import AppriseChannel
from risk_manager.alerts.delivery import Delivery
from risk_manager.domain.decisions import ClosePosition, Outcome
from risk_manager.domain.events import GuardResumed, HealthIssueChanged
from risk_manager.domain.health_issue import IssueKind

LOSS = {"limit": 500}


async def test_a_lock_is_told_with_its_reason_its_end_and_when_it_has_ended(tmp_path: Path) -> None:
    desk = told_desk(tmp_path, daily_realized_loss=LOSS)
    await desk.is_started()
    await desk.loss(600)
    await desk.obey()
    told = await desk.told()
    assert "account 101 locked by daily_realized_loss" in told
    text = desk.texts[told.index("account 101 locked by daily_realized_loss")]
    assert "lost $600.00 today, limit $500.00" in text
    assert "nothing may be open or working, until Fri 20 Nov 17:00 EST" in text
    await desk.wait_until(desk.pipeline.state.day.ends_at)
    told = await desk.told()
    assert "Done: account 101 locked by daily_realized_loss" in told
    assert "Summary of 2026-11-20" in told
    summary = desk.texts[told.index("Summary of 2026-11-20")]
    assert "account 101: net -$600.00, 1 execution, 1 lock ended by the reset" in summary


async def test_the_end_of_a_session_is_no_emergency(tmp_path: Path) -> None:
    desk = told_desk(
        tmp_path,
        session_block_outside={
            "sessions": [{"days": ["fri"], "start": "08:30", "end": "10:05"}],
            "timezone": "America/Chicago",
        },
    )
    await desk.is_started()
    await desk.wait(minutes=6)
    assert await desk.told() == ["account 101 locked by session_block_outside"]
    assert "acknowledge" not in desk.texts[0]


async def test_a_close_that_fails_is_told_unless_it_is_soon_put_right(tmp_path: Path) -> None:
    desk = told_desk(tmp_path, max_contracts={"limit": 5})
    await desk.is_started()
    await desk.position("MNQ", 7)
    action = desk.enforcer.actions[-1]
    await desk.settle(action, Outcome.REFUSED, verified=True)
    assert await desk.told(after_s=1) == []
    await desk.position("MNQ", 5)
    assert await desk.told(after_s=30) == []


async def test_a_close_that_keeps_failing_is_told_then_graver_then_done(tmp_path: Path) -> None:
    desk = told_desk(tmp_path, symbol_blocks={"blocked": ["MNQ"]})
    await desk.is_started()
    await desk.position("MNQ", 2)
    told = await fails_for(desk, 10)
    assert told.count("account 101: enforcement failed") == 1
    told = await fails_for(desk, 120)
    assert told.count("account 101: cannot close or cancel") == 1
    await desk.position("MNQ", 0)
    assert "Done: account 101: cannot close or cancel" in await desk.told(after_s=3)


async def fails_for(desk: ToldDesk, seconds: int) -> list[str]:
    """The gateway refuses every close for so long. Returns what was told."""
    told = []
    done = 0
    for _ in range(seconds):
        for action in desk.enforcer.actions[done:]:
            if isinstance(action, ClosePosition):
                await desk.settle(action, Outcome.REFUSED, verified=True)
        done = len(desk.enforcer.actions)
        told += await desk.told(after_s=1)
    return told


async def test_an_answer_that_never_came_is_told_as_not_verified(tmp_path: Path) -> None:
    desk = told_desk(tmp_path, symbol_blocks={"blocked": ["MNQ"]})
    desk.rest = False
    await desk.is_started()
    await desk.position("MNQ", 2)
    await desk.settle(desk.enforcer.actions[-1], Outcome.UNKNOWN, verified=False)
    assert "account 101: enforcement is not verified" in await desk.told(after_s=4)


async def test_a_lost_stream_is_told_after_a_while_and_at_once_with_a_position(
    tmp_path: Path,
) -> None:
    desk = told_desk(tmp_path)
    await desk.hub("user", "up")
    await desk.is_started()
    await desk.hub("user", "down")
    assert await desk.told(after_s=20) == []
    await desk.hub("user", "up")
    assert await desk.told(after_s=60) == []
    await desk.position("MNQ", 1)
    await desk.hub("user", "down")
    told = await desk.told(after_s=4)
    assert told == ["account 101: hub down while a position is open"]
    await desk.hub("user", "up")
    assert "Done: account 101: hub down while a position is open" in await desk.told(after_s=1)


async def test_a_limit_at_eighty_percent_is_told_once_and_again_after_it_fell(
    tmp_path: Path,
) -> None:
    desk = told_desk(tmp_path, daily_realized_loss=LOSS)
    await desk.is_started()
    await desk.loss(390)
    assert await desk.told(after_s=10) == []
    await desk.loss(20)
    (title,) = await desk.told(after_s=10)
    assert title.startswith("account 101: 82% of ")
    await desk.win(30)
    assert await desk.told(after_s=10) == [], "76 % is not well below 80 %"
    await desk.win(60)
    assert [t.partition(":")[0] for t in await desk.told(after_s=10)] == ["Done"]
    await desk.loss(120)
    (title,) = await desk.told(after_s=10)
    assert title.startswith("account 101: 88% of ")


async def test_a_position_at_its_allowed_size_is_no_news(tmp_path: Path) -> None:
    desk = told_desk(tmp_path, max_contracts={"limit": 5})
    await desk.is_started()
    await desk.position("MNQ", 5)
    assert await desk.told(after_s=15) == []


async def test_a_gap_is_told_and_a_clean_stop_without_trades_is_not(tmp_path: Path) -> None:
    desk = told_desk(tmp_path)
    await desk.is_started()
    since = desk.now
    await desk.wait(minutes=2)
    await desk.happens(GuardResumed(at=desk.now, since=since, clean=True))
    assert await desk.told() == []
    await desk.happens(GuardResumed(at=desk.now, since=since, clean=False))
    assert await desk.told() == ["Nobody guarded for a time"]
    assert "nobody guarded from" in desk.texts[0]


async def test_start_and_stop_are_one_matter(tmp_path: Path) -> None:
    desk = told_desk(tmp_path)
    desk.is_running = False
    await desk.is_read()
    assert await desk.told() == []
    desk.is_running = True
    assert await desk.told() == ["The guard is running"]
    await desk.position("MNQ", 1)
    await desk.alerting.ended("", asked=True)
    assert [m.title for m in desk.paper.messages] == ["Nobody guards: the daemon has ended"]
    assert "Still open: account 101" in desk.paper.messages[0].text
    again = ToldDesk(tmp_path, alerts=desk.alerting.book.alerts)
    await again.is_read()
    assert await again.told() == ["Done: Nobody guards: the daemon has ended"]


async def test_matters_of_an_earlier_run_that_do_not_stand_any_more_are_over(
    tmp_path: Path,
) -> None:
    desk = told_desk(tmp_path, daily_realized_loss=LOSS)
    await desk.hub("user", "up")
    await desk.is_started()
    await desk.position("MNQ", 1)
    await desk.hub("user", "down")
    await desk.told(after_s=4)
    await desk.loss(600)
    await desk.told(after_s=4)
    known = {alert.subject for alert in desk.alerting.book.alerts}
    assert {"lock:101:account:daily_realized_loss", "health:101:hub_down:user"} <= known
    again = ToldDesk(tmp_path, alerts=desk.alerting.book.alerts)
    await again.hub("user", "up")
    await again.is_read()
    told = await again.told()
    assert "Done: account 101 locked by daily_realized_loss" in told
    assert "Done: account 101: hub down while a position is open" in told


async def test_an_address_that_cannot_be_used_is_a_health_issue_once(tmp_path: Path) -> None:
    desk = told_desk(tmp_path)
    desk.alerting.broken["mail"] = "the environment variable MAIL is not set"
    await desk.is_started()
    await desk.told(after_s=3)
    (issue,) = desk.put
    assert isinstance(issue, HealthIssueChanged)
    assert (issue.doubt, issue.subject) == (IssueKind.ALERTS_FAILING, "mail")
    assert "MAIL is not set" in issue.reason


async def test_a_fault_of_the_alerts_themselves_ends_nothing(tmp_path: Path) -> None:
    """The events go on to be noted, and are bounded, though nobody looks at them."""
    desk = told_desk(tmp_path, symbol_blocks={"blocked": ["MNQ"]})
    for _ in range(2100):
        await desk.hub("market", "down")
        await desk.hub("market", "up")
    assert desk.alerting.lost > 0


async def test_a_real_address_gets_all_in_order_reminders_until_acknowledged_and_after_an_outage(
    tmp_path: Path,
) -> None:
    locked = "account 101 locked by daily_realized_loss"
    async with Sink() as sink:
        channel = AppriseChannel("phone", SecretStr(sink.url))
        delivery = Delivery(channel, pauses_s=(0.01,))
        desk = ToldDesk(
            tmp_path, rules=rules_from(daily_realized_loss=LOSS), deliveries=(delivery,)
        )
        desk.alerting.start()
        await desk.is_read()
        await arrives(desk, sink, ["The guard is running"])
        await desk.loss(600)
        await arrives(desk, sink, ["The guard is running", locked])
        await desk.wait(minutes=15)
        await arrives(desk, sink, ["The guard is running", locked, f"Reminder 1: {locked}"])
        await sink.close()
        await desk.wait(minutes=30)
        await desk.alerting.look()
        await until(lambda: delivery.reason, "nobody listens")
        assert delivery.waiting == 1
        await sink.open()
        await until(lambda: sink.titles[3:] == [f"Reminder 2: {locked}"], "told after the outage")
        (number,) = [a.number for a in desk.alerting.book.alerts if a.title == locked]
        desk.alerting.acknowledge(number, "me")
        await desk.wait_until(desk.pipeline.state.day.ends_at)
        await desk.alerting.look()
        await until(lambda: len(sink.titles) == 6, "the end and the summary")
        assert sink.titles[4:] == [f"Done: {locked}", "Summary of 2026-11-20"]
        delivery.stop(5)


async def arrives(desk: ToldDesk, sink: Sink, titles: list[str]) -> None:
    await desk.alerting.look()
    await until(lambda: sink.titles == titles, f"{titles}, not {sink.titles}")
