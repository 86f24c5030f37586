"""How old the API key is: since when this key has been known, and when to renew it.

The data folder keeps that date beside a salted digest of the key, as only files have a date of
their own. The key itself is never kept here.
"""

import hmac
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from risk_manager.settings.private_file import write_private_file
from risk_manager.settings.secrets import SecretReference

FILE = "credentials.json"
REMIND_AFTER = timedelta(days=80)
RENEW_AFTER = timedelta(days=90)
RENEW = "make a new key on the platform, then run: risk-manager admin credentials set"


@dataclass(frozen=True, slots=True)
class KeyAge:
    """A key known since an instant."""

    since: datetime

    def days(self, now: datetime) -> int:
        return max((now - self.since).days, 0)

    def told(self, now: datetime) -> str:
        """Return the age in words."""
        match self.days(now):
            case 0:
                return "the key is known since today"
            case 1:
                return "the key is 1 day old"
            case days:
                return f"the key is {days} days old"

    def reminder(self, now: datetime) -> str | None:
        """Return a sentence once the key should be renewed; None before."""
        age = now - self.since
        if age < REMIND_AFTER:
            return None
        if age < RENEW_AFTER:
            return f"the API key is {self.days(now)} days old; renew it before {RENEW_AFTER.days}"
        return f"the API key is {self.days(now)} days old; renew it now"


def known_age(data: Path) -> KeyAge | None:
    """Return the age of the key that was last used with this data folder; None if not known."""
    kept = _read(data)
    return None if kept is None else KeyAge(kept[2])


def note_key(
    data: Path,
    reference: SecretReference | None,
    key: SecretStr,
    config: Path,
    now: datetime,
    *,
    is_new: bool = False,
) -> KeyAge:
    """Note a key that is in use now, and return its age. Raises OSError.

    A key seen before keeps its date. One that is not new is as old as the file it stands in.
    """
    kept = _read(data)
    if kept is not None and not is_new and hmac.compare_digest(_digest(kept[0], key), kept[1]):
        return KeyAge(kept[2])
    written_at = None if is_new or reference is None else reference.written_at(config)
    since = min(written_at or now, now)
    salt = secrets.token_hex(16)
    text = json.dumps({"salt": salt, "digest": _digest(salt, key), "since": since.isoformat()})
    write_private_file(data / FILE, text.encode())
    return KeyAge(since)


def forget_key(data: Path) -> None:
    """Remove what is kept about a key. Raises OSError."""
    (data / FILE).unlink(missing_ok=True)


def _digest(salt: str, key: SecretStr) -> str:
    return hmac.digest(salt.encode(), key.get_secret_value().encode(), "sha256").hex()


def _read(data: Path) -> tuple[str, str, datetime] | None:
    """Return salt, digest and date; None where they cannot be read."""
    try:
        kept = json.loads((data / FILE).read_text("utf-8"))
        since = datetime.fromisoformat(kept["since"])
        return str(kept["salt"]), str(kept["digest"]), since.astimezone(UTC)
    except (OSError, ValueError, KeyError, TypeError):
        return None
