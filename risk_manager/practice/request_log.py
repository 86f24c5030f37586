"""The REST requests that the practice gateway has received, for tests that ask or wait for one."""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """A REST request as it arrived. `at` is `time.monotonic_ns()` when its headers were read."""

    at: int
    path: str
    body: Mapping[str, Any]
    account: int | None


class RequestLog:
    """The newest `size` requests, oldest first. API keys are masked."""

    def __init__(self, size: int) -> None:
        self._requests: deque[Request] = deque(maxlen=size)
        self._changed = asyncio.Event()

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests)

    def add(self, at: int, path: str, body: Mapping[str, Any]) -> None:
        shown = {key: "***" if key == "apiKey" else value for key, value in body.items()}
        account = body.get("accountId")
        self._requests.append(
            Request(at, path, shown, account if isinstance(account, int) else None)
        )
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait_for(
        self, path: str, *, count: int = 1, after: int = 0, seconds: float = 5.0
    ) -> Request:
        """Return the `count`-th request for `path` since `after` (monotonic ns). TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                found = [one for one in self._requests if one.path == path and one.at >= after]
                if len(found) >= count:
                    return found[count - 1]
                await self._changed.wait()
