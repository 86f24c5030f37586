"""The spells of a day's unkind habits: for a while the stream is late, a price quiet, crude below
zero, an account hidden, a clock ahead, every read refused."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from risk_manager.practice.records import OrderType, Position, Side

if TYPE_CHECKING:
    from simulation.world import World

A_DAY = timedelta(days=1)
HELD_WITHIN_S = 300.0
"""How long a spell waits for somebody to hold what it is about."""
CRUDE = "MCL"
LOW_CRUDE = Decimal("2.00")
FALLS_AN_HOUR = 12.0
QUOTED = ("MNQ", "NQ", "MES", "ES")
GAPPING = ("NQ", "ES", "RTY")
DEEP_TICKS = 400

type Spell = Coroutine[Any, Any, None]


class Spells:
    """Begins them as the day's rates have it. Each ends by itself, and all with the day."""

    def __init__(self, world: "World", dice: Random) -> None:
        self.world = world
        self._dice = dice
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        unkind, dice, gateway = self.world.options.unkind, self._dice, self.world.gateway
        if unkind.clock_ahead and dice.random() < 0.3:
            self._begin("ahead", self._ahead)  # from the start
        kinds: list[tuple[float, Callable[[], None]]] = [
            (rate, lambda name=name, spell=spell: self._begin(name, spell))  # type: ignore[misc]
            for rate, name, spell in (
                (unkind.stream_lags, "behind", self._behind),
                (unkind.clock_ahead, "ahead", self._ahead),
                (unkind.vanishing, "hidden", self._hidden),
                (unkind.gaps, "gapping", self._gapping),
                (unkind.silences, "silent", self._silent),
                (FALLS_AN_HOUR * unkind.below_zero, "falling", self._falling),
                (unkind.floods, "flood", self._flood),
            )
        ]
        kinds.append((unkind.reads_refused, lambda: gateway.refuse_reads(dice.uniform(10, 90))))
        rate = sum(r for r, _ in kinds)
        while rate:
            await asyncio.sleep(dice.expovariate(rate / 3600))
            roll = dice.random() * rate
            for chance, begin in kinds:
                roll -= chance
                if roll < 0:
                    begin()
                    break

    def end(self) -> None:
        """All of them, at once. What they changed at the gateway heals with it."""
        for task in list(self._running):
            task.cancel()
        for root in QUOTED:
            self.world.market.silence(root, False)

    def _begin(self, name: str, spell: Callable[[], Spell]) -> None:
        if any(task.get_name() == name for task in self._running):
            return  # the one before has not ended
        task = asyncio.get_running_loop().create_task(spell(), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    # --- the gateway ---

    async def _behind(self) -> None:
        self.world.streams.behind_s = self._dice.uniform(0.3, 1.5)
        await asyncio.sleep(self._dice.uniform(20, 120))
        self.world.streams.behind_s = 0.0

    async def _ahead(self) -> None:
        self.world.gateway.clock_ahead = A_DAY
        await asyncio.sleep(self._dice.uniform(60, 1800))
        self.world.gateway.clock_ahead = timedelta(0)

    async def _hidden(self) -> None:
        account_id = self._dice.choice(self.world.account_ids)
        hidden = self.world.gateway.words.hidden_accounts
        hidden.add(account_id)
        await asyncio.sleep(self._dice.uniform(20, 900))
        hidden.discard(account_id)

    async def _flood(self) -> None:
        """Hundreds of orders told at once, and gone a moment later. Not while a lock is in force:
        to cancel so many is more than a minute's calls."""
        world = self.world
        account_id = self._dice.choice(world.account_ids)
        if not world.market_open or world.oracle.locks_of(account_id):
            return
        contract = world.exchange.contract_of("MES")
        price = world.exchange.book(contract.id).bid - contract.tick_size * DEEP_TICKS
        placed = world.all_at_once(
            lambda: [
                world.exchange.order_entry.place(
                    account_id,
                    contract.id,
                    Side.BUY,
                    1,
                    OrderType.LIMIT,
                    limit_price=price,
                    now=world.utc(),
                )
                for _ in range(world.options.unkind.flood_orders)
            ]
        )
        try:
            await asyncio.sleep(0.1)
        finally:
            world.all_at_once(
                lambda: [
                    world.exchange.order_entry.cancel(account_id, order_id, now=world.utc())
                    for order_id in placed
                    if isinstance(order_id, int)
                ]
            )

    # --- the market ---

    async def _silent(self) -> None:
        """One price stands still, of what is held if possible; another runs away meanwhile."""
        market, dice = self.world.market, self._dice
        await self._until_held(2)
        held = [p for p in self.world.exchange.positions() if self._root(p) in QUOTED]
        root = self._root(dice.choice(held)) if held else dice.choice(QUOTED)
        market.silence(root, True)
        others = [p for p in held if self._root(p) != root]
        if others and dice.random() < 0.7:
            await asyncio.sleep(dice.uniform(8, 15))
            other = dice.choice(others)
            market.push(self._root(other), _against(other) * dice.uniform(100, 600), 5.0)
        await asyncio.sleep(dice.uniform(15, 60))
        market.silence(root, False)

    async def _falling(self) -> None:
        """Crude goes against who holds it, below zero if it falls, and comes back later."""
        market, dice = self.world.market, self._dice
        await self._until_held(1, CRUDE)
        held = [p for p in self.world.exchange.positions() if self._root(p) == CRUDE]
        by = dice.uniform(150, 500)
        if not held or dice.choice(held).net > 0:
            by = -by - max(self._ticks_of_crude(), 0.0)
        market.push(CRUDE, by, dice.uniform(10, 60))
        await asyncio.sleep(dice.uniform(120, 300))
        tick = self.world.exchange.contract_of(CRUDE).tick_size
        market.push(CRUDE, float(LOW_CRUDE / tick) - self._ticks_of_crude(), 120.0)
        await asyncio.sleep(120.0)

    def _ticks_of_crude(self) -> float:
        contract = self.world.exchange.contract_of(CRUDE)
        return float(self.world.exchange.book(contract.id).last / contract.tick_size)

    async def _gapping(self) -> None:
        """A price jumps, of something that is held if there is, mostly against it."""
        exchange, dice = self.world.exchange, self._dice
        await self._until_held(1)
        await asyncio.sleep(dice.uniform(2, 10))
        fraction = dice.uniform(0.05, 0.3)
        root, sign = dice.choice(GAPPING), dice.choice((1, -1))
        held = [p for p in exchange.positions() if self._root(p) != CRUDE]
        if held:
            position = dice.choice(held)
            root = self._root(position)
            sign = _against(position) if dice.random() < 0.7 else -_against(position)
        contract = exchange.contract_of(root)
        last, start = exchange.book(contract.id).last, contract.product.start_price
        if (last < start / 2 and sign < 0) or (last > start * 2 and sign > 0):
            sign = -sign  # or a few falls would leave nothing to fall
        self.world.market.gap(root, sign * fraction)

    def _root(self, position: Position) -> str:
        return self.world.exchange.contracts[position.contract_id].root

    async def _until_held(self, contracts: int, root: str = "") -> None:
        """Until so many contracts are held, but not for ever: much happens to who holds nothing."""
        until = self.world.now + HELD_WITHIN_S

        def held() -> int:
            return sum(root in ("", self._root(p)) for p in self.world.exchange.positions())

        while self.world.now < until and held() < contracts:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(1.0)


def _against(position: Position) -> int:
    """The direction in which a position loses."""
    return -1 if position.net > 0 else 1
