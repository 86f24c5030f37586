"""A running daemon tells its screens what waits for the reset, and of a fire drill beside it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from daemon_process import DaemonProcess, still_gateway

from risk_manager.admin.drill_record import DrilledRule, DrillRecord, keep
from risk_manager.settings import load

pytestmark = pytest.mark.wire

RULES = """
version: 1
rules:
  - {{rule: max_contracts, limit: {contracts}}}
  - {{rule: daily_realized_loss, limit: {loss}}}
"""


async def pending(daemon: DaemonProcess) -> list[dict[str, Any]]:
    ended = await daemon.command("admin", "config", "pending", "--json")
    assert ended.code == 0, ended.err
    found: list[dict[str, Any]] = json.loads(ended.out)["changes"]
    return found


async def waiting(daemon: DaemonProcess) -> dict[str, Any] | None:
    found: dict[str, Any] | None = (await daemon.snapshot())["outlook"]["waiting"]
    return found


async def test_a_loosened_limit_is_told_until_it_is_cancelled(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path, rules=RULES.format(contracts=5, loss=500))
        daemon.point_at(gateway)
        async with daemon.running():
            assert await waiting(daemon) is None
            daemon.write_rules(RULES.format(contracts=4, loss=900))
            assert (await daemon.command("admin", "config", "reload")).code == 0
            found = await waiting(daemon)
            assert found is not None
            [change] = found["changes"]  # the tighter one counts at once
            assert (change["rule_id"], change["name"]) == ("daily_realized_loss", "limit")
            assert (change["old"], change["new"], change["effect"]) == ("500", "900", "looser")
            assert found["counts_from"] == (await daemon.snapshot())["next_reset"]
            assert found["older"] == ["daily_realized_loss"]
            assert [c["key"] for c in await pending(daemon)] == [change["key"]]
        async with daemon.running():  # it is no edit of this run any more
            found = await waiting(daemon)
            assert found is not None
            assert [c["key"] for c in found["changes"]] == [change["key"]]
            ended = await daemon.command("admin", "config", "cancel", "--yes")
            assert ended.code == 0, ended.err
            assert await waiting(daemon) is None
            assert await pending(daemon) == []


async def test_a_drill_held_beside_the_daemon_is_noticed(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path, rules=RULES.format(contracts=5, loss=500))
        daemon.point_at(gateway)
        rule = DrilledRule(rule_id="max_contracts", accounts=(101,), fired=True, what="reduced")
        record = DrillRecord(
            at=datetime.now(UTC), digest=load(daemon.config).digest, version="1", rules=(rule,)
        )
        keep(daemon.data, record)
        async with daemon.running():
            drill = (await daemon.snapshot())["outlook"]["drill"]
            assert (drill["armed"], drill["fired"], drill["faults"]) == (1, 1, [])
            assert drill["limits_changed"] is False
            daemon.write_rules(RULES.format(contracts=4, loss=500))
            assert (await daemon.command("admin", "config", "reload")).code == 0
            assert (await daemon.snapshot())["outlook"]["drill"]["limits_changed"] is True
