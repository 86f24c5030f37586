"""What a turn of events changed that is worth keeping, as rows to write. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

from risk_manager.domain.account import Account, Attempt
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
    OrderChanged,
    RulebookReplaced,
)
from risk_manager.domain.layered import ManyOrders
from risk_manager.domain.locks import Lock, LockKey
from risk_manager.domain.state import State
from risk_manager.domain.symbols import Contract
from risk_manager.domain.view import View
from risk_manager.engine.report import Call, Result, reported, result_of
from risk_manager.engine.step import Step
from risk_manager.engine.turn import Judged
from risk_manager.store import rows
from risk_manager.store.audit import Columns, Entry, canonical, columns_of

Statement = tuple[str, rows.Row]

TOLD_BY_THEMSELVES = (ActionSettled, AdminAsked, HubChanged, RulebookReplaced)
"""Events that are written down whatever they changed."""


@dataclass(slots=True)
class Batch:
    """The rows of one transaction. `soft` rows are written only along with others.

    `puts_right`: they say only what has been written before, over what another hand made of it.
    """

    statements: list[Statement] = field(default_factory=list)
    soft: list[Statement] = field(default_factory=list)
    audit: list[Columns] = field(default_factory=list)
    puts_right: bool = False

    def put(self, sql: str, *values: Any) -> None:
        self.statements.append((sql, values))

    def tell(self, entry: Entry) -> None:
        self.audit.append(columns_of(entry))

    @property
    def is_empty(self) -> bool:
        return not self.statements and not self.audit


@dataclass(frozen=True, slots=True)
class Kept:
    """What the database will say once everything handed to it so far is written."""

    accounts: Mapping[int, Account] = MappingProxyType({})
    contracts: Mapping[str, Contract] = MappingProxyType({})
    next_reset: datetime | None = None

    @classmethod
    def of(cls, state: State) -> "Kept":
        return cls(state.accounts, state.contracts, state.day.ends_at)


def is_quiet(event: AnyEvent, before: State, outcome: Step) -> bool:
    """Whether this event plainly left nothing to write (true of nearly every quote and tick)."""
    after = outcome.state
    return (
        after.accounts is before.accounts
        and after.contracts is before.contracts
        and not (outcome.decisions or outcome.actions or outcome.facts)
        and not isinstance(event, TOLD_BY_THEMSELVES)
    )


def changes(kept: Kept, turn: Sequence[Judged]) -> Batch:
    """Everything to write after a turn, against what was kept so far.

    What is known now is compared once, however many events there were; what happened is told event
    by event.
    """
    batch = Batch()
    after = turn[-1].outcome.state
    facts = [fact for judged in turn for fact in judged.outcome.facts]
    _keep_contracts(batch, kept, after)
    filled_prices = {
        judged.event.id: judged.event.filled_price
        for judged in turn
        if isinstance(judged.event, OrderChanged)
    }
    for account in after.accounts.values():
        old = kept.accounts.get(account.id)
        if old is not account:
            _keep_account(batch, old, account, after, filled_prices)
        if old is None or (old.trading_date, kept.next_reset) != (
            account.trading_date,
            after.day.ends_at,
        ):
            reset = any(isinstance(f, DayReset) and f.account_id == account.id for f in facts)
            _keep_day(batch, account, after, reset)
    _keep_locks(batch, kept, after, facts)
    for event, before, outcome in turn:
        told_of = reported(event, outcome)
        for fact in told_of.facts:
            _tell_fact(batch, fact, event, before)
        for decision in told_of.decisions:
            _tell_decision(batch, decision, outcome.state)
        for call in told_of.calls:
            _tell_call(batch, call, before, outcome.state)
        _tell_event(batch, event, before, outcome.state)
    return batch


def everything(state: State, at: datetime) -> Batch:
    """All that a state holds, over whatever the database says; histories stay."""
    batch = Batch()
    for contract in state.contracts.values():
        batch.put(rows.PUT_CONTRACT, *rows.contract_row(contract, at))
    for account in state.accounts.values():
        for table in (
            "DELETE FROM positions WHERE account_id = ?",
            "DELETE FROM orders WHERE account_id = ?",
            "DELETE FROM ceilings WHERE account_id = ?",
            "DELETE FROM timers WHERE account_id = ?",
            "DELETE FROM breaches WHERE account_id = ?",
            "DELETE FROM closings WHERE account_id = ?",
        ):
            batch.put(table, account.id)
        _keep_account(batch, None, account, state, {})
        _keep_day(batch, account, state, False)
        # What memory holds is stamped first; only rows without this stamp may then be cleared.
        for lock in account.locks.values():
            batch.put(rows.PUT_LOCK, *rows.lock_row(lock, at))
        batch.put(
            "UPDATE lockouts SET cleared_at = ?, cleared_by = 'unrecorded'"
            " WHERE account_id = ? AND cleared_at IS NULL AND updated_at <> ?",
            rows.micros(at),
            account.id,
            rows.micros(at),
        )
    return batch


# --- state ----------------------------------------------------------------------------------------


def _keep_contracts(batch: Batch, kept: Kept, after: State) -> None:
    if after.contracts is kept.contracts:
        return
    for contract in _changed(kept.contracts, after.contracts):
        batch.put(rows.PUT_CONTRACT, *rows.contract_row(contract, after.now))


def _keep_account(
    batch: Batch,
    old: Account | None,
    new: Account,
    state: State,
    filled_prices: Mapping[int, Any],
) -> None:
    if old is None:
        old = Account(id=new.id, trading_date=new.trading_date)
        batch.put(rows.PUT_ACCOUNT, *rows.account_row(new))
    elif _scalars(old) != _scalars(new):
        batch.put(rows.PUT_ACCOUNT, *rows.account_row(new))
    elif old.reported_at != new.reported_at:
        batch.soft.append((rows.PUT_ACCOUNT, rows.account_row(new)))
    if new.positions is not old.positions:
        for position in _changed(old.positions, new.positions):
            batch.put(rows.PUT_POSITION, *rows.position_row(new.id, position, state.now))
        for contract_id in old.positions.keys() - new.positions.keys():
            batch.put(rows.DROP_POSITION, new.id, contract_id)
    if new.orders is not old.orders:
        _keep_orders(batch, old, new, filled_prices)
    if new.ledger is not old.ledger:
        _keep_trades(batch, old, new)
    if new.ceilings is not old.ceilings:
        _keep_ceilings(batch, old, new)
    _keep_memory(batch, old, new)


def _scalars(a: Account) -> tuple[object, ...]:
    return (
        a.next_action,
        a.next_episode,
        a.balance,
        a.can_trade,
        a.can_trade_since,
        a.name,
        a.simulated,
        a.failed_rules,
    )


def _keep_trades(batch: Batch, old: Account, new: Account) -> None:
    late: set[date] = set()
    for execution in _changed(old.ledger.entries, new.ledger.entries):
        batch.put(rows.PUT_TRADE, *rows.trade_row(new.id, execution))
        if execution.trading_date < new.trading_date:
            late.add(execution.trading_date)
    # Trades that left the ledger with the turn of the day stay in the table.
    for day in late:
        totals = new.ledger.day(day)
        batch.put(
            "UPDATE daily_summary SET realized = ?, fees = ?, net = ?, trade_count = ?"
            " WHERE account_id = ? AND trading_day = ?",
            str(totals.pnl),
            str(totals.fees),
            str(totals.net),
            totals.executions,
            new.id,
            day.isoformat(),
        )


def _keep_ceilings(batch: Batch, old: Account, new: Account) -> None:
    for contract_id, net in new.ceilings.items():
        if old.ceilings.get(contract_id) != net:
            batch.put(rows.PUT_CEILING, new.id, contract_id, net)
    for contract_id in old.ceilings.keys() - new.ceilings.keys():
        batch.put(rows.DROP_CEILING, new.id, contract_id)


def _keep_memory(batch: Batch, old: Account, new: Account) -> None:
    if new.marks is not old.marks:
        for mark in _changed(old.marks, new.marks):
            batch.put(rows.PUT_MARK, *rows.mark_row(new.id, mark))
        for rule_id, subject in old.marks.keys() - new.marks.keys():
            batch.put("DELETE FROM timers WHERE name = ?", rows.mark_name(new.id, rule_id, subject))
    if new.breaches is not old.breaches:
        for breach in _changed(old.breaches, new.breaches):
            known = old.breaches.get((breach.rule_id, breach.subject))
            statement = (rows.PUT_BREACH, rows.breach_row(new.id, breach))
            if known is not None and replace(known, active=breach.active) == breach:
                batch.soft.append(statement)
            else:
                batch.statements.append(statement)
        for rule_id, subject in old.breaches.keys() - new.breaches.keys():
            batch.put(rows.DROP_BREACH, new.id, rule_id, subject)
    if new.closings is not old.closings:
        for closing in _changed(old.closings, new.closings):
            batch.put(rows.PUT_CLOSING, *rows.closing_row(new.id, closing))
        for contract_id in old.closings.keys() - new.closings.keys():
            batch.put(rows.DROP_CLOSING, new.id, contract_id)


def _changed[K, V](old: Mapping[K, V], new: Mapping[K, V]) -> Iterator[V]:
    for key, value in new.items():
        known = old.get(key)
        if known is not value and known != value:
            yield value


def _keep_orders(
    batch: Batch, old: Account, new: Account, filled_prices: Mapping[int, Any]
) -> None:
    before, after = old.orders, new.orders
    if isinstance(before, ManyOrders) and isinstance(after, ManyOrders):
        touched: Iterable[int] = after.touched_since(before)
    else:
        touched = dict.fromkeys((*before, *after))
    for order_id in touched:
        known, order = before.get(order_id), after.get(order_id)
        if order is None and known is not None:
            batch.put(rows.DROP_ORDER, new.id, order_id)
        elif order is not None and order is not known and order != known:
            batch.put(rows.PUT_ORDER, *rows.order_row(new.id, order, filled_prices.get(order_id)))


def _keep_day(batch: Batch, account: Account, state: State, reset: bool) -> None:
    batch.put(
        "INSERT INTO reset_state (account_id, last_reset_day, last_reset_at, next_reset_at)"
        " VALUES (?, ?, ?, ?) ON CONFLICT (account_id) DO UPDATE SET"
        " last_reset_day = excluded.last_reset_day, next_reset_at = excluded.next_reset_at,"
        " last_reset_at = coalesce(excluded.last_reset_at, last_reset_at)",
        account.id,
        account.trading_date.isoformat(),
        rows.micros(state.now) if reset else None,
        rows.micros(state.day.ends_at),
    )


# --- locks ----------------------------------------------------------------------------------------


def _keep_locks(batch: Batch, kept: Kept, after: State, facts: Iterable[Fact]) -> None:
    """The facts in their order, so that history is whole; then whatever they left unsaid."""
    now = after.now
    told: dict[tuple[int, LockKey], Lock | None] = {}
    for fact in facts:
        if isinstance(fact, LockSet):
            batch.put(rows.PUT_LOCK, *rows.lock_row(fact.lock, fact.at))
            told[fact.lock.account_id, fact.lock.key] = fact.lock
        elif isinstance(fact, LockCleared):
            _clear(batch, fact.lock.account_id, fact.lock.key, fact.at, fact.cleared_by)
            told[fact.lock.account_id, fact.lock.key] = None
    for account in after.accounts.values():
        old = kept.accounts.get(account.id)
        known: Mapping[LockKey, Lock] = {} if old is None else old.locks
        if known is account.locks:
            continue
        for key, lock in account.locks.items():
            if told.get((account.id, key), known.get(key)) != lock:
                batch.put(rows.PUT_LOCK, *rows.lock_row(lock, now))
        for key in {*known, *(k for a, k in told if a == account.id)} - account.locks.keys():
            if told.get((account.id, key), known.get(key)) is not None:
                _clear(batch, account.id, key, now, "unrecorded")


def _clear(batch: Batch, account_id: int, key: LockKey, at: datetime, by: str) -> None:
    batch.put(rows.CLEAR_LOCK, rows.micros(at), by, account_id, *key)


# --- records --------------------------------------------------------------------------------------


def _tell_fact(batch: Batch, fact: Fact, event: AnyEvent, before: State) -> None:
    at = rows.micros(fact.at)
    match fact:
        case LockSet(lock=lock):
            batch.tell(
                Entry(
                    at=at,
                    actor=lock.rule_id,
                    action="lock.set",
                    target=f"account:{lock.account_id}",
                    new=rows.plain(lock),
                )
            )
        case LockCleared(lock=lock, cleared_by=by):
            batch.tell(
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
            batch.tell(
                Entry(
                    at=at,
                    actor="calendar",
                    action="day.reset",
                    target=f"account:{fact.account_id}",
                    new=rows.plain(fact),
                )
            )
        case Alarm(account_id=account_id):
            batch.tell(
                Entry(
                    at=at,
                    actor="daemon",
                    action=f"alarm.{fact.code}",
                    target="daemon" if account_id is None else f"account:{account_id}",
                    new={"message": fact.message, "severity": fact.severity},
                )
            )


def _summarise(batch: Batch, reset: DayReset, event: AnyEvent, before: State) -> None:
    """One finished day. Its balance is the last one heard before the turn."""
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


def _tell_decision(batch: Batch, d: Decision, after: State) -> None:
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
    batch.tell(
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
                # Else a row of its own says what was asked for.
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


def _tell_call(batch: Batch, call: Call, before: State, after: State) -> None:
    action, rule_ids, reason = call.action, call.rule_ids, call.reason
    at = rows.micros(after.now)
    kind = call.kind
    if not action.follows:
        _close_superseded(batch, action, before, at)
    told = {"rule_ids": rule_ids, "reason": reason, "action": rows.plain(action)}
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
        canonical(told),
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
    batch.tell(
        Entry(
            at=at,
            actor=",".join(rule_ids) or "daemon",
            action=f"asked.{kind}",
            target=f"account:{action.account_id}",
            new={"reason": reason, "action": _stated(rows.plain(action))},
        )
    )


def _stated(columns: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of them, for the record; of which account it is another column says."""
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


def _tell_event(batch: Batch, event: AnyEvent, before: State, after: State) -> None:
    at = rows.micros(event.at)
    match event:
        case ActionSettled():
            _tell_settlement(batch, event)
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
            batch.tell(
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
            batch.tell(
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
            batch.tell(
                Entry(
                    at=at,
                    actor="daemon",
                    action="account.opened",
                    target=f"account:{event.account_id}",
                    new={"name": event.name},
                )
            )


def _tell_settlement(batch: Batch, event: ActionSettled) -> None:
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
    told = {
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
        canonical(told),
        event.action_id,
    )
    batch.tell(
        Entry(
            at=at,
            actor="gateway",
            action="settled",
            target=f"action:{event.action_id}",
            new=_stated(told),
            ok=is_confirmed,
        )
    )
