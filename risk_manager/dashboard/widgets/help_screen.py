"""What the keys do and what the words mean."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

_TEXT = """\
Keys
  a  next account          1-9  account by number
  p  pause the screen (the daemon goes on)
  x  seen: put the alarm away
  tab, arrows, page keys  choose a panel and scroll it
  ?  this help             q  quit

Words
  LOCKED       nothing may be open or working; what appears is closed
  NO ENTRIES   positions may be reduced and protected, not increased
  ENFORCING    the daemon acts     SHADOW  it decides and touches nothing
  OK, WARN, BREACH   how near a limit is; UNKNOWN: no figure to be trusted
  DECIDED, SENT, DONE, FAILED, UNSURE   what became of an enforcement
  –  or  ---   not known. It never stands for zero.

Realised is net of fees. Times of day are this computer's; countdowns follow
the daemon's clock. When the feed is lost everything is dimmed: it is old.
This screen only shows. Nothing here can change a limit or a lock.
"""


class HelpScreen(ModalScreen[None]):
    BINDINGS = [("escape,question_mark,q", "dismiss", "Close")]  # noqa: RUF012 - Textual's own form

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(_TEXT, markup=False)
