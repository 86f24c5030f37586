"""The events of a turn as rows of the audit and the other histories. Pure."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from risk_manager.domain.account import Attempt
from risk_manager.domain.decisions import (
    Action,
    Alarm,
    CancelOrder,
    DayReset,
    Decision,
    Fact,
    LockCleared,
    LockSet,
    MoveStop,
    PlaceExit,
    ReducePosition,
)
from risk_manager.domain.events import (
    AccountOpened,
    ActionSettled,
    AdminAsked,
    AnyEvent,
    HubChanged,
    RulebookReplaced,
)
from risk_manager.domain.state import State
from risk_manager.domain.view import View
from risk_manager.engine.report import Call, Result, reported, result_of
from risk_manager.engine.turn import Judged
from risk_manager.store import rows
from risk_manager.store.audit import Entry, canonical
from risk_manager.store.batch import Batch


def record(batch: Batch, judged: Judged) -> None:
    """Add all rows recorded for one event and its judgement."""
    event, before, outcome = judged
    report = reported(event, outcome)
    for fact in report.facts:
        _record_fact(batch, fact, event, before)
    for decision in report.decisions:
        _record_decision(batch, decision, outcome.state)
    for call in report.calls:
        _record_call(batch, call, before, outcome.state)
    _record_event(batch, event, before, outcome.state)


def _record_fact(batch: Batch, fact: Fact, event: AnyEvent, before: State) -> None:
    at = rows.micros(fact.at)
    match fact:
        case LockSet(lock=lock):
            batch.record(
                Entry(
                    at=at,
                    actor=lock.rule_id,
                    action="lock.set",
                    target=f"account:{lock.account_id}",
                    new=rows.plain(lock),
                )
            )
        case LockCleared(lock=lock, cleared_by=by):
            batch.record(
                Entry(
                    at=at,
                    actor=by,
                    action="lock.cleared",
                    target=f"account:{lock.account_id}",
                    old=rows.plain(lock),
                )
            )
        case DayReset():
            _summarise(batch, fact, event, before)
            batch.record(
                Entry(
                    at=at,
                    actor="calendar",
                    action="day.reset",
                    target=f"account:{fact.account_id}",
                    new=rows.plain(fact),
                )
            )
        case Alarm(account_id=account_id):
            batch.record(
                Entry(
                    at=at,
                    actor="daemon",
                    action=f"alarm.{fact.code}",
                    target="daemon" if account_id is None else f"account:{account_id}",
                    new={"message": fact.message, "severity": fact.severity},
                )
            )


def _summarise(batch: Batch, reset: DayReset, event: AnyEvent, before: State) -> None:
    """Add the summary of a finished day. Its balance is the last one known before the reset."""
    account = before.accounts.get(reset.account_id)
    if account is None:
        return
    totals = account.ledger.day(date.fromisoformat(reset.old_date))
    open_pnl = View(before, account, event).unrealised_total()
    batch.put(
        "INSERT OR REPLACE INTO daily_summary (account_id, trading_day, realized, fees, net,"
        " trade_count, start_balance, end_balance, unrealized_at_reset)"
        " VALUES (?, ?, ?, ?, ?, ?, (SELECT end_balance FROM daily_summary WHERE account_id = ?"
        " AND trading_day < ? ORDER BY trading_day DESC LIMIT 1), ?, ?)",
        account.id,
        reset.old_date,
        str(totals.pnl),
        str(totals.fees),
        str(totals.net),
        totals.executions,
        account.id,
        reset.old_date,
        rows.text(account.balance),
        rows.text(open_pnl),
    )


def _record_decision(batch: Batch, d: Decision, after: State) -> None:
    at = rows.micros(d.at)
    asks = [rows.plain(ask) for ask in d.asks]
    batch.put(
        "INSERT INTO enforcement_log (at, last_seen, count, account_id, trading_day, rule_id,"
        " subject, severity, action, reason, outcome, details)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'decide', ?, ?, ?)"
        " ON CONFLICT (account_id, rule_id, subject, trading_day) WHERE action = 'decide'"
        " DO UPDATE SET last_seen = excluded.last_seen, count = excluded.count,"
        " severity = excluded.severity, reason = excluded.reason, outcome = excluded.outcome,"
        " details = excluded.details",
        at,
        at,
        d.count,
        d.account_id,
        after.day.date.isoformat(),
        d.rule_id,
        d.subject,
        d.severity.value,
        d.reason,
        "shadowed" if d.shadow else "decided",
        canonical({"spec_id": d.spec_id, "asks": asks}),
    )
    batch.record(
        Entry(
            at=at,
            actor=d.rule_id,
            action="decided",
            target=f"account:{d.account_id}",
            new={
                "subject": d.subject,
                "reason": d.reason,
                "severity": d.severity,
                "shadow": d.shadow,
                "count": d.count,
                # When enforced, each ask has a row of its own.
                **({"asks": asks} if d.shadow else {}),
            },
        )
    )


def _target_size(action: Action) -> int | None:
    match action:
        case CancelOrder():
            return None
        case ReducePosition(keep=keep):
            return keep
        case PlaceExit(size=size) | MoveStop(size=size):
            return size
    return 0


def _record_call(batch: Batch, call: Call, before: State, after: State) -> None:
    action, rule_ids, reason = call.action, call.rule_ids, call.reason
    at = rows.micros(after.now)
    kind = call.kind
    if not action.follows:
        _close_superseded(batch, action, before, at)
    details = {"rule_ids": rule_ids, "reason": reason, "action": rows.plain(action)}
    batch.put(
        "INSERT INTO intents (id, account_id, contract_id, kind, target_size, rule_id, breach,"
        " state, attempts, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, 'SENT', ?, ?, ?)"
        " ON CONFLICT (id) DO NOTHING",
        action.id,
        action.account_id,
        action.contract_id,
        kind,
        _target_size(action),
        ",".join(rule_ids),
        canonical(details),
        call.tries,
        at,
        at,
    )
    batch.put(
        "INSERT INTO enforcement_log (intent_id, at, last_seen, count, account_id, trading_day,"
        " rule_id, subject, severity, action, reason, outcome, details)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'info', ?, ?, 'sent', '{}')",
        action.id,
        at,
        at,
        call.tries,
        action.account_id,
        after.day.date.isoformat(),
        ",".join(rule_ids),
        action.key,
        kind,
        reason,
    )
    batch.record(
        Entry(
            at=at,
            actor=",".join(rule_ids) or "daemon",
            action=f"asked.{kind}",
            target=f"account:{action.account_id}",
            new={"reason": reason, "action": _stated(rows.plain(action))},
        )
    )


def _stated(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known fields, without the account id, which has a column of its own."""
    return {k: v for k, v in columns.items() if v not in (None, "") and k != "account_id"}


def _close_superseded(batch: Batch, action: Action, before: State, at: int) -> None:
    account = before.accounts.get(action.account_id)
    known: Attempt | None = account.attempts.get(action.key) if account else None
    if known is None or not known.in_flight:
        return
    batch.put(
        "UPDATE intents SET state = 'LOST', updated_at = ?, last_error = 'no report came back'"
        " WHERE id = ? AND state = 'SENT'",
        at,
        known.action.id,
    )
    batch.put(
        "UPDATE enforcement_log SET outcome = 'lost', last_seen = ?"
        " WHERE intent_id = ? AND outcome = 'sent'",
        at,
        known.action.id,
    )


def _record_event(batch: Batch, event: AnyEvent, before: State, after: State) -> None:
    at = rows.micros(event.at)
    match event:
        case ActionSettled():
            _record_settlement(batch, event)
        case HubChanged():
            known = before.hubs.get(event.hub)
            if known is None or known.state is not event.state:
                batch.put(
                    "INSERT INTO connection_log (at, hub, from_state, to_state, reason)"
                    " VALUES (?, ?, ?, ?, ?)",
                    at,
                    event.hub.value,
                    None if known is None else known.state.value,
                    event.state.value,
                    event.reason,
                )
        case AdminAsked():
            batch.record(
                Entry(
                    at=at,
                    actor=event.actor,
                    action=f"admin.{event.verb}",
                    target=f"account:{event.account_id}",
                    new={
                        "scope": event.scope,
                        "policy": event.policy,
                        "rule_id": event.rule_id,
                        "until": event.until,
                        "reason": event.reason,
                    },
                )
            )
        case RulebookReplaced():
            batch.record(
                Entry(
                    at=at,
                    actor="daemon",
                    action="rulebook.replaced",
                    target="rulebook",
                    old={"digest": before.rulebook.digest},
                    new={"digest": after.rulebook.digest},
                )
            )
        case AccountOpened() if event.account_id not in before.accounts:
            batch.record(
                Entry(
                    at=at,
                    actor="daemon",
                    action="account.opened",
                    target=f"account:{event.account_id}",
                    new={"name": event.name},
                )
            )


def _record_settlement(batch: Batch, event: ActionSettled) -> None:
    at = rows.micros(event.at)
    result = result_of(event)
    is_confirmed = result is Result.CONFIRMED
    batch.put(
        "UPDATE intents SET state = ?, updated_at = ?, last_error = ? WHERE id = ?",
        result.value.upper(),
        at,
        None if is_confirmed else event.message or event.outcome.value,
        event.action_id,
    )
    details = {
        "outcome": event.outcome.value,
        "verified": event.verified,
        "error_code": event.error_code,
        "message": event.message,
        "order_id": event.order_id,
    }
    batch.put(
        "UPDATE enforcement_log SET outcome = ?, last_seen = ?, duration_ms = ?, details = ?"
        " WHERE intent_id = ?",
        result.value,
        at,
        event.took_ms,
        canonical(details),
        event.action_id,
    )
    batch.record(
        Entry(
            at=at,
            actor="gateway",
            action="settled",
            target=f"action:{event.action_id}",
            new=_stated(details),
            ok=is_confirmed,
        )
    )
