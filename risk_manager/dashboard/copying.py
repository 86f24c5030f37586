"""A tab as plain text, for the clipboard."""

from collections.abc import Iterator

from textual.widget import Widget

from risk_manager.dashboard.widgets.coming import Coming
from risk_manager.dashboard.widgets.figures import Figures
from risk_manager.dashboard.widgets.panel import Panel


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
