"""Breach to flat at the real process: in peace, in a burst, among stalled screens, ill."""

import asyncio
import base64
import contextlib
import json
import os
import random
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from bench.figures import p99
from daemon_process import ACCOUNT, still_gateway
from torture.guarded_daemon import daemon
from torture.lives import Watch, scratch

from risk_manager.domain.call_codes import CLOSE
from risk_manager.practice.frames import invocation

BURST = 10_000
PER_BATCH = 100
BATCH_EVERY_S = 0.01
SCREENS = 50
BREACHES = 3
WITHIN_S = 60.0


@dataclass(slots=True)
class Times:
    """Milliseconds from each breach to the first close request, and to flat."""

    to_request_ms: list[float] = field(default_factory=list)
    to_flat_ms: list[float] = field(default_factory=list)
    stalled: int = 0
    turned_away: int = 0

    @property
    def median_ms(self) -> float:
        return median(self.to_flat_ms)

    @property
    def p99_ms(self) -> float:
        return p99(self.to_flat_ms)

    @property
    def most_ms(self) -> float:
        return max(self.to_flat_ms)


class Stopwatch:
    """Takes the instant at which the exchange is flat, from within the exchange's own telling."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._flat = asyncio.Event()
        self.flat_at = 0.0
        tell = watch.exchange.notify
        assert tell is not None

        def noted() -> None:
            tell()
            if not self._flat.is_set() and watch.exchange.is_flat(ACCOUNT):
                self.flat_at = monotonic()
                self._flat.set()

        watch.exchange.notify = noted

    async def breach(self, times: Times) -> None:
        """Two contracts where one is allowed, until there are none."""
        self._watch.trade("MNQ", 2)
        self._flat.clear()
        began = monotonic()
        gateway = self._watch.gateway
        asked = await gateway.requests.wait_for(CLOSE, after=int(began * 1e9), seconds=WITHIN_S)
        async with asyncio.timeout(WITHIN_S):
            await self._flat.wait()
        times.to_request_ms.append(asked.at / 1e6 - began * 1e3)
        times.to_flat_ms.append((self.flat_at - began) * 1e3)


@contextlib.asynccontextmanager
async def guarded() -> AsyncIterator[tuple[Watch, Path]]:
    """A gateway, and the daemon as a process, without the gateway's budget: we breach too often."""
    with scratch() as path:
        async with still_gateway(rate_limit=None) as gateway:
            watch = Watch(gateway)
            async with daemon(gateway, path):
                yield watch, path / "data"


async def in_peace(rounds: int) -> Times:
    async with guarded() as (watch, _):
        return await _measure(watch, rounds)


async def _measure(
    watch: Watch, rounds: int, before: Callable[[], None] = lambda: None, warm: int = 5
) -> Times:
    stopwatch, times = Stopwatch(watch), Times()
    for number in range(rounds + warm):
        await asyncio.sleep(0.1)
        before()
        await stopwatch.breach(times)
        if number < warm:
            times.to_flat_ms.clear()
            times.to_request_ms.clear()
    return times


async def in_a_burst(rounds: int, *, screens: int = 0, seed: int = 1) -> tuple[Times, Times]:
    """The same daemon in peace, and in bursts of 10,000 quotes, turn and turn about.

    Side by side, so that what else the machine does falls on both. With that many screens that
    read nothing in each burst, and none in peace.
    """
    rng = random.Random(seed)
    async with guarded() as (watch, data):
        stopwatch = Stopwatch(watch)
        quotes = Quotes(watch)
        peace, burst = Times(), Times()

        async def breaches(times: Times, during: asyncio.Task[None] | None = None) -> None:
            for _ in range(BREACHES):
                await asyncio.sleep(rng.uniform(0.2, 0.3))  # anywhere within a batch
                if during is not None and during.done():
                    break
                await stopwatch.breach(times)

        await breaches(Times())
        await breaches(Times())
        for _ in range(rounds):
            await breaches(peace)
            async with _stalled_screens(data, screens) as (burst.stalled, burst.turned_away):
                sending = asyncio.create_task(quotes.burst(), name="burst")
                await breaches(burst, sending)
                await sending
    return peace, burst


class Quotes:
    """A burst made ready beforehand: what is measured is the daemon, not who sends to it."""

    def __init__(self, watch: Watch) -> None:
        self._hub = watch.gateway.market_hub
        contract_id = watch.id("MNQ")
        price = float(watch.exchange.book(contract_id).last)
        now = watch.gateway.now().isoformat()
        frames = [
            _framed(
                invocation(
                    "GatewayQuote",
                    contract_id,
                    {
                        "symbol": "F.US.MNQ",
                        "lastPrice": price + number % 8 * 0.25,
                        "bestBid": price,
                        "bestAsk": price + 0.25,
                        "volume": number,
                        "timestamp": now,
                    },
                )
            )
            for number in range(BURST)
        ]
        self._batches = [
            b"".join(frames[first : first + PER_BATCH]) for first in range(0, BURST, PER_BATCH)
        ]

    async def burst(self) -> None:
        """10,000 quotes in one second: a frame each, a hundred to a write."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for batch in self._batches:
            for connection in self._hub.connections:
                if connection.request.transport is not None:
                    connection.request.transport.write(batch)
            due += BATCH_EVERY_S
            await asyncio.sleep(due - loop.time())


def _framed(message: bytes) -> bytes:
    """A whole text message as a server puts it on a websocket."""
    assert 125 < len(message) < 2**16
    return struct.pack("!BBH", 0x81, 126, len(message)) + message


@contextlib.asynccontextmanager
async def _stalled_screens(data: Path, wanted: int) -> AsyncIterator[tuple[int, int]]:
    """Feed clients that shake hands and never read; how many got in, and were turned away."""
    admitted = refused = 0
    writers: list[asyncio.StreamWriter] = []
    try:
        for _ in range(wanted):
            status, writer = await _shake_hands(data)
            writers.append(writer)
            admitted += b" 101 " in status
            refused += b" 101 " not in status
        yield admitted, refused
    finally:
        for writer in writers:
            writer.transport.abort()


async def _shake_hands(data: Path) -> tuple[bytes, asyncio.StreamWriter]:
    url: str = json.loads((data / "daemon.json").read_text())["feed_url"]
    token = (data / "feed.token").read_text().strip()
    host, port = url.removeprefix("ws://").partition("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=512)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /feed HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {token}\r\n\r\n".encode()
    )
    return await reader.readline(), writer


ILLS: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"status": 429, "retry_after": 2},
    {"hang": True},
    {"lose_reply": "close"},
    {"lose_reply": "hang"},
    {"garbage": True},
    {"delay": 2.0},
)


async def in_sickness(rounds: int, seed: int = 1) -> Times:
    """Of the closes one in two goes wrong in some way, of all requests about one in ten."""
    rng = random.Random(seed)
    async with guarded() as (watch, _):
        faults = watch.gateway.faults

        def fall_ill() -> None:
            faults.clear()
            if rng.random() < 0.5:
                faults.add(CLOSE, **rng.choice(ILLS), times=rng.choice([1, 1, 2]))
            if rng.random() < 0.3:
                path = rng.choice(["/Position/searchOpen", "/Order/searchOpen", "/Trade/search"])
                faults.add(path, **rng.choice(ILLS), times=rng.choice([1, 2]))

        times = await _measure(watch, rounds, fall_ill)
        faults.clear()
        return times
