"""`step`: fold the event in, ask every rule, add the demands of the locks, merge, and act once."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from risk_manager.domain.account import Account, Attempt, Breach, Mark
from risk_manager.domain.decisions import (
    Action,
    Alarm,
    Cancel,
    Close,
    Decision,
    Fact,
    Flatten,
    Forget,
    LockCleared,
    LockOut,
    LookAgain,
    Protect,
    ReduceTo,
    Remember,
    Severity,
    Unlock,
    Verdict,
)
from risk_manager.domain.events import ActionSettled, AnyEvent, QuoteChanged, Tick
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.locks import ENDED_BY_ITS_RULE
from risk_manager.domain.records import LIST_LAG
from risk_manager.domain.rule import Meter, Rule
from risk_manager.domain.rulebook import UNTIL_RESET, AccountRules, is_older
from risk_manager.domain.scope import in_scope
from risk_manager.domain.state import State
from risk_manager.domain.view import View
from risk_manager.engine import cancel_all, left_behind, unproven_cancels
from risk_manager.engine.accounts import with_account
from risk_manager.engine.actions import act
from risk_manager.engine.exit_placement import tidied
from risk_manager.engine.fold import fold
from risk_manager.engine.lock_enforcement import demands
from risk_manager.engine.locking import close_down, put_lock
from risk_manager.engine.quiet_bands import is_within_quiet_band, keep_quiet_band
from risk_manager.engine.wanted import Wanted, want_from

# While statements differ, a list is asked for each second, for this long at most: long enough for
# a spell in which lists are refused. After that only the regular reads remain.
ASKED_FOR = timedelta(seconds=30)


class Step(NamedTuple):
    """The result of judging one event: the state after it, and everything it produced.

    `actions` are new requests to the broker. `settled` are attempts that this event ended. `reads`
    are the accounts to be read from the broker now.
    """

    state: State
    decisions: tuple[Decision, ...] = ()
    actions: tuple[Action, ...] = ()
    facts: tuple[Fact, ...] = ()
    settled: tuple[Attempt, ...] = ()
    reads: tuple[int, ...] = ()


def step(state: State, event: AnyEvent, unsent: AbstractSet[str] = frozenset()) -> Step:
    """Judge one event. Pure: the same state and event always give the same step.

    `unsent` are the ids of actions of the same turn that have not been sent yet. A new action on
    the same key replaces such an action.
    """
    ended = _settled(state, event)
    folded = fold(state, event)
    state, touched = folded.state, folded.touched
    if type(event) is QuoteChanged:
        touched = tuple(
            [a for a in touched if not is_within_quiet_band(state, a, event.contract_id)]
        )
        if not touched:
            return Step(state)
    work = _Working(state, event, list(folded.facts), unsent)
    for account_id in touched:
        work.judge(account_id)
    if len(touched) < len(state.accounts):
        work.judge_members(touched, state)
    return Step(
        state=work.state,
        decisions=tuple(work.decisions),
        actions=tuple(work.actions),
        facts=tuple(work.facts),
        settled=ended,
        reads=tuple(work.reads),
    )


def meters(state: State, account_id: int, event: AnyEvent) -> list[Meter]:
    """Return the meters of an account, one for each of its rules that has one."""
    view = View(state, state.accounts[account_id], event)
    found = []
    for rule in state.rulebook.for_account(account_id).rules:
        meter = rule.meter(view)
        if meter is not None:
            # The title tells an older version apart from the newer one beside it.
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


class _Working:
    """The working space of one step: collects the results for all accounts it touches."""

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

    def judge_members(self, touched: tuple[int, ...], folded: State) -> None:
        """Judge the other members of the groups of these accounts, as a tick would.

        The event is none of theirs. A quote changes the sums of a group slightly all the time: its
        members without this contract are judged at once only where it has led to a lock.
        """
        members: set[int] = set()
        accounts = self.state.accounts
        for account_id in touched:
            group = self.state.rulebook.for_account(account_id).judged_with
            if group and (
                type(self.event) is not QuoteChanged
                or accounts[account_id].locks is not folded.accounts[account_id].locks
            ):
                members |= group
        members.difference_update(touched)
        if not members:
            return
        self.event = Tick(at=self.state.now, lead=self.state.lead)
        for account_id in sorted(members & accounts.keys()):
            self.judge(account_id)

    def judge(self, account_id: int) -> None:
        before = account = self.state.accounts[account_id]
        if account.is_only_remembered(self.state.now):
            return
        in_force = self.state.rulebook.for_account(account_id)
        is_quote = type(self.event) is QuoteChanged
        rules = in_force.price_rules if is_quote else in_force.rules
        view = View(self.state, account, self.event)
        failed: set[str] = set()
        answers = self._ask(rules, view, in_force, failed)
        if failed or account.failed_rules:
            account = _with_failures(account, {r.id for r in rules}, failed)
        wanted: dict[str, Wanted] = {}
        for rule, verdict in answers:
            shadow = not in_force.enforces(rule, simulated=account.simulated)
            account = self._decide(account, rule, verdict, shadow)
            account = self._grant(account, rule, verdict, shadow, wanted)
        if account.breaches:
            account = _calm(account, rules, {(r.id, v.subject) for r, v in answers})
        if account.has_own_marks and not is_quote:
            account = cancel_all.demanded(account, wanted, self.state.root)
            account = left_behind.demanded(account, wanted)
            account = unproven_cancels.demanded(account, wanted, self.state.root, self.state.now)
        if account.locks or account.closings:
            account = cancel_all.with_let_go(account, demands(self.state, account, wanted))
        if account.orders and not is_quote:
            self._tidy(account, wanted)
        if wanted or account.attempts or (account.brake.on_since is not None and not is_quote):
            acted = act(self.state, account, wanted, self.unsent, all_were_asked=not is_quote)
            account = acted.account
            self.actions += acted.actions
            self.facts += acted.facts
            if acted.wants_list:
                self._look(account)
        if type(self.event) is Tick and _is_unsettled(account, self.state.now):
            self._look(account)
        if account is not before:
            self.state = with_account(self.state, before, account)
        elif type(self.event) is QuoteChanged and not (
            answers or wanted or failed or account.failed_rules
        ):
            keep_quiet_band(view, rules, self.event.contract_id)

    def _ask(
        self, rules: tuple[Rule, ...], view: View, in_force: AccountRules, failed: set[str]
    ) -> list[tuple[Rule, Verdict]]:
        """Return the verdicts in the order asked; the ids of rules that raised go to `failed`."""
        answers: list[tuple[Rule, Verdict]] = []
        for rule in rules:
            try:
                said = rule.judge(view)
            except Exception as error:  # one rule's fault must not silence the others
                failed.add(rule.id)
                self._report_failure(view.account, rule, error)
                continue
            if said is None:  # the usual case
                continue
            for verdict in said if isinstance(said, tuple) else (said,):
                answers.append((rule, verdict))
                if in_force.enforces(rule, simulated=view.account.simulated):
                    view.project(verdict.asks)
        return answers

    def _decide(self, account: Account, rule: Rule, verdict: Verdict, shadow: bool) -> Account:
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

    def _report_failure(self, account: Account, rule: Rule, error: Exception) -> None:
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
                want_from(account, ask, rule.id, verdict.reason, wanted)
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
        # A stop that a rule asks for is sized to fit already. Shrinking exits in the same step
        # would leave less than the position covered.
        asked = {c for c, w in wanted.items() if w.protect and w.protect.stop_price is not None}
        for contract_id, ask, reason in tidied(self.state, account):
            if contract_id not in asked:
                want_from(account, ask, "protection", reason, wanted)

    def _look(self, account: Account) -> None:
        if account.id not in self.reads:
            self.reads.append(account.id)


def _is_unsettled(account: Account, now: datetime) -> bool:
    """Whether a list is wanted now, to decide a dispute or to confirm the end of an order."""
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


def _with_failures(account: Account, asked: set[str], failed: set[str]) -> Account:
    all_failed = (account.failed_rules - asked) | failed
    if all_failed == account.failed_rules:
        return account
    return fast_replace(account, failed_rules=frozenset(all_failed))


def _calm(account: Account, rules: tuple[Rule, ...], seen: set[tuple[str, str]]) -> Account:
    """End the breaches of the rules just asked that were not seen; they may be told again later."""
    unseen = [k for k, b in account.breaches.items() if b.active and k not in seen]
    if not unseen:
        return account
    asked = {rule.id for rule in rules}
    over = {
        key: fast_replace(account.breaches[key], active=False) for key in unseen if key[0] in asked
    }
    return fast_replace(account, breaches={**account.breaches, **over}) if over else account
