"""How far the account is from each of its limits, the nearest first."""

from collections.abc import Iterable, Iterator

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.shades import is_harmless, percent, place, word_and_colour
from risk_manager.dashboard.widgets.panel import Panel
from risk_manager.dashboard.wording import DIM, in_force
from risk_manager.feed.messages import LockRow, MeterRow

_TITLE_WIDTH = 22
_ROOM_FOR_BARS = 50


class Meters(Panel):
    heading = "Limits"
    empty = "no rules are in force for this account"

    def lines(self, glance: Glance) -> Iterator[Content]:
        assert glance.account is not None
        nearest_first = sorted(
            glance.account.meters,
            key=lambda m: (
                m.counts_from is not None,
                place(m),
                is_harmless(m),
                -(m.used or 0.0),
                m.unit != "USD",
                m.spec_id,
            ),
        )
        for meter in nearest_first:
            if self.room < _ROOM_FOR_BARS:  # more limits in sight are worth more than bars
                yield _one_line(glance, meter)
                continue
            yield self._bar_line(meter, glance.account.locks)
            indent = " " * 8
            since = in_force(meter, glance.now)
            yield Content.styled(indent + (f"{since}: " if since else "") + meter.sentence, DIM)

    def _bar_line(self, meter: MeterRow, locks: Iterable[LockRow]) -> Content:
        word, colour = word_and_colour(meter, locks)
        title = meter.title + (" (shadow)" if meter.shadow else "")
        width = min(_TITLE_WIDTH, max(self.room - 20, 10))
        shown = Content(title).truncate(width, ellipsis=True)
        bar_width = min(max(self.room - 8 - width - 6, 4), 40)
        return Content.assemble(
            (f"{word:<7} ", f"bold {colour}"),
            shown.pad_right(width - shown.cell_length + 1),
            bar(meter.used, bar_width, colour),
            (f"{percent(meter):>5}", f"bold {colour}"),
        )


def _one_line(glance: Glance, meter: MeterRow) -> Content:
    word, colour = word_and_colour(meter, () if glance.account is None else glance.account.locks)
    since = in_force(meter, glance.now)
    return Content.assemble(
        (f"{word:<7}{percent(meter):>5} ", f"bold {colour}"),
        ("shadow: " if meter.shadow else "", "$text-accent"),
        (f"{since}: " if since else "") + meter.sentence,
    )


def bar(used: float | None, width: int, colour: str) -> Content:
    """Return a bar of `width` cells. An unknown figure has no bar, as an empty bar means zero."""
    if used is None:
        return Content.styled("·" * width, DIM)
    eighths = round(min(max(used, 0.0), 1.0) * width * 8)
    whole, part = divmod(eighths, 8)
    filled = "█" * whole + (" ▏▎▍▌▋▊▉"[part] if part else "")
    return Content.assemble((filled, colour), ("░" * (width - len(filled)), DIM))
