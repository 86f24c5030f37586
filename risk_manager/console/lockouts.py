"""The locks in force, and lifting one which an administrator may lift."""

from datetime import UTC, datetime
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import OptionList

from risk_manager.admin.order_effects import in_force, named, of_clear
from risk_manager.admin.second_change import lift_locks
from risk_manager.console.choice import Choice
from risk_manager.console.failures import GivenUp
from risk_manager.console.keys import bindings_of
from risk_manager.console.page import Page
from risk_manager.console.text import Text
from risk_manager.feed.client import read_once

MAY_LIFT = "An administrator may lift it, with a reason."
NOBODY_LIFTS = "Nobody may lift it now."


class LockoutsPage(Page):
    page = "lockouts"
    BINDINGS = bindings_of("lockouts")

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, dict[str, Any]] = {}

    def body(self) -> ComposeResult:
        yield Choice()
        yield Text(classes="meaning")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Choice).focus()
        self.action_again()

    def action_again(self) -> None:
        self.read("reading the locks", self._show)

    async def _show(self) -> None:
        console = self.console
        with self.doing("reading the locks"):
            _, snapshot, _ = await read_once(console.data, console.url)
        now = datetime.now(UTC)
        self._rows = {
            f"{account['account_id']} {lock['lockout_id']}": {
                **lock,
                "account_id": account["account_id"],
                "told": f"{named(account)}: {in_force(lock, now)}",
            }
            for account in snapshot["accounts"]
            for lock in account["locks"]
        }
        self.query_one(Choice).put([(k, Content(row["told"])) for k, row in self._rows.items()])
        if not self._rows:
            self._put_meaning("no lock is in force")

    @on(OptionList.OptionHighlighted)
    def _say(self, highlighted: OptionList.OptionHighlighted) -> None:
        row = self._rows.get(highlighted.option_id or "")
        if row is not None:
            who = MAY_LIFT if row["admin_may_clear"] else NOBODY_LIFTS
            self._put_meaning(f"{row['told']}\n{who}")

    def _put_meaning(self, text: str) -> None:
        self.query_one(".meaning", Text).put(Content(text))

    def action_lift(self) -> None:
        row = self._rows.get(self.query_one(Choice).chosen or "")
        if row is not None:
            self.begin("lifting the lock", lambda: self._lift(row))

    async def _lift(self, row: dict[str, Any]) -> None:
        if not row["admin_may_clear"]:
            raise GivenUp(f"nothing was done: nobody may lift it now; {row['told']}")
        reason = await self.ask("Reason", lines=["It is kept with the order."], check=_is_missing)
        await self.confirm("Lift this lock?", [row["told"], f"Reason: {reason}"])
        account_id = row["account_id"]
        order = {
            "account_id": account_id,
            "scope": row["scope"],
            "rule_id": row["rule_id"],
            "reason": reason,
        }
        with self.doing("lifting the lock", is_writing=True):
            answer = await lift_locks(self.console.daemon, order, self._ask_second)
        await self._show()
        stays = answer["stays"]
        told = list(of_clear(account_id, answer["lifted"], stays, datetime.now(UTC)))
        if any(lock["asked_for"] for lock in stays):
            self.report.fail("; ".join(told))
        else:
            self.report.tell(told)

    async def _ask_second(self) -> str:
        return await self.ask(
            "Second passphrase", lines=["An early unlock needs the second person."], hidden=True
        )


def _is_missing(reason: str) -> str | None:
    return None if reason.strip() else "say why: every order of yours is kept with its reason"
