"""The gateway of a simulation: REST over the practice exchange, with bad weather on the way."""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import aiohttp

from risk_manager.broker.replies import StatusError
from risk_manager.broker.session import GatewayUnavailable
from risk_manager.broker.single_requests import Lane
from risk_manager.broker.warm_connections import UnreadableAnswer
from risk_manager.clock import VenueTime
from risk_manager.domain.call_codes import CANCEL, CLOSE, MODIFY, PARTIAL_CLOSE, PLACE
from risk_manager.practice.words import Words

if TYPE_CHECKING:
    from simulation.world import World

WRITES = frozenset({CLOSE, PARTIAL_CLOSE, CANCEL, MODIFY, PLACE})
HANG_SECONDS = 60.0
REQUESTS_A_MINUTE = 200
READS_REFUSED = "reads refused"

type Body = Mapping[str, Any]


@dataclass(slots=True)
class Fault:
    """Trouble of our making: while it lasts (and its echo) the broker counts as ill."""

    kind: str
    began: float
    ends: float


class SimulatedGateway:
    """The server side, which outlives every start of the daemon."""

    def __init__(self, world: "World", dice: Random) -> None:
        self.world = world
        self.words = Words(world.exchange, world.dice("words"), world.options.unkind.words)
        self._dice = dice
        self.token_number = 1
        self.healed = False
        self.out_until = -1.0
        self.reads_refused_until = -1.0
        self.clock_ahead = timedelta(0)  # of its Date header
        self.requests = 0
        self.writes = 0
        self.faults: deque[Fault] = deque()
        self._recent: deque[float] = deque()
        # When the last close of an account's contract is, or will be, answered.
        self.close_answered_at: dict[tuple[int, str], float] = {}
        self._failed_calls: deque[tuple[float, int]] = deque(maxlen=200)

    # --- weather ---

    def note(self, kind: str, seconds: float) -> Fault:
        now = self.world.now
        self.faults.append(Fault(kind, now, now + seconds))
        return self.faults[-1]

    def was_ill(self, since: float, until: float, *, besides: str = "") -> bool:
        """Whether any trouble fell into this span, besides that of one kind."""
        while self.faults and self.faults[0].ends < self.world.now - 300:
            self.faults.popleft()
        return any(f.began <= until and f.ends >= since and f.kind != besides for f in self.faults)

    def refuse_reads(self, seconds: float) -> None:
        """From now on every read is answered 429, while closes and cancels are served."""
        self.reads_refused_until = self.world.now + seconds
        self.note(READS_REFUSED, seconds + 20.0)

    def calls_failed(self, account_id: int, since: float) -> int:
        """How many closes, cancels and the like of an account have failed since then."""
        return sum(at >= since and of == account_id for at, of in self._failed_calls)

    def heal(self) -> None:
        self.healed = True
        self.out_until = self.reads_refused_until = -1.0
        self.clock_ahead = timedelta(0)
        self.words.clear()

    def _fate(self) -> str:
        roll = self._dice.random()
        if self.healed:
            return "ok"
        if self.world.now < self.out_until:
            return "unsent" if roll < 0.3 else "hang" if roll < 0.5 else "error_before"
        weather = self.world.options.weather
        for kind in (
            "error_before",
            "error_after",
            "limited",
            "hang",
            "lost_before",
            "lost_after",
            "unsent",
            "garbled",
            "refused",
            "slow",
        ):
            roll -= getattr(weather, kind)
            if roll < 0:
                return kind
        return "ok"

    # --- requests ---

    async def request(self, token: str, lane: Lane, path: str, body: Body) -> object:
        """One request: what it does happens on the server, whether or not anyone waits."""
        world = self.world
        loop = asyncio.get_running_loop()
        self.requests += 1
        fate = self._fate()
        luck = self._dice.random()
        up, down = 0.01 + 0.05 * self._dice.random(), 0.01 + 0.05 * self._dice.random()
        if fate == "slow":
            down += 0.8 * luck
        is_write = path in WRITES
        if is_write:
            self.writes += 1
            world.oracle.on_write(path, body)
        world.record(f"{path} {json.dumps(body, sort_keys=True, default=str)}")
        if path in (CLOSE, PARTIAL_CLOSE):
            self.close_answered_at[body["accountId"], body["contractId"]] = world.now + up + down
        answer: asyncio.Future[object] = loop.create_future()
        if fate not in ("ok", "slow"):
            self.note(fate, {"hang": 5.0, "limited": 20.0}.get(fate, 2.0))
        if fate == "unsent":
            await asyncio.sleep(up)
            raise aiohttp.ConnectionTimeoutError("Connection timeout")
        loop.call_later(up, self._arrive, token, path, dict(body), fate, luck, down, answer)
        return await answer

    def _arrive(
        self,
        token: str,
        path: str,
        body: Body,
        fate: str,
        luck: float,
        down: float,
        answer: "asyncio.Future[object]",
    ) -> None:
        result, error, as_of = self._serve(token, path, body, fate, luck)
        if path in WRITES and (result is None or not result["success"]):
            self._failed_calls.append((self.world.now, body["accountId"]))
        delay = HANG_SECONDS if fate == "hang" else down
        asyncio.get_running_loop().call_later(
            delay, self._reply, path, body, result, error, as_of, answer
        )

    def _serve(
        self, token: str, path: str, body: Body, fate: str, luck: float
    ) -> tuple[dict[str, Any] | None, Exception | None, datetime]:
        """The reply or why there is none, and how old what the reply says is."""
        now = self.world.utc()
        before = self._before(token, path, fate, luck)
        if before is not None:
            return None, before, now
        if fate == "refused" and path in WRITES:
            return {"success": False, "errorCode": 7 if path == CLOSE else 5}, None, now
        if fate == "hang" and luck < 0.5:
            return None, aiohttp.SocketTimeoutError("timed out"), now
        result, as_of = self._do(path, body)
        after: dict[str, Exception] = {
            "error_after": StatusError(500, "oops"),
            "lost_after": aiohttp.ServerDisconnectedError(),
            "garbled": UnreadableAnswer("unexpected end of data"),
        }
        return (None, after[fate], as_of) if fate in after else (result, None, as_of)

    def _before(self, token: str, path: str, fate: str, luck: float) -> Exception | None:
        """What keeps a request from being served."""
        if fate == "error_before":
            return StatusError(503 if luck < 0.5 else 500)
        if fate == "lost_before":
            return aiohttp.ClientOSError("connection reset")
        reads_refused = path not in WRITES and self.world.now < self.reads_refused_until
        if fate == "limited" or self._is_over_the_limit() or reads_refused:
            return StatusError(429, retry_after=str(round(1 + 9 * luck)) if luck < 0.7 else None)
        if token != f"token-{self.token_number}":
            return StatusError(401)
        return None

    def _is_over_the_limit(self) -> bool:
        now = self.world.now
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        if len(self._recent) >= REQUESTS_A_MINUTE:
            self.note("over the limit", 20.0)
            self.world.oracle.over_limit += 1
            return True
        self._recent.append(now)
        return False

    def _do(self, path: str, body: Body) -> tuple[dict[str, Any], datetime]:
        world = self.world
        world.oracle.before_write(path, body)
        answered = self.words.answer(path, body, world.utc())
        world.streams.tell(answered.tellings)
        world.oracle.after_write(path, body, answered.reply)
        return answered.reply, answered.as_of

    def _reply(
        self,
        path: str,
        body: Body,
        result: dict[str, Any] | None,
        error: Exception | None,
        as_of: datetime,
        answer: "asyncio.Future[object]",
    ) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
            return
        assert result is not None
        answer.set_result(result)
        self.world.oracle.told_by_rest(path, body, result, self.world.seconds_of(as_of))

    def end_token(self) -> None:
        """The token ends without a word."""
        self.token_number += 1
        self.note("token", 5.0)

    async def log_in(self) -> str:
        await asyncio.sleep(0.1 + 0.4 * self._dice.random())
        if not self.healed and self._dice.random() < self.world.options.weather.error_before:
            raise GatewayUnavailable("login failed")
        return f"token-{self.token_number}"


class Login:
    """What one start of the daemon holds of the gateway: a token, and the way to a new one."""

    def __init__(self, gateway: SimulatedGateway, is_dead: asyncio.Event, venue: VenueTime) -> None:
        self._gateway = gateway
        self._venue = venue
        self._is_dead = is_dead
        self._token = f"token-{gateway.token_number}"
        self._renewing: asyncio.Task[str] | None = None

    @property
    def token(self) -> str:
        return self._token

    async def request(self, lane: Lane, path: str, body: Body) -> object:
        if self._is_dead.is_set():  # a killed process sends nothing more
            await asyncio.get_running_loop().create_future()
        answer = await self._gateway.request(self._token, lane, path, body)
        date = self._gateway.world.utc() + self._gateway.clock_ahead
        self._venue.hear(date.replace(microsecond=0))  # its Date header
        return answer

    async def renew(self, stale_token: str | None = None) -> str:
        if stale_token != self._token:
            return self._token
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._gateway.log_in())
        self._token = await asyncio.shield(self._renewing)
        return self._token
