"""The loop of a simulation: nothing real can wake it, and time jumps to the next timer."""

import asyncio
import selectors
from typing import Any

SPINNING_AFTER = 200_000
"""So many rounds of the loop in one instant: somebody wakes somebody for ever."""


class Stuck(RuntimeError):
    """Time stands still: every task waits and no timer runs, or the tasks keep each other busy."""


class _Blind(selectors.SelectSelector):
    """Has files registered (the loop's own pipe) and never looks at them."""

    loop: "SimulatedLoop"
    rounds = 0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise Stuck("nothing can wake this simulation any more")
        self.rounds += 1
        if timeout > 0:
            self.loop.seconds += timeout
            self.rounds = 0
        elif self.rounds > SPINNING_AFTER:
            raise Stuck(f"the simulation spins at {self.loop.seconds:.3f} s")
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and moves only when there is nothing left to do."""

    def __init__(self) -> None:
        self.seconds = 0.0
        selector = _Blind()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.seconds
