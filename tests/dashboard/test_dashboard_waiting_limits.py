"""Edited limits that wait for the reset, and the last fire drill: on every tab they belong to."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dashboard_screen import Listening, Seen, screen
from feed_daemon import FeedDaemon, until

from risk_manager.dashboard.drill import last_drill
from risk_manager.dashboard.once import summary
from risk_manager.dashboard.waiting_limits import at_the_reset, in_full, in_words, news
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.coming import Coming
from risk_manager.dashboard.widgets.connections import Connections
from risk_manager.dashboard.widgets.log_view import LogView
from risk_manager.dashboard.widgets.rule_screen import RuleScreen
from risk_manager.dashboard.widgets.rules import Rules
from risk_manager.dashboard.widgets.text import Text
from risk_manager.feed.client import FeedClient, read_once
from risk_manager.feed.messages import (
    AccountSnapshot,
    LastDrill,
    Outlook,
    RuleText,
    Snapshot,
    Waiting,
    WaitingChange,
)

NOW = datetime(2026, 11, 16, 15, tzinfo=UTC)
RESET = datetime(2026, 11, 16, 22, tzinfo=UTC)
LOOSER = WaitingChange(
    key="rules.daily_realized_loss.limit",
    old="500",
    new="900",
    effect="looser",
    rule_id="daily_realized_loss",
    name="limit",
)
SHADOWED = WaitingChange(
    key="accounts.202.mode",
    old="enforce",
    new="shadow",
    effect="looser",
    account_id=202,
    name="mode",
)
RESET_TIME = WaitingChange(key="trading_day.reset_time", old="17:00", new="18:00", effect="unknown")
TAKEN_OUT = replace(LOOSER, key="rules.daily_realized_loss", old="on", new="off", name="")
ACCOUNT = AccountSnapshot(
    account_id=101, name="combine-50k", mode="enforce", balance=None, can_trade=True,
    simulated=None, reported_at=None, trading_date="2026-11-16", realised_net=0,
    realised_gross=0, fees=0, unrealised=None, total=None, executions=0, round_turns=0,
    contracts_held=0, lock_policy=None,
)  # fmt: skip
DRILL = LastDrill(at=NOW, armed=13, fired=13, faults=(), limits_changed=False)


def waiting(changes: Iterable[WaitingChange], older: tuple[str, ...] = ()) -> Waiting:
    return Waiting(counts_from=RESET, changes=tuple(changes), older=older)


def outlook(waits: Waiting | None = None, *, older: bool = False) -> Outlook:
    rule_id = "daily_realized_loss" + (" (until the reset)" if older else "")
    return Outlook(
        resets=(RESET,),
        reset_timezone="America/New_York",
        exchange_timezone="America/Chicago",
        markets=(),
        allowed=(),
        rules=(
            RuleText(
                account_id=101, rule_id=rule_id, spec_id="RULE-003", title="Loss today", text=""
            ),
        ),
        waiting=waits,
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (LOOSER, "Loss today limit: 500 → 900"),
        (replace(LOOSER, account_id=101), "101 Loss today limit: 500 → 900"),
        (replace(LOOSER, rule_id="mine"), "mine limit: 500 → 900"),
        (SHADOWED, "202 mode: enforce → shadow"),
        (replace(SHADOWED, name=""), "202 account: enforce → shadow"),
        (RESET_TIME, "trading_day.reset_time: 17:00 → 18:00"),
    ],
)
def test_a_change_names_what_it_changes(change: WaitingChange, words: str) -> None:
    assert in_words(change, outlook(), ()) == words


def test_a_rule_that_was_taken_out_keeps_its_name_until_the_reset() -> None:
    assert in_words(TAKEN_OUT, outlook(older=True), ()) == "Loss today: on → off"


def test_one_line_names_two_and_counts_the_rest_and_only_of_this_account() -> None:
    three = outlook(waiting([LOOSER, RESET_TIME, TAKEN_OUT, SHADOWED]))
    assert at_the_reset(three, ACCOUNT, ()) == (
        "counts: Loss today limit: 500 → 900; trading_day.reset_time: 17:00 → 18:00; and 1 more"
    )
    assert at_the_reset(outlook(waiting([SHADOWED])), ACCOUNT, ()) == ""
    assert at_the_reset(outlook(), ACCOUNT, ()) == ""
    only_older = outlook(waiting([], older=("daily_realized_loss",)))
    assert at_the_reset(only_older, ACCOUNT, ()) == "older version ends: Loss today"


def test_in_full_each_change_says_whether_it_counts_already() -> None:
    both = replace(LOOSER, effect="unknown", counts_now=True)
    told = list(in_full(outlook(waiting([both], older=("daily_realized_loss", "mine"))), 101, ()))
    assert told == [
        "Loss today limit: 500 → 900, unknown; it counts already, the older version too until then",
        "mine: a version of today holds as well until then",
    ]


@pytest.mark.parametrize(
    ("before", "after", "at", "told"),
    [
        ([], [LOOSER], NOW, [("WAITS", "waits for the reset at ")]),
        ([LOOSER], [LOOSER], NOW, []),
        ([LOOSER], [], NOW, [("CANCELLED", "no longer waits for the reset: Loss today")]),
        ([LOOSER], [], RESET, [("IN FORCE", "changed limits count now: Loss today")]),
        ([LOOSER], [replace(LOOSER, new="800")], NOW, [("WAITS", "waits for the reset")]),
        (
            [LOOSER],
            [RESET_TIME],
            NOW,
            [("CANCELLED", "no longer waits for the reset"), ("WAITS", "waits for the reset")],
        ),
    ],
)
def test_news_of_what_waits(
    before: list[WaitingChange],
    after: list[WaitingChange],
    at: datetime,
    told: list[tuple[str, str]],
) -> None:
    old, new = (outlook(waiting(w) if w else None) for w in (before, after))
    found = list(news(old, new, (), at))
    assert [n.word for n in found] == [word for word, _ in told]
    for said, (_, words) in zip(found, told, strict=True):
        assert said.sentence.startswith(words)


def test_nothing_is_news_before_the_first_outlook() -> None:
    assert list(news(None, outlook(waiting([LOOSER])), (), NOW)) == []


@pytest.mark.parametrize(
    ("drill", "word", "good", "more"),
    [
        (None, "NEVER HELD", False, "run: risk-manager admin selftest"),
        (DRILL, "13 of 13 armed rules fired", True, "the limits are the same"),
        (replace(DRILL, limits_changed=True), "13 of 13", False, "LIMITS CHANGED SINCE; run: "),
        (replace(DRILL, fired=12, faults=("x",)), "12 of 13", False, "NOT AS THEY SHOULD: x; "),
        (replace(DRILL, armed=0, fired=0), "0 of 0 armed rules fired", False, ""),
        (replace(DRILL, at=NOW - timedelta(days=3)), "13 of 13", True, "3 days ago"),
    ],
)
def test_the_last_drill_in_words(drill: LastDrill | None, word: str, good: bool, more: str) -> None:
    said, is_good, told = last_drill(drill, NOW)
    assert said.startswith(word)
    assert is_good is good
    assert more in told


def notices(seen: Seen) -> str:
    assert isinstance(seen.app, Listening)
    return "\n".join(seen.app.notices)


@pytest.mark.wire
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_what_waits_is_on_rules_and_overview_and_its_end_is_told(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with FeedDaemon(tmp_path) as daemon:
        app = Listening(FeedClient(tmp_path, reconnect_s=(0.05,)))
        async with app.run_test(size=size) as pilot:
            seen = Seen(app, pilot)
            await seen.shows(AccountHeader, "combine-50k")
            daemon.waiting = replace(
                waiting([LOOSER, SHADOWED]), counts_from=daemon.pipeline.state.day.ends_at
            )
            await daemon.tick()
            await seen.shows(Coming, "counts: Loss today limit: 500 → 900")
            await until(lambda: "waits for the reset at" in notices(seen))
            await pilot.press("4")
            text = await seen.shows(Rules, "WAITS   Loss today limit: 500 → 900, looser")
            assert "until these edits count" in text
            assert "mode" not in text  # of another account
            await pilot.press("down", "enter")
            explained = await until(
                lambda: (
                    isinstance(app.screen, RuleScreen) and str(app.screen.query_one(Text).content)
                )
            )
            assert "Waits until" in str(explained)
            await pilot.press("escape")
            daemon.waiting = None
            await daemon.tick()
            await until(lambda: "no longer waits for the reset: Loss today" in notices(seen))
            await pilot.press("4")
            await until(lambda: "WAITS" not in seen.text(Rules))
            daemon.waiting = replace(
                waiting([LOOSER]), counts_from=daemon.pipeline.state.day.ends_at
            )
            await daemon.tick()
            await seen.shows(Rules, "WAITS")
            daemon.waiting = None
            daemon.clock.skip(days=1)
            await daemon.tick()
            await until(lambda: "changed limits count now: Loss today limit" in notices(seen))
            await pilot.press("l")
            log = await seen.shows(LogView, "WAITS", "CANCELLED", "IN FORCE")
            assert log.index("IN FORCE") < log.index("CANCELLED")


@pytest.mark.wire
async def test_the_last_drill_is_among_the_connections(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon, screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("5")
        await seen.shows(Connections, "fire drill", "NEVER HELD", "admin selftest")
        daemon.drill = DRILL
        await daemon.tick()
        await seen.shows(Connections, "13 of 13 armed rules fired", "the limits are the same")


@pytest.mark.wire
async def test_once_tells_what_waits_and_the_drill(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon:
        daemon.waiting, daemon.drill = waiting([LOOSER, SHADOWED]), DRILL
        status, raw, message = await read_once(tmp_path)
    assert raw["outlook"]["waiting"]["changes"][0]["key"] == LOOSER.key
    assert isinstance(message.data, Snapshot)
    lines = "\n".join(summary(status, message.data, list(message.data.accounts)))
    assert "fire drill: 13 of 13 armed rules fired" in lines
    assert "Loss today limit: 500 → 900, looser" in lines
    assert "mode" not in lines
