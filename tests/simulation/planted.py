"""Bugs on purpose, put in by replacing one small part, to see whether the oracles notice."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from risk_manager.broker.hubs.timings import HubTimings
from risk_manager.domain.account import Account
from risk_manager.domain.call_codes import CANCEL
from risk_manager.domain.decisions import Action, ClosePosition, Outcome, ReducePosition, Verdict
from risk_manager.domain.events import (
    AccountReported,
    ActionSettled,
    AnyEvent,
    OrderChanged,
    QuoteChanged,
)
from risk_manager.domain.executions import Execution
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.locks import LockPolicy
from risk_manager.domain.records import OrderStatus
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.domain.state import State
from risk_manager.domain.trading_calendar import DayWindow, TradingDay
from risk_manager.domain.view import View
from risk_manager.engine.step import Step, step
from risk_manager.pipeline import Enforcer, Pipeline, Store
from risk_manager.rules.daily_realized_loss import DailyRealizedLoss

if TYPE_CHECKING:
    from simulation.life import Life


class Plant:
    """No bug: every part as it is. The others replace one."""

    def rulebook(self, book: Rulebook) -> Rulebook:
        return book

    def state(self, state: State) -> State:
        return state

    def store(self, store: Store) -> Store:
        return store

    def enforcer(self, life: "Life") -> Enforcer:
        return life.enforcer

    def pipeline(self, state: State, **parts: Any) -> Pipeline:
        return Pipeline(state, **parts)

    def hub_timings(self) -> HubTimings:
        return HubTimings()

    def heard(self, event: AnyEvent) -> AnyEvent | None:
        """What the daemon makes of an event on its way into the inbox; None for nothing."""
        return event

    def after_step(self, life: "Life", outcome: Step) -> None:
        return None


ANSWERED_S = 0.1
READ_BACK_S = 2.9
BAND = 0.03
STALE_AFTER = timedelta(seconds=10)
_ALIVE = frozenset({OrderStatus.OPEN, OrderStatus.PENDING, OrderStatus.SUSPENDED})

# --- fire once ------------------------------------------------------------------------------


@dataclass
class _OnceEnforcer:
    life: "Life"
    sent: set[tuple[Any, ...]] = field(default_factory=set)

    def submit(self, action: Action) -> None:
        what: tuple[Any, ...] = (type(action).__name__, action.account_id, action.key)
        if isinstance(action, ClosePosition | ReducePosition):
            what = (*what, action.episode)
        if what not in self.sent:
            self.sent.add(what)
            self.life.enforcer.submit(action)
            return
        asyncio.get_running_loop().call_later(ANSWERED_S, self._settle, action)

    def _settle(self, action: Action) -> None:
        if not self.life.dead.is_set():
            self.life.put(
                ActionSettled(
                    at=self.life.clock.now(),
                    account_id=action.account_id,
                    action_id=action.id,
                    outcome=Outcome.DONE,
                    verified=True,
                )
            )


class FireOnce(Plant):
    """Every close and cancel is sent once, and taken as done."""

    def enforcer(self, life: "Life") -> Enforcer:
        return _OnceEnforcer(life)


# --- counted twice --------------------------------------------------------------------------


class _TwiceLedger(Ledger):
    def record(self, execution: Execution) -> Ledger:
        after = super().record(execution)
        if execution.id in self.entries and not execution.voided and after is self:
            day = execution.trading_date
            after = Ledger(self.entries, {**self.totals, day: self.day(day).plus(execution, +1)})
        return after if after is self else _TwiceLedger(after.entries, after.totals)


class CountsTwice(Plant):
    """A trade that arrives again is counted again."""

    def state(self, state: State) -> State:
        accounts = {
            i: a
            if isinstance(a.ledger, _TwiceLedger)
            else fast_replace(a, ledger=_TwiceLedger(a.ledger.entries, a.ledger.totals))
            for i, a in state.accounts.items()
        }
        return fast_replace(state, accounts=accounts)


# --- the lock after the call ----------------------------------------------------------------


class _ActsFirst(Pipeline):
    async def process(self, event: AnyEvent) -> Step:
        before = self.state
        outcome = step(before, event)
        self.state = outcome.state
        for action in outcome.actions:
            self._enforcer.submit(action)
        await self._store.commit(event, before, outcome)
        self._feed.publish(event, before, outcome)
        if outcome.state.roots is not before.roots:
            self._watch_contracts()
        return outcome

    async def process_turn(self, event: AnyEvent | None) -> None:
        if event is not None:
            await self.process(event)
            self.inbox.processed(event)


class LockAfterCall(Plant):
    """The request leaves before the lock it belongs to is stored."""

    def pipeline(self, state: State, **parts: Any) -> Pipeline:
        return _ActsFirst(state, **parts)


# --- naive local time -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _NaiveDay(TradingDay):
    """The reset comes so many naive hours after the last one, whatever the clocks did."""

    def window(self, at: datetime) -> DayWindow:
        zone = self.zone
        offset = (at - timedelta(days=3)).astimezone(zone).utcoffset()
        assert offset is not None
        local = (at + offset).replace(tzinfo=None)
        day: date = local.date()
        if local.time() >= self.reset:
            day += timedelta(days=1)
        while day.weekday() >= 5:
            day += timedelta(days=1)
        ends = datetime.combine(day, self.reset, at.tzinfo) - offset
        return DayWindow(day, ends - timedelta(days=1), ends)

    def date_of(self, at: datetime) -> date:
        return self.window(at).date


class NaiveTime(Plant):
    """Local times without a zone: with the offset of the week before the clocks changed."""

    def rulebook(self, book: Rulebook) -> Rulebook:
        return replace(book, day=_NaiveDay(book.day.reset, book.day.timezone))


# --- cancels everything under no_entries ----------------------------------------------------


class CancelsAll(Plant):
    """Under a lock that only forbids entries every working order is cancelled."""

    def __init__(self) -> None:
        self._cancelled: set[int] = set()
        self._under_way: set[asyncio.Task[object]] = set()

    def after_step(self, life: "Life", outcome: Step) -> None:
        for account in outcome.state.accounts.values():
            if not self._is_limited(account):
                continue
            for order_id in account.orders.keys() - self._cancelled:
                self._cancelled.add(order_id)
                body = {"accountId": account.id, "orderId": order_id}
                task = asyncio.get_running_loop().create_task(
                    life.lanes.act(CANCEL, body), name="planted cancel"
                )
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)

    def _is_limited(self, account: Account) -> bool:
        policies = {lock.policy for lock in account.locks.values() if lock.scope == "account"}
        return policies == {LockPolicy.NO_ENTRIES}


# --- takes an open socket for a live one ----------------------------------------------------


class TrustsSilence(Plant):
    """A hub is up as long as nobody says otherwise."""

    def hub_timings(self) -> HubTimings:
        return HubTimings(probe_after=600.0, probe_after_idle=600.0, silent=600.0)


# --- a terminal word is final ---------------------------------------------------------------


class TerminalIsFinal(Plant):
    """An order told to have ended has ended: no later word, nor any list, brings it back."""

    def __init__(self) -> None:
        self._ended: set[int] = set()

    def heard(self, event: AnyEvent) -> AnyEvent | None:
        if isinstance(event, OrderChanged):
            if event.id in self._ended and event.status in _ALIVE:
                return None
            if event.status not in _ALIVE:
                self._ended.add(event.id)
        if isinstance(event, AccountReported) and event.orders is not None:
            alive = tuple(order for order in event.orders if order.id not in self._ended)
            return event.model_copy(update={"orders": alive})
        return event


# --- a re-entry waits for the read-back of the close before -----------------------------------


@dataclass
class _WaitingEnforcer:
    life: "Life"
    busy_until: dict[tuple[int, str], float] = field(default_factory=dict)

    def submit(self, action: Action) -> None:
        if not isinstance(action, ClosePosition | ReducePosition):
            self.life.enforcer.submit(action)
            return
        loop, key = asyncio.get_running_loop(), (action.account_id, action.contract_id)
        starts = max(loop.time(), self.busy_until.get(key, 0.0))
        self.busy_until[key] = starts + READ_BACK_S
        if starts > loop.time():
            loop.call_at(starts, self._submit_later, action)
        else:
            self.life.enforcer.submit(action)

    def _submit_later(self, action: Action) -> None:
        if not self.life.dead.is_set():
            self.life.enforcer.submit(action)


class WaitsForReadBack(Plant):
    """A contract is busy for as long as the read-back of a close of it may take."""

    def enforcer(self, life: "Life") -> Enforcer:
        return _WaitingEnforcer(life)


# --- absurd prices are never believed -----------------------------------------------------------


class NeverBelieves(Plant):
    """A price far from the one before is a mistake, however often it is quoted."""

    def __init__(self) -> None:
        self._believed: dict[str, float] = {}

    def heard(self, event: AnyEvent) -> AnyEvent | None:
        if isinstance(event, QuoteChanged) and event.last_price is not None:
            before = self._believed.setdefault(event.contract_id, event.last_price)
            if abs(event.last_price - before) > abs(before) * BAND:
                return None
            self._believed[event.contract_id] = event.last_price
        return event


# --- one unknown part excuses the known rest ----------------------------------------------------


class _Excuses(DailyRealizedLoss):
    def judge(self, view: View) -> Verdict | tuple[Verdict, ...] | None:
        for contract_id in view.account.positions:
            quote = view.state.quotes.get(contract_id)
            if quote is None or view.now - quote.at > STALE_AFTER:
                return None
        return super().judge(view)


class ExcusesTheKnown(Plant):
    """While one price is stale nobody can say what the day has lost."""

    def rulebook(self, book: Rulebook) -> Rulebook:
        accounts = {
            account_id: AccountRules.of(
                _Excuses.model_validate(rule.model_dump())
                if isinstance(rule, DailyRealizedLoss)
                else rule
                for rule in rules.rules
            )
            for account_id, rules in book.accounts.items()
        }
        return replace(book, accounts=accounts)


PLANTS: dict[str, Callable[[], Plant]] = {
    "": Plant,
    "fire_once": FireOnce,
    "counts_twice": CountsTwice,
    "lock_after_call": LockAfterCall,
    "naive_time": NaiveTime,
    "cancels_all": CancelsAll,
    "trusts_silence": TrustsSilence,
    "terminal_is_final": TerminalIsFinal,
    "waits_for_read_back": WaitsForReadBack,
    "never_believes": NeverBelieves,
    "excuses_the_known": ExcusesTheKnown,
}
