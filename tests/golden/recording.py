"""A simulated stretch of trading as everybody outside sees it: feed, enforcement log, database.

The lines are made by the real parts: the pipeline and the store of `simulation`, the feed server
with one client, the enforcement log. Nothing in them depends on the machine, the hour or the hash
seed.
"""

import asyncio
import json
import lzma
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, time
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from simulation.life import Life
from simulation.options import Options, options_for
from simulation.oracle import Oracle
from simulation.world import World, simulate

from risk_manager.daemon.enforcement_log import EnforcementLog
from risk_manager.domain.events import AnyEvent, RulebookReplaced
from risk_manager.domain.rulebook import Mode, Rulebook
from risk_manager.domain.state import State
from risk_manager.feed.messages import NAMES, RUNNING, Heartbeat, MarketQuote, Snapshot
from risk_manager.feed.server import FeedServer
from risk_manager.pipeline import Feed

GOLDEN = Path(__file__).parent
MASKED_META = ("database_id", "run_id")
"""Drawn anew for each database and each run."""
QUOTE = NAMES[MarketQuote]
REPEATED = (NAMES[Snapshot], NAMES[Heartbeat])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What is recorded under this name; accounts in `in_shadow` are judged but not touched."""

    name: str
    options: Options
    in_shadow: frozenset[int] = frozenset()

    @property
    def path(self) -> Path:
        return GOLDEN / f"{self.name}.txt.xz"

    def read(self) -> list[str]:
        """The lines as they were when they were last meant to change."""
        return lzma.decompress(self.path.read_bytes()).decode().split("\n")

    def write(self, lines: list[str]) -> None:
        self.path.write_bytes(lzma.compress("\n".join(lines).encode(), preset=9))


def _stretch(
    name: str, seed: int, begins: time, hours: float, *, shadow: tuple[int, ...] = (), **more: Any
) -> Stretch:
    options = options_for(seed, hours=hours, sky="ill", day=date(2026, 11, 18))
    options = replace(
        options,
        begins=begins,
        accounts=(101, 102),
        trades_per_hour=60.0,
        admin_per_hour=20.0,
        edits_per_hour=6.0,
        wall_step_seconds=0.0,
        weather=replace(options.weather, crashes=6.0, crash_at_commit=0.0),
        **more,
    )
    return Stretch(name=name, options=options, in_shadow=frozenset(shadow))


STRETCHES = (
    _stretch("morning", 7, time(10, 0), 0.12),
    _stretch("evening", 2, time(16, 54), 0.18),  # the session has ended; over the daily reset
    _stretch("shadow", 5, time(15, 56), 0.13, shadow=(102,)),  # over the end of the session
)


class _Client:
    """A client of the feed that takes every frame at once and says nothing."""

    def __init__(self, recorder: "Recorder") -> None:
        self._recorder = recorder

    async def send(self, frame: bytes, text: bool) -> None:
        assert text
        self._recorder.frame(frame)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""  # pragma: no cover - a client that never speaks


class Recorder:
    """Takes down one stretch, life by life."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._life: Life | None = None
        self._feed: Feed | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._seq = 0
        self._quotes: list[tuple[bytes, dict[str, Any]]] = []
        self._shown: dict[Any, dict[str, Any]] = {}

    # --- from the simulation ---

    def step(self, life: Life, event: AnyEvent, before: State, outcome: Any) -> None:
        if self._life is not life:
            self._listen(life)
        assert self._feed is not None
        with structlog.testing.capture_logs() as logged:
            self._feed.publish(event, before, outcome)
        for line in logged:
            self._quotes_end()
            self.lines.append(f"log {json.dumps(line, default=str)}")

    def life_ended(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self._life = None

    def _listen(self, life: Life) -> None:
        self.life_ended()
        self._life = life
        self._quotes_end()
        self.lines.append(f"life {life.number}")
        server = FeedServer(
            feed_source=life.state,
            clock=life.clock,
            data_dir=life.world.folder,
            run_id=f"life-{life.number}",
            version="golden",
        )
        server.set_status(RUNNING)
        self._feed = EnforcementLog(server)
        self._seq = 0
        self._shown.clear()
        client: Any = _Client(self)
        # What `async with` starts, without the sockets.
        work = (server.serve_reader(client), *(work for _, work in server.loops()))
        self._tasks = [asyncio.get_running_loop().create_task(w) for w in work]

    # --- from the feed ---

    def frame(self, frame: bytes) -> None:
        self._seq += 1
        head, _, rest = frame.partition(b'"ts":')
        assert head == b'{"v":1,"seq":%d,' % self._seq, head
        said = orjson.loads(frame)
        kind, subject = said["type"], said["account_id"]
        if kind == QUOTE:
            # Those that go out together stand in no order.
            self._quotes.append((rest, said))
            return
        self._quotes_end()
        if kind in REPEATED:
            self._changes(kind, subject, rest, said)
        else:
            self.lines.append(f"frame {rest.decode()}")

    def _changes(self, kind: str, subject: object, raw: bytes, said: dict[str, Any]) -> None:
        """What is told again and again is written down as what differs from the last time."""
        del said["seq"]
        now = dict(_flat(said))
        known = self._shown.get((kind, subject), {})
        self._shown[kind, subject] = now
        changed = {k: v for k, v in now.items() if k not in known or known[k] != v}
        gone = [k for k in known if k not in now]
        self.lines.append(
            f"frame {kind} {subject} crc {zlib.crc32(raw):08x}"
            f" {json.dumps(changed)} without {json.dumps(gone)}"
        )

    def _quotes_end(self) -> None:
        for raw, said in sorted(self._quotes, key=lambda quote: quote[0]):
            self._changes(QUOTE, said["data"]["contractId"], raw, said)
        self._quotes.clear()

    # --- from the database ---

    def database(self, path: Path) -> None:
        self._quotes_end()
        with closing(sqlite3.connect(path)) as connection:
            for kind, name, sql in connection.execute(
                "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
            ):
                self.lines.append(f"schema {kind} {name} {json.dumps(sql)}")
            tables = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            ).fetchall()
            for (table,) in tables:
                rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - its own name
                columns = [c[0] for c in rows.description]
                found = [dict(zip(columns, row, strict=True)) for row in rows]
                self.lines += (
                    sorted(_rows(table, found)) if table != "audit" else _rows(table, found)
                )


def _rows(table: str, rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        if table == "meta" and row["key"] in MASKED_META:
            continue
        if table == "schema_version":
            del row["duration_ms"]  # measured
        if table == "journal":
            # Where a rule lives in the source is written there, and may change.
            row["body"] = (
                "(a rulebook)"
                if row["kind"].startswith(RulebookReplaced.model_fields["kind"].default)
                else f"{zlib.crc32(row['body'].encode()):08x}"
            )
        lines.append(f"row {table} {json.dumps(row)}")
    return lines


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from _flat(item, f"{path}[{number}]")
    else:
        yield path, value


def record(stretch: Stretch) -> list[str]:
    """The stretch, played by the code of today."""
    recorder = Recorder()
    tell, end, book = Oracle.on_step, Oracle.on_life, World.book

    def on_step(oracle: Oracle, life: Life, event: AnyEvent, before: State, outcome: Any) -> None:
        recorder.step(life, event, before, outcome)
        tell(oracle, life, event, before, outcome)

    def on_life(oracle: Oracle, alive: bool) -> None:
        if not alive:
            recorder.life_ended()
        end(oracle, alive)

    def in_shadow(world: World) -> Rulebook:
        made = book(world)
        accounts = {
            i: replace(rules, mode=Mode.SHADOW) if i in stretch.in_shadow else rules
            for i, rules in made.accounts.items()
        }
        return replace(made, accounts=accounts)

    folder = Path(tempfile.mkdtemp(prefix="golden-"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Oracle, "on_step", on_step)
            patch.setattr(Oracle, "on_life", on_life)
            patch.setattr(World, "book", in_shadow)
            patch.chdir(folder)  # the audit names the database's path
            result = simulate(stretch.options, keep_in=Path())
        recorder.database(folder / "state.db")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    recorder.lines.append(f"requests {result.requests} writes {result.writes} {result.digest}")
    return recorder.lines
