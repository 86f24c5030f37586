"""Reads more accounts than the budget allows at once: part by part, the important ones first."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Protocol

from risk_manager.broker.reading.account_search import AccountSearch, record_in
from risk_manager.broker.reading.answers import AnswerParser
from risk_manager.broker.reading.pacing import Budget, Intervals, Pace, is_exposed
from risk_manager.broker.reading.progress import ProgressByAccount, ReadProgress
from risk_manager.broker.reading.readings import EXPOSURE, Part, Reading, report
from risk_manager.broker.task_group import TaskGroup
from risk_manager.clock import Clock
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.read_budget import EXPOSED_RESERVE, RESERVED_READS
from risk_manager.domain.state import State

NEXT_TURN_SECONDS = 0.25
WAITS_TOO_LONG_SECONDS = 10.0


class Request(Protocol):
    """Requests a pass, as `Passes.request` does."""

    def __call__(
        self,
        account_id: int,
        parts: Iterable[Part],
        *,
        is_urgent: bool,
        is_whole_day: bool = False,
    ) -> object: ...


class PartByPart:
    """Requests single parts of many accounts within the budget.

    First come the positions of all accounts, then the orders, then the trades. Exposed or locked
    accounts go first. The login's list is read once for all of them.
    """

    def __init__(
        self,
        budget: Budget,
        search: AccountSearch,
        answers: AnswerParser,
        progress: ProgressByAccount,
        clock: Clock,
        put: Callable[[AnyEvent], None],
        tasks: TaskGroup,
        intervals: Intervals,
        *,
        request: Request,
    ) -> None:
        self._budget = budget
        self._search = search
        self._answers = answers
        self._progress = progress
        self._clock = clock
        self._put = put
        self._tasks = tasks
        self._intervals = intervals
        self._request = request
        self._next_search_at = 0.0

    def begin(self, due: list[ReadProgress], state: State, pace: Pace) -> float:
        """Request the next parts of the accounts due. Returns the seconds until the next check."""
        now = self._clock.monotonic()
        exposed = {account.id for account in state.accounts.values() if is_exposed(account)}
        for progress in due:
            is_held = progress.account_id in exposed
            between = pace.between_requests(is_exposed=is_held)
            is_due_again = progress.is_requested and now - progress.owed.since >= between
            if not progress.owed or is_due_again:
                progress.prepare_one_by_one(progress.wanted_parts(is_exposed=is_held), now)
        self._search_accounts([each for each in due if Part.ACCOUNT in each.owed.parts])
        stages = (each.owed.stage for each in self._progress.values() if not each.failures)
        stage = min(stages, default=0)
        room = self._budget.reads_left - RESERVED_READS
        for progress in sorted(due, key=partial(_precedence, state)):
            part = progress.owed.next_part
            if part is None:
                continue
            is_held = progress.account_id in exposed
            # The next list of positions may show an exposed account, which would then go first.
            is_early = not is_held and progress.owed.stage > stage
            may_use_all = is_held or (part is Part.POSITIONS and not progress.is_seen)
            if is_early or room <= (0 if may_use_all else EXPOSED_RESERVE * bool(exposed)):
                if is_held:
                    self._wait_while_exposed(progress)
                continue
            room -= 1
            progress.owed.begun_at = now
            progress.prepare_part(now)
            is_whole_day = part is Part.TRADES and progress.take_up_whole_day(
                state.day.date, now, every_seconds=self._intervals.whole_day_seconds
            )
            self._request(progress.account_id, (part,), is_urgent=False, is_whole_day=is_whole_day)
        return NEXT_TURN_SECONDS

    def _wait_while_exposed(self, progress: ReadProgress) -> None:
        """Look at an exposed account that has waited too long, or note that it is not readable."""
        now, owed = self._clock.monotonic(), progress.owed
        waited_seconds = now - max(owed.begun_at, owed.since)
        is_long = waited_seconds > self._intervals.exposed_seconds
        if is_long and progress.is_unsure and self._budget.looks_left:
            owed.begun_at = now
            self._request(progress.account_id, EXPOSURE, is_urgent=True)
        elif waited_seconds > WAITS_TOO_LONG_SECONDS and progress.freshness.failing_since is None:
            progress.freshness = replace(
                progress.freshness,
                failing_since=self._clock.now(),
                reason="its turn has not come, the reads of this minute are used up",
            )

    def _search_accounts(self, wanted: list[ReadProgress]) -> None:
        """Read the login's list once for all these accounts."""
        now = self._clock.monotonic()
        if wanted and now >= self._next_search_at:
            self._next_search_at = now + self._intervals.between_asked_seconds
            self._tasks.start("list accounts", self._read_list(wanted))

    async def _read_list(self, wanted: list[ReadProgress]) -> None:
        asked_at = self._clock.now()
        active = await self._search.search(is_urgent=False, only_active=True)
        if not active.ok:
            return  # the part is still owed and will be asked for again
        absent = [each for each in wanted if record_in(active, each.account_id) is None]
        everything = active
        if absent:
            everything = await self._search.search(is_urgent=False, only_active=False)
        for progress in wanted:
            reply = everything if progress in absent else active
            if not reply.ok:
                continue
            now, at = self._clock.monotonic(), self._clock.now()
            progress.permission_pass_at = now
            listed = self._answers.account(progress.account_id, reply)
            if listed.is_listed is not None:
                progress.note_listed(listed.is_listed)
            report(
                Reading(
                    account_id=progress.account_id,
                    asked_at=asked_at,
                    at=at,
                    account=listed.record,
                ),
                self._put,
            )
            progress.note_read({Part.ACCOUNT}, now, at)


def _precedence(state: State, progress: ReadProgress) -> tuple[int, bool, float]:
    """Sort key: by part, then exposed or locked accounts, then the longest wait."""
    account = state.accounts[progress.account_id]
    owed = progress.owed
    return owed.stage, not (is_exposed(account) or account.locks), owed.begun_at
