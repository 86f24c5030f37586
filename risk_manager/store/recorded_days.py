"""The journal as it is read: a recorded day, turn by turn, judged again if wanted."""

import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from risk_manager.domain.decisions import Action, Decision, Fact
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.state import State
from risk_manager.engine.turn import Turn
from risk_manager.store import serialization
from risk_manager.store.journal import GOES_ON, RUN, days, file_of, read
from risk_manager.store.schema import StoreError
from risk_manager.store.upkeep import open_reader


@dataclass(slots=True, kw_only=True)
class Replayed:
    """The outcome of judging the same events again. See `Recorded` for the counts."""

    day: date
    runs: int = 0
    events: int = 0
    missing: int = 0
    dropped: int = 0
    versions: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    state: State | None = None

    def take(self, turn: Turn) -> State:
        """Add the results of a turn. Returns the state after it."""
        for _, _, outcome in turn.end():
            self.events += 1
            self.decisions += outcome.decisions
            self.actions += outcome.actions
            self.facts += outcome.facts
        return turn.state


@dataclass(frozen=True, slots=True)
class Start:
    """A start in the journal. Calling it reads the state from which the events after it begin.

    Each call returns values of its own, so that a day can be judged twice at the same time without
    sharing anything cached. Raises `StoreError`.
    """

    version: str
    body: bytes

    def __call__(self) -> State:
        return _state(self.body, self.version)


@dataclass(slots=True, kw_only=True)
class Recorded:
    """A recorded day, read by `turns`. The counts are complete once that has ended.

    `missing` events are not in the journal (the last second before a crash). `dropped` events were
    never written. With either, the rest of that run may differ from the original.
    """

    day: date
    runs: int = 0
    missing: int = 0
    dropped: int = 0
    versions: list[str] = field(default_factory=list)

    def turns(self, database: Path) -> Iterator[Start | list[AnyEvent]]:
        """Yield the starts and, after each, the events that were judged as one turn.

        Raises `StoreError`.
        """
        path = file_of(database.parent / "journal", self.day)
        if not path.exists():
            known = ", ".join(d.isoformat() for d in days(path.parent)) or "none"
            raise StoreError(f"there is no journal of {self.day}; there are: {known}")
        with open_reader(path) as file, open_reader(database) as kept:
            try:
                yield from self._turns(file, kept)
            except sqlite3.Error as error:
                raise StoreError(f"the journal {path} cannot be read: {error}") from error
        self.missing = max(self.missing - self.dropped, 0)

    def _turns(
        self, file: sqlite3.Connection, kept: sqlite3.Connection
    ) -> Iterator[Start | list[AnyEvent]]:
        starts = {
            seq: Start(version, body)
            for seq, version, body in file.execute("SELECT seq, version, state FROM starts")
        }
        counted = file.execute("SELECT coalesce(sum(events), 0) FROM dropped").fetchone()
        self.dropped = counted[0]
        has_begun = False
        turn: list[AnyEvent] = []
        last = 0
        for seq, kind, body in _merged(file, kept, self.day):
            if turn and (seq in starts or seq != last + 1):
                yield turn  # the end of this turn was lost
                turn = []
            if seq in starts:
                has_begun = True
                self.runs += 1
                if starts[seq].version not in self.versions:
                    self.versions.append(starts[seq].version)
                yield starts[seq]
            elif seq // RUN != last // RUN:
                has_begun = False
            elif has_begun:
                self.missing += seq - last - 1
            last = seq
            if not has_begun:
                self.missing += 1  # the beginning of this run was lost
                continue
            turn.append(read(kind.removesuffix(GOES_ON), body))
            if not kind.endswith(GOES_ON):
                yield turn
                turn = []
        if turn:
            yield turn


def replay(database: Path, day: date) -> Replayed:
    """Replay a trading day from the journal beside this database. Raises `StoreError`."""
    recorded = Recorded(day=day)
    done = Replayed(day=day)
    state: State | None = None
    for item in recorded.turns(database):
        if isinstance(item, Start):
            state = item()
        elif state is not None:
            turn = Turn(state)
            for event in item:
                turn.take(event)
            state = done.take(turn)
    done.runs, done.versions = recorded.runs, recorded.versions
    done.missing, done.dropped = recorded.missing, recorded.dropped
    done.state = state
    return done


def _state(text: bytes, version: str) -> State:
    try:
        state = serialization.loads(zlib.decompress(text))
    except (serialization.Unreadable, zlib.error) as error:
        raise StoreError(
            f"the journal was written by version {version or '?'} and cannot be judged by this "
            f"one: {error}"
        ) from error
    if not isinstance(state, State):
        raise StoreError("the journal begins with something else than a state")
    return state


def _merged(
    file: sqlite3.Connection, kept: sqlite3.Connection, day: date
) -> Iterator[tuple[int, str, str]]:
    """Yield the events of both databases in order."""
    ours = kept.execute(
        "SELECT seq, kind, body FROM journal WHERE day = ? ORDER BY seq", (day.isoformat(),)
    )
    theirs = _packed(file)
    one, other = next(ours, None), next(theirs, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one
            one = next(ours, None)
        else:
            yield other
            other = next(theirs, None)


def _packed(file: sqlite3.Connection) -> Iterator[tuple[int, str, str]]:
    for (body,) in file.execute("SELECT body FROM batches ORDER BY first"):
        for line in zlib.decompress(body).decode().split("\n"):
            seq, kind, text = line.split("\t", 2)
            yield int(seq), kind, text
