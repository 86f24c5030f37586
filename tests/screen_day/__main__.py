"""A practice day at speed with the screen open, and what the screen costs meanwhile.

Run as a program: [--minutes M] [--speed X] [--seed N]. Linux only.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from screen_day.day import Played, play, problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--speed", type=float, default=96.0)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="screen_day_") as folder:
        played = asyncio.run(
            play(
                Path(folder),
                seconds=60 * given.minutes,
                speed=given.speed,
                seed=given.seed,
                measured=True,
            )
        )
    report(played)
    found = problems(played)
    for problem in found:
        print(f"WRONG: {problem}")
    return 1 if found else 0


def report(played: Played) -> None:
    print(f"{played.practice_hours:.1f} hours of the practice market, {played.deeds} deeds")
    print(f"the database: {played.facts}")
    print(f"the screen:   {played.screen}")
    print(f"the story had {played.largest_story} entries at most")
    print(f"quiet: {played.quiet}")
    for number, cost in enumerate(played.busy, 1):
        if number in (1, 2, len(played.busy)) or number % 5 == 0:
            print(f"busy, minute {number / 2:g}: {cost}")


if __name__ == "__main__":
    sys.exit(main())
