"""A trader with bad habits, drawn from dice: he trades at the exchange and asks nobody."""

import asyncio
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

from risk_manager.practice.records import Bracket, OrderType, Position, Side

if TYPE_CHECKING:
    from simulation.world import World

FAVOURITES = ("MNQ", "MNQ", "NQ", "MES", "ES", "RTY")
CRUDE = "MCL"
AT_ONCE_S = (0.002, 0.15)
"""How soon after a close a trader in a rage is in again."""
CALMED_S = 600.0
FAR_TICKS = 1000
HOLDS = 0.25
"""How often a move is to hold two micros with stops, where the rules about behaviour are on."""
HELD_TICKS = 250
LOOKS_EVERY_S = 5.0
HURTS = Decimal(-12)
HURTS_FOR_S = 12.0
"""After so long at such an open result, in dollars, a stop is pulled away."""
PAIR = ("MNQ", "MES")
PAIR_KEPT_S = (60.0, 180.0)


class Trader:
    def __init__(self, world: "World", account_id: int, dice: Random) -> None:
        self.world = world
        self.account_id = account_id
        self._dice = dice
        self._unkind = world.options.unkind
        self._favourites = (*FAVOURITES, CRUDE, CRUDE) if self._unkind.below_zero else FAVOURITES
        self._storm_left = 0
        self._calm_until = 0.0
        self._entries: dict[str, tuple[Side, int]] = {}
        self._lots = 1
        self._balance = Decimal(0)

    async def run(self) -> None:
        dice = self._dice
        pause = 3600 / self.world.options.trades_per_hour / 2
        while True:
            await asyncio.sleep(dice.expovariate(1 / pause))
            self.world.oracle.on_trader()
            if dice.random() < self._unkind.pairs:
                self._pair(FAR_TICKS)
                await asyncio.sleep(dice.uniform(*PAIR_KEPT_S))
            elif self.world.limits.get("behaviour") and dice.random() < HOLDS:
                self._pair(HELD_TICKS)
                await asyncio.sleep(dice.uniform(*PAIR_KEPT_S))
            elif dice.random() < self.world.options.spam * 0.1:
                await self._spam()
            else:
                self._act()
            if self._has_lost() and dice.random() < 0.5:
                self._lots = min(self._lots * 2, 4)
                await asyncio.sleep(dice.uniform(0.5, 4))
                self.world.oracle.on_trader()
                self._enter()

    def _has_lost(self) -> bool:
        balance = self.world.exchange.balance(self.account_id)
        lost = balance < self._balance - 40
        if balance > self._balance:
            self._lots = 1
        self._balance = balance
        return lost

    async def _spam(self) -> None:
        """Orders one after the other, whatever is locked."""
        for _ in range(self._dice.randint(5, 25)):
            self._enter()
            self.world.oracle.on_trader()
            await asyncio.sleep(self._dice.uniform(0.1, 2.0))

    def _act(self) -> None:
        dice = self._dice
        held = self.world.exchange.positions(self.account_id)
        if not held:
            self._enter()
            return
        position = dice.choice(held)
        if dice.random() < self._unkind.scaling:
            self._scale(position)
            return
        if dice.random() < self._unkind.modifies:
            self._move_one()
            return
        roll = dice.random()
        if roll < 0.30:
            self._exit(position)
        elif roll < 0.42:
            self.world.trader_closes(self.account_id, position.contract_id)
        elif roll < 0.62:
            self._protect(position)
        elif roll < 0.72:
            self._place(position.contract_id, _side(position.net), 1)  # average
        elif roll < 0.77:
            self._place(position.contract_id, _side(-position.net), 2 * position.size)
        elif roll < 0.85:
            self._cancel_one()
        else:
            self._enter()

    def _enter(self) -> None:
        dice = self._dice
        world = self.world
        contract = world.exchange.contract_of(dice.choice(self._favourites))
        side = dice.choice((Side.BUY, Side.SELL))
        lots = dice.choice((1, 1, self._lots, self._lots, 3))
        book = world.exchange.book(contract.id)
        roll = dice.random()
        away = contract.tick_size * dice.randint(1, 40)
        kind, limit, stop = OrderType.MARKET, None, None
        if roll < 0.2:
            kind = OrderType.LIMIT
            limit = book.bid - away if side is Side.BUY else book.ask + away
        elif roll < 0.3:
            kind = OrderType.STOP
            stop = book.last + away if side is Side.BUY else book.last - away
        brackets = dice.random()
        stop_loss = Bracket(dice.randint(10, 120), OrderType.STOP) if brackets < 0.6 else None
        profit = Bracket(dice.randint(10, 150), OrderType.LIMIT) if brackets < 0.4 else None
        self._entries[contract.id] = (side, lots)
        world.exchange.order_entry.place(
            self.account_id,
            contract.id,
            side,
            lots,
            kind,
            now=world.utc(),
            limit_price=limit,
            stop_price=stop,
            stop_loss=stop_loss,
            take_profit=profit,
        )
        if brackets >= 0.6 and kind is OrderType.MARKET and dice.random() < 0.5:
            delay = dice.uniform(1, 45)
            asyncio.get_running_loop().call_later(delay, self._protect_late, contract.id)

    def was_closed(self, contract_id: str) -> None:
        """His position is gone by a close of the guard's: in again at once, or he lets it be."""
        now = self.world.now
        if now >= self._calm_until and self._dice.random() < self._unkind.storms:
            self._storm_left = self._unkind.storm_entries
            self._calm_until = now + CALMED_S
        if self._storm_left and contract_id in self._entries:
            self._storm_left -= 1
            delay = self._dice.uniform(*AT_ONCE_S)
            asyncio.get_running_loop().call_later(delay, self._enter_again, contract_id)

    def _enter_again(self, contract_id: str) -> None:
        if self.world.is_ending:
            return
        self.world.oracle.on_trader()
        self._place(contract_id, *self._entries[contract_id])

    def _scale(self, position: Position) -> None:
        """One lot more, or one less, of what is held."""
        sign = position.net if self._dice.random() < 0.5 else -position.net
        self._place(position.contract_id, _side(sign), 1)

    def _pair(self, stop_ticks: int) -> None:
        """One lot each of two micros, with stops that are so far away."""
        exchange = self.world.exchange
        for root in PAIR:
            contract_id = exchange.contract_of(root).id
            if exchange.net(self.account_id, contract_id):
                continue
            exchange.order_entry.place(
                self.account_id,
                contract_id,
                self._dice.choice((Side.BUY, Side.SELL)),
                1,
                now=self.world.utc(),
                stop_loss=Bracket(stop_ticks, OrderType.STOP),
            )

    def _protect_late(self, contract_id: str) -> None:
        position = self.world.position(self.account_id, contract_id)
        if position is not None:
            self._protect(position)

    def _protect(self, position: Position) -> None:
        contract = self.world.exchange.contracts[position.contract_id]
        book = self.world.exchange.book(position.contract_id)
        away = contract.tick_size * self._dice.randint(10, 120)
        stop = book.last - away if position.net > 0 else book.last + away
        lots = [position.size]
        if self._dice.random() < self._unkind.split_exits:
            lots = [1] * position.size
        for each in lots:
            self._place(position.contract_id, _side(-position.net), each, stop)

    def _move_one(self) -> None:
        """One of the working orders a few ticks nearer to the market, or farther away."""
        exchange = self.world.exchange
        orders = exchange.working_orders(self.account_id)
        if not orders:
            return
        order = self._dice.choice(orders)
        away = exchange.contracts[order.contract_id].tick_size * self._dice.randint(-8, 8)
        exchange.order_entry.modify(
            self.account_id,
            order.id,
            now=self.world.utc(),
            limit_price=None if order.limit_price is None else order.limit_price + away,
            stop_price=None if order.stop_price is None else order.stop_price + away,
        )

    async def pull_stops(self) -> None:
        """Move away or cancel a stop of a position that hurts, time and again."""
        dice = self.world.dice(f"stops of {self.account_id}")
        hurts_since: dict[int, float] = {}
        while True:
            await asyncio.sleep(LOOKS_EVERY_S)
            now = self.world.now
            held = self.world.exchange.positions(self.account_id)
            hurting = [p for p in held if self.world.open_result(p) <= HURTS]
            hurts_since = {p.id: hurts_since.get(p.id, now) for p in hurting}
            for position in hurting:
                if now - hurts_since[position.id] >= HURTS_FOR_S and dice.random() < 0.3:
                    self.world.oracle.on_trader()
                    self._pull_a_stop(position, dice)

    def _pull_a_stop(self, position: Position, dice: Random) -> None:
        exchange, away = self.world.exchange, dice.randint(4, 60)
        stops = [
            o
            for o in exchange.working_orders(self.account_id)
            if o.contract_id == position.contract_id
            and o.stop_price is not None
            and o.side.sign * position.net < 0
        ]
        if not stops:
            return
        stop, now = dice.choice(stops), self.world.utc()
        if stop.stop_price is None or dice.random() < 0.4:
            exchange.order_entry.cancel(self.account_id, stop.id, now=now)
            return
        ticks = exchange.contracts[position.contract_id].tick_size * away
        price = stop.stop_price + stop.side.sign * ticks
        exchange.order_entry.modify(self.account_id, stop.id, now=now, stop_price=price)

    def _exit(self, position: Position) -> None:
        lots = position.size if self._dice.random() < 0.7 else 1
        self._place(position.contract_id, _side(-position.net), lots)

    def _place(self, contract_id: str, side: Side, lots: int, stop: Decimal | None = None) -> None:
        self.world.exchange.order_entry.place(
            self.account_id,
            contract_id,
            side,
            lots,
            OrderType.MARKET if stop is None else OrderType.STOP,
            now=self.world.utc(),
            stop_price=stop,
        )

    def _cancel_one(self) -> None:
        orders = self.world.exchange.working_orders(self.account_id)
        if orders:
            order = self._dice.choice(orders)
            self.world.exchange.order_entry.cancel(self.account_id, order.id, now=self.world.utc())


def _side(sign: int) -> Side:
    return Side.BUY if sign > 0 else Side.SELL
