"""The line at the foot of a page: what is being done now, or what came of it."""

import time
from collections.abc import Callable, Sequence

from textual.content import Content
from textual.timer import Timer

from risk_manager.console.text import Text

FRAMES = "|/-\\"  # every terminal has these
TURN_S = 0.12


class Report(Text):
    """Shows a spinner with the seconds while something is done, then its outcome."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._doing = ""
        self._noted = ""
        self._began = 0.0
        self._turning: Timer | None = None

    @property
    def doing(self) -> str:
        """What is being done now; empty: nothing."""
        return self._doing

    @property
    def text(self) -> str:
        """What is shown now, as plain text."""
        return str(self.content)

    def begin(self, what: str) -> None:
        self._doing, self._noted, self._began = what, "", self._monotonic()
        if self._turning is None:
            self._turning = self.set_interval(TURN_S, self._turn)
        self.remove_class("-failed", "-done")
        self._turn()

    def note(self, how_far: str) -> None:
        """Say beside what is being done how far it is."""
        self._noted = how_far

    def end(self, what: str) -> None:
        """This is not done any more."""
        if self._doing == what:
            self._stop()
            self.put(Content(""))

    def tell(self, lines: Sequence[str]) -> None:
        """Show an outcome."""
        self._show("\n".join(lines), "-done")

    def fail(self, line: str) -> None:
        """Show an error."""
        self._show(line, "-failed")

    def _show(self, text: str, state: str) -> None:
        self._stop()
        self.remove_class("-failed", "-done")
        self.add_class(state)
        mark = "FAILED  " if state == "-failed" else ""
        self.put(Content(f"{mark}{text}"))

    def _stop(self) -> None:
        self._doing = ""
        if self._turning is not None:
            self._turning.stop()
            self._turning = None

    def _turn(self) -> None:
        seconds = self._monotonic() - self._began
        frame = FRAMES[int(seconds / TURN_S) % len(FRAMES)]
        self.put(Content(f"{frame} {self._doing} ... {seconds:.0f} s  {self._noted}".rstrip()))
