"""The gateway's reports of the exchange's book, which may be wrong on purpose.

The book of the exchange is always right. `Words` stands between it and the wire: it receives every
event, answers every call, and by its `Habits` reports some of them late, early, or wrongly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

from risk_manager.practice import rest
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.list_history import ListHistory
from risk_manager.practice.records import WORKING, Event, OrderStatus, OrderType

type Payload = dict[str, Any]

WILD_BY = Decimal("0.3")
_CLOSES = frozenset({"/Position/closeContract", "/Position/partialCloseContract"})
_RESTING = frozenset(
    {OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a gateway misreports what happens. Chances are from 0 to 1, ranges in seconds.

    `order_taken_back`: a new or changed order is reported as Cancelled, and after
    `taken_back_after_s` as Open again under its id. The part `only_listed` of these is reported
    again only by the lists and not by the stream.
    `cancel_not_taken`: a cancel is answered with success and confirmed by the stream, but the order
    goes on working; at most `cancels_lost` times for one order.
    `close_not_taken`: a close or a partial close is answered with success, but nothing is executed;
    at most `closes_lost` times for one position.
    `list_lags`: a list of orders, positions or trades shows the book as it was `list_lag_s` ago.
    `shared_trade_id`: both halves of a flip are reported under the id of the closing half. In half
    of the cases the opening half (without a result) comes first.
    `late_fees`: a trade is reported without its fees, and `fees_after_s` later with them.
    `price_gone`: a position is reported with an average price of 0 by the lists, or by the lists
    and the stream.
    `one_sided`: for `one_sided_for_s` the quotes of a contract have no bid or no ask (0).
    `wild_quote`: one side of a quote is far from the market, and right again `wild_for_s` later.
    """

    order_taken_back: float = 0.0
    taken_back_after_s: float = 0.05
    only_listed: float = 0.0
    cancel_not_taken: float = 0.0
    cancels_lost: int = 2
    close_not_taken: float = 0.0
    closes_lost: int = 1
    list_lags: float = 0.0
    list_lag_s: tuple[float, float] = (0.4, 0.6)
    shared_trade_id: float = 0.0
    late_fees: float = 0.0
    fees_after_s: tuple[float, float] = (0.5, 20.0)
    price_gone: float = 0.0
    one_sided: float = 0.0
    one_sided_for_s: tuple[float, float] = (10.0, 60.0)
    wild_quote: float = 0.0
    wild_for_s: float = 0.3


@dataclass(frozen=True, slots=True)
class Telling:
    """An event for the stream. A delayed one goes through `Words.due` when its time has come."""

    after_s: float
    event: Event


@dataclass(frozen=True, slots=True)
class Answered:
    """A REST reply. `as_of` is the instant it describes. `tellings` are sent by the stream."""

    reply: Payload
    as_of: datetime
    tellings: tuple[Telling, ...] = ()


class Words:
    """Reports an exchange to its clients. `dice` decides where a habit has a chance.

    `habits` may be replaced at any time. With the default ones everything is reported at once and
    correctly. `hidden_accounts` are not in the login's list, though every call about them works.
    """

    def __init__(self, exchange: Exchange, dice: Random, habits: Habits | None = None) -> None:
        self.habits = habits or Habits()
        self.hidden_accounts: set[int] = set()
        self._exchange = exchange
        self._dice = dice
        self._lists = ListHistory()
        self._stamps: dict[int, datetime] = {}  # of orders told again later than they changed
        self._cancels_lost: dict[int, int] = {}
        self._closes_lost: dict[int, int] = {}
        self._one_id: dict[int, int] = {}  # opening half -> the closing half it shares its id with
        self._fees_from: dict[int, datetime] = {}
        self._one_sided: dict[str, tuple[str, datetime]] = {}
        self._priceless: dict[int, str] = {}  # by position id: "", "list" or "both"

    def clear(self) -> None:
        """Report correctly from now on. Earlier reports stay: a shared id remains shared."""
        self.habits = Habits()
        self.hidden_accounts = set()

    def told_as(self, trade_id: int) -> int:
        """The id under which a trade is told."""
        return self._one_id.get(trade_id, trade_id)

    def told_with(self, trade_id: int) -> tuple[int, ...]:
        """The trades told under the same id as this one, itself included, oldest first."""
        told_as = self.told_as(trade_id)
        opening = next((i for i, closing in self._one_id.items() if closing == told_as), None)
        return (told_as,) if opening is None else (told_as, opening)

    # --- the stream ---

    def hear(self, events: Sequence[Event], now: datetime) -> list[Telling]:
        """Return the reports of one change of the exchange."""
        told: list[Telling] = []
        for event in self._with_shared_ids(events):
            match event.kind:
                case "order":
                    self._lists.note_order(event, now)
                    told += self._tell_order(event, now)
                case "trade":
                    told += self._tell_trade(event, now)
                case "position":
                    self._lists.note_position(event, now)
                    told.append(Telling(0.0, self._priced(event)))
                case "quote":
                    told += self._tell_quote(event, now)
                case _:
                    told.append(Telling(0.0, event))
        return told

    def due(self, telling: Telling, now: datetime) -> Event | None:
        """Return a delayed event as of the time it is sent, or None if it is obsolete."""
        event = telling.event
        match event.kind:
            case "order":
                order = self._exchange.order(event.data["id"])
                if order is None or not order.is_working:
                    return None  # the end of the order has been reported meanwhile
                self._stamps[order.id] = now
                return _with(event, self._stamped(order.payload()))
            case "trade":
                trade = self._exchange.trade(event.data["id"])
                return None if trade is None else _with(event, self._trade(trade.payload(), now))
            case "quote":
                return _with(event, self._exchange.quote_payload(event.contract_id, now=now))
        return event

    def _tell_order(self, event: Event, now: datetime) -> list[Telling]:
        order = self._exchange.order(event.data["id"])
        lives = order is not None and order.is_working and order.type in _RESTING
        if not (lives and event.data["status"] in WORKING and self._roll("order_taken_back")):
            return [Telling(0.0, event)]
        told = [Telling(0.0, _cancelled(event, now))]
        if not self._roll("only_listed"):
            again = Event("order", event.account_id, event.contract_id, 1, event.data)
            told.append(Telling(self.habits.taken_back_after_s, again))
        return told

    def _with_shared_ids(self, events: Sequence[Event]) -> list[Event]:
        found = list(events)
        if not self.habits.shared_trade_id:
            return found
        at = [i for i, e in enumerate(found) if e.kind == "trade" and e.action == 0]
        for first, second in pairwise(at):
            closing, opening = found[first].data, found[second].data
            are_halves = (
                closing["orderId"] == opening["orderId"]
                and closing["profitAndLoss"] is not None
                and opening["profitAndLoss"] is None
                and closing["id"] not in self._one_id.values()  # there are two halves, not three
            )
            if are_halves and self._roll("shared_trade_id"):
                self._one_id[opening["id"]] = closing["id"]
                if self._dice.random() < 0.5:
                    found[first], found[second] = found[second], found[first]
        return found

    def _tell_trade(self, event: Event, now: datetime) -> list[Telling]:
        told: list[Telling] = []
        if event.action == 0 and self._roll("late_fees"):
            after_s = self._dice.uniform(*self.habits.fees_after_s)
            self._fees_from[event.data["id"]] = now + timedelta(seconds=after_s)
            told.append(
                Telling(after_s, Event("trade", event.account_id, event.contract_id, 1, event.data))
            )
        return [Telling(0.0, _with(event, self._trade(dict(event.data), now))), *told]

    def _trade(self, payload: Payload, now: datetime) -> Payload:
        fees_from = self._fees_from.get(payload["id"])
        if fees_from is not None and now < fees_from:
            payload["fees"] = 0.0
        payload["id"] = self.told_as(payload["id"])
        return payload

    def _priced(self, event: Event) -> Event:
        if self._gone(event.data["id"]) != "both":
            return event
        return _with(event, {**event.data, "averagePrice": 0.0})

    def _gone(self, position_id: int) -> str:
        if not self.habits.price_gone:
            return ""
        if position_id not in self._priceless:
            gone = self._roll("price_gone")
            how = self._dice.choice(("list", "both")) if gone else ""
            self._priceless[position_id] = how
        return self._priceless[position_id]

    def _tell_quote(self, event: Event, now: datetime) -> list[Telling]:
        if self._roll("wild_quote"):
            side = self._dice.choice(("bestBid", "bestAsk"))
            wild = {**event.data, side: self._far_away(event, side)}
            return [
                Telling(0.0, _with(event, wild)),
                Telling(self.habits.wild_for_s, event),
            ]
        missing = self._missing_side(event.contract_id, now)
        return [Telling(0.0, _with(event, {**event.data, missing: 0.0}) if missing else event)]

    def _missing_side(self, contract_id: str, now: datetime) -> str:
        if not self.habits.one_sided:
            return ""
        side, until = self._one_sided.get(contract_id, ("", now))
        if now < until:
            return side
        if not self._roll("one_sided"):
            return ""
        side = self._dice.choice(("bestBid", "bestAsk"))
        lasts = timedelta(seconds=self._dice.uniform(*self.habits.one_sided_for_s))
        self._one_sided[contract_id] = (side, now + lasts)
        return side

    def _far_away(self, event: Event, side: str) -> float:
        tick = self._exchange.contracts[event.contract_id].tick_size
        price = Decimal(str(event.data[side]))
        ticks = round(abs(price) * WILD_BY / tick) + 1
        return float(price - ticks * tick if side == "bestBid" else price + ticks * tick)

    # --- REST ---

    def answer(self, path: str, body: Mapping[str, Any], now: datetime) -> Answered:
        """The answer of an endpoint of `rest.ENDPOINTS`, which may raise."""
        if path == "/Order/cancel" and (lost := self._lose_cancel(body, now)) is not None:
            return lost
        if path in _CLOSES and self._loses_close(body):
            return Answered(rest.succeeded(), now)
        reply = rest.ENDPOINTS[path](self._exchange, body, now)
        as_of = now
        match path:
            case "/Account/search":
                reply["accounts"] = [
                    a for a in reply["accounts"] if a["id"] not in self.hidden_accounts
                ]
            case "/Order/searchOpen" | "/Position/searchOpen" | "/Trade/search":
                as_of = self._as_of(now)
                self._reword_list(path, body, reply, as_of, now)
        return Answered(reply, as_of)

    def _lose_cancel(self, body: Mapping[str, Any], now: datetime) -> Answered | None:
        """Answer a cancel with success and a confirmation, but do nothing."""
        order = self._exchange.order(body["orderId"])
        if order is None or order.account_id != body["accountId"] or not order.is_working:
            return None
        lost = self._cancels_lost.get(order.id, 0)
        if lost >= self.habits.cancels_lost or not self._roll("cancel_not_taken"):
            return None
        self._cancels_lost[order.id] = lost + 1
        event = Event("order", order.account_id, order.contract_id, 2, order.payload())
        return Answered(rest.succeeded(), now, (Telling(0.0, _cancelled(event, now)),))

    def _loses_close(self, body: Mapping[str, Any]) -> bool:
        """Whether a close is to be answered with success without being carried out."""
        held = self._exchange.position(body["accountId"], body["contractId"])
        if held is None or body.get("size", 0) > held.size:
            return False
        lost = self._closes_lost.get(held.id, 0)
        if lost >= self.habits.closes_lost or not self._roll("close_not_taken"):
            return False
        self._closes_lost[held.id] = lost + 1
        return True

    def _as_of(self, now: datetime) -> datetime:
        if not self._roll("list_lags"):
            return now
        return now - timedelta(seconds=self._dice.uniform(*self.habits.list_lag_s))

    def _reword_list(
        self,
        path: str,
        body: Mapping[str, Any],
        reply: Payload,
        as_of: datetime,
        now: datetime,
    ) -> None:
        if not reply["success"]:
            return
        match path:
            case "/Trade/search":
                reply["trades"] = [
                    self._trade(t, now)
                    for t in reply["trades"]
                    if datetime.fromisoformat(t["creationTimestamp"]) <= as_of
                ]
            case "/Order/searchOpen":
                listed = self._lists.rows_at(as_of, body["accountId"], "orders", reply["orders"])
                reply["orders"] = [self._stamped(order) for order in listed]
            case _:
                listed = self._lists.rows_at(
                    as_of, body["accountId"], "positions", reply["positions"]
                )
                reply["positions"] = [
                    {**p, "averagePrice": 0.0} if self._gone(p["id"]) else p for p in listed
                ]

    def _stamped(self, payload: Payload) -> Payload:
        """A list never says that an order changed earlier than it was told to."""
        told_at = self._stamps.get(payload["id"])
        if told_at is not None and datetime.fromisoformat(payload["updateTimestamp"]) < told_at:
            payload["updateTimestamp"] = told_at.isoformat()
        return payload

    def _roll(self, habit: str) -> bool:
        chance: float = getattr(self.habits, habit)
        return chance > 0 and self._dice.random() < chance


def _with(event: Event, data: Mapping[str, Any]) -> Event:
    return Event(event.kind, event.account_id, event.contract_id, event.action, data)


def _cancelled(event: Event, now: datetime) -> Event:
    """An order's event as a gateway tells it that takes the order for cancelled."""
    data = {
        **event.data,
        "status": int(OrderStatus.CANCELLED),
        "updateTimestamp": now.isoformat(),
    }
    return Event("order", event.account_id, event.contract_id, 2, data)
