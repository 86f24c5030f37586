"""Figures in a trader's form, the picture folded from messages, and the plain print-out."""

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from feed_daemon import FeedDaemon

from risk_manager.dashboard.once import summary
from risk_manager.dashboard.picture import Picture
from risk_manager.dashboard.widgets.meters import bar
from risk_manager.dashboard.wording import (
    age,
    clock,
    countdown,
    dollars,
    price,
    signed,
    whole_words,
)
from risk_manager.domain.events import RulebookReplaced
from risk_manager.domain.rulebook import AccountRules
from risk_manager.feed.client import Connected, Disconnected, read_once
from risk_manager.feed.messages import LockoutCleared, LockoutSet, Message, Snapshot
from risk_manager.rules.daily_realized_loss import DailyRealizedLoss
from risk_manager.rules.max_contracts import MaxContracts
from risk_manager.settings.commitment import combined


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "–"),
        (0.0, "0.00"),
        (-0.0, "0.00"),
        (0.01, "+0.01"),
        (-0.01, "-0.01"),
        (1234.5, "+1,234.50"),
        (-98765.432, "-98,765.43"),
    ],
)
def test_an_amount_always_carries_its_sign(amount: float | None, text: str) -> None:
    assert signed(amount) == text


def test_other_figures() -> None:
    assert dollars(-1234.5) == "-$1,234.50"
    assert dollars(None) == "–"
    assert price(21000.25) == "21000.25"
    assert price(1.08345) == "1.08345"
    assert price(0.0000005) == "0.0000005"
    assert price(6012.5) == "6012.50"
    assert [age(s) for s in (0.0, 9.9, 10, 61, 3700, 90_000)] == [
        "0.0s",
        "9.9s",
        "10s",
        "1m01s",
        "1h01m",
        "1d",
    ]
    assert countdown(timedelta(seconds=8.2)) == "0:09"
    assert countdown(timedelta(hours=5)) == "5:00:00"
    assert countdown(timedelta(days=2, hours=1)) == "2d 1:00:00"
    assert countdown(timedelta(seconds=-5)) == "0:00"


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (33, "a trade that loses $100.00 pauses"),
        (32, "a trade that loses $100.00 …"),
        (28, "a trade that loses $100.00 …"),
        (27, "a trade that loses…"),
        (8, "a trade…"),
        (1, "a trade that loses $100.00 pauses"),  # no word fits: the pane cuts it
    ],
)
def test_a_sentence_is_cut_between_words(room: int, text: str) -> None:
    assert whole_words("a trade that loses $100.00 pauses", room) == text


def test_a_bar_is_exact_at_its_ends_and_absent_when_unknown() -> None:
    assert bar(0.0, 10, "").plain == "░" * 10
    assert bar(1.0, 10, "").plain == "█" * 10
    assert bar(3.5, 10, "").plain == "█" * 10
    assert bar(0.5, 10, "").plain == "█████░░░░░"
    assert bar(None, 10, "").plain == "·" * 10
    assert all(len(bar(n / 100, 13, "").plain) == 13 for n in range(101))


async def snapshot_of(data_dir: Path) -> Message:
    async with FeedDaemon(data_dir, accounts={101: "one", 202: "two"}):
        _, _, message = await read_once(data_dir)
    return message


@pytest.mark.wire
async def test_the_picture_follows_what_is_told(tmp_path: Path) -> None:
    whole = await snapshot_of(tmp_path)
    picture = Picture().with_item(Connected("ws://x"), 10.0).with_item(whole, 10.0)
    assert [a.account_id for a in picture.accounts] == [101, 202]
    assert picture.account(202) is picture.accounts[1]
    assert picture.account(None) is picture.accounts[0]
    assert picture.account(999) is None
    assert picture.now(12.5) == whole.ts + timedelta(seconds=2.5)
    at = datetime(2026, 11, 16, 16, 0, tzinfo=UTC)
    told = LockoutSet(
        lockout_id="101:account:manual",
        rule_id="manual",
        scope="account",
        policy="flat",
        kind="manual",
        release="manual",
        reason="enough",
        locked_at=at,
        locked_until=None,
    )
    locked = picture.with_item(message(told), 11.0)
    assert locked.accounts[0].locks[0].reason == "enough"
    assert locked.accounts[1].locks == ()
    assert locked.with_item(message(told), 11.0).accounts == locked.accounts
    cleared = LockoutCleared(
        lockout_id="101:account:manual",
        rule_id="manual",
        scope="account",
        cleared_at=at,
        cleared_by="ADMIN_OVERRIDE",
    )
    assert locked.with_item(message(cleared), 12.0).accounts[0].locks == ()
    lost = locked.with_item(Disconnected("cut", 2.0), 13.0)
    assert not lost.line.is_live(13.0)
    assert lost.accounts == locked.accounts
    assert lost.line.silence_s(20.0) == 9.0


def message(data: LockoutSet | LockoutCleared) -> Message:
    return Message(
        seq=3, ts=datetime(2026, 11, 16, 16, tzinfo=UTC), type="x", account_id=101, data=data
    )


@pytest.mark.wire
async def test_the_plain_summary_says_what_matters(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon:
        await daemon.position(2)
        await daemon.order()
        await daemon.trade("-600")
        status, raw, message = await read_once(tmp_path)
    assert isinstance(message.data, Snapshot)
    text = "\n".join(summary(status, message.data, list(message.data.accounts)))
    assert "daemon RUNNING, user hub up, market hub up" in text
    assert "realised -601.00  open –  total –  (– is unknown)" in text
    assert "LOCKED (account): lost $601.00 today" in text
    assert "position MNQZ6 +2 at 21000.25" in text
    assert "order 55 sell 1 MNQZ6 stop at 20990.00" in text
    assert "BREACH" in text
    assert re.search(r"^  LOCKED [67]:\d\d:\d\d until", text, re.MULTILINE)  # the verdict
    assert "At a loss of $500.00 in the trading day" in text
    assert re.search(r"^  next [67]:\d\d:\d\d daily reset", text, re.MULTILINE)
    assert "MNQ (MNQ): open until" in text.partition("\ncalendar\n")[2]
    log = text.partition("\nlog\n")[2]
    assert re.search(r"LOCKED +lost \$601.00 today", log)
    json.dumps(raw)
    assert raw["outlook"]["rules"][0]["text"]


@pytest.mark.wire
async def test_of_two_versions_of_a_limit_the_one_that_waits_is_marked(tmp_path: Path) -> None:
    """F7.3: After a loosening the new limit shows from when it counts, the old one until when."""
    async with FeedDaemon(tmp_path) as daemon:
        book = daemon.pipeline.state.rulebook
        rules = (MaxContracts(limit=9), DailyRealizedLoss(limit=Decimal(500)))
        new = replace(book, accounts={101: AccountRules.of(rules)})
        now, both = daemon.clock.now(), combined(book, new)
        await daemon.happen(RulebookReplaced(at=now, rulebook=both))
        await daemon.position(2)
        status, raw, message = await read_once(tmp_path)
    assert isinstance(message.data, Snapshot)
    reset = message.data.next_reset
    at = clock(reset, message.data.timestamp)
    told = list(summary(status, message.data, list(message.data.accounts)))
    lines = [line.strip() for line in told if "Contracts held" in line and "next" not in line]
    waits, holds = sorted(lines, key=lambda line: "2 of 5" in line)
    assert waits.startswith("WAITS   Contracts held: 2 of 9")
    assert waits.endswith(f"; counts from {at}")
    assert holds.startswith("OK      Contracts held: 2 of 5")
    assert holds.endswith(f"; holds until {at}")
    [loss] = [line for line in told if "Loss today" in line]
    assert "counts from" not in loss
    assert "holds until" not in loss
    marks = {m["limit"]: (m["counts_from"], m["holds_until"]) for m in raw["accounts"][0]["meters"]}
    assert marks[9.0][0] == marks[5.0][1] is not None
    assert (marks[9.0][1], marks[5.0][0]) == (None, None)


def once(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from pathlib import Path; from risk_manager.dashboard.once import print_once; "
        "code = print_once(Path(sys.argv[1]), None, sys.argv[2] == 'json'); "
        "assert not [m for m in sys.modules if m.startswith(('textual', 'project_x_py'))]; "
        "sys.exit(code)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


@pytest.mark.wire
async def test_once_prints_json_without_textual_and_exits_3_without_a_daemon(
    tmp_path: Path,
) -> None:
    missing = await asyncio.to_thread(once, str(tmp_path), "json")
    assert missing.returncode == 3
    assert missing.stdout == ""
    assert len(missing.stderr.splitlines()) == 1
    assert "no daemon has run" in missing.stderr
    async with FeedDaemon(tmp_path) as daemon:
        await daemon.position(2)
        found = await asyncio.to_thread(once, str(tmp_path), "json")
        assert found.returncode == 0, found.stderr
        told = json.loads(found.stdout)
        assert told["accounts"][0]["positions"][0]["net"] == 2
        plain = await asyncio.to_thread(once, str(tmp_path), "text")
        assert "position MNQZ6 +2" in plain.stdout
