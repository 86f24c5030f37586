"""Both hubs of one login: follows accounts on the user hub and quotes on the market hub."""

import asyncio
import random
from collections.abc import Callable, Collection
from functools import partial

from risk_manager.broker.hubs.line import HubLine
from risk_manager.broker.hubs.link import BuildRealtime, Call, Handler, build_realtime
from risk_manager.broker.hubs.messages import MarketMessages, UserMessages
from risk_manager.broker.hubs.reports import HubCounters, HubReports
from risk_manager.broker.hubs.subscriptions import ServerTraits
from risk_manager.broker.hubs.timings import HubTimings
from risk_manager.broker.session import GatewayAddress, Login
from risk_manager.clock import Clock
from risk_manager.domain.events import AnyEvent, Hub
from risk_manager.right_of_way import RightOfWay


class HubSupervisor:
    """Both hubs of one login.

    `run` keeps them alive until cancelled. `put` receives the events. `on_open(hub)` is called
    after every opening, once everything is subscribed, and when a subscription refused at first is
    granted. `on_unreadable(account_id)` is called when a user message could not be read (None: its
    account is unknown). In each case a snapshot should be taken. `exposed` says whether any account
    has exposure; the hubs are then watched more closely. Quotes are not read while the
    `right_of_way` is taken.
    """

    def __init__(
        self,
        address: GatewayAddress,
        login: Login,
        *,
        clock: Clock,
        put: Callable[[AnyEvent], None],
        account_ids: Collection[int] = (),
        on_open: Callable[[Hub], None] = lambda _: None,
        on_unreadable: Callable[[int | None], None] = lambda _: None,
        exposed: Callable[[], bool] = lambda: True,
        right_of_way: RightOfWay | None = None,
        timings: HubTimings | None = None,
        build: BuildRealtime = build_realtime,
        dice: random.Random | None = None,
    ) -> None:
        timings = timings or HubTimings()
        traits = ServerTraits()

        def line(
            hub: Hub,
            reports: HubReports,
            handlers: dict[str, Handler],
            probe: Callable[[], Call | None],
        ) -> HubLine:
            return HubLine(
                hub,
                address=address,
                login=login,
                clock=clock,
                reports=reports,
                handlers=handlers,
                probe=probe,
                on_open=partial(on_open, hub),
                is_exposed=exposed,
                timings=timings,
                build=build,
                dice=dice or random.Random(),
                traits=traits,
            )

        user_reports = HubReports(Hub.USER, clock, put)
        user_messages = UserMessages(clock, put, user_reports, on_unreadable)
        self._user = line(
            Hub.USER, user_reports, user_messages.handlers(), lambda: ("SubscribeAccounts", ())
        )
        market_reports = HubReports(Hub.MARKET, clock, put)
        market_messages = MarketMessages(
            clock,
            put,
            market_reports,
            right_of_way or RightOfWay(),
            is_wanted=lambda contract_id: _quotes_of(contract_id) in self._market.wanted,
            report_again_seconds=timings.unreadable_quotes,
        )
        self._market = line(
            Hub.MARKET,
            market_reports,
            market_messages.handlers(),
            lambda: min(self._market.wanted, default=None),
        )
        self.follow(account_ids)

    def follow(self, account_ids: Collection[int]) -> None:
        """Subscribe to all messages about exactly these accounts."""
        self._user.want(
            [
                ("SubscribeAccounts", ()),
                *(
                    (f"Subscribe{subject}", (account_id,))
                    for account_id in account_ids
                    for subject in ("Positions", "Orders", "Trades")
                ),
            ]
        )

    def watch(self, contract_ids: Collection[str]) -> None:
        """Subscribe to quotes (no trades, no depth) of exactly these contracts."""
        self._market.want(_quotes_of(contract_id) for contract_id in contract_ids)

    def mark_suspect(self, hub: Hub, reason: str) -> None:
        """Have a hub's link replaced, as REST or another source contradicts it."""
        self._line(hub).mark_suspect(reason)

    def last_frame_age(self, hub: Hub) -> float | None:
        """Return the seconds since the hub sent anything, pings included; None while down."""
        return self._line(hub).last_frame_age()

    def counters(self, hub: Hub) -> HubCounters:
        """Return a copy of the hub's counters."""
        return self._line(hub).counters()

    async def run(self) -> None:
        """Keep both hubs alive until cancelled; then close their sockets."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._user.run(), name="user-hub")
            group.create_task(self._market.run(), name="market-hub")

    def _line(self, hub: Hub) -> HubLine:
        return self._user if hub is Hub.USER else self._market


def _quotes_of(contract_id: str) -> Call:
    return ("SubscribeContractQuotes", (contract_id,))
