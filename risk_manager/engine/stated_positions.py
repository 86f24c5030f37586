"""How an account changes when the broker states a position, by a stream message or in a list."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from risk_manager.domain.account import Account, Dispute
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.holdings import Position
from risk_manager.domain.money import Valuation
from risk_manager.domain.records import LIST_LAG, PositionRecord, PositionType
from risk_manager.domain.symbols import Contract
from risk_manager.engine.disputes import opened_freshly, with_dispute

# A stated average that differs from the fills' average by more than this (as a fraction, and in
# ticks) is not believed.
MISSTATED = Decimal("0.2")
MISSTATED_TICKS = 100


def with_position(
    account: Account, record: PositionRecord, at: datetime, contract: Contract | None
) -> Account:
    """The account after the gateway stated this position."""
    held = account.positions.get(record.contract_id)
    if held is not None and _is_of_an_earlier_one(record, held):
        return account
    net = record.net
    if net == 0:
        if held is None:
            return account
        positions = {k: p for k, p in account.positions.items() if k != record.contract_id}
        return _ended(fast_replace(account, positions=positions), held)
    sided = record.type is not PositionType.UNDEFINED
    goes_on = held is not None and (held.net > 0) == (net > 0) and not held.precedes(record)
    known = held.average_price if held is not None and goes_on else None
    average, by_fills = record.average_price or None, None
    if sided and (average is None or average != known):
        by_fills = account.ledger.average_of(record.contract_id, net)
    if average is not None and by_fills is not None and _is_far(average, by_fills, contract):
        average = None
    stated = average is not None
    if average is None:
        # A reduction leaves the average price unchanged.
        took_off = held is not None and abs(net) <= held.size
        average = known if known is not None and took_off else by_fills
    if held is not None and goes_on:
        grew = abs(net) > held.size
        position = fast_replace(
            held,
            net=net,
            sided=sided,
            average_price=average,
            average_stated=stated,
            increased_at=at if grew else held.increased_at,
            created_at=held.created_at or record.creation_timestamp,
            gateway_id=record.id,
            valuation=_valuation(net, average, sided, contract),
        )
        if position == held:
            return account
    else:
        position = Position(
            contract_id=record.contract_id,
            net=net,
            sided=sided,
            average_price=average,
            average_stated=stated,
            episode=account.next_episode,
            opened_at=at,
            increased_at=at,
            created_at=record.creation_timestamp,
            gateway_id=record.id,
            valuation=_valuation(net, average, sided, contract),
        )
        account = fast_replace(account, next_episode=account.next_episode + 1)
        if held is not None:
            account = _ended(account, held)
    return fast_replace(account, positions={**account.positions, record.contract_id: position})


def _is_far(average: Decimal, by_fills: Decimal, contract: Contract | None) -> bool:
    """Whether a stated average is too far from the fills' average to be believed."""
    least = MISSTATED_TICKS * contract.tick_size if contract is not None else 0
    return abs(average - by_fills) > max(MISSTATED * abs(by_fills), least)


def averaged(account: Account, contracts: Mapping[str, Contract]) -> Account:
    """Return the account with the fills' average on each position whose average is unknown."""
    for position in account.positions.values():
        if position.average_price is None and position.sided:
            contract_id = position.contract_id
            average = account.ledger.average_of(contract_id, position.net)
            if average is not None:
                known = fast_replace(position, average_price=average)
                known = revalued(known, contracts.get(contract_id))
                positions = {**account.positions, contract_id: known}
                account = fast_replace(account, positions=positions)
    return account


def _ended(account: Account, position: Position) -> Account:
    return fast_replace(account, ended={**account.ended, position.contract_id: position})


def _is_of_an_earlier_one(record: PositionRecord, held: Position) -> bool:
    """Whether the record is a late message about a position older than the one held."""
    return (
        record.id != held.gateway_id
        and record.creation_timestamp is not None
        and held.created_at is not None
        and record.creation_timestamp < held.created_at
    )


def revalued(position: Position, contract: Contract | None) -> Position:
    """Return the position with its valuation prepared. The valuation is None unless side, average
    price and contract are known."""
    valuation = _valuation(position.net, position.average_price, position.sided, contract)
    return (
        position if valuation == position.valuation else fast_replace(position, valuation=valuation)
    )


def _valuation(
    net: int, average: Decimal | None, sided: bool, contract: Contract | None
) -> Valuation | None:
    if contract is None or average is None or not sided:
        return None
    return Valuation.of(net, average, contract)


def with_positions_reported(
    account: Account,
    records: Iterable[PositionRecord],
    asked_at: datetime,
    at: datetime,
    contracts: Mapping[str, Contract],
) -> Account:
    """Return the account after a full list of positions.

    The list does not override what the stream reported after it was asked for. Nor does it override
    a size or an end that the stream reported within `LIST_LAG` before, or remove a position that
    the stream reported as new within that time.
    """
    stated = {r.contract_id: r for r in records}
    for contract_id in sorted({*stated, *account.positions}):
        heard = account.heard.get(contract_id)
        if heard is not None and heard > asked_at:
            continue
        if contract_id not in stated and opened_freshly(account, contract_id, asked_at):
            decided_from = account.positions[contract_id].opened_at + LIST_LAG
            left_out = Dispute(contract_id, decided_from, left_out=True)
            account = with_dispute(account, contract_id, left_out)
            continue
        record = stated.get(contract_id)
        dispute = None if record is None else _disputed_size(account, record, asked_at)
        if dispute is not None:
            account = with_dispute(account, contract_id, dispute)
            continue
        record = record or PositionRecord(account_id=account.id, contract_id=contract_id, size=0)
        account = with_position(account, record, at, contracts.get(contract_id))
    return account


def _disputed_size(account: Account, record: PositionRecord, asked_at: datetime) -> Dispute | None:
    """Return the dispute about the size of this position; None if this list decides it.

    A list asked for within `LIST_LAG` after the stream stated another size, or the end, may be the
    older one. The first such difference sets the time, as a stream that is late goes on stating old
    sizes.
    """
    contract_id = record.contract_id
    held, heard = account.positions.get(contract_id), account.heard.get(contract_id)
    if heard is None or asked_at >= heard + LIST_LAG or record.net == account.net(contract_id):
        return None
    is_news = held.precedes(record) if held is not None else not account.is_of_ended(record)
    if is_news:
        return None
    known = account.disputes.get(contract_id)
    decided_from = heard + LIST_LAG if known is None else known.decided_from
    return Dispute(contract_id, decided_from) if asked_at < decided_from else None
