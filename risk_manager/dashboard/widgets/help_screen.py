"""The help screen: the keys and the terms."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from risk_manager.dashboard.keys import CLOSE, explained

_WORDS = """\
Words
  NOT GUARDED  the daemon cannot see or act: nothing stops a loss now
  LOCKED       nothing may be open or working; what appears is closed
  BLOCKED      the same, of one product only
  NO NEW ENTRIES   positions may be reduced and protected, not increased
  ENFORCING    the daemon acts     SHADOW  it decides and touches nothing
  OK, WARN, BREACH   how near a limit is; UNKNOWN: no figure to be trusted
  WARNED, DECIDED, SENT, DONE, FAILED, UNSURE   what became of an enforcement
  RELEASED, LOST, BACK   in the log: a lock ended; the daemon was not heard;
               it is heard again
  WAITS, IN FORCE, CANCELLED   an edit counts only from the reset; it counts
               now; it was taken back
  –  or  ---   not known. It never stands for zero.

Tab, arrows and page keys choose a panel and scroll it.
Realised is net of fees. Times of day are this computer's; countdowns follow
the daemon's clock. When the feed is lost everything is dimmed: it is old.
This screen only shows. Nothing here can change a limit or a lock. Clocking in
and out is only noted.
"""


def help_text() -> str:
    keys = "\n".join(f"  {shown:<6} {does}" for shown, does in explained())
    return f"Keys\n{keys}\n\n{_WORDS}"


class HelpScreen(ModalScreen[None]):
    BINDINGS = [(CLOSE.press, CLOSE.action, CLOSE.label)]  # noqa: RUF012 - Textual's own form

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(help_text(), markup=False)
