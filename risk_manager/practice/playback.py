"""The seeded market and the scripted trader, advanced in real time or at a multiple of it."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from risk_manager.practice.market import Market
from risk_manager.practice.trader import Deed, Trader

LATE_SECONDS = 1.0
TRADER_STEP_SECONDS = 0.05


class Playback:
    """Runs market and trader, `speed` times as fast as the clock on the wall.

    `on_deed` is called with each step that the trader took. With `trader_waits` the trader begins
    at `start_trader()`.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        speed: float,
        on_deed: Callable[[Deed], None] | None,
        trader_waits: bool,
    ) -> None:
        self._clock = clock
        self._speed = speed
        self._on_deed = on_deed
        self._trader_may = asyncio.Event()
        if not trader_waits:
            self._trader_may.set()

    def start_trader(self) -> None:
        """Let a waiting trader begin. The time of the script counts from now."""
        self._trader_may.set()

    async def run_market(self, market: Market) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += market.step_seconds / self._speed
            late = loop.time() - due
            if late > LATE_SECONDS:
                due = loop.time()  # the machine was suspended: go on from here, do not catch up
            await asyncio.sleep(max(0.0, due - loop.time()))
            market.step(self._clock())

    async def run_trader(self, trader: Trader) -> None:
        await self._trader_may.wait()
        loop = asyncio.get_running_loop()
        start = loop.time()
        while not trader.is_done:
            for step in trader.due((loop.time() - start) * self._speed):
                deed = trader.perform(step, now=self._clock())
                if self._on_deed is not None:
                    self._on_deed(deed)
            await asyncio.sleep(TRADER_STEP_SECONDS / self._speed)
