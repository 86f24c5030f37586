"""The second tab: the course of the day, its trades and their sums, and the days before."""

import math
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.pane_room import PANES, show_what_fits
from risk_manager.dashboard.widgets.day_plot import DayPlot
from risk_manager.dashboard.widgets.panel import Column, Panel, headings, row
from risk_manager.dashboard.widgets.text import Text
from risk_manager.dashboard.wording import (
    DIM,
    GAIN,
    LOSS,
    UNKNOWN,
    colour_of,
    dollars,
    duration,
    price,
    signed,
    whole_words,
)
from risk_manager.feed.messages import DayTrade, ResultAt, TradeSums

_WIDEST = 13  # +1,234,567.89
_ROOM_FOR_WEEKDAYS = 40
_UNWATCHED = timedelta(minutes=1)


class PnlTab(Vertical):
    def compose(self) -> ComposeResult:
        yield DayLine()
        yield DayPlot(id="pnl-plot")
        with Horizontal(id="pnl-lists"):
            yield DayTrades(id="pnl-trades")
            yield DaySums(id="pnl-sums")
            yield EarlierDays(id="pnl-days")

    def on_resize(self, _: events.Resize) -> None:
        show_what_fits(self, self.app.size)


class DayLine(Text):
    """The results of the day, and how high and how deep it has been; in two lines where needed."""

    def show(self, glance: Glance) -> None:
        account = glance.account
        if account is None:
            self.put(Content.styled(" not known yet", DIM))
            return
        parts: list[tuple[str, str]] = []
        for name, amount in (
            ("realised", account.realised_net),
            ("open", account.unrealised),
            ("total", account.total),
        ):
            parts += [(f" {name} ", DIM), (f"{signed(amount)} ", f"bold {colour_of(amount)}")]
        if account.fees:
            parts += [(" fees ", DIM), (f"{dollars(account.fees)} ", "")]
        results = Content.assemble(*parts)
        extremes = Content.assemble(*_extremes(glance, account.total))
        is_one = results.cell_length + extremes.cell_length <= self.size.width
        self.put(Content("" if is_one or not extremes else "\n").join([results, extremes]))


def _extremes(glance: Glance, total: float | None) -> Iterator[tuple[str, str]]:
    """High, low and greatest fall, as the daemon has watched them and as of now."""
    answer = glance.history("day")
    day = None if answer is None else answer.day
    if day is None:
        return
    high, low = _further(day.high, total, 1), _further(day.low, total, -1)
    yield from ((" high ", DIM), *_reached(glance, high))
    yield from ((" low ", DIM), *_reached(glance, low))
    fall = day.drawdown
    if high is not None and total is not None and glance.now is not None:
        now = high[0] - total
        if now > (0.0 if fall is None else fall.net):
            fall = ResultAt(at=glance.now, net=now)
    if fall is not None:
        yield from ((" drawdown ", DIM), (dollars(fall.net), "bold"))
    since = day.watched_since
    if since is not None and day.realised and since - day.realised[0].at > _UNWATCHED:
        yield (f"  (watched since {since.astimezone():%H:%M})", DIM)


def _further(
    known: ResultAt | None, total: float | None, side: int
) -> tuple[float, ResultAt | None] | None:
    """The extreme as told, or the present total where it has gone beyond."""
    if total is not None and (known is None or (total - known.net) * side > 0):
        return total, None
    return None if known is None else (known.net, known)


def _reached(
    glance: Glance, extreme: tuple[float, ResultAt | None] | None
) -> list[tuple[str, str]]:
    if extreme is None:
        return [(UNKNOWN, DIM)]
    net, told = extreme
    when = "now" if told is None else f"{told.at.astimezone():%H:%M}"
    return [(signed(net), f"bold {colour_of(net)}"), (f" {when} ", DIM)]


class HistoryPanel(Panel):
    """A panel about answers of the daemon: made again only where one of them is another."""

    kinds: tuple[str, ...] = ()

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._made_of: object = None

    def show(self, glance: Glance) -> None:
        account = glance.account
        shown = account and (account.account_id, account.realised_net, bool(account.positions))
        answers = [glance.history(kind) for kind in self.kinds]
        made_of = (shown, glance.live, self.room, self.app.size, answers)
        if made_of != self._made_of:
            self._made_of = made_of
            super().show(glance)


class DayTrades(HistoryPanel):
    heading = "Trades of the day"
    empty = "none today"
    kinds = ("trades",)

    def show(self, glance: Glance) -> None:
        super().show(glance)
        answer = glance.history("trades")
        more = answer is not None and answer.next is not None
        self.note(f"the newest {len(answer.trades)}" if more and answer else "")

    def lines(self, glance: Glance) -> Iterator[Content]:
        answer = glance.history("trades")
        if answer is None or answer.error:
            yield Content.styled(glance.why_no_history("trades"), DIM)
            return
        fees = _entry_fees(glance, answer.trades)
        told = [Content.styled(whole_words(fees, self.room), DIM)] if fees else []
        if not answer.trades:
            yield from told
            return
        columns = self._columns(answer.trades)
        yield headings(columns)
        yield from told
        for trade in answer.trades:
            cells = _trade_cells(glance, trade)
            yield row(columns, [cells[column.heading] for column in columns])

    def _columns(self, trades: Sequence[DayTrade]) -> list[Column]:
        """What fits, the most needed first. An amount is never cut where its name can be."""
        nets = min(max(8, *(len(signed(t.net)) for t in trades)), _WIDEST)
        days = min(max(8, *(len(signed(t.realised_after)) for t in trades)), _WIDEST)
        names = max(len(_lots(t)) for t in trades)
        names = min(names, max(self.room - 8 - nets - days - 3, 5))
        needed = [
            Column("closed", 8),
            Column("trade", names),
            Column("net", nets, "right"),
            Column("day", days, "right"),
        ]
        room = self.room - sum(c.width + 1 for c in needed)
        for column, place in (
            (Column("price", 10, "right"), 2),
            (Column("fees", 7, "right"), 4),
            (Column("held", 8, "right"), 2),
        ):
            if room > column.width:
                room -= column.width + 1
                needed.insert(place, column)
        return needed


def _entry_fees(glance: Glance, trades: Sequence[DayTrade]) -> str:
    """The fees of entries that no trade has yet, but the realised result; empty without any.

    While the account knows of a newer trade than these, they cannot be told.
    """
    account = glance.account
    if account is None or not account.positions:
        return ""
    if [t.closed_at for t in account.trades[:1]] != [t.closed_at for t in trades[:1]]:
        return ""
    paid = round(account.realised_net - (trades[0].realised_after if trades else 0.0), 2)
    since = " since the last close" if trades else ""
    return f"{signed(paid)} entry fees{since}" if paid else ""


def _trade_cells(glance: Glance, trade: DayTrade) -> dict[str, tuple[str, str]]:
    held = max((trade.closed_at - trade.opened_at).total_seconds(), 0.0)
    return {
        "closed": (f"{trade.closed_at.astimezone():%H:%M:%S}", DIM),
        "trade": (_lots(trade), "bold"),
        "held": (duration(held), DIM),
        "price": (price(trade.price), ""),
        "net": (signed(trade.net), colour_of(trade.net)),
        "fees": (dollars(trade.fees), DIM),
        "day": (signed(trade.realised_after), f"bold {colour_of(trade.realised_after)}"),
    }


def _lots(trade: DayTrade) -> str:
    """The lots closed, signed as they were held; `…`: others are still open."""
    side = {"long": "+", "short": "-"}.get(trade.side, "")
    return f"{side}{trade.size} {trade.symbol}{'' if trade.is_over else '…'}"


class DaySums(HistoryPanel):
    """The sums of the finished trades; the earlier days as well where they have no pane."""

    kinds = ("day", "days")

    heading = "Sums of the day"

    def lines(self, glance: Glance) -> Iterator[Content]:
        answer = glance.history("day")
        if answer is None or answer.day is None:
            yield Content.styled(glance.why_no_history("day"), DIM)
        else:
            yield from _day_sums(answer.day.sums, self.room)
        if not PANES["pnl-days"].fits(self.app.size):
            yield Content("")
            yield Content.styled("Earlier days", "bold")
            yield from _days(glance, self.room)


def _day_sums(told: Sequence[TradeSums], room: int) -> Iterator[Content]:
    """The amounts are never cut; in a narrow pane the names are, and the averages share no line."""
    products = [sums for sums in told if sums.symbol]
    if not products:
        yield Content.styled("no trade has ended today", DIM)
        return
    for sums in told:
        if not sums.symbol:
            yield from _sums(sums, room)
    nets = min(max(len(signed(sums.net)) for sums in products), _WIDEST)
    names = max(min(7, room - nets - 13), 3)
    nets = max(min(10, room - names - 13), nets)
    yield Content.styled(f"{_short('product', names):<{names}} trades  won {'net':>{nets}}", DIM)
    for sums in products:
        yield Content.assemble(
            (f"{_short(sums.symbol, names):<{names}}", "bold"),
            f"{sums.trades:>7}{_win_rate(sums):>5} ",
            (f"{signed(sums.net):>{nets}}", f"bold {colour_of(sums.net)}"),
        )


def _sums(sums: TradeSums, room: int) -> Iterator[Content]:
    scratched = sums.trades - sums.won - sums.lost
    yield Content.assemble(
        (f"{sums.trades} trades", "bold"),
        f": {sums.won} won, {sums.lost} lost" + (f", {scratched} even" if scratched else ""),
    )
    yield from _lines(
        room,
        [("win rate ", DIM), (_win_rate(sums), "bold")],
        [("average ", DIM), (signed(sums.average), f"bold {colour_of(sums.average)}")],
    )
    yield from _lines(
        room,
        [("best ", DIM), (signed(sums.best), f"bold {colour_of(sums.best)}")],
        [("worst ", DIM), (signed(sums.worst), f"bold {colour_of(sums.worst)}")],
    )
    yield from _lines(
        room,
        [("average won ", DIM), (signed(sums.average_won), GAIN)],
        [("average lost ", DIM), (signed(sums.average_lost), LOSS)],
    )


def _lines(room: int, *parts: list[tuple[str, str]]) -> Iterator[Content]:
    """These parts in one line, or each in its own where they do not fit together."""
    gap = [("  ", "")]
    together = Content.assemble(*parts[0], *(each for part in parts[1:] for each in gap + part))
    if together.cell_length <= room:
        yield together
    else:
        yield from (Content.assemble(*part) for part in parts)


def _win_rate(sums: TradeSums) -> str:
    return f"{sums.won / sums.trades * 100:.0f}%" if sums.trades else UNKNOWN


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


class EarlierDays(HistoryPanel):
    heading = "Earlier days, net of fees"
    kinds = ("days",)

    def show(self, glance: Glance) -> None:
        super().show(glance)
        answer = glance.history("days")
        more = answer is not None and answer.next is not None
        self.note("b: earlier" if more else "")

    def lines(self, glance: Glance) -> Iterator[Content]:
        return _days(glance, self.room)


def _days(glance: Glance, room: int) -> Iterator[Content]:
    """A bar a day from the middle: losses to the left, gains to the right."""
    answer = glance.history("days")
    if answer is None or answer.error:
        yield Content.styled(glance.why_no_history("days"), DIM)
        return
    if not answer.days:
        yield Content.styled("no finished day is known", DIM)
        return
    largest = max(abs(day.net) for day in answer.days)
    form = "%a %d %b" if room >= _ROOM_FOR_WEEKDAYS else "%d %b"
    names = [_date(day.trading_date, form) for day in answer.days]
    width = max(map(len, names))
    half = max((room - width - 13) // 2, 3)
    for day, name in zip(answer.days, names, strict=True):
        yield Content.assemble(
            (f"{name:<{width}} ", DIM),
            (f"{signed(day.net):>10} ", f"bold {colour_of(day.net)}"),
            *_bar(day.net, largest, half),
        )
    total = round(sum(day.net for day in answer.days), 2)
    yield Content.assemble(
        (f"{len(answer.days)} days  ", DIM), (signed(total), f"bold {colour_of(total)}")
    )


def _bar(net: float, largest: float, half: int) -> Iterator[tuple[str, str]]:
    """In half cells; a result that is none has no bar, and the smallest has half a cell."""
    share = abs(net) / largest if largest > 0 else 0.0
    halves = max(round(share * half * 2), 1) if net and math.isfinite(share) else 0
    whole, rest = divmod(halves, 2)
    left = ("▐" * rest + "█" * whole) if net < 0 else ""
    right = ("█" * whole + "▌" * rest) if net > 0 else ""
    yield left.rjust(half), LOSS
    yield "│", DIM
    yield right.ljust(half), GAIN


def _date(text: str, form: str) -> str:
    """A trading date in this form; as it is where it is none."""
    try:
        return date.fromisoformat(text).strftime(form)
    except ValueError:
        return _short(text, 10)
