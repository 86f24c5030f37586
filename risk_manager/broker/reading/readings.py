"""The values of a reading: the parts of an account, the result of one pass, and the status."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from risk_manager.domain.events import AccountReported, AnyEvent
from risk_manager.domain.records import AccountRecord, OrderRecord, PositionRecord, TradeRecord


class Part(StrEnum):
    """The parts of an account that a pass may read."""

    ACCOUNT = "account"
    POSITIONS = "positions"
    ORDERS = "orders"
    TRADES = "trades"


MAY_BE_CUT = 500
"""A list of so many trades may lack older ones: the gateway returns the newest up to its limit."""

type Parts = frozenset[Part]
EVERYTHING: Parts = frozenset(Part)
EXPOSURE: Parts = frozenset({Part.POSITIONS, Part.ORDERS})

PATHS: Mapping[Part, str] = {
    Part.ACCOUNT: "/Account/search",
    Part.POSITIONS: "/Position/searchOpen",
    Part.ORDERS: "/Order/searchOpen",
    Part.TRADES: "/Trade/search",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The result of one pass. A part that was not asked for or could not be read is None.

    `asked_at` is when the first request was sent. `trades_since` is the instant since which trades
    were asked for.
    """

    account_id: int
    asked_at: datetime
    at: datetime
    account: AccountRecord | None = None
    positions: tuple[PositionRecord, ...] | None = None
    orders: tuple[OrderRecord, ...] | None = None
    trades: tuple[TradeRecord, ...] | None = None
    trades_since: datetime | None = None

    def has(self, parts: Iterable[Part]) -> bool:
        return all(getattr(self, part) is not None for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStatus:
    """How fresh the knowledge of one account is, for display. None: never read, or not failing.

    `is_absent`: several lists of the login in a row did not contain the account. `is_seen`:
    positions and orders have been read. `owes`: the parts still to be read, where many accounts
    are read part by part.
    """

    last_ok_at: datetime | None = None
    failing_since: datetime | None = None
    reason: str = ""
    is_absent: bool = False
    is_seen: bool = False
    owes: Parts = frozenset()


def report(reading: Reading, put: Callable[[AnyEvent], None]) -> None:
    """Put the reading into the inbox, unless it has no part at all."""
    if not any(getattr(reading, part) is not None for part in Part):
        return
    put(
        AccountReported(
            at=reading.at,
            asked_at=reading.asked_at,
            account_id=reading.account_id,
            account=reading.account,
            positions=reading.positions,
            orders=reading.orders,
            trades=reading.trades,
            trades_since=_complete_since(reading),
        )
    )


def _complete_since(reading: Reading) -> datetime | None:
    """Return since when the trades are complete. A long list may be cut at its old end."""
    trades, since = reading.trades, reading.trades_since
    if trades is None or since is None or len(trades) < MAY_BE_CUT:
        return None if trades is None else since
    return max(since, min(t.creation_timestamp for t in trades))
