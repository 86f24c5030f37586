"""`python tests/golden`: show what differs from the recordings; with --update, make them anew.

Update them only together with a change of what is told or stored that is meant, and look at the
difference that is printed before you commit it.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from golden.differences import first_difference
from golden.recording import STRETCHES, record


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/golden", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the recordings anew")
    update = parser.parse_args().update
    differs = False
    for stretch in STRETCHES:
        lines = record(stretch)
        known = stretch.read() if stretch.path.exists() else []
        difference = first_difference(known, lines)
        print(f"{stretch.name}: {len(lines)} lines, {difference or 'the same'}")
        differs |= bool(difference)
        if update and difference:
            stretch.write(lines)
    return int(differs and not update)


if __name__ == "__main__":
    sys.exit(main())
