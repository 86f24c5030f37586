"""The accounts of accounts.yaml: how each stands, and the edits an administrator makes."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from risk_manager.admin.effective import told_time
from risk_manager.admin.watched_accounts import LIMITS_FILE
from risk_manager.settings.commitment import Commitment
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.loading import ACCOUNTS
from risk_manager.store.place import database_of

LIST = "accounts"


class NoSuchEdit(Exception):
    """The edit makes no sense for the accounts that are there. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """What is known of the guard: `now` are the accounts the running daemon guards (None: no daemon
    runs), `until_reset` those in the limits in force, and `reset` when others come into force."""

    now: frozenset[int] | None
    until_reset: frozenset[int]
    reset: datetime | None

    @classmethod
    def read(cls, data: Path, watched: frozenset[int] | None, at: datetime) -> "Guarded":
        """From the data folder. Without a commitment there nothing is guarded until a reset."""
        try:
            text = (database_of(data).parent / LIMITS_FILE).read_text("utf-8")
            commitment = Commitment.read(text)
            commitment = commitment.as_of(commitment.trading_date(at))
            newest = commitment.newest_read()
            if newest is None:
                return cls(watched, frozenset(), None)
            in_force = frozenset(commitment.rulebook(newest).accounts)
            return cls(watched, in_force, commitment.next_reset(at))
        except (OSError, ValueError):
            return cls(watched, frozenset(), None)


def rows(configuration: Configuration, guarded: Guarded) -> list[dict[str, Any]]:
    """Return one row for each account that is listed, and for each guarded one that is not."""
    listed = configuration.accounts.accounts
    known = {account.id for account in listed}
    found = [
        {
            "id": account.id,
            "nickname": account.nickname,
            "listed": True,
            "enabled": account.enabled,
            "mode": str(configuration.mode_of(account.id)),
            **_standing(account.id, guarded, is_wanted=account.enabled),
        }
        for account in listed
    ]
    others = (guarded.until_reset if guarded.now is None else guarded.now) - known
    found += [
        {
            "id": account_id,
            "nickname": None,
            "listed": False,
            "enabled": False,
            "mode": None,
            **_standing(
                account_id, guarded, is_wanted=configuration.accounts.unlisted == "enforce"
            ),
        }
        for account_id in sorted(others)
    ]
    return found


def _standing(account_id: int, guarded: Guarded, *, is_wanted: bool) -> dict[str, Any]:
    reset = told_time(guarded.reset)
    is_held = account_id in guarded.until_reset
    until = guarded.reset.isoformat() if guarded.reset and is_held and not is_wanted else None
    if guarded.now is None:
        is_guarded = False
        if is_wanted:
            told = "not guarded now: no daemon runs"
        elif is_held:
            told = f"not guarded now: no daemon runs; one would guard it until the reset ({reset})"
        else:
            told = "not guarded"
    else:
        is_guarded = account_id in guarded.now
        if is_guarded:
            told = "guarded" if is_wanted else f"guarded until the reset ({reset})"
        elif is_wanted:
            told = "NOT guarded before the daemon is started again"
        else:
            told = "not guarded"
    return {"guarded": is_guarded, "guarded_until": until, "standing": told}


def after_a_start(account_id: int, guarded: Guarded, *, is_wanted: bool) -> str:
    """Return what an edit means for an account while no daemon runs."""
    if is_wanted:
        return f"account {account_id} is guarded from the daemon's next start"
    if account_id in guarded.until_reset:
        return (
            f"account {account_id} stays guarded until the reset ({told_time(guarded.reset)}), "
            "also if the daemon is started before"
        )
    return f"account {account_id} is not guarded"


# --- edits of the data of accounts.yaml -----------------------------------------------------------


def add(data: Any, account_id: int, nickname: str | None, *, enabled: bool) -> None:
    """Add an account to the list. Raises NoSuchEdit."""
    _require_none(data, account_id)
    named = {} if nickname is None else {"nickname": nickname}
    _items(data).append({"id": account_id, **named, "enabled": enabled})


def remove(data: Any, account_id: int) -> None:
    """Take an account out of the list. Raises NoSuchEdit."""
    item = _item(data, account_id)
    if len(_items(data)) == 1:
        raise NoSuchEdit(
            f"{account_id} is the only account in {ACCOUNTS}, which must name one; add the other "
            "one first, or disable this one"
        )
    _items(data).remove(item)


def enable(data: Any, account_id: int, *, enabled: bool) -> None:
    """Switch an account on or off. Raises NoSuchEdit."""
    item = _item(data, account_id)
    if item.get("enabled", True) is not enabled:
        item["enabled"] = enabled


def rename(data: Any, account_id: int, nickname: str | None) -> None:
    """Give an account another nickname; None for none. Raises NoSuchEdit."""
    item = _item(data, account_id)
    if nickname is not None:
        item["nickname"] = nickname
    else:
        item.pop("nickname", None)


def renumber(data: Any, account_id: int, new_id: int) -> None:
    """Put another id in place of one, as after the firm has reset an account.

    Raises NoSuchEdit.
    """
    item = _item(data, account_id)
    if new_id != account_id:
        _require_none(data, new_id)
    item["id"] = new_id


def still_named(configuration: Configuration, account_id: int) -> list[str]:
    """Return the keys of risk_config.yaml that name an account, for when it is not listed."""
    keys = [f"accounts.{account_id}"] if account_id in configuration.risk.accounts else []
    return keys + [
        f"rules[{rule.id}].accounts"
        for rule in configuration.rules
        if rule.accounts is not None and account_id in rule.accounts
    ]


def _item(data: Any, account_id: int) -> dict[str, Any]:
    item = _find(data, account_id)
    if item is None:
        known = ", ".join(str(item.get("id")) for item in _items(data)) or "none"
        raise NoSuchEdit(f"account {account_id} is not in {ACCOUNTS}; there are {known}")
    return item


def _require_none(data: Any, account_id: int) -> None:
    if _find(data, account_id) is not None:
        raise NoSuchEdit(f"account {account_id} is in {ACCOUNTS} already")


def _find(data: Any, account_id: int) -> dict[str, Any] | None:
    return next((item for item in _items(data) if item.get("id") == account_id), None)


def _items(data: Any) -> list[dict[str, Any]]:
    listed = data.get(LIST) if isinstance(data, dict) else None
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise NoSuchEdit(
            f"{ACCOUNTS} has no list of accounts; check it with: risk-manager admin config validate"
        )
    return listed
