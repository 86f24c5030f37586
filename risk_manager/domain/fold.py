"""Facts into state: what each event changes, before anyone judges it."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from itertools import count
from typing import NamedTuple

from risk_manager.domain import account as accounts
from risk_manager.domain import attempts as calls
from risk_manager.domain import (
    blindness,
    called_off,
    layered,
    own_closes,
    prices,
    succession,
    unproven_cancels,
)
from risk_manager.domain.account import Account, Attempt, Position
from risk_manager.domain.decisions import (
    Alarm,
    CancelOrder,
    ClosePosition,
    DayReset,
    Fact,
    LockCleared,
    LockSet,
    MoveStop,
    Outcome,
    PlaceExit,
    ReducePosition,
    Severity,
)
from risk_manager.domain.doubt import CLOCK_AHEAD, DoubtKind
from risk_manager.domain.durations import plain_duration
from risk_manager.domain.events import (
    AccountChanged,
    AccountOpened,
    AccountReported,
    ActionSettled,
    AdminAsked,
    AnyEvent,
    ContractResolved,
    DoubtChanged,
    GuardResumed,
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
from risk_manager.domain.evolve import evolve
from risk_manager.domain.exchange_hours import CHICAGO, opens_next
from risk_manager.domain.ledger import Execution
from risk_manager.domain.locks import MANUAL_ID, Lock, LockKind, LockPolicy, Release
from risk_manager.domain.money import dollars
from risk_manager.domain.records import PositionRecord, TradeRecord
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import HubStatus, State
from risk_manager.domain.trading_calendar import DayWindow
from risk_manager.domain.view import in_scope

# How long a call is left alone before it is repeated: after it was refused, or, where its fate is
# unknown, after it was sent. While the exchange is known to be shut nobody need hurry.
REFUSED_PAUSES = tuple(timedelta(seconds=s) for s in (1, 2, 5, 5, 5, 5, 5, 5, 10))
SHUT_PAUSES = tuple(timedelta(seconds=s) for s in (1, 2, 5, 10, 30, 60))
# The enforcer leaves the gateway a moment first.
NOT_KNOWN_YET_PAUSES = tuple(timedelta(seconds=s) for s in (*[0] * 9, 1, 2, 5))
UNKNOWN_PAUSES = tuple(timedelta(seconds=s) for s in (0, 0, 0, 1, 2, 5))
# An exit that was placed shows up in the list of orders within this, or is gone again.
PLACED_PAUSE = timedelta(seconds=1)
# Where no price came for so long, the first one after it may be that of a market open again.
PRICES_STOPPED = timedelta(seconds=5)
HEARD_FOR = timedelta(minutes=2)
ROUNDED_TO = timedelta(seconds=10)

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
    """State after an event, who must be judged, and what is to be told."""

    state: State
    touched: tuple[int, ...]
    facts: tuple[Fact, ...] = ()


def fold(state: State, event: AnyEvent) -> Folded:
    """Apply one event. Time never goes back; a new trading date is noticed by whoever is first."""
    if type(event) is QuoteChanged:
        return _quote(state, event)
    if event.at > state.now:
        state = evolve(state, now=event.at)
    if type(event) is Tick and event.lead != state.lead:
        state = evolve(state, lead=event.lead)
    facts: list[Fact] = []
    if state.now >= state.day.ends_at:
        state = evolve(state, day=_day_in_force(state, state.rulebook), ranges={})
    if state.doubted and type(event) is Tick:
        state = prices.settled(state)
    state, touched = _apply(state, event, facts)
    state = _turn_day(state, facts)
    state = _end_locks(state, facts)
    if type(event) is Tick:
        state = blindness.looked(state, facts)
    return Folded(state, touched, tuple(facts))


def _apply(state: State, event: AnyEvent, facts: list[Fact]) -> tuple[State, tuple[int, ...]]:
    match event:
        # What comes most stands first: to ask what a pydantic value is not takes a while.
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
        case DoubtChanged():
            return blindness.noted(state, event), ()
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
        state = blindness.compared(state, account, changed, event, facts)
    return state, (account_id,)


def _account_event(
    state: State, account: Account, event: AccountFact, facts: list[Fact]
) -> Account:
    match event:
        case PositionChanged():
            heard = layered.plus(account.heard, event.contract_id, event.at)
            account = evolve(account, heard=heard)
            contract = state.contracts.get(event.contract_id)
            account = accounts.with_position(account, event, event.at, contract)
            account = calls.noted(account, event.contract_id, event.at, by_stream=True)
            return _lower_ceilings(account)
        case OrderChanged():
            heard = layered.plus(account.heard, f"order:{event.id}", event.at)
            return accounts.with_order(evolve(account, heard=heard), event, event.at)
        case TradeExecuted():
            return _executed(state, account, (event,), event.at, facts)
        case AccountChanged():
            heard = layered.plus(account.heard, "account", event.at)
            account = accounts.with_record(evolve(account, heard=heard), event, event.at)
            return _without_orphans(state, account, facts)
        case AccountReported():
            return _without_orphans(state, _reported(state, account, event, facts), facts)
        case ActionSettled():
            return _settled(state, account, event, facts)
        case AdminAsked():
            return _admin(state, account, event, facts)


# --- the market -----------------------------------------------------------------------------------


def _quote(state: State, event: QuoteChanged) -> Folded:
    contract_id = event.contract_id
    known = state.quotes.get(contract_id)
    heard = None if known is None else known.at
    if state.doubted:
        heard = prices.last_heard(state, contract_id)
    state = prices.quoted(state, known, event)
    if heard is not None and event.at - heard >= PRICES_STOPPED:
        state = _hurried(state, contract_id, refused_after=heard)
    if state.quotes.get(contract_id) is known:
        return Folded(state, ())
    return Folded(state, state.holders.get(contract_id, ()))


def _hurried(state: State, contract_id: str, *, refused_after: datetime) -> State:
    """What was refused in a contract while its prices had stopped may be tried again at once."""
    for account in state.accounts.values():
        attempts = {
            key: evolve(attempt, not_before=state.now)
            for key, attempt in account.attempts.items()
            if attempt.action.contract_id == contract_id
            and attempt.outcome is Outcome.REFUSED
            and attempt.settled_at is not None
            and attempt.settled_at > refused_after
        }
        if attempts:
            hurried = evolve(account, attempts={**account.attempts, **attempts})
            state = with_account(state, account, hurried)
    return state


def _resolved(state: State, event: ContractResolved) -> State:
    contract = event.contract
    state = evolve(
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
            positions = {**account.positions, contract.id: accounts.revalued(held, contract)}
            state = with_account(state, account, evolve(account, positions=positions))
    return state


def _rulebook(state: State, event: RulebookReplaced, facts: list[Fact]) -> State:
    book = event.rulebook
    roots = {c: book.symbols.root(c, state.contracts.get(c)) for c in state.roots}
    state = evolve(state, rulebook=book, day=_day_in_force(state, book), roots=roots)
    for account in state.accounts.values():
        rule_ids = book.acting(account.id)
        kept = succession.handed_on(account, rule_ids, state.now, facts)
        kept = succession.without_orphans(kept, rule_ids, state.now, facts)
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
        # An emergency is that of the accounts that hold something, and of no other.
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
                about=blindness.about(DoubtKind.HUB_DOWN, event.hub),
                ends=not lost,
            )
            for account_id in exposed or [None]
        )
    return evolve(state, hubs={**state.hubs, event.hub: status})


def _gap(state: State, event: GuardResumed) -> Iterator[Fact]:
    """An alarm for the time in which nobody guarded; none after a stop with nothing traded."""
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
        # What is remembered may be hours old: until the broker has been read it is only that.
        resumed = evolve(
            known,
            name=known.name or event.name,
            reported_at=None,
            reported_as_of=None,
            resumed_at=event.at,
        )
        # The limits may have been edited meanwhile.
        rule_ids = state.rulebook.acting(known.id)
        resumed = succession.handed_on(resumed, rule_ids, state.now, facts)
        return with_account(state, known, resumed)
    account = Account(
        id=event.account_id, trading_date=event.trading_date or state.day.date, name=event.name
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
    return accounts.averaged(evolve(account, ledger=ledger), state.contracts)


def _reported(state: State, account: Account, event: AccountReported, facts: list[Fact]) -> Account:
    if event.account is not None:
        account = accounts.with_record_reported(account, event.account, event.asked_at, event.at)
    if event.trades is not None:
        account = _executed(state, account, event.trades, event.at, facts, as_of=event.asked_at)
    if event.positions is not None:
        account = accounts.with_positions_reported(
            account, event.positions, event.asked_at, event.at, state.contracts
        )
        for attempt in tuple(account.attempts.values()):
            contract_id = attempt.action.contract_id
            account = calls.noted(account, contract_id, event.at, by_stream=False)
        account = _lower_ceilings(account)
    if event.orders is not None:
        orders = event.orders
        if event.positions is None:
            # An order not known yet may protect a position not known yet: without the positions
            # it would be taken for an entry, and cancelled.
            orders = tuple(o for o in orders if o.id in account.orders)
        account = accounts.with_orders_reported(account, orders, event.asked_at, event.at)
    if event.positions is not None and event.orders is not None:
        horizon = event.asked_at - HEARD_FOR
        heard = {k: t for k, t in account.heard.items() if t > horizon}
        account = evolve(account, reported_at=event.at, reported_as_of=event.asked_at, heard=heard)
        account = accounts.without_disputes(account, event.asked_at)
    return account


def _without_orphans(state: State, account: Account, facts: list[Fact]) -> Account:
    if not account.locks or account.is_only_remembered(state.now):
        return account
    return succession.without_orphans(account, state.rulebook.acting(account.id), state.now, facts)


def _settled(state: State, account: Account, event: ActionSettled, facts: list[Fact]) -> Account:
    key, attempt = next(
        ((k, a) for k, a in account.attempts.items() if a.action.id == event.action_id), ("", None)
    )
    if attempt is None:
        return account
    if key != attempt.action.key:  # another one has followed: what is to be done is its matter
        ended = evolve(attempt, settled_at=event.at, outcome=event.outcome)
        account = evolve(account, attempts={**account.attempts, key: ended})
        return own_closes.noted(account, ended, event)
    account = _ended_by(account, attempt, event)
    refused = 0
    if event.outcome is Outcome.REFUSED:
        refused = attempt.refused + 1 if event.error_code == attempt.refused_code else 1
    attempt = evolve(attempt, refused=refused, refused_code=event.error_code)
    not_before = event.at + _pause(state, account, event, attempt)
    opens_at = _opens_at(state, attempt, event.at) if refused else None
    if opens_at is not None:
        pause = SHUT_PAUSES[min(refused, len(SHUT_PAUSES)) - 1]
        not_before = min(event.at + pause, opens_at)
        if attempt.tries == 1:
            facts.append(_market_shut(state, account, attempt, event, opens_at))
    account = unproven_cancels.answered(account, attempt, event)
    if unproven_cancels.is_noted(account, attempt.action):
        not_before = event.at + unproven_cancels.pause(attempt.tries)
    ended = evolve(attempt, settled_at=event.at, outcome=event.outcome, not_before=not_before)
    if event.outcome not in (Outcome.DONE, Outcome.GONE) and opens_at is None:
        limit = state.rulebook.defaults.max_attempts
        if attempt.tries == limit or (attempt.tries > limit and attempt.tries % 10 == 0):
            facts.append(
                Alarm(
                    at=event.at,
                    account_id=account.id,
                    code="cannot_enforce",
                    message=(
                        f"{attempt.tries} attempts on {state.name(attempt.action.contract_id)} "
                        f"have failed ({event.message or event.outcome}); still trying. "
                        "Close it by hand in the trading platform."
                    ),
                    severity=Severity.CRITICAL,
                )
            )
    account = evolve(account, attempts={**account.attempts, key: ended})
    return own_closes.noted(account, ended, event)


def _ended_by(account: Account, attempt: Attempt, event: ActionSettled) -> Account:
    """The account without what a call has ended, or that the gateway does not know.

    Who answers may not know yet what the stream has just told: then it is asked again.
    """
    action = attempt.action
    if event.outcome is Outcome.GONE and isinstance(action, CancelOrder | MoveStop):
        if accounts.is_for_news(account, action, event.at):
            return account
        return accounts.without_order(account, action.order_id, event.at)
    if event.outcome is not Outcome.DONE or not event.verified:
        return account
    if isinstance(action, CancelOrder) and _stream_alone(account, action.key, attempt.asked_at):
        return accounts.without_order(account, action.order_id, event.at)
    if isinstance(action, ClosePosition):
        held = account.positions.get(action.contract_id)
        alone = _stream_alone(account, action.contract_id, attempt.asked_at)
        if held is not None and held.episode == action.episode and alone:
            flat = PositionRecord(
                id=held.gateway_id, account_id=account.id, contract_id=held.contract_id, size=0
            )
            account = accounts.with_position(account, flat, event.at, None)
            disputes = {k: d for k, d in account.disputes.items() if k != held.contract_id}
            return _lower_ceilings(evolve(account, disputes=disputes))
    return account


def _stream_alone(account: Account, key: str, asked_at: datetime) -> bool:
    """Whether the stream alone told of an order or position, before an action was asked for, and a
    list has left it out: if the call was accepted, that was its effect."""
    dispute, heard = account.disputes.get(key), account.heard.get(key)
    return dispute is not None and dispute.left_out and heard is not None and heard <= asked_at


def _opens_at(state: State, attempt: Attempt, at: datetime) -> datetime | None:
    """When the exchange opens again for what could not be closed; None while it is open."""
    calendar = state.rulebook.calendar
    return opens_next(calendar, state.root(attempt.action.contract_id), at)


def _market_shut(
    state: State, account: Account, attempt: Attempt, event: ActionSettled, opens_at: datetime
) -> Alarm:
    name = state.name(attempt.action.contract_id)
    return Alarm(
        at=event.at,
        account_id=account.id,
        code="market_shut",
        message=(
            f"{name} cannot be closed or cancelled while the exchange is shut "
            f"({event.message or event.outcome}). It is decided on: tried again each minute, and "
            f"at the opening, {opens_at.astimezone(CHICAGO):%a %H:%M} in Chicago. Or do it by "
            "hand in the trading platform as soon as it opens."
        ),
        severity=Severity.CRITICAL,
    )


def _pause(state: State, account: Account, event: ActionSettled, attempt: Attempt) -> timedelta:
    # A try that took its time has been a pause already.
    took = max(event.at - attempt.asked_at, timedelta(0))
    apart = UNKNOWN_PAUSES[min(attempt.tries, len(UNKNOWN_PAUSES)) - 1]
    growing = max(apart - took, timedelta(0))
    placed = PLACED_PAUSE if isinstance(attempt.action, PlaceExit) else timedelta(0)
    match event.outcome:
        case Outcome.REFUSED:
            return REFUSED_PAUSES[min(attempt.refused, len(REFUSED_PAUSES)) - 1]
        case Outcome.GONE if accounts.is_for_news(account, attempt.action, event.at):
            return NOT_KNOWN_YET_PAUSES[min(attempt.tries, len(NOT_KNOWN_YET_PAUSES)) - 1]
        case Outcome.UNSENT:
            return growing
        case Outcome.UNKNOWN if event.verified or isinstance(attempt.action, CancelOrder):
            return max(growing, placed)
        case Outcome.UNKNOWN if isinstance(attempt.action, ClosePosition):
            # Nobody could look, but closing twice is no more than closing: a close sent so long
            # ago would show in the stream by now.
            return max(state.rulebook.defaults.reissue_after - took, growing)
        case Outcome.DONE if not event.verified and _has_shown(account, attempt):
            return growing
        case _ if not event.verified:
            return state.rulebook.defaults.reissue_after
    return placed


def _has_shown(account: Account, attempt: Attempt) -> bool:
    """Whether the stream has told of a close's fill, and of the position after it: what is more
    than may be held by now is new."""
    if not isinstance(attempt.action, ClosePosition | ReducePosition):
        return False
    contract_id = attempt.action.contract_id
    heard = account.heard.get(contract_id)
    return heard is not None and any(
        e.contract_id == contract_id
        and e.pnl is not None
        and attempt.asked_at < e.received_at <= heard
        for e in account.ledger.standing()
    )


def _admin(state: State, account: Account, event: AdminAsked, facts: list[Fact]) -> Account:
    now = state.now
    match event.verb:
        case "lock":
            lock = Lock(
                account_id=account.id,
                scope=event.scope,
                rule_id=_manual_id(account, event),
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
            return _unlocked_by_admin(state, account, event, facts)
        case "flatten":
            chosen = [c for c in account.contract_ids() if in_scope(event.scope, state.root(c), c)]
            return close_down(account, chosen, now, MANUAL_ID, event.reason)
        case "cancel_all":
            return called_off.noted(account, event, state.root)


def _manual_id(account: Account, event: AdminAsked) -> str:
    """The id of a lock set by hand: each is a lock of its own, unless it repeats another one.

    Under one id they would be merged, and the laxer or shorter one would lose its terms.
    """
    taken = set()
    for lock in account.locks.values():
        if lock.scope != event.scope:
            continue
        if lock.kind is LockKind.MANUAL and (lock.policy, lock.reason) == (
            LockPolicy(event.policy),
            event.reason,
        ):
            return lock.rule_id
        taken.add(lock.rule_id)
    names = (MANUAL_ID if n == 1 else f"{MANUAL_ID}-{n}" for n in count(1))
    return next(name for name in names if name not in taken)


def may_be_cleared(account: Account, lock: Lock, today: date) -> bool:
    """Whether an administrator may end this lock on this trading date."""
    if lock.release is Release.MANUAL:
        return lock.admin_may_clear or lock.trading_date < today
    if lock.release is Release.CAN_TRADE:
        return lock.admin_may_clear and account.can_trade is True
    return lock.admin_may_clear and lock.release is not Release.CONFIG


def _unlocked_by_admin(
    state: State, account: Account, event: AdminAsked, facts: list[Fact]
) -> Account:
    locks = dict(account.locks)
    for key, lock in account.locks.items():
        if lock.scope != event.scope or event.rule_id not in (None, lock.rule_id):
            continue
        if not may_be_cleared(account, lock, state.day.date):
            facts.append(
                Alarm(
                    at=state.now,
                    account_id=account.id,
                    code="unlock_refused",
                    message=f"the lock of {lock.rule_id} cannot be cleared by hand: {lock.reason}",
                )
            )
            continue
        del locks[key]
        facts.append(LockCleared(at=state.now, lock=lock, cleared_by="admin_override"))
    return account if len(locks) == len(account.locks) else evolve(account, locks=locks)


# --- locks, ceilings and closings -----------------------------------------------------------------


def put_lock(state: State, account: Account, lock: Lock, facts: list[Fact]) -> Account:
    """With this lock in force; one of the same rule and scope is prolonged, never shortened."""
    lock = _by_the_later_clock(state, lock)
    known = account.locks.get(lock.key)
    kept = lock if known is None else known.prolonged_by(lock)
    if kept is known:
        return account
    if kept.policy is LockPolicy.NO_ENTRIES and known is None:
        account = _raise_ceilings(state, account, kept)
    facts.append(LockSet(at=state.now, lock=kept))
    return evolve(account, locks={**account.locks, lock.key: kept})


def _by_the_later_clock(state: State, lock: Lock) -> Lock:
    """A span of time that begins while two clocks differ ends by the later one: where ours is
    behind and is set right, that leap must not end it. Rounded, as a header has whole seconds."""
    if not state.lead or lock.release is not Release.TIME or lock.expires_at is None:
        return lock
    steps = -(-state.lead // ROUNDED_TO)
    return evolve(lock, expires_at=lock.expires_at + steps * ROUNDED_TO)


def _raise_ceilings(state: State, account: Account, lock: Lock) -> Account:
    ceilings = dict(account.ceilings)
    for contract_id, position in account.positions.items():
        root = state.root(contract_id)
        if not lock.covers(root, contract_id):
            continue
        # Under another lock the lower ceiling stands: what was opened in spite of it is no more
        # allowed for having been noticed by a second rule.
        if not any(other.covers(root, contract_id) for other in account.locks.values()):
            ceilings[contract_id] = position.net
    return evolve(account, ceilings=ceilings)


def _lower_ceilings(account: Account) -> Account:
    if not account.ceilings:
        return account
    lowered = {}
    for contract_id, ceiling in account.ceilings.items():
        net = account.net(contract_id)
        if net * ceiling <= 0:
            lowered[contract_id] = 0
        else:
            lowered[contract_id] = net if abs(net) < abs(ceiling) else ceiling
    return account if lowered == account.ceilings else evolve(account, ceilings=lowered)


def close_down(
    account: Account, contract_ids: Iterable[str], now: datetime, rule_id: str, reason: str
) -> Account:
    """With these contracts decided on: each is driven to flat, its orders cancelled."""
    closings = dict(account.closings)
    for contract_id in contract_ids:
        position = account.positions.get(contract_id)
        episode = position.episode if position else 0
        known = closings.get(contract_id)
        orders = frozenset(o.id for o in account.orders_in(contract_id))
        if known is not None and known.episode == episode:
            rules = known.rule_ids if rule_id in known.rule_ids else (*known.rule_ids, rule_id)
            orders |= known.order_ids
            if rules == known.rule_ids and orders == known.order_ids:
                continue
            closings[contract_id] = evolve(known, rule_ids=rules, order_ids=orders)
        elif position is not None or orders:
            closings[contract_id] = accounts.Closing(
                contract_id=contract_id,
                episode=episode,
                since=now,
                rule_ids=(rule_id,),
                reason=reason,
                order_ids=orders,
            )
    return account if closings == account.closings else evolve(account, closings=closings)


# --- time -----------------------------------------------------------------------------------------


def _is_ahead(state: State) -> bool:
    """Whether our time is later than the gateway's: then nothing ends by it."""
    ahead = state.doubts.get(CLOCK_AHEAD) if state.doubts else None
    return ahead is not None and ahead.stands


def _day_in_force(state: State, book: Rulebook) -> DayWindow:
    """The trading day; it does not turn by a clock that is ahead."""
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
        turned = evolve(
            account,
            trading_date=state.day.date,
            ledger=account.ledger.forget_before(old).carried_over(
                state.rulebook.day, old, state.day.date
            ),
            breaches={
                k: b for k, b in account.breaches.items() if b.active or b.trading_date >= old
            },
        )
        turned = own_closes.without_older(turned, state.day.starts_at - timedelta(days=4))
        state = with_account(state, account, turned)
    return state


def _redated(state: State, account: Account) -> State:
    """An account that is dated on a day that has not begun: its trades count today."""
    ahead, today = account.trading_date, state.day.date
    ledger = account.ledger
    for execution in ledger.entries.values():
        if execution.trading_date > today:
            ledger = ledger.record(evolve(execution, trading_date=today))
    state = with_account(state, account, evolve(account, trading_date=today, ledger=ledger))
    return _told_redated(
        state,
        account,
        f"the account was dated {ahead}, which has not begun: a clock was ahead, or the hour of "
        f"the reset was another. It is dated {today} again",
    )


def _told_redated(state: State, account: Account, reason: str) -> State:
    key = (DoubtKind.CLOCK_TURNED, account.id, "dated")
    if not reason and key not in state.doubts:
        return state
    kind, account_id, subject = key
    doubt = DoubtChanged(
        at=state.now, doubt=kind, account_id=account_id, subject=subject, reason=reason
    )
    return blindness.noted(state, doubt)


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
        state = with_account(state, account, evolve(account, locks=locks))
    return state


# --- state ----------------------------------------------------------------------------------------


def with_account(state: State, before: Account | None, after: Account) -> State:
    """The state with one account replaced, and the index of holders kept."""
    if after is before:
        return state
    if after.ceilings and not any(
        lock.policy is LockPolicy.NO_ENTRIES for lock in after.locks.values()
    ):
        after = evolve(after, ceilings={})
    holders: Mapping[str, tuple[int, ...]] = state.holders
    old: Mapping[str, Position] = before.positions if before is not None else {}
    if after.positions is not old:
        holders = _holders(holders, after.id, old.keys(), after.positions.keys())
    roots = state.roots
    unknown = [c for c in after.contract_ids() if c not in roots]
    if unknown:
        symbols = state.rulebook.symbols
        roots = {**roots, **{c: symbols.root(c, state.contracts.get(c)) for c in unknown}}
    state = evolve(
        state, accounts={**state.accounts, after.id: after}, holders=holders, roots=roots
    )
    if state.doubted and after.positions is not old:
        state = prices.entered(state, after.positions)
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
