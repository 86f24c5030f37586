"""The escape sequences by which a terminal shows a notification on the desktop."""

from collections.abc import Mapping

LONGEST = 200

# By OSC 9 (text alone) and by OSC 777 (title and text). Others would print rubbish or ignore it.
_OSC_9_PROGRAMS = frozenset({"iTerm.app", "WezTerm", "ghostty"})
_OSC_9_TERMS = ("xterm-kitty", "xterm-ghostty", "wezterm")
_OSC_777_TERMS = ("rxvt-unicode", "foot")


def notification(title: str, text: str, environ: Mapping[str, str]) -> str:
    """Return what makes this terminal notify; empty where it is not known to be able to."""
    term = environ.get("TERM", "")
    if environ.get("TMUX") or term.startswith(("screen", "tmux")):
        return ""  # what is inside does not reach the terminal
    title, text = _clean(title), _clean(text)
    if environ.get("TERM_PROGRAM") in _OSC_9_PROGRAMS or term.startswith(_OSC_9_TERMS):
        return f"\x1b]9;{title}: {text}\x07"
    if term.startswith(_OSC_777_TERMS):
        return f"\x1b]777;notify;{title};{text}\x07"
    return ""


def _clean(text: str) -> str:
    """Without what would end the sequence or begin a field of it."""
    return "".join(c for c in text if c.isprintable() and c != ";")[:LONGEST]
