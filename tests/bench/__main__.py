"""`make bench`: prints what things cost on this machine. Nothing is asserted here."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import feed, judging, process, wire

PARTS: dict[str, Callable[[], None]] = {
    "judging": judging.run,
    "feed": lambda: asyncio.run(feed.run()),
    "process": process.run,
    "wire": lambda: asyncio.run(wire.run()),
}


def main() -> None:
    chosen = sys.argv[1:] or list(PARTS)
    for name in chosen:
        if name not in PARTS:
            sys.exit(f"no such benchmark: {name}; there are {', '.join(PARTS)}")
        print(f"\n== {name} ==", flush=True)
        PARTS[name]()


if __name__ == "__main__":
    main()
