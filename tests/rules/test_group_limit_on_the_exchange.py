"""A group of accounts at a (practice) exchange: sums, and what enforcement may never do.

Frames arrive late and per account in their order, and calls are carried out when they please.
"""

from collections import deque
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from desk import MORNING, rules_from
from hypothesis import given, settings
from hypothesis import strategies as st
from on_exchange import carry_out, report, resolved, told

from risk_manager.domain.decisions import Action, Alarm
from risk_manager.domain.events import AccountOpened, ActionSettled, AnyEvent, Tick
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import meters, step
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.records import Account as Broker
from risk_manager.practice.records import Event, Side

GROUP = (101, 102, 103)
ROOTS = ("MNQ", "MES", "ES")
WEIGHTS = {"MNQ": 1, "MES": 1, "ES": 10}


class Floor:
    """Three traders, their exchange, and the core between them."""

    def __init__(self, **fields: Any) -> None:
        self.now = MORNING
        self.exchange = Exchange([Broker(a, str(a)) for a in GROUP], rng=Random(7), max_fill=2)
        self.contracts = {root: self.exchange.contract_of(root) for root in ROOTS}
        for contract in self.contracts.values():
            self.exchange.move_price(contract.id, contract.product.start_price, now=self.now)
        self.exchange.drain_events()
        self.waiting: dict[int, deque[Event]] = {a: deque() for a in GROUP}
        self.calls: deque[Action] = deque()
        rules = rules_from(group_limit={"accounts": list(GROUP), **fields})
        book = Rulebook(accounts={a: AccountRules.of(rules) for a in GROUP})
        self.state = State.at(self.now, book)
        for account in GROUP:
            self.happens(AccountOpened(at=self.now, account_id=account))
        for each in resolved(self.exchange, self.now):
            self.happens(each)
        for account in GROUP:
            self.happens(report(self.exchange, account, self.now))

    def happens(self, event: AnyEvent) -> None:
        outcome = step(self.state, event)
        self.state = outcome.state
        assert not [f for f in outcome.facts if isinstance(f, Alarm) and f.code == "rule_failed"]
        self.calls.extend(outcome.actions)

    def trades(self, account: int, root: str, side: Side, size: int) -> None:
        self.exchange.order_entry.place(account, self.contracts[root].id, side, size, now=self.now)
        self.frames_wait()

    def moves(self, root: str, ticks: int) -> None:
        contract = self.contracts[root]
        price = self.exchange.book(contract.id).last + ticks * contract.tick_size
        self.exchange.move_price(contract.id, price, now=self.now)
        self.frames_wait()

    def frames_wait(self) -> None:
        for frame in self.exchange.drain_events():
            if frame.kind == "quote":
                self.hear(frame)
            else:
                self.waiting[frame.account_id].append(frame)

    def hear(self, frame: Event) -> None:
        event = told(frame, self.now)
        if event is not None:
            self.happens(event)

    def frames_arrive(self, account: int, most: int) -> None:
        for _ in range(min(most, len(self.waiting[account]))):
            self.hear(self.waiting[account].popleft())

    def call_is_carried_out(self) -> None:
        """`carry_out` refuses to enlarge or to turn round."""
        if not self.calls:
            return
        action = self.calls.popleft()
        outcome, order_id = carry_out(self.exchange, action, self.now)
        self.frames_wait()
        # As the enforcer does: what the broker says first, then that the action has ended.
        self.frames_arrive(action.account_id, 1000)
        self.happens(report(self.exchange, action.account_id, self.now))
        self.happens(
            ActionSettled(
                at=self.now,
                account_id=action.account_id,
                action_id=action.id,
                outcome=outcome,
                verified=True,
                order_id=order_id,
            )
        )

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.happens(Tick(at=self.now))

    def comes_to_rest(self) -> None:
        for _ in range(40):
            for account in GROUP:
                self.frames_arrive(account, 1000)
            while self.calls:
                self.call_is_carried_out()
            self.passes(1)

    def held(self, *, in_micros: bool) -> int:
        """From scratch, by the exchange."""
        return sum(
            abs(p.net) * (WEIGHTS[self.exchange.contracts[p.contract_id].root] if in_micros else 1)
            for a in GROUP
            for p in self.exchange.positions(a)
        )

    def lost(self) -> Decimal:
        trades = [t for a in GROUP for t in self.exchange.trades(a)]
        return -sum((Decimal(t.profit_and_loss or 0) - t.fees for t in trades), Decimal(0))

    def shown(self, account: int) -> Decimal | None:
        (meter,) = meters(self.state, account, Tick(at=self.now))
        return meter.current


def live(floor: Floor, data: st.DataObject, acts: int) -> None:
    for _ in range(acts):
        account = data.draw(st.sampled_from(GROUP))
        match data.draw(st.sampled_from(("trade", "trade", "frames", "call", "wait", "price"))):
            case "trade":
                root, side = data.draw(st.sampled_from(ROOTS)), data.draw(st.sampled_from(Side))
                floor.trades(account, root, side, data.draw(st.integers(1, 4)))
            case "frames":
                floor.frames_arrive(account, data.draw(st.integers(1, 12)))
            case "call":
                floor.call_is_carried_out()
            case "wait":
                floor.passes(data.draw(st.sampled_from((0.2, 1, 4))))
            case "price":
                floor.moves(data.draw(st.sampled_from(ROOTS)), data.draw(st.integers(-40, 40)))


@pytest.mark.parametrize(("measure", "limit"), [("contracts", 5), ("micro_equivalents", 24)])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_group_comes_down_to_its_limit_and_never_up(
    measure: str, limit: int, data: st.DataObject
) -> None:
    floor = Floor(measure=measure, limit=limit)
    live(floor, data, 25)
    floor.comes_to_rest()
    held = floor.held(in_micros=measure == "micro_equivalents")
    assert held <= limit
    assert [floor.shown(a) for a in GROUP] == [held] * 3


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_loss_of_the_group_is_that_of_its_trades_and_locks_all_or_none(
    data: st.DataObject,
) -> None:
    floor = Floor(measure="day_loss", limit=60)
    live(floor, data, 30)
    floor.comes_to_rest()
    assert [floor.shown(a) for a in GROUP] == [max(floor.lost(), Decimal(0))] * 3
    locked = {a: bool(floor.state.accounts[a].locks) for a in GROUP}
    assert len(set(locked.values())) == 1
    if floor.lost() >= 60:
        assert all(locked.values())
    if locked[101]:
        assert all(floor.exchange.is_flat(a) for a in GROUP)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_group_within_its_limit_is_left_alone(data: st.DataObject) -> None:
    floor = Floor(measure="contracts", limit=500)
    live(floor, data, 25)
    assert not floor.calls
