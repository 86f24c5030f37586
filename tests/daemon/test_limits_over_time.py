"""Edited limits, the reset, and a file that is something else by then: nothing counts early."""

import asyncio
import os
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from config_folder import ConfigFolder
from daemon_process import DaemonProcess, still_gateway, until

from risk_manager.clock import SystemClock
from risk_manager.daemon.data_place import DataPlace
from risk_manager.daemon.limits_in_force import LimitsInForce
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
    """The store's notes, kept in memory."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts

    async def put(self, key: str, value: str) -> bool:
        self.texts[key] = value
        return True

    async def get(self, key: str) -> str | None:
        return self.texts.get(key)

    def is_as_sealed(self, key: str, value: str | None) -> bool:
        return True


class MemoryStore:
    """The notes, and a record and witness files that go nowhere."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.needs_reconciling = False
        self.mirror = SimpleNamespace(now_in_force=lambda limits: None)

    async def audit(self, *_: Any, **__: Any) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path) -> ConfigFolder:
    made = ConfigFolder(tmp_path / "config")
    made.write("accounts.yaml", "accounts: [{id: 101}]")
    made.write("risk_config.yaml", LIMIT.format(5))
    return made


class InMemory:
    """The parts that limits in force need, on this trading date, with their edges in memory."""

    def __init__(self, today: date, notes: Notes) -> None:
        self.store = MemoryStore(notes)
        self.clock = SystemClock()
        self.inbox = Inbox(RightOfWay())
        self.put = self.inbox.put_nowait
        self.take = self.inbox.take
        day = SimpleNamespace(date=today, ends_at=datetime(2026, 11, 20, 22, 0, tzinfo=UTC))
        self.state = SimpleNamespace(day=day)


def limits_on(folder: ConfigFolder, today: date, notes: Notes) -> tuple[LimitsInForce, InMemory]:
    parts: Any = InMemory(today, notes)
    where = DataPlace(folder.path.parent, folder.path.parent, "practice")
    return LimitsInForce(parts, folder.load(), where, lambda _: None), parts


async def limits_told(parts: InMemory) -> dict[str, int]:
    """The limits of the rulebook that waits to be judged; it has been, after this."""
    event: AnyEvent = await parts.inbox.get()
    assert isinstance(event, RulebookReplaced)
    parts.inbox.processed(event)
    rules = event.rulebook.for_account(101).rules
    return {rule.id: rule.model_dump()["limit"] for rule in rules}


async def reloaded(limits: LimitsInForce, parts: InMemory) -> tuple[dict[str, Any], dict[str, int]]:
    """What a reload answers, and the limits it puts in force."""
    answer, told = await asyncio.gather(limits.reload(), limits_told(parts))
    return answer, told


@pytest.mark.parametrize("by_then", BROKEN, ids=["edited again", "broken", "no text", "missing"])
async def test_at_the_reset_what_was_read_counts_and_not_what_the_file_is_by_then(
    folder: ConfigFolder, by_then: bytes | None
) -> None:
    before = Commitment(in_force=folder.load().texts)
    folder.write("risk_config.yaml", LIMIT.format(6))
    limits, parts = limits_on(folder, FRIDAY, Notes())
    limits.commitment = before.after_reading(limits.configuration, THURSDAY)
    file = folder.path / "risk_config.yaml"
    if by_then is None:
        file.unlink()
    else:
        file.write_bytes(by_then)
    await limits.adopt_what_waited()
    assert await limits_told(parts) == {"max_contracts": 6}
    assert limits.commitment.in_force["risk_config.yaml"] == LIMIT.format(6)

    folder.write("risk_config.yaml", LIMIT.format(500))
    answer, told = await reloaded(limits, parts)
    assert answer["waits_for_reset"] == ["max_contracts"]
    assert told == {"max_contracts": 500, "max_contracts" + UNTIL_RESET: 6}


async def test_a_file_saved_while_the_login_is_tried_has_not_been_in_force(
    folder: ConfigFolder,
) -> None:
    before = Commitment(in_force=folder.load().texts)
    limits, parts = limits_on(folder, THURSDAY, Notes(limits=before.text()))
    folder.write("risk_config.yaml", LIMIT.format(500))
    await limits.commit(await limits.last_known())
    _, told = await reloaded(limits, parts)
    assert told == {"max_contracts": 500, "max_contracts" + UNTIL_RESET: 5}


async def test_a_reload_is_answered_when_the_new_limits_have_been_judged(
    folder: ConfigFolder,
) -> None:
    limits, parts = limits_on(folder, THURSDAY, Notes())
    await limits.commit(await limits.last_known())
    folder.write("risk_config.yaml", LIMIT.format(4))
    answer = asyncio.create_task(limits.reload())
    event = await parts.inbox.get()
    done, _ = await asyncio.wait({answer}, timeout=0.1)
    assert not done, "said to be in force before anything was judged by it"
    parts.inbox.processed(event)
    assert (await answer)["digest"] == folder.load().digest


async def test_of_two_reloads_each_answers_for_what_it_has_read(folder: ConfigFolder) -> None:
    limits, parts = limits_on(folder, THURSDAY, Notes())
    await limits.commit(await limits.last_known())
    answers, read = [], []
    for limit in (4, 3):
        folder.write("risk_config.yaml", LIMIT.format(limit))
        read.append(folder.load().digest)
        answers.append(asyncio.create_task(limits.reload()))
        await until(lambda: len(parts.inbox) == len(answers), "read, and in line")
    assert [(await limits_told(parts))["max_contracts"] for _ in answers] == [4, 3]
    assert [(await answer)["digest"] for answer in answers] == read


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
    limits, _ = limits_on(folder, THURSDAY, Notes(limits=kept))
    await limits.commit(await limits.last_known())
    assert limits.are_in_doubt


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


async def test_the_limits_beside_the_database_are_never_half_written(
    folder: ConfigFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or the end of the process, in the middle of writing: the older text stays."""
    limits, _ = limits_on(folder, THURSDAY, Notes())
    await limits.commit(None)
    beside = folder.path.parent / "limits.json"
    kept = Commitment.read(beside.read_text())
    folder.write("risk_config.yaml", LIMIT.format(6))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    later, _ = limits_on(folder, THURSDAY, Notes())
    await later.commit(None)
    assert Commitment.read(beside.read_text()) == kept
