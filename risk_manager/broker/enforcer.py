"""Carries out actions: one call each, read back, and settled exactly once."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, Protocol

from risk_manager.async_closing import AsyncClosing
from risk_manager.broker.reading.readings import EXPOSURE, Part, Parts, Reading
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
    """The part of the reconciler that the enforcer uses."""

    async def read_back(
        self, account_id: int, parts: Parts, limit_seconds: float
    ) -> Reading | None: ...

    def ask_routine(self, account_id: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the enforcer waits for the effect of a call, by reading the account ("looks").

    A fill takes moments, and a second close within them would be a mistake.

    `accepted_seconds`: the pauses before each look after a call that was accepted.
    `unclear_seconds`: the same after a call of unknown outcome, until one look has been answered.
    `look_seconds` limits one look, and `looks_seconds` all looks together. For a close of unknown
    outcome that limit counts from the sending.
    `before_seconds` limits the look before an action that depends on the size of the position.
    `sure_seconds`: a call whose answer took longer may have closed a position opened meanwhile.
    `between_seconds` limits the look for that. It is short, as the new position stays open.
    `not_known_yet_seconds`: the wait before answering, if the gateway does not know yet what the
    stream has just reported.
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
    """A position as far as it is known. `side` is 0 when the gateway did not say."""

    size: int
    side: int

    def is_on(self, side: int) -> bool:
        return self.size > 0 and self.side in (0, side)


_FLAT = _Held(size=0, side=0)


@dataclass(slots=True, eq=False)
class _Job:
    """One action being carried out. `answered`: its call has ended, with whatever result.

    `is_sent`: a call for it may have left this machine. `before` is the job whose call this job
    waits for; None once it makes its own call. If a later action follows it before that, this job
    makes no call: its position has ended, and the later action closes the one held now.
    """

    action: Action
    before: "_Job | None" = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    is_followed: bool = False
    is_sent: bool = False

    def cut_short(self, message: str) -> _Result:
        """Return the result of a job whose answer was not awaited."""
        if not self.is_sent:
            return _unsent(f"{message}; not sent")
        return _Result(outcome=Outcome.UNKNOWN, verified=False, message=message)

    @property
    def call(self) -> "_Job":
        """The job that made the newest call: this one, or the one it waits for."""
        return self if self.before is None else self.before


class Enforcer(AsyncClosing):
    """Carries out actions, each in a task of its own; `submit` returns at once.

    An async context manager. For every action the inbox gets the account as read back, and then
    one `ActionSettled`. No call is repeated here; the engine decides about that. There is one call
    at a time per key. An action that `follows` another waits for that call's answer, not for its
    read-back. `position_of` returns the position known from the stream, for when reads fail.
    `is_for_news` says whether REST may not know the action's subject yet, as the stream has only
    just reported it.
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
        """The number of actions that have not been settled yet."""
        return len(self._jobs)

    def submit(self, action: Action) -> None:
        """Carry out an action. The request has been sent when this returns."""
        started = self._clock.monotonic()
        key = (action.account_id, action.key)
        if self._closed:
            self._settle(action, started, _unsent("the program is stopping; not sent"))
            return
        before = self._under_way.get(key)
        if before is not None and before.action.id != action.follows:
            # The engine never asks for this. If it did, two calls at once would be worse than one.
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
        """Wait until all actions have ended; False when the limit came first."""
        return await self._tasks.finish(limit_seconds)

    async def close(self) -> None:
        """Stop. Each open action is settled as unknown, or as unsent if that is certain."""
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
        except Exception as error:  # our own fault: reported, and the engine will try again
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
        """Wait for the answer to the earlier call; return a result if nothing is left to do.

        The earlier call may have been executed late, on the position that is to be closed now. A
        second close sent before that fill shows would reverse the position.
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
        # Only the side is needed, and the stream's position gives it without a read.
        known = self._position_of(action.account_id, action.contract_id)
        side = known.side if known is not None and known.sided else 0
        sent = self._clock.monotonic()
        reply = await self._send(action, CLOSE, _about_position(action))
        looks_seconds = self._patience.looks_seconds
        if reply.answer is Answer.UNKNOWN:
            # After a call that hung, its effect would show by now. A second close of a flat
            # position closes nothing, so trying again is better than more waiting.
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
        """Return the position, and True if it was read from the broker, False if only streamed."""
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
        # An exit may still work although it was reported as ended. A second one beside it could
        # open a position on the other side.
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
            # An exit that has already filled is not listed: the flat position shows it.
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
        """Cancel a placed exit at once, as without its position it would open a new one."""
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
            # Not GONE, as that would mean that the order no longer exists.
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
        """Read the account until the effect shows or the time is up; return the call's result."""
        job = self._jobs[action.id]
        job.answered.set()
        pauses = self._patience.unclear_seconds
        if reply.answer in (Answer.OK, Answer.PENDING):
            pauses = self._patience.accepted_seconds
        elif reply.answer not in (Answer.GONE, Answer.UNKNOWN) or isinstance(action, CancelOrder):
            pauses = (0.0,)  # one look: nothing has happened, or a repeat does no harm
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
            # A following action concerns a position opened after this one's effect.
            verified, shows = True, job.is_followed or met(reading)
            if shows:
                break
            wanted = parts
        if wanted is not FIRST_LOOK or not verified:
            self._reader.ask_routine(action.account_id)
        result = _judge(reply, verified=verified, shows=shows)
        ends = isinstance(action, ClosePosition | ReducePosition | CancelOrder)
        if ends and verified and shows and result.outcome is Outcome.REFUSED:
            # A fill, a bracket or the trader was faster: there is nothing left to do, no failure.
            message = f"{reply.message}; read back: nothing is left to do"
            return _Result(outcome=Outcome.GONE, verified=True, code=result.code, message=message)
        return result


def _judge(reply: Reply, *, verified: bool, shows: bool) -> _Result:
    outcome = OUTCOMES[reply.answer]
    message = reply.message
    if verified and not shows:
        if reply.answer is Answer.GONE:
            # GONE would make the engine forget an order that still exists, or ask without pause.
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
    """Return a test whether at most `keep` lots are left on this side.

    A position on the other side is a different one.
    """

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
    """Return the lots of listed working exits of the same kind (stops or targets)."""
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
