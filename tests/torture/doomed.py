"""The daemon as it is, in a process that dies at a chosen step. Run as a program.

It imports everything once, as a start costs a second of that, and then reads lines of JSON: config,
data, journal, output, dies_at and env. For each a child is born (by fork, where the system has
it) that is `risk_manager run`, with the parts counted where the composition root looks for them.
`dies_at` 0 never dies by itself. The journal tells, to the byte, what was acknowledged.
"""

import json
import os
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import _AsyncGeneratorContextManager, suppress
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from torture.remembering import remembered

from risk_manager import cli
from risk_manager.broker.enforcement.enforcer import Enforcer
from risk_manager.broker.single_requests import Body, Lane, SessionGateway
from risk_manager.clock import Clock
from risk_manager.daemon import assembly
from risk_manager.domain.decisions import Action
from risk_manager.domain.events import QuoteChanged, Tick
from risk_manager.domain.state import State
from risk_manager.engine.turn import Judged
from risk_manager.pipeline import Pipeline
from risk_manager.store import sidecar_files, witness
from risk_manager.store.store import Store

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows: both are TerminateProcess


class Fate:
    """Counts the marked steps of this process and ends it at one of them."""

    dies_at: ClassVar[int] = 0
    journal: ClassVar[int] = -1
    numbers: ClassVar[Iterator[int]] = count(1)
    reached: ClassVar[int] = 0

    @classmethod
    def step(cls, name: str) -> None:
        number = cls.reached = next(cls.numbers)
        if number == cls.dies_at:
            cls.tell(kind="died", step=number, name=name)
            os.kill(os.getpid(), KILL)

    @classmethod
    def tell(cls, **what: Any) -> None:
        # Straight to the system: what was told outlives the process. A full disk is no fault of it.
        with suppress(OSError):
            os.write(cls.journal, json.dumps(what).encode() + b"\n")


class MarkedConnection(sqlite3.Connection):
    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        Fate.step(f"before {_short(sql)}")
        done = super().execute(sql, parameters)
        if sql == "COMMIT":
            Fate.step("after COMMIT")
        return done

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> sqlite3.Cursor:
        Fate.step(f"before {_short(sql)}")
        return super().executemany(sql, parameters)


def _short(sql: str) -> str:
    return " ".join(sql.split()[:4])


class MarkedStore(Store):
    @classmethod
    def open(cls, path: Path, clock: Clock, **more: Any) -> _AsyncGeneratorContextManager[Store]:
        more["connection_class"] = MarkedConnection
        return super().open(path, clock, **more)

    async def commit_turn(self, turn: Sequence[Judged]) -> None:
        after = turn[-1].outcome.state
        changed = after.accounts is not turn[0].before.accounts
        if changed:
            Fate.tell(kind="begun", step=Fate.reached, accounts=_accounts(after))
        await super().commit_turn(turn)
        if changed and self.trouble is None:
            marker = self.mirror.marker()
            head = [marker.last_audit_seq, marker.last_audit_hash]
            Fate.tell(kind="kept", accounts=_accounts(after), audit=head)


def _accounts(state: State) -> dict[int, object]:
    return {account.id: remembered(account) for account in state.accounts.values()}


class MarkedEnforcer(Enforcer):
    def submit(self, action: Action) -> None:
        Fate.step(f"before submit {type(action).__name__}")
        super().submit(action)
        Fate.step(f"after submit {type(action).__name__}")


class MarkedGateway(SessionGateway):
    async def request(self, lane: Lane, path: str, body: Body) -> object:
        Fate.step(f"before request {path}")
        try:
            return await super().request(lane, path, body)
        finally:
            Fate.step(f"after reply {path}")


class MarkedPipeline(Pipeline):
    async def _carry_through(self, turn: Sequence[Judged]) -> None:
        name = "+".join(type(judged.event).__name__ for judged in turn)
        counts = not isinstance(turn[0].event, QuoteChanged | Tick)
        if counts:
            Fate.step(f"before {name}")
        await super()._carry_through(turn)
        if counts or any(outcome.actions or outcome.facts for _, _, outcome in turn):
            Fate.step(f"after {name}")


def _marked(work: Callable[[Path, dict[str, object]], None]) -> Any:
    def replace(path: Path, content: dict[str, object]) -> None:
        Fate.step(f"before {path.name}")
        work(path, content)

    return replace


def live(told: dict[str, Any]) -> int:
    """One daemon, from its start to whatever end."""
    Fate.journal = os.open(told["journal"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    output = os.open(told["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(output, standard)
    os.environ.update(told["env"])
    Fate.dies_at = told["dies_at"]
    for name, part in (
        ("Store", MarkedStore),
        ("Enforcer", MarkedEnforcer),
        ("SessionGateway", MarkedGateway),
        ("Pipeline", MarkedPipeline),
    ):
        setattr(assembly, name, part)
    marked = _marked(sidecar_files.replace_file)
    for module in (sidecar_files, witness):
        setattr(module, "replace_file", marked)  # noqa: B010 - by name, as its user imports it
    return cli.main(["run", "--config", told["config"], "--data", told["data"]])


def main() -> int:
    for line in sys.stdin:
        told = json.loads(line)
        if not hasattr(os, "fork"):
            _say(f"born {os.getpid()}")
            return live(told)
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = live(told)
            except BaseException:  # shown, as the interpreter would
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        _say(f"born {child}")
        os.waitpid(child, 0)
        _say("ended")
    return 0


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(main())
