"""What each rule did, and what followed. Pure.

The result of what was traded afterwards is a fact. What the closed lots would have made is an
estimate: they are valued at the last price at which anything filled in that contract on the same
day. Without such a price it is unknown.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from risk_manager.admin.reports.attribution import causes
from risk_manager.admin.reports.records import Entry, Records
from risk_manager.domain.executions import Execution, TradeKey
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.money import ZERO
from risk_manager.store.history_pages import LockRow

SHADOWED = "shadowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionLine:
    """A decision. `times`: how often it was taken. `is_shadow`: only told, nothing was done."""

    at: datetime
    last_at: datetime
    severity: str
    reason: str
    times: int
    is_shadow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCount:
    """Calls to the broker of one kind that ended alike."""

    action: str
    outcome: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLots:
    """Lots that the rule closed in a contract, and their estimate.

    `gain_if_held` is what holding them until `valued_at` would have added, before fees; negative:
    the close saved so much. None: unknown. It is an estimate and never part of a sum.
    """

    symbol: str
    lots: int
    realised: Decimal
    gain_if_held: Decimal | None
    valued_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervention:
    """One rule on one trading date.

    `trades_after` and `net_after` count what was executed after its first decision that was
    enforced, until the end of the day; None where every decision was in shadow.
    """

    date: date
    rule_id: str
    decisions: tuple[DecisionLine, ...]
    calls: tuple[CallCount, ...]
    locks: int
    closed: tuple[ClosedLots, ...]
    trades_after: int | None
    net_after: Decimal | None


def interventions(records: Records, ledger: Ledger) -> list[Intervention]:
    """Return what each rule did on each trading date, by the time of its first entry."""
    by_rule: dict[tuple[date, str], list[Entry]] = {}
    for entry in records.entries:
        for rule_id in entry.rule_ids:
            by_rule.setdefault((entry.trading_date, rule_id), []).append(entry)
    caused = causes(ledger.standing(), records.entries)
    locks = Counter((k.trading_date, k.rule_id) for k in records.locks)
    return [
        _intervention(records, ledger, day, rule_id, entries, locks[day, rule_id], caused)
        for (day, rule_id), entries in by_rule.items()
    ]


def _intervention(
    records: Records,
    ledger: Ledger,
    day: date,
    rule_id: str,
    entries: Sequence[Entry],
    locks: int,
    caused: Mapping[TradeKey, Entry],
) -> Intervention:
    decided = [e for e in entries if e.action == "decide"]
    calls = [e for e in entries if e.action != "decide"]
    enforced = [e.at for e in entries if e.outcome != SHADOWED]
    since = min(enforced, default=None)
    executed = list(ledger.on(day))
    return Intervention(
        date=day,
        rule_id=rule_id,
        decisions=tuple(
            DecisionLine(
                at=e.at,
                last_at=e.last_seen,
                severity=e.severity,
                reason=e.reason,
                times=e.count,
                is_shadow=e.outcome == SHADOWED,
            )
            for e in decided
        ),
        calls=tuple(
            CallCount(action=action, outcome=outcome, count=n)
            for (action, outcome), n in Counter((c.action, c.outcome) for c in calls).items()
        ),
        locks=locks,
        closed=tuple(_closed(records, executed, calls, caused)),
        trades_after=None if since is None else _trades_after(ledger, day, since),
        net_after=None if since is None else _net_after(executed, since),
    )


def _trades_after(ledger: Ledger, day: date, since: datetime) -> int:
    """Return how many trades were opened after an instant and ended on the same day."""
    return sum(t.trading_date == day and t.first_at > since for t in ledger.finished_turns)


def _net_after(executed: Sequence[Execution], since: datetime) -> Decimal:
    return sum((e.net for e in executed if e.executed_at > since), ZERO)


def _closed(
    records: Records,
    executed: Sequence[Execution],
    calls: Sequence[Entry],
    caused: Mapping[TradeKey, Entry],
) -> Iterator[ClosedLots]:
    """Yield what each call closed."""
    for call in calls:
        fills = [e for e in executed if caused.get(e.key) is call]
        if fills:
            yield _closed_by_a_call(records, executed, fills)


def _closed_by_a_call(
    records: Records, executed: Sequence[Execution], fills: Sequence[Execution]
) -> ClosedLots:
    contract_id = fills[0].contract_id
    contract = records.contracts.get(contract_id)
    later = [
        e
        for e in executed
        if e.contract_id == contract_id and e.executed_at > fills[-1].executed_at
    ]
    gain: Decimal | None = None
    if later and contract is not None:
        gain = ZERO
        for e in fills:
            ticks = (later[-1].price - e.price) / contract.tick_size
            gain -= e.side.sign * e.size * ticks * contract.tick_value
    return ClosedLots(
        symbol=records.symbol(contract_id),
        lots=sum(e.size for e in fills),
        realised=sum((e.pnl for e in fills if e.pnl is not None), ZERO),
        gain_if_held=gain,
        valued_at=None if gain is None else later[-1].executed_at,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LockLine:
    """A lock that was in force within the report. `ended_at` None: it is in force."""

    rule_id: str
    scope: str
    policy: str
    reason: str
    set_at: datetime
    until: datetime | None
    release: str
    ended_at: datetime | None
    ended_by: str


def lock_lines(records: Records) -> list[LockLine]:
    """Return the locks of the report, oldest first."""
    return [_lock_line(records, row) for row in records.locks]


def _lock_line(records: Records, row: LockRow) -> LockLine:
    _, _, name = row.scope.partition(":")
    return LockLine(
        rule_id=row.rule_id,
        scope=records.symbol(name) if name else row.scope,
        policy=row.policy,
        reason=row.reason,
        set_at=row.set_at,
        until=row.expires_at,
        release=row.release,
        ended_at=row.cleared_at,
        ended_by=row.cleared_by,
    )
