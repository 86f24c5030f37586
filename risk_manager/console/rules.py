"""The rules: each limit in a line."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import OptionList

from risk_manager.admin.config_changes import LIMITS_FILE
from risk_manager.admin.effective import rows_in_force, standing, told_time
from risk_manager.admin.limit_proposals import switch_rule
from risk_manager.console.choice import Choice
from risk_manager.console.keys import bindings_of
from risk_manager.console.limits_page import LimitsPage
from risk_manager.console.rule import RulePage
from risk_manager.console.text import Text
from risk_manager.domain.rulebook import origin_id
from risk_manager.settings.loading import load

ID_CELLS = 29
UNREAD = "the files were edited since the daemon read them; Service has it read them"


class RulesPage(LimitsPage):
    page = "rules"
    BINDINGS = bindings_of("rules")

    def __init__(self) -> None:
        super().__init__()
        self._accounts: list[int] = []
        self._words: dict[str, str] = {}

    def body(self) -> ComposeResult:
        yield Text(classes="facts")
        yield Choice()
        yield Text(classes="meaning")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Choice).focus()
        self._show_again()

    def _show_again(self, _: None = None) -> None:
        self.read("reading the rules", self.show)

    @on(OptionList.OptionHighlighted)
    def _say(self, highlighted: OptionList.OptionHighlighted) -> None:
        words = self._words.get(highlighted.option_id or "", "")
        self.query_one(".meaning", Text).put(Content(words))

    async def show(self) -> None:
        console = self.console
        with self.doing("reading the rules"):
            files = await asyncio.to_thread(load, console.config)
            self._accounts = [account.id for account in files.accounts.accounts]
            shown = self.account_id or self._accounts[0]
            now = await asyncio.to_thread(
                standing, files, console.data / LIMITS_FILE, datetime.now(UTC)
            )
            found = await asyncio.to_thread(rows_in_force, now, shown)
        whose = "every account" if self.account_id is None else "it alone"
        facts = [f"as account {shown} has them; changes are for {whose}"]
        if now.unread:
            facts.append(UNREAD)
        self._words = {row["id"]: row["in_words"] for row in found}
        self.query_one(".facts", Text).put(Content("\n".join(facts)))
        self.query_one(Choice).put([(row["id"], _line(row)) for row in found])

    def action_next_account(self) -> None:
        every = [None, *self._accounts]
        at = every.index(self.account_id) if self.account_id in every else 0
        self.account_id = every[(at + 1) % len(every)]
        self._show_again()

    def _chosen(self) -> str | None:
        chosen = self.query_one(Choice).chosen
        return None if chosen is None else origin_id(chosen)

    def action_open_rule(self) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self.app.push_screen(RulePage(chosen, self.account_id), self._show_again)

    def action_switch(self, is_on: bool) -> None:
        chosen = self._chosen()
        if chosen is not None:
            make = partial(
                switch_rule, self.console.config, chosen, is_on=is_on, account_id=self.account_id
            )
            self.begin("switching the rule", lambda: self.carry_out(make))


def _line(row: dict[str, Any]) -> Content:
    flags = [word for word in ("disabled", "shadow", "overridden") if row.get(word)]
    if row["counts_from"]:
        flags.append(f"counts from {told_time(row['counts_from'])}")
    if row["holds_until"]:
        flags.append(f"in force until {told_time(row['holds_until'])}")
    name = Content(row["id"]).truncate(ID_CELLS, ellipsis=True)
    return Content.assemble(
        (f"{row['spec_id']:<9}  ", "dim"),
        name.stylize("dim" if row["disabled"] else "bold").pad_right(
            ID_CELLS + 1 - name.cell_length
        ),
        *((f"[{flag}] ", "$text-warning") for flag in flags),
        row["limits"],
    )
