"""A real pipeline behind a real feed on a real socket; the test plays the broker."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from risk_manager.daemon.day_curves import DayCurves
from risk_manager.daemon.feed_history import FeedHistory
from risk_manager.domain.decisions import Action, Outcome
from risk_manager.domain.events import (
    AccountOpened,
    AccountReported,
    ActionSettled,
    AnyEvent,
    ContractResolved,
    Hub,
    HubChanged,
    HubState,
    OrderChanged,
    PositionChanged,
    QuoteChanged,
    Tick,
    TradeExecuted,
)
from risk_manager.domain.records import AccountRecord, OrderSide, OrderStatus, OrderType
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import AccountRules, Mode, Rulebook
from risk_manager.domain.state import State
from risk_manager.domain.symbols import Contract
from risk_manager.engine.step import Step
from risk_manager.engine.turn import Judged
from risk_manager.feed.admin import AdminChannel
from risk_manager.feed.history_request import HistorySource
from risk_manager.feed.messages import (
    RUNNING,
    DatabaseRow,
    LastDrill,
    RestRow,
    Vitals,
    Waiting,
)
from risk_manager.feed.outlook import OutlookBook
from risk_manager.feed.requests import TimeClock
from risk_manager.feed.server import FeedServer
from risk_manager.pipeline import Pipeline
from risk_manager.right_of_way import RightOfWay
from risk_manager.rules.daily_realized_loss import DailyRealizedLoss
from risk_manager.rules.max_contracts import MaxContracts

MONDAY = datetime(2026, 11, 16, 15, 0, tzinfo=UTC)  # 10:00 in New York
MNQ = "CON.F.US.MNQ.Z26"
ES = "CON.F.US.EP.Z26"
RUN = "run-1"


class HandClock:
    """Starts on a Monday morning and runs like a clock; a test may skip ahead."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._skipped = timedelta(0)

    def now(self) -> datetime:
        return MONDAY + self._skipped + timedelta(seconds=time.monotonic() - self._start)

    def monotonic(self) -> float:
        return time.monotonic()

    def skip(self, **by: float) -> None:
        self._skipped += timedelta(**by)


class KeepingStore:
    async def commit(self, event: AnyEvent, before: State, outcome: Step) -> None:
        return None

    async def commit_turn(self, turn: Sequence[Judged]) -> None:
        return None


class RecordingEnforcer:
    def __init__(self) -> None:
        self.actions: list[Action] = []

    def submit(self, action: Action) -> None:
        self.actions.append(action)


def rules() -> tuple[Rule, ...]:
    return (
        MaxContracts(limit=5),
        DailyRealizedLoss(limit=Decimal(500)),
    )


class FeedDaemon:
    """`async with FeedDaemon(tmp_path) as daemon:` then tell it what happens at the broker."""

    def __init__(
        self,
        data_dir: Path,
        *,
        accounts: dict[int, str] | None = None,
        rules: Callable[[], tuple[Rule, ...]] = rules,
        mode: Mode = Mode.ENFORCE,
        heartbeat_s: float = 2.0,
        admin: AdminChannel | None = None,
        port: int = 0,
        run_id: str = RUN,
        history: HistorySource | None = None,
        time_clock: TimeClock | None = None,
    ) -> None:
        self.waiting: Waiting | None = None
        self.drill: LastDrill | None = None
        self.accounts = accounts or {101: "combine-50k"}
        self.clock = HandClock()
        self.enforcer = RecordingEnforcer()
        self.right_of_way = RightOfWay()
        self.vitals = Vitals(
            rest=RestRow(ok=True, latency_ms=42.0, budget_left=180),
            db=DatabaseRow(ok=True, size_bytes=4096),
        )
        self.run_id = run_id
        in_force = AccountRules.of(rules(), mode)
        rulebook = Rulebook(accounts={a: in_force for a in self.accounts})
        self.curves = DayCurves(data_dir / "day_curves.json", lambda: self.pipeline.state)
        self.server = FeedServer(
            feed_source=lambda: self.pipeline.state,
            clock=self.clock,
            data_dir=data_dir,
            run_id=run_id,
            version="0.1.0",
            port=port,
            vitals=lambda: self.vitals,
            admin=admin,
            heartbeat_s=heartbeat_s,
            right_of_way=self.right_of_way,
            history=history
            or FeedHistory(data_dir / "state.db", lambda: self.pipeline.state, self.curves),
            time_clock=time_clock,
            outlooks=OutlookBook(lambda: self.waiting, lambda: self.drill),
        )
        self.pipeline = Pipeline(
            State.at(self.clock.now(), rulebook),
            store=KeepingStore(),
            enforcer=self.enforcer,
            feed=self.server,
            right_of_way=self.right_of_way,
        )
        self._data_dir = data_dir
        self._ids = 1000

    async def __aenter__(self) -> Self:
        for account_id, name in self.accounts.items():
            await self.happen(AccountOpened(at=self.clock.now(), account_id=account_id, name=name))
            await self.report(account_id)
        for contract_id, name in ((MNQ, "MNQZ6"), (ES, "ESZ6")):
            await self.contract(contract_id, name)
        for hub in Hub:
            await self.hub(hub, HubState.UP)
        await self.server.__aenter__()
        self.write_daemon_json()
        self.server.set_status(RUNNING, "enforcement is armed")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.server.__aexit__(exc_type, exc, traceback)

    def write_daemon_json(self) -> None:
        about = {"pid": 1, "run_id": self.run_id, "feed_url": self.server.url}
        (self._data_dir / "daemon.json").write_bytes(orjson.dumps(about))

    # --- what happens ---

    async def happen(self, event: AnyEvent) -> Step:
        return await self.pipeline.process(event)

    async def tick(self) -> None:
        await self.happen(Tick(at=self.clock.now()))

    async def report(self, account_id: int = 101, balance: str = "50000") -> None:
        now = self.clock.now()
        await self.happen(
            AccountReported(
                at=now,
                asked_at=now,
                account_id=account_id,
                account=AccountRecord(
                    id=account_id,
                    name=self.accounts[account_id],
                    balance=Decimal(balance),
                    can_trade=True,
                ),
                positions=(),
                orders=(),
                trades=(),
            )
        )

    async def contract(self, contract_id: str, name: str) -> None:
        size, value = (Decimal("0.25"), Decimal("0.5"))
        await self.happen(
            ContractResolved(
                at=self.clock.now(),
                contract=Contract(id=contract_id, name=name, tick_size=size, tick_value=value),
            )
        )

    async def hub(self, hub: Hub, state: HubState, reason: str = "") -> None:
        await self.happen(HubChanged(at=self.clock.now(), hub=hub, state=state, reason=reason))

    async def position(
        self,
        net: int,
        *,
        contract_id: str = MNQ,
        account_id: int = 101,
        average: str = "21000.25",
    ) -> None:
        await self.happen(
            PositionChanged.model_validate(
                {
                    "at": self.clock.now(),
                    "id": 7,
                    "accountId": account_id,
                    "contractId": contract_id,
                    "type": 1 if net > 0 else 2,
                    "size": abs(net),
                    "averagePrice": average,
                    "creationTimestamp": self.clock.now(),
                }
            )
        )

    async def quote(self, bid: float, *, contract_id: str = MNQ, ask: float | None = None) -> None:
        await self.happen(
            QuoteChanged(
                at=self.clock.now(),
                contract_id=contract_id,
                best_bid=bid,
                best_ask=bid + 0.25 if ask is None else ask,
                last_price=bid,
            )
        )

    async def order(
        self,
        *,
        order_id: int = 55,
        contract_id: str = MNQ,
        account_id: int = 101,
        size: int = 1,
        stop: str | None = "20990",
        status: OrderStatus = OrderStatus.OPEN,
        custom_tag: str | None = None,
    ) -> None:
        await self.happen(
            OrderChanged(
                at=self.clock.now(),
                id=order_id,
                account_id=account_id,
                contract_id=contract_id,
                status=status,
                type=OrderType.STOP if stop else OrderType.MARKET,
                side=OrderSide.SELL,
                size=size,
                stop_price=Decimal(stop) if stop else None,
                custom_tag=custom_tag,
                creation_timestamp=self.clock.now(),
            )
        )

    async def trade(
        self, pnl: str | None, *, account_id: int = 101, fees: str = "1.00", size: int = 1
    ) -> None:
        self._ids += 1
        await self.happen(
            TradeExecuted(
                at=self.clock.now(),
                id=self._ids,
                account_id=account_id,
                contract_id=MNQ,
                creation_timestamp=self.clock.now(),
                price=Decimal("21000.25"),
                profit_and_loss=None if pnl is None else Decimal(pnl),
                fees=Decimal(fees),
                side=OrderSide.SELL,
                size=size,
                order_id=self._ids,
            )
        )

    async def settle(
        self, action: Action, outcome: Outcome = Outcome.DONE, *, verified: bool = True
    ) -> None:
        await self.happen(
            ActionSettled(
                at=self.clock.now(),
                account_id=action.account_id,
                action_id=action.id,
                outcome=outcome,
                verified=verified,
                message="" if outcome is Outcome.DONE else "the gateway said no",
            )
        )


class PaperClock:
    """A time clock in memory."""

    def __init__(self, *, is_kept: bool = True, fails: bool = False) -> None:
        self.noted: dict[int, datetime] = {}
        self._is_kept = is_kept
        self._fails = fails

    def since(self, account_id: int) -> datetime | None:
        return self.noted.get(account_id)

    async def clock_in(self, account_id: int) -> bool:
        if self._fails:
            raise RuntimeError("the disk is gone")
        self.noted[account_id] = MONDAY
        return self._is_kept

    async def clock_out(self, account_id: int) -> bool:
        del self.noted[account_id]
        return self._is_kept


async def until[T](look: Callable[[], T], within_s: float = 30.0) -> T:
    """What `look` sees once it sees something; fails after `within_s`."""
    async with asyncio.timeout(within_s):
        while not (seen := look()):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
        return seen
