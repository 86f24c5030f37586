"""The suite's share of `make torture`: some of each, with the same checks."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from torture.crash_points import Trial, crash_at, random_kills, trials
from torture.io_faults import (
    found_at_start,
    is_possible,
    locked_and_killed,
    suffered_while_running,
    tamper_with_each_row,
)
from torture.lives import Nursery, scratch
from torture.power_loss import cut_the_power, recorded

pytestmark = pytest.mark.wire

FOUND_AT_START = (
    "deleted",
    "its log deleted",
    "overwritten",
    "bytes flipped",
    "an older copy put back",
    "a lock nobody can read",
    "the pause deleted by hand",
    "the manual lock cleared by hand",
    "the losses voided by hand",
    "an older state copied in",
    "deleted with its marker",
)
# Nothing is lost when the log had just been folded in; without its marker it is a first start.
NOT_TOLD = {"its log deleted", "deleted with its marker"}
WHILE_RUNNING = ("disk full for good", "deleted", "garbage in place")


@pytest.fixture(autouse=True)
def _quiet_gateway() -> None:
    """Clients that die in the middle of a request are the point here."""
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    nursery = Nursery()
    try:
        yield nursery
    finally:
        await nursery.close()


def _judged(done: list[Trial]) -> None:
    assert [problem for trial in done for problem in trial.all_problems] == []
    assert [leak for trial in done for leak in trial.leaks] == []


async def test_killed_at_any_step_it_has_lost_nothing_and_gets_flat_and_locked() -> None:
    done = [trial async for trial in trials(crash_at, range(110, 660, 90))]
    assert sum(trial.kills for trial in done) >= 5  # the last may lie behind the end
    _judged(done)


async def test_killed_at_random_in_wild_trading_it_has_lost_nothing() -> None:
    _judged([trial async for trial in trials(random_kills, [2])])


async def test_no_power_cut_loses_a_commit() -> None:
    async with recorded() as tape:
        losses = await cut_the_power(tape, 7, 500)
    assert losses.images >= 490
    assert losses.opened_by_the_store > 20
    assert losses.is_whole, losses


async def test_these_power_cuts_would_show_a_commit_that_was_not_synced() -> None:
    async with recorded(synchronous="NORMAL", lives=1) as tape:
        assert (await cut_the_power(tape, 7, 60)).lost > 10


async def test_a_damaged_database_at_the_start_unlocks_nothing(nursery: Nursery) -> None:
    with scratch() as path:
        async with locked_and_killed(path, nursery) as template:
            found = tamper_with_each_row(template.folder.daemon.data)
            assert found.found == found.changes
            done = [await found_at_start(template, fault) for fault in FOUND_AT_START]
    assert [problem for one in done for problem in one.all_problems] == []
    assert {one.fault for one in done if not one.loud} <= NOT_TOLD


async def test_whatever_happens_to_the_disk_meanwhile_it_enforces_and_tells() -> None:
    async def suffer(fault: str) -> list[str]:
        own = Nursery()
        try:
            return (await suffered_while_running(fault, own)).all_problems
        finally:
            await own.close()

    found = await asyncio.gather(*map(suffer, filter(is_possible, WHILE_RUNNING)))
    assert [problem for problems in found for problem in problems] == []
