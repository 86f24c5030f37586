"""The trader's sessions: kept, audited, and taken up after a restart."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from risk_manager.daemon.time_clock import StoredTimeClock
from risk_manager.store.store import Store

MORNING = datetime(2026, 11, 16, 15, 0, tzinfo=UTC)


class Hand:
    def __init__(self) -> None:
        self.at = MORNING

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - MORNING).total_seconds()


def all_sessions(connection: sqlite3.Connection) -> list[tuple[int, int, int | None]]:
    return connection.execute(
        "SELECT account_id, clock_in_at, clock_out_at FROM sessions ORDER BY id"
    ).fetchall()


def deeds(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT actor, action FROM audit WHERE action LIKE 'clock.%' ORDER BY id"
    ).fetchall()


async def test_a_session_outlives_a_restart_and_is_ended_once(tmp_path: Path) -> None:
    clock = Hand()
    async with Store.open(tmp_path / "state.db", clock) as store:
        first = StoredTimeClock(store, clock)
        await first.load()
        assert first.since(101) is None
        assert await first.clock_in(101)
        assert await store.side_records.clock_in(
            101, MORNING + timedelta(minutes=1)
        )  # an open one goes on
    clock.at += timedelta(hours=2)
    async with Store.open(tmp_path / "state.db", clock) as store:
        second = StoredTimeClock(store, clock)
        await second.load()
        assert second.since(101) == MORNING
        assert await second.clock_out(101)
        assert second.since(101) is None
        [(account, began, ended)] = await store.look_up(all_sessions)
        assert account == 101
        assert ended is not None
        assert ended - began == 2 * 3600 * 1_000_000
        told = ["clock.in", "clock.in", "clock.out"]
        assert await store.look_up(deeds) == [("trader", action) for action in told]
