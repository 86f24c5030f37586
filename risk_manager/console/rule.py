"""One rule: what it does in sentences, each value with its meaning, and edits of them."""

import asyncio
import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import OptionList

from risk_manager.admin.limit_proposals import set_values, shipped_values, switch_rule
from risk_manager.admin.rule_pages import ValueRow, page_of
from risk_manager.console.choice import Choice
from risk_manager.console.keys import bindings_of
from risk_manager.console.limits_page import LimitsPage
from risk_manager.console.text import Text
from risk_manager.settings.configuration import plain
from risk_manager.settings.loading import load
from risk_manager.settings.rule_edits import Path as KeyPath
from risk_manager.settings.yaml_edits import EditRefused, value_of

KEY_CELLS = 22


class RulePage(LimitsPage):
    page = "rule"
    BINDINGS = bindings_of("rule")

    def __init__(self, rule_id: str, account_id: int | None) -> None:
        super().__init__()
        self._rule_id = rule_id
        self.account_id = account_id
        self._rows: dict[str, ValueRow] = {}
        self._written: dict[str, str] = {}

    @property
    def heading(self) -> str:
        whose = "" if self.account_id is None else f", account {self.account_id} alone"
        return f"{self._rule_id}{whose}"

    def body(self) -> ComposeResult:
        yield Text(classes="facts")
        yield Choice()
        yield Text(classes="meaning")

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(Choice).focus()
        self.read("reading the rule", self.show)

    async def show(self) -> None:
        console = self.console
        with self.doing("reading the rule"):
            files = await asyncio.to_thread(load, console.config)
            now = datetime.now(UTC)
            page = await asyncio.to_thread(
                page_of, files, console.data, self._rule_id, self.account_id, now
            )
        self._rows = {row.key: row for row in page.rows}
        self._written = {key: _as_written(value) for key, value in plain(page.rule).items()}
        title = f"{page.rule.title} ({page.rule.spec_id}){page.remarks}"
        said = [title, page.rule.in_words() or page.about, *page.versions]
        self.query_one(".facts", Text).put(Content("\n").join(map(Content, said)))
        self.query_one(Choice).put([(row.key, _line(row)) for row in page.rows])

    @on(OptionList.OptionHighlighted)
    def _explain(self, highlighted: OptionList.OptionHighlighted) -> None:
        row = self._rows.get(highlighted.option_id or "")
        self.query_one(".meaning", Text).put(
            Content("" if row is None else f"{row.key}: {row.meaning or 'see docs/rules'}")
        )

    # --- edits ---

    def action_set_value(self) -> None:
        key = self.query_one(Choice).chosen
        if key is not None:
            self.begin("setting a value", lambda: self._set(key))

    def action_set_key(self) -> None:
        self.begin("setting a value", self._set_key)

    async def _set_key(self) -> None:
        key = await self.ask(
            "Key",
            lines=["As limit, or limits.MNQ for one value inside of another."],
            check=lambda given: None if all(given.split(".")) else f"{given!r} is no key",
        )
        await self._set(key)

    async def _set(self, key: str) -> None:
        row = self._rows.get(key)
        text = await self.ask(
            f"{key} of {self._rule_id}",
            lines=[
                *([row.meaning] if row is not None and row.meaning else []),
                *([f"now: {row.told}"] if row is not None else []),
                "written as in the file: 400, true, 30m, [RTY, CL], {MNQ: 2}",
            ],
            now=self._written.get(key, ""),
            check=_problem_with_value,
        )
        await self.carry_out(
            partial(
                set_values,
                self.console.config,
                self._rule_id,
                [(_path(key), value_of(text))],
                account_id=self.account_id,
            )
        )

    def action_unset_value(self) -> None:
        key = self.query_one(Choice).chosen
        if key is not None:
            make = partial(
                set_values,
                self.console.config,
                self._rule_id,
                [],
                [_path(key)],
                account_id=self.account_id,
            )
            self.begin("taking a value out", lambda: self.carry_out(make))

    def action_shipped(self) -> None:
        make = partial(shipped_values, self.console.config, self._rule_id)
        self.begin("giving the rule its shipped values", lambda: self.carry_out(make))

    def action_switch(self, is_on: bool) -> None:
        make = partial(
            switch_rule,
            self.console.config,
            self._rule_id,
            is_on=is_on,
            account_id=self.account_id,
        )
        self.begin("switching the rule", lambda: self.carry_out(make))


def _path(key: str) -> KeyPath:
    return tuple(key.strip().split("."))


def _as_written(value: Any) -> str:
    """Return a value in one line of YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def _problem_with_value(text: str) -> str | None:
    if not text:
        return "a value is needed; u takes the key out of the file"
    try:
        value_of(text)
    except EditRefused as error:
        return str(error)
    return None


def _line(row: ValueRow) -> Content:
    return Content.assemble(
        (f"{row.key:<{KEY_CELLS}} ", "bold"),
        row.value,
        ("" if row.origin == "written" else f"  ({row.origin})", "dim"),
    )
