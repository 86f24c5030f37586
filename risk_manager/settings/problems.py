"""Errors in the configuration, each as one line for a person."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding: the file, the line and the key it is in, what is wrong and what to do.

    `line` counts from 1; 0 where no single line is meant. `key` is "" for the file as a whole.
    """

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = ": ".join(part for part in (place, self.key, self.message) if part)
        # Keys come from the file: none may break the line or send control codes to the terminal.
        return "".join(c if c.isprintable() else "?" for c in text)


class ConfigurationErrors(Exception):
    """The configuration cannot be used; `problems` names everything wrong in all files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))
