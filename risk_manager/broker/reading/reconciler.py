"""Reads each account over REST: at start, after gaps in the stream, and on a timer.

A *pass* is one reading of one account. It reads some or all of its parts.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime

from risk_manager.async_closing import AsyncClosing
from risk_manager.broker.lanes import Lanes
from risk_manager.broker.reading.account_reader import AccountReader
from risk_manager.broker.reading.account_search import AccountSearch
from risk_manager.broker.reading.answers import AnswerParser
from risk_manager.broker.reading.pacing import (
    Intervals,
    Pace,
    is_exposed,
    pace_of,
    polled_every_seconds,
)
from risk_manager.broker.reading.part_by_part import PartByPart
from risk_manager.broker.reading.passes import Passes
from risk_manager.broker.reading.progress import ProgressByAccount, ReadProgress
from risk_manager.broker.reading.readings import (
    EXPOSURE,
    Part,
    Parts,
    Reading,
    ReadStatus,
    report,
)
from risk_manager.broker.task_group import OnError, TaskGroup, log_error
from risk_manager.clock import Clock
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.records import AccountRecord
from risk_manager.domain.state import State

FEW_ACCOUNTS = 8
"""Up to this many accounts are read whole at once, whatever the budget."""
LONGEST_WAIT_SECONDS = 1.0  # an account may become exposed at any moment


class Reconciler(AsyncClosing):
    """Reads accounts and puts one `AccountReported` per pass into the inbox.

    An async context manager; `run` is the timer. `on_accounts` receives all active accounts of the
    login, watched or not, with every search.
    """

    def __init__(
        self,
        lanes: Lanes,
        clock: Clock,
        put: Callable[[AnyEvent], None],
        state: Callable[[], State],
        *,
        intervals: Intervals | None = None,
        on_accounts: Callable[[tuple[AccountRecord, ...]], None] = lambda _: None,
        on_error: OnError = log_error,
    ) -> None:
        self._lanes = lanes
        self._clock = clock
        self._put = put
        self._state = state
        self._intervals = intervals or Intervals()
        self._on_accounts = on_accounts
        self._tasks = TaskGroup(on_error)
        self._wake = asyncio.Event()
        self._progress = ProgressByAccount()
        search = AccountSearch(lanes, clock, self._tasks, self._accounts_listed)
        answers = AnswerParser(clock, put)
        self._passes = Passes(
            AccountReader(lanes, search, answers, clock, put, state, on_look_due=self._wake.set),
            self._progress,
            lanes,
            clock,
            self._tasks,
            on_error,
            on_ended=self._wake.set,
        )
        self._part_by_part = PartByPart(
            lanes,
            search,
            answers,
            self._progress,
            clock,
            put,
            self._tasks,
            self._intervals,
            request=self._passes.request,
        )

    async def close(self) -> None:
        """End all passes; callers that wait for one get None."""
        await self._tasks.close()
        self._passes.release()

    # --- requests of other parts ---

    def ask(self, account_id: int | None = None) -> None:
        """Request a whole pass soon, after a gap or an unreadable message. None: all accounts."""
        chosen = self._state().accounts if account_id is None else (account_id,)
        for each in chosen:
            self._progress[each].request_anew()
        self._wake.set()

    def ask_routine(self, account_id: int) -> None:
        """Request a routine pass soon, for instance after one of our actions."""
        self._progress[account_id].is_requested = True
        self._wake.set()

    def look_again(self, account_id: int) -> None:
        """Read positions and orders at once, as a decision depends on them.

        The read uses the enforcement lane, at most once a second however often it is asked for.
        """
        progress, now = self._progress[account_id], self._clock.monotonic()
        if now - progress.last_look_request_at >= self._intervals.between_asked_seconds:
            progress.last_look_request_at = now
            account = self._state().accounts.get(account_id)
            asks_permission = account is not None and "account" in account.disputes
            parts = EXPOSURE | {Part.ACCOUNT} if asks_permission else EXPOSURE
            self._passes.request(account_id, parts, is_urgent=True)

    async def read_back(
        self, account_id: int, parts: Parts, limit_seconds: float
    ) -> Reading | None:
        """Read the account by a pass begun after this call; None when it took too long.

        The report is in the inbox before this returns. The reads use the enforcement lane.
        """
        requested = self._passes.request(account_id, parts, is_urgent=True)
        await asyncio.wait({requested.done}, timeout=limit_seconds)
        if not requested.done.done() or requested.done.cancelled():
            return None
        return requested.done.result()

    def expect_absent(self, account_ids: Iterable[int]) -> None:
        """Mark accounts as not in the login's list. They are not read until the list shows them."""
        for account_id in account_ids:
            self._progress[account_id].expect_absent()

    # --- status ---

    def status(self, account_id: int) -> ReadStatus:
        progress = self._progress.get(account_id)
        return ReadStatus() if progress is None else progress.status

    def owed(self) -> Counter[Part]:
        """Return, for each part, how many accounts still wait for it to be read."""
        return Counter(part for each in self._progress.values() for part in each.owed.parts)

    # --- the timer ---

    async def run(self) -> None:
        """Read every account of the state whenever it is due, until cancelled."""
        while True:
            self._wake.clear()
            wait_seconds = self._begin_what_is_due(self._state())
            try:
                async with asyncio.timeout(max(wait_seconds, 0.02)):
                    await self._wake.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(0.02)  # several requests at the same time become one

    def _begin_what_is_due(self, state: State) -> float:
        """Begin every read that is due. Returns the seconds until the next check."""
        pace = pace_of(state, self._intervals, self._lanes.reads_left)
        soonest = LONGEST_WAIT_SECONDS
        due = []
        for account_id, account in state.accounts.items():
            progress, now = self._progress[account_id], self._clock.monotonic()
            wait = LONGEST_WAIT_SECONDS  # while a pass runs: decided again when it ends
            if not self._passes.is_running(account_id):
                wait = pace.due_in_seconds(progress, account, now)
            if wait <= 0:
                due.append(progress)
            elif (look_in := progress.look_due_at - now) <= 0:
                progress.prepare_look()
                self._passes.request(account_id, EXPOSURE, is_urgent=True)
            else:
                soonest = min(soonest, wait, look_in)
        return min(soonest, self._begin_passes(due, state, pace), self._poll_permissions(state))

    def _begin_passes(self, due: list[ReadProgress], state: State, pace: Pace) -> float:
        """Begin the due passes within the budget. Returns the seconds until the next check."""
        is_under_way = any(progress.owed for progress in due)
        fits = 1 + 3 * len(due) <= self._lanes.reads_left
        if is_under_way or (len(due) > FEW_ACCOUNTS and not fits):
            return self._part_by_part.begin(due, state, pace)
        now = self._clock.monotonic()
        for progress in due:
            account = state.accounts[progress.account_id]
            if pace.is_at_ease or pace.is_whole_due(progress, account, now):
                self._begin_whole(progress, state)
            else:  # after a gap in the stream a missed position matters most
                progress.is_requested = False
                self._passes.request(progress.account_id, (Part.POSITIONS,), is_urgent=False)
        return LONGEST_WAIT_SECONDS

    def _begin_whole(self, progress: ReadProgress, state: State) -> None:
        now = self._clock.monotonic()
        is_whole_day = progress.take_up_whole_day(
            state.day.date, now, every_seconds=self._intervals.whole_day_seconds
        )
        progress.prepare_routine(now)
        parts = progress.wanted_parts(is_exposed=is_exposed(state.accounts[progress.account_id]))
        self._passes.request(progress.account_id, parts, is_urgent=False, is_whole_day=is_whole_day)

    def _poll_permissions(self, state: State) -> float:
        """Read `can_trade` of accounts for which a rule is due to poll it.

        Returns the seconds until the next poll. As one search serves all accounts, it includes
        those that are due soon.
        """
        now = self._clock.monotonic()
        polls: list[tuple[float, float, int]] = []  # due in seconds, polled every seconds, account
        for account_id in state.accounts:
            last_at = self._progress[account_id].permission_pass_at
            every = polled_every_seconds(state, account_id)
            if every and last_at is not None and not self._passes.is_running(account_id):
                polls.append((last_at + every - now, every, account_id))
        soonest = min((due_in for due_in, _, _ in polls), default=LONGEST_WAIT_SECONDS)
        if soonest > 0:
            return soonest
        for due_in, every, account_id in polls:
            if due_in <= every / 2:
                self._passes.request(account_id, (Part.ACCOUNT,), is_urgent=False)
        return LONGEST_WAIT_SECONDS

    # --- the login's list ---

    def _accounts_listed(self, asked_at: datetime, accounts: tuple[AccountRecord, ...]) -> None:
        self._on_accounts(accounts)
        for record in accounts:
            self._report_permission(record, asked_at)
            progress = self._progress.get(record.id)
            if progress is None or not progress.is_absent:
                continue
            if not self._passes.is_running(record.id):
                progress.is_requested = True

    def _report_permission(self, record: AccountRecord, asked_at: datetime) -> None:
        """Report a changed permission even if the search was made for another account."""
        known = self._state().accounts.get(record.id)
        if known is None or record.id not in self._progress:
            return
        if record.can_trade in (None, known.can_trade):
            return
        if not self._passes.is_reading(record.id, Part.ACCOUNT):
            now = self._clock.now()
            reading = Reading(account_id=record.id, asked_at=asked_at, at=now, account=record)
            report(reading, self._put)
