"""Other files under the same accounts: what held in the files before holds on, and it is told."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon_process import ACCOUNT, DaemonProcess, still_gateway, until

from risk_manager.feed.client import AdminClient

pytestmark = pytest.mark.wire

LIMIT = "version: 1\nrules: [{{rule: max_contracts, limit: {}}}]\n"


def another_folder(daemon: DaemonProcess) -> None:
    daemon.data = daemon.data.with_name("other")


def older_folder(daemon: DaemonProcess) -> None:
    shutil.rmtree(daemon.data)
    shutil.copytree(_copy(daemon), daemon.data)


def older_database(daemon: DaemonProcess) -> None:
    for part in ("state.db-wal", "state.db-shm"):
        (daemon.data / part).unlink(missing_ok=True)
    shutil.copy(_copy(daemon) / "state.db", daemon.data / "state.db")


def older_database_without_marker(daemon: DaemonProcess) -> None:
    older_database(daemon)
    (daemon.data / "state.marker").unlink()


def older_database_garbled_marker(daemon: DaemonProcess) -> None:
    older_database(daemon)
    (daemon.data / "state.marker").write_text("{")
    (daemon.data / "audit.head").unlink()


def head_alone(daemon: DaemonProcess) -> None:
    for part in ("state.db", "state.db-wal", "state.db-shm", "state.marker"):
        (daemon.data / part).unlink(missing_ok=True)


def _copy(daemon: DaemonProcess) -> Path:
    return daemon.data.with_name("copy")


def titles(account: dict[str, object]) -> dict[str, float]:
    meters = account["meters"]
    assert isinstance(meters, list)
    return {meter["rule_id"]: meter["limit"] for meter in meters}


@pytest.mark.parametrize(
    ("evade", "row"),
    [
        (older_database_without_marker, "F6.3"),
        (older_database_garbled_marker, "F6.3"),
        (head_alone, "F6.3"),
        (another_folder, "F6.4"),
        (older_folder, "F6.4"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize("alone", [False, True], ids=["", "the data folder tells alone"])
async def test_a_lock_and_a_limit_outlive_the_files_they_stood_in(
    tmp_path: Path, evade: Callable[[DaemonProcess], None], row: str, alone: bool
) -> None:
    """F6.3, F6.4: Other files in the place of ours open no account and raise no limit."""
    if alone and row == "F6.4":
        pytest.skip("with neither of the two nothing is left that could tell")
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path, rules=LIMIT.format(9)).point_at(gateway)
        async with daemon.running():
            pass
        shutil.copytree(daemon.data, _copy(daemon))
        (daemon.config / "risk_config.yaml").write_text(LIMIT.format(5))
        async with daemon.running():
            async with AdminClient.connect(daemon.data) as admin:
                await admin.call(
                    "set_lockout",
                    {"account_id": ACCOUNT, "scope": "account", "policy": "flat", "reason": "calm"},
                )
            await daemon.until_account(lambda a: a["locks"], "the lock")
            assert await daemon.stop() == 0
        evade(daemon)
        if alone:
            shutil.rmtree(tmp_path / "user_state")
        (daemon.config / "risk_config.yaml").write_text(LIMIT.format(9))
        async with daemon.running():
            account = await daemon.account()
            assert account["lock_policy"] == "flat"
            if not alone:
                assert "manual" in {lock["rule_id"] for lock in account["locks"]}
                assert 5 in titles(account).values()
            await until(
                lambda: any(line.startswith("warning:") for line in daemon.said), "it is told", 5.0
            )
