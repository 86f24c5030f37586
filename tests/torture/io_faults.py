"""What a disk and a desperate hand do to the database, at the start and while the daemon runs."""

import asyncio
import json
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from daemon_process import ACCOUNT
from torture.lives import RULES, Doomed, Folder, Nursery, Watch, recover, scratch, seen, until

from risk_manager.feed.client import AdminClient, FeedUnreachable, read_once
from risk_manager.store.schema import StoreError
from risk_manager.store.store import verify_audit

LOUD_WITHIN_S = 15.0


@dataclass(slots=True)
class Suffered:
    """What one fault came to. `flat_s`: from the breach (or the start) to flat."""

    fault: str
    flat_s: float | None = None
    loud: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def all_problems(self) -> list[str]:
        return [f"{self.fault}: {p}" for p in self.problems]


# --- found at the start ---------------------------------------------------------------------------


def _delete(data: Path) -> None:
    for part in data.glob("state.db*"):
        part.unlink()


def _delete_the_database_alone(data: Path) -> None:
    (data / "state.db").unlink()


def _delete_the_log(data: Path) -> None:
    (data / "state.db-wal").unlink()


def _empty(data: Path) -> None:
    (data / "state.db").write_bytes(b"")


def _fold(data: Path) -> None:
    """Everything into the one file, as after a clean stop."""
    with closing(sqlite3.connect(data / "state.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _overwrite(data: Path) -> None:
    _fold(data)
    (data / "state.db").write_bytes(b"This is not a database. " * 4000)


def _cut(data: Path) -> None:
    _fold(data)
    with (data / "state.db").open("r+b") as file:
        file.truncate((data / "state.db").stat().st_size // 3)


def _flip(seed: int) -> Callable[[Path], None]:
    def flip(data: Path) -> None:
        _fold(data)
        rng = random.Random(seed)
        content = bytearray((data / "state.db").read_bytes())
        for _ in range(64):
            content[rng.randrange(100, len(content))] ^= 1 << rng.randrange(8)
        (data / "state.db").write_bytes(content)

    return flip


def _older_copy(data: Path) -> None:
    shutil.copy(data.parent / "older.db", data / "state.db")
    for part in ("state.db-wal", "state.db-shm"):
        (data / part).unlink(missing_ok=True)


def _tamper(sql: str) -> Callable[[Path], None]:
    def tamper(data: Path) -> None:
        with closing(sqlite3.connect(data / "state.db")) as connection:
            connection.executescript(sql)
            connection.commit()

    return tamper


def _no_marker(data: Path) -> None:
    _delete(data)
    for part in ("state.marker", "audit.head"):
        (data / part).unlink()


def _replay_an_older_state(data: Path) -> None:
    """Yesterday's rows with yesterday's seal, under today's record."""
    with closing(sqlite3.connect(data / "state.db")) as connection:
        connection.execute("ATTACH ? AS older", (str(data.parent / "older.db"),))
        for table in ("lockouts", "timers", "trades", "accounts", "meta", "seal"):
            connection.execute(f"DELETE FROM main.{table}")  # noqa: S608 - our own words
            columns = ", ".join(
                row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")
            )
            connection.execute(
                f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM older.{table}"  # noqa: S608
            )
        connection.commit()


RULES_WITH_A_PAUSE = (
    RULES
    + """
  - rule: cooldown_after_loss
    tiers: [{loss: 100, cooldown: 45m}]
"""
)
FORGOTTEN = "deleted with its marker"
"""Nothing is left that could tell of a lock: what follows from the broker's trades is locked."""

EDITS_THE_RECORD = {"the locks and their record deleted", "the record edited by hand"}

AT_START: dict[str, Callable[[Path], None]] = {
    "deleted": _delete,
    "deleted, but for its log": _delete_the_database_alone,
    "its log deleted": _delete_the_log,
    "emptied": _empty,
    "overwritten": _overwrite,
    "cut short": _cut,
    "bytes flipped": _flip(1),
    "an older copy put back": _older_copy,
    "a lock nobody can read": _tamper("UPDATE lockouts SET policy = 'whatever'"),
    "the lock cleared by hand": _tamper("UPDATE lockouts SET cleared_at = 1, cleared_by = 'me'"),
    "the lock deleted by hand": _tamper("DELETE FROM lockouts"),
    "the pause deleted by hand": _tamper("DELETE FROM lockouts WHERE kind = 'cooldown'"),
    "the manual lock cleared by hand": _tamper(
        "UPDATE lockouts SET cleared_at = 1, cleared_by = 'me' WHERE rule_id = 'manual'"
    ),
    "the locks ended earlier": _tamper("UPDATE lockouts SET until = set_at + 1"),
    "the locks made laxer": _tamper("UPDATE lockouts SET policy = 'no_entries'"),
    "the locks moved to another product": _tamper("UPDATE lockouts SET scope = 'root:ZB' || id"),
    "the locks released by time": _tamper("UPDATE lockouts SET release = 'time', until = 1"),
    "the locks and their record deleted": _tamper(
        "DELETE FROM lockouts; DELETE FROM audit WHERE action LIKE 'lock.%'"
    ),
    "the locks and the seal deleted": _tamper("DELETE FROM lockouts; DELETE FROM seal"),
    "the account deleted by hand": _tamper("DELETE FROM accounts; DELETE FROM reset_state"),
    "the losses voided by hand": _tamper("UPDATE trades SET voided = 1; DELETE FROM lockouts"),
    "a gain invented by hand": _tamper(
        "INSERT INTO trades SELECT 999999, account_id, contract_id, order_id, side, size, price,"
        " '9000', fees, commissions, 0, executed_at, received_at, trading_day, part"
        " FROM trades LIMIT 1"
    ),
    "what rules remember deleted by hand": _tamper("DELETE FROM timers"),
    "the limits edited by hand": _tamper(
        "UPDATE meta SET value = replace(value, 'limit: 500', 'limit: 5000')"
        " WHERE key = 'note:limits'"
    ),
    "the record edited by hand": _tamper("UPDATE audit SET actor = 'nobody' WHERE id > 5"),
    "an older state copied in": _replay_an_older_state,
    FORGOTTEN: _no_marker,
}


@dataclass(slots=True)
class Template:
    """The folder of a daemon that was killed with a lock in force, to copy from."""

    folder: Folder
    watch: Watch
    nursery: Nursery
    locks: dict[tuple[str, str], tuple[str, str, int | None]]


@asynccontextmanager
async def locked_and_killed(path: Path, nursery: Nursery) -> AsyncIterator[Template]:
    async with Watch.open() as watch:
        folder = Folder(path, watch, RULES_WITH_A_PAUSE)
        child = await nursery.born(folder, watch)
        try:
            await until(lambda: child.is_running, "RUNNING")
            watch.trade("MNQ", 1)
            await _settle(folder, lambda a: a["contracts_held"] == 1)
            await asyncio.sleep(1.2)  # the marker follows each second
            _keep_a_copy(folder)
            await _lock_by_hand(folder)
            _lose_the_day(watch)
            await _settle(folder, lambda a: a["lock_policy"] == "flat")
            await _settle(folder, lambda a: _rules(a) >= {"manual", "cooldown_after_loss"})
            await until(watch.is_done, "flat")
            await asyncio.sleep(1.5)
        finally:
            await child.kill()
        yield Template(folder, watch, nursery, _locks(folder.daemon.data))


async def _lock_by_hand(folder: Folder) -> None:
    """A lock no rule would put back."""
    wanted = {"account_id": ACCOUNT, "scope": "root:CL", "reason": "enough of oil"}
    async with AdminClient.connect(folder.daemon.data) as admin:
        await admin.call("set_lockout", wanted)


def _rules(account: dict[str, object]) -> set[str]:
    locks = account["locks"]
    assert isinstance(locks, list)
    return {lock["rule_id"] for lock in locks}


def _locks(data: Path) -> dict[tuple[str, str], tuple[str, str, int | None]]:
    """What is in force in a database that nobody writes: policy, release and end, by its key."""
    # Only reading: another would fold the log in when it leaves.
    uri = f"{(data / 'state.db').as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        return {
            (scope, rule_id): (policy, release, until)
            for scope, rule_id, policy, release, until in connection.execute(
                "SELECT scope, rule_id, policy, release, until FROM lockouts"
                " WHERE account_id = ? AND cleared_at IS NULL",
                (ACCOUNT,),
            )
        }


def _keep_a_copy(folder: Folder) -> None:
    with (
        closing(sqlite3.connect(folder.daemon.data / "state.db")) as source,
        closing(sqlite3.connect(folder.path / "older.db")) as older,
    ):
        source.backup(older)


def _lose_the_day(watch: Watch) -> None:
    watch.trade("MNQ", 3)
    watch.move("MNQ", -110)
    watch.close("MNQ")
    watch.trade("MES", 1)


async def _settle(folder: Folder, condition: Callable[[dict[str, object]], object]) -> None:
    end = monotonic() + 20
    while True:
        shown = await seen(folder.daemon)
        if shown is not None and condition(shown):
            return
        if monotonic() > end:
            raise AssertionError(f"the daemon never showed it: {shown}")
        await asyncio.sleep(0.05)


async def found_at_start(template: Template, fault: str) -> Suffered:
    """Damage a copy, start on it: flat, locked, and the damage said aloud."""
    outcome = Suffered(fault)
    source, watch = template.folder, template.watch
    with scratch() as path:
        shutil.copytree(source.daemon.data, path / "data")
        shutil.copy(source.path / "older.db", path / "older.db")
        folder = Folder(path, watch, RULES_WITH_A_PAUSE)
        AT_START[fault](folder.daemon.data)
        watch.trade("MNQ", 1)
        recovery = await recover(folder, watch, template.nursery)
        outcome.flat_s = recovery.took_s
        outcome.problems += [
            problem
            for problem in recovery.problems
            if fault not in EDITS_THE_RECORD or "audit chain" not in problem  # for ever to be seen
        ]
        if fault != FORGOTTEN:
            found = _locks(folder.daemon.data)
            outcome.problems += [
                f"locked before, and not so any more: {key} was {lock}, is {found.get(key)}"
                for key, lock in template.locks.items()
                if found.get(key) != lock
            ]
        outcome.loud = _is_told(folder)
        if not watch.is_done():
            watch.close("MNQ")
    return outcome


def _is_told(folder: Folder) -> bool:
    """Whether what was printed warns of the database."""
    text = folder.output.read_text("utf-8", "replace") if folder.output.exists() else ""
    return any(
        "state.db" in line and ("warning" in line or "lock" in line or "damaged" in line)
        for line in text.splitlines()
    )


# --- while it runs --------------------------------------------------------------------------------


class Hand:
    """One who does something to a running daemon's files, and may undo it."""

    def __init__(self, folder: Folder, child: Doomed) -> None:
        self.data = folder.daemon.data
        self.path = folder.path
        self.child = child

    def full_disk(self) -> None:
        import resource

        resource.prlimit(self.child.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def room_again(self) -> None:
        import resource

        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(self.child.pid, resource.RLIMIT_FSIZE, unlimited)

    def delete(self) -> None:
        _delete(self.data)

    def delete_all(self) -> None:
        shutil.rmtree(self.data)

    def put_folder_back(self) -> None:
        self.data.mkdir(exist_ok=True)

    def old_copy(self) -> None:
        shutil.copy(self.path / "older.db", self.path / "draft.db")
        (self.path / "draft.db").replace(self.data / "state.db")

    def garbage_in_place(self) -> None:
        with (self.data / "state.db").open("r+b") as file:
            file.write(os.urandom(max((self.data / "state.db").stat().st_size, 4096)))

    def garbage_in_the_log(self) -> None:
        with (self.data / "state.db-wal").open("r+b") as file:
            file.write(os.urandom((self.data / "state.db-wal").stat().st_size))

    def cut_in_place(self) -> None:
        for part in ("state.db", "state.db-wal"):
            with (self.data / part).open("r+b") as file:
                file.truncate(0)

    def clear_the_locks(self) -> None:
        _tamper("UPDATE lockouts SET cleared_at = 1, cleared_by = 'me'")(self.data)

    def read_only(self) -> None:
        self.data.chmod(0o500)

    def writable(self) -> None:
        self.data.chmod(0o700)

    def nothing(self) -> None:
        """Nothing to undo."""


@dataclass(frozen=True, slots=True)
class Running:
    """A fault while running. `untold`: harmless enough not to be told before the restart."""

    do: Callable[[Hand], None]
    undo: Callable[[Hand], None] = Hand.nothing
    untold: bool = False
    after_the_lock: bool = False


WHILE_RUNNING: dict[str, Running] = {
    "disk full": Running(Hand.full_disk, Hand.room_again),
    "disk full for good": Running(Hand.full_disk),
    "deleted": Running(Hand.delete),
    "data folder deleted": Running(Hand.delete_all, Hand.put_folder_back),
    "replaced by an older copy": Running(Hand.old_copy),
    "garbage in place": Running(Hand.garbage_in_place, untold=True),
    "garbage in its log": Running(Hand.garbage_in_the_log, untold=True),
    "cut to nothing in place": Running(Hand.cut_in_place, untold=True),
    "the locks cleared by hand": Running(Hand.clear_the_locks, after_the_lock=True),
    "folder read-only": Running(Hand.read_only, Hand.writable, untold=True),
}


def is_possible(name: str) -> bool:
    """Whether this system can be made to suffer so."""
    fault = WHILE_RUNNING[name]
    if fault.do is Hand.full_disk:
        return sys.platform == "linux"
    if fault.do is Hand.read_only:
        return os.name == "posix" and os.geteuid() != 0  # nothing is read-only to root
    return os.name == "posix" or fault.do is Hand.clear_the_locks


async def suffered_while_running(name: str, nursery: Nursery) -> Suffered:
    """Breach under the fault: flat and locked from memory, loudly; locked after a restart too."""
    fault = WHILE_RUNNING[name]
    outcome = Suffered(name)
    with scratch() as path:
        async with Watch.open() as watch:
            folder = Folder(path, watch)
            child = await nursery.born(folder, watch)
            hand = Hand(folder, child)
            try:
                await until(lambda: child.is_running, "RUNNING")
                watch.trade("MNQ", 1)
                await _settle(folder, lambda a: a["contracts_held"] == 1)
                _keep_a_copy(folder)
                port = read_url(folder)
                await _breach(fault, hand, watch, outcome)
                outcome.loud = fault.untold or await _becomes_loud(port, folder)
                fault.undo(hand)
                watch.trade("MES", 2)
                await until(watch.is_done, "flat again")
                if not await _still_locked(port):
                    outcome.problems.append("not locked any more")
            except AssertionError as error:
                outcome.problems.append(str(error))
            finally:
                await child.kill()
            if not outcome.loud:
                outcome.problems.append("nobody was told")
            watch.trade("MNQ", 1)
            hand.put_folder_back()
            recovery = await recover(folder, watch, nursery)
            outcome.problems += [f"after the restart: {p}" for p in recovery.problems]
            outcome.problems += watch.risks_made()
    return outcome


async def _breach(fault: Running, hand: Hand, watch: Watch, outcome: Suffered) -> None:
    if not fault.after_the_lock:
        fault.do(hand)
    began = monotonic()
    _lose_the_day(watch)
    await until(watch.is_done, "flat")
    outcome.flat_s = monotonic() - began
    if fault.after_the_lock:
        fault.do(hand)


def read_url(folder: Folder) -> tuple[str, Path]:
    """Where the feed is and a copy of its token, for when the files are gone."""
    kept = folder.path / "kept"
    kept.mkdir(exist_ok=True)
    for name in ("feed.token", "daemon.json"):
        shutil.copy(folder.daemon.data / name, kept / name)
    url: str = json.loads((kept / "daemon.json").read_text())["feed_url"]
    return url, kept


async def _becomes_loud(port: tuple[str, Path], folder: Folder) -> bool:
    """DEGRADED on the feed, with the database named; or a critical line in the logs."""
    url, kept = port
    end = monotonic() + LOUD_WITHIN_S
    while monotonic() < end:
        with suppress(FeedUnreachable):
            status, _, _ = await read_once(kept, url)
            if status.status == "DEGRADED" and "state.db" in status.message:
                return True
        if any(
            b"database_trouble" in log.read_bytes() for log in folder.daemon.data.glob("logs/*")
        ):
            return True
        await asyncio.sleep(0.1)
    return False


async def _still_locked(port: tuple[str, Path]) -> bool:
    url, kept = port
    try:
        _, snapshot, _ = await read_once(kept, url)
    except FeedUnreachable:
        return False
    return any(
        a["account_id"] == ACCOUNT and a["lock_policy"] == "flat" for a in snapshot["accounts"]
    )


# --- one row at a time ----------------------------------------------------------------------------


@dataclass(slots=True)
class Tampered:
    """How many single changes to the audit rows there were, and how many of them were found."""

    changes: int = 0
    found: int = 0


EDITS = (
    "UPDATE audit SET new = coalesce(new, '') || ' ' WHERE id = :row",
    "UPDATE audit SET at = at + 1 WHERE id = :row",
    "UPDATE audit SET actor = actor || 'x' WHERE id = :row",
    "UPDATE audit SET ok = 1 - ok WHERE id = :row",
    "DELETE FROM audit WHERE id = :row",
    "DELETE FROM audit WHERE id >= :row",
)
SWAP = (
    "UPDATE audit SET id = -:row WHERE id = :row",
    "UPDATE audit SET id = :row WHERE id = :row + 1",
    "UPDATE audit SET id = :row + 1 WHERE id = -:row",
)


def tamper_with_each_row(data: Path) -> Tampered:
    """Edit, delete and swap every single row, and cut off every tail, of a copy each."""
    outcome = Tampered()
    with scratch() as folder:
        shutil.copytree(data, folder / "data")
        _fold(folder / "data")
        base = folder / "data" / "state.db"
        with closing(sqlite3.connect(base)) as connection:
            last = connection.execute("SELECT max(id) FROM audit").fetchone()[0]
        for row in range(1, last + 1):
            changes = [(edit,) for edit in EDITS] + ([SWAP] if row < last else [])
            for statements in changes:
                shutil.copy(base, folder / "state.db")
                shutil.copy(data / "audit.head", folder / "audit.head")
                with closing(sqlite3.connect(folder / "state.db")) as connection:
                    for sql in statements:
                        connection.execute(sql, {"row": row})
                    connection.commit()
                outcome.changes += 1
                outcome.found += _is_found(folder / "state.db")
    return outcome


def _is_found(database: Path) -> bool:
    try:
        return verify_audit(database) is not None
    except StoreError:
        return True
