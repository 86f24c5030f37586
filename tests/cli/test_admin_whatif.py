"""`admin journal whatif`, over a journal and over a file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import losing_day
import pytest
from config_folder import ConfigFolder
from losing_day import DAY

from risk_manager.cli import main
from risk_manager.cli.exits import Exit

Say = Callable[..., str]
TIGHT = "rules:\n  - {rule: daily_realized_loss, limit: 150}"


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    await losing_day.record(folder)
    return folder


@pytest.fixture
def say(data: Path, config: ConfigFolder, capsys: pytest.CaptureFixture[str]) -> Say:
    config.risk(TIGHT)

    def said(*words: str, ends: Exit = Exit.DONE) -> str:
        capsys.readouterr()
        places = ("--data", str(data), "--config", str(config.path))
        code = main(["admin", *words, *places])
        out, err = capsys.readouterr()
        assert code == ends, out + err
        return out + err

    return said


def test_the_answer_is_told_and_given_as_data(say: Say) -> None:
    told = say("journal", "whatif", "--from", DAY, "--to", DAY)
    assert told.startswith("recorded:  rules OFF\ntried:     rules ON, as in ")
    assert "3 round turns: 2 unchanged, 1 prevented, 0 cut early, 0 unknowable" in told
    assert "recorded result -$300.00" in told
    assert "with these limits -$201.00 to -$200.00" in told
    assert "prevented *" in told
    answer: Any = json.loads(say("journal", "whatif", "--json"))
    assert answer["rules_as_recorded"] == "off"
    assert answer["known"] == {"low": "-201.00", "high": "-200"}
    (rule,) = answer["rules"]
    assert (rule["rule_id"], rule["acted"]) == ("daily_realized_loss", 1)
    assert rule["saved"] == {"low": "99.00", "high": "100"}
    (day,) = answer["days"]
    assert [turn["outcome"] for turn in day["round_turns"]] == [
        "unchanged",
        "unchanged",
        "prevented",
    ]


def test_slippage_and_days_can_be_chosen(say: Say) -> None:
    answer = json.loads(say("journal", "whatif", "--slippage-ticks", "0:4", "--json"))
    assert answer["known"]["low"] == "-202.00"
    assert "there is no record" in say("journal", "whatif", "--to", "2020-01-01")
    lacking = say("journal", "whatif", "--from", "2026-11-18", "--to", DAY)
    assert "no journal exists of 2026-11-18, 2026-11-19" in lacking
    with pytest.raises(SystemExit, match="2"):
        say("journal", "whatif", "--slippage-ticks", "4:1")
    with pytest.raises(SystemExit, match="2"):
        say("journal", "whatif", "--from", "2026-11-21", "--to", DAY)


def test_the_grid_shows_each_value_and_warns(say: Say) -> None:
    grid = "daily_realized_loss.limit=100:300:100"
    told = say("journal", "whatif", "--grid", grid)
    assert "warning: A limit chosen because its past days look best" in told
    answer = json.loads(say("journal", "whatif", "--grid", grid, "--json"))
    assert [(g["value"], g["known"]["high"]) for g in answer["grid"]] == [
        ("100", "-100"),
        ("200", "-200"),
        ("300", "-300"),
    ]
    assert answer["warning"]
    refused = say("journal", "whatif", "--grid", "nothing.limit=1:2:1", ends=Exit.REFUSED)
    assert "no enabled rule is called nothing" in refused


def test_values_are_tried_instead_of_the_written_ones(say: Say) -> None:
    trial = ("--set", "daily_realized_loss.limit=250")
    told = say("journal", "whatif", *trial)
    assert ", with daily_realized_loss.limit=250" in told
    assert "3 unchanged, 0 prevented" in told
    answer = json.loads(say("journal", "whatif", *trial, "--json"))
    assert answer["set"] == ["daily_realized_loss.limit=250"]
    for wrong, why in (
        ("daily_realized_loss", "is no value; write it as"),
        ("max_contracts.limit=1", "no enabled rule is called max_contracts"),
        ("daily_realized_loss.limits=1", "has no field limits"),
        ("daily_realized_loss.limit=-5", "cannot be -5"),
        ("daily_realized_loss.limit=[1", "is not readable as a YAML value"),
    ):
        assert why in say("journal", "whatif", "--set", wrong, ends=Exit.REFUSED)


def test_the_screen_needs_a_terminal_and_is_no_json(say: Say) -> None:
    assert "leave out --screen" in say("journal", "whatif", "--screen", ends=Exit.USAGE)
    with pytest.raises(SystemExit, match="2"):
        say("journal", "whatif", "--screen", "--json")


def test_what_the_history_printed_is_judged_as_the_journal_is(say: Say, tmp_path: Path) -> None:
    file = tmp_path / "trades.csv"
    file.write_text(say("history", "trades", "--csv", "--all"), encoding="utf-8")
    told = say("journal", "whatif", "--csv", str(file))
    assert told.startswith("recorded:  as the file has it")
    assert "2 unchanged, 1 prevented" in told
    assert "note: the file holds no quotes" in told


def test_a_file_that_cannot_be_judged_says_why(say: Say, tmp_path: Path) -> None:
    file = tmp_path / "wrong.csv"
    file.write_text("Id,ContractName\n1,MNQZ6\n", encoding="utf-8")
    assert "lacks the columns EnteredAt" in say(
        "journal", "whatif", "--csv", str(file), ends=Exit.REFUSED
    )
    assert "cannot be read: No such file" in say(
        "journal", "whatif", "--csv", str(tmp_path / "none.csv"), ends=Exit.REFUSED
    )


def test_an_account_that_the_configuration_does_not_name_is_told(
    say: Say, config: ConfigFolder
) -> None:
    config.write("accounts.yaml", "accounts:\n  - {id: 555, enabled: true}\n")
    told = say("journal", "whatif")
    assert "note: account 101 is not enabled in this configuration: it has no limits" in told


PLATFORM = (
    "Id,ContractName,EnteredAt,ExitedAt,EntryPrice,ExitPrice,Fees,PnL,Size,Type,TradeDay\n"
    "1,MNQZ6,11/20/2026 09:31:15 -06:00,11/20/2026 09:36:15 -06:00,21000,20900,1.48,-200,1,Long,x\n"
    "2,MNQZ6,11/20/2026 09:41:15 -06:00,11/20/2026 09:46:15 -06:00,21000,21100,1.48,200,1,Long,x\n"
)


def test_an_export_of_the_platform_is_judged_under_the_limits_of_one_account(
    say: Say, tmp_path: Path, config: ConfigFolder
) -> None:
    file = tmp_path / "export.csv"
    file.write_text(PLATFORM, encoding="utf-8")
    whatif = ("journal", "whatif", "--csv", str(file))
    assert "give --account ID" in say(*whatif, ends=Exit.REFUSED)
    assert "1 unchanged, 1 prevented" in say(*whatif, "--account", "101")
    config.write("accounts.yaml", "accounts:\n  - {id: 101, enabled: true}\n")
    answer = json.loads(say(*whatif, "--json"))
    assert answer["rules_as_recorded"] == "unknown"
    assert answer["rules"][0]["missed"] == {"low": "198.52", "high": "201.00"}
