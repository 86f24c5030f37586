"""One event, one transaction, one hop; and what each kind of event leaves behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from desk import MORNING, SilentFeed
from stored_desk import Disk, at, opened, rows, stored_desk
from stored_rows import audit_tail, connection_history, enforcement

from risk_manager.domain.decisions import CancelOrder, Outcome
from risk_manager.pipeline import Pipeline
from risk_manager.store.audit import Head
from risk_manager.store.connection import Connection
from risk_manager.store.opening import Opener

LIMIT: dict[str, Any] = {"max_contracts": {"limit": 2}}


class Hops:
    """How often the database's thread was asked for anything."""

    def __init__(self) -> None:
        self.made = 0

    def connect(self, opener: Opener) -> Connection:
        hops = self

        class Counting(Connection):
            async def run[T](self, work: Callable[[], T]) -> T:
                hops.made += 1
                return await super().run(work)

        return Counting(opener)


async def test_an_event_is_one_transaction_in_one_hop(tmp_path: Path) -> None:
    disk = Disk()
    hops = Hops()
    async with at(
        tmp_path, connection_class=disk.connection_class(), connect=hops.connect
    ) as store:
        desk = await opened(stored_desk(store, **LIMIT))
        before = (hops.made, store.backlog.commits, disk.transactions, disk.commits)
        await desk.position("MNQ", 5)  # a position, a decision, an intent, audit rows
        after = (hops.made, store.backlog.commits, disk.transactions, disk.commits)
        assert desk.enforcer.actions
        assert [a - b for a, b in zip(after, before, strict=True)] == [1, 1, 1, 1]


async def test_what_changes_nothing_worth_keeping_does_not_touch_the_disk(tmp_path: Path) -> None:
    hops = Hops()
    async with at(tmp_path, connect=hops.connect) as store:
        desk = await opened(stored_desk(store, **LIMIT))
        await desk.position("MNQ", 1)
        await desk.report(positions={"MNQ": 1})
        before = hops.made
        await desk.wait(seconds=8)
        for price in range(50):
            await desk.quote("MNQ", 21000 + price)
        await desk.position("MNQ", 1)
        await desk.report(positions={"MNQ": 1})
        assert hops.made == before


async def test_it_is_durable_before_the_enforcer_hears_of_it(tmp_path: Path) -> None:
    seen: list[tuple[Any, ...]] = []
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LIMIT))

        class Watching:
            def submit(self, action: Any) -> None:
                seen.extend(rows(tmp_path, "SELECT id, state FROM intents"))

        state = desk.pipeline.state
        desk.pipeline = Pipeline(state, store=store, enforcer=Watching(), feed=SilentFeed())
        await desk.position("MNQ", 5)
    assert seen == [("101-1", "SENT")]


async def test_a_breach_is_one_row_counted_each_time(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LIMIT))
        await desk.position("MNQ", 5)
        await desk.position("MNQ", 1)
        await desk.position("MNQ", 5)
        decided = [r for r in await enforcement(store, 101) if r.action == "decide"]
        breaches = desk.pipeline.state.accounts[101].breaches.values()
        assert {(r.subject, r.count) for r in decided} == {(b.subject, b.count) for b in breaches}
        told = [r for r in await audit_tail(store, 100) if r.action == "decided"]
        assert len(told) == sum(b.count for b in breaches)


async def test_the_life_of_an_intent(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LIMIT))
        await desk.position("MNQ", 5)
        [first] = desk.enforcer.actions
        await desk.settle(first, Outcome.UNKNOWN)
        found = rows(tmp_path, "SELECT state FROM intents WHERE id = ?", first.id)
        assert found == [("UNCERTAIN",)]
        await desk.wait(seconds=10)
        again = desk.enforcer.actions[-1]
        await desk.settle(again, Outcome.REFUSED)
        await desk.wait(seconds=10)
        last = desk.enforcer.actions[-1]
        await desk.position("MNQ", 2)
        await desk.settle(last, Outcome.DONE)
        states = rows(tmp_path, "SELECT id, kind, target_size, rule_id, state FROM intents")
        assert (last.id, "reduce_position", 2, "max_contracts", "CONFIRMED") in states
        assert (again.id, "reduce_position", 2, "max_contracts", "FAILED") in states
        log = {r.intent_id: r.outcome for r in await enforcement(store, 101) if r.intent_id}
        assert log[last.id] == "confirmed"
        assert log[again.id] == "failed"


async def test_an_action_nobody_reported_on_is_closed_as_lost(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LIMIT))
        await desk.position("MNQ", 5)
        await desk.wait(seconds=40)
        states = dict(rows(tmp_path, "SELECT id, state FROM intents"))
        assert states["101-1"] == "LOST"
        assert states["101-2"] == "SENT"


async def test_hubs_admins_and_rules_are_on_record(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LIMIT))
        await desk.hub("user", "up")
        await desk.hub("user", "down")
        await desk.hub("user", "down")
        history = await connection_history(store)
        assert [(r.from_state, r.to_state) for r in history] == [("up", "down"), (None, "up")]
        await desk.order("MNQ", 1)
        await desk.admin("cancel_all", actor="anna")
        assert isinstance(desk.enforcer.actions[-1], CancelOrder)
        await desk.new_rules([])
        told = [(r.actor, r.action) for r in await audit_tail(store, 100)]
        assert ("anna", "admin.cancel_all") in told
        assert ("daemon", "rulebook.replaced") in told
        assert ("daemon", "alarm.user_hub_down") in told
        assert ("daemon", "started") in told


async def test_notes_are_kept(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        assert await store.notes.get("failures") is None
        assert await store.notes.put("failures", "3")
        assert await store.notes.get("failures") == "3"


async def test_a_clean_stop_is_known_at_the_next_start(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        assert store.last_clean_stop is None
    async with at(tmp_path) as store:
        assert store.last_clean_stop == MORNING


class BusyThread(Connection):
    """The database's thread is in the middle of the next write when the last answer is heard."""

    is_busy = False
    _durable: Head | None = None

    async def run[T](self, work: Callable[[], T]) -> T:
        writer = self.open_writer()
        if self._durable is not None:
            writer.head, self._durable = self._durable, None
        done = await super().run(work)
        if self.is_busy:
            self._durable = writer.head
            writer.head = Head(writer.head.seq + 1, "not committed yet")
        return done


async def test_the_marker_never_names_an_audit_row_that_is_not_durable_yet(tmp_path: Path) -> None:
    """Or after a power cut the database would look like an older copy, and lock every account."""
    busy: list[BusyThread] = []

    def connect(opener: Opener) -> BusyThread:
        busy.append(BusyThread(opener))
        return busy[0]

    async with at(tmp_path, connect=connect) as store:
        await store.audit("anna", "looked", "journal")
        durable = store.mirror.marker()
        busy[0].is_busy = True
        assert await store.prune(MORNING) == {}
        busy[0].is_busy = False
        assert store.mirror.marker() == durable
        busy[0].is_busy = True
        await store.audit("anna", "looked again", "journal")
        busy[0].is_busy = False
        assert store.mirror.marker().last_audit_seq == durable.last_audit_seq + 1
        assert (
            store.mirror.marker().last_audit_hash
            == rows(tmp_path, "SELECT hash FROM audit ORDER BY id DESC LIMIT 1")[0][0]
        )
