"""The policy for a position without a price: hold it, or flatten it after a while."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator

from risk_manager.domain.durations import parse_duration, plain_duration

HOLD = "hold"
_FLATTEN_AFTER = "flatten_after:"


def flatten_after(policy: str) -> timedelta | None:
    """Return how long a price may be missing before the position is closed; None holds it.

    Raises ValueError, which says how to write a policy.
    """
    if policy == HOLD:
        return None
    if policy.startswith(_FLATTEN_AFTER):
        after = parse_duration(policy.removeprefix(_FLATTEN_AFTER).strip())
        if after > timedelta(0):
            return after
    raise ValueError('write hold, or for example "flatten_after:30s"')


def _written_plainly(policy: str) -> str:
    after = flatten_after(policy)
    return HOLD if after is None else f"{_FLATTEN_AFTER}{plain_duration(after)}"


MissingData = Annotated[str, AfterValidator(_written_plainly)]
"""`hold`, or `flatten_after:` and a duration."""
