"""The one request that a client of the feed may make: a page of what was."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from risk_manager.feed.messages import History

METHOD: Final = "history"
MOST_ROWS = 200

RequestId = Annotated[int, Field(ge=0, lt=2**53)]


class _Page(BaseModel):
    model_config = ConfigDict(frozen=True)

    kind: Annotated[str, Field(max_length=32)]
    account_id: int
    before: Annotated[str, Field(max_length=64)] | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 50


class HistoryRequest(_Page):
    """A page of one kind of one account. `before` is the `next` of the page before."""

    id: RequestId

    def frame(self) -> str:
        """Return the request as it is sent: id, method and params."""
        params = _Page.model_validate(self.model_dump(exclude={"id"}))
        return _Frame(id=self.id, method=METHOD, params=params).model_dump_json()


class _Frame(BaseModel):
    id: RequestId
    method: Literal["history"]
    params: _Page


HistorySource = Callable[[HistoryRequest], Awaitable[History]]
"""Answers a request. It never raises: an answer that cannot be had is one with an `error`."""


def read_request(frame: str | bytes) -> HistoryRequest | None:
    """Read the message of a client; None where it is no request, and then it is ignored."""
    try:
        asked = _Frame.model_validate_json(frame)
    except ValidationError:
        return None
    return HistoryRequest(id=asked.id, **asked.params.model_dump())


def refused(request: HistoryRequest, why: str) -> History:
    return History(id=request.id, kind=request.kind, before=request.before, error=why)
