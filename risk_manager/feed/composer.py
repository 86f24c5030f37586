"""Composes the frames that show the state in force, as of the moment they are composed."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

import orjson

from risk_manager.clock import Clock
from risk_manager.domain.state import State
from risk_manager.feed import messages
from risk_manager.feed.frames import Memory
from risk_manager.feed.messages import (
    NAMES,
    PROTOCOL,
    AlarmRow,
    DaemonStatus,
    Data,
    Heartbeat,
    MarketQuote,
    Outlook,
    Vitals,
)
from risk_manager.feed.outlook import OutlookBook
from risk_manager.feed.snapshot import (
    Identity,
    TradeBook,
    account_snapshot,
    hub_rows,
    quote_row,
    seconds_since,
    snapshot,
)


class Composer:
    """Composes messages about the state and the daemon.

    `state` returns the State in force. `vitals` returns facts that are not in the state.
    `read_whole` says whether an account has been read with its trades since the start.
    `clocked_in_at` says since when the trader is clocked in; None: clocked out.
    """

    def __init__(
        self,
        *,
        state: Callable[[], State],
        clock: Clock,
        vitals: Callable[[], Vitals],
        read_whole: Callable[[int], bool],
        clocked_in_at: Callable[[int], datetime | None],
        memory: Memory,
        outlooks: OutlookBook,
        run_id: str,
        version: str,
        heartbeat_s: float,
    ) -> None:
        self._status = messages.STARTING
        self._status_message = ""
        self._state = state
        self._clock = clock
        self._vitals = vitals
        self._read_whole = read_whole
        self._clocked_in_at = clocked_in_at
        self._memory = memory
        self._run_id = run_id
        self._version = version
        self._heartbeat_s = heartbeat_s
        self._started_at_s = clock.monotonic()
        self._trades = TradeBook()
        self._outlooks = outlooks
        self._cost_s: dict[int, float] = {}
        self._account_frames: dict[int, tuple[State, int, bytes]] = {}

    def set_status(self, status: str, message: str) -> bool:
        """Take over the daemon's status. Returns whether it has changed."""
        if (status, message) == (self._status, self._status_message):
            return False
        self._status, self._status_message = status, message
        return True

    def frame(self, account_id: int | None, data: Data) -> bytes:
        """Return a frame without its number, which each reader adds."""
        return b'"ts":%b,"type":"%b","account_id":%b,"data":%b}' % (
            _json(self._clock.now()),
            NAMES[type(data)].encode(),
            b"null" if account_id is None else b"%d" % account_id,
            _json(data),
        )

    def account_frame(self, account_id: int) -> bytes | None:
        """Return the frame of an account as it is now; None if the account is not known.

        The frame is composed once for each state, for all readers.
        """
        state = self._state()
        known = self._account_frames.get(account_id)
        version = self._memory.version
        if known is not None and known[0] is state and known[1] == version:
            return known[2]
        if account_id not in state.accounts:
            return None
        began = self._clock.monotonic()
        frame = self.frame(account_id, self._snapshot(state, [account_id]))
        self._cost_s[account_id] = self._clock.monotonic() - began
        self._account_frames[account_id] = (state, version, frame)
        return frame

    def cost_s(self, account_id: int) -> float:
        """Return how long the last frame of an account took to compose; 0 before the first."""
        return self._cost_s.get(account_id, 0.0)

    def snapshot(self) -> messages.Snapshot:
        """Return everything a screen shows, with all accounts."""
        state = self._state()
        return replace(self._snapshot(state, state.accounts), outlook=self.outlook())

    def outlook(self) -> Outlook:
        """Return the coming days and the rules in words: the same object until they change."""
        return self._outlooks.of(self._state())

    def compose_anew(self) -> None:
        """Compose every account's frame again, as something outside the state has changed."""
        self._account_frames.clear()

    def quote(self, state: State, contract_id: str) -> MarketQuote:
        row = quote_row(state, contract_id, self._clock.now())
        return MarketQuote(
            contractId=row.contract_id,
            symbol=row.symbol,
            bid=row.bid,
            ask=row.ask,
            last=row.last,
            age_ms=row.age_ms,
            timestamp=row.at,
        )

    def daemon_status(self, alarm: AlarmRow | None = None) -> DaemonStatus:
        """Return the daemon's status; with an alarm, the alarm's message in place of its own."""
        state, vitals = self._state(), self._vitals()
        return DaemonStatus(
            status=self._status,
            message=alarm.message if alarm else self._status_message,
            timestamp=self._clock.now(),
            run_id=self._run_id,
            version=self._version,
            protocol=PROTOCOL,
            accounts=tuple(sorted(state.accounts)),
            heartbeat_s=self._heartbeat_s,
            uptime_s=self._uptime_s(),
            hubs=hub_rows(state, vitals),
            rest=vitals.rest,
            db=vitals.db,
            token_expires_at=vitals.token_expires_at,
            alarm=alarm,
        )

    def heartbeat(self) -> Heartbeat:
        state, vitals, now = self._state(), self._vitals(), self._clock.now()
        return Heartbeat(
            status=self._status,
            timestamp=now,
            uptime_s=self._uptime_s(),
            state_age_s=seconds_since(state.now, now),
            hubs=hub_rows(state, vitals),
            rest=vitals.rest,
            db=vitals.db,
        )

    def _snapshot(self, state: State, account_ids: Iterable[int]) -> messages.Snapshot:
        return snapshot(
            state,
            [
                account_snapshot(
                    state,
                    state.accounts[account_id],
                    trades=self._trades,
                    enforcements=self._memory.of(account_id),
                    known=self._read_whole(account_id),
                    clocked_in_at=self._clocked_in_at(account_id),
                )
                for account_id in sorted(account_ids)
            ],
            identity=Identity(run_id=self._run_id, version=self._version, status=self._status),
            vitals=self._vitals(),
            now=self._clock.now(),
            alarms=self._memory.alarms,
        )

    def _uptime_s(self) -> float:
        return round(self._clock.monotonic() - self._started_at_s, 1)


def _json(value: Data | datetime) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)
