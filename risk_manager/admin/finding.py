"""The result of one check of `doctor`."""

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `fix` is empty where there is nothing to fix."""

    check: str
    grade: Grade
    found: str
    fix: str = ""
