"""The screen as plain text, for the clipboard."""

from collections.abc import Iterator

from textual.screen import Screen
from textual.widget import Widget

from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.coming import Coming
from risk_manager.dashboard.widgets.figures import Figures
from risk_manager.dashboard.widgets.panel import Panel
from risk_manager.dashboard.widgets.verdict_line import VerdictLine


def text_of_screen(screen: Screen[object], tab: str) -> str:
    """Return the account, the verdict, and the tab with this id."""
    head = (screen.query_one(AccountHeader), screen.query_one(VerdictLine))
    text = "".join(f"{str(part.content).strip()}\n" for part in head)
    return f"{text}\n{text_of(screen.query_one(f'#{tab}'))}"


def text_of(*parts: Widget) -> str:
    """The lines of these widgets and of all that is shown inside them, blank ends removed."""
    return "\n".join(line.rstrip() for part in parts for line in _lines(part)).strip("\n") + "\n"


def _lines(part: Widget) -> Iterator[str]:
    for widget in (part, *part.query("*")):
        if not all(w.display for w in widget.ancestors_with_self if isinstance(w, Widget)):
            continue
        if isinstance(widget, Panel):
            yield ""
            yield f"{widget.heading}" + (f" ({_subtitle(widget)})" if _subtitle(widget) else "")
            yield from widget.text.splitlines()
        elif isinstance(widget, Figures):
            yield ""
            yield widget.text
        elif isinstance(widget, Coming):
            yield ""
            yield str(widget.content)


def _subtitle(panel: Panel) -> str:
    return str(panel.border_subtitle or "")
