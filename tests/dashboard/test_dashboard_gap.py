"""How long the daemon was not heard: from its last word, not from the first one after it."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from feed_daemon import FeedDaemon
from feed_listener import listening

from risk_manager.dashboard.alerts import AlertBook
from risk_manager.dashboard.picture import Picture
from risk_manager.dashboard.story import ConnectionMade
from risk_manager.feed.client import Connected, Disconnected, read_envelope, read_message
from risk_manager.feed.messages import Message


def message(frame: dict[str, Any]) -> Message:
    envelope = read_envelope(orjson.dumps(frame).decode())
    assert envelope is not None
    found = read_message(envelope)
    assert found is not None
    return found


@pytest.mark.wire
async def test_the_gap_is_counted_from_the_last_word_before_it(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon, listening(daemon, tmp_path) as listener:
        frames = [message(frame) for frame in listener.frames[:2]]  # its status, and a snapshot
    picture, book = Picture().with_item(Connected(""), 0.0), AlertBook()
    for each in frames:
        picture = picture.with_item(each, 10.0)
    for mono in (12.0, 40.0):  # however many tries it took
        picture = picture.with_item(Disconnected("gone", 1.0), mono)
    picture = picture.with_item(Connected(""), 100.0)
    told = []
    for each in frames:
        after = picture.with_item(each, 100.0)
        told += book.new(picture, after, 100.0)
        picture = after
    assert [alert.text for alert in told] == ["the daemon is heard again after 1m30s"]
    deeds = [entry.deed for entry in picture.story.entries.values()]
    assert [d.gap_s for d in deeds if isinstance(d, ConnectionMade)] == [90.0]
