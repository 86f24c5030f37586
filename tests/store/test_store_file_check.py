"""A file damaged where no start reads: found beside the start, before anything is judged."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from desk import MORNING
from stored_desk import at, garble, lose_rows_from_index, opened, rows, stored_desk
from stored_rows import audit_tail

from risk_manager.domain.locks import Lock
from risk_manager.domain.rulebook import Rulebook
from risk_manager.store import schema
from risk_manager.store.file_check import FileCheck
from risk_manager.store.finding import OpenedAs
from risk_manager.store.schema import StoreError
from risk_manager.store.store import Store

RULES: dict[str, Any] = {"daily_realized_loss": {"limit": 500}, "max_contracts": {"limit": 2}}


@pytest.fixture
async def stopped(tmp_path: Path) -> tuple[Path, Lock]:
    """The folder of a daemon that was killed with a call under way, and its lock."""
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **RULES))
        await desk.position("MNQ", 5)
        await desk.loss(600)
        await store.notes.put("limits", "as agreed")
        await store.belongs_to("practice")
        [lock] = desk.pipeline.state.accounts[101].locks.values()
    return tmp_path, lock


async def is_begun_anew(store: Store, lock: Lock) -> None:
    """As at the opening: nothing is known but by the marker, and nobody can tell what is lost."""
    assert store.opened_as is OpenedAs.CORRUPT
    assert store.needs_reconciling
    assert store.had_locks
    assert "kept as state.db.corrupt-" in store.opened_why
    found = await store.read_again(Rulebook(), MORNING)
    assert list(found.accounts[101].locks.values()) == [lock]


NOWHERE_READ = ["connection_log", "daily_summary", "sessions", "connection_log_by_time"]


@pytest.mark.parametrize("name", NOWHERE_READ)
async def test_damage_that_no_start_reads_is_found_before_anything_is_judged(
    stopped: tuple[Path, Lock], name: str
) -> None:
    folder, lock = stopped
    garble(folder / "state.db", name)
    async with at(folder) as store:
        assert store.opened_as is OpenedAs.RESTORED
        await store.restore(Rulebook(), MORNING)
        await store.belongs_to("practice")
        await store.checked()
        await is_begun_anew(store, lock)
        assert await store.notes.get("limits") == "as agreed"
        assert store.notes.is_as_sealed("limits", "as agreed")
        assert await store.notes.get("gateway") == "practice"
        assert store.trouble is None
        [*_, started] = [r for r in reversed(await audit_tail(store)) if r.action == "started"]
        assert not started.ok
    assert len([p for p in folder.iterdir() if p.name.startswith("state.db.corrupt-")]) == 1
    async with at(folder) as store:  # a second start does not forget
        await store.checked()
        assert store.opened_as is OpenedAs.CORRUPT
        assert store.needs_reconciling


@pytest.mark.parametrize(
    "index",
    [
        "lockouts_in_force",
        "lockouts_by_account",
        "timers_by_account",
        "intents_open",
        "intents_by_time",
        "trades_by_day",
    ],
)
async def test_an_index_that_misses_rows_of_its_table_is_damage(
    stopped: tuple[Path, Lock], index: str
) -> None:
    """Each table by itself agrees with its seal, but a start reads them by these indexes."""
    folder, lock = stopped
    lose_rows_from_index(folder / "state.db", index)
    async with at(folder) as store:
        await store.checked()
        await is_begun_anew(store, lock)
        assert "index" in store.opened_why or "malformed" in store.opened_why


@pytest.mark.parametrize("name", ["enforcement_log", "intents", "intents_open", "orders"])
async def test_damage_that_the_start_itself_meets_is_not_made_good_from_what_it_has_read(
    stopped: tuple[Path, Lock], name: str
) -> None:
    """The notes and the record are not in memory: a file made from it would miss them."""
    folder, lock = stopped
    garble(folder / "state.db", name)
    async with at(folder) as store:
        await store.restore(Rulebook(), MORNING)
        await store.checked()
        await is_begun_anew(store, lock)
        assert await store.notes.get("limits") == "as agreed"
        actions = [r.action for r in await audit_tail(store)]
        assert "database.replaced" not in actions
        assert "database.rewritten" not in actions


@pytest.mark.parametrize("name", ["audit", "lockouts", "lockouts_in_force", "meta", "seal"])
async def test_damage_to_what_the_opening_reads_or_writes_is_found_by_it(
    stopped: tuple[Path, Lock], name: str
) -> None:
    folder, lock = stopped
    garble(folder / "state.db", name)
    async with at(folder) as store:
        await is_begun_anew(store, lock)
        await store.checked()
        await is_begun_anew(store, lock)


async def test_a_whole_file_is_checked_and_nothing_is_told(stopped: tuple[Path, Lock]) -> None:
    folder, lock = stopped
    for _ in range(2):
        async with at(folder) as store:
            await store.checked()
            await store.checked()
            assert store.opened_as is OpenedAs.RESTORED
            found = await store.restore(Rulebook(), MORNING)
            assert list(found.accounts[101].locks.values()) == [lock]


async def test_what_was_damaged_and_has_been_replaced_is_checked_again(
    stopped: tuple[Path, Lock],
) -> None:
    folder, _ = stopped
    whole = (folder / "state.db").read_bytes()
    garble(folder / "state.db", "sessions")

    def put_the_whole_one_back(looks: list[str]) -> None:
        if len(looks) == 1:
            (folder / "state.db").write_bytes(whole)

    looks: list[str] = []

    async def aside(look: Any) -> str:
        looks.append(look())
        put_the_whole_one_back(looks)
        return looks[-1]

    check = FileCheck(folder / "state.db", aside, lambda: None)
    assert await check.damage() == ""
    assert "damaged" in looks[0]


async def test_a_check_that_is_not_waited_for_does_not_hold_up_the_end(
    stopped: tuple[Path, Lock], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = stopped
    asked: list[sqlite3.Connection] = []

    def endless(connection: sqlite3.Connection, path: Path) -> None:
        asked.append(connection)
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        )

    monkeypatch.setattr(schema, "check_quickly", endless)
    async with at(folder):
        pass
    assert len(asked) <= 1
    monkeypatch.undo()
    async with at(folder) as store:
        await store.checked()
        assert store.opened_as is OpenedAs.RESTORED
        assert rows(folder, "SELECT count(*) FROM meta WHERE key = 'unreconciled'") == [(0,)]


async def test_a_file_that_cannot_be_looked_at_is_said(
    stopped: tuple[Path, Lock], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(connection: sqlite3.Connection, path: Path) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(schema, "check_quickly", fails)
    async with at(stopped[0]) as store:
        with pytest.raises(StoreError, match="disk I/O error"):
            await store.checked()
