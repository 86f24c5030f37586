"""Checks a packed incident: every file against the list of hashes, and the audit rows' chain."""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from risk_manager.admin.exports import ExportRefused
from risk_manager.admin.incident import AUDIT, SUMMARY, SUMS
from risk_manager.store import audit
from risk_manager.store.audit import Head

_AT_ONCE = 1 << 20


def check_incident(path: Path) -> dict[str, Any]:
    """Return what is wrong with a packed incident, and the hash of its list of hashes.

    The list proves the files only to somebody who knows its hash from elsewhere, as from the one
    who packed it. Raises ExportRefused where the file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if SUMS not in names or SUMMARY not in names:
                raise ExportRefused(f"{path} is no packed incident: {SUMS} or {SUMMARY} is missing")
            sums = archive.read(SUMS)
            problems = list(_differences(archive, names, sums.decode("utf-8", "replace")))
            summary = json.loads(archive.read(SUMMARY))
            is_masked = summary["is_masked"] is True
            if not is_masked:
                problems += _breaks(archive, summary["audit"])
    except ExportRefused:
        raise
    except OSError as error:
        raise ExportRefused(f"{path} cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise ExportRefused(f"{path} is no packed incident, or damaged: {error}") from None
    return {
        "ok": not problems,
        "problems": problems,
        "files": len(names),
        "sums": hashlib.sha256(sums).hexdigest(),
        "is_masked": is_masked,
        "head": summary["audit"]["head"],
    }


def _differences(archive: zipfile.ZipFile, names: list[str], sums: str) -> Iterator[str]:
    lines = (line.split("  ", 1) for line in sums.splitlines())
    listed = {name: digest for digest, name in lines}
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield f"{name} is there more than once"
    for name in sorted(set(names) - listed.keys() - {SUMS}):
        yield f"{name} is not in {SUMS}"
    for name, digest in sorted(listed.items()):
        if name not in names:
            yield f"{name} is missing"
        elif _sha256(archive, name) != digest:
            yield f"{name} is not as it was packed"


def _sha256(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as file:
        while part := file.read(_AT_ONCE):
            digest.update(part)
    return digest.hexdigest()


def _breaks(archive: zipfile.ZipFile, told: dict[str, Any]) -> Iterator[str]:
    """Yield where the packed rows of the audit do not follow from one another."""
    head: Head | None = None
    with archive.open(AUDIT) as file:
        for line in file:
            row = json.loads(line)
            seq, digest = int(row["id"]), str(row["hash"])
            if head is None and told["hash_before"] is not None:
                head = Head(seq - 1, str(told["hash_before"]))
            if head is not None:
                columns = (
                    row["at_us"], row["actor"], row["action"], row["target"], row["old"],
                    row["new"], int(row["ok"]),
                )  # fmt: skip
                if audit.followed(head, columns) != Head(seq, digest):
                    yield f"{AUDIT}: row {seq} does not follow from the row before it"
                    return
            head = Head(seq, digest)
    if (None if head is None else head.hash) != told["hash_last"]:
        yield f"{AUDIT}: the last row is not the one that {SUMMARY} names"
