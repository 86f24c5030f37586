"""Reads the parts of one account in one pass: sends the requests and reports what they bring."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from risk_manager.broker.lanes import Lanes
from risk_manager.broker.reading.account_search import AccountSearch
from risk_manager.broker.reading.answers import AnswerParser
from risk_manager.broker.reading.progress import ReadProgress
from risk_manager.broker.reading.readings import EXPOSURE, PATHS, Part, Reading, report
from risk_manager.broker.replies import Answer, Reply
from risk_manager.clock import Clock
from risk_manager.domain.account import Account
from risk_manager.domain.day_history import first_unknown
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.state import State

BEFORE_THE_DAY = timedelta(minutes=5)
BEFORE_THE_NEWEST_TRADE = timedelta(minutes=2)
PARTS_ARE_TOGETHER_FOR_SECONDS = 0.5
LATE_AFTER_SECONDS = 4.5
"""A pass that is not over by then counts as failing until it is, as nobody can tell whether its
answers still come."""


@dataclass(slots=True, eq=False)
class Pass:
    """One pass over one account, shared by all who wait for it.

    `is_urgent`: it uses the enforcement lane. `is_whole_day`: it asks for the trades of the whole
    day and of the day before. `is_under_way`: its requests may have left.
    """

    parts: set[Part]
    is_urgent: bool
    is_whole_day: bool
    done: "asyncio.Future[Reading]"
    is_under_way: bool = False

    def widen(self, parts: Iterable[Part], *, is_urgent: bool, is_whole_day: bool) -> None:
        """Have it read these parts too."""
        self.parts.update(parts)
        self.is_urgent |= is_urgent
        self.is_whole_day |= is_whole_day


class AccountReader:
    """Carries out passes. `on_look_due` is called when a pass shows that a look is due soon."""

    def __init__(
        self,
        lanes: Lanes,
        search: AccountSearch,
        answers: AnswerParser,
        clock: Clock,
        put: Callable[[AnyEvent], None],
        state: Callable[[], State],
        *,
        on_look_due: Callable[[], None],
    ) -> None:
        self._lanes = lanes
        self._search = search
        self._answers = answers
        self._clock = clock
        self._put = put
        self._state = state
        self._on_look_due = on_look_due

    async def read(self, progress: ReadProgress, wanted: Pass, begun_at: datetime) -> Reading:
        """Read the parts of this pass, report them, and note the result in `progress`.

        Returns what was read now. What is reported may contain a half that was read shortly before.
        """
        loop = asyncio.get_running_loop()
        late = loop.call_later(LATE_AFTER_SECONDS, self._note_late, progress)
        try:
            return await self._read(progress, wanted, begun_at)
        finally:
            late.cancel()

    def _note_late(self, progress: ReadProgress) -> None:
        reason = f"no answer for {LATE_AFTER_SECONDS:g} s; still waiting"
        progress.note_failure(reason, self._clock.now(), is_whole=False)

    async def _read(self, progress: ReadProgress, wanted: Pass, begun_at: datetime) -> Reading:
        state = self._state()
        since = trades_since(progress, state, is_whole_day=wanted.is_whole_day)
        reading = Reading(
            account_id=progress.account_id, asked_at=begun_at, at=begun_at, trades_since=since
        )
        first = Part.POSITIONS if progress.lacks_positions else None
        problems: list[str] = []
        told = reading
        async with asyncio.TaskGroup() as group:
            fetches = {
                part: group.create_task(
                    self._fetch(progress, part, wanted, since),
                    name=f"read {part} {progress.account_id}",
                )
                for part in sorted(wanted.parts, key=lambda part: (part is not first, part))
            }
            patience: float | None = PARTS_ARE_TOGETHER_FOR_SECONDS
            wait_for = asyncio.ALL_COMPLETED
            while fetches:
                # Parts already read are reported even if another part hangs. They are reported
                # again with the rest, as orders are only judged together with positions.
                try:
                    done, _ = await asyncio.wait(
                        fetches.values(), timeout=patience, return_when=wait_for
                    )
                except asyncio.CancelledError:
                    self._report_dropped(progress, reading, fetches)
                    raise
                wait_for, patience = asyncio.FIRST_COMPLETED, None
                replies = {part: fetch.result() for part, fetch in fetches.items() if fetch in done}
                fetches = {part: fetch for part, fetch in fetches.items() if fetch not in done}
                found, new_problems = self._parse(progress, replies)
                problems += new_problems
                reading = replace(reading, at=self._clock.now(), **found)
                progress.note_halves(reading)
                # Only the core is told of a half read before, as it knows what has been said since.
                told = progress.completed(reading, awaited=fetches)
                self._note_exposure(progress, wanted, told, is_last=not fetches)
                if fetches and found:
                    self._report(reading, told)
        progress.note_trades(
            reading,
            begun_at,
            state.day.date,
            self._clock.monotonic(),
            is_whole_day=wanted.is_whole_day,
        )
        progress.note_result(
            problems, self._clock.now(), parts=wanted.parts, is_urgent=wanted.is_urgent
        )
        self._report(reading, told)
        return reading

    def _report(self, reading: Reading, told: Reading) -> None:
        if told is not reading:
            # On its own it counts as of now and may decide what it cannot as of the earlier list.
            report(reading, self._put)
        report(told, self._put)

    def _report_dropped(
        self, progress: ReadProgress, reading: Reading, fetches: dict[Part, asyncio.Task[Reply]]
    ) -> None:
        """Report the parts that had been answered when the pass was dropped.

        The next list may be refused for a while, and a limit may depend on this one.
        """
        answered = {
            part: fetch.result()
            for part, fetch in fetches.items()
            if fetch.done() and not fetch.cancelled() and fetch.exception() is None
        }
        if answered:
            found, _ = self._parse(progress, answered)
            dropped = replace(reading, at=self._clock.now(), **found)
            progress.note_halves(dropped)
            report(dropped, self._put)

    def _parse(
        self, progress: ReadProgress, replies: dict[Part, Reply]
    ) -> tuple[dict[str, Any], list[str]]:
        parsed = self._answers.parse(progress.account_id, replies)
        if parsed.is_listed is not None:
            progress.note_listed(parsed.is_listed)
        if parsed.problems:
            progress.is_rate_limited = parsed.is_rate_limited
        return parsed.found, parsed.problems

    def _note_exposure(
        self, progress: ReadProgress, wanted: Pass, reading: Reading, *, is_last: bool
    ) -> None:
        account = self._state().accounts.get(reading.account_id)
        known = account.orders if account is not None else {}
        is_look_due = progress.note_exposure(
            reading,
            self._clock.monotonic(),
            parts=wanted.parts,
            is_last=is_last,
            has_new_orders=reading.positions is None
            and any(order.id not in known for order in reading.orders or ()),
        )
        if is_look_due:
            self._on_look_due()

    async def _fetch(
        self, progress: ReadProgress, part: Part, wanted: Pass, since: datetime
    ) -> Reply:
        if part is Part.ACCOUNT:
            return await self._search.find(progress.account_id, is_urgent=wanted.is_urgent)
        body: dict[str, object] = {"accountId": progress.account_id}
        if part is Part.TRADES:
            body["startTimestamp"] = since.isoformat()
        if not wanted.is_urgent:
            return await self._lanes.read(PATHS[part], body)
        too_late = self._clock.monotonic() + PARTS_ARE_TOGETHER_FOR_SECONDS
        reply = await self._lanes.look(PATHS[part], body)
        failed = reply.answer in (Answer.UNKNOWN, Answer.UNSENT)
        is_half = progress.is_unsure and wanted.parts == EXPOSURE
        if failed and is_half and self._clock.monotonic() < too_late:
            # Try again now: one half is useless alone, and at the next look the other may fail.
            reply = await self._lanes.look(PATHS[part], body)
        return reply


def trades_since(progress: ReadProgress, state: State, *, is_whole_day: bool) -> datetime:
    """Return the instant since which the trades of an account are to be read."""
    # The day before is included: the ledger still keeps it, and its trades can be voided.
    day_before = state.rulebook.day.window(state.day.starts_at - BEFORE_THE_DAY)
    earliest = day_before.starts_at - BEFORE_THE_DAY
    account = state.accounts.get(progress.account_id)
    known_to = progress.trades_known_to
    if is_whole_day or known_to is None or account is None or not account.ledger.entries:
        return earliest if account is None else min(earliest, _first_to_learn_of(account, state))
    newest = max(e.executed_at for e in account.ledger.entries.values())
    # While reads failed, the stream may have missed one trade and delivered a later one.
    return max(min(newest, known_to) - BEFORE_THE_NEWEST_TRADE, earliest)


def _first_to_learn_of(account: Account, state: State) -> datetime:
    """Return when the first day began that a rule looks back on and whose trades are unknown."""
    first = first_unknown(account, state.rulebook.for_account(account.id))
    if first is None:
        return state.now
    return state.rulebook.day.began(first) - BEFORE_THE_DAY
