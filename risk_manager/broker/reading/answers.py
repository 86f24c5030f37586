"""Turns the gateway's answers into records, and reports answers that cannot be read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from risk_manager.broker.reading.account_search import record_in
from risk_manager.broker.reading.readings import PATHS, Part
from risk_manager.broker.replies import Answer, Reply
from risk_manager.broker.validation import first_problem
from risk_manager.clock import Clock
from risk_manager.domain.events import AnyEvent, Unreadable
from risk_manager.domain.records import AccountRecord, OrderRecord, PositionRecord, TradeRecord

REPORT_AGAIN_AFTER_SECONDS = 300.0

_LISTS: Mapping[Part, tuple[str, TypeAdapter[Any]]] = {
    Part.POSITIONS: ("positions", TypeAdapter(tuple[PositionRecord, ...])),
    Part.ORDERS: ("orders", TypeAdapter(tuple[OrderRecord, ...])),
    Part.TRADES: ("trades", TypeAdapter(tuple[TradeRecord, ...])),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedAccount:
    """An account in a list of the login. `record`: None where it is missing or cannot be read.

    `is_listed`: None where the answer holds no list.
    """

    record: AccountRecord | None = None
    is_listed: bool | None = None


@dataclass(slots=True)
class ParsedAnswers:
    """The records found in some answers to one pass, by part, and the problems of the rest.

    `is_listed`: see `ListedAccount`. `is_rate_limited`: an answer was a refusal for too many
    requests.
    """

    found: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    is_listed: bool | None = None
    is_rate_limited: bool = False


class AnswerParser:
    """Parses answers. Each problem is reported once, and again while it lasts."""

    def __init__(self, clock: Clock, put: Callable[[AnyEvent], None]) -> None:
        self._clock = clock
        self._put = put
        self._reported_at: dict[tuple[int, str, str], float] = {}
        """When a problem was last reported: by account, source and detail."""

    def parse(self, account_id: int, replies: Mapping[Part, Reply]) -> ParsedAnswers:
        """Parse the answers to a pass. A part with one wrong record is missing as a whole."""
        parsed = ParsedAnswers()
        for part, reply in replies.items():
            if not reply.ok:
                parsed.problems.append(reply.message)
                parsed.is_rate_limited |= reply.answer is Answer.LIMITED
                continue
            if part is Part.ACCOUNT:
                listed = self.account(account_id, reply)
                parsed.found[part], parsed.is_listed = listed.record, listed.is_listed
                continue
            parsed.found[part] = self._records(account_id, part, reply)
            if parsed.found[part] is None:
                parsed.problems.append(f"{PATHS[part]} holds a record that cannot be read")
        return parsed

    def account(self, account_id: int, reply: Reply) -> ListedAccount:
        """Find the account in the answer to a search."""
        source = PATHS[Part.ACCOUNT]
        if not isinstance(reply.body.get("accounts"), list):
            self._report(account_id, source, "the answer holds no list of accounts")
            return ListedAccount()
        raw = record_in(reply, account_id)
        if raw is None:
            return ListedAccount(is_listed=False)
        try:
            return ListedAccount(record=AccountRecord.model_validate(raw), is_listed=True)
        except ValidationError as error:
            self._report(account_id, source, first_problem(error))
            return ListedAccount(is_listed=True)

    def _records(self, account_id: int, part: Part, reply: Reply) -> tuple[Any, ...] | None:
        key, adapter = _LISTS[part]
        raw = reply.body.get(key)
        if not isinstance(raw, list):
            self._report(account_id, PATHS[part], f"the answer holds no list of {key}")
            return None
        try:
            records: tuple[Any, ...] = adapter.validate_python(raw)
        except ValidationError as error:
            self._report(account_id, PATHS[part], first_problem(error))
            return None
        stray = next((r for r in records if r.account_id != account_id), None)
        if stray is not None:
            self._report(
                account_id, PATHS[part], f"record {stray.id} belongs to account {stray.account_id}"
            )
            return None
        return records

    def _report(self, account_id: int, source: str, detail: str) -> None:
        """Report a problem as `Unreadable`, but not with every pass."""
        now, problem = self._clock.monotonic(), (account_id, source, detail)
        reported_at = self._reported_at.get(problem)
        if reported_at is not None and now - reported_at < REPORT_AGAIN_AFTER_SECONDS:
            return
        self._reported_at = {
            known: at
            for known, at in self._reported_at.items()
            if now - at < REPORT_AGAIN_AFTER_SECONDS
        }
        self._reported_at[problem] = now
        self._put(
            Unreadable(at=self._clock.now(), source=source, detail=detail, account_id=account_id)
        )
