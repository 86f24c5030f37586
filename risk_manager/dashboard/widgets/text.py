"""Literal text on the screen that is redrawn only where it has changed."""

from textual.content import Content, Span
from textual.geometry import Size
from textual.reactive import Reactive
from textual.widgets import Static

from risk_manager.dashboard.wording import GAIN


class Text(Static):
    """A widget for text that is often set again. The same text costs nothing, and a new text of
    as many rows needs no new layout of the screen.

    `wraps` is for text whose lines may wrap, so that its rows depend on the width.
    """

    virtual_size = Reactive(Size(0, 0), layout=False)
    """Follows from a layout, and asks for none: nothing is inside a text."""

    def __init__(self, content: str = "", *, wraps: bool = False, classes: str = "") -> None:
        super().__init__(content, markup=False, classes=classes)
        self._put = Content(content)
        self._wraps = wraps

    def put(self, content: Content) -> None:
        """Show this from now on. Green means that all is well now, so old figures lose it."""
        if self.screen.has_class("-stale"):
            content = _without_green(content)
        before, self._put = self._put, content
        if not content.is_same(before):
            self.update(content, layout=self._rows(content) != self._rows(before))

    def _rows(self, content: Content) -> int:
        """Return the rows that this text takes, at the width there is now."""
        width = self.content_size.width
        if self._wraps and width:
            return content.get_height(self.styles.get_rules(), width)
        return content.plain.count("\n") + 1


def _without_green(content: Content) -> Content:
    if not any(GAIN in str(span.style) for span in content.spans):
        return content
    spans = [
        Span(span.start, span.end, str(span.style).replace(GAIN, "$text-muted"))
        if isinstance(span.style, str)
        else span
        for span in content.spans
    ]
    return Content(content.plain, spans)
