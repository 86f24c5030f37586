"""One account between the practice exchange and the core, over a wire that is kind or rough.

On a rough wire frames come late and twice, orders are told Cancelled that still work, calls take
their time, are refused, or end without an answer, and lists are a moment old. Frames of one kind
keep their order, as on a stream. Every call is checked against the exchange before it is made.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from desk import MORNING
from on_exchange import carry_out, report, resolved, told

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Action, Decision, MoveStop, Outcome, PlaceExit
from risk_manager.domain.events import (
    AccountOpened,
    ActionSettled,
    AnyEvent,
    HubChanged,
    OrderChanged,
    Tick,
)
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import step
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.records import Account as Broker
from risk_manager.practice.records import Event, Order, OrderStatus, OrderType, Side

ACCOUNT = 101
ROOT = "MNQ"
STOPS = (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP)
KNOWN_AFTER = timedelta(seconds=3)
"""What the trader did less than this before a call of ours, nobody could have known for sure."""
READ_PACE = timedelta(seconds=0.5)


class RoughWire:
    """Trades in one contract under some rules; `dice` decides what goes wrong."""

    def __init__(self, rules: Iterable[Rule], dice: Random, *, kind: bool) -> None:
        self.dice = dice
        self.kind = kind
        self.now = MORNING
        self.exchange = Exchange([Broker(ACCOUNT, "A")], rng=Random(7), max_fill=2)
        self.contract = self.exchange.contract_of(ROOT)
        self.price = self.contract.product.start_price
        self.calls: list[Action] = []
        self.decisions: list[Decision] = []
        self.lies = 0
        self.is_lying = not kind
        self.disturbed_at = MORNING  # when the trader last did something
        self.checks: list[Callable[[], None]] = []
        self._due: list[tuple[datetime, int, Callable[[], None]]] = []
        self._number = count()
        self._latest: dict[str, datetime] = {}
        self._reading, self._read_at = False, MORNING - READ_PACE
        self._quarters = 0
        self.state = State.at(self.now, Rulebook(accounts={ACCOUNT: AccountRules.of(rules)}))
        self._happens(AccountOpened(at=self.now, account_id=ACCOUNT))
        for contract in resolved(self.exchange, self.now):
            self._happens(contract)
        for hub in ("user", "market"):
            self._happens(HubChanged.model_validate({"at": self.now, "hub": hub, "state": "up"}))
        self._happens(report(self.exchange, ACCOUNT, self.now))
        self.quotes(0)

    @property
    def account(self) -> Account:
        return self.state.accounts[ACCOUNT]

    @property
    def net(self) -> int:
        return self.exchange.net(ACCOUNT, self.contract.id)

    def stops(self) -> list[Order]:
        """The stops that work at the exchange and reduce what is held."""
        return [
            o
            for o in self.exchange.working_orders(ACCOUNT)
            if o.type in STOPS and o.side.sign * self.net < 0
        ]

    # --- time ---

    def passes(self, seconds: float) -> None:
        """Time passes in quarters of a second, with a tick and a quote each second."""
        for _ in range(round(seconds * 4)):
            self._quarters += 1
            self.now = MORNING + timedelta(seconds=0.25) * self._quarters
            while self._due and self._due[0][0] <= self.now:
                heappop(self._due)[2]()
            if self._quarters % 4 == 0:
                self.quotes(0)
                self._happens(Tick(at=self.now))
            for check in self.checks:
                check()

    def _moment(self) -> None:
        """No two things happen at the same instant."""
        self.now += timedelta(microseconds=100)

    def quotes(self, ticks: int) -> None:
        """The price moves by so many ticks, and is quoted."""
        self.price += ticks * self.contract.tick_size
        self.exchange.move_price(
            self.contract.id, self.price, now=self.now, volume=next(self._number) % 2
        )
        self._carry()

    # --- the trader ---

    def trades(self, signed: int, **more: Any) -> None:
        """An order at the market."""
        self._order(signed, OrderType.MARKET, **more)

    def stops_at(self, signed: int, ticks: int) -> None:
        """A stop order so many ticks away from the price."""
        away = ticks * (1 if signed > 0 else -1) * self.contract.tick_size
        self._order(signed, OrderType.STOP, stop_price=self.price + away)

    def modifies(self, order: Order, ticks: int, size: int | None = None) -> None:
        """A stop is moved by so many ticks toward profit, or away if negative."""
        self._moment()
        assert order.stop_price is not None
        away = -order.side.sign * ticks * self.contract.tick_size
        self.disturbed_at = self.now
        self.exchange.order_entry.modify(
            ACCOUNT, order.id, now=self.now, stop_price=order.stop_price + away, size=size
        )
        self._carry()

    def cancels(self, order: Order) -> None:
        self._moment()
        self.disturbed_at = self.now
        self.exchange.order_entry.cancel(ACCOUNT, order.id, now=self.now)
        self._carry()

    def _order(self, signed: int, kind: OrderType, **more: Any) -> None:
        self._moment()
        self.disturbed_at = self.now
        side = Side.BUY if signed > 0 else Side.SELL
        self.exchange.order_entry.place(
            ACCOUNT, self.contract.id, side, abs(signed), kind, now=self.now, **more
        )
        self._carry()

    # --- the wire ---

    def _carry(self) -> None:
        for frame in self.exchange.drain_events():
            event = told(frame, self.now)
            if event is None:
                continue
            if self.kind or frame.kind == "quote":
                self._happens(event)
                continue
            at = max(self.now + self._span(0.6), self._latest.get(frame.kind, self.now))
            self._latest[frame.kind] = at
            self._later(at, partial(self._tell, event))
            if frame.kind == "order":
                if self.dice.random() < 0.15:
                    self._later(at + self._span(1.5), partial(self._tell, event))
                if self._is_lied_about(frame):
                    self._later(at + self._span(1.0), partial(self._lie, event))

    def _is_lied_about(self, frame: Event) -> bool:
        works = frame.data["status"] == OrderStatus.OPEN
        return self.is_lying and works and self.dice.random() < 0.15

    def _lie(self, event: AnyEvent) -> None:
        """An order that works is told Cancelled; sometimes it is told Open again."""
        assert isinstance(event, OrderChanged)
        order = self.exchange.order(event.id)
        if order is None or order.is_terminal:
            return
        self.lies += 1
        self._happens(
            OrderChanged.model_validate(
                {**order.payload(), "at": self.now, "status": 3, "updateTimestamp": self.now}
            )
        )
        if self.dice.random() < 0.5:
            self._later(self.now + self._span(3.0), partial(self._tell_again, order.id))

    def _tell_again(self, order_id: int) -> None:
        order = self.exchange.order(order_id)
        if order is not None and not order.is_terminal:
            self._happens(
                OrderChanged.model_validate(
                    {**order.payload(), "at": self.now, "updateTimestamp": self.now}
                )
            )

    def _tell(self, event: AnyEvent) -> None:
        self._happens(event.model_copy(update={"at": self.now}))

    def _later(self, at: datetime, what: Callable[[], None]) -> None:
        heappush(self._due, (at, next(self._number), what))

    def _span(self, most_s: float) -> timedelta:
        return timedelta(seconds=self.dice.uniform(0, most_s))

    # --- the core, and the broker's side of it ---

    def _happens(self, event: AnyEvent) -> None:
        self._moment()
        outcome = step(self.state, event)
        self.state = outcome.state
        self.decisions += outcome.decisions
        for action in outcome.actions:
            self._check_action(action)
            if self.kind:
                self._later(self.now, partial(self._call, action))
            else:
                self._later(self.now + self._span(0.8), partial(self._call, action))
        if outcome.reads and not self._reading and self.now - self._read_at >= READ_PACE:
            self._reading, self._read_at = True, self.now
            asked = self.now
            found = report(self.exchange, ACCOUNT, asked)
            at = self.now if self.kind else self.now + self._span(1.0)
            self._later(at, partial(self._answer, found, asked))

    def _answer(self, found: AnyEvent, asked: datetime) -> None:
        self._reading = False
        self._happens(found.model_copy(update={"at": self.now, "asked_at": asked}))

    def _check_action(self, action: Action) -> None:
        position = self.account.positions.get(action.contract_id)
        if isinstance(action, PlaceExit | MoveStop):
            assert position is not None
            assert action.side == position.side
            assert 0 < action.size <= position.size, f"{action} for {position.net}"

    def _call(self, action: Action) -> None:
        self.calls.append(action)
        outcome, order_id = Outcome.REFUSED, None
        roll = 1.0 if self.kind else self.dice.random()
        if roll >= 0.1:
            self._check_call(action)
            outcome, order_id = carry_out(self.exchange, action, self.now)
            self._carry()
        if 0.1 <= roll < 0.25:
            outcome, order_id = Outcome.UNKNOWN, None
        found = report(self.exchange, ACCOUNT, self.now)
        self._happens(found)
        self._happens(
            ActionSettled(
                at=self.now,
                account_id=ACCOUNT,
                action_id=action.id,
                outcome=outcome,
                verified=True,
                order_id=order_id,
            )
        )

    def _check_call(self, action: Action) -> None:
        """No stop is moved away from the market, doubled, or larger than the position."""
        fresh = self.now - self.disturbed_at < KNOWN_AFTER
        size = abs(self.net)
        if isinstance(action, MoveStop):
            order = self.exchange.order(action.order_id)
            assert order is not None
            if order.is_terminal or self.net * action.side <= 0:
                return
            if order.stop_price is not None and action.stop_price is not None and not fresh:
                better = (action.stop_price - order.stop_price) * action.side
                assert better >= 0, f"{action} worsens {order}"
            others = sum(o.remaining for o in self.stops() if o.id != order.id)
            grows = action.size > order.remaining
            assert fresh or not grows or others + action.size <= size, f"{action}, {self.stops()}"
        if isinstance(action, PlaceExit) and self.net * action.side > 0 and not fresh:
            beside = sum(o.remaining for o in self.stops())
            assert beside + action.size <= size, f"{action} beside {self.stops()} for {self.net}"


def levels(wire: RoughWire) -> list[Decimal]:
    """The price of each lot that has a stop, times the side: highest first, as many as are held."""
    side = 1 if wire.net > 0 else -1
    prices = [
        side * o.stop_price
        for o in wire.stops()
        if o.stop_price is not None
        for _ in range(o.remaining)
    ]
    return sorted(prices, reverse=True)[: abs(wire.net)]
