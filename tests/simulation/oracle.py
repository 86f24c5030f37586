"""What must be true, judged at the exchange, by a small model of its own.

It knows what the daemon has been told (frames delivered, answers returned), what the exchange
really holds, and which locks the daemon has shown to the outside. Of the program it uses only the
words: lock facts, events' kinds, paths.
"""

import math
import sqlite3
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from simulation.behaviour_judge import BehaviourJudge
from simulation.calendar_judge import CalendarJudge
from simulation.day_judge import DayJudge
from simulation.gateway import READS_REFUSED
from simulation.options import FIRST_TIER, NEW_YORK

from risk_manager.domain.call_codes import CANCEL, CLOSE, MODIFY, PARTIAL_CLOSE, PLACE
from risk_manager.domain.decisions import (
    CancelOrder,
    Close,
    ClosePosition,
    Decision,
    LockSet,
    ReducePosition,
)
from risk_manager.domain.events import (
    ActionSettled,
    AdminAsked,
    AnyEvent,
    Hub,
    HubState,
    QuoteChanged,
)
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.practice.records import Event, Order, OrderStatus, OrderType

if TYPE_CHECKING:
    from simulation.life import Life
    from simulation.world import World

WELL_LIMIT_S = 5.0
ILL_LIMIT_S = 15.0
CALLS_MAY_FAIL = 3
PER_FAILED_CALL_S = 5.0
"""A gateway that fails call after call cannot be held to any time."""
CALLS_A_MINUTE = 40  # of an account
CALLS_A_MOVE = 4  # more, for each move of the trader's in two minutes
BRAKED_CALLS = 40
BRAKED_LIMIT_S = 60.0
"""With so many calls in a minute the daemon cancels less often, to be able to close."""
BLIND_LIMIT_S = 5.0
LOCKED_S = 2.0
TOLD_WITHIN_S = 0.5
"""A loss counts as told once it has stood for so long. The trades of one list, and of a burst whose
messages are still on their way, are judged together: a loss and a gain of the same moment may never
have been a loss."""
PER_FALSE_WORD_S = 5.0
"""One reading more for each cancel of an order that was confirmed and did not take. While the
daemon's last word of an order is Cancelled, only a list or the stream can tell it otherwise: the
time counts from then. One more too for each close that was confirmed and did not take."""
LIST_LAG_S = 2.0
"""A list asked for within this after a word of the stream may be the older of the two."""
REENTRY_S = 0.5
"""From the word of a position that must not be, where one was closed a moment ago, to the request
that closes it: whatever becomes of the read-backs of the close before."""
REENTRY_AFTER_S = 60.0
FRESH_ORDER_S = 1.0
"""From the word of an order that must not be to the request that cancels it, however late a list
knows it."""
UNHURRIED_CALLS = 20
"""With so many calls in a minute the daemon paces itself, and neither of the two is held to."""
SETTLED_S = 3.0
"""Executions, positions and lists come one after the other: who adds them up waits for all."""
STALE_AFTER_S = 5.0
DEEP_S = 5.0
"""A loss of the account that lasts so long must have been acted on."""
LOSS_MARGIN = Decimal(5)  # fees that come late are not the point
KNOWN_S = 1.0
JUMP = Decimal("0.03")
WILD = Decimal("0.1")
READ_FIRST_S = 3.5
"""After a start nothing is judged before the broker has been read, for three seconds at most."""
RACE_S = 3.0  # what the trader and we do at the same moment
STOPS = (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP)
LOSS_RULES = frozenset({"open-loss", "account-open-loss", "daily_realized_loss"})
_SUSPENDED = int(OrderStatus.SUSPENDED)
_WORKING = (int(OrderStatus.OPEN), int(OrderStatus.PENDING))
OWN = "rm-"
CENT = Decimal("0.01")
CLOCK_SLACK = timedelta(seconds=10)
"""Nobody can tell a clock that is wrong by less: an answer may be under way for so long."""


@dataclass(frozen=True, slots=True)
class Violation:
    at: float
    kind: str
    detail: str


@dataclass(slots=True)
class Held:
    """A lock the outside has seen.

    `ends` are the earliest true instants of its end, each with how far the daemon's clock was off
    when it was set: the first one, and one for each time that the lock was made longer. None: it
    does not end by time.
    """

    policy: str
    release: str
    ends: list[tuple[datetime, timedelta]] | None
    may_clear: bool
    expires_at: datetime | None
    ceilings: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Overdue:
    """Something that must end soon: since when, in seconds that count."""

    since: float
    limit_told: bool = False


@dataclass(slots=True)
class Prompt:
    """What must be asked of the gateway at once, on a link that is well."""

    since: float
    within_s: float
    key: tuple[int, str]
    id: int


@dataclass(slots=True)
class Episode:
    """A trade from flat to flat, or to the other side, however many orders closed it."""

    began: float
    net_result: Decimal = Decimal(0)
    trades: list[int] = field(default_factory=list)
    ended: float = 0.0


type TradeKey = tuple[int, bool]
"""The id a trade is told under, and whether it is an opening half: a flip's halves may share it."""
type LockKey = tuple[int, str, str]


class Oracle:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.violations: list[Violation] = []
        self.over_limit = 0
        self.races = 0
        self.spans_well: list[float] = []
        self.spans_ill: list[float] = []
        self.by_kind: Counter[str] = Counter()
        self.decisions = 0
        self.events = 0
        self.writes_max = 0
        self.locks_seen: Counter[str] = Counter()
        # The exchange, by its own words.
        self._net: defaultdict[tuple[int, str], int] = defaultdict(int)
        self._moved: defaultdict[tuple[int, str], float] = defaultdict(lambda: -1e9)
        self._orders: dict[int, Order] = {}
        self._orders_in: defaultdict[tuple[int, str], dict[int, Order]] = defaultdict(dict)
        self._closed_at: defaultdict[tuple[int, str], float] = defaultdict(lambda: -1e9)
        self._ours: set[int] = set()
        self._closes: set[int] = set()
        # What the daemon was told.
        self._told_net: dict[tuple[int, str], int] = {}
        self._told_at: dict[tuple[int, str], float] = {}
        self._streamed_at: dict[tuple[int, str], float] = {}
        self._doubted: set[tuple[int, str]] = set()
        self._told_orders: dict[int, float] = {}  # alive by the last word of them, and since when
        self._told_ended: dict[int, float] = {}  # that live, and were told to have ended
        self._false_words: Counter[int] = Counter()
        self._close_left_at: defaultdict[tuple[int, str], float] = defaultdict(lambda: -math.inf)
        self._false_closes: list[tuple[float, int, str]] = []  # when, account, contract
        self._cancels: dict[int, bool] = {}  # decided on, and whether that was wrong then
        self._told_trades: dict[int, dict[TradeKey, tuple[Decimal, date]]] = defaultdict(dict)
        self._told_void: set[tuple[int, TradeKey]] = set()
        self._told_priced: set[int] = set()  # positions by id
        self._told_contracts: set[str] = set()  # with what a tick is worth
        self._told_prices: dict[str, tuple[Decimal, Decimal]] = {}  # bid and ask, the last if none
        self._told_prices_at: dict[str, float] = {}
        self._told_range: dict[str, tuple[Decimal, Decimal]] = {}
        self._told_wild: dict[str, float] = {}
        self._told_can_trade: dict[int, tuple[bool, float]] = {}
        # What must hold.
        self._locks: dict[LockKey, Held] = {}
        self._lost_day: dict[int, date] = {}
        self._lost_since: dict[int, float] = {}
        self._losing_since: dict[int, float] = {}
        self._open: dict[tuple[Any, ...], Overdue] = {}
        self._prompts: dict[tuple[str, int], Prompt] = {}
        self._episodes: dict[tuple[int, str], Episode] = {}
        self._losers: list[tuple[int, Episode]] = []
        self.losers_judged = 0
        self._seen_positions: set[int] = set()
        self._deep_since: dict[tuple[str, int], float] = {}
        self.reentries_s: list[float] = []
        self._open_loss: dict[tuple[int, str], int] = {}
        self._unlocks: list[tuple[float, int, str, str | None]] = []
        self._cancel_all_at: defaultdict[int, float] = defaultdict(lambda: -1e9)
        self._writes: deque[float] = deque()
        self._trader_moves: deque[float] = deque()
        self._blind_since: dict[Hub, float] = {}
        self._life_since = 0.0
        self._alive = False
        self._last_states: Mapping[int, Any] = {}
        self.behaviour = BehaviourJudge(self) if world.limits.get("behaviour") else None
        own = world.limits.get("calendar")
        self.calendar = None if own is None else CalendarJudge(self, own)
        self.days = DayJudge(self)

    def violate(self, kind: str, detail: str) -> None:
        if len(self.violations) < 50:
            self.violations.append(Violation(self.world.now, kind, detail))

    # --- the exchange speaks -----------------------------------------------------------------

    def on_exchange(self, events: list[Event]) -> None:
        touched = set()
        for event in events:
            if event.kind == "trade":
                self._on_trade(event)
            if event.kind == "order":
                order = self.world.exchange.order(event.data["id"])
                assert order is not None
                in_contract = self._orders_in[order.account_id, order.contract_id]
                if order.is_terminal:
                    self._orders.pop(order.id, None)
                    in_contract.pop(order.id, None)
                    self._told_ended.pop(order.id, None)
                else:
                    self._orders[order.id] = in_contract[order.id] = order
            if event.kind in ("trade", "order"):
                touched.add((event.account_id, event.contract_id))
        if touched:
            self.look()

    def _on_trade(self, event: Event) -> None:
        data = event.data
        if event.action != 0:
            return  # a void: the position stays
        key = (event.account_id, event.contract_id)
        signed = data["size"] * (1 if data["side"] == 0 else -1)
        before = self._net[key]
        order_id = data["orderId"]
        if order_id in self._ours or order_id in self._closes:
            self.world.own_fills += 1
            if before * signed >= 0 or abs(signed) > abs(before):
                # Nobody takes back an exit before hearing that there is nothing left to exit.
                heard = self._told_at.get(key, 0.0) if self._told_net.get(key) == before else 1e9
                began = max(self._moved[key], heard)
                # A cancel that the gateway refused, or took without effect, is sent again.
                failed = self.world.gateway.calls_failed(key[0], began)
                again_s = PER_FAILED_CALL_S * failed
                again_s += PER_FALSE_WORD_S * self._false_words[order_id]
                is_race = self.world.now - began <= RACE_S + again_s
                if order_id in self._closes or not is_race:
                    self.violate(
                        "an action enlarged a position",
                        f"{key} held {before:+d}, our order {order_id} filled {signed:+d}",
                    )
                else:
                    self.races += 1
        self._net[key] = before + signed
        self._moved[key] = self.world.now
        self._count_episode(key, data, before)

    def has_moved_since(self, instant: float) -> bool:
        """Whether any position has changed since then."""
        return max(self._moved.values(), default=-math.inf) >= instant

    def _count_episode(self, key: tuple[int, str], data: Mapping[str, Any], before: int) -> None:
        if not before:
            self._episodes[key] = Episode(self.world.now)
        episode = self._episodes[key]
        pnl = Decimal(str(data["profitAndLoss"] or 0)) - Decimal(str(data["fees"]))
        episode.net_result += pnl
        episode.trades.append(data["id"])
        if self._net[key]:
            return
        episode.ended = self.world.now
        if self.behaviour is not None:
            self.behaviour.ended(key, episode, data["orderId"])
        least = _least_loss(self.world.limits["patience"]) + LOSS_MARGIN
        if episode.net_result <= -least:
            self._losers.append((key[0], episode))

    def _sweep_losers(self) -> None:
        """A losing trade is followed by a pause, where nothing stood in the way of seeing it."""
        now = self.world.now
        while self._losers and now - self._losers[0][1].ended > DEEP_S:
            account_id, episode = self._losers.pop(0)
            if not self.is_plain(account_id, episode):
                continue
            self.losers_judged += 1
            if "cooldown_after_loss" not in self.locks_of(account_id):
                self.violate(
                    "no pause after a loss",
                    f"account {account_id} lost {-episode.net_result} in one trade of "
                    f"{len(episode.trades)} fills that ended {now - episode.ended:.1f} s ago",
                )

    def closed_at(self, key: tuple[int, str]) -> float:
        """When a close of ours last ended a position."""
        return self._closed_at[key]

    def is_plain(self, account_id: int, episode: Episode) -> bool:
        """Told in time, in one life and one session, not voided, and no lock taken off since."""
        now, words = self.world.now, self.world.gateway.words
        trades = [t for i in episode.trades if (t := self.world.exchange.trade(i)) is not None]
        told, clock = self._told_trades[account_id], self.world.utc()
        return (
            self._is_well(episode.ended)
            and self._life_since + READ_FIRST_S < episode.began
            and not self.world.gateway.was_ill(episode.began - 2.0, now)
            and in_session(clock)
            and in_session(clock - timedelta(seconds=2 * DEEP_S))
            and not any(t.voided for t in trades)
            and all((words.told_as(t.id), t.profit_and_loss is None) in told for t in trades)
            and self.world.streams.behind_s == 0.0
            and not any(at >= episode.ended and of == account_id for at, of, *_ in self._unlocks)
        )

    def _orders_of(self, account_id: int, contract_id: str) -> list[Order]:
        return list(self._orders_in[account_id, contract_id].values())

    def _exits(
        self,
        account_id: int,
        contract_id: str,
        net: int | None = None,
        *,
        among: list[Order] | None = None,
    ) -> set[int]:
        """Which orders can only reduce: stops and limits apart, oldest first, up to the size."""
        held = self._net[account_id, contract_id] if net is None else net
        room = {True: abs(held), False: abs(held)}
        found = set()
        orders = self._orders_of(account_id, contract_id) if among is None else among
        for order in sorted(orders, key=lambda o: o.id):
            if held == 0 or order.side.sign * held > 0 or not order.is_working:
                continue
            kind = order.type in STOPS
            if order.remaining <= room[kind]:
                found.add(order.id)
            room[kind] = max(room[kind] - order.remaining, 0)
        return found

    # --- what the daemon is told -------------------------------------------------------------

    def told_by_stream(self, kind: str, payload: Any) -> None:
        data = payload.get("data") if isinstance(payload, dict) else None
        if not isinstance(data, dict) or not isinstance(data.get("id"), int) or data["id"] < 0:
            return
        if kind != "account" and not isinstance(data.get("size"), int):
            return
        if kind != "account" and "contractId" not in data:
            return
        match kind:
            case "position":
                key = (data["accountId"], data["contractId"])
                self._streamed_at[key] = self.world.now
                self._told_position(data, self.world.now)
                self._doubted.discard(key)
                self._want_closed(data)
            case "trade":
                self._told_trade(data)
            case "order":
                self._told_order(data)
            case "account":
                self._told_account(data)
        self.look()

    def told_by_rest(
        self, path: str, body: Mapping[str, Any], reply: dict[str, Any], as_of: float
    ) -> None:
        """An answer as it is read. What the stream said later than `as_of` is newer than it."""
        match path:
            case "/Trade/search":
                for trade in reply["trades"] or ():
                    self._told_trade(trade)
            case "/Position/searchOpen":
                listed = reply["positions"] or ()
                names = {position["contractId"] for position in listed}
                for key in list(self._told_net):
                    is_older = as_of < self._told_at.get(key, -1e9)
                    if key[0] == body["accountId"] and key[1] not in names and not is_older:
                        self._told_net[key] = 0
                for position in listed:
                    self._told_position(position, as_of)
            case "/Order/searchOpen":
                for order in reply["orders"] or ():
                    if as_of >= self._told_ended.get(order["id"], -1e9):
                        self._told_ended.pop(order["id"], None)
                        self._told_orders.setdefault(order["id"], self.world.now)
            case "/Account/search":
                for account in reply["accounts"] or ():
                    self._told_account(account)
            case "/Contract/searchById" if reply["success"]:
                self._told_contracts.add(body["contractId"])
            case _:
                return
        self.look()

    def _told_order(self, data: Mapping[str, Any]) -> None:
        """The last word of an order that lives may be that it has ended."""
        order = self._orders.get(data["id"])
        if order is None or data["status"] in _WORKING or data["status"] == _SUSPENDED:
            if data["id"] not in self._told_orders:
                self._told_orders[data["id"]] = self.world.now
                was_doubted = data["id"] in self._told_ended
                if order is not None and not was_doubted:
                    self._want_cancelled(order)
            self._told_ended.pop(data["id"], None)
            return
        self._told_orders.pop(data["id"], None)
        self._told_ended[data["id"]] = self.world.now
        self._prompts.pop(("cancel", data["id"]), None)

    def _told_position(self, data: Mapping[str, Any], as_of: float) -> None:
        key = (data["accountId"], data["contractId"])
        if data["averagePrice"]:
            self._told_priced.add(data["id"])
        if as_of < self._told_at.get(key, -1e9):
            return
        net = data["size"] if data["type"] == 1 else -data["size"]
        # A list that differs from what the stream said just before may be the older of the two.
        if as_of >= self._streamed_at.get(key, -1e9) + LIST_LAG_S:
            self._doubted.discard(key)
        elif self._told_net.get(key) != net:
            self._doubted.add(key)
        if self._told_net.get(key) != net:
            self._told_at[key] = self.world.now
        self._told_net[key] = net

    def _knows_all(self, state: State, key: tuple[int, str]) -> bool:
        """Whether the daemon knows exactly what is held and works in a contract."""
        account = state.accounts.get(key[0])
        if account is None or account.net(key[1]) != self._net[key]:
            return False
        known = {o.id: o.remaining for o in account.orders_in(key[1]) if int(o.status) in _WORKING}
        return known == {o.id: o.remaining for o in self._orders_of(*key) if o.is_working}

    def _told_trade(self, data: Mapping[str, Any]) -> None:
        at = datetime.fromisoformat(data["creationTimestamp"])
        pnl = Decimal(str(data["profitAndLoss"] or 0)) - Decimal(str(data["fees"]))
        key = (data["id"], data["profitAndLoss"] is None)
        voided = (data["accountId"], key) in self._told_void
        if data["voided"] or voided:  # a void is for ever
            self._told_void.add((data["accountId"], key))
            pnl = Decimal(0)
        known = self._told_trades[data["accountId"]]
        if key in known and known[key][0] != pnl and not data["fees"] and not data["voided"]:
            return  # an older word: its fees were told already
        known[key] = (pnl, trading_date(at))

    def _told_account(self, data: Mapping[str, Any]) -> None:
        told = self._told_can_trade.get(data["id"])
        if told is None or told[0] != data["canTrade"]:
            self._told_can_trade[data["id"]] = (data["canTrade"], self.world.now)

    def told_quote(self, contract_id: str, data: Mapping[str, Any]) -> None:
        """RULE-004 in its plainest reading: at this price the position loses its limit.

        A price that has jumped must be said twice, and one that never was counts for nothing.
        """
        bid, ask, last = (Decimal(str(data[side])) for side in ("bestBid", "bestAsk", "lastPrice"))
        bid, ask = bid or last, ask or last
        book = self.world.exchange.book(contract_id)
        if abs(bid - book.bid) > WILD * abs(book.bid) + 1 or (
            abs(ask - book.ask) > WILD * abs(book.ask) + 1
        ):
            self._told_wild[contract_id] = self.world.now
            return
        self._told_wild.pop(contract_id, None)
        contract = self.world.exchange.contracts[contract_id]
        before = self._told_prices.get(contract_id)
        self._told_prices[contract_id] = (bid, ask)
        self._told_prices_at[contract_id] = self.world.now
        low, high = self._told_range.get(contract_id, (bid, ask))
        self._told_range[contract_id] = (min(low, bid), max(high, ask))
        if before is not None:
            band = max(abs(before[0]) * JUMP, contract.tick_size * 50)
            if abs(bid - before[0]) > band or abs(ask - before[1]) > band:
                return
        limit = self.world.limits["open_loss"]
        for account_id in self.world.account_ids:
            key = (account_id, contract_id)
            result = self._open_result(key)
            if result is not None and result <= -limit - CENT:
                position = self.world.position(*key)
                assert position is not None
                self._open_loss[key] = position.id
            if self._net[key]:
                self._judge_losses(account_id)

    def _open_result(self, key: tuple[int, str]) -> Decimal | None:
        """At the price told last, of a position the daemon has been told of; else None."""
        net, position = self._net[key], self.world.position(*key)
        prices = self._told_prices.get(key[1])
        if not net or position is None or prices is None or self._told_net.get(key) != net:
            return None
        if key in self._doubted or not self._knows_the_price(key):
            return None
        if not self.may_know_the_tick(key[1]):
            return None
        if self._told_prices_at[key[1]] < self._life_since:
            return None  # prices do not outlive a restart
        contract = self.world.exchange.contracts[key[1]]
        price = prices[0] if net > 0 else prices[1]
        points = (price - position.average_price) * net
        return points / contract.tick_size * contract.tick_value

    def may_know_the_tick(self, contract_id: str) -> bool:
        """Whether the daemon was told what a tick is worth, or had only to ask: while every read
        is refused, no loss in a contract it has never met can be worked out."""
        is_refused = self.world.now < self.world.gateway.reads_refused_until
        return contract_id in self._told_contracts or not is_refused

    def _knows_the_price(self, key: tuple[int, str]) -> bool:
        """Whether the daemon was told at what price a position was entered, or all its fills."""
        position = self.world.position(*key)
        if position is None or position.id in self._told_priced:
            return position is not None
        told, words = self._told_trades[key[0]], self.world.gateway.words
        return all(
            (words.told_as(trade.id), trade.profit_and_loss is None) in told
            for trade in self.world.exchange.trades(key[0], position.created_at)
            if trade.contract_id == key[1]
        )

    def _judge_losses(self, account_id: int) -> None:
        """What the account loses with all it holds. A quiet contract counts at its last price, and
        excuses no more than what it has moved by on this day."""
        now, limits = self.world.now, self.world.limits
        held = [k for k, net in self._net.items() if k[0] == account_id and net]
        results = [self._open_result(k) for k in held]
        is_settled = all(
            now - max(self._moved[k], self._told_at.get(k, -1e9)) > SETTLED_S for k in held
        )
        known = [r for r in results if r is not None]
        if len(known) < len(results) or not is_settled:
            self._deep_since.pop(("open", account_id), None)
            self._deep_since.pop(("day", account_id), None)
            return
        total = sum(known, Decimal(0)) + sum(map(self._doubt_of, held), Decimal(0))
        self._note_deep("open", account_id, total <= -limits["account_open_loss"] - CENT)
        if limits["open_loss_counts"]:
            total += self.told_day(account_id)
            self._note_deep("day", account_id, total <= -limits["daily_loss"] - CENT)

    def _doubt_of(self, key: tuple[int, str]) -> Decimal:
        """How much better than at its last price such a position may stand by now."""
        if self.world.now - self._told_prices_at[key[1]] <= STALE_AFTER_S:
            return Decimal(0)
        contract = self.world.exchange.contracts[key[1]]
        low, high = self._told_range[key[1]]
        return (high - low) / contract.tick_size * contract.tick_value * abs(self._net[key])

    def _note_deep(self, what: str, account_id: int, is_deep: bool) -> None:
        if is_deep:
            self._deep_since.setdefault((what, account_id), self.world.now)
        else:
            self._deep_since.pop((what, account_id), None)

    def told_day(self, account_id: int) -> Decimal:
        """What the daemon was told to have been made today."""
        today = trading_date(self._judged_at())
        told = self._told_trades[account_id].values()
        return sum((pnl for pnl, day in told if day == today), Decimal(0))

    # --- what the judge of the days asks ---

    @property
    def locks_shown(self) -> Mapping[LockKey, Held]:
        return self._locks

    @property
    def guarded_since(self) -> float:
        """Since when the daemon has judged what it sees and the market has been open."""
        return max(self._life_since + READ_FIRST_S, self.world.opened_at)

    def is_served(self) -> bool:
        return self._is_served()

    def today_of_the_exchange(self) -> date:
        return trading_date(self.world.utc())

    def is_judged_today(self) -> bool:
        """Whether the daemon's clock is on the exchange's trading date."""
        return trading_date(self.world.daemon_now()) == self.today_of_the_exchange()

    def told_results(self, account_id: int) -> tuple[Decimal, Decimal]:
        """What the daemon was told to have been made today, and in this week."""
        today = trading_date(self._judged_at())
        total = week = Decimal(0)
        for pnl, day in self._told_trades[account_id].values():
            if day.isocalendar()[:2] == today.isocalendar()[:2]:
                week += pnl
                total += pnl if day == today else 0
        return total, week

    def told_before_today(self, account_id: int) -> Decimal:
        today, week = self.told_results(account_id)
        return week - today

    def knows_everything(self, account_id: int, for_s: float) -> bool:
        """Whether the daemon was told every trade in time, on its own day, by a gateway in
        health, and nothing was taken back."""
        now, exchange = self.world.now, self.world.exchange
        trades = exchange.trades(account_id)
        told, words = self._told_trades[account_id], self.world.gateway.words
        return (
            self._is_well(now - for_s)
            and self.is_judged_today()
            and self.world.streams.behind_s == 0.0
            and not any(t.voided for t in trades)
            and all((words.told_as(t.id), t.profit_and_loss is None) in told for t in trades)
            and not self._told_wild
        )

    def _sweep_losses(self) -> None:
        """A loss that lasts is acted on: locked, or nothing is held any more."""
        rules = {"open": "account-open-loss", "day": "daily_realized_loss"}
        now = self.world.now
        for (what, account_id), since in list(self._deep_since.items()):
            held = any(n for (a, _), n in self._net.items() if a == account_id)
            if not held or (account_id, "account", rules[what]) in self._locks:
                del self._deep_since[what, account_id]
                continue
            counted = max(since, self._life_since + READ_FIRST_S, self.world.opened_at)
            limit_s = ILL_LIMIT_S if self._ill(counted, now) else DEEP_S
            if self._is_served() and now - counted > limit_s:
                self._deep_since[what, account_id] = now + 60
                self.violate(
                    "a known loss was excused",
                    f"account {account_id} is past its limit ({what}) for {now - since:.1f} s",
                )

    def _is_served(self) -> bool:
        """Whether the daemon runs and the gateway answers at all."""
        return (
            self._alive
            and self.world.market_open
            and self.world.now >= (self.world.gateway.out_until)
        )

    def is_well_served(self, since: float) -> bool:
        """Whether the daemon has run since then, and the gateway, its streams and prices too."""
        return (
            self._is_well(since)
            and not self.world.gateway.was_ill(since - 2.0, self.world.now)
            and self.world.streams.behind_s == 0.0
        )

    def price_age_s(self, contract_id: str) -> float:
        """How long ago a price of this contract was told."""
        return self.world.now - self._told_prices_at.get(contract_id, -1e9)

    def told_net(self, key: tuple[int, str]) -> int:
        return self._told_net.get(key, 0)

    # --- what must be asked at once ----------------------------------------------------------

    def on_closed(self, account_id: int, contract_id: str) -> None:
        """A close of ours has ended a position."""
        self._closed_at[account_id, contract_id] = self.world.now

    def _want_closed(self, data: Mapping[str, Any]) -> None:
        """A position is told that must not be, where one was closed a moment ago."""
        key = (data["accountId"], data["contractId"])
        if not data["size"] or data["id"] in self._seen_positions:
            return
        self._seen_positions.add(data["id"])
        position = self.world.position(*key)
        now = self.world.now
        if position is None or position.id != data["id"]:
            return
        if self._close_left_at[key] >= self._moved[key]:
            return  # a list told of it, and its close has left: the gateway may have forgotten it
        if now - self._closed_at[key] < REENTRY_AFTER_S and self._must_be_flat_now(key):
            self._prompts["close", position.id] = Prompt(now, REENTRY_S, key, position.id)

    def _want_cancelled(self, order: Order) -> None:
        """An order is told that must not be."""
        key = (order.account_id, order.contract_id)
        is_entry = order.is_working and order.type is not OrderType.MARKET
        if is_entry and not self._net[key] and self._is_barred(key):
            self._prompts["cancel", order.id] = Prompt(self.world.now, FRESH_ORDER_S, key, order.id)

    def _must_be_flat_now(self, key: tuple[int, str]) -> bool:
        """Under a lock the daemon holds itself, or in a contract that is never allowed."""
        root = self.world.exchange.contracts[key[1]].root
        return root in self.world.blocked or any(
            held.policy == "flat" and self._covers(k, key[0], root, key[1])
            for k, held in self._locks.items()
        )

    def _is_barred(self, key: tuple[int, str]) -> bool:
        """The same, or a lock that forbids entries only."""
        root = self.world.exchange.contracts[key[1]].root
        return self._must_be_flat_now(key) or any(
            self._covers(k, key[0], root, key[1]) for k in self._locks
        )

    def _asked_from(self, what: tuple[str, int], prompt: Prompt) -> float:
        """From when on the request counts as late."""
        if what[0] != "close":
            return prompt.since
        # The fill of a close that is not answered yet may be on its way: a second one would cross
        # it, and turn the position round.
        answered_at = self.world.gateway.close_answered_at.get(prompt.key, prompt.since)
        return max(prompt.since, answered_at)

    def _sweep_prompts(self) -> None:
        now = self.world.now
        for what, prompt in list(self._prompts.items()):
            if now - self._asked_from(what, prompt) <= prompt.within_s:
                continue
            del self._prompts[what]
            if what[0] == "close":
                position = self.world.position(*prompt.key)
                stands = position is not None and position.id == prompt.id
                stands = stands and bool(self._told_net.get(prompt.key))
            else:
                order = self._orders.get(prompt.id)
                stands = order is not None and order.is_working
                stands = stands and prompt.id in self._told_orders
                stands = stands and not self._net[prompt.key]
            is_due = self._must_be_flat_now if what[0] == "close" else self._is_barred
            if stands and is_due(prompt.key) and self._is_well(prompt.since):
                self.violate(
                    f"slow to {what[0]}",
                    f"{prompt.key} {prompt.id}: not asked {now - prompt.since:.2f} s after it "
                    f"was told, allowed {prompt.within_s:g} s",
                )

    def _is_well(self, since: float) -> bool:
        """Nothing but refused reads has stood between the daemon and the gateway since then."""
        world = self.world
        return (
            self._is_served()
            and since > self._life_since + READ_FIRST_S
            and since > world.opened_at + 1.0
            and len(self._writes) <= UNHURRIED_CALLS
            and not world.gateway.was_ill(since - 2.0, world.now, besides=READS_REFUSED)
        )

    # --- what we do --------------------------------------------------------------------------

    def on_write(self, path: str, body: Mapping[str, Any]) -> None:
        """A request leaves: now the outside sees the locks behind it."""
        life = self.world.life
        if life is not None:
            self._show(life.state())
        now = self.world.now
        if path == CANCEL:
            self._on_cancel(body["orderId"])
            self._prompts.pop(("cancel", body["orderId"]), None)
        if path in (CLOSE, PARTIAL_CLOSE):
            closed = (body["accountId"], body["contractId"])
            self._close_left_at[closed] = now
            for what, prompt in list(self._prompts.items()):
                is_meant = what[0] == "close" and prompt.key == closed
                if is_meant and now - self._asked_from(what, prompt) <= prompt.within_s:
                    self.reentries_s.append(now - prompt.since)
                    del self._prompts[what]
            self._sweep_prompts()
        self._writes.append(now)
        while self._writes[0] <= now - 60:
            self._writes.popleft()
        while self._trader_moves and self._trader_moves[0] <= now - 120:
            self._trader_moves.popleft()
        self.writes_max = max(self.writes_max, len(self._writes))
        if len(self._writes) > self.calls_allowed():
            self.violate(
                "action storm", f"{len(self._writes)} calls in a minute, last {path} {body}"
            )

    def calls_allowed(self) -> int:
        """In a minute. What the gateway failed must be asked again, but not without end."""
        accounts = self.world.account_ids
        usual = CALLS_A_MINUTE * len(accounts)
        since = self.world.now - 60
        failed = sum(self.world.gateway.calls_failed(a, since) for a in accounts)
        return usual + CALLS_A_MOVE * len(self._trader_moves) + min(failed, usual)

    def before_write(self, path: str, body: Mapping[str, Any]) -> None:
        now = self.world.now
        match path:
            case "/Order/modify":
                order = self._orders.get(body["orderId"])
                if order is None or order.stop_price is None or "stopPrice" not in body:
                    return
                moved = (Decimal(str(body["stopPrice"])) - order.stop_price) * -order.side.sign
                if moved < 0:
                    self.violate("a stop was moved away", f"{order} to {body['stopPrice']}")
                key = (order.account_id, order.contract_id)
                most = max(abs(self._net[key]), abs(self._told_net.get(key, 0)))
                fresh = now - self._moved[key] < RACE_S
                if body.get("size", 0) > max(most, order.size) and not fresh:
                    self.violate("a stop was made too big", f"{order}, held {most}, asked {body}")
            case "/Order/place":
                key = (body["accountId"], body["contractId"])
                net, told = self._net[key], self._told_net.get(key, 0)
                sign = 1 if body["side"] == 0 else -1
                fresh = now - max(self._moved[key], self._told_at.get(key, 0.0)) < RACE_S
                if (net * sign >= 0 or body["size"] > abs(net)) and not fresh:
                    self.violate(
                        "an order was placed that opens",
                        f"{key} holds {net:+d} (told {told:+d}), asked {body}",
                    )
                beside = self._stops_known(key) if "stopPrice" in body else 0
                if net * sign < 0 and beside + body["size"] > abs(net) and not fresh:
                    self.violate(
                        "a stop was placed beside one that works",
                        f"{key} holds {net:+d}, stops work for {beside}, asked {body}",
                    )

    def _stops_known(self, key: tuple[int, str]) -> int:
        """For how many lots stops work that the daemon has known of for a moment."""
        net, known_by = self._net[key], self.world.now - KNOWN_S
        return sum(
            o.remaining
            for o in self._orders_of(*key)
            if o.is_working
            and o.type in STOPS
            and o.side.sign * net < 0
            and self._told_orders.get(o.id, 1e9) <= known_by
        )

    def _on_cancel(self, order_id: int) -> None:
        """A cancel leaves. Whether it is wrong was judged when it was decided on, if it was."""
        wrong = self._cancels.get(order_id)  # an expired token has the same one sent twice
        life = self.world.life
        if wrong is None and life is not None:
            wrong = self._protects(life.state(), order_id)
        if wrong:
            order = self._orders.get(order_id)
            self.violate("a protective order was cancelled", f"{order_id}: {order}")

    def _protects(self, state: State, order_id: int) -> bool:
        """Whether an order can only reduce what is held, and the daemon knows it."""
        order = self._orders.get(order_id)
        if order is None or self._is_own(order):
            return False
        key = (order.account_id, order.contract_id)
        if self.world.now - self._cancel_all_at[order.account_id] < 30 or not self._knows_all(
            state, key
        ):
            return False
        return order_id in self._exits(*key)

    def _is_own(self, order: Order) -> bool:
        return (order.custom_tag or "").startswith(OWN)

    def after_write(self, path: str, body: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        if path == PLACE and reply["success"]:
            self._ours.add(reply["orderId"])
        if path == CANCEL and reply["success"] and body["orderId"] in self._orders:
            self._false_words[body["orderId"]] += 1
        if path in (CLOSE, PARTIAL_CLOSE) and reply["success"]:
            key = body["accountId"], body["contractId"]
            if self._moved[key] < self.world.now:
                self._false_closes.append((self.world.now, *key))

    def on_trader(self) -> None:
        self._trader_moves.append(self.world.now)

    def on_own_close(self, order_id: int) -> None:
        self._closes.add(order_id)

    # --- the daemon's life -------------------------------------------------------------------

    def on_life(self, alive: bool) -> None:
        self._alive = alive
        self._life_since = self.world.now
        if not alive:
            self._last_states = {}

    def on_restored(self, life: "Life", state: State) -> None:
        self._compare(state, "the restart")

    def on_decided(self, event: AnyEvent, outcome: Step) -> None:
        """A step has been taken; nothing of it is stored or sent yet."""
        if isinstance(event, AdminAsked):
            if event.verb == "unlock":
                asked = (self.world.now, event.account_id, event.scope, event.rule_id)
                self._unlocks.append(asked)
            if event.verb in ("cancel_all", "flatten"):
                self._cancel_all_at[event.account_id] = self.world.now
        reduced = {
            (a.account_id, a.contract_id)
            for a in outcome.actions
            if isinstance(a, ClosePosition | ReducePosition)
        }
        for decision in outcome.decisions:
            self._judge_decision(event, decision)
        for action in outcome.actions:
            if isinstance(action, CancelOrder):
                leaves_less = (action.account_id, action.contract_id) in reduced
                wrong = not leaves_less and self._protects(outcome.state, action.order_id)
                self._cancels[action.order_id] = wrong

    def _judge_decision(self, event: AnyEvent, decision: Decision) -> None:
        """What the daemon closes by, where it had no reason."""
        self.days.judge(decision)
        if self.behaviour is not None:
            self.behaviour.judge(decision)
        if self.calendar is not None:
            self.calendar.judge(decision)
        if decision.rule_id == "no_stop_loss_grace":
            for ask in decision.asks:
                if not isinstance(ask, Close):
                    continue
                key = (decision.account_id, ask.contract_id)
                net = self._net[key]
                unchanged = self.world.now - self._moved[key] > RACE_S
                if net and unchanged and self._stops_known(key) >= abs(net):
                    self.violate(
                        "closed for want of a stop that works",
                        f"{key} holds {net:+d}: {decision.reason}",
                    )
        if isinstance(event, QuoteChanged) and decision.rule_id in LOSS_RULES and decision.asks:
            wild_since = self._told_wild.get(event.contract_id)
            if wild_since is None or self.world.now - wild_since >= KNOWN_S:
                return
            key = (decision.account_id, event.contract_id)
            result = self._open_result(key)
            if result is not None and result > -Decimal(self.world.limits["open_loss"]) / 2:
                self.violate(
                    "acted on a price that never was",
                    f"{key} at {event.best_bid}/{event.best_ask}: {decision.reason}",
                )

    def on_step(self, life: "Life", event: AnyEvent, before: State, outcome: Step) -> None:
        self.events += 1
        if isinstance(event, ActionSettled):
            self.world.record(
                f"settled {event.action_id} {event.outcome} {event.verified} {event.message}"
            )
        for decision in outcome.decisions:
            self.decisions += 1
            self.world.record(
                f"decide {decision.account_id} {decision.rule_id} {decision.subject}"
                f" {decision.count} {decision.reason}"
            )
        for action in outcome.actions:
            self.world.record(f"act {action}")
        for fact in outcome.facts:
            if isinstance(fact, LockSet):
                self.locks_seen[fact.lock.rule_id] += 1
            self.world.record(f"fact {fact}")
        accounts = outcome.state.accounts
        if any(
            (known := self._last_states.get(i)) is None or known is not a.locks
            for i, a in accounts.items()
        ):
            self._last_states = {i: a.locks for i, a in accounts.items()}
            self._show(outcome.state)
            self._compare(outcome.state, type(event).__name__)

    # --- locks -------------------------------------------------------------------------------

    def _show(self, state: State) -> None:
        """Take note of every lock the daemon holds; from now on it may only end by the model."""
        for account in state.accounts.values():
            for (scope, rule_id), lock in account.locks.items():
                key = (account.id, scope, rule_id)
                known = self._locks.get(key)
                if known is not None and known.expires_at == lock.expires_at:
                    if str(lock.policy) == "flat":
                        known.policy = "flat"
                    continue
                not_before = self._earliest_end(lock)
                if known is None:
                    held = Held(
                        str(lock.policy),
                        str(lock.release),
                        None if not_before is None else [(not_before, self._clock_off())],
                        lock.admin_may_clear,
                        lock.expires_at,
                    )
                    if held.policy == "no_entries":
                        held.ceilings = {
                            c: self._larger(account.id, c)
                            for c in self.world.exchange.contracts
                            if lock.covers(self.world.exchange.contracts[c].root, c)
                        }
                    self._locks[key] = held
                    continue
                known.expires_at = lock.expires_at
                if str(lock.policy) == "flat":
                    known.policy = "flat"
                if known.ends is not None and not_before is not None:
                    if str(lock.release) != known.release:
                        known.release, known.ends = str(lock.release), []
                    known.ends.append((not_before, self._clock_off()))

    def _earliest_end(self, lock: Any) -> datetime | None:
        """The true instant before which this lock must not end by itself; None: by no time."""
        now = self.world.utc()
        behind = now - self.world.daemon_now()
        seen = now - behind if timedelta(0) < behind <= CLOCK_SLACK else now
        match str(lock.release):
            case "time":
                clock = self.world.daemon_now()
                if behind > CLOCK_SLACK and lock.expires_at is not None:
                    # Set by the gateway's clock, which is right: ours may be set right any time.
                    ends: datetime = lock.expires_at
                    return ends
                return None if lock.expires_at is None else now + (lock.expires_at - clock)
            case "reset":
                return next_reset(seen)
            case "session_start":
                return next_session(seen)
        return None

    def _clock_off(self) -> timedelta:
        return self.world.daemon_now() - self.world.utc()

    def _compare(self, state: State, when: str) -> None:
        for key, held in list(self._locks.items()):
            account = state.accounts.get(key[0])
            lock = account.locks.get((key[1], key[2])) if account is not None else None
            if lock is not None:
                if held.policy == "flat" and str(lock.policy) != "flat":
                    self.violate("a lock was weakened", f"{key} at {when}")
                continue
            del self._locks[key]
            why = self.why_early(key, held)
            if why:
                self.violate("a lock ended early", f"{key} {held.release} at {when}: {why}")

    def why_early(self, key: LockKey, held: Held) -> str:
        account_id, scope, rule_id = key
        asked = any(
            a == account_id and s == scope and r in (None, rule_id) for at, a, s, r in self._unlocks
        )
        if asked and held.may_clear and held.release not in ("config",):
            return ""
        match held.release:
            case "time" | "reset" | "session_start":
                now = self.world.utc()
                if held.ends is None:
                    return "it had no end"
                if held.release == "session_start" and in_session(now):
                    # Inside the session only a clock that was wrong can have set it.
                    return ""
                for not_before, clock_off in held.ends:
                    # A pause is measured by the clock, a reset read from it.
                    slack = self._clock_off()
                    if held.release == "time":
                        slack -= clock_off
                    if not timedelta(0) < slack <= 2 * CLOCK_SLACK:
                        slack = timedelta(0)
                    if now < not_before - slack - timedelta(milliseconds=1):
                        return f"not before {not_before:%H:%M:%S}, now {now:%H:%M:%S} (UTC)"
                return ""
            case "can_trade":
                account = self.world.exchange.account(account_id)
                told = self._told_can_trade.get(account_id)
                fine = (account is not None and account.can_trade) or (told and told[0])
                return "" if fine else "the account may still not trade"
            case "config":
                return "" if self.world.edited else "the configuration still asks for it"
        return "only an administrator ends it"

    def _larger(self, account_id: int, contract_id: str) -> int:
        net = self._net[account_id, contract_id]
        told = self._told_net.get((account_id, contract_id), 0)
        return net if abs(net) >= abs(told) else told

    # --- blindness ---------------------------------------------------------------------------

    def look_at_hubs(self) -> None:
        """With something open, a hub whose sockets are all dead is not shown as up for long."""
        life = self.world.life
        if life is None or not life.is_judging:
            self._blind_since.clear()
            return
        state = life.state()
        exposed = any(not account.is_flat for account in state.accounts.values())
        for hub in Hub:
            shown = state.hubs.get(hub)
            is_up = shown is not None and shown.state is HubState.UP
            if not (exposed and is_up and self.world.streams.is_dead(hub)):
                self._blind_since.pop(hub, None)
                continue
            blind_for = self.world.now - self._blind_since.setdefault(hub, self.world.now)
            if blind_for > BLIND_LIMIT_S:
                self._blind_since[hub] = self.world.now + 60
                self.violate("blind", f"the {hub} hub is dead for {blind_for:.1f} s, shown as up")

    # --- what must be flat -------------------------------------------------------------------

    def look(self) -> None:
        """Judge every position and order now: open, keep or close what is overdue."""
        now = self.world.now
        bad = {key: since for key, since in self._all_bad()}
        for key in [k for k in self._open if k not in bad]:
            self._end(key, self._open.pop(key))
        for key, since in bad.items():
            if key not in self._open:
                self._open[key] = Overdue(max(now, since))
        self._sweep()
        self._sweep_prompts()
        self._sweep_losses()
        self._sweep_losers()
        if self.calendar is not None:
            self.calendar.look()
        self.days.look()
        if self.behaviour is not None:
            self.behaviour.look()

    def _sweep(self) -> None:
        now = self.world.now
        out = now < self.world.gateway.out_until
        paused = not self._alive or not self.world.market_open or out
        for key, overdue in self._open.items():
            if paused:
                overdue.since = max(now, overdue.since)
                continue
            # What was open when the daemon came back counts from then.
            overdue.since = max(overdue.since, self._life_since, self.world.opened_at)
            lasted = now - overdue.since
            ill = self._ill(overdue.since, now)
            limit = self.allowed_s(key, overdue.since, ill=ill)
            if lasted > limit and not overdue.limit_told:
                overdue.limit_told = True
                word = "ill" if ill else "well"
                self.violate("too slow", f"{key} for {lasted:.1f} s (broker {word})")

    def allowed_s(self, key: tuple[Any, ...], since: float, *, ill: bool) -> float:
        """For how long something may be that must not."""
        limit = WELL_LIMIT_S
        if ill:
            failed = self.world.gateway.calls_failed(key[1], since)
            limit = ILL_LIMIT_S + PER_FAILED_CALL_S * max(failed - CALLS_MAY_FAIL, 0)
        match key:
            case ("order", _, order_id):
                if len(self._writes) > BRAKED_CALLS:
                    return BRAKED_LIMIT_S
                limit += PER_FALSE_WORD_S * self._false_words[order_id]
            case ("orphan" | "exits exceed", account_id, contract_id, *_):
                false = [self._false_words[o] for o in self._orders_in[account_id, contract_id]]
                limit += PER_FALSE_WORD_S * max(false, default=0)
            case _:
                limit += PER_FALSE_WORD_S * sum(
                    at >= since and account_id in key and (len(key) == 2 or contract_id in key)
                    for at, account_id, contract_id in self._false_closes
                )
        return limit

    def _end(self, key: tuple[Any, ...], overdue: Overdue) -> None:
        if not self._alive:
            return
        now = self.world.now
        lasted = max(now - max(overdue.since, self._life_since, self.world.opened_at), 0.0)
        ill = self._ill(overdue.since, now)
        (self.spans_ill if ill else self.spans_well).append(lasted)
        self.by_kind[str(key[0])] += 1

    def _ill(self, since: float, until: float) -> bool:
        return self.world.gateway.was_ill(since - 2.0, until)

    def _all_bad(self) -> Iterator[tuple[tuple[Any, ...], float]]:
        for account_id in self.world.account_ids:
            yield from self._bad_of(account_id)
        yield from self.days.bad()
        if self.calendar is not None:
            yield from self.calendar.bad()

    def held(self, account_id: int) -> Iterator[tuple[str, str, int, int]]:
        """Each contract with its root, what is held of it, and what the daemon was told."""
        for contract_id, contract in self.world.exchange.contracts.items():
            key = (account_id, contract_id)
            yield contract_id, contract.root, self._net[key], self._told_net.get(key, 0)

    def _bad_of(self, account_id: int) -> Iterator[tuple[tuple[Any, ...], float]]:
        world = self.world
        limits = world.limits
        flat_since = self._flat_since(account_id)
        gross = 0
        gross_told = 0
        for contract_id, contract in world.exchange.contracts.items():
            key = (account_id, contract_id)
            net = self._net[key]
            told = self._told_net.get(key, 0)
            orders = [o for o in self._orders_of(*key) if o.id in self._told_orders]
            if not (net or orders):
                self._open_loss.pop(key, None)
                continue
            gross += abs(net)
            gross_told += abs(told)
            must_be_flat = flat_since is not None or contract.root in world.blocked
            must_be_flat |= any(
                h.policy == "flat" and self._covers(k, account_id, contract.root, contract_id)
                for k, h in self._locks.items()
            )
            no_entries = must_be_flat or any(
                self._covers(k, account_id, contract.root, contract_id) for k in self._locks
            )
            since = flat_since if flat_since is not None else 0.0
            if must_be_flat and net and told:
                yield ("flat", account_id, contract_id), since
            position = world.position(*key)
            if position is not None and self._open_loss.get(key) == position.id:
                yield ("open loss", account_id, contract_id), 0.0
            else:
                self._open_loss.pop(key, None)
            most = limits["per_instrument"].get(contract.root)
            if most is not None and min(abs(net), abs(told)) > most:
                yield ("per instrument", account_id, contract_id), 0.0
            for lock_key, held in self._locks.items():
                if contract_id in held.ceilings and lock_key[0] == account_id:
                    ceiling = self._lowered(held, key)
                    over = net * ceiling <= 0 or abs(net) > abs(ceiling)
                    told_over = told * ceiling <= 0 or abs(told) > abs(ceiling)
                    if net and over and told and told_over:
                        yield ("above the ceiling", account_id, contract_id), 0.0
            yield from self._bad_orders(key, net, told, orders, must_be_flat, no_entries, since)
        if min(gross, gross_told) > limits["contracts"]:
            yield ("contracts", account_id), 0.0

    def _bad_orders(
        self,
        key: tuple[int, str],
        net: int,
        told: int,
        orders: list[Order],
        must_be_flat: bool,
        no_entries: bool,
        since: float,
    ) -> Iterator[tuple[tuple[Any, ...], float]]:
        now = self.world.now
        working = [o for o in orders if o.status in (OrderStatus.OPEN, OrderStatus.PENDING)]
        if no_entries and working:
            exits = set().union(
                *(
                    self._exits(*key, n, among=among)
                    for n in (net, told)
                    for among in (None, orders)
                )
            )
            for order in working:
                if order.type is OrderType.MARKET:
                    continue
                if (must_be_flat and not net and not told) or order.id not in exits:
                    yield ("order", key[0], order.id), since
        own = [o for o in working if self._is_own(o)]
        if own and not net and not told:
            yield ("orphan", *key), 0.0
        if own and net and told == net:
            for is_stop in (True, False):
                kind = [
                    o for o in working if (o.type in STOPS) is is_stop and o.side.sign * net < 0
                ]
                size = sum(o.remaining for o in kind)
                is_ours = any(self._is_own(o) for o in kind)
                if is_ours and size > abs(net) and now - self._moved[key] > 0:
                    yield ("exits exceed", *key, is_stop), 0.0

    def _lowered(self, held: Held, key: tuple[int, str]) -> int:
        ceiling = held.ceilings[key[1]]
        now = self._larger(*key)
        if now * ceiling <= 0:
            ceiling = 0
        elif abs(now) < abs(ceiling):
            ceiling = now
        held.ceilings[key[1]] = ceiling
        return ceiling

    def _covers(self, key: LockKey, account_id: int, root: str, contract_id: str) -> bool:
        scopes = ("account", f"root:{root}", f"contract:{contract_id}")
        return key[0] == account_id and key[1] in scopes

    def _flat_since(self, account_id: int) -> float | None:
        """Since when the whole account must be flat by the model's own judgement."""
        now = self.world.now
        found: list[float] = []
        told = self._told_can_trade.get(account_id)
        if told is not None and not told[0]:
            found.append(told[1] + 2.0)  # the rule confirms for two seconds
        clock = self._judged_at()
        if not in_session(clock) and not in_session(clock - timedelta(seconds=2)):
            found.append(0.0)
        today = trading_date(clock)
        if self._lost_day.get(account_id) != today:
            self._lost_day.pop(account_id, None)
            total = self.told_day(account_id)
            counts_open = self.world.limits["open_loss_counts"] and any(
                n for (a, _), n in self._net.items() if a == account_id
            )
            if total > -self.world.limits["daily_loss"] or counts_open:
                self._losing_since.pop(account_id, None)
            elif now - self._losing_since.setdefault(account_id, now) >= TOLD_WITHIN_S:
                self._lost_day[account_id] = today
                self._lost_since[account_id] = self._losing_since.pop(account_id)
        if account_id in self._lost_day:
            since = self._lost_since[account_id]
            found.append(since)
            if self._alive and now > max(since + LOCKED_S, self._life_since + READ_FIRST_S):
                self._must_be_locked(account_id)
        return min((f for f in found if f <= now), default=None)

    def _judged_at(self) -> datetime:
        """The daemon's clock, but never one that runs ahead by more than nobody can tell."""
        return min(self.world.daemon_now(), self.world.utc() + CLOCK_SLACK)

    def locks_of(self, account_id: int) -> list[str]:
        """The rules whose locks the outside has seen on an account."""
        return [rule_id for of, _, rule_id in self._locks if of == account_id]

    def _must_be_locked(self, account_id: int) -> None:
        life = self.world.life
        if life is None or life.dead.is_set():
            return
        account = life.state().accounts[account_id]
        if ("account", "daily_realized_loss") not in account.locks:
            self._lost_since[account_id] = self.world.now + 60
            self.violate("not locked", f"account {account_id} lost its limit and is not locked")

    # --- the end of the day ------------------------------------------------------------------

    @property
    def waits_for_an_end(self) -> bool:
        """Whether something that must end was still there at the last look."""
        return bool(self._open)

    def overdue(self) -> list[tuple[Any, ...]]:
        self.look()
        return list(self._open)

    def settle_accounts(self, state: State) -> None:
        """P&L, positions, orders and rows, once everything has come to rest."""
        exchange = self.world.exchange
        for account_id in self.world.account_ids:
            account = state.accounts[account_id]
            days: defaultdict[date, Decimal] = defaultdict(Decimal)
            counts: Counter[date] = Counter()
            ids: defaultdict[date, set[int]] = defaultdict(set)
            for trade in exchange.trades(account_id):
                if not trade.voided:
                    day = trading_date(trade.created_at)
                    days[day] += (trade.profit_and_loss or Decimal(0)) - trade.fees
                    counts[day] += 1
                    ids[day].add(self.world.gateway.words.told_as(trade.id))
            today = account.trading_date
            got = account.ledger.day(today)
            # Two halves under one id may be counted as one execution, but are paid for as two.
            if got.net != days[today] or not (len(ids[today]) <= got.executions <= counts[today]):
                self.violate(
                    "P&L differs",
                    f"account {account_id} {today}: ours {got.net} in {got.executions}, "
                    f"the exchange's {days[today]} in {counts[today]}",
                )
            held = {c: p.net for c, p in account.positions.items()}
            truth = {c: n for (a, c), n in self._net.items() if a == account_id and n}
            if held != truth:
                self.violate("positions differ", f"account {account_id}: {held}, truly {truth}")
            listed = {o.id for o in exchange.working_orders(account_id)}
            known = {o.id for o in account.orders.values() if o.status != 8}
            if listed != known:
                self.violate("orders differ", f"account {account_id}: {known}, truly {listed}")

    def read_database(self) -> None:
        """The rows themselves, by a hand of our own."""
        connection = sqlite3.connect(self.world.folder / "state.db")
        try:
            double = connection.execute(
                "SELECT account_id, rule_id, subject, trading_day, count(*) FROM enforcement_log"
                " WHERE action = 'decide' GROUP BY 1, 2, 3, 4 HAVING count(*) > 1"
            ).fetchall()
            locks = connection.execute(
                "SELECT account_id, scope, rule_id, count(*) FROM lockouts"
                " WHERE cleared_at IS NULL GROUP BY 1, 2, 3 HAVING count(*) > 1"
            ).fetchall()
            money: defaultdict[int, Decimal] = defaultdict(Decimal)
            for account_id, pnl, fees in connection.execute(
                "SELECT account_id, pnl, fees FROM trades WHERE voided = 0"
            ):
                money[account_id] += Decimal(pnl or 0) - Decimal(fees)
        finally:
            connection.close()
        for row in double:
            self.violate("a breach has two rows", str(row))
        for row in locks:
            self.violate("a lock has two rows", str(row))
        for account_id in self.world.account_ids:
            exchange = self.world.exchange
            truth = exchange.realised(account_id) - exchange.fees(account_id)
            if money[account_id] != truth:
                self.violate(
                    "stored P&L differs",
                    f"account {account_id}: {money[account_id]}, truly {truth}",
                )


def _least_loss(patience: int) -> Decimal:
    """The loss of a trade from which a pause follows."""
    return Decimal(FIRST_TIER * patience)


# --- a calendar of our own ------------------------------------------------------------------


def trading_date(at: datetime) -> date:
    """17:00 in New York begins the next day; the weekend is Monday's."""
    local = at.astimezone(NEW_YORK)
    day = local.date() + timedelta(days=1 if local.hour >= 17 else 0)
    while day.weekday() >= 5:
        day += timedelta(days=1)
    return day


def next_reset(at: datetime) -> datetime:
    local = at.astimezone(NEW_YORK)
    reset = local.replace(hour=17, minute=0, second=0, microsecond=0)
    while reset <= local or reset.weekday() >= 5:
        reset = (reset + timedelta(days=1)).replace(hour=17, fold=0)
    return reset.astimezone(at.tzinfo)


def in_session(at: datetime) -> bool:
    local = at.astimezone(NEW_YORK)
    return local.weekday() < 5 and (9, 30) <= (local.hour, local.minute) < (16, 0)


def next_session(at: datetime) -> datetime:
    local = at.astimezone(NEW_YORK)
    start = local.replace(hour=9, minute=30, second=0, microsecond=0)
    while start <= local or start.weekday() >= 5:
        start = (start + timedelta(days=1)).replace(hour=9, minute=30, fold=0)
    return start.astimezone(at.tzinfo)


__all__ = ["CANCEL", "CLOSE", "MODIFY", "PARTIAL_CLOSE", "Oracle", "Violation"]
