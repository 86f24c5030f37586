"""kill -9 at every marked step of a scripted morning, and at random moments of a wilder one."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic

from daemon_process import ACCOUNT, day_net
from torture.lives import Folder, Nursery, Recovery, Watch, losses, recover, scratch, until

CONCURRENTLY = 2
COLD_EVERY = 10
LOST = 3000  # far beyond the limit of the torture's rules, in dollars


@dataclass(slots=True)
class Trial:
    """One death and one resurrection. `step` is None where the script ended first."""

    number: int
    step: str | None = None
    kills: int = 0
    recovery: Recovery = field(default_factory=Recovery)
    problems: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    @property
    def all_problems(self) -> list[str]:
        where = f"step {self.number} ({self.step})"
        return [f"{where}: {p}" for p in (*self.problems, *self.recovery.problems)]


async def morning(watch: Watch, over: Callable[[], bool]) -> None:
    """The script: cut back, blocked, a loss, a lock, and trading on in spite of it.

    Once the daemon is dead (`over`), the trader goes on alone.
    """

    async def see(condition: Callable[[], bool], what: str) -> None:
        await until(lambda: over() or condition(), what)

    watch.trade("MNQ", 7)
    await see(lambda: watch.net("MNQ") == 5, "cut back to 5")
    watch.rest("MNQ", 1, 200)
    watch.trade("RTY", 1)
    await see(lambda: watch.net("RTY") == 0, "a blocked product closed")
    watch.trade("MES", -1)
    await see(lambda: watch.net("MES") == 0 or abs(watch.net("MNQ")) < 5, "cut back again")
    watch.move("MNQ", -60)
    watch.close("MNQ")
    watch.trade("MES", 1)
    await see(watch.is_done, "flat after the loss")
    watch.rest("MES", 1, 100)
    watch.trade("MNQ", 2)
    await see(watch.is_done, "flat again in spite of the trader")
    watch.trade("MNQ", -1)
    watch.rest("MNQ", -2, 50)
    await see(watch.is_done, "and again")


async def crash_at(number: int, nursery: Nursery) -> Trial:
    """Live the morning, die at the `number`th step, come back; every tenth time wholly cold."""
    trial = Trial(number)
    with scratch() as path:
        async with Watch.open() as watch:
            folder = Folder(path, watch)
            doomed = await nursery.born(folder, watch, dies_at=number)
            try:
                await until(lambda: doomed.is_running or doomed.is_dead, "RUNNING")
                await morning(watch, lambda: doomed.is_dead)
            except AssertionError as error:
                trial.problems.append(str(error))
            finally:
                await doomed.kill()
            deaths = [e["name"] for e in folder.entries() if e["kind"] == "died"]
            if not deaths:
                return trial
            trial.step, trial.kills = deaths[0], 1
            trial.problems += await losses(folder)
            cold = number % COLD_EVERY == 1
            trial.recovery = await recover(folder, watch, None if cold else nursery)
            trial.problems += watch.risks_made()
            trial.leaks = folder.secrets_in(watch.secrets)
    return trial


async def random_kills(seed: int, nursery: Nursery, kills: int = 3) -> Trial:
    """A trader who does anything at any time, and a daemon killed in the middle of it."""
    rng = random.Random(seed)
    trial = Trial(seed, step="random")
    with scratch() as path:
        async with Watch.open() as watch:
            folder = Folder(path, watch)
            for _ in range(kills):
                doomed = await nursery.born(folder, watch)
                ends = monotonic() + rng.uniform(0.05, 2.0)
                while monotonic() < ends:
                    _deed(rng, watch)
                    await asyncio.sleep(rng.uniform(0.0, 0.15))
                await doomed.kill()
                trial.kills += 1
                trial.problems += await losses(folder)
            _lose_the_day(watch)
            trial.recovery = await recover(
                folder, watch, None if seed % COLD_EVERY == 1 else nursery
            )
            trial.problems += watch.risks_made()
            trial.leaks = folder.secrets_in(watch.secrets)
    return trial


def _deed(rng: random.Random, watch: Watch) -> None:
    root = rng.choice(["MNQ", "MES", "MNQ", "RTY"])
    match rng.randrange(7):
        case 0 | 1:
            watch.trade(root, rng.choice([1, 2, 4, -1, -3]))
        case 2:
            watch.rest(root, rng.choice([1, -1, 2]), rng.randrange(20, 300))
        case 3:
            watch.close(root)
        case 4:
            for order in watch.exchange.working_orders(ACCOUNT)[:1]:
                watch.exchange.order_entry.cancel(ACCOUNT, order.id, now=watch.gateway.now())
        case _:
            watch.move(root, rng.choice([-8, -3, -1, 1, 3, 8]))


def _lose_the_day(watch: Watch) -> None:
    """Whatever happened, and whatever it made: the day ends beyond the limit, something open."""
    watch.close("MNQ")
    while day_net(watch.exchange) > -LOST:
        watch.trade("MNQ", 5)
        watch.move("MNQ", -400)
        watch.close("MNQ")
    watch.trade("MES", 1)
    watch.rest("MES", 1, 100)


async def trials(
    kind: Callable[[int, Nursery], Awaitable[Trial]],
    numbers: Iterable[int],
    *,
    until_s: float = math.inf,
    jobs: int = CONCURRENTLY,
) -> AsyncIterator[Trial]:
    """One trial a number, some at once; begins no more after `until_s` (of `monotonic()`)."""
    left = iter(numbers)
    done: asyncio.Queue[Trial | BaseException | None] = asyncio.Queue()

    async def work() -> None:
        nursery = Nursery()
        try:
            for number in left:
                if monotonic() > until_s:
                    break
                await done.put(await kind(number, nursery))
        except Exception as error:  # told to the one who waits
            await done.put(error)
        finally:
            await nursery.close()
            await done.put(None)

    async with asyncio.TaskGroup() as group:
        for job in range(jobs):
            group.create_task(work(), name=f"torture {job}")
        running = jobs
        while running:
            trial = await done.get()
            if trial is None:
                running -= 1
            elif isinstance(trial, BaseException):
                raise trial
            else:
                yield trial


async def count_steps(nursery: Nursery) -> int:
    """How many marked steps a morning has (a few more or fewer each time)."""
    with scratch() as path:
        async with Watch.open() as watch:
            folder = Folder(path, watch)
            doomed = await nursery.born(folder, watch)
            try:
                await until(lambda: doomed.is_running or doomed.is_dead, "RUNNING")
                await morning(watch, lambda: doomed.is_dead)
            finally:
                await doomed.kill()
            return max((e["step"] for e in folder.entries() if "step" in e), default=0)
