"""Classifies every REST answer: success, refusal, HTTP status or exception."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from math import isfinite
from types import MappingProxyType
from typing import Any

import aiohttp

from risk_manager.broker.surrogates import without_surrogates
from risk_manager.broker.warm_connections import UnreadableAnswer
from risk_manager.domain.call_codes import GONE, PENDING, error_code, words_of_refusal


class Answer(StrEnum):
    """The outcome of a call. Only OK and UNKNOWN can have changed anything."""

    OK = "ok"
    GONE = "gone"  # nothing left to act on: already flat, order not found
    PENDING = "pending"  # an earlier call of the same kind is still being carried out
    REFUSED = "refused"  # the gateway understood and said no
    INVALID = "invalid"  # the gateway rejected the request itself (400, 403, 404, 422)
    UNAUTHORISED = "unauthorised"  # the token is not accepted, and could not be renewed
    LIMITED = "limited"  # too many requests; nothing was done
    UNSENT = "unsent"  # no connection: the request never left this machine
    UNKNOWN = "unknown"  # the answer never came or cannot be read: it may have happened


_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The result of one call. `code` is the gateway's errorCode; `message` is for people."""

    answer: Answer
    body: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    code: int | None = None
    message: str = ""
    retry_after_seconds: float | None = None

    @property
    def ok(self) -> bool:
        return self.answer is Answer.OK

    @property
    def is_transient(self) -> bool:
        """Whether a read may succeed if it is tried again in a moment."""
        return self.answer in (Answer.UNKNOWN, Answer.UNSENT)


class StatusError(Exception):
    """The gateway answered with an HTTP status other than success."""

    def __init__(self, status: int, detail: str = "", retry_after: str | None = None) -> None:
        super().__init__(f"HTTP {status}" + (f": {detail}" if detail else ""))
        self.status = status
        self.retry_after = retry_after


# Raised before any byte of the request has been sent.
_NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)


def reply_of(path: str, body: object) -> Reply:
    """Classify a decoded body. A body of unexpected form is UNKNOWN, never success."""
    if not isinstance(body, dict):
        return Reply(
            answer=Answer.UNKNOWN,
            message=f"the answer to {path} cannot be read: {type(body).__name__}, not an object",
        )
    success = body.get("success")
    if success is True:
        return Reply(answer=Answer.OK, body=body, code=0)
    if success is not False:
        return Reply(
            answer=Answer.UNKNOWN,
            body=body,
            message=f"the answer to {path} does not say whether it succeeded",
        )
    code = error_code(body.get("errorCode"))
    answer = Answer.REFUSED
    if code is not None and (path, code) in GONE:
        answer = Answer.GONE
    elif code is not None and (path, code) in PENDING:
        answer = Answer.PENDING
    return Reply(answer=answer, body=body, code=code, message=words_of_refusal(path, body))


def reply_of_error(path: str, error: BaseException) -> Reply:
    """Classify an exception that ended a call. Any unforeseen exception is UNKNOWN."""
    if isinstance(error, StatusError):
        return _reply_of_status(path, error)
    if any(isinstance(e, _NEVER_SENT) for e in _causes(error)):
        return Reply(answer=Answer.UNSENT, message=f"no connection to the gateway{_because(error)}")
    match error:
        case aiohttp.ClientError() | TimeoutError():
            return _unknown(f"connection trouble in {path}{_because(error)}")
        case UnreadableAnswer():
            return _unknown(f"the answer to {path} cannot be read{_because(error)}")
    return _unknown(f"{path} ended in {type(error).__name__}{_because(error)}")


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Parse a Retry-After header (seconds or HTTP date) to seconds from now; None if unreadable."""
    if value is None:
        return None
    with suppress(ValueError):
        seconds = float(value)
        return max(seconds, 0.0) if isfinite(seconds) else None
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max((until - now).total_seconds(), 0.0)


def _reply_of_status(path: str, error: StatusError) -> Reply:
    match error.status:
        case 401:
            return Reply(answer=Answer.UNAUTHORISED, message="the login is no longer accepted")
        case 429:
            return Reply(
                answer=Answer.LIMITED,
                message="too many requests",
                retry_after_seconds=retry_after_seconds(error.retry_after, datetime.now(UTC)),
            )
        case 408:
            return _unknown(f"the gateway gave up waiting in {path} (HTTP 408)")
        case status if 400 <= status < 500:
            return Reply(
                answer=Answer.INVALID,
                message=f"the gateway does not accept {path}{_because(error)}",
            )
        case status if status >= 500:
            return _unknown(f"the gateway has a problem{_because(error)}")
    return _unknown(f"{path} was answered oddly{_because(error)}")


def _unknown(message: str) -> Reply:
    return Reply(answer=Answer.UNKNOWN, message=message)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _because(error: BaseException) -> str:
    words = without_surrogates(" ".join(str(error).split())[:200])
    return f": {words}" if words else f" ({type(error).__name__})"
