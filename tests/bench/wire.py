"""Wire to wire: a whole fill on the wire -> the close request, daemon and bare SDK in turns.

The gateway is this process, each client a process of its own with a gateway of its own. The clock
starts just before the five frames of the fill are written, all in one write; the frame that makes
the breach visible, the position, is the fourth of them. It ends when the bytes of the close request
are read. Both instants are of this process's clock.
"""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from bench.broker import (
    ACCOUNTS,
    BLOCKED,
    BREACHED,
    CONTRACT_IDS,
    ROOTS,
    Broker,
    CloseRequest,
    Reads,
    quote,
)
from bench.clients import Client, bare_sdk, daemon, feed_clients
from bench.figures import Figures

WITHIN_S = 10.0
PACE_S = 0.15
SETTLED_S = 3.0
TURN = len(ACCOUNTS)
BURST, SLICE = 20_000, 10
BURST_PER_SECOND = 5000
BETWEEN_IN_A_BURST_S = 0.02
REENTRIES = 10
REENTERED_AFTER_S = 0.003
"""From the frames of our close to those of the next entry."""
FEED_CLIENTS = 10


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured. `quick` shows that it works, and roughly how it stands."""

    breaches: int
    storms: int
    flattened: int
    idle_minutes: float
    idle_rounds: int
    cpu_seconds: float

    def of(self, breaches: int) -> "Amount":
        """So many breaches, and what is done more rarely in proportion."""
        part = breaches / self.breaches
        return replace(
            self,
            breaches=breaches,
            storms=max(round(self.storms * part), QUICK.storms),
            flattened=max(round(self.flattened * part), QUICK.flattened),
        )


FULL = Amount(1000, 20, 100, 1.5, 4, 60.0)
QUICK = Amount(60, 3, 10, 0.1, 2, 10.0)

type Pair = tuple[Client, Client]
type Row = Callable[[Figures, Amount], Coroutine[None, None, None]]


def no_load() -> contextlib.AbstractAsyncContextManager[None]:
    return contextlib.nullcontext()


class Missed(Exception):
    """A close request did not come in time."""


@contextlib.asynccontextmanager
async def pair(figures: Figures, *, collecting: bool = False) -> AsyncIterator[Pair]:
    """Bare SDK and daemon, both connected, warm and quiet. Close requests too many are noted."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folders = Path(name) / "bare", Path(name) / "daemon"
        for folder in folders:
            folder.mkdir()
        async with (
            bare_sdk(folders[0]) as bare,
            daemon(folders[1], collecting=collecting) as ours,
            quotes_of_quiet_times(bare, ours),
        ):
            await asyncio.sleep(SETTLED_S)
            for client in (bare, ours):
                for account in ACCOUNTS:
                    await breach(client.broker, account)
                    await asyncio.sleep(PACE_S)
            await asyncio.sleep(SETTLED_S)
            yield bare, ours
            for client in (bare, ours):
                needless = sum(not request.was_needed for request in client.broker.closes)
                if needless:
                    who = "risk_manager" if client.is_ours else "the bare SDK"
                    figures.note(f"{who} sent {needless} close requests for nothing")


# ---- one breach -------------------------------------------------------------------------------


async def closes(broker: Broker, account: int, since: int, number: int = 1) -> list[CloseRequest]:
    """The needed closes of an account after the first `since` requests, once there are so many."""

    def found() -> list[CloseRequest]:
        return [c for c in broker.closes[since:] if c.account_id == account and c.was_needed]

    if not await broker.until(lambda: len(found()) >= number, WITHIN_S):
        raise Missed(f"{len(found())} of {number} close requests within {WITHIN_S:g} s")
    return found()


async def breach(broker: Broker, account: int, root: str = BREACHED, lots: int = 6) -> float:
    """One fill that crosses a limit; milliseconds to the close request. Returns once it is flat.

    A close that does not come counts its whole wait, and the trader ends the position.
    """
    known = len(broker.closes)
    sent_ns = broker.fill(account, root, lots)
    try:
        (request,) = await closes(broker, account, known)
    except Missed:
        broker.fill(account, root, -lots)
        return WITHIN_S * 1000
    held = broker.books[account].positions
    await broker.until(lambda: CONTRACT_IDS[root] not in held, WITHIN_S)
    return (request.at_ns - sent_ns) / 1e6


async def in_turns(
    clients: Pair,
    breaches: int,
    before: Callable[[Client], None] = lambda _: None,
    load: Callable[[Client], contextlib.AbstractAsyncContextManager[None]] = lambda _: no_load(),
) -> tuple[list[float], list[float]]:
    """So many breaches of each, ten at a time, one an account; the load is on whose turn it is."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(max(breaches // TURN, 1)):
        for client, figures in zip(clients, found, strict=True):
            async with load(client):
                for account in ACCOUNTS:
                    await asyncio.sleep(PACE_S)
                    before(client)
                    figures.append(await breach(client.broker, account))
    return found


# ---- load -------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[None]:
    """Something that goes on beside the block."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def quotes_of_quiet_times(*clients: Client) -> AsyncIterator[None]:
    """One quote a second of each contract, so that no price is out of date."""

    async def pour() -> None:
        for number in count():
            for client in clients:
                client.broker.tell_quotes(b"".join(quote(root, number) for root in ROOTS))
            await asyncio.sleep(1.0)

    async with running(pour()):
        yield


def quotes(per_second: int) -> Callable[[Client], contextlib.AbstractAsyncContextManager[None]]:
    """So many quotes a second of five contracts, evenly."""

    async def pour(client: Client) -> None:
        loop = asyncio.get_running_loop()
        began, told = loop.time(), 0
        while True:
            due = int((loop.time() - began) * per_second)
            client.broker.tell_quotes(b"".join(map(_quote_of, range(told, due))))
            told = due
            await asyncio.sleep(max(0.01, 1 / per_second))

    return lambda client: running(pour(client))


def busy_day(per_second: int) -> Callable[[Client], contextlib.AbstractAsyncContextManager[None]]:
    """Quotes, and twenty orders a second of all accounts, each of which is kept on disk."""

    async def trade(client: Client) -> None:
        for number in count():
            account = ACCOUNTS[number % len(ACCOUNTS)]
            order = client.broker.working_order(account, "MES")
            await asyncio.sleep(0.05)
            client.broker.cancelled_order(account, order)
            await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def both(client: Client) -> AsyncIterator[None]:
        async with quotes(per_second)(client), running(trade(client)):
            yield

    return both


def collect(client: Client) -> None:
    """Have ours collect its garbage now: the fill that follows comes in the middle of it."""
    if client.is_ours:
        os.kill(client.process.pid, signal.SIGUSR1)


async def burst(
    client: Client, per_second: int | None, breaches: int, figures: list[float]
) -> None:
    """20,000 quotes, all at once or at so many a second, and breaches while they are being read."""
    # Made before: meanwhile no request would be stamped, which adds the same to both.
    slices = [
        b"".join(map(_quote_of, range(first, first + SLICE))) for first in range(0, BURST, SLICE)
    ]

    async def pour() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for told, frames in enumerate(slices):
            client.broker.tell_quotes(frames)
            due = 0.0 if per_second is None else began + (told + 1) * SLICE / per_second
            await asyncio.sleep(max(0.0, due - loop.time()))
        await client.broker.quotes_are_read()

    pouring = asyncio.create_task(pour(), name="burst")
    while not pouring.done() and len(figures) < breaches:
        await asyncio.sleep(BETWEEN_IN_A_BURST_S)
        if not pouring.done():
            account = ACCOUNTS[len(figures) % len(ACCOUNTS)]
            figures.append(await breach(client.broker, account))
    await pouring


def _quote_of(number: int) -> bytes:
    return quote(ROOTS[number % len(ROOTS)], number)


# ---- rows -------------------------------------------------------------------------------------


async def whole_fills(figures: Figures, amount: Amount) -> None:
    """A fill that crosses a limit, in quiet times and under load."""
    async with pair(figures) as clients:
        found = await in_turns(clients, amount.breaches)
        figures.beside("idle", *found, "<= 1.0x, p99 <= 1.5x")
        bare, ours = clients
        figures.line(
            "memory",
            [ours.resident_mb()],
            "MB",
            beside=("the bare SDK, connected", [bare.resident_mb()]),
            aim="<= 1.4x",
        )
    for per_second in (40, 700):
        async with pair(figures) as clients:
            found = await in_turns(clients, amount.breaches, load=quotes(per_second))
            figures.beside(f"{per_second} quotes/s of 5 contracts", *found, "<= 1.2x")
    async with pair(figures) as clients:
        async with feed_clients(clients[1].data, FEED_CLIENTS):
            found = await in_turns(clients, amount.breaches)
        figures.beside("ten feed clients attached", *found, "<= 1.2x")


async def bursts(figures: Figures, amount: Amount) -> None:
    for per_second in (BURST_PER_SECOND, None):
        async with pair(figures) as clients:
            found: tuple[list[float], list[float]] = ([], [])
            while min(map(len, found)) < amount.breaches:
                for client, values in zip(clients, found, strict=True):
                    if len(values) < amount.breaches:
                        await burst(client, per_second, amount.breaches, values)
                        await asyncio.sleep(1.0)
        how = f"{per_second} a second" if per_second else "all at once"
        figures.beside(f"a burst of 20,000 quotes, {how}", *found, "<= 1.2x")


async def collections(figures: Figures, amount: Amount) -> None:
    """In the middle of a whole garbage collection, of ours only; then everything at once."""
    async with pair(figures, collecting=True) as clients:
        found = await in_turns(clients, amount.breaches, before=collect)
        figures.beside("during a garbage collection", *found, "<= 1.2x")
    async with pair(figures, collecting=True) as clients:
        calls = count()

        def now_and_then(client: Client) -> None:
            if next(calls) % 10 == 0:
                collect(client)

        async with feed_clients(clients[1].data, FEED_CLIENTS):
            found = await in_turns(
                clients, amount.breaches, before=now_and_then, load=busy_day(700)
            )
        figures.beside(
            "700 quotes/s, 20 orders/s, ten feed clients, a collection in ten",
            *found,
            "<= 1.2x, p99.9 < 10 ms",
        )


async def after_idleness(figures: Figures, amount: Amount) -> None:
    async with pair(figures) as clients:
        found: tuple[list[float], list[float]] = ([], [])
        for number in range(amount.idle_rounds):
            await asyncio.sleep(amount.idle_minutes * 60)
            for client, values in zip(clients, found, strict=True):
                values.append(await breach(client.broker, ACCOUNTS[number % TURN]))
        figures.beside(f"after {amount.idle_minutes:g} idle minutes", *found, "<= 1.5x")


async def reentries(figures: Figures, amount: Amount) -> None:
    """Ten entries into a blocked product, each at once after the close of the one before."""
    pauses: dict[Reads, float] = {"well": 12.0, "slow": 5.0, "refused": 5.0}
    for reads, pause_s in pauses.items():
        async with pair(figures) as clients:
            clients[1].broker.reads = reads
            first: tuple[list[float], list[float]] = ([], [])
            others: tuple[list[float], list[float]] = ([], [])
            for number in range(amount.storms):
                account = ACCOUNTS[number % TURN]
                for side, client in enumerate(clients):
                    times = await storm(client.broker, account)
                    first[side].append(times[0])
                    others[side].extend(times[1:])
                await asyncio.sleep(pause_s if amount.storms > QUICK.storms else 3.0)
            told = {"well": "answered", "slow": "answered after 2 s", "refused": "refused (429)"}
            figures.beside(f"first of ten re-entries, reads {told[reads]}", *first, "")
            figures.beside(
                f"the nine after it, reads {told[reads]}", *others, "each <= 1.5x the first"
            )
            figures.line(
                f"slowest of all re-entries, reads {told[reads]}",
                [max(others[1])],
                "ms",
                beside=("the first", first[1]),
                aim="<= 1.5x",
            )


async def storm(broker: Broker, account: int) -> list[float]:
    """Milliseconds to the close request of each entry."""
    times: list[float] = []
    for _ in range(REENTRIES):
        times.append(await breach(broker, account, BLOCKED, 1))
        await asyncio.sleep(REENTERED_AFTER_S)
    return times


async def flattened(figures: Figures, amount: Amount) -> None:
    """Five positions are too much together: all of them are closed."""
    async with pair(figures) as clients:
        last: tuple[list[float], list[float]] = ([], [])
        spread: tuple[list[float], list[float]] = ([], [])
        for number in range(amount.flattened):
            account = ACCOUNTS[number % TURN]
            for side, client in enumerate(clients):
                broker, known = client.broker, len(client.broker.closes)
                broker.fill(account, ROOTS[1], 3)
                await asyncio.sleep(0.5)
                sent_ns = broker.fill(account, BREACHED, 4)  # 11 are held, none more than 5
                found = await closes(broker, account, known, len(ROOTS))
                first_ns, last_ns = found[0].at_ns, found[-1].at_ns
                last[side].append((last_ns - sent_ns) / 1e6)
                spread[side].append((last_ns - first_ns) / 1e6)
                await asyncio.sleep(0.5)
                broker.make_usual(account)
            await asyncio.sleep(0.5)
        figures.beside("five positions flattened: last request", *last, "")
        figures.beside("five positions flattened: last after first", *spread, "<= 1.4 ms")


async def processor(figures: Figures, amount: Amount) -> None:
    """60 events a second (56 quotes, 4 orders) with one feed client."""
    async with pair(figures) as clients, feed_clients(clients[1].data, 1):

        async def trade(client: Client) -> None:
            for number in count():
                account = ACCOUNTS[number % len(ACCOUNTS)]
                order = client.broker.working_order(account, "MES")
                await asyncio.sleep(0.25)
                client.broker.cancelled_order(account, order)
                await asyncio.sleep(0.25)

        found = []
        for client in clients:
            async with quotes(56)(client), running(trade(client)):
                await asyncio.sleep(2.0)
                before = client.cpu_seconds()
                await asyncio.sleep(amount.cpu_seconds)
                used_s = client.cpu_seconds() - before
            found.append([used_s / amount.cpu_seconds * 100])
        figures.line(
            "CPU at 60 events/s, 10 accounts, one feed client",
            found[1],
            "% of a core",
            beside=("the bare SDK", found[0]),
            aim="<= 0.7 %",
        )


ROWS: tuple[Row, ...] = (
    whole_fills,
    bursts,
    collections,
    reentries,
    flattened,
    processor,
    after_idleness,
)
