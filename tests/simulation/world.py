"""One simulated day: the exchange, the trader, the weather, the daemon's lives, the judgement."""

import asyncio
import gc
import hashlib
import logging
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from desk import rules_from
from simulation import behaviour_judge, calendar_judge
from simulation.day_judge import START, STEP_AT
from simulation.gateway import SimulatedGateway
from simulation.life import Life
from simulation.loop import SimulatedLoop
from simulation.options import FIRST_TIER, NEW_YORK, Options
from simulation.oracle import Oracle, Violation
from simulation.planted import PLANTS
from simulation.spells import LOW_CRUDE, Spells
from simulation.streams import Streams
from simulation.trader import Trader

from risk_manager.domain.events import AdminAsked, Hub, RulebookReplaced
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.practice.exchange import Exchange
from risk_manager.practice.market import Market
from risk_manager.practice.products import contracts_on
from risk_manager.practice.records import Account, Position

ROOTS = ("MNQ", "NQ", "MES", "ES", "RTY", "MCL")
BLOCKED = frozenset({"RTY"})
BUSY_STEP_S = 1.0
IDLE_STEP_S = 10.0
REST_AFTER_S = 3.0
HEALED_S = 5.0
HUBS_HEALED_S = 20.0
"""An attempt that hangs, the longest pause, and one that does not."""
SHUT_RETRY_S = 60.0
RESTED_S = 75.0
END_LIMIT_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult:
    """What one simulated day came to."""

    options: Options
    violations: tuple[Violation, ...]
    digest: str
    hours: float
    events: int
    requests: int
    writes: int
    writes_a_minute_max: int
    spans_well: tuple[float, ...]
    spans_ill: tuple[float, ...]
    reentries_s: tuple[float, ...]
    races: int
    lives: int
    trades: int
    decisions: int
    locks: dict[str, int]
    spans_by_kind: dict[str, int]
    wall_seconds: float
    log: tuple[str, ...] = ()


@dataclass(slots=True)
class Limits:
    """What the configuration says now, in the words of the oracle."""

    now: dict[str, Any] = field(default_factory=dict)


class World:
    def __init__(self, options: Options, folder: Path, *, keep_log: bool = False) -> None:
        self.options = options
        self.folder = folder
        self.account_ids = options.accounts
        self.blocked = BLOCKED
        self.limits: dict[str, Any] = dict(options.limits)
        self.edited = False
        self.market_open = True
        self.opened_at = 0.0
        self.own_fills = 0
        self.journal: Path | None = None
        self.crash_chance = options.weather.crash_at_commit
        self.life: Life | None = None
        self.lives = 0
        self._loop = asyncio.get_running_loop()
        self._wall_off = timedelta(0)
        self._hash = hashlib.sha256()
        self._log: list[str] | None = [] if keep_log else None
        self._ends = False
        contracts = [c for c in contracts_on(options.day) if c.root in ROOTS]
        self.exchange = Exchange(
            [Account(i, f"SIM-{i}") for i in options.accounts],
            contracts,
            rng=self.dice("fills"),
            max_fill=options.max_fill,
            notify=self._carry,
        )
        self.market = Market(
            self.exchange, self.dice("market").randrange(2**31), step_seconds=BUSY_STEP_S
        )
        if options.unkind.below_zero:
            self.market.set_level("MCL", LOW_CRUDE)
        self.traders: dict[int, Trader] = {}
        self.oracle = Oracle(self)
        self.gateway = SimulatedGateway(self, self.dice("gateway"))
        self.streams = Streams(self, self.dice("streams"))
        self.spells = Spells(self, self.dice("spells"))
        self.plant = PLANTS[options.plant]()
        self._lives_dice = self.dice("lives")
        self._events_dice = self.dice("events")

    # --- time and luck ---

    def dice(self, name: str) -> Random:
        return Random(f"{self.options.seed}/{name}")

    @property
    def now(self) -> float:
        return self._loop.time()

    def utc(self) -> datetime:
        """The true time, which the exchange keeps."""
        return self.options.began_at + timedelta(seconds=self.now)

    def wall(self) -> datetime:
        """What the machine's clock shows."""
        return self.utc() + self._wall_off

    def seconds_of(self, at: datetime) -> float:
        """An instant of the exchange's as one of the loop's."""
        return (at - self.options.began_at).total_seconds()

    def daemon_now(self) -> datetime:
        return self.utc() if self.life is None else self.life.clock.now()

    def record(self, line: str) -> None:
        stamped = f"{self.now:.6f} {line}"
        self._hash.update(stamped.encode())
        self._hash.update(b"\n")
        if self._log is not None:
            self._log.append(stamped)

    # --- the exchange ---

    def _carry(self) -> None:
        events = self.exchange.drain_events()
        ended: set[tuple[int, str]] = set()
        for event in events:
            if event.kind == "order":
                order = self.exchange.order(event.data["id"])
                if order is not None and order.is_close and not self._trader_closes:
                    self.oracle.on_own_close(order.id)
                    if not self.exchange.net(order.account_id, order.contract_id):
                        ended.add((order.account_id, order.contract_id))
        news = [e for e in events if not e.is_market]
        if news:
            self.oracle.on_exchange(news)
        self.streams.carry(events)
        for account_id, contract_id in sorted(ended):
            self.oracle.on_closed(account_id, contract_id)
            if not self._ends:
                self.traders[account_id].was_closed(contract_id)

    _trader_closes = False

    def trader_closes(self, account_id: int, contract_id: str) -> None:
        """The trader presses the platform's own close button."""
        self._trader_closes = True
        try:
            self.exchange.order_entry.close_position(account_id, contract_id, now=self.utc())
        finally:
            self._trader_closes = False

    def position(self, account_id: int, contract_id: str) -> Position | None:
        return self.exchange.position(account_id, contract_id)

    def open_result(self, position: Position) -> Decimal:
        """In dollars, at the side of the book at which the position could be left."""
        contract = self.exchange.contracts[position.contract_id]
        book = self.exchange.book(position.contract_id)
        price = book.bid if position.net > 0 else book.ask
        ticks = (price - position.average_price) / contract.tick_size
        return ticks * contract.tick_value * position.net

    @property
    def is_ending(self) -> bool:
        """The faults have healed, and nobody trades any more."""
        return self._ends

    def is_busy(self) -> bool:
        return not self.exchange.is_idle

    def is_at_rest(self) -> bool:
        """Nothing held, nothing working, nothing under way or to follow from a fill just now, and
        every account read since the start: seconds may be longer."""
        life = self.life
        return not (
            self.is_busy()
            or life is None
            or self.oracle.has_moved_since(self.now - REST_AFTER_S)
            or any(
                a.positions or a.orders or a.attempts or a.reported_at is None
                for a in life.state().accounts.values()
            )
        )

    def all_at_once[T](self, work: Callable[[], T]) -> T:
        """What happens in it is told together."""
        self.exchange.notify = None
        try:
            return work()
        finally:
            self.exchange.notify = self._carry
            self._carry()

    def set_open(self, is_open: bool) -> None:
        self.market_open = is_open
        if is_open:
            self.opened_at = self.now
        self.oracle.look()
        self.exchange.set_market_open(is_open, now=self.utc())

    # --- limits ---

    def book(self) -> Rulebook:
        """The rulebook of the limits that are in force now."""
        rules = rules_from(**_sections(self.limits))
        return Rulebook(accounts={a: AccountRules.of(rules) for a in self.account_ids})

    # --- the day ---

    async def run(self) -> DayResult:
        began = time.perf_counter()
        group = [
            self._loop.create_task(work, name=name)
            for name, work in (
                ("market", self._run_market()),
                ("hours", self._run_hours()),
                ("oracle", self._run_oracle()),
                ("lives", self._run_lives()),
                ("weather", self._run_weather()),
                ("habits", self.spells.run()),
                ("admin", self._run_admin()),
                ("edits", self._run_edits()),
            )
        ]
        self.traders = {a: Trader(self, a, self.dice(f"trader {a}")) for a in self.account_ids}
        group += [
            self._loop.create_task(t.run(), name=f"trader {t.account_id}")
            for t in self.traders.values()
        ]
        if self.limits.get("behaviour"):
            group += [
                self._loop.create_task(t.pull_stops(), name=f"stops of {t.account_id}")
                for t in self.traders.values()
            ]
        await asyncio.sleep(self.options.hours * 3600)
        for task in group[4:]:
            task.cancel()
        self.spells.end()
        try:
            async with asyncio.timeout(END_LIMIT_S):
                await self._finish()
        except TimeoutError:
            self.oracle.violate("not healed", f"the day had not ended after {END_LIMIT_S:g} s")
        for task in group:
            task.cancel()
        for task, end in zip(
            group, await asyncio.gather(*group, return_exceptions=True), strict=True
        ):
            if isinstance(end, Exception):
                self.oracle.violate("the harness failed", f"{task.get_name()}: {end!r}")
                raise end
        oracle = self.oracle
        return DayResult(
            options=self.options,
            violations=tuple(oracle.violations),
            digest=self._hash.hexdigest(),
            hours=self.now / 3600,
            events=oracle.events,
            requests=self.gateway.requests,
            writes=self.gateway.writes,
            writes_a_minute_max=oracle.writes_max,
            spans_well=tuple(oracle.spans_well),
            spans_ill=tuple(oracle.spans_ill),
            reentries_s=tuple(oracle.reentries_s),
            races=oracle.races,
            lives=self.lives,
            trades=self.exchange.trade_count,
            decisions=oracle.decisions,
            locks=dict(oracle.locks_seen),
            spans_by_kind=dict(oracle.by_kind),
            wall_seconds=time.perf_counter() - began,
            log=tuple(self._log or ()),
        )

    async def _finish(self) -> None:
        """Everything heals; what must be flat is flat soon; then the accounts are compared."""
        self._ends = True
        self.crash_chance = 0.0
        self.gateway.heal()
        self.streams.heal()
        if not self.market_open:
            # Before its hour: who waits for the opening tries once a minute meanwhile.
            self.set_open(True)
            self.opened_at += SHUT_RETRY_S
            await asyncio.sleep(SHUT_RETRY_S)
        while self.life is None or self.life.dead.is_set():  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)
        began = self.now
        while not all(self.streams.is_served(hub) for hub in Hub):
            if self.now - began > HUBS_HEALED_S:
                self.oracle.violate("not healed", f"a hub {HUBS_HEALED_S:g} s after all faults")
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(HEALED_S)
        for key in self.oracle.overdue():
            self.oracle.violate("not healed", f"{key} {HEALED_S:g} s after all faults ended")
        await asyncio.sleep(RESTED_S)
        # What still works may fill at any moment and then nothing ever rests.
        self._market_rests = True
        await asyncio.sleep(1.0)
        life = self.life
        life.reconciler.ask()
        await asyncio.sleep(10.0)
        assert self.life is life
        self.oracle.settle_accounts(life.state())
        await life.stop()
        self.life = None
        self.oracle.on_life(False)
        self.oracle.read_database()

    # --- tasks ---

    _market_rests = False

    async def _run_market(self) -> None:
        idle = 0.0
        dice = self.dice("pushes")
        while not self._market_rests:
            await asyncio.sleep(BUSY_STEP_S)
            if not self.is_busy():
                idle += BUSY_STEP_S
                if idle < IDLE_STEP_S:
                    continue
            idle = 0.0
            if dice.random() < 1 / 240:
                root = dice.choice(("NQ", "ES"))
                self.market.push(root, dice.gauss(0, 120), dice.uniform(5, 90))
            if self.market_open:
                self.market.step(self.utc())

    async def _run_hours(self) -> None:
        """The exchange itself: shut from 17:00 to 18:00, and after Friday's close."""
        while True:
            local = self.utc().astimezone(NEW_YORK)
            is_open = local.hour != 17 and not (local.weekday() == 4 and local.hour >= 17)
            if not self._ends and not self._halted and is_open != self.market_open:
                self.set_open(is_open)
            await asyncio.sleep(1.0)

    _halted = False

    async def _run_oracle(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            if self.oracle.waits_for_an_end or self.is_busy():
                self.oracle.look()
            self.oracle.look_at_hubs()

    async def _run_lives(self) -> None:
        """Start the daemon again whenever it has ended."""
        dice = self._lives_dice
        while True:
            self.lives += 1
            life = Life(self, self.lives, self.plant, Random(f"{self.options.seed}/{self.lives}"))
            self.life = life
            await life.start()
            self.oracle.on_life(True)
            self.record(f"life {self.lives}")
            how = await self._until_it_ends(life)
            if how == "stop":
                await life.stop()
            else:
                await life.crash()
            self.oracle.on_life(False)
            self.life = None
            self.oracle.look()
            self._turn_the_wall(dice)
            await asyncio.sleep(0.5 + 2.5 * dice.random())

    async def _until_it_ends(self, life: Life) -> str:
        weather = self.options.weather
        dice = self._lives_dice
        rate = weather.crashes + weather.clean_restarts
        after = dice.expovariate(rate / 3600) if rate else 1e9
        kind = "stop" if dice.random() * rate < weather.clean_restarts else "crash"
        try:
            async with asyncio.timeout(after):
                await life.dead.wait()
        except TimeoutError:
            if not self._ends:
                return kind
            await life.dead.wait()
        return "crash"

    def _turn_the_wall(self, dice: Random) -> None:
        step = self.options.wall_step_seconds
        if step and not self._ends and dice.random() < 0.5:
            self._wall_off = timedelta(seconds=dice.uniform(-step, step))

    async def _run_weather(self) -> None:
        weather = self.options.weather
        dice = self.dice("weather")
        happenings: list[tuple[float, Callable[[], Any]]] = [
            (weather.hub_drops, lambda: self.streams.drop(Hub.USER)),
            (weather.hub_drops / 2, lambda: self.streams.drop(Hub.MARKET)),
            (weather.outages, lambda: self._outage(dice.uniform(2, 40))),
            (weather.halts, lambda: self._loop.create_task(self._halt(dice.uniform(5, 120)))),
            (weather.tokens, self.gateway.end_token),
            (weather.crashes, lambda: self._turn_the_wall(dice)),
            (weather.halts, lambda: self._loop.create_task(self._restrict(dice))),
            (weather.halts, lambda: self._void(dice)),
        ]
        rate = sum(r for r, _ in happenings)
        while rate:
            await asyncio.sleep(dice.expovariate(rate / 3600))
            roll = dice.random() * rate
            for chance, happen in happenings:
                roll -= chance
                if roll < 0:
                    happen()
                    break

    def _outage(self, seconds: float) -> None:
        self.gateway.out_until = self.now + seconds
        self._loop.call_later(seconds + 0.001, self._reached)
        self.gateway.note("outage", seconds + 5.0)

    def _reached(self) -> None:
        self.opened_at = self.now

    async def _halt(self, seconds: float) -> None:
        if self._halted or not self.market_open:
            return
        self._halted = True
        self.set_open(False)
        await asyncio.sleep(seconds)
        self._halted = False
        if not self._ends and not self.market_open:
            local = self.utc().astimezone(NEW_YORK)
            if local.hour != 17:
                self.set_open(True)

    async def _restrict(self, dice: Random) -> None:
        account_id = dice.choice(self.account_ids)
        self.exchange.firm.set_can_trade(account_id, False, now=self.utc())
        await asyncio.sleep(dice.uniform(20, 400))
        self.exchange.firm.set_can_trade(account_id, True, now=self.utc())

    def _void(self, dice: Random) -> None:
        trades = self.exchange.trades(dice.choice(self.account_ids))
        recent = [t for t in trades if t.created_at > self.utc() - timedelta(minutes=20)]
        if recent:
            # A void names an id: both halves told under it are gone.
            for trade_id in self.gateway.words.told_with(dice.choice(recent).id):
                self.exchange.firm.void_trade(trade_id, now=self.utc())

    async def _run_admin(self) -> None:
        dice = self.dice("admin")
        rate = self.options.admin_per_hour
        while rate:
            await asyncio.sleep(dice.expovariate(rate / 3600))
            life = self.life
            if life is None or not life.is_judging:
                continue
            verb = dice.choice(("lock", "lock", "lock", "unlock", "flatten", "cancel_all"))
            scope = dice.choice(("account", "account", "root:NQ"))
            minutes = dice.choice((2, 10, 30))
            life.put(
                AdminAsked.model_validate(
                    {
                        "at": life.clock.now(),
                        "account_id": dice.choice(self.account_ids),
                        "verb": verb,
                        "scope": scope,
                        "reason": "a drill",
                        "policy": dice.choice(("flat", "no_entries")),
                        "until": life.clock.now() + timedelta(minutes=minutes),
                    }
                )
            )

    async def _run_edits(self) -> None:
        """The limits are edited: tighter and looser, in force at once as far as the core goes."""
        dice = self.dice("edits")
        rate = self.options.edits_per_hour
        while rate:
            await asyncio.sleep(dice.expovariate(rate / 3600))
            limits = dict(self.limits)
            factor = dice.choice((0.5, 0.8, 1.25, 2.0))
            name = dice.choice(("daily_loss", "open_loss", "contracts"))
            if name == "contracts":
                limits[name] = max(2, round(limits[name] * factor))
            else:
                limits[name] = round(limits[name] * factor)
            self.limits = limits
            life = self.life
            if life is not None and life.is_judging:
                life.put(
                    RulebookReplaced(at=life.clock.now(), rulebook=self.plant.rulebook(self.book()))
                )


def _sections(limits: dict[str, Any]) -> dict[str, Any]:
    """The first fourteen rules by their configuration names, and with the flag the others."""
    patience = limits["patience"]  # with the trader: the rest of the rules come to their turn
    over_days, calendar = limits.get("over_days"), limits.get("calendar")
    more = {} if over_days is None else sections_over_days(over_days)
    more |= {} if calendar is None else calendar_judge.sections(calendar)
    more |= behaviour_judge.SECTIONS if limits.get("behaviour") else {}
    return more | {
        "max_contracts": {"limit": limits["contracts"]},
        "max_contracts_per_instrument": {"limits": limits["per_instrument"]},
        "daily_realized_loss": {
            "limit": Decimal(limits["daily_loss"]),
            "include_unrealized": limits["open_loss_counts"],
        },
        "daily_unrealized_loss": [
            {"id": "open-loss", "limit": Decimal(limits["open_loss"])},
            {
                "id": "account-open-loss",
                "limit": Decimal(limits["account_open_loss"]),
                "scope": "account",
                "action": "close_all_and_lockout",
                "lockout": "until_reset",
            },
        ],
        "max_unrealized_profit": {"target": Decimal(600)},
        "trade_frequency_limit": {
            "windows": [
                {"name": "minute", "per": "1m", "max": 4 * patience, "cooldown": "1m"},
                {"name": "hour", "per": "1h", "max": 40 * patience, "cooldown": "10m"},
            ]
        },
        "cooldown_after_loss": {
            "tiers": [
                {"loss": FIRST_TIER * patience, "cooldown": "2m"},
                {"loss": 250 * patience, "cooldown": "6m"},
            ]
        },
        "no_stop_loss_grace": {
            "grace": "30s",
            **(
                {"action": "place_stop", "place_stop_ticks": 80} if limits["stop_is_placed"] else {}
            ),
        },
        "session_block_outside": {
            "timezone": "America/New_York",
            "sessions": [
                {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "09:30", "end": "16:00"}
            ],
        },
        "auth_loss_guard": {},
        "symbol_blocks": {"blocked": ["RTY"]},
        "trade_management": {
            "breakeven": {"enabled": True, "trigger_ticks": 30, "offset_ticks": 1},
            "trailing": {"enabled": True, "activation_ticks": 60, "distance_ticks": 40},
        },
        "daily_profit_target": {"target": Decimal(2500)},
        "consecutive_loss_limit": {"losses": 4 * patience, "lockout": "15m"},
    }


def sections_over_days(limits: dict[str, Any]) -> dict[str, Any]:
    return {
        "trailing_daily_loss": {"limit": limits["trailing"], "trail": limits["trail"]},
        "giveback": {"arm_at": limits["arm_at"], "fraction": limits["fraction"]},
        "trailing_max_drawdown": {
            "start_balance": START,
            "distance": limits["drawdown"],
            "mode": limits["mode"],
        },
        "period_loss": {"limit": limits["week"]},
        "scaling_plan": {
            "count": "contracts",
            "tiers": [{"max": limits["lots"]}, {"min_balance": STEP_AT, "max": limits["lots"] + 1}],
        },
        "consistency": {
            "since": limits["since"],
            "share": "0.5",
            "profit_target": 2 * limits["most_today"],
            "enforce": True,
        },
    }


async def _nobody(world: World) -> None:
    return None


def simulate(
    options: Options,
    *,
    keep_log: bool = False,
    watch: Callable[[World], Coroutine[Any, Any, None]] = _nobody,
    keep_in: Path | None = None,
) -> DayResult:
    """One day, from a fresh database, in a loop of its own. `watch` runs beside it.

    In the folder `keep_in`, `state.db` and the journal of the day are left behind.
    """
    folder = keep_in or Path(tempfile.mkdtemp(prefix="simulation-"))
    random.seed(options.seed)
    logging.disable(logging.CRITICAL)  # of a thousand lost connections nobody wants to read
    thresholds = gc.get_threshold()
    gc.set_threshold(20_000, 10, 10)
    try:
        with asyncio.Runner(loop_factory=SimulatedLoop) as runner:

            async def day() -> DayResult:
                world = World(options, folder, keep_log=keep_log)
                world.journal = None if keep_in is None else keep_in / "journal"
                watching = asyncio.create_task(watch(world), name="watch")
                try:
                    return await world.run()
                finally:
                    watching.cancel()

            return runner.run(day())
    finally:
        gc.set_threshold(*thresholds)
        logging.disable(logging.NOTSET)
        if keep_in is None:
            shutil.rmtree(folder, ignore_errors=True)
