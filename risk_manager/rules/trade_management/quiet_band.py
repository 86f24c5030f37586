"""The quiet band of RULE-012: between which prices nothing new happens to a position."""

from risk_manager.domain.holdings import Position
from risk_manager.domain.money import Band
from risk_manager.domain.view import View
from risk_manager.rules.trade_management.configuration import Configuration
from risk_manager.rules.trade_management.levels import price_of
from risk_manager.rules.trade_management.memory import Memory


def is_in_quiet_band(config: Configuration, view: View, position: Position, memory: Memory) -> bool:
    """Whether the price changes nothing; asked hundreds of times a second."""
    if not memory.idle:
        return False
    if memory.watch is None:
        return True
    price = price_of(config, view.state.quotes.get(position.contract_id), position)
    return price is None or price < memory.watch


def quiet_band(position: Position, memory: Memory) -> Band | None:
    """Return the band in prices; None where the position must be judged at any price."""
    valuation = position.valuation
    if valuation is None or not memory.idle:
        return None
    if memory.watch is None:
        return Band()
    if position.net > 0:
        return Band(high=(memory.watch - 1) * valuation.tick_size)
    return Band(low=(1 - memory.watch) * valuation.tick_size)
