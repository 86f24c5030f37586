"""The fire drill as a command: what it prints, what it keeps, and what it leaves alone."""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from daemon_process import DaemonProcess, still_gateway

from risk_manager.admin.drill_record import DrilledRule
from risk_manager.admin.never_firing import silent_rules
from risk_manager.drill.drill import drilled as drill
from risk_manager.settings import load

SHIPPED = Path(__file__).parent.parent.parent / "config"
THREE_DEAD = """
version: 1
rules:
  - {rule: max_contracts, limit: 5}
  - {rule: daily_realized_loss, limit: 9000000}
  - {rule: symbol_blocks, blocked: [RTTY]}
  - rule: session_block_outside
    timezone: UTC
    respect_holidays: false
    sessions: [{days: [sun, mon, tue, wed, thu, fri, sat], start: "00:00", end: "24:00"}]
  - {rule: daily_profit_target, target: 500, shadow: true}
  - {rule: consecutive_loss_limit, losses: 3, enabled: false}
"""

pytestmark = pytest.mark.wire


async def said(*words: str) -> tuple[int, str, str]:
    """Run the command line in a process of its own: exit code, output, errors."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PROJECT_X")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "risk_manager", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=kept,
    )
    out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


def places(folder: Path, config: Path | None = None) -> tuple[str, ...]:
    return ("--config", str(config or folder / "config"), "--data", str(folder / "data"))


def written(folder: Path, rules: str, accounts: str = "accounts: [{id: 101}]") -> None:
    config = folder / "config"
    config.mkdir(exist_ok=True)
    (config / "settings.yaml").write_text("")
    (config / "accounts.yaml").write_text(accounts)
    (config / "risk_config.yaml").write_text(rules)


async def drilled(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    code, out, errors = await said("admin", "selftest", *places(folder), *words, "--json")
    assert out, errors
    report: dict[str, Any] = json.loads(out)
    return code, report


async def test_every_armed_rule_of_the_shipped_example_fires(tmp_path: Path) -> None:
    code, out, errors = await said("admin", "selftest", *places(tmp_path, SHIPPED))
    assert (code, errors) == (0, "")
    assert "9 of 9 armed rules fired" in out
    fired = [line for line in out.splitlines() if line.startswith("fired")]
    assert [line.split()[1] for line in fired] == [
        "max_contracts",
        "max_contracts_per_instrument",
        "daily_realized_loss",
        "daily_unrealized_loss",
        "trade_frequency_limit",
        "cooldown_after_loss",
        "no_stop_loss_grace",
        "auth_loss_guard",
        "symbol_blocks",
    ]
    assert all(" ms" in line and "(101, 102): " in line for line in fired)
    assert "holding 6 contracts, limit 5" in fired[0]
    kept = json.loads((tmp_path / "data" / "selftest.json").read_text())
    assert len([r for r in kept["rules"] if r["fired"]]) == 9
    assert os.listdir(tmp_path / "data") == ["selftest.json"]


async def test_three_dead_rules_are_each_named(tmp_path: Path) -> None:
    written(tmp_path, THREE_DEAD)
    code, report = await drilled(tmp_path)
    assert code == 1
    assert (report["armed"], report["fired"], report["ok"]) == (1, 1, False)
    silent = {r["rule_id"]: (r["silence"], r["what"]) for r in report["rules"] if r["silence"]}
    dead = {rule for rule, (silence, _) in silent.items() if silence == "never"}
    assert dead == {"daily_realized_loss", "symbol_blocks", "session_block_outside"}
    assert "RTTY matches no product" in silent["symbol_blocks"][1]
    assert silent["daily_profit_target"][0] == "shadow"
    assert silent["consecutive_loss_limit"][0] == "disabled"


async def test_it_fires_on_the_day_on_which_front_months_roll_before_the_next_session(
    tmp_path: Path,
) -> None:
    """On this Friday after the close the next session has another gold contract in front."""
    configuration, now = load(SHIPPED), datetime(2026, 11, 27, 20, 10, tzinfo=UTC)
    silent = silent_rules(configuration, live=frozenset(), now=now)
    found: list[DrilledRule] = []
    await drill(configuration, silent, tmp_path, now, found.append)
    assert [rule.what for rule in found if not rule.fired] == []
    assert len(found) == 9


async def test_all_kinds_of_rules_fire_at_a_time_at_which_they_can(tmp_path: Path) -> None:
    rules = """
version: 1
trading_day: {flat_by: "16:05"}
rules:
  - {rule: max_contracts, limit: 25, count: micro_equivalents}
  - {rule: max_contracts_per_instrument, limits: {MNQ: 3, "M*": 2, ZB: 1}}
  - {rule: daily_realized_loss, limit: 4500}
  - {rule: daily_unrealized_loss, limit: 3000, scope: account, action: close_all_and_lockout,
     lockout: until_reset, confirm: {quotes: 2, within: 500ms}}
  - {rule: max_unrealized_profit, mode: breakeven, arm_at: 200}
  - {rule: trade_frequency_limit, count: orders, trip: reach,
     windows: [{per: trading_day, max: 30, cooldown: until_reset}]}
  - {rule: cooldown_after_loss, measure: execution, tiers: [{loss: 1000, cooldown: 5m}]}
  - {rule: no_stop_loss_grace, grace: 1h, action: place_stop, place_stop_ticks: 40}
  - rule: session_block_outside
    timezone: America/Chicago
    sessions: [{days: [sun, mon, tue, wed, thu], start: "17:00", end: "15:08"}]
  - {rule: auth_loss_guard}
  - {rule: symbol_blocks, blocked: [ZN]}
  - {rule: trade_management, enabled: true, accounts: [102]}
  - {rule: daily_profit_target, target: 1000}
  - {rule: consecutive_loss_limit, losses: 3, scope: root}
  - {rule: max_risk_at_entry, limit: 700}
  - {rule: no_averaging_down}
  - {rule: stop_guard}
  - {rule: size_after_loss}
  - {rule: reentry_delay, delay: 2m}
  - {rule: release_window, file: releases.yaml, roots: [ES, NQ]}
  - {rule: product_caps, caps: [{roots: [GC, MGC], limit: 11, count: micro_equivalents}]}
  - {rule: group_limit, id: size, accounts: [101, 102], measure: micro_equivalents, limit: 30}
  - {rule: group_limit, id: loss, accounts: [101, 102], measure: day_loss, limit: 1500}
accounts: {101: {overrides: [{target: size, set: {limit: 15}}]}}
"""
    written(tmp_path, rules, "accounts: [{id: 101}, {id: 102}]")
    release = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%d} 10:00"
    (tmp_path / "config" / "releases.yaml").write_text(f'releases: [{{at: "{release}"}}]')
    code, report = await drilled(tmp_path, "--account", "101")
    assert [r for r in report["rules"] if not r["fired"]] == []
    assert (code, report["fired"], report["armed"]) == (0, 23, 23)
    assert not (tmp_path / "data" / "selftest.json").exists()  # it says nothing of account 102


async def test_it_leaves_the_running_daemon_and_its_accounts_alone(tmp_path: Path) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway)
        async with daemon.running():
            before = await daemon.snapshot()
            asked = len(gateway.exchange.orders(101))
            code, report = await drilled(tmp_path)
            assert (code, report["fired"]) == (0, 3)
            after = await daemon.snapshot()
            assert (after["run_id"], after["status"]) == (before["run_id"], "RUNNING")
            assert len(gateway.exchange.orders(101)) == asked
            _, out, _ = await said("admin", "status", *places(tmp_path))
            assert "fire drill: 3 of 3 armed rules fired" in out
            assert "the limits are the same" in out
            daemon.write_rules("version: 1\nrules: [{rule: max_contracts, limit: 4}]\n")
            _, out, _ = await said("admin", "status", *places(tmp_path))
            assert "THE LIMITS HAVE CHANGED SINCE" in out


async def test_a_drill_of_an_account_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    written(tmp_path, THREE_DEAD)
    code, _, errors = await said("admin", "selftest", *places(tmp_path), "--account", "7")
    assert code == 1
    assert "account 7 is not in accounts.yaml; there are 101" in errors
