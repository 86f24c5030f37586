"""The second passphrase: kept like the admin password, and harder to be rid of."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest
from stored_desk import StoppedClock, at, rows, tamper

from risk_manager.admin.password import AdminPassword, hashed, read_hash, write_hash
from risk_manager.admin.second_passphrase import SECOND_FILE, SecondPassphrase
from risk_manager.feed.admin import AdminError

SECRET, NEW = "the passphrase of a friend", "another one of the friend"
FRIDAY = date(2026, 11, 20)
MONDAY = FRIDAY + timedelta(days=3)
ABOUT = {"reason": "the stop was a slip"}


@dataclass
class Calendar:
    """The trading date, which a test moves."""

    today: date | None = FRIDAY


@asynccontextmanager
async def loaded(
    folder: Path, clock: StoppedClock, calendar: Calendar | None = None
) -> AsyncIterator[SecondPassphrase]:
    """The passphrase as a daemon just started has it."""
    days = calendar or Calendar()
    async with at(folder, clock=clock) as store:
        second = SecondPassphrase(store, folder, clock, lambda: days.today)
        await second.load()
        yield second


async def refusal(second: SecondPassphrase, given: object) -> str:
    with pytest.raises(AdminError) as refused:
        await second.confirm(given, "account:101", ABOUT)
    return refused.value.code


async def confirmed(second: SecondPassphrase, given: object) -> None:
    await second.confirm(given, "account:101", ABOUT)


async def set_in(folder: Path, clock: StoppedClock) -> None:
    async with loaded(folder, clock) as second:
        await second.change(None, SECRET)


def told(folder: Path, action: str) -> list[tuple[str, str, dict[str, str] | None, int]]:
    """The audit rows of an action: who, of what, with what, and whether it was right."""
    found = rows(
        folder, "SELECT actor, target, new, ok FROM audit WHERE action = ? ORDER BY id", action
    )
    return [(a, t, json.loads(new) if new else None, ok) for a, t, new, ok in found]


async def test_without_one_nothing_is_asked(tmp_path: Path) -> None:
    """Also a database of an older version, which knows no such passphrase."""
    async with loaded(tmp_path, StoppedClock()) as second:
        assert not second.is_set
        await confirmed(second, None)


async def test_once_set_it_counts_at_once_and_over_a_restart(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with loaded(tmp_path, clock) as second:
        await second.change(None, SECRET)
        assert await refusal(second, None) == "second_missing"
        await confirmed(second, SECRET)
    async with loaded(tmp_path, clock) as second:
        assert second.is_set
        assert await refusal(second, NEW) == "wrong_second"
        await confirmed(second, SECRET)
    assert told(tmp_path, "second_passphrase.given") == [
        ("second", "account:101", ABOUT, 1),
        ("second", "account:101", ABOUT, 0),
        ("second", "account:101", ABOUT, 1),
    ]


async def test_its_failures_are_counted_apart_from_those_of_the_password(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with at(tmp_path, clock=clock) as store:
        password = AdminPassword(store, tmp_path, clock, lambda: FRIDAY)
        second = SecondPassphrase(store, tmp_path, clock, lambda: FRIDAY)
        await password.change(None, "correct horse battery")
        await second.change(None, SECRET)
        for _ in range(3):
            assert await refusal(second, "wrong") == "wrong_second"
        assert await refusal(second, SECRET) == "too_many_second_tries"
        await password.log_in("correct horse battery")
    async with loaded(tmp_path, clock) as again:
        assert await refusal(again, SECRET) == "too_many_second_tries"
        clock.advance(seconds=1)
        await confirmed(again, SECRET)


async def test_another_one_needs_the_one_in_force(tmp_path: Path) -> None:
    async with loaded(tmp_path, StoppedClock()) as second:
        await second.change(None, SECRET)
        for guess, code in ((None, "second_missing"), (NEW, "wrong_second")):
            with pytest.raises(AdminError) as refused:
                await second.change(guess, NEW)
            assert refused.value.code == code
        await second.change(SECRET, NEW)
        await confirmed(second, NEW)


async def test_a_removal_needs_it_and_counts_from_the_next_reset(tmp_path: Path) -> None:
    clock, calendar = StoppedClock(), Calendar()
    async with loaded(tmp_path, clock, calendar) as second:
        await second.change(None, SECRET)
        for guess in (None, NEW):
            with pytest.raises(AdminError):
                await second.remove(guess)
        assert await second.remove(SECRET) == FRIDAY
        assert await second.remove(SECRET) == FRIDAY  # once more changes nothing
        assert await refusal(second, None) == "second_missing"
    async with loaded(tmp_path, clock, calendar) as second:
        assert await refusal(second, None) == "second_missing"
        calendar.today = MONDAY
        assert not second.is_set  # without a restart
        await confirmed(second, None)
    assert read_hash(tmp_path / SECOND_FILE) is None
    async with loaded(tmp_path, clock) as second:
        assert not second.is_set
    assert len(told(tmp_path, "second_passphrase.removal_waits")) == 1
    assert len(told(tmp_path, "second_passphrase.removed")) == 1


async def test_a_removal_that_came_due_while_stopped_is_carried_out_at_the_start(
    tmp_path: Path,
) -> None:
    clock, calendar = StoppedClock(), Calendar()
    async with loaded(tmp_path, clock, calendar) as second:
        await second.change(None, SECRET)
        await second.remove(SECRET)
    calendar.today = MONDAY
    async with loaded(tmp_path, clock, calendar) as second:
        assert not second.is_set
    assert read_hash(tmp_path / SECOND_FILE) is None


async def test_without_a_trading_date_nothing_is_removed(tmp_path: Path) -> None:
    calendar = Calendar()
    async with loaded(tmp_path, StoppedClock(), calendar) as second:
        await second.change(None, SECRET)
        await second.remove(SECRET)
        calendar.today = None
        assert second.is_set
        with pytest.raises(AdminError) as refused:
            await second.remove(SECRET)
        assert refused.value.code == "starting"


async def test_setting_it_drops_a_removal_that_waits(tmp_path: Path) -> None:
    clock, calendar = StoppedClock(), Calendar()
    async with loaded(tmp_path, clock, calendar) as second:
        await second.change(None, SECRET)
        await second.remove(SECRET)
        await second.change(SECRET, NEW)
    calendar.today = MONDAY
    async with loaded(tmp_path, clock, calendar) as second:
        await confirmed(second, NEW)
        assert await refusal(second, None) == "second_missing"


async def test_nothing_can_be_removed_where_none_is_set(tmp_path: Path) -> None:
    async with loaded(tmp_path, StoppedClock()) as second:
        with pytest.raises(AdminError) as refused:
            await second.remove(SECRET)
        assert refused.value.code == "no_second"


# --- edited while the daemon is stopped -----------------------------------------------------------


@pytest.mark.parametrize("removed", [True, False])
async def test_a_changed_file_never_counts_and_is_written_anew(
    tmp_path: Path, removed: bool
) -> None:
    clock, calendar, path = StoppedClock(), Calendar(), tmp_path / SECOND_FILE
    await set_in(tmp_path, clock)
    if removed:
        path.unlink()
    else:
        write_hash(path, hashed(NEW))
    async with loaded(tmp_path, clock, calendar) as second:
        await confirmed(second, SECRET)
    calendar.today = MONDAY
    async with loaded(tmp_path, clock, calendar) as second:
        assert await refusal(second, NEW) == "wrong_second"
        await confirmed(second, SECRET)
    assert read_hash(path) is not None
    assert [ok for *_, ok in told(tmp_path, "second_passphrase.file_restored")] == [0]


DELETED = "DELETE FROM meta WHERE key = 'note:second_hash'"


@pytest.mark.parametrize(
    "edit", [DELETED, "UPDATE meta SET value = '' WHERE key = 'note:second_hash'"]
)
async def test_a_row_deleted_or_emptied_does_not_help(tmp_path: Path, edit: str) -> None:
    clock = StoppedClock()
    await set_in(tmp_path, clock)
    tamper(tmp_path, edit)
    for _ in range(2):
        async with loaded(tmp_path, clock) as second:
            assert await refusal(second, None) == "second_missing"
            await confirmed(second, SECRET)
    assert [ok for *_, ok in told(tmp_path, "second_passphrase.edited")] == [0]


async def test_with_the_file_gone_as_well_nobody_confirms_before_the_reset(tmp_path: Path) -> None:
    clock, calendar = StoppedClock(), Calendar()
    await set_in(tmp_path, clock)
    tamper(tmp_path, DELETED)
    (tmp_path / SECOND_FILE).unlink()
    for _ in range(2):
        async with loaded(tmp_path, clock, calendar) as second:
            assert await refusal(second, None) == "second_missing"
            assert await refusal(second, SECRET) == "wrong_second"
            clock.advance(minutes=1)
    async with at(tmp_path, clock=clock) as store:
        await store.recovery.reconciled()
    calendar.today = MONDAY
    async with loaded(tmp_path, clock, calendar) as second:
        assert not second.is_set


async def test_a_removal_written_into_the_database_does_not_count(tmp_path: Path) -> None:
    clock, calendar = StoppedClock(), Calendar(MONDAY)
    await set_in(tmp_path, clock)
    forged = "INSERT OR REPLACE INTO meta VALUES ('note:second_removal', ?)"
    tamper(tmp_path, forged, FRIDAY.isoformat())
    async with loaded(tmp_path, clock, calendar) as second:
        assert await refusal(second, None) == "second_missing"
    async with at(tmp_path, clock=clock) as store:
        await store.recovery.reconciled()
    async with loaded(tmp_path, clock, calendar) as second:  # the new seal does not cover it
        assert await refusal(second, None) == "second_missing"
        await confirmed(second, SECRET)
