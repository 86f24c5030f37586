"""How far the account is from each of its limits, the most urgent first."""

from collections.abc import Iterator

from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.shades import percent, place, row_start
from risk_manager.dashboard.widgets.panel import Panel
from risk_manager.dashboard.wording import DIM, in_force, whole_words
from risk_manager.feed.messages import MeterRow

_LEAST_BAR, _WIDEST_BAR = 12, 40
_PERCENT_WIDTH = 5
_ROOM_FOR_BARS = 50


class Meters(Panel):
    heading = "Limits"
    empty = "no rules are in force for this account"

    def lines(self, glance: Glance) -> Iterator[Content]:
        account = glance.account
        assert account is not None
        width = max((len(_title(meter)) for meter in account.meters), default=0)
        for meter in sorted(account.meters, key=lambda m: place(m, account)):
            if self.room < _ROOM_FOR_BARS:  # more limits in sight are worth more than bars
                yield self._one_line(glance, meter)
                continue
            yield self._bar_line(glance, meter, width)
            indent = " " * len(row_start(glance, meter)[0])
            yield Content.styled(indent + _told(glance, meter, self.room - len(indent)), DIM)

    def _bar_line(self, glance: Glance, meter: MeterRow, longest: int) -> Content:
        start, colour = row_start(glance, meter)
        room = self.room - len(start) - 1 - _PERCENT_WIDTH
        width = min(longest, max(room - _LEAST_BAR, 10))
        title = Content(_title(meter)).truncate(width, ellipsis=True)
        return Content.assemble(
            (start, f"bold {colour}"),
            title.pad_right(width - title.cell_length + 1),
            bar(meter.used, min(max(room - width, 4), _WIDEST_BAR), colour),
            (f"{percent(meter, glance.account):>{_PERCENT_WIDTH}}", f"bold {colour}"),
        )

    def _one_line(self, glance: Glance, meter: MeterRow) -> Content:
        start, colour = row_start(glance, meter)
        lead = f"{start}{percent(meter, glance.account):>4} "
        shadow = "shadow: " if meter.shadow else ""
        return Content.assemble(
            (lead, f"bold {colour}"),
            (shadow, "$text-accent"),
            _told(glance, meter, self.room - len(lead) - len(shadow)),
        )


def _title(meter: MeterRow) -> str:
    return meter.title + (" (shadow)" if meter.shadow else "")


def _told(glance: Glance, meter: MeterRow, room: int) -> str:
    since = in_force(meter, glance.now)
    return whole_words((f"{since}: " if since else "") + meter.sentence, room)


def bar(used: float | None, width: int, colour: str) -> Content:
    """Return a bar of `width` cells. An unknown figure has no bar, as an empty bar means zero."""
    if used is None:
        return Content.styled("·" * width, DIM)
    eighths = round(min(max(used, 0.0), 1.0) * width * 8)
    whole, part = divmod(eighths, 8)
    filled = "█" * whole + (" ▏▎▍▌▋▊▉"[part] if part else "")
    return Content.assemble((filled, colour), ("░" * (width - len(filled)), DIM))
