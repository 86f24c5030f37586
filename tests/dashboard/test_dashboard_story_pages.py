"""Incidents of the log opened into their phases, and earlier days from the daemon's database."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dashboard_screen import Seen, screen
from feed_daemon import FeedDaemon, until

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.history_asking import NO_MORE, pages_of
from risk_manager.dashboard.incident_phases import phases
from risk_manager.dashboard.picture import Picture
from risk_manager.dashboard.story import Deed, Story, incidents
from risk_manager.dashboard.story_pages import story_shown
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.log_view import LogView
from risk_manager.domain.decisions import Outcome
from risk_manager.feed.history_request import HistoryRequest
from risk_manager.feed.messages import (
    AccountSnapshot,
    AlarmRow,
    DayResult,
    EnforcementAction,
    History,
    LockoutSet,
    PastLock,
)

AT = datetime(2026, 11, 16, 15, 0, tzinfo=UTC)
MS = timedelta(milliseconds=1)
LOSS = "lost $303.72 today, limit $250.00"


def decision(**more: Any) -> EnforcementAction:
    given: dict[str, Any] = {
        "action": "CLOSE_ALL_AND_LOCKOUT", "severity": "breach", "timestamp": AT, **more
    }  # fmt: skip
    return EnforcementAction(
        phase="decided", reason=LOSS, rule_ids=("loss",), details={"subject": "", "count": 1},
        **given,
    )  # fmt: skip


def call(phase: str, after_ms: int, took_ms: float | None = None, **more: Any) -> EnforcementAction:
    return EnforcementAction(
        phase=phase, action="CLOSE_POSITION", reason=LOSS, rule_ids=("loss",), action_id="a",
        timestamp=AT + after_ms * MS, duration_ms=took_ms, symbol="MNQZ6",
        **{"details": {}, **more},
    )  # fmt: skip


LOCK = LockoutSet(
    lockout_id="101:account:loss", rule_id="loss", scope="account", policy="flat", kind="hard",
    release="reset", reason=LOSS, locked_at=AT, locked_until=None,
)  # fmt: skip


def opened(*deeds: Deed, room: int = 200) -> str:
    story = Story().told(101, *deeds)
    [incident] = incidents(story)
    return "\n".join(map(str, phases(incident, AT, room)))


def test_a_lock_and_its_close_are_decided_sent_and_done_to_the_millisecond() -> None:
    lines = opened(decision(), LOCK, call("confirmed", 28, 26.4)).splitlines()
    assert "DECIDED  close all and lock: lost $303.72 today" in lines[0]
    assert "LOCKED   the whole account, ends at the daily reset" in lines[1]
    assert "+2 ms  SENT     close position MNQZ6" in lines[2]
    assert "+28 ms  DONE     closed MNQZ6, verified after 26 ms" in lines[3]


def test_what_failed_says_at_which_try_and_why() -> None:
    refused = call(
        "failed", 900, 898.0, attempt=3, details={"message": "market shut", "error_code": 8}
    )
    told = opened(decision(), refused)
    assert "SENT     close position MNQZ6, try 3" in told
    assert "FAILED   close position MNQZ6 after 898 ms: market shut; the gateway's code 8" in told
    assert "no answer yet" in opened(decision(), call("started", 2))
    assert "UNSURE" in opened(decision(), call("uncertain", 5000, 4998.0))


def test_what_is_not_of_a_rule_is_opened_into_its_whole_text() -> None:
    alarm = AlarmRow(at=AT, code="x", message="the disk is full " * 9, severity="critical")
    told = opened(alarm, room=60)
    assert told.count("the disk is full") + told.count("disk\n") >= 8
    assert all(len(line) <= 60 for line in told.splitlines())


def account(account_id: int) -> AccountSnapshot:
    return AccountSnapshot(
        account_id=account_id, name="", mode="enforce", balance=None, can_trade=None,
        simulated=None, reported_at=None, trading_date="2026-11-16", realised_net=0.0,
        realised_gross=0.0, fees=0.0, unrealised=0.0, total=0.0, executions=0, round_turns=0,
        contracts_held=0, lock_policy=None,
    )  # fmt: skip


def at_the_log(*told: tuple[int, History], story: Story | None = None, **befores: str) -> Glance:
    accounts = (account(101), account(202))
    picture = Picture(
        accounts=accounts,
        histories={("story", number): page for number, page in told},
        story=story or Story(),
    )
    return Glance(
        picture=picture, account=accounts[0], now=AT, mono=0.0, tab="log",
        every_account=True, befores={("story", int(k[1:])): v for k, v in befores.items()},
    )  # fmt: skip


def page(*enforcements: EnforcementAction, before: str | None = None, **more: Any) -> History:
    return History(id=1, kind="story", before=before, enforcements=enforcements, **more)


def test_todays_page_adds_only_what_was_not_heard() -> None:
    heard = Story().told(101, decision(), call("started", 2))
    stored = page(
        replace(decision(), details={"subject": "", "count": 4}),
        call("confirmed", 28, 26.0),
        replace(decision(), rule_ids=("other",), timestamp=AT - timedelta(hours=3)),
    )
    found = incidents(story_shown(at_the_log((101, stored), story=heard)))
    assert [i.rule_ids for i in found] == [("loss",), ("other",)]
    assert found[0].word == "SENT"  # what is heard is newer than the page


def test_an_earlier_day_is_shown_alone_with_both_ends_of_its_locks() -> None:
    lock = PastLock(
        rule_id="loss", scope="account", policy="flat", kind="hard", release="reset", reason=LOSS,
        set_at=AT - timedelta(days=3), expires_at=None, cleared_at=AT - timedelta(days=2),
        cleared_by="DAILY_RESET", trading_date="2026-11-13",
    )  # fmt: skip
    earlier = page(before="2026-11-13", locks=(lock,))
    glance = at_the_log(
        (101, earlier), (202, page(decision())), story=Story().told(101, decision()),
        _101="2026-11-13", _202="2026-11-13",
    )  # fmt: skip
    assert [i.word for i in incidents(story_shown(glance))] == ["RELEASED", "LOCKED"]


def test_all_accounts_go_to_the_same_earlier_day() -> None:
    both = at_the_log((101, page(next="2026-11-13")), (202, page(next="2026-11-11")))
    assert pages_of(both) == {("story", 101): "2026-11-13", ("story", 202): "2026-11-13"}
    only_one = at_the_log((101, page(next=None)), (202, page(next="2026-11-11")))
    assert pages_of(only_one) == {("story", 101): "2026-11-11", ("story", 202): "2026-11-11"}
    oldest = at_the_log((101, page(before="2026-11-11")), _101="2026-11-11", _202="2026-11-11")
    assert pages_of(oldest) == {}


def test_a_busy_day_goes_on_for_the_account_that_has_more_of_it() -> None:
    busy = at_the_log((101, page(next="2026-11-16/7.5")), (202, page(next="2026-11-13")))
    assert pages_of(busy) == {
        ("story", 101): "2026-11-16/7.5",
        ("story", 202): f"2026-11-16/{NO_MORE}",
    }


async def two_days(request: HistoryRequest) -> History:
    """Today, and a Friday with a close that failed."""
    answer = History(id=request.id, kind=request.kind, before=request.before)
    if request.kind != "story":
        return answer
    if request.before is None:
        return replace(answer, next="2026-11-13")
    friday = timedelta(days=-3)
    failed = call("failed", 900, 898.0, details={"message": "market shut"})
    return replace(
        answer,
        enforcements=(
            replace(failed, timestamp=failed.timestamp + friday),
            decision(timestamp=AT + friday),
        ),
        days=(
            DayResult(
                trading_date="2026-11-13", net=-303.72, gross=-300.0, fees=3.72, executions=6,
                end_balance=None,
            ),
        ),
    )  # fmt: skip


@pytest.mark.wire
@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_enter_opens_an_incident_and_b_goes_to_the_day_before(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with FeedDaemon(tmp_path, history=two_days) as daemon, screen(tmp_path, size) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await daemon.position(6)
        await seen.pilot.press("l")
        await seen.shows(LogView, "▶", "holding 6 contracts", "under way")
        await seen.pilot.press("enter")
        await seen.shows(LogView, "DECIDED", "SENT", "no answer yet")
        await daemon.settle(daemon.enforcer.actions[-1], Outcome.REFUSED)
        await seen.shows(LogView, "FAILED", "the gateway said no")  # it stays open, and live
        await seen.pilot.press("enter")
        await until(lambda: "DECIDED" not in seen.text(LogView))
        panel = seen.app.screen.query_one(LogView)
        await until(lambda: "b: earlier" in str(panel.border_subtitle))
        await seen.pilot.press("b")
        text = await seen.shows(LogView, "2026-11-13 ended at -303.72 net, 6 fills", "Fri 13 Nov")
        assert "holding 6" not in text
        await seen.pilot.press("enter")
        await seen.shows(LogView, "FAILED", "market shut")
        await seen.pilot.press("b")
        await seen.shows(LogView, "holding 6 contracts")


@pytest.mark.wire
async def test_the_chosen_incident_stays_chosen_and_in_view(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon, screen(tmp_path, (80, 24)) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        for number in range(30):
            await daemon.position(6 + number)
            await daemon.position(0)
        await seen.pilot.press("l")
        await seen.shows(LogView, "holding 35")
        await seen.pilot.press("pagedown", "pagedown", "down")
        chosen = await until(lambda: chosen_line(seen, "holding"))
        panel = seen.app.screen.query_one(LogView)
        assert panel.scroll_y > 0
        await daemon.position(7, account_id=101)
        await seen.shows(LogView, "holding 7")
        assert chosen_line(seen, "") == chosen
        await seen.pilot.press("pageup", "pageup", "pageup")
        await until(lambda: panel.scroll_y == 0)


def chosen_line(seen: Seen, words: str) -> str:
    lines = [line for line in seen.text(LogView).splitlines() if line.startswith("▶")]
    return lines[0] if len(lines) == 1 and words in lines[0] else ""
