"""Backups that are verified and thinned out; rows that go when their time is over."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from stored_desk import StoppedClock, at, opened, rows, stored_desk
from stored_rows import audit_tail

from risk_manager.store.schema import StoreError
from risk_manager.store.store import verify_audit
from risk_manager.store.upkeep import open_reader, superseded

LOSS: dict[str, Any] = {"daily_realized_loss": {"limit": 500}}


async def test_a_backup_is_a_whole_database_made_while_in_use(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LOSS))
        await desk.loss(600)
        copy = await store.backup()
        await desk.loss(10)
        saved = sqlite3.connect(copy)
        assert saved.execute("SELECT count(*) FROM trades").fetchone() == (1,)
        saved.close()
        assert store.trouble is None


def test_seven_days_and_four_weeks_of_backups_are_kept() -> None:
    first = datetime(2026, 9, 1, 22, 5, tzinfo=UTC)
    made = [Path(f"state-{first + timedelta(days=n):%Y%m%d-%H%M%S}.db") for n in range(60)]
    strangers = [Path("state-mine.db")]
    kept = {*made, *strangers} - set(superseded([*made, *strangers]))
    assert strangers[0] in kept
    assert set(made[-7:]) < kept
    assert len(kept - {*strangers}) == 7 + 2  # two of the four weeks are among the seven days
    assert superseded(kept) == []


async def test_two_backups_of_one_day_leave_the_newer(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with at(tmp_path, clock=clock) as store:
        first = await store.backup()
        clock.advance(minutes=1)
        second = await store.backup()
    assert (first.exists(), second.exists()) == (False, True)


async def test_what_is_past_its_time_goes_and_the_chain_still_holds(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with at(tmp_path, clock=clock) as store:
        desk = await opened(stored_desk(store, **LOSS))
        await desk.loss(600)
        await desk.hub("user", "up")
        for _ in range(230):
            await store.audit("anna", "looked", "journal")
        clock.advance(days=400)
        await store.audit("anna", "came back", "journal")
        removed = await store.prune(clock.now())
        assert removed["audit"] > 230
        assert removed["trades"] == 1
        assert removed["connection_log"] == 1
        assert "lockouts" not in removed  # still in force
        assert verify_audit(store.path) is None
        # The lock is told again before the row that told of it goes.
        assert [r.action for r in await audit_tail(store)][:3] == [
            "database.pruned",
            "lock.set",
            "came back",
        ]
        assert await store.prune(clock.now()) == {}
        await store.keeper.keep()
    assert verify_audit(tmp_path / "state.db") is None


async def test_a_reader_reads_and_cannot_write(tmp_path: Path) -> None:
    async with at(tmp_path):
        with open_reader(tmp_path / "state.db") as reader:
            assert reader.execute("SELECT count(*) FROM audit").fetchone() == (1,)
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("DELETE FROM audit")
    with pytest.raises(StoreError), open_reader(tmp_path / "missing.db"):
        pass


async def test_a_checkpoint_empties_the_log(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        await store.audit("anna", "looked", "journal")
        await store.keeper.checkpoint()
        assert rows(tmp_path, "SELECT count(*) FROM audit") == [(2,)]
        assert _size(tmp_path / "state.db-wal") == 0


def _size(path: Path) -> int:
    return path.stat().st_size
