"""The pages of a what-if: the question, the answer, a day of it, and the curve of one limit."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import losing_day
import pytest
from config_folder import ConfigFolder
from console_screen import UTF_8, Seen, console, menu
from daemon_process import until
from losing_day import DAY

from risk_manager.admin.whatif import Answer, Asked, Progress, Watch
from risk_manager.admin.whatif_question import Question
from risk_manager.console.whatif.app import WhatIf
from risk_manager.console.whatif.charts import course_chart, grid_chart
from risk_manager.dashboard.themes import THEMES

TIGHT = "rules:\n  - {rule: daily_realized_loss, limit: 150}"
GRID = "daily_realized_loss.limit=100:300:100"
CURVE = "⠒"


@pytest.fixture
def config(tmp_path: Path) -> ConfigFolder:
    folder = ConfigFolder(tmp_path / "config")
    folder.risk(TIGHT)
    return folder


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    await losing_day.record(folder)
    return folder


@asynccontextmanager
async def asked(
    config: ConfigFolder, data: Path, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Seen]:
    """The question, as the menu opens it."""
    async with menu(config.path, data, size) as seen:
        await seen.press("9")
        await seen.shows("Judge", "on trial")
        yield seen


def plotted(seen: Seen) -> bool:
    """Whether a line of dots stands on the terminal, beside the sign in the legend."""
    return sum("⠀" < sign <= "⣿" for sign in seen.text) > 20


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_answer_stands_in_one_glance(
    config: ConfigFolder, data: Path, size: tuple[int, int]
) -> None:
    async with asked(config, data, size) as seen:
        await seen.shows(f"the journal: 1 day, {DAY} to {DAY}", "every account", "0 to 2 ticks")
        await seen.press("r")
        words = await seen.shows(
            "recorded rules OFF tried rules ON",
            "3 round turns: 2 unchanged 1 prevented 0 cut early 0 unknowable",
            "as traded -300.00 under the limits -201.00 to -200.00",
            "* 1 began after a day's first intervention",
            "daily_realized_loss 1 1 0 99",
            f"> {DAY} 3",
            "1 day judged",
            "▼ first intervention × not counted",
        )
        assert "daily_realized_loss" in words
        await until(lambda: plotted(seen), "the course")
        await seen.press("enter")
        await seen.shows("account 101", "long 1 MNQZ6 -100.00 unchanged", "prevented *", "-1.00 to")
        await seen.press("down", "down")
        await seen.shows("rule daily_realized_loss; * began after the first intervention")
        await until(lambda: plotted(seen), "the course of the day")
        await seen.press("escape")
        await seen.shows("1 day judged")
        await seen.press("escape")
        await seen.shows("on trial nothing")


async def test_the_plot_is_drawn_again_in_each_theme(config: ConfigFolder, data: Path) -> None:
    async with asked(config, data) as seen:
        await seen.press("r")
        await seen.shows("1 day judged")
        for _ in THEMES:
            await seen.press("T")
            await until(lambda: plotted(seen), "the course")


async def test_the_curve_of_a_limit_comes_with_its_warning(
    config: ConfigFolder, data: Path
) -> None:
    async with asked(config, data) as seen:
        await seen.press("g")
        await seen.shows("LOW:HIGH:STEP", "daily_realized_loss.limit=150")
        await seen.type("daily_realized_loss.limit=300")
        await seen.shows("is no grid; write it as")
        await seen.type(GRID)
        await seen.shows(f"grid {GRID}")
        await seen.press("r")
        await seen.shows(
            "OVERFITTED? A limit chosen because its past days look best",
            "never added as they were traded",
            "without its best day",
            "100 -102 to -100",
            "300 -300",
        )
        await until(lambda: plotted(seen), "the curve")
        await seen.press("escape")
        await seen.shows("2 unchanged 1 prevented", "g Grid")
        await seen.press("g")
        await seen.shows("OVERFITTED?")


async def test_a_value_is_tried_without_any_file(config: ConfigFolder, data: Path) -> None:
    before = (config.path / "risk_config.yaml").read_bytes()
    async with asked(config, data) as seen:
        await seen.press("v")
        await seen.shows("Value on trial", "daily_realized_loss.limit=150")
        await seen.type("max_contracts.limit=1")
        await seen.shows("no enabled rule is called max_contracts")
        await seen.type("daily_realized_loss.limit=250")
        await seen.shows("on trial daily_realized_loss.limit=250")
        await seen.press("r")
        await seen.shows(
            "with daily_realized_loss.limit=250", "3 unchanged", "daily_realized_loss 1 0 0 - -"
        )
        await seen.press("escape", "v")
        await seen.shows("Value on trial")
        await seen.type("")
        await seen.shows("on trial nothing")
    assert (config.path / "risk_config.yaml").read_bytes() == before


async def test_days_are_chosen_and_wrong_ones_refused(config: ConfigFolder, data: Path) -> None:
    async with asked(config, data) as seen:
        await seen.shows(f"the journal: 1 day, {DAY}")
        await seen.press("d")
        await seen.shows("From which trading date", f"Recorded: {DAY}")
        await seen.type("20.11.2026")
        await seen.shows("'20.11.2026' is no date; write it as 2026-11-23")
        await seen.type("2026-11-02")
        await seen.shows("Up to which trading date")
        await seen.type("2026-11-01")
        await seen.shows("that is before 2026-11-02")
        await seen.type("2026-11-03")
        await seen.shows("days 2026-11-02 to 2026-11-03")
        await seen.press("r")
        await seen.shows("there is no record of these days; no journal exists of 2026-11-02")
        await seen.press("n")
        await seen.shows("Notes", "no journal exists of 2026-11-02, 2026-11-03")


async def test_other_parts_of_the_question(config: ConfigFolder, data: Path) -> None:
    async with asked(config, data) as seen:
        await seen.press("a")
        await seen.shows("Number of the account")
        await seen.type("x")
        await seen.shows("only digits")
        await seen.type("102")
        await seen.shows("account 102")
        await seen.press("s")
        await seen.shows("Slippage in ticks")
        await seen.type("3:1")
        await seen.shows("as 0:2, 100 at most")
        await seen.type("1:3")
        await seen.shows("slippage 1 to 3 ticks")
        await seen.press("c")
        await seen.shows("Configuration folder")
        await seen.type("/no/such/folder")
        await seen.shows("there is no folder '/no/such/folder'")
        await seen.press("escape")
        await seen.shows("nothing was done")


# --- failures -------------------------------------------------------------------------------------


async def test_where_no_journal_is_the_question_and_the_answer_say_so(
    config: ConfigFolder, tmp_path: Path
) -> None:
    async with asked(config, tmp_path / "none") as seen:
        await seen.shows("record there is no state.db in")
        await seen.press("r")
        await seen.shows("FAILED there is no state.db in")


async def test_limits_that_cannot_be_read_are_one_line(config: ConfigFolder, data: Path) -> None:
    config.write("risk_config.yaml", "version: 1\nrules: [{rule: max_contracts, limit: [")
    async with asked(config, data) as seen:
        await seen.press("v")
        await seen.shows("FAILED risk_config.yaml:2:")
        await seen.press("r")
        await seen.shows("What if: answer", "FAILED risk_config.yaml:2:")


async def test_a_file_that_cannot_be_judged_is_one_line(
    config: ConfigFolder, data: Path, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.csv"
    file.write_text("Id,ContractName\n1,MNQZ6\n", encoding="utf-8")
    async with asked(config, data, (120, 40)) as seen:
        await seen.press("f")
        await seen.shows("CSV file of executions")
        await seen.type("none.csv")
        await seen.shows("there is no file 'none.csv'")
        await seen.type(str(file))
        await seen.shows("record the file")
        await seen.press("r")
        await seen.shows("FAILED as a TopstepX export of trades, the file lacks the columns")


# --- while the days are judged --------------------------------------------------------------------


class Endless:
    """A judging that ends only when it is stopped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ended = threading.Event()
        monkeypatch.setattr(Question, "answer", lambda _, watch: self._answer(watch))

    def _answer(self, watch: Watch) -> Answer:
        pause = threading.Event()
        try:
            while True:
                watch(Progress(day=date(2026, 11, 20), number=2, of=5))
                pause.wait(0.01)
        finally:
            self.ended.set()


async def test_the_judging_says_how_far_it_is_and_can_be_stopped(
    config: ConfigFolder, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judging = Endless(monkeypatch)
    async with asked(config, data) as seen:
        await seen.press("r")
        await seen.shows("judging ...", "2026-11-20, 2 of 5; x stops it", "x Stop")
        await seen.press("question_mark")
        await seen.shows("stop the judging that is under way")
        await seen.press("escape", "x")
        words = await seen.shows("stopped; r judges the days again", "r Again")
        assert "FAILED" not in words
        assert judging.ended.is_set()


async def test_the_judging_ends_with_its_page(
    config: ConfigFolder, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judging = Endless(monkeypatch)
    async with asked(config, data) as seen:
        await seen.press("r")
        await seen.shows("2 of 5")
        await seen.press("escape")
        await seen.shows("on trial nothing")
        await until(judging.ended.is_set, "the end of the judging")


# --- terminals ------------------------------------------------------------------------------------


async def test_an_ascii_terminal_gets_the_plot_in_ascii(config: ConfigFolder, data: Path) -> None:
    async with console(config.path, data, environ={"LANG": "C", "TERM": "vt100"}) as seen:
        await seen.shows("No admin password is set")
        await seen.press("n")
        await seen.shows("What if")
        await seen.press("9", "r")
        await seen.shows("1 day judged", "v first intervention x not counted")
        await until(lambda: "....." in seen.text, "the course")
        assert seen.text.isascii()
        assert "??" not in seen.text


async def test_without_colour_every_meaning_has_a_sign(
    config: ConfigFolder, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with console(config.path, data, environ=UTF_8) as seen:
        await seen.shows("No admin password is set")
        await seen.press("n")
        await seen.shows("What if")
        await seen.press("9", "r")
        await seen.shows("▀ as traded ⠒ under the limits", f"> {DAY}", "-300.00", "1 prevented")


async def test_as_an_app_of_its_own_it_begins_with_the_answer_and_ends_with_the_question(
    config: ConfigFolder, data: Path
) -> None:
    question = Question(config=config.path, asked=Asked(data=data))
    app = WhatIf(question)
    async with app.run_test(size=(80, 24)) as pilot:
        seen = Seen(app, pilot)
        await seen.shows("2 unchanged 1 prevented", "1 day judged")
        await seen.press("escape")
        await seen.shows("Judge", "on trial nothing")
        await seen.press("escape")
        assert await seen.ends() == (0, "")


# --- what is drawn --------------------------------------------------------------------------------


def test_the_course_adds_up_what_is_known_and_nothing_else(
    config: ConfigFolder, tmp_path: Path
) -> None:
    file = tmp_path / "trades.csv"
    file.write_text(
        "Id,ContractName,EnteredAt,ExitedAt,EntryPrice,ExitPrice,Fees,PnL,Size,Type\n"
        + "".join(
            f"{n},MNQZ6,11/20/2026 09:{at}:00 -06:00,11/20/2026 09:{at + 2}:00 -06:00,"
            f"21000,{21000 + pnl / 2},0,{pnl},1,Long\n"
            for n, (at, pnl) in enumerate([(10, -200), (20, 100), (40, 50)], 1)
        ),
        encoding="utf-8",
    )
    rule = "rules:\n  - {rule: cooldown_after_loss, tiers: [{loss: 100, cooldown: 15m}]}"
    config.risk(rule)
    question = Question(
        config=config.path, asked=Asked(data=tmp_path, csv_file=file, account_id=101)
    )
    result = question.answer().result
    (day,) = result.days
    chart = course_chart([day])
    assert chart is not None
    recorded, low, high = (stroke.line for stroke in chart.drawing.strokes)
    assert [net for _, net in recorded] == [0, -200, -100, -50]
    assert low[-1][1] == float(result.known.low)
    assert high[-1][1] == float(result.known.high)
    skipped, began = (marks.points for marks in chart.drawing.marks)
    unknown = [n for n, o in enumerate(day.outcomes, 1) if o.result is None]
    assert unknown == [3]
    assert [at for at, _ in skipped] == [3]
    assert low[3][1] == low[2][1]
    assert began == ((1, -200),)
    assert course_chart([]) is None
    assert [text[-2:] for _, text in chart.labels] == ["12", "22", "42"]
    same = [replace(day, outcomes=(*day.outcomes[:2], day.outcomes[1], day.outcomes[2]))]
    in_a_minute = course_chart(same)
    assert in_a_minute is not None
    assert [(at, text[-2:]) for at, text in in_a_minute.labels] == [(1, "12"), (2, "22"), (4, "42")]


def test_the_curve_is_the_change_and_is_told_without_its_best_day(
    config: ConfigFolder, data: Path
) -> None:
    question = Question(config=config.path, asked=Asked(data=data), grid=GRID)
    chart = grid_chart(question.answer().grid)
    assert chart is not None
    without, low, high = (stroke.line for stroke in chart.drawing.strokes)
    assert low == ((100, 198), (200, 99), (300, 0))
    assert [net for _, net in high] == [200, 100, 0]
    assert [net for _, net in without] == [0, 0, 0]  # there is one day
    assert [words for _, words in chart.labels] == ["100", "200", "300"]
    one = replace(question, grid="daily_realized_loss.limit=100:100:1")
    alone = grid_chart(one.answer().grid)
    assert alone is not None
    assert alone.drawing.start < 100 < alone.drawing.end
    assert grid_chart([]) is None
