"""`make bench`: measures what things cost on this machine. Nothing is asserted here.

Run as a program: [--quick] [--write PAGE] [--idle-minutes M] [--breaches N] [--note TEXT]
[PART ...].
"""

import argparse
import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import disk, feed, judging, process, wire
from bench.figures import Figures, write_into

type Part = Callable[[Figures, wire.Amount], None]


def _on_the_wire(row: wire.Row) -> Part:
    return lambda figures, amount: asyncio.run(row(figures, amount))


PARTS: dict[str, Part] = {
    "judging": lambda figures, _: judging.run(figures),
    "feed": lambda figures, _: asyncio.run(feed.run(figures)),
    "disk": lambda figures, _: asyncio.run(disk.run(figures)),
    "process": lambda figures, _: process.run(figures),
    **{row.__name__: _on_the_wire(row) for row in wire.ROWS},
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="few breaches: a first impression")
    parser.add_argument("--write", type=Path, help="put the tables into this page")
    parser.add_argument("--breaches", type=int, help="so many of each row")
    parser.add_argument("--idle-minutes", type=float, help="so long without a breach")
    parser.add_argument("--note", help="what a reader of the tables must know")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    amount = wire.QUICK if given.quick else wire.FULL
    if given.breaches is not None:
        amount = amount.of(given.breaches)
    if given.idle_minutes is not None:
        amount = dataclasses.replace(amount, idle_minutes=given.idle_minutes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the clients end with us
    figures = Figures()
    if figures.load_before > (os.cpu_count() or 1) / 2:
        figures.note(
            "the machine had other work to do: a commit waits for more threads than a bare call"
        )
    if given.note:
        figures.note(given.note)
    for name in given.parts or PARTS:
        print(f"\n== {name} ==", flush=True)
        PARTS[name](figures, amount)
    if given.write is not None:
        write_into(given.write, figures)


if __name__ == "__main__":
    main()
