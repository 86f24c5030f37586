"""The outlook for screens: coming sessions, the rules in words, what waits, the last drill."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from risk_manager.domain.coming_releases import ComingRelease
from risk_manager.domain.coming_sessions import ExchangeSession, coming_sessions
from risk_manager.domain.market_calendar import EXCHANGE_DAY, MarketCalendar
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.session_hours import Interval
from risk_manager.domain.state import State
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.feed.messages import (
    AllowedHours,
    LastDrill,
    MarketDay,
    MarketRow,
    OpenHours,
    Outlook,
    ReleaseRow,
    RuleText,
    Waiting,
)

AHEAD_DAYS = 10


def _nothing() -> None:
    """For a feed whose daemon keeps neither edited limits nor drills."""


class OutlookBook:
    """The outlook as of the last look, made anew only when what it is made of has changed.

    `waiting` returns the edited limits that wait for the reset, `drill` the last fire drill. Both
    are asked at each look.
    """

    def __init__(
        self,
        waiting: Callable[[], Waiting | None] = _nothing,
        drill: Callable[[], LastDrill | None] = _nothing,
    ) -> None:
        self._waiting = waiting
        self._drill = drill
        self._made_of: tuple[object, ...] = ()
        self._rulebook: Rulebook | None = None
        self._seen: set[str] = set()  # products in play on this trading day
        self._outlook: Outlook | None = None

    def of(self, state: State) -> Outlook:
        """Return the outlook. It is the same object for as long as nothing has changed."""
        began = (state.day.starts_at, EXCHANGE_DAY.date_of(state.now))
        if self._made_of[:2] != began or state.rulebook is not self._rulebook:
            self._seen = set()
        # A product stays until the day turns, so that one traded in and out is not told each time.
        self._seen.update(_in_play(state))
        waiting, drill = self._waiting(), self._drill()
        made_of = (*began, frozenset(self._seen), frozenset(state.accounts), waiting, drill)
        if (
            self._outlook is None
            or made_of != self._made_of
            or state.rulebook is not self._rulebook
        ):
            self._made_of, self._rulebook = made_of, state.rulebook
            outlook = replace(outlook_of(state, self._seen), waiting=waiting, drill=drill)
            if outlook != self._outlook:
                self._outlook = outlook
        assert self._outlook is not None
        return self._outlook


def outlook_of(state: State, in_play: Iterable[str]) -> Outlook:
    """Make the outlook from a state. `in_play`: products held or working, or so earlier today."""
    book = state.rulebook
    calendar = book.calendar
    accounts = {a: _rules(book, a) for a in sorted(state.accounts)}
    roots = set(in_play)
    for rules in accounts.values():
        for rule in rules:
            roots |= {root for root in rule.products if calendar.knows(root)}
    products = sorted(roots) or list(calendar.representatives())
    return Outlook(
        resets=tuple(_resets(book.day, state.now)),
        reset_timezone=book.day.timezone,
        exchange_timezone=EXCHANGE_DAY.timezone,
        markets=tuple(_markets(calendar, products, state.now)),
        allowed=tuple(_allowed(book, accounts, products, state.now)),
        rules=tuple(
            RuleText(
                account_id=account_id,
                rule_id=rule.id,
                spec_id=rule.spec_id,
                title=rule.title,
                text=rule.in_words(),
            )
            for account_id in accounts
            for rule in book.for_account(account_id).rules
        ),
        through=None if calendar.through is None else calendar.through.isoformat(),
        releases=tuple(_releases(accounts, state.now)),
    )


def _in_play(state: State) -> Iterator[str]:
    for account in state.accounts.values():
        for contract_id in account.contract_ids():
            yield state.root(contract_id)


def _rules(book: Rulebook, account_id: int) -> list[Rule]:
    """The rules that decide now: not those that wait for the reset."""
    own = book.for_account(account_id)
    return [rule for rule in own.rules if rule.id not in own.waiting]


def _resets(day: TradingDay, now: datetime) -> Iterator[datetime]:
    at = now
    while at <= now + timedelta(days=AHEAD_DAYS):
        at = day.next_reset(at)
        yield at


def _markets(
    calendar: MarketCalendar, products: Iterable[str], now: datetime
) -> Iterator[MarketRow]:
    """One row for products of one group with equal sessions; an override may set one apart."""
    alike: dict[tuple[str, tuple[ExchangeSession, ...]], list[str]] = {}
    for root in products:
        sessions = coming_sessions(calendar, root, now, AHEAD_DAYS)
        group = calendar.groups.get(root, "").partition(":")[0]
        alike.setdefault((group, sessions), []).append(root)
    for (group, sessions), roots in alike.items():
        yield MarketRow(
            group=group.replace("_", " "),
            products=tuple(roots),
            days=tuple(_day(session) for session in sessions),
            known=calendar.knows(roots[0]),
        )


def _day(session: ExchangeSession) -> MarketDay:
    return MarketDay(
        date=session.date.isoformat(),
        opens_at=session.opens_at,
        closes_at=session.closes_at,
        differs=session.differs.value,
        note=session.note,
    )


def _allowed(
    book: Rulebook, accounts: dict[int, list[Rule]], products: Iterable[str], now: datetime
) -> Iterator[AllowedHours]:
    """The hours that rules set: one row for accounts and products that share them."""
    alike: dict[tuple[str, str, tuple[Interval, ...]], dict[str, list[int]]] = {}
    for account_id, rules in accounts.items():
        for rule in rules:
            for root in products:
                hours = rule.open_hours(book, root, now.astimezone(UTC).date())
                if hours is not None:
                    key = (rule.id, rule.title, _near(hours, now))
                    alike.setdefault(key, {}).setdefault(root, []).append(account_id)
    for (rule_id, title, hours), roots in alike.items():
        by_accounts: dict[tuple[int, ...], list[str]] = {}
        for root, account_ids in roots.items():
            by_accounts.setdefault(tuple(account_ids), []).append(root)
        for accounts_with_them, of_these in by_accounts.items():
            yield AllowedHours(
                rule_id=rule_id,
                title=title,
                accounts=accounts_with_them,
                products=tuple(of_these),
                hours=tuple(OpenHours(opens_at=h.starts_at, closes_at=h.ends_at) for h in hours),
            )


def _releases(accounts: dict[int, list[Rule]], now: datetime) -> Iterator[ReleaseRow]:
    """The windows around releases: one row for accounts that share them."""
    alike: dict[tuple[str, str, ComingRelease], list[int]] = {}
    for account_id, rules in accounts.items():
        for rule in rules:
            for release in rule.releases(now, now + timedelta(days=AHEAD_DAYS)):
                alike.setdefault((rule.id, rule.title, release), []).append(account_id)
    for (rule_id, title, found), account_ids in sorted(
        alike.items(), key=lambda row: (row[0][2].starts_at, row[0][2].name, row[0][0])
    ):
        yield ReleaseRow(
            rule_id=rule_id,
            title=title,
            accounts=tuple(account_ids),
            name=found.name,
            at=found.at,
            starts_at=found.starts_at,
            ends_at=found.ends_at,
            products=found.products,
            is_flat=found.is_flat,
        )


def _near(hours: Iterable[Interval], now: datetime) -> tuple[Interval, ...]:
    until = now + timedelta(days=AHEAD_DAYS)
    return tuple(h for h in hours if h.ends_at > now and h.starts_at < until)
