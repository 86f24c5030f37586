"""The accounts: which are guarded, and edits of accounts.yaml."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import OptionList

from risk_manager.admin import account_edits
from risk_manager.admin.account_edits import (
    AccountEdit,
    NotInTheLogin,
    guarded_now,
    remark_on_the_login,
    told_account,
    with_the_login,
)
from risk_manager.admin.accounts import rows
from risk_manager.admin.credentials import try_stored
from risk_manager.console.choice import Choice
from risk_manager.console.failures import GivenUp
from risk_manager.console.keys import bindings_of
from risk_manager.console.page import Page
from risk_manager.console.text import Text
from risk_manager.settings.loading import load

NAME_CELLS = 14


class AccountsPage(Page):
    page = "accounts"
    BINDINGS = bindings_of("accounts")

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, dict[str, Any]] = {}

    def body(self) -> ComposeResult:
        yield Choice()
        yield Text(classes="meaning")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Choice).focus()
        self.read("reading the accounts", self._show)

    async def _show(self) -> None:
        console = self.console
        with self.doing("reading the accounts"):
            configuration = await asyncio.to_thread(load, console.config)
            guarded = await guarded_now(console.data, console.url)
            self._put(await asyncio.to_thread(rows, configuration, guarded))

    def _put(self, found: list[dict[str, Any]]) -> None:
        self._rows = {str(row["id"]): row for row in found}
        self.query_one(Choice).put([(name, _line(row)) for name, row in self._rows.items()])

    def action_ask_gateway(self) -> None:
        self.begin("asking the gateway", self._ask_gateway)

    async def _ask_gateway(self) -> None:
        console = self.console
        with self.doing("logging in"):
            login = await try_stored(console.config, console.data)
        self._put(with_the_login(list(self._rows.values()), login))
        self.report.tell([f"{len(login.accounts)} accounts in the login at {login.host}"])

    @on(OptionList.OptionHighlighted)
    def _say(self, highlighted: OptionList.OptionHighlighted) -> None:
        row = self._rows.get(highlighted.option_id or "")
        told = "" if row is None else f"account {row['id']}: {told_account(row)}"
        self.query_one(".meaning", Text).put(Content(told))

    # --- edits ---

    def _chosen(self) -> int | None:
        chosen = self.query_one(Choice).chosen
        return None if chosen is None else int(chosen)

    def action_add(self) -> None:
        self.begin("adding an account", self._add)

    async def _add(self) -> None:
        chosen = self._chosen()
        row = self._rows.get(str(chosen), {})
        number = await self.ask(
            "Number of the account",
            now="" if row.get("listed", True) else str(chosen),
            check=_problem_with_number,
        )
        nickname = await self.ask("Nickname (may be empty)")
        console, account_id = self.console, int(number)
        try:
            with self.doing("asking the gateway for it"):
                remark = await remark_on_the_login(console.config, console.data, account_id)
        except NotInTheLogin as error:
            await self.confirm("Add it all the same?", [str(error)])
            remark = ""
        await self._carry_out(
            partial(account_edits.add, console.config, account_id, nickname or None, remark=remark)
        )

    def action_edit(self) -> None:
        self._with_chosen("editing the account", self._edit)

    async def _edit(self, account_id: int) -> None:
        nickname = await self.ask(
            f"Nickname of {account_id} (may be empty)",
            now=self._rows[str(account_id)]["nickname"] or "",
        )
        number = await self.ask(
            f"Number of {account_id}",
            lines=["Another number only after the firm has reset the account."],
            now=str(account_id),
            check=_problem_with_number,
        )
        await self._carry_out(
            partial(
                account_edits.change,
                self.console.config,
                account_id,
                nickname=nickname or None,
                no_nickname=not nickname,
                new_id=int(number),
            )
        )

    def action_remove(self) -> None:
        self._with_chosen("removing the account", self._remove)

    async def _remove(self, account_id: int) -> None:
        make = partial(account_edits.remove, self.console.config, account_id)
        await self._carry_out(make, word="DELETE")

    def action_switch(self, is_on: bool) -> None:
        async def switch(account_id: int) -> None:
            config = self.console.config
            await self._carry_out(lambda: account_edits.switch(config, account_id, enabled=is_on))

        self._with_chosen("switching the account", switch)

    def _with_chosen(self, name: str, work: Callable[[int], Any]) -> None:
        chosen = self._chosen()
        if chosen is not None:
            self.begin(name, lambda: work(chosen))

    async def _carry_out(self, make: Callable[[], AccountEdit], *, word: str = "") -> None:
        """Show an edit, have it confirmed, write it, and say from when it counts."""
        console = self.console
        with self.doing("checking all files"):
            made = await asyncio.to_thread(make)
        if not made.is_changed:
            raise GivenUp("nothing to change: it is so already")
        ends = ", ".join(map(str, made.no_longer_guarded))
        warning = [f"From the next reset on account {ends} is not guarded any more."] * bool(ends)
        classes = made.classes(await guarded_now(console.data, console.url))
        await self.confirm(
            "Write this?",
            [*made.edit.difference(), *made.remarks, *classes, *warning],
            word=word,
        )
        with self.doing("writing, and having the daemon read it", is_writing=True):
            answer = await made.deliver(console.data, console.daemon)
        effect = await made.effect(console.data, console.url, answer)
        await self._show()
        self.report.tell([*made.remarks, *effect])


def _line(row: dict[str, Any]) -> Content:
    name = Content(row["nickname"] or "").truncate(NAME_CELLS, ellipsis=True)
    return Content.assemble(
        (f"{row['id']:<10} ", "bold"),
        name.pad_right(NAME_CELLS + 1 - name.cell_length),
        (told_account(row), "" if row["enabled"] else "dim"),
    )


def _problem_with_number(text: str) -> str | None:
    is_number = text.isascii() and text.isdigit() and int(text) > 0
    return None if is_number else "an account's number has only digits"
