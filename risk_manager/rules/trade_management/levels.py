"""The levels of one position and its price, in ticks times its side: higher is better."""

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from risk_manager.domain.events import QuoteChanged
from risk_manager.domain.exit_orders import stop_ticks, target_ticks
from risk_manager.domain.holdings import Position
from risk_manager.domain.symbols import Contract
from risk_manager.rules.trade_management.configuration import Configuration


@dataclass(frozen=True, slots=True)
class Levels:
    """The prices at which something happens to one position, in ticks times its side."""

    initial: int
    breakeven_at: int
    breakeven: int
    trail_at: int
    target: int


@lru_cache(maxsize=1024)
def _levels(
    average: Decimal, side: int, tick: Decimal, ticks: tuple[int, int, int, int, int]
) -> Levels:
    initial, trigger, offset, activation, target = ticks

    def stop(away: int) -> int:
        return side * stop_ticks(average + side * away * tick, side, tick)

    return Levels(
        initial=stop(-initial),
        breakeven_at=stop(trigger),
        breakeven=stop(offset),
        trail_at=stop(activation),
        target=side * target_ticks(average + side * target * tick, side, tick),
    )


def levels_of(config: Configuration, average: Decimal, side: int, contract: Contract) -> Levels:
    return _levels(average, side, contract.tick_size, config.distances)


def price_of(config: Configuration, quote: QuoteChanged | None, position: Position) -> int | None:
    """The price that profit is measured at; None where it is not known."""
    valuation = position.valuation
    if quote is None or valuation is None:
        return None
    price = quote.near(position.side) if config.price == "executable" else quote.last_price
    if price is None:
        return None
    ticks = round(price / valuation.tick_size)
    return ticks if position.net > 0 else -ticks
