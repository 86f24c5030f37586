"""The daemon notices what ails itself, says it once, and asks for the remedy."""

import os
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from desk import MORNING
from test_clock import Machine

from risk_manager.daemon.process_memory import memory_mb
from risk_manager.daemon.watchdog import Watchdog
from risk_manager.domain.events import AnyEvent, HealthIssueChanged, Hub
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.health_issue import CLOCK_AHEAD, HealthIssue, IssueKind
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State


@dataclass
class Status:
    last_ok_at: datetime | None = None
    failing_since: datetime | None = None
    is_absent: bool = False
    reason: str = ""


@dataclass
class Reads:
    statuses: dict[int, Status] = field(default_factory=dict)
    asked: list[int | None] = field(default_factory=list)

    def status(self, account_id: int) -> Status:
        return self.statuses.get(account_id, Status())

    def ask(self, account_id: int | None = None) -> None:
        self.asked.append(account_id)


class Watched:
    """A watchdog over a machine, with its edges in the test's hand."""

    def __init__(self, folder: Path) -> None:
        self.machine = Machine()
        self.machine.venue.hear(self.machine.true)
        self.put: list[AnyEvent] = []
        self.reads = Reads()
        self.rebuilt: list[tuple[Hub, str]] = []
        self.used_mb: float | None = 80.0
        self.state = State.at(MORNING, Rulebook())
        self.heartbeat = folder / "heartbeat"
        self.watchdog = Watchdog(
            clock=self.machine.clock,
            put=self.put.append,
            state=lambda: self.state,
            reads=self.reads,
            mark_suspect=lambda hub, why: self.rebuilt.append((hub, why)),
            heartbeat=self.heartbeat,
            venue=self.machine.venue,
            resident_mb=lambda: self.used_mb,
        )

    def beat(self, gap_s: float = 0.0, lag_s: float = 0.0) -> list[tuple[str, str]]:
        """One look; the doubts it brought up or took back."""
        self.machine.passes(seconds=1)
        before = len(self.put)
        self.watchdog.beat(gap_s, lag_s)
        fresh = [e for e in self.put[before:] if isinstance(e, HealthIssueChanged)]
        return [(e.doubt.value, e.reason) for e in fresh]

    def doubts(self, **by_kind: str) -> None:
        found = [
            HealthIssue(kind=IssueKind(kind), since=MORNING, reason=why, account_id=101)
            for kind, why in by_kind.items()
        ]
        self.state = fast_replace(
            self.state, health_issues=MappingProxyType({d.key: d for d in found})
        )


def test_a_quiet_second_says_nothing_and_leaves_a_heartbeat(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    assert watched.beat() == []
    os.utime(watched.heartbeat, (1, 1))
    assert watched.beat() == []
    assert time.time() - watched.heartbeat.stat().st_mtime < 60


def test_standing_still_is_told_and_everything_read_anew(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    ((kind, reason),) = watched.beat(gap_s=3600)
    assert kind == "suspended"
    assert "3600 s" in reason
    assert watched.reads.asked == [None]


def test_a_turned_clock_is_told_until_the_gateway_confirms_ours(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.beat()
    watched.machine.turned = timedelta(hours=1)
    ((kind, reason),) = watched.beat()
    assert (kind, "+3600 s" in reason) == ("clock_turned", True)
    assert watched.beat() == []
    watched.machine.answer()
    over, (_, still) = watched.beat()
    assert over == ("clock_turned", "")
    assert "60 min later than the gateway's" in still
    watched.machine.turned = timedelta(0)
    assert ("clock_turned", "") in watched.beat()


def test_a_clock_ahead_of_the_gateways_is_told_until_they_agree(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.machine.venue.hear(watched.machine.true - timedelta(hours=2))
    ((kind, reason),) = watched.beat()
    assert (kind, "7200 s" in reason) == ("clock_turned", True)
    watched.machine.venue.hear(watched.machine.true)
    assert watched.beat() == [("clock_turned", "")]


def test_reads_that_fail_are_told_and_taken_back(tmp_path: Path) -> None:
    from risk_manager.domain.account import Account

    watched = Watched(tmp_path)
    account = Account(id=101, trading_date=MORNING.date())
    watched.state = fast_replace(watched.state, accounts=MappingProxyType({101: account}))
    watched.reads.statuses[101] = Status(failing_since=MORNING, reason="HTTP 503")
    assert watched.beat() == [("reads_failing", "account 101 cannot be read: HTTP 503")]
    assert watched.beat() == []
    watched.reads.statuses.clear()
    assert watched.beat() == [("reads_failing", "")]


def test_a_stream_that_tells_too_little_is_rebuilt_once_a_minute_at_most(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.doubts(positions_differ="a position nobody told of")
    watched.beat()
    watched.beat()
    assert watched.rebuilt == [(Hub.USER, "a position nobody told of")]
    watched.doubts()
    watched.beat()
    watched.doubts(positions_differ="again")
    watched.beat()
    assert len(watched.rebuilt) == 1
    watched.machine.passes(seconds=60)
    watched.beat()
    assert watched.rebuilt[1:] == [(Hub.USER, "again")]


def test_money_that_does_not_add_up_is_read_anew_once(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.doubts(pnl_differs="the balance moved otherwise")
    watched.beat()
    watched.beat()
    assert watched.reads.asked == [101]


def test_a_loop_that_lags_and_a_process_that_grows_are_told(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.beat(lag_s=0.2)
    assert watched.beat(lag_s=2.5) == [("slow", "the daemon lags by 2.5 s")]
    assert watched.beat() == [("slow", "")]
    assert watched.watchdog.worst_lag_s == 2.5
    watched.used_mb = 612.0
    told = [row for _ in range(31) for row in watched.beat()]
    assert told == [("slow", "the daemon uses over 600 MB")]


def test_the_memory_of_this_process_can_be_read() -> None:
    used = memory_mb()
    assert used is not None
    assert 10 < used < 10_000


def test_until_the_gateway_has_answered_no_lock_ends_by_the_clock(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.machine.venue.offset = None
    first = watched.watchdog.first_doubt_of_time()
    assert first is not None
    assert (first.doubt, first.account_id, first.subject) == CLOCK_AHEAD
    assert watched.beat() == []  # said already
    watched.machine.venue.hear(watched.machine.true)
    assert watched.beat() == [("clock_turned", "")]
    assert watched.watchdog.first_doubt_of_time() is None


def test_a_clock_later_than_the_gateways_is_doubted_from_the_first_event_on(
    tmp_path: Path,
) -> None:
    watched = Watched(tmp_path)
    watched.machine.venue.hear(watched.machine.true - timedelta(hours=2))
    first = watched.watchdog.first_doubt_of_time()
    assert first is not None
    assert "later than the gateway's" in first.reason
