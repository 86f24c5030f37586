"""The P&L tab over a real feed: the day's curve and its trades, and the days before."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from dashboard_screen import Seen, screen
from feed_daemon import MNQ, MONDAY, FeedDaemon, until
from textual.content import Content
from textual.widgets import Sparkline, Static

from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.day_plot import DayPlot
from risk_manager.dashboard.widgets.pnl import DayLine, DaySums, DayTrades, EarlierDays
from risk_manager.dashboard.widgets.verdict_line import VerdictLine
from risk_manager.domain.events import AdminAsked, TradeExecuted
from risk_manager.domain.records import OrderSide
from risk_manager.feed.history_request import HistoryRequest, refused
from risk_manager.feed.messages import (
    DayCourse,
    DayResult,
    DayTrade,
    History,
    LimitLine,
    ResultAt,
    ResultStretch,
    TradeSums,
)
from risk_manager.rules.daily_profit_target import DailyProfitTarget
from risk_manager.rules.daily_realized_loss import DailyRealizedLoss

pytestmark = pytest.mark.wire

SIZES = [(80, 24), (120, 40), (200, 60)]
HOSTILE = ("[/]", "[@click=app.quit]x", "[bold", "$error", "]]", "x" * 60)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FeedDaemon]:
    async with FeedDaemon(tmp_path, accounts={101: "combine-50k", 202: "express"}) as running:
        yield running


async def fill(daemon: FeedDaemon, side: OrderSide, pnl: str | None) -> None:
    number = 5000 + len(daemon.pipeline.state.accounts[101].ledger.entries)
    await daemon.happen(
        TradeExecuted(
            at=daemon.clock.now(),
            id=number,
            account_id=101,
            contract_id=MNQ,
            creation_timestamp=daemon.clock.now(),
            price=Decimal("21000.25"),
            profit_and_loss=None if pnl is None else Decimal(pnl),
            fees=Decimal("0.50"),
            side=side,
            size=2,
            order_id=number,
        )
    )


async def traded(daemon: FeedDaemon) -> None:
    """Three trades within two hours."""
    for pnl in ("101", "-51", "31"):
        daemon.clock.skip(minutes=20)
        await fill(daemon, OrderSide.BUY, None)
        daemon.clock.skip(minutes=20)
        await fill(daemon, OrderSide.SELL, pnl)
        await daemon.tick()
        daemon.curves.watch()


async def opened(seen: Seen) -> None:
    await seen.shows(AccountHeader, "combine-50k")
    await seen.pilot.press("2")


@pytest.mark.parametrize("size", SIZES)
async def test_the_day_is_shown_whole_at_every_size(
    daemon: FeedDaemon, tmp_path: Path, size: tuple[int, int]
) -> None:
    await traded(daemon)
    async with screen(tmp_path, size) as seen:
        await opened(seen)
        await seen.shows(
            DayLine, "realised +78.00", "total +78.00", "fees $3.00", "drawdown $52.00"
        )
        plot = await until(lambda: seen.plot("pnl-plot"))
        await until(lambda: "loss limit -500.00, realised only" in seen.plot("pnl-plot"))
        assert "▲" in seen.plot("pnl-plot")
        assert "▼" in seen.plot("pnl-plot")
        assert any("⠀" < char <= "⣿" for char in plot)  # braille: a curve is drawn
        trades = await seen.shows(DayTrades, "+2 MNQZ6")
        nets = [line.split()[-2:] for line in trades.splitlines()[1:]]
        wide = size[0] >= 200
        last = ["+30.00", "+78.00"] if not wide else ["$1.00", "+78.00"]
        assert nets[0] == last
        assert [day for _, day in nets] == ["+78.00", "+48.00", "+100.00"]
        await seen.shows(
            DaySums, "3 trades: 2 won, 1 lost", "win rate 67%", "best +100.00", "worst -52.00"
        )
        days = seen.app.screen.query_one(EarlierDays)
        assert days.display == (size != (80, 24))
        if size == (80, 24):
            await seen.shows(DaySums, "Earlier days")
        for part in (DayTrades, DaySums):
            assert seen.app.screen.query_one(part).region.bottom <= size[1] - 2
        line = seen.app.screen.query_one(DayLine)
        assert line.region.height == len(seen.text(DayLine).splitlines())


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (108, 36), (120, 40)])
async def test_no_amount_of_the_sums_is_cut(
    daemon: FeedDaemon, tmp_path: Path, size: tuple[int, int]
) -> None:
    for pnl in ("10250.25", "-12345.50", "-999.75"):
        await fill(daemon, OrderSide.BUY, None)
        daemon.clock.skip(minutes=20)
        await fill(daemon, OrderSide.SELL, pnl)
    async with screen(tmp_path, size) as seen:
        await opened(seen)
        text = await seen.shows(DaySums, "-3,098.00", "+10,249.25", "-6,673.62")
        room = seen.app.screen.query_one(DaySums).room
        lines = text.partition("Earlier days")[0].splitlines()
        assert [line for line in lines if len(line) > room] == []


async def test_a_new_trade_appears_by_itself(daemon: FeedDaemon, tmp_path: Path) -> None:
    async with screen(tmp_path) as seen:
        await opened(seen)
        await seen.shows(DayTrades, "none today")
        await seen.shows(DaySums, "no trade has ended today")
        await daemon.trade("-40")
        await seen.shows(DayTrades, "-41.00")
        await seen.shows(DaySums, "1 trades: 0 won, 1 lost")
        await daemon.trade(None)  # an opening half-turn is no trade, and costs its fee
        await seen.shows(DayLine, "realised -42.00")


async def test_the_other_account_has_its_own_day(daemon: FeedDaemon, tmp_path: Path) -> None:
    await daemon.trade("-40", account_id=202)
    async with screen(tmp_path) as seen:
        await opened(seen)
        await seen.shows(DayTrades, "none today")
        await seen.pilot.press("a")
        await seen.shows(DayTrades, "-41.00")
        await seen.pilot.press("a")
        await seen.shows(DayTrades, "none today")


async def test_a_lost_feed_dims_the_plot_and_a_small_window_shows_a_sparkline(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await traded(daemon)
    async with screen(tmp_path, (120, 40)) as seen:
        await opened(seen)
        await until(lambda: "▲" in seen.plot("pnl-plot"))
        await seen.pilot.press("p")  # dims, as a lost feed does
        await until(lambda: seen.app.screen.has_class("-stale"))
        await seen.pilot.resize_terminal(120, 19)
        sparkline = seen.app.screen.query_one("#pnl-plot Sparkline", Sparkline)
        await until(lambda: sparkline.region.height > 0)
        assert sparkline.data
        await seen.pilot.resize_terminal(140, 44)
        await until(lambda: "▲" in seen.plot("pnl-plot"))
        await seen.pilot.press("p")
        await daemon.server.__aexit__(None, None, None)
        await seen.shows(VerdictLine, "NOT GUARDED")
        await seen.pilot.resize_terminal(90, 30)
        await until(lambda: "loss limit" in seen.plot("pnl-plot"))
        assert seen.app.is_running


async def test_the_overview_has_the_curve_where_it_fits(daemon: FeedDaemon, tmp_path: Path) -> None:
    await traded(daemon)
    async with screen(tmp_path, (100, 34)) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        sparkline = seen.app.screen.query_one("#today-plot Sparkline", Sparkline)
        await until(lambda: sparkline.data and sparkline.region.height == 3)
    for size, fits in (((80, 24), False), ((120, 40), True), ((200, 60), True)):
        async with screen(tmp_path, size) as seen:
            await seen.shows(AccountHeader, "combine-50k")
            if fits:
                await until(lambda seen=seen: "loss limit -500.00" in seen.plot("today-plot"))  # type: ignore[misc]
            else:
                await seen.pilot.pause(1.0)
                assert not seen.app.screen.query_one("#today-plot").display


@pytest.mark.parametrize("size", [(120, 40), (200, 60)])
async def test_a_limit_beyond_the_plot_is_named_in_its_frame_and_on_no_line(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    limits = (DailyRealizedLoss(limit=Decimal(500)), DailyProfitTarget(target=Decimal(3000)))
    async with FeedDaemon(tmp_path, rules=lambda: limits) as daemon:
        await traded(daemon)
        async with screen(tmp_path, size) as seen:
            await opened(seen)
            await until(lambda: "high +" in seen.plot("pnl-plot"))
            frame = seen.app.screen.query_one("#pnl-plot", DayPlot)
            named = Content.from_markup(str(frame.border_subtitle)).plain
            assert named.strip() == "↑ target +3,000.00"
            assert "target" not in seen.plot("pnl-plot")


async def test_the_entry_fees_of_what_is_open_explain_the_realised_result(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await traded(daemon)
    async with screen(tmp_path, (120, 40)) as seen:
        await opened(seen)
        closed = await seen.shows(DayTrades, "+78.00")
        assert "entry fees" not in closed
        await daemon.position(2)
        await fill(daemon, OrderSide.BUY, None)
        await seen.shows(DayLine, "realised +77.50")
        await seen.shows(DayTrades, "-0.50 entry fees since the last close", "+78.00")
        daemon.clock.skip(minutes=13)
        await fill(daemon, OrderSide.SELL, "-9")
        text = await seen.shows(DayTrades, "+68.00")
        assert "entry fees" not in text


def days(*nets: float) -> tuple[DayResult, ...]:
    return tuple(
        DayResult(
            trading_date=f"2026-11-{13 - number:02d}",
            net=net,
            gross=net + 2,
            fees=2.0,
            executions=4,
            end_balance=None,
        )
        for number, net in enumerate(nets)
    )


def answering(
    **answers: Callable[[HistoryRequest], History],
) -> Callable[[HistoryRequest], Awaitable[History]]:
    async def answer(request: HistoryRequest) -> History:
        make = answers.get(request.kind)
        return refused(request, "the disk is gone") if make is None else make(request)

    return answer


async def test_earlier_days_are_bars_with_their_amounts_and_b_goes_back(tmp_path: Path) -> None:
    def page(request: HistoryRequest) -> History:
        newest = request.before is None
        return History(
            id=request.id,
            kind="days",
            before=request.before,
            next="2026-11-12" if newest else None,
            days=days(200.0, -100.0, 0.0) if newest else days(7.25)[:1],
        )

    async with (
        FeedDaemon(tmp_path, history=answering(days=page)),
        screen(tmp_path, (120, 40)) as seen,
    ):
        await opened(seen)
        text = await seen.shows(EarlierDays, "13 Nov", "+200.00", "-100.00", "3 days  +100.00")
        won, lost, even, _ = text.splitlines()
        assert won.count("█") > lost.count("█") > 0
        assert "█" not in even
        assert lost.index("█") < lost.index("│") < won.index("█")
        assert await seen.shows(DayTrades, "the disk is gone")
        await seen.pilot.press("b")
        await seen.shows(EarlierDays, "+7.25", "1 days")
        await seen.pilot.press("b")
        await seen.shows(EarlierDays, "+200.00")
    async with (
        FeedDaemon(tmp_path, history=answering(days=page), run_id="run-2"),
        screen(tmp_path, (80, 24)) as seen,
    ):
        await opened(seen)
        await seen.shows(DaySums, "Earlier days", "13 Nov", "+200.00")


@pytest.mark.parametrize("text", HOSTILE)
async def test_what_a_history_says_is_never_markup_nor_a_crash(tmp_path: Path, text: str) -> None:
    hour = timedelta(hours=1)
    trade = DayTrade(
        contract_id=text,
        symbol=text,
        side=text,
        size=-3,
        price=-1.5,
        net=-1e12,
        fees=0.0,
        opened_at=MONDAY + hour,
        closed_at=MONDAY - 900 * hour,
        realised_after=1e300,
        is_over=False,
    )
    sums = TradeSums(
        symbol="",
        trades=1,
        won=0,
        lost=1,
        net=-1e12,
        best=None,
        worst=-1e12,
        average=None,
        average_won=None,
        average_lost=None,
    )
    course = DayCourse(
        trading_date=text,
        starts_at=MONDAY + 9 * hour,
        ends_at=MONDAY - hour,
        realised=(ResultAt(at=MONDAY + hour, net=1e300), ResultAt(at=MONDAY - hour, net=-1e300)),
        total=(
            ResultStretch(at=MONDAY, low=5.0, high=-5.0, last=1e12),
            ResultStretch(at=MONDAY - hour, low=0.0, high=0.0, last=0.0),
        ),
        watched_since=MONDAY + hour,
        high=ResultAt(at=MONDAY, net=1e300),
        low=None,
        drawdown=ResultAt(at=MONDAY, net=-1.0),
        limits=(LimitLine(rule_id=text, title=text, net=-1e300, counts_open=True),),
        sums=(sums, replace(sums, symbol=text)),
    )

    def day(request: HistoryRequest) -> History:
        return History(id=request.id, kind="day", day=course)

    def trades(request: HistoryRequest) -> History:
        return History(id=request.id, kind="trades", trades=(trade,) * 3, next=text)

    def earlier(request: HistoryRequest) -> History:
        return History(
            id=request.id,
            kind="days",
            days=(replace(days(-5.0)[0], trading_date=text), *days(1e308, 1e308)),
            next=text,
        )

    source = answering(day=day, trades=trades, days=earlier)
    async with FeedDaemon(tmp_path, history=source), screen(tmp_path, (120, 40)) as seen:
        await opened(seen)
        await seen.shows(DayTrades, f"-3 {text[0]}…")
        await seen.shows(EarlierDays, text[:9])
        await seen.shows(DaySums, "0 won, 1 lost", text[:6])
        await until(lambda: seen.plot("pnl-plot"))
        for static in seen.app.screen.query(Static):
            if isinstance(static.content, Content):
                assert not [s for s in static.content.spans if "@click" in str(s.style)]
        await seen.pilot.press("1", "2", "b", "b")
        assert seen.app.is_running


async def test_a_figure_that_is_no_number_is_no_answer(tmp_path: Path) -> None:
    """The feed has no NaN: such a frame cannot be read, and the screen goes on as without it."""

    def page(request: HistoryRequest) -> History:
        return History(id=request.id, kind="days", days=days(float("nan")))

    async with (
        FeedDaemon(tmp_path, history=answering(days=page)) as daemon,
        screen(tmp_path) as seen,
    ):
        await opened(seen)
        await seen.shows(EarlierDays, "the daemon has not told it yet")
        await daemon.trade("-40")
        await seen.shows(DayLine, "realised -41.00")


async def test_a_daemon_that_answers_nothing_is_waited_for(tmp_path: Path) -> None:
    async def silent(request: HistoryRequest) -> History:
        raise ConnectionError

    async with FeedDaemon(tmp_path, history=silent), screen(tmp_path, (80, 24)) as seen:
        await opened(seen)
        await seen.shows(DayTrades, "the daemon has not told it yet")


def a_lock_at(daemon: FeedDaemon, until_at: datetime) -> AdminAsked:
    return AdminAsked.model_validate(
        {
            "at": daemon.clock.now(),
            "account_id": 101,
            "verb": "lock",
            "reason": "x",
            "policy": "flat",
            "until": until_at,
        }
    )


async def test_a_lock_shows_above_the_plot(daemon: FeedDaemon, tmp_path: Path) -> None:
    async with screen(tmp_path, (80, 24)) as seen:
        await opened(seen)
        await daemon.happen(a_lock_at(daemon, daemon.clock.now() + timedelta(minutes=5)))
        await seen.shows(VerdictLine, "LOCKED")
