"""The times in which nobody guarded, as the daemon has recorded them."""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from risk_manager.admin.records import database_in
from risk_manager.domain.durations import plain_duration
from risk_manager.store.rows import micros
from risk_manager.store.schema import StoreError
from risk_manager.store.upkeep import open_reader


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """One time without a guard, until every account had been read again."""

    began_at: datetime
    ended_at: datetime
    clean: bool

    @property
    def length(self) -> timedelta:
        return self.ended_at - self.began_at


@dataclass(frozen=True, slots=True)
class Gaps:
    """The gaps since an instant, oldest first."""

    since: datetime
    each: tuple[Gap, ...]

    @property
    def after_crashes(self) -> tuple[Gap, ...]:
        return tuple(gap for gap in self.each if not gap.clean)

    @property
    def row(self) -> dict[str, Any]:
        crashed = [gap.length.total_seconds() for gap in self.after_crashes]
        last = self.each[-1] if self.each else None
        return {
            "since": self.since.isoformat(),
            "count": len(self.each),
            "after_crashes": len(crashed),
            "longest_after_a_crash_s": round(max(crashed, default=0.0), 1),
            "unguarded_after_crashes_s": round(sum(crashed), 1),
            "last": None
            if last is None
            else {
                "from": last.began_at.isoformat(),
                "to": last.ended_at.isoformat(),
                "seconds": round(last.length.total_seconds(), 1),
                "clean": last.clean,
            },
        }

    def told(self) -> str:
        """Return the gaps in a line."""
        if not self.each:
            return "none"
        crashed = self.after_crashes
        stops = len(self.each) - len(crashed)
        parts = []
        if crashed:
            longest, total = max(g.length for g in crashed), _sum(g.length for g in crashed)
            parts.append(
                f"{_times(len(crashed))} after a crash, {_plain(longest)} at most, "
                f"{_plain(total)} in all"
            )
        if stops:
            parts.append(f"{_times(stops)} after a stop")
        last = self.each[-1]
        return (
            f"{'; '.join(parts)}; the last from {last.began_at.astimezone():%a %Y-%m-%d %H:%M:%S} "
            f"for {_plain(last.length)}"
        )


def gaps_since(data: Path, since: datetime) -> Gaps:
    """Return the gaps that were recorded since an instant. Raises StoreError."""
    with open_reader(database_in(data)) as connection:
        try:
            rows = connection.execute(
                "SELECT new FROM audit WHERE action = 'was_down' AND at >= ?", (micros(since),)
            ).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"the audit rows cannot be read: {error}") from error
    # There is a row for each account, and all of one gap have the same times.
    return Gaps(since, tuple(sorted({_gap(json.loads(text)) for (text,) in rows})))


def _gap(row: dict[str, Any]) -> Gap:
    return Gap(
        datetime.fromisoformat(row["from"]),
        datetime.fromisoformat(row["to"]),
        bool(row["stopped_cleanly"]),
    )


def _sum(lengths: Iterable[timedelta]) -> timedelta:
    return sum(lengths, timedelta())


def _plain(length: timedelta) -> str:
    return plain_duration(timedelta(seconds=max(round(length.total_seconds()), 1)))


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
