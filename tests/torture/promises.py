"""The promises, what is aimed at, and the figures of one run, side by side."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

NOT_RUN = "not run"
BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"

# (number, promise, target)
PROMISES: tuple[tuple[str, str, str], ...] = (
    ("P1", "The decision is fast", "p99 < 10 ms"),
    ("P2", "A breached account gets flat", "well: p99 < 2 s, max < 5 s; ill: max < 15 s"),
    ("P3", "A crash loses nothing acknowledged", "0 losses"),
    ("P4", "After a crash it goes on", "flat and locked < 5 s after the start"),
    ("P5", "Each fill counts exactly once", "0 mismatches to the cent"),
    ("P6", "Nothing ends a lock early", "0 early unlocks"),
    ("P7", "Blindness is danger", "noticed within 5 s"),
    ("P8", "It never makes risk", "0 violations"),
    ("P9", "Nothing starves enforcement", "time to flat within 10 %"),
    ("P10", "Two daemons never guard one account", "exit code 7, < 1 s"),
    ("P11", "No secret gets out", "0 hits"),
    ("P12", "The record shows tampering", "every change found"),
    ("P13", "Loosening waits", "0 early"),
    ("P14", "It runs for a month", "< 1 MB/day of memory, < 50 MB/year of record"),
)


@dataclass(slots=True)
class Figures:
    """What was measured, by promise, and what went wrong."""

    told: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    problems: list[str] = field(default_factory=list)

    def tell(self, promise: str, figure: str) -> None:
        self.told[promise].append(figure)

    def of(self, promise: str) -> str:
        return "; ".join(self.told[promise]) or NOT_RUN

    def table(self) -> str:
        """Markdown, one row a promise."""
        rows = [
            f"| {number} | {name} | {target} | {self.of(number)} |"
            for number, name, target in PROMISES
        ]
        return "\n".join(["| | promise | target | measured |", "|---|---|---|---|", *rows])


def write_into(page: Path, figures: Figures, how: str) -> None:
    """Put the table between the markers of a page. Raises ValueError where it has none."""
    text = page.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no lines {BEGIN} and {END}")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    body = f"\n{today}, {how}\n\n{figures.table()}\n"
    page.write_text(f"{before}{BEGIN}{body}{END}{after}", encoding="utf-8")
