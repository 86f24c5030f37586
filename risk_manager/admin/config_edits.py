"""Edits of the configuration files: validated whole, shown as a difference, written at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from risk_manager.settings.configuration import Configuration
from risk_manager.settings.loading import load
from risk_manager.settings.private_file import replace_file
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
            path = self.after.folder / name
            try:
                replace_file(path, text.encode())
            except OSError as error:
                reason = error.strerror or error
                raise EditRefused(f"{path} cannot be written: {reason}") from None


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
