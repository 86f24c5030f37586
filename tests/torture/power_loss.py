"""Power cuts: the disk as it may be left at any instant, rebuilt from what had been synced.

What the store writes is recorded once, statement by statement, and replayed through a virtual
file system that notes every write, truncation and sync. From any prefix of that record a disk is
rebuilt: everything synced, plus a random subset of the rest, some of it torn at a sector.
"""

import hashlib
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator, Buffer, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import apsw
from desk import MORNING
from stored_desk import StoppedClock, at, opened, stored_desk
from torture.lives import scratch

from risk_manager.domain.rulebook import Rulebook
from risk_manager.store.audit import head_of
from risk_manager.store.schema import StoreError
from risk_manager.store.sidecar_files import Marker, write_marker
from risk_manager.store.store import verify_audit

SECTOR_BYTES = 512
DATABASE = "state.db"
OPEN = "open"
STORE_EVERY = 12


# --- what the store really does -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Done:
    """One call on the store's connection; `sql` OPEN where a new connection began."""

    sql: str
    values: Any = ()
    many: bool = False


class Recorder:
    """A connection class that notes what passes through it."""

    def __init__(self) -> None:
        self.done: list[Done] = []

    def connection_class(self) -> type[sqlite3.Connection]:
        done = self.done

        class Connection(sqlite3.Connection):
            def __init__(self, *given: Any, **more: Any) -> None:
                super().__init__(*given, **more)
                done.append(Done(OPEN))

            def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
                found = super().execute(sql, values)
                done.append(Done(sql, tuple(values)))
                return found

            def executemany(self, sql: str, values: Iterable[Any], /) -> sqlite3.Cursor:
                each = [tuple(v) for v in values]
                found = super().executemany(sql, each)
                done.append(Done(sql, each, many=True))
                return found

        return Connection


async def a_day_of_commits(folder: Path, lives: int = 2, trades: int = 14) -> list[Done]:
    """What the real store did over some lives: first schema, trading, locks, checkpoints."""
    recorder = Recorder()
    clock = StoppedClock()
    for life in range(lives):
        async with at(folder, clock=clock, connection_class=recorder.connection_class()) as store:
            desk = stored_desk(
                store,
                max_contracts={"limit": 3},
                daily_realized_loss={"limit": 200 * (life + 1)},
                no_stop_loss_grace={"grace": "30s"},
            )
            await (opened(desk) if life == 0 else desk.restored(clock.now()))
            for number in range(trades):
                await desk.position("MNQ", number % 6)
                await desk.stop("MNQ", -1)
                await desk.loss(40, trade_id=life * trades + number)
                await desk.wait(seconds=1)
                clock.at = desk.now
                if number % 6 == 5:
                    await store.keeper.checkpoint()
            await store.audit("anna", "looked", "journal")
            assert store.trouble is None
    return recorder.done


# --- the disk that remembers ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Op:
    """One thing a disk was asked. `acknowledged`: commits that had returned by then.

    A file that is deleted may be there again after a power cut; one that is forgotten, not.
    """

    kind: str
    name: str
    acknowledged: int
    offset: int = 0
    data: bytes = b""


@dataclass(slots=True)
class Tape:
    """Everything asked of the disk, in order, and what the database said after each commit."""

    ops: list[Op] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    markers: list[Marker] = field(default_factory=list)
    synchronous: str = "2"

    @property
    def acknowledged(self) -> int:
        return len(self.states) - 1

    @property
    def syncs(self) -> int:
        return sum(op.kind == "sync" for op in self.ops)

    def note(self, kind: str, name: str, offset: int = 0, data: bytes = b"") -> None:
        self.ops.append(Op(kind, Path(name).name, self.acknowledged, offset, data))


class RecordingDisk(apsw.VFS):
    """The system's own files, with a tape running. Keep a reference: it is gone when dropped."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.name = f"tape-{uuid4().hex}"
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> "RecordingFile":
        return RecordingFile(self.tape, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:
        super().xDelete(name, sync)
        self.tape.note("forget" if sync else "delete", name)


class RecordingFile(apsw.VFSFile):
    def __init__(self, tape: Tape, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._tape = tape
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._counts = Path(self._name or "").name.startswith(DATABASE)

    def xWrite(self, data: Buffer, offset: int) -> None:
        super().xWrite(data, offset)
        if self._counts:
            self._tape.note("write", self._name, offset, bytes(data))

    def xTruncate(self, size: int) -> None:
        super().xTruncate(size)
        if self._counts:
            self._tape.note("truncate", self._name, size)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        if self._counts:
            self._tape.note("sync", self._name)


def replay(done: Sequence[Done], folder: Path, *, synchronous: str = "2") -> Tape:
    """Do it all again on a disk that remembers. `synchronous` other than the store's own: to see
    that these images would show it."""
    tape = Tape(synchronous=synchronous)
    disk = RecordingDisk(tape)
    connection: apsw.Connection | None = None
    tape.states.append(digest_of(()))
    tape.markers.append(Marker("", 0, "", False))
    for call in done:
        if call.sql == OPEN:
            if connection is not None:
                connection.close()
            connection = apsw.Connection(str(folder / DATABASE), vfs=disk.name)
            # A file system in Python has no shared memory.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            continue
        assert connection is not None
        sql = call.sql
        if sql.startswith("PRAGMA synchronous ="):
            sql = f"PRAGMA synchronous = {synchronous}"
        if call.many:
            connection.executemany(sql, call.values)
        else:
            list(connection.execute(sql, call.values))
        if sql == "COMMIT":
            tape.states.append(digest_of(_rows(connection)))
            tape.markers.append(_marker(connection))
    assert connection is not None
    connection.close()
    return tape


def _rows(connection: Any) -> Iterator[tuple[Any, ...]]:
    tables = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    ).fetchall()
    for (table,) in tables:
        yield (table,)
        yield from connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608  # our own names


def digest_of(rows: Iterable[tuple[Any, ...]]) -> str:
    text = hashlib.sha256()
    for row in rows:
        text.update(repr(tuple(row)).encode())
    return text.hexdigest()


def _marker(connection: Any) -> Marker:
    """What may have been mirrored beside the database once this commit had returned."""
    try:
        head = head_of(connection)
        found = connection.execute("SELECT value FROM meta WHERE key = 'database_id'").fetchone()
    except apsw.SQLError:  # no tables yet
        return Marker("", 0, "", False)
    return Marker("" if found is None else found[0], head.seq, head.hash, True)


# --- what may be left -----------------------------------------------------------------------------


@dataclass(slots=True)
class Platter:
    """One file: what is surely on the disk, and what may or may not have got there."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[Op] = field(default_factory=list)

    def take(self, op: Op) -> None:
        if op.kind == "sync":
            for waiting in self.pending:
                _apply(self.synced, waiting)
            self.pending.clear()
        else:
            self.pending.append(op)

    def image(self, rng: random.Random, share: float) -> bytes:
        found = bytearray(self.synced)
        for op in self.pending:
            if rng.random() > share:
                continue
            if op.kind == "write" and rng.random() < 0.25:
                _apply(found, _torn(op, rng))
            else:
                _apply(found, op)
        return bytes(found)


def _apply(content: bytearray, op: Op) -> None:
    if op.kind == "truncate":
        if op.offset <= len(content):
            del content[op.offset :]
        else:
            content.extend(bytes(op.offset - len(content)))
        return
    end = op.offset + len(op.data)
    if end > len(content):
        content.extend(bytes(end - len(content)))
    content[op.offset : end] = op.data


def _torn(op: Op, rng: random.Random) -> Op:
    """Only the sectors up to somewhere, or from somewhere on."""
    sectors = max(len(op.data) // SECTOR_BYTES, 1)
    cut = rng.randrange(sectors + 1) * SECTOR_BYTES
    if rng.random() < 0.5:
        return Op(op.kind, op.name, op.acknowledged, op.offset, op.data[:cut])
    return Op(op.kind, op.name, op.acknowledged, op.offset + cut, op.data[cut:])


@dataclass(frozen=True, slots=True)
class Image:
    """A disk after a power cut: its files, and how many commits had been acknowledged."""

    acknowledged: int
    files: dict[str, bytes]


def images(tape: Tape, rng: random.Random, wanted: int) -> Iterator[Image]:
    """About so many disks, spread evenly over the tape."""
    platters: dict[str, Platter] = {}
    ghosts: dict[str, Platter] = {}  # deleted, but nobody made the folder forget them yet
    each = wanted / len(tape.ops)
    due = 0.0
    for op in tape.ops:
        match op.kind:
            case "forget":
                platters.pop(op.name, None)
            case "delete":
                if op.name in platters:
                    ghosts[op.name] = platters.pop(op.name)
            case _:
                if op.kind == "sync":  # a journaling file system writes its folders along
                    ghosts.clear()
                if op.name not in platters:
                    ghosts.pop(op.name, None)
                platters.setdefault(op.name, Platter()).take(op)
        due += each
        while due >= 1:
            due -= 1
            share = rng.choice([0.0, 0.2, 0.5, 0.8, 1.0])
            left = dict(platters)
            if ghosts and rng.random() < 0.5:
                left |= ghosts
            yield Image(op.acknowledged, {name: p.image(rng, share) for name, p in left.items()})


# --- and what must be so --------------------------------------------------------------------------


@dataclass(slots=True)
class Losses:
    """What a number of power cuts did. Commits: acknowledged ones that were gone."""

    images: int = 0
    opened_by_the_store: int = 0
    corrupt: int = 0
    lost: int = 0
    most_commits_lost: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return not (self.corrupt or self.lost or self.examples)

    def tell(self, what: str) -> None:
        if len(self.examples) < 10:
            self.examples.append(what)


async def cut_the_power(tape: Tape, seed: int, wanted: int) -> Losses:
    """Open so many disks with stdlib SQLite, and some with the store itself."""
    losses = Losses()
    rng = random.Random(seed)
    place = {digest: number for number, digest in enumerate(tape.states)}
    with scratch() as folder:
        for image in images(tape, rng, wanted):
            losses.images += 1
            _write(folder, image)
            try:
                found = _read(folder / DATABASE)
            except (sqlite3.DatabaseError, AssertionError) as error:
                losses.corrupt += 1
                losses.tell(f"image {losses.images} after {image.acknowledged} commits: {error}")
                continue
            at_commit = place.get(found)
            if at_commit is None:
                losses.corrupt += 1
                losses.tell(f"image {losses.images}: not as it was after any commit")
            elif at_commit < image.acknowledged:
                losses.lost += 1
                losses.most_commits_lost = max(
                    losses.most_commits_lost, image.acknowledged - at_commit
                )
            elif losses.images % STORE_EVERY == 0:
                losses.opened_by_the_store += 1
                _write(folder, image)
                if why := await _store_refuses(folder, tape.markers[image.acknowledged]):
                    losses.tell(f"image {losses.images}: {why}")
    return losses


def _write(folder: Path, image: Image) -> None:
    for old in folder.iterdir():
        old.unlink() if old.is_file() else shutil.rmtree(old)
    for name, content in image.files.items():
        (folder / name).write_bytes(content)


def _read(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
        assert verdict == "ok", verdict
        return digest_of(_rows(connection))


async def _store_refuses(folder: Path, marker: Marker) -> str | None:
    """None when the store opens this disk, trusts it, and reads everything back."""
    if marker.database_id:
        write_marker(folder / DATABASE, marker)
    try:
        async with at(folder, keep_every=timedelta(hours=1)) as store:
            if not store.opened_as.is_trusted:
                return f"opened as {store.opened_as}: {store.opened_why}"
            await store.restore(Rulebook(), MORNING)
            broken = verify_audit(folder / DATABASE)
            return None if broken is None else f"audit row {broken.seq}: {broken.why}"
    except StoreError as error:
        return str(error)


@asynccontextmanager
async def recorded(*, synchronous: str = "2", lives: int = 2) -> AsyncIterator[Tape]:
    """A tape of the real store's commits."""
    with scratch() as folder:
        (folder / "real").mkdir()
        (folder / "tape").mkdir()
        done = await a_day_of_commits(folder / "real", lives)
        yield replay(done, folder / "tape", synchronous=synchronous)
