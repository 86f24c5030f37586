"""Applies each event to the state, before any rule judges it."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import NamedTuple

from risk_manager.domain import fill_attribution, layered
from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Alarm, DayReset, Fact, LockCleared, Outcome, Severity
from risk_manager.domain.durations import plain_duration
from risk_manager.domain.events import (
    AccountChanged,
    AccountOpened,
    AccountReported,
    ActionSettled,
    AdminAsked,
    AnyEvent,
    ContractResolved,
    GuardResumed,
    HealthIssueChanged,
    Hub,
    HubChanged,
    HubState,
    OrderChanged,
    PositionChanged,
    QuoteChanged,
    RulebookReplaced,
    Tick,
    TradeExecuted,
    Unreadable,
)
from risk_manager.domain.executions import Execution
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.health_issue import CLOCK_AHEAD, IssueKind
from risk_manager.domain.holdings import Position
from risk_manager.domain.locks import MANUAL_ID, Lock, LockKind, LockPolicy, Release
from risk_manager.domain.money import dollars
from risk_manager.domain.records import TradeRecord
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.scope import in_scope
from risk_manager.domain.state import HubStatus, State
from risk_manager.domain.trading_calendar import DayWindow
from risk_manager.engine import (
    attempts,
    cancel_all,
    data_health,
    day_results,
    disputes,
    listed_orders,
    quote_belief,
    rule_migration,
    stated_accounts,
    stated_orders,
    stated_positions,
    unproven_cancels,
)
from risk_manager.engine.locking import (
    close_down,
    lower_ceilings,
    manual_id,
    put_lock,
    unlocked_by_admin,
)
from risk_manager.engine.settlement import settled

# After a gap this long, the next price may mean that the market is open again.
PRICES_STOPPED = timedelta(seconds=5)
HEARD_FOR = timedelta(minutes=2)
# Ticks come each second. A gap this long means that the clock was set or the machine slept.
LEAP = timedelta(seconds=10)


AccountFact = (
    PositionChanged
    | OrderChanged
    | TradeExecuted
    | AccountChanged
    | AccountReported
    | ActionSettled
    | AdminAsked
)


class Folded(NamedTuple):
    """The state after an event, the accounts to judge, and the facts to report."""

    state: State
    touched: tuple[int, ...]
    facts: tuple[Fact, ...] = ()


def fold(state: State, event: AnyEvent) -> Folded:
    """Apply one event. Time never goes back. The first event of a new trading date starts it.

    A quote never does: ask `is_day_over` before one is applied.
    """
    if event.at - state.now >= LEAP:
        state = _leapt(state, event.at)
    if type(event) is QuoteChanged:
        return _quote(state, event)
    if event.at > state.now:
        state = fast_replace(state, now=event.at)
    if type(event) is Tick and event.lead != state.lead:
        state = fast_replace(state, lead=event.lead)
    facts: list[Fact] = []
    if state.now >= state.day.ends_at:
        state = fast_replace(state, day=_day_in_force(state, state.rulebook), ranges={})
    if state.doubted and type(event) is Tick:
        state = quote_belief.settled(state)
    state, touched = _apply(state, event, facts)
    state = _turn_day(state, facts)
    state = _end_locks(state, facts)
    if type(event) is Tick:
        state = data_health.looked(state, facts)
    return Folded(state, touched, tuple(facts))


def _apply(state: State, event: AnyEvent, facts: list[Fact]) -> tuple[State, tuple[int, ...]]:
    match event:
        # The most frequent kinds come first: each failed match on a pydantic model costs time.
        case PositionChanged() | OrderChanged() | TradeExecuted():
            return _of_account(state, event, facts)
        case Tick():
            return state, tuple(state.accounts)
        case AccountOpened():
            return _opened(state, event, facts), (event.account_id,)
        case ContractResolved():
            return _resolved(state, event), tuple(state.accounts)
        case HubChanged():
            return _hub(state, event, facts), ()
        case RulebookReplaced():
            return _rulebook(state, event, facts), tuple(state.accounts)
        case Unreadable():
            facts.append(
                Alarm(
                    at=state.now,
                    account_id=event.account_id,
                    code="unreadable",
                    message=f"a message from {event.source} could not be read: {event.detail}",
                )
            )
            return state, ()
        case HealthIssueChanged():
            return data_health.with_issue(state, event), ()
        case GuardResumed():
            facts += _gap(state, event)
            return state, ()
        case QuoteChanged():
            return state, ()
    return _of_account(state, event, facts)


def _of_account(
    state: State, event: AccountFact, facts: list[Fact]
) -> tuple[State, tuple[int, ...]]:
    account_id = event.account_id
    account = state.accounts.get(account_id)
    if account is None:
        facts.append(
            Alarm(
                at=state.now,
                account_id=account_id,
                code="unlisted_account",
                message=f"account {account_id} is active but not watched; add it to accounts.yaml",
            )
        )
        return state, ()
    changed = _account_event(state, account, event, facts)
    state = with_account(state, account, changed)
    if type(event) is AccountReported:
        state = data_health.compared(state, account, changed, event, facts)
    return state, (account_id,)


def _account_event(
    state: State, account: Account, event: AccountFact, facts: list[Fact]
) -> Account:
    match event:
        case PositionChanged():
            heard = layered.plus(account.heard, event.contract_id, event.at)
            account = fast_replace(account, heard=heard)
            contract = state.contracts.get(event.contract_id)
            account = stated_positions.with_position(account, event, event.at, contract)
            account = attempts.with_end_shown(account, event.contract_id, event.at, by_stream=True)
            return lower_ceilings(account)
        case OrderChanged():
            key = f"order:{event.id}"
            told_at = account.heard.get(key)
            heard = layered.plus(account.heard, key, event.at)
            account = fast_replace(account, heard=heard)
            after = stated_orders.with_order(account, event, event.at, told_at)
            return unproven_cancels.reported_over(account, after, event)
        case TradeExecuted():
            return _executed(state, account, (event,), event.at, facts)
        case AccountChanged():
            heard = layered.plus(account.heard, "account", event.at)
            account = stated_accounts.with_record(
                fast_replace(account, heard=heard), event, event.at
            )
            return _without_orphans(state, account, facts)
        case AccountReported():
            return _without_orphans(state, _reported(state, account, event, facts), facts)
        case ActionSettled():
            return settled(state, account, event, facts)
        case AdminAsked():
            return _admin(state, account, event, facts)


# --- the market -----------------------------------------------------------------------------------


def _quote(state: State, event: QuoteChanged) -> Folded:
    contract_id = event.contract_id
    known = state.quotes.get(contract_id)
    heard = None if known is None else known.at
    if state.doubted:
        heard = quote_belief.last_heard(state, contract_id)
    state = quote_belief.quoted(state, known, event)
    if heard is not None and event.at - heard >= PRICES_STOPPED:
        state = _hurried(state, contract_id, refused_after=heard)
    if state.quotes.get(contract_id) is known:
        return Folded(state, ())
    return Folded(state, state.holders.get(contract_id, ()))


def _hurried(state: State, contract_id: str, *, refused_after: datetime) -> State:
    """Let actions refused while the contract's prices had stopped be tried again at once."""
    for account in state.accounts.values():
        attempts = {
            key: fast_replace(attempt, not_before=state.now)
            for key, attempt in account.attempts.items()
            if attempt.action.contract_id == contract_id
            and attempt.outcome is Outcome.REFUSED
            and attempt.settled_at is not None
            and attempt.settled_at > refused_after
        }
        if attempts:
            hurried = fast_replace(account, attempts={**account.attempts, **attempts})
            state = with_account(state, account, hurried)
    return state


def _resolved(state: State, event: ContractResolved) -> State:
    contract = event.contract
    state = fast_replace(
        state,
        contracts={**state.contracts, contract.id: contract},
        roots={
            **state.roots,
            contract.id: state.rulebook.symbols.root(contract.id, contract),
        },
    )
    for account in state.accounts.values():
        held = account.positions.get(contract.id)
        if held is not None:
            positions = {
                **account.positions,
                contract.id: stated_positions.revalued(held, contract),
            }
            state = with_account(state, account, fast_replace(account, positions=positions))
    return state


def _rulebook(state: State, event: RulebookReplaced, facts: list[Fact]) -> State:
    book = event.rulebook
    roots = {c: book.symbols.root(c, state.contracts.get(c)) for c in state.roots}
    state = fast_replace(state, rulebook=book, day=_day_in_force(state, book), roots=roots)
    for account in state.accounts.values():
        rule_ids = book.acting(account.id)
        kept = rule_migration.handed_on(account, rule_ids, state.now, facts)
        kept = rule_migration.without_orphans(kept, rule_ids, state.now, facts)
        state = with_account(state, account, kept)
    return state


def _hub(state: State, event: HubChanged, facts: list[Fact]) -> State:
    known = state.hubs.get(event.hub)
    if known is not None and known.state is event.state:
        return state
    status = HubStatus(state=event.state, since=state.now, reason=event.reason)
    was_down = known is not None and known.state is HubState.DOWN
    if event.state is HubState.DOWN or (event.state is HubState.UP and was_down):
        lost = event.state is HubState.DOWN
        blind = lost and event.hub is Hub.USER
        # A lost stream is an emergency only for accounts that hold a position.
        exposed: list[int | None] = [a.id for a in state.accounts.values() if blind and a.positions]
        severity = Severity.WARNING if lost else Severity.INFO
        facts.extend(
            Alarm(
                at=state.now,
                account_id=account_id,
                code=f"{event.hub}_hub_{event.state}",
                message=(
                    f"{'lost' if lost else 'regained'} the {event.hub} stream"
                    + (f": {event.reason}" if event.reason else "")
                ),
                severity=Severity.CRITICAL if exposed else severity,
                about=data_health.about(IssueKind.HUB_DOWN, event.hub),
                ends=not lost,
            )
            for account_id in exposed or [None]
        )
    return fast_replace(state, hubs={**state.hubs, event.hub: status})


def _gap(state: State, event: GuardResumed) -> Iterator[Fact]:
    """Yield an alarm for the time without protection; none after a clean stop without trades."""
    traded = []
    for account in state.accounts.values():
        totals = account.ledger.between(event.since, event.at)
        if totals.executions:
            number = f"{totals.executions} execution{'' if totals.executions == 1 else 's'}"
            name = f" ({account.name})" if account.name not in ("", str(account.id)) else ""
            traded.append(f"account {account.id}{name}, {number}, net {dollars(totals.net)}")
    if event.clean and not traded:
        return
    zone = state.rulebook.day.zone
    since, until = event.since.astimezone(zone), event.at.astimezone(zone)
    day = "" if since.date() == until.date() else "%a "
    length = timedelta(seconds=round((event.at - event.since).total_seconds()))
    why = "it had been stopped" if event.clean else "the daemon ended without being stopped"
    then = (
        f"Traded in that time: {'; '.join(traded)}."
        if traded
        else ("Nothing was traded in that time.")
    )
    yield Alarm(
        at=state.now,
        account_id=None,
        code="was_down",
        message=(
            f"nobody guarded from {since:%a %H:%M:%S} to {until:{day}%H:%M:%S %Z} "
            f"({plain_duration(length)}): {why}. {then}"
        ),
        severity=Severity.CRITICAL if traded and not event.clean else Severity.WARNING,
    )


# --- the account ----------------------------------------------------------------------------------


def _opened(state: State, event: AccountOpened, facts: list[Fact]) -> State:
    known = state.accounts.get(event.account_id)
    if known is not None:
        # The remembered account may be hours old: it counts as unread until the broker is read.
        resumed = fast_replace(
            known,
            name=known.name or event.name,
            simulated=known.simulated if event.simulated is None else event.simulated,
            reported_at=None,
            reported_as_of=None,
            resumed_at=event.at,
        )
        # The limits may have been edited meanwhile.
        rule_ids = state.rulebook.acting(known.id)
        resumed = rule_migration.handed_on(resumed, rule_ids, state.now, facts)
        return with_account(state, known, resumed)
    account = Account(
        id=event.account_id,
        trading_date=event.trading_date or state.day.date,
        name=event.name,
        simulated=event.simulated,
    )
    return with_account(state, None, account)


def _executed(
    state: State,
    account: Account,
    records: Iterable[TradeRecord],
    at: datetime,
    facts: list[Fact],
    *,
    as_of: datetime | None = None,
) -> Account:
    before, day = account.ledger, state.rulebook.day
    executions = [Execution.of(record, at, day, state.day.date) for record in records]
    ledger = (
        before.record(executions[0]) if as_of is None else before.stated(executions, as_of=as_of)
    )
    if ledger is before:
        return account
    for record in executions:
        if record.voided and before.counts(record.id) > ledger.counts(record.id):
            facts.append(
                Alarm(
                    at=at,
                    account_id=account.id,
                    code="trade_voided",
                    message=f"trade {record.id} in {state.name(record.contract_id)} was voided; "
                    "the day's result changed, locks stay",
                )
            )
    account = fast_replace(account, ledger=ledger)
    account = day_results.with_late_trades(account, before, state.rulebook, at)
    return stated_positions.averaged(account, state.contracts)


def _reported(state: State, account: Account, event: AccountReported, facts: list[Fact]) -> Account:
    if event.account is not None:
        account = stated_accounts.with_record_reported(
            account, event.account, event.asked_at, event.at
        )
    if event.trades is not None:
        trades = day_results.recent(event, account.trading_date, state.rulebook.day)
        account = _executed(state, account, trades, event.at, facts, as_of=event.asked_at)
        account = day_results.with_report(account, event, state.rulebook)
    if event.positions is not None:
        account = stated_positions.with_positions_reported(
            account, event.positions, event.asked_at, event.at, state.contracts
        )
        for attempt in tuple(account.attempts.values()):
            contract_id = attempt.action.contract_id
            account = attempts.with_end_shown(account, contract_id, event.at, by_stream=False)
        account = lower_ceilings(account)
    if event.orders is not None:
        orders = event.orders
        if event.positions is None:
            orders = listed_orders.judgeable_without_positions(account, orders)
        listed = listed_orders.with_orders_reported(account, orders, event.asked_at, event.at)
        account = unproven_cancels.doubted_over(account, listed, event.at)
    if event.positions is not None and event.orders is not None:
        horizon = event.asked_at - HEARD_FOR
        heard = {k: t for k, t in account.heard.items() if t > horizon}
        account = fast_replace(
            account, reported_at=event.at, reported_as_of=event.asked_at, heard=heard
        )
        account = disputes.without_disputes(account, event.asked_at)
    return account


def _without_orphans(state: State, account: Account, facts: list[Fact]) -> Account:
    if not account.locks or account.is_only_remembered(state.now):
        return account
    return rule_migration.without_orphans(
        account, state.rulebook.acting(account.id), state.now, facts
    )


def _admin(state: State, account: Account, event: AdminAsked, facts: list[Fact]) -> Account:
    now = state.now
    match event.verb:
        case "lock":
            lock = Lock(
                account_id=account.id,
                scope=event.scope,
                rule_id=manual_id(account, event),
                kind=LockKind.MANUAL,
                policy=LockPolicy(event.policy),
                release=Release.MANUAL if event.until is None else Release.TIME,
                reason=event.reason,
                set_at=now,
                expires_at=event.until,
                trading_date=state.day.date,
                trigger=event.actor,
            )
            return put_lock(state, account, lock, facts)
        case "lock_day":
            lock = Lock(
                account_id=account.id,
                scope=event.scope,
                rule_id=event.rule_id or MANUAL_ID,
                kind=LockKind.HARD,
                policy=LockPolicy(event.policy),
                release=Release.RESET,
                reason=event.reason,
                set_at=now,
                expires_at=state.day.ends_at,
                trading_date=state.day.date,
                trigger=event.actor,
                admin_may_clear=False,
            )
            return put_lock(state, account, lock, facts)
        case "unlock":
            return unlocked_by_admin(state, account, event, facts)
        case "flatten":
            chosen = [c for c in account.contract_ids() if in_scope(event.scope, state.root(c), c)]
            return close_down(account, chosen, now, MANUAL_ID, event.reason)
        case "cancel_all":
            return cancel_all.with_called_off(account, event, state.root)


# --- time -----------------------------------------------------------------------------------------


def _leapt(state: State, now: datetime) -> State:
    """Note a forward jump of the clock on every attempt in flight.

    Otherwise the jump would count as waiting time, the attempt would be taken for lost, and it
    would be sent a second time.
    """
    for account in state.accounts.values():
        attempts = {
            key: fast_replace(attempt, leapt_at=now)
            for key, attempt in account.attempts.items()
            if attempt.in_flight
        }
        if attempts:
            counted = fast_replace(account, attempts={**account.attempts, **attempts})
            state = with_account(state, account, counted)
    return state


def _is_ahead(state: State) -> bool:
    """Whether our clock is ahead of the gateway's; while it is, no lock and no day ends by it."""
    ahead = state.health_issues.get(CLOCK_AHEAD) if state.health_issues else None
    return ahead is not None and ahead.stands


def is_day_over(state: State, now: datetime) -> bool:
    """Whether a new trading day has begun that no event has started yet."""
    return now >= state.day.ends_at and not _is_ahead(state)


def _day_in_force(state: State, book: Rulebook) -> DayWindow:
    """Return the trading day in force. It does not turn by a clock that is ahead."""
    last = state.day.ends_at - timedelta.resolution
    return book.day.window(min(state.now, last) if _is_ahead(state) else state.now)


def _turn_day(state: State, facts: list[Fact]) -> State:
    for account in state.accounts.values():
        if account.trading_date > state.day.date:
            state = _redated(state, account)
        if account.trading_date >= state.day.date:
            continue
        state = _told_redated(state, account, "")
        old = account.trading_date
        totals = account.ledger.day(old)
        cleared = sum(
            lock.release is Release.RESET and lock.trading_date < state.day.date
            for lock in account.locks.values()
        )
        facts.append(
            DayReset(
                at=state.now,
                account_id=account.id,
                old_date=old.isoformat(),
                new_date=state.day.date.isoformat(),
                previous_net=totals.net,
                previous_executions=totals.executions,
                locks_cleared=cleared,
            )
        )
        account = day_results.with_day_ended(account, state)
        turned = fast_replace(
            account,
            trading_date=state.day.date,
            ledger=account.ledger.forget_before(old).carried_over(
                state.rulebook.day, old, state.day.date
            ),
            breaches={
                k: b for k, b in account.breaches.items() if b.active or b.trading_date >= old
            },
        )
        turned = fill_attribution.without_older(turned, state.day.starts_at - timedelta(days=4))
        state = with_account(state, account, turned)
    return state


def _redated(state: State, account: Account) -> State:
    """Date an account back to today if its trading date has not begun; its trades count today."""
    ahead, today = account.trading_date, state.day.date
    ledger = account.ledger
    for execution in ledger.entries.values():
        if execution.trading_date > today:
            ledger = ledger.record(fast_replace(execution, trading_date=today))
    state = with_account(state, account, fast_replace(account, trading_date=today, ledger=ledger))
    return _told_redated(
        state,
        account,
        f"the account was dated {ahead}, which has not begun: a clock was ahead, or the hour of "
        f"the reset was another. It is dated {today} again",
    )


def _told_redated(state: State, account: Account, reason: str) -> State:
    key = (IssueKind.CLOCK_TURNED, account.id, "dated")
    if not reason and key not in state.health_issues:
        return state
    kind, account_id, subject = key
    issue = HealthIssueChanged(
        at=state.now, doubt=kind, account_id=account_id, subject=subject, reason=reason
    )
    return data_health.with_issue(state, issue)


_ENDED_BY = {Release.RESET: "daily_reset", Release.SESSION_START: "session_start"}


def _end_locks(state: State, facts: list[Fact]) -> State:
    if _is_ahead(state):
        return state
    for account in state.accounts.values():
        if not account.locks:
            continue
        over = [x for x in account.locks.values() if x.is_over(state.now, state.day.date)]
        if not over:
            continue
        for lock in over:
            by = _ENDED_BY.get(lock.release, "timer_expiry")
            facts.append(LockCleared(at=state.now, lock=lock, cleared_by=by))
        keys = {lock.key for lock in over}
        locks = {k: v for k, v in account.locks.items() if k not in keys}
        state = with_account(state, account, fast_replace(account, locks=locks))
    return state


# --- state ----------------------------------------------------------------------------------------


def with_account(state: State, before: Account | None, after: Account) -> State:
    """Return the state with one account replaced and the index of holders updated."""
    if after is before:
        return state
    if after.ceilings and not any(
        lock.policy is LockPolicy.NO_ENTRIES for lock in after.locks.values()
    ):
        after = fast_replace(after, ceilings={})
    holders: Mapping[str, tuple[int, ...]] = state.holders
    old: Mapping[str, Position] = before.positions if before is not None else {}
    if after.positions is not old:
        holders = _holders(holders, after.id, old.keys(), after.positions.keys())
    roots = state.roots
    unknown = [c for c in after.contract_ids() if c not in roots]
    if unknown:
        symbols = state.rulebook.symbols
        roots = {**roots, **{c: symbols.root(c, state.contracts.get(c)) for c in unknown}}
    state = fast_replace(
        state, accounts={**state.accounts, after.id: after}, holders=holders, roots=roots
    )
    if state.doubted and after.positions is not old:
        state = quote_belief.entered(state, after.positions)
    return state


def _holders(
    holders: Mapping[str, tuple[int, ...]],
    account_id: int,
    old: AbstractSet[str],
    new: AbstractSet[str],
) -> Mapping[str, tuple[int, ...]]:
    if old == new:
        return holders
    changed = dict(holders)
    for contract_id in sorted(new - old):
        changed[contract_id] = (*changed.get(contract_id, ()), account_id)
    for contract_id in old - new:
        left = tuple(a for a in changed.get(contract_id, ()) if a != account_id)
        if left:
            changed[contract_id] = left
        else:
            changed.pop(contract_id, None)
    return changed
