"""The Lockouts and Enforcement tabs: what locked, what was done, how fast, and the filters."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dashboard_screen import screen
from feed_daemon import FeedDaemon, until

from risk_manager.dashboard.enforcement_facts import Totals, after, day_began, totals
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.enforcement_log import EnforcementLog
from risk_manager.dashboard.widgets.enforcements import Enforcements
from risk_manager.dashboard.widgets.lockouts import Lockouts
from risk_manager.domain.decisions import Outcome
from risk_manager.domain.events import AdminAsked
from risk_manager.feed.history_request import HistoryRequest, refused
from risk_manager.feed.messages import EnforcementAction, EnforcementTotals, History, PastLock

AT = datetime(2026, 11, 16, 15, 0, tzinfo=UTC)


def call(action: str, phase: str, ms: float | None = None) -> EnforcementAction:
    return EnforcementAction(
        phase=phase,
        action=action,
        reason="",
        rule_ids=("r",),
        timestamp=AT,
        action_id="a",
        duration_ms=ms,
    )


def decision(severity: str, *, shadow: bool = False) -> EnforcementAction:
    return EnforcementAction(
        phase="decided",
        action="LOCKOUT",
        reason="",
        rule_ids=("r",),
        timestamp=AT,
        severity=severity,
        shadow=shadow,
    )


def test_totals_count_what_came_of_it() -> None:
    assert totals([]) == Totals()
    assert totals(
        [
            decision("breach"),
            decision("critical"),
            decision("warning"),
            replace(decision("breach"), action="COOLDOWN"),
            replace(decision("breach"), action="REDUCE_POSITION"),
            decision("breach", shadow=True),
            call("CLOSE_POSITION", "confirmed", 26),
            call("REDUCE_POSITION", "confirmed", 40.5),
            call("CLOSE_POSITION", "failed", 900),
            call("CANCEL_ORDER", "confirmed"),
            call("CANCEL_ORDER", "started"),
            call("MOVE_STOP", "uncertain"),
            call("PLACE_EXIT", "confirmed", 30),
        ]
    ) == Totals(
        decisions=4,
        locks=2,
        pauses=1,
        shadowed=1,
        reductions=2,
        cancels=1,
        stops=1,
        failed=1,
        unsure=1,
        slowest_ms=40.5,
    )


@pytest.mark.parametrize(
    ("left", "since"),
    [(1, 23), (23, 1), (24, 24), (25, 23), (71, 1)],
)
def test_the_day_began_at_the_last_turn_of_the_clock(left: int, since: int) -> None:
    hours = timedelta(hours=1)
    assert day_began(AT + left * hours, AT) == AT - since * hours


def test_the_day_is_unknown_before_the_daemon_has_told_it() -> None:
    assert day_began(None, AT) is None
    assert day_began(AT, None) is None


def test_the_filter_goes_through_every_rule_and_back_to_all() -> None:
    assert [after(["a", "b"], rule) for rule in ("", "a", "b", "gone")] == ["a", "b", "", ""]
    assert after([], "") == ""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FeedDaemon]:
    async with FeedDaemon(tmp_path, accounts={101: "combine-50k", 202: "express"}) as running:
        yield running


async def ask(daemon: FeedDaemon, verb: str, reason: str) -> None:
    asked = {"at": daemon.clock.now(), "account_id": 101, "verb": verb, "reason": reason}
    if verb == "lock":
        asked |= {"policy": "no_entries", "until": daemon.clock.now() + timedelta(minutes=5)}
    await daemon.happen(AdminAsked.model_validate(asked))


@pytest.mark.wire
async def test_a_lock_is_told_whole_and_its_end_is_kept(daemon: FeedDaemon, tmp_path: Path) -> None:
    async with screen(tmp_path, (80, 24)) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("7")
        text = await seen.shows(Lockouts, "In force", "none")
        assert "none that the daemon still tells of" in text
        await ask(daemon, "lock", "lunch")
        await seen.shows(
            Lockouts,
            "NO NEW ENTRIES",
            "until",
            "whole account",
            "lunch",
            "an administrator may lift",
        )
        await ask(daemon, "unlock", "back early")
        text = await seen.shows(Lockouts, "lifted by an administrator", "lunch")
        assert "NO NEW ENTRIES" not in text
        await daemon.trade("-600")
        await seen.shows(Lockouts, "LOCKED", "nobody can lift it", "close all and lock")


@pytest.mark.wire
async def test_each_enforcement_has_its_outcome_its_reason_and_its_time(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await daemon.position(1)
    async with screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("8")
        await seen.shows(EnforcementLog, "0 decisions", "nothing had to be done")
        await daemon.trade("-600")
        await seen.shows(
            EnforcementLog, "1 decision (1 lock)", "DECIDED", "SENT", "close position MNQZ6"
        )
        [action] = daemon.enforcer.actions
        await daemon.settle(action, Outcome.REFUSED)
        await seen.shows(EnforcementLog, "1 FAILED", "the gateway said no", "lost $601.00 today")
        daemon.clock.skip(seconds=5)
        await daemon.tick()
        await daemon.position(0)
        await daemon.settle(daemon.enforcer.actions[-1])
        await seen.shows(EnforcementLog, "DONE", "(try 2)", " ms", "1 close ", "slowest")


@pytest.mark.wire
async def test_both_tabs_tell_an_enforcement_alike(daemon: FeedDaemon, tmp_path: Path) -> None:
    refusal = replace(call("CLOSE_POSITION", "failed", 3041), reason="locked: lost $530.53 today")
    warning = replace(decision("warning"), action="WARN", reason="$416 of $500 is used")
    async with screen(tmp_path, (160, 50)) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        latest = seen.app.feed.latest
        account = replace(latest.accounts[0], enforcements=(refusal, warning))
        shown = replace(seen.app.glance(latest), account=account)
        for widget, key in ((Enforcements, "1"), (EnforcementLog, "8")):
            await seen.pilot.press(key)
            await seen.pilot.pause()
            lines = list(seen.app.screen.query_one(widget).lines(shown))
            text = "\n".join(line.plain for line in lines)
            assert "close position in 3,041 ms" in text
            assert "the gateway told no reason; locked: lost $530.53 today" in text
            assert "WARNED   $416 of $500 is used" in text


@pytest.mark.wire
async def test_the_lists_are_filtered_by_rule_and_by_account(
    daemon: FeedDaemon, tmp_path: Path
) -> None:
    await daemon.position(6, account_id=101)
    await daemon.trade("-600", account_id=101)
    await daemon.position(7, account_id=202)
    async with screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("8")
        both = await seen.shows(EnforcementLog, "daily_realized_loss", "max_contracts")
        assert "express" not in both
        await seen.pilot.press("f")
        only = await until(lambda: one_rule(seen.text(EnforcementLog), "daily_realized_loss"))
        assert "max_contracts" not in only
        await seen.pilot.press("f")
        await until(lambda: one_rule(seen.text(EnforcementLog), "max_contracts"))
        await seen.pilot.press("e")
        await seen.shows(EnforcementLog, "express", "combine-50k", "closing 2 MNQZ6")
        await seen.pilot.press("f")
        await seen.shows(EnforcementLog, "daily_realized_loss", "express")
        await seen.pilot.press("7", "e")
        text = await seen.shows(Lockouts, "LOCKED")
        assert "combine-50k" not in text
        await seen.pilot.press("a")
        await until(lambda: "LOCKED" not in seen.text(Lockouts))


def locked(number: int, *, over: bool = True) -> PastLock:
    return PastLock(
        rule_id="manual" if number % 2 else "[bold",
        scope="account",
        policy="flat",
        kind="manual",
        release="manual",
        reason=f"reason {number}",
        set_at=AT - timedelta(days=number),
        expires_at=None,
        cleared_at=AT - timedelta(days=number, hours=-2) if over else None,
        cleared_by="ADMIN_OVERRIDE" if over else "",
        trading_date="2026-11-16",
    )


async def history(request: HistoryRequest) -> History:
    """Two pages of each list, and the totals of two rules."""
    newest = request.before is None
    numbers = range(3) if newest else range(3, 5)
    answer = History(id=request.id, kind=request.kind, before=request.before)
    match request.kind:
        case "totals":
            one = EnforcementTotals(
                rule_ids=("a",),
                breaches=70,
                shadowed=0,
                closes=64,
                cancels=3,
                stops=0,
                failed=1,
                uncertain=0,
                slowest_ms=812.0,
                locks=1,
                pauses=9,
            )
            return replace(answer, totals=(one, replace(one, rule_ids=("a", "b"), slowest_ms=1e4)))
        case "locks":
            told = tuple(locked(n, over=n > 0) for n in numbers)
            return replace(answer, locks=told, next="x" if newest else None)
        case "enforcements":
            done = tuple(
                replace(
                    decision("breach"),
                    reason=f"reason {n}",
                    rule_ids=("a",) if n % 2 else ("b",),
                    timestamp=AT - timedelta(days=n),
                )
                for n in numbers
            )
            return replace(answer, enforcements=done, next="x" if newest else None)
    return refused(request, "not here")


@pytest.mark.wire
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_days_totals_are_exact_and_follow_the_filter(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with FeedDaemon(tmp_path, history=history), screen(tmp_path, size) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("8")
        text = await seen.shows(
            EnforcementLog, "140 decisions (2 locks, 18 pauses)", "128 closes", "6 cancels"
        )
        assert "2 FAILED" in text
        assert "10,000 ms" in text
        assert "at least" not in text
        await seen.pilot.press("f", "f")
        await seen.shows(EnforcementLog, "70 decisions", "slowest 10,000 ms")  # of a and b: b
        await seen.pilot.press("f")
        await seen.shows(EnforcementLog, "140 decisions")


@pytest.mark.wire
async def test_enforcements_of_earlier_days_are_paged(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, history=history) as daemon, screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await daemon.trade("-600")
        await seen.pilot.press("8")
        text = await seen.shows(EnforcementLog, "lost $601.00 today", "reason 0", "reason 2")
        assert text.index("lost $601.00") < text.index("reason 0") < text.index("reason 2")
        assert "14 Nov" in text
        panel = seen.app.screen.query_one(EnforcementLog)
        await until(lambda: "b: earlier" in str(panel.border_subtitle))
        await seen.pilot.press("b")
        text = await seen.shows(EnforcementLog, "reason 3", "reason 4")
        assert "lost $601.00" not in text
        assert "an earlier page, b: the newest again" in str(panel.border_subtitle)
        await seen.pilot.press("b")
        await seen.shows(EnforcementLog, "lost $601.00 today")


@pytest.mark.wire
async def test_locks_of_earlier_days_say_how_long_and_how_they_ended(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path, history=history), screen(tmp_path) as seen:
        await seen.shows(AccountHeader, "combine-50k")
        await seen.pilot.press("7")
        text = await seen.shows(Lockouts, "Over, the newest first", "reason 1", "reason 2")
        assert "reason 0" not in text  # it is in force, and told above by the daemon itself
        assert "LOCKED 2h00m  whole account: reason 1" in text
        assert "lifted by an administrator" in text
        await seen.pilot.press("b")
        await seen.shows(Lockouts, "reason 3", "reason 4")
        await seen.pilot.press("f")
        text = await seen.shows(Lockouts, "[bold", "reason 4")
        assert "reason 3" not in text
        panel = seen.app.screen.query_one(Lockouts)
        assert "[bold" in str(panel.border_subtitle)  # a name is no markup


def one_rule(text: str, rule: str) -> str:
    others = {"daily_realized_loss", "max_contracts"} - {rule}
    return text if rule in text and not any(other in text for other in others) else ""
