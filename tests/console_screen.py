"""The running console, driven by keys and read as what stands on the terminal."""

import html
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from daemon_process import until
from textual.pilot import Pilot

from risk_manager.console.app import Console
from risk_manager.console.host import Ended, Host

PASSWORD = "correct horse battery"
UTF_8 = {"LANG": "C.UTF-8", "TERM": "xterm-256color"}
_TEXT = re.compile(r'<text[^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>')
_CELL = 12.2  # the width of a cell in the picture


class Seen:
    """The console on a terminal of a size. `notices` are the notices it has shown."""

    def __init__(self, app: Host, pilot: Pilot[Ended]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def text(self) -> str:
        """Every line of the terminal."""
        rows: dict[float, str] = {}
        for x, y, text in _TEXT.findall(self.app.export_screenshot()):
            before = rows.get(float(y), "").ljust(round(float(x) / _CELL))
            rows[float(y)] = before + html.unescape(text).replace("\xa0", " ")
        return "\n".join(rows[y].rstrip() for y in sorted(rows))

    @property
    def words(self) -> str:
        """The text with each run of blanks and line ends as one blank, without boxes."""
        return " ".join(re.sub("[│╭╮╰╯─▊▎▔▁▌▐]", " ", self.text).split())

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Put a text into the field that has the focus, in place of what is there, and Enter."""
        await self.pilot.press("home", "ctrl+k", *text, "enter")

    async def shows(self, *phrases: str) -> str:
        """Wait until all of this stands on the terminal; return its words."""
        try:
            await until(lambda: all(p in self.words for p in phrases), "shown", 30.0)
        except AssertionError:
            ended = "" if self.app.is_running else f"it ended: {self.app.return_value}"
            raise AssertionError(f"{phrases} not in:\n{self.text}{ended}") from None
        return self.words

    async def ends(self) -> Ended:
        """Wait until the console has ended; how."""
        await until(lambda: not self.app.is_running, "the end of the console")
        assert self.app.return_value is not None
        return self.app.return_value


@asynccontextmanager
async def console(
    config: Path,
    data: Path,
    size: tuple[int, int] = (80, 24),
    environ: Mapping[str, str] = UTF_8,
) -> AsyncIterator[Seen]:
    """The console as it starts."""
    app = Console(config, data, environ=environ)
    async with app.run_test(size=size, notifications=True) as pilot:
        yield Seen(app, pilot)


@asynccontextmanager
async def menu(
    config: Path, data: Path, size: tuple[int, int] = (80, 24), password: str = ""
) -> AsyncIterator[Seen]:
    """The console after the sign-in; without a password where none is set."""
    async with console(config, data, size) as seen:
        if password:
            await seen.shows("The admin password is needed")
            await seen.type(password)
        else:
            await seen.shows("No admin password is set")
            await seen.press("n")
        await seen.shows("Menu", "Authentication")
        yield seen
