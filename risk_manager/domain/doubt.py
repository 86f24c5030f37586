"""A doubt: something about the world that is not known well enough now to call all well."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class DoubtKind(StrEnum):
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
        DoubtKind.STALE_QUOTES,
        DoubtKind.HUB_DOWN,
        DoubtKind.READS_FAILING,
        DoubtKind.POSITIONS_DIFFER,
        DoubtKind.SUSPENDED,
    }
)
"""Kinds that hide what the market or the account does: with exposure they are an emergency."""

DoubtKey = tuple[DoubtKind, int | None, str]

CLOCK_AHEAD: DoubtKey = (DoubtKind.CLOCK_TURNED, None, "ahead")
"""Our time is later than the gateway's: while this stands, no lock ends by the clock."""


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """`subject` is a contract id or a hub; `account_id` None concerns everyone.

    `told` and `critical` say which alarms have been raised. A doubt that is over (`over_at`) is
    kept for some minutes, so that one which flickers is not told anew each time: if it comes back
    meanwhile it `flickers`, and is told, its end as well, only once it stays.
    """

    kind: DoubtKind
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
    def key(self) -> DoubtKey:
        return (self.kind, self.account_id, self.subject)

    @property
    def stands(self) -> bool:
        return self.over_at is None
