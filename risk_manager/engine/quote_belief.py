"""Which quoted prices are believed. A jump is doubted for a moment, never for good.

`state.quotes` holds the believed prices. `state.doubted` holds prices that wait to be confirmed by
a second quote, by the other side of the book, or by one second of time. Rules see only
`state.quotes`.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from risk_manager.domain.events import QuoteChanged
from risk_manager.domain.fast_replace import fast_replace
from risk_manager.domain.quotes import STAYED, Candidate, DoubtedQuote
from risk_manager.domain.state import DayRange, State

JUMP = 0.2
"""A price is doubted if it differs from the last believed ones by more than this fraction."""
NEAR_TICKS = 100
"""A move of up to this many ticks is never a jump: near zero a fraction of the price is too small
to compare with."""


NOTHING = DoubtedQuote()


# --- in the state ---------------------------------------------------------------------------------


def quoted(state: State, known: QuoteChanged | None, event: QuoteChanged) -> State:
    """Return the state after a quote. `known` is the quote believed so far; it stays in force if
    the new one is doubted."""
    contract_id = event.contract_id
    now = event.at if event.at > state.now else state.now
    if known is None or contract_id in state.doubted:
        return _weighed(fast_replace(state, now=now), contract_id, event)
    whole = event.completed_by(known)
    if not _goes_on(known, whole):
        return _weighed(fast_replace(state, now=now), contract_id, event)
    within = state.ranges.get(contract_id)  # the price is nearly always within the day's range
    if within is None or not within[0] <= whole.last_price <= within[1]:  # type: ignore[operator]
        return _with_quote(fast_replace(state, now=now), whole)
    return fast_replace(state, now=now, quotes={**state.quotes, contract_id: whole})


def settled(state: State) -> State:
    """Return the state with doubted prices believed that have stood for `STAYED`."""
    for contract_id, doubted in state.doubted.items():
        if doubted.stayed(state.now):
            state = _weighed(state, contract_id, None)
    return state


def entered(state: State, contract_ids: Iterable[str]) -> State:
    """Weigh first quotes again now that entry prices are known: one near the entry is believed."""
    for contract_id in contract_ids:
        if contract_id in state.doubted and contract_id not in state.quotes:
            state = _weighed(state, contract_id, None)
    return state


def last_heard(state: State, contract_id: str) -> datetime | None:
    """Return when the last price of a contract arrived, believed or not."""
    quote = state.quotes.get(contract_id)
    heard = None if quote is None else quote.at
    doubted = state.doubted.get(contract_id) if state.doubted else None
    for one in () if doubted is None else (doubted.bid, doubted.ask, doubted.last):
        if one is not None and (heard is None or one.at > heard):
            heard = one.at
    return heard


def _goes_on(known: QuoteChanged, quote: QuoteChanged) -> bool:
    """Whether a complete quote continues the one before: above zero, not crossed, no jump."""
    bid, ask, last = quote.best_bid, quote.best_ask, quote.last_price
    was_bid, was_ask, was_last = known.best_bid, known.best_ask, known.last_price
    if bid is None or ask is None or last is None:
        return False
    if was_bid is None or was_ask is None or was_last is None:
        return False
    # The comparison is never true for prices below zero: they take the slower path.
    return (
        0 < bid <= ask
        and -was_bid * JUMP <= bid - was_bid <= was_bid * JUMP
        and -was_ask * JUMP <= ask - was_ask <= was_ask * JUMP
        and -was_last * JUMP <= last - was_last <= was_last * JUMP
    )


def _weighed(state: State, contract_id: str, event: QuoteChanged | None) -> State:
    known = state.quotes.get(contract_id)
    contract = state.contracts.get(contract_id)
    quote, doubted = weighed(
        known,
        state.doubted.get(contract_id, NOTHING),
        event,
        contract_id=contract_id,
        entries=() if known is not None else _entries(state, contract_id),
        close=0.0 if contract is None else NEAR_TICKS * float(contract.tick_size),
        now=state.now,
    )
    if doubted != state.doubted.get(contract_id, NOTHING):
        others = {k: d for k, d in state.doubted.items() if k != contract_id}
        changed = others if doubted == NOTHING else {**others, contract_id: doubted}
        state = fast_replace(state, doubted=changed)
    return state if quote is None or quote is known else _with_quote(state, quote)


def _with_quote(state: State, quote: QuoteChanged) -> State:
    contract_id = quote.contract_id
    ranges = state.ranges
    price = quote.best_bid if quote.last_price is None else quote.last_price
    if price is not None:
        known = ranges.get(contract_id, DayRange(price, price))
        within = DayRange(min(known.low, price), max(known.high, price))
        if ranges.get(contract_id) != within:
            ranges = {**ranges, contract_id: within}
    return fast_replace(state, quotes={**state.quotes, contract_id: quote}, ranges=ranges)


def _entries(state: State, contract_id: str) -> Sequence[float]:
    """Return the average prices at which a contract is held."""
    held = [
        state.accounts[account_id].positions.get(contract_id)
        for account_id in state.holders.get(contract_id, ())
    ]
    return [float(p.average_price) for p in held if p is not None and p.average_price is not None]


# --- one contract ---------------------------------------------------------------------------------


class _Side(NamedTuple):
    """One of bid, ask and last: the waiting price, and the price in force until it is believed."""

    waits: Candidate | None
    stands: float | None
    again: bool = False
    """The new quote states a price near the one in doubt."""
    anew: bool = False
    """As `again`, but with a different price: a second print."""

    @property
    def newest(self) -> float | None:
        return self.stands if self.waits is None else self.waits.price


def weighed(
    known: QuoteChanged | None,
    doubted: DoubtedQuote,
    event: QuoteChanged | None,
    *,
    contract_id: str,
    entries: Sequence[float],
    close: float,
    now: datetime,
) -> tuple[QuoteChanged | None, DoubtedQuote]:
    """Return the quote believed of a contract now, and the prices that stay in doubt.

    `event` None: time has passed without a new quote. `entries` are the entry prices of positions,
    for comparison with a first quote. `close` is the distance, in price units, below which no move
    is a jump.
    """

    def near(price: float, other: float) -> bool:
        return abs(price - other) <= max(JUMP * abs(other), close)

    def continuous(price: float) -> bool:
        return any(near(price, other) for other in trusted)

    if known is None:
        trusted = list(entries)
    else:
        trusted = [p for p in (known.best_bid, known.best_ask, known.last_price) if p is not None]

    bid, ask, last = _sides(known, doubted, event, near, trusted, now)
    low, high = bid.newest, ask.newest
    two_sided = low is not None and high is not None
    agree = two_sided and low < high and near(low, high)  # type: ignore[operator,arg-type]
    far = [s.waits is not None and not continuous(s.waits.price) for s in (bid, ask)]
    # Where only one side has jumped, only that side is doubted, not both for being crossed.
    crossed = two_sided and low > high and far[0] == far[1]  # type: ignore[operator]

    def book_says(side: _Side) -> bool:
        if side.waits is None or now - side.waits.since >= STAYED:
            return True
        return not crossed and (continuous(side.waits.price) or agree or side.again)

    bid_stands, ask_stands = book_says(bid), book_says(ask)
    low = bid.newest if bid_stands else bid.stands
    high = ask.newest if ask_stands else ask.stands

    def last_says() -> bool:
        if last.waits is None or continuous(last.waits.price):
            return True
        if any(p is not None and near(last.waits.price, p) for p in (low, high)):
            return True
        if low is not None and high is not None and low <= high and near(low, high):
            return last.anew  # a gateway may repeat a print far outside the book until the next one
        return last.again or now - last.waits.since >= STAYED

    last_stands = last_says()
    if known is None and not _is_enough(bid, ask, bid_stands and ask_stands, last, last_stands):
        return None, DoubtedQuote(bid=bid.waits, ask=ask.waits, last=last.waits)
    believed = [
        side.waits
        for side, stands in ((bid, bid_stands), (ask, ask_stands), (last, last_stands))
        if stands and side.waits is not None
    ]
    left = DoubtedQuote(
        bid=None if bid_stands else bid.waits,
        ask=None if ask_stands else ask.waits,
        last=None if last_stands else last.waits,
    )
    at = max((c.at for c in believed), default=None)
    if known is not None:
        at = known.at if at is None else max(at, known.at)
    if at is None:
        return None, left
    price = last.newest if last_stands else last.stands
    if known is not None and (at, low, high, price) == _stated(known):
        return known, left
    quote = QuoteChanged(
        at=at, contract_id=contract_id, best_bid=low, best_ask=high, last_price=price
    )
    return quote, left


def _stated(quote: QuoteChanged) -> tuple[datetime, float | None, float | None, float | None]:
    return quote.at, quote.best_bid, quote.best_ask, quote.last_price


def _is_enough(bid: _Side, ask: _Side, book_stands: bool, last: _Side, last_stands: bool) -> bool:
    """Whether a first quote is complete enough: a single price says little without the others."""
    if bid.waits is None and ask.waits is None:
        return last.waits is not None and last_stands
    return book_stands


def _sides(
    known: QuoteChanged | None,
    doubted: DoubtedQuote,
    event: QuoteChanged | None,
    near: Callable[[float, float], bool],
    trusted: Sequence[float],
    now: datetime,
) -> tuple[_Side, _Side, _Side]:
    """Combine bid, ask and last, as they stood, with what the event states of them, if any."""
    stated: Sequence[float | None] = (None, None, None)
    if event is not None:
        stated = (event.best_bid, event.best_ask, event.last_price)
    before = (doubted.bid, doubted.ask, doubted.last)
    stands = (None, None, None) if known is None else _stated(known)[1:]
    waiting = tuple(c.price if c is not None else None for c in before)

    def is_nothing(index: int) -> bool:
        """Whether a price of zero is a word for nothing (no bid, no ask): it is far from the other
        prices, or beyond the other side of the book. What was believed of this one says nothing,
        or a zero would bear out itself while the others walk away from it."""
        rest = [i for i in range(3) if i != index]
        others = [p for i in rest if (p := stated[i])]
        if not others:
            known_of = (
                trusted if known is None else [p for i in rest if (p := stands[i]) is not None]
            )
            others = [*known_of, *[p for i in rest if (p := waiting[i]) is not None]]
        bid, ask = ((stated[i] or stands[i] or 0.0) if i != index else 0.0 for i in (0, 1))
        return not any(near(0.0, other) for other in others) or (index < 2 and bid > ask)

    def side(
        index: int, price: float | None, waited: Candidate | None, stood: float | None
    ) -> _Side:
        if price is None:
            return _Side(waited, stood)
        if price == 0 and is_nothing(index):
            return _Side(None, None)
        since = now if waited is None else waited.since
        again = waited is not None and near(price, waited.price)
        anew = again and waited is not None and price != waited.price
        return _Side(Candidate(price, since, now), stood, again, anew)

    bid, ask, last = map(side, range(3), stated, before, stands)
    if last.newest is None:  # no trade yet: one known before stays known
        last = _Side(before[2], stands[2])
    return bid, ask, last
