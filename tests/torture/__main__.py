"""`make torture`: the long versions of everything that is done to the daemon, and the figures.

Run as a program: [--minutes M] [--parts NAME ...] [--write PAGE].
"""

import argparse
import asyncio
import logging
import os
import platform
import random
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from bench.figures import p99  # noqa: E402
from simulation.campaign import Totals, days, quantiles  # noqa: E402
from simulation.options import WHOLE_HOURS, drill_for, options_for  # noqa: E402
from simulation.planted import PLANTS  # noqa: E402
from simulation.soak import soak as soaked  # noqa: E402
from simulation.world import simulate  # noqa: E402
from torture import io_faults, other_parts, power_loss, time_to_flat  # noqa: E402
from torture.crash_points import Trial, count_steps, crash_at, random_kills, trials  # noqa: E402
from torture.lives import Nursery, scratch  # noqa: E402
from torture.promises import NOT_RUN, PROMISES, Figures, write_into  # noqa: E402

LEAST_IMAGES = 10_000
JOBS = os.cpu_count() or 1


@dataclass(slots=True)
class Run:
    """One torture: what it found so far, and how long a part may take."""

    figures: Figures
    minutes: float
    began_s: float = field(default_factory=monotonic)

    @property
    def ends_s(self) -> float:
        """When the whole is to end, of `monotonic()`."""
        return self.began_s + self.minutes * 60

    def until_s(self, share: float) -> float:
        return monotonic() + self.minutes * 60 * share

    def say(self, line: str) -> None:
        print(f"  {line}", flush=True)

    def blame(self, problems: list[str]) -> None:
        for problem in problems:
            self.say(f"PROBLEM {problem}")
        self.figures.problems += problems


# --- killed ---------------------------------------------------------------------------------------


async def crash(run: Run) -> None:
    nursery = Nursery()
    try:
        steps = await count_steps(nursery)
    finally:
        await nursery.close()
    # A few more than counted: no two mornings are quite the same.
    numbers = list(range(1, steps + 20))
    random.Random(1).shuffle(numbers)
    run.say(f"{steps} marked steps")
    done = await _trials(run, crash_at, numbers, share=0.4)
    _tell_trials(run, done, f"kill -9 at {{}} of about {steps} marked steps")


async def kills(run: Run) -> None:
    seeds = iter(range(1, 1_000_000))
    done = await _trials(run, random_kills, seeds, share=0.04)
    _tell_trials(run, done, f"{sum(t.kills for t in done)} kills at random moments in {{}} runs")


async def _trials(run: Run, kind: Any, numbers: Any, *, share: float) -> list[Trial]:
    done = []
    async for trial in trials(kind, numbers, until_s=run.until_s(share), jobs=2 * JOBS):
        if trial.kills:
            done.append(trial)
        run.blame(trial.all_problems)
    return done


def _tell_trials(run: Run, done: list[Trial], what: str) -> None:
    bad = sum(bool(t.problems or t.recovery.problems) for t in done)
    lost = sum(bool(t.problems) for t in done)
    run.figures.tell("P3", f"{what.format(len(done))}: {lost} with a loss")
    for label, cold in (("cold", True), ("imports done", False)):
        times = [
            t.recovery.took_s
            for t in done
            if t.recovery.cold is cold and t.recovery.took_s is not None
        ]
        if times:
            figure = (
                f"{label}: median {median(times):.2f} s, max {max(times):.2f} s of {len(times)}"
            )
            run.figures.tell("P4", figure)
    run.figures.tell("P5", f"{bad} mismatches after {len(done)} restarts")
    reversals = sum("by our doing" in p for t in done for p in t.problems)
    run.figures.tell("P8", f"{reversals} in {len(done)} killed runs")
    leaks = sum(len(t.leaks) for t in done)
    run.figures.tell("P11", f"{leaks} hits in the files and output of {len(done)} killed runs")
    run.blame([f"secret in {leak} (run {t.number})" for t in done for leak in t.leaks])
    run.say(f"{what.format(len(done))}; {bad} bad")


# --- the disk -------------------------------------------------------------------------------------


async def power(run: Run) -> None:
    ends = run.until_s(0.05)
    total = lost = corrupt = by_store = 0
    seed = 0
    while total < LEAST_IMAGES or monotonic() < ends:
        seed += 1
        async with power_loss.recorded(lives=2 + seed % 3) as tape:
            found = await power_loss.cut_the_power(tape, seed, 2_500)
        total, lost = total + found.images, lost + found.lost
        corrupt, by_store = corrupt + found.corrupt, by_store + found.opened_by_the_store
        run.blame([f"power, seed {seed}: {e}" for e in found.examples])
    figure = f"{total} power cuts: {lost} lost a commit, {corrupt} corrupt"
    run.figures.tell("P3", f"{figure} ({by_store} opened by the store itself)")
    run.say(figure)


async def disk(run: Run) -> None:
    nursery = Nursery()
    done = []
    try:
        with scratch() as path:
            async with io_faults.locked_and_killed(path, nursery) as template:
                for fault in io_faults.AT_START:
                    done.append(await io_faults.found_at_start(template, fault))
        for fault in filter(io_faults.is_possible, io_faults.WHILE_RUNNING):
            done.append(await io_faults.suffered_while_running(fault, nursery))
    finally:
        await nursery.close()
    for one in done:
        flat = "never" if one.flat_s is None else f"{one.flat_s:.2f} s"
        run.say(f"{one.fault:<30} flat {flat:>8}  {'told' if one.loud else 'not told'}")
        run.blame(one.all_problems)
    unlocked = sum(any("locked" in p for p in one.problems) for one in done)
    run.figures.tell("P6", f"{unlocked} unlocked by {len(done)} faults of the database")
    slowest = max((one.flat_s for one in done[len(io_faults.AT_START) :] if one.flat_s), default=0)
    run.figures.tell("P9", f"with the disk full, gone or garbage: flat within {slowest:.2f} s")


async def tampering(run: Run) -> None:
    nursery = Nursery()
    try:
        with scratch() as path:
            async with io_faults.locked_and_killed(path, nursery) as template:
                found = io_faults.tamper_with_each_row(template.folder.daemon.data)
    finally:
        await nursery.close()
    run.figures.tell("P12", f"{found.found} of {found.changes} changes to single rows found")
    if found.found != found.changes:
        run.blame([f"{found.changes - found.found} changes to the audit rows were not found"])


# --- time -----------------------------------------------------------------------------------------


async def flat(run: Run) -> None:
    rounds = max(10, min(40, int(run.minutes * 4)))
    peace = await time_to_flat.in_peace(max(rounds, 100))
    beside, burst = await time_to_flat.in_a_burst(rounds)
    alone, stalled = await time_to_flat.in_a_burst(rounds, screens=time_to_flat.SCREENS)
    ill = await time_to_flat.in_sickness(rounds)
    decided = p99(peace.to_request_ms)
    run.figures.tell("P1", f"order filled -> close request at the gateway: p99 {decided:.1f} ms")
    run.figures.tell(
        "P2",
        f"well: p99 {peace.p99_ms:.0f} ms, max {peace.most_ms:.0f} ms of {len(peace.to_flat_ms)}",
    )
    run.figures.tell("P2", f"ill: max {ill.most_ms / 1000:.1f} s of {len(ill.to_flat_ms)}")
    run.figures.tell(
        "P9",
        f"in peace and in a burst of {time_to_flat.BURST} quotes in a second, by turns: "
        f"{_compared(beside, burst)}",
    )
    run.figures.tell(
        "P9",
        f"the same with {time_to_flat.SCREENS} stalled screens ({stalled.stalled} let in, "
        f"{stalled.turned_away} turned away): {_compared(alone, stalled)}",
    )
    for name, times in (("burst", burst), ("stalled", stalled)):
        if times.most_ms > 2000:
            run.blame([f"{name}: {times.most_ms:.0f} ms to flat"])
    if ill.most_ms > 15_000:
        run.blame([f"ill: {ill.most_ms / 1000:.1f} s to flat"])


def _compared(before: time_to_flat.Times, after: time_to_flat.Times) -> str:
    return (
        f"median {before.median_ms:.1f} -> {after.median_ms:.1f} ms "
        f"({after.median_ms / before.median_ms - 1:+.0%}), "
        f"p99 {before.p99_ms:.1f} -> {after.p99_ms:.1f} ms of {len(after.to_flat_ms)}"
    )


async def daemons(run: Run) -> None:
    found = await other_parts.two_daemons()
    words = ", ".join(f"code {s.code} after {s.took_s:.2f} s" for s in found)
    run.figures.tell("P10", f"same folder, same account: {words}")
    run.blame([f"a second daemon ended with {s.code}" for s in found if s.code != 7])


async def blind(run: Run) -> None:
    nursery = Nursery()
    try:
        for how in ("dead", "silent"):
            took = await other_parts.noticed_after_s(nursery, how=how)
            words = "never noticed" if took is None else f"DEGRADED after {took:.1f} s"
            run.figures.tell("P7", f"hubs {how}: {words}")
            if took is None or took > 6:
                run.blame([f"hubs {how}: {words}"])
    finally:
        await nursery.close()


async def loosening(run: Run) -> None:
    nursery = Nursery()
    try:
        early = await other_parts.loosened_early(nursery)
    finally:
        await nursery.close()
    edits = len(other_parts.LOOSENED)
    run.figures.tell("P13", f"{len(early)} early of {edits} edits and restarts")
    run.blame([f"loosened early: {name}" for name in early])


# --- the simulation -------------------------------------------------------------------------------

# Which kinds of violation of the simulation's judge break which promise.
KINDS: dict[str, tuple[str, ...]] = {
    "P2": ("too slow", "not locked", "not healed", "action storm"),
    "P5": ("differ", "two rows"),
    "P6": ("ended early", "weakened"),
    "P7": ("blind",),
    "P8": ("enlarged", "opens", "too big", "moved away", "protective order"),
    "P9": ("internal error", "task ended"),
}


async def simulation(run: Run) -> None:
    """Whole days, each from its seed, under every weather, for as long as is left."""
    totals = Totals()
    until_s = max(run.until_s(0.25), run.ends_s)

    def simulate_many() -> None:
        chosen = (options_for(seed, hours=WHOLE_HOURS) for seed in count(1))
        for day in days(chosen, processes=JOBS, until_s=until_s):
            totals.add(day)
            seed = day.options.seed
            run.blame([f"simulation, seed {seed}: {v.kind}: {v.detail}" for v in day.violations])
            if totals.days % 20 == 0:
                run.say(f"{totals.days} days, {len(totals.violations)} violations")

    await asyncio.to_thread(simulate_many)
    for line in totals.lines(0.0)[1:]:
        run.say(line)
    found = [violation.kind.lower() for _, violation in totals.violations]
    for promise, words in KINDS.items():
        bad = sum(any(word in kind for word in words) for kind in found)
        run.figures.tell(promise, f"{totals.days} simulated days with faults: {bad} violations")
    run.figures.tell(
        "P2",
        f"simulated, what had to end ended: broker well {quantiles(totals.spans_well_s)}; "
        f"ill {quantiles(totals.spans_ill_s)}",
    )
    run.figures.tell("P5", f"{totals.trades} executions counted to the cent")


async def planted(run: Run) -> None:
    """Bugs put in on purpose, to see that the judge is awake."""

    def found_with_seed(plant: str) -> int | None:
        for seed in range(12):
            if simulate(drill_for(seed, plant)).violations:
                return seed
        return None

    for plant in filter(None, PLANTS):
        seed = await asyncio.to_thread(found_with_seed, plant)
        run.say(f"{plant:<16} {'not found' if seed is None else f'found with seed {seed}'}")
        if seed is None:
            run.blame([f"the planted bug {plant} was not found"])


async def soak(run: Run) -> None:
    """In processes of their own: their memory is what is measured."""
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(JOBS, mp_context=get_context("spawn")) as pool:
        both = await asyncio.gather(
            *(loop.run_in_executor(pool, partial(soaked, 5, sky=sky)) for sky in ("well", "ill"))
        )
    for grown in both:
        for line in grown.lines():
            run.say(line)
        run.blame([f"soak: {v.kind}: {v.detail}" for v in grown.violations])
        run.figures.tell(
            "P14",
            f"{grown.hours:.0f} simulated hours in one life, broker {grown.options.sky}, "
            f"{grown.executions_a_day:.0f} executions a day: the daemon's own memory "
            f"{grown.daemon_mb_a_day:+.2f} MB a day, the record {grown.audit_mb_a_year:.0f} MB a "
            f"year, the whole database {grown.database_mb_a_year:.0f} MB after one",
        )


# --- all ------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Run], Awaitable[None]]] = {
    "daemons": daemons,
    "flat": flat,
    "blind": blind,
    "loosening": loosening,
    "tampering": tampering,
    "disk": disk,
    "power": power,
    "crash": crash,
    "kills": kills,
    "planted": planted,
    "soak": soak,
    "simulation": simulation,
}


async def torture(run: Run, parts: list[str]) -> None:
    for name in parts:
        print(f"== {name} ==", flush=True)
        began = monotonic()
        try:
            await PARTS[name](run)
        except Exception as error:  # one part's end is not the end of the others
            run.blame([f"the part {name} broke off: {type(error).__name__}: {error}"])
        run.say(f"took {monotonic() - began:.0f} s")


def _machine() -> str:
    """Figures of time mean little without it."""
    cores = f"{platform.system()}, {os.cpu_count()} cores"
    if not hasattr(os, "getloadavg"):
        return cores
    return f"{cores}, load {os.getloadavg()[2]:.1f} over the last 15 minutes"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--write", type=Path, help="put the figures into this page")
    given = parser.parse_args()
    # Clients that are killed in the middle of a request are the point here.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    run = Run(Figures(), given.minutes)
    asyncio.run(torture(run, given.parts))
    print(f"\n{_machine()}")
    for number, promise, target in PROMISES:
        print(f"{number:<4} {promise:<38} {target}\n     {run.figures.of(number)}")
    missing = [number for number, _, _ in PROMISES if run.figures.of(number) == NOT_RUN]
    print(f"\n{len(run.figures.problems)} problems" + (f"; not run: {missing}" if missing else ""))
    if given.write is not None:
        chosen = "all parts" if given.parts == list(PARTS) else ", ".join(given.parts)
        how = f"`make torture MINUTES={given.minutes:g}` ({chosen}) on {_machine()}"
        write_into(given.write, run.figures, how)
    return 1 if run.figures.problems else 0


if __name__ == "__main__":
    sys.exit(main())
