"""Tests of everything the guard is connected to, each with its time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from risk_manager.admin.checkup import checkup
from risk_manager.admin.credentials import told_login, try_stored
from risk_manager.admin.daemon_line import ask_daemon
from risk_manager.admin.finding import Finding, Grade
from risk_manager.console.failures import in_one_line
from risk_manager.console.keys import bindings_of
from risk_manager.console.page import Page
from risk_manager.console.text import Text
from risk_manager.feed.client import read_once
from risk_manager.settings.loading import load_gateway

_COLOURS = {Grade.OK: "$text-success", Grade.WARN: "$text-warning", Grade.FAIL: "$text-error"}


@dataclass(frozen=True, slots=True)
class Tried:
    """One test that has ended."""

    name: str
    is_ok: bool
    took_ms: int
    found: tuple[str, ...]


class ConnectionPage(Page):
    page = "connection"
    BINDINGS = bindings_of("connection")

    def body(self) -> ComposeResult:
        with VerticalScroll():
            yield Text(classes="facts")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(VerticalScroll).focus()
        self.action_again()

    def action_again(self) -> None:
        self.begin("testing", self._test)

    async def _test(self) -> None:
        tests: tuple[tuple[str, Callable[[], Awaitable[list[str]]]], ...] = (
            ("gateway login", self._gateway),
            ("daemon, feed", self._feed),
            ("daemon, admin channel", self._admin),
        )
        done: list[Tried] = []
        for name, test in tests:
            with self.doing(f"testing: {name}"):
                done.append(await self._tried(name, test))
            self._put([line for tried in done for line in _lines(tried)])
        failed = [tried.name for tried in done if not tried.is_ok]
        if failed:
            self.report.fail(f"{', '.join(failed)}; d checks everything, with the fix")
        else:
            self.report.tell(["all passed"])

    async def _tried(self, name: str, test: Callable[[], Awaitable[list[str]]]) -> Tried:
        began = time.monotonic()
        try:
            found, is_ok = await test(), True
        except Exception as error:  # one test that fails must not keep the others from running
            found, is_ok = [in_one_line(error, self.console.data)], False
        return Tried(name, is_ok, round((time.monotonic() - began) * 1000), tuple(found))

    async def _gateway(self) -> list[str]:
        console = self.console
        if (await asyncio.to_thread(load_gateway, console.config)).kind == "practice":
            return ["the practice gateway runs inside the daemon"]
        tried = await try_stored(console.config, console.data)
        return told_login(tried, datetime.now(UTC))

    async def _feed(self) -> list[str]:
        status, snapshot, _ = await read_once(self.console.data, self.console.url)
        hubs = [f"{name} stream {hub['state']}" for name, hub in snapshot["hubs"].items()]
        return [f"daemon {status.status}", *hubs]

    async def _admin(self) -> list[str]:
        await ask_daemon(self.console.daemon, "status")
        return ["it answers"]

    def action_doctor(self) -> None:
        self.begin("the doctor", self._doctor)

    async def _doctor(self) -> None:
        console = self.console
        with self.doing("checking everything"):
            findings = await asyncio.to_thread(checkup, console.config, console.data)
        self._put([_finding(finding) for finding in findings])
        failed = sum(finding.grade is Grade.FAIL for finding in findings)
        if failed:
            self.report.fail(f"{failed} of {len(findings)} checks")
        else:
            self.report.tell([f"{len(findings)} checks, none failed"])

    def _put(self, lines: list[Content]) -> None:
        self.query_one(".facts", Text).put(Content("\n").join(lines))


def _lines(tried: Tried) -> list[Content]:
    word, colour = ("ok  ", "$text-success") if tried.is_ok else ("FAIL", "$text-error")
    head = Content.assemble((f"{word}  ", f"bold {colour}"), f"{tried.name:<24}{tried.took_ms} ms")
    return [head, *(Content(f"        {line}") for line in tried.found)]


def _finding(finding: Finding) -> Content:
    fix = f"; {finding.fix}" if finding.fix else ""
    return Content.assemble(
        (f"{finding.grade:<4}  ", f"bold {_COLOURS[finding.grade]}"),
        (f"{finding.check}: ", "bold"),
        f"{finding.found}{fix}",
    )
