"""Edited limits, the reset, and a file that is something else by then: nothing counts early."""

from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from config_folder import ConfigFolder
from daemon_process import DaemonProcess, still_gateway, until

from risk_manager.daemon import Daemon
from risk_manager.domain.events import AnyEvent, RulebookReplaced
from risk_manager.domain.rulebook import UNTIL_RESET
from risk_manager.feed.client import AdminClient, AdminRefused
from risk_manager.pipeline import Inbox
from risk_manager.right_of_way import RightOfWay
from risk_manager.settings.commitment import Commitment

THURSDAY, FRIDAY = date(2026, 11, 19), date(2026, 11, 20)
LIMIT = "version: 1\nrules: [{{rule: max_contracts, limit: {}}}]\n"
BROKEN = [
    LIMIT.format(500).encode(),
    b"rules: [\n",
    b"\xff\xfe\x00",
    None,
]


class Notes:
    """The store's notes and record, kept in memory."""

    def __init__(self, **notes: str) -> None:
        self.notes = notes
        self.needs_reconciling = False

    async def put_note(self, key: str, value: str) -> bool:
        self.notes[key] = value
        return True

    async def note(self, key: str) -> str | None:
        return self.notes.get(key)

    async def audit(self, *_: Any, **__: Any) -> bool:
        return True

    def now_in_force(self, limits: str) -> None:
        pass

    def is_as_sealed(self, key: str, value: str | None) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path) -> ConfigFolder:
    made = ConfigFolder(tmp_path / "config")
    made.write("accounts.yaml", "accounts: [{id: 101}]")
    made.write("risk_config.yaml", LIMIT.format(5))
    return made


def daemon_on(folder: ConfigFolder, today: date, store: Notes) -> Any:
    """A daemon on this trading date, with its edges in memory."""
    daemon: Any = Daemon(folder.load(), folder.path.parent, console=False)
    daemon.store = store
    day = SimpleNamespace(date=today, ends_at=datetime(2026, 11, 20, 22, 0, tzinfo=UTC))
    state = SimpleNamespace(day=day)
    daemon.pipeline = SimpleNamespace(state=state, inbox=Inbox(RightOfWay()))
    return daemon


async def limits_told(daemon: Any) -> dict[str, int]:
    event: AnyEvent = await daemon.pipeline.inbox.get()
    assert isinstance(event, RulebookReplaced)
    rules = event.rulebook.for_account(101).rules
    return {rule.id: rule.model_dump()["limit"] for rule in rules}


@pytest.mark.parametrize("by_then", BROKEN, ids=["edited again", "broken", "no text", "missing"])
async def test_at_the_reset_what_was_read_counts_and_not_what_the_file_is_by_then(
    folder: ConfigFolder, by_then: bytes | None
) -> None:
    before = Commitment(in_force=folder.load().texts)
    folder.write("risk_config.yaml", LIMIT.format(6))
    daemon = daemon_on(folder, FRIDAY, Notes())
    daemon.commitment = before.after_reading(daemon.configuration, THURSDAY)
    file = folder.path / "risk_config.yaml"
    if by_then is None:
        file.unlink()
    else:
        file.write_bytes(by_then)
    await daemon._adopt_what_waited()
    assert await limits_told(daemon) == {"max_contracts": 6}
    assert daemon.commitment.in_force["risk_config.yaml"] == LIMIT.format(6)

    folder.write("risk_config.yaml", LIMIT.format(500))
    daemon._is_open = True
    told = await daemon.reload()
    assert told["waits_for_reset"] == ["max_contracts"]
    assert await limits_told(daemon) == {"max_contracts": 500, "max_contracts" + UNTIL_RESET: 6}


async def test_a_file_saved_while_the_login_is_tried_has_not_been_in_force(
    folder: ConfigFolder,
) -> None:
    before = Commitment(in_force=folder.load().texts)
    daemon = daemon_on(folder, THURSDAY, Notes(limits=before.text()))
    folder.write("risk_config.yaml", LIMIT.format(500))
    await daemon._commit_to_limits(await daemon._limits_in_force())
    daemon._is_open = True
    await daemon.reload()
    assert await limits_told(daemon) == {"max_contracts": 500, "max_contracts" + UNTIL_RESET: 5}


@pytest.mark.parametrize(
    "kept",
    [
        "no json",
        "[]",
        '{"in_force": []}',
        '{"in_force": {"risk_config.yaml": 7}}',
        '{"in_force": {"risk_config.yaml": "\\ud83d"}}',
        '{"in_force": {"risk_config.yaml": "limit: odd"}}',
        '{"in_force": {}, "since": 7}',
    ],
)
async def test_limits_that_were_in_force_and_cannot_be_read_are_in_doubt(
    folder: ConfigFolder, kept: str
) -> None:
    daemon = daemon_on(folder, THURSDAY, Notes(limits=kept))
    await daemon._commit_to_limits(await daemon._limits_in_force())
    assert daemon._limits_in_doubt


@pytest.mark.wire
async def test_before_the_gateway_has_told_the_time_no_limits_are_read_again(
    tmp_path: Path,
) -> None:
    async with still_gateway() as gateway:
        daemon = DaemonProcess(tmp_path).point_at(gateway, XDG_STATE_HOME=str(tmp_path))
    await daemon.start()
    try:
        await until(lambda: any("trying again" in line for line in daemon.said), "no gateway", 60.0)
        async with AdminClient.connect(daemon.data) as admin:
            with pytest.raises(AdminRefused, match="still logging in"):
                await admin.call("reload_config", {})
    finally:
        await daemon.kill()
