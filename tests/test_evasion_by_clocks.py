"""Random days of a trader who turns clocks: no lock ends early while one of the two is right."""

import asyncio
from datetime import date, timedelta

import pytest
from desk import make_desk
from hypothesis import given, settings
from hypothesis import strategies as st
from test_clock import START, Machine

from risk_manager.clock import SystemClock, VenueTime
from risk_manager.daemon.watchdog import Watchdog
from risk_manager.domain.events import HealthIssueChanged, Tick
from risk_manager.domain.health_issue import CLOCK_AHEAD
from risk_manager.domain.trading_calendar import TradingDay

SPANS = [timedelta(0), *(s * timedelta(hours=h) for h in (1, 7, 24, 96, 9000) for s in (1, -1))]
NOISE = timedelta(seconds=4)
"""A Date header has whole seconds, and what is less than two is taken for its delay."""
HOUR = timedelta(hours=1)

steps = st.one_of(
    st.tuples(st.just("turn the machine's clock"), st.sampled_from(SPANS)),
    st.tuples(st.just("turn the gateway's clock"), st.sampled_from(SPANS)),
    st.tuples(st.just("one odd header"), st.sampled_from(SPANS)),
    st.tuples(
        st.just("time passes"), st.integers(1, 30 * 3600).map(lambda s: timedelta(seconds=s))
    ),
    st.tuples(st.just("uncounted sleep"), st.sampled_from([HOUR, 20 * HOUR])),
    st.tuples(st.just("restart"), st.just(timedelta(0))),
)


class NoReads:
    """Nobody has read the account yet, and nobody is asked to."""

    last_ok_at = failing_since = None
    reason = ""
    is_absent = False

    def status(self, account_id: int) -> "NoReads":
        return self

    def ask(self, account_id: int | None = None) -> None: ...


READS = NoReads()


class Day:
    """A desk with a lock until the reset and one for ten hours, and the clocks around it."""

    def __init__(self, *, only_one_ahead: bool) -> None:
        self.machine = Machine()
        self.only_one_ahead = only_one_ahead
        self.gateway_ahead = timedelta(0)
        self.desk = make_desk(daily_realized_loss={"limit": 100})
        self.said_ahead = ""
        self.ends = {"account": TradingDay().next_reset(START), "root:CL": START + 10 * HOUR}

    async def begins(self) -> None:
        self.desk.now = START
        await self.desk.loss(150)
        await self.desk.admin("lock", scope="root:CL", until=START + 10 * HOUR)
        assert set(self.ends) == self.locked

    @property
    def locked(self) -> set[str]:
        return {lock.scope for lock in self.desk.account().locks.values()}

    async def does(self, what: str, span: timedelta) -> None:
        machine = self.machine
        match what:
            case "turn the machine's clock" if not self._both_ahead(span, self.gateway_ahead):
                machine.turned = span
            case "turn the gateway's clock" if not self._both_ahead(machine.turned, span):
                self.gateway_ahead = span
            case "one odd header" if not self._both_ahead(machine.turned, span):
                machine.venue.hear(machine.true + span)
                self.answers(1)
            case "time passes":
                machine.passes(seconds=span.total_seconds())
            case "uncounted sleep":
                machine.sleeps(seconds=span.total_seconds())
            case "restart":
                await self.restart()
        for _ in range(3):
            self.answers(15)
            await self.look()

    def _both_ahead(self, machine: timedelta, gateway: timedelta) -> bool:
        return self.only_one_ahead and machine > timedelta(0) and gateway > timedelta(0)

    def answers(self, seconds: int) -> None:
        for _ in range(seconds):
            self.machine.venue.hear(self.machine.true + self.gateway_ahead)
            self.machine.passes(seconds=1)

    async def restart(self) -> None:
        machine = self.machine
        missed = machine.missed

        class Clock(SystemClock):
            def monotonic(self) -> float:
                return (machine.true - missed - START).total_seconds()

        machine.clock = Clock(wall=machine.wall, elapsed=machine.clock_elapsed)
        machine.venue = VenueTime(machine.clock)

        async def ask() -> bool:
            self.answers(1)
            return True

        await machine.venue.agree(ask)
        self.desk.now = machine.clock.now()
        await self.say_whether_ahead()
        await self.desk.restart()

    async def say_whether_ahead(self) -> None:
        """As the watchdog does each second."""
        reason = "ahead" if self.machine.venue.is_ahead else ""
        if reason != self.said_ahead:
            self.said_ahead = reason
            kind, account_id, subject = CLOCK_AHEAD
            await self.desk.happens(
                HealthIssueChanged(
                    at=self.machine.clock.now(),
                    doubt=kind,
                    account_id=account_id,
                    subject=subject,
                    reason=reason,
                )
            )

    async def look(self) -> None:
        await self.say_whether_ahead()
        self.desk.now = self.machine.clock.now()
        await self.desk.happens(Tick(at=self.desk.now, lead=self.machine.venue.lead))

    def today(self) -> date:
        return TradingDay().date_of(self.machine.true + NOISE)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, min_size=1, max_size=8))
def test_no_lock_ends_early_while_one_clock_is_right(taken: list[tuple[str, timedelta]]) -> None:
    """F6.1: Turning either clock, sleeping and restarting, in any order, ends nothing early."""

    async def day() -> None:
        it = Day(only_one_ahead=True)
        await it.begins()
        for what, span in taken:
            await it.does(what, span)
            true = it.machine.true + NOISE
            assert it.machine.clock.now() <= true, (what, span)
            for scope, end in it.ends.items():
                assert scope in it.locked or true >= end, (what, span, scope)
            assert it.desk.account().trading_date <= it.today(), (what, span)

    asyncio.run(day())


@settings(max_examples=100, deadline=None)
@given(st.lists(steps, max_size=6))
def test_once_both_clocks_are_right_every_lock_ends_in_its_time(
    taken: list[tuple[str, timedelta]],
) -> None:
    """F6.1: However the clocks were turned: once they are right, a restart puts all right."""

    async def day() -> None:
        it = Day(only_one_ahead=True)
        await it.begins()
        for what, span in taken:
            await it.does(what, span)
        it.gateway_ahead = it.machine.turned = timedelta(0)
        await it.restart()
        it.machine.passes(hours=5 * 24)
        for _ in range(3):
            it.answers(15)
            await it.look()
        assert it.locked == set()
        assert it.desk.account().trading_date == it.today()
        assert abs(it.machine.clock.now() - it.machine.true) <= NOISE

    asyncio.run(day())


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, min_size=1, max_size=8))
def test_where_both_clocks_are_ahead_it_is_told(
    tmp_path_factory: pytest.TempPathFactory, taken: list[tuple[str, timedelta]]
) -> None:
    """F6.1: What two wrong clocks do is not prevented: a leap while running is told."""
    heartbeat = tmp_path_factory.getbasetemp() / "heartbeat"
    it = Day(only_one_ahead=False)
    machine = it.machine
    told: list[str] = []

    def put(event: object) -> None:
        if isinstance(event, HealthIssueChanged):
            told.append(event.reason)

    def watchdog() -> Watchdog:
        return Watchdog(
            clock=machine.clock,
            put=put,
            state=lambda: it.desk.pipeline.state,
            reads=READS,
            mark_suspect=lambda hub, why: None,
            heartbeat=heartbeat,
            venue=machine.venue,
            resident_mb=lambda: None,
        )

    async def day() -> None:
        await it.begins()
        watching = watchdog()
        for what, span in taken:
            if what in ("restart", "uncounted sleep"):
                continue
            before, passed = machine.clock.now(), machine.true
            await it.does(what, span)
            watching.beat(0.0, 0.0)
            leapt = (machine.clock.now() - before) - (machine.true - passed)
            if leapt > timedelta(minutes=2):
                assert any("the time went forward" in reason for reason in told), (what, span)
            told.clear()

    asyncio.run(day())
