"""A table of starts that try to get round the clock: none opens an account or loosens a limit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.resources import as_file, files
from pathlib import Path

import pytest
from daemon_process import DaemonProcess, buy, lose, still_gateway

from risk_manager.feed.client import AdminClient
from risk_manager.practice.gateway import PracticeGateway

pytestmark = pytest.mark.wire

RULES = "version: 1\nrules: [{rule: daily_realized_loss, limit: 100}]\n"
LOOSER = RULES.replace("100", "9000")
FAR_EAST = "Pacific/Kiritimati"  # 14 hours ahead of UTC
AHEAD = timedelta(days=4)


@dataclass(frozen=True, kw_only=True)
class Detour:
    """One start: what is edited and set for it, and whether it still is the same gateway.

    `settings` replaces words of settings.yaml, `{own}` is the base address of a gateway of the
    trader's own, `{real}` that of the account's.
    """

    rules: str = RULES
    env: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    date_ahead: timedelta = timedelta(0)
    is_elsewhere: bool = False


DAY_OF = "trading_day: {{reset: '{}', timezone: {}}}\n"
DETOURS = {
    "nothing": Detour(),
    "Date ahead": Detour(date_ahead=AHEAD),
    "Date behind": Detour(date_ahead=-AHEAD),
    "Date ahead and a looser limit": Detour(date_ahead=AHEAD, rules=LOOSER),
    "a looser limit": Detour(rules=LOOSER),
    "the rule taken out": Detour(rules="version: 1\nrules: []\n"),
    "TZ": Detour(env={"TZ": FAR_EAST}, rules=LOOSER),
    "time zone data of the trader's own": Detour(env={"PYTHONTZPATH": "{zones}"}, rules=LOOSER),
    "another time zone": Detour(rules=LOOSER + DAY_OF.format("17:00", FAR_EAST)),
    "another reset": Detour(rules=LOOSER + DAY_OF.format("00:01", "Etc/GMT+12")),
    "another way to write the address": Detour(
        settings={"{real}": "http://LocalHost:{port}"}, date_ahead=AHEAD, rules=LOOSER
    ),
    "another path": Detour(settings={"/api\n": "/api/\n"}, date_ahead=AHEAD, rules=LOOSER),
    "streams of the trader's own": Detour(
        settings={"{real}/hubs": "{own}/hubs"}, date_ahead=AHEAD, rules=LOOSER
    ),
    "an address of the trader's own": Detour(
        settings={"{real}": "{own}"}, date_ahead=AHEAD, rules=LOOSER, is_elsewhere=True
    ),
    "the same by a variable": Detour(
        env={"RISK_MANAGER_GATEWAY__API_URL": "{own}/api"},
        date_ahead=AHEAD,
        rules=LOOSER,
        is_elsewhere=True,
    ),
    "practice": Detour(
        env={"RISK_MANAGER_GATEWAY__KIND": "practice"}, rules=LOOSER, is_elsewhere=True
    ),
}


def zones_of_the_traders_own(folder: Path) -> Path:
    """Time zone data in which New York is where the day begins."""
    with as_file(files("tzdata") / "zoneinfo") as shipped:
        for name in ("America/New_York", "America/Chicago", "UTC"):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((shipped / FAR_EAST).read_bytes())
    return folder


async def limits(daemon: DaemonProcess) -> set[float]:
    account = await daemon.account()
    return {m["limit"] for m in account["meters"] if m["rule_id"].startswith("daily_realized")}


async def is_shut(daemon: DaemonProcess, before: Mapping[str, object]) -> None:
    """Locked as before, dated as before, under the limit of before."""
    account = await daemon.account()
    assert account["lock_policy"] == "flat"
    assert any(lock["rule_id"].startswith("daily_realized_loss") for lock in account["locks"])
    assert account["trading_date"] <= str(before["trading_date"])
    assert 100.0 in await limits(daemon)
    other = await daemon.account(102)
    assert "manual" in {lock["rule_id"] for lock in other["locks"]}


def prepare(
    daemon: DaemonProcess,
    detour: Detour,
    real: PracticeGateway,
    own: PracticeGateway,
    folder: Path,
) -> None:
    known = {
        "zones": str(folder / "zones"),
        "real": real.base_url,
        "own": own.base_url,
        "port": real.port,
    }
    env = {key: value.format_map(known) for key, value in detour.env.items()}
    daemon.point_at(real, XDG_STATE_HOME=str(folder), **env)
    daemon.write_rules(detour.rules)
    path = daemon.config / "settings.yaml"
    text = path.read_text()
    for old, new in detour.settings.items():
        text = text.replace(old.format_map(known), new.format_map(known))
    path.write_text(text)
    real.faults.date_ahead = own.faults.date_ahead = detour.date_ahead


@pytest.fixture
def daemon(tmp_path: Path) -> DaemonProcess:
    return DaemonProcess(tmp_path, accounts="accounts: [{id: 101}, {id: 102}]", rules=RULES)


@pytest.mark.parametrize("detour", DETOURS.values(), ids=DETOURS.keys())
async def test_no_start_opens_what_is_locked(
    tmp_path: Path, daemon: DaemonProcess, detour: Detour
) -> None:
    """F6.1, F6.2: Whatever one start is told of the time or of where to look, nothing opens."""
    zones_of_the_traders_own(tmp_path / "zones")
    key = "practice-key-of-both"
    async with still_gateway(api_key=key) as real, still_gateway(api_key=key) as own:
        daemon.point_at(real, XDG_STATE_HOME=str(tmp_path))
        async with daemon.running():
            lose(real.exchange, "MNQ", 3, 100)
            before = await daemon.until_account(lambda a: a["lock_policy"] == "flat", "locked")
            async with AdminClient.connect(daemon.data) as admin:
                order = {"account_id": 102, "reason": "calm", "policy": "flat"}
                await admin.call("set_lockout", order)
            await daemon.stop()
        prepare(daemon, detour, real, own, tmp_path)
        async with daemon.running():
            if not detour.is_elsewhere:
                await is_shut(daemon, before)
                buy(real.exchange, "MES", 1)
                await daemon.until_account(lambda a: not a["positions"], "closed")
                await is_shut(daemon, before)
            await daemon.stop()
        real.faults.clear()
        daemon.point_at(real, XDG_STATE_HOME=str(tmp_path))
        async with daemon.running():
            await is_shut(daemon, before)
            account = await daemon.account()
            assert account["trading_date"] == before["trading_date"]
