"""Edits of every file the guard remembers by, between a stop and a start: none opens anything.

The disk of the morning (limit 900, nothing locked) and that of the evening (limit 100, account 101
locked by its loss, 102 by hand) are made once. Each case lays one out, with parts of the other.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from itertools import combinations, product
from pathlib import Path

import pytest
import pytest_asyncio
from daemon_process import DaemonProcess, lose, still_gateway, until
from stored_rows import audit_tail

from risk_manager.daemon.daemon import Daemon
from risk_manager.domain.locks import Lock, LockPolicy, Release
from risk_manager.feed.client import AdminClient
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.rules.daily_realized_loss import DailyRealizedLoss
from risk_manager.settings.loading import load

pytestmark = pytest.mark.wire

BY_LOSS, BY_HAND = 101, 102
RULES = "version: 1\nrules: [{{rule: daily_realized_loss, limit: {}}}]\n"
TIGHT, LOOSE = 100, 900
KEY = "practice-key-of-the-day"
GARBLED = '{"database_id": "x'


@dataclass(frozen=True, slots=True)
class Case:
    """What is done to each of the things that remember, between the stop and the start."""

    database: str = "kept"
    marker: str = "kept"
    head: str = "kept"
    witness: str = "kept"
    limits_file: str = "kept"
    folder: str = "same"
    limits: str = "unchanged"
    address: str = "same"

    def __str__(self) -> str:
        done = [f"{f.name} {w}" for f in fields(self) if (w := getattr(self, f.name)) != f.default]
        return ", ".join(done) or "nothing"

    @property
    def folder_has_forgotten(self) -> bool:
        """Nothing in the data folder is of the evening, or says that there was one."""
        if self.folder == "empty":
            return True
        if (self.database, self.marker, self.head) == ("deleted",) * 3:
            return True
        if self.marker != "older" or self.head == "kept":
            return False
        if self.database in ("deleted", "garbled"):
            # The marker's seal knows which limits there were: others, or none, are not believed.
            return self.limits_file == "older"
        return self.database == "older"

    @property
    def is_forgotten(self) -> bool:
        """The one evasion that nothing on the same machine can prevent (docs/operations.md).

        An unreadable witness says that there was something, wherever no database says what.
        """
        if self.witness == "garbled":
            return self.folder_has_forgotten and self.database == "older"
        return self.folder_has_forgotten and self.witness in ("older", "deleted")

    @property
    def must_be_told(self) -> bool:
        """The locks are not where they were, or nobody can tell whether they are."""
        if self.folder == "empty":
            return not self.is_forgotten
        is_new = (self.database, self.marker, self.head) == ("deleted",) * 3
        if self.is_forgotten:  # then only a file that is damaged or missed is told
            return not is_new and self.database in ("deleted", "garbled")
        return self.database != "kept" or self.marker in ("deleted", "garbled")


WORDS = {
    "database": ("kept", "older", "deleted", "garbled"),
    "marker": ("kept", "older", "deleted", "garbled"),
    "head": ("kept", "older", "deleted"),
    "witness": ("deleted", "garbled", "older", "kept"),
    "limits_file": ("older", "deleted", "kept"),
    "folder": ("same", "moved"),
    "limits": ("loosened", "unchanged"),
    "address": ("same", "another and back"),
}


def pairs(case: Case) -> set[tuple[str, str, str, str]]:
    """Which two things are done together in it."""
    return {(a, getattr(case, a), b, getattr(case, b)) for a, b in combinations(WORDS, 2)}


def table() -> list[Case]:
    """All that can be done to database, marker and head, and beside it what was not beside yet.

    Once every pair is there, that is what leaves the three alone to tell. Below them the whole
    folder at once: another one, and an older copy.
    """
    files = ("database", "marker", "head")
    rows: list[Case] = []
    seen: set[tuple[str, str, str, str]] = set()
    for three in product(*(WORDS[name] for name in files)):
        others = product(*(words for name, words in WORDS.items() if name not in files))
        case = max((Case(*three, *more) for more in others), key=lambda c: len(pairs(c) - seen))
        rows.append(case)
        seen |= pairs(case)
    older = Case("older", "older", "older", limits_file="older", limits="loosened")
    for witness in WORDS["witness"]:
        rows.append(Case(folder="empty", witness=witness, limits="loosened"))
        rows.append(replace(older, witness=witness))
    return list(dict.fromkeys(rows))


def test_every_two_edits_are_made_together() -> None:
    """F6.3, F6.4: The table has some fifty cases, and every pair of edits is in one."""
    rows = table()
    assert len(rows) >= 50
    done = set().union(*map(pairs, rows))
    every = {
        (a, one, b, other)
        for a, b in combinations(WORDS, 2)
        for one, other in product(WORDS[a], WORDS[b])
    }
    assert every <= done


@dataclass(frozen=True, slots=True)
class Evening:
    """The disk at the end of the day, beside that of the morning, and whom the daemon asks."""

    disk: Path
    locks: dict[int, frozenset[Lock]]
    gateway: PracticeGateway
    own: PracticeGateway
    """One of the trader's own, at another address."""


@contextlib.asynccontextmanager
async def guarding(where: DaemonProcess, said: list[str]) -> AsyncIterator[Daemon]:
    """A daemon in this process, once it has opened the accounts."""
    daemon = Daemon(load(where.config), where.data, console=False, announce=said.append)
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))
    try:
        await until(lambda: daemon.is_open or running.done(), "the accounts are open")
        yield daemon
    finally:
        stop.set()
        await running


def desk_in(folder: Path, gateway: PracticeGateway) -> DaemonProcess:
    listed = f"accounts: [{{id: {BY_LOSS}}}, {{id: {BY_HAND}}}]"
    return DaemonProcess(folder, accounts=listed).point_at(gateway)


def locks_of(daemon: Daemon, account_id: int) -> frozenset[Lock]:
    """Those that lock the account itself, flat."""
    locks = daemon.state.accounts[account_id].locks.values()
    return frozenset(k for k in locks if k.policy is LockPolicy.FLAT and k.scope == "account")


def is_locked_for_the_day(daemon: Daemon, account_id: int) -> bool:
    """As where nobody can tell which locks there were."""
    return any(
        lock.rule_id == "lost_database" and lock.release is Release.RESET
        for lock in locks_of(daemon, account_id)
    )


def strictest_limit(daemon: Daemon, account_id: int) -> Decimal:
    rules = daemon.state.rulebook.for_account(account_id).rules
    return min(r.limit for r in rules if isinstance(r, DailyRealizedLoss) and not r.shadow)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def evening(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Evening]:
    disk = tmp_path_factory.mktemp("day")
    with pytest.MonkeyPatch.context() as patch:
        async with (
            still_gateway(rate_limit=None, api_key=KEY) as gateway,
            still_gateway(rate_limit=None, api_key=KEY) as own,
        ):
            patch.setenv("PROJECT_X_USERNAME", gateway.username)
            patch.setenv("PROJECT_X_API_KEY", KEY)
            patch.setenv("XDG_STATE_HOME", str(disk / "user_state"))
            where = desk_in(disk, gateway)
            where.write_rules(RULES.format(LOOSE))
            async with guarding(where, []) as daemon:
                await until(daemon.running.is_set, "RUNNING")
            for part in ("data", "user_state"):
                shutil.copytree(disk / part, disk / f"{part}.morning")
            where.write_rules(RULES.format(TIGHT))
            async with guarding(where, []) as daemon:
                await until(daemon.running.is_set, "RUNNING")
                lose(gateway.exchange, "MNQ", 3, 100)
                await until(lambda: locks_of(daemon, BY_LOSS), "locked by the loss")
                async with AdminClient.connect(where.data) as admin:
                    await admin.call("set_lockout", {"account_id": BY_HAND, "reason": "calm"})
                locks = {i: locks_of(daemon, i) for i in (BY_LOSS, BY_HAND)}
                assert all(locks.values())
            yield Evening(disk, locks, gateway, own)


def lay_out(case: Case, evening: Evening, folder: Path) -> DaemonProcess:
    """The disk of the evening in this folder, edited as the case says."""
    disk = evening.disk
    where = desk_in(folder, evening.gateway)
    where.write_rules(RULES.format(LOOSE if case.limits == "loosened" else TIGHT))
    if case.folder == "moved":
        where.data = folder / "moved"
    if case.folder != "empty":
        shutil.copytree(disk / "data", where.data)
        named = ("database", "state.db"), ("marker", "state.marker"), ("head", "audit.head")
        for name, file in (*named, ("limits_file", "limits.json")):
            edit(where.data / file, getattr(case, name), disk / "data.morning" / file)
    shutil.copytree(disk / "user_state", folder / "user_state")
    for witness in (folder / "user_state").rglob("*.json"):
        of_the_morning = disk / "user_state.morning" / witness.relative_to(folder / "user_state")
        edit(witness, case.witness, of_the_morning)
    return where


def edit(file: Path, how: str, of_the_morning: Path) -> None:
    match how:
        case "older":
            shutil.copy(of_the_morning, file)
        case "deleted":
            file.unlink()
        case "garbled":
            file.write_text(GARBLED)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", table(), ids=str)
async def test_whatever_is_done_to_the_files_no_lock_and_no_limit_is_lost(
    case: Case, evening: Evening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F6.3, F6.4: Both accounts stay locked, the limit stays, and what was lost is told."""
    where = lay_out(case, evening, tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user_state"))
    said: list[str] = []
    if case.address != "same":
        ask(where, evening.own)
        async with guarding(where, said):
            pass
        ask(where, evening.gateway)
    async with guarding(where, said) as daemon:
        told = [line for line in said if line.startswith("warning: ") and "guards at" not in line]
        told += [
            r.action
            for r in await audit_tail(daemon.parts.store, 99)
            if r.action == "lock.put_back"
        ]
        assert bool(told) is case.must_be_told, told
        if case.is_forgotten:
            assert not locks_of(daemon, BY_HAND)
            if case.limits == "unchanged":
                await until(lambda: locks_of(daemon, BY_LOSS), "the broker's trades tell of it")
            if case.database == "older":  # as if nobody had guarded since the morning
                await until(daemon.running.is_set, "RUNNING")
                gaps = [
                    r for r in await audit_tail(daemon.parts.store, 99) if r.action == "was_down"
                ]
                [gap] = [r.new for r in gaps if r.target == f"account:{BY_LOSS}"]
                assert gap is not None
                assert gap["executions"] == 2  # the loss of the evening
            return
        for account_id in (BY_LOSS, BY_HAND):
            known = evening.locks[account_id] <= locks_of(daemon, account_id)
            for_the_day = is_locked_for_the_day(daemon, account_id)
            assert known or for_the_day, account_id
            assert strictest_limit(daemon, account_id) == TIGHT or for_the_day


def ask(where: DaemonProcess, gateway: PracticeGateway) -> None:
    """Another address in settings.yaml; the rules stay as they are."""
    rules = (where.config / "risk_config.yaml").read_text("utf-8")
    where.point_at(gateway).write_rules(rules)
