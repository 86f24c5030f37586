"""Setting, testing and removing the login of the gateway."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from risk_manager.admin.folder import is_in_use
from risk_manager.admin.key_age import KeyAge, forget_key, note_key
from risk_manager.admin.rest_gateway import RestGateway
from risk_manager.admin.watched_accounts import watched_accounts
from risk_manager.redaction import conceal
from risk_manager.settings.configuration import Credentials, credentials_of
from risk_manager.settings.edits import FileEdit
from risk_manager.settings.loading import SETTINGS, load_gateway
from risk_manager.settings.problems import ConfigurationErrors
from risk_manager.settings.secrets import SecretReference, SecretUnavailable
from risk_manager.settings.settings_file import GatewaySettings
from risk_manager.settings.yaml_edits import section

DEFAULT_FILE = SecretReference("file", "gateway.key")
SHORTEST_KEY = 8


class GatewaySilent(Exception):
    """The gateway gave no usable answer to the login. Trying again may help."""


@dataclass(frozen=True, slots=True)
class LoginAccount:
    """An account of the login, and whether accounts.yaml has it watched."""

    id: int
    name: str
    can_trade: bool | None
    is_watched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedLogin:
    """A login that worked. `took_ms` is the time of login and listing together."""

    host: str
    took_ms: int
    accounts: tuple[LoginAccount, ...]
    missing: tuple[int, ...]
    age: KeyAge | None = None


@dataclass(slots=True, kw_only=True)
class NewCredentials:
    """Credentials to be set: where the key goes, and the edit of settings.yaml that says so.

    `overridden_by` are environment variables that win over settings.yaml.
    """

    credentials: Credentials
    reference: SecretReference
    edit: FileEdit
    overridden_by: tuple[str, ...] = field(default=())

    def store(self, data: Path, config: Path) -> None:
        """Keep the key, then write settings.yaml. Raises SecretUnavailable or EditFailed."""
        if self.reference.kind != "env":
            self.reference.store(self.credentials.api_key, config)
        if self.edit.is_changed:
            self.edit.write()
        if self.reference.kind != "env":
            key = self.credentials.api_key
            note_key(data, self.reference, key, config, datetime.now(UTC), is_new=True)


def place_for_the_key(gateway: GatewaySettings) -> SecretReference:
    """Return where a new key goes if nothing else is said: where the old one is, if it can."""
    return DEFAULT_FILE if gateway.api_key.kind == "env" else gateway.api_key


def known_username(gateway: GatewaySettings, config: Path, env: Mapping[str, str]) -> str | None:
    """Return the user name in force; None if there is none."""
    if isinstance(gateway.username, str):
        return gateway.username
    try:
        return gateway.username.resolve(env, config).get_secret_value()
    except SecretUnavailable:
        return None


def problem_with_key(key: str) -> str | None:
    """Return why this cannot be an API key; None if it can."""
    if len(key) < SHORTEST_KEY:
        return f"an API key has at least {SHORTEST_KEY} characters"
    if any(c.isspace() or not c.isprintable() for c in key):
        return "an API key has no spaces in it; was something else pasted?"
    return None


def new_credentials(
    config: Path, username: str, key: SecretStr, reference: SecretReference
) -> NewCredentials:
    """Prepare new credentials; nothing is written yet.

    Raises ConfigurationErrors if settings.yaml would not be valid, EditFailed or EditRefused.
    """
    conceal(key.get_secret_value())
    gateway = load_gateway(config)
    edit = FileEdit.begin(config, SETTINGS)
    changed = {}
    if known_username(gateway, config, os.environ) != username:
        changed["username"] = username
    if gateway.api_key != reference:
        changed["api_key"] = str(reference)
    if changed:
        edit.change(lambda data: section(data, "gateway").update(changed))
    try:
        edit.check()
    except ConfigurationErrors as errors:
        # Broken rules are no reason to refuse a key.
        if any(problem.file == SETTINGS for problem in errors.problems):
            raise
    return NewCredentials(
        credentials=Credentials(username, key),
        reference=reference,
        edit=edit,
        overridden_by=tuple(
            name
            for name in ("RISK_MANAGER_GATEWAY__USERNAME", "RISK_MANAGER_GATEWAY__API_KEY")
            if os.environ.get(name)
        ),
    )


async def try_stored(config: Path, data: Path) -> TriedLogin:
    """Log in with the credentials that are stored, and note the age of the key.

    Raises ConfigurationErrors, SecretUnavailable, LoginRefused or GatewaySilent.
    """
    gateway = load_gateway(config)
    credentials = credentials_of(gateway, config, os.environ)
    conceal(credentials.api_key.get_secret_value())
    tested = await try_login(config, data, credentials)
    try:
        now = datetime.now(UTC)
        age = note_key(data, gateway.api_key, credentials.api_key, config, now)
    except OSError:
        return tested  # the data folder is another user's
    return TriedLogin(
        host=tested.host,
        took_ms=tested.took_ms,
        accounts=tested.accounts,
        missing=tested.missing,
        age=age,
    )


async def try_login(config: Path, data: Path, credentials: Credentials) -> TriedLogin:
    """Log in once and list the accounts. Raises LoginRefused or GatewaySilent."""
    watched = watched_accounts(config, data, datetime.now(UTC)).names
    began = time.monotonic()
    async with RestGateway(load_gateway(config).api_url, credentials) as gateway:
        answer = await gateway.ask("/Account/search", {"onlyActiveAccounts": True})
        listed = answer.body.get("accounts")
        if not answer.is_done or not isinstance(listed, list):
            raise GatewaySilent(f"{gateway.host}: {answer.why or 'it lists no accounts'}")
        took_ms = round((time.monotonic() - began) * 1000)
        accounts = tuple(
            LoginAccount(
                a["id"], str(a.get("name") or ""), _yes(a.get("canTrade")), a["id"] in watched
            )
            for a in listed
            if isinstance(a, dict) and isinstance(a.get("id"), int)
        )
        missing = tuple(sorted(watched.keys() - {a.id for a in accounts}))
        return TriedLogin(host=gateway.host, took_ms=took_ms, accounts=accounts, missing=missing)


def told_login(tried: TriedLogin, now: datetime) -> list[str]:
    """Return what a login has shown, in lines."""
    can = {True: "may trade", False: "may NOT trade", None: "unknown whether it may trade"}
    lines = [f"logged in at {tried.host} in {tried.took_ms} ms"]
    for account in tried.accounts:
        watched = "watched" if account.is_watched else "not watched"
        lines.append(f"account {account.id} ({account.name}): {can[account.can_trade]}, {watched}")
    lines += [f"account {i} is watched and NOT in this login" for i in tried.missing]
    if tried.age is not None:
        lines.append(tried.age.reminder(now) or tried.age.told(now))
    return lines


def told_kept(new: NewCredentials, gateway: GatewaySettings, config: Path, data: Path) -> list[str]:
    """Return where new credentials are kept, and what to know about them, in lines.

    `gateway` are the settings before them.
    """
    reference = new.reference
    lines = [f"the key is kept in {reference.told(config)}; only this user may read it"]
    if reference.kind == "env":
        lines = [
            f"settings.yaml refers to {reference}: set {reference.place} where the daemon starts"
        ]
    return lines + remarks_on(new, gateway, data)


def remarks_on(new: NewCredentials, gateway: GatewaySettings, data: Path) -> list[str]:
    """Return what keeps new credentials from being used now."""
    remarks = []
    if gateway.kind == "practice":
        remarks.append("gateway.kind is practice: the login is not used until it is projectx")
    if is_in_use(data):
        remarks.append("the running daemon goes on with the old login until it is started again")
    return remarks + [f"{name} overrides it" for name in new.overridden_by]


def why_the_key_stays(data: Path) -> str | None:
    """Return why the key cannot be removed now; None if it can."""
    if not is_in_use(data):
        return None
    return (
        "a daemon guards with this key, and could not log in again without it; stop it first, "
        "or replace the key: risk-manager admin credentials set"
    )


def remove_key(config: Path, data: Path) -> tuple[SecretReference, bool]:
    """Remove the stored key. Returns its place, and False if there was none.

    Raises ConfigurationErrors or SecretUnavailable.
    """
    reference = load_gateway(config).api_key
    was_there = reference.erase(config)
    try:
        forget_key(data)
    except OSError as error:
        raise SecretUnavailable(
            f"the key is removed, but {data} cannot be written ({error.strerror})"
        ) from None
    return reference, was_there


def _yes(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
