"""What a reload says of each field that was edited: now, at the reset, or after a restart."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from config_folder import ConfigFolder

from risk_manager.settings.changes import changes
from risk_manager.settings.commitment import Commitment

FRIDAY = date(2026, 11, 20)
RULES = "rules: [{{rule: max_contracts, limit: {}}}{}]"


@pytest.fixture
def folder(tmp_path: Path) -> ConfigFolder:
    made = ConfigFolder(tmp_path / "config")
    made.write("accounts.yaml", "accounts: [{id: 101}, {id: 102}]")
    made.risk(RULES.format(5, ""))
    return made


def told(folder: ConfigFolder, *edits: Any) -> list[tuple[str, Any, Any, str]]:
    """What the last of these edits of one day is told to change."""
    started = before = folder.load()
    commitment = Commitment(in_force=started.texts)
    found: list[tuple[str, Any, Any, str]] = []
    for edit in edits:
        edit(folder)
        now = folder.load()
        commitment = commitment.after_reading(now, FRIDAY)
        book = commitment.rulebook(now)
        found = [(c.key, c.old, c.new, c.when.value) for c in changes(started, before, now, book)]
        before = now
    return found


def limit(contracts: int, more: str = "") -> Any:
    return lambda folder: folder.risk(RULES.format(contracts, more))


def settings(text: str) -> Any:
    return lambda folder: folder.write("settings.yaml", text)


def accounts(text: str) -> Any:
    return lambda folder: folder.write("accounts.yaml", text)


def nothing(_: ConfigFolder) -> None:
    pass


LOSS = ", {rule: daily_realized_loss, limit: 500, lockout: %s}"


ON_LIVE = "accounts: {102: {enforce_on_live: true}}"


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([nothing], []),
        ([limit(9)], [("rules.max_contracts.limit", 5, 9, "reset")]),
        ([limit(2)], [("rules.max_contracts.limit", 5, 2, "now")]),
        ([limit(2), limit(9)], [("rules.max_contracts.limit", 2, 9, "reset")]),
        ([limit(9), limit(3)], [("rules.max_contracts.limit", 9, 3, "now")]),
        (
            [limit(2, LOSS % "1h"), limit(2, LOSS % "2h")],
            [("rules.daily_realized_loss.lockout", "1h", "2h", "both")],
        ),
        (
            [settings("feed: {port: 9123}")],
            [("feed.port", 8765, 9123, "restart")],
        ),
        ([settings("feed: {port: 9123}"), nothing], [("feed.port", 8765, 9123, "restart")]),
        (
            [accounts("accounts: [{id: 101}, {id: 103}]")],
            [
                ("accounts.102", {"enabled": True, "nickname": None}, None, "reset"),
                ("accounts.103", None, {"enabled": True, "nickname": None}, "restart"),
            ],
        ),
        (
            [accounts("accounts: [{id: 101}, {id: 102, enabled: false}]")],
            [("accounts.102.enabled", True, False, "reset")],
        ),
        (
            [accounts("accounts: [{id: 101, nickname: mine}, {id: 102}]")],
            [("accounts.101.nickname", None, "mine", "restart")],
        ),
        (
            [accounts("accounts: [{id: 101}, {id: 102}]\nunlisted: enforce")],
            [("unlisted", "alarm", "enforce", "restart")],
        ),
        (
            [lambda f: f.risk(RULES.format(5, ""), "accounts: {102: {mode: shadow}}")],
            [("accounts.102.mode", "enforce", "shadow", "reset")],
        ),
        (
            [lambda f: f.risk(RULES.format(5, ""), ON_LIVE)],
            [("accounts.102.enforce_on_live", False, True, "now")],
        ),
        (
            [
                lambda f: f.risk(RULES.format(5, ""), ON_LIVE),
                lambda f: f.risk(RULES.format(5, "")),
            ],
            [("accounts.102.enforce_on_live", True, False, "reset")],
        ),
        (
            [
                lambda f: f.risk(
                    RULES.format(5, ""),
                    "accounts: {101: {enforce_on_live: true}, 102: {mode: shadow}}",
                )
            ],
            [
                ("accounts.101.enforce_on_live", False, True, "now"),
                ("accounts.102.mode", "enforce", "shadow", "reset"),
            ],
        ),
        (
            [lambda f: f.risk(RULES.format(5, ""), 'trading_day: {reset: "18:00"}')],
            [("trading_day.reset", "17:00", "18:00", "reset")],
        ),
    ],
)
def test_each_field_is_told_with_its_time(
    folder: ConfigFolder, edits: list[Any], expected: list[tuple[str, Any, Any, str]]
) -> None:
    """F7.17: A reload names each field, old and new, and when it counts."""
    folder.write("settings.yaml", "")
    assert told(folder, *edits) == expected


def test_an_override_is_told_of_its_account(folder: ConfigFolder) -> None:
    """F7.17: What one account has of its own is told of that account only."""
    override = "accounts: {{102: {{overrides: [{{target: max_contracts, set: {{limit: {}}}}}]}}}}"
    found = told(
        folder,
        lambda f: f.risk(RULES.format(5, ""), override.format(3)),
        lambda f: f.risk(RULES.format(5, ""), override.format(4)),
    )
    assert found == [("accounts.102.rules.max_contracts.limit", 3, 4, "reset")]


def test_a_rule_taken_out_and_one_put_in(folder: ConfigFolder) -> None:
    """F7.17: A rule taken out counts until the reset, a new one at once."""
    rule = "{rule: daily_profit_target, target: 900}"
    found = told(folder, lambda f: f.risk(f"rules: [{rule}]"))
    assert [(key, when) for key, _, _, when in found] == [
        ("rules.max_contracts", "reset"),
        ("rules.daily_profit_target", "now"),
    ]


def test_a_key_is_told_as_a_reference(folder: ConfigFolder) -> None:
    """F7.17: A change of the login names where the key stands and never the key."""
    folder.write("settings.yaml", "gateway: {api_key: env:FIRST_KEY}")
    found = told(folder, settings("gateway: {api_key: env:OTHER_KEY}"))
    assert found == [("gateway.api_key", "env:FIRST_KEY", "env:OTHER_KEY", "restart")]
