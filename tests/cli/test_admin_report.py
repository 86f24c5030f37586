"""`admin report` from the command line, on a database as a daemon leaves it."""

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from config_folder import ConfigFolder
from reported_day import bad_friday
from stored_desk import StoppedClock

from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.store.store import Store

Say = Callable[..., str]
DATE = "2026-11-20"


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    await bad_friday(folder)
    return folder


@pytest.fixture
def say(data: Path, config: ConfigFolder, capsys: pytest.CaptureFixture[str]) -> Say:
    def said(*words: str, ends: Exit = Exit.DONE) -> str:
        capsys.readouterr()
        places = ("--data", str(data), "--config", str(config.path))
        code = main(["admin", "report", *words, *places])
        out, err = capsys.readouterr()
        assert code == ends, out + err
        return out + err

    return said


def test_a_day_is_told(say: Say) -> None:
    out = say("day", DATE)
    assert out.startswith("Friday 2026-11-20, account 101\n")
    assert "Fri 11-20  -$520.00  $6.66  -$526.66       5" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_week_is_told_by_any_of_its_dates(say: Say) -> None:
    out = say("week", "2026-11-18")
    assert out.startswith("Week from 2026-11-16 to 2026-11-20, account 101\n")
    assert out == say("week", DATE)


def test_scripts_get_money_as_text_and_unknown_as_null(say: Say) -> None:
    (made,) = json.loads(say("week", DATE, "--json", "--account", "101"))
    assert made["days"][4]["net"] == "-526.66"
    assert (made["days"][0]["net"], made["total"]["net"]) == (None, None)
    assert made["zone"] == "America/New_York"
    assert made["discipline"]["reentries"] == 2
    assert [c["gain_if_held"] for c in made["interventions"][0]["closed"]] == ["50.0", None]
    assert made["trades"][0]["opened_at"] == "2026-11-20T16:00:00+00:00"


def test_a_page_is_written_into_a_new_file_of_the_owner(say: Say, tmp_path: Path) -> None:
    page = tmp_path / "friday.html"
    assert say("day", DATE, "--html", str(page)) == f"written to {page}\n"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    if sys.platform != "win32":
        assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert "is there already" in say("day", DATE, "--html", str(page), ends=Exit.REFUSED)
    nowhere = tmp_path / "none" / "x.html"
    assert "cannot be written" in say("day", DATE, "--html", str(nowhere), ends=Exit.REFUSED)


def test_without_a_date_it_is_today_of_which_nothing_is_recorded(say: Say) -> None:
    assert "nothing is recorded of this day." in say("day")


def test_a_weekend_and_an_unknown_account_are_refused(say: Say) -> None:
    with pytest.raises(SystemExit, match="2"):
        say("day", "2026-11-21")
    out = say("day", DATE, "--account", "909", ends=Exit.REFUSED)
    assert out.endswith("nothing is stored of account 909; known: 101\n")


def test_files_with_errors_leave_the_default_day_and_that_is_said(
    say: Say, config: ConfigFolder
) -> None:
    config.risk("rules: [{rule: nonsense}]")
    out = say("day", DATE)
    assert "products and the trading day as by default (reset 17:00 America/New_York)" in out
    assert "-$526.66" in out


async def test_it_reads_while_the_daemon_writes(
    data: Path, config: ConfigFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Store.open(data / "state.db", StoppedClock()):
        code = main(["admin", "report", "day", DATE, "--data", str(data), "--config",
                     str(config.path)])  # fmt: skip
    assert code == Exit.DONE
    assert "-$526.66" in capsys.readouterr().out


def test_without_a_database_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["admin", "report", "day", "--data", str(tmp_path / "none")])
    assert code == Exit.DATABASE
    assert "is this the daemon's data folder?" in capsys.readouterr().err
