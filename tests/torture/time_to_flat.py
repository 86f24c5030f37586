"""Breach to flat at the real process: in peace, in a burst, among stalled screens, ill."""

import asyncio
import base64
import contextlib
import json
import os
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from bench.figures import p99
from bench.wire import CLOSE, daemon
from daemon_process import ACCOUNT, still_gateway
from torture.lives import Watch, scratch

BURST = 10_000
PER_BATCH = 100
BATCH_EVERY_S = 0.01
SCREENS = 50
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
        asked = await gateway.wait_for_request(CLOSE, after=int(began * 1e9), seconds=WITHIN_S)
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


async def in_a_burst(rounds: int, *, screens: int = 0) -> Times:
    """Each breach in the middle of 10,000 quotes; with that many screens that read nothing."""
    async with guarded() as (watch, data), _stalled_screens(data, screens) as (stalled, refused):
        times = Times(stalled=stalled, turned_away=refused)
        stopwatch = Stopwatch(watch)
        for _ in range(3):
            await asyncio.sleep(0.1)
            await stopwatch.breach(Times())
        for _ in range(rounds):
            burst = asyncio.create_task(_quotes(watch), name="burst")
            await asyncio.sleep(BURST / PER_BATCH * BATCH_EVERY_S / 2)
            await stopwatch.breach(times)
            await burst
            await asyncio.sleep(0.3)
        return times


async def _quotes(watch: Watch) -> None:
    contract_id = watch.id("MNQ")
    price = float(watch.exchange.book(contract_id).last)
    for batch in range(BURST // PER_BATCH):
        for number in range(PER_BATCH):
            quote = {
                "symbol": "F.US.MNQ",
                "lastPrice": price + (batch + number) % 8 * 0.25,
                "bestBid": price,
                "bestAsk": price + 0.25,
                "timestamp": watch.gateway.now().isoformat(),
            }
            await watch.gateway.send_market(contract_id, quote)
        await asyncio.sleep(BATCH_EVERY_S)


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
