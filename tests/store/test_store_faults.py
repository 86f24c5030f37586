"""A disk that fails, hangs, fills up, loses its file: announced, survived, made good."""

import asyncio
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from desk import MORNING, contract_id
from stored_desk import Disk, StoppedClock, StoredDesk, at, opened, rows, stored_desk, tamper
from stored_rows import audit_tail, connection_history, settled, trades

from risk_manager.domain.rulebook import Rulebook
from risk_manager.store.schema import StoreError
from risk_manager.store.store import Store, verify_audit

LIMIT: dict[str, Any] = {"max_contracts": {"limit": 2}}
LOSS: dict[str, Any] = {"daily_realized_loss": {"limit": 500}}


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


class Listener:
    """What people are told."""

    def __init__(self) -> None:
        self.told: list[str | None] = []

    def __call__(self, trouble: str | None) -> None:
        self.told.append(trouble)


async def locked_while_broken(store: Store, disk: Disk) -> StoredDesk:
    desk = await opened(stored_desk(store, **LIMIT, **LOSS))
    disk.broken = "disk I/O error"
    await desk.position("MNQ", 5)
    await desk.loss(600)
    return desk


async def test_a_failing_disk_is_announced_and_enforcement_goes_on(tmp_path: Path) -> None:
    disk, listener = Disk(), Listener()
    async with at(tmp_path, connection_class=disk.connection_class(), on_trouble=listener) as store:
        desk = await locked_while_broken(store, disk)
        assert desk.enforcer.actions
        assert desk.pipeline.state.accounts[101].locks
        assert store.trouble is not None
        assert "disk I/O error" in store.trouble
        assert [t is None for t in listener.told] == [False]
        disk.broken = ""
        await store.keeper.keep()
        assert await settled(store)
        assert store.trouble is None
        assert listener.told[-1] is None
        found = await store.restore(Rulebook(), MORNING)
        assert found.accounts[101].locks == desk.pipeline.state.accounts[101].locks
        assert verify_audit(store.path) is None


async def test_what_waited_is_written_by_the_next_commit_too(tmp_path: Path) -> None:
    disk = Disk()
    async with at(tmp_path, connection_class=disk.connection_class()) as store:
        desk = await locked_while_broken(store, disk)
        disk.broken = ""
        await desk.fill("MNQ", 1)
        assert store.trouble is None
        assert len(await trades(store, 101, MORNING.date())) == 2


async def test_trouble_is_repeated_while_it_lasts(tmp_path: Path) -> None:
    disk, listener, clock = Disk(), Listener(), StoppedClock()
    async with at(
        tmp_path, connection_class=disk.connection_class(), on_trouble=listener, clock=clock
    ) as store:
        await locked_while_broken(store, disk)
        clock.advance(seconds=11)
        await store.keeper.keep()
        await settled(store)
        assert len(listener.told) == 2
        disk.broken = ""


async def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    full: list[sqlite3.Connection] = []

    class Small(sqlite3.Connection):
        def __init__(self, *given: Any, **more: Any) -> None:
            super().__init__(*given, **more)
            full.append(self)

        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if sql.startswith("BEGIN"):
                super().execute(f"PRAGMA max_page_count = {pages[0]}")
            return super().execute(sql, parameters)

    pages = [100_000]
    async with at(tmp_path, connection_class=Small) as store:
        desk = await opened(stored_desk(store, **LIMIT))
        pages[0] = 1
        for number in range(120):  # more than the pages that a migration has left free
            await desk.fill("MNQ", 1, price=20000 + number)
        assert store.trouble is not None
        assert "full" in store.trouble
        await desk.position("MNQ", 9)
        assert desk.enforcer.actions
        pages[0] = 100_000
        await store.keeper.keep()
        assert await settled(store)
        assert len(await trades(store, 101, MORNING.date())) == 120


async def test_a_stuck_database_does_not_hold_up_enforcement(tmp_path: Path) -> None:
    disk, listener = Disk(), Listener()
    async with at(
        tmp_path,
        connection_class=disk.connection_class(),
        on_trouble=listener,
        patience=timedelta(milliseconds=20),
    ) as store:
        desk = await opened(stored_desk(store, **LIMIT))
        disk.stuck = threading.Event()
        async with asyncio.timeout(5):
            for size in range(3, 30):
                await desk.position("MNQ", size)
        assert desk.enforcer.actions
        assert "has not answered" in (store.trouble or "")
        disk.stuck.set()
        assert await settled(store)
        assert store.trouble is None
        found = await store.restore(Rulebook(), MORNING)
        assert found.accounts[101].positions[contract_id("MNQ")].net == 29


async def story(desk: StoredDesk) -> None:
    await desk.position("MNQ", 5)
    await desk.loss(600)
    await desk.stop("MNQ", -2)
    await desk.wait(seconds=2)


async def test_every_operation_may_fail_once(tmp_path: Path) -> None:
    counted = Disk()
    (tmp_path / "count").mkdir()
    async with at(tmp_path / "count", connection_class=counted.connection_class()) as store:
        desk = await opened(stored_desk(store, **LIMIT, **LOSS))
        first = counted.executed
        await story(desk)
        last = counted.executed
        expected = desk.pipeline.state.accounts[101]
    for number in range(first + 1, last + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        disk = Disk(fails_at=number)
        async with at(folder, connection_class=disk.connection_class()) as store:
            desk = await opened(stored_desk(store, **LIMIT, **LOSS))
            await story(desk)
            await store.keeper.keep()
            assert await settled(store)
            assert store.trouble is None, number
            kept = desk.pipeline.state.accounts[101]
            assert kept.locks == expected.locks
            found = (await store.restore(Rulebook(), MORNING)).accounts[101]
            assert (found.locks, found.positions, found.orders) == (
                kept.locks, kept.positions, kept.orders,
            )  # fmt: skip
            assert verify_audit(store.path) is None
            assert len(await trades(store, 101, MORNING.date())) == 1


async def test_opening_fails_cleanly_at_every_operation(tmp_path: Path) -> None:
    for number in range(1, 200):
        disk = Disk(fails_at=number)
        folder = tmp_path / str(number)
        try:
            async with at(folder, connection_class=disk.connection_class()):
                pass
        except StoreError:
            async with at(folder) as store:  # what was left behind does no harm
                assert store.opened_as.is_trusted
        if disk.executed < number:
            return


async def test_more_than_memory_may_hold_ends_in_a_rewrite_of_the_state(tmp_path: Path) -> None:
    disk = Disk()
    async with at(tmp_path, connection_class=disk.connection_class(), backlog_limit=5) as store:
        desk = await locked_while_broken(store, disk)
        assert not await store.notes.put("password", "as agreed")
        for size in range(1, 20):
            await desk.position("MNQ", size)
        await desk.position("MNQ", 0)
        disk.broken = ""
        await store.keeper.keep()
        assert await settled(store)
        kept = desk.pipeline.state.accounts[101]
        found = (await store.restore(Rulebook(), MORNING)).accounts[101]
        assert (found.locks, found.positions, found.ledger) == (
            kept.locks, kept.positions, kept.ledger,
        )  # fmt: skip
        assert await store.notes.get("password") == "as agreed"
        assert "database.rewritten" in {r.action for r in await audit_tail(store)}
        assert verify_audit(store.path) is None


async def test_one_row_that_cannot_be_stored_does_not_hold_up_the_others(tmp_path: Path) -> None:
    listener = Listener()
    async with at(tmp_path, on_trouble=listener) as store:
        desk = await opened(stored_desk(store, **LIMIT))
        await desk.order("MNQ", 1, order_id=10**30)
        await desk.position("MNQ", 1)
        assert store.trouble is None
        assert any("could not be stored" in (t or "") for t in listener.told)
        assert rows(tmp_path, "SELECT size FROM positions") == [(1,)]


@pytest.mark.parametrize("with_log", [True, False])
async def test_a_database_deleted_while_running_is_written_anew(
    tmp_path: Path, with_log: bool
) -> None:
    listener = Listener()
    async with at(tmp_path, on_trouble=listener) as store:
        desk = await opened(stored_desk(store, **LIMIT, **LOSS))
        await desk.position("MNQ", 1)
        await desk.loss(600)
        before = await audit_tail(store, 1000)
        (tmp_path / "state.db").unlink()
        if with_log:
            (tmp_path / "state.db-wal").unlink()
        await store.keeper.look_around()
        assert await settled(store)
        assert any("deleted or replaced" in (t or "") for t in listener.told)
        assert store.trouble is None
        after = await audit_tail(store, 1000)
        assert after[-len(before) :] == before
        assert rows(tmp_path, "SELECT rule_id FROM lockouts WHERE cleared_at IS NULL") == [
            ("daily_realized_loss",)
        ]
        assert verify_audit(store.path) is None
        await desk.position("MNQ", 0)
    async with at(tmp_path) as store:
        assert store.opened_as.is_trusted
        found = (await store.restore(Rulebook(), MORNING)).accounts[101]
        assert not found.positions
        assert found.locks


async def test_the_notes_come_along_when_nothing_can_be_saved_of_a_broken_file(
    tmp_path: Path,
) -> None:
    """Without the note of the password in force, one put into its file counts at once."""

    class CannotBeCopied(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if sql.startswith("VACUUM"):
                raise sqlite3.DatabaseError("database disk image is malformed")
            return super().execute(sql, parameters)

    async with at(tmp_path) as store:
        await store.notes.put("of an earlier run", "kept")
    async with at(tmp_path, connection_class=CannotBeCopied) as store:
        await opened(stored_desk(store, **LOSS))
        await store.notes.put("password", "as agreed")
        (tmp_path / "state.db").unlink()
        await store.keeper.look_around()
        assert await settled(store)
        assert "database.replaced" in {r.action for r in await audit_tail(store)}
        assert await store.notes.get("password") == "as agreed"
        assert await store.notes.get("of an earlier run") == "kept"
    async with at(tmp_path) as store:
        assert store.opened_as.is_trusted
        assert await store.notes.get("password") == "as agreed"
        assert store.notes.is_as_sealed("password", "as agreed")


async def test_another_database_put_in_place_while_running_is_put_aside(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LOSS))
        await desk.loss(600)
        (tmp_path / "state.db").replace(tmp_path / "taken.db")
        tamper(tmp_path, "CREATE TABLE music (title TEXT)")
        await store.keeper.look_around()
        assert await settled(store)
        assert store.trouble is None
        assert any(p.name.startswith("state.db.replaced-") for p in files_in(tmp_path))
        found = (await store.restore(Rulebook(), MORNING)).accounts[101]
        assert found.locks


async def test_a_lock_cleared_behind_our_back_is_put_back(tmp_path: Path) -> None:
    listener = Listener()
    async with at(tmp_path, on_trouble=listener) as store:
        desk = await opened(stored_desk(store, **LOSS))
        await desk.loss(600)
        await store.keeper.look_around()
        assert listener.told == []
        tamper(tmp_path, "UPDATE lockouts SET cleared_at = 1, cleared_by = 'me'")
        await store.keeper.look_around()
        assert await settled(store)
        assert "another program" in (listener.told[0] or "")
        found = (await store.restore(Rulebook(), MORNING)).accounts[101]
        assert found.locks == desk.pipeline.state.accounts[101].locks


async def test_a_lookup_that_cannot_be_answered_says_so(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        tamper(tmp_path, "DROP TABLE connection_log")
        with pytest.raises(StoreError, match="connection_log"):
            await connection_history(store)
    with pytest.raises(StoreError, match="not open"):
        await audit_tail(store)
