"""A trader who never rests: enters, adds, places stops, closes, and tries what is not allowed."""

import random
from datetime import UTC, datetime

from risk_manager.practice.exchange import Exchange
from risk_manager.practice.records import OrderType, Side

ACCOUNT = 101
PRODUCTS = ("MNQ", "MES", "MGC", "RTY")


class BusyTrader:
    """Acts on the exchange at once; refusals are part of the day."""

    def __init__(self, exchange: Exchange, seed: int) -> None:
        self._exchange = exchange
        self._chance = random.Random(seed)
        self.deeds = 0

    def act(self) -> None:
        """Do the next thing that comes to mind."""
        self.deeds += 1
        contract = self._exchange.contract_of(self._chance.choice(PRODUCTS))
        held = self._exchange.net(ACCOUNT, contract.id)
        entry, now = self._exchange.order_entry, datetime.now(UTC)
        if held and self._chance.random() < 0.6:
            entry.close_position(ACCOUNT, contract.id, now=now)
            return
        side = self._chance.choice((Side.BUY, Side.SELL))
        size = self._chance.choice((1, 1, 1, 2, 3, 7))
        entry.place(ACCOUNT, contract.id, side, size, now=now)
        held = self._exchange.net(ACCOUNT, contract.id)
        if held and self._chance.random() < 0.7:
            away = 40 * contract.tick_size * (-1 if held > 0 else 1)
            entry.place(
                ACCOUNT,
                contract.id,
                Side.SELL if held > 0 else Side.BUY,
                abs(held),
                OrderType.STOP,
                now=now,
                stop_price=self._exchange.book(contract.id).last + away,
            )
