"""Applies each event to the state, before any rule judges it."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from risk_manager.domain import layered
from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Alarm, Fact, Outcome, Severity
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
from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.money import dollars
from risk_manager.domain.records import TradeRecord
from risk_manager.domain.state import HubStatus, State
from risk_manager.engine import (
    attempts,
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
from risk_manager.engine.accounts import with_account
from risk_manager.engine.admin_orders import obeyed
from risk_manager.engine.locking import (
    lower_ceilings,
)
from risk_manager.engine.settlement import settled
from risk_manager.engine.trading_day import (
    day_in_force,
    with_day_turned,
    with_leap,
    with_locks_ended,
)

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
        state = with_leap(state, event.at)
    if type(event) is QuoteChanged:
        return _quote(state, event)
    if event.at > state.now:
        state = fast_replace(state, now=event.at)
    if type(event) is Tick and event.lead != state.lead:
        state = fast_replace(state, lead=event.lead)
    facts: list[Fact] = []
    if state.now >= state.day.ends_at:
        state = fast_replace(state, day=day_in_force(state, state.rulebook), ranges={})
    if state.doubted and type(event) is Tick:
        state = quote_belief.settled(state)
    state, touched = _apply(state, event, facts)
    state = with_day_turned(state, facts)
    state = with_locks_ended(state, facts)
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
            return obeyed(state, account, event, facts)


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
    state = fast_replace(state, rulebook=book, day=day_in_force(state, book), roots=roots)
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
