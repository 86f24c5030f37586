"""The Calendar tab and what happens next, over a real feed."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dashboard_screen import screen
from feed_daemon import ES, FeedDaemon

from risk_manager.dashboard.ahead import Edge, edges_ahead, held_first, next_edge
from risk_manager.dashboard.widgets.calendar import Calendar
from risk_manager.dashboard.widgets.coming import Coming
from risk_manager.domain.events import RulebookReplaced
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import AccountRules
from risk_manager.feed.messages import (
    AllowedHours,
    MarketDay,
    MarketRow,
    OpenHours,
    Outlook,
    ReleaseRow,
)
from risk_manager.rules.release_window import ReleaseWindow
from risk_manager.rules.session_block_outside import SessionBlockOutside
from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.market_calendar import market_calendar
from risk_manager.settings.risk_file import CalendarSection

pytestmark = pytest.mark.wire

WEDNESDAY = datetime(2026, 11, 25, 15, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FeedDaemon]:
    async with FeedDaemon(tmp_path) as running:
        yield running


async def shipped_calendar(daemon: FeedDaemon, *rules: Rule) -> None:
    calendar = market_calendar(CalendarFile(), CalendarSection(), "America/Chicago")
    book = replace(
        daemon.pipeline.state.rulebook, calendar=calendar, accounts={101: AccountRules.of(rules)}
    )
    await daemon.happen(RulebookReplaced(at=daemon.clock.now(), rulebook=book))
    await daemon.tick()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_thanksgiving_is_seen_a_week_ahead(
    daemon: FeedDaemon, tmp_path: Path, size: tuple[int, int]
) -> None:
    await shipped_calendar(daemon)
    daemon.clock.skip(days=4)  # Friday 20 November
    await daemon.tick()
    await daemon.position(1)
    async with screen(tmp_path, size) as seen:
        await seen.pilot.press("6")
        text = await seen.shows(Calendar, "equity index  OPEN, closes in", "MNQ", "Daily reset")
        first, thursday = [
            line for line in text.splitlines() if "Thu 26 Nov" in line and "EARLY" in line
        ]
        assert first == text.splitlines()[1]  # in sight, whatever is below
        assert re.match(r"Thu 26 Nov  EARLY CLOSE \d\d:\d\d +equity index$", first)
        assert "17:00 - Thu 12:00" in thursday
        assert "EARLY CLOSE" in thursday
        assert "▶ Fri 20 Nov" in text
        assert max(len(line) for line in text.splitlines()) <= size[0] - 4


async def test_hours_of_a_rule_are_marked_now_and_an_edit_is_shown_at_once(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await shipped_calendar(daemon)
    await daemon.position(1, contract_id=ES)
    async with screen(tmp_path) as seen:
        await seen.pilot.press("6")
        assert "Your hours" not in await seen.shows(Calendar, "equity index")
        rule = SessionBlockOutside.model_validate(
            {
                "timezone": "America/Chicago",
                "sessions": [{"days": ["mon", "tue"], "start": "08:30", "end": "15:00"}],
            }
        )
        await shipped_calendar(daemon, rule)
        text = await seen.shows(Calendar, "Your hours: Trading hours  OPEN, ends in")
        assert "▶ Mon 16 Nov" in text
        await seen.pilot.press("1")
        await seen.shows(Coming, "daily reset", "equity index closes", "your hours end")


async def test_without_a_word_of_the_daemon_it_claims_nothing(tmp_path: Path) -> None:
    async with screen(tmp_path) as seen:
        await seen.pilot.press("6")
        await seen.shows(Calendar, "not told yet")


async def test_a_product_that_is_in_no_calendar_says_so(daemon: FeedDaemon, tmp_path: Path) -> None:
    await shipped_calendar(daemon)
    await daemon.contract("CON.F.US.XX.Z26", "[bold]" + "X" * 60 + "Z6")
    await daemon.position(1, contract_id="CON.F.US.XX.Z26")
    async with screen(tmp_path, (80, 24)) as seen:
        await seen.pilot.press("6")
        text = await seen.shows(Calendar, "holidays are not known", "[BOLD]XXX")
        assert max(len(line) for line in text.splitlines()) <= 76


def market(*days: tuple[datetime | None, datetime | None, str], group: str = "oil") -> MarketRow:
    return MarketRow(
        group=group,
        products=("CL",),
        days=tuple(
            MarketDay(date="2026-11-25", opens_at=opens, closes_at=closes, differs=differs)
            for opens, closes, differs in days
        ),
    )


def outlook(*markets: MarketRow, allowed: tuple[AllowedHours, ...] = ()) -> Outlook:
    return Outlook(
        resets=(),
        reset_timezone="America/New_York",
        exchange_timezone="America/Chicago",
        markets=markets,
        allowed=allowed,
        rules=(),
    )


def test_the_next_edge_skips_days_that_are_shut() -> None:
    shut = (None, None, "closed")
    later = (WEDNESDAY + 30 * HOUR, WEDNESDAY + 50 * HOUR, "early_close")
    now_open = (WEDNESDAY - HOUR, WEDNESDAY + HOUR, "")
    assert next_edge(market(now_open, shut), WEDNESDAY) == Edge(WEDNESDAY + HOUR, is_opening=False)
    assert next_edge(market(shut, later), WEDNESDAY) == Edge(later[0], is_opening=True)
    assert next_edge(market(shut), WEDNESDAY) is None


def test_what_is_ahead_joins_markets_and_names_the_early_close_beyond_the_next_edge() -> None:
    today = (WEDNESDAY - HOUR, WEDNESDAY + 7 * HOUR, "")
    early = (WEDNESDAY + 8 * HOUR, WEDNESDAY + 27 * HOUR, "early_close")
    hours = AllowedHours(
        rule_id="s",
        title="Trading hours",
        accounts=(202,),
        products=("CL",),
        hours=(OpenHours(opens_at=WEDNESDAY - HOUR, closes_at=WEDNESDAY + 2 * HOUR),),
    )
    told = outlook(market(today, early), market(today, group="metals"), allowed=(hours,))
    assert sorted(edges_ahead(told, 101, WEDNESDAY)) == [
        (WEDNESDAY + 7 * HOUR, "oil and metals close"),
        (WEDNESDAY + 27 * HOUR, "oil closes early"),
    ]
    assert (WEDNESDAY + 2 * HOUR, "your hours end") in list(edges_ahead(told, 202, WEDNESDAY))


def test_a_product_that_is_held_is_named_first() -> None:
    def hours(*products: str) -> AllowedHours:
        return AllowedHours(
            rule_id="s",
            title="Trading hours",
            accounts=(101,),
            products=products,
            hours=(
                OpenHours(opens_at=WEDNESDAY - HOUR, closes_at=WEDNESDAY + len(products) * HOUR),
            ),
        )

    oil = market((WEDNESDAY - HOUR, WEDNESDAY + 7 * HOUR, ""))
    metals = replace(oil, group="metals", products=("GC", "MGC"))
    indices = replace(oil, group="equity index", products=("ES", "MNQ"))
    rows = hours("GC"), hours("CL", "ES", "MNQ")
    told = outlook(oil, metals, indices, allowed=rows)
    assert [words for _, words in edges_ahead(told, 101, WEDNESDAY, {"MNQ"})] == [
        "equity index and 2 more close",
        "your hours of GC end",
        "your hours of MNQ and 2 more end",
    ]
    assert held_first(told.allowed, {"MNQ"}) == [rows[1], rows[0]]
    assert held_first(told.markets, ()) == [oil, metals, indices]


async def test_releases_are_listed_with_what_their_windows_ask_for(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    """The daemon of the test stands at 16 November, 10:00 in Chicago."""
    rule = ReleaseWindow.model_validate(
        {
            "windows": [
                {"at": "2026-11-16 10:30", "name": "A speech", "roots": ["ES", "NQ"]},
                {"at": "2026-11-18 07:30", "name": "CPI", "action": "flat"},
                {"at": "2026-12-30 07:30", "name": "far ahead"},
            ]
        }
    )
    await shipped_calendar(daemon, rule)
    async with screen(tmp_path, (120, 50)) as seen:
        await seen.pilot.press("6")
        text = await seen.shows(Calendar, "Release windows", "A speech: no entries in ES NQ")
        assert "CPI: flat" in text
        assert "Wed 07:25 - 07:35" in text
        assert "far ahead" not in text
        await seen.pilot.press("1")
        await seen.shows(Coming, "A speech: no entries in ES NQ")


def test_the_edges_of_releases_are_their_beginnings_and_ends() -> None:
    def row(name: str, minutes: int, *accounts: int) -> ReleaseRow:
        at = WEDNESDAY + timedelta(minutes=minutes)
        return ReleaseRow(
            rule_id="release_window",
            title="Release windows",
            accounts=accounts,
            name=name,
            at=at,
            starts_at=at - timedelta(minutes=5),
            ends_at=at + timedelta(minutes=5),
            products=(),
        )

    told = Outlook(
        resets=(),
        reset_timezone="UTC",
        exchange_timezone="UTC",
        markets=(),
        allowed=(),
        rules=(),
        releases=(row("now", 2, 101), row("next", 30, 101), row("later", 60, 101), row("b", 9, 2)),
    )
    assert list(edges_ahead(told, 101, WEDNESDAY)) == [
        (WEDNESDAY + timedelta(minutes=7), "now: window over"),
        (WEDNESDAY + timedelta(minutes=25), "next: no entries"),
    ]
