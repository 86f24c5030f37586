"""`python tests/simulation`: days of trading under all weathers, judged; each from one seed."""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT.parent)]

from simulation.campaign import Totals, days  # noqa: E402
from simulation.habits import HABITS  # noqa: E402
from simulation.options import (  # noqa: E402
    DAY_HOURS,
    WHOLE_HOURS,
    Options,
    options_for,
    with_wall_step,
)
from simulation.planted import PLANTS  # noqa: E402
from simulation.soak import soak  # noqa: E402
from simulation.world import DayResult  # noqa: E402


def main() -> int:
    """1 when anything was violated."""
    given = _parser().parse_args()
    if given.soak is not None:
        found = soak(given.seed, hours=given.soak, sky=given.sky or "ill")
        print("\n".join(found.lines()))
        return 1 if found.violations else 0
    began = time.monotonic()
    until_s = None if given.minutes is None else began + 60 * given.minutes
    totals = Totals()
    for day in days(
        _chosen(given), processes=given.jobs, keep_log=bool(given.log), until_s=until_s
    ):
        totals.add(day)
        if given.verbose or day.violations:
            print(_line(day), flush=True)
        _tell_violations(day, given)
        if given.log:
            Path(given.log).write_text("\n".join(day.log) + "\n", encoding="utf-8")
    print("\n".join(totals.lines(time.monotonic() - began)))
    return 1 if totals.violations else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python tests/simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first day (default 1)")
    parser.add_argument("--days", type=int, default=1, help="so many, each from the next seed")
    parser.add_argument("--minutes", type=float, help="begin no further day after so long")
    parser.add_argument(
        "--hours",
        type=float,
        default=DAY_HOURS,
        help=f"of each day (default {DAY_HOURS:g}; {WHOLE_HOURS:g} is a whole one)",
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes at the same time")
    parser.add_argument("--sky", choices=("well", "ill"), help="the broker's health; else by seed")
    parser.add_argument("--date", type=date.fromisoformat, help="the trading date; else by seed")
    parser.add_argument("--plant", choices=sorted(PLANTS), default="", help="a bug on purpose")
    parser.add_argument(
        "--habits",
        type=lambda text: tuple(name for name in text.split(",") if name),
        help=f"unkind habits, by commas ('' for none); else by seed: {', '.join(HABITS)}",
    )
    parser.add_argument("--wall-step", type=float, help="turn the wall clock by at most so many s")
    parser.add_argument(
        "--all-rules", action="store_true", help="the rules added later as well; other hashes"
    )
    parser.add_argument("--log", help="write every request, decision and lock of the day here")
    parser.add_argument("--verbose", action="store_true", help="a line for each day")
    parser.add_argument(
        "--soak", type=float, metavar="HOURS", help="one long life; how memory and database grow"
    )
    return parser


def _chosen(given: argparse.Namespace) -> Iterator[Options]:
    for seed in range(given.seed, given.seed + given.days):
        options = options_for(
            seed,
            hours=given.hours,
            sky=given.sky,
            day=given.date,
            plant=given.plant,
            habits=given.habits,
            all_rules=given.all_rules,
        )
        if given.wall_step is not None:
            options = with_wall_step(options, given.wall_step)
        yield options


def _line(day: DayResult) -> str:
    spans_s = (*day.spans_well, *day.spans_ill)
    return (
        f"seed {day.options.seed}: {day.options.day} {day.options.begins:%H:%M} "
        f"{day.hours:.1f} h, broker {day.options.sky}, {day.events} events, "
        f"{day.trades} trades, {day.lives} lives, {day.writes} calls "
        f"(max {day.writes_a_minute_max}/min), slowest {max(spans_s, default=0):.2f} s, "
        f"hash {day.digest[:16]}, {day.wall_seconds:.1f} s"
    )


def _tell_violations(day: DayResult, given: argparse.Namespace) -> None:
    if not day.violations:
        return
    options = day.options
    print(f"VIOLATED with seed {options.seed}, commit {_commit()}")
    for violation in day.violations:
        print(f"  {violation.at:10.2f} s  {violation.kind}: {violation.detail}")
    print(f"  habits: {','.join(options.unkind.names) or 'none'}")
    print(f"  options: {options.expanded()}")
    asked = "".join(
        f" {flag} {value}"
        for flag, value in (
            ("--sky", given.sky),
            ("--date", given.date),
            ("--plant", given.plant),
            ("--habits", None if given.habits is None else ",".join(given.habits)),
            ("--wall-step", given.wall_step),
        )
        if value not in (None, "")
    )
    asked += " --all-rules" if given.all_rules else ""
    print(f"  again: make simulate SEED={options.seed} HOURS={options.hours:g} ARGS='{asked}'")
    print("  and with --log FILE in ARGS, every request, decision and lock of it", flush=True)


def _commit() -> str:
    """The commit this runs from, if git can tell."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
