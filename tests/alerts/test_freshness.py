"""The heartbeat is sent only while what the daemon knows is up to date."""

from datetime import timedelta

from desk import Desk, make_desk

from risk_manager.alerts.freshness import is_fresh


def fresh(desk: Desk, **later: float) -> bool:
    return is_fresh(desk.pipeline.state, desk.now + timedelta(**later))


async def test_it_is_fresh_with_both_streams_and_every_account_read() -> None:
    desk = make_desk()
    await desk.wait(seconds=1)
    assert not fresh(desk), "nothing is known yet"
    await desk.hub("user", "up")
    await desk.hub("market", "up")
    assert not fresh(desk), "the account has not been read"
    await desk.read_whole(101)
    assert fresh(desk)
    assert not fresh(desk, seconds=6), "no event has been judged for a while"
    await desk.hub("market", "down")
    assert not fresh(desk)


async def test_a_held_contract_without_prices_is_not_fresh() -> None:
    desk = make_desk()
    await desk.hub("user", "up")
    await desk.hub("market", "up")
    await desk.position("MNQ", 1)
    await desk.quote("MNQ", 21000)
    await desk.read_whole(101)
    assert fresh(desk)
    await desk.wait(seconds=30)
    assert not fresh(desk)
    await desk.quote("MNQ", 21000)
    await desk.wait(seconds=1)
    assert fresh(desk)
