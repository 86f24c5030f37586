"""One trading account as a frozen value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

from risk_manager.domain.call_brake import Brake
from risk_manager.domain.decisions import Action, Outcome, Severity
from risk_manager.domain.holdings import Order, Position
from risk_manager.domain.in_play import InPlay
from risk_manager.domain.layered import ManyOrders
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.locks import Lock, LockKey
from risk_manager.domain.memo import Memo
from risk_manager.domain.money import Band
from risk_manager.domain.records import LIST_LAG, PositionRecord
from risk_manager.domain.trading_days import DAYS, TradingDays

# After a start enforcement waits for the first read of the broker, but no longer than this.
READ_FIRST = timedelta(seconds=3)


def _none() -> Mapping[Any, Any]:
    return MappingProxyType({})


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

    @cached_property
    def memo(self) -> Memo[Any]:
        """See `Account.days`."""
        return Memo()


MarkKey = tuple[str, str]

ENFORCER = "enforcer"
"""The rule id of marks that belong to enforcement itself and not to a rule."""


@dataclass(frozen=True, kw_only=True)
class Breach:
    """A crossed limit: one per rule and subject, with a count of how often it began."""

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
    """A position that is being closed: it is driven to flat until verified, then the closing ends.

    A closing is bound to the episode, so that it can never close a position opened afterwards. The
    orders named are cancelled with the position, as an orphaned stop would open a new one.
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

    `tries` counts this try and those before it. `refused` counts refusals in a row with the same
    `refused_code`. `shown_at` is when the account was first known to hold nothing more for the
    action to close. `leapt_at` is when the clock last jumped forward while the call was in flight.
    `is_behind`: at the time of asking, a closing fill was known that the position did not show yet.
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
    leapt_at: datetime | None = None
    is_behind: bool = False

    @property
    def in_flight(self) -> bool:
        return self.settled_at is None

    @property
    def under_way_since(self) -> datetime:
        """The instant from which the time in flight counts."""
        return self.leapt_at or self.asked_at


@dataclass(frozen=True, slots=True)
class Ended:
    """The statement that an order no longer works.

    `at` is when it arrived, `updated_at` the gateway's own timestamp (None: not given).
    `cancelled`: we had sent a cancel. `seen_at`: when the order was first reported to us as working
    (None: it never was).
    """

    at: datetime
    updated_at: datetime | None = None
    cancelled: bool = False
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outlived:
    """An order that still works although our cancel was confirmed: how often, and since when."""

    times: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Dispute:
    """Two statements about an order or a position that cannot both be true.

    A list asked for at `decided_from` or later decides. `left_out`: a list did not show what the
    stream had just reported.
    """

    contract_id: str
    decided_from: datetime
    left_out: bool = False


@dataclass(frozen=True, kw_only=True)
class Account:
    """Everything known about one account.

    `reported_at` is when the broker's last report arrived in this run (None: none yet), and
    `reported_as_of` when it was asked for. `resumed_at` is when this run took over the account as
    an earlier run had stored it.
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
    # When the stream last reported a contract or order, to tell newer from older reports. The
    # fields from here to `ended` need not survive a restart: each run begins with a list.
    heard: Mapping[str, datetime] = field(default_factory=_none)
    finished: Mapping[int, Ended] = field(default_factory=_none)
    outlived: Mapping[int, Outlived] = field(default_factory=_none)
    disputes: Mapping[str, Dispute] = field(default_factory=_none)
    # Orders missing from a list, with the instant that list was asked for.
    unlisted: Mapping[int, datetime] = field(default_factory=_none)
    # By contract: when an order that may have closed the position was last found to have ended.
    exit_over: Mapping[str, datetime] = field(default_factory=_none)
    # The position that ended last in a contract.
    ended: Mapping[str, Position] = field(default_factory=_none)
    next_episode: int = 1
    next_action: int = 1

    FOLLOWS_FROM: ClassVar[Mapping[str, frozenset[str]]] = {
        "_orders_in": frozenset({"orders"}),
        "_contract_ids": frozenset({"orders", "positions"}),
        "_marks_of": frozenset({"marks"}),
        "_marks_by_kind": frozenset({"marks"}),
        "days": frozenset({"marks"}),
        "breached": frozenset({"breaches"}),
        "priced": frozenset({"positions"}),
        "in_play": frozenset(),  # kept over every change: its reader compares the contracts
    }
    """Cached properties, with the fields each is derived from: see `fast_replace`."""

    @property
    def contracts_held(self) -> int:
        """Sum of absolute sizes over all contracts."""
        return sum([abs(p.net) for p in self.positions.values()])

    def net(self, contract_id: str) -> int:
        position = self.positions.get(contract_id)
        return position.net if position else 0

    # Cached per account value: every change makes a new value.

    @cached_property
    def _orders_in(self) -> Mapping[str, list[Order]]:
        by_contract: dict[str, list[Order]] = {}
        for order in self.orders.values():
            by_contract.setdefault(order.contract_id, []).append(order)
        return by_contract

    @cached_property
    def _contract_ids(self) -> tuple[str, ...]:
        orders = self.orders
        named = orders.contracts if type(orders) is ManyOrders else self._orders_in
        return tuple(sorted({*self.positions, *named}))

    @cached_property
    def _marks_of(self) -> Mapping[str, list[Mark]]:
        by_rule: dict[str, list[Mark]] = {}
        for mark in self.marks.values():
            by_rule.setdefault(mark.rule_id, []).append(mark)
        return by_rule

    @cached_property
    def _marks_by_kind(self) -> Mapping[str, list[Mark]]:
        by_kind: dict[str, list[Mark]] = {}
        for mark in self._marks_of.get(ENFORCER, ()):
            by_kind.setdefault(mark.subject.partition(":")[0], []).append(mark)
        return by_kind

    @cached_property
    def days(self) -> TradingDays:
        """The trading days that have ended, and the balance with which today began."""
        marks = self.marks_of(DAYS)
        if not marks:
            return TradingDays.of(())
        # Kept with the newest of them, as most changes of marks are none of these.
        *earlier, newest = marks
        known = newest.memo.get(DAYS)
        if known is None or known[0] != earlier:
            days = TradingDays.of([(m.subject, m.value) for m in marks])
            known = newest.memo[DAYS] = (earlier, days)
        kept: TradingDays = known[1]
        return kept

    @cached_property
    def breached(self) -> frozenset[str]:
        """The ids of the rules with an active breach."""
        return frozenset([b.rule_id for b in self.breaches.values() if b.active])

    @cached_property
    def priced(self) -> Memo[Any]:
        """The open P&L of these positions, as `View` has worked it out last."""
        return Memo()

    @cached_property
    def in_play(self) -> Memo[InPlay]:
        """The contracts in play, as `View` has found them last: most changes leave them alone."""
        return Memo()

    @cached_property
    def memo(self) -> Memo[tuple[object, Band, datetime]]:
        """See `engine.quiet_bands`."""
        return Memo()

    def orders_in(self, contract_id: str) -> Sequence[Order]:
        orders = self.orders
        if type(orders) is ManyOrders:
            return orders.in_contract(contract_id)
        return self._orders_in.get(contract_id, ()) if orders else ()

    def contract_ids(self) -> tuple[str, ...]:
        """Every contract with something open or working, in a stable order."""
        return self._contract_ids

    def is_back(self, contract_id: str) -> bool:
        """Whether the position held has the id and creation time of the one that ended last.

        It may be a late message about the ended position, or the gateway may reuse ids. The two
        cases cannot be told apart.
        """
        held = self.positions.get(contract_id)
        return held is not None and self._is_the_ended(
            contract_id, held.gateway_id, held.created_at
        )

    def is_of_ended(self, record: PositionRecord) -> bool:
        """Whether a record has the id and creation time of the position that ended last."""
        return self._is_the_ended(record.contract_id, record.id, record.creation_timestamp)

    def _is_the_ended(self, contract_id: str, gateway_id: int, created_at: datetime | None) -> bool:
        over = self.ended.get(contract_id)
        return (
            over is not None
            and created_at is not None
            and (gateway_id, created_at) == (over.gateway_id, over.created_at)
        )

    def disputed(self, contract_id: str) -> datetime | None:
        """From when on a list decides the disputes in a contract; None where there are none."""
        if not self.disputes:
            return None
        found = [d.decided_from for d in self.disputes.values() if d.contract_id == contract_id]
        return max(found, default=None)

    def is_gone(self, order_id: int) -> bool:
        """Whether a list has confirmed that an order no longer works."""
        ended, listed_as_of = self.finished.get(order_id), self.reported_as_of
        return (
            order_id not in self.orders
            and ended is not None
            and listed_as_of is not None
            and listed_as_of >= ended.at + LIST_LAG
        )

    def marks_of(self, rule_id: str) -> Sequence[Mark]:
        """The marks of one rule, oldest first."""
        return self._marks_of.get(rule_id, ()) if self.marks else ()

    @property
    def has_own_marks(self) -> bool:
        """Whether enforcement itself, and not only a rule, remembers something."""
        return bool(self.marks and self._marks_by_kind)

    def own_marks(self, kind: str) -> Sequence[Mark]:
        """The enforcer's own marks of one kind ("left" for "left:CON..."), oldest first."""
        return self._marks_by_kind.get(kind, ()) if self.marks else ()

    def is_only_remembered(self, now: datetime) -> bool:
        """Whether positions and orders are known only from an earlier run.

        Acting on them could remove the stops of a position opened meanwhile, close it, or lock the
        account because of a position that no longer exists.
        """
        return (
            self.reported_at is None
            and self.resumed_at is not None
            and now - self.resumed_at < READ_FIRST
        )

    @property
    def is_flat(self) -> bool:
        """Whether there is no open position and no working order."""
        return not self.positions and not self.orders
