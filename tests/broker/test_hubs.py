"""The hubs: kept alive whatever happens to them, and honest about it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from fake_sdk import FakeHubs, MovableClock
from pydantic import SecretStr
from pysignalr.exceptions import AuthorizationError, ServerError
from pysignalr.exceptions import ConnectionError as HubRefusedError
from pysignalr.messages import CloseMessage

from risk_manager.broker.hubs.link import without_token
from risk_manager.broker.hubs.supervisor import HubSupervisor
from risk_manager.broker.hubs.timings import HubTimings
from risk_manager.broker.session import (
    GatewayAddress,
    GatewaySession,
    GatewayUnavailable,
    SessionTimings,
)
from risk_manager.clock import Clock, SystemClock
from risk_manager.domain.events import (
    AnyEvent,
    Hub,
    HubChanged,
    HubState,
    PositionChanged,
    QuoteChanged,
    Unreadable,
)
from risk_manager.practice.faults import HubName
from risk_manager.practice.frames import OddFrame
from risk_manager.practice.gateway import PracticeGateway
from risk_manager.practice.records import OrderType, Side
from risk_manager.right_of_way import RightOfWay

WAIT = 10.0
ES = "CON.F.US.EP.Z26"
NQ = "CON.F.US.ENQ.Z26"
PLACE = GatewayAddress(
    kind="practice",
    api_url="http://127.0.0.1:9/api",
    user_hub_url="http://127.0.0.1:9/hubs/user",
    market_hub_url="http://127.0.0.1:9/hubs/market",
    username="trader",
    api_key=SecretStr("key"),
)
# Patient where a slow machine must not fail a test, quick where a test waits.
QUICK = HubTimings(
    check=0.02,
    open=3.0,
    acknowledge=1.0,
    probe_after=5.0,
    probe_after_idle=5.0,
    answer=5.0,
    silent=60.0,
    retries=(0.0, 0.005, 0.01),
    close=0.5,
    overslept=5.0,
    between_renewals=0.0,
)
WATCHFUL = replace(QUICK, probe_after=0.1, probe_after_idle=0.1, answer=0.6)


class Witness:
    """Everything the supervisor told, in order, and a way to wait for more."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.opened: list[Hub] = []
        self.snapshots: list[int | None] = []

    def put(self, event: AnyEvent) -> None:
        self.events.append(event)

    def states(self, hub: Hub) -> list[HubState]:
        return [one.state for one in self.events if isinstance(one, HubChanged) and one.hub is hub]

    def reasons(self, hub: Hub) -> list[str]:
        return [
            one.reason
            for one in self.events
            if isinstance(one, HubChanged) and one.hub is hub and one.state is HubState.DOWN
        ]

    def of[E](self, kind: type[E]) -> list[E]:
        return [one for one in self.events if isinstance(one, kind)]

    def is_up(self, hub: Hub, times: int = 1) -> bool:
        states = self.states(hub)
        return bool(states) and states[-1] is HubState.UP and self.opened.count(hub) >= times


class FakeLogin:
    """A session whose tokens are numbered."""

    def __init__(self) -> None:
        self.token = "token-1"
        self.renewals: list[str | None] = []
        self.is_down = False

    async def renew(self, stale_token: str | None = None) -> str:
        self.renewals.append(stale_token)
        if self.is_down:
            raise GatewayUnavailable("down")
        if stale_token in (None, self.token):
            self.token = f"token-{len(self.renewals) + 1}"
        return self.token


async def until(condition: Callable[[], bool], seconds: float = WAIT) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is plain state of a fake
            await asyncio.sleep(0.002)


class Room:
    """A supervisor with fake hubs behind it."""

    def __init__(
        self,
        timings: HubTimings = QUICK,
        *,
        clock: Clock | None = None,
        exposed: Callable[[], bool] = lambda: True,
    ) -> None:
        self.right_of_way = RightOfWay()
        self.server = FakeHubs()
        self.login = FakeLogin()
        self.witness = Witness()
        self.hubs = HubSupervisor(
            PLACE,
            self.login,
            clock=clock or SystemClock(),
            put=self.witness.put,
            account_ids=[101, 102],
            right_of_way=self.right_of_way,
            on_open=lambda hub: self.witness.opened.append(hub),
            on_unreadable=self.witness.snapshots.append,
            exposed=exposed,
            timings=timings,
            build=self.server.build,
        )

    def up(self, hub: Hub, times: int = 1) -> Callable[[], bool]:
        return lambda: self.witness.is_up(hub, times)


@asynccontextmanager
async def running(hubs: HubSupervisor) -> AsyncIterator[asyncio.Task[None]]:
    """The supervisor at work; afterwards nothing of it may be left."""
    before = asyncio.all_tasks()
    task = asyncio.create_task(hubs.run(), name="supervisor")
    try:
        yield task
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: not (asyncio.all_tasks() - before))


@asynccontextmanager
async def both_up(room: Room) -> AsyncIterator[asyncio.Task[None]]:
    async with running(room.hubs) as task:
        await until(room.up(Hub.USER))
        await until(room.up(Hub.MARKET))
        await asyncio.sleep(0)  # a hub is told up one turn of the loop before its watch begins
        yield task


# ---- opening -------------------------------------------------------------------------------------


async def test_both_hubs_open_and_every_account_is_subscribed() -> None:
    room = Room()
    room.hubs.watch([ES])
    async with both_up(room):
        assert room.witness.states(Hub.USER) == [HubState.CONNECTING, HubState.UP]
        assert room.witness.states(Hub.MARKET) == [HubState.CONNECTING, HubState.UP]
        assert set(room.server.last("user").invoked) == {
            ("SubscribeAccounts",),
            *(
                (f"Subscribe{what}", account)
                for account in (101, 102)
                for what in ("Orders", "Positions", "Trades")
            ),
        }
        assert room.server.last("market").invoked == [("SubscribeContractQuotes", ES)]


async def test_the_snapshot_is_asked_for_only_once_the_subscriptions_are_in_force() -> None:
    room = Room()
    seen: list[int] = []
    room.witness.opened = _Counting(seen, room)
    async with both_up(room):
        assert min(seen) == 7


class _Counting(list[Hub]):
    """Notes how many user subscriptions there were when the user hub was declared open."""

    def __init__(self, seen: list[int], room: Room) -> None:
        super().__init__()
        self._seen, self._room = seen, room

    def append(self, hub: Hub) -> None:
        super().append(hub)
        if hub is Hub.USER:
            self._seen.append(len(self._room.server.last("user").invoked))


async def test_a_server_that_acknowledges_nothing_is_used_all_the_same() -> None:
    room = Room(replace(WATCHFUL, acknowledge=0.02))
    room.server.acknowledges = False
    async with both_up(room):
        link = room.server.last("user")
        await asyncio.sleep(1.0)  # many times the patience with a server that does acknowledge
        assert room.witness.states(Hub.USER)[-1] is HubState.UP
        assert room.server.of("user") == [link]
        assert len(link.invoked) == 7


async def test_a_refused_subscription_is_told() -> None:
    room = Room()
    room.server.refusals["SubscribeTrades"] = "not your account"
    async with both_up(room):
        await until(lambda: len(room.witness.of(Unreadable)) == 2)
        told = room.witness.of(Unreadable)
        assert {one.account_id for one in told} == {101, 102}
        assert "SubscribeTrades" in told[0].detail
        assert "not your account" in told[0].detail


async def test_a_refused_subscription_is_asked_for_again_until_it_is_granted() -> None:
    room = Room(replace(QUICK, ask_again=(0.02, 0.04)))
    room.server.refusals["SubscribeTrades"] = "not now"
    async with both_up(room):
        user = room.server.last("user")
        await until(lambda: user.invoked.count(("SubscribeTrades", 101)) >= 4)
        assert len(room.witness.of(Unreadable)) == 2  # the same refusal is told once
        assert user.invoked.count(("SubscribeOrders", 101)) == 1
        room.server.refusals["SubscribeTrades"] = "not your account"
        await until(lambda: len(room.witness.of(Unreadable)) == 4)
        room.server.refusals.clear()
        # What was to be heard before it was granted has to be read: once for each account.
        await until(lambda: room.witness.opened.count(Hub.USER) == 3)
        asked = len(user.invoked)
        await asyncio.sleep(0.2)  # several times the longest pause
        assert len(user.invoked) == asked
        assert room.server.of("user") == [user]


async def test_the_pauses_before_a_refused_subscription_is_asked_for_again_grow() -> None:
    clock = MovableClock()
    patient = replace(QUICK, probe_after=1e9, probe_after_idle=1e9, silent=1e9, overslept=1e9)
    room = Room(replace(patient, ask_again=(500.0, 6000.0)), clock=clock)
    room.hubs.watch([ES])
    room.server.refusals["SubscribeContractQuotes"] = "not now"
    async with both_up(room):
        market = room.server.last("market")
        for seconds, times in ((600, 2), (5000, 2), (1100, 3), (5000, 3), (1100, 4)):
            clock.move(timedelta(seconds=seconds))
            await until(lambda times=times: len(market.invoked) == times)  # type: ignore[misc]
            await asyncio.sleep(0.1)  # several looks
            assert len(market.invoked) == times


async def test_contracts_and_accounts_come_and_go_without_a_reopen() -> None:
    room = Room()
    async with both_up(room):
        room.hubs.watch([ES, NQ])
        room.hubs.follow([101, 102, 103])
        market, user = room.server.last("market"), room.server.last("user")
        await until(lambda: len(market.invoked) == 2 and ("SubscribeTrades", 103) in user.invoked)
        room.hubs.watch([NQ])
        await until(lambda: market.invoked[-1] == ("UnsubscribeContractQuotes", ES))
        assert len(room.server.links) == 2


class CountedClock(SystemClock):
    """How often the supervisor looks at the time: once each round of its supervision."""

    looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return super().monotonic()


async def test_asking_again_for_what_is_there_already_keeps_nobody_busy() -> None:
    clock = CountedClock()
    room = Room(replace(QUICK, check=60.0), clock=clock)
    async with both_up(room):
        room.hubs.watch([ES])
        await until(lambda: len(room.server.last("market").invoked) == 1)
        room.hubs.watch([ES, NQ])
        room.hubs.watch([ES])
        for _ in range(100):
            await asyncio.sleep(0)
        before = clock.looks
        for _ in range(100):
            await asyncio.sleep(0)
        assert clock.looks - before < 5


# ---- what arrives --------------------------------------------------------------------------------


def position(size: int, account_id: int = 101) -> dict[str, Any]:
    data = {"id": 1, "accountId": account_id, "contractId": ES, "type": 1, "size": size}
    return {"action": 1, "data": {**data, "averagePrice": 6000.25}}


async def test_user_events_keep_the_order_of_the_wire() -> None:
    room = Room()
    async with both_up(room):
        for size in range(1, 50):
            await room.server.last("user").deliver("GatewayUserPosition", position(size))
        assert [one.size for one in room.witness.of(PositionChanged)] == list(range(1, 50))


async def test_what_cannot_be_read_is_told_and_followed_by_a_snapshot() -> None:
    room = Room()
    async with both_up(room):
        await room.server.last("user").deliver("GatewayUserPosition", position(-1, 102))
        await room.server.last("user").deliver("GatewayUserOrder")
        assert [one.account_id for one in room.witness.of(Unreadable)] == [102, None]
        assert room.witness.snapshots == [102, None]
        assert room.hubs.counters(Hub.USER).unreadable == 2


async def test_quotes_arrive_and_a_feed_gone_mad_is_told_once_a_minute() -> None:
    clock = MovableClock()
    room = Room(clock=clock)
    room.hubs.watch([ES])
    async with both_up(room):
        market = room.server.last("market")
        await market.deliver("GatewayQuote", ES, {"lastPrice": 5990.0})
        await market.deliver("GatewayQuote", [ES, {"lastPrice": 5990.25}])
        assert [one.last_price for one in room.witness.of(QuoteChanged)] == [5990.0, 5990.25]
        for _ in range(100):
            await market.deliver("GatewayQuote", ES, {"lastPrice": "none"})
            await market.deliver("GatewayQuote", "nonsense")
        assert len(room.witness.of(Unreadable)) == 2
        assert room.witness.snapshots == []
        assert room.hubs.counters(Hub.MARKET).unreadable == 200
        await market.deliver("GatewayTrade", ES, {"price": 1})
        await market.deliver("GatewayDepth", ES, {"price": 1})


async def test_while_enforcement_is_at_work_user_events_are_read_and_quotes_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("risk_manager.right_of_way.LONGEST_RIGHT_S", 60.0)
    room = Room()
    room.hubs.watch([ES])
    async with both_up(room):
        room.right_of_way.take()
        market = room.server.last("market")

        async def quotes() -> None:
            for price in (5990.0, 5950.0, 5991.0):
                await market.deliver("GatewayQuote", ES, {"lastPrice": price})

        reading = asyncio.create_task(quotes(), name="market receive loop")
        await asyncio.sleep(0)
        await room.server.last("user").deliver("GatewayUserPosition", position(1))
        assert room.witness.of(PositionChanged)
        assert not room.witness.of(QuoteChanged)
        room.right_of_way.give_back()
        await reading
        prices = [one.last_price for one in room.witness.of(QuoteChanged)]
        assert prices == [5990.0, 5950.0, 5991.0]  # none is lost, and the newest is the last


async def test_a_long_queue_of_quotes_lets_others_have_their_turn() -> None:
    room = Room()
    room.hubs.watch([ES])
    async with both_up(room):
        market = room.server.last("market")
        read_by_then: list[int] = []

        async def user_hub() -> None:
            read_by_then.append(len(room.witness.of(QuoteChanged)))

        other = asyncio.create_task(user_hub(), name="user receive loop")
        for number in range(1000):
            await market.deliver("GatewayQuote", ES, {"lastPrice": 5990.0 + number})
        await other
        assert read_by_then[0] < 100
        assert len(room.witness.of(QuoteChanged)) == 1000


# ---- going down and coming back ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["user", "market"])
async def test_a_hub_whose_task_died_silently_is_down_at_once_and_rebuilt(name: str) -> None:
    room = Room()
    room.hubs.watch([ES])
    hub = Hub(name)
    async with both_up(room):
        dead = room.server.last(name)
        dead.die(ValueError("unexpected end of data"))
        await until(room.up(hub, 2))
        assert room.witness.states(hub)[-2:] == [HubState.DOWN, HubState.UP]
        assert "could not be understood" in room.witness.reasons(hub)[0]
        fresh = room.server.last(name)
        assert fresh is not dead
        assert set(fresh.invoked) == set(dead.invoked)
        assert room.hubs.counters(hub).drops == 1


async def test_with_money_at_stake_a_stream_that_opens_well_never_waits_on_the_ladder() -> None:
    """F6.6: A stream that dies each second is rebuilt as fast as the first time."""
    room = Room(replace(WATCHFUL, retries=(0.0, 0.0, 3600.0), steady=3600.0))
    async with both_up(room):
        for opened in range(2, 8):
            room.server.last("user").die(ValueError("unexpected end of data"))
            await until(room.up(Hub.USER, opened))


async def test_a_dead_market_hub_leaves_the_user_hub_alone() -> None:
    room = Room()
    async with both_up(room):
        room.server.refuse_next("market", *[HubRefusedError(503)] * 30)
        user = room.server.last("user")
        room.server.last("market").drop()
        await until(lambda: room.hubs.counters(Hub.MARKET).failed_opens >= 10)
        await user.deliver("GatewayUserPosition", position(3))
        assert room.witness.of(PositionChanged)
        assert room.witness.states(Hub.USER)[-1] is HubState.UP
        assert room.server.of("user") == [user]
        await until(room.up(Hub.MARKET, 2))


@pytest.mark.parametrize(
    "error", [HubRefusedError(404), HubRefusedError(503), OSError("refused"), RuntimeError("odd")]
)
async def test_a_hub_is_retried_for_ever_and_its_outage_is_told_once(error: Exception) -> None:
    room = Room()
    room.server.refuse_next("user", *[error] * 40)
    async with running(room.hubs):
        await until(room.up(Hub.USER))
        assert room.witness.states(Hub.USER) == [HubState.CONNECTING, HubState.DOWN, HubState.UP]
        assert room.hubs.counters(Hub.USER).failed_opens == 40
        assert room.login.renewals == []


async def test_a_hub_that_never_answers_is_given_up_and_tried_again() -> None:
    room = Room(replace(QUICK, open=0.05))
    room.server.hangs = True
    async with running(room.hubs):
        await until(lambda: room.hubs.counters(Hub.USER).failed_opens >= 3)
        room.server.hangs = False
        await until(room.up(Hub.USER))
        assert "no answer" in room.witness.reasons(Hub.USER)[0]


async def test_many_drops_in_a_row_do_not_wear_it_out() -> None:
    room = Room()
    async with both_up(room):
        for round_ in range(2, 30):
            room.server.last("user").drop()
            await until(room.up(Hub.USER, round_))
        assert room.hubs.counters(Hub.USER).opens == 29


@pytest.mark.parametrize("message", [CloseMessage("going down"), CloseMessage()])
async def test_a_close_message_is_believed(message: CloseMessage) -> None:
    room = Room()
    async with both_up(room):
        await room.server.last("user").close_message(message)
        await until(room.up(Hub.USER, 2))
        assert "server closed the hub" in room.witness.reasons(Hub.USER)[0]


async def test_a_link_that_cannot_be_written_to_is_replaced() -> None:
    room = Room(WATCHFUL)
    async with both_up(room):
        room.server.deaf = True
        await until(lambda: bool(room.witness.reasons(Hub.USER)))
        room.server.deaf = False
        await until(room.up(Hub.USER, 2))


async def test_whoever_knows_better_can_have_a_hub_rebuilt() -> None:
    room = Room()
    async with both_up(room):
        room.hubs.mark_suspect(Hub.USER, "REST shows a position the stream never told")
        assert room.witness.states(Hub.USER)[-1] is HubState.DOWN
        await until(room.up(Hub.USER, 2))


async def test_a_socket_that_will_not_close_is_cut() -> None:
    room = Room(replace(QUICK, close=0.02))
    async with both_up(room):
        link = room.server.last("user")
        socket = link.socket
        socket.stuck = True
        link.drop()
        await until(room.up(Hub.USER, 2))
        await until(lambda: socket.aborted)


# ---- silence -------------------------------------------------------------------------------------


async def test_a_silent_hub_is_noticed_although_its_socket_is_open() -> None:
    room = Room(WATCHFUL)
    async with both_up(room):
        room.server.acknowledges = False
        await until(lambda: bool(room.witness.reasons(Hub.USER)))
        assert "silent" in room.witness.reasons(Hub.USER)[0]
        room.server.acknowledges = True
        await until(room.up(Hub.USER, 2))


async def test_a_quiet_hub_that_answers_is_left_alone() -> None:
    room = Room(replace(WATCHFUL, answer=5.0))
    room.hubs.watch([ES])
    async with both_up(room):
        await until(lambda: room.hubs.counters(Hub.USER).probes >= 4)
        await until(lambda: room.hubs.counters(Hub.MARKET).probes >= 4)
        assert len(room.server.links) == 2
        assert set(room.server.last("market").invoked) == {("SubscribeContractQuotes", ES)}


async def test_a_hub_is_watched_closely_only_while_something_is_at_stake() -> None:
    at_stake: list[int] = []
    room = Room(
        replace(WATCHFUL, probe_after_idle=3600, answer=5.0), exposed=lambda: bool(at_stake)
    )
    async with both_up(room):
        await asyncio.sleep(0.3)  # three times the patience with something at stake
        assert room.hubs.counters(Hub.USER).probes == 0
        at_stake.append(101)
        await until(lambda: room.hubs.counters(Hub.USER).probes >= 2)


async def test_a_hub_that_was_never_heard_of_for_long_is_down_even_if_it_never_answers() -> None:
    clock = MovableClock()
    room = Room(replace(QUICK, acknowledge=0.02, silent=35.0, overslept=1e9), clock=clock)
    room.server.acknowledges = False
    async with both_up(room):
        clock.move(timedelta(seconds=30))
        await room.server.last("user").ping()
        clock.move(timedelta(seconds=30))
        age = room.hubs.last_frame_age(Hub.USER)
        assert age is not None
        assert 30 <= age < 35
        assert room.witness.reasons(Hub.USER) == []
        clock.move(timedelta(seconds=6))
        await until(lambda: bool(room.witness.reasons(Hub.USER)))
        await until(room.up(Hub.USER, 2))


async def test_a_hub_that_is_mute_after_its_reopening_is_not_up() -> None:
    room = Room(WATCHFUL)
    async with both_up(room):
        room.server.acknowledges = False
        room.server.last("user").drop()
        await until(lambda: room.hubs.counters(Hub.USER).failed_opens >= 2)
        assert room.witness.states(Hub.USER)[-1] is HubState.DOWN
        assert room.witness.opened.count(Hub.USER) == 1
        room.server.acknowledges = True
        await until(room.up(Hub.USER, 2))


async def test_a_hub_that_is_slow_to_acknowledge_but_not_mute_is_up() -> None:
    room = Room(replace(QUICK, answer=1.0))
    async with both_up(room):
        room.server.acknowledges = False
        room.server.last("user").drop()
        await until(lambda: len(room.server.of("user")) == 2)
        await room.server.last("user").ping()
        await until(room.up(Hub.USER, 2))
        assert room.hubs.counters(Hub.USER).failed_opens == 0


async def test_a_hub_that_is_mute_from_its_first_contract_on_is_noticed() -> None:
    room = Room(WATCHFUL)
    room.hubs.watch([ES])
    async with both_up(room):
        room.hubs.watch([])
        room.server.last("market").drop()
        await until(room.up(Hub.MARKET, 2))
        room.server.acknowledges = False
        room.hubs.watch([ES])
        await until(lambda: len(room.witness.reasons(Hub.MARKET)) == 2)
        assert "silent" in room.witness.reasons(Hub.MARKET)[1]


async def test_a_hub_that_never_answered_is_mute_where_the_other_hub_is_answered() -> None:
    room = Room(WATCHFUL)
    async with both_up(room):
        room.server.acknowledges = False
        room.hubs.watch([ES])  # the first thing ever asked of the market hub
        await until(lambda: bool(room.witness.reasons(Hub.MARKET)))
        assert "silent" in room.witness.reasons(Hub.MARKET)[0]


async def test_when_it_was_us_who_slept_the_hub_gets_a_fresh_chance() -> None:
    clock = MovableClock()
    room = Room(replace(QUICK, probe_after=1e9, probe_after_idle=1e9, overslept=1.0), clock=clock)
    async with both_up(room):
        clock.move(timedelta(hours=8))
        await asyncio.sleep(0.2)  # several looks
        assert room.witness.reasons(Hub.USER) == []


# ---- the token -----------------------------------------------------------------------------------


async def test_a_renewed_token_moves_both_hubs_without_a_moment_of_blindness() -> None:
    room = Room()
    async with both_up(room):
        old = room.server.last("user")
        room.login.token = "token-new"
        await until(room.up(Hub.USER, 2))
        await until(room.up(Hub.MARKET, 2))
        fresh = room.server.last("user")
        assert fresh.token == "token-new"
        assert len(fresh.invoked) == 7
        await until(lambda: not old.is_open)
        for hub in Hub:
            assert room.witness.states(hub) == [HubState.CONNECTING, HubState.UP]


async def test_the_old_link_serves_on_while_a_new_one_cannot_be_had() -> None:
    room = Room()
    async with both_up(room):
        old = room.server.last("user")
        room.server.refuse_next("user", *[HubRefusedError(503)] * 5)
        room.login.token = "token-new"
        await until(lambda: room.hubs.counters(Hub.USER).failed_opens >= 3)
        assert old.is_open
        await old.deliver("GatewayUserPosition", position(1))
        assert room.witness.of(PositionChanged)
        await until(room.up(Hub.USER, 2))
        assert room.witness.reasons(Hub.USER) == []


async def test_the_old_link_is_watched_while_the_opening_of_a_new_one_hangs() -> None:
    room = Room(replace(WATCHFUL, open=3600.0))
    async with both_up(room):
        room.server.hangs = True
        room.login.token = "token-new"
        await until(lambda: ("user", "token-new") in room.server.attempts)
        room.server.acknowledges = False
        await until(lambda: bool(room.witness.reasons(Hub.USER)))
        assert "silent" in room.witness.reasons(Hub.USER)[0]


async def test_the_old_link_is_watched_across_the_attempts_to_open_a_new_one() -> None:
    room = Room(replace(WATCHFUL, probe_after=0.5, retries=(0.05,)))
    async with both_up(room):
        room.server.refuse_next("user", *[HubRefusedError(503)] * 1000)
        room.login.token = "token-new"
        await until(lambda: room.hubs.counters(Hub.USER).failed_opens >= 2)
        room.server.acknowledges = False
        await until(lambda: bool(room.witness.reasons(Hub.USER)))
        assert "silent" in room.witness.reasons(Hub.USER)[0]


async def test_a_refused_token_is_renewed_and_the_hub_comes_back_with_it() -> None:
    room = Room()
    room.server.refuse_next("user", AuthorizationError())
    async with both_up(room):
        assert room.login.renewals == ["token-1"]
        assert room.server.last("user").token == "token-2"


async def test_a_hub_that_refuses_even_fresh_tokens_does_not_cause_a_storm_of_logins() -> None:
    room = Room(replace(QUICK, between_renewals=3600))
    room.server.refuse_next("user", *[AuthorizationError()] * 20)
    async with both_up(room):
        assert len(room.login.renewals) == 1


async def test_a_login_that_fails_does_not_stop_the_hubs() -> None:
    room = Room()
    room.login.is_down = True
    room.server.refuse_next("user", *[AuthorizationError()] * 3)
    async with both_up(room):
        assert len(room.login.renewals) == 3


async def test_being_signed_out_is_told_and_answered_with_one_login() -> None:
    room = Room()
    async with both_up(room):
        await room.server.last("user").deliver("GatewayLogout", {"reason": "elsewhere"})
        await until(room.up(Hub.USER, 2))
        assert "signed this login out" in room.witness.reasons(Hub.USER)[0]
        assert room.login.renewals == ["token-1"]
        await until(room.up(Hub.MARKET, 2))
        # Again so soon: somebody else is at it. No fight over the login, but no giving up either.
        await room.server.last("user").deliver("GatewayLogout")
        await until(room.up(Hub.USER, 3))
        assert room.login.renewals == ["token-1"]
        assert room.hubs.counters(Hub.USER).logouts == 2


async def test_no_token_in_any_reason_or_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    room = Room()
    url = "http://h/hubs/user/negotiate?access_token=token-1&x=1"
    room.server.refuse_next("user", RuntimeError(f"0, message='unexpected', url='{url}'"))
    async with both_up(room):
        room.server.last("user").die(ServerError(f"bad {url}"))
        await until(room.up(Hub.USER, 2))
    told = caplog.text + " ".join(room.witness.reasons(Hub.USER))
    assert "unexpected" in told
    assert "token-1" not in told


@pytest.mark.parametrize(
    "text", ["url='http://h?access_token=abc&d'", "Authorization: Bearer abc", "the token abc"]
)
def test_tokens_are_struck_from_texts(text: str) -> None:
    assert "abc" not in without_token(text, "abc")
    assert "***" in without_token(text, "abc")


# ---- with the real SDK against the practice gateway ----------------------------------------------


class Desk:
    """The real SDK, the practice gateway, and a supervisor between."""

    def __init__(self, gateway: PracticeGateway, timings: HubTimings) -> None:
        self.gateway = gateway
        self.witness = Witness()
        self.address = GatewayAddress(
            kind="practice",
            api_url=gateway.api_url,
            user_hub_url=gateway.user_hub_url,
            market_hub_url=gateway.market_hub_url,
            username=gateway.username,
            api_key=SecretStr(gateway.api_key),
        )
        self.session = GatewaySession(
            self.address, clock=SystemClock(), timings=SessionTimings(between_logins=0.0)
        )
        self.hubs = HubSupervisor(
            self.address,
            self.session,
            clock=SystemClock(),
            put=self.witness.put,
            account_ids=[101, 102],
            on_open=self.witness.opened.append,
            on_unreadable=self.witness.snapshots.append,
            timings=timings,
        )
        self.contract = gateway.exchange.contract_of("ES").id

    async def up(self, hub: Hub, times: int = 1) -> None:
        await until(lambda: self.witness.is_up(hub, times))

    def subscriptions(self, name: HubName) -> set[tuple[str, int | str | None]]:
        connections = self.gateway.hub(name).connections
        return connections[-1].subscriptions if connections else set()

    async def hears_fills(self) -> None:
        """A fill in each account reaches us."""
        for account_id in (101, 102):
            seen = len(self.witness.of(PositionChanged))
            self.gateway.exchange.order_entry.place(
                account_id,
                self.contract,
                Side.BUY,
                1,
                OrderType.MARKET,
                now=self.gateway.now(),
            )
            await until(lambda seen=seen: len(self.witness.of(PositionChanged)) > seen)  # type: ignore[misc]
            assert self.witness.of(PositionChanged)[-1].account_id == account_id

    async def hears_quotes(self) -> None:
        """A price reaches us."""
        seen = len(self.witness.of(QuoteChanged))
        book = self.gateway.exchange.book(self.contract)
        self.gateway.exchange.move_price(
            self.contract, book.last + Decimal("0.25"), now=self.gateway.now()
        )
        await until(lambda: len(self.witness.of(QuoteChanged)) > seen)


@asynccontextmanager
async def desk(timings: HubTimings = QUICK, **options: Any) -> AsyncIterator[Desk]:
    async with PracticeGateway(**options) as gateway:
        one = Desk(gateway, timings)
        async with one.session:
            await one.session.log_in()
            one.hubs.watch([one.contract])
            async with running(one.hubs):
                await one.up(Hub.USER)
                await one.up(Hub.MARKET)
                yield one


USER_SUBSCRIPTIONS = {
    ("account", None),
    *((kind, account) for kind in ("order", "position", "trade") for account in (101, 102)),
}


@pytest.mark.wire
async def test_wire_both_accounts_and_quotes_are_heard_and_nothing_else_is_asked_for() -> None:
    async with desk() as one:
        assert one.subscriptions("user") == USER_SUBSCRIPTIONS
        assert one.subscriptions("market") == {("quote", one.contract)}
        await one.hears_fills()
        await one.hears_quotes()
        assert not one.witness.of(Unreadable)


@pytest.mark.wire
@pytest.mark.parametrize("shape", ["wrapped", "plain", "list"])
async def test_wire_every_payload_shape_is_understood(shape: str) -> None:
    async with desk(payload_shape=shape) as one:
        await one.hears_fills()
        assert not one.witness.of(Unreadable)


@pytest.mark.wire
async def test_wire_a_garbled_frame_twice_and_then_an_event_is_still_heard() -> None:
    async with desk() as one:
        for times in (2, 3):
            await one.gateway.injection.garble("user")
            await one.up(Hub.USER, times)
            await one.hears_fills()
        assert all("could not be understood" in why for why in one.witness.reasons(Hub.USER))
        assert one.subscriptions("user") == USER_SUBSCRIPTIONS


@pytest.mark.wire
@pytest.mark.parametrize("shape", ["close_error", "close", "extra_key", "no_type"])
async def test_wire_an_odd_frame_costs_a_reopen_at_most(shape: OddFrame) -> None:
    async with desk() as one:
        await one.gateway.injection.send_odd("user", shape)
        await one.up(Hub.USER, 2)
        await one.hears_fills()


@pytest.mark.wire
@pytest.mark.parametrize("shape", ["unknown_target", "null"])
async def test_wire_a_harmless_frame_costs_nothing(shape: OddFrame) -> None:
    async with desk() as one:
        await one.gateway.injection.send_odd("user", shape)
        await one.hears_fills()
        assert one.witness.opened.count(Hub.USER) == 1


@pytest.mark.wire
async def test_wire_a_quiet_market_causes_no_reconnect() -> None:
    async with desk(replace(WATCHFUL, answer=5.0), ping_seconds=3600.0) as one:
        await until(lambda: one.hubs.counters(Hub.USER).probes >= 5)
        await until(lambda: one.hubs.counters(Hub.MARKET).probes >= 5)
        assert sorted(one.witness.opened) == [Hub.MARKET, Hub.USER]
        assert one.gateway.user_hub.negotiations == one.gateway.market_hub.negotiations == 1


@pytest.mark.wire
@pytest.mark.parametrize("name", ["user", "market"])
async def test_wire_a_hub_gone_silent_with_its_socket_open_is_noticed(name: HubName) -> None:
    async with desk(WATCHFUL) as one:
        hub = Hub(name)
        one.gateway.faults.hub(name).mute = True
        await until(lambda: bool(one.witness.reasons(hub)))
        assert "silent" in one.witness.reasons(hub)[0]
        one.gateway.faults.clear()
        await until(lambda: one.witness.states(hub)[-1] is HubState.UP)
        await one.hears_fills()
        await one.hears_quotes()


@pytest.mark.wire
async def test_wire_a_renewed_token_moves_the_hubs_and_the_old_one_may_then_die() -> None:
    async with desk() as one:
        await one.session.renew(one.session.token)
        await one.up(Hub.USER, 2)
        await one.up(Hub.MARKET, 2)
        for hub in Hub:
            assert one.witness.reasons(hub) == []
        await until(lambda: len(one.gateway.connections) == 2)
        for connection in one.gateway.connections:
            assert connection.request.query["access_token"] == one.session.token
        await one.hears_fills()
        await one.hears_quotes()


@pytest.mark.wire
async def test_wire_revoked_tokens_and_dropped_hubs_end_in_a_new_login_and_open_hubs() -> None:
    async with desk() as one:
        await one.gateway.revoke_tokens(close_hubs=True)
        await one.up(Hub.USER, 2)
        await one.up(Hub.MARKET, 2)
        assert one.session.logins == 2
        await one.hears_fills()


@pytest.mark.wire
async def test_wire_twelve_drops_in_a_row_and_still_alive() -> None:
    async with desk() as one:
        for times in range(2, 14):
            assert await one.gateway.drop() == 2
            await one.up(Hub.USER, times)
            await one.up(Hub.MARKET, times)
            assert one.subscriptions("user") == USER_SUBSCRIPTIONS
            assert one.subscriptions("market") == {("quote", one.contract)}
        await one.hears_fills()
        await one.hears_quotes()


@pytest.mark.wire
@pytest.mark.parametrize("status", [401, 404, 503])
async def test_wire_a_refused_negotiation_is_repeated_until_it_heals(status: int) -> None:
    async with desk() as one:
        faults = one.gateway.faults.user
        faults.refuse_negotiate, faults.refuse_times = status, 6
        await one.gateway.drop("user")
        await until(lambda: faults.refuse_times == 0)
        await one.up(Hub.USER, 2)
        await one.hears_fills()
        assert one.session.logins == (7 if status == 401 else 1)


@pytest.mark.wire
async def test_wire_a_negotiation_that_hangs_is_given_up() -> None:
    async with desk(replace(QUICK, open=0.3)) as one:
        one.gateway.faults.user.hang_negotiate = True
        await one.gateway.drop("user")
        await until(lambda: one.hubs.counters(Hub.USER).failed_opens >= 2)
        one.gateway.faults.clear()
        await one.up(Hub.USER, 2)
        await one.hears_fills()


@pytest.mark.wire
async def test_wire_being_signed_out_is_told_and_healed() -> None:
    async with desk() as one:
        await one.gateway.injection.logout("user")
        await one.up(Hub.USER, 2)
        assert "signed this login out" in one.witness.reasons(Hub.USER)[0]
        assert one.session.logins == 2
        await one.hears_fills()


@pytest.mark.wire
async def test_wire_a_gateway_that_is_gone_for_a_while_is_waited_for() -> None:
    async with desk() as one:
        port = one.gateway.port
        await one.gateway.close()
        await until(lambda: one.hubs.counters(Hub.USER).failed_opens >= 5)
        assert one.witness.states(Hub.USER)[-1] is HubState.DOWN
        async with PracticeGateway(
            port=port, username=one.gateway.username, api_key=one.gateway.api_key
        ) as second:
            one.gateway = second  # it knows none of the old one's tokens
            await one.up(Hub.USER, 2)
            await one.up(Hub.MARKET, 2)
            await one.hears_fills()


@pytest.mark.wire
async def test_wire_no_token_in_any_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with desk() as one:
        await one.gateway.injection.garble("user")
        await one.up(Hub.USER, 2)
        token = one.session.token
    assert token not in caplog.text
    assert one.gateway.api_key not in caplog.text
