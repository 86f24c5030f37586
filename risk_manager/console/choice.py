"""A list from which one line is chosen."""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option


class Choice(OptionList):
    """Lines with an id each. Enter is left to the page, whose table of keys says what it does."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "cursor_up", "Up", show=False),
        Binding("j", "cursor_down", "Down", show=False),
    ]

    _rows: tuple[tuple[str, Content], ...] = ()
    _marked: int | None = None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "select"

    @property
    def chosen(self) -> str | None:
        """The id of the chosen line; None while there is none."""
        return None if self.highlighted is None else self.get_option_at_index(self.highlighted).id

    def put(self, lines: Sequence[tuple[str, Content]]) -> None:
        """Show these lines, each in one row; the chosen one stays chosen if it is still there."""
        self._rows = tuple(lines)
        self._fill()

    def on_resize(self) -> None:
        self._fill()

    def watch_highlighted(self, highlighted: int | None) -> None:
        """Mark the chosen line with a sign, as colour must not be the only one."""
        super().watch_highlighted(highlighted)
        for index in {self._marked, highlighted} - {None}:
            if index is not None and index < self.option_count:
                self.replace_option_prompt_at_index(index, self._line(index, index == highlighted))
        self._marked = highlighted

    def _fill(self) -> None:
        before = self.chosen
        names = [name for name, _ in self._rows]
        self._marked = None
        self.clear_options()
        self.add_options([Option(self._line(index), id=name) for index, name in enumerate(names)])
        if names:
            self.highlighted = names.index(before) if before in names else 0

    def _line(self, index: int, is_chosen: bool = False) -> Content:
        room = max(self.scrollable_content_region.width - 4, 20)
        mark = ("> ", "bold") if is_chosen else ("  ", "")
        return Content.assemble(mark, self._rows[index][1].truncate(room, ellipsis=True))
