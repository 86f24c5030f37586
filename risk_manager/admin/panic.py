"""A panic, through the daemon or without it.

Without it the gateway, the key and the accounts are found in whatever is readable. A broken rules
file refuses nothing here: only the gateway's section of settings.yaml and the login
must be usable.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from risk_manager.admin.daemon_line import ToDaemon, ask_daemon
from risk_manager.admin.flatten import Row, Say, flatten
from risk_manager.admin.order_effects import of_panic
from risk_manager.admin.rest_gateway import LoginRefused, RestGateway
from risk_manager.admin.watched_accounts import Watched, watched_accounts
from risk_manager.feed.client import AdminRefused, FeedUnreachable
from risk_manager.redaction import conceal
from risk_manager.settings.configuration import credentials_of
from risk_manager.settings.loading import load_gateway

TRY_FOR_S = 90.0
"""Longer than the minute for which the gateway may refuse requests as too many."""
LIST_AGAIN_S = 2.0
WAIT_S = 20.0
"""How long the daemon is waited for; it goes on trying afterwards."""


class NothingToReach(Exception):
    """There is no gateway outside the daemon, or no account to close. Nothing was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panic:
    """An order to close and cancel everything: of all watched accounts, or of one."""

    account_id: int | None = None
    is_locking: bool = True
    duration: str | None = None
    reason: str = "panic"

    async def by_the_daemon(self, daemon: ToDaemon, say: Say) -> dict[str, Any] | None:
        """Return the daemon's answer; None if it cannot do it, which is said.

        Raises AdminRefused.
        """
        params = {
            "account_id": "all" if self.account_id is None else self.account_id,
            "reason": self.reason,
            "wait_s": WAIT_S,
            "lock": self.is_locking,
            "duration": self.duration,
        }
        try:
            result = await ask_daemon(daemon, "close_all", params, timeout_s=WAIT_S + 10)
        except FeedUnreachable as error:
            say(str(error))
            return None
        except AdminRefused as refused:
            # An account that the daemon does not watch is closed all the same if it is named.
            if refused.code not in ("starting", "internal", "unknown_account"):
                raise
            say(refused.message)
            return None
        return {"daemon": True, **result}


def told_panic(result: Mapping[str, Any], now: datetime) -> Iterator[str]:
    """Yield what was closed, what was not, and what to do next, in lines."""
    for row in result.get("report", ()):
        yield from of_panic(row, now)
    for account_id in result.get("locked", ()):
        yield (
            f"account {account_id}: locked flat; an administrator lifts it with: risk-manager "
            f"admin lockouts clear --account {account_id} --reason TEXT"
        )
    for other in result.get("left_alone", ()):
        yield (
            f"account {other['account_id']} ({other['name']}) is in this login and not watched: "
            f"left alone (panic --account {other['account_id']} closes it)"
        )
    if not result["daemon"]:
        yield "no lock was set, and nobody guards as long as no daemon runs: risk-manager run"


async def panic_without_daemon(
    config: Path,
    data: Path,
    account_id: int | None = None,
    *,
    try_for_s: float = TRY_FOR_S,
    env: Mapping[str, str] | None = None,
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Close and cancel everything of one account, or of all watched ones, and verify it.

    Raises ConfigurationErrors, SecretUnavailable, LoginRefused or NothingToReach if nothing can be
    done at all. Everything else is in the answer, account by account.
    """
    env = os.environ if env is None else env
    settings = load_gateway(config, env)
    if settings.kind == "practice":
        raise NothingToReach(
            "the practice gateway runs inside the daemon: without it nothing is open there"
        )
    credentials = credentials_of(settings, config, env)
    conceal(credentials.api_key.get_secret_value())
    watched = watched_accounts(config, data, datetime.now(UTC))
    async with RestGateway(settings.api_url, credentials) as gateway:
        say(f"closing and cancelling at {gateway.host}, for {try_for_s:.0f} s at most")
        if account_id is not None:
            name = watched.names.get(account_id, str(account_id))
            rows = await flatten(gateway, {account_id: name}, limit_s=try_for_s, say=say)
            left_alone: dict[int, str] = {}
        else:
            rows = await _everywhere(gateway, watched, try_for_s, say)
            done = {row["account_id"] for row in rows}
            listed = await _login_accounts(gateway, limit_s=0)
            left_alone = {i: name for i, name in listed.items() if i not in done}
    return {
        "accepted": True,
        "daemon": False,
        "gateway": gateway.host,
        "accounts": [row["account_id"] for row in rows],
        "locked": [],
        "report": rows,
        "left_alone": [{"account_id": i, "name": name} for i, name in left_alone.items()],
    }


async def _everywhere(
    gateway: RestGateway, watched: Watched, try_for_s: float, say: Say
) -> list[Row]:
    """Flatten the watched accounts; the unlisted ones as soon as they are known, if they count."""
    names = dict(watched.names)
    if watched.is_known and not watched.unlisted_too:
        return await flatten(gateway, names, limit_s=try_for_s, say=say)
    if not watched.is_known:
        say("no file tells which accounts are watched: this is done in all accounts of the login")

    async def the_others() -> list[Row]:
        began = asyncio.get_running_loop().time()
        listed = await _login_accounts(gateway, limit_s=try_for_s)
        others = {i: name for i, name in listed.items() if i not in names}
        left_s = try_for_s - (asyncio.get_running_loop().time() - began)
        return await flatten(gateway, others, limit_s=left_s, say=say) if others else []

    known, others = await asyncio.gather(
        flatten(gateway, names, limit_s=try_for_s, say=say), the_others()
    )
    if not known and not others:
        raise NothingToReach(
            f"the accounts of this login cannot be listed at {gateway.host}, and no file names "
            "one; name it with --account, or close by hand in the platform"
        )
    return known + others


async def _login_accounts(gateway: RestGateway, *, limit_s: float) -> dict[int, str]:
    """Return the active accounts of the login; empty if they cannot be had within the time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit_s
    while True:
        try:
            answer = await gateway.ask("/Account/search", {"onlyActiveAccounts": True})
        except LoginRefused:
            if limit_s:
                raise
            return {}
        listed = answer.body.get("accounts")
        if answer.is_done and isinstance(listed, list):
            return {
                a["id"]: str(a.get("name") or a["id"])
                for a in listed
                if isinstance(a, dict) and isinstance(a.get("id"), int)
            }
        if loop.time() + LIST_AGAIN_S > end:
            return {}
        await asyncio.sleep(LIST_AGAIN_S)
