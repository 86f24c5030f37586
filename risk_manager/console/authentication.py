"""The gateway's login and the admin password."""

import asyncio
import os
from datetime import UTC, datetime

from pydantic import SecretStr

from risk_manager.admin.credentials import (
    known_username,
    new_credentials,
    place_for_the_key,
    problem_with_key,
    remove_key,
    told_kept,
    told_login,
    try_login,
    try_stored,
    why_the_key_stays,
)
from risk_manager.admin.key_age import known_age
from risk_manager.admin.password_change import is_password_set
from risk_manager.console.failures import GivenUp
from risk_manager.console.keys import bindings_of
from risk_manager.console.menu import EntriesPage
from risk_manager.console.password_setting import set_password
from risk_manager.settings.loading import load_gateway
from risk_manager.settings.secrets import HOW, SecretReference, parse_reference


class AuthenticationPage(EntriesPage):
    page = "authentication"
    BINDINGS = bindings_of("authentication")

    def on_mount(self) -> None:
        super().on_mount()
        self.read("reading the settings", self._show)

    async def _show(self) -> None:
        console, now = self.console, datetime.now(UTC)
        gateway = await asyncio.to_thread(load_gateway, console.config)
        username = known_username(gateway, console.config, os.environ)
        lines = [
            f"gateway    {gateway.kind}, {gateway.api_url}",
            f"user name  {username or f'{gateway.username} (not set here)'}",
            f"API key    {gateway.api_key.told(console.config)}",
        ]
        age = await asyncio.to_thread(known_age, console.data)
        if age is not None:
            lines[-1] += f"; {age.reminder(now) or age.told(now)}"
        self.put_facts(lines)
        is_set = await is_password_set(console.data, console.daemon)
        # A connection on which somebody has signed in needs none any more.
        known = console.has_password or is_set
        self.put_facts([*lines, f"password   {'set' if known else 'NOT set: press p'}"])

    # --- the login ---

    def action_set_login(self) -> None:
        self.begin("setting the login", self._set_login)

    async def _set_login(self) -> None:
        console = self.console
        gateway = await asyncio.to_thread(load_gateway, console.config)
        username = await self.ask(
            "User name of the gateway",
            now=known_username(gateway, console.config, os.environ) or "",
            check=lambda given: None if given else "a user name is needed",
        )
        place = await self.ask(
            "Where the key is kept",
            lines=[
                "file:PATH             a file that only this user may read",
                "keyring:SERVICE/USER  the system's key store",
                "env:NAME              nothing is kept: you set the variable",
            ],
            now=str(place_for_the_key(gateway)),
            check=_problem_with_place,
        )
        reference = parse_reference(place)
        key = await self._asked_key(reference)
        new = await asyncio.to_thread(new_credentials, console.config, username, key, reference)
        lines: list[str] = []
        if key.get_secret_value():
            with self.doing("logging in with it"):
                tried = await try_login(console.config, console.data, new.credentials)
            lines = told_login(tried, datetime.now(UTC))
        difference = new.edit.difference()
        await self.confirm(
            "Keep this login?", [*difference, *lines, f"kept in: {reference.told(console.config)}"]
        )
        with self.doing("keeping it", is_writing=True):
            await asyncio.to_thread(new.store, console.data, console.config)
        kept = await asyncio.to_thread(told_kept, new, gateway, console.config, console.data)
        await self._show()
        self.report.tell(kept)

    async def _asked_key(self, reference: SecretReference) -> SecretStr:
        if reference.kind == "env":
            return SecretStr(os.environ.get(reference.place, ""))
        return SecretStr(
            await self.ask(
                "API key (not shown)",
                hidden=True,
                check=lambda given: problem_with_key(given.strip()),
            )
        )

    def action_test_login(self) -> None:
        self.begin("testing the login", self._test_login)

    async def _test_login(self) -> None:
        with self.doing("logging in"):
            tried = await try_stored(self.console.config, self.console.data)
        self.report.tell(told_login(tried, datetime.now(UTC)))

    def action_remove_key(self) -> None:
        self.begin("removing the key", self._remove_key)

    async def _remove_key(self) -> None:
        console = self.console
        if (why := await asyncio.to_thread(why_the_key_stays, console.data)) is not None:
            raise GivenUp(why)
        reference = (await asyncio.to_thread(load_gateway, console.config)).api_key
        await self.confirm(
            "Remove the key?",
            [
                f"The key in {reference} is removed.",
                "Without it no daemon can start, and nothing is guarded.",
            ],
            word="DELETE",
        )
        with self.doing("removing it", is_writing=True):
            _, was_there = await asyncio.to_thread(remove_key, console.config, console.data)
        await self._show()
        self.report.tell(
            [f"removed: {reference}" if was_there else f"there was no key in {reference}"]
        )

    # --- the password ---

    def action_change_password(self) -> None:
        self.begin("setting the password", self._change_password)

    async def _change_password(self) -> None:
        console = self.console
        is_set = console.has_password or await is_password_set(console.data, console.daemon)
        told = await set_password(self, is_first=not is_set)
        console.has_password = True
        await self._show()
        self.report.tell([told])


def _problem_with_place(place: str) -> str | None:
    try:
        parse_reference(place)
    except ValueError:
        # What was given may be the key itself, and is not repeated.
        return f"this is a place, never the key: {HOW}"
    return None
