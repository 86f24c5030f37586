"""The journal as it is written: every event in order, so that a day can be replayed.

An event that changed the stored state is committed with that change, in the state database. Other
events (nearly every quote and tick) are packed second by second into one file per trading day, by a
thread of its own. The whole state is written at the start of each run and of each day; replay
begins from it.
"""

import sqlite3
import threading
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError

from risk_manager.domain.events import AnyEvent, QuoteChanged, RulebookReplaced, Tick
from risk_manager.domain.state import State
from risk_manager.engine.turn import Judged
from risk_manager.store import serialization
from risk_manager.store.batch import Statement
from risk_manager.store.rows import micros
from risk_manager.store.schema import StoreError

FLUSH_EVERY_S = 1.0
QUOTES_WAITING = 20_000
EVENTS_WAITING = 100_000
KEPT_FOR = timedelta(days=14)
KEPT_BYTES = 1_000_000_000
_CLOSE_PATIENCE_S = 5.0
RUN = 10**10
"""Each run numbers its events from a multiple of this, so that runs never share a number."""

TABLES = """
CREATE TABLE IF NOT EXISTS starts (
    seq INTEGER NOT NULL PRIMARY KEY, version TEXT NOT NULL, state BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS batches (
    first INTEGER NOT NULL PRIMARY KEY, last INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS dropped (
    before INTEGER NOT NULL PRIMARY KEY, events INTEGER NOT NULL
) STRICT;
"""
INSERT = "INSERT OR IGNORE INTO journal (seq, day, at, kind, body) VALUES (?, ?, ?, ?, ?)"

_KINDS: dict[str, Any] = {cls.model_fields["kind"].default: cls for cls in get_args(AnyEvent)}


GOES_ON = "+"
"""Suffix of an event's kind: the next event was judged in the same turn."""


def kind_of(event: AnyEvent, *, goes_on: bool = False) -> str:
    """Return the kind of an event as written in the journal."""
    return event.kind + GOES_ON if goes_on else event.kind


def written(event: AnyEvent) -> str:
    """Return an event as text."""
    return (
        serialization.dumps(event)
        if isinstance(event, RulebookReplaced)
        else event.model_dump_json()
    )


def read(kind: str, body: str) -> AnyEvent:
    """Read an event back from its text. Raises `StoreError`."""
    try:
        if kind == "rulebook_replaced":
            event: AnyEvent = serialization.loads(body)
        else:
            event = _KINDS[kind].model_validate_json(body)
    except (ValidationError, KeyError, ValueError) as error:
        raise StoreError(f"the journal holds a {kind} this version cannot read: {error}") from error
    return event


class _Noted(NamedTuple):
    seq: int
    day: date
    what: AnyEvent | State
    goes_on: bool = False


class Journal:
    """Numbers all events, and writes those that are not in the state database. To be closed.

    Nothing here waits for the disk: `number` and `note` only queue. When too many events wait,
    quotes and ticks are dropped and counted; other events only when memory would run out.
    """

    def __init__(
        self,
        folder: Path,
        *,
        last_seq: int = 0,
        version: str = "",
        on_trouble: Callable[[str], None] = lambda _: None,
        flush_every_s: float = FLUSH_EVERY_S,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.dropped = 0
        self._version = version
        self._on_trouble = on_trouble
        self._trouble = ""
        self._seq = (max(last_seq, _last_seq(folder)) // RUN + 1) * RUN
        self._day: date | None = None
        self._waiting: deque[_Noted] = deque()
        self._untold_drops = 0
        self._connection: sqlite3.Connection | None = None
        self._connected_day: date | None = None
        self._ended = threading.Event()
        self._flush_every_s = flush_every_s
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    # --- the pipeline's side ----------------------------------------------------------------------

    # `goes_on`: the next event belongs to the same turn.

    def number(self, before: State) -> tuple[int, date]:
        """Return the number and day for the next event in the state database."""
        self._seq += 1
        day = before.day.date
        if day != self._day:
            self._day = day
            self._waiting.append(_Noted(self._seq, day, before))
        return self._seq, day

    def note(self, event: AnyEvent, before: State, *, goes_on: bool = False) -> None:
        """Queue an event that is not in the state database; it is on disk about a second later."""
        seq, day = self.number(before)
        waiting = len(self._waiting)
        if waiting >= QUOTES_WAITING and (
            type(event) in (QuoteChanged, Tick) or waiting >= EVENTS_WAITING
        ):
            self.dropped += 1
            self._untold_drops += 1
            return
        self._waiting.append(_Noted(seq, day, event, goes_on))

    def rows_of(self, turn: Sequence[Judged]) -> list[Statement]:
        """Return the events of a turn as rows, to be committed with the turn's changes."""
        rows: list[Statement] = []
        for place, (event, before, _) in enumerate(turn, 1):
            seq, day = self.number(before)
            kind = kind_of(event, goes_on=place < len(turn))
            rows.append((INSERT, (seq, day.isoformat(), micros(event.at), kind, written(event))))
        return rows

    def note_turn(self, turn: Sequence[Judged]) -> None:
        """Queue the events of a turn that changed nothing."""
        for place, (event, before, _) in enumerate(turn, 1):
            self.note(event, before, goes_on=place < len(turn))

    def close(self) -> None:
        """Write the queued events and end the thread. Must not run on the event loop."""
        self._ended.set()
        self._thread.join(_CLOSE_PATIENCE_S)

    # --- the thread's side ------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended.wait(self._flush_every_s):
            self._flush()
        self._flush()
        if self._connection is not None:
            self._connection.close()

    def _flush(self) -> None:
        taken: list[_Noted] = []
        while self._waiting and (not taken or self._waiting[0].day == taken[0].day):
            taken.append(self._waiting.popleft())
        if not taken:
            return
        drops, self._untold_drops = self._untold_drops, 0
        try:
            self._write(taken, drops)
        except Exception as error:  # a journal that cannot be written must not stop enforcement
            self._untold_drops += drops
            self._waiting.extendleft(reversed(taken))
            if not self._trouble:
                self._trouble = f"{type(error).__name__}: {error}"
                self._on_trouble(f"the journal cannot be written: {self._trouble}")
            if self._connection is not None:
                with suppress(sqlite3.Error):
                    self._connection.rollback()
            return
        self._trouble = ""
        if self._waiting and self._waiting[0].day != taken[0].day:
            self._flush()

    def _write(self, taken: list[_Noted], drops: int) -> None:
        connection = self._file_of(taken[0].day)
        lines: list[str] = []
        events = [n for n in taken if not isinstance(n.what, State)]
        for noted in taken:
            if isinstance(noted.what, State):
                state = zlib.compress(serialization.dumps(noted.what).encode())
                connection.execute(
                    "INSERT OR REPLACE INTO starts VALUES (?, ?, ?)",
                    (noted.seq, self._version, state),
                )
            else:
                kind = kind_of(noted.what, goes_on=noted.goes_on)
                lines.append(f"{noted.seq}\t{kind}\t{written(noted.what)}")
        if events:
            body = zlib.compress("\n".join(lines).encode(), 6)
            connection.execute(
                "INSERT OR REPLACE INTO batches VALUES (?, ?, ?)",
                (events[0].seq, events[-1].seq, body),
            )
        if drops:
            connection.execute(
                "INSERT OR REPLACE INTO dropped VALUES (?, ?)", (taken[-1].seq, drops)
            )
        connection.commit()

    def _file_of(self, day: date) -> sqlite3.Connection:
        if self._connection is None or self._connected_day != day:
            if self._connection is not None:
                self._connection.close()
            self._connection = sqlite3.connect(file_of(self.folder, day), check_same_thread=False)
            # Losing the last second is acceptable: important events are in the state database.
            self._connection.execute("PRAGMA journal_mode = wal")
            self._connection.execute("PRAGMA synchronous = normal")
            self._connection.executescript(TABLES)
            self._connected_day = day
        return self._connection


def file_of(folder: Path, day: date) -> Path:
    return folder / f"{day.isoformat()}.db"


def days(folder: Path) -> list[date]:
    """Return the days that have a journal, oldest first."""
    found = []
    for path in folder.glob("????-??-??.db"):
        with suppress(ValueError):
            found.append(date.fromisoformat(path.stem))
    return sorted(found)


def prune(folder: Path, today: date, *, kept_bytes: int = KEPT_BYTES) -> list[date]:
    """Remove journals past their retention, and the oldest ones while all exceed `kept_bytes`."""
    removed = []
    kept = days(folder)
    sizes = {day: file_of(folder, day).stat().st_size for day in kept}
    for day in kept:
        too_much = sum(sizes.values()) > kept_bytes and day < today
        if today - day <= KEPT_FOR and not too_much:
            continue
        for suffix in ("", "-wal", "-shm"):
            (folder / f"{day.isoformat()}.db{suffix}").unlink(missing_ok=True)
        del sizes[day]
        removed.append(day)
    return removed


def _last_seq(folder: Path) -> int:
    known = days(folder)
    if not known:
        return 0
    with suppress(sqlite3.Error), closing(sqlite3.connect(file_of(folder, known[-1]))) as file:
        row = file.execute(
            "SELECT max(coalesce((SELECT max(last) FROM batches), 0),"
            " coalesce((SELECT max(seq) FROM starts), 0))"
        ).fetchone()
        return int(row[0])
    return 0
