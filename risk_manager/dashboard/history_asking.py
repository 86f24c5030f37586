"""Which pages of history the open tab needs, and when to ask the daemon for them again."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from risk_manager.dashboard.enforcement_facts import accounts_shown
from risk_manager.dashboard.glance import Glance
from risk_manager.feed.history_request import HistoryRequest
from risk_manager.feed.messages import AccountSnapshot, History

GAP_S = 0.5
PATIENCE_S = 5.0
ROWS = 100
NO_MORE = "0.0"
"""Where a day goes on of which an account has nothing left."""


@dataclass(frozen=True, slots=True)
class Want:
    """A page that is looked at. It is old when its `stamp` changes, or after `good_for_s`."""

    kind: str
    account_id: int
    stamp: object
    good_for_s: float
    before: str | None = None


def wants(glance: Glance) -> Iterator[Want]:
    """Yield the pages that the open tab shows."""
    match glance.tab:
        case "overview" if glance.account is not None:
            yield from _day(glance.account)
        case "pnl" if glance.account is not None:
            account = glance.account
            yield from _day(account)
            yield _paged(glance, "days", account, account.trading_date, 300)
        case "lockouts":
            for account in accounts_shown(glance):
                ended = [e.at for e in glance.picture.ended_locks[:1]]
                stamp = (account.locks, *ended)
                yield _paged(glance, "locks", account, stamp, 60)
        case "enforcement":
            for account in accounts_shown(glance):
                stamp = account.enforcements[:20]
                yield _paged(glance, "enforcements", account, stamp, 60)
                yield Want("totals", account.account_id, stamp, 60)
        case "log":
            for account in accounts_shown(glance):
                # Beside what was heard: what happened before the screen was opened.
                yield _paged(glance, "story", account, account.trading_date, 300)


PAGED = {"pnl": "days", "lockouts": "locks", "enforcement": "enforcements", "log": "story"}
"""The kind of page that a tab goes back through."""


def has_page_before(glance: Glance) -> bool:
    """Whether there is something to go back to: an earlier page, or from one the newest again."""
    kind = PAGED.get(glance.tab, "")
    shown = [account.account_id for account in _paged_accounts(glance, kind)]
    if any((kind, account_id) in glance.befores for account_id in shown):
        return True
    answers = (glance.history(kind, account_id) for account_id in shown)
    can_ask = glance.picture.line.up
    return can_ask and any(a is not None and a.next is not None for a in answers)


def _paged_accounts(glance: Glance, kind: str) -> tuple[AccountSnapshot, ...]:
    if kind == "days":
        return () if glance.account is None else (glance.account,)
    return accounts_shown(glance) if kind else ()


def pages_of(glance: Glance) -> dict[tuple[str, int], str]:
    """Return which pages to look at once the open tab goes one page back.

    Behind the oldest page comes the newest again.
    """
    befores = dict(glance.befores)
    kind = PAGED.get(glance.tab, "")
    if kind == "story":
        return _day_before(glance, befores)
    for account in _paged_accounts(glance, kind):
        answer = glance.history(kind, account.account_id)
        if answer is None:
            continue
        key = (kind, account.account_id)
        befores.pop(key, None)
        if answer.next is not None:
            befores[key] = answer.next
    return befores


def _day_before(glance: Glance, befores: dict[tuple[str, int], str]) -> dict[tuple[str, int], str]:
    """Every account goes to the same day, the last one of which any of them has something."""
    following: dict[int, str] = {}
    for account in accounts_shown(glance):
        befores.pop(("story", account.account_id), None)
        answer = glance.history("story", account.account_id)
        following[account.account_id] = (answer.next if answer is not None else None) or ""
    day = max((before.partition("/")[0] for before in following.values()), default="")
    for account_id, before in following.items():
        if not day:
            continue  # behind the oldest day comes the newest again
        goes_on = any(other.startswith(f"{day}/") for other in following.values())
        none_left = f"{day}/{NO_MORE}" if goes_on else day
        befores["story", account_id] = before if before.startswith(day) else none_left
    return befores


def _day(account: AccountSnapshot) -> Iterator[Want]:
    traded = (account.trading_date, account.executions)
    limits = tuple(m.limit for m in account.meters)
    yield Want("day", account.account_id, (traded, limits), 5 if account.positions else 30)
    yield Want("trades", account.account_id, traded, 60)


def _paged(
    glance: Glance, kind: str, account: AccountSnapshot, stamp: object, good_for_s: float
) -> Want:
    before = glance.befores.get((kind, account.account_id))
    return Want(kind, account.account_id, (before, stamp), good_for_s, before)


@dataclass(slots=True)
class _Asked:
    request: HistoryRequest
    stamp: object
    at: float
    is_answered: bool = False


@dataclass(slots=True)
class HistoryAsking:
    """Remembers what was asked. One request a page is under way at a time."""

    _ids: Iterator[int] = field(default_factory=lambda: count(1))
    _asked: dict[tuple[str, int], _Asked] = field(default_factory=dict)

    def due(self, glance: Glance) -> list[HistoryRequest]:
        """Return the requests to send now."""
        requests = []
        for want in wants(glance):
            asked = self._asked.get((want.kind, want.account_id))
            if asked is None or _is_due(want, asked, glance.mono):
                request = HistoryRequest(
                    id=next(self._ids),
                    kind=want.kind,
                    account_id=want.account_id,
                    before=want.before,
                    limit=ROWS,
                )
                self._asked[want.kind, want.account_id] = _Asked(request, want.stamp, glance.mono)
                requests.append(request)
        return requests

    def answered(self, account_id: int, answer: History) -> bool:
        """Note an answer. False where it answers none of the newest requests."""
        asked = self._asked.get((answer.kind, account_id))
        if asked is None or asked.request.id != answer.id:
            return False
        asked.is_answered = True
        return True

    def begin_anew(self) -> None:
        """Forget what was asked: the connection is another one."""
        self._asked.clear()


def _is_due(want: Want, asked: _Asked, mono: float) -> bool:
    age_s = mono - asked.at
    if not asked.is_answered:
        return age_s >= PATIENCE_S
    return age_s >= (GAP_S if want.stamp != asked.stamp else want.good_for_s)
