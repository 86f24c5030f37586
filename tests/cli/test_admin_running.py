"""Orders to the running daemon: streams and login made anew, the level of the logs, the day."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from daemon_process import DaemonProcess, buy, still_gateway, until

from risk_manager.cli import main
from risk_manager.cli.exits import Exit
from risk_manager.clock import SystemClock
from risk_manager.daemon.running_verbs import RunningVerbs
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State
from risk_manager.feed.admin import AdminError


@pytest.mark.wire
async def test_streams_and_login_are_made_anew_and_the_rules_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)

        async def say(*words: str, ends: Exit = Exit.DONE) -> str:
            capsys.readouterr()
            code = await asyncio.to_thread(main, ["admin", *words, "--data", str(daemon.data)])
            out, err = capsys.readouterr()
            assert code == ends, out + err
            return out + err

        async with daemon.running():
            assert await say("reconnect") == (
                "user stream opened anew, up\nmarket stream opened anew, up\n"
            )
            told = json.loads(await say("reconnect", "--hub", "user", "--json"))
            assert told == {"hubs": {"user": {"opened": True, "state": "up"}}}

            out = await say("session", "drop")
            assert out.endswith("logged in anew; the old token is worthless\n")
            paths = [request.path for request in gateway.requests]
            assert (paths.count("/Auth/loginKey"), paths.count("/Auth/logout")) == (2, 1)

            buy(gateway.exchange, "RTY", 1)
            await until(lambda: not gateway.exchange.positions(101), "the blocked one is closed")

            assert "at WARNING until the next start" in await say("log", "level", "warning")
            refused = await say("day", "reset", ends=Exit.REFUSED)
            assert "turns by itself at" in refused
            assert "would lift locks" in refused
            actions = [row["action"] for row in json.loads(
                await say("audit", "tail", "-n", "200", "--json"))]  # fmt: skip
            assert {"reconnect", "session.dropped", "log.level"} <= set(actions)
            assert "day.reset" not in actions


class Lasting:
    """A store, hubs and a session of which a reset of the day needs next to nothing."""

    logged_in = True

    async def audit(self, *_: Any, **__: Any) -> bool:
        return True


async def test_a_reset_that_is_due_is_made_and_an_early_one_is_refused() -> None:
    clock, edge = SystemClock(), Lasting()
    states = [State.at(clock.now(), Rulebook())]
    taken: list[AnyEvent] = []

    async def take(*events: AnyEvent) -> None:
        taken.extend(events)
        states.append(State.at(clock.now(), Rulebook()))

    def verb(name: str) -> Any:
        anything: Any = edge
        return RunningVerbs(
            anything, anything, anything, clock, lambda: states[-1], take,
            set_log_level=lambda _: None,
        ).verbs()[name]  # fmt: skip

    with pytest.raises(AdminError, match="which nobody can do"):
        await verb("day_reset")({})
    assert taken == []
    states.append(State.at(clock.now() - timedelta(days=7), Rulebook()))
    answer = await verb("day_reset")({})
    assert [event.kind for event in taken] == ["tick"]
    assert answer["trading_date"] == str(states[-1].day.date)
    with pytest.raises(AdminError, match="one of DEBUG"):
        await verb("log_level")({"level": "loud"})
