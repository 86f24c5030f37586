"""The header: the account, its mode, and the time of its next daily reset."""

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import DIM, countdown, dollars
from risk_manager.feed.messages import DEGRADED, RUNNING, AccountSnapshot


class AccountHeader(Text):
    def show(self, glance: Glance) -> None:
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
            mode(glance, account),
            (f"  {dollars(account.balance)}", "bold"),
            (" balance" if roomy else "", DIM),
        ]
        if account.can_trade is False:
            parts.append(("  PLATFORM SAYS NO TRADING", "bold $text-error"))
        if roomy:
            parts.append((f"  trading date {account.trading_date}", DIM))
        if glance.picture.next_reset is not None and glance.now is not None:
            left = countdown(glance.picture.next_reset - glance.now)
            parts.append((f"  reset in {left}", DIM))
        if glance.paused:
            parts.append(("  PAUSED (p) ", "bold $text on $warning"))
        self.put(Content.assemble(*parts))


def mode(glance: Glance, account: AccountSnapshot) -> tuple[str, str]:
    """Return whether this account is guarded right now. Never claims so on stale data."""
    word = "ENFORCING" if account.mode == "enforce" else "SHADOW"
    if not glance.live:
        return f" ? was {word} ", "bold $text on $warning"
    if glance.picture.status not in (RUNNING, DEGRADED):
        return f" {glance.picture.status}: NOT ENFORCING ", "bold $text on $error"
    if word == "SHADOW":
        return " SHADOW: only tells ", "bold $text on $accent"
    return f" {word} ", "bold $text on $primary"
