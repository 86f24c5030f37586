"""The audit, the database, the journal and the logs from the command line, without a daemon."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from desk import MORNING
from stored_desk import StoppedClock, at, opened, stored_desk, tamper

from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.instance_lock import InstanceLock
from risk_manager.store.place import database_of
from risk_manager.store.schema import shipped_migrations
from risk_manager.store.store import Store


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The data folder a daemon left after a loss that locked the account."""
    async with Store.open(
        tmp_path / "state.db", StoppedClock(), keep_every=timedelta(hours=1)
    ) as kept:
        await kept.keep_journal(tmp_path / "journal", "1.0")
        desk = await opened(stored_desk(kept, daily_realized_loss={"limit": 500}))
        await desk.position("MNQ", 1)
        await desk.loss(600)
        await desk.obey()
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, ends: Exit = Exit.DONE) -> str:
    capsys.readouterr()
    assert main(list(words)) == ends
    out, err = capsys.readouterr()
    return out or err


def told(capsys: pytest.CaptureFixture[str], *words: str, ends: Exit = Exit.DONE) -> Any:
    return json.loads(said(capsys, *words, "--json", ends=ends))


def test_the_audit_is_verified_and_an_edited_row_is_found(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ("--data", str(data))
    assert "the audit is whole" in said(capsys, "admin", "audit", "verify", *folder)
    rows = told(capsys, "admin", "audit", "tail", "-n", "500", *folder)
    actions = [row["action"] for row in rows]
    assert {"lock.set", "asked.close_position", "settled", "stopped"} <= set(actions)
    assert "lock.set" in said(capsys, "admin", "audit", "tail", "-n", "500", *folder)
    tamper(data, "UPDATE audit SET actor = 'nobody' WHERE id = 2")
    verdict = told(capsys, "admin", "audit", "verify", *folder, ends=Exit.REFUSED)
    assert verdict["broken_at"] == 2
    assert "BROKEN at row 2" in said(capsys, "admin", "audit", "verify", *folder, ends=Exit.REFUSED)


def test_the_database_is_checked_and_backed_up(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ("--data", str(data))
    assert told(capsys, "admin", "db", "check", *folder)["newest_backup"] is None
    made = Path(told(capsys, "admin", "db", "backup", *folder)["file"])
    assert made.parent == data / "backups"
    assert made.stat().st_size > 0
    assert "whole" in said(capsys, "admin", "db", "check", *folder)


def test_a_day_is_judged_again(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("admin", "journal", "replay", f"{MORNING:%Y-%m-%d}", "--data", str(data))
    done = told(capsys, *words)
    assert [d["rule_id"] for d in done["decisions"]] == ["daily_realized_loss"]
    assert [a["action"] for a in done["actions"]] == ["ClosePosition"]
    assert done["not_in_the_record"] == []
    assert done["missing"] == 0
    text = said(capsys, *words)
    assert "locked by daily_realized_loss" in text
    assert "1 decisions, 1 calls to the broker" in text


def test_what_is_not_there_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ("--data", str(tmp_path))
    for words in (("audit", "verify"), ("db", "check"), ("journal", "replay", "2026-11-20")):
        line = said(capsys, "admin", *words, *folder, ends=Exit.DATABASE)
        assert "there is no state.db" in line
        assert line.count("\n") == 1
    assert "cannot be read" in said(capsys, "admin", "logs", "tail", *folder, ends=Exit.REFUSED)


def test_the_newest_log_entries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "logs").mkdir()
    lines = [json.dumps({"ts": "t", "level": "info", "event": f"e{n}"}) for n in range(50)]
    (tmp_path / "logs" / "daemon.log").write_text("\n".join([*lines, "half a li"]), "utf-8")
    entries = told(capsys, "admin", "logs", "tail", "-n", "3", "--data", str(tmp_path))
    assert [e["event"] for e in entries] == ["e48", "e49", "half a li"]


async def test_an_older_database_is_migrated_after_a_copy_and_stays_trusted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    migrations = shipped_migrations()
    async with at(tmp_path, migrations=migrations[:-1]) as store:
        desk = await opened(stored_desk(store, max_contracts={"limit": 5}))
        await desk.position("MNQ", 1)
    folder = ("--data", str(tmp_path))
    seen = said(capsys, "admin", "db", "migrate", "--dry-run", *folder)
    assert f"missing: {migrations[-1].name}" in seen
    done = told(capsys, "admin", "db", "migrate", *folder)
    assert (done["found"], done["newest"]) == (len(migrations) - 1, len(migrations))
    assert Path(done["backup"]).parent == tmp_path / "backups"
    assert "up to date" in said(capsys, "admin", "db", "migrate", *folder)
    async with at(tmp_path) as store:
        assert store.opened_as.is_trusted
        state = await store.restore(desk.rulebook, desk.now)
    assert [p.net for p in state.accounts[desk.account().id].positions.values()] == [1]


async def test_a_database_in_use_is_not_migrated(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with InstanceLock() as lock:
        lock.hold_the_folder(data)
        refused = said(capsys, "admin", "db", "migrate", "--data", str(data), ends=Exit.REFUSED)
    assert "a daemon runs with the data folder" in refused


def test_a_database_that_is_none_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database_of(tmp_path).write_bytes(b"nonsense" * 1000)
    refused = said(capsys, "admin", "db", "migrate", "--data", str(tmp_path), ends=Exit.DATABASE)
    assert "could not be migrated" in refused
