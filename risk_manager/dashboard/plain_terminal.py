"""For terminals that cannot show more than ASCII: each other character becomes one that can."""

import sys
from collections.abc import Mapping
from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_ALIKE = {
    **dict.fromkeys("─━╌═▔▁╴╶╸╺╾╼", "-"),
    **dict.fromkeys("│┃╎║▏▎▕╵╷╹╻▌▐┆┊", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼┏┓┗┛┣┫┳┻╋╔╗╚╝", "+"),
    **dict.fromkeys("█▉▊▋▇▆▅▄▃▂▀▍", "#"),
    **dict.fromkeys("░▒▓·", "."),
    "●": "*",
    "•": ".",
    "▶": ">",
    "▲": "^",
    "▼": "v",
    "×": "x",
    "\u2800": " ",
    **{chr(code): "." for code in range(0x2801, 0x2900)},  # braille
    "…": "~",
    "–": "-",
    "—": "-",
    "↑": "^",
    "↓": "v",
    "←": "<",
    "→": ">",
}
# Python itself sets this where the locale asked for is not installed.
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
_NOT_UTF_8_TERMS = ("vt", "dumb", "ansi")


def shows_only_ascii(environ: Mapping[str, str], encoding: str | None = None) -> bool:
    """Whether the terminal can be trusted with ASCII alone.

    `encoding` is that of the output; None: of this process. A locale without a character set says
    nothing: containers have none, and their terminals can show everything.
    """
    found = encoding or getattr(sys.__stderr__, "encoding", None) or "utf-8"
    ctype = environ.get("LC_CTYPE", "")
    if ctype in _COERCED:
        ctype = ""
    locale = environ.get("LC_ALL") or ctype or environ.get("LANG") or ""
    charset = locale.partition(".")[2].partition("@")[0] or "utf-8"
    return (
        not _is_utf_8(found)
        or not _is_utf_8(charset)
        or environ.get("TERM", "").startswith(_NOT_UTF_8_TERMS)
    )


def _is_utf_8(name: str) -> bool:
    return name.lower().replace("-", "").replace("_", "") == "utf8"


class AsciiOnly(LineFilter):
    """Applied to each line before it is written. It changes no width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment if segment.text.isascii() else segment._replace(text=in_ascii(segment.text))
            for segment in segments
        ]


@lru_cache(maxsize=4096)
def in_ascii(text: str) -> str:
    """The text in as many cells, of ASCII characters only."""
    return "".join(c if c.isascii() else _ALIKE.get(c) or "?" * cell_len(c) for c in text)
