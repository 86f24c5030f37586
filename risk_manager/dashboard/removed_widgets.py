"""Lets go of what Textual keeps of widgets that are no longer on the screen."""

from textual._styles_cache import StylesCache


def forget_removed_widgets() -> None:
    """Empty a cache of background colours that keeps the drawn lines of a thousand widgets.

    It is keyed by the lines of the widget too (Textual 8.2), so that each notice stays in memory
    long after it has gone. What is needed again is computed in no time.
    """
    forget = getattr(StylesCache.get_inner_outer, "cache_clear", None)
    if forget is not None:
        forget()
