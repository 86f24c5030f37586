"""What the stop guard remembers of a position, kept as the value of a mark."""

from dataclasses import dataclass, replace
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Memory:
    """`size` is the position's at the last look, `reference` the level of each lot to be guarded.

    `seen` is set while stops of the reference are missed: the levels that stood at the last look.
    The mark's `due_at` is then when the grace ends; it is None while the result of the position is
    not known, so that nobody can say yet whether it was losing.
    """

    size: int
    reference: tuple[int, ...] = ()
    seen: tuple[int, ...] | None = None

    def __str__(self) -> str:
        words = [f"size={self.size}", f"reference={_listed(self.reference)}"]
        if self.seen is not None:
            words.append(f"seen={_listed(self.seen)}")
        return " ".join(words)

    def settled(self, reference: tuple[int, ...]) -> "Memory":
        """Return the memory with this reference and nothing missed."""
        return replace(self, reference=reference, seen=None)


@lru_cache(maxsize=1024)
def recalled(text: str) -> Memory:
    """The memory that was written as this text."""
    words = dict(word.partition("=")[::2] for word in text.split())
    seen = words.get("seen")
    return Memory(
        size=int(words["size"]),
        reference=_levels(words["reference"]),
        seen=None if seen is None else _levels(seen),
    )


def _listed(levels: tuple[int, ...]) -> str:
    return ",".join(map(str, levels))


def _levels(text: str) -> tuple[int, ...]:
    return tuple(int(level) for level in text.split(",") if level)
