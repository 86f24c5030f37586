"""The themes of the screen, each with the same words: colour is never the only sign."""

from collections.abc import Mapping

from textual.theme import Theme

DARK, LIGHT, COLOUR_BLIND = "textual-dark", "textual-light", "colour-blind"
THEMES = (DARK, LIGHT, COLOUR_BLIND)

COLOUR_BLIND_THEME = Theme(
    name=COLOUR_BLIND,
    # The palette of Okabe and Ito: told apart with any common colour blindness.
    primary="#0072B2",
    secondary="#56B4E9",
    accent="#CC79A7",
    success="#56B4E9",
    warning="#F0E442",
    error="#D55E00",
    foreground="#E8E8E8",
    background="#101010",
    surface="#1A1A1A",
    panel="#262626",
    dark=True,
)


def first_theme(environ: Mapping[str, str]) -> str:
    """Light where the terminal says that its background is light."""
    background = environ.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT if background in ("7", "15") else DARK


def after(theme: str) -> str:
    at = THEMES.index(theme) if theme in THEMES else -1
    return THEMES[(at + 1) % len(THEMES)]
