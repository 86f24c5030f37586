"""The steps of a service command, which can be shown before they are carried out."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risk_manager.service.service import ServiceRefused

ANSWER_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command of the system ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def first_line(self) -> str:
        """The first line of what it wrote, errors first."""
        lines = [line.strip() for line in (self.err + "\n" + self.out).splitlines()]
        return next((line for line in lines if line), "")


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the system. `optional`: the next step follows even if this one fails."""

    words: tuple[str, ...]
    optional: bool = False

    def __str__(self) -> str:
        return subprocess.list2cmdline(self.words) if os.name == "nt" else shlex.join(self.words)

    @property
    def row(self) -> dict[str, Any]:
        return {"command": list(self.words)}

    def carry_out(self) -> None:
        ran = run(*self.words)
        if ran.code and not self.optional:
            why = f": {ran.first_line}" if ran.first_line else ""
            raise ServiceRefused(f"`{self}` failed with code {ran.code}{why}")


@dataclass(frozen=True, slots=True)
class File:
    """A file that is written whole."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"# write {self.path}:\n{self.text.rstrip()}"

    @property
    def row(self) -> dict[str, Any]:
        return {"file": str(self.path), "text": self.text}

    def carry_out(self) -> None:
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(self.text, encoding="utf-8")
            fresh.chmod(0o644)
            os.replace(fresh, self.path)
        except OSError as error:
            raise ServiceRefused(f"{self.path} cannot be written: {error.strerror}") from None


@dataclass(frozen=True, slots=True)
class FileRemoved:
    """A file that is removed; one that is not there is no fault."""

    path: Path

    def __str__(self) -> str:
        return f"# remove {self.path}"

    @property
    def row(self) -> dict[str, Any]:
        return {"remove": str(self.path)}

    def carry_out(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise ServiceRefused(f"{self.path} cannot be removed: {error.strerror}") from None


type Step = Command | File | FileRemoved


def carry_out(steps: Iterable[Step], show: Callable[[Step], None]) -> None:
    """Carry the steps out in order, each shown first. Raises ServiceRefused at the first fault."""
    for step in steps:
        show(step)
        step.carry_out()


def run(*words: str) -> Ran:
    """Run a command of the system. One that is not there, or hangs, is a failure in words."""
    program = shutil.which(words[0])
    if program is None:
        return Ran(127, "", f"there is no {words[0]} on the PATH")
    try:
        done = subprocess.run(
            (program, *words[1:]),
            capture_output=True,
            timeout=ANSWER_WITHIN_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Ran(124, "", f"no end within {ANSWER_WITHIN_S:.0f} s")
    except OSError as error:
        return Ran(126, "", error.strerror or str(error))
    return Ran(done.returncode, _text(done.stdout), _text(done.stderr))


def _text(raw: bytes) -> str:
    """Return the text of an output; NSSM writes UTF-16."""
    return raw.decode("utf-16-le" if b"\0" in raw else "utf-8", "replace").lstrip("\ufeff")
