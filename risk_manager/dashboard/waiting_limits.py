"""The edited limits that wait for the reset, in words, and what is new about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from risk_manager.dashboard.wording import clock
from risk_manager.feed.messages import AccountSnapshot, Outlook, Waiting, WaitingChange

NAMED = 2
"""More changes than this are only counted where one line must do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsNews:
    """Edited limits began to wait, count from now on, or were taken back."""

    word: str  # WAITS, IN FORCE, CANCELLED
    sentence: str


def in_words(change: WaitingChange, outlook: Outlook, accounts: Sequence[AccountSnapshot]) -> str:
    """One changed setting: Loss today limit: 500 → 900."""
    names = {a.account_id: a.name for a in accounts}
    whose = ""
    if change.account_id is not None:
        whose = names.get(change.account_id) or str(change.account_id)
    if change.rule_id:
        what = f"{_title(change.rule_id, outlook)} {change.name}".rstrip()
    elif change.account_id is not None:
        what = change.name or "account"
    else:
        what = change.key
    return f"{f'{whose} ' if whose else ''}{what}: {change.old} → {change.new}"


def of_account(waiting: Waiting, account_id: int | None) -> list[WaitingChange]:
    """The changes that touch this account."""
    return [c for c in waiting.changes if c.account_id in (None, account_id)]


def at_the_reset(
    outlook: Outlook, account: AccountSnapshot | None, accounts: Sequence[AccountSnapshot]
) -> str:
    """Say in one line what will count from the reset; empty where nothing waits."""
    waiting = outlook.waiting
    if waiting is None:
        return ""
    mine = of_account(waiting, None if account is None else account.account_id)
    if mine:
        return f"counts: {_several(mine, outlook, accounts)}"
    if not waiting.changes and waiting.older:
        titles = [_title(rule_id, outlook) for rule_id in waiting.older]
        return f"older version ends: {', '.join(titles[:NAMED])}"
    return ""


def in_full(
    outlook: Outlook, account_id: int | None, accounts: Sequence[AccountSnapshot]
) -> Iterator[str]:
    """Yield a line for each change that touches this account, and for each older version."""
    waiting = outlook.waiting
    if waiting is None:
        return
    for change in of_account(waiting, account_id):
        effect = f", {change.effect}" if change.effect != "no limit" else ""
        both = "; it counts already, the older version too until then" if change.counts_now else ""
        yield f"{in_words(change, outlook, accounts)}{effect}{both}"
    changed = {change.rule_id for change in waiting.changes}
    for rule_id in waiting.older:
        if rule_id not in changed:
            yield f"{_title(rule_id, outlook)}: a version of today holds as well until then"


def news(
    before: Outlook | None,
    after: Outlook | None,
    accounts: Sequence[AccountSnapshot],
    at: datetime | None,
) -> Iterator[LimitsNews]:
    """Yield what has changed between two outlooks, as of the daemon's clock."""
    if before is None or after is None or at is None or before.waiting == after.waiting:
        return
    old, new = before.waiting, after.waiting
    known = () if old is None else old.changes
    now = () if new is None else new.changes
    places = {(c.key, c.account_id) for c in now}
    gone = [c for c in known if (c.key, c.account_id) not in places]
    if gone and old is not None:
        if at >= old.counts_from:
            told = f"changed limits count now: {_several(gone, before, accounts)}"
            yield LimitsNews(word="IN FORCE", sentence=told)
        else:
            told = f"no longer waits for the reset: {_several(gone, before, accounts)}"
            yield LimitsNews(word="CANCELLED", sentence=told)
    fresh = [c for c in now if c not in known]
    if fresh and new is not None:
        since = clock(new.counts_from, at)
        told = f"waits for the reset at {since}: {_several(fresh, after, accounts)}"
        yield LimitsNews(word="WAITS", sentence=told)


def _several(
    changes: Sequence[WaitingChange], outlook: Outlook, accounts: Sequence[AccountSnapshot]
) -> str:
    told = [in_words(change, outlook, accounts) for change in changes[:NAMED]]
    more = len(changes) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _title(rule_id: str, outlook: Outlook) -> str:
    """The rule's name for people; an older version of it has the id with an addition."""
    same = (r.title for r in outlook.rules if r.rule_id.partition(" (")[0] == rule_id)
    return next(same, rule_id)
