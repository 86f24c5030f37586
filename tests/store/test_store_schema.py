"""The database's shape: pragmas, migrations, and files that are not ours."""

import sqlite3
from pathlib import Path

import aiosqlite
import pytest
from stored_desk import Disk, at, rows, tamper

from risk_manager.store import schema
from risk_manager.store.schema import (
    DatabaseTooNew,
    Migration,
    NotOurDatabase,
    PragmaRefused,
    StoreError,
    shipped_migrations,
)

SECOND = Migration(
    len(shipped_migrations()) + 1, "9999_next", "-- more\nALTER TABLE meta ADD COLUMN more TEXT;\n"
)


async def test_a_fresh_database_has_every_table_and_its_history(tmp_path: Path) -> None:
    async with at(tmp_path):
        pass
    tables = {r[0] for r in rows(tmp_path, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables >= {
        "meta", "schema_version", "lockouts", "timers", "trades", "daily_summary", "positions",
        "orders", "intents", "enforcement_log", "reset_state", "sessions", "contracts", "audit",
        "connection_log",
    }  # fmt: skip
    shipped = shipped_migrations()
    assert rows(tmp_path, "PRAGMA user_version") == [(len(shipped),)]
    history = rows(tmp_path, "SELECT version, checksum, duration_ms >= 0 FROM schema_version")
    assert history == [(m.version, m.checksum, 1) for m in shipped]
    loose = rows(tmp_path, "SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict")
    assert [name for (name,) in loose if not name.startswith("sqlite_")] == []


async def test_opening_again_changes_no_schema(tmp_path: Path) -> None:
    for _ in range(2):
        async with at(tmp_path):
            pass
    assert len(rows(tmp_path, "SELECT * FROM schema_version")) == len(shipped_migrations())
    assert not (tmp_path / "backups").exists()


async def test_an_older_database_is_backed_up_and_then_migrated(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        await store.notes.put("colour", "green")
    async with at(tmp_path, migrations=(*shipped_migrations(), SECOND)) as store:
        assert await store.notes.get("colour") == "green"
    assert rows(tmp_path, "PRAGMA user_version") == [(SECOND.version,)]
    [copy] = (tmp_path / "backups").glob("before-migration-from-*.db")
    saved = sqlite3.connect(copy)
    assert saved.execute("PRAGMA user_version").fetchone() == (SECOND.version - 1,)
    assert saved.execute("SELECT value FROM meta WHERE key = 'note:colour'").fetchone() == (
        "green",
    )
    saved.close()


async def test_a_migration_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        await store.notes.put("colour", "green")
    wrong = Migration(
        SECOND.version, "9999_wrong", "CREATE TABLE half (a TEXT) STRICT;\nDROP TABLE missing;\n"
    )
    with pytest.raises(StoreError, match="missing"):
        async with at(tmp_path, migrations=(*shipped_migrations(), wrong)):
            pass
    async with at(tmp_path) as store:
        assert await store.notes.get("colour") == "green"
    assert rows(tmp_path, "SELECT count(*) FROM sqlite_master WHERE name = 'half'") == [(0,)]


async def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    async with at(tmp_path):
        pass
    tamper(tmp_path, "PRAGMA user_version = 900")
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(DatabaseTooNew, match="schema 900"):
        async with at(tmp_path):
            pass
    assert (tmp_path / "state.db").read_bytes() == before


async def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    tamper(tmp_path, "CREATE TABLE music (title TEXT)")
    with pytest.raises(NotOurDatabase):
        async with at(tmp_path):
            pass


async def test_the_pragmas_are_in_force(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "plain.db", isolation_level=None)
    schema.configure(connection)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert connection.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    assert connection.execute("PRAGMA trusted_schema").fetchone() == (0,)
    assert connection.execute("PRAGMA cell_size_check").fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize(
    ("pragma", "answer"),
    [("journal_mode", "delete"), ("synchronous", 1), ("foreign_keys", 0), ("trusted_schema", 1)],
)
async def test_a_pragma_that_does_not_take_is_refused(
    tmp_path: Path, pragma: str, answer: object
) -> None:
    disk = Disk(lies={f"PRAGMA {pragma}": answer})
    with pytest.raises(PragmaRefused, match=pragma):
        async with at(tmp_path, connection_class=disk.connection_class()):
            pass


async def test_a_folder_that_cannot_be_used_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot open"):
        async with at(tmp_path / "file"):
            pass


def test_migrations_ship_with_the_program_in_one_order() -> None:
    shipped = shipped_migrations()
    assert [m.version for m in shipped] == list(range(1, len(shipped) + 1))
    for migration in shipped:
        assert all(sqlite3.complete_statement(s) for s in migration.statements())


async def test_what_is_used_of_aiosqlite_beyond_its_public_names() -> None:
    """One hop for a whole transaction needs `_execute`; see store/connection.py."""
    raw: list[sqlite3.Connection] = []

    def connect() -> sqlite3.Connection:
        raw.append(sqlite3.connect(":memory:"))
        return raw[0]

    connection = aiosqlite.Connection(connect, iter_chunk_size=64)
    connection._thread.daemon = True
    await connection
    assert len(raw) == 1
    assert await connection._execute(lambda: 7) == 7  # type: ignore[no-untyped-call]
    with pytest.raises(ZeroDivisionError):
        await connection._execute(lambda: 1 // 0)  # type: ignore[no-untyped-call]
    await connection.close()
    connection._thread.join(5)
    assert not connection._thread.is_alive()


async def test_trades_from_before_parts_are_kept_and_a_second_half_fits_beside_them(
    tmp_path: Path,
) -> None:
    """F1.5: The two halves of a reversal are two rows under one id, and both come back."""
    old = tuple(m for m in shipped_migrations() if m.name != "0005_trade_parts")[:4]
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.isolation_level = None
        schema.configure(connection)
        schema.migrate(connection, old, lambda: 0)
        connection.execute(
            "INSERT INTO trades VALUES (9002, 101, 'C', 5, 1, 1, '21000', NULL, '0.37', NULL, 0,"
            " 1, 1, '2026-11-20')"
        )
    connection.close()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.isolation_level = None
        schema.configure(connection)
        assert schema.migrate(connection, shipped_migrations(), lambda: 0) >= 1
        connection.execute(
            "INSERT INTO trades VALUES (9002, 101, 'C', 5, 1, 1, '21000', '-300', '0.37', NULL, 0,"
            " 1, 1, '2026-11-20', 1)"
        )
    connection.close()
    found = rows(tmp_path, "SELECT trade_id, part, pnl FROM trades ORDER BY part")
    assert found == [(9002, 0, None), (9002, 1, "-300")]
