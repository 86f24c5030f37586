"""Stored rows as the feed tells them in a history."""

from risk_manager.domain.money import cents
from risk_manager.feed.messages import DayResult, PastLock
from risk_manager.feed.snapshot import money
from risk_manager.store.history_pages import DayRow, LockRow


def day_result(row: DayRow) -> DayResult:
    return DayResult(
        trading_date=row.trading_date.isoformat(),
        net=float(cents(row.net)),
        gross=float(cents(row.realised)),
        fees=float(cents(row.fees)),
        executions=row.executions,
        end_balance=money(row.end_balance),
    )


def past_lock(row: LockRow) -> PastLock:
    return PastLock(
        rule_id=row.rule_id,
        scope=row.scope,
        policy=row.policy,
        kind=row.kind,
        release=row.release,
        reason=row.reason,
        set_at=row.set_at,
        expires_at=row.expires_at,
        cleared_at=row.cleared_at,
        cleared_by=row.cleared_by.upper(),
        trading_date=row.trading_date.isoformat(),
    )
