"""RULE-009: trade only in the hours you set."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from risk_manager.domain.decisions import Ask, Cancel, Close, LockOut, Severity, Unlock, Verdict
from risk_manager.domain.durations import Duration, plain_duration
from risk_manager.domain.holdings import Position
from risk_manager.domain.lockout import new_lock
from risk_manager.domain.locks import Lock, LockKind, LockPolicy, Release
from risk_manager.domain.market_calendar import EVERY, MarketCalendar
from risk_manager.domain.records import OrderType
from risk_manager.domain.rule import Meter, MeterState, Rule
from risk_manager.domain.scope import (
    ACCOUNT_SCOPE,
    contract_scope,
    root_scope,
    scope_name,
    scoped_contract,
)
from risk_manager.domain.session_hours import (
    SHUT,
    WEEKDAYS,
    MinuteOfDay,
    Standing,
    WeeklyHours,
    Window,
    ZoneName,
    plain_minutes,
    schedule,
    shared_schedule,
)
from risk_manager.domain.symbols import PatternSet
from risk_manager.domain.view import View

MINUTE = timedelta(minutes=1)
DAY_MINUTES = 24 * 60
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class SessionWindow(BaseModel):
    """One window of the day, end exclusive. `days` name the day it starts on.

    A start after the end crosses midnight; "00:00" to "24:00" is the whole day.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: Annotated[tuple[Day, ...], Field(min_length=1)]
    start: MinuteOfDay
    end: MinuteOfDay

    @model_validator(mode="after")
    def _has_a_length(self) -> "SessionWindow":
        if self.start == self.end:
            raise ValueError(
                f"start and end are both {plain_minutes(self.start)}; "
                'for the whole day write start: "00:00", end: "24:00"'
            )
        if self.start == 24 * 60:
            raise ValueError('"24:00" is an end; for a start write "00:00" of the next day')
        if len(set(self.days)) < len(self.days):
            raise ValueError("a day is named twice")
        return self

    @property
    def minutes(self) -> int:
        return (self.end - self.start) % DAY_MINUTES or DAY_MINUTES

    def window(self) -> Window:
        return Window(frozenset(WEEKDAYS.index(day) for day in self.days), self.start, self.end)


Windows = Annotated[tuple[SessionWindow, ...], Field(min_length=1)]


class Hours(BaseModel):
    """Sessions, and the zone their times are in (else the trading day's)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timezone: ZoneName | None = None
    sessions: Windows

    @cached_property
    def weekly(self) -> WeeklyHours:
        return WeeklyHours(tuple(window.window() for window in self.sessions))


class Place(NamedTuple):
    """A product with hours of its own, or one contract of it (`EVERY`: all of the account)."""

    root: str
    contract_id: str = ""

    @property
    def scope(self) -> str:
        if self.contract_id:
            return contract_scope(self.contract_id)
        return ACCOUNT_SCOPE if self.root == EVERY else root_scope(self.root)

    def told(self, view: View) -> str:
        return view.name(self.contract_id) if self.contract_id else self.root


WHOLE_ACCOUNT = Place(EVERY)


def _upper_keys(value: Any) -> Any:
    return {str(k).upper(): v for k, v in value.items()} if isinstance(value, dict) else value


class SessionBlockOutside(Rule):
    """Positions are closed at the end of the session; those opened outside it are closed at once.

    If all products share the hours, the lock covers the account. Otherwise each product has a lock
    of its own, or each contract of a product of which one contract is named by its id.
    """

    spec_id: ClassVar[str] = "RULE-009"
    title: ClassVar[str] = "Trading hours"

    rule: Literal["session_block_outside"] = "session_block_outside"
    timezone: ZoneName | None = None
    sessions: Windows
    per_symbol: Annotated[dict[str, Hours], BeforeValidator(_upper_keys)] = Field(
        default_factory=dict
    )
    respect_holidays: bool = True
    pre_close_warning: Duration = timedelta(minutes=5)
    at_end: Literal["close_and_cancel", "cancel_only", "none"] = "close_and_cancel"
    fills_outside: Literal["close", "alert"] = "close"
    working_orders_outside: Literal["cancel", "keep"] = "cancel"
    lockout: Literal["until_session_start", "none"] = "until_session_start"

    @model_validator(mode="after")
    def _the_words_fit_together(self) -> "SessionBlockOutside":
        if self.lockout != "none":
            if self.fills_outside == "alert":
                raise ValueError(
                    "fills_outside: alert leaves what is opened outside, and a lockout closes it; "
                    "write lockout: none, or fills_outside: close"
                )
            if self.working_orders_outside == "keep":
                raise ValueError(
                    "working_orders_outside: keep leaves entry orders, and a lockout cancels them; "
                    "write lockout: none, or working_orders_outside: cancel"
                )
        if any(not key.strip() for key in self.per_symbol):
            raise ValueError("per_symbol: an empty symbol")
        return self

    @property
    def rank(self) -> int:
        return 30

    def is_stricter_than(self, other: Self) -> bool:
        """True where sessions begin together, end no later, and all is shut outside of them."""
        return (
            self.same_but(other, "sessions")
            and self.lockout != "none"
            and len(self.sessions) == len(other.sessions)
            and all(
                (mine.days, mine.start) == (theirs.days, theirs.start)
                and mine.minutes <= theirs.minutes
                for mine, theirs in zip(self.sessions, other.sessions, strict=True)
            )
        )

    @cached_property
    def _global_hours(self) -> Hours:
        return Hours(timezone=self.timezone, sessions=self.sessions)

    @cached_property
    def _symbols(self) -> PatternSet:
        return PatternSet.of(self.per_symbol)

    def hours(self, root: str, contract_id: str = "") -> Hours:
        """The hours of a product: its own replace the global ones."""
        if not self.per_symbol:
            return self._global_hours
        key = self._symbols.best(root, contract_id)
        return self._global_hours if key is None else self.per_symbol[key]

    def _place(self, view: View, contract_id: str) -> Place:
        root = view.root(contract_id)
        return Place(root, contract_id if self._symbols.tells_apart(root, view.root) else "")

    def calendar(self, view: View) -> MarketCalendar | None:
        """Return the calendar of exceptional days, if it counts for this rule."""
        return view.state.rulebook.calendar if self.respect_holidays else None

    def standing(self, view: View, root: str, contract_id: str = "") -> Standing:
        """Return where the present lies among the sessions of a product. An unknown one is shut.

        If the two clocks differ, a session is open only while both say so.
        """
        book, calendar = view.state.rulebook, self.calendar(view)
        if calendar is not None and root != EVERY and not calendar.knows(root):
            return SHUT
        hours = self.hours(root, contract_id)
        zone = hours.timezone or book.day.timezone
        found = schedule(hours.weekly, zone, calendar, root, view.now.date()).at(view.now)
        latest = view.state.latest
        if found.current is None or latest == view.now:
            return found
        by_the_gateway = schedule(hours.weekly, zone, calendar, root, latest.date()).at(latest)
        return by_the_gateway if by_the_gateway.current is None else found

    def _all_is_open(self, view: View) -> bool:
        """Whether every product in play is open and not about to close: the usual case."""
        book, calendar = view.state.rulebook, self.calendar(view)
        if self.per_symbol or view.account.locks or view.state.lead:
            return False
        if calendar is not None and calendar.ends_soon(view.now):
            return False
        zone = self.timezone or book.day.timezone
        hours, roots = self._global_hours.weekly, (EVERY, *view.in_play().values())
        shared = shared_schedule(hours, zone, calendar, roots, view.now.date()).at(view.now).current
        return shared is not None and shared.ends_at - view.now > self.pre_close_warning

    def judge(self, view: View) -> tuple[Verdict, ...] | None:
        if self._all_is_open(view):
            return None
        verdicts: list[Verdict] = []
        account_shut = False
        if not self.per_symbol:
            whole = self.standing(view, *WHOLE_ACCOUNT)
            account_shut = whole.current is None
            if account_shut:
                verdicts += self._lock(view, WHOLE_ACCOUNT, whole)
        by_place: dict[Place, list[str]] = {}
        for contract_id in view.account.contract_ids():
            by_place.setdefault(self._place(view, contract_id), []).append(contract_id)
        for place, contract_ids in by_place.items():
            verdicts += self._product(view, place, contract_ids, account_shut)
        if view.account.locks:
            verdicts += self._releases(view, account_shut)
        book = view.state.rulebook
        if self.respect_holidays and book.calendar.ends_soon(view.now):
            verdicts.append(
                Verdict(
                    reason=f"the market calendar ends on {book.calendar.through}; holidays after "
                    "that are not known; update the program or calendar.yaml",
                    subject=f"calendar:{book.calendar.through}",
                    severity=Severity.WARNING,
                )
            )
        return tuple(verdicts) or None

    # --- outside ---

    def _product(
        self, view: View, place: Place, contract_ids: list[str], account_shut: bool
    ) -> Iterator[Verdict]:
        where = self.standing(view, *place)
        if where.current is None:
            if not account_shut:
                yield from self._lock(view, place, where)
            for contract_id in contract_ids:
                yield from self._outside(view, place, contract_id, where)
            return
        ends_at = where.current.ends_at
        left = ends_at - view.now
        if left <= self.pre_close_warning and self.at_end != "none":
            yield Verdict(
                reason=f"{place.told(view)}: the session ends at "
                f"{self._local(view, place, ends_at)}; "
                + (
                    "positions are closed and orders cancelled then"
                    if self.at_end == "close_and_cancel"
                    else "entry orders are cancelled then"
                ),
                subject=f"closing:{place.contract_id or place.root}:{ends_at.isoformat()}",
                severity=Severity.WARNING,
            )

    def _outside(
        self, view: View, place: Place, contract_id: str, where: Standing
    ) -> Iterator[Verdict]:
        account = view.account
        position = account.positions.get(contract_id)
        asks: list[Ask] = []
        words: list[str] = []
        severity = Severity.BREACH
        if position is not None and self._must_close(view, position, where.ended_at):
            asks.append(Close(contract_id))
            words.append(f"closing {position.size} {view.name(contract_id)}")
        orders = [] if asks else self._stray_orders(view, contract_id, where.ended_at)
        if orders:
            words.append("cancelling entry orders")
            if self.lockout == "none":  # under a lock, lock enforcement cancels them
                asks.append(Cancel(tuple(orders)))
        elif position is not None and not asks:
            if not _filled_outside(view, position, where.ended_at):
                return  # held past the session's end, as at_end allows
            words.append(f"{position.size} {view.name(contract_id)} opened outside; left as is")
            severity = Severity.WARNING
        if not words:
            return
        subject = (
            f"{contract_id}:episode:{position.episode}"
            if position is not None
            else f"{contract_id}:order:{orders[0]}"
        )
        yield Verdict(
            reason=f"{self._why(view, place)}: {'; '.join(words)}",
            subject=subject,
            asks=tuple(asks),
            severity=severity,
        )

    def _must_close(self, view: View, position: Position, ended_at: datetime | None) -> bool:
        if _filled_outside(view, position, ended_at) and self.fills_outside == "close":
            return True
        carried = ended_at is not None and _begun(position) < ended_at
        return carried and self.at_end == "close_and_cancel"

    def _stray_orders(self, view: View, contract_id: str, ended_at: datetime | None) -> list[int]:
        found = []
        for order in view.entry_orders(contract_id):
            if order.type is OrderType.MARKET:  # fills by itself, or is our own close
                continue
            carried = ended_at is not None and order.seen_at < ended_at
            if (carried and self.at_end != "none") or (
                not carried and self.working_orders_outside == "cancel"
            ):
                found.append(order.id)
        return found

    # --- the lock ---

    def _lock(self, view: View, place: Place, where: Standing) -> Iterator[Verdict]:
        if self.lockout == "none":
            return
        scope, reason = place.scope, self._why(view, place)
        if where.opens_at is not None:
            reason += f", until {self._local(view, place, where.opens_at)}"
        ask = new_lock(
            view,
            self.id,
            reason,
            until=Release.SESSION_START,
            expires_at=where.opens_at,
            policy=LockPolicy.FLAT if self.at_end == "close_and_cancel" else LockPolicy.NO_ENTRIES,
            kind=LockKind.SESSION,
            scope=scope,
            trigger="" if where.ended_at is None else where.ended_at.isoformat(),
        )
        yield Verdict(
            reason=reason,
            subject=f"{scope}:{ask.lock.trigger or 'shut'}",
            asks=() if _stands(view.lock(self.id, scope), ask) else (ask,),
            severity=Severity.INFO,
        )

    def _releases(self, view: View, account_shut: bool) -> Iterator[Verdict]:
        """End the locks of this rule whose session has begun or whose scope no longer exists."""
        for lock in view.account.locks.values():
            if lock.rule_id != self.id or lock.release is not Release.SESSION_START:
                continue
            if lock.scope == ACCOUNT_SCOPE:
                over = not account_shut
            else:
                place = self._locked_place(view, lock.scope)
                over = place is None or self.standing(view, *place).current is not None
            if over or self.lockout == "none":
                yield Verdict(
                    reason="the session is open",
                    subject=f"open:{lock.scope}",
                    asks=(Unlock(lock.scope, "session_start"),),
                    silent=True,
                )

    def _locked_place(self, view: View, scope: str) -> Place | None:
        """Return the place of a lock; None where the hours no longer have that scope."""
        contract_id = scoped_contract(scope)
        if contract_id is not None:
            place = self._place(view, contract_id)
            return place if place.scope == scope else None
        root = scope_name(scope)
        return None if self._symbols.tells_apart(root, view.root) else Place(root)

    # --- words ---

    def _why(self, view: View, place: Place) -> str:
        root, calendar = place.root, view.state.rulebook.calendar
        if root != EVERY and self.respect_holidays and not calendar.knows(root):
            return (
                f"{root} is in no group of the market calendar and counts as shut "
                "(add it to calendar.yaml, or set respect_holidays: false)"
            )
        if root == EVERY:
            return "outside the session"
        return f"{place.told(view)} is outside its session"

    def _local(self, view: View, place: Place, at: datetime) -> str:
        zone = self.hours(*place).timezone or view.state.rulebook.day.timezone
        return f"{at.astimezone(ZoneInfo(zone)):%a %d %b %H:%M} {zone}"

    def meter(self, view: View) -> Meter:
        """Show the held product that closes first, or else the hours shared by all products."""
        found = sorted({self._place(view, c) for c in view.account.contract_ids()})
        places = [(place, self.standing(view, *place)) for place in found or [WHOLE_ACCOUNT]]
        shut = [(place, where) for place, where in places if where.current is None]
        state, current, limit = MeterState.OK, None, None
        if shut:
            place, where = shut[0]
            opens = where.opens_at
            sentence = self._why(view, place) + (
                "" if opens is None else f", opens {self._local(view, place, opens)}"
            )
            state = MeterState.BREACH
        else:
            ends, starts, place = min(
                (where.current.ends_at, where.current.starts_at, place)
                for place, where in places
                if where.current is not None
            )
            limit = Decimal((ends - starts) // MINUTE)
            current = Decimal((view.now - starts) // MINUTE)
            if ends - view.now <= self.pre_close_warning:
                state = MeterState.WARN
            left = plain_duration(max((ends - view.now) // MINUTE * MINUTE, timedelta(0)))
            sentence = f"session open, {left} left until {self._local(view, place, ends)}"
        return self.reading(
            current=current,
            limit=limit,
            unit="min",
            sentence=sentence,
            state=state,
        )


def _filled_outside(view: View, position: Position, ended_at: datetime | None) -> bool:
    if ended_at is None:
        return True
    grew = position.increased_at > position.opened_at
    if (position.increased_at if grew else _begun(position)) >= ended_at:
        return True
    # Opened during the session, but added to or reversed since, while the daemon was down.
    return any(
        e.contract_id == position.contract_id and e.pnl is None and e.executed_at >= ended_at
        for e in view.account.ledger.standing()
    )


def _begun(position: Position) -> datetime:
    """Return when the position was opened, which may be before it was reported to us."""
    heard = position.opened_at
    return min(position.created_at or heard, heard)


def _stands(known: Lock | None, ask: LockOut) -> bool:
    return (
        known is not None
        and known.expires_at == ask.lock.expires_at
        and known.policy is ask.lock.policy
    )
