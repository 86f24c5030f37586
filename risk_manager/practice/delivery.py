"""The way of the exchange's events to the hubs, at once or after a delay."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from risk_manager.practice.exchange import Exchange
from risk_manager.practice.hubs import Hub
from risk_manager.practice.records import Event
from risk_manager.practice.words import Telling, Words


class Delivery:
    """Passes the events of an exchange to the hubs, in the words of the gateway, while it is on."""

    def __init__(
        self,
        exchange: Exchange,
        words: Words,
        user_hub: Hub,
        market_hub: Hub,
        clock: Callable[[], datetime],
    ) -> None:
        self._exchange = exchange
        self._words = words
        self._user_hub = user_hub
        self._market_hub = market_hub
        self._clock = clock
        self._is_on = False

    def start(self) -> None:
        """Deliver what happens from now on; earlier events are dropped."""
        self._exchange.drain_events()
        self._exchange.notify = self.pump
        self._is_on = True

    def stop(self) -> None:
        """Deliver nothing more, delayed events included. Safe to call twice."""
        self._exchange.notify = None
        self._is_on = False

    def pump(self) -> None:
        """Deliver the events of the exchange. Called after each change of it."""
        self.deliver(self._words.hear(self._exchange.drain_events(), self._clock()))

    def deliver(self, tellings: Sequence[Telling]) -> None:
        self._publish([one.event for one in tellings if not one.after_s])
        for one in tellings:
            if one.after_s:
                asyncio.get_running_loop().call_later(one.after_s, self._deliver_late, one)

    def _deliver_late(self, telling: Telling) -> None:
        event = self._words.due(telling, self._clock())
        if event is not None and self._is_on:
            self._publish([event])

    def _publish(self, events: Sequence[Event]) -> None:
        self._user_hub.publish(event for event in events if not event.is_market)
        self._market_hub.publish(event for event in events if event.is_market)
