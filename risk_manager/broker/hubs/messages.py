"""Receives the messages of both hubs: each becomes an event in the inbox, or is reported."""

import asyncio
from collections.abc import Callable
from typing import Any

from risk_manager.broker.hubs.link import Handler
from risk_manager.broker.hubs.reports import HubReports
from risk_manager.broker.normalize import MOST_RECORDS, USER_TARGETS, Read, read_quote
from risk_manager.clock import Clock
from risk_manager.domain.events import AnyEvent, Unreadable
from risk_manager.right_of_way import RightOfWay

UNASKED_MARKET_TARGETS = ("GatewayTrade", "GatewayDepth")
QUOTES_PER_TURN = 16


class UserMessages:
    """The messages of the user hub.

    `on_unreadable(account_id)` is called when a message could not be read (None: its account is
    unknown).
    """

    def __init__(
        self,
        clock: Clock,
        put: Callable[[AnyEvent], None],
        reports: HubReports,
        on_unreadable: Callable[[int | None], None],
    ) -> None:
        self._clock = clock
        self._put = put
        self._reports = reports
        self._on_unreadable = on_unreadable

    def handlers(self) -> dict[str, Handler]:
        return {target: self._handler(read) for target, read in USER_TARGETS.items()}

    def _handler(self, read: Read) -> Handler:
        async def arrived(*payloads: Any) -> None:
            at = self._clock.now()
            for payload in payloads or (None,):
                for event in read(payload, at):
                    if type(event) is Unreadable:
                        self._reports.unreadable(event)
                        self._on_unreadable(event.account_id)
                    else:
                        self._put(event)

        return arrived


class MarketMessages:
    """The quotes of the market hub. They are not read while the `right_of_way` is taken.

    `is_wanted` says whether quotes of a contract are subscribed to. An unreadable quote is reported
    once in `report_again_seconds` per contract, as a broken feed sends hundreds.
    """

    def __init__(
        self,
        clock: Clock,
        put: Callable[[AnyEvent], None],
        reports: HubReports,
        right_of_way: RightOfWay,
        *,
        is_wanted: Callable[[str], bool],
        report_again_seconds: float,
    ) -> None:
        self._clock = clock
        self._put = put
        self._reports = reports
        self._right_of_way = right_of_way
        self._is_wanted = is_wanted
        self._report_again_seconds = report_again_seconds
        self._quotes_read = 0
        self._reported_at: dict[str, float] = {}

    def handlers(self) -> dict[str, Handler]:
        return {"GatewayQuote": self.quote, **dict.fromkeys(UNASKED_MARKET_TARGETS, _ignore)}

    async def quote(self, *arguments: Any) -> None:
        # Runs in the receive loop: while it waits, quotes queue up in the socket.
        await self._right_of_way.give_way()
        self._quotes_read += 1
        if self._quotes_read % QUOTES_PER_TURN == 0:
            await asyncio.sleep(0)  # a long queue is read without a wait: let the user hub run
        if len(arguments) == 1 and isinstance(arguments[0], list | tuple):
            arguments = tuple(arguments[0])
        contract_id, payload = arguments if len(arguments) == 2 else (None, None)
        at = self._clock.now()
        for one in payload[:MOST_RECORDS] if isinstance(payload, list) else (payload,):
            event = read_quote(contract_id, one, at)
            if type(event) is Unreadable:
                self._report(contract_id, event)
            else:
                self._put(event)

    def _report(self, contract_id: Any, event: Unreadable) -> None:
        is_known = isinstance(contract_id, str) and self._is_wanted(contract_id)
        key = contract_id if is_known else ""
        now = self._clock.monotonic()
        reported_at = self._reported_at.get(key)
        if reported_at is None or now - reported_at >= self._report_again_seconds:
            self._reported_at[key] = now
            self._reports.unreadable(event)
        else:
            self._reports.unreadable_again()


async def _ignore(*arguments: Any) -> None:
    """Ignore a message we did not subscribe to. Without a handler the SDK logs a warning each."""
