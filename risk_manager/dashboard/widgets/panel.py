"""A bordered box with a title and lines of content that scrolls when they are many."""

from collections.abc import Iterable, Sequence
from typing import Literal

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.reactive import Reactive

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.text import Text

Cell = tuple[str, str]
"""Text and style. The text is data: it never goes through markup."""


class Panel(VerticalScroll):
    """Shows lines of literal content. `title` counts as data too."""

    heading = ""
    empty = "none"
    virtual_size = Reactive(Size(0, 0), layout=False)
    """Follows from a layout, and asks for another only by the scrollbar that comes or goes."""
    _noted = ""

    def compose(self) -> ComposeResult:
        yield Text()

    def on_mount(self) -> None:
        self.border_title = self.heading

    def show(self, glance: Glance) -> None:
        """Draw what this panel is about."""
        if glance.account is None:  # "flat" would be a claim
            self.put_lines([Content.styled("not known yet", "dim")])
        else:
            empty = Content.styled(glance.last_heard(self.empty), "dim")
            self.put_lines(list(self.lines(glance)) or [empty])

    def note(self, text: str) -> None:
        """Show this in the border below. It is data, and the same text again costs nothing."""
        if text != self._noted:
            self._noted = text
            self.border_subtitle = Content(text)

    def put_lines(self, lines: Iterable[Content]) -> None:
        self.query_one(Text).put(Content("\n").join(lines))

    @property
    def text(self) -> str:
        """What is shown now, as plain text."""
        return str(self.query_one(Text).content)

    def lines(self, glance: Glance) -> Iterable[Content]:
        raise NotImplementedError

    @property
    def room(self) -> int:
        """The number of cells in one line."""
        return max(self.scrollable_content_region.width, 20)


class Column:
    """One column of a table: its heading, width and alignment."""

    __slots__ = ("heading", "lean", "width")

    def __init__(self, heading: str, width: int, lean: Literal["left", "right"] = "left") -> None:
        self.heading = heading
        self.width = width
        self.lean = lean


def row(columns: Sequence[Column], cells: Sequence[Cell]) -> Content:
    """Return cells side by side. A text that is too long ends in an ellipsis."""
    return Content(" ").join(
        _fit(column, Content.styled(text, style))
        for column, (text, style) in zip(columns, cells, strict=True)
    )


def hanging(lead: Content, told: Content, room: int) -> list[Content]:
    """Return `told` beside `lead`, wrapped where it is longer than the rest of the line."""
    width = max(room - lead.cell_length, 20)
    if told.cell_length <= width:
        return [lead + told]
    first, *rest = told.wrap(width)
    indent = Content(" " * lead.cell_length)
    return [lead + first, *(indent + part for part in rest)]


def headings(columns: Sequence[Column]) -> Content:
    return row(columns, [(c.heading, "dim") for c in columns])


def _fit(column: Column, content: Content) -> Content:
    content = content.truncate(column.width, ellipsis=True)
    missing = column.width - content.cell_length
    return content.pad_left(missing) if column.lean == "right" else content.pad_right(missing)
