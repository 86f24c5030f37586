"""A doubt: something about the world that is not known well enough now to call all well."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum


class IssueKind(StrEnum):
    STALE_QUOTES = "stale_quotes"  # of a contract that is held, while its exchange is open
    HUB_DOWN = "hub_down"
    READS_FAILING = "reads_failing"  # REST
    POSITIONS_DIFFER = "positions_differ"  # a report shows what the stream never told
    PNL_DIFFERS = "pnl_differs"  # the balance moved otherwise than the trades say
    AVERAGE_UNKNOWN = "average_unknown"  # the broker does not state one that can be
    CLOCK_TURNED = "clock_turned"
    SUSPENDED = "suspended"  # the machine (or this process) stood still for a while
    SLOW = "slow"  # the daemon itself: its loop lags, or it has grown
    ACCOUNT_MISSING = "account_missing"  # configured, and not in the login
    ACCOUNT_NOT_GUARDED = "account_not_guarded"  # in the login, and not configured
    DATABASE_LOST = "database_lost"  # what was remembered is gone or put back; until reconciled
    OTHER_GATEWAY = "other_gateway"  # than the one the data folder belongs to, or mixed addresses


BLIND = frozenset(
    {
        IssueKind.STALE_QUOTES,
        IssueKind.HUB_DOWN,
        IssueKind.READS_FAILING,
        IssueKind.POSITIONS_DIFFER,
        IssueKind.SUSPENDED,
    }
)
"""Kinds that hide what the market or the account does: with exposure they are an emergency."""

IssueKey = tuple[IssueKind, int | None, str]

CLOCK_AHEAD: IssueKey = (IssueKind.CLOCK_TURNED, None, "ahead")
"""Our time is later than the gateway's: while this stands, no lock ends by the clock."""


@dataclass(frozen=True, kw_only=True)
class HealthIssue:
    """`subject` is a contract id or a hub; `account_id` None concerns everyone.

    `told` and `critical` say which alarms have been raised. A doubt that is over (`over_at`) is
    kept for some minutes, so that one which flickers is not told anew each time: if it comes back
    meanwhile it `flickers`, and is told, its end as well, only once it stays.
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
    """An account's balance next to its trades at a quiet moment; both should move as one.

    `differs` is by how much they have not, as of the last comparison; `times` how often in a row.
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
