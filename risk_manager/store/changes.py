"""The parts of the state that a turn of events changed, as rows to write. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import DayReset, Fact, LockCleared, LockSet
from risk_manager.domain.events import (
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
from risk_manager.engine.step import Step
from risk_manager.engine.turn import Judged
from risk_manager.store import rows
from risk_manager.store.batch import Batch, Persisted
from risk_manager.store.histories import record

ALWAYS_RECORDED = (ActionSettled, AdminAsked, HubChanged, RulebookReplaced)
"""Events that are recorded even if they changed nothing."""


def keeps_nothing(event: AnyEvent, before: State, outcome: Step) -> bool:
    """Whether this event plainly leaves nothing to write, as nearly every quote and tick does."""
    after = outcome.state
    return (
        after.accounts is before.accounts
        and after.contracts is before.contracts
        and not (outcome.decisions or outcome.actions or outcome.facts)
        and not isinstance(event, ALWAYS_RECORDED)
    )


def changes(persisted: Persisted, turn: Sequence[Judged]) -> Batch:
    """Return everything to write after a turn.

    The new state is compared once with the persisted one, however many events the turn had.
    Histories are recorded event by event.
    """
    batch = Batch()
    after = turn[-1].outcome.state
    facts = [fact for judged in turn for fact in judged.outcome.facts]
    _persist_contracts(batch, persisted, after)
    filled_prices = {
        judged.event.id: judged.event.filled_price
        for judged in turn
        if isinstance(judged.event, OrderChanged)
    }
    known, next_reset = persisted.accounts, after.day.ends_at
    is_same_day = persisted.next_reset == next_reset
    # Of many accounts an event changes one.
    changed = [
        (known.get(i), account)
        for i, account in after.accounts.items()
        if known.get(i) is not account or not is_same_day
    ]
    for old, account in changed:
        if old is not account:
            _persist_account(batch, old, account, after, filled_prices)
        if old is None or (old.trading_date, persisted.next_reset) != (
            account.trading_date,
            next_reset,
        ):
            reset = any(isinstance(f, DayReset) and f.account_id == account.id for f in facts)
            _persist_day(batch, account, after, reset)
    _persist_locks(batch, changed, after.now, facts)
    for judged in turn:
        record(batch, judged)
    return batch


def everything(state: State, at: datetime) -> Batch:
    """Return rows that overwrite the stored state with this one. Histories are kept."""
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
        _persist_account(batch, None, account, state, {})
        _persist_day(batch, account, state, False)
        # Rows held in memory are stamped first; then only rows without this stamp are cleared.
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


def lost_in_flight(at: datetime) -> Batch:
    """Return rows that mark the actions in flight as lost, as the process that knew them ended."""
    batch = Batch()
    # Each with the condition of an index, word for word: else all rows ever kept are read.
    batch.put(
        "UPDATE enforcement_log SET outcome = 'lost', last_seen = ?"
        " WHERE outcome = 'sent' AND outcome <> 'confirmed'",
        rows.micros(at),
    )
    batch.put(
        "UPDATE intents SET state = 'LOST', updated_at = ?,"
        " last_error = 'the daemon ended before it heard'"
        " WHERE state IN ('NEW', 'SENT') AND state IN ('NEW', 'SENT', 'UNCERTAIN')",
        rows.micros(at),
    )
    return batch


# --- state ----------------------------------------------------------------------------------------


def _persist_contracts(batch: Batch, persisted: Persisted, after: State) -> None:
    if after.contracts is persisted.contracts:
        return
    for contract in _changed(persisted.contracts, after.contracts):
        batch.put(rows.PUT_CONTRACT, *rows.contract_row(contract, after.now))


def _persist_account(
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
        batch.deferred.append((rows.PUT_ACCOUNT, rows.account_row(new)))
    if new.positions is not old.positions:
        for position in _changed(old.positions, new.positions):
            batch.put(rows.PUT_POSITION, *rows.position_row(new.id, position, state.now))
        for contract_id in old.positions.keys() - new.positions.keys():
            batch.put(rows.DROP_POSITION, new.id, contract_id)
    if new.orders is not old.orders:
        _persist_orders(batch, old, new, filled_prices)
    if new.ledger is not old.ledger:
        _persist_trades(batch, old, new)
    if new.ceilings is not old.ceilings:
        _persist_ceilings(batch, old, new)
    _persist_memory(batch, old, new)


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


def _persist_trades(batch: Batch, old: Account, new: Account) -> None:
    late: set[date] = set()
    for execution in _changed(old.ledger.entries, new.ledger.entries):
        batch.put(rows.PUT_TRADE, *rows.trade_row(new.id, execution))
        if execution.trading_date < new.trading_date:
            late.add(execution.trading_date)
    # Trades that left the ledger at the daily reset stay in the table.
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


def _persist_ceilings(batch: Batch, old: Account, new: Account) -> None:
    for contract_id, net in new.ceilings.items():
        if old.ceilings.get(contract_id) != net:
            batch.put(rows.PUT_CEILING, new.id, contract_id, net)
    for contract_id in old.ceilings.keys() - new.ceilings.keys():
        batch.put(rows.DROP_CEILING, new.id, contract_id)


def _persist_memory(batch: Batch, old: Account, new: Account) -> None:
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
                batch.deferred.append(statement)
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


def _persist_orders(
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


def _persist_day(batch: Batch, account: Account, state: State, reset: bool) -> None:
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


def _persist_locks(
    batch: Batch,
    changed: Iterable[tuple[Account | None, Account]],
    now: datetime,
    facts: Iterable[Fact],
) -> None:
    """Write the locks that the facts state, in order, so that history is whole; then the rest."""
    stated: dict[tuple[int, LockKey], Lock | None] = {}
    for fact in facts:
        if isinstance(fact, LockSet):
            batch.put(rows.PUT_LOCK, *rows.lock_row(fact.lock, fact.at))
            stated[fact.lock.account_id, fact.lock.key] = fact.lock
        elif isinstance(fact, LockCleared):
            _clear(batch, fact.lock.account_id, fact.lock.key, fact.at, fact.cleared_by)
            stated[fact.lock.account_id, fact.lock.key] = None
    for old, account in changed:
        known: Mapping[LockKey, Lock] = {} if old is None else old.locks
        if known is account.locks:
            continue
        for key, lock in account.locks.items():
            if stated.get((account.id, key), known.get(key)) != lock:
                batch.put(rows.PUT_LOCK, *rows.lock_row(lock, now))
        for key in {*known, *(k for a, k in stated if a == account.id)} - account.locks.keys():
            if stated.get((account.id, key), known.get(key)) is not None:
                _clear(batch, account.id, key, now, "unrecorded")


def _clear(batch: Batch, account_id: int, key: LockKey, at: datetime, by: str) -> None:
    batch.put(rows.CLEAR_LOCK, rows.micros(at), by, account_id, *key)
