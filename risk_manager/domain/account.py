"""One trading account as a frozen value, and how facts from the gateway change it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from risk_manager.domain import layered
from risk_manager.domain.brake import Brake
from risk_manager.domain.decisions import (
    Action,
    CancelOrder,
    ClosePosition,
    MoveStop,
    Outcome,
    ReducePosition,
    Severity,
)
from risk_manager.domain.evolve import evolve
from risk_manager.domain.layered import ManyOrders
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.locks import Lock, LockKey
from risk_manager.domain.money import Band, Valuation
from risk_manager.domain.records import (
    LIST_LAG,
    OWN_TAG,
    AccountRecord,
    OrderRecord,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionRecord,
    PositionType,
)
from risk_manager.domain.symbols import Contract

if TYPE_CHECKING:
    from risk_manager.domain.rulebook import Rulebook

ORDERS_REMEMBERED = 500

# A stated average so far (as a fraction, and in ticks) from that of the fills is not believed.
MISSTATED = Decimal("0.2")
MISSTATED_TICKS = 100

# After a start the broker is read before anything is done, but not waited for longer than this.
READ_FIRST = timedelta(seconds=3)

TERMINAL = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.REJECTED}
)
STOP_TYPES = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})


def _none() -> Mapping[Any, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Position:
    """What is held of one contract. `net` is signed (long > 0) and never 0.

    `sided` is False when the gateway did not say which side: then `net` counts gross and no P&L
    is known. `episode` numbers the life of this position from flat (or reversal) to flat (or
    reversal); whatever hangs on a position hangs on its episode. `average_price` None: unknown;
    `average_stated` False: the broker's last word left it out, or was far from that of the fills,
    which counts.
    """

    contract_id: str
    net: int
    episode: int
    opened_at: datetime
    increased_at: datetime
    average_price: Decimal | None = None
    average_stated: bool = True
    created_at: datetime | None = None
    gateway_id: int = 0
    sided: bool = True
    valuation: Valuation | None = None

    @property
    def size(self) -> int:
        return abs(self.net)

    @property
    def side(self) -> int:
        """+1 long, -1 short."""
        return 1 if self.net > 0 else -1

    @cached_property
    def subject(self) -> str:
        """The episode by name, for what rules remember or say about it."""
        return f"{self.contract_id}:{self.episode}"

    @cached_property
    def worked_out(self) -> dict[str, tuple[object, ...]]:
        """What rules (by id) have worked out about this very value; a changed one begins anew."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Order:
    """A working order (not terminal). `seen_at` is when we first heard of it."""

    id: int
    contract_id: str
    type: OrderType
    status: OrderStatus
    side: OrderSide
    size: int
    seen_at: datetime
    filled: int = 0
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    custom_tag: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def remaining(self) -> int:
        return max(self.size - self.filled, 0)

    @property
    def is_own(self) -> bool:
        """Whether this program placed it."""
        return self.custom_tag is not None and self.custom_tag.startswith(OWN_TAG)

    @property
    def is_stop(self) -> bool:
        return self.type in STOP_TYPES


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What a rule remembers about one subject: a deadline, a flag, a high-water mark.

    `due_at` is absolute (UTC). `value` holds plain text, numbers and booleans only.
    """

    rule_id: str
    subject: str
    set_at: datetime
    due_at: datetime | None = None
    value: str = ""


MarkKey = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Breach:
    """One crossing of a limit: a row per rule and subject, counted each time it begins anew."""

    rule_id: str
    subject: str
    first_at: datetime
    last_at: datetime
    count: int
    trading_date: date
    severity: Severity = Severity.BREACH
    active: bool = True


@dataclass(frozen=True, kw_only=True)
class Closing:
    """A position that has been decided on: it is driven to flat until verified, then let go.

    Bound to the episode, so that it can never close what the trader opens afterwards; the
    orders named die with it, as an orphaned stop would open a new position.
    """

    contract_id: str
    episode: int
    since: datetime
    rule_ids: tuple[str, ...]
    reason: str
    order_ids: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """An action asked of the broker: in flight until settled, then a brake on repeating it.

    `tries` counts this one and those before it; `refused` how many in a row the broker
    refused with the same `refused_code`. `shown_at` is when the account was first known to hold
    nothing any more of what the action was to close. `is_behind`: when it was asked for, an
    execution had been told of that the position known then did not show yet.
    """

    action: Action
    asked_at: datetime
    tries: int
    rule_ids: tuple[str, ...]
    reason: str
    refused: int = 0
    refused_code: int | None = None
    settled_at: datetime | None = None
    outcome: Outcome | None = None
    not_before: datetime | None = None
    shown_at: datetime | None = None
    is_behind: bool = False

    @property
    def in_flight(self) -> bool:
        return self.settled_at is None


@dataclass(frozen=True, slots=True)
class Ended:
    """The word that an order no longer works: when it came, and as of when it was true by the
    gateway's clock (None: it did not say). `cancelled`: a cancel of ours had been sent."""

    at: datetime
    updated_at: datetime | None = None
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Outlived:
    """An order that works although a cancel of ours was confirmed: how often, and since when."""

    times: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Dispute:
    """Two words about an order or a position that cannot both be true. A list asked for from
    `decided_from` on decides. `left_out`: a list leaves out what the stream has just told."""

    contract_id: str
    decided_from: datetime
    left_out: bool = False


@dataclass(frozen=True, kw_only=True)
class Account:
    """Everything known about one account. `reported_at` None: not yet seen at the broker.

    `reported_as_of` is when that word was asked for, in this run. `resumed_at` is when this run
    took over what an earlier one remembered.
    """

    id: int
    trading_date: date
    name: str = ""
    balance: Decimal | None = None
    can_trade: bool | None = None
    can_trade_since: datetime | None = None
    simulated: bool | None = None
    reported_at: datetime | None = None
    reported_as_of: datetime | None = None
    resumed_at: datetime | None = None
    positions: Mapping[str, Position] = field(default_factory=_none)
    orders: Mapping[int, Order] = field(default_factory=_none)
    ledger: Ledger = field(default_factory=Ledger)
    locks: Mapping[LockKey, Lock] = field(default_factory=_none)
    ceilings: Mapping[str, int] = field(default_factory=_none)
    marks: Mapping[MarkKey, Mark] = field(default_factory=_none)
    breaches: Mapping[MarkKey, Breach] = field(default_factory=_none)
    closings: Mapping[str, Closing] = field(default_factory=_none)
    attempts: Mapping[str, Attempt] = field(default_factory=_none)
    failed_rules: frozenset[str] = frozenset()
    brake: Brake = field(default_factory=Brake)
    # When the stream spoke last of a contract or order, to tell newer from older reports. This and
    # what follows, to `ended`, need not outlive the run: the next one begins with a list.
    heard: Mapping[str, datetime] = field(default_factory=_none)
    finished: Mapping[int, Ended] = field(default_factory=_none)
    outlived: Mapping[int, Outlived] = field(default_factory=_none)
    disputes: Mapping[str, Dispute] = field(default_factory=_none)
    # Orders that a list left out, and when the list was asked for.
    unlisted: Mapping[int, datetime] = field(default_factory=_none)
    # When an order that may have closed the position in a contract was last found to be over.
    exit_over: Mapping[str, datetime] = field(default_factory=_none)
    # The position that ended last in a contract.
    ended: Mapping[str, Position] = field(default_factory=_none)
    next_episode: int = 1
    next_action: int = 1

    @property
    def contracts_held(self) -> int:
        """Sum of absolute sizes over all contracts."""
        return sum(p.size for p in self.positions.values())

    def net(self, contract_id: str) -> int:
        position = self.positions.get(contract_id)
        return position.net if position else 0

    # Worked out once for each account value: the next change makes a new one.

    @cached_property
    def _orders_in(self) -> Mapping[str, list[Order]]:
        by_contract: dict[str, list[Order]] = {}
        for order in self.orders.values():
            by_contract.setdefault(order.contract_id, []).append(order)
        return by_contract

    @cached_property
    def _contract_ids(self) -> tuple[str, ...]:
        orders = self.orders
        named = orders.contracts if isinstance(orders, ManyOrders) else self._orders_in
        return tuple(sorted({*self.positions, *named}))

    @cached_property
    def _marks_of(self) -> Mapping[str, list[Mark]]:
        by_rule: dict[str, list[Mark]] = {}
        for mark in self.marks.values():
            by_rule.setdefault(mark.rule_id, []).append(mark)
        return by_rule

    @cached_property
    def quiet(self) -> dict[str, tuple["Rulebook", Band]]:
        """Contract -> the prices between which no quote of it says anything new, under which
        rules."""
        return {}

    def orders_in(self, contract_id: str) -> Sequence[Order]:
        orders = self.orders
        if isinstance(orders, ManyOrders):
            return orders.in_contract(contract_id)
        return self._orders_in.get(contract_id, ()) if orders else ()

    def contract_ids(self) -> tuple[str, ...]:
        """Every contract with something open or working, in a stable order."""
        return self._contract_ids

    def disputed(self, contract_id: str) -> datetime | None:
        """From when on a list decides on what is disputed of a contract; None: nothing is."""
        if not self.disputes:
            return None
        found = [d.decided_from for d in self.disputes.values() if d.contract_id == contract_id]
        return max(found, default=None)

    def is_gone(self, order_id: int) -> bool:
        """Whether a list has borne out the word that an order no longer works."""
        ended, listed_as_of = self.finished.get(order_id), self.reported_as_of
        return (
            order_id not in self.orders
            and ended is not None
            and listed_as_of is not None
            and listed_as_of >= ended.at + LIST_LAG
        )

    def marks_of(self, rule_id: str) -> Sequence[Mark]:
        """What one rule remembers, oldest first."""
        return self._marks_of.get(rule_id, ()) if self.marks else ()

    def is_only_remembered(self, now: datetime) -> bool:
        """Whether nothing but the last run speaks for what is held.

        To judge or act on that may strip the protection of a position opened meanwhile, or close
        a new one, or lock, for an old one's sake.
        """
        return (
            self.reported_at is None
            and self.resumed_at is not None
            and now - self.resumed_at < READ_FIRST
        )

    @property
    def is_flat(self) -> bool:
        """Nothing open and nothing working."""
        return not self.positions and not self.orders


def with_position(
    account: Account, record: PositionRecord, at: datetime, contract: Contract | None
) -> Account:
    """The account after the gateway stated this position."""
    held = account.positions.get(record.contract_id)
    if held is not None and _is_of_an_earlier_one(record, held):
        return account
    net = -record.size if record.type is PositionType.SHORT else record.size
    if net == 0:
        if held is None:
            return account
        account = evolve(account, positions=_without(account.positions, record.contract_id))
        return _ended(account, held)
    sided = record.type is not PositionType.UNDEFINED
    goes_on = held is not None and (held.net > 0) == (net > 0) and not _is_another(record, held)
    known = held.average_price if held is not None and goes_on else None
    average, by_fills = record.average_price or None, None
    if sided and (average is None or average != known):
        by_fills = account.ledger.average_of(record.contract_id, net)
    if average is not None and by_fills is not None and _is_far(average, by_fills, contract):
        average = None
    stated = average is not None
    if average is None:
        # What is taken off leaves the average as it was.
        took_off = held is not None and abs(net) <= held.size
        average = known if known is not None and took_off else by_fills
    if held is not None and goes_on:
        grew = abs(net) > held.size
        position = evolve(
            held,
            net=net,
            sided=sided,
            average_price=average,
            average_stated=stated,
            increased_at=at if grew else held.increased_at,
            created_at=held.created_at or record.creation_timestamp,
            gateway_id=record.id,
            valuation=_valuation(net, average, sided, contract),
        )
        if position == held:
            return account
    else:
        position = Position(
            contract_id=record.contract_id,
            net=net,
            sided=sided,
            average_price=average,
            average_stated=stated,
            episode=account.next_episode,
            opened_at=at,
            increased_at=at,
            created_at=record.creation_timestamp,
            gateway_id=record.id,
            valuation=_valuation(net, average, sided, contract),
        )
        account = evolve(account, next_episode=account.next_episode + 1)
        if held is not None:
            account = _ended(account, held)
    return evolve(account, positions={**account.positions, record.contract_id: position})


def _is_far(average: Decimal, by_fills: Decimal, contract: Contract | None) -> bool:
    """Whether an average cannot be that of these fills, however it is worked out."""
    least = MISSTATED_TICKS * contract.tick_size if contract is not None else 0
    return abs(average - by_fills) > max(MISSTATED * abs(by_fills), least)


def averaged(account: Account, contracts: Mapping[str, Contract]) -> Account:
    """The account with the fills' average where the broker has stated none and none is known."""
    for position in account.positions.values():
        if position.average_price is None and position.sided:
            contract_id = position.contract_id
            average = account.ledger.average_of(contract_id, position.net)
            if average is not None:
                known = evolve(position, average_price=average)
                known = revalued(known, contracts.get(contract_id))
                positions = {**account.positions, contract_id: known}
                account = evolve(account, positions=positions)
    return account


def _ended(account: Account, position: Position) -> Account:
    return evolve(account, ended={**account.ended, position.contract_id: position})


def is_back(account: Account, contract_id: str) -> bool:
    """Whether what is held is by id and age the position that ended last: a late word of it, or,
    which is not known, a gateway that lets an id live on."""
    held, over = account.positions.get(contract_id), account.ended.get(contract_id)
    return (
        held is not None
        and over is not None
        and held.created_at is not None
        and (held.gateway_id, held.created_at) == (over.gateway_id, over.created_at)
    )


def _is_another(record: PositionRecord, held: Position) -> bool:
    """Whether this was opened after the one we hold had ended, though nobody told us of the end."""
    return (
        record.id != held.gateway_id
        and record.creation_timestamp is not None
        and held.created_at is not None
        and record.creation_timestamp > held.created_at
    )


def _is_of_an_earlier_one(record: PositionRecord, held: Position) -> bool:
    """Whether this is a late word of a position that had ended before the one we hold began."""
    return (
        record.id != held.gateway_id
        and record.creation_timestamp is not None
        and held.created_at is not None
        and record.creation_timestamp < held.created_at
    )


def revalued(position: Position, contract: Contract | None) -> Position:
    """With its P&L arithmetic prepared, where side, average price and contract are known."""
    valuation = _valuation(position.net, position.average_price, position.sided, contract)
    return position if valuation == position.valuation else evolve(position, valuation=valuation)


def _valuation(
    net: int, average: Decimal | None, sided: bool, contract: Contract | None
) -> Valuation | None:
    if contract is None or average is None or not sided:
        return None
    return Valuation.of(net, average, contract)


def with_order(account: Account, record: OrderRecord, at: datetime) -> Account:
    """The account after the stream stated this order.

    A word counts by when it was true. That an order has ended is taken back by a newer word; words
    that cannot be told apart by their age are a dispute, which the list decides.
    """
    known = account.orders.get(record.id)
    ended = account.finished.get(record.id)
    if record.status in TERMINAL:
        if known is None:
            if ended is None:
                return _with_ended(account, record.id, at, record.update_timestamp)
            if not _is_older(ended.updated_at, record.update_timestamp):
                return account
            # Told again: a list has had the time to know it since the first word.
            ended = Ended(ended.at, record.update_timestamp, ended.cancelled)
            return evolve(account, finished={**account.finished, record.id: ended})
        if _is_older(record.update_timestamp, known.updated_at):
            return _disputed(account, known.id, known.contract_id, at + LIST_LAG)
        return _over(account, known, at, record.update_timestamp)
    if ended is not None:
        if _is_older(record.update_timestamp, ended.updated_at):
            return account
        if not _is_older(ended.updated_at, record.update_timestamp):
            # A word that is only repeated does not put off the decision.
            return _disputed(account, record.id, record.contract_id, max(at, ended.at + LIST_LAG))
        account = _disputed(account, record.id, record.contract_id, at + LIST_LAG)
    elif is_late(account, record):
        return _disputed(account, record.id, record.contract_id, at)
    elif known is not None and _is_older(record.update_timestamp, known.updated_at):
        return account
    return _working(account, record, at)


def _working(account: Account, record: OrderRecord, at: datetime) -> Account:
    """With this order working, whatever was known of it."""
    known = account.orders.get(record.id)
    order = Order(
        id=record.id,
        contract_id=record.contract_id,
        type=record.type,
        status=record.status,
        side=record.side,
        size=record.size,
        filled=record.fill_volume,
        limit_price=record.limit_price,
        stop_price=record.stop_price,
        custom_tag=record.custom_tag,
        seen_at=known.seen_at if known else at,
        created_at=record.creation_timestamp,
        updated_at=record.update_timestamp,
    )
    if order == known:
        return account
    ended = account.finished.get(order.id)
    if ended is not None:
        if ended.cancelled:
            before = account.outlived.get(order.id)
            times = before.times + 1 if before is not None else 1
            outlived = _capped({**account.outlived, order.id: Outlived(times, at)})
            account = evolve(account, outlived=outlived)
        account = evolve(account, finished=_without(account.finished, order.id))
    return evolve(account, orders=layered.with_order(account.orders, order))


def without_order(account: Account, order_id: int, at: datetime) -> Account:
    """The account after the gateway said it knows no such working order."""
    order = account.orders.get(order_id)
    return account if order is None else _over(account, order, at)


def is_told_freshly(account: Account, key: str, asked_at: datetime) -> bool:
    """Whether the stream has spoken of an order ("order:7"), a contract or the account so lately
    that what was asked for at this instant need not know it yet."""
    heard = account.heard.get(key)
    return heard is not None and asked_at < heard + LIST_LAG


def is_for_news(account: Account, action: Action, now: datetime) -> bool:
    """Whether an action is for an order or a position that the stream has told of so lately that
    REST may not know it."""
    if isinstance(action, CancelOrder | MoveStop):
        return action.order_id in account.orders and is_told_freshly(account, action.key, now)
    if not isinstance(action, ClosePosition | ReducePosition):
        return False
    held = account.positions.get(action.contract_id)
    return (
        held is not None
        and held.episode == action.episode
        and opened_freshly(account, action.contract_id, now)
    )


def with_record_reported(
    account: Account, record: AccountRecord, asked_at: datetime, at: datetime
) -> Account:
    """The account after a list stated balance and permission. The permission that the stream has
    stated so shortly before that the list need not know it stands."""
    heard, may = account.heard.get("account"), account.can_trade
    if heard is not None and heard > asked_at:
        return account
    differs = None not in (record.can_trade, may) and record.can_trade is not may
    if heard is not None and differs and is_told_freshly(account, "account", asked_at):
        account = with_dispute(account, "account", Dispute("", heard + LIST_LAG))
        record = record.model_copy(update={"can_trade": None})
    elif "account" in account.disputes:
        account = evolve(account, disputes=_without(account.disputes, "account"))
    return with_record(account, record, at)


def with_record(account: Account, record: AccountRecord, at: datetime) -> Account:
    """The account after the gateway stated balance and permission; what is missing stays."""
    can_trade = account.can_trade if record.can_trade is None else record.can_trade
    changed = evolve(
        account,
        name=account.name or record.name,  # the operator's nickname wins
        balance=account.balance if record.balance is None else record.balance,
        can_trade=can_trade,
        can_trade_since=account.can_trade_since if can_trade == account.can_trade else at,
        simulated=account.simulated if record.simulated is None else record.simulated,
    )
    return account if changed == account else changed


def with_positions_reported(
    account: Account,
    records: Iterable[PositionRecord],
    asked_at: datetime,
    at: datetime,
    contracts: Mapping[str, Contract],
) -> Account:
    """The account after a full list of positions, except where the stream spoke later.

    One that the stream has told of as new so shortly before that the list need not know it stands.
    """
    stated = {r.contract_id: r for r in records}
    for contract_id in sorted({*stated, *account.positions}):
        heard = account.heard.get(contract_id)
        if heard is not None and heard > asked_at:
            continue
        if contract_id not in stated and opened_freshly(account, contract_id, asked_at):
            decided_from = account.positions[contract_id].opened_at + LIST_LAG
            dispute = Dispute(contract_id, decided_from, left_out=True)
            account = with_dispute(account, contract_id, dispute)
            continue
        record = stated.get(contract_id) or PositionRecord(
            account_id=account.id, contract_id=contract_id, size=0
        )
        account = with_position(account, record, at, contracts.get(contract_id))
    return account


def opened_freshly(account: Account, contract_id: str, asked_at: datetime) -> bool:
    """Whether the stream has told of a new position so lately that what was asked for at this
    instant need not know it. A late word of one that has ended is none."""
    held, heard = account.positions.get(contract_id), account.heard.get(contract_id)
    return (
        held is not None
        and heard is not None
        and heard >= held.opened_at
        and asked_at < held.opened_at + LIST_LAG
        and not is_back(account, contract_id)
    )


def with_orders_reported(
    account: Account, records: Iterable[OrderRecord], asked_at: datetime, at: datetime
) -> Account:
    """The account after a full list of working orders.

    What the stream has told since, or so shortly before that the list need not know it, stands.
    """
    stated = {r.id: r for r in records}
    for record in stated.values():
        account = _with_listed(account, record, asked_at, at)
    for order in list(account.orders.values()):
        if order.id in stated or order.seen_at > asked_at:
            continue
        heard = account.heard.get(f"order:{order.id}")
        if heard is not None and heard > asked_at:
            continue
        if order.status is OrderStatus.SUSPENDED:
            if not _may_wait(account, order, stated, asked_at):
                account = _without_working(account, order, at)
        elif heard is not None and asked_at < heard + LIST_LAG:
            dispute = Dispute(order.contract_id, heard + LIST_LAG, left_out=True)
            account = with_dispute(account, f"order:{order.id}", dispute)
        else:
            unlisted = _capped({**account.unlisted, order.id: asked_at})
            account = evolve(_without_working(account, order, at), unlisted=unlisted)
    return account


def _may_wait(
    account: Account, child: Order, stated: Mapping[int, OrderRecord], asked_at: datetime
) -> bool:
    """Whether a suspended bracket child may be waiting for its entry.

    No list shows such children. They end with an event of their own, which may be lost; but
    without an entry that works none of them can be waiting.
    """
    return any(
        r.contract_id == child.contract_id and r.side is not child.side for r in stated.values()
    ) or any(
        o.side is not child.side and is_told_freshly(account, f"order:{o.id}", asked_at)
        for o in account.orders_in(child.contract_id)
    )


def _with_listed(
    account: Account, record: OrderRecord, asked_at: datetime, at: datetime
) -> Account:
    """The account after a list stated this order."""
    known = account.orders.get(record.id)
    ended = account.finished.get(record.id)
    if record.status in TERMINAL:
        is_news = known is not None and not is_told_freshly(account, f"order:{known.id}", asked_at)
        return _over(account, known, at, record.update_timestamp) if is_news and known else account
    if ended is not None and not _is_older(ended.updated_at, record.update_timestamp):
        decided_from = ended.at + LIST_LAG
        if asked_at < ended.at:
            return account
        if asked_at < decided_from:
            return _disputed(account, record.id, record.contract_id, decided_from)
    elif (
        known is not None
        and is_told_freshly(account, f"order:{known.id}", asked_at)
        and not _is_older(known.updated_at, record.update_timestamp)
    ):
        return account
    return _working(account, record, at)


def with_dispute(account: Account, key: str, dispute: Dispute) -> Account:
    """With it noted that two words about an order, a contract or the account differ."""
    if account.disputes.get(key) == dispute:
        return account
    return evolve(account, disputes={**account.disputes, key: dispute})


def without_disputes(account: Account, asked_at: datetime) -> Account:
    """The account without what a list of positions and orders, asked for then, has decided."""
    left = {
        k: d for k, d in account.disputes.items() if k == "account" or d.decided_from > asked_at
    }
    return account if len(left) == len(account.disputes) else evolve(account, disputes=left)


def _disputed(account: Account, order_id: int, contract_id: str, decided_from: datetime) -> Account:
    return with_dispute(account, f"order:{order_id}", Dispute(contract_id, decided_from))


def is_late(account: Account, record: OrderRecord) -> bool:
    """Whether the stream says of an order that it works, but as of before a list left it out."""
    return (
        record.id not in account.orders
        and record.status not in TERMINAL
        and _is_older(record.update_timestamp, account.unlisted.get(record.id))
    )


def _over(
    account: Account, order: Order, at: datetime, updated_at: datetime | None = None
) -> Account:
    account = _without_working(account, order, at)
    return _with_ended(account, order.id, at, updated_at)


def _with_ended(
    account: Account, order_id: int, at: datetime, updated_at: datetime | None
) -> Account:
    attempt = account.attempts.get(f"order:{order_id}")
    cancelled = attempt is not None and isinstance(attempt.action, CancelOrder)
    ended = Ended(at, updated_at, cancelled)
    return evolve(account, finished=_capped({**account.finished, order_id: ended}))


def _without_working(account: Account, order: Order, at: datetime) -> Account:
    orders = layered.without_order(account.orders, order.id)
    if account.net(order.contract_id) * order.side.sign >= 0:
        return evolve(account, orders=orders)
    return evolve(account, orders=orders, exit_over={**account.exit_over, order.contract_id: at})


def _is_older(stated: datetime | None, known: datetime | None) -> bool:
    return stated is not None and known is not None and stated < known


def _without[K, V](mapping: Mapping[K, V], key: K) -> Mapping[K, V]:
    return {k: v for k, v in mapping.items() if k != key}


def _capped[V](orders: dict[int, V]) -> Mapping[int, V]:
    while len(orders) > ORDERS_REMEMBERED:
        del orders[next(iter(orders))]
    return orders
