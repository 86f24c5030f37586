"""Literal text on a page."""

from textual.content import Content
from textual.widgets import Static


class Text(Static):
    """Text that never goes through markup, as it may be data of others."""

    def __init__(self, content: str = "", *, classes: str = "") -> None:
        super().__init__(content, markup=False, classes=classes)

    def put(self, content: Content) -> None:
        """Show this from now on."""
        self.update(content)
