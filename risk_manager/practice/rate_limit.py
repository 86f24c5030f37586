"""The gateway's limit of requests in a window of time."""

from collections import deque


class RateLimit:
    """At most `limit` requests in any `window` seconds; None for no limit."""

    def __init__(self, limit: int | None, window: float) -> None:
        self.limit = limit
        self.window = window
        self._times: deque[float] = deque()

    def take(self, now: float) -> bool:
        """Whether one more request is allowed now; a refused one does not count."""
        if self.limit is None:
            return True
        while self._times and self._times[0] <= now - self.window:
            self._times.popleft()
        if len(self._times) >= self.limit:
            return False
        self._times.append(now)
        return True
