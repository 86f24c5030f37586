"""A day from the journal, judged again, comes to the same decisions, calls and accounts."""

import random
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from desk import MORNING, rules_from
from stored_desk import StoppedClock, StoredDesk, opened

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Decision
from risk_manager.domain.events import AnyEvent, RulebookReplaced, Tick
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.engine.turn import Judged
from risk_manager.store import serialization
from risk_manager.store.journal import Journal, days, file_of, prune
from risk_manager.store.recorded_days import replay
from risk_manager.store.schema import StoreError
from risk_manager.store.store import Store

DAY = date(2026, 11, 20)
RULES: dict[str, Any] = {
    "max_contracts": {"limit": 4},
    "daily_realized_loss": {"limit": 900},
    "daily_unrealized_loss": {"limit": 300, "scope": "position"},
    "trade_frequency_limit": {"limits": {"per_minute": 6}},
    "cooldown_after_loss": {"tiers": [{"loss": 50, "duration": "2m"}]},
    "no_stop_loss_grace": {"grace": "30s"},
    "session_block_outside": {},
    "symbol_blocks": {"blocked": ["RTY"]},
}


class Recorded(Store):
    """A store that also keeps what it was told, for comparing."""

    told: list[Step]

    async def commit_turn(self, turn: Sequence[Judged]) -> None:
        self.told += [judged.outcome for judged in turn]
        await super().commit_turn(turn)


@asynccontextmanager
async def a_run(
    folder: Path, desk: StoredDesk | None, steps: list[Step]
) -> AsyncIterator[StoredDesk]:
    """The daemon's life from one start to its end, on the desk's own day."""
    clock = StoppedClock(desk.now if desk else MORNING)
    async with Recorded.open(folder / "state.db", clock, keep_every=timedelta(hours=1)) as kept:
        assert isinstance(kept, Recorded)
        kept.told = steps
        await kept.keep_journal(folder / "journal", "1.0")
        fresh = StoredDesk(kept, rules_from(**_known(RULES)), at=clock.at)
        fresh.number_on_from(desk)
        yield await opened(fresh) if desk is None else await fresh.restored()


def _known(sections: dict[str, Any]) -> dict[str, Any]:
    """The sections as far as this version of the rules takes them."""
    taken = {}
    for name, fields in sections.items():
        try:
            rules_from(**{name: fields})
        except ValueError:
            continue
        taken[name] = fields
    return taken


async def trade_wildly(desk: StoredDesk, dice: random.Random, events: int) -> None:
    price = 21000.0
    for _ in range(events):
        match dice.randrange(12):
            case 0:
                await desk.position("MNQ", dice.randint(-5, 5), price)
            case 1:
                await desk.fill("MNQ", 1, pnl=dice.choice([None, -60, -5, 0, 40]), fees="0.74")
            case 2:
                await desk.order("MNQ", dice.choice([-2, 1, 3]), price=price - 20)
            case 3:
                await desk.report(positions={"MNQ": desk.account().net(MNQ)})
            case 4:
                await desk.obey()
            case 5:
                await desk.wait(seconds=dice.randint(1, 4))
            case 6:
                await desk.hub("user", dice.choice(["up", "down"]))
            case _:
                price += dice.choice([-1, -0.25, 0.25, 1]) * dice.randint(1, 20)
                await desk.quote("MNQ", price, price + 0.25, price)


MNQ = "CON.F.US.MNQ.Z26"


def decided(steps: list[Step]) -> list[Decision]:
    return [d for s in steps for d in s.decisions]


async def test_a_day_with_restarts_replays_to_the_same_decisions_and_accounts(
    tmp_path: Path,
) -> None:
    dice = random.Random(20261120)
    steps: list[Step] = []
    desk: StoredDesk | None = None
    for _ in range(4):
        async with a_run(tmp_path, desk, steps) as desk:
            await trade_wildly(desk, dice, 1500)
    assert desk is not None
    done = replay(tmp_path / "state.db", DAY)
    assert (done.runs, done.missing, done.dropped) == (4, 0, 0)
    assert done.events == len(steps) > 6000
    assert len(decided(steps)) > 20
    assert done.decisions == decided(steps)
    assert done.actions == [a for s in steps for a in s.actions]
    assert done.facts == [f for s in steps for f in s.facts]
    assert done.state is not None
    assert accounts(done.state) == accounts(desk.pipeline.state)


class InBursts(StoredDesk):
    """What happens goes through the inbox, several facts at a time."""

    dice = random.Random(7)
    turns = 0

    async def happens(self, event: AnyEvent) -> Step:
        inbox = self.pipeline.inbox
        inbox.put_nowait(event)
        while len(inbox) and (len(inbox) > 4 or self.dice.random() < 0.4):
            before = inbox.facts
            await self.pipeline.process_turn(await inbox.get())
            self.turns += before - inbox.facts > 1
        return Step(self.pipeline.state)


async def test_turns_of_several_facts_are_judged_again_as_the_same_turns(tmp_path: Path) -> None:
    """F2.3: The grouping is in the journal: the same actions are left out, the same are sent."""
    steps: list[Step] = []
    clock = StoppedClock(MORNING)
    async with Recorded.open(tmp_path / "state.db", clock, keep_every=timedelta(hours=1)) as kept:
        assert isinstance(kept, Recorded)
        kept.told = steps
        await kept.keep_journal(tmp_path / "journal", "1.0")
        desk = InBursts(kept, rules_from(**_known(RULES)), at=clock.at)
        await trade_wildly(await opened(desk), random.Random(11), 3000)
        while len(desk.pipeline.inbox):
            await desk.pipeline.process_turn(await desk.pipeline.inbox.get())
    done = replay(tmp_path / "state.db", DAY)
    assert desk.turns > 300
    assert (done.missing, done.dropped) == (0, 0)
    assert done.events == len(steps)
    assert done.decisions == decided(steps)
    assert len(done.actions) > 10
    assert done.actions == [a for s in steps for a in s.actions]
    assert done.facts == [f for s in steps for f in s.facts]
    assert done.state is not None
    assert accounts(done.state) == accounts(desk.pipeline.state)


def accounts(state: State) -> dict[int, Account]:
    return dict(state.accounts)


async def test_the_day_after_the_reset_begins_a_file_of_its_own(tmp_path: Path) -> None:
    steps: list[Step] = []
    async with a_run(tmp_path, None, steps) as desk:
        await desk.position("MNQ", 1)
        await desk.quote("MNQ", 21000)
        first_day_ends = desk.pipeline.state.day.ends_at
        await desk.wait_until(first_day_ends)
        turned = len(steps)
        await desk.loss(950)
        await desk.obey()
    folder = tmp_path / "journal"
    monday = date(2026, 11, 23)
    assert days(folder) == [DAY, monday]
    assert replay(tmp_path / "state.db", DAY).events == turned
    after = replay(tmp_path / "state.db", monday)
    assert after.decisions == decided(steps[turned:])
    assert after.state is not None
    assert accounts(after.state) == accounts(desk.pipeline.state)


async def test_after_a_kill_what_changed_anything_is_there(tmp_path: Path) -> None:
    steps: list[Step] = []
    async with a_run(tmp_path, None, steps) as desk:
        await desk.position("MNQ", 6)
        await desk.loss(950)
        journal = desk.kept.journal
        assert journal is not None
        journal.close()
        await desk.quote("ES", 20000)  # these two never reach the disk, like a last second
        await desk.quote("ES", 20001)
        await desk.admin("lock")
        desk.kept.journal = None
    done = replay(tmp_path / "state.db", DAY)
    assert done.missing == 2
    assert done.decisions == decided(steps)
    assert done.state is not None
    assert {x.rule_id for x in done.state.accounts[101].locks.values()} >= {"manual"}


async def test_new_limits_during_the_day_are_part_of_it(tmp_path: Path) -> None:
    steps: list[Step] = []
    async with a_run(tmp_path, None, steps) as desk:
        await desk.new_rules(rules_from(max_contracts={"limit": 2}))
        await desk.position("MNQ", 3)
    done = replay(tmp_path / "state.db", DAY)
    assert [d.rule_id for d in done.decisions] == ["max_contracts"]


def test_too_many_quotes_are_dropped_and_counted_and_nothing_else_is(tmp_path: Path) -> None:
    from risk_manager.domain.rulebook import Rulebook
    from risk_manager.store import journal as module

    journal = Journal(tmp_path, flush_every_s=3600)
    state = State.at(MORNING, Rulebook())
    tick = Tick(at=MORNING)
    for _ in range(module.QUOTES_WAITING + 100):
        journal.note(tick, state)
    journal.note(RulebookReplaced(at=MORNING, rulebook=Rulebook()), state)
    assert journal.dropped in (100, 101)  # the state at the beginning takes a place, too
    journal.close()
    connection = sqlite3.connect(file_of(tmp_path, DAY))
    kept = connection.execute("SELECT sum(events) FROM dropped").fetchone()
    connection.close()
    assert kept[0] == journal.dropped


def test_old_journals_go_and_a_full_folder_loses_the_oldest(tmp_path: Path) -> None:
    for day in (DAY - timedelta(days=15), DAY - timedelta(days=1), DAY):
        file_of(tmp_path, day).write_bytes(b"x" * 1000)
    assert prune(tmp_path, DAY) == [DAY - timedelta(days=15)]
    assert prune(tmp_path, DAY, kept_bytes=1500) == [DAY - timedelta(days=1)]
    assert prune(tmp_path, DAY, kept_bytes=10) == []
    assert days(tmp_path) == [DAY]


def test_a_day_without_journal_is_said_to_be_without(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no journal of 2026-11-20"):
        replay(tmp_path / "state.db", DAY)


@pytest.mark.parametrize("text", ["", "{}", '{"$value":"os:system","fields":{}}', '{"$x":1}'])
def test_what_is_no_value_of_the_domain_is_refused(text: str) -> None:
    with pytest.raises(serialization.Unreadable):
        serialization.loads(text)


def test_nothing_outside_the_domain_is_written_or_made() -> None:
    with pytest.raises(TypeError):
        serialization.dumps(object())
    with pytest.raises(serialization.Unreadable):
        serialization.loads('{"$value":"store.journal:Replayed","fields":{"day":null}}')


def test_every_rule_survives_being_written_down() -> None:
    rules = rules_from(**_known(RULES))
    assert len(rules) >= 5
    assert serialization.loads(serialization.dumps(tuple(rules))) == tuple(rules)
    assert (
        replace(State.at(MORNING, serialization.loads(serialization.dumps(desk_rulebook())))).now
        == MORNING
    )


def desk_rulebook() -> Any:
    from desk import Desk

    return Desk(rules_from(**_known(RULES))).rulebook
