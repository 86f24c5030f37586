"""Each edited field is told to tighten, to loosen, or to do what nobody can say for certain."""

from datetime import date
from pathlib import Path

import pytest
from config_folder import ConfigFolder

from risk_manager.settings.changes import changes
from risk_manager.settings.commitment import Commitment

FRIDAY = date(2026, 11, 20)
BASE = """
version: 1
trading_day: {flat_by: null}
symbols: {aliases: {}}
rules:
  - {rule: max_contracts, limit: 5, count: gross}
  - {rule: daily_realized_loss, limit: 500}
  - {rule: symbol_blocks, blocked: [RTY], enabled: false}
  - {rule: max_contracts_per_instrument, limits: {ES: 2, NQ: 1}}
accounts: {}
"""
ACCOUNTS = "accounts: [{id: 101}, {id: 102, enabled: false}]\nunlisted: alarm\n"


@pytest.fixture
def folder(tmp_path: Path) -> ConfigFolder:
    made = ConfigFolder(tmp_path / "config")
    made.write("accounts.yaml", ACCOUNTS)
    made.write("risk_config.yaml", BASE)
    return made


def told(folder: ConfigFolder, name: str, old: str, new: str) -> dict[str, tuple[str, str]]:
    """Each field that differs after an edit of one file: its effect, and when it counts."""
    before = folder.load()
    path = folder.path / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    folder.write(name, text.replace(old, new))
    found = folder.load()
    commitment = Commitment(in_force=before.texts).after_reading(found, FRIDAY)
    book = commitment.rulebook(found)
    every = changes(before, before, found, book)
    return {c.key: (c.effect.value, c.when.value) for c in every}


@pytest.mark.parametrize(
    ("old", "new", "key", "expected"),
    [
        ("limit: 5,", "limit: 4,", "rules.max_contracts.limit", ("tighter", "now")),
        ("limit: 5,", "limit: 6,", "rules.max_contracts.limit", ("looser", "reset")),
        ("count: gross", "count: net", "rules.max_contracts.count", ("unknown", "both")),
        ("limit: 500}", "limit: 500, enabled: false}", "rules.daily_realized_loss.enabled",
         ("looser", "reset")),
        ("limit: 500}", "limit: 500, shadow: true}", "rules.daily_realized_loss.shadow",
         ("looser", "reset")),
        ("limit: 500}", "limit: 500, accounts: [101]}", "rules.daily_realized_loss.accounts",
         ("looser", "both")),
        ("[RTY], enabled: false", "[RTY]", "rules.symbol_blocks.enabled", ("tighter", "now")),
        ("[RTY]", "[RTY, CL]", "rules.symbol_blocks.blocked", ("no limit", "now")),
        ("ES: 2", "ES: 1", "rules.max_contracts_per_instrument.limits.ES", ("tighter", "now")),
        ("ES: 2", "ES: 3", "rules.max_contracts_per_instrument.limits.ES", ("looser", "reset")),
        ("  - {rule: daily_realized_loss, limit: 500}\n", "", "rules.daily_realized_loss",
         ("looser", "reset")),
        ("rules:\n", "rules:\n  - {rule: daily_profit_target, target: 900}\n",
         "rules.daily_profit_target", ("tighter", "now")),
        ("flat_by: null", 'flat_by: "16:00"', "trading_day.flat_by", ("tighter", "reset")),
        ("aliases: {}", "aliases: {EP: ES}", "symbols.aliases.EP", ("unknown", "reset")),
        ("accounts: {}", "accounts: {101: {mode: shadow}}", "accounts.101.mode",
         ("looser", "reset")),
        ("accounts: {}",
         "accounts: {101: {overrides: [{target: max_contracts, set: {limit: 3}}]}}",
         "accounts.101.rules.max_contracts.limit", ("tighter", "now")),
    ],
)  # fmt: skip
def test_a_field_of_the_limits(
    folder: ConfigFolder, old: str, new: str, key: str, expected: tuple[str, str]
) -> None:
    assert told(folder, "risk_config.yaml", old, new)[key] == expected


@pytest.mark.parametrize(
    ("old", "new", "key", "expected"),
    [
        ("{id: 101}", "{id: 101, enabled: false}", "accounts.101.enabled", ("looser", "reset")),
        ("{id: 102, enabled: false}", "{id: 102}", "accounts.102.enabled", ("tighter", "restart")),
        ("{id: 101}", "{id: 101, nickname: a}", "accounts.101.nickname", ("no limit", "restart")),
        ("[{id: 101}", "[{id: 101}, {id: 103}", "accounts.103", ("tighter", "restart")),
        ("[{id: 101}, ", "[", "accounts.101", ("looser", "reset")),
        ("unlisted: alarm", "unlisted: enforce", "unlisted", ("tighter", "restart")),
        ("unlisted: alarm", "unlisted: ignore", "unlisted", ("looser", "now")),
    ],
)
def test_a_field_of_the_accounts(
    folder: ConfigFolder, old: str, new: str, key: str, expected: tuple[str, str]
) -> None:
    assert told(folder, "accounts.yaml", old, new)[key] == expected


def test_a_rule_may_have_points_in_its_id(folder: ConfigFolder) -> None:
    folder.write("risk_config.yaml", BASE.replace("limit: 5,", "id: my.rule, limit: 5,"))
    found = told(folder, "risk_config.yaml", "limit: 5,", "limit: 9,")
    assert found == {"rules.my.rule.limit": ("looser", "reset")}
