"""The messages of the feed: the envelope, and the data of each message type.

Field names are the names on the wire. The four messages that the gateway has as well keep its
camelCase. Money and prices are JSON numbers, times are RFC 3339 UTC ending in Z, and None means
unknown, never zero. Readers ignore types and fields they do not know. Fields such as `status`,
`policy` or `phase` are plain strings, so that a reader survives a new value.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

PROTOCOL = 1
HEARTBEAT_S = 2.0

STARTING = "STARTING"
RUNNING = "RUNNING"  # enforcement is armed
DEGRADED = "DEGRADED"
STOPPING = "STOPPING"
ERROR = "ERROR"

CLOSED_SLOW = 1013  # the close code for a reader that fell behind and should reconnect


# --- parts ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRow:
    """`net` is signed (long > 0). `unrealised` in account currency before fees."""

    contract_id: str
    symbol: str  # ESZ6, or the root while the contract is unresolved
    root: str
    net: int
    average_price: float | None
    unrealised: float | None
    opened_at: datetime
    age_s: float
    sided: bool = True  # False: the gateway did not say which side, `net` is the bare size
    closing: bool = False  # being driven to flat by the daemon


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """A working order. `type`, `side` and `status` in words, sizes in contracts.

    `role`: entry, protective, target, reversing (closes the position and opens the other side),
    orphan (left behind by a position that is gone; being cancelled); empty: not known.
    """

    order_id: int
    contract_id: str
    symbol: str
    type: str  # limit, market, stop_limit, stop, trailing_stop, join_bid, join_ask, unknown
    side: str  # buy, sell
    status: str  # open, pending, suspended, ...
    size: int
    filled: int
    limit_price: float | None
    stop_price: float | None
    age_s: float
    custom_tag: str | None = None
    role: str = ""
    ticks_away: int | None = None  # of an exit: from the present price to the order's
    result: float | None = None  # of an exit: what its lots make at its price, before fees


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteRow:
    """The newest prices of one contract. `fresh` is False once rules no longer judge by them."""

    contract_id: str
    symbol: str
    bid: float | None
    ask: float | None
    last: float | None
    at: datetime
    age_ms: int
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRow:
    """One lock in force. `expires_at` None: it ends by the event that `release` names."""

    lockout_id: str  # stable while the lock is in force
    rule_id: str
    scope: str  # account, root:ES, contract:CON.F...
    policy: str  # flat, no_entries
    kind: str  # hard, cooldown, session, restriction, block, manual
    release: str  # time, reset, session_start, can_trade, config, manual
    reason: str
    set_at: datetime
    expires_at: datetime | None
    admin_may_clear: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineRow:
    """An absolute time at which a rule acts."""

    rule_id: str
    subject: str
    due_at: datetime
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterRow:
    """How far an account is from one limit. `used` is the fraction consumed (1.0 is the limit)."""

    rule_id: str
    spec_id: str
    title: str
    state: str  # ok, warn, breach, unknown
    sentence: str
    used: float | None = None
    current: float | None = None
    limit: float | None = None
    headroom: float | None = None
    unit: str = ""
    shadow: bool = False  # this rule decides and reports, and sends nothing to the broker
    counts_from: datetime | None = None  # loosened today: an older version decides until then
    holds_until: datetime | None = None  # an older version of a rule that was edited today


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRow:
    """One trade from flat to flat, or what it has closed so far; `net` is after fees."""

    order_id: int
    contract_id: str
    symbol: str
    size: int
    pnl: float
    fees: float
    net: float
    closed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRow:
    """Something a person should know. `code` is stable; `severity`: info, warning, critical."""

    at: datetime
    code: str
    message: str
    severity: str
    account_id: int | None = None
    about: str = ""  # the matter, where it has an end
    over_at: datetime | None = None  # when it ended; equal to `at` in the alarm that tells the end

    def is_ended_by(self, end: "AlarmRow") -> bool:
        """Whether a later alarm says that the matter of this one is over."""
        return (
            end.over_at is not None
            and self.over_at is None
            and self.about == end.about != ""
            and end.account_id in (None, self.account_id)
        )


def with_alarm(alarms: Iterable[AlarmRow], alarm: AlarmRow) -> tuple[AlarmRow, ...]:
    """Alarms, newest first, with one more: those whose matter it ends are over."""
    known = (replace(a, over_at=alarm.at) if a.is_ended_by(alarm) else a for a in alarms)
    return (alarm, *known)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtRow:
    """Something not known well enough now to call all well. `account_id` None: everyone's.

    `kind`: stale_quotes, hub_down, reads_failing, positions_differ, pnl_differs, clock_turned,
    suspended, slow, database_lost, alerts_failing, data_ended, file_differs, other_gateway.
    `critical`: it has lasted too long for an open position.
    """

    kind: str
    since: datetime
    age_s: float
    reason: str
    account_id: int | None = None
    subject: str = ""  # a contract id, a hub, ...
    critical: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRow:
    """One stream of the gateway. `last_message_age_s` None: nothing heard, or not measured."""

    state: str  # connecting, up, down
    since: datetime
    reason: str = ""
    last_message_age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRow:
    """The gateway's REST side; None where it is not known."""

    ok: bool | None = None
    latency_ms: float | None = None
    budget_left: int | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseRow:
    """The daemon's own memory; None where it is not known."""

    ok: bool | None = None
    size_bytes: int | None = None
    last_write_at: datetime | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """Facts about the daemon that are not in the state, supplied by the daemon on request."""

    rest: RestRow = RestRow()
    db: DatabaseRow = DatabaseRow()
    token_expires_at: datetime | None = None
    hub_message_age_s: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


# --- parts of a history ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultAt:
    """A result of the day, net of fees, and when it stood."""

    at: datetime
    net: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultStretch:
    """The day's result with open positions during a stretch of time that begins at `at`."""

    at: datetime
    low: float
    high: float
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitLine:
    """A limit on the day's result: `net` is the result, net of fees, at which it is reached."""

    rule_id: str
    title: str
    net: float
    counts_open: bool  # the P&L of open positions counts as well
    shadow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeSums:
    """The finished trades of a day, of one product or of all (`symbol` empty). Net of fees.

    A trade won with more than zero and lost with less. None: there is no such trade.
    """

    symbol: str
    trades: int
    won: int
    lost: int
    net: float
    best: float | None
    worst: float | None
    average: float | None
    average_won: float | None
    average_lost: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCourse:
    """The course of the trading day of one account. All results are net of fees.

    `total` holds the result with open positions as it was watched, from `watched_since` on (None:
    not watched yet today). `high`, `low` and `drawdown`, the greatest fall below an earlier high
    and when it was reached, are of the same figure.
    """

    trading_date: str
    starts_at: datetime
    ends_at: datetime
    realised: tuple[ResultAt, ...]  # after executions, oldest first, at most 400
    total: tuple[ResultStretch, ...]  # oldest first, at most 400
    watched_since: datetime | None
    high: ResultAt | None
    low: ResultAt | None
    drawdown: ResultAt | None
    limits: tuple[LimitLine, ...]  # in force now
    sums: tuple[TradeSums, ...]  # of all trades first, then of each product


@dataclass(frozen=True, slots=True, kw_only=True)
class DayTrade:
    """One trade of the day that has closed lots. `realised_after` is the day's net result then."""

    contract_id: str
    symbol: str
    side: str  # long, short
    size: int  # lots closed
    price: float  # of the newest close
    net: float
    fees: float
    opened_at: datetime
    closed_at: datetime
    realised_after: float
    is_over: bool  # False: some lots are still open


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult:
    """A finished trading day, as the database has it."""

    trading_date: str
    net: float
    gross: float
    fees: float
    executions: int
    end_balance: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastLock:
    """A lock of the database, in force or over. `cleared_at` None: it is in force."""

    rule_id: str
    scope: str
    policy: str
    kind: str
    release: str
    reason: str
    set_at: datetime
    expires_at: datetime | None
    cleared_at: datetime | None
    cleared_by: str
    trading_date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcementTotals:
    """Counts of a trading day, of all entries that name exactly these rules."""

    rule_ids: tuple[str, ...]
    breaches: int  # decisions of severity breach or critical that were acted on
    shadowed: int  # the same, decided only
    closes: int  # positions closed or reduced, confirmed
    cancels: int
    stops: int  # placed or moved
    failed: int
    uncertain: int
    slowest_ms: float | None  # of the confirmed calls
    locks: int = 0  # of the breaches: those that locked
    pauses: int = 0  # of the breaches: those that paused entries for a while


# --- what seldom changes --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketDay:
    """The session of one trading date. `opens_at` and `closes_at` None: shut.

    It opens on the evening before its date. `differs`: closed, early_close, late_open; empty: an
    ordinary day.
    """

    date: str
    opens_at: datetime | None
    closes_at: datetime | None
    differs: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRow:
    """The coming sessions of products that share them. `known`: the calendar lists them."""

    group: str
    products: tuple[str, ...]
    days: tuple[MarketDay, ...]
    known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenHours:
    """Hours in which trading is allowed, half-open."""

    opens_at: datetime
    closes_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedHours:
    """The hours in which a rule lets some products be traded, on the accounts named."""

    rule_id: str
    title: str
    accounts: tuple[int, ...]
    products: tuple[str, ...]
    hours: tuple[OpenHours, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRow:
    """A scheduled release, and the window that a rule keeps around it on the accounts named.

    The window is half-open. `products` empty: all. `is_flat`: nothing may be open in it; else
    nothing may be entered.
    """

    rule_id: str
    title: str
    accounts: tuple[int, ...]
    name: str
    at: datetime
    starts_at: datetime
    ends_at: datetime
    products: tuple[str, ...]
    is_flat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleText:
    """A rule in plain sentences, with its configured figures."""

    account_id: int
    rule_id: str
    spec_id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingChange:
    """One edited setting that waits for the reset, with its values in words.

    `effect`: looser, unknown (treated as looser), tighter, no limit. `counts_now`: it counts
    already, and the older version holds as well until the reset.
    """

    key: str  # its path in the files: rules.daily_realized_loss.limit
    old: str
    new: str
    effect: str
    counts_now: bool = False
    account_id: int | None = None  # None: of every account
    rule_id: str = ""  # empty: not of a rule
    name: str = ""  # of the setting in its rule or account; empty: all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The limits that have been read and count only from the next trading day.

    `older`: rules of which a version of today holds as well until then, where it is stricter.
    """

    counts_from: datetime
    changes: tuple[WaitingChange, ...]
    older: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LastDrill:
    """The last fire drill. `faults`: rules that did not do what they are meant to do.

    `limits_changed`: the limits read by the daemon are not those that were drilled.
    """

    at: datetime
    armed: int
    fired: int
    faults: tuple[str, ...]
    limits_changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What seldom changes: the coming ten days, each rule in words, what waits, the last drill.

    It is in the complete snapshot, and comes again when it changes. `resets` are the coming turns
    of the trading day. `through` is the last date that the calendar covers. `releases` come in the
    order in which their windows begin.
    """

    resets: tuple[datetime, ...]
    reset_timezone: str
    exchange_timezone: str
    markets: tuple[MarketRow, ...]
    allowed: tuple[AllowedHours, ...]
    rules: tuple[RuleText, ...]
    through: str | None = None
    waiting: Waiting | None = None  # None: no edited limit waits
    drill: LastDrill | None = None  # None: there was none, or its result cannot be read
    releases: tuple[ReleaseRow, ...] = ()


# --- the data of each message ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayUserTrade:
    """One execution. `profitAndLoss` None is an opening half-turn, 0 a scratch; before fees."""

    id: int
    contractId: str
    symbol: str
    profitAndLoss: float | None
    quantity: int
    side: int  # 0 buy, 1 sell
    size: int
    price: float
    fees: float
    voided: bool
    orderId: int
    creationTimestamp: datetime
    executionTime: datetime
    timestamp: datetime  # when the daemon received it
    realized_today: float  # net of fees
    realized_today_gross: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayUserPosition:
    """One position as the gateway stated it. `size` 0: closed."""

    id: int
    contractId: str
    symbol: str
    type: int  # 0 undefined, 1 long, 2 short
    size: int
    averagePrice: float | None
    creationTimestamp: datetime | None
    timestamp: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayUserOrder:
    """One order as the gateway stated it, with the gateway's own numbers."""

    id: int
    contractId: str
    symbol: str
    symbolId: str | None
    type: int
    side: int
    size: int
    status: int  # 0-8
    limitPrice: float | None
    stopPrice: float | None
    fillVolume: int
    filledPrice: float | None
    customTag: str | None
    creationTimestamp: datetime | None
    updateTimestamp: datetime | None
    timestamp: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketQuote:
    """The newest prices of one contract; conflated, at most four a second."""

    contractId: str
    symbol: str
    bid: float | None
    ask: float | None
    last: float | None
    age_ms: int
    timestamp: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LockoutSet:
    """A lock came into force or was prolonged (same `lockout_id`)."""

    lockout_id: str
    rule_id: str
    scope: str
    policy: str
    kind: str
    release: str
    reason: str
    locked_at: datetime
    locked_until: datetime | None
    admin_may_clear: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LockoutCleared:
    """`cleared_by`: TIMER_EXPIRY, DAILY_RESET, ADMIN_OVERRIDE, STARTUP_EXPIRED, a rule's word."""

    lockout_id: str
    rule_id: str
    scope: str
    cleared_at: datetime
    cleared_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcementAction:
    """What was decided, and each call to the broker that followed.

    A decision has `phase` "decided" and no `action_id`. A call is told twice with the same
    `action_id`: "started", then "confirmed", "failed" or "uncertain". `success` is None until it
    is known. `shadow`: decided only, nothing was or will be touched.
    """

    phase: str
    action: str  # CLOSE_POSITION, REDUCE_POSITION, CANCEL_ORDER, PLACE_EXIT, MOVE_STOP, ...
    reason: str
    rule_ids: tuple[str, ...]
    timestamp: datetime
    action_id: str | None = None
    success: bool | None = None
    shadow: bool = False
    severity: str = ""  # of a decision: info, warning, breach, critical
    contract_id: str | None = None
    symbol: str | None = None
    attempt: int | None = None
    duration_ms: float | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def rule_id(self) -> str:
        """The first rule that asked for it."""
        return self.rule_ids[0] if self.rule_ids else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyReset:
    """A new trading day has begun. `previous_pnl` is net of fees."""

    reset_time: datetime
    previous_date: str
    trading_date: str
    previous_pnl: float
    previous_trade_count: int
    lockouts_cleared: bool
    lockouts_cleared_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """The daemon's status: the first frame of a connection, and one per change or alarm."""

    status: str
    message: str
    timestamp: datetime
    run_id: str
    version: str
    protocol: int
    accounts: tuple[int, ...]
    heartbeat_s: float
    uptime_s: float
    hubs: dict[str, HubRow]
    rest: RestRow
    db: DatabaseRow
    token_expires_at: datetime | None = None
    alarm: AlarmRow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The daemon is alive. `state_age_s` is the age of its last step; each tick makes one."""

    status: str
    timestamp: datetime
    uptime_s: float
    state_age_s: float
    hubs: dict[str, HubRow]
    rest: RestRow
    db: DatabaseRow


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSnapshot:
    """One complete account. `total` is realised net plus unrealised P&L."""

    account_id: int
    name: str
    mode: str  # enforce, shadow
    balance: float | None
    can_trade: bool | None
    simulated: bool | None
    reported_at: datetime | None  # last full report of the broker; None: not read yet
    trading_date: str
    realised_net: float
    realised_gross: float
    fees: float
    unrealised: float | None
    total: float | None
    executions: int
    round_turns: int
    contracts_held: int
    lock_policy: str | None  # the strictest that stands on the whole account
    positions: tuple[PositionRow, ...] = ()
    orders: tuple[OrderRow, ...] = ()
    locks: tuple[LockRow, ...] = ()
    deadlines: tuple[DeadlineRow, ...] = ()
    meters: tuple[MeterRow, ...] = ()
    trades: tuple[TradeRow, ...] = ()  # closed trades of the day, newest first, at most 10
    enforcements: tuple[EnforcementAction, ...] = ()  # newest first, at most 20
    failed_rules: tuple[str, ...] = ()
    known: bool = True  # False: not read from the broker since the start; no figure counts yet
    clocked_in_at: datetime | None = None  # None: the trader is not clocked in
    mode_reason: str = ""  # why the account is in shadow against its configuration, else empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything a screen shows.

    If the envelope's `account_id` is null the snapshot is complete (the second frame of a
    connection) and replaces everything a reader knows. With an `account_id`, `accounts` holds only
    that account, as its figures changed: the snapshot replaces that account and all other fields.
    """

    status: str
    run_id: str
    version: str
    timestamp: datetime
    state_age_s: float
    next_reset: datetime
    accounts: tuple[AccountSnapshot, ...]
    quotes: tuple[QuoteRow, ...]
    hubs: dict[str, HubRow]
    rest: RestRow
    db: DatabaseRow
    alarms: tuple[AlarmRow, ...] = ()  # newest first, at most 20
    doubts: tuple[DoubtRow, ...] = ()  # that stand now, oldest first
    token_expires_at: datetime | None = None
    outlook: Outlook | None = None  # in a complete snapshot only


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAnswered:
    """What came of a request of this reader: only it is told. `message` is for people."""

    id: int
    method: str
    ok: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The answer to a request of one reader, sent to that reader only.

    Of the parts only that of the `kind` asked for is filled, newest first; of a story also locks,
    alarms and the day. `next` is the `before` of the next page; None: there is none. `error` says
    why there is no answer.
    """

    id: int  # of the request
    kind: str  # day, trades, days, locks, enforcements, totals, story
    before: str | None = None
    next: str | None = None
    error: str = ""
    day: DayCourse | None = None
    trades: tuple[DayTrade, ...] = ()
    days: tuple[DayResult, ...] = ()
    locks: tuple[PastLock, ...] = ()
    enforcements: tuple[EnforcementAction, ...] = ()
    totals: tuple[EnforcementTotals, ...] = ()
    alarms: tuple[AlarmRow, ...] = ()


Data = (
    GatewayUserTrade
    | GatewayUserPosition
    | GatewayUserOrder
    | MarketQuote
    | LockoutSet
    | LockoutCleared
    | EnforcementAction
    | DailyReset
    | DaemonStatus
    | Snapshot
    | Heartbeat
    | History
    | Outlook
    | RequestAnswered
)

TYPES: Mapping[str, type[Data]] = MappingProxyType(
    {
        "GatewayUserTrade": GatewayUserTrade,
        "GatewayUserPosition": GatewayUserPosition,
        "GatewayUserOrder": GatewayUserOrder,
        "MarketQuote": MarketQuote,
        "lockout_set": LockoutSet,
        "lockout_cleared": LockoutCleared,
        "enforcement_action": EnforcementAction,
        "daily_reset": DailyReset,
        "daemon_status": DaemonStatus,
        "snapshot": Snapshot,
        "heartbeat": Heartbeat,
        "history": History,
        "outlook": Outlook,
        "request_answered": RequestAnswered,
    }
)
NAMES: Mapping[type[Data], str] = MappingProxyType({model: name for name, model in TYPES.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One frame as a reader gets it. `account_id` None concerns everyone."""

    seq: int
    ts: datetime
    type: str
    account_id: int | None
    data: Data
