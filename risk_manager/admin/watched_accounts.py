"""Which accounts are watched, as far as files tell, for when no daemon can be asked.

A file with errors is read as far as possible: a wrong key beside an account hides no account.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from risk_manager.settings.commitment import Commitment
from risk_manager.settings.documents import Document, parse, read
from risk_manager.settings.loading import ACCOUNTS
from risk_manager.store.place import database_of

LIMITS_FILE = "limits.json"


@dataclass(frozen=True, slots=True)
class Watched:
    """Names by account id. `is_known` is False if no file tells which accounts are watched.

    `unlisted_too`: the other accounts of the login are watched as well.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    unlisted_too: bool = False
    is_known: bool = False

    def beside(self, other: "Watched") -> "Watched":
        """Return the accounts that are watched by either."""
        return Watched(
            {**other.names, **self.names},
            self.unlisted_too or other.unlisted_too,
            self.is_known or other.is_known,
        )


def watched_accounts(config: Path, data: Path, now: datetime) -> Watched:
    """Return the accounts enabled in accounts.yaml, and those guarded until the next reset."""
    found = _in_document(read(config, ACCOUNTS))
    for text in _texts_in_force(data, now):
        document = Document(ACCOUNTS)
        parse(document, text.encode())
        found = found.beside(_in_document(document))
    return found


def _texts_in_force(data: Path, now: datetime) -> list[str]:
    """Return each version of accounts.yaml that the daemon last had in force."""
    try:
        path = database_of(data).parent / LIMITS_FILE
        commitment = Commitment.read(path.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    with contextlib.suppress(ValueError):  # the rules are unreadable; the accounts may not be
        commitment = commitment.as_of(commitment.trading_date(now))
    versions = (commitment.in_force, *commitment.between.values(), commitment.waiting or {})
    return [texts[ACCOUNTS] for texts in versions if ACCOUNTS in texts]


def _in_document(document: Document) -> Watched:
    data = document.data
    listed = data.get("accounts") if isinstance(data, dict) else None
    if not isinstance(listed, list):
        return Watched()
    names = {
        item["id"]: _name(item)
        for item in listed
        if isinstance(item, dict) and _is_id(item.get("id")) and item.get("enabled") is not False
    }
    return Watched(names, data.get("unlisted") == "enforce", is_known=bool(names))


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _name(item: Mapping[str, Any]) -> str:
    nickname = item.get("nickname")
    return nickname if isinstance(nickname, str) and nickname else str(item["id"])
