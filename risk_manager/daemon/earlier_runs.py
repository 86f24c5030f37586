"""The enforcements and alarms of earlier runs, as the feed shows them after a restart."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, get_args

import structlog

from risk_manager.domain.decisions import Ask, LockOut, Outcome
from risk_manager.domain.state import State
from risk_manager.engine.report import Result, effect_of
from risk_manager.feed.frames import REMEMBERED
from risk_manager.feed.messages import AlarmRow, EnforcementAction
from risk_manager.store import reading
from risk_manager.store.reading import AuditRow, EnforcementRow
from risk_manager.store.rows import lock_of_plain
from risk_manager.store.schema import StoreError
from risk_manager.store.store import Store

_ASKS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Ask)}
NOT_HEARD = "the daemon ended before it heard"

log = structlog.get_logger("risk_manager.daemon")


@dataclass(frozen=True, slots=True)
class EarlierRuns:
    """The enforcements and alarms of earlier runs, oldest first."""

    enforcements: tuple[tuple[int, EnforcementAction], ...] = ()
    alarms: tuple[AlarmRow, ...] = ()


async def read_earlier_runs(store: Store, state: State, now: datetime) -> EarlierRuns:
    """Read the newest enforcements per account and the newest alarms; empty if unreadable."""
    try:
        rows = await store.look_up(lambda c: reading.enforcement(c, REMEMBERED))
        alarms = await store.look_up(lambda c: reading.alarms(c, REMEMBERED))
        return EarlierRuns(
            enforcements=tuple((r.account_id, enforcement_of(r, state)) for r in reversed(rows)),
            # Over: this run raises again whatever still stands.
            alarms=tuple(replace(alarm_of(row), over_at=now) for row in reversed(alarms)),
        )
    except (StoreError, ValueError, KeyError, TypeError, ArithmeticError) as error:
        # Only the screens lack these rows, so the start goes on.
        log.warning("earlier_runs_unreadable", reason=str(error))
        return EarlierRuns()


def enforcement_of(
    row: EnforcementRow, state: State, under_way: Collection[str] = ()
) -> EnforcementAction:
    """Return a stored decision or call as the feed tells it. Raises ValueError or KeyError.

    `under_way`: the ids of the calls that this run is still making.
    """
    rule_ids = tuple(filter(None, row.rule_id.split(",")))
    if row.action == "decide":
        return EnforcementAction(
            phase="decided",
            action=effect_of(_asks(row.details["asks"])).upper(),
            reason=row.reason,
            rule_ids=rule_ids,
            timestamp=row.last_seen,
            shadow=row.outcome == "shadowed",
            severity=row.severity,
            details={
                "spec_id": row.details["spec_id"],
                "subject": row.subject,
                "count": row.count,
            },
        )
    is_known = row.outcome in set(Result)
    result = Result(row.outcome) if is_known else Result.UNCERTAIN
    is_under_way = not is_known and row.intent_id in under_way
    ended = row.details if is_known else {"outcome": Outcome.UNKNOWN, "message": NOT_HEARD}
    if is_under_way:
        ended = {}
    known = ((k, ended.get(k)) for k in ("outcome", "message", "error_code"))
    ending = {k: value for k, value in known if value not in (None, "")}
    return EnforcementAction(
        phase="started" if is_under_way else result.value,
        action=row.action.upper(),
        reason=row.reason,
        rule_ids=rule_ids,
        timestamp=row.last_seen,
        action_id=row.intent_id,
        success={Result.CONFIRMED: True, Result.FAILED: False}.get(result),
        contract_id=row.contract_id,
        symbol=None if row.contract_id is None else state.name(row.contract_id),
        attempt=row.count,
        duration_ms=_took_ms(row) if is_known else None,
        details={**_of_action(row.asked), **ending},
    )


def _took_ms(row: EnforcementRow) -> float:
    """From asking to the verified end, as the feed tells it while it happens."""
    return round((row.last_seen - row.at).total_seconds() * 1000, 3)


def _asks(stored: Iterable[Mapping[str, Any]]) -> Iterable[Ask]:
    """The asks of a decision, as far as their effect needs them."""
    for ask in stored:
        kind = _ASKS.get(ask["is"])
        if kind is LockOut:
            yield LockOut(lock_of_plain(ask["lock"]))
        elif kind is not None:
            yield kind(**{k: v for k, v in ask.items() if k != "is"})


def _of_action(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The details of a call that its kind has no field for."""
    numbers = {k: asked[k] for k in ("keep", "order_id", "size") if k in asked}
    prices = {
        k: None if asked[k] is None else float(Decimal(asked[k]))
        for k in ("stop_price", "limit_price")
        if k in asked
    }
    return {**numbers, **prices}


def alarm_of(row: AuditRow) -> AlarmRow:
    """Return a stored alarm. When it was over is not kept."""
    stored = row.new or {}
    account = row.target.removeprefix("account:")
    return AlarmRow(
        at=row.at,
        code=row.action.removeprefix("alarm."),
        message=str(stored["message"]),
        severity=str(stored["severity"]),
        account_id=int(account) if account != row.target else None,
    )
