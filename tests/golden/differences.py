"""Where two recordings part, in words a person can act on."""

from itertools import zip_longest

AROUND = 60
"""So many characters are shown before the place where two lines part."""
SHOWN = 300


def first_difference(recorded: list[str], played: list[str]) -> str:
    """The first line that is not as recorded, and the place in it; empty when all are."""
    for number, (old, new) in enumerate(zip_longest(recorded, played), start=1):
        if old == new:
            continue
        if old is None or new is None:
            length = "more" if old is None else "fewer"
            extra = new if old is None else old
            return (
                f"line {number}: {length} lines than recorded ({len(played)}, not "
                f"{len(recorded)}); the first: {_shown(extra or '', 0)}"
            )
        at = next(
            (i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b),
            min(len(old), len(new)),
        )
        before = recorded[number - 2] if number > 1 else "(the beginning)"
        return (
            f"line {number} differs at character {at + 1}\n"
            f"  after    {_shown(before, 0)}\n"
            f"  recorded {_shown(old, at)}\n"
            f"  now      {_shown(new, at)}"
        )
    return ""


def _shown(line: str, at: int) -> str:
    begin = max(at - AROUND, 0)
    kind = " ".join(line.split(" ", 2)[:2])[:40]
    lead = f"[{kind}] ..." if begin else ""
    tail = "..." if len(line) > begin + SHOWN else ""
    return f"{lead}{line[begin : begin + SHOWN]}{tail}"
