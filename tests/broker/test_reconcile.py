"""The broker's word on each account: whole or not at all, fresh, and never twice at once."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from desk import rules_from
from enforcement_bench import Bench, bench
from paper_broker import (
    ACCOUNTS,
    CLOSE,
    MNQ,
    ORDERS,
    POSITIONS,
    TRADES,
    PaperBroker,
    answer,
    hang,
    slow,
    status,
)
from virtual_time import BEGAN, LoopClock, in_virtual_time

from risk_manager.broker.reading.pacing import Intervals
from risk_manager.broker.reading.readings import EVERYTHING, EXPOSURE, Part, Reading
from risk_manager.broker.request_budget import Limits
from risk_manager.broker.single_requests import Lane
from risk_manager.domain.events import (
    AccountReported,
    PositionChanged,
    RulebookReplaced,
    TradeExecuted,
    Unreadable,
)
from risk_manager.domain.records import PositionType
from risk_manager.domain.rulebook import AccountRules
from risk_manager.rules.auth_loss_guard import AuthLossGuard
from risk_manager.rules.no_stop_loss_grace import NoStopLossGrace
from risk_manager.rules.symbol_blocks import SymbolBlocks

POSITIONS_ONLY = frozenset({Part.POSITIONS})


def trade(number: int, minutes_ago: float, **fields: Any) -> dict[str, Any]:
    return {
        "id": number,
        "accountId": 101,
        "contractId": MNQ,
        "creationTimestamp": (BEGAN - timedelta(minutes=minutes_ago)).isoformat(),
        "price": 21000.25,
        "profitAndLoss": None,
        "fees": 0.37,
        "side": 0,
        "size": 1,
        "voided": False,
        "orderId": 1,
        **fields,
    }


def position(account_id: int, **fields: Any) -> dict[str, Any]:
    return {"accountId": account_id, "contractId": MNQ, "type": 1, **fields}


def since(broker: PaperBroker) -> list[timedelta]:
    """How long before the beginning each search for trades reached back."""
    starts = [call.body["startTimestamp"] for call in broker.calls(TRADES)]
    return [BEGAN - type(BEGAN).fromisoformat(start) for start in starts]


async def first_report(b: Bench) -> AccountReported:
    await b.until(lambda: bool(b.of(AccountReported)))
    return b.of(AccountReported)[0]


@in_virtual_time
async def test_a_start_reads_the_whole_account_this_day_and_the_one_before_at_once() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, -2)
    order = broker.add_order(101, MNQ)
    broker.trades = [trade(1, 10)]
    async with bench(broker, LoopClock()) as b:
        report = await first_report(b)
        assert len({call.at for call in broker.asked}) == 1
        assert report.asked_at == BEGAN + timedelta(seconds=broker.asked[0].at)
        assert b.account().net(MNQ) == -2
        assert list(b.account().orders) == [order]
        assert list(b.account().ledger.entries) == [1]
        assert b.account().can_trade is True
        yesterday_began = b.pipeline.state.day.starts_at - timedelta(days=1)
        assert since(broker)[0] == BEGAN - yesterday_began + timedelta(minutes=5)
        assert b.reconciler.status(101).failing_since is None
        assert b.reconciler.status(101).last_ok_at is not None


@in_virtual_time
async def test_an_exposed_account_is_read_every_five_seconds_and_a_flat_one_every_thirty() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(121)
        assert len(broker.calls(POSITIONS)) == 5
        broker.hold(101, MNQ, 1)
        b.reconciler.ask(101)
        await asyncio.sleep(1)
        before = len(broker.calls(POSITIONS))
        await asyncio.sleep(60)
        assert len(broker.calls(POSITIONS)) - before == pytest.approx(12, abs=1)


@in_virtual_time
async def test_many_accounts_share_the_search_and_the_budget() -> None:
    broker = PaperBroker()
    ids = range(101, 111)
    broker.accounts = [{"id": i, "name": str(i)} for i in ids]
    for i in ids:
        broker.hold(i, MNQ, 1)
    async with bench(broker, LoopClock(), accounts=ids):
        await asyncio.sleep(1)
        assert Counter(c.path for c in broker.asked) == {
            ACCOUNTS: 1,
            POSITIONS: 10,
            ORDERS: 10,
            TRADES: 10,
        }
        await asyncio.sleep(600)
        assert len(broker.asked) / 10 <= 95


@in_virtual_time
async def test_routine_passes_ask_only_for_trades_since_the_newest_known() -> None:
    broker = PaperBroker()
    broker.trades = [trade(1, 60), trade(2, 30)]
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(65)
        reach = since(broker)
        assert len(reach) == 3
        assert reach[1] == reach[2] == timedelta(minutes=32)
        b.reconciler.ask(101)
        await asyncio.sleep(1)
        assert since(broker)[3] == reach[0]
        await asyncio.sleep(700)
        assert since(broker).count(reach[0]) == 3  # the whole day again after ten minutes


@in_virtual_time
async def test_a_trade_lost_by_the_stream_while_reads_failed_is_found_afterwards() -> None:
    broker = PaperBroker()
    broker.trades = [trade(1, 60)]
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(1)
        broker.always["*"] = status(503)
        await asyncio.sleep(400)
        # The stream lost number 2 and brought number 3, five minutes later.
        broker.trades += [trade(2, -1), trade(3, -6)]
        b.pipeline.inbox.put_nowait(
            TradeExecuted.model_validate({**broker.trades[2], "at": b.clock.now()})
        )
        await asyncio.sleep(0.1)
        broker.always.clear()
        await asyncio.sleep(40)
        assert sorted(b.account().ledger.entries) == [1, 2, 3]


@in_virtual_time
async def test_a_new_trading_day_is_read_whole() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        day = b.pipeline.state.day
        await asyncio.sleep((day.ends_at - BEGAN).total_seconds() + 60)
        assert b.pipeline.state.day.date > day.date
        starts = broker.calls(TRADES)[-2:]
        assert (
            starts[0].body["startTimestamp"] == (day.starts_at - timedelta(minutes=5)).isoformat()
        )


@in_virtual_time
async def test_the_trades_of_days_that_a_rule_looks_back_on_are_asked_for_once() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        day = b.pipeline.state.rulebook.day
        looks_back = BEGAN.date() - timedelta(days=10)
        book = replace(
            b.pipeline.state.rulebook,
            accounts={
                101: AccountRules.of(rules_from(consistency={"since": looks_back.isoformat()}))
            },
        )
        b.pipeline.inbox.put_nowait(RulebookReplaced(at=b.clock.now(), rulebook=book))
        await asyncio.sleep(660)
        starts = [call.body["startTimestamp"] for call in broker.calls(TRADES)]
        reached = (day.began(looks_back) - timedelta(minutes=5)).isoformat()
        assert starts.count(reached) == 1
        assert b.account().days.unknown(looks_back, b.account().trading_date) == ()


@in_virtual_time
async def test_a_list_that_may_be_cut_completes_no_earlier_day() -> None:
    broker = PaperBroker()
    broker.trades += [trade(number, 60 + number) for number in range(1, 501)]
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: any(r.trades for r in b.of(AccountReported)))
        reported = next(r for r in b.of(AccountReported) if r.trades)
        assert reported.trades_since == min(t.creation_timestamp for t in reported.trades or ())


@in_virtual_time
async def test_a_trade_voided_after_its_day_has_ended_is_found_although_the_stream_lost_it() -> (
    None
):
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        day = b.pipeline.state.day
        broker.trades.append(trade(1, -100))
        await asyncio.sleep((day.ends_at - BEGAN).total_seconds() + 60)
        assert not b.account().ledger.entries[1].voided
        broker.trades[0] = {**broker.trades[0], "voided": True}
        await asyncio.sleep(700)
        assert b.account().ledger.entries[1].voided


@pytest.mark.parametrize(
    ("path", "body", "missing"),
    [
        (POSITIONS, {"positions": [{"accountId": 101, "contractId": MNQ}]}, "positions"),
        (
            POSITIONS,
            {"positions": [{"accountId": 101, "contractId": MNQ, "size": -1}]},
            "positions",
        ),
        (POSITIONS, {"positions": [{"accountId": 102, "contractId": MNQ, "size": 1}]}, "positions"),
        (POSITIONS, {"positions": None}, "positions"),
        (POSITIONS, {}, "positions"),
        (ORDERS, {"orders": ["order"]}, "orders"),
        (TRADES, {"trades": [trade(1, 5), trade(2, 5, price=float("nan"))]}, "trades"),
        (TRADES, {"trades": [trade(1, 5), trade(2, 5, creationTimestamp="noon")]}, "trades"),
    ],
)
@in_virtual_time
async def test_a_part_that_cannot_be_read_is_missing_whole_and_told_once(
    path: str, body: dict[str, Any], missing: str
) -> None:
    broker = PaperBroker()
    broker.always[path] = answer({**body, "success": True})
    async with bench(broker, LoopClock()) as b:
        report = await first_report(b)
        assert getattr(report, missing) is None
        others = {"positions", "orders", "trades", "account"} - {missing}
        assert all(getattr(report, other) is not None for other in others)
        await asyncio.sleep(30)
        (told,) = b.of(Unreadable)
        assert (told.source, told.account_id) == (path, 101)
        assert b.reconciler.status(101).failing_since is not None


@in_virtual_time
async def test_an_account_missing_from_the_list_is_absent_and_the_rest_is_read() -> None:
    broker = PaperBroker()
    broker.accounts = []
    async with bench(broker, LoopClock()) as b:
        report = await first_report(b)
        assert report.account is None
        assert report.positions == ()
        assert not b.reconciler.status(101).is_absent, "one list may have been cut short"
        await asyncio.sleep(3)
        assert b.reconciler.status(101).is_absent


@in_virtual_time
async def test_a_list_without_the_account_once_makes_nobody_absent() -> None:
    broker = PaperBroker()
    broker.faults[ACCOUNTS].extend([answer({"accounts": [], "success": True})] * 2)
    async with bench(broker, LoopClock()) as b:
        for _ in range(60):
            await asyncio.sleep(0.1)
            assert not b.reconciler.status(101).is_absent
        assert b.account().can_trade is True


@in_virtual_time
async def test_an_account_that_is_gone_is_only_looked_for_and_read_whole_once_it_is_back() -> None:
    """F5.4: What refuses every call takes nothing of the budget of the others."""
    broker = PaperBroker()
    gone = broker.accounts.pop()
    async with bench(broker, LoopClock(), accounts=[101, 102]) as b:
        b.reconciler.expect_absent([102])
        b.reconciler.ask()
        await asyncio.sleep(300)
        assert b.reconciler.status(102).is_absent
        assert {c.body["accountId"] for c in broker.asked if "accountId" in c.body} == {101}
        broker.accounts.append(gone)
        broker.hold(102, MNQ, 1)
        await asyncio.sleep(32)
        assert not b.reconciler.status(102).is_absent
        assert b.reconciler.status(102).last_ok_at is not None
        assert b.pipeline.state.accounts[102].net(MNQ) == 1


@in_virtual_time
async def test_a_locked_account_that_is_no_longer_active_is_found_among_all() -> None:
    broker = PaperBroker(inactive={101})
    broker.accounts[0]["canTrade"] = False
    async with bench(broker, LoopClock()) as b:
        report = await first_report(b)
        assert report.account is not None
        assert b.account().can_trade is False
        assert b.of(Unreadable) == []
        assert [[a.id for a in listed] for listed in b.listed] == [[102]]


@in_virtual_time
async def test_a_part_that_fails_is_none_and_the_others_arrive() -> None:
    broker = PaperBroker()
    broker.always[ORDERS] = status(500)
    async with bench(broker, LoopClock()) as b:
        report = await first_report(b)
        assert report.orders is None
        assert report.positions == ()


@in_virtual_time
async def test_when_rest_fails_it_is_tried_after_one_five_ten_and_thirty_seconds() -> None:
    broker = PaperBroker(latency=0)
    async with bench(broker, LoopClock()) as b:
        await first_report(b)
        broker.always["*"] = status(400)
        await asyncio.sleep(130)
        at = [call.at for call in broker.calls(POSITIONS)]
        gaps = [round(later - earlier) for earlier, later in pairwise(at)]
        assert gaps == [30, 1, 5, 10, 30, 30]
        assert len(b.of(AccountReported)) == 1
        failing = b.reconciler.status(101)
        assert failing.failing_since == BEGAN + timedelta(seconds=at[1])
        assert failing.reason
        broker.always.clear()
        await asyncio.sleep(31)
        assert b.reconciler.status(101).failing_since is None


@in_virtual_time
async def test_read_backs_that_fail_in_a_row_do_not_put_off_the_usual_reading() -> None:
    """What the stream lost may be seen by it alone: the account looks flat."""
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await first_report(b)
        await asyncio.sleep(2)
        broker.always["*"] = status(400)
        for _ in range(6):
            await b.reconciler.read_back(101, POSITIONS_ONLY, 1)
        b.reconciler.ask_routine(101)
        await asyncio.sleep(0.5)
        assert b.reconciler.status(101).failing_since is not None
        broker.always.clear()
        before = len(b.of(AccountReported))
        await asyncio.sleep(5)
        assert [r.positions for r in b.of(AccountReported)[before:]] == [()]


@in_virtual_time
async def test_of_one_account_two_passes_never_run_at_once() -> None:
    broker = PaperBroker(latency=0.3)
    async with bench(broker, LoopClock(), accounts=[101, 102]) as b:
        for _ in range(40):
            b.reconciler.ask()
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        for account_id in (101, 102):
            at = [c.at for c in broker.calls(POSITIONS) if c.body["accountId"] == account_id]
            assert len(at) <= 7
            assert all(later - earlier >= 0.3 for earlier, later in pairwise(at))


@in_virtual_time
async def test_a_read_back_is_begun_after_it_was_asked_for_and_shared() -> None:
    broker = PaperBroker(latency=0.1)
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(1)
        running = asyncio.ensure_future(b.reconciler.read_back(101, POSITIONS_ONLY, 2))
        await asyncio.sleep(0.05)
        before = len(broker.calls(POSITIONS))
        asked = b.clock.now()
        first, second = await asyncio.gather(
            b.reconciler.read_back(101, POSITIONS_ONLY, 2),
            b.reconciler.read_back(101, EVERYTHING, 2),
        )
        assert first is second
        assert first is not None
        assert first.asked_at > asked
        assert len(broker.calls(POSITIONS)) == before + 1
        assert running.done()
        assert running.result() is not first
        assert {c.lane for c in broker.calls(POSITIONS)[-2:]} == {Lane.FAST}


@in_virtual_time
async def test_a_routine_pass_that_hangs_gives_way_to_a_read_back_and_is_made_up_for() -> None:
    broker = PaperBroker()
    gate = asyncio.Event()
    broker.faults[POSITIONS].append(hang(gate))
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(0.1)
        assert b.of(AccountReported) == []
        reading = await b.reconciler.read_back(101, POSITIONS_ONLY, 1)
        assert isinstance(reading, Reading)
        assert reading.positions == ()
        assert b.clock.monotonic() < 0.2
        gate.set()
        await asyncio.sleep(2)
        whole = [r for r in b.of(AccountReported) if r.account is not None and r.positions == ()]
        assert len(whole) == 1
        assert since(broker)[0] == since(broker)[-1]  # the whole day is still owed


@in_virtual_time
async def test_what_a_dropped_pass_has_been_told_is_reported() -> None:
    """Lists may be refused afterwards, and a fee in this one may be what a limit waits for."""
    broker = PaperBroker()
    broker.trades = [trade(1, 10)]
    broker.faults[POSITIONS].append(slow(0.4))
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: bool(broker.calls(TRADES)))
        await asyncio.sleep(0.1)
        broker.always[TRADES] = status(429)
        await b.reconciler.read_back(101, POSITIONS_ONLY, 1)
        assert b.clock.monotonic() < 0.4
        assert list(b.account().ledger.entries) == [1]


@in_virtual_time
async def test_a_read_back_that_takes_too_long_is_none() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(1)
        broker.always["*"] = slow(50)
        before = b.clock.monotonic()
        reading = await b.reconciler.read_back(101, POSITIONS_ONLY, 0.5)
        assert reading is None
        assert b.clock.monotonic() - before == pytest.approx(0.5)


@in_virtual_time
async def test_closing_lets_go_of_who_waits() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(1)
        broker.always["*"] = slow(50)
        waiting = asyncio.ensure_future(b.reconciler.read_back(101, POSITIONS_ONLY, 40))
        await asyncio.sleep(0.1)
        await b.reconciler.close()
        assert await waiting is None


@in_virtual_time
async def test_what_the_stream_said_after_the_question_is_newer_than_the_answer() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(1)
        broker.faults[POSITIONS].append(slow(0.2))
        b.reconciler.ask(101)
        await asyncio.sleep(0.1)
        b.pipeline.inbox.put_nowait(
            PositionChanged(
                at=b.clock.now(),
                account_id=101,
                contract_id=MNQ,
                type=PositionType.LONG,
                size=1,
            )
        )
        await asyncio.sleep(0.5)
        assert b.account().net(MNQ) == 1
        assert broker.calls(CLOSE) == []


@in_virtual_time
async def test_the_list_of_all_accounts_is_passed_on() -> None:
    broker = PaperBroker()
    broker.accounts.append({"id": "odd"})
    async with bench(broker, LoopClock()) as b:
        await first_report(b)
        assert [a.id for a in b.listed[0]] == [101, 102]
        assert b.of(Unreadable) == []


# --- read because a rule wants to know ---

SELDOM = Intervals(exposed_seconds=600, flat_seconds=600)


@pytest.mark.parametrize("has_a_stop", [True, False])
@in_virtual_time
async def test_the_orders_are_read_at_the_deadline_of_a_stop_nobody_told_us_of(
    has_a_stop: bool,
) -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 1)
    rule = NoStopLossGrace(grace=timedelta(seconds=20))
    async with bench(broker, LoopClock(), rules=[rule], intervals=SELDOM) as b:
        await first_report(b)
        if has_a_stop:
            broker.add_order(101, MNQ, type=4, side=1, stopPrice=5990.25)
        await asyncio.sleep(19)
        assert len(broker.calls(ORDERS)) == 1
        await asyncio.sleep(2.5)
        assert len(broker.calls(CLOSE)) == (0 if has_a_stop else 1)
        await asyncio.sleep(60)
        if has_a_stop:
            assert len(broker.calls(ORDERS)) == 2
            assert b.account().net(MNQ) == 1


@in_virtual_time
async def test_a_second_look_is_taken_at_once_and_not_more_than_once_a_second() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock(), intervals=SELDOM) as b:
        await asyncio.sleep(1)
        broker.always[ORDERS] = status(400)
        asked_at = b.clock.monotonic()
        for _ in range(40):
            b.reconciler.look_again(101)
            await asyncio.sleep(0.05)
        looks = [c for c in broker.calls(ORDERS) if c.lane is Lane.FAST]
        assert [round(c.at - asked_at, 2) for c in looks] == [0.0, 1.0]


def polling(every: str, **more: Any) -> AuthLossGuard:
    return AuthLossGuard.model_validate(
        {"rule": "auth_loss_guard", "can_trade": {"poll": every, **more}}
    )


@in_virtual_time
async def test_the_permission_of_a_flat_account_is_asked_for_as_often_as_its_rule_says() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock(), rules=[polling("10s")]) as b:
        await asyncio.sleep(5)
        broker.accounts[0]["canTrade"] = False
        await asyncio.sleep(7)
        assert b.locked() == {"auth_loss_guard"}
        await asyncio.sleep(108.5)
        assert len(broker.calls(ACCOUNTS)) == pytest.approx(13, abs=1)
        assert len(broker.calls(POSITIONS)) == 5  # the rest comes as it always does


@in_virtual_time
async def test_one_search_polls_the_accounts_that_are_due_together() -> None:
    broker = PaperBroker()
    ids = [101, 102]
    async with bench(broker, LoopClock(), rules=[polling("10s")], accounts=ids):
        await asyncio.sleep(60.5)
        assert len(broker.calls(ACCOUNTS)) == pytest.approx(7, abs=1)


@in_virtual_time
async def test_a_search_for_one_account_tells_the_permission_of_the_others() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, 1)  # read every five seconds; the other one is flat
    async with bench(broker, LoopClock(), accounts=[101, 102]) as b:
        await asyncio.sleep(2)
        broker.accounts[1]["canTrade"] = False
        await asyncio.sleep(5.5)
        assert len([c for c in broker.calls(POSITIONS) if c.body["accountId"] == 102]) == 1
        assert b.pipeline.state.accounts[102].can_trade is False
        assert len([r for r in b.of(AccountReported) if r.account_id == 102]) == 2


@pytest.mark.parametrize("rule", [polling("60s"), polling("10s", enabled=False)])
@in_virtual_time
async def test_a_poll_that_is_no_more_often_than_the_usual_reading_costs_nothing(
    rule: AuthLossGuard,
) -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock(), rules=[rule]):
        await asyncio.sleep(121)
        assert len(broker.calls(ACCOUNTS)) == len(broker.calls(POSITIONS)) == 5


@in_virtual_time
async def test_where_the_usual_reading_is_stretched_the_poll_is_still_kept() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock(), rules=[polling("60s")], intervals=SELDOM):
        await asyncio.sleep(300.5)
        assert len(broker.calls(ACCOUNTS)) == pytest.approx(6, abs=1)
        assert len(broker.calls(POSITIONS)) == 1


@in_virtual_time
async def test_many_polled_accounts_keep_to_the_budget_of_all_reading() -> None:
    broker = PaperBroker()
    ids = range(101, 111)
    broker.accounts = [{"id": i, "name": str(i), "canTrade": True} for i in ids]
    for i in ids:
        broker.hold(i, MNQ, 1)
    async with bench(broker, LoopClock(), accounts=ids, rules=[polling("10s")]):
        await asyncio.sleep(600)
        assert len(broker.asked) / 10 <= 95


@in_virtual_time
async def test_a_poll_that_fails_is_not_repeated_without_a_pause() -> None:
    broker = PaperBroker(latency=0)
    async with bench(broker, LoopClock(), rules=[polling("10s")]):
        await asyncio.sleep(1)
        broker.always["*"] = status(400)
        await asyncio.sleep(100)
        assert len(broker.calls(ACCOUNTS)) <= 12


@in_virtual_time
async def test_what_is_held_is_not_kept_back_for_a_part_that_hangs() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, -2)
    broker.trades = [trade(1, 10)]
    broker.faults[TRADES].append(slow(5.0))
    async with bench(broker, LoopClock()) as b:
        first = await first_report(b)
        assert first.at - BEGAN < timedelta(seconds=1)
        assert first.positions is not None
        assert first.orders is not None
        assert first.trades is None
        assert b.account().net(MNQ) == -2
        await b.until(lambda: any(r.trades for r in b.of(AccountReported)))
        assert list(b.account().ledger.entries) == [1]


@in_virtual_time
async def test_after_a_gap_of_the_stream_a_flat_account_is_read_often_until_it_has_been_seen() -> (
    None
):
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await first_report(b)
        broker.faults[POSITIONS] += [status(500)] * 40
        b.reconciler.ask()
        await asyncio.sleep(60)
        asked = broker.calls(POSITIONS)
        assert len(asked) > 12
        broker.faults[POSITIONS].clear()
        await asyncio.sleep(10)
        seen = len(broker.calls(POSITIONS))
        await asyncio.sleep(20)
        assert len(broker.calls(POSITIONS)) <= seen + 1


@in_virtual_time
async def test_an_account_not_seen_yet_is_looked_at_every_few_seconds_while_rest_fails() -> None:
    broker = PaperBroker(latency=0)
    broker.always["*"] = status(400)
    async with bench(broker, LoopClock()) as b:
        await asyncio.sleep(60)
        at = [call.at for call in broker.calls(POSITIONS)]
        assert max(later - earlier for earlier, later in pairwise(at)) <= 5.1
        assert len(at) <= 25
        broker.always.clear()
        await asyncio.sleep(5.1)
        assert b.account().reported_at is not None


async def strange_order(broker: PaperBroker, b: Bench) -> int:
    """An order is listed that the stream never told of, and the positions cannot be read."""
    await first_report(b)
    order = broker.add_order(101, MNQ)
    broker.faults[POSITIONS] += [status(500)] * 3
    b.reconciler.ask_routine(101)
    await b.until(lambda: any(r.orders for r in b.of(AccountReported)))
    return order


@in_virtual_time
@pytest.mark.parametrize("failing", [POSITIONS, ORDERS])
async def test_a_strange_order_is_looked_at_again_although_the_gateway_wants_no_reads(
    failing: str,
) -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        order = await strange_order(broker, b)
        assert order not in b.account().orders  # it may be an entry, or protect what is held
        broker.faults[failing].appendleft(status(429, retry_after="40"))
        await asyncio.sleep(8)
        assert order in b.account().orders


@in_virtual_time
async def test_a_look_of_which_one_half_failed_asks_for_that_half_again_at_once() -> None:
    """Only together do they tell what an order is for: the other half must not grow old."""
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        order = await strange_order(broker, b)
        broker.faults[POSITIONS].clear()
        broker.faults[POSITIONS].append(status(500))
        await asyncio.sleep(0.3)
        assert order in b.account().orders


async def positions_alone(broker: PaperBroker, b: Bench) -> None:
    """A read brings the positions without the orders; after it they cannot be read any more."""
    b.reconciler.ask()
    await b.until(
        lambda: any(r.positions == () and r.orders is None for r in b.of(AccountReported))
    )
    broker.always[POSITIONS] = status(500)


@in_virtual_time
async def test_orders_are_judged_with_positions_that_were_read_a_moment_before() -> None:
    """The gateway allows one read at a time: one look brings the positions, the next the orders."""
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await first_report(b)
        order = broker.add_order(101, MNQ)
        broker.faults[ORDERS].append(status(429, retry_after="40"))
        await positions_alone(broker, b)
        await b.until(lambda: order in b.account().orders)
        assert b.clock.monotonic() < 10
        for wanted in (EXPOSURE, frozenset({Part.ORDERS})):
            reading = await b.reconciler.read_back(101, wanted, 3)
            assert reading is not None
            assert reading.orders
            assert reading.positions is None, "enforcement is not given old positions as read"


@in_virtual_time
async def test_orders_are_not_judged_with_positions_that_were_read_long_before() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await first_report(b)
        order = broker.add_order(101, MNQ)
        broker.always[ORDERS] = status(500)
        await positions_alone(broker, b)
        await asyncio.sleep(12)
        broker.always.pop(ORDERS)
        await b.until(lambda: any(r.orders for r in b.of(AccountReported)))
        await asyncio.sleep(10)
        assert order not in b.account().orders


async def orders_alone(broker: PaperBroker, b: Bench) -> None:
    """A read brings the orders without the positions; after it they cannot be read any more."""
    broker.always[POSITIONS] = status(500)
    b.reconciler.ask()
    await b.until(lambda: any(r.orders and r.positions is None for r in b.of(AccountReported)))
    broker.always[ORDERS] = status(500)


@in_virtual_time
async def test_positions_are_judged_with_orders_that_were_read_a_moment_before() -> None:
    """The gateway allows one read at a time: one look brings the orders, the next the positions."""
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await first_report(b)
        order = broker.add_order(101, MNQ)
        await orders_alone(broker, b)
        assert order not in b.account().orders
        broker.always.pop(POSITIONS)
        await b.until(lambda: order in b.account().orders)
        assert b.clock.monotonic() < 10
        reading = await b.reconciler.read_back(101, EXPOSURE, 3)
        assert reading is not None
        assert reading.orders is None, "enforcement is not given old orders as read"


@in_virtual_time
async def test_positions_are_not_judged_with_orders_that_were_read_long_before() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await first_report(b)
        order = broker.add_order(101, MNQ)
        await orders_alone(broker, b)
        await asyncio.sleep(5)
        broker.always.pop(POSITIONS)
        seen = len(b.of(AccountReported))
        await b.until(lambda: any(r.positions == () for r in b.of(AccountReported)[seen:]))
        await asyncio.sleep(10)
        assert order not in b.account().orders


@in_virtual_time
async def test_positions_judged_with_earlier_orders_still_count_as_read_now() -> None:
    """A position that the stream told of after the orders is gone by a list read later still."""
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await first_report(b)
        broker.add_order(101, MNQ)
        await orders_alone(broker, b)
        broker.always.pop(POSITIONS)
        seen = len(b.of(AccountReported))
        await b.until(lambda: len(b.of(AccountReported)) >= seen + 2)
        alone, whole = b.of(AccountReported)[seen:][:2]
        assert (alone.orders, alone.positions) == (None, ())
        assert (whole.positions, len(whole.orders or ())) == ((), 1)
        assert alone.asked_at > whole.asked_at


@in_virtual_time
async def test_what_was_missing_of_the_last_look_is_asked_for_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The pauses of a read that is tried again are drawn: the longest are as good as any here.
    monkeypatch.setattr("risk_manager.broker.lanes.random.uniform", lambda _, longest: longest)
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await strange_order(broker, b)
        broker.faults[POSITIONS] = deque([status(500)] * 2)
        await asyncio.sleep(0.5)
        assert not broker.faults[POSITIONS]
        broker.asked.clear()
        await asyncio.sleep(1)
        assert [each.path for each in broker.asked][:2] == [POSITIONS, ORDERS]


@in_virtual_time
async def test_what_comes_late_is_not_kept_back_for_what_comes_later_still() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, -2)
    broker.faults[POSITIONS].append(slow(0.7))
    broker.faults[ACCOUNTS].append(slow(3.0))
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: b.account().net(MNQ) == -2)
        assert b.clock.monotonic() < 1


@in_virtual_time
async def test_a_first_reading_that_hangs_is_not_waited_for() -> None:
    broker = PaperBroker()
    broker.hold(101, MNQ, -2)
    broker.trades = [trade(1, 10)]
    broker.faults[POSITIONS].append(slow(60.0))
    async with bench(broker, LoopClock()) as b:
        await b.until(lambda: b.account().net(MNQ) == -2)
        assert b.clock.monotonic() < 1.5
        await asyncio.sleep(2)
        assert list(b.account().ledger.entries) == [1]


@in_virtual_time
@pytest.mark.parametrize(
    ("number", "takes"),
    [(1, 1.2), (1, 2.2), (8, 1.2), (25, 1.2), (1, 4.0), (1, 8.0), (8, 4.0), (25, 4.0)],
)
async def test_a_gateway_that_answers_everything_slowly_is_still_read(
    number: int, takes: float
) -> None:
    """Looks that fail do not drop each reading that would have brought the same."""
    broker = PaperBroker(latency=takes)
    ids = range(101, 101 + number)
    broker.accounts = [{"id": i, "name": str(i), "canTrade": True} for i in ids]
    broker.hold(101, MNQ, -2)
    async with bench(broker, LoopClock(), accounts=ids) as b:
        await b.until(lambda: b.account().net(MNQ) == -2, seconds=5 + 4 * takes)
        await b.until(lambda: all(b.reconciler.status(i).last_ok_at for i in ids), seconds=180)


@in_virtual_time
async def test_a_pass_without_an_answer_counts_as_failing_until_the_answer_comes() -> None:
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await first_report(b)
        broker.always["*"] = slow(7.0)
        b.reconciler.ask_routine(101)
        began = b.clock.monotonic()
        await b.until(lambda: b.reconciler.status(101).failing_since is not None, seconds=8)
        assert b.clock.monotonic() - began > 4
        assert b.reconciler.status(101).reason == "no answer for 4.5 s; still waiting"
        await b.until(lambda: b.reconciler.status(101).failing_since is None, seconds=15)


@in_virtual_time
async def test_reads_put_off_for_too_many_requests_go_on_as_soon_as_there_is_room() -> None:
    """They do not wait for the pause that grows with each failure of another kind."""
    broker = PaperBroker()
    async with bench(broker, LoopClock()) as b:
        await first_report(b)
        broker.always["*"] = status(429, retry_after="4")
        await asyncio.sleep(150)
        asked = len(broker.calls(ORDERS))
        await b.until(lambda: len(broker.calls(ORDERS)) > asked, seconds=40)
        broker.always.clear()
        asked = len(broker.calls(ORDERS))
        await asyncio.sleep(8)
        assert len(broker.calls(ORDERS)) > asked


# --- many accounts --------------------------------------------------------------------------------

MANY = range(101, 301)


def many_accounts(held: Iterable[int] = ()) -> PaperBroker:
    broker = PaperBroker(accounts=[{"id": i, "name": str(i), "canTrade": True} for i in MANY])
    for account_id in held:
        broker.hold(account_id, MNQ, 1)
    return broker


def first_asked(broker: PaperBroker, path: str) -> dict[int, float]:
    """When each account was asked about first, in seconds."""
    found: dict[int, float] = {}
    for call in broker.calls(path):
        found.setdefault(call.body["accountId"], call.at)
    return found


@pytest.mark.parametrize("number", [62, 200])
@in_virtual_time
async def test_of_many_accounts_the_positions_of_all_are_read_first_then_orders_then_trades(
    number: int,
) -> None:
    """F6.8: Positions of all accounts are read before the orders, and these before the trades."""
    broker = many_accounts()
    accounts = MANY[:number]
    async with bench(broker, LoopClock(), accounts=accounts) as b:
        await asyncio.sleep(15)
        assert len(first_asked(broker, POSITIONS)) >= min(number, 100)
        await asyncio.sleep(345)
        positions, orders, trades = (first_asked(broker, p) for p in (POSITIONS, ORDERS, TRADES))
        assert positions.keys() == orders.keys() == trades.keys() == set(accounts)
        assert max(positions.values()) <= min(orders.values()) + 1e-9
        assert max(orders.values()) <= min(trades.values()) + 1e-9
        at = [call.at for call in broker.asked]
        assert max(sum(t <= x < t + 60 for x in at) for t in at) <= 130
        for account_id in accounts:
            status = b.reconciler.status(account_id)
            assert status.last_ok_at is not None
            assert status.failing_since is None
        assert not b.reconciler.owed()


@in_virtual_time
async def test_what_is_held_in_one_of_many_accounts_is_judged_as_soon_as_it_is_read() -> None:
    """F6.8: A breach from before the start is cut as its account is read, not when all are."""
    broker = many_accounts(held=[101, 150, 200])
    rules = [SymbolBlocks.model_validate({"id": "blocks", "blocked": ["MNQ"]})]
    async with bench(broker, LoopClock(), accounts=MANY, rules=rules):
        await asyncio.sleep(15)
        closed = {call.body["accountId"] for call in broker.calls(CLOSE)}
        assert closed == {101, 150, 200}


@in_virtual_time
async def test_the_orders_of_what_is_held_are_read_ahead_of_those_of_flat_accounts() -> None:
    """F6.8: A position is known with its stop at once, though a hundred accounts wait."""
    broker = many_accounts(held=[150])
    stop = broker.add_order(150, MNQ)
    async with bench(broker, LoopClock(), accounts=MANY) as b:
        await asyncio.sleep(3)
        assert first_asked(broker, ORDERS).keys() == {150}
        assert list(b.account(150).orders) == [stop]
        assert b.account(150).reported_at is not None
        assert b.reconciler.status(150).is_seen


@in_virtual_time
async def test_a_position_opened_between_the_two_lists_is_not_taken_for_gone() -> None:
    """F6.8: An order list read later does not bring an old list of positions back into force."""
    broker = many_accounts()
    async with bench(broker, LoopClock(), accounts=MANY) as b:
        await asyncio.sleep(3)
        await b.until(lambda: b.reconciler.status(101).owes == {Part.ORDERS, Part.TRADES})
        broker.hold(101, MNQ, 2)
        said = PositionChanged(
            at=b.clock.now(), account_id=101, contract_id=MNQ, type=PositionType.LONG, size=2
        )
        b.pipeline.inbox.put_nowait(said)
        await b.until(lambda: b.reconciler.status(101).is_seen, 200)
        await asyncio.sleep(1)
        assert b.account(101).net(MNQ) == 2


@in_virtual_time
async def test_many_flat_accounts_do_not_make_an_exposed_one_wait() -> None:
    """F6.8: An account that holds something is read every 5 s, though 199 flat ones share the
    budget."""
    broker = many_accounts(held=[150])
    async with bench(broker, LoopClock(), accounts=MANY) as b:
        await b.until(lambda: b.reconciler.status(150).last_ok_at is not None, 600)
        await asyncio.sleep(240)
        before = [c.at for c in broker.calls(POSITIONS) if c.body["accountId"] == 150]
        await asyncio.sleep(120)
        asked = [c.at for c in broker.calls(POSITIONS) if c.body["accountId"] == 150]
        assert len(asked) - len(before) >= 20


# --- a stream that is rebuilt again and again -----------------------------------------------------


@pytest.mark.parametrize("number", [1, 5, 10, 60])
@in_virtual_time
async def test_a_stream_rebuilt_each_second_leaves_exposed_accounts_their_reads(
    number: int,
) -> None:
    """F6.6: What asks for everything again and again does not use up the reads of what is held."""
    exposed = MANY[: min(number, 2)]
    broker = many_accounts(held=exposed)
    async with bench(broker, LoopClock(), accounts=MANY[:number]) as b:
        for _ in range(180):
            b.reconciler.ask()
            await asyncio.sleep(1)
            assert [i for i in exposed if b.reconciler.status(i).failing_since] == []
        for account_id in exposed:
            at = [c.at for c in broker.calls(POSITIONS) if c.body["accountId"] == account_id]
            assert max(later - earlier for earlier, later in pairwise([*at, 180.0])) <= 8.5
        at = [c.at for c in broker.asked]
        assert max(sum(t <= x < t + 60 for x in at) for t in at) <= Limits().reads_and_looks
        assert first_asked(broker, POSITIONS).keys() == set(MANY[:number])
