"""The configuration of RULE-008, and how many contracts of a position lack a stop by it."""

from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from risk_manager.domain.durations import Duration, plain_duration
from risk_manager.domain.exit_orders import Terms, covered
from risk_manager.domain.holdings import Position
from risk_manager.domain.records import OrderType
from risk_manager.domain.rule import Rule
from risk_manager.domain.view import View

StopType = Literal["stop", "stop_limit", "trailing_stop"]
_TYPES: dict[StopType, OrderType] = {
    "stop": OrderType.STOP,
    "stop_limit": OrderType.STOP_LIMIT,
    "trailing_stop": OrderType.TRAILING_STOP,
}

SHORTEST_GRACE = timedelta(seconds=1)
"""The shortest grace, also after a position was first reported to us, however late that was."""


class Configuration(Rule):
    """The fields, and which orders count as a stop."""

    rule: Literal["no_stop_loss_grace"] = "no_stop_loss_grace"
    grace: Duration = timedelta(seconds=30)
    rearm_grace: Duration = timedelta(seconds=10)
    require: Literal["full_size", "any"] = "full_size"
    accept_order_types: Annotated[tuple[StopType, ...], Field(min_length=1)] = (
        "stop",
        "stop_limit",
        "trailing_stop",
    )
    """The orders that count as a stop."""
    accept_beyond_entry: bool = True
    max_stop_distance_ticks: PositiveInt | None = None
    action: Literal["close_position", "place_stop"] = "close_position"
    """Close the position, or place a stop."""
    place_stop_ticks: PositiveInt | None = None
    adopt_existing_at_startup: bool = True

    @model_validator(mode="after")
    def _the_words_fit_together(self) -> Self:
        for name in ("grace", "rearm_grace"):
            if not SHORTEST_GRACE <= getattr(self, name) <= timedelta(hours=1):
                raise ValueError(
                    f"{name}: {plain_duration(getattr(self, name))} is not between 1s and 1h"
                )
        if (self.action == "place_stop") != (self.place_stop_ticks is not None):
            raise ValueError(
                "action place_stop and place_stop_ticks belong together; write both or neither"
            )
        if self.place_stop_ticks is not None:
            if "stop" not in self.accept_order_types:
                raise ValueError(
                    "the stop that place_stop places would not count; add stop to "
                    "accept_order_types"
                )
            if (self.max_stop_distance_ticks or self.place_stop_ticks) < self.place_stop_ticks:
                raise ValueError(
                    f"place_stop_ticks {self.place_stop_ticks} is farther away than "
                    f"max_stop_distance_ticks {self.max_stop_distance_ticks} allows"
                )
        return self

    @cached_property
    def terms(self) -> Terms:
        """The terms on which an order counts as a stop, apart from its distance."""
        types = frozenset(_TYPES[t] for t in self.accept_order_types)
        return Terms(types, self.accept_beyond_entry)

    def uncovered(self, view: View, position: Position) -> int:
        """Return how many contracts of a position lack a stop."""
        orders = view.account.orders_in(position.contract_id)
        terms = self.terms
        contract = view.state.contracts.get(position.contract_id)
        if self.max_stop_distance_ticks is not None and contract is not None:
            terms = replace(terms, reach=self.max_stop_distance_ticks * contract.tick_size)
        have = covered(position, orders, terms, view.quote(position.contract_id))
        return max((position.size if self.require == "full_size" else 1) - have, 0)
