"""The configuration of the stop guard."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator

from risk_manager.domain.durations import Duration, plain_duration
from risk_manager.domain.rule import Rule

SHORTEST, LONGEST = timedelta(seconds=1), timedelta(minutes=5)


def _as_a_grace(value: timedelta) -> timedelta:
    if not SHORTEST <= value <= LONGEST:
        raise ValueError(f"{plain_duration(value)} is not between 1s and 5m")
    return value


class Configuration(Rule):
    """The fields of the rule, apart from what it does with them."""

    rule: Literal["stop_guard"] = "stop_guard"
    grace: Annotated[Duration, AfterValidator(_as_a_grace)] = timedelta(seconds=5)
    action: Literal["put_back", "close_position"] = "put_back"
    if_impossible: Literal["close_position", "alert"] = "close_position"
