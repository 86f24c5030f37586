"""Locks that ended by a clock that was ahead are in force again until their time has come."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from desk import MORNING
from stored_desk import StoppedClock, StoredDesk, at, opened, stored_desk
from stored_rows import audit_tail

from risk_manager.domain.events import Tick
from risk_manager.store.finding import OpenedAs
from risk_manager.store.store import Store, verify_audit

TODAY = date(2026, 11, 20)
TOMORROW = MORNING + timedelta(days=3)  # a Monday
LATER = MORNING + timedelta(minutes=5)


async def locked_and_a_day_on(store: Store) -> StoredDesk:
    """A loss, three locks (until the reset, for an hour, until lifted), then tomorrow by a jump."""
    desk = await opened(stored_desk(store, daily_realized_loss={"limit": 100}))
    await desk.loss(150)
    await desk.admin("lock", scope="root:CL", until=desk.now + timedelta(hours=1))
    await desk.admin("lock", scope="root:ES")
    assert len(desk.account().locks) == 3
    desk.now = TOMORROW
    await desk.happens(Tick(at=desk.now))
    assert [lock.scope for lock in desk.account().locks.values()] == ["root:ES"]
    return desk


async def test_what_ended_in_the_future_is_in_force_again(tmp_path: Path) -> None:
    """F6.2: Locks that ended at an instant which has not come are put back, and it is told."""
    async with at(tmp_path) as store:
        before = dict((await locked_and_a_day_on(store)).account().locks)
    async with at(tmp_path, clock=StoppedClock(LATER)) as store:
        found = await store.recovery.take_back(LATER, TODAY)
        assert set(found.turned_at) == {101}
        desk = await stored_desk(store, daily_realized_loss={"limit": 100}).restored(LATER)
        scopes = {lock.scope for lock in desk.account().locks.values()}
        assert scopes == {"account", "root:CL", "root:ES"}
        assert before.items() <= desk.account().locks.items()
        await desk.happens(Tick(at=LATER))
        assert desk.account().trading_date == TODAY
        assert len(desk.account().locks) == 3
        put_back = [r for r in await audit_tail(store) if r.action == "lock.put_back"]
        assert len(put_back) == 2
        await desk.wait(hours=2)
        assert {lock.scope for lock in desk.account().locks.values()} == {"account", "root:ES"}
    # Once: what ends by then in the right way stays ended.
    at_noon = LATER + timedelta(hours=2)
    async with at(tmp_path, clock=StoppedClock(at_noon)) as store:
        assert store.opened_as is OpenedAs.RESTORED
        await store.recovery.take_back(at_noon, TODAY)
        desk = await stored_desk(store, daily_realized_loss={"limit": 100}).restored(at_noon)
        assert {lock.scope for lock in desk.account().locks.values()} == {"account", "root:ES"}
    assert verify_audit(tmp_path / "state.db") is None


async def test_what_ended_in_the_past_stays_ended(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        await locked_and_a_day_on(store)
    after = TOMORROW + timedelta(seconds=1)
    async with at(tmp_path, clock=StoppedClock(after)) as store:
        assert (await store.recovery.take_back(after, after.date())).turned_at == {}
        desk = await stored_desk(store).restored(after)
        assert [lock.scope for lock in desk.account().locks.values()] == ["root:ES"]


@pytest.mark.parametrize("may_clear", [True, False])
async def test_what_an_administrator_lifted_comes_back_where_only_the_day_allowed_it(
    tmp_path: Path, may_clear: bool
) -> None:
    """F6.2: A lock that cannot be lifted on its own day is not lifted by a day that is not here."""
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store))
        await desk.admin("lock")
        if not may_clear:
            await desk.admin("lock_day", rule_id="manual")
        desk.now = TOMORROW
        await desk.happens(Tick(at=desk.now))
        await desk.admin("unlock")
        assert desk.account().locks == {}
    async with at(tmp_path, clock=StoppedClock(LATER)) as store:
        await store.recovery.take_back(LATER, TODAY)
        desk = await stored_desk(store).restored(LATER)
        assert len(desk.account().locks) == (0 if may_clear else 1)
