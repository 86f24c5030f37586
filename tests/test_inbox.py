"""A quote still waiting is replaced by a newer one, and nothing that was said is lost by that."""

from datetime import timedelta

from desk import MORNING, DeskMaker, contract_id

from risk_manager.domain.events import QuoteChanged
from risk_manager.pipeline import Inbox
from risk_manager.right_of_way import RightOfWay

MNQ, ES = contract_id("MNQ"), contract_id("ES")
LATER = MORNING + timedelta(milliseconds=200)


def quote(contract: str = MNQ, **prices: float) -> QuoteChanged:
    return QuoteChanged(at=MORNING, contract_id=contract, **prices)


async def test_what_the_newer_quote_leaves_out_is_taken_from_the_one_that_waits() -> None:
    inbox = Inbox(RightOfWay())
    inbox.put_nowait(quote(best_bid=20900.0, best_ask=20901.0))
    inbox.put_nowait(quote(best_ask=20900.5))
    inbox.put_nowait(QuoteChanged(at=LATER, contract_id=MNQ, last_price=20900.25))
    assert len(inbox) == 1
    assert await inbox.get() == QuoteChanged(
        at=LATER, contract_id=MNQ, best_bid=20900.0, best_ask=20900.5, last_price=20900.25
    )


async def test_a_whole_quote_replaces_the_one_that_waits() -> None:
    inbox = Inbox(RightOfWay())
    inbox.put_nowait(quote(best_bid=20900.0))
    newer = quote(best_bid=20910.0, best_ask=20910.5, last_price=20910.0)
    inbox.put_nowait(newer)
    assert await inbox.get() is newer


async def test_only_a_quote_of_the_same_contract_that_still_waits_is_asked() -> None:
    inbox = Inbox(RightOfWay())
    inbox.put_nowait(quote(best_bid=20900.0))
    inbox.put_nowait(quote(ES, best_ask=5800.0))
    await inbox.get()
    inbox.put_nowait(quote(last_price=20900.0))
    assert await inbox.get() == quote(ES, best_ask=5800.0)
    assert await inbox.get() == quote(last_price=20900.0)


async def test_a_bid_that_breaches_is_judged_although_an_ask_came_right_after_it(
    desk: DeskMaker,
) -> None:
    d = desk(daily_unrealized_loss={"limit": 300})
    await d.position("MNQ", 2, 21000.0)
    await d.quote("MNQ", 21000.0)
    inbox = d.pipeline.inbox
    inbox.put_nowait(quote(best_bid=20900.0))
    inbox.put_nowait(quote(best_ask=20900.5))
    while inbox:
        await d.happens(await inbox.get())
    assert d.actions == ["close MNQ"]
