"""What the user's state folder keeps of an account holds in whatever data folder comes next."""

import json
import os
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from desk import MORNING
from stored_desk import StoredDesk, at, opened, stored_desk
from stored_rows import audit_tail

from risk_manager.domain.events import Tick
from risk_manager.domain.locks import Lock
from risk_manager.domain.rulebook import Rulebook
from risk_manager.store import mirror
from risk_manager.store.finding import OpenedAs
from risk_manager.store.store import Store
from risk_manager.store.witness import Witnesses

RULES: dict[str, Any] = {"daily_realized_loss": {"limit": 500}}


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return tmp_path / "a"


@pytest.fixture
def b(tmp_path: Path) -> Path:
    return tmp_path / "b"


def witnesses(folder: Path) -> Witnesses:
    return Witnesses(folder.parent / "accounts", "api.topstepx.com")


async def guarding(
    store: Store, folder: Path, *, limits: str = "as agreed", now: Any = None
) -> tuple[StoredDesk, list[str]]:
    """As a start does: heed, commit to the limits, restore. Also the limits known elsewhere."""
    elsewhere = await store.recovery.heed(witnesses(folder), [101])
    store.mirror.now_in_force(limits)
    desk = await opened(await stored_desk(store, **RULES).restored(now))
    await store.keeper.keep()
    return desk, elsewhere


def locks_of(desk: StoredDesk) -> list[Lock]:
    return list(desk.pipeline.state.accounts[101].locks.values())


async def locked_in(folder: Path, **more: Any) -> list[Lock]:
    """A run in this folder at whose end the account is locked by hand."""
    async with at(folder) as store:
        desk, _ = await guarding(store, folder)
        await desk.admin("lock", reason="enough of it", **more)
        return locks_of(desk)


async def test_a_lock_holds_in_another_data_folder(a: Path, b: Path) -> None:
    """F6.4: Another data folder for the same account knows the lock, and says whence."""
    held = await locked_in(a)
    async with at(b) as store:
        desk, elsewhere = await guarding(store, b, limits="raised")
        assert locks_of(desk) == held
        assert elsewhere == ["as agreed"]
        assert store.opened_as is OpenedAs.ELSEWHERE
        assert store.needs_reconciling
        assert "another data folder" in store.opened_why
        assert [r.target for r in await audit_tail(store) if r.action == "lock.put_back"] == [
            "account:101"
        ]
        assert await store.recovery.reconciled()
    async with at(b) as store:  # its own from now on
        desk, elsewhere = await guarding(store, b, limits="raised")
        assert (locks_of(desk), elsewhere, store.opened_as) == (held, [], OpenedAs.RESTORED)


async def test_there_and_back_again_loses_nothing(a: Path, b: Path) -> None:
    """F6.4: A lock set under the other folder holds in the first one, too."""
    async with at(a) as store:
        await guarding(store, a)
    held = await locked_in(b)
    async with at(a) as store:
        desk, _ = await guarding(store, a)
        assert locks_of(desk) == held
        assert store.opened_as is OpenedAs.ELSEWHERE


@pytest.mark.parametrize("between", [False, True], ids=["at once", "another folder in between"])
async def test_a_whole_folder_replaced_by_an_older_copy_is_noticed(
    a: Path, b: Path, between: bool
) -> None:
    """F6.4: With database, marker and audit.head older together the lock still holds."""
    async with at(a) as store:
        await guarding(store, a, limits="800")
    shutil.copytree(a, a.parent / "copy")
    held = await locked_in(a)
    if between:
        async with at(b) as store:
            await guarding(store, b)
    shutil.rmtree(a)
    shutil.copytree(a.parent / "copy", a)
    for _ in range(2):  # a second start does not forget
        async with at(a) as store:
            desk, elsewhere = await guarding(store, a, limits="as agreed")
            assert locks_of(desk) == held
            assert store.opened_as is OpenedAs.ROLLED_BACK
            assert store.had_locks
            assert "older than it was" in store.opened_why
    assert elsewhere == []  # by now it is this database's own word


async def test_an_older_copy_tells_which_limits_held(a: Path) -> None:
    """F6.4: The limits of the newer state hold where an older copy of the folder is put."""
    async with at(a) as store:
        await guarding(store, a, limits="800")
    shutil.copytree(a, a.parent / "copy")
    async with at(a) as store:
        await guarding(store, a, limits="500")
    shutil.rmtree(a)
    shutil.copytree(a.parent / "copy", a)
    async with at(a) as store:
        _, elsewhere = await guarding(store, a)
        assert elsewhere == ["500"]
        assert store.opened_as is OpenedAs.ROLLED_BACK


async def test_a_lock_that_was_lifted_does_not_come_back(a: Path) -> None:
    """F6.4: A witness behind its own database, as after a power cut, changes nothing."""
    await locked_in(a)
    behind = a.parent / "accounts" / "api.topstepx.com-101.json"
    kept = behind.read_text()
    async with at(a) as store:
        desk, _ = await guarding(store, a)
        await desk.admin("unlock", reason="calm again")
        assert locks_of(desk) == []
    assert json.loads(behind.read_text())["locks"] == []
    behind.write_text(kept)
    async with at(a) as store:
        desk, elsewhere = await guarding(store, a)
        assert (locks_of(desk), elsewhere, store.opened_as) == ([], [], OpenedAs.RESTORED)


async def test_a_lock_of_the_day_ends_with_its_day(a: Path, b: Path) -> None:
    """F6.4: A lock until the reset that was missed meanwhile does not hold a day too long."""
    async with at(a) as store:
        desk, _ = await guarding(store, a)
        await desk.loss(600)
        [lock] = locks_of(desk)
    async with at(b) as store:
        desk, _ = await guarding(store, b)
        assert locks_of(desk) == [lock]
    shutil.rmtree(b)
    tomorrow = MORNING + timedelta(days=1)
    async with at(b) as store:
        desk, _ = await guarding(store, b, now=tomorrow)
        await desk.pipeline.process(Tick(at=tomorrow))
        assert locks_of(desk) == []
        assert desk.pipeline.state.accounts[101].trading_date > date(2026, 11, 18)


async def test_nothing_is_told_where_nothing_is_known(a: Path, b: Path) -> None:
    """F6.4: A first start with an empty home, and a second folder without locks warn of nothing."""
    async with at(a) as store:
        _, elsewhere = await guarding(store, a)
        assert (elsewhere, store.opened_as) == ([], OpenedAs.FRESH)
    async with at(b) as store:
        _, elsewhere = await guarding(store, b)
        assert (elsewhere, store.opened_as) == (["as agreed"], OpenedAs.FRESH)
        assert not store.needs_reconciling


@pytest.mark.parametrize("text", ["", "{", "[]", '{"database_id": "x"}'])
async def test_one_that_cannot_be_read_locks_a_new_folder_and_no_known_one(
    a: Path, b: Path, text: str
) -> None:
    """F6.4: A garbled file beside the account's lock file does not open a new data folder."""
    await locked_in(a)
    (a.parent / "accounts" / "api.topstepx.com-101.json").write_text(text)
    told: list[str | None] = []
    async with at(b, on_trouble=told.append) as store:
        await store.recovery.heed(witnesses(b), [101])
        assert store.opened_as is OpenedAs.ELSEWHERE
        assert store.had_locks
        assert "cannot be read" in store.opened_why
    assert any("cannot be read" in (line or "") for line in told)
    async with at(a) as store:
        await guarding(store, a)
        assert store.opened_as is OpenedAs.RESTORED


@pytest.mark.parametrize("database", ["gone", "damaged"])
async def test_one_that_cannot_be_read_locks_where_the_database_says_nothing_either(
    a: Path, database: str
) -> None:
    """F6.4: A lost database, a marker of the morning and a garbled file beside open nothing."""
    async with at(a) as store:
        await guarding(store, a)
    shutil.copytree(a, a.parent / "morning")
    await locked_in(a)
    shutil.rmtree(a)
    shutil.copytree(a.parent / "morning", a)
    if database == "gone":
        (a / "state.db").unlink()
    else:
        (a / "state.db").write_bytes(b"no database")
    (a.parent / "accounts" / "api.topstepx.com-101.json").write_text("{")
    for _ in range(2):  # a second start does not forget
        async with at(a) as store:
            await store.recovery.heed(witnesses(a), [101])
            assert store.had_locks
            assert "cannot be read" in store.opened_why


def a_file_in_place_of(folder: Path) -> None:
    folder.write_text("a file where the folder should be")


async def test_a_state_folder_that_cannot_be_written_is_told_once_and_not_fatal(a: Path) -> None:
    """F6.4: Without a place outside the data folder the guard goes on, and says so."""
    a_file_in_place_of(a.parent / "accounts")
    told: list[str | None] = []
    async with at(a, on_trouble=told.append) as store:
        desk = (await guarding(store, a))[0]
        await desk.admin("lock", reason="enough of it")
        await store.keeper.keep()
        await store.keeper.keep()
        assert len(locks_of(desk)) == 1
    assert len([line for line in told if "cannot be written" in (line or "")]) == 1


async def test_what_is_kept_names_no_secret_and_is_the_users_alone(a: Path) -> None:
    await locked_in(a)
    [file] = (a.parent / "accounts").iterdir()
    assert file.name == "api.topstepx.com-101.json"
    assert set(json.loads(file.read_text())) == {
        "database_id",
        "reached",
        "had_locks",
        "locks",
        "limits",
    }
    if os.name == "posix":
        assert file.stat().st_mode & 0o077 == 0


async def test_it_is_written_at_once_with_a_lock_and_seldom_without(
    a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = Witnesses.write

    def counted(self: Witnesses, fresh: Any) -> None:
        written.append(len(fresh))
        write(self, fresh)

    monkeypatch.setattr(Witnesses, "write", counted)
    async with at(a) as store:
        desk, _ = await guarding(store, a)
        assert written == [1]
        for _ in range(5):
            await store.audit("anna", "looked", "journal")
            await store.keeper.keep()
        assert written == [1]
        await desk.admin("lock", reason="enough of it")
        await store.keeper.keep()
        assert written == [1, 1]


def reached(folder: Path) -> int:
    [file] = (folder.parent / "accounts").iterdir()
    return max(int(r["seq"]) for r in json.loads(file.read_text())["reached"].values())


async def test_at_the_end_it_knows_how_far_the_record_was(a: Path) -> None:
    async with at(a) as store:
        await guarding(store, a)
        before = reached(a)
        await store.audit("anna", "looked", "journal")
    assert reached(a) > before + 1


@pytest.mark.parametrize("cut_before", ["the marker", "the witness"])
async def test_a_power_cut_between_two_writes_leaves_the_stricter_of_them(
    a: Path, monkeypatch: pytest.MonkeyPatch, cut_before: str
) -> None:
    """F6.4: Database, marker and witness are written in this order; none is ahead of the first."""
    async with at(a) as store:
        desk, _ = await guarding(store, a)
        if cut_before == "the marker":
            monkeypatch.setattr(mirror, "write_marker", _power_cut)
        monkeypatch.setattr(Witnesses, "write", _power_cut)
        await desk.admin("lock", reason="enough of it")
        await store.keeper.keep()
        held = locks_of(desk)
    monkeypatch.undo()
    async with at(a) as store:
        desk, _ = await guarding(store, a)
        assert locks_of(desk) == held
        assert store.opened_as is OpenedAs.RESTORED
        assert await store.restore(Rulebook(), MORNING)


def _power_cut(*_: object) -> None:
    raise OSError("no power")
