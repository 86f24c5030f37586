"""The locks in force whole, those that ended while the screen watched, and what locked earlier."""

from collections.abc import Iterator

from textual.content import Content

from risk_manager.dashboard.enforcement_facts import LOCKING, accounts_shown, entries
from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.enforcement_log import filter_words, page_words
from risk_manager.dashboard.widgets.locks import scope
from risk_manager.dashboard.widgets.panel import Panel
from risk_manager.dashboard.wording import (
    DIM,
    called,
    cleared,
    clock,
    day_and_clock,
    duration,
    lock_ends,
    lock_word,
    rules_named,
    set_by,
)
from risk_manager.feed.messages import AccountSnapshot, LockRow, PastLock


class Lockouts(Panel):
    heading = "Lockouts"

    def show(self, glance: Glance) -> None:
        self.note(f"{filter_words(glance)}{page_words(glance, 'locks')}")
        super().show(glance)

    def lines(self, glance: Glance) -> Iterator[Content]:
        locks = [
            (account, lock)
            for account in accounts_shown(glance)
            for lock in account.locks
            if glance.rule_filter in ("", lock.rule_id)
        ]
        yield Content.styled(glance.last_heard("In force") if locks else "In force", "bold")
        for account, lock in locks:
            yield from _lock(glance, account, lock)
        if not locks:
            yield Content.styled(glance.last_heard("  none"), DIM)
        yield Content("")
        past = list(_past(glance))
        yield from past or _ended(glance)
        if not past:
            yield Content("")
            yield from _decided(glance)


def _name(glance: Glance, account: AccountSnapshot) -> str:
    return f"{account.name or account.account_id}  " if glance.every_account else ""


def _lock(glance: Glance, account: AccountSnapshot, lock: LockRow) -> Iterator[Content]:
    flat = lock.policy == "flat"
    word = lock_word(lock.policy, lock.scope)
    where = "whole account" if lock.scope == "account" else scope(lock)
    yield Content.assemble(
        "  ",
        (f"{word:<15}", f"bold {'$text-error' if flat else '$text-warning'}"),
        (lock_ends(lock, glance.now), "bold"),
        f"  {where}",
        (f"  {_name(glance, account)}", DIM),
    )
    yield Content(" " * 17 + lock.reason)
    lifts = "an administrator may lift it" if lock.admin_may_clear else "nobody can lift it"
    since = f"since {clock(lock.set_at, glance.now)}, by {set_by(lock.rule_id)}"
    yield Content.styled(f"{'':17}{since}; {lifts}", DIM)


def _past(glance: Glance) -> Iterator[Content]:
    """Locks that are over, of earlier days and runs too; nothing where the daemon tells none."""
    found: list[tuple[AccountSnapshot, PastLock]] = []
    is_told = False
    for account in accounts_shown(glance):
        answer = glance.history("locks", account.account_id)
        if answer is None or answer.error:
            continue
        is_told = True
        found += [
            (account, lock)
            for lock in answer.locks
            if lock.cleared_at is not None and glance.rule_filter in ("", lock.rule_id)
        ]
    if not is_told:
        return
    yield Content.styled("Over, the newest first", "bold")
    if not found:
        yield Content.styled("  none on this page", DIM)
    for account, lock in sorted(found, key=lambda one: one[1].set_at, reverse=True):
        yield from _past_lock(glance, account, lock)


def _past_lock(glance: Glance, account: AccountSnapshot, lock: PastLock) -> Iterator[Content]:
    assert lock.cleared_at is not None
    lasted = (lock.cleared_at - lock.set_at).total_seconds()
    where = "whole account" if lock.scope == "account" else lock.scope.partition(":")[2]
    word = lock_word(lock.policy, lock.scope)
    yield Content.assemble(
        (f"  {day_and_clock(lock.set_at, glance.now):<12} ", DIM),
        (f"{word} {duration(lasted)}", "bold"),
        f"  {where}: {lock.reason}",
    )
    yield Content.styled(
        f"{'':15}{set_by(lock.rule_id)}; ended {day_and_clock(lock.cleared_at, glance.now)}:"
        f" {cleared(lock.cleared_by)}  {_name(glance, account)}",
        DIM,
    )


def _ended(glance: Glance) -> Iterator[Content]:
    yield Content.styled("Ended since this screen was opened", "bold")
    accounts = {a.account_id: a for a in accounts_shown(glance)}
    ended = [
        lock
        for lock in glance.picture.ended_locks
        if lock.account_id in accounts and glance.rule_filter in ("", lock.rule_id)
    ]
    for lock in ended:
        where = "whole account" if lock.scope == "account" else lock.scope.partition(":")[2]
        yield Content.assemble(
            (f"  {clock(lock.at, glance.now):<12} ", DIM),
            (cleared(lock.by), "bold"),
            f"  {where}  {lock.reason}",
            (f"  {set_by(lock.rule_id)}  {_name(glance, accounts[lock.account_id])}", DIM),
        )
    if not ended:
        yield Content.styled("  none", DIM)


def _decided(glance: Glance) -> Iterator[Content]:
    yield Content.styled("Decisions that locked, the newest first", "bold")
    locking = [
        (account, entry)
        for account, entry in entries(glance)
        if entry.phase == "decided" and entry.action in LOCKING
    ]
    for account, entry in locking:
        yield Content.assemble(
            (f"  {clock(entry.timestamp, glance.now):<12} ", DIM),
            ("SHADOW  " if entry.shadow else "", "bold $text-accent"),
            (called(entry), "bold"),
            f"  {entry.reason}",
            (f"  {rules_named(entry.rule_ids)}  {_name(glance, account)}", DIM),
        )
    if not locking:
        yield Content.styled("  none that the daemon still tells of", DIM)
