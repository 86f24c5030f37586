"""A health issue: a reason why the daemon's picture of market or account may be wrong now."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum


class IssueKind(StrEnum):
    STALE_QUOTES = "stale_quotes"  # of a contract that is held, while its exchange is open
    HUB_DOWN = "hub_down"
    READS_FAILING = "reads_failing"  # REST
    POSITIONS_DIFFER = "positions_differ"  # a report shows a change the stream did not tell
    PNL_DIFFERS = "pnl_differs"  # the balance did not move by the sum of the trades
    HISTORY_UNKNOWN = "history_unknown"  # a balance or an earlier day that a rule needs
    AVERAGE_UNKNOWN = "average_unknown"  # the broker states no plausible average price
    CLOCK_TURNED = "clock_turned"
    SUSPENDED = "suspended"  # the machine or this process was suspended for a while
    SLOW = "slow"  # the daemon's event loop lags, or its memory has grown
    ACCOUNT_MISSING = "account_missing"  # configured, and not in the login
    ACCOUNT_NOT_GUARDED = "account_not_guarded"  # in the login, and not configured
    LIVE_ACCOUNT = "live_account"  # live funded, and therefore in shadow whatever is configured
    DATABASE_LOST = "database_lost"  # the database was lost or replaced; until reconciled
    ALERTS_FAILING = "alerts_failing"  # a channel of the alerts does not get its messages
    PRESET_EXPIRED = "preset_expired"  # figures of a preset that are no longer relied upon
    DATA_ENDED = "data_ended"  # the dated data of a rule, such as a calendar of releases
    FILE_DIFFERS = "file_differs"  # a file of the limits cannot be read again, or has changed
    OTHER_GATEWAY = "other_gateway"  # not the data folder's gateway, or mixed addresses


BLIND = frozenset(
    {
        IssueKind.STALE_QUOTES,
        IssueKind.HUB_DOWN,
        IssueKind.READS_FAILING,
        IssueKind.POSITIONS_DIFFER,
        IssueKind.SUSPENDED,
    }
)
"""Kinds that hide market or account changes. With exposure they are an emergency."""

IssueKey = tuple[IssueKind, int | None, str]

CLOCK_AHEAD: IssueKey = (IssueKind.CLOCK_TURNED, None, "ahead")
"""Our clock is ahead of the gateway's. While this issue stands, no lock ends by the clock."""


@dataclass(frozen=True, kw_only=True)
class HealthIssue:
    """`subject` is a contract id or a hub; `account_id` None concerns every account.

    `told` and `critical` say which alarms have been raised. An issue that is over (`over_at`) is
    kept for some minutes. If it comes back within that time it `flickers`: its alarms are raised
    again only once its new state has lasted.
    """

    kind: IssueKind
    since: datetime
    reason: str
    account_id: int | None = None
    subject: str = ""
    flickers: bool = False
    told: bool = False
    critical: bool = False
    over_told: bool = False
    over_at: datetime | None = None

    @property
    def key(self) -> IssueKey:
        return (self.kind, self.account_id, self.subject)

    @property
    def stands(self) -> bool:
        return self.over_at is None


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """An account's balance and its trades at an instant without new fills.

    From there on both should move by the same amount.

    `differs` is the difference at the last comparison, in account currency. `times` is how often
    in a row there was one.
    """

    trading_date: date
    balance: Decimal
    pnl: Decimal
    fees: Decimal
    executions: int
    differs: Decimal | None = None
    times: int = 0
    reason: str = ""
    gross_told: bool = False
