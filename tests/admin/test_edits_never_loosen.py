"""Whatever is edited through the verbs, in whatever order: nothing is looser before the reset."""

import asyncio
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from risk_manager.admin.config_changes import LIMITS_FILE, Committed
from risk_manager.admin.config_edits import propose
from risk_manager.admin.shipped_rules import as_shipped
from risk_manager.clock import SystemClock
from risk_manager.daemon.data_place import DataPlace
from risk_manager.daemon.limits_in_force import LimitsInForce
from risk_manager.domain.events import RulebookReplaced
from risk_manager.domain.rulebook import Mode, Rulebook, origin_id
from risk_manager.pipeline import Inbox
from risk_manager.right_of_way import RightOfWay
from risk_manager.settings import rule_edits
from risk_manager.settings.commitment import Commitment
from risk_manager.settings.loading import load
from risk_manager.settings.yaml_edits import EditRefused

ACCOUNTS = (101, 102)
LIMITED = ("max_contracts", "daily_realized_loss", "second")
NOON = datetime(2026, 11, 16, 17, 0, tzinfo=UTC)  # a Monday
NO_LIMIT = 10**9
RISK = """\
version: 1
rules:
  # contracts
  - rule: max_contracts
    limit: 5   # calm
  - rule: daily_realized_loss
    limit: 500
  - rule: daily_realized_loss
    id: second
    limit: 700
    enabled: false
"""

Limits = dict[tuple[int, str], int]


def limits_of(book: Rulebook) -> Limits:
    """The limit that decides for each account and rule; a huge one where none is enforced."""
    found: Limits = {}
    for account_id in ACCOUNTS:
        own = book.for_account(account_id)
        for name in LIMITED:
            acting = [
                int(rule.model_dump()["limit"])
                for rule in own.rules
                if origin_id(rule.id) == name and not rule.shadow and own.mode is Mode.ENFORCE
            ]
            found[account_id, name] = min(acting, default=NO_LIMIT)
    return found


class Notes:
    """The store of the daemon as far as limits need it."""

    needs_reconciling = False

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    @property
    def notes(self) -> "Notes":
        return self

    @property
    def mirror(self) -> "Notes":
        return self

    async def get(self, key: str) -> str | None:
        return self.kept.get(key)

    async def put(self, key: str, value: str) -> bool:
        self.kept[key] = value
        return True

    async def audit(self, *_: Any, **__: Any) -> bool:
        return True

    def now_in_force(self, limits: str) -> None:
        pass

    def is_as_sealed(self, key: str, value: str | None) -> bool:
        return True


class TurnedClock(SystemClock):
    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at


@dataclass
class World:
    """A folder that is edited through the verbs, and a daemon's limits that follow it."""

    root: Path
    clock: TurnedClock = field(default_factory=TurnedClock)
    notes: Notes = field(default_factory=Notes)
    strictest: Limits = field(default_factory=dict)
    day: date | None = None

    def __post_init__(self) -> None:
        self.folder = self.root / "config"
        self.folder.mkdir()
        (self.folder / "settings.yaml").write_text("")
        (self.folder / "accounts.yaml").write_text("accounts: [{id: 101}, {id: 102}]\n")
        (self.folder / "risk_config.yaml").write_text(RISK)

    async def start(self) -> None:
        """A start, or a restart: the limits are those of the notes and of the files."""
        inbox = Inbox(RightOfWay())
        commitment = Commitment.read(text) if (text := self.notes.kept.get("limits")) else None
        today = (commitment or Commitment(in_force=load(self.folder, {}).texts)).trading_date(
            self.clock.now()
        )
        parts: Any = SimpleNamespace(
            store=self.notes,
            clock=self.clock,
            put=inbox.put_nowait,
            take=inbox.take,
            state=SimpleNamespace(day=SimpleNamespace(date=today, ends_at=self.clock.now())),
        )
        self.inbox, self.parts = inbox, parts
        place = DataPlace(self.root, self.root, "practice")
        self.limits = LimitsInForce(parts, load(self.folder, {}), place, lambda _: None)
        await self.limits.commit(await self.limits.last_known())
        self.check(self.limits.commitment.rulebook(self.limits.configuration))

    async def reload(self) -> None:
        answer = asyncio.create_task(self.limits.reload())
        while not answer.done():
            arrival = asyncio.create_task(self.inbox.get())
            await asyncio.wait((answer, arrival), return_when=asyncio.FIRST_COMPLETED)
            if not arrival.done():
                arrival.cancel()
                break
            # What came into force at a reset may wait here too, before the answer to the reload.
            event = await arrival
            assert isinstance(event, RulebookReplaced)
            self.check(event.rulebook)
            self.inbox.processed(event)
            await asyncio.sleep(0)
        await answer

    async def pass_time(self, hours: int) -> None:
        self.clock.at += timedelta(hours=hours)
        self.parts.state.day.date = self.limits.commitment.trading_date(self.clock.at)
        await self.limits.adopt_what_waited()
        self.check(self.limits.commitment.rulebook(self.limits.configuration))

    def check(self, book: Rulebook) -> None:
        """No limit is above any that was in force at any time of this trading day."""
        now, today = limits_of(book), book.day.date_of(self.clock.at)
        if self.day != today:
            self.day, self.strictest = today, now
        for key, limit in now.items():
            assert limit <= self.strictest[key], (key, limit, self.strictest[key])
        self.strictest = now

    def edit(self, edit: Any) -> None:
        try:
            propose(self.folder, {"risk_config.yaml": edit}).write()
        except EditRefused:
            return
        text = (self.folder / "risk_config.yaml").read_text()
        assert "# contracts" in text, "a comment is lost"

    async def cancel(self) -> None:
        """What waits is taken back, and then the reset does not loosen anything either."""
        committed = Committed.read(self.root, self.clock.now())
        assert committed is not None, LIMITS_FILE
        files = load(self.folder, {})
        edits = committed.without_what_waits(files)
        if edits:
            propose(self.folder, edits).write()
        await self.reload()
        after_the_reset = limits_of(load(self.folder, {}).rulebook())
        assert after_the_reset == self.strictest
        committed = Committed.read(self.root, self.clock.now())
        assert committed is not None
        loosening = [c for c in committed.waiting().changes if c.effect != "tighter"]
        assert loosening == []


rules = st.sampled_from(LIMITED)
accounts = st.sampled_from((None, *ACCOUNTS))
steps = st.one_of(
    st.tuples(st.just("set"), rules, st.integers(1, 9).map(lambda n: n * 100), accounts),
    st.tuples(st.just("switch"), rules, st.booleans(), accounts),
    st.tuples(st.just("shadow"), rules, st.booleans(), accounts),
    st.tuples(st.just("unset"), rules, st.sampled_from(("limit", "enabled", "shadow")), accounts),
    st.tuples(st.just("shipped"), st.sampled_from(LIMITED[:2])),
    st.tuples(st.just("reload")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("cancel")),
    st.tuples(st.just("wait"), st.integers(0, 9)),
)


async def carry_out(world: World, step: tuple[Any, ...]) -> None:
    match step:
        case ("set", rule, limit, account):
            world.edit(lambda d: rule_edits.set_value(d, rule, ("limit",), limit, account))
        case ("switch", rule, is_on, account):
            world.edit(lambda d: rule_edits.set_value(d, rule, ("enabled",), is_on, account))
        case ("shadow", rule, is_so, account):
            world.edit(lambda d: rule_edits.set_value(d, rule, ("shadow",), is_so, account))
        case ("unset", rule, key, account):
            world.edit(lambda d: rule_edits.unset_value(d, rule, (key,), account))
        case ("shipped", rule):
            world.edit(lambda d: as_shipped(d, rule))
        case ("reload",):
            await world.reload()
        case ("restart",):
            await world.start()
        case ("cancel",):
            await world.cancel()
        case ("wait", hours):
            await world.pass_time(hours)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)  # fmt: skip
@given(st.lists(steps, max_size=12))
def test_random_edits_through_the_verbs_never_loosen_before_the_reset(
    steps: list[tuple[Any, ...]],
) -> None:
    async def lived(root: Path) -> None:
        world = World(root)
        await world.start()
        for step in steps:
            await carry_out(world, step)
        await world.reload()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(lived(Path(folder)))
