"""Reads each account over REST: at start, after gaps in the stream, and on a timer.

A *pass* is one reading of one account. It reads some or all of its parts.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from pydantic import TypeAdapter, ValidationError

from risk_manager.async_closing import AsyncClosing
from risk_manager.broker.lanes import Lanes
from risk_manager.broker.replies import Answer, Reply
from risk_manager.broker.task_group import OnError, TaskGroup, log_error
from risk_manager.clock import Clock
from risk_manager.domain.account import Account
from risk_manager.domain.events import AccountReported, AnyEvent, Unreadable
from risk_manager.domain.read_budget import EXPOSED_RESERVE, RESERVED_READS
from risk_manager.domain.records import AccountRecord, OrderRecord, PositionRecord, TradeRecord
from risk_manager.domain.state import State

BEFORE_THE_DAY = timedelta(minutes=5)
BEFORE_THE_NEWEST_TRADE = timedelta(minutes=2)
TRY_AGAIN_AFTER_SECONDS = (1.0, 5.0, 10.0, 30.0)
LOOK_AGAIN_AFTER_SECONDS = (0.0, 1.0, *[2.0] * 8, 3.0, 5.0)
SHARE_ACCOUNTS_WITHIN_SECONDS = 0.25
ANSWERED_WITHIN_SECONDS = 1.0
PARTS_ARE_TOGETHER_FOR_SECONDS = 0.5
COMPLAIN_AGAIN_AFTER_SECONDS = 300.0
FEW_ACCOUNTS = 8
"""Up to this many accounts are read whole at once, whatever the budget."""
NEXT_TURN_SECONDS = 0.25
WAITS_TOO_LONG_SECONDS = 10.0
AT_EASE_READS = 60
"""If this many reads remain after reading every account once, requests are served at once."""
ROUTINE_RESERVE = 30
"""Reads kept for routine passes while accounts are asked for again and again."""
EXPOSED_SHARE = 2 / 3
"""The share of the routine budget for exposed accounts when it does not suffice for all."""
ABSENT_AFTER_LOOKS = 2
"""An account is absent after this many lists without it, as a single list may be cut short."""


class Part(StrEnum):
    """The parts of an account that a pass may read."""

    ACCOUNT = "account"
    POSITIONS = "positions"
    ORDERS = "orders"
    TRADES = "trades"


type Parts = frozenset[Part]
EVERYTHING: Parts = frozenset(Part)
EXPOSURE: Parts = frozenset({Part.POSITIONS, Part.ORDERS})
IN_TURN = (Part.POSITIONS, Part.ORDERS, Part.TRADES)

PATHS: Mapping[Part, str] = {
    Part.ACCOUNT: "/Account/search",
    Part.POSITIONS: "/Position/searchOpen",
    Part.ORDERS: "/Order/searchOpen",
    Part.TRADES: "/Trade/search",
}
_LISTS: Mapping[Part, tuple[str, TypeAdapter[Any]]] = {
    Part.POSITIONS: ("positions", TypeAdapter(tuple[PositionRecord, ...])),
    Part.ORDERS: ("orders", TypeAdapter(tuple[OrderRecord, ...])),
    Part.TRADES: ("trades", TypeAdapter(tuple[TradeRecord, ...])),
}


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
class Reading:
    """The result of one pass. A part that was not asked for or could not be read is None.

    `asked_at` is when the first request was sent.
    """

    account_id: int
    asked_at: datetime
    at: datetime
    account: AccountRecord | None = None
    positions: tuple[PositionRecord, ...] | None = None
    orders: tuple[OrderRecord, ...] | None = None
    trades: tuple[TradeRecord, ...] | None = None

    def has(self, parts: Iterable[Part]) -> bool:
        return all(getattr(self, part) is not None for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStatus:
    """How fresh the knowledge of one account is, for display. None: never read, or not failing.

    `is_absent`: several lists of the login in a row did not contain the account. `is_seen`:
    positions and orders have been read. `owes`: the parts still to be read, where many accounts
    are read part by part.
    """

    last_ok_at: datetime | None = None
    failing_since: datetime | None = None
    reason: str = ""
    is_absent: bool = False
    is_seen: bool = False
    owes: Parts = frozenset()


@dataclass(slots=True, eq=False)
class _Pass:
    """One pass over one account, shared by all who wait for it."""

    parts: set[Part]
    urgent: bool
    full: bool
    done: "asyncio.Future[Reading]"


@dataclass(slots=True)
class _Desk:
    """The bookkeeping of one account. Instants are of the monotonic clock."""

    account_id: int
    running: _Pass | None = None
    task: "asyncio.Task[None] | None" = None
    following: _Pass | None = None
    owed: bool = False  # a routine pass was dropped for a read-back and must be repeated
    asked: bool = False
    unsure: bool = True  # there may be a position or order that no pass has shown yet
    looks: int = 0  # passes begun since `unsure` was set
    look_due: float = math.inf
    full_wanted: bool = True
    full_for: date | None = None
    full_at: float = 0.0
    trades_known_to: datetime | None = None
    read_at: float | None = None  # when the last whole pass began
    whole_due: float = 0.0  # when the next whole pass is due
    positions_at: float = -math.inf  # when the last pass that reads positions began
    permission_at: float | None = None  # when the last pass that reads `can_trade` began
    looked_at: float = -math.inf
    ended: float = 0.0
    failures: int = 0
    waits_for_room: bool = False  # the last failure was a refusal for too many requests
    absences: int = 0  # lists of the login in a row without this account
    is_seen: bool = False
    owing: set[Part] = field(default_factory=set)  # parts still to be read, one by one
    owing_since: float = -math.inf
    turn_at: float = -math.inf  # when the last of these parts began
    listed: tuple[datetime, tuple[PositionRecord, ...]] | None = None  # asked at, and positions
    status: ReadStatus = field(default_factory=ReadStatus)
    complaints: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def is_absent(self) -> bool:
        return self.absences >= ABSENT_AFTER_LOOKS


@dataclass(frozen=True, slots=True)
class _Pace:
    """The seconds after which an account is read again: routinely, and on request."""

    exposed: float
    flat: float
    asked_exposed: float
    asked_flat: float
    is_at_ease: bool

    def between_asked(self, is_exposed: bool) -> float:
        return self.asked_exposed if is_exposed else self.asked_flat


class Reconciler(AsyncClosing):
    """Reads accounts and puts one `AccountReported` per pass into the inbox.

    An async context manager; `run` is the timer. There is never more than one pass per account at
    a time. A read-back asked for meanwhile waits for the next pass, as the present one may predate
    the effect to be verified. A routine pass is dropped at once for a read-back. `on_accounts`
    receives all active accounts of the login, watched or not, with every search.
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
        self._on_error = on_error
        self._tasks = TaskGroup(on_error)
        self._desks: dict[int, _Desk] = {}
        self._listing_due = 0.0
        self._account_searches: dict[bool, tuple[float, asyncio.Task[Reply]]] = {}
        self._nudged = asyncio.Event()

    async def close(self) -> None:
        """End all passes; callers that wait for one get None."""
        await self._tasks.close()
        for desk in self._desks.values():
            for waiting in (desk.running, desk.following):
                if waiting is not None:
                    waiting.done.cancel()
            desk.running = desk.following = None

    # --- what others ask for ---

    def ask(self, account_id: int | None = None) -> None:
        """Request a whole pass soon, after a gap or an unreadable message. None: all accounts."""
        chosen = self._state().accounts if account_id is None else (account_id,)
        for each in chosen:
            desk = self._desk(each)
            desk.asked = desk.unsure = desk.full_wanted = True
        self._nudged.set()

    def ask_routine(self, account_id: int) -> None:
        """Request a routine pass soon, for instance after one of our actions."""
        self._desk(account_id).asked = True
        self._nudged.set()

    def look_again(self, account_id: int) -> None:
        """Read positions and orders at once, as a decision depends on them.

        The read uses the enforcement lane, at most once a second however often it is asked for.
        """
        desk, now = self._desk(account_id), self._clock.monotonic()
        if now - desk.looked_at >= self._intervals.between_asked_seconds:
            desk.looked_at = now
            account = self._state().accounts.get(account_id)
            asks_permission = account is not None and "account" in account.disputes
            parts = EXPOSURE | {Part.ACCOUNT} if asks_permission else EXPOSURE
            self._request(account_id, parts, urgent=True)

    async def read_back(
        self, account_id: int, parts: Parts, limit_seconds: float
    ) -> Reading | None:
        """Read the account by a pass begun after this call; None when it took too long.

        The report is in the inbox before this returns. The reads use the enforcement lane.
        """
        turn = self._request(account_id, parts, urgent=True)
        await asyncio.wait({turn.done}, timeout=limit_seconds)
        if not turn.done.done() or turn.done.cancelled():
            return None
        return turn.done.result()

    def status(self, account_id: int) -> ReadStatus:
        desk = self._desks.get(account_id)
        if desk is None:
            return ReadStatus()
        return replace(
            desk.status,
            is_absent=desk.is_absent,
            is_seen=desk.is_seen,
            owes=frozenset(desk.owing),
        )

    def expect_absent(self, account_ids: Iterable[int]) -> None:
        """Mark accounts as not in the login's list. They are not read until the list shows them."""
        for account_id in account_ids:
            self._desk(account_id).absences = ABSENT_AFTER_LOOKS

    def owed(self) -> Counter[Part]:
        """Return, for each part, how many accounts still wait for it to be read."""
        return Counter(part for desk in self._desks.values() for part in desk.owing)

    # --- the timer ---

    async def run(self) -> None:
        """Read every account of the state whenever it is due, until cancelled."""
        while True:
            self._nudged.clear()
            state = self._state()
            pace = self._pace(state)
            soonest = 1.0  # an account may become exposed at any moment
            due = []
            for account_id, account in state.accounts.items():
                desk = self._desk(account_id)
                wait = self._due_in_seconds(desk, account, pace)
                if wait <= 0:
                    due.append(desk)
                elif (look_in := desk.look_due - self._clock.monotonic()) <= 0:
                    desk.look_due = math.inf
                    desk.looks += 1
                    self._request(account_id, EXPOSURE, urgent=True)
                else:
                    soonest = min(soonest, wait, look_in)
            soonest = min(soonest, self._begin_due(due, state, pace), self._poll_permissions(state))
            try:
                async with asyncio.timeout(max(soonest, 0.02)):
                    await self._nudged.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(0.02)  # several requests at the same time become one

    def _pace(self, state: State) -> _Pace:
        """Return the intervals at which all passes fit the budget.

        Many flat accounts do not make an exposed one wait.
        """
        times = self._intervals
        exposed = sum(is_exposed(a) for a in state.accounts.values())
        flat = len(state.accounts) - exposed
        of_exposed, of_flat = (
            (1 + 3 * number) * 60 / interval if number else 0.0
            for number, interval in (
                (exposed, times.exposed_seconds),
                (flat, times.flat_seconds),
            )
        )
        polls = [every for a in state.accounts if (every := _polled_every_seconds(state, a))]
        room = times.requests_a_minute - (60 / min(polls) if polls else 0.0)
        for_exposed = of_exposed
        if of_exposed + of_flat > room:
            for_exposed = min(of_exposed, max(room - of_flat, EXPOSED_SHARE * room))
        left = self._lanes.reads_left
        is_at_ease = left - (1 + 3 * len(state.accounts)) >= AT_EASE_READS
        # Repeated requests are spread evenly over the reads left in this minute.
        asked_exposed, asked_flat = (
            max(60 * number / max(share, 1), times.between_asked_seconds)
            for number, share in (
                (exposed, left - ROUTINE_RESERVE),
                (exposed + flat, left - ROUTINE_RESERVE - EXPOSED_RESERVE * bool(exposed)),
            )
        )
        return _Pace(
            exposed=times.exposed_seconds * (of_exposed / for_exposed if exposed else 1.0),
            flat=times.flat_seconds * max(of_flat / max(room - for_exposed, 1.0), 1.0),
            asked_exposed=times.between_asked_seconds if is_at_ease else asked_exposed,
            asked_flat=times.between_asked_seconds if is_at_ease else asked_flat,
            is_at_ease=is_at_ease,
        )

    def _due_in_seconds(self, desk: _Desk, account: Account, pace: _Pace) -> float:
        if desk.running is not None:
            return 1.0  # decided again when the pass ends
        now = self._clock.monotonic()
        if desk.owing:
            pause = self._pause_after_failure(desk)
            return desk.ended + pause - now if desk.failures else 0.0
        if desk.read_at is None:
            return 0.0
        is_pressing = is_exposed(account) or (desk.unsure and pace.is_at_ease)
        interval = pace.exposed if is_pressing else pace.flat
        due = desk.read_at + interval
        if desk.failures:
            due = desk.ended + min(self._pause_after_failure(desk), interval)
        is_pressed = desk.asked or desk.positions_at > desk.read_at
        if is_pressed and not pace.is_at_ease and not desk.failures:
            due += interval  # meanwhile its positions are read by themselves, and more often
        desk.whole_due = due
        if desk.asked:
            between = min(pace.between_asked(is_exposed(account)), interval)
            due = min(due, max(desk.read_at, desk.positions_at) + between)
        return due - now

    def _pause_after_failure(self, desk: _Desk) -> float:
        pauses = TRY_AGAIN_AFTER_SECONDS
        if desk.waits_for_room and self._lanes.reads_left >= ROUTINE_RESERVE:
            return pauses[0]
        return pauses[min(desk.failures, len(pauses)) - 1]

    def _poll_permissions(self, state: State) -> float:
        """Read `can_trade` of accounts for which a rule is due to poll it.

        Returns the seconds until the next poll. As one search serves all accounts, it includes
        those that are due soon.
        """
        now = self._clock.monotonic()
        waiting: dict[int, tuple[float, float]] = {}
        for account_id in state.accounts:
            desk = self._desk(account_id)
            every = _polled_every_seconds(state, account_id)
            if every and desk.permission_at is not None and desk.running is None:
                waiting[account_id] = (desk.permission_at + every - now, every)
        soonest = min((left for left, _ in waiting.values()), default=1.0)
        if soonest > 0:
            return soonest
        for account_id, (left, every) in waiting.items():
            if left <= every / 2:
                self._request(account_id, (Part.ACCOUNT,), urgent=False)
        return 1.0

    def _begin_due(self, due: list[_Desk], state: State, pace: _Pace) -> float:
        """Begin the due passes within the budget. Returns the seconds until the next check."""
        now = self._clock.monotonic()
        is_under_way = any(desk.owing for desk in due)
        fits = 1 + 3 * len(due) <= self._lanes.reads_left
        if is_under_way or (len(due) > FEW_ACCOUNTS and not fits):
            return self._begin_in_turn(due, state, pace)
        for desk in due:
            if pace.is_at_ease or desk.read_at is None or desk.whole_due <= now:
                self._begin_routine(desk, state)
            else:  # after a gap in the stream a missed position matters most
                desk.asked = False
                self._request(desk.account_id, (Part.POSITIONS,), urgent=False)
        return 1.0

    def _begin_in_turn(self, due: list[_Desk], state: State, pace: _Pace) -> float:
        """Read more accounts than the budget allows at once, part by part.

        First come the positions of all accounts, then the orders, then the trades. Exposed or
        locked accounts go first. Returns the seconds until the next check.
        """
        now = self._clock.monotonic()
        exposed = {account.id for account in state.accounts.values() if is_exposed(account)}
        for desk in due:
            between = pace.between_asked(desk.account_id in exposed)
            if not desk.owing or (desk.asked and now - desk.owing_since >= between):
                desk.owing, desk.listed = set(self._wanted_of(desk, state)), None
                desk.owing_since = now
                desk.asked, desk.look_due = False, math.inf
        self._list_accounts([desk for desk in due if Part.ACCOUNT in desk.owing])
        stage = min((_rank(d) for d in self._desks.values() if not d.failures), default=0)
        room = self._lanes.reads_left - RESERVED_READS
        for desk in sorted(due, key=partial(_turn, state)):
            part = _next_part(desk)
            if part is None:
                continue
            holds = desk.account_id in exposed
            # The next list of positions may show an exposed account, which would then go first.
            is_early = not holds and _rank(desk) > stage
            may_use_all = holds or (part is Part.POSITIONS and not desk.is_seen)
            if is_early or room <= (0 if may_use_all else EXPOSED_RESERVE * bool(exposed)):
                if holds:
                    self._wait_while_exposed(desk)
                continue
            room -= 1
            desk.turn_at = now
            full = part is Part.TRADES and self._is_whole_day_due(desk, state)
            self._request(desk.account_id, (part,), urgent=False, full=full)
        return NEXT_TURN_SECONDS

    def _wait_while_exposed(self, desk: _Desk) -> None:
        """Look at an exposed account that has waited too long, or report it as not readable."""
        waits = self._clock.monotonic() - max(desk.turn_at, desk.owing_since)
        if waits > self._intervals.exposed_seconds and desk.unsure and self._lanes.looks_left:
            desk.turn_at = self._clock.monotonic()
            self._request(desk.account_id, EXPOSURE, urgent=True)
        elif waits > WAITS_TOO_LONG_SECONDS and desk.status.failing_since is None:
            desk.status = replace(
                desk.status,
                failing_since=self._clock.now(),
                reason="its turn has not come, the reads of this minute are used up",
            )

    def _list_accounts(self, desks: list[_Desk]) -> None:
        """Read the login's list once for all these accounts."""
        now = self._clock.monotonic()
        if desks and now >= self._listing_due:
            self._listing_due = now + self._intervals.between_asked_seconds
            self._tasks.start("list accounts", self._read_list(desks))

    async def _read_list(self, desks: list[_Desk]) -> None:
        asked_at = self._clock.now()
        reply = await self._search_accounts(urgent=False, only_active=True)
        if not reply.ok:
            return  # the part is still owed and will be asked for again
        absent = [desk for desk in desks if _record_of(desk.account_id, reply) is None]
        everything = reply
        if absent:
            everything = await self._search_accounts(urgent=False, only_active=False)
        for desk in desks:
            wanted = everything if desk in absent else reply
            if wanted.ok:
                desk.permission_at = self._clock.monotonic()
                record = self._account_of(desk, wanted)
                self._report(
                    Reading(
                        account_id=desk.account_id,
                        asked_at=asked_at,
                        at=self._clock.now(),
                        account=record,
                    )
                )
                self._has_read(desk, {Part.ACCOUNT})

    def _has_read(self, desk: _Desk, parts: Iterable[Part]) -> None:
        """Note that these parts have been read. Once none is owed, the account was read whole."""
        if not desk.owing:
            return
        desk.owing.difference_update(parts)
        desk.status = replace(desk.status, failing_since=None, reason="")
        if not desk.owing:
            desk.read_at = self._clock.monotonic()
            desk.failures = 0
            if not desk.is_absent:
                desk.status = ReadStatus(last_ok_at=self._clock.now())

    def _is_whole_day_due(self, desk: _Desk, state: State) -> bool:
        is_old = self._clock.monotonic() - desk.full_at >= self._intervals.whole_day_seconds
        full = desk.full_wanted or is_old or desk.full_for != state.day.date
        desk.full_wanted = False
        return full

    def _begin_routine(self, desk: _Desk, state: State) -> None:
        full = self._is_whole_day_due(desk, state)
        desk.asked = False
        # A look would drop this pass, so it must first have had time for an answer.
        answered_by = self._clock.monotonic() + ANSWERED_WITHIN_SECONDS
        desk.look_due = answered_by if desk.unsure and not desk.is_absent else math.inf
        self._request(desk.account_id, self._wanted_of(desk, state), urgent=False, full=full)

    def _wanted_of(self, desk: _Desk, state: State) -> Parts:
        """Return the parts to read. For an absent account, only whether it has come back."""
        account = state.accounts.get(desk.account_id)
        is_gone = desk.is_absent and (account is None or not is_exposed(account))
        return frozenset({Part.ACCOUNT}) if is_gone else EVERYTHING

    # --- passes ---

    def _desk(self, account_id: int) -> _Desk:
        desk = self._desks.get(account_id)
        if desk is None:
            desk = self._desks[account_id] = _Desk(account_id)
        return desk

    def _request(
        self, account_id: int, parts: Iterable[Part], *, urgent: bool, full: bool = False
    ) -> _Pass:
        desk = self._desk(account_id)
        following = desk.following
        if following is None:
            done: asyncio.Future[Reading] = asyncio.get_running_loop().create_future()
            following = desk.following = _Pass(set(parts), urgent, full, done)
        else:
            following.parts.update(parts)
            following.urgent |= urgent
            following.full |= full
        if desk.running is not None and urgent and not desk.running.urgent:
            self._give_way(desk)
        if desk.running is None:
            self._begin(desk)
        return following

    def _give_way(self, desk: _Desk) -> None:
        """Drop the routine pass that is running; its parts are read afterwards."""
        assert desk.running is not None
        assert desk.task is not None
        desk.owed = True
        desk.full_wanted |= desk.running.full
        desk.task.cancel()
        desk.running.done.cancel()
        desk.running = desk.task = None

    def _begin(self, desk: _Desk) -> None:
        turn = desk.following
        if turn is None:
            return
        desk.following = None
        desk.running = turn
        if Part.ACCOUNT in turn.parts:
            desk.permission_at = self._clock.monotonic()
        if Part.POSITIONS in turn.parts and not turn.urgent:
            desk.positions_at = self._clock.monotonic()
        if turn.parts >= EVERYTHING or desk.is_absent:
            desk.read_at = self._clock.monotonic()
        desk.task = self._tasks.start(f"read account {desk.account_id}", self._pass(desk, turn))

    async def _pass(self, desk: _Desk, turn: _Pass) -> None:
        asked_at = self._clock.now()
        reading = Reading(account_id=desk.account_id, asked_at=asked_at, at=asked_at)
        try:
            reading = await self._read(desk, turn, asked_at)
        except Exception as error:  # our own fault; told, and the account is read again later
            self._on_error(f"read account {desk.account_id}", error)
            self._note_failure(desk, f"{type(error).__name__}: {error}")
        # A pass is cancelled only when it gives way; the pass that replaced it is then in charge.
        desk.ended = self._clock.monotonic()
        desk.running = desk.task = None
        if not turn.done.done():
            turn.done.set_result(reading)
        self._note_parts(desk, turn, reading)
        if desk.running is not None:
            pass  # the remaining parts are being read already
        elif desk.following is not None:
            self._begin(desk)
        elif desk.owed:
            desk.owed = False
            desk.asked = not desk.owing
        self._nudged.set()

    async def _read(self, desk: _Desk, turn: _Pass, asked_at: datetime) -> Reading:
        state = self._state()
        reading = Reading(account_id=desk.account_id, asked_at=asked_at, at=asked_at)
        listed = desk.listed if Part.POSITIONS not in turn.parts else None
        if listed is not None and Part.ORDERS in turn.parts:
            # Orders are only judged together with positions: both count as of the earlier list.
            reading = replace(reading, asked_at=listed[0], positions=listed[1])
        failed: list[str] = []
        async with asyncio.TaskGroup() as group:
            fetches = {
                part: group.create_task(
                    self._fetch(desk, part, turn, state), name=f"read {part} {desk.account_id}"
                )
                for part in sorted(turn.parts)
            }
            patience: float | None = PARTS_ARE_TOGETHER_FOR_SECONDS
            wait_for = asyncio.ALL_COMPLETED
            while fetches:
                # Parts already read are reported even if another part hangs. They are reported
                # again with the rest, as orders are only judged together with positions.
                done, _ = await asyncio.wait(
                    fetches.values(), timeout=patience, return_when=wait_for
                )
                wait_for, patience = asyncio.FIRST_COMPLETED, None
                replies = {part: fetch.result() for part, fetch in fetches.items() if fetch in done}
                fetches = {part: fetch for part, fetch in fetches.items() if fetch not in done}
                found, troubles = self._make_out(desk, replies)
                if troubles:
                    answers = [reply.answer for reply in replies.values() if not reply.ok]
                    desk.waits_for_room = Answer.LIMITED in answers
                failed += troubles
                reading = replace(reading, at=self._clock.now(), **found)
                self._note_exposure(desk, turn, reading, is_last=not fetches)
                if fetches and found:
                    self._report(reading)
        if reading.trades is not None:
            desk.trades_known_to = asked_at
            if turn.full:
                desk.full_for, desk.full_at = state.day.date, self._clock.monotonic()
        elif turn.full:
            desk.full_wanted = True
        self._note(desk, turn, failed)
        self._report(reading)
        return reading

    def _note_parts(self, desk: _Desk, turn: _Pass, reading: Reading) -> None:
        """Update the bookkeeping of a reading part by part after this pass."""
        desk.is_seen |= reading.has(EXPOSURE)
        if Part.POSITIONS in turn.parts and reading.positions is not None:
            ahead = desk.owing and reading.orders is None
            desk.listed = (reading.asked_at, reading.positions) if ahead else None
        found = {part for part in turn.parts if getattr(reading, part) is not None}
        self._has_read(desk, found)
        is_half = Part.ORDERS in desk.owing and Part.ORDERS not in turn.parts
        if reading.positions and is_half and desk.unsure and self._lanes.looks_left:
            # The position's stops must be known: read by the enforcement lane, ahead of all flat
            # accounts.
            self._request(desk.account_id, (Part.ORDERS,), urgent=True)

    def _note_exposure(self, desk: _Desk, turn: _Pass, reading: Reading, *, is_last: bool) -> None:
        """Note whether exposure is known now, or whether the account must be read again soon."""
        if reading.has(EXPOSURE):
            desk.unsure, desk.looks, desk.look_due = False, 0, math.inf
        elif self._lists_strangers(reading):
            desk.unsure = True
            self._look_later(desk)
        elif desk.unsure and is_last and turn.parts >= EXPOSURE:
            self._look_later(desk)

    def _look_later(self, desk: _Desk) -> None:
        """Schedule a look by the enforcement lane, as there may be something to close or cancel.

        A 429 pauses that lane for moments only, while other reads may have to wait a minute.
        """
        if desk.is_absent:
            return
        pauses = LOOK_AGAIN_AFTER_SECONDS
        pause = pauses[min(desk.looks, len(pauses) - 1)]
        desk.look_due = min(desk.look_due, self._clock.monotonic() + pause)
        self._nudged.set()

    def _lists_strangers(self, reading: Reading) -> bool:
        """Whether the reading has new orders but no positions, so that they cannot be judged."""
        account = self._state().accounts.get(reading.account_id)
        known = account.orders if account is not None else {}
        return reading.positions is None and any(o.id not in known for o in reading.orders or ())

    def _make_out(
        self, desk: _Desk, replies: Mapping[Part, Reply]
    ) -> tuple[dict[str, Any], list[str]]:
        """Return the parsed answers by part, and the problems of those that have none."""
        found: dict[str, Any] = {}
        failed: list[str] = []
        for part, reply in replies.items():
            if not reply.ok:
                failed.append(reply.message)
                continue
            if part is Part.ACCOUNT:
                found[part] = self._account_of(desk, reply)
                continue
            found[part] = self._list_of(desk, part, reply)
            if found[part] is None:
                failed.append(f"{PATHS[part]} holds a record that cannot be read")
        return found, failed

    async def _fetch(self, desk: _Desk, part: Part, turn: _Pass, state: State) -> Reply:
        if part is Part.ACCOUNT:
            reply = await self._search_accounts(turn.urgent, only_active=True)
            if reply.ok and _record_of(desk.account_id, reply) is None:
                # It is not documented whether a locked account counts as inactive.
                reply = await self._search_accounts(turn.urgent, only_active=False)
            return reply
        body: dict[str, object] = {"accountId": desk.account_id}
        if part is Part.TRADES:
            since = self._trades_since(desk, turn, state)
            body["startTimestamp"] = since.isoformat()
        if not turn.urgent:
            return await self._lanes.read(PATHS[part], body)
        too_late = self._clock.monotonic() + PARTS_ARE_TOGETHER_FOR_SECONDS
        reply = await self._lanes.look(PATHS[part], body)
        failed = reply.answer in (Answer.UNKNOWN, Answer.UNSENT)
        is_half = desk.unsure and turn.parts == EXPOSURE
        if failed and is_half and self._clock.monotonic() < too_late:
            # Try again now: one half is useless alone, and at the next look the other may fail.
            reply = await self._lanes.look(PATHS[part], body)
        return reply

    def _trades_since(self, desk: _Desk, turn: _Pass, state: State) -> datetime:
        # The day before is included: the ledger still keeps it, and its trades can be voided.
        before = state.rulebook.day.window(state.day.starts_at - BEFORE_THE_DAY)
        day_began = before.starts_at - BEFORE_THE_DAY
        account = state.accounts.get(desk.account_id)
        known_to = desk.trades_known_to
        if turn.full or known_to is None or account is None or not account.ledger.entries:
            return day_began
        newest = max(e.executed_at for e in account.ledger.entries.values())
        # While reads failed, the stream may have missed one trade and delivered a later one.
        return max(min(newest, known_to) - BEFORE_THE_NEWEST_TRADE, day_began)

    async def _search_accounts(self, urgent: bool, *, only_active: bool) -> Reply:
        """One search serves all accounts read at the same time."""
        now = self._clock.monotonic()
        known = self._account_searches.get(only_active)
        if known is None or now - known[0] > SHARE_ACCOUNTS_WITHIN_SECONDS or known[1].cancelled():
            fetch = self._lanes.look if urgent else self._lanes.read
            body = {"onlyActiveAccounts": only_active}
            task = self._tasks.start("search accounts", fetch(PATHS[Part.ACCOUNT], body))
            if only_active:
                task.add_done_callback(partial(self._tell_accounts, self._clock.now()))
            known = self._account_searches[only_active] = (now, task)
        return await asyncio.shield(known[1])

    def _tell_accounts(self, asked_at: datetime, search: asyncio.Task[Reply]) -> None:
        if search.cancelled() or search.exception() is not None or not search.result().ok:
            return
        listed = search.result().body.get("accounts")
        accounts = []
        for raw in listed if isinstance(listed, list) else ():
            try:
                accounts.append(AccountRecord.model_validate(raw))
            except ValidationError:
                continue  # reported by the pass of that account, if it is watched
        self._on_accounts(tuple(accounts))
        for record in accounts:
            self._tell_permission(record, asked_at)
            desk = self._desks.get(record.id)
            if desk is not None and desk.is_absent and desk.running is None:
                desk.asked = True

    def _tell_permission(self, record: AccountRecord, asked_at: datetime) -> None:
        """Report a changed permission even if the search was made for another account."""
        known = self._state().accounts.get(record.id)
        desk = self._desks.get(record.id)
        if known is None or desk is None or record.can_trade in (None, known.can_trade):
            return
        if desk.running is None or Part.ACCOUNT not in desk.running.parts:
            now = self._clock.now()
            self._report(Reading(account_id=record.id, asked_at=asked_at, at=now, account=record))

    # --- reading what came ---

    def _account_of(self, desk: _Desk, reply: Reply) -> AccountRecord | None:
        source = PATHS[Part.ACCOUNT]
        if not isinstance(reply.body.get("accounts"), list):
            self._complain(desk, source, "the answer holds no list of accounts")
            return None
        raw = _record_of(desk.account_id, reply)
        if raw is None:
            desk.absences += 1
            if not desk.is_absent:
                desk.asked = True  # read again soon, to be sure
            return None
        if desk.is_absent:
            desk.asked = desk.unsure = desk.full_wanted = True
        desk.absences = 0
        try:
            return AccountRecord.model_validate(raw)
        except ValidationError as error:
            self._complain(desk, source, first_problem(error))
            return None

    def _list_of(self, desk: _Desk, part: Part, reply: Reply) -> tuple[Any, ...] | None:
        key, adapter = _LISTS[part]
        raw = reply.body.get(key)
        if not isinstance(raw, list):
            self._complain(desk, PATHS[part], f"the answer holds no list of {key}")
            return None
        try:
            records: tuple[Any, ...] = adapter.validate_python(raw)
        except ValidationError as error:
            self._complain(desk, PATHS[part], first_problem(error))
            return None
        stray = next((r for r in records if r.account_id != desk.account_id), None)
        if stray is not None:
            self._complain(
                desk, PATHS[part], f"record {stray.id} belongs to account {stray.account_id}"
            )
            return None
        return records

    def _complain(self, desk: _Desk, source: str, detail: str) -> None:
        """Report a problem once, and again while it lasts, but not with every pass."""
        now = self._clock.monotonic()
        told = desk.complaints.get((source, detail))
        if told is not None and now - told < COMPLAIN_AGAIN_AFTER_SECONDS:
            return
        desk.complaints = {
            k: t for k, t in desk.complaints.items() if now - t < COMPLAIN_AGAIN_AFTER_SECONDS
        }
        desk.complaints[source, detail] = now
        self._put(
            Unreadable(
                at=self._clock.now(), source=source, detail=detail, account_id=desk.account_id
            )
        )

    def _report(self, reading: Reading) -> None:
        if not any(getattr(reading, part) is not None for part in Part):
            return
        self._put(
            AccountReported(
                at=reading.at,
                asked_at=reading.asked_at,
                account_id=reading.account_id,
                account=reading.account,
                positions=reading.positions,
                orders=reading.orders,
                trades=reading.trades,
            )
        )

    # --- how it stands ---

    def _note(self, desk: _Desk, turn: _Pass, failed: list[str]) -> None:
        if failed:
            is_routine = bool(desk.owing) and not turn.urgent
            is_whole = turn.parts >= EVERYTHING or is_routine
            self._note_failure(desk, failed[0], is_whole=is_whole)
        elif turn.parts >= EVERYTHING:
            desk.failures = 0
            desk.status = ReadStatus(last_ok_at=self._clock.now())

    def _note_failure(self, desk: _Desk, reason: str, *, is_whole: bool = True) -> None:
        """Count a failure. Only whole passes that fail in a row lengthen the pause.

        Partial reads are repeated by their callers many times a second and must not add up.
        """
        desk.failures = desk.failures + 1 if is_whole else max(desk.failures, 1)
        since = desk.status.failing_since or self._clock.now()
        desk.status = replace(desk.status, failing_since=since, reason=reason)


def is_exposed(account: Account) -> bool:
    """Whether the account has a position, a working order, a closing or an attempt."""
    return bool(account.positions or account.orders or account.closings or account.attempts)


def _next_part(desk: _Desk) -> Part | None:
    """Return the next part to read; None where only the login's list is missing."""
    return next((part for part in IN_TURN if part in desk.owing), None)


def _turn(state: State, desk: _Desk) -> tuple[int, bool, float]:
    """Sort key: by part, then exposed or locked accounts, then the longest wait."""
    account = state.accounts[desk.account_id]
    return _rank(desk), not (is_exposed(account) or account.locks), desk.turn_at


def _rank(desk: _Desk) -> int:
    part = _next_part(desk)
    return len(IN_TURN) if part is None else IN_TURN.index(part)


def _polled_every_seconds(state: State, account_id: int) -> float | None:
    """Return how often the rules of an account need `can_trade`; None if none does."""
    rules = state.rulebook.for_account(account_id).rules
    intervals = [every for rule in rules if (every := rule.polls_account_every) is not None]
    return min(intervals).total_seconds() if intervals else None


def _record_of(account_id: int, reply: Reply) -> dict[str, Any] | None:
    listed = reply.body.get("accounts")
    records = listed if isinstance(listed, list) else ()
    return next((r for r in records if isinstance(r, dict) and r.get("id") == account_id), None)


def first_problem(error: ValidationError) -> str:
    """Return a validation error in one line, without the values themselves."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
