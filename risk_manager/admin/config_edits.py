"""Edits of the configuration files: validated whole, shown as a difference, written at once."""

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from risk_manager.settings.configuration import Configuration
from risk_manager.settings.loading import load
from risk_manager.settings.problems import ConfigurationErrors
from risk_manager.settings.yaml_edits import Edit, EditRefused, edited


@dataclass(frozen=True, slots=True)
class Proposal:
    """Edited files that are valid together and not written yet.

    `read` and `texts` are the files to be replaced, as they were read and as they shall be.
    """

    before: Configuration
    after: Configuration
    read: Mapping[str, bytes]
    texts: Mapping[str, str]

    @property
    def difference(self) -> str:
        """The change as a unified difference; empty where nothing changes."""
        lines: list[str] = []
        for name, text in self.texts.items():
            old = self.read[name].decode("utf-8-sig").splitlines()
            lines += unified_diff(
                old, text.removeprefix("\ufeff").splitlines(), name, f"{name} (edited)", "", "", 1
            )
        return "\n".join(line.rstrip("\n") for line in lines)

    def write(self) -> None:
        """Replace the files. Raises EditRefused, and then the files are as they were.

        With two files to be replaced, a failure may leave only the first replaced.
        """
        for name, was in self.read.items():
            if _bytes_of(self.after.folder / name) != was:
                raise EditRefused(f"{name} was edited meanwhile; look at it, and try again")
        for name, text in self.texts.items():
            _replace_file(self.after.folder / name, text.encode())


def propose(folder: Path, edits: Mapping[str, Edit]) -> Proposal:
    """Make edits, by file name, without writing them.

    Raises EditRefused, or ConfigurationErrors if the files are not valid before it.
    """
    before = load(folder)
    read = {name: _bytes_of(folder / name) for name in edits}
    texts = {name: edited(name, read[name].decode("utf-8"), edits[name]) for name in edits}
    return proposal_of(before, read, texts)


def proposal_of(
    before: Configuration, read: Mapping[str, bytes], texts: Mapping[str, str]
) -> Proposal:
    """Check new texts of files together with the others. Raises EditRefused."""
    changed = {name: text for name, text in texts.items() if text.encode() != read[name]}
    try:
        after = load(before.folder, instead=changed) if changed else before
    except ConfigurationErrors as errors:
        told = "; ".join(f"{p.key}: {p.message}" for p in errors.problems)
        raise EditRefused(f"nothing was written, this would not be valid: {told}") from None
    return Proposal(before, after, {name: read[name] for name in changed}, changed)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EditRefused(f"{path} cannot be read: {error.strerror or error}") from None


def _replace_file(path: Path, content: bytes) -> None:
    """Replace a file by a whole new one, with the same mode; a link stays a link."""
    target = path.resolve()
    fresh = target.with_name(f".{target.name}.new")
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(mode)
        fresh.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise EditRefused(f"{path} cannot be written: {error.strerror or error}") from None
