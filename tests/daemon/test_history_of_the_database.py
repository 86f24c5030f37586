"""Earlier days, locks and enforcements, page by page, as a daemon tells them from its database."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from desk import MORNING
from stored_desk import StoppedClock, StoredDesk, at, opened, stored_desk, tamper
from stored_rows import settled

from risk_manager.daemon.day_curves import DayCurves
from risk_manager.daemon.feed_history import FeedHistory
from risk_manager.feed.history_request import HistoryRequest
from risk_manager.feed.messages import EnforcementTotals, History

LOSS = {"daily_realized_loss": {"limit": 500}, "max_contracts": {"limit": 2}}


class Told:
    """What the daemon of this desk answers."""

    def __init__(self, desk: StoredDesk, folder: Path) -> None:
        def state() -> Any:
            return desk.pipeline.state

        curves = DayCurves(folder / "day_curves.json", state)
        self._history = FeedHistory(folder / "state.db", state, curves)

    async def ask(self, kind: str, **more: Any) -> History:
        request = HistoryRequest(id=1, kind=kind, account_id=101, **more)
        answer = await self._history(request)
        assert (answer.id, answer.kind) == (1, kind)
        return answer

    async def all_pages(self, kind: str, limit: int) -> list[History]:
        pages = [await self.ask(kind, limit=limit)]
        while pages[-1].next is not None:
            pages.append(await self.ask(kind, limit=limit, before=pages[-1].next))
        return pages


async def test_earlier_days_come_newest_first_and_page_by_page(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store))
        await desk.can_trade(True, balance=50_000)
        for result in (100, 250, 75):
            await desk.loss(result, fees="1.50")
            await desk.wait_until(desk.pipeline.state.day.ends_at + timedelta(seconds=1))
        assert await settled(store)
        pages = await Told(desk, tmp_path).all_pages("days", 2)
    days = [day for page in pages for day in page.days]
    assert [len(page.days) for page in pages] == [2, 1]
    assert [(d.net, d.gross, d.fees) for d in days] == [
        (-76.5, -75.0, 1.5),
        (-251.5, -250.0, 1.5),
        (-101.5, -100.0, 1.5),
    ]
    assert [d.trading_date for d in days] == sorted((d.trading_date for d in days), reverse=True)
    assert days[0].end_balance == 50_000.0


async def test_locks_of_earlier_days_say_how_they_ended(tmp_path: Path) -> None:
    async with at(tmp_path, clock=StoppedClock(MORNING)) as store:
        desk = await opened(stored_desk(store, **LOSS))
        await desk.admin("lock", until=desk.now + timedelta(minutes=5), reason="lunch")
        await desk.wait(minutes=6)
        await desk.loss(600)
        await desk.wait_until(desk.pipeline.state.day.ends_at + timedelta(seconds=1))
        await desk.admin("lock", reason="tired")
        assert await settled(store)
        pages = await Told(desk, tmp_path).all_pages("locks", 1)
    locks = [lock for page in pages for lock in page.locks]
    assert [(x.rule_id, x.cleared_by) for x in locks] == [
        ("manual", ""),
        ("daily_realized_loss", "DAILY_RESET"),
        ("manual", "TIMER_EXPIRY"),
    ]
    assert locks[0].cleared_at is None
    assert locks[2].reason == "lunch"
    assert locks[2].cleared_at == MORNING + timedelta(minutes=5)


async def test_enforcements_of_earlier_runs_and_the_exact_totals_of_today(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LOSS))
        await desk.loss(600)
        await desk.wait_until(desk.pipeline.state.day.ends_at + timedelta(seconds=1))
        await desk.position("MNQ", 1)
        await desk.position("MNQ", 3)
        await desk.obey()
        for number in range(60):
            await desk.position("ES", 3 + number)
            await desk.position("ES", 0)
        assert await settled(store)
        told = Told(desk, tmp_path)
        totals = (await told.ask("totals")).totals
        pages = await told.all_pages("enforcements", 50)
    entries = [entry for page in pages for entry in page.enforcements]
    assert len(entries) > 60
    keys = {(e.timestamp, e.action_id, e.reason) for e in entries}
    assert len(keys) == len(entries)  # no entry comes twice, none is left out between two pages
    assert entries[-1].reason.startswith("lost $600.00 today")
    assert entries[-1].phase == "decided"
    today = [e for e in entries if e.rule_ids == ("max_contracts",)]
    [of_rule] = totals  # the loss was yesterday's
    assert of_rule == EnforcementTotals(
        rule_ids=("max_contracts",),
        breaches=sum(e.phase == "decided" for e in today),
        shadowed=0,
        closes=sum(e.phase == "confirmed" for e in today),
        cancels=0,
        stops=0,
        failed=0,
        uncertain=0,
        slowest_ms=of_rule.slowest_ms,
    )
    assert of_rule.breaches == 61
    assert of_rule.locks == of_rule.pauses == 0
    assert of_rule.closes == 1
    assert sum(e.phase == "started" for e in today) == 1


async def test_the_totals_tell_locks_from_pauses(tmp_path: Path) -> None:
    rules = {
        "daily_realized_loss": {"limit": 500},
        "cooldown_after_loss": {"tiers": [{"loss": 100, "cooldown": "5m"}]},
    }
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **rules))
        await desk.loss(200)
        await desk.wait(minutes=20)
        await desk.loss(400)
        await desk.wait(minutes=1)
        assert await settled(store)
        totals = (await Told(desk, tmp_path).ask("totals")).totals
    assert {t.rule_ids: (t.breaches, t.locks, t.pauses) for t in totals} == {
        ("daily_realized_loss",): (1, 1, 0),
        ("cooldown_after_loss",): (2, 0, 2),
    }


async def test_the_story_is_told_a_trading_day_a_page(tmp_path: Path) -> None:
    async with at(tmp_path, clock=StoppedClock(MORNING)) as store:
        desk = await opened(stored_desk(store, **LOSS))
        await desk.loss(600)
        first_day = desk.pipeline.state.day.date
        await desk.wait_until(desk.pipeline.state.day.ends_at + timedelta(seconds=1))
        await desk.wait_until(desk.pipeline.state.day.ends_at + timedelta(seconds=1))  # calm
        await desk.position("MNQ", 3)
        await desk.obey()
        await desk.admin("lock", reason="tired")
        assert await settled(store)
        told = Told(desk, tmp_path)
        today, calm, first = await told.all_pages("story", 50)
        cut = await told.all_pages("story", 1)
    assert {e.phase for e in today.enforcements} >= {"decided", "confirmed"}
    assert [(x.rule_id, x.cleared_by) for x in today.locks] == [("manual", "")]
    assert today.days == ()  # it has not ended
    assert (calm.enforcements, calm.locks) == ((), ())
    assert first.before == first_day.isoformat()
    assert [(x.rule_id, x.cleared_by) for x in first.locks] == [
        ("daily_realized_loss", "DAILY_RESET")
    ]
    assert [(d.trading_date, d.net) for d in first.days] == [(first_day.isoformat(), -600.0)]
    assert [e.reason for e in first.enforcements if e.phase == "decided"] != []
    whole = [e for page in (today, calm, first) for e in page.enforcements]
    assert [e for page in cut for e in page.enforcements] == whole
    assert sum(len(page.locks) for page in cut) == 2  # a day that goes on tells them once


async def test_the_alarms_of_a_day_are_in_its_story(tmp_path: Path) -> None:
    async with at(tmp_path, clock=StoppedClock(MORNING)) as store:
        desk = await opened(stored_desk(store))
        await store.audit(
            "daemon", "alarm.x", "account:101", new={"message": "mine", "severity": "critical"}
        )
        for target in ("account:202", "daemon"):
            await store.audit(
                "daemon", "alarm.x", target, new={"message": target, "severity": "info"}
            )
        assert await settled(store)
        page = await Told(desk, tmp_path).ask("story")
    assert {(a.message, a.account_id) for a in page.alarms} >= {("mine", 101), ("daemon", None)}
    assert "account:202" not in {a.message for a in page.alarms}


async def test_a_database_that_cannot_be_read_is_an_answer_too(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store))
        await desk.admin("lock", reason="tired")
        assert await settled(store)
    tamper(tmp_path, "UPDATE lockouts SET trading_date = 'x'")
    told = Told(desk, tmp_path)
    assert "cannot be read" in (await told.ask("locks")).error
    assert "cannot be read" in (await told.ask("locks", before="x")).error
    assert "cannot be read" in (await told.ask("enforcements", before="1")).error
    assert "cannot be read" in (await told.ask("days", before="never")).error
    for wrong in ("never", "2026-11-16/x", "2026-11-16/99999999999999999999999.1"):
        assert "cannot be read" in (await told.ask("story", before=wrong)).error
    tamper(tmp_path, "DROP TABLE lockouts")
    assert "the database cannot answer" in (await told.ask("locks")).error
