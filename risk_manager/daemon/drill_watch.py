"""Notices a fire drill, which is held in a process of its own beside the daemon."""

import asyncio
from pathlib import Path

from risk_manager.admin.drill_record import DrillRecord, last_drill
from risk_manager.feed.messages import LastDrill

LOOK_S = 10.0


class DrillWatch:
    """The last drill, read from the data folder now and then."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._record: DrillRecord | None = None

    def look(self) -> None:
        """Read the result of the last drill. Waits for the disk."""
        self._record = last_drill(self._data_dir)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_S)

    def told(self, digest: str) -> LastDrill | None:
        """Return the last drill for the screens. `digest` is that of the limits read last."""
        record = self._record
        if record is None:
            return None
        return LastDrill(
            at=record.at,
            armed=record.armed,
            fired=record.fired,
            faults=tuple(dict.fromkeys(rule.rule_id for rule in record.faults)),
            limits_changed=record.digest != digest,
        )
