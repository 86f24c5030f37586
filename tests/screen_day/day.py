"""A practice day at speed: real exchange, real daemon process, and the screen open all the time."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from time import monotonic

from daemon_process import DaemonProcess, until
from dashboard_screen import Listening, Seen
from feed_daemon import until as until_seen
from screen_day.busy_trader import ACCOUNT, BusyTrader
from screen_day.terminal import Cost, dashboard_process

from risk_manager.dashboard.keys import TABS
from risk_manager.dashboard.story import KEPT
from risk_manager.dashboard.widgets.account_header import AccountHeader
from risk_manager.dashboard.widgets.lockouts import Lockouts
from risk_manager.dashboard.widgets.positions import Positions
from risk_manager.dashboard.wording import signed
from risk_manager.feed.client import FeedClient
from risk_manager.practice.assembly import practice_gateway
from risk_manager.practice.gateway import PracticeGateway

RULES = """
version: 1
rules:
  - {rule: max_contracts, limit: 5}
  - {rule: daily_realized_loss, limit: 5000000}
  - {rule: symbol_blocks, blocked: [RTY]}
  - {rule: no_stop_loss_grace, grace: 5s}
  - rule: cooldown_after_loss
    tiers: [{loss: 20, cooldown: 4s}]
"""
STEP_S = 0.25
SETTLED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What must be the same on the screen and in the database, once nothing happens any more."""

    net: Decimal
    executions: int
    positions: tuple[tuple[str, int], ...]  # contract and signed size
    locks: tuple[tuple[str, str], ...]  # rule and scope


@dataclass(slots=True)
class Played:
    """What the day was like."""

    practice_hours: float
    deeds: int
    facts: Facts
    screen: Facts
    largest_story: int
    quiet: Cost | None = None
    busy: tuple[Cost, ...] = ()


async def play(
    folder: Path, *, seconds: float, speed: float, seed: int = 7, measured: bool = False
) -> Played:
    """Play for so many seconds. `measured`: beside another screen, a process that is measured."""
    async with practice_gateway(speed=speed, seed=seed) as gateway:
        daemon = DaemonProcess(folder, rules=RULES).point_at(gateway)
        async with daemon.running(), contextlib.AsyncExitStack() as stack:
            app = Listening(FeedClient(daemon.data))
            pilot = await stack.enter_async_context(app.run_test(size=(120, 40)))
            seen = Seen(app, pilot)
            await until_seen(lambda: "101" in seen.text(AccountHeader), 30)
            terminal = None
            if measured:
                terminal = await stack.enter_async_context(
                    dashboard_process(daemon.data, (120, 40), folder / "screen_state")
                )
            trader = BusyTrader(gateway.exchange, seed)
            quiet, busy, largest = None, [], 0
            if terminal is not None:
                await asyncio.sleep(5)
                quiet = await terminal.cost(min(30, seconds / 10))
            began = monotonic()
            watching: asyncio.Task[Cost] | None = None
            while monotonic() - began < seconds:
                trader.act()
                if trader.deeds % 8 == 0:
                    await _look_around(seen, trader.deeds // 8)
                largest = max(largest, len(app.picture.story.entries))
                if terminal is not None and watching is None:
                    watching = asyncio.create_task(terminal.cost(30), name="cost of the screen")
                elif watching is not None and watching.done():
                    busy.append(watching.result())
                    watching = None
                await asyncio.sleep(STEP_S)
            if watching is not None:
                watching.cancel()
            played_s = monotonic() - began
            stored, shown = await _when_settled(seen, daemon, gateway)
            return Played(
                practice_hours=played_s * speed / 3600,
                deeds=trader.deeds,
                facts=stored,
                screen=shown,
                largest_story=largest,
                quiet=quiet,
                busy=tuple(busy),
            )


async def _look_around(seen: Seen, turn: int) -> None:
    tab = TABS[turn % len(TABS)]
    await seen.pilot.press(tab.key)
    if tab.id in ("rules", "log"):
        await seen.pilot.press("down", "enter", "escape")


async def _when_settled(
    seen: Seen, daemon: DaemonProcess, gateway: PracticeGateway
) -> tuple[Facts, Facts]:
    """Stop the market, and return both once the screen, the database and the exchange agree.

    Where they do not within the time, what they are then.
    """
    assert gateway.market is not None
    gateway.market.paused = True
    database = daemon.data / "state.db"
    both: list[Facts] = []

    def agree() -> bool:
        both[:] = [stored(database, seen), shown(seen)]
        is_net = both[0].net == gateway.exchange.realised(ACCOUNT) - gateway.exchange.fees(ACCOUNT)
        return both[0] == both[1] and is_net

    with contextlib.suppress(AssertionError):
        await until(agree, "the screen agrees with the database", SETTLED_WITHIN_S)
    await _drawn(seen, both[0])
    return both[0], both[1]  # of one moment: a pause ends by itself


async def _drawn(seen: Seen, facts: Facts) -> None:
    """What the widgets say, not only what they were given. Raises AssertionError."""
    await seen.pilot.press("1")
    await until_seen(lambda: seen.figure("realised").text == signed(float(facts.net)), 20)
    for _, net in facts.positions:
        await seen.shows(Positions, f"{net:+d}")
    await seen.pilot.press("7")
    for rule_id, _ in facts.locks:  # a pause may have ended meanwhile
        words = (f"by {rule_id}", f"{rule_id}; ended")
        await until_seen(lambda words=words: any(w in seen.text(Lockouts) for w in words), 20)  # type: ignore[misc]


def shown(seen: Seen) -> Facts:
    """By the picture that the screen has drawn."""
    account = seen.app.picture.account(ACCOUNT)
    assert account is not None
    return Facts(
        net=Decimal(str(account.realised_net)),
        executions=account.executions,
        positions=tuple(sorted((p.contract_id, p.net) for p in account.positions)),
        locks=tuple(sorted((x.rule_id, x.scope) for x in account.locks)),
    )


def stored(database: Path, seen: Seen) -> Facts:
    """By the rows of the database, of the trading date that the screen shows."""
    account = seen.app.picture.account(ACCOUNT)
    assert account is not None
    with _reading(database) as connection:
        trades = connection.execute(
            "SELECT pnl, fees FROM trades WHERE account_id = ? AND trading_day = ? AND NOT voided",
            (ACCOUNT, account.trading_date),
        ).fetchall()
        positions = connection.execute(
            "SELECT contract_id, type, size FROM positions WHERE account_id = ? AND size > 0",
            (ACCOUNT,),
        ).fetchall()
        locks = connection.execute(
            "SELECT rule_id, scope FROM lockouts WHERE account_id = ? AND cleared_at IS NULL",
            (ACCOUNT,),
        ).fetchall()
    net = sum((Decimal(pnl or 0) - Decimal(fees) for pnl, fees in trades), Decimal(0))
    return Facts(
        net=net,
        executions=len(trades),
        positions=tuple(sorted((c, size if way == 1 else -size) for c, way, size in positions)),
        locks=tuple(sorted(locks)),
    )


@contextlib.contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)
    try:
        yield connection
    finally:
        connection.close()


def problems(played: Played) -> list[str]:
    """Return what is wrong with the day; empty where nothing is."""
    found = []
    if played.facts != played.screen:
        found.append(f"the database has {played.facts}, the screen {played.screen}")
    if played.largest_story > KEPT:
        found.append(f"the story grew to {played.largest_story} entries")
    if not played.facts.executions:
        found.append("nothing was traded")
    return found
