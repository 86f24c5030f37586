"""A scripted trader with bad habits, for demonstrations. The script is data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from risk_manager.practice.exchange import Exchange
from risk_manager.practice.market import Market
from risk_manager.practice.records import Bracket, Order, OrderType, Side
from risk_manager.practice.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Enter:
    """Buy or sell at the market, with a protective stop so many ticks away if given."""

    root: str
    side: Side
    size: int
    stop_ticks: int | None = None


@dataclass(frozen=True, slots=True)
class Rest:
    """Leave a limit order `ticks_away` from the last price, on the passive side."""

    root: str
    side: Side
    size: int
    ticks_away: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Close whatever is held of a product, and cancel what works in it."""

    root: str


@dataclass(frozen=True, slots=True)
class PullStops:
    """Cancel every working stop of a product: the habit of giving it room."""

    root: str


@dataclass(frozen=True, slots=True)
class Push:
    """Ask the market to move: signed ticks over so many seconds of market time."""

    root: str
    ticks: int
    over_seconds: float


type Act = Enter | Rest | Leave | PullStops | Push


@dataclass(frozen=True, slots=True)
class Step:
    """One act of the trader, `after` so many seconds from the start, and how to say it."""

    after: float
    caption: str
    acts: tuple[Act, ...]


class Hands(Protocol):
    """How a trader acts. Each verb answers None when done, or the refusal in words."""

    def enter(self, act: Enter, *, now: datetime) -> str | None: ...
    def rest(self, act: Rest, *, now: datetime) -> str | None: ...
    def leave(self, act: Leave, *, now: datetime) -> str | None: ...
    def pull_stops(self, act: PullStops, *, now: datetime) -> str | None: ...
    def push(self, act: Push) -> None: ...
    def net(self, root: str) -> int: ...


@dataclass(slots=True)
class ExchangeHands:
    """Hands of one account, straight on the exchange, as if the trader clicked in the platform."""

    exchange: Exchange
    account_id: int = 101
    market: Market | None = None

    def net(self, root: str) -> int:
        return self.exchange.net(self.account_id, self._contract_id(root))

    def enter(self, act: Enter, *, now: datetime) -> str | None:
        stop = None if act.stop_ticks is None else Bracket(act.stop_ticks, OrderType.STOP)
        return _words(
            self.exchange.order_entry.place(
                self.account_id,
                self._contract_id(act.root),
                act.side,
                act.size,
                OrderType.MARKET,
                now=now,
                stop_loss=stop,
            )
        )

    def rest(self, act: Rest, *, now: datetime) -> str | None:
        contract_id = self._contract_id(act.root)
        tick = self.exchange.contracts[contract_id].tick_size
        price = self.exchange.book(contract_id).bid - act.side.sign * act.ticks_away * tick
        return _words(
            self.exchange.order_entry.place(
                self.account_id,
                contract_id,
                act.side,
                act.size,
                OrderType.LIMIT,
                now=now,
                limit_price=price,
            )
        )

    def leave(self, act: Leave, *, now: datetime) -> str | None:
        self._cancel(act.root, (), now=now)
        if self.net(act.root) == 0:
            return None
        return _words(
            self.exchange.order_entry.close_position(
                self.account_id, self._contract_id(act.root), now=now
            )
        )

    def pull_stops(self, act: PullStops, *, now: datetime) -> str | None:
        kinds = (OrderType.STOP, OrderType.TRAILING_STOP, OrderType.STOP_LIMIT)
        self._cancel(act.root, kinds, now=now)
        return None

    def push(self, act: Push) -> None:
        if self.market is not None:
            self.market.push(act.root, act.ticks, act.over_seconds)

    def _cancel(self, root: str, kinds: tuple[OrderType, ...], *, now: datetime) -> None:
        for order in self._working(root):
            if not kinds or order.type in kinds:
                self.exchange.order_entry.cancel(self.account_id, order.id, now=now)

    def _working(self, root: str) -> list[Order]:
        contract_id = self._contract_id(root)
        return [
            order
            for order in self.exchange.working_orders(self.account_id)
            if order.contract_id == contract_id
        ]

    def _contract_id(self, root: str) -> str:
        return self.exchange.contract_of(root).id


@dataclass(frozen=True, slots=True)
class Deed:
    """A performed step. `refusals` holds the reasons of acts that the exchange refused."""

    step: Step
    at: datetime
    refusals: tuple[str, ...]


@dataclass(slots=True)
class Trader:
    """Walks a script. `due` only reads the elapsed seconds it is given; `perform` acts."""

    hands: Hands
    script: Sequence[Step] = ()
    deeds: list[Deed] = field(default_factory=list)
    _next: int = 0

    def __post_init__(self) -> None:
        self.script = tuple(sorted(self.script or BAD_HABITS, key=lambda step: step.after))

    @property
    def is_done(self) -> bool:
        return self._next >= len(self.script)

    def due(self, elapsed: float) -> tuple[Step, ...]:
        """The steps whose time has come at `elapsed` seconds, each handed out once."""
        first = self._next
        while not self.is_done and self.script[self._next].after <= elapsed:
            self._next += 1
        return tuple(self.script[first : self._next])

    def perform(self, step: Step, *, now: datetime) -> Deed:
        """Do a step; a refused act does not stop the ones after it."""
        said = [self._act(act, now) for act in step.acts]
        deed = Deed(step, now, tuple(words for words in said if words is not None))
        self.deeds.append(deed)
        return deed

    def _act(self, act: Act, now: datetime) -> str | None:
        match act:
            case Enter():
                return self.hands.enter(act, now=now)
            case Rest():
                return self.hands.rest(act, now=now)
            case Leave():
                return self.hands.leave(act, now=now)
            case PullStops():
                return self.hands.pull_stops(act, now=now)
            case Push():
                self.hands.push(act)
                return None


def _words(answer: int | Refusal | None) -> str | None:
    return f"{answer.message} (code {answer.code})" if isinstance(answer, Refusal) else None


def _overtrading(start: float, times: int) -> tuple[Step, ...]:
    """In and out of one MNQ, a second each way."""
    return tuple(
        Step(
            start + turn * 2.0 + late,
            f"overtrades MNQ, {'in' if late == 0 else 'out'} number {turn + 1}",
            (act,),
        )
        for turn in range(times)
        for late, act in (
            (0.0, Enter("MNQ", Side.BUY if turn % 2 == 0 else Side.SELL, 1)),
            (1.0, Leave("MNQ")),
        )
    )


# About two minutes at speed 1; the day is lost within the first. Numbers are chosen against the
# limits of the demonstration (5 lots, 2 MES, a stop within 5 s, 4 entries in 8 s, 300 USD open and
# 500 USD a day); what gets cut off where is the business of whoever guards the account.
BAD_HABITS: tuple[Step, ...] = (
    Step(2, "tries RTY, which is not on the list", (Enter("RTY", Side.BUY, 1),)),
    Step(
        4,
        "buys 6 MNQ with a stop, one too many for a limit of 5",
        (Enter("MNQ", Side.BUY, 6, stop_ticks=60),),
    ),
    Step(8, "takes them off again", (Leave("MNQ"), Leave("RTY"))),
    Step(
        9,
        "buys 3 MES, one too many for a limit of 2 in this product",
        (Enter("MES", Side.BUY, 3, stop_ticks=60),),
    ),
    Step(12, "takes them off again", (Leave("MES"),)),
    Step(13, "buys 1 MES and places no stop", (Enter("MES", Side.BUY, 1),)),
    Step(
        14,
        "buys 2 MNQ with a stop: a decent trade, for once, and the market rises",
        (Enter("MNQ", Side.BUY, 2, stop_ticks=40), Push("MNQ", 24, 3.0)),
    ),
    Step(20, "takes the profit", (Leave("MNQ"), Leave("MES"))),
    *_overtrading(22, 4),
    Step(30.5, "cannot stop: one more MNQ", (Enter("MNQ", Side.SELL, 1),)),
    Step(33, "sits on his hands for once", (Leave("MNQ"),)),
    Step(
        36,
        "buys 5 MNQ with a stop miles away, and the market falls",
        (Enter("MNQ", Side.BUY, 5, stop_ticks=400), Push("MNQ", -135, 3.0)),
    ),
    Step(40.5, "would have let it run", (Leave("MNQ"),)),
    Step(42, "takes revenge without taking a breath: buys 2 MES", (Enter("MES", Side.BUY, 2),)),
    Step(44, "pretends that did not happen", (Leave("MES"),)),
    Step(
        47,
        "doubles down: 5 MNQ again, and the market falls again",
        (Enter("MNQ", Side.BUY, 5, stop_ticks=400), Push("MNQ", -104, 3.5)),
    ),
    Step(51.5, "takes the loss: over 500 for the day", (Leave("MNQ"),)),
    Step(56, "takes revenge: sells 4 MNQ at once", (Enter("MNQ", Side.SELL, 4),)),
    Step(62, "tries again: sells 4 more MNQ", (Enter("MNQ", Side.SELL, 4),)),
    Step(68, "re-enters in NQ, a full-size contract", (Enter("NQ", Side.BUY, 1),)),
    Step(
        75,
        "leaves a limit order to sneak back in",
        (Rest("MNQ", Side.BUY, 3, ticks_away=4), Push("MNQ", -30, 5.0)),
    ),
    Step(84, "buys 2 gold, another market altogether", (Enter("MGC", Side.BUY, 2),)),
    Step(92, "sells 1 ES with a stop, then pulls it", (Enter("ES", Side.SELL, 1, stop_ticks=20),)),
    Step(94, "pulls the stop", (PullStops("ES"),)),
    Step(
        102,
        "walks away, leaving nothing behind",
        tuple(Leave(root) for root in ("MNQ", "NQ", "MES", "ES", "RTY", "MGC")),
    ),
)
