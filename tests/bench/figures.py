"""What was measured: percentiles, lines on the terminal, and the table of a whole run."""

import math
import os
import platform
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import process_time_ns

BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"


def per_call_us(work: Callable[[], object], calls: int, rounds: int = 7) -> list[float]:
    """Microseconds of processor time per call, one figure a round, after one not counted."""
    figures = []
    for counted in range(rounds + 1):
        start = process_time_ns()
        for _ in range(calls):
            work()
        took = (process_time_ns() - start) / calls / 1000
        if counted:
            figures.append(took)
    return figures


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that so large a part does not exceed; never one between two measured."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * part) - 1, 0)]


def p99(values: Sequence[float]) -> float:
    return percentile(values, 0.99)


@dataclass(slots=True)
class Figures:
    """Two tables, ours beside the bare SDK and everything else. Each row is printed as it comes."""

    beside_bare: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])

    def note(self, text: str) -> None:
        """Something a reader of the figures must know."""
        self.notes.append(text)
        print(f"NOTE: {text}", flush=True)

    def beside(
        self, work: str, bare: Sequence[float], ours: Sequence[float], aim: str, note: str = ""
    ) -> None:
        """Milliseconds of the same work done by both."""
        ratios = " / ".join(
            f"{percentile(ours, part) / percentile(bare, part):.2f}x" for part in (0.5, 0.99, 0.999)
        )
        row = f"| {work} | {_spread(bare)} | {_spread(ours)} | {ratios} | {aim} | {len(ours)} |"
        self.beside_bare.append(row)
        print(f"{work:<58} bare {_spread(bare)} ms, ours {_spread(ours)} ms: {ratios} {note}")
        sys.stdout.flush()

    def line(
        self,
        work: str,
        values: Sequence[float],
        unit: str,
        *,
        beside: tuple[str, Sequence[float]] | None = None,
        aim: str = "",
    ) -> None:
        """One thing measured, and its ratio to something else of the same run."""
        middle = median(values)
        spread = (
            f"p99 {percentile(values, 0.99):.2f}"
            if len(values) >= 100
            else f"{min(values):.2f} to {max(values):.2f}"
            if len(values) > 1
            else ""
        )
        ratio = ""
        if beside is not None:
            name, others = beside
            ratio = f"{middle / median(others):.2f}x {name} ({median(others):.2f} {unit})"
        self.others.append(f"| {work} | {middle:.2f} {unit} | {spread} | {ratio} | {aim} |")
        print(f"{work:<58} {middle:9.2f} {unit}  {spread:<20} {ratio}", flush=True)

    def page(self) -> str:
        """Both tables in Markdown, under the date, the versions and the machine."""
        load = f"load average {self.load_before:.1f} before and {os.getloadavg()[0]:.1f} after"
        parts = [f"{datetime.now(UTC):%Y-%m-%d}, {machine()}, {load}."]
        parts += [f"Note: {note}." for note in self.notes]
        if self.beside_bare:
            head = "| ms: p50 / p99 / p99.9 | bare SDK | risk_manager | ratio | aim | breaches |"
            parts.append("\n".join([head, "|---|---|---|---|---|---|", *self.beside_bare]))
        if self.others:
            head = "| work | median | spread | beside | aim |"
            parts.append("\n".join([head, "|---|---|---|---|---|", *self.others]))
        return "\n\n".join(parts)


def _spread(values: Sequence[float]) -> str:
    return " / ".join(f"{percentile(values, part):.2f}" for part in (0.5, 0.99, 0.999))


def machine() -> str:
    """Versions and processor, as one clause."""
    return (
        f"CPython {platform.python_version()}, project-x-py {version('project-x-py')}, "
        f"SQLite {sqlite3.sqlite_version}, {platform.system()} {platform.release()}, "
        f"{os.cpu_count()} cores ({_processor()})"
    )


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_into(page: Path, figures: Figures) -> None:
    """Put the tables between the markers of a page. Raises ValueError where it has none."""
    text = page.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{figures.page()}\n{END}{after}", encoding="utf-8")
