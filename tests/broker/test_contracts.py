"""Contract records: asked for once, until they come, and never believed when absurd."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from paper_broker import CONTRACT, ES, MNQ, Fault, PaperBroker, no_line, status
from virtual_time import BEGAN, LoopClock, in_virtual_time

from risk_manager.broker.contracts import ContractBook, Known
from risk_manager.broker.lanes import Lanes
from risk_manager.domain.events import AnyEvent, ContractResolved, Unreadable
from risk_manager.domain.symbols import Contract


def record(contract_id: str = MNQ, **fields: Any) -> dict[str, Any]:
    return {
        "id": contract_id,
        "name": "MNQZ6",
        "description": "Micro E-mini Nasdaq-100: December 2026",
        "tickSize": 0.25,
        "tickValue": 0.5,
        "activeContract": True,
        "symbolId": "F.US.MNQ",
        **fields,
    }


KNOWN = Contract(id=MNQ, name="MNQZ6", tick_size=Decimal("0.25"), tick_value=Decimal("0.50"))


class Desk:
    def __init__(self, broker: PaperBroker, known: Iterable[Known]) -> None:
        self.events: list[AnyEvent] = []
        self.lanes = Lanes(broker, LoopClock())
        self.book = ContractBook(self.lanes, LoopClock(), self.events.append, known=known)

    def resolved(self) -> list[Contract]:
        return [e.contract for e in self.events if isinstance(e, ContractResolved)]

    def unreadable(self) -> list[str]:
        return [e.detail for e in self.events if isinstance(e, Unreadable)]


@asynccontextmanager
async def book(broker: PaperBroker, known: Iterable[Known] = ()) -> AsyncIterator[Desk]:
    desk = Desk(broker, known)
    async with desk.lanes, desk.book:
        yield desk


@in_virtual_time
async def test_a_contract_is_asked_for_once_however_often_it_is_wanted() -> None:
    broker = PaperBroker(contracts={MNQ: record(), ES: record(ES, name="ESZ6", tickValue=12.5)})
    async with book(broker) as desk:
        desk.book.want([MNQ])
        desk.book.want([MNQ])
        desk.book.want([MNQ, ES])
        await asyncio.sleep(1)
        desk.book.want([ES, MNQ])
        await asyncio.sleep(60)
        assert len(broker.calls(CONTRACT)) == 2
        mnq, es = desk.resolved()
        assert mnq == Contract(
            id=MNQ,
            name="MNQZ6",
            tick_size=Decimal("0.25"),
            tick_value=Decimal("0.5"),
            symbol_id="F.US.MNQ",
        )
        assert (es.name, es.tick_value) == ("ESZ6", Decimal("12.5"))


@in_virtual_time
async def test_a_contract_is_asked_for_until_it_comes() -> None:
    broker = PaperBroker(contracts={MNQ: record()})
    broker.always[CONTRACT] = no_line
    async with book(broker) as desk:
        desk.book.want([MNQ])
        await asyncio.sleep(3600)
        assert len(broker.calls(CONTRACT)) > 60
        assert desk.events == []
        broker.always[CONTRACT] = status(429, "30")
        await asyncio.sleep(300)
        broker.always.clear()
        await asyncio.sleep(100)
        assert len(desk.resolved()) == 1


@pytest.mark.parametrize(
    ("fault", "within_seconds"),
    [(status(429), 5.5), (status(429, "60"), 5.5), (no_line, 5.5), (status(500), 5.5)],
)
@in_virtual_time
async def test_a_contract_is_asked_for_as_soon_as_reads_are_answered_again(
    fault: Fault, within_seconds: float
) -> None:
    """What is held of it has no value until then, and no loss of it can be seen."""
    broker = PaperBroker(contracts={MNQ: record()})
    broker.always[CONTRACT] = fault
    async with book(broker) as desk:
        desk.book.want([MNQ])
        await asyncio.sleep(90)
        assert len(broker.calls(CONTRACT)) < 60
        broker.always.clear()
        await asyncio.sleep(within_seconds)
        assert len(desk.resolved()) == 1


@in_virtual_time
async def test_a_contract_no_longer_wanted_is_let_go() -> None:
    broker = PaperBroker()
    async with book(broker) as desk:
        desk.book.want([MNQ])
        await asyncio.sleep(5)
        asked = len(broker.calls(CONTRACT))
        desk.book.want([])
        await asyncio.sleep(600)
        assert len(broker.calls(CONTRACT)) == asked


@in_virtual_time
async def test_a_known_record_serves_at_once_and_an_old_one_is_read_again() -> None:
    broker = PaperBroker(contracts={MNQ: record()})
    async with book(broker, [Known(KNOWN, BEGAN - timedelta(hours=23))]) as desk:
        desk.book.want([MNQ])
        assert desk.resolved() == [KNOWN]
        await asyncio.sleep(3500)
        assert broker.calls(CONTRACT) == []
        await asyncio.sleep(200)
        assert len(broker.calls(CONTRACT)) == 1
        await asyncio.sleep(86_400)
        assert len(broker.calls(CONTRACT)) == 2

    broker = PaperBroker(contracts={MNQ: record()})
    async with book(broker, [Known(KNOWN, BEGAN - timedelta(days=3))]) as desk:
        desk.book.want([MNQ])
        await asyncio.sleep(1)
        assert len(desk.resolved()) == 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tickSize": 0}, "tickSize"),
        ({"tickSize": -0.25}, "tickSize"),
        ({"tickSize": float("nan")}, "tickSize"),
        ({"tickSize": float("inf")}, "tickSize"),
        ({"tickSize": 1e6}, "cannot be right"),
        ({"tickSize": 1e-12}, "cannot be right"),
        ({"tickSize": None}, "tickSize"),
        ({"tickValue": 0}, "tickValue"),
        ({"tickValue": 1e9}, "cannot be right"),
        ({"tickValue": "much"}, "tickValue"),
        ({"id": ES}, "answered with"),
    ],
)
@in_virtual_time
async def test_an_absurd_record_is_told_once_and_asked_for_again(
    fields: dict[str, Any], words: str
) -> None:
    broker = PaperBroker(contracts={MNQ: record(**fields)})
    async with book(broker) as desk:
        desk.book.want([MNQ])
        await asyncio.sleep(10)
        assert desk.resolved() == []
        (told,) = desk.unreadable()
        assert words in told
        broker.contracts[MNQ] = record()
        await asyncio.sleep(60)
        assert len(desk.resolved()) == 1


@pytest.mark.parametrize(
    ("tick_size", "tick_value"),
    [(0.00005, 6.25), (0.0000005, 6.25), (0.015625, 15.625), (5, 25), (0.1, 10), (0.0005, 5)],
)
@in_virtual_time
async def test_the_ticks_of_real_contracts_are_believed(
    tick_size: float, tick_value: float
) -> None:
    broker = PaperBroker(contracts={MNQ: record(tickSize=tick_size, tickValue=tick_value)})
    async with book(broker) as desk:
        desk.book.want([MNQ])
        await asyncio.sleep(1)
        (contract,) = desk.resolved()
        assert contract.tick_size == Decimal(str(tick_size))
        assert contract.tick_value == Decimal(str(tick_value))


@in_virtual_time
async def test_a_contract_the_gateway_does_not_know_is_told_once() -> None:
    broker = PaperBroker()
    async with book(broker) as desk:
        desk.book.want([MNQ])
        await asyncio.sleep(600)
        assert desk.unreadable() == [
            f"the gateway does not know contract {MNQ}: refused with code 1"
        ]
