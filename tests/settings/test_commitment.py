"""A loosened limit waits for the reset, a tightened one does not; nobody can hurry it."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from desk import Desk

from risk_manager.domain.rulebook import Mode, Rulebook
from risk_manager.settings.commitment import Commitment, combined
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.loading import load

FRIDAY, MONDAY, TUESDAY = date(2026, 11, 20), date(2026, 11, 23), date(2026, 11, 24)


class Folder:
    """A configuration folder that is edited in the course of a test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "settings.yaml").write_text("")
        (path / "accounts.yaml").write_text("accounts: [{id: 101}]")
        self.limit(5)

    def limit(self, contracts: int, more: str = "") -> Configuration:
        (self.path / "risk_config.yaml").write_text(
            f"version: 1\nrules:\n  - {{rule: max_contracts, limit: {contracts}{more}}}\n"
        )
        return self.read()

    def read(self) -> Configuration:
        return load(self.path, env={})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def limits(book: Rulebook) -> list[tuple[str, int]]:
    rules = book.for_account(101).rules
    return sorted((r.id, r.model_dump()["limit"]) for r in rules)


def committed(folder: Folder) -> Commitment:
    return Commitment(in_force=folder.read().texts)


def read_again(before: Commitment, folder: Folder, today: date) -> Commitment:
    """As a restart does: through the text in the database."""
    kept = Commitment.read(before.text())
    return kept.after_reading(folder.read(), today)


def test_unchanged_files_change_nothing(folder: Folder) -> None:
    after = read_again(committed(folder), folder, FRIDAY)
    assert after.waiting is None
    assert limits(after.rulebook(folder.read())) == [("max_contracts", 5)]


def test_a_looser_limit_waits_until_the_next_trading_date(folder: Folder) -> None:
    before = committed(folder)
    found = folder.limit(50)
    after = read_again(before, folder, FRIDAY)
    assert ("max_contracts (until the reset)", 5) in limits(after.rulebook(found))
    assert after.kept_today(found) == ("max_contracts",)
    again = read_again(after, folder, FRIDAY)  # a restart changes nothing
    assert again.since == FRIDAY
    assert len(limits(again.rulebook(found))) == 2
    monday = read_again(again, folder, MONDAY)
    assert monday.waiting is None
    assert limits(monday.rulebook(found)) == [("max_contracts", 50)]


def test_the_hour_to_be_flat_cannot_be_taken_back_before_the_reset(folder: Folder) -> None:
    path = folder.path / "risk_config.yaml"
    free = path.read_text()
    path.write_text(free + 'trading_day: {flat_by: "16:10"}\n')
    before = committed(folder)
    path.write_text(free)
    found = folder.read()
    after = read_again(before, folder, FRIDAY)
    assert after.kept_today(found) == ("flat_by",)
    in_force = after.rulebook(found).for_account(101).rules
    assert "flat_by (until the reset)" in {rule.id for rule in in_force}
    monday = read_again(after, folder, MONDAY)
    assert {r.id for r in monday.rulebook(found).for_account(101).rules} == {"max_contracts"}


def test_editing_once_more_begins_the_waiting_anew(folder: Folder) -> None:
    after = committed(folder)
    folder.limit(50)
    after = read_again(after, folder, FRIDAY)
    folder.limit(60)
    after = read_again(after, folder, FRIDAY)
    assert (after.since, limits(after.rulebook(folder.read()))[1][1]) == (FRIDAY, 5)
    folder.limit(70)  # on Monday 60 is in force, and 70 waits
    after = read_again(after, folder, MONDAY)
    assert after.since == MONDAY
    assert [limit for _, limit in limits(after.rulebook(folder.read()))] == [70, 60]
    after = read_again(after, folder, TUESDAY)
    assert limits(after.rulebook(folder.read())) == [("max_contracts", 70)]


def test_moving_the_reset_does_not_bring_it_nearer(folder: Folder) -> None:
    """Which day it is follows from the reset in force, not from the one just written."""
    before = committed(folder)
    path = folder.path / "risk_config.yaml"
    path.write_text('trading_day: {reset: "09:00"}\n' + path.read_text().replace("5", "50"))
    found = folder.read()
    at_ten = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)  # in New York
    assert found.rulebook().day.date_of(at_ten) != FRIDAY
    assert before.trading_date(at_ten) == FRIDAY
    after = before.after_reading(found, before.trading_date(at_ten))
    assert after.trading_date(at_ten) == FRIDAY == after.since


def test_taking_it_back_ends_the_waiting(folder: Folder) -> None:
    before = committed(folder)
    folder.limit(50)
    after = read_again(before, folder, FRIDAY)
    folder.limit(5)
    after = read_again(after, folder, FRIDAY)
    assert after.waiting is None
    assert limits(after.rulebook(folder.read())) == [("max_contracts", 5)]


def test_comments_are_no_change(folder: Folder) -> None:
    before = committed(folder)
    path = folder.path / "risk_config.yaml"
    path.write_text("# calm words\n" + path.read_text())
    assert read_again(before, folder, FRIDAY).waiting is None


@pytest.mark.parametrize("edit", ["rules: []", "enabled: false", "shadow", "account"])
def test_no_edit_takes_a_limit_away_today(folder: Folder, edit: str) -> None:
    before = committed(folder)
    if edit == "rules: []":
        (folder.path / "risk_config.yaml").write_text("version: 1\nrules: []\n")
    elif edit == "account":
        (folder.path / "accounts.yaml").write_text(
            "accounts: [{id: 101, enabled: false}, {id: 102}]"
        )
    elif edit == "shadow":
        (folder.path / "risk_config.yaml").write_text(
            "version: 1\ndefaults: {mode: shadow}\nrules: [{rule: max_contracts, limit: 5}]\n"
        )
    else:
        folder.limit(5, ", enabled: false")
    book = read_again(before, folder, FRIDAY).rulebook(folder.read())
    acting = [r for r in book.for_account(101).rules if not r.shadow]
    assert [r.model_dump()["limit"] for r in acting] == [5]
    assert book.for_account(101).mode is Mode.ENFORCE


async def test_both_hold_today_and_a_tightening_works_at_once(folder: Folder) -> None:
    old = folder.read().rulebook()
    for new_limit, expected in ((2, "reduce MNQ to 2"), (50, "reduce MNQ to 5")):
        new = folder.limit(new_limit).rulebook()
        d = Desk()
        await d.happens_under(combined(old, new))
        await d.position("MNQ", 6)
        assert d.actions == [expected]


def test_shadow_limits_bind_nobody(folder: Folder) -> None:
    (folder.path / "risk_config.yaml").write_text(
        "version: 1\ndefaults: {mode: shadow}\nrules: [{rule: max_contracts, limit: 1}]\n"
    )
    before = committed(folder)
    found = folder.limit(5)
    book = read_again(before, folder, FRIDAY).rulebook(found)
    assert limits(book) == [("max_contracts", 5)]
