"""The audit chain shows what was edited, removed or moved; the marker what was put back."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import MORNING
from stored_desk import StoppedClock, at, opened, rows, stored_desk, tamper

from risk_manager.domain.rulebook import Rulebook
from risk_manager.store.finding import OpenedAs
from risk_manager.store.sidecar_files import Marker, audit_head_path, marker_path, write_marker
from risk_manager.store.store import verify_audit

LOSS: dict[str, Any] = {"daily_realized_loss": {"limit": 500}}


@pytest.fixture
async def traded(tmp_path: Path) -> Path:
    """The folder of a daemon that has stopped with a lock in force."""
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LOSS))
        await desk.loss(600)
        for _ in range(5):
            await store.audit("anna", "looked", "journal", old={"n": 1.5}, new={"é": "\U0001f4c8"})
    return tmp_path


def database(folder: Path) -> Path:
    return folder / "state.db"


def test_an_untouched_chain_holds(traded: Path) -> None:
    assert verify_audit(database(traded)) is None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET new = coalesce(new, '') || ' ' WHERE id = 6",
        "UPDATE audit SET action = 'closed' WHERE id = 6",
        "UPDATE audit SET old = NULL WHERE id = 6",
        "UPDATE audit SET at = at + 1 WHERE id = 6",
        "UPDATE audit SET ok = 0 WHERE id = 6",
        "UPDATE audit SET hash = upper(hash) WHERE id = 6",
        "DELETE FROM audit WHERE id = 6",
    ],
)
def test_one_row_edited_or_deleted_is_found(traded: Path, change: str) -> None:
    tamper(traded, change)
    broken = verify_audit(database(traded))
    assert broken is not None
    assert broken.seq == 6


def test_two_rows_that_changed_places_are_found(traded: Path) -> None:
    tamper(traded, "UPDATE audit SET id = -1 WHERE id = 4")
    tamper(traded, "UPDATE audit SET id = 4 WHERE id = 5")
    tamper(traded, "UPDATE audit SET id = 5 WHERE id = -1")
    broken = verify_audit(database(traded))
    assert broken is not None
    assert broken.seq == 4


def test_a_tail_cut_off_is_found_by_the_mirror(traded: Path) -> None:
    [(last,)] = rows(traded, "SELECT max(id) FROM audit")
    tamper(traded, "DELETE FROM audit WHERE id >= ?", last - 1)
    broken = verify_audit(database(traded))
    assert broken is not None
    assert broken.seq == last - 1
    audit_head_path(database(traded)).unlink()
    assert verify_audit(database(traded)) is None  # only the mirror knew


def test_a_chain_written_anew_is_found_by_the_mirror(traded: Path) -> None:
    mirror = audit_head_path(database(traded))
    head = json.loads(mirror.read_text())
    mirror.write_text(json.dumps({**head, "hash": "f" * 64}))
    broken = verify_audit(database(traded))
    assert broken is not None
    assert "mirror" in broken.why


# --- what is found at the start -------------------------------------------------------------------


async def found_as(folder: Path) -> tuple[OpenedAs, str]:
    async with at(folder, clock=StoppedClock()) as store:
        return store.opened_as, store.opened_why


async def test_fresh_and_then_restored(tmp_path: Path) -> None:
    assert (await found_as(tmp_path))[0] is OpenedAs.FRESH
    assert (await found_as(tmp_path))[0] is OpenedAs.RESTORED


def delete(folder: Path) -> None:
    database(folder).unlink()


def empty(folder: Path) -> None:
    database(folder).write_bytes(b"")


def overwrite(folder: Path) -> None:
    database(folder).write_bytes(b"This is not a database at all. " * 400)


def cut(folder: Path) -> None:
    content = database(folder).read_bytes()
    database(folder).write_bytes(content[: len(content) // 2])


def cut_the_record(folder: Path) -> None:
    tamper(folder, "DELETE FROM audit WHERE id > 3")


def another_of_ours(folder: Path) -> None:
    tamper(folder, "UPDATE meta SET value = 'other' WHERE key = 'database_id'")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (delete, OpenedAs.MISSING_BUT_MARKED),
        (empty, OpenedAs.MISSING_BUT_MARKED),
        (overwrite, OpenedAs.CORRUPT),
        (cut, OpenedAs.CORRUPT),
        (cut_the_record, OpenedAs.ROLLED_BACK),
        (another_of_ours, OpenedAs.ROLLED_BACK),
    ],
)
async def test_a_database_that_is_not_the_one_we_left_is_noticed_until_reconciled(
    traded: Path, damage: Callable[[Path], None], expected: OpenedAs
) -> None:
    damage(traded)
    async with at(traded) as store:
        assert store.opened_as is expected
        assert store.needs_reconciling
        assert store.had_locks
        assert "stays locked until the next reset" in store.opened_why
    async with at(traded) as store:  # a second start does not forget
        assert store.opened_as is expected
        assert store.had_locks
        assert await store.recovery.reconciled()
        assert not store.needs_reconciling
    assert (await found_as(traded))[0] is OpenedAs.RESTORED


async def test_a_damaged_file_is_kept(traded: Path) -> None:
    overwrite(traded)
    await found_as(traded)
    [aside] = _named(traded, "state.db.corrupt-")
    assert aside.read_bytes().startswith(b"This is not")


def _named(folder: Path, start: str) -> list[Path]:
    return [p for p in folder.iterdir() if p.name.startswith(start)]


async def test_an_old_copy_put_back_is_noticed(traded: Path) -> None:
    shutil.copy(database(traded), traded / "old.db")
    async with at(traded) as store:
        await store.audit("anna", "looked", "journal")
    shutil.copy(traded / "old.db", database(traded))
    assert (await found_as(traded))[0] is OpenedAs.ROLLED_BACK


async def test_a_database_newer_than_its_marker_is_trusted(traded: Path) -> None:
    marker = marker_path(database(traded)).read_text()
    head = audit_head_path(database(traded)).read_text()
    async with at(traded) as store:
        await store.audit("anna", "looked", "journal")
    marker_path(database(traded)).write_text(marker)
    audit_head_path(database(traded)).write_text(head)
    assert (await found_as(traded))[0] is OpenedAs.RESTORED
    assert verify_audit(database(traded)) is None


def no_marker(folder: Path) -> None:
    marker_path(database(folder)).unlink()


def garbled_marker(folder: Path) -> None:
    marker_path(database(folder)).write_text("{")


def neither_file(folder: Path) -> None:
    no_marker(folder)
    audit_head_path(database(folder)).unlink()


def garbled_marker_alone(folder: Path) -> None:
    garbled_marker(folder)
    audit_head_path(database(folder)).unlink()


@pytest.mark.parametrize(
    "hide",
    [no_marker, garbled_marker, neither_file, garbled_marker_alone],
    ids=lambda hide: hide.__name__,
)
@pytest.mark.parametrize("older", [True, False], ids=["an older copy", "as it was"])
async def test_a_database_without_a_readable_marker_may_be_an_older_one(
    tmp_path: Path, hide: Callable[[Path], None], older: bool
) -> None:
    """F6.3: A database whose marker is gone or garbled locks every account until the reset."""
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LOSS))
        await desk.loss(100)
    shutil.copy(database(tmp_path), tmp_path / "old.db")
    async with at(tmp_path) as store:
        desk = await opened(await stored_desk(store, **LOSS).restored())
        await desk.admin("lock", reason="enough of it")
    if older:
        shutil.copy(tmp_path / "old.db", database(tmp_path))
    hide(tmp_path)
    for _ in range(2):  # a second start does not forget
        async with at(tmp_path) as store:
            assert store.opened_as is OpenedAs.ROLLED_BACK
            assert store.needs_reconciling
            assert store.had_locks  # nobody knows which
            assert "every account stays locked until the next reset" in store.opened_why
    async with at(tmp_path) as store:
        assert await store.recovery.reconciled()
    assert (await found_as(tmp_path))[0] is OpenedAs.RESTORED


@pytest.mark.parametrize("kept", ["audit.head", "state.marker"])
async def test_one_file_that_is_left_says_there_was_a_database(traded: Path, kept: str) -> None:
    """F6.3: Where only audit.head or a garbled marker is left, every account is locked."""
    garbled_marker(traded)
    for part in (marker_path(database(traded)), audit_head_path(database(traded))):
        if part.name != kept:
            part.unlink()
    delete(traded)
    async with at(traded) as store:
        assert store.opened_as is OpenedAs.MISSING_BUT_MARKED
        assert store.had_locks
        assert kept in store.opened_why


async def test_a_first_start_cut_short_before_its_marker_is_a_first_start_again(
    tmp_path: Path,
) -> None:
    """F6.3: A database that was made and never used is new, with or without its marker."""
    async with at(tmp_path):
        pass
    tamper(tmp_path, "DELETE FROM audit WHERE id > 1")  # "stopped"
    tamper(tmp_path, "DELETE FROM meta WHERE key = 'last_clean_stop'")
    neither_file(tmp_path)
    async with at(tmp_path) as store:
        assert store.opened_as is OpenedAs.FRESH
        assert not store.had_locks


async def test_the_marker_follows_the_locks(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LOSS))
        await store.keeper.keep()
        assert json.loads(marker_path(database(tmp_path)).read_text())["had_locks"] is False
        await desk.loss(600)
        await store.keeper.keep()
        assert json.loads(marker_path(database(tmp_path)).read_text())["had_locks"] is True


def test_the_marker_is_replaced_in_one_step(tmp_path: Path) -> None:
    for seq in range(3):
        write_marker(database(tmp_path), Marker("a", seq, "f" * 64, False))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["audit.head", "state.marker"]


async def test_a_row_flipped_by_the_disk_is_found_in_the_chain(traded: Path) -> None:
    connection = sqlite3.connect(database(traded))
    connection.execute("UPDATE audit SET target = target || ' ' WHERE id = 2")
    connection.commit()
    connection.close()
    async with at(traded) as store:
        await store.restore(Rulebook(), MORNING)
        broken = verify_audit(store.path)
        assert broken is not None
        assert broken.seq == 2


@pytest.mark.parametrize("database_is", ["older", "gone", "damaged"])
async def test_a_marker_behind_audit_head_is_an_older_copy(
    tmp_path: Path, database_is: str
) -> None:
    """F6.3: An older marker beside the newer audit.head hides no lock."""
    async with at(tmp_path) as store:
        await opened(stored_desk(store, **LOSS))
    shutil.copytree(tmp_path, tmp_path / "morning")
    async with at(tmp_path) as store:
        desk = await opened(await stored_desk(store, **LOSS).restored())
        await desk.admin("lock", reason="enough of it")
    for name in ("state.db", "state.marker"):
        shutil.copy(tmp_path / "morning" / name, tmp_path / name)
    if database_is == "gone":
        delete(tmp_path)
    elif database_is == "damaged":
        overwrite(tmp_path)
    for _ in range(2):  # a second start does not forget
        async with at(tmp_path) as store:
            assert store.needs_reconciling
            assert store.had_locks


async def test_a_marker_behind_audit_head_is_no_matter_where_the_database_is_not(
    tmp_path: Path,
) -> None:
    """F6.3: After a power cut between the writes the database itself knows all."""
    async with at(tmp_path) as store:
        await opened(stored_desk(store, **LOSS))
    kept = marker_path(database(tmp_path)).read_text()
    async with at(tmp_path) as store:
        desk = await opened(await stored_desk(store, **LOSS).restored())
        await desk.admin("lock", reason="enough of it")
    marker_path(database(tmp_path)).write_text(kept)
    assert (await found_as(tmp_path))[0] is OpenedAs.RESTORED


@pytest.mark.parametrize("hide", [no_marker, neither_file], ids=lambda hide: hide.__name__)
async def test_a_damaged_database_without_a_marker_locks_every_account(
    traded: Path, hide: Callable[[Path], None]
) -> None:
    """F6.3: Locks that stood in a damaged file and nowhere else are unknown, not gone."""
    overwrite(traded)
    hide(traded)
    for _ in range(2):
        async with at(traded) as store:
            assert store.opened_as is OpenedAs.CORRUPT
            assert store.had_locks
