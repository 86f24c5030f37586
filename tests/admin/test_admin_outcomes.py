"""The answer to an order of an administrator says what it did."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from desk import Desk, make_desk, rules_from
from virtual_time import BEGAN, LoopClock, in_virtual_time

from risk_manager.admin.verbs import AdminDesk
from risk_manager.domain.events import AccountOpened, AnyEvent, Tick
from risk_manager.domain.rule import Rule
from risk_manager.feed.admin import AdminError, AdminSession

SESSION = AdminSession(peer="test")


class Broker:
    """Carries out what is asked of it, and tells of an account when it is read, a moment later."""

    def __init__(self, desk: Desk, *, obeys: bool = True, answers: bool = True) -> None:
        self.desk = desk
        self.obeys = obeys
        self.answers = answers
        self.clock = LoopClock()
        self._wanted: set[int] = set()
        self.admin = AdminDesk(
            self._take, lambda: desk.pipeline.state, self.clock, read=self._wanted.add
        )

    async def _take(self, *events: AnyEvent) -> None:
        for event in events:
            await self.desk.happens(event)

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            wanted = set(self._wanted)
            self._wanted.clear()
            self.desk.now = self.clock.now()
            await self.desk.happens(Tick(at=self.desk.now))
            if self.obeys:
                await self.desk.obey()
            for account_id in wanted if self.answers else ():
                await self.desk.read_whole(account_id)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._work(), name="broker")
        try:
            yield
        finally:
            task.cancel()

    async def asked(self, verb: str, **params: Any) -> dict[str, Any]:
        async with self.at_work():
            return await self.admin.handle(
                verb, {"account_id": 101, "reason": "enough", **params}, SESSION
            )


def desk_of(*rules: Rule, **more: Any) -> Desk:
    return Desk(rules, at=BEGAN, **more)


# --- close_all ------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_panic_says_what_was_closed_and_cancelled_and_that_it_is_so() -> None:
    """F7.4: A panic answers with what was closed and cancelled, verified, for each account."""
    desk = desk_of(accounts=(101, 102))
    await desk.position("MNQ", 2)
    await desk.position("ES", -1, 6000)
    stop = await desk.stop("MNQ", -2)
    broker = Broker(desk)
    answer = await broker.asked("close_all", account_id="all", wait_s=20)
    first, second = answer["report"]
    assert {(row["symbol"], row["net"]) for row in first["closed"]} == {("MNQZ6", 2), ("ESZ6", -1)}
    assert [row["order_id"] for row in first["cancelled"]] == [stop]
    assert first["verified"]
    assert not first["still_open"]
    assert not first["still_working"]
    assert second["account_id"] == 102
    assert second["verified"]
    assert not second["closed"]
    assert not second["cancelled"]
    assert broker.clock.monotonic() < 5


@in_virtual_time
async def test_a_panic_that_is_not_carried_out_says_what_is_left() -> None:
    """F7.4: A panic waits for a bounded time, then says what is still open and how often tried."""
    desk = desk_of()
    await desk.position("MNQ", 2)
    stop = await desk.stop("MNQ", -2)
    broker = Broker(desk, obeys=False)
    answer = await broker.asked("close_all", wait_s=20)
    [row] = answer["report"]
    assert 20 <= broker.clock.monotonic() < 21
    assert [(p["symbol"], p["net"], p["tries"]) for p in row["still_open"]] == [("MNQZ6", 2, 1)]
    assert [o["order_id"] for o in row["still_working"]] == [stop]
    assert not row["verified"]
    assert not row["closed"]


@in_virtual_time
async def test_what_the_stream_alone_says_is_not_verified() -> None:
    """F7.4: Without a list of the broker's from after the close nothing is called verified."""
    desk = desk_of()
    await desk.position("MNQ", 2)
    answer = await Broker(desk, answers=False).asked("close_all", wait_s=20)
    [row] = answer["report"]
    assert [p["symbol"] for p in row["closed"]] == ["MNQZ6"]
    assert not row["verified"]


@in_virtual_time
async def test_an_order_that_filled_first_is_not_called_cancelled() -> None:
    """F7.4: An order of the trader's that filled before its cancel is told as filled."""
    desk = desk_of()
    await desk.position("MNQ", 2)
    stop = await desk.stop("MNQ", -2)
    broker = Broker(desk, obeys=False)
    async with broker.at_work():
        params = {"account_id": 101, "reason": "enough", "wait_s": 20}
        asked = asyncio.create_task(broker.admin.handle("close_all", params, SESSION), name="panic")
        await asyncio.sleep(0.1)
        await desk.fill("MNQ", -2, pnl=Decimal(-20), order_id=stop)
        await desk.order("MNQ", -2, order_id=stop, status=2, filled=2)  # type: ignore[arg-type]
        await desk.position("MNQ", 0)
        [row] = (await asked)["report"]
    assert [o["order_id"] for o in row["filled"]] == [stop]
    assert not row["cancelled"]
    assert row["verified"]


@in_virtual_time
async def test_a_panic_right_after_the_start_closes_what_is_not_known_yet() -> None:
    """F7.4: A position first heard of when the account is read after a start is closed as well."""
    desk = desk_of()
    await desk.position("ES", 1, 6000)
    await desk.position("ES", 0)
    await desk.happens(AccountOpened(at=desk.now, account_id=101))
    broker = Broker(desk, answers=False)
    async with broker.at_work():
        params = {"account_id": 101, "reason": "enough", "wait_s": 20}
        asked = asyncio.create_task(broker.admin.handle("close_all", params, SESSION), name="panic")
        await asyncio.sleep(1)
        await desk.report(positions={"MNQ": 2})
        broker.answers = True
        [row] = (await asked)["report"]
    assert [(p["symbol"], p["net"]) for p in row["closed"]] == [("MNQZ6", 2)]
    assert row["verified"]
    assert not row["opened_since"]


@in_virtual_time
async def test_what_was_opened_while_panicking_is_told_and_is_not_called_closed() -> None:
    """F7.4: A position opened after the panic, which no lock forbids, is told of."""
    desk = desk_of()
    await desk.position("MNQ", 2)
    await desk.report(positions={"MNQ": 2})
    broker = Broker(desk, answers=False)
    async with broker.at_work():
        params = {"account_id": 101, "reason": "enough", "wait_s": 20}
        asked = asyncio.create_task(broker.admin.handle("close_all", params, SESSION), name="panic")
        await asyncio.sleep(1)
        await desk.position("MNQ", 1)
        broker.answers = True
        [row] = (await asked)["report"]
    assert [(p["symbol"], p["net"]) for p in row["opened_since"]] == [("MNQZ6", 1)]
    assert [(p["symbol"], p["net"]) for p in row["closed"]] == [("MNQZ6", 2)]


# --- locks ----------------------------------------------------------------------------------------


async def asked_of(desk: Desk, verb: str, **params: Any) -> dict[str, Any]:
    broker = Broker(desk)
    return await broker.admin.handle(
        verb, {"account_id": 101, "reason": "enough", **params}, SESSION
    )


@in_virtual_time
async def test_a_lock_is_answered_with_its_effect() -> None:
    """F7.9: A lock set by hand is answered with its own terms and those of the others in force."""
    desk = desk_of()
    await desk.wait(seconds=1)
    await asked_of(desk, "set_lockout", policy="no_entries", duration="30m", reason="lunch")
    answer = await asked_of(desk, "set_lockout", duration="10m", reason="news")
    assert answer["lock"]["policy"] == "flat"
    assert answer["lock"]["expires_at"] - BEGAN == timedelta(minutes=10)
    terms = {(x["policy"], x["reason"], x["expires_at"] - BEGAN) for x in answer["locks"]}
    assert terms == {
        ("no_entries", "lunch", timedelta(minutes=30)),
        ("flat", "news", timedelta(minutes=10)),
    }


@in_virtual_time
async def test_a_clear_says_what_it_lifted_what_stays_and_who_may_lift_that() -> None:
    """F7.18: A clear without a rule names what it lifted, what stays, and who may lift it."""
    rules = rules_from(daily_realized_loss={"limit": 100}, cooldown_after_loss={
        "tiers": [{"loss": 50, "cooldown": "30m"}]})  # fmt: skip
    desk = desk_of(*rules)
    await desk.loss(150)
    await desk.wait(seconds=2)
    assert set(desk.locked_by()) == {"daily_realized_loss", "cooldown_after_loss"}
    await asked_of(desk, "set_lockout", scope="root:NQ", reason="no NQ")
    answer = await asked_of(desk, "clear_lockout")
    assert [x["rule_id"] for x in answer["lifted"]] == ["cooldown_after_loss"]
    stays = {x["rule_id"]: (x["asked_for"], x["who"]) for x in answer["stays"]}
    assert stays == {
        "daily_realized_loss": (
            True,
            "nobody may lift it; it ends by itself at the daily reset",
        ),
        "manual": (False, "an administrator may lift it"),
    }


@in_virtual_time
async def test_a_clear_of_what_nobody_may_lift_says_who_may() -> None:
    """F7.18: A refused clear says who may lift the lock; one that misses names what there is."""
    desk = desk_of(*rules_from(daily_realized_loss={"limit": 100}))
    await desk.loss(150)
    await desk.wait(seconds=1)
    with pytest.raises(AdminError, match=r"cannot be cleared by hand: .*nobody may lift it") as no:
        await asked_of(desk, "clear_lockout")
    assert no.value.code == "refused"
    with pytest.raises(AdminError, match=r"in force: daily_realized_loss \(account\)"):
        await asked_of(desk, "clear_lockout", scope="root:ES")


@in_virtual_time
async def test_a_wait_is_a_number_of_seconds() -> None:
    """F7.4: A wait that is no number of seconds is refused before anything is done."""
    desk = make_desk()
    await desk.position("MNQ", 1)
    for wrong in ("soon", True, -1, float("nan")):
        with pytest.raises(AdminError, match="wait_s is a number of seconds"):
            await asked_of(desk, "close_all", wait_s=wrong)
    assert desk.actions == []


@in_virtual_time
async def test_a_lock_too_long_for_any_clock_is_refused_in_one_line() -> None:
    """F6.10: A length nobody means is refused with the longest there is."""
    broker = Broker(desk_of())
    await broker.desk.position("MNQ", 0)  # the account is known
    for length in ("99999999999999d", "3651d", "87624h", f"{'9' * 400}ms"):
        with pytest.raises(AdminError, match="too long; the longest is 3650d") as refused:
            await broker.asked("set_lockout", duration=length)
        assert refused.value.code == "bad_duration"
    assert (await broker.asked("set_lockout", duration="3650d"))["accepted"]
