"""The panic: close every position and cancel every order, through the daemon or without it."""

from datetime import UTC, datetime

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from risk_manager.admin.daemon_line import OwnLine
from risk_manager.admin.order_effects import is_done
from risk_manager.admin.panic import Panic, panic_without_daemon, told_panic
from risk_manager.console.failures import GivenUp
from risk_manager.console.keys import bindings_of
from risk_manager.console.page import Page
from risk_manager.console.text import Text

ABOUT = (
    "Closes every position and cancels every order of the watched accounts. Nothing is ever "
    "opened.\n\n"
    "With the daemon the accounts are locked flat as well, until the lock is cleared, and what is "
    "still open after 20 s is tried again and again. Without it the console closes by itself, by "
    "the key of settings.yaml, for 90 s at most; no lock follows then.\n\n"
    "Press Enter. No password is needed."
)


class PanicPage(Page):
    page = "panic"
    BINDINGS = bindings_of("panic")

    def __init__(self) -> None:
        super().__init__()
        self._said: list[str] = []

    def body(self) -> ComposeResult:
        with VerticalScroll():
            yield Text(ABOUT, classes="facts")

    def action_panic(self) -> None:
        self.begin("the panic", self._panic)

    async def _panic(self) -> None:
        await self.confirm("Close everything in all accounts?", ["It is done at once."])
        self._said.clear()
        console, order = self.console, Panic()
        with self.doing("closing and cancelling everything", is_writing=True):
            # A connection of its own: a panic waits behind no other request.
            line = OwnLine(console.data, console.url, _nobody)
            result = await order.by_the_daemon(line, self._say)
            if result is None:
                self._say("this is done without the daemon")
                result = await panic_without_daemon(console.config, console.data, say=self._say)
        for told in told_panic(result, datetime.now(UTC)):
            self._say(told)
        report = result.get("report")
        if report and all(map(is_done, report)):
            self.report.tell(["done, and confirmed by the gateway"])
        else:
            self.report.fail("NOT everything is closed and confirmed; look at the platform")

    def _say(self, line: str) -> None:
        self._said.append(line)
        self.query_one(".facts", Text).put(Content("\n".join(self._said)))


async def _nobody() -> str:
    raise GivenUp("the daemon asks for a password for a panic; is it of another version?")
