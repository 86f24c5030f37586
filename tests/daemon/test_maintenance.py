"""A verified backup after each turn of the day, and every call to the broker on record."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from desk import MORNING
from stored_desk import StoppedClock, at, opened, stored_desk
from stored_rows import audit_tail

from risk_manager.broker.lanes import Call
from risk_manager.broker.replies import Answer
from risk_manager.broker.single_requests import Lane
from risk_manager.daemon.downtime import Gap, last_sign_of_life
from risk_manager.daemon.maintenance import CallAudit, Maintenance
from risk_manager.domain.executions import Execution
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.records import TradeRecord
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.store.store import Store, verify_audit


def keeper(store: Store, desk: object, clock: StoppedClock, running: bool = True) -> Maintenance:
    return Maintenance(
        store,
        lambda: desk.pipeline.state,  # type: ignore[attr-defined]
        clock,
        is_running=lambda: running,
    )


async def test_one_backup_a_trading_day_made_up_for_when_missed(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with at(tmp_path, clock=clock) as store:
        desk = await opened(stored_desk(store))
        assert await keeper(store, desk, clock, running=False).look() is None
        kept = keeper(store, desk, clock)
        first = await kept.look()
        assert first is not None
        assert first.exists()
        clock.advance(hours=2)
        assert await kept.look() is None
        clock.at = desk.pipeline.state.day.ends_at + timedelta(seconds=30)
        assert await kept.look() is None  # the day has not turned for the core yet
        await desk.wait_until(clock.at)
        second = await kept.look()
        assert second is not None
        assert second != first
        told = [row.action for row in await audit_tail(store, 50)]
        assert told.count("database.backup") == 2


async def test_a_backup_that_fails_is_told_once_and_tried_again(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with at(tmp_path, clock=clock) as store:
        desk = await opened(stored_desk(store))
        (tmp_path / "backups").write_text("in the way")
        kept = keeper(store, desk, clock)
        assert await kept.look() is None
        assert await kept.look() is None
        failed = [r for r in await audit_tail(store, 50) if r.action == "database.backup"]
        assert [r.ok for r in failed] == [False]
        (tmp_path / "backups").unlink()
        assert await kept.look() is not None


async def test_a_backup_that_does_not_fit_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    clock = StoppedClock()
    async with at(tmp_path, clock=clock) as store:
        desk = await opened(stored_desk(store))
        await store.notes.put("padding", "x" * 400_000)
        kept = keeper(store, desk, clock)
        await store.keeper.checkpoint()
        usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, most))
        try:
            for _ in range(2):
                assert await kept.look() is None
                clock.advance(minutes=1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))
        assert list((tmp_path / "backups").iterdir()) == []
        assert await kept.look() is not None


async def test_what_a_killed_process_left_of_a_backup_is_removed(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with at(tmp_path, clock=clock) as store:
        desk = await opened(stored_desk(store))
        (tmp_path / "backups").mkdir()
        left, being_made = (tmp_path / "backups" / f"state-{n}.partial" for n in (1, 2))
        for part in (left, being_made):
            part.write_bytes(b"a part")
        os.utime(left, (0, 0))
        assert await keeper(store, desk, clock).look() is not None
        assert not left.exists()
        assert being_made.exists(), "by another process, perhaps"


async def test_a_backup_folder_that_cannot_be_looked_into_ends_nothing(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with at(tmp_path, clock=clock) as store:
        desk = await opened(stored_desk(store))
        # As a share that is gone: any error but that there is no such file.
        (tmp_path / "backups").symlink_to("x" * 300)
        assert await keeper(store, desk, clock).look() is None
        failed = [r for r in await audit_tail(store, 50) if r.action == "database.backup"]
        assert [r.ok for r in failed] == [False]


def call(path: str, lane: Lane = Lane.FAST, answer: Answer = Answer.OK) -> Call:
    return Call(
        at=MORNING,
        lane=lane,
        path=path,
        body={"accountId": 101, "contractId": "CON.F.US.MNQ.Z26"},
        answer=answer,
        code=None,
        message="",
        took_ms=12.3456,
    )


async def test_orders_to_the_broker_are_on_record_and_reads_are_not(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        calls = CallAudit(store)
        calls.note(call("/Position/closeContract"))
        calls.note(call("/Order/cancel", answer=Answer.REFUSED))
        calls.note(call("/Position/searchOpen"))
        calls.note(call("/Order/searchOpen", Lane.SLOW))
        before = store.backlog.commits
        await calls.write()
        assert store.backlog.commits == before + 1
        rows = [r for r in await audit_tail(store, 10) if r.action == "call.answered"]
        assert [(r.new or {})["path"] for r in reversed(rows)] == [
            "/Position/closeContract",
            "/Order/cancel",
        ]
        assert [r.ok for r in reversed(rows)] == [True, False]
        assert rows[0].target == "account:101"
        assert verify_audit(store.path) is None
        await calls.write()
        assert store.backlog.commits == before + 1


def test_a_gap_counts_what_was_traded_in_it_and_nothing_else() -> None:
    ledger = Ledger()
    for number, minutes, pnl in ((1, -10, -5), (2, 5, None), (3, 6, -100), (4, 90, 7)):
        record = TradeRecord.model_validate(
            {
                "id": number,
                "accountId": 101,
                "contractId": "CON.F.US.MNQ.Z26",
                "creationTimestamp": MORNING + timedelta(minutes=minutes),
                "price": 21000,
                "profitAndLoss": pnl,
                "fees": 1,
                "side": 0,
                "size": 1,
                "orderId": number,
            }
        )
        ledger = ledger.record(Execution.of(record, MORNING, TradingDay()))
    gap = Gap(began_at=MORNING, ended_at=MORNING + timedelta(hours=1), clean=False)
    told = gap.traded(ledger)
    assert (told["executions"], told["net"]) == (2, "-102.00")
    assert not told["stopped_cleanly"]


def test_the_last_sign_of_life_is_the_heartbeats(tmp_path: Path) -> None:
    assert last_sign_of_life(tmp_path / "heartbeat") is None
    (tmp_path / "heartbeat").touch()
    seen = last_sign_of_life(tmp_path / "heartbeat")
    assert seen is not None
    assert abs(datetime.now(UTC) - seen) < timedelta(minutes=1)
