"""Presets on the command line: which line came from where, and edits beside them."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from config_folder import ConfigFolder

from risk_manager.admin.checkup import checkup
from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.clock import SystemClock
from risk_manager.daemon.preset_expiry import PresetExpiry
from risk_manager.domain.events import HealthIssueChanged
from risk_manager.domain.health_issue import IssueKind
from risk_manager.drill.copied_configuration import copied
from risk_manager.settings.commitment import Commitment
from risk_manager.settings.preset_files import file_of, shipped_text

Say = Callable[..., str]
COMBINE = "topstep-50k-combine"
SOURCE = "TopstepX help 8284197, checked 2026-11-26, confidence high, expires 2027-02-28"
IN_LIST = f"rules:\n  - preset: {COMBINE}\n  - {{rule: max_contracts, limit: 5}}"
BESIDE = f"rules:\n  preset: {COMBINE}\n  own:\n    - {{rule: max_contracts, limit: 5}}"

forms = pytest.mark.parametrize("rules", [IN_LIST, BESIDE], ids=["in the list", "beside own"])


@pytest.fixture
def say(config: ConfigFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    def said(*words: str, ends: Exit = Exit.DONE) -> str:
        capsys.readouterr()
        places = ("--config", str(config.path), "--data", str(tmp_path / "data"))
        code = main(["admin", *words, *places])
        out, err = capsys.readouterr()
        assert code == ends, out + err
        return out + err

    return said


@forms
def test_each_rule_says_where_it_comes_from(config: ConfigFolder, say: Say, rules: str) -> None:
    config.risk(rules)
    out = say("rules", "explain", f"{COMBINE}.most_contracts")
    assert f"From: preset {COMBINE}: {SOURCE}." in out
    assert "5 minis; one mini counts as ten micros." in out
    assert "From: your own, risk_config.yaml." in say("rules", "explain", "max_contracts")
    assert f"from: preset {COMBINE}" in say("rules", "show", f"{COMBINE}.session")
    rows = json.loads(say("rules", "list", "--account", "101", "--json"))
    origins = {row["id"]: row["origin"] for row in rows}
    assert origins[f"{COMBINE}.most_contracts"] == f"preset {COMBINE}: {SOURCE}"
    assert origins["max_contracts"] == "your own, risk_config.yaml"


def test_a_whole_preset_is_explained_in_use_or_not(config: ConfigFolder, say: Say) -> None:
    config.risk(f"rules: [{{preset: {COMBINE}, accounts: [101], without: [session]}}]")
    out = say("rules", "explain", COMBINE)
    assert "[in use for account 101]" in out
    assert "daily_loss [enforced]: At a loss of $1,000.00" in out
    assert "session [left out]" in out
    assert "profit_target [for your information]: 3,000 passes the evaluation" in out
    report = json.loads(say("rules", "explain", "topstep-150k-live", "--json"))
    assert report["standing"] == "not in use"
    lines = {row["name"]: row for row in report["lines"]}
    assert lines["daily_loss"]["words"].startswith("At a loss of $4,500.00")
    assert lines["daily_loss"]["expires"] == "2027-02-28"


def test_a_rule_without_effect_names_the_tighter_one(config: ConfigFolder, say: Say) -> None:
    config.risk(
        f"rules: [{{preset: {COMBINE}}}, "
        "{rule: max_contracts, limit: 80, count: micro_equivalents}]"
    )
    assert f"[{COMBINE}.most_contracts is tighter]" in say("rules", "list")
    out = say("rules", "explain", "max_contracts")
    assert f"without effect, as {COMBINE}.most_contracts is at least as tight" in out


@forms
def test_your_own_rules_are_edited_and_a_line_of_the_preset_is_not(
    config: ConfigFolder, say: Say, rules: str
) -> None:
    config.risk(rules)
    say("rules", "set", "max_contracts", "limit=4", "--yes")
    text = (config.path / "risk_config.yaml").read_text(encoding="utf-8")
    assert text.replace("limit: 4", "limit: 5") == f"version: 1\n{rules}\n"
    out = say("rules", "set", f"{COMBINE}.daily_loss", "limit=5000", "--yes", ends=Exit.REFUSED)
    assert "is a line of a preset and is not edited" in out
    assert "without: [daily_loss]" in out


LOOSER = [
    (IN_LIST, "rules:\n  - {rule: max_contracts, limit: 5}"),
    (IN_LIST, IN_LIST.replace(COMBINE, f"{COMBINE}\n    without: [daily_loss]")),
    (IN_LIST, "rules: {preset: topstep-150k-combine, own: [{rule: max_contracts, limit: 5}]}"),
    (BESIDE, "rules:\n  - {rule: max_contracts, limit: 5}"),
    (BESIDE, BESIDE.replace(COMBINE, f"{COMBINE}\n  enabled: false")),
]


@pytest.mark.parametrize(("began", "edited"), LOOSER)
def test_what_was_loosened_is_taken_back_before_it_counts(
    config: ConfigFolder, say: Say, tmp_path: Path, began: str, edited: str
) -> None:
    (tmp_path / "data").mkdir()
    config.risk(began)
    committed = Commitment(in_force=config.load().texts)
    (tmp_path / "data" / "limits.json").write_text(committed.text(), encoding="utf-8")
    config.risk(edited)
    assert "at the reset" in say("config", "diff")
    say("config", "cancel", "--yes")
    found = config.load()
    after = committed.after_reading(found, date(2026, 11, 20))
    assert after.kept_today(found) == ()
    assert f"{COMBINE}.daily_loss" in {rule.id for rule in found.rules_of(101)}


@forms
def test_the_fire_drill_copies_presets(config: ConfigFolder, tmp_path: Path, rules: str) -> None:
    config.risk(rules)
    found = copied(config.load(), {9001: 101}, tmp_path / "drill")
    ids = {rule.id for rule in found.rules_of(9001)}
    assert {f"{COMBINE}.daily_loss", "max_contracts"} <= ids


# --- expired --------------------------------------------------------------------------------------


def expired_text() -> str:
    return shipped_text(COMBINE).replace("2026-12-31", "2026-11-27")


class Desk:
    """What the watch over presets needs of the daemon, on a date of the test."""

    def __init__(self, config: ConfigFolder) -> None:
        self.config = config
        self.told: list[HealthIssueChanged] = []
        self.state = SimpleNamespace(day=SimpleNamespace(date=date(2026, 12, 31)))
        self.clock = SystemClock()
        self.put = self.told.append
        self.limits = SimpleNamespace(configuration=config.load())
        parts: Any = self
        limits: Any = self.limits
        self.watch = PresetExpiry(parts, limits)

    def look(self, on: date) -> list[tuple[str, bool]]:
        self.told.clear()
        self.state.day.date = on
        self.watch.look()
        return [(event.subject, bool(event.reason)) for event in self.told]


def test_the_screen_is_told_of_a_preset_from_the_day_it_has_expired(config: ConfigFolder) -> None:
    config.risk(IN_LIST)
    desk = Desk(config)
    assert desk.look(date(2026, 12, 31)) == []
    assert desk.look(date(2027, 1, 1)) == [(COMBINE, True)]
    (event,) = desk.told
    assert event.doubt is IssueKind.PRESET_EXPIRED
    assert event.reason.startswith(f"the preset {COMBINE} has figures that are no longer")
    assert desk.look(date(2027, 1, 1)) == []  # told once
    config.risk("rules: [{rule: max_contracts, limit: 5}]")
    desk.limits.configuration = config.load()
    assert desk.look(date(2027, 1, 1)) == [(COMBINE, False)]  # withdrawn


def test_the_doctor_warns_of_an_expired_preset(
    config: ConfigFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.risk(IN_LIST)
    monkeypatch.setattr(
        "risk_manager.settings.preset_entries.shipped_text", lambda _: yesterday(expired_text())
    )
    found = [f for f in checkup(config.path, tmp_path / "data") if "no longer relied" in f.found]
    assert [(f.check, str(f.grade)) for f in found] == [("config", "warn")]
    assert file_of(COMBINE) in config.load().texts


def yesterday(text: str) -> str:
    """All dates of the preset a few years back, whenever this test is run."""
    return text.replace("2026-", "2016-").replace("2027-", "2017-")
