"""Literal text on the screen that is redrawn only where it has changed."""

from textual.content import Content, Span
from textual.widgets import Static

from risk_manager.dashboard.wording import GAIN


class Text(Static):
    """A widget for text that is often set again. The same text costs nothing, and a new text with
    as many lines needs no new layout.

    `wraps` is for text whose lines may wrap, so that any change may need more room.
    """

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
            lines = content.plain.count("\n"), before.plain.count("\n")
            self.update(content, layout=self._wraps or lines[0] != lines[1])


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
