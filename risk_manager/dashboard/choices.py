"""The choices of the person at the screen, kept between starts in the user's state folder."""

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import orjson
from platformdirs import user_state_path

from risk_manager.dashboard.themes import THEMES

FILE = "screen.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """`theme` None: none was chosen, so the terminal decides."""

    theme: str | None = None
    muted: bool = False


class ChoicesFile:
    """Keeps the choices. A file that cannot be read or written is never an error."""

    def __init__(self, path: Path | None) -> None:
        """`path` None: the choices end with the screen."""
        self._path = path

    @classmethod
    def of_the_user(cls) -> "ChoicesFile":
        return cls(user_state_path("risk_manager", appauthor=False) / FILE)

    def read(self) -> Choices:
        """Return what was chosen last; of what cannot be understood nothing."""
        if self._path is None:
            return Choices()
        try:
            told = orjson.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return Choices()
        if not isinstance(told, dict):
            return Choices()
        theme = told.get("theme")
        return Choices(theme=theme if theme in THEMES else None, muted=told.get("muted") is True)

    def change(self, *, theme: str | None = None, muted: bool | None = None) -> None:
        """Keep a new choice. None leaves what was chosen before, by another screen perhaps."""
        if self._path is None:
            return
        before = self.read()
        choices = Choices(
            theme=before.theme if theme is None else theme,
            muted=before.muted if muted is None else muted,
        )
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _put_in_place(self._path, orjson.dumps(choices))


def _put_in_place(path: Path, content: bytes) -> None:
    """Replace the file as a whole, so that another screen never reads half of it."""
    number, fresh = tempfile.mkstemp(prefix=f"{FILE}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
        Path(fresh).replace(path)
    except OSError:
        Path(fresh).unlink(missing_ok=True)
        raise
