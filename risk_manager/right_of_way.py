"""Priority on the one event loop: enforcement first, then everything else."""

import asyncio
import contextlib

LONGEST_RIGHT_S = 0.1


class RightOfWay:
    """Enforcement goes first: quotes are read and steps published while nothing is being judged.

    The right of way is taken when a fact arrives or a quote leads to an action, and given back when
    only quotes are waiting. Others wait for it for 0.1 s at most. Free time restores that allowance
    at the same rate, so that others have at least half of the time.
    """

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._free.set()
        self._left_s = LONGEST_RIGHT_S
        self._since = 0.0

    def take(self) -> None:
        if self._free.is_set():
            now = asyncio.get_running_loop().time()
            self._left_s = min(LONGEST_RIGHT_S, self._left_s + now - self._since)
            self._since = now
            self._free.clear()

    def give_back(self) -> None:
        if self._free.is_set():
            return
        now = asyncio.get_running_loop().time()
        self._left_s = max(0.0, self._left_s - (now - self._since))
        self._since = now
        self._free.set()

    async def give_way(self) -> None:
        """Wait while the right of way is taken, within its allowance."""
        if self._free.is_set():
            return
        left_s = self._left_s - (asyncio.get_running_loop().time() - self._since)
        if left_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._free.wait()
