"""The daemon as a service, and the running daemon: its streams, login, day and files."""

import asyncio

from risk_manager.admin.daemon_line import ask_daemon
from risk_manager.admin.edit_delivery import told_reading
from risk_manager.admin.limit_proposals import told_changes
from risk_manager.admin.running_orders import (
    drop_session,
    is_opened,
    reconnect,
    reset_day,
    told_day,
    told_drop,
    told_hubs,
)
from risk_manager.console.failures import GivenUp
from risk_manager.console.keys import bindings_of
from risk_manager.console.menu import EntriesPage
from risk_manager.service.changes import exposure_told, prepare
from risk_manager.service.choice import service_manager
from risk_manager.service.report import service_report
from risk_manager.service.service import ServiceRefused
from risk_manager.service.standing import ask_to_end, standing


class ServicePage(EntriesPage):
    page = "service"
    BINDINGS = bindings_of("service")

    def on_mount(self) -> None:
        super().on_mount()
        self.read("looking for the daemon", self._show)

    async def _show(self) -> None:
        manager = service_manager()
        report = await asyncio.to_thread(
            service_report, manager, manager.default_name, self.console.data
        )
        self.put_facts([*report.lines(), *(await self.facts_of_daemon())[:1]])

    # --- the service ---

    def action_service(self, verb: str) -> None:
        self.begin(f"the {verb} of the service", lambda: self._change(verb))

    async def _change(self, verb: str) -> None:
        console, manager = self.console, service_manager()
        with self.doing("looking at the service"):
            change = await asyncio.to_thread(
                prepare, manager, verb, manager.default_name, console.config, console.data
            )
            exposed = await asyncio.to_thread(exposure_told, console.data)
        if change.why_not:
            raise ServiceRefused(f"nothing was done: {change.why_not}")
        lines = [line for step in change.steps for line in str(step).splitlines()]
        lines += [f"mind: {remark}" for remark in change.remarks]
        word = ""
        if verb == "uninstall" or (verb == "stop" and exposed):
            word = verb.upper()
            open_now = exposed or "Nothing is open or locked"
            lines += ["", f"{open_now}. Without {change.name} nothing is enforced."]
            lines += await standing(console.data)
        await self.confirm(f"{verb.capitalize()} the service?", lines, word=word)
        if word and exposed:
            await ask_to_end(console.daemon, verb)
        with self.doing(f"the {verb} of the service", is_writing=True):
            await asyncio.to_thread(change.carry_out, lambda _: None)
        await self._show()
        self.report.tell([change.told_end])

    # --- the running daemon ---

    def action_reconnect(self) -> None:
        self.begin("reconnecting", self._reconnect)

    async def _reconnect(self) -> None:
        await self.confirm(
            "Open both streams anew?",
            ["Each stream is replaced by a new one; for a moment prices and orders may be late."],
        )
        with self.doing("opening the streams anew"):
            answer = await reconnect(self.console.daemon)
        await self._show()
        self._tell(told_hubs(answer), is_done=is_opened(answer))

    def action_drop_session(self) -> None:
        self.begin("dropping the session", self._drop_session)

    async def _drop_session(self) -> None:
        await self.confirm(
            "Log in anew and end the old token?",
            ["The streams move to the new token before the old one is ended."],
        )
        with self.doing("logging in anew"):
            answer = await drop_session(self.console.daemon)
        await self._show()
        is_done = bool(answer["old_token_ended"]) and is_opened(answer)
        self._tell(told_drop(answer), is_done=is_done)

    def action_reset_day(self) -> None:
        self.begin("resetting the day", self._reset_day)

    async def _reset_day(self) -> None:
        with self.doing("asking the daemon"):
            answer = await reset_day(self.console.daemon)
        await self._show()
        self.report.tell([told_day(answer)])

    def action_apply_files(self) -> None:
        self.begin("reading the files", self._apply_files)

    async def _apply_files(self) -> None:
        daemon = self.console.daemon
        with self.doing("comparing the files"):
            found = await ask_daemon(daemon, "preview_config", {})
        if not found["changes"]:
            raise GivenUp("no difference: the files are as the daemon has read them")
        await self.confirm("Have the daemon read this?", told_changes(found))
        with self.doing("having the daemon read it", is_writing=True):
            answer = await ask_daemon(daemon, "reload_config", {})
        await self._show()
        self.report.tell([told_reading(answer)])

    def _tell(self, lines: list[str], *, is_done: bool) -> None:
        if is_done:
            self.report.tell(lines)
        else:
            self.report.fail("; ".join(lines))
