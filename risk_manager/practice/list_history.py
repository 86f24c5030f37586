"""The lists of open orders and positions as they were a moment ago, for answers that lag behind."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from risk_manager.practice.records import WORKING, Event

type Payload = dict[str, Any]
type ListName = Literal["orders", "positions"]

KEPT_FOR = timedelta(seconds=5)
MAX_CHANGES = 20_000
KEY_FIELDS: dict[ListName, str] = {"orders": "id", "positions": "contractId"}


@dataclass(frozen=True, slots=True)
class _Change:
    """One order or position as a list showed it before it changed; None where it did not."""

    at: datetime
    account_id: int
    list_name: ListName
    key: int | str
    before: Payload | None


class ListHistory:
    """The changes of the last `KEPT_FOR`, by which a list is taken back to an earlier instant."""

    def __init__(self) -> None:
        self._listed: dict[tuple[ListName, int, int | str], Payload] = {}
        self._changes: deque[_Change] = deque(maxlen=MAX_CHANGES)

    def note_order(self, event: Event, now: datetime) -> None:
        is_listed = event.data["status"] in WORKING
        self._note(event, "orders", event.data["id"], is_listed, now)

    def note_position(self, event: Event, now: datetime) -> None:
        self._note(event, "positions", event.contract_id, event.data["size"] > 0, now)

    def rows_at(
        self, as_of: datetime, account_id: int, list_name: ListName, rows: list[Payload]
    ) -> list[Payload]:
        """Return the rows of a list as they were at `as_of`; `rows` are those of now."""
        key_field = KEY_FIELDS[list_name]
        then = {row[key_field]: row for row in rows}
        for change in reversed(self._changes):
            if change.at <= as_of:
                break
            if change.account_id != account_id or change.list_name != list_name:
                continue
            if change.before is None:
                then.pop(change.key, None)
            else:
                then[change.key] = change.before
        return list(then.values())

    def _note(
        self, event: Event, list_name: ListName, key: int | str, is_listed: bool, now: datetime
    ) -> None:
        where = (list_name, event.account_id, key)
        before = self._listed.get(where)
        if is_listed:
            self._listed[where] = dict(event.data)
        else:
            self._listed.pop(where, None)
        if before is not None or is_listed:
            self._changes.append(_Change(now, event.account_id, list_name, key, before))
        while self._changes and self._changes[0].at < now - KEPT_FOR:
            self._changes.popleft()
