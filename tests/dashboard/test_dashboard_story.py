"""The story of the day and its view: one line an incident, of every account, and after a gap."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dashboard_screen import screen
from feed_daemon import FeedDaemon, until

from risk_manager.dashboard.story import KEPT, ConnectionMade, Deed, Story, incidents
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.log_view import LogView
from risk_manager.domain.decisions import Outcome
from risk_manager.feed.messages import (
    AlarmRow,
    DailyReset,
    EnforcementAction,
    LockoutCleared,
    LockoutSet,
)

AT = datetime(2026, 11, 16, 15, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def decision(after: int, reason: str = "holding 6, limit 5", **more: Any) -> EnforcementAction:
    given: dict[str, Any] = {"action": "REDUCE_POSITION", "severity": "breach", **more}
    return EnforcementAction(
        phase="decided", reason=reason, rule_ids=("r",), timestamp=AT + after * SECOND, **given
    )


def call(
    after: int, phase: str, action_id: str = "a", action: str = "REDUCE_POSITION", **more: Any
) -> EnforcementAction:
    return EnforcementAction(
        phase=phase,
        action=action,
        reason="locked: holding 6",
        rule_ids=("r",),
        timestamp=AT + after * SECOND,
        action_id=action_id,
        symbol="MNQZ6",
        **more,
    )


def lock(after: int, scope: str = "account", policy: str = "flat") -> LockoutSet:
    return LockoutSet(
        lockout_id="l",
        rule_id="r",
        scope=scope,
        policy=policy,
        kind="hard",
        release="time",
        reason="too much",
        locked_at=AT + after * SECOND,
        locked_until=AT + timedelta(minutes=30),
    )


def told(*deeds: Deed) -> list[tuple[str, str]]:
    story = Story()
    for deed in deeds:
        story = story.told(101, deed)
    return [(i.word, i.sentence(AT)) for i in incidents(story)]


def test_a_decision_its_calls_and_its_lock_are_one_line() -> None:
    [(word, sentence)] = told(
        decision(0), lock(0), call(1, "started"), call(2, "confirmed", duration_ms=26.4)
    )
    assert word == "LOCKED"
    assert sentence.startswith("holding 6, limit 5: reduced MNQZ6 in 26 ms, locked until ")


def test_calls_of_one_kind_are_counted_where_they_are_named() -> None:
    orders = [
        call(n, "confirmed", action="CANCEL_ORDER", action_id=str(n), duration_ms=200.0 + n)
        for n in (1, 2)
    ]
    closes = [
        call(3, "failed", action="CLOSE_POSITION", action_id="3"),
        call(4, "failed", action="CLOSE_POSITION", action_id="4"),
        call(5, "confirmed", action="CLOSE_POSITION", action_id="5"),
    ]
    [(_, sentence)] = told(decision(0), *orders, *closes)
    assert sentence == (
        "holding 6, limit 5: cancelled 2 orders of MNQZ6 in 202 ms, "
        "close position MNQZ6 FAILED 2 times, closed MNQZ6"
    )


@pytest.mark.parametrize(
    ("deeds", "word", "words"),
    [
        ((decision(0),), "DECIDED", "holding 6, limit 5: reduce position"),
        ((decision(0, shadow=True),), "SHADOW", "holding 6, limit 5: would reduce position"),
        ((decision(0, action="WARN", severity="warning"),), "WARNED", "holding 6, limit 5"),
        ((decision(0), call(1, "started")), "SENT", "is under way"),
        (
            (decision(0), call(1, "failed", details={"message": "no"})),
            "FAILED",
            "reduce position MNQZ6 FAILED (no)",
        ),
        (
            (
                decision(0),
                call(1, "failed", action_id="1", details={"order_id": 7}),
                call(2, "confirmed", action_id="2", details={"order_id": 7}),
            ),
            "DONE",
            "reduced MNQZ6",
        ),
        (
            (
                decision(0),
                call(1, "failed", action_id="1", details={"order_id": 7}),
                call(2, "confirmed", action_id="2", details={"order_id": 8}),
            ),
            "FAILED",
            "reduced MNQZ6",
        ),
        ((decision(0), call(1, "uncertain")), "UNSURE", "reduce position MNQZ6 uncertain"),
        ((decision(0), call(1, "confirmed")), "DONE", "reduced MNQZ6"),
        ((lock(0, "root:RTY"),), "BLOCKED", "too much: locked RTY until"),
        (
            (decision(0), lock(0, policy="no_entries"), call(1, "failed")),
            "FAILED",
            "FAILED, no new entries until",
        ),
        ((lock(0, policy="no_entries"),), "NO NEW ENTRIES", "too much: until"),
    ],
)
def test_the_word_is_the_gravest_of_what_came_of_it(
    deeds: tuple[Deed, ...], word: str, words: str
) -> None:
    [(said, sentence)] = told(*deeds)
    assert said == word
    assert words in sentence


def test_a_call_long_after_the_decision_is_an_incident_of_its_own() -> None:
    assert len(told(decision(0), call(61, "confirmed"))) == 2
    assert len(told(decision(0), call(60, "confirmed"))) == 1


def test_a_call_of_the_same_instant_belongs_to_the_newer_decision() -> None:
    ended = call(7, "confirmed", duration_ms=1000.4)  # it began a little before the decision
    newer, older = told(decision(0), decision(6, reason="holding 4, limit 3"), ended)
    assert newer == ("DONE", "holding 4, limit 3: reduced MNQZ6 in 1,000 ms")
    assert older[0] == "DECIDED"


def test_what_nothing_joins_has_its_own_words() -> None:
    cleared = LockoutCleared(
        lockout_id="l", rule_id="r", scope="root:ES", cleared_at=AT, cleared_by="DAILY_RESET"
    )
    reset = DailyReset(
        reset_time=AT + SECOND,
        previous_date="2026-11-16",
        trading_date="2026-11-17",
        previous_pnl=-12.5,
        previous_trade_count=4,
        lockouts_cleared=True,
        lockouts_cleared_count=1,
    )
    alarm = AlarmRow(at=AT + 2 * SECOND, code="x", message="the disk is full", severity="critical")
    assert told(cleared, reset, alarm) == [
        ("ALARM", "the disk is full"),
        (
            "NEW DAY",
            "trading day 2026-11-17 began; 2026-11-16 ended at -12.50 net, 4 fills; 1 lock ended",
        ),
        ("RELEASED", "lock on ES ended: daily reset"),
    ]


def test_a_new_run_of_the_daemon_says_that_nobody_guarded() -> None:
    story = Story().told(None, ConnectionMade(gap_s=64, new_run=True), at=AT)
    [incident] = incidents(story, [101])
    assert incident.sentence(AT) == (
        "the daemon is heard again after 1m04s; it was started anew, and nobody guarded until then"
    )


def test_it_is_bounded_and_keeps_the_newest() -> None:
    story = Story()
    for number in range(KEPT + 30):
        story = story.told(101, decision(number, reason=str(number)))
    found = incidents(story)
    assert len(found) == KEPT
    assert found[0].reason == str(KEPT + 29)
    assert incidents(story, [202]) == []
    assert incidents(story, rule_id="another") == []


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FeedDaemon]:
    async with FeedDaemon(tmp_path, accounts={101: "combine-50k", 202: "express"}) as running:
        yield running


@pytest.mark.wire
async def test_the_log_has_every_account_and_can_be_filtered(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await daemon.position(6, account_id=202)
    async with screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("l")
        first = await seen.shows(LogView, "express  holding 6 contracts, limit 5", "SENT")
        assert first.count("\n") == 0
        await daemon.settle(daemon.enforcer.actions[-1], Outcome.REFUSED)
        await seen.shows(LogView, "FAILED", "the gateway said no")
        await daemon.trade("-600")
        text = await seen.shows(LogView, "LOCKED", "combine-50k  lost $601.00 today", "until")
        assert text.index("lost $601.00") < text.index("holding 6")  # the newest first
        await seen.pilot.press("e")
        await until(lambda: "express" not in seen.text(LogView))
        assert "lost $601.00" in seen.text(LogView)
        await seen.pilot.press("e", "f")
        await until(lambda: "lost" not in seen.text(LogView) or "holding" not in seen.text(LogView))


@pytest.mark.wire
async def test_a_gap_and_a_new_run_are_in_the_story(tmp_path: Path) -> None:
    async with screen(tmp_path) as seen:
        async with FeedDaemon(tmp_path):
            await seen.shows(AccountHeader, "combine-50k")
            await seen.pilot.press("l")
        await seen.shows(LogView, "LOST", "the screen lost the daemon")
        async with FeedDaemon(tmp_path, run_id="run-2"):
            text = await seen.shows(LogView, "BACK", "nobody guarded until then")
            assert text.count("LOST") == 1  # however many tries it took


@pytest.mark.wire
@pytest.mark.parametrize("text", ["[/]", "[@click=app.quit]x", "]]", "\u202eevil", "a\x1b[31mb"])
async def test_hostile_words_are_only_words(tmp_path: Path, text: str) -> None:
    async with FeedDaemon(tmp_path, accounts={101: text, 202: text * 9}) as daemon:
        await daemon.contract("CON.F.US.MNQ.Z26", text * 12)
        await daemon.position(6)
        async with screen(tmp_path, (80, 24)) as seen:
            await seen.pilot.press("l")
            shown = await seen.shows(LogView, "limit 5")
            assert "\u202e" not in shown
            assert "\x1b" not in shown
