"""The end of the grace: a stop is put back where it was, or the position is closed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from risk_manager.domain.decisions import (
    Cancel,
    Close,
    LookAgain,
    MoveStop,
    Outcome,
    PlaceExit,
    Protect,
    Remember,
    Severity,
    Verdict,
    bookkeeping,
)
from risk_manager.domain.exit_orders import is_through
from risk_manager.domain.holdings import Position
from risk_manager.domain.money import dollars
from risk_manager.domain.records import LIST_LAG, OrderStatus
from risk_manager.domain.symbols import Contract
from risk_manager.domain.view import View
from risk_manager.rules.stop_guard.configuration import Configuration
from risk_manager.rules.stop_guard.levels import Comparison, Stop, joint_level
from risk_manager.rules.stop_guard.memory import Memory

READ_PATIENCE = timedelta(seconds=3)
"""Before the rule acts, the orders are read over REST, as the word that a stop has gone may be
wrong. If they cannot be read for this long, the known orders decide; only a new stop still waits
for the list, as it could double one that works."""
REFUSALS = 3
"""After this many refusals a stop counts as impossible to put back."""


class Restoring:
    """The decisions about one position whose stops are missed; lives for one judgement."""

    def __init__(
        self,
        config: Configuration,
        view: View,
        position: Position,
        contract: Contract,
        memory: Memory,
        due_at: datetime,
        stops: tuple[Stop, ...],
        found: Comparison,
    ) -> None:
        self.config = config
        self.view = view
        self.position = position
        self.contract = contract
        self.memory = memory
        self.due_at = due_at
        self.stops = {s.order.id: s for s in stops}
        self.found = found

    def verdicts(self) -> Iterator[Verdict]:
        view, contract_id = self.view, self.position.contract_id
        result = view.unrealised(self.position)
        if result is None or result >= 0 or not view.projected()[contract_id]:
            return  # not known to lose, or being closed
        decided_from = self._decided_from()
        if not self._is_read(decided_from) and view.now < decided_from + READ_PATIENCE:
            if view.now >= decided_from:
                yield bookkeeping(LookAgain())
            return
        told = (
            f"{view.name(contract_id)} loses {dollars(-result)} and its stop was "
            f"{'moved away' if self.found.too_low else 'removed'}"
        )
        if self.config.action == "close_position":
            yield self._closing(f"{told}; closing")
        elif self.found.too_low:
            yield from self._move_back(told)
        elif self._is_read(since := self._gone_from()) and not self._is_disputed:
            yield from self._place_again(told)
        elif view.now >= since:
            yield bookkeeping(LookAgain())

    # --- when it is certain enough ---

    def _decided_from(self) -> datetime:
        """From when on a list decides: where stream and list differ, that of a moment later."""
        account = self.view.account
        after = account.disputed(self.position.contract_id)
        return max(at for at in (self.due_at, account.resumed_at, after) if at is not None)

    def _is_read(self, since: datetime) -> bool:
        as_of = self.view.account.reported_as_of
        return as_of is not None and as_of >= since

    def _gone_from(self) -> datetime:
        """From when on a list that cannot lag confirms that the missing stop has ended."""
        over = self.view.account.exit_over.get(self.position.contract_id)
        since = self._decided_from()
        return since if over is None else max(since, over + LIST_LAG)

    @property
    def _is_disputed(self) -> bool:
        return self.view.account.disputed(self.position.contract_id) is not None

    # --- putting back ---

    def _move_back(self, told: str) -> Iterator[Verdict]:
        order_id = next((i for i in sorted(self.found.too_low) if self._room_for(i) > 0), None)
        if order_id is None:
            yield from self._make_room(told)
            return
        levels = self.found.too_low[order_id]
        stop = self.stops[order_id]
        lots = min(stop.order.remaining, self._room_for(order_id))
        level = joint_level(stop, levels, lots)
        price = self._price(level)
        if impossible := self._why_impossible(price, f"order:{order_id}"):
            yield self._impossible(told, price, impossible)
            return
        if set(levels) != {level}:
            # One stop for lots that had several: it keeps the level given to it now.
            reference = list(self.memory.reference)
            for each in levels:
                reference.remove(each)
            reference += [level] * len(levels)
            memory = replace(self.memory, reference=tuple(sorted(reference, reverse=True)))
            yield bookkeeping(
                Remember(self.position.subject, due_at=self.due_at, value=str(memory))
            )
        protect = Protect(
            self.position.contract_id, stop_price=price, stop_order_id=order_id, size=lots
        )
        yield self._putting_back(told, protect)

    def _make_room(self, told: str) -> Iterator[Verdict]:
        """Cancel the farthest stop beyond the size of the position, as it is in the way.

        Our own surplus stops are taken away by the engine.
        """
        surplus = self._working_lots() - self.position.size
        stops = [self.stops[i] for i in self.found.spare]
        in_the_way = [s for s in stops if s.order.remaining <= surplus]
        if not in_the_way or any(s.order.is_own for s in self.stops.values()):
            return
        farthest = min(in_the_way, key=lambda s: (s.level or 0, -s.order.id))
        yield Verdict(
            reason=f"{told}; order {farthest.order.id} is beyond the position and is cancelled",
            subject=f"{self.position.subject}:surplus:{farthest.order.id}",
            asks=(Cancel((farthest.order.id,)),),
        )

    def _place_again(self, told: str) -> Iterator[Verdict]:
        level = self.found.missing[0]
        price = self._price(level)
        contract_id = self.position.contract_id
        if impossible := self._why_impossible(price, f"exit:{contract_id}:stop"):
            yield self._impossible(told, price, impossible)
            return
        room = self.position.size - self._working_lots()
        lots = min(self.found.missing.count(level), room)
        if lots > 0:  # a stop that is being cancelled may still fill
            protect = Protect(contract_id, stop_price=price, size=lots)
            yield self._putting_back(told, protect)

    def _room_for(self, order_id: int) -> int:
        """Return for how many lots a stop may work beside the others."""
        return self.position.size - self._working_lots() + self.stops[order_id].order.remaining

    def _working_lots(self) -> int:
        return sum(
            o.remaining
            for o in self.view.account.orders_in(self.position.contract_id)
            if o.is_stop
            and o.side.sign != self.position.side
            and o.status is not OrderStatus.SUSPENDED
        )

    def _putting_back(self, told: str, ask: Protect) -> Verdict:
        return Verdict(
            reason=f"{told}; put back at {ask.stop_price} for {ask.size}",
            subject=f"{self.position.subject}:put back",
            asks=(ask,),
        )

    def _why_impossible(self, price: Decimal, key: str) -> str:
        """Return why a stop cannot be put back at a price; empty if it can."""
        view, contract_id = self.view, self.position.contract_id
        if is_through(view.state.fresh_quote(contract_id), self.position.side, price):
            return "the price has passed it"
        attempt = view.account.attempts.get(key)
        if (
            attempt is not None
            and isinstance(attempt.action, PlaceExit | MoveStop)
            and attempt.outcome is Outcome.REFUSED
            and attempt.tries >= REFUSALS
        ):
            return "the platform has refused it"
        return ""

    def _impossible(self, told: str, price: Decimal, why: str) -> Verdict:
        words = f"{told}; it cannot be put back at {price}, as {why}"
        if self.config.if_impossible == "close_position":
            return self._closing(f"{words}; closing")
        return Verdict(
            reason=words, subject=f"{self.position.subject}:gone", severity=Severity.WARNING
        )

    def _closing(self, reason: str) -> Verdict:
        return Verdict(
            reason=reason,
            subject=f"{self.position.subject}:closing",
            asks=(Close(self.position.contract_id),),
        )

    def _price(self, level: int) -> Decimal:
        return level * self.position.side * self.contract.tick_size
