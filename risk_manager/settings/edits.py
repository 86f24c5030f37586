"""Edits of a configuration file by a command: checked as a whole first, shown, written at once."""

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from risk_manager.settings.configuration import Configuration
from risk_manager.settings.loading import load
from risk_manager.settings.private_file import replace_file
from risk_manager.settings.yaml_edits import Edit, edited

CONTEXT_LINES = 2


class EditFailed(Exception):
    """The file cannot be read or written, or has changed meanwhile. Nothing was changed."""


@dataclass(slots=True)
class FileEdit:
    """One file of the configuration folder under edit.

    `change` edits the text; `check` loads all files with it, `write` replaces the file.
    """

    folder: Path
    name: str
    before: bytes
    text: str

    @classmethod
    def begin(cls, folder: Path, name: str) -> "FileEdit":
        """Read the file. Raises EditFailed."""
        try:
            raw = (folder / name).read_bytes()
            text = raw.decode()
        except FileNotFoundError:
            raise EditFailed(
                f"{name}: no such file in {folder}; give the folder with --config"
            ) from None
        except OSError as error:
            raise EditFailed(f"{folder / name} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise EditFailed(f"{name} is not UTF-8 text; save the file as UTF-8") from None
        return cls(folder, name, raw, text)

    def change(self, edit: Edit) -> None:
        """Change the data of the file. Raises EditRefused, or what the edit raises."""
        self.text = edited(self.name, self.text, edit)

    @property
    def is_changed(self) -> bool:
        return self.text.encode() != self.before

    def difference(self) -> list[str]:
        """Return the changed lines with some around them, as a unified difference."""
        old = self.before.decode("utf-8-sig").splitlines()
        lines = difflib.unified_diff(
            old,
            self.text.removeprefix("\ufeff").splitlines(),
            self.name,
            f"{self.name} (new)",
            lineterm="",
            n=CONTEXT_LINES,
        )
        return list(lines)

    def check(self, env: Mapping[str, str] | None = None) -> Configuration:
        """Load all files with this edit. Raises ConfigurationErrors; nothing has been written."""
        return load(self.folder, env, instead={self.name: self.text})

    def write(self) -> None:
        """Write the file at once, if it still is as it was read. Raises EditFailed."""
        self._put(self.before, self.text.encode())

    def undo(self) -> None:
        """Put the old file back, if it still is as it was written. Raises EditFailed."""
        self._put(self.text.encode(), self.before)

    def _put(self, expected: bytes, content: bytes) -> None:
        path = self.folder / self.name
        try:
            if path.read_bytes() != expected:
                raise EditFailed(f"{self.name} was changed by another program just now; try again")
            replace_file(path, content)
        except OSError as error:
            raise EditFailed(
                f"{path} cannot be written ({error.strerror}); run this as the user who owns it"
            ) from None


def in_colour(lines: list[str]) -> Iterator[str]:
    """Return a difference with removed lines in red and added lines in green, for a terminal."""
    for line in lines:
        colour = {"+": "32", "-": "31", "@": "36"}.get(line[:1], "")
        plain = os.environ.get("NO_COLOR") or not colour or line.startswith(("+++", "---"))
        yield line if plain else f"\x1b[{colour}m{line}\x1b[0m"
