"""The meter of RULE-012: the state of the first position's stop, and the next step."""

from decimal import Decimal

from risk_manager.domain.rule import Meter, MeterState
from risk_manager.domain.view import View
from risk_manager.rules.trade_management.configuration import Configuration
from risk_manager.rules.trade_management.levels import levels_of, price_of
from risk_manager.rules.trade_management.memory import NOTHING, recalled


def read_meter(config: Configuration, view: View) -> Meter:
    """The reading for the first position held; the meter shows one position only."""
    sentence, current, limit = "flat", None, None
    state = MeterState.OK
    for position in view.account.positions.values():
        contract = view.state.contracts.get(position.contract_id)
        if contract is None or position.average_price is None:
            sentence, state = "tick size or average price is not known", MeterState.UNKNOWN
            break
        name = view.name(position.contract_id)
        mark = view.mark(config.id, position.subject)
        memory = NOTHING if mark is None else recalled(mark.value)
        if memory.stop is not None:
            stop = memory.stop * position.side * contract.tick_size
            sentence = f"{name}: {memory.stage} stop at {stop}"
            break
        levels = levels_of(config, position.average_price, position.side, contract)
        price = price_of(config, view.quote(position.contract_id), position)
        steps = [
            (at, word)
            for at, word, on in (
                (levels.breakeven_at, "breakeven", config.breakeven.enabled),
                (levels.trail_at, "trailing", config.trailing.enabled),
            )
            if on
        ]
        if price is None or not steps:
            sentence = f"{name}: {'no trusted price' if steps else 'nothing to move'}"
            state = MeterState.UNKNOWN if steps else MeterState.OK
            break
        at, word = min(steps)
        entry = levels.breakeven_at - config.breakeven.trigger_ticks
        current, limit = Decimal(price - entry), Decimal(at - entry)
        sentence = f"{name}: {word} in {at - price} ticks"
        break
    return config.reading(
        current=current,
        limit=limit,
        unit="ticks",
        sentence=sentence,
        state=state,
    )
