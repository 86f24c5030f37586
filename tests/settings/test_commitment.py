"""A loosened limit waits for the reset, a tightened one does not; nobody can hurry it."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from desk import Desk

from risk_manager.domain.rulebook import Mode, Rulebook, older_id
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


# --- live funded accounts -------------------------------------------------------------------------

ON_LIVE = "accounts: {101: {enforce_on_live: true}}\n"


def risk(folder: Folder, limit: int, more: str = "") -> Configuration:
    (folder.path / "risk_config.yaml").write_text(
        f"version: 1\nrules: [{{rule: max_contracts, limit: {limit}}}]\n{more}"
    )
    return folder.read()


def acting(book: Rulebook, *, simulated: bool) -> list[int]:
    own = book.for_account(101)
    rules = (r for r in own.rules if own.enforces(r, simulated=simulated))
    return sorted(r.model_dump()["limit"] for r in rules)


@pytest.mark.parametrize(
    ("old", "new", "on_live", "on_simulated"),
    [
        ((5, ""), (5, ON_LIVE), [5], [5]),  # allowed: counts at once
        ((5, ON_LIVE), (5, ""), [5], [5, 5]),  # taken back: counts from the reset
        ((5, ON_LIVE), (9, ON_LIVE), [5, 9], [5, 9]),
        ((5, ON_LIVE), (2, ""), [5], [2, 5]),
        ((5, ""), (9, ON_LIVE), [9], [5, 9]),
        ((5, ""), (2, ""), [], [2]),
    ],
)
def test_enforcement_on_a_live_account_is_not_ended_before_the_reset(
    folder: Folder,
    old: tuple[int, str],
    new: tuple[int, str],
    on_live: list[int],
    on_simulated: list[int],
) -> None:
    risk(folder, *old)
    before = committed(folder)
    found = risk(folder, *new)
    after = read_again(before, folder, FRIDAY)
    book = after.rulebook(found)
    assert acting(book, simulated=False) == on_live
    assert acting(book, simulated=True) == on_simulated
    monday = read_again(after, folder, MONDAY).rulebook(found)
    assert acting(monday, simulated=False) == ([new[0]] if new[1] else [])


# --- several edits in a day -----------------------------------------------------------------------


def tightest(after: Commitment, found: Configuration) -> int:
    tight: int = min(limit for _, limit in limits(after.rulebook(found)))
    return tight


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


def test_what_was_in_force_elsewhere_today_holds_beside(folder: Folder) -> None:
    """F6.4: Limits that another data folder knows to have been in force bind until the reset."""
    own = committed(folder)
    folder.limit(3)
    theirs = committed(folder)
    found = folder.limit(9)
    for first, second in ((own, theirs), (theirs, own)):
        after = read_again(first.beside(second, FRIDAY), folder, FRIDAY)
        assert tightest(after, found) == 3
        assert len(limits(after.rulebook(found))) == 2
        assert read_again(after, folder, MONDAY) == Commitment(in_force=found.texts)
    assert own.beside(own, FRIDAY) == own


def test_what_ended_elsewhere_binds_nobody(folder: Folder) -> None:
    """F6.4: Of limits edited on an earlier day only those that came into force hold."""
    folder.limit(2)
    theirs = committed(folder)
    folder.limit(7)
    theirs = read_again(theirs, folder, FRIDAY)
    folder.limit(9)
    own = committed(folder)
    after = read_again(own.beside(theirs, MONDAY), folder, MONDAY)
    assert tightest(after, folder.read()) == 7
