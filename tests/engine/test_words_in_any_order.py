"""Frames and lists of orders in any order: what is known in the end, and no exit too many."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from desk import MORNING, contract, contract_id, rules_from
from hypothesis import given, settings
from hypothesis import strategies as st

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import CancelOrder, MoveStop, Outcome, PlaceExit
from risk_manager.domain.events import (
    AccountOpened,
    AccountReported,
    ActionSettled,
    AnyEvent,
    ContractResolved,
    OrderChanged,
    PositionChanged,
    QuoteChanged,
    Tick,
)
from risk_manager.domain.records import (
    LIST_LAG,
    OrderRecord,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionRecord,
    PositionType,
)
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import Step, step

MES = contract_id("MES")
STEP = timedelta(milliseconds=1)


def record(
    order_id: int,
    status: OrderStatus,
    updated_at: datetime | None,
    *,
    price: int = 5990,
    size: int = 1,
    tag: str | None = None,
) -> OrderRecord:
    """A stop below a long position."""
    return OrderRecord(
        id=order_id,
        account_id=101,
        contract_id=MES,
        creation_timestamp=MORNING,
        update_timestamp=updated_at,
        status=status,
        type=OrderType.STOP,
        side=OrderSide.SELL,
        size=size,
        stop_price=Decimal(price),
        custom_tag=tag,
    )


class Core:
    """The core alone, with a clock that the test moves."""

    def __init__(self, *rules: Rule, net: int = 2) -> None:
        self.now = MORNING
        self.net = net
        book = Rulebook(accounts={101: AccountRules.of(rules)})
        self.state = State.at(self.now, book)
        self.happens(AccountOpened(at=self.now, account_id=101))
        self.happens(ContractResolved(at=self.now, contract=contract("MES")))
        self.happens(PositionChanged(at=self.now, **self.position().model_dump()))
        self.quote()

    def happens(self, event: AnyEvent) -> Step:
        outcome = step(self.state, event)
        self.state = outcome.state
        return outcome

    def position(self) -> PositionRecord:
        return PositionRecord(
            id=5000,
            account_id=101,
            contract_id=MES,
            creation_timestamp=MORNING,
            type=PositionType.LONG,
            size=self.net,
            average_price=Decimal(6000),
        )

    def quote(self) -> Step:
        price = 6000.0
        return self.happens(
            QuoteChanged(
                at=self.now, contract_id=MES, best_bid=price, best_ask=price, last_price=price
            )
        )

    def frame(self, stated: OrderRecord) -> Step:
        return self.happens(OrderChanged.model_validate({"at": self.now, **stated.model_dump()}))

    def list(self, orders: list[OrderRecord], asked_at: datetime) -> Step:
        return self.happens(
            AccountReported(
                at=self.now,
                asked_at=asked_at,
                account_id=101,
                positions=(self.position(),),
                orders=tuple(orders),
            )
        )

    @property
    def account(self) -> Account:
        return self.state.accounts[101]


# --- what is known in the end ---------------------------------------------------------------------

STATES = st.sampled_from(
    [OrderStatus.OPEN, OrderStatus.OPEN, OrderStatus.CANCELLED, OrderStatus.FILLED]
)
WORDS = st.lists(
    st.tuples(
        st.integers(1, 3),  # the order
        STATES,
        st.sampled_from([10, 10, 50, 400, 1500, 4000]),  # milliseconds after the one before
        st.booleans(),  # dated
        st.integers(0, 3000),  # how late the frame comes
        st.integers(0, 2),  # how often it comes: never, once, twice
    ),
    min_size=1,
    max_size=12,
)
LISTS = st.lists(
    st.tuples(st.integers(0, 12_000), st.integers(0, 1_900), st.integers(0, 600)), max_size=6
)


@given(WORDS, LISTS)
@settings(max_examples=300, deadline=None)
def test_in_the_end_the_orders_that_work_are_those_of_the_list(
    words: list[tuple[int, OrderStatus, int, bool, int, int]], lists: list[tuple[int, int, int]]
) -> None:
    """F1.1: Frames late, twice, lost or out of order, and lists that lag: once a list comes that
    was asked for after the last word, the orders that work are the ones it shows."""
    core = Core()
    core.now = began = MORNING + timedelta(seconds=10)
    history: list[tuple[datetime, OrderRecord]] = []
    due: list[tuple[datetime, int, OrderRecord | tuple[datetime, datetime]]] = []
    at = began
    for number, (order_id, status, after, dated, late, times) in enumerate(words):
        at += timedelta(milliseconds=after)
        stated = record(order_id, status, at if dated else None, price=5900 + number)
        history.append((at, stated))
        for again in range(times):
            came = at + timedelta(milliseconds=late * (again + 1))
            due.append((came, len(due), stated))
    for asked_ms, lag_ms, took_ms in lists:
        asked_at = began + timedelta(milliseconds=asked_ms)
        true_at = asked_at - timedelta(milliseconds=lag_ms)
        due.append((asked_at + timedelta(milliseconds=took_ms), len(due), (asked_at, true_at)))

    def working(at: datetime) -> dict[int, OrderRecord]:
        latest = {r.id: r for when, r in history if when <= at}
        return {i: r for i, r in latest.items() if r.status is OrderStatus.OPEN}

    for came, _, what in sorted(due, key=lambda d: d[:2]):
        core.now = max(core.now, came)
        if isinstance(what, OrderRecord):
            core.frame(what)
        else:
            asked_at, true_at = what
            core.list(list(working(true_at).values()), asked_at)
    core.now = max(core.now, at) + LIST_LAG + STEP
    truth = working(core.now)
    core.list(list(truth.values()), core.now - STEP)
    assert {o.id: o.stop_price for o in core.account.orders.values()} == {
        r.id: r.stop_price for r in truth.values()
    }
    assert core.account.disputes == {}


# --- no exit too many -----------------------------------------------------------------------------


@dataclass
class Broker:
    """Stops that work, whatever is said of them. A modified one is told as cancelled first."""

    core: Core
    stops: dict[int, OrderRecord] = field(default_factory=dict)
    coming: list[tuple[datetime, AnyEvent | OrderRecord | str]] = field(default_factory=list)
    next_id: int = 1

    def adds(self, size: int) -> None:
        self.stops[self.next_id] = record(self.next_id, OrderStatus.OPEN, self.core.now, size=size)
        self.core.frame(self.stops[self.next_id])
        self.next_id += 1

    def modifies(self, order_id: int, opens_again: str, gap_ms: int) -> None:
        """Told as cancelled, and then, unless that is lost, as open again."""
        now = self.core.now
        self.stops[order_id] = self.stops[order_id].model_copy(
            update={"update_timestamp": now + timedelta(milliseconds=gap_ms)}
        )
        works = self.stops[order_id]
        ended = works.model_copy(update={"status": OrderStatus.CANCELLED, "update_timestamp": now})
        if opens_again == "undated":
            works = works.model_copy(update={"update_timestamp": None})
        frames = [(now, ended), (now + timedelta(milliseconds=gap_ms), works)]
        if opens_again == "lost":
            frames.pop()
        if opens_again == "first":
            frames = [(now, works), (now + timedelta(milliseconds=gap_ms), ended)]
        self.coming += frames

    def passes(self, milliseconds: int) -> None:
        """What is on its way arrives, with a tick each second and the readings asked for."""
        end = self.core.now + timedelta(milliseconds=milliseconds)
        while self.core.now < end:
            self.core.now = min(self.core.now + timedelta(milliseconds=50), end)
            arrived = [c for c in self.coming if c[0] <= self.core.now]
            self.coming = [c for c in self.coming if c[0] > self.core.now]
            for _, what in sorted(arrived, key=lambda c: c[0]):
                if isinstance(what, OrderRecord):
                    self.then(self.core.frame(what))
                elif isinstance(what, str):
                    self.reads()
                else:
                    self.then(self.core.happens(what))
            if self.core.now.microsecond == 0:
                self.then(self.core.quote())
                self.then(self.core.happens(Tick(at=self.core.now)))
                if self.core.now.second % 5 == 0:
                    self.reads()

    def reads(self) -> None:
        asked_at = self.core.now - timedelta(milliseconds=30)
        self.then(self.core.list(list(self.stops.values()), asked_at))

    def then(self, outcome: Step) -> None:
        if outcome.reads and not any(c[1] == "read" for c in self.coming):
            self.coming.append((self.core.now + timedelta(milliseconds=60), "read"))
        for action in outcome.actions:
            self.obeys(action)
            done = ActionSettled(
                at=self.core.now,
                account_id=101,
                action_id=action.id,
                outcome=Outcome.DONE,
                verified=True,
            )
            self.coming.append((self.core.now + timedelta(milliseconds=100), done))

    def obeys(self, action: Any) -> None:
        stop: OrderRecord | None = None
        if isinstance(action, PlaceExit):
            stop = record(
                self.next_id,
                OrderStatus.OPEN,
                self.core.now,
                size=action.size,
                tag=f"rm-{action.id}",
            )
            self.next_id += 1
        elif isinstance(action, MoveStop) and action.order_id in self.stops:
            stop = self.stops[action.order_id].model_copy(
                update={"size": action.size, "update_timestamp": self.core.now}
            )
        elif isinstance(action, CancelOrder) and action.order_id in self.stops:
            ended = {"status": OrderStatus.CANCELLED, "update_timestamp": self.core.now}
            self.coming.append(
                (self.core.now, self.stops.pop(action.order_id).model_copy(update=ended))
            )
        if stop is not None:
            self.stops[stop.id] = stop
            self.coming.append((self.core.now, stop))
        leaving = sum(s.size for s in self.stops.values())
        assert leaving <= self.core.net, f"exits of {leaving} for {self.core.net}: {action}"


PLACING: list[dict[str, Any]] = [
    {
        "no_stop_loss_grace": {
            "grace": "2s", "rearm_grace": "1s", "action": "place_stop", "place_stop_ticks": 40,
        }
    },
    {"trade_management": {"enabled": True, "initial_stop": {"enabled": True, "ticks": 40}}},
]  # fmt: skip


@given(
    st.sampled_from(PLACING),
    st.sampled_from([(2,), (1, 1), (1,)]),
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from(["dated", "undated", "lost", "first"]),
            st.sampled_from([0, 50, 400, 1500]),
            st.sampled_from([50, 400, 1000, 3000, 8000]),
        ),
        min_size=1,
        max_size=6,
    ),
)
@settings(max_examples=150, deadline=None)
def test_no_exit_of_ours_stands_beside_those_that_work(
    rules: dict[str, Any],
    sizes: tuple[int, ...],
    changes: list[tuple[int, str, int, int]],
) -> None:
    """F1.3: Whatever is said of the stops that work, the exits never exceed the position."""
    core = Core(*rules_from(**rules))
    broker = Broker(core)
    for size in sizes:
        broker.adds(size)
    broker.reads()
    broker.passes(6000)
    for which, opens_again, gap_ms, then_ms in changes:
        order_id = min(which + 1, len(sizes))
        if order_id in broker.stops:
            broker.modifies(order_id, opens_again, gap_ms)
        broker.passes(then_ms)
    broker.passes(12_000)
    leaving = sum(o.remaining for o in core.account.orders.values())
    assert sum(sizes) <= leaving <= core.net, "the trader's stops are known, and no more"
