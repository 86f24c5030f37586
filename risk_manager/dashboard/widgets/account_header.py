"""The header: the account, its mode, and the time of its next daily reset."""

from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.verdict import broken_link, decisive
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import DIM, clock, countdown, dollars, lock_word
from risk_manager.feed.messages import DEGRADED, RUNNING, AccountSnapshot

LONGEST_NAME = 24
"""A longer nickname is shortened, so that the account's number keeps its place beside it."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the line. `spare`: 0 must be shown; of the others the highest goes first."""

    text: str
    style: str
    spare: int = 0


class AccountHeader(Text):
    def show(self, glance: Glance, live: Glance) -> None:
        """`live` is the same glance, not held by a pause: whether anybody guards is never held."""
        account = glance.account
        if account is None:
            known = ", ".join(str(a.account_id) for a in glance.picture.accounts)
            self.put(
                Content(f" that account is not watched; watched: {known} (a: show)")
                if known
                else Content.styled(" no account yet: waiting for the daemon", DIM)
            )
            return
        self.put(_that_fits(self._parts(glance, live, account), self.size.width))

    def _parts(self, glance: Glance, live: Glance, account: AccountSnapshot) -> list[_Part]:
        many = len(glance.picture.accounts)
        roomy = self.size.width >= 110
        which = f" ({glance.number} of {many}, a: next)" if roomy else f" {glance.number}/{many}"
        parts = [
            _Part(f" {_short(account.name or 'account')}", "bold"),
            _Part(f" {account.account_id}", DIM, spare=2),
            _Part(which if many > 1 else "", DIM),
            _Part("  ", ""),
            _Part(*mode(live, account)),
            _Part(f"  {dollars(account.balance)}", "bold", spare=1),
            _Part(" balance" if roomy else "", DIM, spare=4),
        ]
        if account.clocked_in_at is not None:
            clocked = f"  in since {clock(account.clocked_in_at, live.now)}"
            parts.append(_Part(clocked, DIM, spare=3))
        if account.can_trade is False:
            parts.append(_Part("  PLATFORM SAYS NO TRADING", "bold $text-error"))
        parts += [_Part(*told) for told in _other_locks(live, account)]
        told_at = glance.picture.told_at
        old = "" if told_at is None else f"figures of {clock(told_at)}"
        if glance.paused:
            parts.append(_Part(f"  PAUSED, {old} ".replace(",  ", " "), "bold $text on $warning"))
        elif not glance.live:  # a countdown would look as if somebody were counting
            parts.append(_Part(f"  {old}", "bold"))
        elif glance.picture.next_reset is not None and glance.now is not None:
            left = countdown(glance.picture.next_reset - glance.now)
            parts.append(_Part(f"  reset in {left}", DIM, spare=2))
        if glance.muted:
            parts.append(_Part("  MUTED", "bold"))
        if roomy:
            parts.append(_Part(f"  trading date {account.trading_date}", DIM, spare=5))
        return parts


def _that_fits(parts: list[_Part], width: int) -> Content:
    """The parts side by side. What can be spared most goes first, rather than to be cut."""
    shown = list(parts)
    for spare in range(5, 0, -1):
        if sum(cell_len(part.text) for part in shown) <= width:
            break
        shown = [part for part in shown if part.spare != spare]
    return Content.assemble(*((part.text, part.style) for part in shown))


def _short(name: str) -> str:
    if cell_len(name) <= LONGEST_NAME:
        return name
    return f"{set_cell_size(name, LONGEST_NAME - 1).rstrip()}…"


def _other_locks(glance: Glance, shown: AccountSnapshot) -> list[tuple[str, str]]:
    """Accounts that are not shown and are locked as a whole: a lock there must not go unseen."""
    parts: list[tuple[str, str]] = []
    for other in glance.picture.accounts:
        lock = decisive(other)
        if other.account_id != shown.account_id and lock is not None:
            flat = lock.policy == "flat"
            word = lock_word(lock.policy, lock.scope)
            colour = "$text-error" if flat else "$text-warning"
            name = _short(other.name or str(other.account_id))
            parts.append((f"  {name}: {word}", f"bold {colour}"))
    return parts


def mode(glance: Glance, account: AccountSnapshot) -> tuple[str, str]:
    """Return whether this account is guarded right now. Never claims so on stale data."""
    word = "ENFORCING" if account.mode == "enforce" else "SHADOW"
    if not glance.live:
        return f" ? was {word} ", "bold $text on $warning"
    if glance.picture.status not in (RUNNING, DEGRADED):
        return f" {glance.picture.status}: NOT ENFORCING ", "bold $text on $error"
    if broken_link(glance):
        return " NOT GUARDED ", "bold $text on $error"
    if word == "SHADOW":
        why = "LIVE FUNDED, " if account.mode_reason else ""
        return f" {why}SHADOW: only tells ", "bold $text on $accent"
    return f" {word} ", "bold $text on $primary"
