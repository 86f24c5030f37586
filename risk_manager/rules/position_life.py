"""The executions behind a position that is held, and how each order changed it."""

from dataclasses import dataclass

from risk_manager.domain.executions import Execution
from risk_manager.domain.holdings import Position
from risk_manager.domain.ledger import Ledger
from risk_manager.domain.round_turns import RoundTurn
from risk_manager.domain.view import View


@dataclass(frozen=True, slots=True)
class Change:
    """One execution of a position's life: its lots before and after, on the position's side.

    The opening change begins at 0 lots. Where the opening execution turned an earlier position
    round, only the lots beyond flat count.
    """

    execution: Execution
    before: int
    after: int

    @property
    def added(self) -> int:
        """The lots added; 0 for a reduction."""
        return max(self.after - self.before, 0)


def life_of(view: View, position: Position) -> tuple[Change, ...] | None:
    """Return the executions of a position since it was opened, oldest first.

    None while executions and position do not agree: one of them has not arrived yet, or the ledger
    does not reach back to the opening.
    """
    ledger = view.account.ledger
    if not position.sided or position.contract_id not in ledger.newest_in:
        return None
    side, net = position.side, position.net
    newest_first: list[Change] = []
    for e in reversed(ledger.standing()):
        if e.contract_id != position.contract_id:
            continue
        if not newest_first and not view.landed(e):
            return None
        before = net - e.signed_size
        if before * side <= 0:
            if (before == 0) != (e.pnl is None):
                return None
            newest_first.append(Change(e, 0, abs(net)))
            return tuple(reversed(newest_first))
        if (abs(before) < abs(net)) != (e.pnl is None):
            return None
        newest_first.append(Change(e, abs(before), abs(net)))
        net = before
    return None


def is_reversal(ledger: Ledger, opening: Execution) -> bool:
    """Whether the order of an opening execution had closed a position on the other side as well."""
    return opening.pnl is not None or any(
        e.order_id == opening.order_id and e.pnl is not None
        for e in ledger.standing()
        if e.contract_id == opening.contract_id
    )


def was_turned_round(view: View, turn: RoundTurn) -> bool:
    """Whether the order that ended a trade opened the other side as well."""
    ledger, last = view.account.ledger, turn.last
    if turn.order_id in ledger.increasing_orders():
        return True
    # One execution may close a position and open the other side.
    if any(t.opened_by == last.id for t in ledger.round_turns() if t is not turn):
        return True
    held = view.account.positions.get(turn.contract_id)
    if held is None or held.side != last.side.sign:
        return False
    life = life_of(view, held)
    return life is not None and life[0].execution.key == last.key


def largest_size(ledger: Ledger, turn: RoundTurn) -> int:
    """Return the most lots that a trade held at one time; the lots closed if that is unknown."""
    held = most = 0
    for e in ledger.standing():
        if e.contract_id != turn.contract_id:
            continue
        if held or (e.id == turn.opened_by and e.pnl is None):
            held += e.size if e.pnl is None else -e.size
            most = max(most, held)
        if e.key == turn.last.key:
            break
    return most or turn.size
