"""The app that holds the pages: folders, the way to the daemon, how it looks, and how it ends."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.filter import LineFilter

from risk_manager.console.failures import GivenUp, in_one_line
from risk_manager.console.kept_line import KeptLine
from risk_manager.console.windows import Asking
from risk_manager.dashboard.plain_terminal import AsciiOnly, shows_only_ascii
from risk_manager.dashboard.themes import COLOUR_BLIND_THEME, first_theme
from risk_manager.dashboard.themes import after as next_theme

INTERNAL = 70
REFUSED = 1
Ended = tuple[int, str]
"""The exit code, and a line for a person, if not empty."""


class Host(App[Ended]):
    """`daemon` is the way to the running daemon, with the login of this session.

    `has_password`: an admin password is known to be set. `is_writing`: leaving now would cut a
    change in half.
    """

    CSS_PATH = Path(__file__).with_name("console.tcss")
    TITLE = "risk manager"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "quit", show=False)]

    def __init__(
        self,
        config: Path,
        data: Path,
        url: str | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        super().__init__()
        self.config, self.data, self.url = config, data, url
        self.daemon = KeptLine(data, url, self._ask_password)
        self.has_password = False
        self.is_writing = False
        self.register_theme(COLOUR_BLIND_THEME)
        self.theme = first_theme(environ)
        self.ascii_only = shows_only_ascii(environ)

    def get_line_filters(self) -> Sequence[LineFilter]:
        filters = super().get_line_filters()
        return [*filters, AsciiOnly()] if self.ascii_only else filters

    async def on_unmount(self) -> None:
        await self.daemon.aclose()

    def signed_in(self) -> None:
        """Show the menu from now on."""
        raise NotImplementedError

    def open_page(self, name: str) -> None:
        """Show a page over the one that is shown."""
        raise NotImplementedError

    def refuse(self, why: str) -> None:
        """End the console, as nobody has signed in."""
        self.exit((REFUSED, why), return_code=REFUSED)

    async def _ask_password(self) -> str:
        """Ask for the password again: the daemon was started anew, or has none of this session."""
        answer = await self.push_screen_wait(Asking("Admin password", hidden=True))
        if answer is None:
            raise GivenUp("no password was given; nothing was done")
        return answer

    def action_next_theme(self) -> None:
        self.theme = next_theme(self.theme)

    async def action_quit(self) -> None:
        if self.is_writing:
            self.notify("a change is being written; wait a moment", markup=False)
        else:
            self.exit((0, ""))

    def _handle_exception(self, error: Exception) -> None:
        """End with one line. Textual would print a traceback with the values of local names, and a
        typed secret may be among them."""
        self.exit((INTERNAL, in_one_line(error, self.data)), return_code=INTERNAL)
