"""Decides when an account is read again, so that all passes fit the budget of reads. Pure."""

from dataclasses import dataclass
from typing import Protocol

from risk_manager.broker.reading.progress import ReadProgress
from risk_manager.domain.account import Account
from risk_manager.domain.read_budget import EXPOSED_RESERVE
from risk_manager.domain.state import State

TRY_AGAIN_AFTER_SECONDS = (1.0, 5.0, 10.0, 30.0)
AT_EASE_READS = 60
"""If this many reads remain after reading every account once, requests are served at once."""
ROUTINE_RESERVE = 30
"""Reads kept for routine passes while accounts are asked for again and again."""
EXPOSED_SHARE = 2 / 3
"""The share of the routine budget for exposed accounts when it does not suffice for all."""


def is_exposed(account: Account) -> bool:
    """Whether the account has a position, a working order, a closing or an attempt."""
    return bool(account.positions or account.orders or account.closings or account.attempts)


class Budget(Protocol):
    """How many reads may be sent now, as `Lanes` counts them: routine reads, and looks."""

    @property
    def reads_left(self) -> int: ...

    @property
    def looks_left(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How often an account is read routinely.

    Trades are asked for since the last known one. Every `whole_day_seconds` they are asked for the
    whole day and the day before, as old trades can be voided. `requests_a_minute` is the budget of
    routine passes: with many accounts they come less often.
    """

    exposed_seconds: float = 5.0
    flat_seconds: float = 30.0
    whole_day_seconds: float = 600.0
    between_asked_seconds: float = 1.0
    requests_a_minute: float = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The seconds after which an account is read again: routinely, and on request.

    `reads_left`: the reads that may be sent now. `is_at_ease`: they suffice for every account and
    many requests, so that requests are served at once.
    """

    exposed_seconds: float
    flat_seconds: float
    requested_exposed_seconds: float
    requested_flat_seconds: float
    reads_left: int
    is_at_ease: bool

    def between_requests(self, *, is_exposed: bool) -> float:
        return self.requested_exposed_seconds if is_exposed else self.requested_flat_seconds

    def due_in_seconds(self, progress: ReadProgress, account: Account, now: float) -> float:
        """Return the seconds until a pass over the account is due, where none is running."""
        if progress.owed:
            pause = self._pause_after_failure(progress)
            return progress.last_pass_ended_at + pause - now if progress.failures else 0.0
        if progress.whole_pass_at is None:
            return 0.0
        due_at = self._whole_due_at(progress, account, progress.whole_pass_at)
        if progress.is_requested:
            between = self.between_requests(is_exposed=is_exposed(account))
            between = min(between, self._interval(progress, account))
            last_at = max(progress.whole_pass_at, progress.positions_pass_at)
            due_at = min(due_at, last_at + between)
        return due_at - now

    def is_whole_due(self, progress: ReadProgress, account: Account, now: float) -> bool:
        """Return whether the whole account is due, and not only its positions."""
        whole_pass_at = progress.whole_pass_at
        return whole_pass_at is None or self._whole_due_at(progress, account, whole_pass_at) <= now

    def _whole_due_at(self, progress: ReadProgress, account: Account, last_at: float) -> float:
        interval = self._interval(progress, account)
        due_at = last_at + interval
        if progress.failures:
            pause = min(self._pause_after_failure(progress), interval)
            due_at = progress.last_pass_ended_at + pause
        elif not self.is_at_ease and (
            progress.is_requested or progress.positions_pass_at > last_at
        ):
            due_at += interval  # meanwhile its positions are read by themselves, and more often
        return due_at

    def _interval(self, progress: ReadProgress, account: Account) -> float:
        is_pressing = is_exposed(account) or (progress.is_unsure and self.is_at_ease)
        return self.exposed_seconds if is_pressing else self.flat_seconds

    def _pause_after_failure(self, progress: ReadProgress) -> float:
        pauses = TRY_AGAIN_AFTER_SECONDS
        if progress.is_rate_limited and self.reads_left >= ROUTINE_RESERVE:
            return pauses[0]
        return pauses[min(progress.failures, len(pauses)) - 1]


def pace_of(state: State, intervals: Intervals, reads_left: int) -> Pace:
    """Return the intervals at which all passes fit the budget.

    Many flat accounts do not make an exposed one wait.
    """
    exposed = sum(is_exposed(a) for a in state.accounts.values())
    flat = len(state.accounts) - exposed
    of_exposed, of_flat = (
        (1 + 3 * number) * 60 / interval if number else 0.0
        for number, interval in (
            (exposed, intervals.exposed_seconds),
            (flat, intervals.flat_seconds),
        )
    )
    polls = [every for a in state.accounts if (every := polled_every_seconds(state, a))]
    room = intervals.requests_a_minute - (60 / min(polls) if polls else 0.0)
    for_exposed = of_exposed
    if of_exposed + of_flat > room:
        for_exposed = min(of_exposed, max(room - of_flat, EXPOSED_SHARE * room))
    is_at_ease = reads_left - (1 + 3 * len(state.accounts)) >= AT_EASE_READS
    # Repeated requests are spread evenly over the reads left in this minute.
    requested_exposed, requested_flat = (
        max(60 * number / max(share, 1), intervals.between_asked_seconds)
        for number, share in (
            (exposed, reads_left - ROUTINE_RESERVE),
            (exposed + flat, reads_left - ROUTINE_RESERVE - EXPOSED_RESERVE * bool(exposed)),
        )
    )
    at_once = intervals.between_asked_seconds
    return Pace(
        exposed_seconds=intervals.exposed_seconds * (of_exposed / for_exposed if exposed else 1.0),
        flat_seconds=intervals.flat_seconds * max(of_flat / max(room - for_exposed, 1.0), 1.0),
        requested_exposed_seconds=at_once if is_at_ease else requested_exposed,
        requested_flat_seconds=at_once if is_at_ease else requested_flat,
        reads_left=reads_left,
        is_at_ease=is_at_ease,
    )


def polled_every_seconds(state: State, account_id: int) -> float | None:
    """Return how often the rules of an account need `can_trade`; None if none does."""
    rules = state.rulebook.for_account(account_id).rules
    intervals = [every for rule in rules if (every := rule.polls_account_every) is not None]
    return min(intervals).total_seconds() if intervals else None
