"""Asks of the rules, actions for the broker, and the records of both.

A rule *asks*: it names goals. The engine merges the asks of all rules and turns them into
*actions*, imperatives for the broker. No action can open or enlarge a position.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from risk_manager.domain.locks import Lock


class Outcome(StrEnum):
    """How one enforcement call ended."""

    DONE = "done"  # the gateway said success
    GONE = "gone"  # nothing left to act on: already flat, order not found
    REFUSED = "refused"  # the gateway said no
    UNSENT = "unsent"  # it never left this machine: nothing has happened
    UNKNOWN = "unknown"  # the reply never came or cannot be read: it may have happened


# --- what rules ask -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flatten:
    """Close everything and cancel everything in a scope ("account", "root:ES", ...)."""

    scope: str = "account"


@dataclass(frozen=True, slots=True)
class Close:
    """Close this contract's position and cancel its orders."""

    contract_id: str


@dataclass(frozen=True, slots=True)
class ReduceTo:
    """Reduce the position in this contract to at most `keep` lots on the same side."""

    contract_id: str
    keep: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel these working orders."""

    order_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LockOut:
    """Put this lock in force (or prolong it)."""

    lock: Lock


@dataclass(frozen=True, slots=True)
class Unlock:
    """Clear this rule's own lock, as its condition has ended."""

    scope: str
    cleared_by: str


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep a mark of this rule about a subject. It survives restarts."""

    subject: str
    due_at: datetime | None = None
    value: str = ""


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop this rule's mark about a subject."""

    subject: str


@dataclass(frozen=True, slots=True)
class Protect:
    """Have an exit order for the whole position: a stop, a target, or both.

    With `stop_order_id`, that working stop is moved instead of a new one being placed. `size`, in
    lots, is for a stop that covers part of the position. Whatever is asked, all exit stops together
    never exceed the position.
    """

    contract_id: str
    stop_price: Decimal | None = None
    limit_price: Decimal | None = None
    stop_order_id: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Read this account from the broker now, before the rule decides.

    This happens in shadow mode as well, as a read changes nothing. `Account.reported_as_of` shows
    when the report has come.
    """


Ask = (
    Flatten | Close | ReduceTo | Cancel | LockOut | Unlock | Remember | Forget | Protect | LookAgain
)


class Severity(StrEnum):
    """How urgent a decision or an alarm is for a person."""

    INFO = "info"
    WARNING = "warning"
    BREACH = "breach"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One rule's judgement of one account now.

    `subject` names what was breached, for example an episode, a trading date or a window. The same
    subject is the same breach and is reported once. `reason` is a sentence for the trader.
    """

    reason: str
    subject: str
    asks: tuple[Ask, ...] = ()
    severity: Severity = Severity.BREACH
    silent: bool = False  # bookkeeping only (marks, releases): no row, no frame


def bookkeeping(*asks: Ask) -> Verdict:
    """Return a silent verdict that only keeps or drops marks."""
    return Verdict(reason="", subject="bookkeeping", asks=asks, silent=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The record of a verdict when it begins or escalates: the audit row.

    `count` says how often this subject has been breached so far.
    """

    at: datetime
    account_id: int
    rule_id: str
    spec_id: str
    reason: str
    subject: str
    severity: Severity
    shadow: bool = False
    count: int = 1
    asks: tuple[Ask, ...] = ()


# --- what the broker is told --------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Action:
    """An imperative for the broker. `id` is unique per account for ever.

    `follows` is the id of the earlier action on the same key, if that one is still being followed
    up although nothing is left for it to close. This action then waits for the answer to the
    earlier call, and no longer. `wary`: the earlier call may have closed part of this position
    already, as the position reversed without a flat report in between. The account is then read
    before this action is sent.
    """

    id: str
    account_id: int
    contract_id: str
    follows: str = ""
    wary: bool = False

    @property
    def key(self) -> str:
        """Only one action with the same key may be in flight at a time."""
        return f"position:{self.contract_id}"

    @property
    def strength(self) -> int:
        """A stronger action may replace a weaker one that makes no progress."""
        return 0


@dataclass(frozen=True, kw_only=True)
class ClosePosition(Action):
    """Close the whole position of the contract, whatever its size is when the broker acts."""

    episode: int

    @property
    def strength(self) -> int:
        return 100


@dataclass(frozen=True, kw_only=True)
class ReducePosition(Action):
    """Reduce the position to `keep` lots, computed from a fresh read; never below `keep`."""

    episode: int
    side: int
    keep: int

    @property
    def strength(self) -> int:
        return 50


@dataclass(frozen=True, kw_only=True)
class CancelOrder(Action):
    order_id: int

    @property
    def key(self) -> str:
        return f"order:{self.order_id}"


@dataclass(frozen=True, kw_only=True)
class PlaceExit(Action):
    """Place an exit order for a position: a stop, or a limit when `limit_price` is given.

    `side` is the side of the position (+1 long, -1 short); the order has the opposite side. `size`
    never exceeds the position.
    """

    side: int
    size: int
    episode: int
    stop_price: Decimal | None = None
    limit_price: Decimal | None = None

    @property
    def key(self) -> str:
        return f"exit:{self.contract_id}:{'stop' if self.stop_price is not None else 'limit'}"


@dataclass(frozen=True, kw_only=True)
class MoveStop(Action):
    """Move and resize a working stop. It is never loosened and never exceeds the position.

    `side` is the side of the position. `size` is the number of lots that remain working, besides
    those already `filled`. `stop_price` None leaves the price unchanged: a trailing stop has no
    price of its own to send.
    """

    order_id: int
    side: int
    size: int
    stop_price: Decimal | None
    filled: int = 0

    @property
    def key(self) -> str:
        return f"order:{self.order_id}"


# --- what happened besides, for the feed and the store --------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LockSet:
    at: datetime
    lock: Lock


@dataclass(frozen=True, slots=True, kw_only=True)
class LockCleared:
    """A lock has ended. `cleared_by`: timer_expiry, daily_reset, admin_override, or a word that
    the rule chose."""

    at: datetime
    lock: Lock
    cleared_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayReset:
    at: datetime
    account_id: int
    old_date: str
    new_date: str
    previous_net: Decimal
    previous_executions: int
    locks_cleared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something a person should know now. `code` is stable; `message` is for people.

    `about` names a matter that has an end. The alarm that ends the matter carries the same `about`
    and has `ends` set. An ending alarm with `account_id` None ends the matter for every account.
    """

    at: datetime
    account_id: int | None
    code: str
    message: str
    severity: Severity = Severity.WARNING
    about: str = ""
    ends: bool = False


Fact = LockSet | LockCleared | DayReset | Alarm
