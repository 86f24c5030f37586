"""What a rule may ask for, what the broker is then told to do, and the record of both.

A rule *asks*: it names goals. The engine merges what all rules ask and turns it into *actions*,
imperatives for the broker. No action can open or enlarge a position.
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
    """Hold at most `keep` contracts of this one, same side."""

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
    """The condition of this rule's own lock has ended."""

    scope: str
    cleared_by: str


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep a mark of this rule about a subject, over restarts."""

    subject: str
    due_at: datetime | None = None
    value: str = ""


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop the mark about a subject."""

    subject: str


@dataclass(frozen=True, slots=True)
class Protect:
    """Have an exit order for the whole position: a stop, a target, or both.

    With `stop_order_id` that working stop is moved instead of a new one being placed. `size` is
    for a stop of part of the position; whatever is asked, all exits together never exceed it.
    """

    contract_id: str
    stop_price: Decimal | None = None
    limit_price: Decimal | None = None
    stop_order_id: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Have the broker's own word on this account read now, before something is decided.

    In shadow, too: it touches nothing. `reported_as_of` of the account says when it has come.
    """


Ask = (
    Flatten | Close | ReduceTo | Cancel | LockOut | Unlock | Remember | Forget | Protect | LookAgain
)


class Severity(StrEnum):
    """How loudly a decision is told."""

    INFO = "info"
    WARNING = "warning"
    BREACH = "breach"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one rule says about one account now.

    `subject` names what was breached (an episode, a trading date, a window): the same subject is
    the same breach, told once. `reason` is a sentence for the trader.
    """

    reason: str
    subject: str
    asks: tuple[Ask, ...] = ()
    severity: Severity = Severity.BREACH
    silent: bool = False  # bookkeeping only (marks, releases): no row, no frame


def bookkeeping(*asks: Ask) -> Verdict:
    """What a rule remembers or lets go of, without anything to tell."""
    return Verdict(reason="", subject="bookkeeping", asks=asks, silent=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The record of a verdict when it begins or escalates: the audit row.

    `count` says how often this subject has been breached by now.
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

    `follows` is the action before it on the same key, where that one is still looked after though
    nothing is left of what it was for: this one waits for the answer to its call, no longer.
    `wary`: that call may have met what this one is about, as the position was turned round
    without having been flat; it is looked at first.
    """

    id: str
    account_id: int
    contract_id: str
    follows: str = ""
    wary: bool = False

    @property
    def key(self) -> str:
        """What may be in flight once at a time."""
        return f"position:{self.contract_id}"

    @property
    def strength(self) -> int:
        """A stronger action may replace a weaker one that is not getting anywhere."""
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
    """Close as much as stands above `keep`, computed from a fresh read; never past `keep`."""

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

    `side` is the position's (+1 long); the order goes the other way, `size` never above it.
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
    """Move and resize a working stop. It only ever tightens, and never exceeds the position.

    `side` is the position's. `size` is what shall still work, besides what has `filled` already.
    `stop_price` None leaves the price alone: a trailing stop has no price of its own to send.
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
    """`cleared_by`: timer_expiry, daily_reset, admin_override, or the rule's own word."""

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

    `about` names the matter where it has an end: the alarm that `ends` it names the same. An end
    for `account_id` None ends the matter for every account.
    """

    at: datetime
    account_id: int | None
    code: str
    message: str
    severity: Severity = Severity.WARNING
    about: str = ""
    ends: bool = False


Fact = LockSet | LockCleared | DayReset | Alarm
