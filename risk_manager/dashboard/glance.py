"""A view of the picture: of which account, at what time, and whether it can be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from risk_manager.dashboard.picture import Picture
from risk_manager.feed.messages import AccountSnapshot, DoubtRow, History


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """The input of every widget. `now` is the daemon's clock; None before its first message."""

    picture: Picture
    account: AccountSnapshot | None
    now: datetime | None
    mono: float
    tab: str = ""
    rule_filter: str = ""  # a rule's id; empty: every rule
    every_account: bool = False  # in the lists of what was done
    paused: bool = False
    muted: bool = False
    ascii_only: bool = False  # large digits cannot be drawn
    dismissed: frozenset[datetime] = frozenset()
    befores: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """Which page of a history is looked at, by kind and account; the newest where none is named."""

    @property
    def number(self) -> int:
        """Which of the accounts is shown, from 1; 0 for none."""
        return 0 if self.account is None else self.picture.accounts.index(self.account) + 1

    @property
    def live(self) -> bool:
        return self.picture.line.is_live(self.mono)

    @property
    def doubts(self) -> list[DoubtRow]:
        """The health issues of this account, and those that concern every account."""
        shown = (None, self.account.account_id if self.account is not None else None)
        return [d for d in self.picture.doubts if d.account_id in shown]

    def history(self, kind: str, account_id: int | None = None) -> History | None:
        """Return the newest answer of this kind, of the account shown where none is named."""
        if account_id is None and self.account is not None:
            account_id = self.account.account_id
        return None if account_id is None else self.picture.histories.get((kind, account_id))

    @property
    def why_not_told(self) -> str:
        """Why an answer of the daemon has not come; it is asked wherever it is reached."""
        if self.picture.line.up:
            return "asked for; the daemon has not told it yet"
        return "not told: the daemon is not reached"

    def why_no_history(self, kind: str) -> str:
        """Return a sentence for the place where an answer belongs that has not come."""
        if self.account is None:
            return "not known yet"
        answer = self.history(kind)
        if answer is None:
            return self.why_not_told
        return answer.error or "nothing is told"

    def last_heard(self, claim: str) -> str:
        """Return a claim about now, which is one about then once the daemon is not heard."""
        return claim if self.live else f"{claim} when the daemon was last heard"

    def lasted_s(self, since: datetime) -> float:
        """Return for how long something goes on: up to now, or to the last word of the daemon."""
        until = self.now if self.live else self.picture.told_at
        return 0.0 if until is None else max((until - since).total_seconds(), 0.0)

    def seconds_since(self, then: datetime) -> float:
        return 0.0 if self.now is None else max((self.now - then).total_seconds(), 0.0)
