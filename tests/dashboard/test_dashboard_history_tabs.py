"""The Lockouts and Enforcement tabs: what locked, what was done, how fast, and the filters."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dashboard_screen import screen
from feed_daemon import FeedDaemon, until

from risk_manager.dashboard.enforcement_facts import Totals, after, day_began, totals
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.enforcement_log import EnforcementLog
from risk_manager.dashboard.widgets.lockouts import Lockouts
from risk_manager.domain.decisions import Outcome
from risk_manager.domain.events import AdminAsked
from risk_manager.feed.messages import EnforcementAction

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
        decisions=2,
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
        await seen.shows(EnforcementLog, "0 breaches", "nothing had to be done")
        await daemon.trade("-600")
        await seen.shows(EnforcementLog, "1 breaches", "DECIDED", "SENT", "close position MNQZ6")
        [action] = daemon.enforcer.actions
        await daemon.settle(action, Outcome.REFUSED)
        await seen.shows(EnforcementLog, "1 FAILED", "the gateway said no", "lost $601.00 today")
        daemon.clock.skip(seconds=5)
        await daemon.tick()
        await daemon.position(0)
        await daemon.settle(daemon.enforcer.actions[-1])
        await seen.shows(EnforcementLog, "DONE", "(try 2)", " ms", "1 closes", "slowest")


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


def one_rule(text: str, rule: str) -> str:
    others = {"daily_realized_loss", "max_contracts"} - {rule}
    return text if rule in text and not any(other in text for other in others) else ""
