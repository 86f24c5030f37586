"""A start: what was remembered is taken up once, and a screen sees what earlier runs have told."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from daemon_process import ACCOUNT, DaemonProcess, buy, lose, still_gateway, until
from desk import MORNING
from stored_desk import at, garble, opened, stored_desk, tamper

from risk_manager.clock import Clock
from risk_manager.daemon import assembly
from risk_manager.daemon.daemon import Daemon
from risk_manager.daemon.earlier_runs import EarlierRuns, read_earlier_runs
from risk_manager.domain.events import AdminAsked, HealthIssueChanged
from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.rulebook import Rulebook
from risk_manager.feed.client import FeedClient
from risk_manager.feed.frames import REMEMBERED
from risk_manager.feed.history_request import HistoryRequest
from risk_manager.feed.messages import History, Message
from risk_manager.instance_lock import EXIT_DATABASE, CannotStart
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.settings.loading import load
from risk_manager.store.finding import OpenedAs
from risk_manager.store.schema import StoreError
from risk_manager.store.store import Store

pytestmark = pytest.mark.wire


class Noting(sqlite3.Connection):
    """A connection that remembers what was written through it."""

    written: list[str]

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        self.written.append(sql)
        return super().execute(sql, parameters)


def desk_in(
    folder: Path, gateway: PracticeGateway, monkeypatch: pytest.MonkeyPatch
) -> DaemonProcess:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("PROJECT_X_USERNAME", gateway.username)
    monkeypatch.setenv("PROJECT_X_API_KEY", gateway.api_key)
    return DaemonProcess(folder).point_at(gateway, XDG_STATE_HOME=str(folder))


@contextlib.asynccontextmanager
async def guarding(where: DaemonProcess) -> AsyncIterator[Daemon]:
    """A daemon in this process."""
    daemon = Daemon(load(where.config), where.data, console=False)
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))
    try:
        await until(daemon.running.is_set, "RUNNING")
        yield daemon
    finally:
        stop.set()
        await running


async def test_what_was_in_flight_is_given_up_once_at_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start reads the state twice, before the login and under the limits agreed by then."""
    written: list[str] = []
    restored: list[object] = []

    class Counted(Store):
        @classmethod
        def open(cls, path: Path, clock: Clock, **more: Any) -> Any:
            noting = type("Noting", (Noting,), {"written": written})
            return super().open(path, clock, connection_class=noting, **more)

        async def restore(self, *given: Any, **more: Any) -> Any:
            restored.append(given)
            return await super().restore(*given, **more)

    monkeypatch.setattr(assembly, "Store", Counted)
    async with still_gateway() as gateway, guarding(desk_in(tmp_path, gateway, monkeypatch)):
        assert len(restored) == 1
        assert len([sql for sql in written if "the daemon ended before it heard" in sql]) == 1


async def test_damage_that_no_start_reads_is_told_and_the_day_is_locked_before_it_guards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with still_gateway() as gateway:
        where = desk_in(tmp_path, gateway, monkeypatch)
        async with guarding(where) as daemon:
            database = daemon.parts.store.path
            asked = AdminAsked(
                at=daemon.parts.clock.now(), account_id=ACCOUNT, verb="lock", reason="enough of it"
            )
            await daemon.parts.take(asked)
            before = {lock.rule_id for lock in daemon.parts.state.accounts[ACCOUNT].locks.values()}
            assert before == {"manual"}
        garble(database, "sessions")
        async with guarding(where) as daemon:
            after = {lock.rule_id for lock in daemon.parts.state.accounts[ACCOUNT].locks.values()}
            assert after == {"manual", "lost_database"}
            await where.until_alarm("database_lost")
            assert daemon.parts.store.opened_as is OpenedAs.CORRUPT


@pytest.mark.parametrize("fails", ["belongs_to", "restore", "checked", "read_again"])
async def test_a_database_that_cannot_answer_at_the_start_is_told_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Exit code 6, with a line for a person: not a crash."""

    async def cannot_answer(*given: Any, **more: Any) -> Any:
        if fails == "read_again" and "only" not in more:
            return await read_again(*given, **more)  # the first time, before the login
        raise StoreError("the database did not answer within 5 s")

    read_again = Store.read_again
    monkeypatch.setattr(Store, fails, cannot_answer)
    async with still_gateway() as gateway:
        where = desk_in(tmp_path, gateway, monkeypatch)
        daemon = Daemon(load(where.config), where.data, console=False)
        with pytest.raises(CannotStart, match="did not answer") as refused:
            await daemon.run(asyncio.Event())
    assert refused.value.code == EXIT_DATABASE


async def test_a_screen_sees_after_a_restart_what_earlier_runs_have_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with still_gateway() as gateway:
        exchange = gateway.exchange
        where = desk_in(tmp_path, gateway, monkeypatch)
        async with guarding(where) as daemon:
            buy(exchange, "MNQ", 7)
            await until(lambda: exchange.net(ACCOUNT, exchange.contract_of("MNQ").id) == 5, "cut")
            buy(exchange, "RTY", 1)
            await where.until_account(has_ended("CLOSE_POSITION"), "closed, and read back")
            await where.until_account(has_ended("REDUCE_POSITION"), "reduced, and read back")
            now = daemon.parts.clock.now()
            lost = HealthIssueChanged(at=now, doubt=IssueKind.DATABASE_LOST, reason="as a test")
            await daemon.parts.take(lost)
            alarm = await where.until_alarm("database_lost")
            before = await where.account()
        async with guarding(where):
            after = await where.account()
            snapshot = await where.snapshot()
    assert {e["action"] for e in before["enforcements"]} >= {"CLOSE_POSITION", "REDUCE_POSITION"}
    assert [known_of(e) for e in after["enforcements"]] == newest_first(before["enforcements"])
    [again] = [a for a in snapshot["alarms"] if a["code"] == "database_lost"]
    assert {**again, "about": alarm["about"], "over_at": None} == alarm
    assert again["over_at"] is not None, "it would stand for ever"


async def test_a_screen_sees_after_a_restart_the_day_with_its_curve_its_trades_and_its_totals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with still_gateway() as gateway:
        where = desk_in(tmp_path, gateway, monkeypatch)
        async with guarding(where) as daemon:
            lose(gateway.exchange, "MNQ", 2, 40)
            buy(gateway.exchange, "RTY", 1)
            await where.until_account(has_ended("CLOSE_POSITION"), "closed, and read back")
            await until(
                lambda: (
                    (curve := daemon.parts.day_curves.of(daemon.state.accounts[ACCOUNT]))
                    and curve.low is not None
                    and curve.low.net < -40
                ),
                "the loss is in the curve",
            )
            before = await histories(where)
        async with guarding(where):
            await where.account()
            after = await histories(where)
    day, trades, totals = after["day"].day, after["trades"].trades, after["totals"].totals
    assert day is not None
    assert before["day"].day is not None
    assert (day.watched_since, day.low) == (before["day"].day.watched_since, before["day"].day.low)
    assert day.realised == before["day"].day.realised
    assert trades == before["trades"].trades
    assert trades[0].realised_after == day.realised[-1].net
    assert sum(t.closes for t in totals) == 1
    assert [e.phase for e in after["enforcements"].enforcements].count("confirmed") == 1
    assert [lock.rule_id for lock in after["locks"].locks] == ["symbol_blocks"]
    assert not any(answer.error for answer in after.values())


async def histories(where: DaemonProcess) -> dict[str, History]:
    """One answer of each kind, as a screen gets them."""
    client = FeedClient(where.data)
    waiting = ["day", "trades", "days", "locks", "enforcements", "totals"]
    answers: dict[str, History] = {}
    async with asyncio.timeout(30), aclosing(client.stream()) as stream:
        async for item in stream:
            if not isinstance(item, Message):
                continue
            if isinstance(item.data, History):
                answers[item.data.kind] = item.data
                waiting = [kind for kind in waiting if kind not in answers]
            elif item.type != "snapshot" or answers:
                continue
            if not waiting:
                break
            request = HistoryRequest(id=len(answers), kind=waiting[0], account_id=ACCOUNT)
            assert await client.ask(request)
    return answers


def has_ended(action: str) -> Callable[[dict[str, Any]], bool]:
    return lambda account: any(
        e["action"] == action and e["phase"] == "confirmed" for e in account["enforcements"]
    )


def known_of(entry: dict[str, Any]) -> dict[str, Any]:
    """An enforcement, but for its duration, which is measured at two places."""
    return {k: v for k, v in entry.items() if k != "duration_ms"}


def newest_first(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """While it happens the end of a call is shown where its beginning was."""
    return [known_of(e) for e in sorted(entries, key=lambda e: e["timestamp"], reverse=True)]


async def test_a_call_that_was_under_way_when_the_daemon_was_killed_is_shown_as_uncertain(
    tmp_path: Path,
) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, max_contracts={"limit": 2}))
        await desk.position("MNQ", 5)
        [asked] = desk.enforcer.actions
    async with at(tmp_path) as store:
        state = await store.restore(Rulebook(), MORNING)
        earlier = await read_earlier_runs(store, state, MORNING)
    [call] = [e for _, e in earlier.enforcements if e.action_id == asked.id]
    assert (call.phase, call.success, call.duration_ms) == ("uncertain", None, None)
    assert call.details == {
        "keep": 2,
        "outcome": "unknown",
        "message": "the daemon ended before it heard",
    }


async def test_the_newest_of_each_account_are_shown_and_no_more_than_the_feed_keeps(
    tmp_path: Path,
) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, max_contracts={"limit": 2}))
        for _ in range(2 * REMEMBERED):
            await desk.position("MNQ", 5)
            await desk.position("MNQ", 0)
            await desk.wait(seconds=40)
        wanted = [a.id for a in desk.enforcer.actions[-5:]]
        state = await store.restore(Rulebook(), desk.now)
        earlier = await read_earlier_runs(store, state, desk.now)
    assert len(earlier.enforcements) == REMEMBERED
    assert [e.action_id for _, e in earlier.enforcements if e.action_id][-5:] == wanted


async def test_rows_nobody_can_read_leave_a_screen_without_history_and_keep_no_one_from_guarding(
    tmp_path: Path,
) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, max_contracts={"limit": 2}))
        await desk.position("MNQ", 5)
        tamper(tmp_path, "UPDATE enforcement_log SET details = 'no JSON'")
        state = await store.read_again(Rulebook(), MORNING)
        assert await read_earlier_runs(store, state, MORNING) == EarlierRuns()
