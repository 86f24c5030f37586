"""The coming ten days: sessions, holidays, early closes, resets, hours of rules and releases."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, tzinfo

from textual.content import Content

from risk_manager.dashboard.ahead import (
    DIFFERS,
    asked,
    city,
    held_by,
    held_first,
    name_of,
    next_edge,
    next_hours,
    of_account,
    zone,
)
from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.widgets.panel import Panel
from risk_manager.dashboard.wording import DIM, countdown
from risk_manager.feed.messages import AllowedHours, MarketDay, MarketRow, Outlook, ReleaseRow

_BLOCK_WIDTH = 72
_SPAN_WIDTH = 22  # Wed 17:00 - Thu 12:00


class Calendar(Panel):
    """A block for each market, rule with hours, and the resets; side by side where there is room.

    All times stand twice: as this computer has them, and as the exchange has them.
    """

    heading = "Calendar: the next ten days"

    def show(self, glance: Glance) -> None:
        outlook = glance.picture.outlook
        now = glance.now
        if outlook is None or now is None:
            self.put_lines([Content.styled("not told yet", DIM)])
            return
        self.border_subtitle = (
            f"holidays known through {outlook.through}" if outlook.through else ""
        )
        blocks = [*self._blocks(glance, outlook, now)]
        across = max(self.room // (_BLOCK_WIDTH + 2), 1)
        head = [_now_line(outlook, now), *_differing(outlook, now), Content("")]
        self.put_lines([*head, *_side_by_side(blocks, across)])

    def _blocks(self, glance: Glance, outlook: Outlook, now: datetime) -> Iterator[list[Content]]:
        there = zone(outlook.exchange_timezone)
        there_name = city(outlook.exchange_timezone)
        account_id = None if glance.account is None else glance.account.account_id
        held = held_by(glance.account)
        for allowed in held_first(outlook.allowed, held):
            if account_id is None or account_id in allowed.accounts:
                yield list(_allowed_block(allowed, now, there, there_name))
        releases = of_account(outlook.releases, account_id)
        if releases:
            yield list(_releases_block(releases, now, there, there_name))
        for market in held_first(outlook.markets, held):
            yield list(_market_block(market, now, there, there_name))
        yield list(_resets_block(outlook, now))


def _now_line(outlook: Outlook, now: datetime) -> Content:
    there = now.astimezone(zone(outlook.exchange_timezone))
    return Content.assemble(
        ("now ", DIM),
        (f"{now.astimezone():%a %d %b %H:%M:%S}", "bold"),
        (" here, ", DIM),
        (f"{there:%a %H:%M:%S}", "bold"),
        (f" {city(outlook.exchange_timezone)}", DIM),
    )


def _differing(outlook: Outlook, now: datetime) -> Iterator[Content]:
    """The days that are not as usual, a line each: this is what a trader must not find out late."""
    found: dict[tuple[str, str], list[str]] = {}
    for market in outlook.markets:
        for day in market.days:
            if not day.differs or (day.closes_at is not None and day.closes_at <= now):
                continue
            told = DIFFERS.get(day.differs, day.differs.upper())
            at = day.opens_at if day.differs == "late_open" else day.closes_at
            told += "" if at is None else f" {at.astimezone():%H:%M}"
            found.setdefault((day.date, told), []).append(name_of(market))
    for (on, told), names in sorted(found.items()):
        every = len(names) == len(outlook.markets) > 1
        whose = "every market" if every else ", ".join(names)
        yield Content.assemble(
            (f"{_date(on):<12}", "bold"), (f"{told:<18}", "bold $text-warning"), f"  {whose}"
        )
    if not found:
        yield Content.styled("no holiday and no early close in these days", DIM)


def _market_block(
    market: MarketRow, now: datetime, there: tzinfo, there_name: str
) -> Iterator[Content]:
    edge = next_edge(market, now)
    if edge is None:
        state, colour = "SHUT", "$text-warning"
    elif edge.is_opening:
        state, colour = f"SHUT, opens in {countdown(edge.at - now)}", "$text-warning"
    else:
        early = " EARLY" if edge.is_early else ""
        state, colour = f"OPEN, closes{early} in {countdown(edge.at - now)}", "$text-success"
    products = " ".join(market.products)
    yield _heading(name_of(market), state, colour)
    if market.group:
        yield Content.styled(f"  {products}", DIM).truncate(_BLOCK_WIDTH, ellipsis=True)
    if not market.known:
        yield Content.styled("  not in the calendar: holidays are not known", "$text-warning")
    yield _columns(there_name)
    for day in market.days:
        yield _market_day(day, now, there)


def _market_day(day: MarketDay, now: datetime, there: tzinfo) -> Content:
    on = _date(day.date)
    word = DIFFERS.get(day.differs, day.differs.upper())
    note = f" {day.note}" if day.note else ""
    if day.opens_at is None or day.closes_at is None:
        return _row(False, on, "shut all day", "", word + note)
    is_now = day.opens_at <= now < day.closes_at
    return _row(
        is_now,
        on,
        _span(day.opens_at.astimezone(), day.closes_at.astimezone()),
        _span(day.opens_at.astimezone(there), day.closes_at.astimezone(there)),
        word + note,
    )


def _allowed_block(
    allowed: AllowedHours, now: datetime, there: tzinfo, there_name: str
) -> Iterator[Content]:
    edge = next_hours(allowed, now)
    if edge is None:
        state, colour = "SHUT for the ten days", "$text-warning"
    elif edge.is_opening:
        state, colour = f"SHUT, opens in {countdown(edge.at - now)}", "$text-warning"
    else:
        state, colour = f"OPEN, ends in {countdown(edge.at - now)}", "$text-success"
    yield _heading(f"Your hours: {allowed.title}", state, colour)
    products = " ".join(allowed.products)
    yield Content.styled(f"  {products}", DIM).truncate(_BLOCK_WIDTH, ellipsis=True)
    yield _columns(there_name)
    for hours in allowed.hours:
        yield _row(
            hours.opens_at <= now < hours.closes_at,
            f"{hours.closes_at.astimezone(there):%a %d %b}",
            _span(hours.opens_at.astimezone(), hours.closes_at.astimezone()),
            _span(hours.opens_at.astimezone(there), hours.closes_at.astimezone(there)),
        )


def _releases_block(
    releases: Sequence[ReleaseRow], now: datetime, there: tzinfo, there_name: str
) -> Iterator[Content]:
    coming = [row for row in releases if row.ends_at > now]
    inside = [row for row in coming if row.starts_at <= now]
    if inside:
        left = countdown(max(row.ends_at for row in inside) - now)
        state, colour = f"IN A WINDOW, over in {left}", "$text-warning"
    elif coming:
        state, colour = f"the next begins in {countdown(coming[0].starts_at - now)}", ""
    else:
        state, colour = "none ahead", ""
    yield _heading(f"Your hours: {releases[0].title}", state, colour)
    yield _columns(there_name)
    for row in coming:
        yield _row(
            row.starts_at <= now,
            f"{row.at.astimezone(there):%a %d %b}",
            _span(row.starts_at.astimezone(), row.ends_at.astimezone()),
            _span(row.starts_at.astimezone(there), row.ends_at.astimezone(there)),
        )
        yield Content.styled(f"{'':<14}{row.name}: {asked(row)}", DIM).truncate(
            _BLOCK_WIDTH, ellipsis=True
        )


def _resets_block(outlook: Outlook, now: datetime) -> Iterator[Content]:
    there = zone(outlook.reset_timezone)
    coming = [at for at in outlook.resets if at > now]
    state = f"in {countdown(coming[0] - now)}" if coming else "not told"
    yield _heading("Daily reset", state, "")
    yield _columns(city(outlook.reset_timezone))
    for at in coming:
        local, away = at.astimezone(), at.astimezone(there)
        yield _row(False, f"{away:%a %d %b}", f"{local:%a %H:%M}", f"{away:%a %H:%M}")


def _heading(name: str, state: str, colour: str) -> Content:
    shown = Content.styled(name, "bold").truncate(_BLOCK_WIDTH - len(state) - 2, ellipsis=True)
    return Content.assemble(shown, "  ", (state, f"bold {colour}".strip()))


def _columns(there_name: str) -> Content:
    return Content.styled(f"  {'':<12}{'here':<{_SPAN_WIDTH}}{there_name}", DIM)


def _row(is_now: bool, on: str, here: str, there: str, word: str = "") -> Content:
    style = "bold" if is_now else ""
    line = Content.assemble(
        ("▶ " if is_now else "  ", "bold $text-accent"),
        (f"{on:<12}", style or DIM),
        (f"{here:<{_SPAN_WIDTH}}", style),
        (f"{there:<{_SPAN_WIDTH}}" if word and there else there, style or DIM),
        (word, "bold $text-warning"),
    )
    return line.truncate(_BLOCK_WIDTH, ellipsis=True)


def _span(start: datetime, end: datetime) -> str:
    if start.date() == end.date():
        return f"{start:%a %H:%M} - {end:%H:%M}"
    return f"{start:%a %H:%M} - {end:%a %H:%M}"


def _date(text: str) -> str:
    try:
        return f"{date.fromisoformat(text):%a %d %b}"
    except ValueError:
        return text


def _side_by_side(blocks: Sequence[list[Content]], across: int) -> Iterable[Content]:
    for first in range(0, len(blocks), across):
        beside = blocks[first : first + across]
        for number in range(max(len(block) for block in beside)):
            cells = [block[number] if number < len(block) else Content("") for block in beside]
            padded = [c.pad_right(_BLOCK_WIDTH + 2 - c.cell_length) for c in cells[:-1]]
            yield Content("").join([*padded, cells[-1]])
        yield Content("")
