"""Judges the rules about behaviour by what the exchange itself has seen.

Nothing of the program's ledger or arithmetic is used: trades are walked through one after the
other, and what a rule acted on must have happened. Where a rule must act, it is looked for.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from simulation.stop_judge import StopJudge

from risk_manager.domain.decisions import Close, Decision, LockOut, ReduceTo
from risk_manager.practice.records import OrderType, Trade

if TYPE_CHECKING:
    from simulation.oracle import Episode, Oracle

DELAY = timedelta(seconds=30)
WINDOW = timedelta(minutes=10)
RISK = Decimal(450)
TOLD_AFTER = timedelta(seconds=90)
"""A trade is told no later than this, however ill the gateway is."""
JUST_NOW = timedelta(seconds=5)
SEEN_S = 5.0
OWN_CLOSE_S = 60.0
STOPS = (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP)
SECTIONS: dict[str, Any] = {
    "max_risk_at_entry": {"limit": RISK},
    "no_averaging_down": {},
    "stop_guard": {"grace": "3s"},
    "size_after_loss": {"window": "10m", "scope": "root"},
    "reentry_delay": {"delay": "30s"},
}


@dataclass(slots=True)
class Life:
    """The trades from flat to flat, or to the other side, and the lots after each of them."""

    trades: list[Trade] = field(default_factory=list)
    lots: list[int] = field(default_factory=list)
    is_over: bool = False

    @property
    def result(self) -> Decimal:
        return sum(((t.profit_and_loss or 0) - t.fees for t in self.trades), Decimal(0))

    @property
    def largest(self) -> int:
        return max(self.lots)

    @property
    def ended_at(self) -> datetime:
        return self.trades[-1].created_at

    def additions(self) -> list[tuple[Trade, Decimal]]:
        """The first fill of each order that added to it, with its result in points before that."""
        orders = {self.trades[0].order_id}
        found = []
        average = points = Decimal(0)
        before = 0
        for trade, lots in zip(self.trades, self.lots, strict=True):
            sign = self.trades[0].side.sign
            if trade.profit_and_loss is not None:
                points += (trade.price - average) * sign * trade.size
            else:
                if trade.order_id not in orders:
                    orders.add(trade.order_id)
                    found.append((trade, points + (trade.price - average) * sign * before))
                average = (average * before + trade.price * trade.size) / lots
            before = lots
        return found


class BehaviourJudge:
    def __init__(self, oracle: "Oracle") -> None:
        self.oracle = oracle
        self.exits_judged = 0
        self.stops = StopJudge(oracle)
        self._exits: list[tuple[tuple[int, str], Episode, int]] = []

    # --- what was decided ---

    def judge(self, decision: Decision) -> None:
        """A decision must have a reason at the exchange."""
        reasons = {
            "no_averaging_down": self._was_averaged_down,
            "size_after_loss": self._grew_after_a_loss,
            "max_risk_at_entry": self._risks_too_much,
        }
        for ask in decision.asks:
            if isinstance(ask, Close | ReduceTo) and decision.rule_id in reasons:
                key = (decision.account_id, ask.contract_id)
                if not reasons[decision.rule_id](key):
                    self._violate(decision)
            if isinstance(ask, LockOut) and decision.rule_id == "reentry_delay":
                root = ask.lock.scope.partition(":")[2]
                if not self._was_left(decision.account_id, root):
                    self._violate(decision)

    def _violate(self, decision: Decision) -> None:
        self.oracle.violate(
            "acted on behaviour that was none",
            f"account {decision.account_id}, {decision.rule_id}: {decision.reason}",
        )

    def _was_averaged_down(self, key: tuple[int, str]) -> bool:
        lives = self._lives(key)
        return lives is None or any(
            points < 0 for life in lives[-2:] for _, points in life.additions()
        )

    def _grew_after_a_loss(self, key: tuple[int, str]) -> bool:
        lives = self._lives(key)
        if lives is None:
            return True
        return any(
            loser.is_over
            and loser.result < 0
            and loser.largest < life.largest
            and timedelta(0) <= trade.created_at - loser.ended_at <= WINDOW
            for number, life in enumerate(lives)
            for loser in lives[:number]
            for trade in life.trades
            if trade.profit_and_loss is None
        )

    def _risks_too_much(self, key: tuple[int, str]) -> bool:
        """Whether it does so by the stops that work, or one has changed a moment ago."""
        world = self.oracle.world
        position = world.position(*key)
        since = world.utc() - JUST_NOW
        orders = [o for o in world.exchange.orders(key[0]) if o.contract_id == key[1]]
        if position is None or any(o.type in STOPS and o.updated_at >= since for o in orders):
            return True
        contract = world.exchange.contracts[key[1]]
        side = 1 if position.net > 0 else -1
        total = Decimal(0)
        for order in world.exchange.working_orders(key[0]):
            if order.contract_id == key[1] and order.type in STOPS and order.stop_price is not None:
                points = (position.average_price - order.stop_price) * side * order.remaining
                total += max(points, Decimal(0)) / contract.tick_size * contract.tick_value
        return total > RISK

    def _was_left(self, account_id: int, root: str) -> bool:
        """Whether a trade of this product ended lately with nothing held by the same order."""
        world = self.oracle.world
        # A delay is over once both clocks say so, and the machine's may have been turned back.
        since = min(world.utc(), world.daemon_now()) - DELAY - TOLD_AFTER
        for contract in world.exchange.contracts.values():
            lives = self._lives((account_id, contract.id)) if contract.root == root else []
            if lives is None:
                return True
            for number, life in enumerate(lives):
                after = lives[number + 1].trades[0].order_id if life is not lives[-1] else None
                if life.is_over and life.ended_at >= since and after != life.trades[-1].order_id:
                    return True
        return False

    def _lives(self, key: tuple[int, str]) -> list[Life] | None:
        """The lives of a contract, oldest first; None where a trade was voided."""
        trades = [t for t in self.oracle.world.exchange.trades(key[0]) if t.contract_id == key[1]]
        lives: list[Life] = []
        net = 0
        for trade in sorted(trades, key=lambda t: (t.created_at, t.id)):
            if trade.voided:
                return None
            if not net:
                lives.append(Life())
            net += trade.side.sign * trade.size
            lives[-1].trades.append(trade)
            lives[-1].lots.append(abs(net))
            lives[-1].is_over = not net
        return lives

    # --- what must be decided ---

    def ended(self, key: tuple[int, str], episode: "Episode", order_id: int) -> None:
        """A trade has ended; the next one may begin by the same order."""
        self._exits.append((key, episode, order_id))

    def look(self) -> None:
        """An exit of the trader's is followed by the lock, where nothing hid it."""
        self.stops.look()
        now = self.oracle.world.now
        while self._exits and now - self._exits[0][1].ended > SEEN_S:
            key, episode, order_id = self._exits.pop(0)
            trades = self.oracle.world.exchange.trades(key[0])
            turned = any(t.order_id == order_id and t.profit_and_loss is None for t in trades)
            is_ours = now - self.oracle.closed_at(key) < OWN_CLOSE_S
            if turned or is_ours or not self.oracle.is_plain(key[0], episode):
                continue
            self.exits_judged += 1
            if "reentry_delay" not in self.oracle.locks_of(key[0]):
                self.oracle.violate(
                    "no delay after an exit",
                    f"{key} was left {now - episode.ended:.1f} s ago by order {order_id}",
                )
