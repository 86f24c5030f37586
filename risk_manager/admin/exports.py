"""Files for somebody else: the audit as it is stored, and the logs without account numbers."""

import contextlib
import gzip
import json
import os
import re
import sqlite3
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO

from risk_manager.admin.history import account_names
from risk_manager.admin.records import audit_verdict, database_in
from risk_manager.logs import FILES
from risk_manager.redaction import redact
from risk_manager.settings.configuration import Configuration
from risk_manager.store.rows import instant
from risk_manager.store.schema import StoreError
from risk_manager.store.upkeep import open_reader

_NEVER = re.compile(r"(?!)")


class ExportRefused(Exception):
    """The export cannot be made; the message is one line for a person."""


def export_audit(data: Path, to: Path) -> dict[str, Any]:
    """Write every audit row as a line of JSON, and return what the check of the chain says.

    `old` and `new` stay the stored text, over which the hash of each row is formed. Raises
    StoreError, or ExportRefused where the file cannot be written.
    """
    verdict = audit_verdict(data)
    rows = 0
    with (
        TextIOWrapper(_new_file(to), encoding="utf-8", newline="\n") as file,
        open_reader(database_in(data)) as connection,
    ):
        try:
            for row in connection.execute(
                "SELECT id, at, actor, action, target, old, new, ok, hash FROM audit ORDER BY id"
            ):
                seq, at, actor, action, target, old, new, ok, digest = row
                entry = {"id": seq, "at_us": at, "at": instant(at).isoformat(), "actor": actor,
                         "action": action, "target": target, "old": old, "new": new,
                         "ok": bool(ok), "hash": digest}  # fmt: skip
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
                rows += 1
        except sqlite3.Error as error:
            raise StoreError(f"the audit rows cannot be read: {error}") from error
    return {"file": str(to), "rows": rows, **verdict}


class AccountMask:
    """Replaces account numbers and the gateway's account names in text by "account-1" and so on."""

    def __init__(self, accounts: Mapping[int, str]) -> None:
        self._instead: dict[str, str] = {}
        for place, account_id in enumerate(sorted(accounts), start=1):
            name = accounts[account_id]
            self._instead[str(account_id)] = f"account-{place}"
            if any(c.isdigit() for c in name):  # a name such as "practice" is an ordinary word
                self._instead.setdefault(name, f"account-{place}-name")
        words = sorted(map(re.escape, self._instead), key=len, reverse=True)
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)") if words else _NEVER

    def __call__(self, text: str) -> str:
        return self._pattern.sub(lambda found: self._instead[found[0]], text)

    def line(self, text: str) -> str:
        """Return a line of a log masked; a line of JSON stays one."""
        try:
            entry = json.loads(text)
        except ValueError:
            return self(text)
        return json.dumps(self._value(entry), ensure_ascii=False) + "\n"

    def _value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self(key): self._value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item) for item in value]
        if isinstance(value, str):
            return self(value)
        is_account = isinstance(value, int) and not isinstance(value, bool)
        return self._instead.get(str(value), value) if is_account else value


def known_accounts(data: Path, configuration: Configuration | None) -> dict[int, str]:
    """Return every account that logs may name, with the gateway's name where it is stored."""
    listed = () if configuration is None else configuration.accounts.accounts
    found = {account.id: "" for account in listed}
    with contextlib.suppress(StoreError):  # the logs are wanted most when the database is not whole
        found |= account_names(data)
    return found


def export_logs(data: Path, to: Path, accounts: Mapping[int, str]) -> dict[str, Any]:
    """Pack the logs into a zip file, with keys, account numbers and names masked.

    Raises ExportRefused.
    """
    folder = data / "logs"
    mask = AccountMask(accounts)
    packed: dict[str, int] = {}
    found = sorted(p for name in FILES for p in folder.glob(f"{name}.log*") if p.is_file())
    if not found:
        raise ExportRefused(f"there are no logs in {folder}; is this the daemon's data folder?")
    try:
        with (
            _new_file(to) as target,
            zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for path in found:
                name = path.name.removesuffix(".gz")
                lines = 0
                with archive.open(name, "w") as file:
                    for line in _lines(path):
                        file.write(mask.line(redact(line)).encode("utf-8", "replace"))
                        lines += 1
                packed[name] = lines
    except OSError as error:
        raise ExportRefused(f"{to} cannot be made: {error.strerror or error}") from None
    return {"file": str(to), "lines": packed, "accounts_masked": len(accounts)}


def default_name(what: str, ending: str) -> Path:
    """Return a file name for an export of now, in the folder of the caller."""
    return Path(f"risk-manager-{what}-{datetime.now(UTC):%Y%m%d-%H%M%S}.{ending}")


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as raw:
        source = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        for line in source:
            yield line.decode("utf-8", "replace")


def _new_file(to: Path) -> BinaryIO:
    """Create a file that only its owner can read."""
    if not to.absolute().parent.is_dir():
        raise ExportRefused(f"there is no folder {to.absolute().parent}; give another with --to")
    try:
        return os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise ExportRefused(f"{to} is there already; give another name with --to") from None
    except OSError as error:
        raise ExportRefused(f"{to} cannot be written: {error.strerror or error}") from None
