"""No turn of the machine's clock moves the daemon's, and no word of the gateway alone."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count

import pytest
from virtual_time import in_virtual_time

from risk_manager.clock import SystemClock, VenueTime, tick
from risk_manager.domain.events import Tick

START = datetime(2026, 11, 20, 16, 0, tzinfo=UTC)


class Machine:
    """A computer whose clock can be turned, and which can sleep."""

    def __init__(self) -> None:
        self.true = START
        self.turned = timedelta(0)
        self.missed = timedelta(0)
        machine = self

        class Clock(SystemClock):
            def monotonic(self) -> float:
                return (machine.true - machine.missed - START).total_seconds()

        self.clock: SystemClock = Clock(wall=self.wall, elapsed=lambda: self.clock_elapsed())
        self.venue = VenueTime(self.clock)

    def wall(self) -> datetime:
        return self.true + self.turned

    def clock_elapsed(self) -> float:
        return (self.true - self.missed - START).total_seconds()

    def passes(self, **span: float) -> None:
        self.true += timedelta(**span)

    def sleeps(self, **span: float) -> None:
        """Asleep on a system where no clock but the wall goes on."""
        self.true += timedelta(**span)
        self.missed += timedelta(**span)

    def answer(self) -> None:
        self.venue.note(format_datetime(self.true.replace(microsecond=0), usegmt=True))


@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_turning_the_machines_clock_moves_nothing(hours: int) -> None:
    machine = Machine()
    machine.turned = timedelta(hours=hours)
    machine.passes(seconds=5)
    assert machine.clock.now() == START + timedelta(seconds=5)
    assert machine.clock.drift() == timedelta(hours=hours)
    for _ in range(30):
        machine.answer()
        machine.passes(seconds=1)
    assert machine.venue.corrections == 0
    assert machine.clock.now() == machine.true


def test_after_a_sleep_nobody_counted_the_gateway_and_the_wall_set_it_right() -> None:
    machine = Machine()
    machine.sleeps(hours=8)
    assert machine.clock.now() == START
    machine.answer()
    assert machine.clock.now() == machine.true
    assert machine.venue.corrections == 1


def hears(machine: Machine, ahead: timedelta, *, seconds: int = 30) -> None:
    """The gateway's answers, one a second, from a clock that is so much ahead."""
    for _ in range(seconds):
        machine.venue.hear(machine.true + ahead)
        machine.passes(seconds=1)


AHEAD = [timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=1), timedelta(days=1)]


@pytest.mark.parametrize("ahead", AHEAD)
def test_a_gateway_that_is_ahead_alone_moves_nothing_and_says_by_how_much(
    ahead: timedelta,
) -> None:
    """F6.1: The gateway's time alone, however often it is said, does not move the daemon's."""
    machine = Machine()
    hears(machine, ahead)
    assert machine.clock.now() == machine.true
    assert machine.venue.corrections == 0
    assert machine.venue.lead == ahead
    machine.answer()
    assert machine.venue.lead == timedelta(0)


@pytest.mark.parametrize(
    ("machine_ahead", "gateway_ahead"), [(1, 24), (24, 1), (-1, 24), (-24, 1), (-24, -1), (24, -1)]
)
def test_of_two_clocks_that_differ_the_earlier_counts_and_never_backwards(
    machine_ahead: int, gateway_ahead: int
) -> None:
    """F6.1: Where both clocks move while the daemon runs it goes as far as the earlier one."""
    machine = Machine()
    machine.turned = timedelta(hours=machine_ahead)
    hears(machine, timedelta(hours=gateway_ahead))
    earlier = timedelta(hours=max(0, min(machine_ahead, gateway_ahead)))
    assert machine.clock.now() == machine.true + earlier


@pytest.mark.parametrize("behind", [timedelta(minutes=3), timedelta(hours=1), timedelta(days=1)])
async def test_a_machine_that_is_behind_counts_until_it_is_set(behind: timedelta) -> None:
    """F6.1: A machine whose clock is behind is late by that, and in time once it is set."""
    machine = Machine()

    async def ask() -> bool:
        machine.passes(seconds=1)
        machine.venue.hear(machine.true + behind)
        return True

    assert await machine.venue.agree(ask) is None
    assert machine.clock.now() == machine.true
    assert machine.venue.lead == behind
    machine.turned = behind  # the operator sets it, or NTP does
    hears(machine, behind, seconds=2)
    assert machine.clock.now() == machine.true + behind
    assert machine.venue.lead == timedelta(0)


def test_after_a_sleep_nobody_counted_one_odd_header_moves_nothing() -> None:
    """F6.1: A second statement of the gateway is no second witness: the machine's clock is."""
    machine = Machine()
    machine.sleeps(hours=8)
    machine.turned = timedelta(hours=-8)  # the machine's clock was turned back besides
    machine.answer()
    assert machine.clock.now() == START
    machine.passes(seconds=11)
    machine.answer()
    assert machine.clock.now() == START + timedelta(seconds=11)
    assert machine.venue.lead == timedelta(hours=8)
    machine.turned = timedelta(0)
    machine.answer()
    assert machine.clock.now() == machine.true


def test_one_odd_header_is_no_lead() -> None:
    machine = Machine()
    machine.venue.hear(machine.true + timedelta(days=1))
    assert machine.venue.lead == timedelta(0)
    machine.answer()
    assert machine.clock.now() == machine.true


def test_headers_that_do_not_agree_with_each_other_move_nothing() -> None:
    machine = Machine()
    for seconds in range(0, 600, 20):
        machine.venue.hear(machine.true + timedelta(hours=1, seconds=seconds))
        machine.passes(seconds=20)
    assert machine.clock.now() == machine.true


def test_the_clock_never_goes_back_and_says_when_it_is_ahead() -> None:
    machine = Machine()
    machine.venue.hear(START - timedelta(hours=1))
    assert machine.clock.now() == START
    assert machine.venue.is_ahead
    machine.venue.hear(START)
    assert not machine.venue.is_ahead


@pytest.mark.parametrize("off", [timedelta(days=-1), timedelta(seconds=-10), timedelta(hours=-2)])
async def test_at_the_start_a_clock_that_is_ahead_is_set_back_to_the_gateways(
    off: timedelta,
) -> None:
    machine = Machine()

    async def ask() -> bool:
        machine.passes(seconds=1)
        machine.venue.hear(machine.true + off)
        return True

    assert await machine.venue.agree(ask) == off
    assert machine.clock.now() == machine.true + off
    assert await machine.venue.agree(ask) is None


async def test_at_the_start_one_odd_answer_moves_nothing() -> None:
    machine = Machine()
    stated = iter([timedelta(hours=1), timedelta(0)])

    async def ask() -> bool:
        machine.passes(seconds=1)
        machine.venue.hear(machine.true + next(stated))
        return True

    assert await machine.venue.agree(ask) is None
    assert machine.clock.now() == machine.true


async def test_at_the_start_a_fast_clock_is_set_back_though_no_two_answers_agree() -> None:
    """A lock that ends late is a nuisance, one that ends early is a broken promise."""
    machine = Machine()
    stated = count(1)

    async def ask() -> bool:
        machine.passes(seconds=1)
        machine.venue.hear(machine.true - timedelta(hours=1, seconds=5 * next(stated)))
        return True

    assert await machine.venue.agree(ask) is not None
    assert machine.clock.now() <= machine.true - timedelta(hours=1)


@in_virtual_time
async def test_at_the_start_the_gateway_is_asked_for_the_time_until_it_answers() -> None:
    machine = Machine()
    answers = iter([False, False, False, True, True])

    async def ask() -> bool:
        answered = next(answers)
        machine.passes(seconds=1)
        if answered:
            machine.venue.hear(machine.true + timedelta(hours=-1))
        return answered

    assert await machine.venue.agree(ask) == timedelta(hours=-1)


async def test_a_gateway_that_never_says_what_time_it_is_is_not_waited_for() -> None:
    machine = Machine()

    async def ask() -> bool:
        return True

    assert await machine.venue.agree(ask) is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "yesterday",
        "Fri, 99 Nov 2026 16:00:00 GMT",
        "Fri, 01 Nov 99999999999999999999 16:00:00 GMT",
    ],
)
def test_a_header_that_is_no_date_is_ignored(header: str) -> None:
    machine = Machine()
    machine.venue.note(header)
    assert machine.venue.stated is None


async def test_after_standing_still_the_ticks_missed_are_not_made_up_for() -> None:
    class Leaping(SystemClock):
        leapt = 0.0

        def monotonic(self) -> float:
            return asyncio.get_running_loop().time() + self.leapt

    clock, ticks, burst = Leaping(), list[Tick](), asyncio.Event()

    def put(one: Tick) -> None:
        ticks.append(one)
        clock.leapt = 3600.0
        if len(ticks) > 4:
            burst.set()

    task = asyncio.create_task(tick(clock, put), name="ticker")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await burst.wait()
    task.cancel()
    assert len(ticks) >= 2
