"""Every version of the limits that was in force today binds until the reset."""

from pathlib import Path
from typing import Any

import pytest
from test_commitment import FRIDAY, MONDAY, Folder, committed, limits, read_again

from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import UNTIL_RESET, Mode, is_older, older_id, origin_id
from risk_manager.rules import RULES
from risk_manager.settings.commitment import Commitment
from risk_manager.settings.configuration import Configuration


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def tightest(after: Commitment, found: Configuration) -> int:
    return min(limit for _, limit in limits(after.rulebook(found)))


@pytest.mark.parametrize(
    ("edits", "binding"),
    [
        ((5, 4, 5), 4),
        ((5, 2, 9), 2),
        ((5, 50, 5), 5),
        ((5, 9, 3, 7, 2, 8), 2),
        ((5, 9, 7), 5),
        ((5, 4, 4, 5, 5), 4),
    ],
)
def test_the_tightest_limit_of_the_day_binds_until_the_reset(
    folder: Folder, edits: tuple[int, ...], binding: int
) -> None:
    """F7.6: A limit tightened today cannot be loosened today, however the files are edited."""
    folder.limit(edits[0])
    after = committed(folder)
    for limit in edits[1:]:
        found = folder.limit(limit)
        after = read_again(after, folder, FRIDAY)
    assert tightest(after, found) == binding
    assert tightest(read_again(after, folder, FRIDAY), found) == binding  # a restart
    assert len(limits(after.rulebook(found))) <= 2  # no pile of what is implied
    monday = read_again(after, folder, MONDAY)
    assert limits(monday.rulebook(found)) == [("max_contracts", edits[-1])]
    assert monday == Commitment(in_force=found.texts)


def test_a_pure_tightening_leaves_no_older_version(folder: Folder) -> None:
    """F7.6: After a tightening nothing waits, and nothing older is said to hold."""
    before = committed(folder)
    found = folder.limit(2)
    after = read_again(before, folder, FRIDAY)
    assert after.waiting is None
    assert after.kept_today(found) == ()
    assert limits(after.rulebook(found)) == [("max_contracts", 2)]


def test_shadow_after_enforcement_that_began_today_waits(folder: Folder) -> None:
    """F7.6: Limits enforced since this morning's edit are not put in shadow again today."""
    rules = "rules: [{rule: max_contracts, limit: 5}]\n"
    path = folder.path / "risk_config.yaml"
    shadow = "version: 1\ndefaults: {mode: shadow}\n" + rules
    path.write_text(shadow)
    after = committed(folder)
    path.write_text("version: 1\n" + rules)
    after = read_again(after, folder, FRIDAY)
    assert after.rulebook(folder.read()).for_account(101).mode is Mode.ENFORCE
    path.write_text(shadow)
    after = read_again(after, folder, FRIDAY)
    book = after.rulebook(folder.read()).for_account(101)
    assert book.mode is Mode.ENFORCE
    assert [rule.id for rule in book.rules if not rule.shadow] == [older_id("max_contracts", 2)]


@pytest.mark.parametrize("edit", ["shadow", "not listed"])
def test_an_account_without_rules_stays_guarded_until_the_reset(folder: Folder, edit: str) -> None:
    """F7.6: A lock set by hand is enforced whatever rules there are, until the reset at least."""
    path = folder.path / "risk_config.yaml"
    path.write_text("version: 1\nrules: []\n")
    before = committed(folder)
    if edit == "shadow":
        path.write_text("version: 1\ndefaults: {mode: shadow}\nrules: []\n")
    else:
        (folder.path / "accounts.yaml").write_text("accounts: [{id: 102}]")
    after = read_again(before, folder, FRIDAY)
    assert after.since == FRIDAY
    book = after.rulebook(folder.read())
    assert book.accounts[101].mode is Mode.ENFORCE


def test_a_clock_turned_back_does_not_shorten_the_wait(folder: Folder) -> None:
    """F7.6: An edit on a date before the last edit does not make that one count early."""
    before = committed(folder)
    folder.limit(50)
    after = read_again(before, folder, MONDAY)
    folder.limit(60)
    after = read_again(after, folder, FRIDAY)
    assert after.since == MONDAY
    assert tightest(read_again(after, folder, MONDAY), folder.read()) == 5


def test_a_group_keeps_its_members_until_the_reset(folder: Folder) -> None:
    """F7.6: What a group of products means is not loosened today either."""
    text = (
        "version: 1\nsymbols: {{groups: {{index: [{}]}}}}\n"
        "rules: [{{rule: max_contracts_per_instrument, limits: {{ES: 9, NQ: 9}}, "
        "group_limits: {{index: {{limit: 2}}}}}}]\n"
    )
    path = folder.path / "risk_config.yaml"
    path.write_text(text.format("ES, NQ"))
    before = committed(folder)
    path.write_text(text.format("ES"))
    book = read_again(before, folder, FRIDAY).rulebook(folder.read())
    assert set(book.symbols.groups["index"]) == {"ES", "NQ"}


def test_versions_are_counted_and_their_ids_lead_back_to_the_rule() -> None:
    assert older_id("x") == "x" + UNTIL_RESET
    assert older_id("x", 3) == "x (until the reset, 3)"
    for number in (1, 2, 12):
        assert is_older(older_id("x", number))
        assert origin_id(older_id("x", number)) == "x"
    assert not is_older("x")
    assert origin_id("x") == "x"


# --- which version makes another one superfluous --------------------------------------------------


def rule(name: str, **fields: Any) -> Rule:
    kind = next(r for r in RULES if r.model_fields["rule"].default == name)
    return kind.model_validate({"rule": name, **fields})


STOP = {"grace": "30s", "rearm_grace": "10s"}
HOURS = {"days": ["mon"], "start": "09:00", "end": "16:00"}
TIGHTER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("max_contracts", {"limit": 2}, {"limit": 5}),
    ("daily_realized_loss", {"limit": 400}, {"limit": 500}),
    ("daily_realized_loss", {"limit": 400, "warn_at": [0.9]}, {"limit": 500}),
    ("daily_profit_target", {"target": 400}, {"target": 500}),
    ("daily_unrealized_loss", {"limit": 100}, {"limit": 200}),
    ("max_unrealized_profit", {"target": 100}, {"target": 200}),
    (
        "max_unrealized_profit",
        {"mode": "breakeven", "arm_at": 100, "floor": 20},
        {"mode": "breakeven", "arm_at": 200, "floor": 10},
    ),
    (
        "max_contracts_per_instrument",
        {"limits": {"ES": 1, "NQ": 3}},
        {"limits": {"ES": 2, "NQ": 3}},
    ),
    ("symbol_blocks", {"blocked": ["NQ", "ES"]}, {"blocked": ["NQ"]}),
    ("no_stop_loss_grace", {"grace": "20s", "rearm_grace": "10s"}, STOP),
    (
        "cooldown_after_loss",
        {"tiers": [{"loss": 50, "cooldown": "10m"}]},
        {"tiers": [{"loss": 100, "cooldown": "5m"}]},
    ),
    (
        "session_block_outside",
        {"sessions": [{**HOURS, "end": "15:00"}]},
        {"sessions": [HOURS]},
    ),
]
NEITHER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # After its hour the tighter one has answered this loss; the looser one would still lock.
    (
        "daily_realized_loss",
        {"limit": 400, "lockout": "1h"},
        {"limit": 500, "lockout": "1h"},
    ),
    # An administrator lifts the lock of the tighter one; the looser one would lock again.
    ("daily_realized_loss", {"limit": 400, "unlock": "admin"}, {"limit": 500, "unlock": "admin"}),
    ("daily_realized_loss", {"limit": 400, "action": "close_all"}, {"limit": 500}),
    ("daily_realized_loss", {"limit": 400}, {"limit": 500, "include_unrealized": True}),
    # Which of two orders may stay is another question with another limit.
    (
        "max_contracts",
        {"limit": 3, "count_working_entries": True},
        {"limit": 5, "count_working_entries": True},
    ),
    ("max_contracts", {"limit": 2, "count": "net"}, {"limit": 5}),
    ("max_contracts", {"limit": 2, "accounts": [101]}, {"limit": 5}),
    ("max_contracts", {"limit": 2, "lockout": "10m"}, {"limit": 5, "lockout": "1h"}),
    ("max_contracts_per_instrument", {"limits": {"ES": 1}}, {"limits": {"ES": 2, "NQ": 3}}),
    (
        "max_contracts_per_instrument",
        {"limits": {"ES": 1, "NQ": 4}},
        {"limits": {"ES": 2, "NQ": 3}},
    ),
    # The row begins anew after the pause of the tighter one.
    ("consecutive_loss_limit", {"losses": 2}, {"losses": 3}),
    ("symbol_blocks", {"blocked": ["NQ"]}, {"blocked": ["ES"]}),
    ("symbol_blocks", {"allow_only": ["NQ"]}, {"blocked": ["ES"]}),
    ("no_stop_loss_grace", {"grace": "20s", "rearm_grace": "20s"}, STOP),
    (
        "cooldown_after_loss",
        {"tiers": [{"loss": 50, "cooldown": "4m"}]},
        {"tiers": [{"loss": 100, "cooldown": "5m"}]},
    ),
    (
        "session_block_outside",
        {"sessions": [{**HOURS, "end": "15:00"}], "lockout": "none", "at_end": "none"},
        {"sessions": [HOURS], "lockout": "none", "at_end": "none"},
    ),
    (
        "session_block_outside",
        {"sessions": [{**HOURS, "start": "08:00", "end": "15:00"}]},
        {"sessions": [HOURS]},
    ),
]


@pytest.mark.parametrize(("name", "tight", "loose"), TIGHTER)
def test_a_tighter_version_makes_the_looser_one_superfluous(
    name: str, tight: dict[str, Any], loose: dict[str, Any]
) -> None:
    one, other = rule(name, **tight), rule(name, **loose)
    assert one.covers(other)
    assert not other.covers(one)
    assert one.covers(one)


@pytest.mark.parametrize(("name", "tight", "loose"), NEITHER)
def test_a_version_that_could_be_the_stricter_one_is_kept(
    name: str, tight: dict[str, Any], loose: dict[str, Any]
) -> None:
    one, other = rule(name, **tight), rule(name, **loose)
    assert not one.covers(other)
    assert not other.covers(one) or name == "symbol_blocks"
    assert one.covers(one)
