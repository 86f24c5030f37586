"""How the trader behaved after losses and how often they entered. Pure.

The definitions are the field's: a re-entry is the next entry within 15 minutes after a loss. With
1.25 times the size of the loser (1.1 times after two losses in a row) it is called a revenge entry;
more than 1.5 times the size, at any time of the day, an escalation.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median

from risk_manager.admin.reports.records import Records
from risk_manager.domain.executions import Execution, TradeKey
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.money import ZERO
from risk_manager.domain.round_turns import RoundTurn
from risk_manager.domain.symbols import Symbols
from risk_manager.rules.position_life import largest_size

REENTRY_WITHIN = timedelta(minutes=15)
REVENGE_SIZE = Decimal("1.25")
REVENGE_SIZE_AFTER_TWO = Decimal("1.1")
ESCALATION = Decimal("1.5")
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterLoss:
    """An entry whose newest trade before it, on the same trading date, was lost.

    Sizes are in micros, so that products compare. `gap_s` is from the loss to the entry.
    """

    lost_at: datetime
    lost: Decimal
    lost_symbol: str
    lost_size: Decimal
    entered_at: datetime
    symbol: str
    size: Decimal
    size_ratio: Decimal
    gap_s: float
    is_reentry: bool
    is_revenge: bool
    is_escalation: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Discipline:
    """`entries` are orders that opened or added. None: there is nothing to take a figure from.

    `size_after_loss` is the average size of entries after a loss, as a multiple of the loser's.
    """

    wins: int
    losses: int
    scratches: int
    after_losses: tuple[AfterLoss, ...]
    reentries: int
    revenge_entries: int
    escalations: int
    size_after_loss: Decimal | None
    median_gap_after_loss_s: float | None
    median_gap_after_win_s: float | None
    entries: int
    active_hours: int
    entries_per_active_hour: Decimal | None
    busiest_hour_entries: int
    busiest_hour_from: datetime | None


def discipline(records: Records, ledger: Ledger, symbols: Symbols) -> Discipline:
    """Return the figures over the trades that ended within the report."""
    days = set(records.dates)
    turns = [t for t in ledger.finished_turns if t.trading_date in days]
    entries = sorted(
        (e for e in ledger.increasing_orders().values() if e.trading_date in days), key=_age
    )
    closing = {e.order_id for e in ledger.standing() if e.pnl is not None}
    own_entries = [e for e in entries if e.order_id not in closing]  # no sides of reversals
    weigh = _Weights(records, ledger, symbols)
    # An entry follows the newest trade before it, and so is counted once.
    followed: dict[TradeKey, tuple[RoundTurn, Execution, bool]] = {}
    before: RoundTurn | None = None
    for turn in turns:
        second = before is not None and before.net < 0 and before.trading_date == turn.trading_date
        before = turn
        entry = _next_entry(turn, own_entries)
        if entry is not None:
            followed[entry.key] = (turn, entry, second)
    after = [
        _after_loss(records, weigh, turn, entry, second=second)
        for turn, entry, second in followed.values()
        if turn.net < 0
    ]
    after_wins = [
        (entry.executed_at - turn.last_at).total_seconds()
        for turn, entry, _ in followed.values()
        if turn.net > 0
    ]
    hours = {e.executed_at.replace(minute=0, second=0, microsecond=0) for e in entries}
    busiest, busiest_from = _busiest_hour([e.executed_at for e in entries])
    signs = Counter((t.net > 0) - (t.net < 0) for t in turns)
    ratios = [a.size_ratio for a in after]
    return Discipline(
        wins=signs[1],
        losses=signs[-1],
        scratches=signs[0],
        after_losses=tuple(after),
        reentries=sum(a.is_reentry for a in after),
        revenge_entries=sum(a.is_revenge for a in after),
        escalations=sum(a.is_escalation for a in after),
        size_after_loss=_hundredths(sum(ratios, ZERO) / len(ratios)) if ratios else None,
        median_gap_after_loss_s=median(a.gap_s for a in after) if after else None,
        median_gap_after_win_s=median(after_wins) if after_wins else None,
        entries=len(entries),
        active_hours=len(hours),
        entries_per_active_hour=_hundredths(Decimal(len(entries)) / len(hours)) if hours else None,
        busiest_hour_entries=busiest,
        busiest_hour_from=busiest_from,
    )


class _Weights:
    """Sizes in micros."""

    def __init__(self, records: Records, ledger: Ledger, symbols: Symbols) -> None:
        self._records, self._ledger, self._symbols = records, ledger, symbols

    def of_turn(self, turn: RoundTurn) -> Decimal:
        return largest_size(self._ledger, turn) * self._weight(turn.contract_id)

    def of_entry(self, entry: Execution) -> Decimal:
        lots = sum(
            e.size
            for e in self._ledger.standing()
            if e.order_id == entry.order_id and e.pnl is None
        )
        return lots * self._weight(entry.contract_id)

    def _weight(self, contract_id: str) -> Decimal:
        contract = self._records.contracts.get(contract_id)
        return self._symbols.weight(self._symbols.root(contract_id, contract))


def _next_entry(turn: RoundTurn, entries: list[Execution]) -> Execution | None:
    """Return the next entry of the same trading date."""
    for e in entries:
        if _age(e) > _age(turn.last) and e.trading_date == turn.trading_date:
            return e
    return None


def _after_loss(
    records: Records, weigh: _Weights, turn: RoundTurn, entry: Execution, *, second: bool
) -> AfterLoss:
    gap = entry.executed_at - turn.last_at
    before, size = weigh.of_turn(turn), weigh.of_entry(entry)
    ratio = size / before
    is_reentry = gap <= REENTRY_WITHIN
    return AfterLoss(
        lost_at=turn.last_at,
        lost=turn.net,
        lost_symbol=records.symbol(turn.contract_id),
        lost_size=before,
        entered_at=entry.executed_at,
        symbol=records.symbol(entry.contract_id),
        size=size,
        size_ratio=_hundredths(ratio),
        gap_s=gap.total_seconds(),
        is_reentry=is_reentry,
        is_revenge=is_reentry and ratio >= (REVENGE_SIZE_AFTER_TWO if second else REVENGE_SIZE),
        is_escalation=ratio > ESCALATION,
    )


def _busiest_hour(instants: list[datetime]) -> tuple[int, datetime | None]:
    """Return the most entries within any 60 minutes, and when those began."""
    best, began = 0, None
    for n, start in enumerate(instants):
        count = sum(at - start < _HOUR for at in instants[n:])
        if count > best:
            best, began = count, start
    return best, began


def _age(e: Execution) -> tuple[datetime, int]:
    return e.executed_at, e.id


def _hundredths(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"))
