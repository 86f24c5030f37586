"""Contract records (tick size and tick value) by id: asked for when needed and kept fresh."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, Field, ValidationError

from risk_manager.async_closing import AsyncClosing
from risk_manager.broker.replies import Answer, Reply
from risk_manager.broker.task_group import OnError, TaskGroup, log_error
from risk_manager.broker.validation import first_problem
from risk_manager.clock import Clock
from risk_manager.domain.events import AnyEvent, ContractResolved, Unreadable
from risk_manager.domain.records import WIRE
from risk_manager.domain.symbols import Contract

PATH = "/Contract/searchById"
FRESH_FOR = timedelta(days=1)
TRY_AGAIN_AFTER_SECONDS = (0.5, 1.0, 2.0, 5.0)
"""Where no record came: what is held of the contract cannot be valued until one does."""
AFTER_A_WRONG_RECORD_SECONDS = (*TRY_AGAIN_AFTER_SECONDS, 15.0, 60.0)

# Wide enough for everything listed (a tick of the yen future is 0.0000005, its point 12.5 million
# dollars), narrow enough that a record beyond it is a mistake.
SMALLEST_TICK, LARGEST_TICK = Decimal("1e-8"), Decimal(1000)
SMALLEST_VALUE, LARGEST_VALUE = Decimal("0.001"), Decimal(1000)

Positive = Annotated[Decimal, Field(gt=0)]


class Reader(Protocol):
    async def read(self, path: str, body: Mapping[str, Any]) -> Reply: ...

    async def look(self, path: str, body: Mapping[str, Any]) -> Reply: ...


class ContractRecord(BaseModel):
    """A contract as the gateway states it."""

    model_config = WIRE

    id: str
    name: str
    tick_size: Positive
    tick_value: Positive
    symbol_id: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """A contract, and when the gateway stated it."""

    contract: Contract
    resolved_at: datetime


class ContractBook(AsyncClosing):
    """Resolves the contracts in play and puts `ContractResolved` events.

    An async context manager. `want` is called with all contracts in play, whenever they change.
    Each is asked for until it is known, and again when its record is older than a day. Records
    from the store (`known`) are used at once.
    """

    def __init__(
        self,
        lanes: Reader,
        clock: Clock,
        put: Callable[[AnyEvent], None],
        *,
        known: Iterable[Known] = (),
        on_error: OnError = log_error,
    ) -> None:
        self._lanes = lanes
        self._clock = clock
        self._put = put
        self._known = {each.contract.id: each for each in known}
        self._tasks = TaskGroup(on_error)
        self._wanted: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        self._wanted.clear()
        await self._tasks.close()

    def want(self, contract_ids: Iterable[str]) -> None:
        """Set the contracts in play; all others are dropped."""
        chosen = frozenset(contract_ids)
        for contract_id in self._wanted.keys() - chosen:
            self._wanted.pop(contract_id).cancel()
        for contract_id in sorted(chosen - self._wanted.keys()):
            known = self._known.get(contract_id)
            if known is not None:
                self._put(ContractResolved(at=self._clock.now(), contract=known.contract))
            self._wanted[contract_id] = self._tasks.start(
                f"contract {contract_id}", self._keep(contract_id)
            )

    async def _keep(self, contract_id: str) -> None:
        """Keep one contract's record fresh for as long as the contract is in play."""
        while True:
            known = self._known.get(contract_id)
            if known is not None:
                age = self._clock.now() - known.resolved_at
                await asyncio.sleep(max((FRESH_FOR - age).total_seconds(), 0))
            await self._resolve(contract_id)

    async def _resolve(self, contract_id: str) -> None:
        failures = 0
        told = ""
        while True:
            # Without a record no loss can be seen: then it goes past the reads that can wait.
            ask = self._lanes.read if contract_id in self._known else self._lanes.look
            reply = await ask(PATH, {"contractId": contract_id})
            contract, problem = read_contract(contract_id, reply)
            if contract is not None:
                now = self._clock.now()
                self._known[contract_id] = Known(contract, now)
                self._put(ContractResolved(at=now, contract=contract))
                return
            # Connection trouble is reported elsewhere; an invalid record is reported here.
            if problem and problem != told:
                told = problem
                self._put(Unreadable(at=self._clock.now(), source=PATH, detail=problem))
            await asyncio.sleep(_pause_seconds(reply, failures, is_wrong=bool(problem)))
            failures += 1


def _pause_seconds(reply: Reply, failures: int, *, is_wrong: bool) -> float:
    """How long until the next try. Where reads pause for a while, that one comes as they go on."""
    pauses = AFTER_A_WRONG_RECORD_SECONDS if is_wrong else TRY_AGAIN_AFTER_SECONDS
    pause = pauses[min(failures, len(pauses) - 1)]
    if reply.answer is Answer.LIMITED and reply.retry_after_seconds is not None:
        return min(max(reply.retry_after_seconds, pauses[0]), pauses[-1])
    return pause


def read_contract(contract_id: str, reply: Reply) -> tuple[Contract | None, str]:
    """Return the contract in a reply, or None and what is wrong with it (empty if it has none)."""
    if reply.code not in (None, 0):
        return None, f"the gateway does not know contract {contract_id}: {reply.message}"
    if not reply.ok:
        return None, ""
    try:
        record = ContractRecord.model_validate(reply.body.get("contract"))
    except ValidationError as error:
        return None, f"contract {contract_id}: {first_problem(error)}"
    if record.id != contract_id:
        return None, f"asked for contract {contract_id}, answered with {record.id}"
    if not SMALLEST_TICK <= record.tick_size <= LARGEST_TICK:
        return None, f"contract {contract_id}: a tick of {record.tick_size} cannot be right"
    if not SMALLEST_VALUE <= record.tick_value <= LARGEST_VALUE:
        return None, f"contract {contract_id}: a tick worth {record.tick_value} cannot be right"
    return (
        Contract(
            id=record.id,
            name=record.name,
            tick_size=record.tick_size,
            tick_value=record.tick_value,
            symbol_id=record.symbol_id,
        ),
        "",
    )
