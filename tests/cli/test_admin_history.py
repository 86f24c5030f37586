"""Trades, enforcements, locks and days from the command line, and the exports."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from config_folder import ConfigFolder
from desk import MORNING
from stored_desk import StoppedClock, opened, stored_desk, tamper

from risk_manager.admin.exports import AccountMask
from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.store.store import Store

Say = Callable[..., str]
TODAY = f"{MORNING:%Y-%m-%d}"


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The data folder a daemon left after a loss that locked the account, and a new day."""
    folder = tmp_path / "data"
    clock = StoppedClock()
    async with Store.open(folder / "state.db", clock, keep_every=timedelta(hours=1)) as kept:
        desk = await opened(stored_desk(kept, daily_realized_loss={"limit": 500}))
        await desk.position("MNQ", 1)
        await desk.loss(600)
        await desk.obey()
        await desk.wait(days=1)
    return folder


@pytest.fixture
def say(data: Path, config: ConfigFolder, capsys: pytest.CaptureFixture[str]) -> Say:
    def said(*words: str, ends: Exit = Exit.DONE) -> str:
        capsys.readouterr()
        places = ("--data", str(data), "--config", str(config.path))
        code = main(["admin", *words, *places])
        out, err = capsys.readouterr()
        assert code == ends, out + err
        return out + err

    return said


def test_what_happened_is_read_back(say: Say) -> None:
    def told(kind: str) -> Any:
        return json.loads(say("history", kind, "--json"))

    assert [(t["pnl"], t["net"]) for t in told("trades")] == [("-600", "-600")]
    assert {row["rule_id"] for row in told("enforcement")} == {"daily_realized_loss"}
    (lock,) = told("lockouts")
    assert (lock["rule_id"], lock["policy"]) == ("daily_realized_loss", "flat")
    assert lock["ended_at"] is not None
    (day,) = told("days")
    assert (day["trading_day"], day["realized"]) == (TODAY, "-600")
    assert "daily_realized_loss: " in say("history", "lockouts")
    assert f"{TODAY}  account " in say("history", "days")
    assert "close" in say("history", "enforcement")
    assert "net -$6" in say("history", "trades")


def test_the_rows_can_be_narrowed(say: Say) -> None:
    every = json.loads(say("history", "enforcement", "--json", "--all"))
    newest = json.loads(say("history", "enforcement", "--json", "-n", "1"))
    assert newest == every[-1:]
    assert len(every) > 1
    assert json.loads(say("history", "days", "--json", "--from", TODAY, "--to", TODAY)) != []
    assert say("history", "days", "--to", "2020-01-01") == "nothing is stored for this\n"
    assert say("history", "trades", "--account", "909") == "nothing is stored for this\n"
    with pytest.raises(SystemExit, match="2"):
        say("history", "days", "--from", "2026-02-02", "--to", "2026-02-01")


def test_a_spreadsheet_gets_the_same_rows(say: Say) -> None:
    rows = list(csv.DictReader(io.StringIO(say("history", "enforcement", "--csv"))))
    told = json.loads(say("history", "enforcement", "--json"))
    assert [row["reason"] for row in rows] == [row["reason"] for row in told]


def test_without_a_database_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["admin", "history", "trades", "--data", str(tmp_path / "none")])
    assert code == Exit.DATABASE
    assert "is this the daemon's data folder?" in capsys.readouterr().err


def test_the_audit_is_exported_whole_and_a_broken_one_is_told(
    say: Say, data: Path, tmp_path: Path
) -> None:
    made = json.loads(say("audit", "export", "--to", str(tmp_path / "a.jsonl"), "--json"))
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert (len(lines), made["ok"]) == (made["rows"], True)
    assert json.loads(lines[-1])["hash"] == made["head"]
    again = say("audit", "export", "--to", str(tmp_path / "a.jsonl"), ends=Exit.REFUSED)
    assert "is there already" in again
    tamper(data, "UPDATE audit SET actor = 'nobody' WHERE id = 2")
    out = say("audit", "export", "--to", str(tmp_path / "b.jsonl"), ends=Exit.REFUSED)
    assert "BROKEN at row 2" in out


def test_exported_logs_name_no_account_and_no_key(say: Say, data: Path, tmp_path: Path) -> None:
    folder = data / "logs"
    folder.mkdir()
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlc2lnbmF0dXJl"
    line = f'{{"event": "closed", "account": 101, "url": "x?access_token={token}", "n": 1012}}\n'
    (folder / "daemon.log").write_text(line, encoding="utf-8")
    (folder / "api.log.1").write_text('{"accountId":102}\n', encoding="utf-8")
    out = say("logs", "export", "--to", str(tmp_path / "l.zip"))
    assert "2 lines of 2 files" in out
    with zipfile.ZipFile(tmp_path / "l.zip") as archive:
        text = archive.read("daemon.log").decode()
        assert json.loads(archive.read("api.log.1")) == {"accountId": "account-2"}
    entry = json.loads(text)
    assert (entry["account"], entry["n"]) == ("account-1", 1012)
    assert token not in text
    assert (tmp_path / "l.zip").stat().st_mode & 0o077 == 0


def test_names_of_the_gateway_are_masked_and_ordinary_words_are_not() -> None:
    mask = AccountMask({7654321: "50KTC-V2-7654321-9", 12: "practice"})
    assert mask("50KTC-V2-7654321-9 (7654321) on practice, order 76543210, 12") == (
        "account-2-name (account-2) on practice, order 76543210, account-1"
    )
