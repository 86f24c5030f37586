"""Makes the call to the broker that belongs to each kind of action, and reads its effect back."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from risk_manager.broker.enforcement.jobs import Job
from risk_manager.broker.enforcement.listed import (
    PlacedExit,
    at_most,
    exit_lots,
    has_later,
    working_order,
)
from risk_manager.broker.enforcement.patience import Patience
from risk_manager.broker.enforcement.read_back import (
    ORDERS,
    POSITIONS,
    EffectReader,
    PositionReader,
    Reader,
)
from risk_manager.broker.enforcement.results import OUTCOMES, Result
from risk_manager.broker.reading.readings import EXPOSURE, Reading
from risk_manager.broker.replies import Answer, Reply
from risk_manager.clock import Clock
from risk_manager.domain.call_codes import CANCEL, CLOSE, MODIFY, PARTIAL_CLOSE, PLACE
from risk_manager.domain.decisions import (
    Action,
    CancelOrder,
    ClosePosition,
    MoveStop,
    Outcome,
    PlaceExit,
    ReducePosition,
)
from risk_manager.domain.holdings import Position
from risk_manager.domain.records import OWN_TAG, OrderSide, OrderType


class Actor(Protocol):
    """Sends one call to the broker, as `Lanes.act` does."""

    async def act(self, path: str, body: Mapping[str, Any]) -> Reply: ...


class Calls:
    """Carries out single actions, one call each. No call is repeated here.

    `run_id` becomes part of the tag of placed orders.
    """

    def __init__(
        self,
        lanes: Actor,
        reader: Reader,
        positions: PositionReader,
        effects: EffectReader,
        clock: Clock,
        patience: Patience,
        *,
        run_id: str,
    ) -> None:
        self._lanes = lanes
        self._reader = reader
        self._positions = positions
        self._effects = effects
        self._clock = clock
        self._patience = patience
        self._run_id = run_id

    async def carry_out(self, job: Job) -> Result:
        """Make the call of a job, and return its result once the effect shows or does not."""
        match job.action:
            case ClosePosition() as action:
                return await self._close_position(job, action)
            case ReducePosition() as action:
                return await self._reduce(job, action)
            case CancelOrder() as action:
                return await self._cancel(job, action)
            case PlaceExit() as action:
                return await self._place(job, action)
            case MoveStop() as action:
                return await self._move(job, action)
        raise TypeError(f"no way to carry out a {type(job.action).__name__}")

    async def _send(self, job: Job, path: str, body: Mapping[str, Any]) -> Reply:
        job.is_sent = True
        return await self._lanes.act(path, body)

    # --- positions ---

    async def _close_position(self, job: Job, action: ClosePosition) -> Result:
        # Only the side is needed, and the stream's position gives it without a read.
        known = self._positions.streamed(action)
        side = known.side if known is not None and known.sided else 0
        sent = self._clock.monotonic()
        reply = await self._send(job, CLOSE, _about_position(action))
        looks_seconds = self._patience.looks_seconds
        if reply.answer is Answer.UNKNOWN:
            # After a call that hung, its effect would show by now. A second close of a flat
            # position closes nothing, so trying again is better than more waiting.
            took = self._clock.monotonic() - sent
            looks_seconds = max(looks_seconds - took, self._patience.look_seconds)
        is_flat = _or_later(at_most(action, side, 0), reply, known)
        return await self._effects.conclude(job, reply, POSITIONS, is_flat, looks_seconds)

    async def _reduce(self, job: Job, action: ReducePosition) -> Result:
        held, verified = await self._positions.held(action, self._patience.before_seconds)
        if not held.is_on(action.side) or held.size <= action.keep:
            message = f"holding {held.size}, nothing above {action.keep} to close"
            return Result(outcome=Outcome.GONE, verified=verified, message=message)
        known = self._positions.streamed(action)
        body = _about_position(action)
        if action.keep == 0:
            reply = await self._send(job, CLOSE, body)
        else:
            size = held.size - action.keep
            reply = await self._send(job, PARTIAL_CLOSE, {**body, "size": size})
        is_reduced = _or_later(at_most(action, action.side, action.keep), reply, known)
        return await self._effects.conclude(job, reply, POSITIONS, is_reduced)

    # --- orders ---

    async def _cancel(self, job: Job, action: CancelOrder) -> Result:
        reply = await self._send(job, CANCEL, _about_order(action, action.order_id))

        def is_gone(reading: Reading) -> bool:
            return working_order(reading, action.order_id) is None

        return await self._effects.conclude(job, reply, ORDERS, is_gone)

    async def _place(self, job: Job, action: PlaceExit) -> Result:
        reading = await self._read_before_placing(action)
        held, verified = self._positions.held_by(reading, action)
        if not held.is_on(action.side):
            return Result(
                outcome=Outcome.GONE, verified=verified, message="there is no position to protect"
            )
        # An exit may still work although it was reported as ended. A second one beside it could
        # open a position on the other side.
        room = held.size - exit_lots(reading, self._positions.account(action), action)
        if room <= 0:
            message = "an exit for all of the position works already; none was placed"
            return Result(outcome=Outcome.GONE, verified=True, message=message)
        tag = f"{OWN_TAG}{self._run_id}-{action.id}"
        reply = await self._send(job, PLACE, _exit_order(action, min(action.size, room), tag))
        known = self._positions.streamed(action)
        placed = PlacedExit(action, tag, None if known is None else known.opened_at)
        result = await self._effects.conclude(job, reply, EXPOSURE, placed.shows_in)
        order_id = _order_id(reply) or placed.order_id
        if placed.order_id is not None and result.outcome is Outcome.UNKNOWN:
            result = Result(outcome=Outcome.DONE, verified=True, message="found by its tag")
        if placed.is_flat and order_id is not None:
            return await self._withdraw(job, action, order_id)
        return replace(result, order_id=order_id)

    async def _read_before_placing(self, action: PlaceExit) -> Reading | None:
        """Read what is held and which orders work, for longer than before other actions.

        An exit placed beside one that only a list shows could open a position.
        """
        patience = self._patience
        ends = self._clock.monotonic() + patience.placing_seconds
        while True:
            reading = await self._reader.read_back(
                action.account_id, EXPOSURE, patience.before_seconds
            )
            left = ends - self._clock.monotonic()
            if left <= 0 or (reading is not None and reading.has(EXPOSURE)):
                return reading
            await asyncio.sleep(min(patience.between_placing_seconds, left))

    async def _withdraw(self, job: Job, action: PlaceExit, order_id: int) -> Result:
        """Cancel a placed exit at once, as without its position it would open a new one."""
        reply = await self._send(job, CANCEL, _about_order(action, order_id))
        reading = await self._reader.read_back(
            action.account_id, EXPOSURE, self._patience.look_seconds
        )
        is_withdrawn = reply.answer in (Answer.OK, Answer.GONE)
        ending = "no longer works" if is_withdrawn else f"may still work: {reply.message}"
        return Result(
            outcome=Outcome.GONE if is_withdrawn else OUTCOMES[reply.answer],
            verified=reading is not None and reading.has(EXPOSURE),
            code=reply.code,
            message=f"the position was closed meanwhile; its exit {ending}",
            order_id=order_id,
        )

    async def _move(self, job: Job, action: MoveStop) -> Result:
        held, verified = await self._positions.held(action, self._patience.before_seconds)
        if not held.is_on(action.side):
            # Not GONE, as that would mean that the order no longer exists.
            message = "the position is closed; its stop was not moved"
            return Result(outcome=Outcome.REFUSED, verified=verified, message=message)
        size = action.filled + min(action.size, held.size)
        body = {**_about_order(action, action.order_id), "size": size}
        if action.stop_price is not None:
            body["stopPrice"] = float(action.stop_price)
        reply = await self._send(job, MODIFY, body)

        def is_moved(reading: Reading) -> bool:
            order = working_order(reading, action.order_id)
            if reply.answer is Answer.GONE:
                return order is None
            if order is None:
                return True
            return action.stop_price in (None, order.stop_price) and order.size == size

        return await self._effects.conclude(job, reply, ORDERS, is_moved)


def _or_later(
    is_met: Callable[[Reading], bool], reply: Reply, known: Position | None
) -> Callable[[Reading], bool]:
    """Return the test, which a later position than the one known at the sending also meets.

    That holds only if the gateway denied the call: any other may still close the later position.
    """
    if reply.answer is not Answer.GONE or known is None:
        return is_met
    return lambda reading: is_met(reading) or has_later(reading, known)


def _about_position(action: Action) -> dict[str, Any]:
    return {"accountId": action.account_id, "contractId": action.contract_id}


def _about_order(action: Action, order_id: int) -> dict[str, Any]:
    return {"accountId": action.account_id, "orderId": order_id}


def _exit_order(action: PlaceExit, size: int, tag: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        **_about_position(action),
        "type": int(OrderType.LIMIT if action.stop_price is None else OrderType.STOP),
        "side": int(OrderSide.SELL if action.side > 0 else OrderSide.BUY),
        "size": size,
        "customTag": tag,
    }
    if action.stop_price is not None:
        body["stopPrice"] = float(action.stop_price)
    elif action.limit_price is not None:
        body["limitPrice"] = float(action.limit_price)
    return body


def _order_id(reply: Reply) -> int | None:
    value = reply.body.get("orderId")
    return value if reply.ok and isinstance(value, int) and not isinstance(value, bool) else None
