"""The terminal of a command: whether there is one, and which characters it can show."""

import codecs
import io
import sys
import unicodedata

from risk_manager.cli.exits import CommandFailed, Exit

PLAIN_SIGNS = {
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "…": "...",
    "●": "*",
    "’": "'",
    "“": '"',
    "”": '"',
    "→": "->",
    "≥": ">=",
    "≤": "<=",
}


def has_terminal() -> bool:
    """Whether keys can be read and a screen drawn."""
    return all(s is not None and s.isatty() for s in (sys.stdin, sys.stdout, sys.stderr))


def require_terminal(instead: str) -> None:
    """Raise unless keys can be read and a screen drawn. `instead` names an alternative."""
    if not has_terminal():
        raise CommandFailed(
            Exit.USAGE,
            "the screen needs a terminal for its keys and its picture, and input or output here "
            f"is none; {instead}",
        )


def show_plain_signs() -> None:
    """Make outputs replace a character they cannot encode by a plain one, and not fail."""
    codecs.register_error("plain_signs", _plain_sign)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain_signs")


def _plain_sign(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_plain(c) for c in error.object[error.start : error.end]), error.end


def _plain(sign: str) -> str:
    if sign in PLAIN_SIGNS:
        return PLAIN_SIGNS[sign]
    return unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode() or "?"
