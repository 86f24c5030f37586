"""Actions carried out: one call each, read back, settled exactly once."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, Protocol

from risk_manager.async_closing import AsyncClosing
from risk_manager.broker.reconcile import EXPOSURE, Part, Parts, Reading
from risk_manager.broker.replies import CANCEL, CLOSE, MODIFY, PARTIAL_CLOSE, PLACE, Answer, Reply
from risk_manager.broker.task_group import OnError, TaskGroup, log_error
from risk_manager.clock import Clock
from risk_manager.domain.decisions import (
    Action,
    CancelOrder,
    ClosePosition,
    MoveStop,
    Outcome,
    PlaceExit,
    ReducePosition,
)
from risk_manager.domain.events import ActionSettled, AnyEvent
from risk_manager.domain.holdings import STOP_TYPES, TERMINAL, Position
from risk_manager.domain.records import (
    OWN_TAG,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionRecord,
    PositionType,
)

POSITIONS: Parts = frozenset({Part.POSITIONS})
ORDERS: Parts = frozenset({Part.ORDERS})
FIRST_LOOK: Parts = EXPOSURE | {Part.TRADES}

OUTCOMES: Mapping[Answer, Outcome] = {
    Answer.OK: Outcome.DONE,
    Answer.GONE: Outcome.GONE,
    Answer.PENDING: Outcome.REFUSED,
    Answer.REFUSED: Outcome.REFUSED,
    Answer.INVALID: Outcome.REFUSED,
    Answer.UNAUTHORISED: Outcome.REFUSED,
    Answer.LIMITED: Outcome.REFUSED,
    Answer.UNSENT: Outcome.UNSENT,
    Answer.UNKNOWN: Outcome.UNKNOWN,
}


class Actor(Protocol):
    async def act(self, path: str, body: Mapping[str, Any]) -> Reply: ...


class ReadBack(Protocol):
    """What is needed of the reconciler."""

    async def read_back(
        self, account_id: int, parts: Parts, limit_seconds: float
    ) -> Reading | None: ...

    def ask_routine(self, account_id: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long effects are awaited. A fill takes moments: a second close meanwhile is a mistake.

    The tuples are the pauses before each look after a call that was accepted, and before each
    look after one whose fate is open: then looking goes on until somebody has answered.
    `look_seconds` bounds one look, `looks_seconds` all of them, which for a close of unknown fate
    count from when it was sent. `before_seconds` bounds the look before an action that depends on
    the size held. A call whose answer took longer than `sure_seconds` may have met what was opened
    meanwhile; the look whether it did is bounded by `between_seconds`, as the trader is in a new
    position all the while. `not_known_yet_seconds`: a gateway that does not know what the stream
    has just told of is left so long to learn of it.
    """

    accepted_seconds: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5, 1.0, 1.0)
    unclear_seconds: tuple[float, ...] = (0.0, 0.1, 0.25, 0.5)
    look_seconds: float = 1.2
    looks_seconds: float = 3.0
    before_seconds: float = 1.0
    between_seconds: float = 0.25
    sure_seconds: float = 0.1
    not_known_yet_seconds: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    outcome: Outcome
    verified: bool
    code: int | None = None
    message: str = ""
    order_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A position as far as it is known: `side` 0 when the gateway did not say."""

    size: int
    side: int

    def is_on(self, side: int) -> bool:
        return self.size > 0 and self.side in (0, side)


_FLAT = _Held(size=0, side=0)


@dataclass(slots=True, eq=False)
class _Job:
    """One action being carried out. `answered`: its call has ended, however it went.

    `is_sent`: a call for it may have left this machine. `before` is the job whose call it waits
    for, None once it makes a call of its own. An action that is followed before that makes none:
    its position has ended, and the next action sees to what is held.
    """

    action: Action
    before: "_Job | None" = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    is_followed: bool = False
    is_sent: bool = False

    def cut_short(self, message: str) -> _Result:
        """How it went, where nobody waited for the answer."""
        if not self.is_sent:
            return _unsent(f"{message}; not sent")
        return _Result(outcome=Outcome.UNKNOWN, verified=False, message=message)

    @property
    def call(self) -> "_Job":
        """The job that made the newest call, of this and those before it."""
        return self if self.before is None else self.before


class Enforcer(AsyncClosing):
    """Carries out actions, each in a task of its own; `submit` returns at once.

    An async context manager. For every action the inbox gets the account as read back and then
    one `ActionSettled`. No call is repeated here: the core decides that. Of one key there is one
    call at a time; an action that `follows` another waits for its answer, not for its read-back.
    `position_of` tells what the stream knows, for the moments when reads fail; `is_for_news`,
    whether an action is for what the stream has told of so lately that REST may not know it.
    """

    def __init__(
        self,
        lanes: Actor,
        reader: ReadBack,
        clock: Clock,
        put: Callable[[AnyEvent], None],
        position_of: Callable[[int, str], Position | None],
        *,
        run_id: str,
        is_for_news: Callable[[Action], bool] = lambda action: False,
        patience: Patience | None = None,
        on_error: OnError = log_error,
    ) -> None:
        self._lanes = lanes
        self._reader = reader
        self._clock = clock
        self._put = put
        self._position_of = position_of
        self._run_id = run_id
        self._is_for_news = is_for_news
        self._patience = patience or Patience()
        self._on_error = on_error
        self._tasks = TaskGroup(on_error)
        self._jobs: dict[str, _Job] = {}
        self._under_way: dict[tuple[int, str], _Job] = {}
        """The newest job of each key."""
        self._closed = False

    @property
    def under_way(self) -> int:
        """How many actions have not been settled yet."""
        return len(self._jobs)

    def submit(self, action: Action) -> None:
        """Carry out an action. The request is on its way when this returns."""
        started = self._clock.monotonic()
        key = (action.account_id, action.key)
        if self._closed:
            self._settle(action, started, _unsent("the program is stopping; not sent"))
            return
        before = self._under_way.get(key)
        if before is not None and before.action.id != action.follows:
            # The core does not do this. If it ever does, two calls at once are worse than one.
            message = f"{action.key} is already being acted on by {before.action.id}"
            self._on_error(f"action {action.id}", RuntimeError(message))
            self._settle(
                action, started, _Result(outcome=Outcome.REFUSED, verified=False, message=message)
            )
            return
        job = _Job(action, before=None if before is None else before.call)
        if before is not None:
            before.is_followed = True
        self._jobs[action.id] = self._under_way[key] = job
        self._tasks.start(f"action {action.id}", self._carry_out(job, started), at_once=True)

    async def drain(self, limit_seconds: float = 8.0) -> bool:
        """Let what is under way finish; False when the limit came first."""
        return await self._tasks.finish(limit_seconds)

    async def close(self) -> None:
        """Stop. What is still under way is settled as unknown, or as unsent where it surely was."""
        self._closed = True
        await self._tasks.close()

    async def _carry_out(self, job: _Job, started: float) -> None:
        action = job.action
        result: _Result | None = None
        try:
            over = None if job.before is None else await self._wait_for(job.before, job)
            if over is None:
                job.before = None
            result = over or await self._do(action)
            if result.outcome is Outcome.GONE and self._is_for_news(action):
                await asyncio.sleep(self._patience.not_known_yet_seconds)
        except Exception as error:  # our own fault: visible, and the core will try again
            self._on_error(f"action {action.id}", error)
            result = job.cut_short(f"internal error: {type(error).__name__}: {error}")
        finally:
            job.answered.set()
            del self._jobs[action.id]
            if self._under_way.get((action.account_id, action.key)) is job:
                del self._under_way[(action.account_id, action.key)]
            stopped = "the program stopped before the answer came"
            self._settle(action, started, result or job.cut_short(stopped))

    async def _wait_for(self, before: _Job, job: _Job) -> _Result | None:
        """Until the call before has been answered; the result, if then nothing is left to do.

        That call may have been carried out late, on what is to be closed now. A second one while
        its fill is under way would turn the position round.
        """
        action, began = job.action, self._clock.monotonic()
        if before.answered.is_set() and not action.wary:
            return None
        await before.answered.wait()
        if action.wary or self._clock.monotonic() - began > self._patience.sure_seconds:
            held, verified = await self._held(action, self._patience.between_seconds)
            if verified and not held.size:
                return _Result(outcome=Outcome.GONE, verified=True, message="closed meanwhile")
            await asyncio.sleep(self._patience.sure_seconds)
        position = self._position_of(action.account_id, action.contract_id)
        episode = getattr(action, "episode", None)
        if job.is_followed or position is None or position.episode != episode:
            message = "the position ended before the close was sent"
            return _Result(outcome=Outcome.GONE, verified=False, message=message)
        return None

    def _settle(self, action: Action, started: float, result: _Result) -> None:
        self._put(
            ActionSettled(
                at=self._clock.now(),
                account_id=action.account_id,
                action_id=action.id,
                outcome=result.outcome,
                verified=result.verified,
                error_code=result.code,
                message=result.message,
                took_ms=(self._clock.monotonic() - started) * 1000,
                order_id=result.order_id,
            )
        )

    async def _send(self, action: Action, path: str, body: Mapping[str, Any]) -> Reply:
        self._jobs[action.id].is_sent = True
        return await self._lanes.act(path, body)

    async def _do(self, action: Action) -> _Result:
        match action:
            case ClosePosition():
                return await self._close_position(action)
            case ReducePosition():
                return await self._reduce(action)
            case CancelOrder():
                return await self._cancel(action)
            case PlaceExit():
                return await self._place(action)
            case MoveStop():
                return await self._move(action)
        raise TypeError(f"no way to carry out a {type(action).__name__}")

    # --- positions ---

    async def _close_position(self, action: ClosePosition) -> _Result:
        # What the stream holds, for its side only: no time is lost on asking first.
        known = self._position_of(action.account_id, action.contract_id)
        side = known.side if known is not None and known.sided else 0
        sent = self._clock.monotonic()
        reply = await self._send(action, CLOSE, _about_position(action))
        looks_seconds = self._patience.looks_seconds
        if reply.answer is Answer.UNKNOWN:
            # After a call that hung, it would show by now; and closing twice is no more than
            # closing, so that the next one is better than more waiting.
            took = self._clock.monotonic() - sent
            looks_seconds = max(looks_seconds - took, self._patience.look_seconds)
        met = _at_most(action, side, 0)
        return await self._conclude(action, reply, POSITIONS, met, looks_seconds)

    async def _reduce(self, action: ReducePosition) -> _Result:
        held, verified = await self._held(action, self._patience.before_seconds)
        if not held.is_on(action.side) or held.size <= action.keep:
            message = f"holding {held.size}, nothing above {action.keep} to close"
            return _Result(outcome=Outcome.GONE, verified=verified, message=message)
        body = _about_position(action)
        if action.keep == 0:
            reply = await self._send(action, CLOSE, body)
        else:
            size = held.size - action.keep
            reply = await self._send(action, PARTIAL_CLOSE, {**body, "size": size})
        met = _at_most(action, action.side, action.keep)
        return await self._conclude(action, reply, POSITIONS, met)

    async def _held(self, action: Action, limit_seconds: float) -> tuple[_Held, bool]:
        """The position now, and whether the broker said so; else what the stream knows."""
        reading = await self._reader.read_back(action.account_id, POSITIONS, limit_seconds)
        return self._held_by(reading, action)

    def _held_by(self, reading: Reading | None, action: Action) -> tuple[_Held, bool]:
        if reading is not None and reading.positions is not None:
            return _held_in(reading.positions, action.contract_id), True
        known = self._position_of(action.account_id, action.contract_id)
        if known is None:
            return _FLAT, False
        return _Held(size=known.size, side=known.side if known.sided else 0), False

    # --- orders ---

    async def _cancel(self, action: CancelOrder) -> _Result:
        body = {"accountId": action.account_id, "orderId": action.order_id}
        reply = await self._send(action, CANCEL, body)

        def met(reading: Reading) -> bool:
            return _order_in(reading, action.order_id) is None

        return await self._conclude(action, reply, ORDERS, met)

    async def _place(self, action: PlaceExit) -> _Result:
        reading = await self._reader.read_back(
            action.account_id, EXPOSURE, self._patience.before_seconds
        )
        held, verified = self._held_by(reading, action)
        if not held.is_on(action.side):
            return _Result(
                outcome=Outcome.GONE, verified=verified, message="there is no position to protect"
            )
        # Beside an exit that works after all, whatever we were told of it, ours could open a
        # position the other way.
        room = held.size - _exit_lots(reading, action)
        if room <= 0:
            message = "an exit for all of the position works already; none was placed"
            return _Result(outcome=Outcome.GONE, verified=True, message=message)
        tag = f"{OWN_TAG}{self._run_id}-{action.id}"
        body: dict[str, Any] = {
            "accountId": action.account_id,
            "contractId": action.contract_id,
            "type": int(OrderType.LIMIT if action.stop_price is None else OrderType.STOP),
            "side": int(OrderSide.SELL if action.side > 0 else OrderSide.BUY),
            "size": min(action.size, room),
            "customTag": tag,
        }
        if action.stop_price is not None:
            body["stopPrice"] = float(action.stop_price)
        elif action.limit_price is not None:
            body["limitPrice"] = float(action.limit_price)
        reply = await self._send(action, PLACE, body)
        placed: list[int] = []
        flat = False

        def met(reading: Reading) -> bool:
            nonlocal flat
            flat = not _held_in(reading.positions or (), action.contract_id).is_on(action.side)
            placed[:] = [o.id for o in reading.orders or () if o.custom_tag == tag]
            # An exit that has filled meanwhile no longer works: the position tells.
            return bool(placed) or flat

        result = await self._conclude(action, reply, EXPOSURE, met)
        order_id = _order_id(reply) or (placed[0] if placed else None)
        if placed and result.outcome is Outcome.UNKNOWN:
            result = _Result(outcome=Outcome.DONE, verified=True, message="found by its tag")
        if flat and order_id is not None:
            return await self._withdraw(action, order_id)
        return _Result(
            outcome=result.outcome,
            verified=result.verified,
            code=result.code,
            message=result.message,
            order_id=order_id,
        )

    async def _withdraw(self, action: PlaceExit, order_id: int) -> _Result:
        """An exit without its position would open a new one: take it back at once."""
        body = {"accountId": action.account_id, "orderId": order_id}
        reply = await self._send(action, CANCEL, body)
        reading = await self._reader.read_back(
            action.account_id, EXPOSURE, self._patience.look_seconds
        )
        taken = reply.answer in (Answer.OK, Answer.GONE)
        words = "no longer works" if taken else f"may still work: {reply.message}"
        return _Result(
            outcome=Outcome.GONE if taken else OUTCOMES[reply.answer],
            verified=reading is not None and reading.has(EXPOSURE),
            code=reply.code,
            message=f"the position was closed meanwhile; its exit {words}",
            order_id=order_id,
        )

    async def _move(self, action: MoveStop) -> _Result:
        held, verified = await self._held(action, self._patience.before_seconds)
        if not held.is_on(action.side):
            # Not GONE: that would say that the order is.
            message = "the position is closed; its stop was not moved"
            return _Result(outcome=Outcome.REFUSED, verified=verified, message=message)
        body: dict[str, Any] = {
            "accountId": action.account_id,
            "orderId": action.order_id,
            "size": action.filled + min(action.size, held.size),
        }
        if action.stop_price is not None:
            body["stopPrice"] = float(action.stop_price)
        reply = await self._send(action, MODIFY, body)

        def met(reading: Reading) -> bool:
            order = _order_in(reading, action.order_id)
            if reply.answer is Answer.GONE:
                return order is None
            if order is None:
                return True
            price_fits = action.stop_price in (None, order.stop_price)
            return price_fits and order.size == body["size"]

        return await self._conclude(action, reply, ORDERS, met)

    # --- reading back ---

    async def _conclude(
        self,
        action: Action,
        reply: Reply,
        parts: Parts,
        met: Callable[[Reading], bool],
        looks_seconds: float | None = None,
    ) -> _Result:
        """Look until the effect shows or patience ends; then say how the call went."""
        job = self._jobs[action.id]
        job.answered.set()
        pauses = self._patience.unclear_seconds
        if reply.answer in (Answer.OK, Answer.PENDING):
            pauses = self._patience.accepted_seconds
        elif reply.answer not in (Answer.GONE, Answer.UNKNOWN) or isinstance(action, CancelOrder):
            pauses = (0.0,)  # nothing has happened, or it may happen twice
        ends = self._clock.monotonic() + (looks_seconds or self._patience.looks_seconds)
        wanted = FIRST_LOOK
        verified = shows = False
        for number, pause in enumerate(chain(pauses, repeat(pauses[-1]))):
            left = ends - self._clock.monotonic()
            if number and left <= 0:
                break
            if number >= len(pauses) and (verified or not pause):
                break
            if pause:
                await asyncio.sleep(min(pause, left))
            limit = min(self._patience.look_seconds, max(ends - self._clock.monotonic(), 0.05))
            reading = await self._reader.read_back(action.account_id, wanted, limit)
            if reading is None or not reading.has(parts):
                continue
            # What the next one is about began after this one's effect.
            verified, shows = True, job.is_followed or met(reading)
            if shows:
                break
            wanted = parts
        if wanted is not FIRST_LOOK or not verified:
            self._reader.ask_routine(action.account_id)
        result = _judge(reply, verified=verified, shows=shows)
        ends = isinstance(action, ClosePosition | ReducePosition | CancelOrder)
        if ends and verified and shows and result.outcome is Outcome.REFUSED:
            # It was over already: a fill, a bracket, the trader were quicker. Nothing has failed.
            message = f"{reply.message}; read back: nothing is left to do"
            return _Result(outcome=Outcome.GONE, verified=True, code=result.code, message=message)
        return result


def _judge(reply: Reply, *, verified: bool, shows: bool) -> _Result:
    outcome = OUTCOMES[reply.answer]
    message = reply.message
    if verified and not shows:
        if reply.answer is Answer.GONE:
            # Taken at its word, the core would forget what is still there, or ask without pause.
            outcome = Outcome.REFUSED
            message = f"the gateway says {message}, yet it is still listed"
        elif reply.ok:
            message = "accepted, but without effect so far"
    elif verified and reply.answer is Answer.PENDING:
        outcome = Outcome.DONE
    elif verified and reply.answer is Answer.UNKNOWN:
        message = f"{message}; read back: the effect is there"
    return _Result(outcome=outcome, verified=verified, code=reply.code, message=message)


def _unsent(message: str) -> _Result:
    return _Result(outcome=Outcome.UNSENT, verified=False, message=message)


def _about_position(action: Action) -> dict[str, Any]:
    return {"accountId": action.account_id, "contractId": action.contract_id}


def _at_most(action: Action, side: int, keep: int) -> Callable[[Reading], bool]:
    """Whether no more than `keep` is left on that side. The other side is another position."""

    def met(reading: Reading) -> bool:
        held = _held_in(reading.positions or (), action.contract_id)
        if held.size <= keep:
            return True
        return side != 0 and held.side == -side

    return met


def _held_in(positions: tuple[PositionRecord, ...], contract_id: str) -> _Held:
    for record in positions:
        if record.contract_id == contract_id and record.size:
            side = {PositionType.LONG: 1, PositionType.SHORT: -1}.get(record.type, 0)
            return _Held(size=record.size, side=side)
    return _FLAT


def _exit_lots(reading: Reading | None, action: PlaceExit) -> int:
    """Lots of working exits of the same kind (stops, or targets) that the broker lists."""
    orders = reading.orders if reading is not None else None
    return sum(
        max(o.size - o.fill_volume, 0)
        for o in orders or ()
        if o.contract_id == action.contract_id
        and o.side.sign != action.side
        and o.status not in TERMINAL
        and o.status is not OrderStatus.SUSPENDED
        and (o.type in STOP_TYPES) == (action.stop_price is not None)
    )


def _order_in(reading: Reading, order_id: int) -> Any:
    return next(
        (o for o in reading.orders or () if o.id == order_id and o.status not in TERMINAL), None
    )


def _order_id(reply: Reply) -> int | None:
    value = reply.body.get("orderId")
    return value if reply.ok and isinstance(value, int) and not isinstance(value, bool) else None
