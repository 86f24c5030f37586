"""Edits of the limits: shown with their class and their moment, confirmed, written; what waits."""

import asyncio
from collections.abc import Callable

from risk_manager.admin.config_edits import Proposal
from risk_manager.admin.edit_delivery import deliver, told_reading
from risk_manager.admin.limit_proposals import (
    cancelling,
    compared,
    new_warnings,
    told_changes,
    told_kept,
    told_waiting,
    waiting,
)
from risk_manager.console.failures import GivenUp
from risk_manager.console.page import Page
from risk_manager.console.windows import Reading

NEVER_RUN = "no daemon has run with this data folder: the first start puts this in force"


class LimitsPage(Page):
    """A page from which limits are edited. `account_id`: only for this account; None: for all."""

    account_id: int | None = None

    async def show(self) -> None:
        """Read the files and show them."""
        raise NotImplementedError

    async def carry_out(self, make: Callable[[], Proposal]) -> None:
        """Show an edit with its class and its moment, have it confirmed, and write it."""
        console = self.console
        with self.doing("checking all files"):
            proposal = await asyncio.to_thread(make)
            if not proposal.texts:
                raise GivenUp("nothing to change: the files say so already")
            found = await asyncio.to_thread(compared, proposal, console.data)
        changes = told_changes(found) or [NEVER_RUN]
        warnings = [f"warning: {warning}" for warning in new_warnings(proposal)]
        await self.confirm(
            "Write this?", [*changes, *warnings, "", *proposal.difference.splitlines()]
        )
        with self.doing("writing, and having the daemon read it", is_writing=True):
            answer = await deliver(proposal, console.daemon)
        await self.show()
        self.report.tell([told_reading(answer)])

    def action_waiting(self) -> None:
        self.begin("reading what waits", self._waiting)

    async def _waiting(self) -> None:
        waits = await asyncio.to_thread(waiting, self.console.data)
        self.app.push_screen(Reading("Waits for the reset", told_waiting(waits)))

    def action_cancel_waiting(self) -> None:
        self.begin("taking back what waits", self._cancel_waiting)

    async def _cancel_waiting(self) -> None:
        console = self.console
        found = await asyncio.to_thread(cancelling, console.config, console.data)
        if found is None:
            raise GivenUp("nothing waits for the reset")
        await self.carry_out(lambda: found.proposal)
        if found.kept:
            self.report.tell(told_kept(found.kept))
