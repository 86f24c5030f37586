"""Pages that are a menu, and the main menu."""

from collections.abc import Iterable
from datetime import UTC, datetime

from textual.app import ComposeResult
from textual.content import Content

from risk_manager.admin.status_lines import status_lines
from risk_manager.console.choice import Choice
from risk_manager.console.keys import MENU, bindings_of, entries_of
from risk_manager.console.page import Page
from risk_manager.console.text import Text
from risk_manager.feed.client import FeedUnreachable, read_once

KEY_CELLS, LABEL_CELLS = 4, 16


class EntriesPage(Page):
    """A page with facts above and a menu of what may be done. Enter does the chosen entry."""

    def body(self) -> ComposeResult:
        yield Text(classes="facts")
        yield Choice(id="entries")

    def on_mount(self) -> None:
        super().on_mount()
        entries = self.query_one("#entries", Choice)
        entries.put(
            [
                (
                    key.action,
                    Content.assemble(
                        (f"{key.shown:<{KEY_CELLS}}", "bold $text-accent"),
                        (f"{key.label:<{LABEL_CELLS}}", "bold"),
                        key.does,
                    ),
                )
                for key in entries_of(self.page)
            ]
        )
        entries.focus()

    def put_facts(self, lines: Iterable[str]) -> None:
        self.query_one(".facts", Text).put(Content("\n").join(map(Content, lines)))

    async def action_do_chosen(self) -> None:
        chosen = self.query_one("#entries", Choice).chosen
        if chosen is not None:
            await self.run_action(chosen)

    async def facts_of_daemon(self) -> list[str]:
        """Return how the daemon and its accounts are, or why it is not reached, in lines."""
        console = self.console
        try:
            status, snapshot, _ = await read_once(console.data, console.url)
        except FeedUnreachable as error:
            return [str(error)]
        now = datetime.now(UTC)
        return list(status_lines(status.message, snapshot, console.config, console.data, now))


class MenuPage(EntriesPage):
    """The main menu, with the daemon in a line."""

    page = MENU
    BINDINGS = bindings_of(MENU)

    def on_mount(self) -> None:
        super().on_mount()
        self._look()

    def on_screen_resume(self) -> None:
        self._look()

    def _look(self) -> None:
        self.run_worker(self._show_daemon(), name="menu status", group="status", exclusive=True)

    async def _show_daemon(self) -> None:
        self.put_facts((await self.facts_of_daemon())[:1])

    def action_open(self, page: str) -> None:
        self.console.open_page(page)
