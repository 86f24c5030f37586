"""The header: the account, its mode, and the time of its next daily reset."""

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.verdict import broken_link, decisive
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import DIM, clock, countdown, dollars
from risk_manager.feed.messages import DEGRADED, RUNNING, AccountSnapshot


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
        many = len(glance.picture.accounts)
        roomy = self.size.width >= 110
        which = f" ({glance.number} of {many}, a: next)" if roomy else f" {glance.number}/{many}"
        parts: list[tuple[str, str]] = [
            (f" {account.name or 'account'}", "bold"),
            (f" {account.account_id}", DIM),
            (which if many > 1 else "", DIM),
            ("  ", ""),
            mode(live, account),
            (f"  {dollars(account.balance)}", "bold"),
            (" balance" if roomy else "", DIM),
        ]
        if account.clocked_in_at is not None:
            parts.append((f"  in since {clock(account.clocked_in_at, live.now)}", DIM))
        if account.can_trade is False:
            parts.append(("  PLATFORM SAYS NO TRADING", "bold $text-error"))
        parts += _other_locks(live, account)
        if roomy:
            parts.append((f"  trading date {account.trading_date}", DIM))
        if glance.picture.next_reset is not None and glance.now is not None:
            left = countdown(glance.picture.next_reset - glance.now)
            parts.append((f"  reset in {left}", DIM))
        if glance.muted:
            parts.append(("  MUTED", "bold"))
        if glance.paused:
            told_at = glance.picture.told_at
            since = "" if told_at is None else f", figures of {clock(told_at)}"
            parts.append((f"  PAUSED{since} ", "bold $text on $warning"))
        self.put(Content.assemble(*parts))


def _other_locks(glance: Glance, shown: AccountSnapshot) -> list[tuple[str, str]]:
    """Accounts that are not shown and are locked as a whole: a lock there must not go unseen."""
    parts: list[tuple[str, str]] = []
    for other in glance.picture.accounts:
        lock = decisive(other)
        if other.account_id != shown.account_id and lock is not None:
            flat = lock.policy == "flat"
            word = "LOCKED" if flat else "NO NEW ENTRIES"
            colour = "$text-error" if flat else "$text-warning"
            parts.append((f"  {other.name or other.account_id}: {word}", f"bold {colour}"))
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
