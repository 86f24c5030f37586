"""The configuration of RULE-012: four sections, and the fields beside them."""

from datetime import timedelta
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

from risk_manager.domain.durations import Duration, plain_duration
from risk_manager.domain.rule import Rule


class InitialStop(BaseModel):
    """A stop this far from the average price, where the position has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    """Place it."""
    ticks: PositiveInt = 40
    """So far from the average price."""


class TakeProfit(BaseModel):
    """A target this far from the average price, placed once where the position has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    """Place it."""
    ticks: PositiveInt = 80
    """So far from the average price."""


class Breakeven(BaseModel):
    """At `trigger_ticks` of profit the stop goes to the average price plus `offset_ticks`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Do it."""
    trigger_ticks: PositiveInt = 10
    """At this profit per contract."""
    offset_ticks: int = 1
    """So far on the profitable side of the entry."""
    if_through: Literal["close", "skip"] = "skip"
    """The price is already beyond the new stop: close, or wait."""

    @model_validator(mode="after")
    def _offset_below_trigger(self) -> "Breakeven":
        if self.offset_ticks >= self.trigger_ticks:
            raise ValueError(
                f"offset_ticks {self.offset_ticks} must be below trigger_ticks "
                f"{self.trigger_ticks}: the stop would stand at or beyond the market"
            )
        return self


class Trailing(BaseModel):
    """From `activation_ticks` of profit the stop follows the best price at `distance_ticks`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Do it."""
    activation_ticks: PositiveInt = 20
    """From this profit per contract on."""
    distance_ticks: PositiveInt = 10
    """So far behind the best price."""
    step_ticks: PositiveInt = 1
    """Move in steps of at least so much."""
    min_interval: Duration = timedelta(seconds=1)
    """Move no more often than this."""
    if_through: Literal["close", "skip"] = "close"
    """The price is already beyond the new stop: close, or wait."""

    @model_validator(mode="after")
    def _not_too_often(self) -> "Trailing":
        if self.min_interval < timedelta(milliseconds=250):
            raise ValueError(
                f"min_interval: {plain_duration(self.min_interval)} is shorter than 250ms"
            )
        return self


class Configuration(Rule):
    """The fields of the rule, apart from what it does with them."""

    rule: Literal["trade_management"] = "trade_management"
    enabled: bool = False
    initial_stop: InitialStop = InitialStop()
    """A stop for a position that has none."""
    take_profit: TakeProfit = TakeProfit()
    """A limit order that takes the profit."""
    breakeven: Breakeven = Breakeven()
    """Move the stop to the entry once."""
    trailing: Trailing = Trailing()
    """Let the stop follow the price."""
    price: Literal["last", "executable"] = "last"
    """The price that counts."""
    adopt_manual_stops: Literal["improve_only", "never"] = "improve_only"
    resize_with_position: bool = True
    """The size of its own orders follows the position."""

    @cached_property
    def distances(self) -> tuple[int, int, int, int, int]:
        """In ticks from the average price, in the order that `levels_of` wants."""
        return (
            self.initial_stop.ticks,
            self.breakeven.trigger_ticks,
            self.breakeven.offset_ticks,
            self.trailing.activation_ticks,
            self.take_profit.ticks,
        )
