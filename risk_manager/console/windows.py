"""The windows in which a page asks, shows and has confirmed."""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input

from risk_manager.console.text import Text

Check = Callable[[str], str | None]
"""Returns why an answer is not acceptable; None if it is."""
_STYLES = {"+": "$text-success", "-": "$text-error", "@": "dim"}
_WORDS = {"tighter": "bold $text-success", "looser": "bold $text-warning", "unknown": "bold"}


def in_style(line: str) -> Content:
    """Return a line with the colours of a difference, or of the class of a change."""
    if line[:1] in _STYLES:
        return Content.styled(line, _STYLES[line[0]])
    for word, style in _WORDS.items():
        before, found, after = line.partition(f", {word}, ")
        if found:
            return Content.assemble(f"{before}, ", (word, style), f", {after}")
    return Content(line)


class HiddenInput(Input):
    """Takes a secret: shows none of it, and never gives it to the clipboard."""

    def __init__(self) -> None:
        super().__init__(password=True)

    def take(self) -> str:
        """Return what was typed, and forget it."""
        typed = self.value
        self.clear()
        return typed

    def action_copy(self) -> None:
        """Copy nothing."""

    def action_cut(self) -> None:
        """Cut nothing."""


class Window(ModalScreen[str | None]):
    """A box over the page. Esc closes it with None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "give_up", "Close")]

    def action_give_up(self) -> None:
        self.dismiss(None)


class Asking(Window):
    """Asks for one line."""

    def __init__(
        self,
        question: str,
        *,
        lines: Sequence[str] = (),
        hidden: bool = False,
        now: str = "",
        check: Check = lambda _: None,
    ) -> None:
        super().__init__()
        self._question = question
        self._lines = lines
        self._hidden = hidden
        self._now = now
        self._check = check

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content(self._question)
            box.border_subtitle = "Enter: go on    Esc: nothing is done"
            if self._lines:
                with VerticalScroll(can_focus=False):
                    yield _lines(self._lines)
            yield HiddenInput() if self._hidden else Input(self._now)
            yield Text(classes="problem")

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def action_give_up(self) -> None:
        self.query_one(Input).clear()  # a secret half typed goes with the window
        self.dismiss(None)

    @on(Input.Submitted)
    def _submit(self) -> None:
        field = self.query_one(Input)
        given = field.take() if isinstance(field, HiddenInput) else field.value.strip()
        problem = self._check(given)
        if problem is None:
            self.dismiss(given)
        else:
            self.query_one(".problem", Text).put(Content(problem))


class Confirming(Window):
    """Shows what would be done, and has it confirmed by `y`, or by typing a word."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "Yes"),
        Binding("n", "give_up", "No"),
        Binding("up,k", "scroll(-1)", "Up", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("pageup", "scroll(-10)", "Up", show=False),
        Binding("pagedown,space", "scroll(10)", "Down", show=False),
    ]

    def __init__(self, question: str, lines: Sequence[str], *, word: str = "") -> None:
        super().__init__()
        self._question = question
        self._lines = lines
        self._word = word

    def compose(self) -> ComposeResult:
        how = f"type {self._word} and Enter" if self._word else "y: yes    n"
        with Vertical() as box:
            box.border_title = Content(self._question)
            box.border_subtitle = f"{how}, Esc: nothing is done"
            with VerticalScroll(can_focus=False):
                yield _lines(self._lines)
            if self._word:
                yield Input()
                yield Text(classes="problem")

    def on_mount(self) -> None:
        if self._word:
            self.query_one(Input).focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (self._word and action == "confirm")

    def action_confirm(self) -> None:
        self.dismiss("yes")

    def action_scroll(self, by: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)

    @on(Input.Submitted)
    def _submit(self, typed: Input.Submitted) -> None:
        if typed.value.strip() == self._word:
            self.dismiss(self._word)
        else:
            self.query_one(".problem", Text).put(
                Content(f"that is not {self._word}: nothing is done before it is typed")
            )


class Reading(Window):
    """Shows lines to be read."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,q,question_mark", "give_up", "Close", show=False)
    ]

    def __init__(self, heading: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._heading = heading
        self._lines = lines

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content(self._heading)
            box.border_subtitle = "Esc: close"
            with VerticalScroll():
                yield _lines(self._lines)

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


def _lines(lines: Iterable[str]) -> Text:
    text = Text(classes="lines")
    text.put(Content("\n").join([in_style(line) for line in lines]))
    return text
