"""The brake on our own calls: after too many in a minute only calls that reduce risk go on."""

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
        """Return the brake as of now.

        It comes off after a minute at least, once the last minute had at most half the limit.
        """
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
        """Add one call. The first call above the limit puts the brake on."""
        calls = (*self.calls, now)
        on_since = self.on_since
        if on_since is None and len(calls) > limit:
            on_since = now
        return fast_replace(self, calls=calls, on_since=on_since)

    def lets_pass(self, action: Action, tries: int, limit: int, *, must_go: bool) -> bool:
        """Whether this action may be sent now. Closing and reducing never wait.

        With the brake on, actions that must go (`must_go`) are sent once. They are repeated only
        while the calls of the last minute are below one and a half times the limit.
        """
        if self.on_since is None or isinstance(action, ClosePosition | ReducePosition):
            return True
        return must_go and (tries == 1 or len(self.calls) < limit + limit // 2)

    @classmethod
    def taken_up(cls, calls: Iterable[datetime], now: datetime, limit: int) -> "Brake":
        """Rebuild the brake of an earlier run from the instants of its calls."""
        brake = cls()
        for at in sorted(calls):
            brake = brake.at(at, limit).after_call(at, limit)
        return brake.at(now, limit)

    def pace(self, now: datetime, limit: int, among: int) -> timedelta:
        """Return the interval that each of `among` callers leaves between calls that can wait.

        Together they then use about half of a minute's limit. The interval doubles while half of
        the limit has been used by calls of any kind, and is zero while there have been few.
        """
        horizon = now - MINUTE
        lately = sum(at > horizon for at in self.calls)
        if lately < limit // 6:
            return timedelta(0)
        return MINUTE * among / (limit / 2 if lately < limit // 2 else limit / 4)
