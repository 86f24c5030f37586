"""The admin password: right once is in, wrong often is slow, and no file edit opens the door."""

import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest
from feed_daemon import FeedDaemon
from stored_desk import StoppedClock, at, tamper

from risk_manager.admin.password import (
    HASH_FILE,
    AdminPassword,
    fits,
    hashed,
    problem_with,
    read_hash,
    write_hash,
)
from risk_manager.admin.verbs import WITHOUT_PASSWORD, AdminDesk
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State
from risk_manager.feed.admin import AdminChannel, AdminError
from risk_manager.feed.client import AdminClient, AdminRefused

SECRET = "correct horse battery"
FRIDAY = date(2026, 11, 20)


@asynccontextmanager
async def loaded(
    folder: Path, clock: StoppedClock, today: date = FRIDAY
) -> AsyncIterator[AdminPassword]:
    """The password as a daemon just started has it."""
    async with at(folder, clock=clock) as store:
        password = AdminPassword(store, folder, clock, lambda: today)
        await password.load()
        yield password


async def refusal(password: AdminPassword, tried: object) -> str:
    with pytest.raises(AdminError) as refused:
        await password.log_in(tried)
    return refused.value.code


async def test_without_a_password_nobody_is_asked(tmp_path: Path) -> None:
    async with loaded(tmp_path, StoppedClock()) as password:
        assert not password.is_set
        await password.log_in(None)


async def test_the_first_password_is_set_and_only_it_opens(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with loaded(tmp_path, clock) as password:
        await password.change(None, SECRET)
        await password.log_in(SECRET)
        assert await refusal(password, "not it, not at all") == "wrong_password"
        assert await refusal(password, 12) == "wrong_password"
    kept = read_hash(tmp_path / HASH_FILE)
    assert kept is not None
    assert kept.startswith("$argon2id$")
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / HASH_FILE).stat().st_mode) == 0o600


async def test_each_further_failure_costs_more_and_a_restart_forgives_none(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with loaded(tmp_path, clock) as password:
        await password.change(None, SECRET)
        for _ in range(3):
            assert await refusal(password, "wrong") == "wrong_password"
        assert await refusal(password, SECRET) == "too_many_tries"
    async with loaded(tmp_path, clock) as password:
        assert await refusal(password, SECRET) == "too_many_tries"
        clock.advance(seconds=1)
        assert await refusal(password, "wrong") == "wrong_password"
        clock.advance(seconds=1)
        assert await refusal(password, SECRET) == "too_many_tries"
        clock.advance(seconds=1)
        await password.log_in(SECRET)
        await password.log_in(SECRET)


async def test_the_wait_ends_at_a_quarter_of_an_hour(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with loaded(tmp_path, clock) as password:
        await password.change(None, SECRET)
        for _ in range(15):
            assert await refusal(password, "wrong") == "wrong_password"
            clock.advance(minutes=15)
        await password.log_in(SECRET)


async def test_another_password_needs_the_old_one(tmp_path: Path) -> None:
    async with loaded(tmp_path, StoppedClock()) as password:
        await password.change(None, SECRET)
        with pytest.raises(AdminError):
            await password.change("a guess of mine", "something quite new")
        await password.change(SECRET, "something quite new")
        await password.log_in("something quite new")


@pytest.mark.parametrize("removed", [True, False])
async def test_a_file_changed_while_the_daemon_is_stopped_counts_only_after_a_reset(
    tmp_path: Path, removed: bool
) -> None:
    clock, path = StoppedClock(), tmp_path / HASH_FILE
    async with loaded(tmp_path, clock) as password:
        await password.change(None, SECRET)
    if removed:
        path.unlink()
    else:
        write_hash(path, hashed("put there in anger"))
    for _ in range(2):
        async with loaded(tmp_path, clock) as password:
            await password.log_in(SECRET)
    async with loaded(tmp_path, clock, FRIDAY + timedelta(days=3)) as password:
        if removed:
            assert not password.is_set
        else:
            await password.log_in("put there in anger")


async def test_a_hash_nobody_can_read_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / HASH_FILE).write_text("no hash at all", encoding="ascii")
    async with loaded(tmp_path, StoppedClock()) as password:
        assert password.is_set
        assert await refusal(password, "no hash at all") == "wrong_password"


@pytest.mark.parametrize("bad", ["short", "x" * 11, "ü" * 513])
def test_what_may_not_be_a_password(bad: str) -> None:
    assert problem_with(bad)


def test_long_and_accented_passwords_are_fine() -> None:
    for good in ("x" * 12, "ü" * 200):
        assert problem_with(good) is None
        assert fits(good, hashed(good))


async def test_what_tightens_needs_no_password_and_what_loosens_does(tmp_path: Path) -> None:
    clock = StoppedClock()
    async with loaded(tmp_path, clock) as password:
        await password.change(None, SECRET)

        async def taken(*_: AnyEvent) -> None:
            return None

        desk = AdminDesk(taken, lambda: State.at(clock.now(), Rulebook()), clock, password=password)
        channel = AdminChannel(
            desk.handle, login_required=lambda: password.is_set, open_methods=WITHOUT_PASSWORD
        )
        async with (
            FeedDaemon(tmp_path, admin=channel),
            AdminClient.connect(tmp_path) as admin,
        ):

            async def ask(method: str, **params: object) -> str:
                try:
                    await admin.call(method, params)
                except AdminRefused as refused:
                    return refused.code
                return "ok"

            assert await ask("status") == "ok"
            assert await ask("close_all", account_id="all", reason="panic") == "ok"
            for loosening in ("clear_lockout", "reload_config", "shutdown"):
                assert await ask(loosening) == "login_required"
            assert await ask("login", password="a guess of mine") == "wrong_password"
            assert await ask("shutdown") == "login_required"
            assert await ask("login", password=SECRET) == "ok"
            assert await ask("shutdown") == "ok"


# --- the database edited while the daemon is stopped ----------------------------------------------

NEW = "another horse battery"


async def with_a_password(folder: Path, clock: StoppedClock) -> None:
    async with loaded(folder, clock) as password:
        await password.change(None, SECRET)


async def test_a_hash_written_into_the_database_opens_nothing(tmp_path: Path) -> None:
    clock = StoppedClock()
    await with_a_password(tmp_path, clock)
    tamper(tmp_path, "UPDATE meta SET value = ? WHERE key = 'note:admin_hash'", hashed(NEW))
    async with loaded(tmp_path, clock) as password:
        assert await refusal(password, NEW) == "wrong_password"
        await password.log_in(SECRET)  # the file is as it was


@pytest.mark.parametrize("edit", ["UPDATE meta SET value = ?", "DELETE FROM meta"])
async def test_with_the_file_replaced_as_well_nobody_gets_in_before_the_reset(
    tmp_path: Path, edit: str
) -> None:
    clock = StoppedClock()
    await with_a_password(tmp_path, clock)
    fresh = hashed(NEW)
    words = (fresh,) if "?" in edit else ()
    tamper(tmp_path, f"{edit} WHERE key = 'note:admin_hash'", *words)
    write_hash(tmp_path / HASH_FILE, fresh)
    for _ in range(2):  # a second start does not forget
        async with loaded(tmp_path, clock) as password:
            assert password.is_set
            for tried in (NEW, SECRET):
                assert await refusal(password, tried) == "wrong_password"
                clock.advance(minutes=1)
    async with at(tmp_path, clock=clock) as store:
        await store.recovery.reconciled()
    async with loaded(tmp_path, clock, FRIDAY + timedelta(days=3)) as password:
        await password.log_in(NEW)


async def test_a_waiting_hash_written_into_the_database_does_not_count(tmp_path: Path) -> None:
    clock = StoppedClock()
    await with_a_password(tmp_path, clock)
    fresh = hashed(NEW)
    waiting = json.dumps({"hash": fresh, "since": str(FRIDAY - timedelta(days=1))})
    tamper(tmp_path, "INSERT OR REPLACE INTO meta VALUES ('note:admin_hash_waiting', ?)", waiting)
    write_hash(tmp_path / HASH_FILE, fresh)
    async with loaded(tmp_path, clock) as password:
        assert await refusal(password, NEW) == "wrong_password"
        await password.log_in(SECRET)
