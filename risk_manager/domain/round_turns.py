"""Groups executions into trades, each from flat to flat, with all fees included."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property

from risk_manager.domain.executions import ROUND_TURN_SETTLE, Execution
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.money import ZERO


@dataclass(frozen=True, kw_only=True)
class RoundTurn:
    """One trade as traders count it: from flat to flat or to a reversal, by any number of orders.

    `is_over` False: some lots are still open, and the result is that of the lots closed so far.
    `opened_by` is the id of the opening execution. It is None for a close whose opening is not
    known; each closing order then counts as a trade of its own. `size` is the number of lots
    closed, and `last` the newest closing execution.
    """

    contract_id: str
    opened_by: int | None
    pnl: Decimal
    fees: Decimal
    size: int
    first_at: datetime
    last: Execution
    is_over: bool

    @property
    def name(self) -> str:
        """A name for the trade that stays the same while the trade grows."""
        return f"turn:{self.order_id}" if self.opened_by is None else f"trade:{self.opened_by}"

    @property
    def order_id(self) -> int:
        """The order that closed lots last."""
        return self.last.order_id

    @property
    def last_at(self) -> datetime:
        return self.last.executed_at

    @property
    def trading_date(self) -> date:
        return self.last.trading_date

    @property
    def net(self) -> Decimal:
        """P&L less fees, including the fees of the opening half where they are known."""
        return self.pnl - self.fees

    def settled(self, now: datetime, settle: timedelta = ROUND_TURN_SETTLE) -> bool:
        """Whether no further fill of the same order is to be expected."""
        return now - self.last_at >= settle


type _Age = tuple[datetime, int]


def _age(turn: RoundTurn) -> _Age:
    return turn.last_at, turn.last.id


class RoundTurns:
    """The trades with closed lots, ordered by their newest close. Immutable: `plus` makes another.

    Executions must come oldest first. Opening fees are matched to closes first in, first out, lot
    by lot, so that a trade still open is charged for the lots it has closed.
    """

    def __init__(self) -> None:
        self._books: dict[str, _TradesOfContract] = {}
        self.turns: tuple[RoundTurn, ...] = ()

    def plus(self, executions: Iterable[Execution]) -> "RoundTurns":
        """Add executions that are newer than all those before."""
        after = RoundTurns()
        books = after._books = dict(self._books)
        turns = list(self.turns)
        own: set[str] = set()
        for e in executions:
            book = books.get(e.contract_id)
            if book is None:
                book = books[e.contract_id] = _TradesOfContract()
            elif e.contract_id not in own:
                book = books[e.contract_id] = book.copy()
            own.add(e.contract_id)
            for old, new in book.add(e):
                if old is not None:
                    del turns[_place_of(old, turns)]
                if new is not None:
                    insort(turns, new, key=_age)
        after.turns = tuple(turns)
        return after


def _place_of(turn: RoundTurn, turns: list[RoundTurn]) -> int:
    place = bisect_left(turns, _age(turn), key=_age)
    while turns[place] is not turn:
        place += 1
    return place


@dataclass(frozen=True, kw_only=True)
class _Trade:
    """A trade summed up so far. `net` is the signed number of its open lots."""

    first_at: datetime
    opened_by: int | None = None
    net: int = 0
    is_over: bool = False
    pnl: Decimal = ZERO
    fees: Decimal = ZERO
    size: int = 0
    last: Execution | None = None

    def is_closed_by(self, e: Execution) -> bool:
        return self.net * e.side.sign < 0

    @cached_property
    def turn(self) -> RoundTurn | None:
        """None while it has closed no lots."""
        if self.last is None:
            return None
        return RoundTurn(
            contract_id=self.last.contract_id,
            opened_by=self.opened_by,
            pnl=self.pnl,
            fees=self.fees,
            size=self.size,
            first_at=self.first_at,
            last=self.last,
            is_over=self.is_over,
        )


class _TradesOfContract:
    """Groups the executions of one contract into trades, numbered in order of opening."""

    def __init__(self) -> None:
        self._trades: list[_Trade] = []
        self._open: int | None = None
        # In a reversal the opening half may come first: the trade it ended then waits here for
        # its closing half.
        self._reversed: int | None = None
        self._of_order: dict[int, int] = {}  # closes whose opening is not known
        self._opening_fees: deque[tuple[int, Decimal]] = deque()

    def copy(self) -> "_TradesOfContract":
        other = _TradesOfContract()
        other._trades = self._trades.copy()
        other._open, other._reversed = self._open, self._reversed
        other._of_order = self._of_order.copy()
        other._opening_fees = self._opening_fees.copy()
        return other

    def add(self, e: Execution) -> Iterator[tuple[RoundTurn | None, RoundTurn | None]]:
        """Add an execution; yield the round turns that it changed, each before and after."""
        began = len(self._trades)
        known = {n: self._trades[n] for n in (self._open, self._reversed) if n is not None}
        if e.order_id in self._of_order:
            number = self._of_order[e.order_id]
            known[number] = self._trades[number]
        if e.pnl is None:
            self._opening_fees.append((e.size, e.fees))
            self._add_opening(e, e.signed_size)
        else:
            self._add_closing(e, e.pnl)
        for number, before in known.items():
            after = self._trades[number]
            if after is not before:
                yield before.turn, after.turn
        for after in self._trades[began:]:
            yield None, after.turn

    def _add_closing(self, e: Execution, pnl: Decimal) -> None:
        number = self._trade_closed_by(e)
        trade = self._trades[number]
        net = trade.net + (e.signed_size if trade.net else 0)
        opened = 0
        if number == self._open and trade.net * net <= 0:
            # One execution may close a position and open the other side.
            opened, net, self._open = net, 0, None
        self._trades[number] = fast_replace(
            trade,
            net=net,
            is_over=trade.is_over or self._open != number,
            pnl=trade.pnl + pnl,
            fees=trade.fees + e.fees + self._take_fees(e.size),
            size=trade.size + e.size,
            last=e,
        )
        if opened:
            self._add_opening(e, opened)

    def _add_opening(self, e: Execution, net: int) -> None:
        if self._open is not None and self._trades[self._open].is_closed_by(e):
            self._reversed, self._open = self._open, None
            ended = self._trades[self._reversed]
            self._trades[self._reversed] = fast_replace(ended, is_over=True)
        if self._open is None:
            self._open = self._begun(_Trade(first_at=e.executed_at, opened_by=e.id))
        grown = self._trades[self._open]
        self._trades[self._open] = fast_replace(grown, net=grown.net + net)

    def _trade_closed_by(self, e: Execution) -> int:
        for number in (self._open, self._reversed):
            if number is not None and self._trades[number].is_closed_by(e):
                return number
        known = self._of_order.get(e.order_id)
        if known is None:
            known = self._begun(_Trade(first_at=e.executed_at, is_over=True))
            self._of_order[e.order_id] = known
        return known

    def _begun(self, trade: _Trade) -> int:
        self._trades.append(trade)
        return len(self._trades) - 1

    def _take_fees(self, size: int) -> Decimal:
        """Take the fees of `size` opened lots, oldest first, that no close has been charged yet."""
        taken = ZERO
        waiting = self._opening_fees
        while size > 0 and waiting:
            lots, fees = waiting[0]
            used = min(lots, size)
            share = fees * used / lots if lots else ZERO
            taken += share
            size -= used
            if used == lots:
                waiting.popleft()
            else:
                waiting[0] = (lots - used, fees - share)
        return taken
