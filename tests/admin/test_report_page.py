"""A report as text and as a page: it fits, it escapes, it needs nothing from elsewhere."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from desk import MORNING
from reported_day import FRIDAY, bad_friday
from stored_desk import tamper

from risk_manager.admin.reports.curve_picture import curve_svg
from risk_manager.admin.reports.page import as_page
from risk_manager.admin.reports.records import read_records
from risk_manager.admin.reports.report import Report, make_report
from risk_manager.admin.reports.results import CurvePoint
from risk_manager.admin.reports.text import WIDTH, as_text
from risk_manager.domain.symbols import Symbols
from risk_manager.domain.trading_calendar import TradingDay

DAY = TradingDay()
HOSTILE = (
    '</p><script src="http://evil.example/x.js">alert(1)</script><img src=x onerror=a> &amp; '
    "\x1b[2J"
)
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "article", "h1", "h2", "h3", "p", "table",
    "thead", "tbody", "tr", "th", "td", "svg", "line", "path",
}  # fmt: skip


class Tags(HTMLParser):
    """Which tags and attributes a page has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    await bad_friday(tmp_path)
    return tmp_path


def report(folder: Path, *, days: int = 0, name: str = "combine") -> Report:
    first = FRIDAY - timedelta(days=days)
    records = read_records(folder, 101, name, DAY, first, FRIDAY)
    return make_report(records, Symbols(), DAY, MORNING + timedelta(days=4))


def with_hostile_words(folder: Path) -> None:
    tamper(folder, "UPDATE enforcement_log SET reason = ?", HOSTILE)
    tamper(folder, "UPDATE lockouts SET reason = ?, cleared_by = ?", HOSTILE, HOSTILE)
    tamper(folder, "UPDATE contracts SET name = ?", HOSTILE)


@pytest.mark.parametrize("days", [0, 4])
def test_the_text_fits_a_terminal_of_eighty_columns(folder: Path, days: int) -> None:
    lines = as_text(report(folder, days=days)).splitlines()
    assert max(map(len, lines)) <= WIDTH == 80
    assert not [line for line in lines if "~" in line]  # no cell is cut


def test_the_text_fits_and_steers_nothing_with_hostile_words_in_the_database(
    folder: Path,
) -> None:
    with_hostile_words(folder)
    text = as_text(report(folder, name=HOSTILE * 3))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "\x1b" not in text


def test_the_page_escapes_whatever_the_database_says(folder: Path) -> None:
    with_hostile_words(folder)
    page = as_page([report(folder, name=HOSTILE)])
    found = Tags(page)
    assert found.tags == ALLOWED
    assert not {name for name in found.attributes if name.startswith("on")}
    assert not found.attributes & {"src", "href", "style"}
    assert "alert(1)" in found.text
    assert "\x1b" not in page


def test_the_page_fetches_nothing_and_prints(folder: Path) -> None:
    page = as_page([report(folder)])
    assert Tags(page).tags == ALLOWED
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page
    assert "@media print" in page


def test_the_page_says_what_the_text_says(folder: Path) -> None:
    made = report(folder)
    told = " ".join(Tags(as_page([made])).text.split())
    for sentence in (
        "Closed by daily_realized_loss: trades 4, 5.",
        "Estimate: held until the account's last fill in it, at 11:50:01, these lots would have "
        "made $50.00 more before fees.",
        "Whether holding on would have been better is unknown",
        "the stop at 20990 was moved away to 20970; the trade came to -$402.96.",
        "5m after a loss of $201.48 in MNQZ6, at 2.00 times its size (revenge entry).",
        "(3m): the daemon ended without being stopped. Traded in it: 0 executions, net $0.00.",
    ):
        assert sentence in told
        assert sentence in " ".join(as_text(made).split())


def test_unknown_is_told_as_unknown(folder: Path) -> None:
    tamper(folder, "DELETE FROM journal")
    text = " ".join(as_text(report(folder, days=4)).split())
    assert "all unknown unknown unknown unknown" in text
    assert "Mon 11-16: nothing is recorded of this day." in text
    assert "The recorded days add up to net -$526.66." in text
    assert "stops removed unknown" in text
    assert "Stops moved or removed are unknown for Fri 11-20: orders are not stored." in text


def test_each_account_is_an_article_of_its_own(folder: Path) -> None:
    made = report(folder)
    page = as_page([made, replace(made, account_id=102)])
    assert page.count("<article>") == 2
    assert "account 102" in page


def test_the_curve_runs_from_zero_through_each_execution() -> None:
    points = [CurvePoint(at=MORNING, net=Decimal(amount)) for amount in ("100", "-100", "0")]
    svg = curve_svg(points)
    # The top is 100 and the bottom -100; zero lies in the middle.
    assert 'd="M12.0 90.0H244.0V12.0H476.0V168.0H708.0V90.0"' in svg
    assert "lowest -$100.00, highest $100.00, at the end $0.00" in svg
    assert curve_svg([]) == ""


def test_a_curve_that_never_leaves_zero_is_drawn() -> None:
    assert "V12.0" in curve_svg([CurvePoint(at=MORNING, net=Decimal(0))])
