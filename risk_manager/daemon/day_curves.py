"""Watches each account's result once a second, and keeps the day's curves over a restart.

The curves are for screens and the day's summary only: no rule reads them. They are kept in a file
of their own, so that they never take the database's time.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from risk_manager.domain.account import Account
from risk_manager.domain.events import Tick
from risk_manager.domain.state import State
from risk_manager.domain.view import View
from risk_manager.feed.day_curve import DayCurve, Extreme, Stretch
from risk_manager.right_of_way import RightOfWay

WATCHED_EVERY_S = 1.0
SAVED_EVERY_S = 60.0
IN_STEP_AFTER = timedelta(seconds=2)
"""A fill and its position come in two messages: this long after the last one both are there."""
FILE = "day_curves.json"

log = structlog.get_logger("risk_manager.daemon")


@dataclass(frozen=True, slots=True)
class _Kept:
    """A curve as it is in the file."""

    account_id: int
    trading_date: date
    watched_since: datetime
    width: timedelta
    stretches: list[Stretch]
    high: Extreme | None
    low: Extreme | None
    drawdown: Extreme | None
    open_low: Extreme | None = None
    open_high: Extreme | None = None


async def _ignore(_account_id: int, _curve: DayCurve) -> None: ...


_FILE = TypeAdapter(list[_Kept])


class DayCurves:
    """The curves of all accounts, of the trading date in force. `read_whole`: see FeedServer.

    `on_day_over` receives each curve once its trading date is over, also one of an earlier run.
    """

    def __init__(
        self,
        path: Path,
        state: Callable[[], State],
        *,
        read_whole: Callable[[int], bool] = lambda _: True,
        right_of_way: RightOfWay | None = None,
        on_day_over: Callable[[int, DayCurve], Awaitable[object]] = _ignore,
    ) -> None:
        self._path = path
        self._state = state
        self._read_whole = read_whole
        self._right_of_way = right_of_way or RightOfWay()
        self._curves: dict[int, DayCurve] = {}
        self._on_day_over = on_day_over
        self._over: list[tuple[int, DayCurve]] = []
        self._is_new = False  # something has been noted since the last save

    def of(self, account: Account) -> DayCurve | None:
        """Return the curve of the account's trading date; None if it has not been watched in it."""
        curve = self._curves.get(account.id)
        return curve if curve is not None and curve.trading_date == account.trading_date else None

    def watch(self) -> None:
        """Note the result of every account that is known and settled."""
        state = self._state()
        for account in state.accounts.values():
            if account.reported_as_of is not None and self._read_whole(account.id):
                self._note(state, account)

    def _note(self, state: State, account: Account) -> None:
        curve = self.of(account)
        realised = account.ledger.day(account.trading_date).net
        if not account.positions and curve is not None and curve.last == realised:
            return
        if not _is_settled(state, account):
            return
        open_pnl = View(state, account, Tick(at=state.now)).unrealised_total()
        if open_pnl is None:
            return
        if curve is None:
            curve = self._begin(account, state.now)
        curve.note(state.now, realised + open_pnl)
        if account.positions:
            curve.note_open(state.now, open_pnl)
        self._is_new = True

    def _begin(self, account: Account, now: datetime) -> DayCurve:
        earlier = self._curves.get(account.id)
        if earlier is not None and earlier.trading_date < account.trading_date:
            self._over.append((account.id, earlier))
        curve = self._curves[account.id] = DayCurve(account.trading_date, now)
        return curve

    async def hand_over(self) -> None:
        """Hand out the curves of the days that are over."""
        while self._over:
            await self._on_day_over(*self._over.pop())

    # --- the file ---

    async def run(self) -> None:
        """Watch until cancelled, and save now and then."""
        unsaved_s = 0.0
        while True:
            await asyncio.sleep(WATCHED_EVERY_S)
            await self._right_of_way.give_way()
            unsaved_s += WATCHED_EVERY_S
            try:
                self.watch()
                await self.hand_over()
            except Exception as error:  # a curve is only shown: guarding goes on without it
                log.error("day_curves_not_noted", exc_info=error)
            if unsaved_s >= SAVED_EVERY_S:
                unsaved_s = 0.0
                await self.save()

    async def save(self) -> None:
        """Write the file, if anything has been noted. A disk that fails is logged."""
        if not self._is_new:
            return
        self._is_new = False
        content = _FILE.dump_json(
            [
                _Kept(
                    account_id,
                    curve.trading_date,
                    curve.watched_since,
                    curve.width,
                    curve.stretches,
                    curve.high,
                    curve.low,
                    curve.drawdown,
                    curve.open_low,
                    curve.open_high,
                )
                for account_id, curve in self._curves.items()
            ]
        )
        try:
            await asyncio.to_thread(_write, self._path, content)
        except OSError as error:
            log.warning("day_curves_not_saved", reason=str(error))

    def load(self) -> None:
        """Take up the curves that an earlier run has kept, if they can be read."""
        try:
            kept = _FILE.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            log.warning("day_curves_unreadable", reason=str(error)[:200])
            return
        self._curves = {
            k.account_id: DayCurve(
                trading_date=k.trading_date,
                watched_since=k.watched_since,
                width=max(k.width, timedelta(seconds=1)),
                stretches=k.stretches,
                high=k.high,
                low=k.low,
                drawdown=k.drawdown,
                open_low=k.open_low,
                open_high=k.open_high,
            )
            for k in kept
        }


def _is_settled(state: State, account: Account) -> bool:
    """Whether fills and positions agree, or are so old that no other half is on its way."""
    newest = account.ledger.newest
    told = [at for key, at in account.heard.items() if key in state.contracts]
    if newest is not None:
        told.append(newest.received_at)
    if all(state.now - at >= IN_STEP_AFTER for at in told):
        return True
    filled: Counter[str] = Counter()
    for execution in account.ledger.standing():
        filled[execution.contract_id] += execution.signed_size
    return all(filled[c] == account.net(c) for c in {*filled, *account.positions})


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    beside.write_bytes(content)
    os.replace(beside, path)
