"""What an SQL edit of a stopped daemon's database comes to: nothing is loosened, and it is told."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from desk import MORNING
from stored_desk import Disk, StoppedClock, StoredDesk, at, opened, rows, stored_desk, tamper
from stored_rows import audit_tail, settled, trades

from risk_manager.domain.locks import Lock, LockKey
from risk_manager.domain.rulebook import Rulebook
from risk_manager.store.finding import OpenedAs
from risk_manager.store.schema import StoreError, shipped_migrations
from risk_manager.store.sidecar_files import marker_path
from risk_manager.store.store import Store, verify_audit
from risk_manager.store.tamper_digest import edited, sealed

RULES: dict[str, Any] = {
    "daily_realized_loss": {"limit": 5000},
    "cooldown_after_loss": {"tiers": [{"loss": 100, "cooldown": "30m"}]},
    "no_stop_loss_grace": {"grace": "10m"},
}
Locks = dict[LockKey, Lock]


async def trading(store: Store) -> StoredDesk:
    """A desk with three locks (a cooldown, two manual ones), and a position without a stop."""
    desk = await opened(stored_desk(store, **RULES))
    await desk.position("MNQ", 1)
    await desk.loss(200)
    await desk.wait(seconds=1)  # its order is complete
    await desk.admin("lock", scope="root:ES", reason="enough of it")
    await desk.admin("lock", until=desk.now + timedelta(hours=5), policy="no_entries")
    await store.notes.put("limits", "as agreed")
    await store.notes.put("admin_hash", "$argon2id$")
    return desk


@pytest.fixture
async def stopped(tmp_path: Path) -> tuple[Path, Locks]:
    """The folder of a daemon that has stopped with these locks in force, and the locks."""
    async with at(tmp_path) as store:
        desk = await trading(store)
        locks = dict(desk.pipeline.state.accounts[101].locks)
    assert {lock.rule_id for lock in locks.values()} == {"cooldown_after_loss", "manual"}
    return tmp_path, locks


async def locks_found(store: Store, now: datetime = MORNING) -> Locks:
    return dict((await store.restore(Rulebook(), now)).accounts[101].locks)


# --- locks ----------------------------------------------------------------------------------------

LIFTED = {
    "deleted": "DELETE FROM lockouts",
    "cleared": "UPDATE lockouts SET cleared_at = 1, cleared_by = 'me'",
    "one of them deleted": "DELETE FROM lockouts WHERE rule_id = 'cooldown_after_loss'",
    "ends earlier": "UPDATE lockouts SET until = set_at + 1",
    "let an administrator lift it": "UPDATE lockouts SET admin_may_clear = 1 - admin_may_clear",
    "a laxer policy": "UPDATE lockouts SET policy = 'no_entries'",
    "a narrower scope": "UPDATE lockouts SET scope = 'root:ZB' WHERE scope = 'account'",
    "another release": "UPDATE lockouts SET release = 'time', until = 1",
    "another account": "UPDATE lockouts SET account_id = 9",
    "nobody can read it": "UPDATE lockouts SET policy = 'whatever'",
}


@pytest.mark.parametrize("edit", LIFTED.values(), ids=LIFTED.keys())
async def test_a_lock_lifted_by_hand_is_put_back_as_it_was_and_told(
    stopped: tuple[Path, Locks], edit: str
) -> None:
    folder, locks = stopped
    tamper(folder, edit)
    async with at(folder) as store:
        assert store.opened_as is OpenedAs.EDITED
        assert store.needs_reconciling
        assert "edited while the daemon was stopped (lockouts)" in store.opened_why
        found = await locks_found(store)
        assert {key: found[key] for key in locks} == locks
        assert not store.had_locks  # all are known: nothing else need be locked
        put_back = [r for r in await audit_tail(store) if r.action == "lock.put_back"]
        assert put_back
        assert not any(r.ok for r in put_back)
        assert verify_audit(store.path) is None
        assert await store.recovery.reconciled()
    async with at(folder) as store:
        assert store.opened_as is OpenedAs.RESTORED
        found = await locks_found(store)
        assert {key: found[key] for key in locks} == locks


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE audit SET action = 'lock.forgotten' WHERE action = 'lock.set'",
        "DELETE FROM audit WHERE action = 'lock.set'",
        "UPDATE audit SET new = replace(new, 'flat', 'no_entries') WHERE action = 'lock.set'",
    ],
)
async def test_with_the_record_edited_as_well_the_marker_tells_and_all_is_locked(
    stopped: tuple[Path, Locks], edit: str
) -> None:
    folder, locks = stopped
    tamper(folder, "DELETE FROM lockouts")
    tamper(folder, edit)
    async with at(folder) as store:
        assert not store.opened_as.is_trusted
        assert store.had_locks
        found = await locks_found(store)
        assert {key: found[key].policy for key in locks} == {
            key: lock.policy for key, lock in locks.items()
        }
        assert {key: found[key].expires_at for key in locks} == {
            key: lock.expires_at for key, lock in locks.items()
        }


async def test_a_record_edited_alone_ends_locked_and_is_answered_for_once(
    stopped: tuple[Path, Locks],
) -> None:
    folder, locks = stopped
    tamper(folder, "UPDATE audit SET actor = 'nobody' WHERE id = 3")
    async with at(folder) as store:
        assert store.opened_as is OpenedAs.EDITED
        assert store.had_locks
        assert "the record" in store.opened_why
        assert await locks_found(store) == locks
        await store.recovery.reconciled()
    async with at(folder) as store:
        assert store.opened_as is OpenedAs.RESTORED
    assert verify_audit(folder / "state.db") is not None  # it stays to be seen


# --- everything else a limit rests on -------------------------------------------------------------

LOOSENED = {
    "a deadline later": ("UPDATE timers SET due_at = due_at + 600000000", "timers"),
    "a deadline deleted": ("DELETE FROM timers", "timers"),
    "what a rule remembers, invented": (
        "INSERT INTO timers SELECT 'x', account_id, rule_id, 'x', started_at, due_at, payload"
        " FROM timers LIMIT 1",
        "timers",
    ),
    "a loss voided": ("UPDATE trades SET voided = 1", "trades"),
    "a loss turned into a gain": ("UPDATE trades SET pnl = '200'", "trades"),
    "a loss of yesterday": ("UPDATE trades SET trading_day = '2026-11-19'", "trades"),
    "a gain invented": (
        "INSERT INTO trades SELECT 999, account_id, contract_id, order_id, side, size, price,"
        " '9000', fees, commissions, 0, executed_at, received_at, trading_day, part"
        " FROM trades LIMIT 1",
        "trades",
    ),
    "the clock of a position": ("UPDATE positions SET opened_at = opened_at + 1", "positions"),
    "a ceiling raised": ("UPDATE ceilings SET net = 50", "ceilings"),
    "the account deleted": ("DELETE FROM accounts", "accounts"),
    "its day deleted": ("DELETE FROM reset_state", "reset_state"),
    "another day": ("UPDATE reset_state SET last_reset_day = '2026-11-10'", "reset_state"),
    "a tick worth less": ("UPDATE contracts SET tick_value = '0.01'", "contracts"),
    "the limits": ("UPDATE meta SET value = 'more' WHERE key = 'note:limits'", "note:limits"),
    "the limits deleted": ("DELETE FROM meta WHERE key = 'note:limits'", "note:limits"),
    "the password": (
        "UPDATE meta SET value = 'x' WHERE key = 'note:admin_hash'",
        "note:admin_hash",
    ),
    "where the record begins": (
        'INSERT INTO meta VALUES (\'audit_anchor\', \'{"seq": 0, "hash": "0"}\')',
        "audit_anchor",
    ),
    "a verdict of our own": (
        'INSERT INTO meta VALUES (\'unreconciled\', \'{"as": "fresh", "why": "", "locks": 0}\')',
        "unreconciled",
    ),
}


@pytest.mark.parametrize(("edit", "told"), LOOSENED.values(), ids=LOOSENED.keys())
async def test_any_row_a_limit_rests_on_edited_by_hand_locks_everything_until_the_reset(
    stopped: tuple[Path, Locks], edit: str, told: str
) -> None:
    folder, locks = stopped
    tamper(folder, edit)
    async with at(folder) as store:
        assert store.opened_as is OpenedAs.EDITED
        assert store.had_locks
        assert told in store.opened_why
        # The broker tells the trades anew; what it told before was not to be believed any more.
        kept = await trades(store, 101, MORNING.date())
        assert len(kept) == (told != "trades")
        assert await locks_found(store) == locks
    async with at(folder) as store:  # a second start does not forget
        assert store.opened_as is OpenedAs.EDITED
        assert store.had_locks


async def test_a_suspicion_deleted_by_hand_is_one_more(stopped: tuple[Path, Locks]) -> None:
    folder, _ = stopped
    tamper(folder, "UPDATE trades SET voided = 1")
    async with at(folder):
        pass
    tamper(folder, "DELETE FROM meta WHERE key = 'unreconciled'")
    async with at(folder) as store:
        assert store.opened_as is OpenedAs.EDITED
        assert store.had_locks


@pytest.mark.parametrize(
    "edit",
    [
        "DELETE FROM seal",
        "UPDATE seal SET number = 0, content = ''",
        "UPDATE seal SET content = '{}'",
        "UPDATE seal SET number = number + 7, content = '{}'",
    ],
)
async def test_a_seal_broken_by_hand_is_no_seal(stopped: tuple[Path, Locks], edit: str) -> None:
    folder, locks = stopped
    tamper(folder, "DELETE FROM lockouts")
    tamper(folder, edit)
    async with at(folder) as store:
        assert not store.opened_as.is_trusted
        assert store.had_locks
        found = await locks_found(store)
        assert {key: found[key] for key in locks} == locks


async def test_old_rows_with_their_old_seal_are_older_than_the_marker(
    stopped: tuple[Path, Locks],
) -> None:
    folder, locks = stopped
    before = rows(folder, "SELECT number, content FROM seal")[0]
    async with at(folder) as store:
        await store.notes.put("limits", "tighter")
    tamper(folder, "UPDATE meta SET value = 'as agreed' WHERE key = 'note:limits'")
    tamper(folder, "UPDATE seal SET number = ?, content = ?", *before)
    async with at(folder) as store:
        assert store.opened_as is OpenedAs.ROLLED_BACK
        assert store.had_locks
        assert not store.notes.is_as_sealed("limits", await store.notes.get("limits"))
        assert await locks_found(store) == locks


async def test_what_only_shows_the_past_may_be_edited(stopped: tuple[Path, Locks]) -> None:
    folder, locks = stopped
    tamper(folder, "UPDATE enforcement_log SET reason = 'bad luck'")
    tamper(folder, "DELETE FROM orders")
    async with at(folder) as store:
        assert store.opened_as is OpenedAs.RESTORED
        assert await locks_found(store) == locks


@pytest.mark.parametrize("edit", ["DROP TABLE ceilings", "UPDATE timers SET payload = x'ff'"])
async def test_rows_nobody_can_read_end_locked(stopped: tuple[Path, Locks], edit: str) -> None:
    folder, locks = stopped
    connection = sqlite3.connect(folder / "state.db")
    connection.execute(edit.replace("x'ff'", "CAST(x'ff' AS TEXT)"))
    connection.commit()
    connection.close()
    async with at(folder) as store:
        assert await locks_found(store) == locks
        assert store.opened_as is OpenedAs.CORRUPT
        assert store.had_locks


async def test_a_schema_whose_bits_flipped_ends_locked(stopped: tuple[Path, Locks]) -> None:
    folder, locks = stopped
    connection = sqlite3.connect(folder / "state.db")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(
        "UPDATE sqlite_master SET name = CAST(x'c374ff' AS TEXT), sql = CAST(x'c374ff' AS TEXT)"
        " WHERE name = 'timers_by_account'"
    )
    connection.commit()
    connection.close()
    async with at(folder) as store:
        assert store.opened_as is OpenedAs.CORRUPT
        assert await locks_found(store) == locks


# --- and nothing else is called an edit -----------------------------------------------------------


def unseen(folder: Path) -> list[str]:
    """What would be called an edit now."""
    connection = sqlite3.connect(folder / "state.db")
    try:
        return edited(connection, sealed(connection))
    finally:
        connection.close()


async def test_the_seal_follows_a_whole_day_and_its_turn(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with at(tmp_path, clock=clock) as store:
        desk = await trading(store)
        assert unseen(tmp_path) == []
        await desk.stop("MNQ", -1)
        await desk.position("MNQ", -2)
        await desk.fill("MNQ", 1)
        await desk.position("MNQ", 0)
        await desk.wait(minutes=40)
        await desk.admin("unlock", scope="root:ES")
        assert unseen(tmp_path) == []
        await desk.wait_until(desk.pipeline.state.day.ends_at + timedelta(seconds=2))
        await desk.loss(50)
        clock.at = desk.now + timedelta(days=400)
        await store.prune(clock.now())
        assert unseen(tmp_path) == []


async def test_trades_no_restart_reads_are_let_go_of(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store))
        await desk.loss(10)
        for _ in range(4):
            await desk.wait_until(desk.pipeline.state.day.ends_at + timedelta(seconds=2))
        await desk.loss(20)
    async with at(tmp_path) as store:
        assert store.opened_as is OpenedAs.RESTORED
    assert unseen(tmp_path) == []
    tamper(tmp_path, "UPDATE trades SET pnl = '1' WHERE pnl = '-10'")
    assert unseen(tmp_path) == []
    tamper(tmp_path, "UPDATE trades SET pnl = '1' WHERE pnl = '-20'")
    assert unseen(tmp_path) == ["trades"]


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE trades SET account_id = 9 WHERE pnl = '-20'",
        "UPDATE trades SET trading_day = (SELECT max(trading_day) FROM trades) WHERE pnl = '-10'",
        "UPDATE trades SET trading_day = (SELECT min(trading_day) FROM trades) WHERE pnl = '-20'",
        "UPDATE trades SET account_id = -account_id",
        "DELETE FROM trades",
    ],
)
async def test_a_trade_moved_to_or_from_what_a_start_reads_is_an_edit(
    tmp_path: Path, edit: str
) -> None:
    async with at(tmp_path) as store:
        desk = await opened(StoredDesk(store, accounts=(101, 202)))
        await desk.loss(10)
        for _ in range(4):
            await desk.wait_until(desk.pipeline.state.day.ends_at + timedelta(seconds=2))
        await desk.loss(20)
        await desk.loss(30, account=202)
    async with at(tmp_path):
        pass  # the old one is let go of
    assert unseen(tmp_path) == []
    tamper(tmp_path, edit)
    assert unseen(tmp_path) == ["trades"]


async def test_a_start_does_not_read_the_history_of_all_time(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await trading(store)
    asked: set[str] = set()

    class Listening(sqlite3.Connection):
        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            asked.add(sql)
            return super().execute(sql, parameters)

    async with at(tmp_path, connection_class=Listening) as store:
        await store.restore(desk.rulebook, desk.now)
        await store.recovery.last_judged()
    connection = sqlite3.connect(tmp_path / "state.db")
    of_histories = [
        sql
        for sql in asked
        if ("FROM trades" in sql and "DELETE" not in sql)
        or sql.startswith(("UPDATE intents", "UPDATE enforcement_log"))
    ]
    assert len(of_histories) >= 5
    for sql in of_histories:
        plan = [
            row[3]
            for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", ("2026",) * sql.count("?"))
        ]
        whole = {"SCAN trades", "SCAN intents", "SCAN enforcement_log"}
        assert whole.isdisjoint(plan), sql
    connection.close()


async def test_what_is_put_right_while_it_runs_is_no_edit_at_the_next_start(
    tmp_path: Path,
) -> None:
    async with at(tmp_path) as store:
        desk = await trading(store)
        locks = dict(desk.pipeline.state.accounts[101].locks)
        await store.keeper.look_around()
        tamper(tmp_path, "DELETE FROM lockouts")
        tamper(tmp_path, "UPDATE timers SET due_at = 0")
        await store.keeper.look_around()
        assert await settled(store)
    async with at(tmp_path) as store:
        assert store.opened_as is OpenedAs.RESTORED
        assert await locks_found(store) == locks


async def test_what_cannot_be_put_right_while_it_runs_is_found_at_the_next_start(
    tmp_path: Path,
) -> None:
    async with at(tmp_path) as store:
        await trading(store)
        await store.keeper.look_around()
        tamper(tmp_path, LOOSENED["a gain invented"][0])
        tamper(tmp_path, LOOSENED["the limits"][0])
        await store.keeper.look_around()
        assert await settled(store)
    async with at(tmp_path) as store:
        assert store.opened_as is OpenedAs.EDITED
        assert "note:limits, trades" in store.opened_why


async def test_a_database_without_a_seal_from_an_older_version_is_sealed(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        await trading(store)
    # As version 2 left it.
    tamper(tmp_path, "DROP TABLE seal")
    tamper(tmp_path, "ALTER TABLE audit ADD COLUMN record TEXT NOT NULL DEFAULT 'the same again'")
    tamper(tmp_path, "DELETE FROM schema_version WHERE version > 2")
    tamper(tmp_path, "PRAGMA user_version = 2")
    marker = marker_path(tmp_path / "state.db")
    known = json.loads(marker.read_text())
    earlier = ("database_id", "last_audit_seq", "last_audit_hash", "had_locks")
    marker.write_text(json.dumps({name: known[name] for name in earlier}))
    assert len(shipped_migrations()) == 5
    async with at(tmp_path) as store:
        assert store.opened_as is OpenedAs.RESTORED
        assert verify_audit(store.path) is None
    assert unseen(tmp_path) == []
    tamper(tmp_path, "DELETE FROM lockouts")
    assert unseen(tmp_path) == ["lockouts"]


async def test_a_lock_older_than_the_record_is_still_told_by_it(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with at(tmp_path, clock=clock) as store:
        desk = await opened(stored_desk(store))
        await desk.admin("lock", reason="for good")
        locks = dict(desk.pipeline.state.accounts[101].locks)
        clock.advance(days=400)
        await store.prune(clock.now())
        assert len([r for r in await audit_tail(store) if r.action == "lock.set"]) == 1
    tamper(tmp_path, "DELETE FROM lockouts")
    async with at(tmp_path) as store:
        assert not store.had_locks
        assert await locks_found(store) == locks


# --- backups --------------------------------------------------------------------------------------


async def test_a_backup_put_back_loses_no_lock(tmp_path: Path) -> None:
    """Made before the locks were set: a cooldown, a manual lock and one for some hours."""
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **RULES))
        backup = await store.backup()
        await desk.loss(200)
        await desk.wait(seconds=1)
        await desk.admin("lock", scope="root:ES", reason="enough of it")
        await desk.admin("lock", until=desk.now + timedelta(days=3), reason="a holiday")
        locks = dict(desk.pipeline.state.accounts[101].locks)
        assert len(locks) == 3
    restore_from(backup, tmp_path)
    async with at(tmp_path) as store:
        assert store.opened_as is OpenedAs.ROLLED_BACK
        assert store.needs_reconciling
        assert store.had_locks
        assert await locks_found(store) == locks
        assert {r.action for r in await audit_tail(store)} >= {"lock.put_back"}
    async with at(tmp_path) as store:
        assert await locks_found(store) == locks


async def test_a_lock_lifted_since_the_backup_is_in_force_again(tmp_path: Path) -> None:
    """Nothing in an older database proves that it was lifted."""
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store))
        await desk.admin("lock", reason="enough")
        backup = await store.backup()
        await desk.admin("unlock")
    restore_from(backup, tmp_path)
    async with at(tmp_path) as store:
        assert store.opened_as is OpenedAs.ROLLED_BACK
        assert [lock.reason for lock in (await locks_found(store)).values()] == ["enough"]


def delete(folder: Path) -> None:
    for part in folder.glob("state.db*"):
        part.unlink()


def overwrite(folder: Path) -> None:
    (folder / "state.db").write_bytes(b"This is not a database at all. " * 400)


@pytest.mark.parametrize("loss", [delete, overwrite])
async def test_a_lock_outlives_its_database(
    stopped: tuple[Path, Locks], loss: Callable[[Path], None]
) -> None:
    folder, locks = stopped
    loss(folder)
    async with at(folder) as store:
        assert store.had_locks
        assert await locks_found(store) == locks
        assert store.notes.is_as_sealed("limits", "as agreed")
        assert not store.notes.is_as_sealed("limits", "more")
        assert not store.notes.is_as_sealed("limits", None)


def restore_from(backup: Path, folder: Path) -> None:
    """As docs/operations.md says."""
    shutil.copy(backup, folder / "state.db")
    for part in ("state.db-wal", "state.db-shm"):
        (folder / part).unlink(missing_ok=True)


async def test_a_backup_is_sealed_as_its_original(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        await trading(store)
        backup = await store.backup()
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(backup, tmp_path / "elsewhere" / "state.db")
    assert unseen(tmp_path / "elsewhere") == []
    async with at(tmp_path / "elsewhere") as store:
        assert store.opened_as is OpenedAs.ROLLED_BACK  # nothing tells that it is the newest
        assert sum(e.pnl or Decimal(0) for e in await trades(store, 101, MORNING.date())) == -200


async def test_opening_an_edited_database_may_fail_at_any_operation_and_forgets_nothing(
    stopped: tuple[Path, Locks], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, locks = stopped
    tamper(folder, "DELETE FROM lockouts")
    tamper(folder, "UPDATE trades SET voided = 1")
    number = 0
    while True:
        number += 1
        disk = Disk(fails_at=number)
        again = tmp_path_factory.mktemp("again")
        shutil.copytree(folder, again, dirs_exist_ok=True)
        with suppress(StoreError):
            async with at(again, connection_class=disk.connection_class()):
                pass
        if disk.executed < number:
            break
        async with at(again) as store:
            assert store.opened_as is OpenedAs.EDITED, number
            assert store.had_locks, number
            assert await locks_found(store) == locks, number
    assert number > 30
