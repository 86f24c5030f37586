"""Edits of accounts.yaml as a whole: what they change, write, and mean for the guard."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from risk_manager.admin import accounts
from risk_manager.admin.accounts import Guarded, NoSuchEdit, after_a_start, still_named
from risk_manager.admin.credentials import GatewaySilent, TriedLogin, try_stored
from risk_manager.admin.daemon_line import ToDaemon
from risk_manager.admin.edit_delivery import deliver_file
from risk_manager.admin.effective import told_time
from risk_manager.admin.rest_gateway import LoginRefused
from risk_manager.feed.client import FeedUnreachable, read_once
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.edits import FileEdit
from risk_manager.settings.loading import ACCOUNTS, load_gateway
from risk_manager.settings.secrets import SecretUnavailable
from risk_manager.settings.yaml_edits import Edit


class NotInTheLogin(NoSuchEdit):
    """The login does not have the account that is to be added."""


@dataclass(frozen=True, slots=True)
class AccountEdit:
    """A change of accounts.yaml, valid with the other files and not written yet.

    `wanted` says of each account concerned whether it shall be guarded.
    """

    edit: FileEdit
    after: Configuration
    wanted: Mapping[int, bool]
    remarks: tuple[str, ...]

    @property
    def is_changed(self) -> bool:
        return self.edit.is_changed

    @property
    def no_longer_guarded(self) -> list[int]:
        return [account_id for account_id, is_wanted in self.wanted.items() if not is_wanted]

    def classes(self, guarded: Guarded) -> list[str]:
        """Return a line for each account whose guard it changes: tighter or looser, and from when.

        A nickname alone limits nothing.
        """
        told = []
        before = guarded.until_reset | (guarded.now or frozenset())
        for account_id, is_wanted in self.wanted.items():
            is_guarded = account_id in before
            if is_wanted and not is_guarded:
                told.append(
                    f"account {account_id}: not guarded -> guarded, tighter, from the daemon's "
                    "next start"
                )
            elif not is_wanted and is_guarded:
                reset = f" ({told_time(guarded.reset)})" * (guarded.reset is not None)
                told.append(
                    f"account {account_id}: guarded -> not guarded, looser, at the reset{reset}"
                )
        return told

    async def deliver(self, data: Path, daemon: ToDaemon) -> dict[str, Any] | None:
        """Write it and have the daemon read it. Raises as `deliver_file`."""
        return await deliver_file(self.edit, data, daemon)

    async def effect(self, data: Path, url: str | None, answer: dict[str, Any] | None) -> list[str]:
        """Return from when the edit counts, in sentences. `answer` is what `deliver` returned."""
        return effect_of(self.wanted, await guarded_now(data, url), answer)


def prepare(
    config: Path, change: Edit, wanted: Mapping[int, bool], remark: str = ""
) -> AccountEdit:
    """Make a change without writing it.

    Raises NoSuchEdit, EditFailed, EditRefused, or ConfigurationErrors if the files would not be
    valid.
    """
    edit = FileEdit.begin(config, ACCOUNTS)
    edit.change(change)
    after = edit.check()
    remarks = [remark] * bool(remark)
    for account_id in [i for i in wanted if after.accounts.find(i) is None]:
        if keys := still_named(after, account_id):
            remarks.append(f"risk_config.yaml still names {account_id}: {', '.join(keys)}")
    return AccountEdit(edit, after, wanted, tuple(remarks))


def add(
    config: Path, account_id: int, nickname: str | None, *, enabled: bool = True, remark: str = ""
) -> AccountEdit:
    """Add an account to the list. Raises as `prepare`."""
    return prepare(
        config,
        lambda data: accounts.add(data, account_id, nickname, enabled=enabled),
        {account_id: enabled},
        remark,
    )


def change(
    config: Path,
    account_id: int,
    *,
    nickname: str | None = None,
    no_nickname: bool = False,
    new_id: int | None = None,
) -> AccountEdit:
    """Change the nickname or the number of an account. Raises as `prepare`."""

    def make(data: Any) -> None:
        if nickname or no_nickname:
            accounts.rename(data, account_id, nickname)
        if new_id:
            accounts.renumber(data, account_id, new_id)

    is_another = bool(new_id) and new_id != account_id
    wanted = {account_id: False, int(new_id or 0): True} if is_another else {}
    return prepare(config, make, wanted)


def remove(config: Path, account_id: int) -> AccountEdit:
    """Take an account out of the list. Raises as `prepare`."""
    return prepare(config, lambda data: accounts.remove(data, account_id), {account_id: False})


def switch(config: Path, account_id: int, *, enabled: bool) -> AccountEdit:
    """Enable or disable an account. Raises as `prepare`."""
    return prepare(
        config,
        lambda data: accounts.enable(data, account_id, enabled=enabled),
        {account_id: enabled},
    )


def effect_of(
    wanted: Mapping[int, bool], guarded: Guarded, answer: dict[str, Any] | None
) -> list[str]:
    """Return from when an edit counts, in sentences. `answer` is the daemon's; None: none runs."""
    if answer is None:
        return [after_a_start(i, guarded, is_wanted=is_wanted) for i, is_wanted in wanted.items()]
    told = []
    for account_id, is_wanted in wanted.items():
        is_guarded = account_id in (guarded.now or ())
        if is_wanted and not is_guarded:
            told.append(f"account {account_id} is NOT guarded before the daemon is started again")
        elif is_wanted:
            told.append(f"account {account_id} is guarded")
        elif is_guarded:
            reset = told_time(answer.get("next_reset") or guarded.reset)
            told.append(f"account {account_id} stays guarded until the reset ({reset})")
        else:
            told.append(f"account {account_id} is not guarded")
    return told or ["the daemon has read it; a nickname is shown after its next start"]


async def guarded_now(data: Path, url: str | None) -> Guarded:
    """Return what the running daemon guards; without one, what the next start would."""
    watched = None
    try:
        _, snapshot, _ = await read_once(data, url)
        watched = frozenset(account["account_id"] for account in snapshot["accounts"])
    except FeedUnreachable:
        pass
    return Guarded.read(data, watched, datetime.now(UTC))


async def remark_on_the_login(config: Path, data: Path, account_id: int) -> str:
    """Ask the gateway whether the login has an account. Raises NotInTheLogin if it has not.

    Returns a remark if it cannot be asked, else an empty text.
    """
    if load_gateway(config).kind == "practice":
        return ""
    try:
        login = await try_stored(config, data)
    except (SecretUnavailable, LoginRefused, GatewaySilent) as error:
        return f"whether the login has account {account_id} is not known: {error}"
    if account_id in (account.id for account in login.accounts):
        return ""
    known = ", ".join(f"{a.id} ({a.name})" for a in login.accounts) or "none"
    raise NotInTheLogin(f"account {account_id} is not in this login, which has {known}")


def with_the_login(found: list[dict[str, Any]], login: TriedLogin) -> list[dict[str, Any]]:
    """Add to the rows of `accounts.rows` whether the login has them, and rows for the others."""
    names = {account.id: account.name for account in login.accounts}
    known = {row["id"] for row in found}
    found = [{**row, "login": row["id"] in names} for row in found]
    return found + [
        {
            "id": account_id,
            "nickname": name,
            "listed": False,
            "enabled": False,
            "mode": None,
            "guarded": False,
            "guarded_until": None,
            "standing": "not guarded",
            "login": True,
        }
        for account_id, name in sorted(names.items())
        if account_id not in known
    ]


def told_account(row: Mapping[str, Any]) -> str:
    """Return how the account of one row stands, on one line."""
    if not row["listed"]:
        told = "not in accounts.yaml"
    else:
        told = row["mode"] if row["enabled"] else "disabled"
    told += {None: "", True: ", in the login", False: ", NOT in the login"}[row.get("login")]
    return f"{told}, {row['standing']}"
