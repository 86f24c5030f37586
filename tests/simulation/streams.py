"""Both hubs of the simulated gateway, and the sockets through which the hub supervisor hears them.

The supervisor is the real one. What it is given instead of the SDK's realtime client is `Wire`,
with as much of that client's inside as `HubLink` knows.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from project_x_py.realtime import ProjectXRealtimeClient
from pysignalr.exceptions import AuthorizationError
from pysignalr.exceptions import ConnectionError as HubRefusedError
from pysignalr.messages import CloseMessage
from simulation.gateway import Fault

from risk_manager.broker.session import GatewayAddress
from risk_manager.domain.events import Hub
from risk_manager.practice.records import Event
from risk_manager.practice.words import Telling

if TYPE_CHECKING:
    from simulation.life import Life
    from simulation.world import World

TARGETS = {
    "order": ("GatewayUserOrder", "SubscribeOrders"),
    "trade": ("GatewayUserTrade", "SubscribeTrades"),
    "position": ("GatewayUserPosition", "SubscribePositions"),
    "account": ("GatewayUserAccount", "SubscribeAccounts"),
}
PING_S = 15.0
OPENS_BADLY = 4.0
"""A hub is refused or hangs so many times as often as a request over REST."""
ECHO_S = 2.0
HEARD_FROM_S = 5.0
"""Whatever was in doubt has been read over REST by so much after its stream is back."""

type Callback = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """An invocation from the server; `told` is called as it is handed on."""

    target: str
    arguments: list[Any]
    told: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """The completion of an invocation of ours."""

    to: Callable[[Any], Awaitable[None]]


class Ping:
    """Nothing but a sign of life."""


@dataclass(eq=False)
class Socket:
    """One connection as the server sees it. `silent`: dead, and neither side has been told."""

    hub: Hub
    life: "Life"
    arrived: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    subscribed: set[tuple[Any, ...]] = field(default_factory=set)
    is_open: bool = False
    silent: bool = False
    deaf: bool = False  # alive, and the server has forgotten what it subscribed to
    next_at: float = 0.0

    @property
    def serves(self) -> bool:
        return self.is_open and not self.silent


class Connection:
    """What the SDK calls a hub connection: handlers, a client, and a task that runs it."""

    def __init__(self, streams: "Streams", hub: Hub, life: "Life", token: str) -> None:
        self._event_handlers: defaultdict[str, list[Callback]] = defaultdict(list)
        self._run_task: asyncio.Task[None] | None = None
        self._socket = Socket(hub, life)
        self._transport = SimpleNamespace(_callback=self._deliver, _keepalive=None, _ws=None)
        self._client = SimpleNamespace(send=self._send, _transport=self._transport)
        self._streams = streams
        self._token = token
        self._on_open: Callback = lambda: None
        self._on_close: Callback = lambda: None

    def on(self, target: str, handler: Callback) -> None:
        self._event_handlers[target].append(handler)

    def on_open(self, handler: Callback) -> None:
        self._on_open = handler

    def on_close(self, handler: Callback) -> None:
        self._on_close = handler

    async def start(self) -> None:
        name = f"{self._socket.hub}-socket"
        self._run_task = asyncio.create_task(self._run(), name=name)

    async def stop(self) -> None:
        self._streams.left(self._socket)
        if self._run_task is not None and not self._run_task.done():
            self._run_task.cancel()
            await asyncio.gather(self._run_task, return_exceptions=True)

    async def _run(self) -> None:
        await self._streams.accept(self._socket, self._token)
        self._on_open()
        while (message := await self._socket.arrived.get()) is not None:
            await self._transport._callback(message)
        self._on_close()

    async def _deliver(self, message: Any) -> None:
        match message:
            case Frame(target, arguments, told):
                told()
                for handler in self._event_handlers.get(target, ()):
                    await handler(arguments)
            case Answer(to):
                await to(SimpleNamespace(error=None))

    async def _send(self, method: str, arguments: list[Any], on_invocation: Callback) -> None:
        if not self._socket.is_open:
            raise OSError("the socket is closed")
        self._streams.invoked(self._socket, method, arguments, on_invocation)


class Wire:
    """Stands where the SDK's realtime client stands."""

    stale_feed_seconds = 0.0
    user_connection: Connection
    market_connection: Connection

    def __init__(self, streams: "Streams", life: "Life", token: str) -> None:
        self._made = (streams, life, token)

    async def setup_connections(self) -> None:
        streams, life, token = self._made
        self.user_connection = Connection(streams, Hub.USER, life, token)
        self.market_connection = Connection(streams, Hub.MARKET, life, token)


class Streams:
    """The server side of both hubs: carries what the exchange says to whoever is connected."""

    def __init__(self, world: "World", dice: Random) -> None:
        self.world = world
        self._dice = dice
        self.healed = False
        self.frames = 0
        self.behind_s = 0.0  # how far the stream of the user hub is behind the lists
        self._sockets: list[Socket] = []
        self._down: defaultdict[Hub, list[Fault]] = defaultdict(list)

    def builder(self, life: "Life") -> Callable[[GatewayAddress, str], ProjectXRealtimeClient]:
        """How a life of the daemon gets its sockets."""
        return lambda _, token: cast(ProjectXRealtimeClient, Wire(self, life, token))

    # --- sockets come and go ---

    async def accept(self, socket: Socket, token: str) -> None:
        """A connection is made, or refused, or nothing is ever heard of it."""
        weather, dice = self.world.options.weather, self._dice
        await asyncio.sleep(0.1 + 0.3 * dice.random())
        roll = 1.0 if self.healed else dice.random() / OPENS_BADLY
        if roll < weather.error_before:
            self.world.gateway.note("hub refused", HEARD_FROM_S)
            raise HubRefusedError(status=503)
        if roll < weather.error_before + weather.hang:
            self.world.gateway.note("hub hangs", 10.0 + HEARD_FROM_S)
            await asyncio.get_running_loop().create_future()
        if token != f"token-{self.world.gateway.token_number}":
            raise AuthorizationError
        if socket.life.dead.is_set():
            await asyncio.get_running_loop().create_future()
        socket.is_open = True
        self._sockets.append(socket)
        self._later(PING_S, self._ping, socket)

    def left(self, socket: Socket) -> None:
        """The other side has closed it."""
        socket.is_open = False
        if socket in self._sockets:
            self._sockets.remove(socket)

    def process_ended(self) -> None:
        """The operating system closes what a process had open."""
        for socket in list(self._sockets):
            self.left(socket)

    def drop(self, hub: Hub) -> None:
        """Something happens to whatever is connected to a hub."""
        sockets = [s for s in self._sockets if s.hub is hub]
        if not sockets:
            return
        kind = self._dice.choice(("lost", "lost", "silent", "silent", "closed", "deaf", "logout"))
        self._down[hub].append(self.world.gateway.note(f"{hub} hub {kind}", 14_400.0))
        for socket in sockets:
            match kind:
                case "silent":
                    socket.silent = True
                case "deaf":
                    socket.deaf = True
                case "lost":
                    self._cut(socket)
                case "closed":
                    socket.arrived.put_nowait(
                        CloseMessage(error="restarting", allow_reconnect=True)
                    )
                    self._cut(socket)
                case "logout":
                    socket.arrived.put_nowait(Frame("GatewayLogout", [], lambda: None))
                    self._cut(socket)

    def _cut(self, socket: Socket) -> None:
        self.left(socket)
        socket.arrived.put_nowait(None)

    def heal(self) -> None:
        """From now on every socket opens, and none that is dead pretends to live."""
        self.healed = True
        self.behind_s = 0.0
        for socket in list(self._sockets):
            if socket.silent or socket.deaf:
                self._cut(socket)

    def is_served(self, hub: Hub) -> bool:
        """Whether the daemon that runs now is told what it must be told."""
        return any(
            s.serves and not s.deaf and s.hub is hub and self._hears_all(s) for s in self._sockets
        )

    def _hears_all(self, socket: Socket) -> bool:
        if socket.hub is Hub.MARKET:
            return {("SubscribeContractQuotes", c) for c in socket.life.watched} <= (
                socket.subscribed
            )
        wanted = {("SubscribeAccounts",)} | {
            (f"Subscribe{what}", account_id)
            for what in ("Orders", "Trades", "Positions")
            for account_id in self.world.account_ids
        }
        return wanted <= socket.subscribed

    def is_dead(self, hub: Hub) -> bool:
        """Whether nothing of a hub would reach the daemon, not even a ping."""
        return not any(s.serves and s.hub is hub for s in self._sockets)

    def _ping(self, socket: Socket) -> None:
        if socket.serves:
            socket.arrived.put_nowait(Ping())
            self._later(PING_S, self._ping, socket)

    # --- what the daemon says ---

    def invoked(
        self, socket: Socket, method: str, arguments: list[Any], on_invocation: Callback
    ) -> None:
        self._later(
            0.005 + 0.03 * self._dice.random(),
            self._invoke, socket, method, arguments, on_invocation,
        )  # fmt: skip

    def _invoke(
        self, socket: Socket, method: str, arguments: list[Any], on_invocation: Callback
    ) -> None:
        if not socket.serves:
            return
        if method.startswith("Unsubscribe"):
            socket.subscribed.discard((method.replace("Uns", "S", 1), *arguments))
        else:
            socket.subscribed.add((method, *arguments))
        self._later(0.005 + 0.03 * self._dice.random(), self._push, socket, Answer(on_invocation))
        if self._down[socket.hub] and self.is_served(socket.hub):
            for fault in self._down.pop(socket.hub):
                fault.ends = self.world.now + HEARD_FROM_S

    # --- what the exchange says ---

    def carry(self, events: list[Event]) -> None:
        """The news of one mutation, in order, as the gateway words it."""
        self.tell(self.world.gateway.words.hear(events, self.world.utc()))

    def tell(self, tellings: Sequence[Telling]) -> None:
        """Words for the stream, each at its time."""
        self._carry_now([one.event for one in tellings if not one.after_s])
        for one in tellings:
            if one.after_s:
                self._later(one.after_s, self._tell_later, one)

    def _tell_later(self, telling: Telling) -> None:
        event = self.world.gateway.words.due(telling, self.world.utc())
        if event is not None:
            self._carry_now([event])

    def _carry_now(self, events: list[Event]) -> None:
        quotes = []
        for event in events:
            match event.kind:
                case "market_trade":
                    continue
                case "quote":
                    quotes.append(event)
                case _:
                    for socket in self._sockets:
                        if socket.hub is Hub.USER and _wants(socket, event):
                            self._user(socket, event)
        for socket in self._sockets if quotes else ():
            if socket.hub is Hub.MARKET and socket.serves and not socket.deaf:
                self._later(0.02, self._quotes, socket, quotes)

    def _user(self, socket: Socket, event: Event) -> None:
        weather = self.world.options.weather
        now = self.world.now
        payload: dict[str, Any] = {"action": event.action, "data": dict(event.data)}
        soonest = now + self.behind_s + 0.005 + 0.03 * self._dice.random()
        arrives = max(socket.next_at + 1e-6, soonest)
        roll = 1.0 if self.healed else self._dice.random()
        self.frames += 1
        for kind in ("frame_lost", "frame_garbled", "frame_late", "frame_twice"):
            roll -= getattr(weather, kind)
            if roll < 0:
                break
        else:
            kind = ""
        match kind:
            case "frame_lost":
                self.world.gateway.note(kind, 6.0)
                return
            case "frame_garbled":
                self.world.gateway.note(kind, 4.0)
                payload = self._garbled(payload)
            case "frame_late":
                delay = 0.2 + 6 * self._dice.random()
                self.world.gateway.note(kind, delay + 6.0)
                self._later(arrives - now + delay, self._tell, socket, event.kind, payload)
                return
            case "frame_twice":
                delay = 0.05 + 3 * self._dice.random()
                self.world.gateway.note(kind, delay + 6.0)
                self._later(arrives - now + delay, self._tell, socket, event.kind, payload)
        socket.next_at = arrives
        self._later(arrives - now, self._tell, socket, event.kind, payload)

    def _garbled(self, payload: dict[str, Any]) -> Any:
        data = dict(payload["data"])
        match self._dice.randrange(5):
            case 0:
                return {"action": 1}
            case 1:
                return None
            case 2:
                data["size"] = "many"
            case 3:
                data.pop("contractId", None)
                data.pop("id", None)
            case 4:
                data["accountId"] = float("nan")
                data["id"] = -1
        return {**payload, "data": data}

    def _tell(self, socket: Socket, kind: str, payload: Any) -> None:
        def told() -> None:
            if not socket.life.dead.is_set():
                self.world.oracle.told_by_stream(kind, payload)

        self._push(socket, Frame(TARGETS[kind][0], [payload], told))

    def _quotes(self, socket: Socket, quotes: list[Event]) -> None:
        for quote in quotes:
            if ("SubscribeContractQuotes", quote.contract_id) in socket.subscribed:
                contract_id, data = quote.contract_id, dict(quote.data)

                def told(contract_id: str = contract_id, data: Any = data) -> None:
                    if not socket.life.dead.is_set():
                        self.world.oracle.told_quote(contract_id, data)

                self._push(socket, Frame("GatewayQuote", [contract_id, data], told))

    def _push(self, socket: Socket, message: Any) -> None:
        if socket.serves:
            socket.arrived.put_nowait(message)

    def _later(self, seconds: float, callback: Any, *arguments: Any) -> None:
        asyncio.get_running_loop().call_later(seconds, callback, *arguments)


def _wants(socket: Socket, event: Event) -> bool:
    method = TARGETS[event.kind][1]
    key = (method,) if event.kind == "account" else (method, event.account_id)
    return socket.serves and not socket.deaf and key in socket.subscribed
