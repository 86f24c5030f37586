"""One page of the console: its heading, its body, what is being done, and its keys."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, OptionList

from risk_manager.console.failures import GivenUp, in_one_line
from risk_manager.console.host import Host
from risk_manager.console.keys import PAGES, explained
from risk_manager.console.report import Report
from risk_manager.console.text import Text
from risk_manager.console.windows import Asking, Check, Confirming, Reading

Work = Callable[[], Awaitable[None]]


class Page(Screen[None]):
    """A page does one thing at a time, in a worker of its own that ends when the page is left."""

    page = ""

    def __init__(self) -> None:
        super().__init__()
        self._busy = ""

    @property
    def console(self) -> Host:
        return cast(Host, self.app)

    @property
    def report(self) -> Report:
        return self.query_one(Report)

    @property
    def heading(self) -> str:
        return PAGES[self.page]

    def compose(self) -> ComposeResult:
        yield Text(classes="heading")
        yield from self.body()
        yield Report()
        yield Footer()

    def body(self) -> ComposeResult:
        raise NotImplementedError

    def on_mount(self) -> None:
        self.show_heading()

    def show_heading(self) -> None:
        self.query_one(".heading", Text).put(
            Content.assemble(
                ("risk manager  ", "dim"),
                (self.heading, "bold"),
                (f"  {self.console.config}", "dim"),
            )
        )

    # --- work ---

    @property
    def is_busy(self) -> bool:
        return bool(self._busy)

    def begin(self, name: str, work: Work) -> None:
        """Do what a key asks for in a worker; its errors become the line at the foot."""
        if self._busy:
            self.notify(f"wait: {self._busy} is under way", markup=False)
            return
        self._busy = name
        self.run_worker(self._done(work), name=name, group="work", exit_on_error=False)

    def read(self, name: str, work: Work) -> None:
        """Read anew what the page shows, in a worker. A reading under way is dropped for it."""
        self.run_worker(
            self._guarded(work), name=name, group="reading", exclusive=True, exit_on_error=False
        )

    async def _done(self, work: Work) -> None:
        try:
            await self._guarded(work)
        finally:
            self._busy = ""

    async def _guarded(self, work: Work) -> None:
        try:
            await work()
        except GivenUp as told:
            self.report.tell([str(told)])
        except Exception as error:  # an error in one action must not end the console
            self.report.fail(in_one_line(error, self.console.data))

    @contextmanager
    def doing(self, what: str, *, is_writing: bool = False) -> Iterator[None]:
        """Show a spinner. While something is written the page cannot be left."""
        self.console.is_writing = is_writing
        self.report.begin(what)
        try:
            yield
        finally:
            self.console.is_writing = False
            if self.is_attached:
                self.report.end(what)

    # --- asking, inside of a worker ---

    async def ask(
        self,
        question: str,
        *,
        lines: Sequence[str] = (),
        hidden: bool = False,
        now: str = "",
        check: Check = lambda _: None,
    ) -> str:
        """Return one line. Raises GivenUp."""
        window = Asking(question, lines=lines, hidden=hidden, now=now, check=check)
        answer = await self.app.push_screen_wait(window)
        if answer is None:
            raise GivenUp("nothing was done")
        return answer

    async def confirm(self, question: str, lines: Sequence[str], *, word: str = "") -> None:
        """Show what would be done and have it confirmed. Raises GivenUp."""
        if await self.app.push_screen_wait(Confirming(question, lines, word=word)) is None:
            raise GivenUp("nothing was done")

    # --- keys ---

    @on(OptionList.OptionSelected)
    def _clicked(self) -> None:
        self.app.simulate_key("enter")

    async def action_back(self) -> None:
        if self.console.is_writing:
            self.notify("a change is being written; wait a moment", markup=False)
        else:
            self.dismiss()

    def action_help(self) -> None:
        keys = [f"  {shown:<6} {does}" for shown, does in explained(self.page)]
        self.app.push_screen(Reading(f"{self.heading}: keys", [*keys, "", *_WORDS]))


_WORDS = (
    "Up, Down and Enter choose from a list.",
    "tighter   counts at once, with the next event",
    "looser    waits for the daily reset; nothing makes it count earlier",
    "unknown   treated as looser: until the reset the older version holds as well",
    "Every change goes the way of the `admin` verb: checked as a whole, shown,",
    "confirmed, written with your comments kept, and read by the daemon.",
)
