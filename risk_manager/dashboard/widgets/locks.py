"""The locks in force: their scope, their reason, and the time left."""

from collections.abc import Iterator

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.panel import Panel
from risk_manager.dashboard.wording import DIM, countdown, lock_word, release
from risk_manager.feed.messages import LockRow


class Locks(Panel):
    heading = "Locks"
    empty = "none"

    def show(self, glance: Glance) -> None:
        locks = () if glance.account is None else glance.account.locks
        self.set_class(bool(locks), "-locked")
        self.set_class(len(locks) > 1, "-several")
        self.set_class(any(lock.policy == "flat" for lock in locks), "-flat")
        super().show(glance)

    def lines(self, glance: Glance) -> Iterator[Content]:
        assert glance.account is not None
        for lock in glance.account.locks:
            flat = lock.policy == "flat"
            yield Content.assemble(
                (f" {lock_word(lock.policy, lock.scope)} ", _badge(flat)),
                (f" {scope(lock)} ", "bold"),
                (ends(glance, lock), "bold"),
            )
            yield Content.assemble((f"  {lock.reason} ", ""), (lock.rule_id, DIM))


def _badge(flat: bool) -> str:
    return "bold $text on $error" if flat else "bold $text on $warning"


def scope(lock: LockRow) -> str:
    """Return the scope of a lock: account, ES, or the contract's id."""
    kind, _, name = lock.scope.partition(":")
    return name or kind


def ends(glance: Glance, lock: LockRow) -> str:
    """Return the time left of a lock, or the event that ends it."""
    if lock.expires_at is None or glance.now is None:
        return f"ends {release(lock.release)}"
    if lock.expires_at <= glance.now:
        return "ending now"
    return countdown(lock.expires_at - glance.now)
