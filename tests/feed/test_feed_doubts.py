"""Doubts over the feed: those that stand, with their age, and none that are over."""

from pathlib import Path

import pytest
from feed_daemon import ES, MNQ, FeedDaemon

from risk_manager.feed.client import read_once

pytestmark = pytest.mark.wire


async def test_a_snapshot_lists_the_doubts_that_stand(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon:
        await daemon.tick()
        await daemon.position(1)
        await daemon.position(1, contract_id=ES)
        daemon.clock.skip(seconds=40)
        await daemon.quote(6000, contract_id=ES)
        await daemon.tick()
        _, snapshot, _ = await read_once(tmp_path)
        (doubt,) = snapshot["doubts"]
        assert (doubt["kind"], doubt["subject"], doubt["critical"]) == ("stale_quotes", MNQ, True)
        assert doubt["age_s"] >= 39
