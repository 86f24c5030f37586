"""A lost database, a second guard, a gap: what the daemon makes of them, as a process."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from daemon_process import ACCOUNT, DaemonProcess, buy, day_net, lose, still_gateway, until

from risk_manager.admin.checkup import checkup
from risk_manager.admin.finding import Grade
from risk_manager.feed.client import AdminClient, FeedUnreachable

pytestmark = pytest.mark.wire


def audit(daemon: DaemonProcess, action: str) -> list[dict[str, Any]]:
    connection = sqlite3.connect(daemon.data / "state.db")
    try:
        found = connection.execute("SELECT new FROM audit WHERE action = ?", (action,)).fetchall()
    finally:
        connection.close()
    return [json.loads(row[0]) for row in found]


async def test_deleting_the_database_of_a_locked_account_unlocks_nothing(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with daemon.running():
            lose(gateway.exchange, "MNQ", 5, 240)
            await daemon.until_account(lambda a: a["lock_policy"] == "flat", "locked")
            await daemon.stop()
        for file in daemon.data.glob("state.db*"):
            file.unlink()
        async with daemon.running():
            account = await daemon.until_account(lambda a: a["locks"], "locked again")
            locks = {x["rule_id"]: x for x in account["locks"]}
            assert locks["lost_database"]["release"] == "reset"
            assert not locks["lost_database"]["admin_may_clear"]
            buy(gateway.exchange, "MES", 1)
            await until(lambda: gateway.exchange.is_flat(ACCOUNT), "closed at once")
        # Reconciled by then: the next start trusts the database, and the lock is in it.
        async with daemon.running():
            account = await daemon.account()
            assert "lost_database" in {x["rule_id"] for x in account["locks"]}
            assert not any("marker" in line for line in daemon.said)


async def test_a_second_guard_of_the_same_account_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with still_gateway() as gateway:
        first = DaemonProcess(tmp_path / "a").point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        second = DaemonProcess(tmp_path / "b").point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with first.running():
            await second.start()
            assert await second.ended() == 7
            assert "account 101" in second.said[-1]
            assert await first.stop() == 0
        async with second.running():
            assert await second.stop() == 0


async def test_a_gap_is_written_down_with_what_was_traded_in_it(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with daemon.running():
            buy(gateway.exchange, "MNQ", 7)
            await until(lambda: audit(daemon, "call.answered"), "the reduction is in the audit")
        (call,) = audit(daemon, "call.answered")
        assert call["path"] == "/Position/partialCloseContract"
        assert call["answer"] == "ok"
        assert (daemon.data / "heartbeat").exists()
        lose(gateway.exchange, "MES", 1, 4)
        async with daemon.running():
            (gap,) = audit(daemon, "was_down")
            assert not gap["stopped_cleanly"]
            assert gap["executions"] >= 2
            assert await daemon.stop() == 0
        async with daemon.running():
            gap = audit(daemon, "was_down")[-1]
            assert gap["stopped_cleanly"]
            assert gap["executions"] == 0


async def test_a_kill_is_told_by_the_doctor_and_after_the_start(tmp_path: Path) -> None:
    """F7.11: After a kill the doctor warns; after the start the gap is on the feed, and kept."""
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with daemon.running():
            await until((daemon.data / "heartbeat").exists, "a sign of life")
        findings = await asyncio.to_thread(checkup, daemon.config, daemon.data, env={})
        (found,) = (f for f in findings if f.check == "daemon")
        assert found.grade is Grade.WARN
        assert "ended without being stopped; nobody guards since" in found.found
        with pytest.raises(FeedUnreachable, match="ended without being stopped, nobody guards"):
            await daemon.snapshot()
        lose(gateway.exchange, "MES", 1, 4)
        async with daemon.running():
            told = (
                "the daemon ended without being stopped. Traded in that time: account 101, 2 exec"
            )
            (alarm,) = [a for a in (await daemon.snapshot())["alarms"] if a["code"] == "was_down"]
            assert alarm["severity"] == "critical"
            assert told in alarm["message"]
            assert told in audit(daemon, "alarm.was_down")[-1]["message"]
            assert await daemon.stop() == 0
        async with daemon.running():
            # No new one: only that of the run before is shown, and as over.
            (earlier,) = (await daemon.snapshot())["alarms"]
            assert earlier["over_at"] is not None
            assert {**earlier, "over_at": None} == alarm
            assert await daemon.stop() == 0
        findings = await asyncio.to_thread(checkup, daemon.config, daemon.data, env={})
        assert next(f for f in findings if f.check == "daemon").grade is Grade.OK


async def test_figures_are_not_known_before_the_trades_have_been_read(tmp_path: Path) -> None:
    """F7.7: With positions read and the day's trades not yet, an account is not known."""
    async with still_gateway() as gateway:
        lose(gateway.exchange, "MNQ", 2, 50)
        trades = gateway.faults.add("/Trade/search", hang=True)
        daemon = DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        await daemon.start()
        try:
            account = await daemon.until_account(
                lambda a: a["reported_at"] is not None and trades.hits, "positions are read"
            )
            assert (account["known"], account["realised_net"]) == (False, 0.0)
            gateway.faults.clear()
            account = await daemon.until_account(lambda a: a["known"], "known")
            assert account["realised_net"] == pytest.approx(day_net(gateway.exchange))
        finally:
            await daemon.kill()


async def test_limits_edited_in_the_database_lock_the_account_until_the_reset(
    tmp_path: Path,
) -> None:
    looser = ("limit: 5", "limit: 50")
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with daemon.running():
            await daemon.stop()
        connection = sqlite3.connect(daemon.data / "state.db")
        connection.execute(
            "UPDATE meta SET value = replace(value, ?, ?) WHERE key = 'note:limits'", looser
        )
        connection.commit()
        connection.close()
        for file in (daemon.data / "limits.json", daemon.config / "risk_config.yaml"):
            file.write_text(file.read_text().replace(*looser))
        async with daemon.running():
            account = await daemon.until_account(lambda a: a["locks"], "locked")
            (lock,) = (x for x in account["locks"] if x["rule_id"] == "lost_database")
            assert lock["release"] == "reset"
            assert not lock["admin_may_clear"]
            assert "which limits were in force" in lock["reason"]
            assert any("edited while the daemon was stopped" in line for line in daemon.said)
            buy(gateway.exchange, "MES", 1)
            await until(lambda: gateway.exchange.is_flat(ACCOUNT), "closed at once")


async def test_a_manual_lock_deleted_from_the_database_is_put_back_and_told(
    tmp_path: Path,
) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))
        async with daemon.running():
            wanted = {"account_id": ACCOUNT, "scope": "root:MES", "reason": "enough"}
            async with AdminClient.connect(daemon.data) as admin:
                await admin.call("set_lockout", wanted)
            await daemon.until_account(lambda a: a["locks"], "locked")
            await daemon.stop()
        connection = sqlite3.connect(daemon.data / "state.db")
        connection.execute("DELETE FROM lockouts")
        connection.commit()
        connection.close()
        async with daemon.running():
            account = await daemon.account()
            assert [(x["rule_id"], x["reason"]) for x in account["locks"]] == [("manual", "enough")]
            assert any("the locks are put back as they were" in line for line in daemon.said)
            assert audit(daemon, "lock.put_back")
            assert audit(daemon, "alarm.database_lost")
