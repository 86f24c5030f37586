"""Reads the account for an action: the position before its call, and the effect after it."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from itertools import chain, repeat
from typing import Protocol

from risk_manager.broker.enforcement.jobs import Job
from risk_manager.broker.enforcement.listed import FLAT, Held, held_in
from risk_manager.broker.enforcement.patience import Patience
from risk_manager.broker.enforcement.results import Result, judge
from risk_manager.broker.reading.readings import EXPOSURE, Part, Parts, Reading
from risk_manager.broker.replies import Answer, Reply
from risk_manager.clock import Clock
from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Action, CancelOrder
from risk_manager.domain.holdings import Position

POSITIONS: Parts = frozenset({Part.POSITIONS})
ORDERS: Parts = frozenset({Part.ORDERS})
FIRST_LOOK: Parts = EXPOSURE | {Part.TRADES}
AT_ONCE, WITHIN_SECONDS, THEN_EVERY_SECONDS = 10, 5.0, 0.5
"""So many looks at an account in so many seconds are taken at once. In a storm of entries the calls
after them share a look, so that the gateway's requests last for the closes still to come."""
SHARED_WITHIN_SECONDS = 0.02
"""Looks that begin within so long count as one, as one read serves them."""


class Reader(Protocol):
    """The part of the reconciler that enforcement uses."""

    async def read_back(
        self, account_id: int, parts: Parts, limit_seconds: float
    ) -> Reading | None: ...

    def ask_routine(self, account_id: int) -> None: ...


type AccountOf = Callable[[int], Account | None]
"""Returns an account as it is known from the stream."""


class PositionReader:
    """Says which position is held: as read from the broker, else as known from the stream."""

    def __init__(self, reader: Reader, account_of: AccountOf) -> None:
        self._reader = reader
        self._account_of = account_of

    def account(self, action: Action) -> Account | None:
        """Return the account of an action as the stream has told it."""
        return self._account_of(action.account_id)

    def streamed(self, action: Action) -> Position | None:
        account = self.account(action)
        return None if account is None else account.positions.get(action.contract_id)

    async def held(self, action: Action, limit_seconds: float) -> tuple[Held, bool]:
        """Return the position, and True if it was read from the broker, False if only streamed."""
        reading = await self._reader.read_back(action.account_id, POSITIONS, limit_seconds)
        return self.held_by(reading, action)

    def held_by(self, reading: Reading | None, action: Action) -> tuple[Held, bool]:
        """Return the same as `held`, by a reading made before.

        A list that lags may show more than what the stream has told of since. The smaller of the
        two counts: what is missing is asked for again, what is too much cannot be undone.
        """
        told = self._told(action)
        if reading is None or reading.positions is None:
            return told, False
        read = held_in(reading.positions, action.contract_id)
        is_same_side = told.side in (0, read.side)
        return (told if is_same_side and told.size < read.size else read), True

    def _told(self, action: Action) -> Held:
        known = self.streamed(action)
        if known is None:
            return FLAT
        return Held(size=known.size, side=known.side if known.sided else 0)


class EffectReader:
    """Reads the account after a call until the effect shows or the time is up."""

    def __init__(self, reader: Reader, clock: Clock, patience: Patience) -> None:
        self._reader = reader
        self._clock = clock
        self._patience = patience
        self._looked_at: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=AT_ONCE))

    async def conclude(
        self,
        job: Job,
        reply: Reply,
        parts: Parts,
        shows_in: Callable[[Reading], bool],
        looks_seconds: float | None = None,
    ) -> Result:
        """Return the result of a call that was answered. `shows_in` says if a reading shows it."""
        action = job.action
        job.answered.set()
        pauses = self._pauses(action, reply)
        ends = self._clock.monotonic() + (looks_seconds or self._patience.looks_seconds)
        wanted = FIRST_LOOK
        verified = shows = False
        for number, pause in enumerate(chain(pauses, repeat(pauses[-1]))):
            left = ends - self._clock.monotonic()
            if number and left <= 0:
                break
            if number >= len(pauses) and (verified or not pause):
                break
            wait = max(pause, self._next_look_in_seconds(action, reply))
            if wait:
                await asyncio.sleep(min(wait, left))
            self._note_look(action.account_id)
            limit = min(self._patience.look_seconds, max(ends - self._clock.monotonic(), 0.05))
            reading = await self._reader.read_back(action.account_id, wanted, limit)
            if reading is None or not reading.has(parts):
                continue
            # A following action concerns a position opened after this one's effect.
            verified, shows = True, job.is_followed or shows_in(reading)
            if shows:
                break
            wanted = parts
        if wanted is not FIRST_LOOK or not verified:
            self._reader.ask_routine(action.account_id)
        return judge(action, reply, verified=verified, shows=shows)

    def _next_look_in_seconds(self, action: Action, reply: Reply) -> float:
        """Return how long until the effect of a call is looked for; 0 for now.

        A call that failed is looked for at once, as it may be sent again after that.
        """
        is_over = reply.answer is Answer.GONE and isinstance(action, CancelOrder)
        if not is_over and reply.answer not in (Answer.OK, Answer.PENDING):
            return 0.0
        looked_at, now = self._looked_at[action.account_id], self._clock.monotonic()
        if len(looked_at) < AT_ONCE or now - looked_at[0] > WITHIN_SECONDS:
            return 0.0
        return max(looked_at[-1] + THEN_EVERY_SECONDS - now, 0.0)

    def _note_look(self, account_id: int) -> None:
        """Note a look, unless it is shared with one that has just begun."""
        looked_at, now = self._looked_at[account_id], self._clock.monotonic()
        if not looked_at or now - looked_at[-1] >= SHARED_WITHIN_SECONDS:
            looked_at.append(now)

    def _pauses(self, action: Action, reply: Reply) -> tuple[float, ...]:
        if reply.answer in (Answer.OK, Answer.PENDING):
            return self._patience.accepted_seconds
        if reply.answer in (Answer.GONE, Answer.UNKNOWN) and not isinstance(action, CancelOrder):
            return self._patience.unclear_seconds
        return (0.0,)  # one look: nothing has happened, or a repeat does no harm
