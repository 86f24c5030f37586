"""The pictures that the documentation shows: which screen each of them is."""

import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from screens import whatif_answer
from screens.gallery import tabs_of
from screens.situations import SITUATIONS, played

SIZE = (110, 36)


@dataclass(frozen=True, slots=True)
class Documented:
    situation: str
    tab: str

    @property
    def file(self) -> str:
        return f"{self.tab}-{self.situation}.svg"


DOCUMENTED = (
    Documented("calm", "overview"),
    Documented("warning", "overview"),
    Documented("locked", "overview"),
    Documented("disconnected", "overview"),
    Documented("warning", "pnl"),
    Documented("calm", "positions"),
    Documented("warning", "rules"),
    Documented("warning", "connections"),
    Documented("calm", "calendar"),
    Documented("locked", "lockouts"),
    Documented("locked", "enforcement"),
    Documented("locked", "log"),
)


FILES = {whatif_answer.FILE, *(documented.file for documented in DOCUMENTED)}


async def pictures() -> AsyncIterator[tuple[str, str]]:
    """The name of each file in docs/pictures, and its content."""
    yield whatif_answer.FILE, await whatif_answer.picture(SIZE)
    for situation in SITUATIONS:
        wanted = {d.tab: d.file for d in DOCUMENTED if d.situation == situation.name}
        with tempfile.TemporaryDirectory() as folder:
            async with played(situation, Path(folder)) as new_feed:
                async for tab, seen in tabs_of(new_feed(), SIZE, situation):
                    if tab.id in wanted:
                        yield wanted[tab.id], seen.picture()
