"""The loop of a simulation: nothing real can wake it, and time jumps to the next timer."""

import asyncio
import selectors
from typing import Any


class Stuck(RuntimeError):
    """Every task waits and no timer runs: a real program would hang for ever here."""


class _Blind(selectors.SelectSelector):
    """Has files registered (the loop's own pipe) and never looks at them."""

    loop: "SimulatedLoop"

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise Stuck("nothing can wake this simulation any more")
        if timeout > 0:
            self.loop.seconds += timeout
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
