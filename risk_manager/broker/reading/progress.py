"""The bookkeeping of reading: of each account, the parts asked for, owed, known and failing."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from risk_manager.broker.reading.readings import (
    EVERYTHING,
    EXPOSURE,
    Part,
    Parts,
    Reading,
    ReadStatus,
)
from risk_manager.domain.records import OrderRecord, PositionRecord

LOOK_AGAIN_AFTER_SECONDS = (0.0, 1.0, *[2.0] * 8, 3.0, 5.0)
ANSWERED_WITHIN_SECONDS = (1.0, 5.0, 10.0)
"""How long a routine pass has before a look drops it: more once looks have failed. A gateway that
answers later than a look waits would otherwise never be read."""
POSITIONS_BELONG_FOR = timedelta(seconds=10)
"""Orders that can be read, while the positions are refused, are judged with positions read so long
before. The gateway may go on to allow one read at a time for a minute."""
ORDERS_BELONG_FOR = timedelta(seconds=3)
"""Positions are judged with orders read so long before. The time is shorter: a stop that has ended
meanwhile, unheard, would go on counting as protection."""
ABSENT_AFTER_LISTS = 2
"""An account is absent after this many lists without it, as a single list may be cut short."""
ONE_BY_ONE = (Part.POSITIONS, Part.ORDERS, Part.TRADES)
"""The order in which the parts of many accounts are read. The login's list is read apart."""


@dataclass(slots=True)
class OwedParts:
    """The parts of one account still to be read, where many accounts are read part by part."""

    parts: set[Part] = field(default_factory=set)
    since: float = -math.inf
    begun_at: float = -math.inf  # when the last of these parts was begun

    def __bool__(self) -> bool:
        return bool(self.parts)

    def renew(self, parts: Parts, now: float) -> None:
        self.parts, self.since = set(parts), now

    @property
    def next_part(self) -> Part | None:
        """The next part to read; None where only the login's list is missing."""
        return next((part for part in ONE_BY_ONE if part in self.parts), None)

    @property
    def stage(self) -> int:
        """The place of the next part in the order of reading; the last place where none is left."""
        part = self.next_part
        return len(ONE_BY_ONE) if part is None else ONE_BY_ONE.index(part)


@dataclass(slots=True, eq=False)
class ReadProgress:
    """The bookkeeping of one account. Every float is a time of the monotonic clock, in seconds.

    `is_requested`: a pass was asked for and has not begun. `is_unsure`: there may be a position or
    an order that no pass has shown yet. A *look* is a read of positions and orders ahead of all
    other reads; `looks` counts those begun since `is_unsure` was set.
    """

    account_id: int
    is_requested: bool = False
    is_unsure: bool = True
    looks: int = 0
    look_due_at: float = math.inf
    last_look_request_at: float = -math.inf
    wants_whole_day: bool = True  # the trades of the whole day are to be read next
    whole_day_date: date | None = None
    whole_day_at: float = 0.0
    trades_known_to: datetime | None = None
    whole_pass_at: float | None = None  # when the last pass over everything was begun
    positions_pass_at: float = -math.inf  # when the last routine pass over positions was begun
    permission_pass_at: float | None = None  # when `can_trade` was last asked for
    last_pass_ended_at: float = 0.0
    failures: int = 0
    is_rate_limited: bool = False  # the last failure was a refusal for too many requests
    lists_without: int = 0  # lists of the login in a row that did not contain this account
    is_seen: bool = False
    owed: OwedParts = field(default_factory=OwedParts)
    listed_positions: tuple[datetime, tuple[PositionRecord, ...]] | None = None
    """The positions that were read without the orders, and when they were asked for."""
    listed_orders: tuple[datetime, tuple[OrderRecord, ...]] | None = None
    """The orders that were read without the positions, and when they were asked for."""
    lacks_positions: bool = False  # the last pass over both read the orders alone
    freshness: ReadStatus = field(default_factory=ReadStatus)

    @property
    def is_absent(self) -> bool:
        return self.lists_without >= ABSENT_AFTER_LISTS

    @property
    def status(self) -> ReadStatus:
        return replace(
            self.freshness,
            is_absent=self.is_absent,
            is_seen=self.is_seen,
            owes=frozenset(self.owed.parts),
        )

    def request_anew(self) -> None:
        """Have everything read again, as anything may have changed unseen."""
        self.is_requested = self.is_unsure = self.wants_whole_day = True

    def expect_absent(self) -> None:
        """Treat the account as absent until a list of the login contains it."""
        self.lists_without = ABSENT_AFTER_LISTS

    def wanted_parts(self, *, is_exposed: bool) -> Parts:
        """Return the parts to read. For an absent account, only whether it has come back."""
        is_gone = self.is_absent and not is_exposed
        return frozenset({Part.ACCOUNT}) if is_gone else EVERYTHING

    def take_up_whole_day(self, day: date, now: float, *, every_seconds: float) -> bool:
        """Return whether the trades of the whole day are due. The request for them is cleared."""
        is_old = now - self.whole_day_at >= every_seconds
        is_due = self.wants_whole_day or is_old or self.whole_day_date != day
        self.wants_whole_day = False
        return is_due

    # --- before a pass ---

    def prepare_routine(self, now: float) -> None:
        """Clear the requests that a routine pass over the whole account fulfils."""
        self.is_requested = False
        is_look_due = self.is_unsure and not self.is_absent
        self.look_due_at = self._answered_by(now) if is_look_due else math.inf

    def prepare_part(self, now: float) -> None:
        """Put off a look that is due: it would drop the routine pass over one part."""
        if self.look_due_at < math.inf:
            self.look_due_at = max(self.look_due_at, self._answered_by(now))

    def _answered_by(self, now: float) -> float:
        return now + ANSWERED_WITHIN_SECONDS[min(self.looks, len(ANSWERED_WITHIN_SECONDS) - 1)]

    def prepare_look(self) -> None:
        self.look_due_at = math.inf
        self.looks += 1

    def prepare_one_by_one(self, parts: Parts, now: float) -> None:
        """Owe these parts, to be read one by one."""
        self.owed.renew(parts, now)
        self.listed_positions = self.listed_orders = None
        self.is_requested, self.look_due_at = False, math.inf

    def note_halves(self, reading: Reading) -> None:
        """Keep what a pass has read of the exposure so far, unless that is the whole of it."""
        positions, orders = reading.positions, reading.orders
        if positions is not None:
            self.listed_positions = (reading.asked_at, positions) if orders is None else None
        if orders is not None:
            self.listed_orders = (reading.asked_at, orders) if positions is None else None

    def completed(self, reading: Reading, *, awaited: Iterable[Part]) -> Reading:
        """Return the reading with the half of the exposure that it lacks, if read shortly before.

        Orders are only judged together with positions. Both count as of the earlier list. Where
        single parts are read in turn, that may be long ago.
        """
        at, positions, orders = reading.asked_at, reading.positions, reading.orders
        if positions is None and orders is not None and Part.POSITIONS not in awaited:
            known = self.listed_positions
            if known is not None and (self.owed or _is_within(POSITIONS_BELONG_FOR, known[0], at)):
                return replace(reading, asked_at=known[0], positions=known[1])
        elif orders is None and positions is not None and Part.ORDERS not in awaited:
            earlier = self.listed_orders
            if earlier is not None and _is_within(ORDERS_BELONG_FOR, earlier[0], at):
                return replace(reading, asked_at=earlier[0], orders=earlier[1])
        return reading

    def note_begun(self, parts: Iterable[Part], now: float, *, is_urgent: bool) -> None:
        begun = frozenset(parts)
        if Part.ACCOUNT in begun:
            self.permission_pass_at = now
        if Part.POSITIONS in begun and not is_urgent:
            self.positions_pass_at = now
        if begun >= EVERYTHING or self.is_absent:
            self.whole_pass_at = now

    # --- results of a pass ---

    def note_listed(self, is_listed: bool) -> None:
        """Note whether a list of the login contained this account."""
        if not is_listed:
            self.lists_without += 1
            if not self.is_absent:
                self.is_requested = True  # read again soon, to be sure
            return
        if self.is_absent:
            self.request_anew()
        self.lists_without = 0

    def note_exposure(
        self,
        reading: Reading,
        now: float,
        *,
        parts: Iterable[Part],
        is_last: bool,
        has_new_orders: bool,
    ) -> bool:
        """Note whether exposure is known now. Returns True if a look is due soon because it is not.

        `has_new_orders`: the reading has orders of which nothing was known, but no positions, so
        that these orders cannot be judged.
        """
        if reading.has(EXPOSURE):
            self.is_seen = True
            self.is_unsure, self.looks, self.look_due_at = False, 0, math.inf
            return False
        if has_new_orders:
            self.is_unsure = True
        elif not (self.is_unsure and is_last and EXPOSURE.issubset(parts)):
            return False
        return self._schedule_look(now)

    def _schedule_look(self, now: float) -> bool:
        """Schedule a look by the enforcement lane, as there may be something to close or cancel.

        A 429 pauses that lane for moments only, while other reads may have to wait a minute.
        """
        if self.is_absent:
            return False
        pauses = LOOK_AGAIN_AFTER_SECONDS
        pause = pauses[min(self.looks, len(pauses) - 1)]
        self.look_due_at = min(self.look_due_at, now + pause)
        return True

    def note_trades(
        self, reading: Reading, begun_at: datetime, day: date, now: float, *, is_whole_day: bool
    ) -> None:
        """Note how far the trades are known after a pass begun at `begun_at`."""
        if reading.trades is not None:
            self.trades_known_to = begun_at
            if is_whole_day:
                self.whole_day_date, self.whole_day_at = day, now
        elif is_whole_day:
            self.wants_whole_day = True

    def note_result(
        self, problems: list[str], at: datetime, *, parts: Iterable[Part], is_urgent: bool
    ) -> None:
        """Note at the end of a pass whether it failed."""
        is_everything = EVERYTHING.issubset(parts)
        if problems:
            is_routine = bool(self.owed) and not is_urgent
            self.note_failure(problems[0], at, is_whole=is_everything or is_routine)
        elif is_everything:
            self.failures = 0
            self.freshness = ReadStatus(last_ok_at=at)

    def note_failure(self, reason: str, at: datetime, *, is_whole: bool = True) -> None:
        """Count a failure. Only whole passes that fail in a row lengthen the pause.

        Partial reads are repeated by their callers many times a second and must not add up.
        """
        self.failures = self.failures + 1 if is_whole else max(self.failures, 1)
        since = self.freshness.failing_since or at
        self.freshness = replace(self.freshness, failing_since=since, reason=reason)

    def note_parts(
        self, reading: Reading, now: float, at: datetime, *, parts: Iterable[Part]
    ) -> None:
        """Note the parts that a finished pass has read."""
        if Part.POSITIONS in parts:
            self.lacks_positions = reading.positions is None and reading.orders is not None
        self.note_read((part for part in parts if getattr(reading, part) is not None), now, at)

    def note_read(self, parts: Iterable[Part], now: float, at: datetime) -> None:
        """Note that these parts have been read. Once none is owed, the account was read whole."""
        if not self.owed:
            return
        self.owed.parts.difference_update(parts)
        self.freshness = replace(self.freshness, failing_since=None, reason="")
        if not self.owed:
            self.whole_pass_at = now
            self.failures = 0
            if not self.is_absent:
                self.freshness = ReadStatus(last_ok_at=at)


def _is_within(length: timedelta, earlier: datetime, later: datetime) -> bool:
    return timedelta(0) <= later - earlier <= length


class ProgressByAccount(dict[int, ReadProgress]):
    """The bookkeeping of all accounts; an empty one is added for an account not known yet."""

    def __missing__(self, account_id: int) -> ReadProgress:
        progress = self[account_id] = ReadProgress(account_id)
        return progress
