"""How the daemon and its accounts are, read again every two seconds."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from risk_manager.admin.limit_proposals import told_waiting, waiting
from risk_manager.admin.order_effects import in_force, named
from risk_manager.admin.status_lines import status_lines
from risk_manager.console.keys import bindings_of
from risk_manager.console.page import Page
from risk_manager.console.text import Text
from risk_manager.feed.client import FeedUnreachable, read_once

EVERY_S = 2.0


class StatusPage(Page):
    page = "status"
    BINDINGS = bindings_of("status")

    def body(self) -> ComposeResult:
        with VerticalScroll():
            yield Text(classes="facts")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(VerticalScroll).focus()
        self.set_interval(EVERY_S, self.action_again)
        self.action_again()

    def action_again(self) -> None:
        self.run_worker(self._read(), name="status", group="status", exclusive=True)

    async def _read(self) -> None:
        console = self.console
        try:
            status, snapshot, _ = await read_once(console.data, console.url)
        except FeedUnreachable as error:
            lines = [str(error)]
        else:
            now = datetime.now(UTC)
            lines = [
                *status_lines(status.message, snapshot, console.config, console.data, now),
                "",
                *_locks(snapshot, now),
            ]
        lines += ["", *told_waiting(waiting(console.data))]
        self.query_one(".facts", Text).put(Content("\n").join(map(Content, lines)))


def _locks(snapshot: dict[str, Any], now: datetime) -> Iterator[str]:
    locks = [(account, lock) for account in snapshot["accounts"] for lock in account["locks"]]
    if not locks:
        yield "no lock is in force"
    for account, lock in locks:
        yield f"{named(account)}: {in_force(lock, now)}"
