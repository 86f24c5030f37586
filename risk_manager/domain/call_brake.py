"""The brake on ourselves: too many calls in a minute, and only what takes risk away goes on."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from risk_manager.domain.decisions import Action, ClosePosition, ReducePosition
from risk_manager.domain.fast_replace import fast_replace

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Brake:
    """The calls of the last minute, and since when the brake is on (None: off)."""

    calls: tuple[datetime, ...] = ()
    on_since: datetime | None = None

    def at(self, now: datetime, limit: int) -> "Brake":
        """As of now: it comes off after a minute, once the last one was quiet."""
        horizon = now - MINUTE
        calls = self.calls
        if calls and calls[0] <= horizon:
            calls = tuple(at for at in calls if at > horizon)
        on_since = self.on_since
        if on_since is not None and on_since <= horizon and len(calls) <= limit // 2:
            on_since = None
        if calls is self.calls and on_since is self.on_since:
            return self
        return fast_replace(self, calls=calls, on_since=on_since)

    def after_call(self, now: datetime, limit: int) -> "Brake":
        """With one more call; the one past the limit puts it on."""
        calls = (*self.calls, now)
        on_since = self.on_since
        if on_since is None and len(calls) > limit:
            on_since = now
        return fast_replace(self, calls=calls, on_since=on_since)

    def lets_pass(self, action: Action, tries: int, limit: int, *, must_go: bool) -> bool:
        """Closing never waits. With the brake on, orders that must go are acted on as well, and
        again only within half as many calls once more."""
        if self.on_since is None or isinstance(action, ClosePosition | ReducePosition):
            return True
        return must_go and (tries == 1 or len(self.calls) < limit + limit // 2)

    @classmethod
    def taken_up(cls, calls: Iterable[datetime], now: datetime, limit: int) -> "Brake":
        """As it was left by a run that ended, from when that run asked the broker for something."""
        brake = cls()
        for at in sorted(calls):
            brake = brake.at(at, limit).after_call(at, limit)
        return brake.at(now, limit)

    def pace(self, now: datetime, limit: int, among: int) -> timedelta:
        """How long each of so many should leave between calls that can wait, so that these take
        about half of a minute's calls; twice that while half has been used, by whatever they were.
        Nothing while there have been few."""
        horizon = now - MINUTE
        lately = sum(at > horizon for at in self.calls)
        if lately < limit // 6:
            return timedelta(0)
        return MINUTE * among / (limit / 2 if lately < limit // 2 else limit / 4)
