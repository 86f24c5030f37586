"""step(): fold the event in, ask every rule, add what the locks demand, merge, act once."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from risk_manager.domain.account import Account, Attempt, Breach, Mark
from risk_manager.domain.call_brake import Brake
from risk_manager.domain.decisions import (
    Action,
    Alarm,
    Cancel,
    CancelOrder,
    Close,
    ClosePosition,
    Decision,
    Fact,
    Flatten,
    Forget,
    LockCleared,
    LockOut,
    LookAgain,
    MoveStop,
    PlaceExit,
    Protect,
    ReducePosition,
    ReduceTo,
    Remember,
    Severity,
    Unlock,
    Verdict,
)
from risk_manager.domain.events import ActionSettled, AnyEvent, Hub, HubState, QuoteChanged, Tick
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.locks import ENDED_BY_ITS_RULE
from risk_manager.domain.money import NOWHERE, Band
from risk_manager.domain.records import LIST_LAG, OrderStatus
from risk_manager.domain.rule import Meter, Rule
from risk_manager.domain.rulebook import UNTIL_RESET, Mode, is_older
from risk_manager.domain.state import State
from risk_manager.domain.view import View, in_scope
from risk_manager.engine import attempts as calls
from risk_manager.engine import cancel_all, left_behind, unproven_cancels
from risk_manager.engine.account_updates import is_back
from risk_manager.engine.exit_placement import cut_back, merged, protect, resized, tidied
from risk_manager.engine.fold import fold, with_account
from risk_manager.engine.lock_enforcement import Wanted, demands
from risk_manager.engine.locking import close_down, put_lock
from risk_manager.engine.settlement import REFUSED_PAUSES

# An action nobody reported on for this long is taken as lost, not as still under way.
LOST_AFTER = timedelta(seconds=30)
# Where words differ, the list is asked for each second this long; then it comes as it always does.
ASKED_FOR = timedelta(seconds=10)
# If no list can be had for so long, the stream alone says that an exit is over.
BORNE_OUT_WITHIN = timedelta(seconds=3)
LAST_PAUSE = len(REFUSED_PAUSES)
# While the stream is down, so old may our knowledge of a position be that an exit is placed for.
SEEN_WITHIN = timedelta(seconds=3)


class Step(NamedTuple):
    """One turn of the machine: the state after it, and everything it gave rise to.

    `actions` are new orders to the broker. `settled` are attempts that this event ended. `reads`
    are the accounts on which the broker's word is wanted now.
    """

    state: State
    decisions: tuple[Decision, ...] = ()
    actions: tuple[Action, ...] = ()
    facts: tuple[Fact, ...] = ()
    settled: tuple[Attempt, ...] = ()
    reads: tuple[int, ...] = ()


def step(state: State, event: AnyEvent, unsent: AbstractSet[str] = frozenset()) -> Step:
    """Judge one event. Pure: the same state and event always give the same step.

    `unsent` are actions asked for already in the same turn, which nobody has been told of: another
    one on the same key takes the place of such a one.
    """
    ended = _settled(state, event)
    folded = fold(state, event)
    state, touched = folded.state, folded.touched
    if type(event) is QuoteChanged:
        touched = tuple([a for a in touched if not _is_quiet(state, a, event.contract_id)])
        if not touched:
            return Step(state)
    work = _Working(state, event, list(folded.facts), unsent)
    for account_id in touched:
        work.judge(account_id)
    return Step(
        state=work.state,
        decisions=tuple(work.decisions),
        actions=tuple(work.actions),
        facts=tuple(work.facts),
        settled=ended,
        reads=tuple(work.reads),
    )


def meters(state: State, account_id: int, event: AnyEvent) -> list[Meter]:
    """Where an account stands against each of its rules."""
    view = View(state, state.accounts[account_id], event)
    found = []
    for rule in state.rulebook.for_account(account_id).rules:
        meter = rule.meter(view)
        if meter is not None:
            # Beside the newer version of the same rule it must be told apart.
            older = is_older(rule.id)
            found.append(replace(meter, title=meter.title + UNTIL_RESET) if older else meter)
    return found


def _settled(state: State, event: AnyEvent) -> tuple[Attempt, ...]:
    if type(event) is not ActionSettled:
        return ()
    account = state.accounts.get(event.account_id)
    attempts = account.attempts.values() if account else ()
    return tuple(
        fast_replace(a, settled_at=event.at, outcome=event.outcome)
        for a in attempts
        if a.action.id == event.action_id
    )


def _is_quiet(state: State, account_id: int, contract_id: str) -> bool:
    """Whether the newest quote of a contract is where no rule had, or has, anything to say."""
    known = state.accounts[account_id].quiet.get(contract_id)
    if known is None or known[0] is not state.rulebook:
        return False
    low, high = known[1]
    quote = state.quotes[contract_id]
    bid, ask, last = quote.best_bid, quote.best_ask, quote.last_price
    if bid is None or ask is None or last is None:
        return False
    return low < bid < high and low < ask < high and low < last < high


def _note_quiet(view: View, rules: tuple[Rule, ...], contract_id: str) -> None:
    """Work out once, for an account as it is, what then need not be asked on each quote."""
    account, rulebook = view.account, view.state.rulebook
    known = account.quiet.get(contract_id)
    if known is None or known[0] is not rulebook:
        account.quiet[contract_id] = (rulebook, _quiet_between(view, rules, contract_id))


def _quiet_between(view: View, rules: tuple[Rule, ...], contract_id: str) -> Band:
    account = view.account
    position = account.positions.get(contract_id)
    if position is None or account.locks or account.closings or account.attempts:
        return NOWHERE
    band = Band()
    for rule in rules:
        own = rule.quiet_between(view, position)
        if own is None:
            return NOWHERE
        band = band.within(own)
    return band


class _Working:
    """The working space of one step: collects what the accounts touched give rise to."""

    def __init__(
        self, state: State, event: AnyEvent, facts: list[Fact], unsent: AbstractSet[str]
    ) -> None:
        self.state = state
        self.event = event
        self.facts = facts
        self.unsent = unsent
        self.decisions: list[Decision] = []
        self.actions: list[Action] = []
        self.reads: list[int] = []

    def judge(self, account_id: int) -> None:
        before = account = self.state.accounts[account_id]
        if account.is_only_remembered(self.state.now):
            return
        in_force = self.state.rulebook.for_account(account_id)
        is_quote = type(self.event) is QuoteChanged
        rules = in_force.price_rules if is_quote else in_force.rules
        view = View(self.state, account, self.event)
        failed: set[str] = set()
        answers = self._ask(rules, view, in_force.mode, failed)
        if failed or account.failed_rules:
            account = _with_failures(account, {r.id for r in rules}, failed)
        wanted: dict[str, Wanted] = {}
        for rule, verdict in answers:
            shadow = rule.shadow or in_force.mode is Mode.SHADOW
            account = self._tell(account, rule, verdict, shadow)
            account = self._grant(account, rule, verdict, shadow, wanted)
        if account.breaches:
            account = _calm(account, rules, {(r.id, v.subject) for r, v in answers})
        if account.marks and not is_quote:
            account = cancel_all.demanded(account, wanted, self.state.root)
            account = left_behind.demanded(account, wanted)
            account = unproven_cancels.demanded(account, wanted)
        if account.locks or account.closings:
            account = cancel_all.with_let_go(account, demands(self.state, account, wanted))
        if account.orders and not is_quote:
            self._tidy(account, wanted)
        if wanted or account.attempts:
            account = self._act(account, wanted)
        if type(self.event) is Tick and _is_unsettled(account, self.state.now):
            self._look(account)
        if account is not before:
            self.state = with_account(self.state, before, account)
        elif type(self.event) is QuoteChanged and not (answers or failed or account.failed_rules):
            _note_quiet(view, rules, self.event.contract_id)

    def _ask(
        self, rules: tuple[Rule, ...], view: View, mode: Mode, failed: set[str]
    ) -> list[tuple[Rule, Verdict]]:
        """What the rules say, in the order asked. `failed` receives those that could not say."""
        answers: list[tuple[Rule, Verdict]] = []
        for rule in rules:
            try:
                said = rule.judge(view)
            except Exception as error:  # one rule's fault must not silence the others
                failed.add(rule.id)
                self._tell_failure(view.account, rule, error)
                continue
            if said is None:  # as nearly always
                continue
            for verdict in said if isinstance(said, tuple) else (said,):
                answers.append((rule, verdict))
                if not rule.shadow and mode is Mode.ENFORCE:
                    view.project(verdict.asks)
        return answers

    # --- telling ---

    def _tell(self, account: Account, rule: Rule, verdict: Verdict, shadow: bool) -> Account:
        if verdict.silent:
            return account
        key = (rule.id, verdict.subject)
        now = self.state.now
        known = account.breaches.get(key)
        if known is not None and known.active and known.severity == verdict.severity:
            return account
        breach = Breach(
            rule_id=rule.id,
            subject=verdict.subject,
            first_at=known.first_at if known else now,
            last_at=now,
            count=known.count + 1 if known else 1,
            trading_date=self.state.day.date,
            severity=verdict.severity,
            active=True,
        )
        self.decisions.append(
            Decision(
                at=now,
                account_id=account.id,
                rule_id=rule.id,
                spec_id=rule.spec_id,
                reason=verdict.reason,
                subject=verdict.subject,
                severity=verdict.severity,
                shadow=shadow,
                count=breach.count,
                asks=verdict.asks,
            )
        )
        return fast_replace(account, breaches={**account.breaches, key: breach})

    def _tell_failure(self, account: Account, rule: Rule, error: Exception) -> None:
        if rule.id in account.failed_rules:
            return
        self.facts.append(
            Alarm(
                at=self.state.now,
                account_id=account.id,
                code="rule_failed",
                message=f"rule {rule.id} could not judge: {type(error).__name__}: {error}; "
                "the other rules go on",
                severity=Severity.CRITICAL,
            )
        )

    # --- granting ---

    def _grant(
        self,
        account: Account,
        rule: Rule,
        verdict: Verdict,
        shadow: bool,
        wanted: dict[str, Wanted],
    ) -> Account:
        for ask in verdict.asks:
            if isinstance(ask, Remember | Forget):
                account = _with_memory(account, rule.id, ask, self.state.now)
            elif isinstance(ask, LookAgain):
                self._look(account)
            elif shadow:
                continue
            elif isinstance(ask, Cancel | ReduceTo | Protect):
                _want(account, ask, rule.id, verdict.reason, wanted)
            else:
                account = self._put_in_force(account, ask, rule.id, verdict.reason)
        return account

    def _put_in_force(
        self,
        account: Account,
        ask: LockOut | Unlock | Flatten | Close,
        rule_id: str,
        reason: str,
    ) -> Account:
        now = self.state.now
        match ask:
            case LockOut(lock):
                return put_lock(self.state, account, lock, self.facts)
            case Unlock(scope, cleared_by):
                return self._unlock(account, scope, rule_id, cleared_by)
            case Close(contract_id):
                return close_down(account, [contract_id], now, rule_id, reason)
            case Flatten(scope):
                root = self.state.root
                chosen = [c for c in account.contract_ids() if in_scope(scope, root(c), c)]
                return close_down(account, chosen, now, rule_id, reason)

    def _unlock(self, account: Account, scope: str, rule_id: str, cleared_by: str) -> Account:
        lock = account.locks.get((scope, rule_id))
        if lock is None or lock.release not in ENDED_BY_ITS_RULE:
            return account
        self.facts.append(LockCleared(at=self.state.now, lock=lock, cleared_by=cleared_by))
        return fast_replace(
            account, locks={k: v for k, v in account.locks.items() if k != lock.key}
        )

    def _tidy(self, account: Account, wanted: dict[str, Wanted]) -> None:
        # What a rule asks for a position's stop is sized to fit; cutting back as well, in the
        # same moment, would leave less than the position.
        asked = {c for c, w in wanted.items() if w.protect and w.protect.stop_price is not None}
        for contract_id, ask, reason in tidied(self.state, account):
            if contract_id not in asked:
                _want(account, ask, "protection", reason, wanted)

    # --- acting ---

    def _act(self, account: Account, wanted: dict[str, Wanted]) -> Account:
        now = self.state.now
        attempts = dict(account.attempts)
        next_id = account.next_action
        limit = self.state.rulebook.defaults.max_calls_a_minute
        brake = account.brake.at(now, limit)
        live: set[str] = set()
        for contract_id in sorted(wanted):
            want = wanted[contract_id]
            for action in self._actions(account, contract_id, want):
                live.add(action.key)
                known, replaced = attempts.get(action.key), None
                if known is not None and known.action.id in self.unsent:
                    known, replaced = None, known
                tries = _may_send(account, known, action, now)
                if replaced is not None and _is_same(replaced.action, action):
                    tries = 0
                if not tries or not self._may_pass(account, brake, action, tries, want):
                    continue
                if _adds_exits(account, action) and (
                    _may_have_woken(account, action) or not self._sees(account, contract_id)
                ):
                    decided_from = account.disputed(contract_id)
                    if decided_from is None or now >= decided_from:
                        self._look(account)
                    continue
                if isinstance(action, CancelOrder) and not self._may_repeat(account, action, tries):
                    continue
                before = known if tries > 1 else None
                brake = brake.after_call(now, limit)
                action = fast_replace(action, id=f"{account.id}-{next_id}")
                if replaced is not None:
                    asked = replaced.action
                    action = fast_replace(action, follows=asked.follows, wary=asked.wary)
                elif tries == 1:
                    action = calls.following(account, attempts, action)
                next_id += 1
                self.actions.append(action)
                attempts[action.key] = Attempt(
                    action=action,
                    asked_at=now,
                    tries=tries,
                    rule_ids=tuple(want.rule_ids),
                    reason=want.reason,
                    refused=before.refused if before is not None else 0,
                    refused_code=before.refused_code if before is not None else None,
                    is_behind=calls.is_behind(account, contract_id),
                )
                account = _exits_noted(account, action, now)
        if type(self.event) is not QuoteChanged:  # on a quote only some rules were asked
            attempts = _without_ended(attempts, live, now)
        if brake is not account.brake:
            self._tell_brake(account, brake, limit)
            account = fast_replace(account, brake=brake)
        if attempts == account.attempts:
            return account
        return fast_replace(account, attempts=attempts, next_action=next_id)

    def _sees(self, account: Account, contract_id: str) -> bool:
        """Whether position and exits are known as of now: a new exit order for a position that has
        been closed would open another, and so would one beside an exit that works after all.

        The position must have been stated since an order ended that may have closed it, and while
        the stream is down, lately; by a list, if it had ended already. That order must be over by
        the list as well, unless no list can be had. Nothing of the contract may be disputed."""
        listed_as_of = account.reported_as_of
        if account.disputed(contract_id) is not None:
            return False
        if is_back(account, contract_id) and (
            listed_as_of is None or listed_as_of < account.positions[contract_id].opened_at
        ):
            return False
        stated = account.heard.get(contract_id), listed_as_of
        known_as_of = max((at for at in stated if at is not None), default=None)
        if known_as_of is None:
            return False
        stream = self.state.hubs.get(Hub.USER)
        blind = stream is not None and stream.state is not HubState.UP
        if blind and self.state.now - known_as_of > SEEN_WITHIN:
            return False
        over = account.exit_over.get(contract_id)
        if over is None:
            return True
        unread = listed_as_of is None or listed_as_of < over
        return known_as_of >= over and not (unread and self.state.now - over < BORNE_OUT_WITHIN)

    def _may_repeat(self, account: Account, cancel: CancelOrder, tries: int) -> bool:
        """Whether an order that outlived its confirmed cancel may be cancelled again by now."""
        outlived = account.outlived.get(cancel.order_id)
        if outlived is None:
            return True
        now, times = self.state.now, outlived.times
        if times > 1 and now < outlived.since + REFUSED_PAUSES[min(times - 1, LAST_PAUSE) - 1]:
            return False
        if tries == 1 and (times == 2 or times % 10 == 0):
            self.facts.append(
                Alarm(
                    at=now,
                    account_id=account.id,
                    code="cannot_enforce",
                    message=(
                        f"order {cancel.order_id} in {self.state.name(cancel.contract_id)} was "
                        f"cancelled {times} times, each time it was confirmed, and it still works; "
                        "still trying. Cancel it by hand in the trading platform."
                    ),
                    severity=Severity.CRITICAL,
                )
            )
        return True

    def _look(self, account: Account) -> None:
        if account.id not in self.reads:
            self.reads.append(account.id)

    def _may_pass(
        self, account: Account, brake: Brake, action: Action, tries: int, want: Wanted
    ) -> bool:
        if brake.on_since is None:
            return True
        limit = self.state.rulebook.defaults.max_calls_a_minute
        return brake.lets_pass(action, tries, limit, must_go=self._must_go(account, action, want))

    def _must_go(self, account: Account, action: Action, want: Wanted) -> bool:
        """Whether an order stands against a lock (an entry, or an exit larger than its position),
        has been called off, or is an exit of ours that would open a position if it filled."""
        if not isinstance(action, CancelOrder | MoveStop):
            return False
        contract_id = action.contract_id
        root = self.state.root(contract_id)
        cancels = isinstance(action, CancelOrder)
        locked = contract_id in account.closings or any(
            lock.covers(root, contract_id) for lock in account.locks.values()
        )
        if locked and (cancels or action.order_id in want.shrink):
            return True
        order = account.orders.get(action.order_id)
        if order is None:
            return False
        net = account.net(contract_id)
        outgrown = net * order.side.sign >= 0 or order.remaining > abs(net)
        if isinstance(action, MoveStop):
            return outgrown and action.size < order.size
        if cancel_all.is_called_off(account, order.id) or left_behind.is_left_behind(
            account, order
        ):
            return True
        return outgrown and order.is_own

    def _tell_brake(self, account: Account, brake: Brake, limit: int) -> None:
        on, was_on = brake.on_since is not None, account.brake.on_since is not None
        if on is was_on:
            return
        self.facts.append(
            Alarm(
                at=self.state.now,
                account_id=account.id,
                code="calls_braked" if on else "calls_unbraked",
                message=(
                    f"more than {limit} calls to the broker in a minute: stops and targets are "
                    "no longer placed or moved for now; closing goes on. Look at the trading "
                    "platform."
                    if on
                    else "a quiet minute has passed: stops and targets are kept again"
                ),
                severity=Severity.CRITICAL if on else Severity.INFO,
            )
        )

    def _actions(self, account: Account, contract_id: str, want: Wanted) -> Iterator[Action]:
        position = account.positions.get(contract_id)
        closing = False
        if position is not None and want.keep is not None and position.size > want.keep:
            closing = True
            if want.keep == 0:
                yield ClosePosition(
                    id="",
                    account_id=account.id,
                    contract_id=contract_id,
                    episode=position.episode,
                )
            else:
                yield ReducePosition(
                    id="",
                    account_id=account.id,
                    contract_id=contract_id,
                    episode=position.episode,
                    side=position.side,
                    keep=want.keep,
                )
        for order_id in sorted((want.cancel & account.orders.keys()) | want.cancel_again):
            yield CancelOrder(
                id="", account_id=account.id, contract_id=contract_id, order_id=order_id
            )
        if position is None:
            return
        moved: set[str] = set()
        if want.protect is not None and not closing:
            for action in protect(self.state, account, position, want.protect):
                if isinstance(action, MoveStop) and action.order_id in want.cancel:
                    continue  # by turns they would go at the pace of the answers
                if isinstance(action, MoveStop) and _leaves_less(account, action, want.cancel):
                    continue  # what is cancelled makes room already
                moved.add(action.key)
                yield action
        for order_id in sorted(want.shrink.keys() & account.orders.keys() - want.cancel):
            action = resized(account.orders[order_id], account.id, position, want.shrink[order_id])
            if action.key not in moved:
                yield action


def _may_have_woken(account: Account, action: Action) -> bool:
    """Whether an exit like the one to be placed was last told to sleep, as a bracket's do until
    their entry fills, and no list asked for since the position grew has said more of it."""
    contract_id = action.contract_id
    position, listed_as_of = account.positions[contract_id], account.reported_as_of
    if listed_as_of is not None and listed_as_of >= position.increased_at + LIST_LAG:
        return False
    is_stop = not isinstance(action, PlaceExit) or action.stop_price is not None
    return any(
        order.status is OrderStatus.SUSPENDED
        and order.is_stop is is_stop
        and order.side.sign != position.side
        for order in account.orders_in(contract_id)
    )


def _exits_noted(account: Account, action: Action, now: datetime) -> Account:
    """The account with it noted that the exits of this position are to follow it."""
    if isinstance(action, ReducePosition):
        return cut_back(account, account.positions[action.contract_id], now)
    if isinstance(action, ClosePosition):
        return left_behind.noted(account, account.positions[action.contract_id], now)
    return account


def _adds_exits(account: Account, action: Action) -> bool:
    """Whether more lots would leave the position than do now."""
    if isinstance(action, PlaceExit):
        return True
    if not isinstance(action, MoveStop):
        return False
    order = account.orders.get(action.order_id)
    return order is not None and action.size > order.remaining


def _leaves_less(account: Account, move: MoveStop, cancelled: set[int]) -> bool:
    """Whether a stop would be made smaller while another one beside it goes: together they would
    leave less than the position. A cancel that has failed makes no room."""
    stop = account.orders[move.order_id]
    if move.size >= stop.remaining:
        return False
    for other in account.orders_in(move.contract_id):
        if other.id in cancelled and other.is_stop and other.side is stop.side:
            attempt = account.attempts.get(f"order:{other.id}")
            if attempt is None or attempt.in_flight:
                return True
    return False


def _is_unsettled(account: Account, now: datetime) -> bool:
    """Whether a list is wanted now, as words differ or the end of an order is to be borne out."""
    due = [d.decided_from for d in account.disputes.values()]
    for order_id in reversed(list(account.finished)):  # the newest first
        ended = account.finished[order_id]
        if now >= ended.at + LIST_LAG + ASKED_FOR:
            break
        if not account.is_gone(order_id) and (
            ended.cancelled
            or order_id in account.outlived
            or cancel_all.is_called_off(account, order_id)
        ):
            due.append(ended.at + LIST_LAG)
    return any(at <= now < at + ASKED_FOR for at in due)


def _with_memory(account: Account, rule_id: str, ask: Remember | Forget, now: datetime) -> Account:
    key = (rule_id, ask.subject)
    known = account.marks.get(key)
    if isinstance(ask, Forget):
        if known is None:
            return account
        return fast_replace(account, marks={k: m for k, m in account.marks.items() if k != key})
    if known is not None and (known.due_at, known.value) == (ask.due_at, ask.value):
        return account
    mark = Mark(
        rule_id=rule_id, subject=ask.subject, set_at=now, due_at=ask.due_at, value=ask.value
    )
    return fast_replace(account, marks={**account.marks, key: mark})


def _want(
    account: Account,
    ask: Cancel | ReduceTo | Protect,
    rule_id: str,
    reason: str,
    wanted: dict[str, Wanted],
) -> None:
    match ask:
        case ReduceTo(contract_id, keep):
            wanted.setdefault(contract_id, Wanted()).hold_at_most(keep, [rule_id], reason)
        case Cancel(order_ids):
            for order_id in order_ids:
                order = account.orders.get(order_id)
                if order is not None:
                    want = wanted.setdefault(order.contract_id, Wanted())
                    want.cancel_orders([order_id], [rule_id], reason)
        case Protect():
            want = wanted.setdefault(ask.contract_id, Wanted())
            want.protect = merged(want.protect, ask)
            want.name([rule_id])
            want.reason = want.reason or reason


def _with_failures(account: Account, asked: set[str], failed: set[str]) -> Account:
    all_failed = (account.failed_rules - asked) | failed
    if all_failed == account.failed_rules:
        return account
    return fast_replace(account, failed_rules=frozenset(all_failed))


def _calm(account: Account, rules: tuple[Rule, ...], seen: set[tuple[str, str]]) -> Account:
    """Breaches of the rules just asked that no longer stand may be told again later."""
    asked = {rule.id for rule in rules}
    over = {
        key: fast_replace(breach, active=False)
        for key, breach in account.breaches.items()
        if breach.active and key not in seen and key[0] in asked
    }
    return fast_replace(account, breaches={**account.breaches, **over}) if over else account


def _without_ended(
    attempts: Mapping[str, Attempt], live: AbstractSet[str], now: datetime
) -> dict[str, Attempt]:
    """Those still wanted or under way; one that another follows is given up when it is lost."""
    return {
        key: attempt
        for key, attempt in attempts.items()
        if key in live
        or (
            attempt.in_flight
            and (key == attempt.action.key or now - attempt.under_way_since <= LOST_AFTER)
        )
    }


def _is_same(asked: Action, action: Action) -> bool:
    """Whether an action, not yet numbered, asks for the same as one that was."""
    return fast_replace(asked, id="", follows="", wary=False) == action


def _may_send(account: Account, known: Attempt | None, action: Action, now: datetime) -> int:
    """Which try this would be; 0 when it is already under way or must wait."""
    if known is None or calls.is_new_matter(account, known, action):
        return 1
    same = _is_same(known.action, action)
    if known.in_flight:
        lost = now - known.under_way_since > LOST_AFTER
        return known.tries + 1 if lost else 0
    # An exit just placed may not be listed yet: a second one would be one too many.
    if not same and not isinstance(action, PlaceExit):
        return 1
    if known.not_before is not None and now < known.not_before:
        return 0
    return known.tries + 1
