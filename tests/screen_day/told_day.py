"""Days of busy trading, told frame by frame as a daemon would, with a clock that only they move."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random

import orjson

from risk_manager.feed.client import (
    Connected,
    Disconnected,
    FeedClient,
    read_envelope,
    read_message,
)
from risk_manager.feed.history_request import HistoryRequest
from risk_manager.feed.messages import (
    HEARTBEAT_S,
    NAMES,
    PROTOCOL,
    RUNNING,
    AccountSnapshot,
    AlarmRow,
    DaemonStatus,
    DailyReset,
    Data,
    DatabaseRow,
    DayCourse,
    DoubtRow,
    EnforcementAction,
    Heartbeat,
    History,
    HubRow,
    LockoutCleared,
    LockoutSet,
    LockRow,
    MarketQuote,
    Message,
    MeterRow,
    OrderRow,
    PositionRow,
    QuoteRow,
    RestRow,
    ResultAt,
    Snapshot,
    TradeRow,
)

BEGAN = datetime(2026, 11, 16, 15, 0, tzinfo=UTC)  # Monday, 10:00 in New York
RESET = timedelta(hours=22)  # 17:00 in New York
CONTRACTS = {name: f"CON.F.US.{name}.Z26" for name in ("MNQ", "MES", "MGC", "RTY")}
ACCOUNT = 101
STEP_S = 0.005
"""After so long, by the clock of the screen, there is something new."""


class ToldDay(FeedClient):
    """Tells so many frames over so long a time, and says nothing more.

    `now` is the clock of its daemon. `last` is what was told of the account last.
    """

    def __init__(self, frames: int, lasting: timedelta, seed: int = 7) -> None:
        super().__init__(Path())
        self._frames = frames
        self._each = lasting / frames
        self._chance = Random(seed)
        self._ids = count(1)
        self._news: list[tuple[int | None, Data]] = []
        self._prices = dict.fromkeys(CONTRACTS, 2000.0)
        self._realised: list[ResultAt] = []
        self._alarms: tuple[AlarmRow, ...] = ()
        self._doubts: tuple[DoubtRow, ...] = ()
        self.now = BEGAN
        self.told = 0
        self.is_half_told = asyncio.Event()
        self.is_over = asyncio.Event()
        self.resets = 0
        self.last = AccountSnapshot(
            account_id=ACCOUNT,
            name="combine-50k",
            mode="enforce",
            balance=50_000.0,
            can_trade=True,
            simulated=True,
            reported_at=BEGAN,
            trading_date=BEGAN.date().isoformat(),
            realised_net=0.0,
            realised_gross=0.0,
            fees=0.0,
            unrealised=0.0,
            total=0.0,
            executions=0,
            round_turns=0,
            contracts_held=0,
            lock_policy=None,
        )

    async def stream(self) -> AsyncGenerator[Message | Connected | Disconnected]:
        yield Connected("ws://127.0.0.1:8765/feed")
        yield self._message(None, self._status())
        yield self._message(None, self._snapshot())
        while self.told < self._frames:
            if not self._news:
                self._happens()
            for account_id, data in self._taken():
                yield self._message(account_id, data)
                self._goes_on()
            if self.told > self._frames / 2:
                self.is_half_told.set()
            await asyncio.sleep(STEP_S)
        yield self._message(ACCOUNT, self._snapshot())
        self.is_over.set()
        while True:
            await asyncio.sleep(STEP_S)
            for account_id, data in self._taken():
                yield self._message(account_id, data)

    async def ask(self, request: HistoryRequest) -> bool:
        day = DayCourse(
            trading_date=self.last.trading_date,
            starts_at=self._reset_after() - timedelta(days=1),
            ends_at=self._reset_after(),
            realised=tuple(self._realised),
            total=(),
            watched_since=None,
            high=None,
            low=None,
            drawdown=None,
            limits=(),
            sums=(),
        )
        shown = day if request.kind == "day" else None
        self._news.append(
            (request.account_id, History(id=request.id, kind=request.kind, day=shown))
        )
        return True

    async def request(self, method: str, account_id: int) -> bool:
        return False

    # --- frames ---

    def _message(self, account_id: int | None, data: Data) -> Message:
        """The message as it is read from its frame."""
        self.told += 1
        frame = orjson.dumps(
            {
                "v": 1,
                "seq": self.told,
                "ts": self.now,
                "type": NAMES[type(data)],
                "account_id": account_id,
                "data": data,
            },
            option=orjson.OPT_UTC_Z,
        )
        envelope = read_envelope(frame.decode())
        message = None if envelope is None else read_message(envelope)
        assert message is not None, frame[:200]
        return message

    def _taken(self) -> Iterator[tuple[int | None, Data]]:
        while self._news:
            yield self._news.pop(0)

    def _goes_on(self) -> None:
        before = self._reset_after()
        self.now += self._each
        if self.now >= before:
            self._new_day(before)

    # --- what happens ---

    def _happens(self) -> None:
        symbol = self._chance.choice(list(CONTRACTS))
        self._prices[symbol] += self._chance.randint(-8, 8) / 4
        if self._chance.random() < 0.5:
            self._say(None, self._quote(symbol))
            return
        if self._chance.random() < 0.1:
            self._say(None, self._beat())
        if self._chance.random() < 0.1:
            self._trouble()
        if self.last.locks and self._chance.random() < 0.5:
            self._lock_ends()
        elif any(p.symbol == symbol for p in self.last.positions):
            self._closed_by_the_daemon(symbol)
        else:
            self._entered(symbol)
        self._say(ACCOUNT, self._snapshot())

    def _say(self, account_id: int | None, data: Data) -> None:
        self._news.append((account_id, data))

    def _entered(self, symbol: str) -> None:
        size = self._chance.randint(1, 5)
        position = PositionRow(
            contract_id=CONTRACTS[symbol],
            symbol=symbol,
            root=symbol,
            net=size,
            average_price=self._prices[symbol],
            unrealised=0.0,
            opened_at=self.now,
            age_s=0.0,
        )
        stop = OrderRow(
            order_id=next(self._ids),
            contract_id=CONTRACTS[symbol],
            symbol=symbol,
            type="stop",
            side="sell",
            status="open",
            size=size,
            filled=0,
            limit_price=None,
            stop_price=self._prices[symbol] - 10,
            age_s=0.0,
            role="protective",
            result=-20.0 * size,
        )
        positions = (*self.last.positions, position)
        self._now_is(positions=positions, orders=(*self.last.orders, stop))

    def _closed_by_the_daemon(self, symbol: str) -> None:
        number = next(self._ids)
        reason = f"{number} lots of {symbol} are too many"
        lock = LockRow(
            lockout_id=str(number),
            rule_id="cooldown_after_loss",
            scope=f"root:{symbol}",
            policy="no_entries",
            kind="cooldown",
            release="time",
            reason=reason,
            set_at=self.now,
            expires_at=self.now + timedelta(minutes=5),
        )
        decided = EnforcementAction(
            phase="decided",
            action="CLOSE_POSITION",
            reason=reason,
            rule_ids=("cooldown_after_loss",),
            timestamp=self.now,
            severity="breach",
            contract_id=CONTRACTS[symbol],
            symbol=symbol,
        )
        begun = replace(decided, phase="started", action_id=f"run-1-{number}", severity="")
        done = replace(begun, phase="confirmed", success=True, duration_ms=26.0, attempt=1)
        for entry in (decided, begun, done):
            self._say(ACCOUNT, entry)
        self._say(ACCOUNT, _told(lock))
        net = round(self._chance.uniform(-40, 40), 2)
        realised = round(self.last.realised_net + net - 0.74, 2)
        trade = TradeRow(
            order_id=number,
            contract_id=CONTRACTS[symbol],
            symbol=symbol,
            size=1,
            pnl=net,
            fees=0.74,
            net=round(net - 0.74, 2),
            closed_at=self.now,
        )
        self._realised = [*self._realised[-399:], ResultAt(at=self.now, net=realised)]
        self._now_is(
            realised_net=realised,
            fees=round(self.last.fees + 0.74, 2),
            executions=self.last.executions + 2,
            round_turns=self.last.round_turns + 1,
            trades=(trade, *self.last.trades)[:10],
            positions=tuple(p for p in self.last.positions if p.symbol != symbol),
            orders=tuple(o for o in self.last.orders if o.symbol != symbol),
            locks=(*self.last.locks, lock),
            enforcements=(done, decided, *self.last.enforcements)[:20],
        )

    def _lock_ends(self) -> None:
        lock = self.last.locks[0]
        self._say(
            ACCOUNT,
            LockoutCleared(
                lockout_id=lock.lockout_id,
                rule_id=lock.rule_id,
                scope=lock.scope,
                cleared_at=self.now,
                cleared_by="time",
            ),
        )
        self._now_is(locks=self.last.locks[1:])

    def _trouble(self) -> None:
        """An alarm, and a doubt about another matter than ever before."""
        number = next(self._ids)
        alarm = AlarmRow(
            at=self.now, code=f"trouble_{number}", message=f"trouble {number}", severity="warning"
        )
        self._alarms = (alarm, *self._alarms)[:20]
        self._doubts = (
            DoubtRow(kind="price", since=self.now, age_s=0.0, reason="old", subject=f"Q{number}"),
        )
        self._say(None, replace(self._status(), alarm=alarm))

    def _new_day(self, at: datetime) -> None:
        self.resets += 1
        began = date.fromisoformat(self.last.trading_date)
        self._say(
            ACCOUNT,
            DailyReset(
                reset_time=at,
                previous_date=began.isoformat(),
                trading_date=(began + timedelta(days=1)).isoformat(),
                previous_pnl=self.last.realised_net,
                previous_trade_count=self.last.executions,
                lockouts_cleared=bool(self.last.locks),
                lockouts_cleared_count=len(self.last.locks),
            ),
        )
        self._realised = []
        self._now_is(
            trading_date=(began + timedelta(days=1)).isoformat(),
            realised_net=0.0,
            fees=0.0,
            executions=0,
            round_turns=0,
            trades=(),
            locks=(),
        )
        self._say(ACCOUNT, self._snapshot())

    def _now_is(self, **changes: object) -> None:
        changed = replace(self.last, **changes)  # type: ignore[arg-type]
        used = min(abs(changed.realised_net) / 5000, 1.0)
        meter = MeterRow(
            rule_id="daily_realized_loss",
            spec_id="RULE-003",
            title="Daily loss",
            state="ok",
            sentence=f"${5000 + changed.realised_net:,.2f} left today",
            used=used,
            current=changed.realised_net,
            limit=5000.0,
            unit="USD",
        )
        self.last = replace(
            changed,
            meters=(meter,),
            realised_gross=round(changed.realised_net + changed.fees, 2),
            total=changed.realised_net,
            contracts_held=sum(p.net for p in changed.positions),
        )

    # --- as of now ---

    def _reset_after(self) -> datetime:
        """The next reset: at 22:00 UTC."""
        today = datetime.combine(self.now.date(), datetime.min.time(), UTC) + RESET
        return today if self.now < today else today + timedelta(days=1)

    def _quote(self, symbol: str) -> MarketQuote:
        price = self._prices[symbol]
        return MarketQuote(
            contractId=CONTRACTS[symbol],
            symbol=symbol,
            bid=price,
            ask=price + 0.25,
            last=price,
            age_ms=0,
            timestamp=self.now,
        )

    def _hubs(self) -> dict[str, HubRow]:
        up = HubRow(state="up", since=BEGAN, last_message_age_s=0.4)
        return {"user": up, "market": up}

    def _rest(self) -> RestRow:
        return RestRow(ok=True, latency_ms=round(self._chance.uniform(20, 90), 1), budget_left=180)

    def _beat(self) -> Heartbeat:
        return Heartbeat(
            status=RUNNING,
            timestamp=self.now,
            uptime_s=(self.now - BEGAN).total_seconds(),
            state_age_s=0.0,
            hubs=self._hubs(),
            rest=self._rest(),
            db=DatabaseRow(ok=True, size_bytes=4096),
        )

    def _status(self) -> DaemonStatus:
        return DaemonStatus(
            status=RUNNING,
            message="enforcement is armed",
            timestamp=self.now,
            run_id="run-1",
            version="0.1.0",
            protocol=PROTOCOL,
            accounts=(ACCOUNT,),
            heartbeat_s=HEARTBEAT_S,
            uptime_s=(self.now - BEGAN).total_seconds(),
            hubs=self._hubs(),
            rest=self._rest(),
            db=DatabaseRow(ok=True, size_bytes=4096),
        )

    def _snapshot(self) -> Snapshot:
        quotes = tuple(
            QuoteRow(
                contract_id=CONTRACTS[symbol],
                symbol=symbol,
                bid=price,
                ask=price + 0.25,
                last=price,
                at=self.now,
                age_ms=0,
                fresh=True,
            )
            for symbol, price in self._prices.items()
        )
        return Snapshot(
            status=RUNNING,
            run_id="run-1",
            version="0.1.0",
            timestamp=self.now,
            state_age_s=0.0,
            next_reset=self._reset_after(),
            accounts=(self.last,),
            quotes=quotes,
            hubs=self._hubs(),
            rest=self._rest(),
            db=DatabaseRow(ok=True, size_bytes=4096),
            alarms=self._alarms,
            doubts=self._doubts,
        )


def _told(lock: LockRow) -> LockoutSet:
    return LockoutSet(
        lockout_id=lock.lockout_id,
        rule_id=lock.rule_id,
        scope=lock.scope,
        policy=lock.policy,
        kind=lock.kind,
        release=lock.release,
        reason=lock.reason,
        locked_at=lock.set_at,
        locked_until=lock.expires_at,
        admin_may_clear=lock.admin_may_clear,
    )
