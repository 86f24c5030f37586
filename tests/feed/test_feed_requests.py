"""Clocking in and out: the only two requests a reader may make, and what each one answers."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from feed_daemon import FeedDaemon, PaperClock, until
from feed_listener import Listener, listening

from risk_manager.feed.requests import MOST_A_MINUTE

pytestmark = pytest.mark.wire


async def ask(listener: Listener, request: Any) -> dict[str, Any]:
    before = len(listener.of("request_answered"))
    await listener.ws.send(orjson.dumps(request), text=True)
    await until(lambda: len(listener.of("request_answered")) > before)
    answer: dict[str, Any] = listener.of("request_answered")[-1]["data"]
    return answer


def clock(method: str, account_id: Any = 101, number: int = 1) -> dict[str, Any]:
    return {"id": number, "method": method, "params": {"account_id": account_id}}


async def test_clocking_in_and_out_is_answered_and_shown(tmp_path: Path) -> None:
    time_clock = PaperClock()
    async with (
        FeedDaemon(tmp_path, time_clock=time_clock) as daemon,
        listening(daemon, tmp_path) as listener,
    ):
        assert await ask(listener, clock("clock_in", number=7)) == {
            "id": 7,
            "method": "clock_in",
            "ok": True,
            "message": "clocked in",
        }
        await until(lambda: listener.account()["clocked_in_at"] == "2026-11-16T15:00:00Z")
        assert not (await ask(listener, clock("clock_in")))["ok"]
        assert (await ask(listener, clock("clock_out")))["message"] == "clocked out"
        await until(lambda: listener.account()["clocked_in_at"] is None)
        assert (await ask(listener, clock("clock_out")))["message"] == "not clocked in"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (clock("close_all"), "the feed is read-only"),
        (clock("clock_in", 999), "an account that is guarded here"),
        (clock("clock_in", True), "an account that is guarded here"),
        (clock("clock_in", "101"), "an account that is guarded here"),
        ({"id": 1, "method": "clock_in", "params": [101]}, "an account that is guarded here"),
        ({"id": 1, "method": "x" * 300}, "the feed is read-only"),
    ],
)
async def test_what_may_not_be_asked_is_refused_and_changes_nothing(
    tmp_path: Path, request_: dict[str, Any], words: str
) -> None:
    time_clock = PaperClock()
    async with (
        FeedDaemon(tmp_path, time_clock=time_clock) as daemon,
        listening(daemon, tmp_path) as listener,
    ):
        answer = await ask(listener, request_)
        assert not answer["ok"]
        assert words in answer["message"]
        assert time_clock.noted == {}
        assert daemon.enforcer.actions == []


async def test_what_is_no_request_is_ignored(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon, listening(daemon, tmp_path) as listener:
        for frame in ("nonsense", "[]", "{}", '{"id": "a", "method": "clock_in"}', '{"id": 1}'):
            await listener.ws.send(frame)
        await ask(listener, clock("clock_out"))
        assert len(listener.of("request_answered")) == 1


async def test_a_failing_time_clock_ends_no_connection(tmp_path: Path) -> None:
    async with (
        FeedDaemon(tmp_path, time_clock=PaperClock(fails=True)) as daemon,
        listening(daemon, tmp_path) as listener,
    ):
        answer = await ask(listener, clock("clock_in"))
        assert answer["message"] == "the daemon failed on this request (RuntimeError)"
        assert not (await ask(listener, clock("clock_out")))["ok"]


async def test_requests_are_paced(tmp_path: Path) -> None:
    async with (
        FeedDaemon(tmp_path, time_clock=PaperClock()) as daemon,
        listening(daemon, tmp_path) as listener,
    ):
        for _ in range(MOST_A_MINUTE // 2):
            assert (await ask(listener, clock("clock_in")))["ok"]
            assert (await ask(listener, clock("clock_out")))["ok"]
        assert "too many requests" in (await ask(listener, clock("clock_in")))["message"]
