"""Both hubs of a simulation, standing where the hub supervisor stands."""

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

from risk_manager.broker.normalize import USER_TARGETS, read_quote
from risk_manager.domain.events import Hub, HubChanged, HubState, Unreadable
from risk_manager.practice.exchange import Event

if TYPE_CHECKING:
    from simulation.life import Life
    from simulation.world import World

TARGETS = {
    "order": "GatewayUserOrder",
    "trade": "GatewayUserTrade",
    "position": "GatewayUserPosition",
    "account": "GatewayUserAccount",
}


class Streams:
    """Carries what the exchange says to the daemon that runs now, if any hears it."""

    def __init__(self, world: "World", dice: Random) -> None:
        self.world = world
        self._dice = dice
        self.healed = False
        self.frames = 0
        self._life: Life | None = None
        self._open = {Hub.USER: False, Hub.MARKET: False}
        self._epoch = {Hub.USER: 0, Hub.MARKET: 0}
        self._next_at = 0.0

    # --- the daemon comes and goes ---

    def connect(self, life: "Life") -> None:
        self._life = life
        for hub in Hub:
            self._say(hub, HubState.CONNECTING)
            self._later(0.1 + 0.3 * self._dice.random(), self._up, hub, life)

    def disconnect(self) -> None:
        self._life = None
        for hub in Hub:
            self._cut(hub)

    def drop(self, hub: Hub, *, at_once: bool = False) -> None:
        """The socket dies; that is noticed (at once by who did it), and later repaired."""
        life = self._life
        if life is None or not self._open[hub]:
            return
        self._cut(hub)
        noticed = 0.0 if at_once else 4.5 * self._dice.random()
        back = noticed + self._dice.choice((0.2, 0.5, 2.0, 8.0)) * (0.5 + self._dice.random())
        self.world.gateway.note(f"{hub} hub", back + 2.0)
        self._later(noticed, self._noticed, hub, life)
        self._later(back, self._up, hub, life)

    def _cut(self, hub: Hub) -> None:
        self._open[hub] = False
        self._epoch[hub] += 1

    def _noticed(self, hub: Hub, life: "Life") -> None:
        if life is self._life and not self._open[hub]:
            self._say(hub, HubState.DOWN)

    def _up(self, hub: Hub, life: "Life") -> None:
        if life is not self._life or self._open[hub]:
            return
        self._open[hub] = True
        self._epoch[hub] += 1
        self._say(hub, HubState.UP)
        if hub is Hub.USER:
            life.reconciler.ask()

    def _say(self, hub: Hub, state: HubState) -> None:
        if self._life is not None:
            self._life.put(HubChanged(at=self._life.clock.now(), hub=hub, state=state))

    # --- what the exchange says ---

    def carry(self, events: list[Event]) -> None:
        """The news of one mutation, in order."""
        if self._life is None:
            return
        quotes = []
        for event in events:
            if event.kind == "market_trade":
                continue
            if event.kind == "quote":
                if self._open[Hub.MARKET] and event.contract_id in self._life.watched:
                    quotes.append(event)
            elif self._open[Hub.USER]:
                self._user(event)
        if quotes:
            self._later(0.02, self._quotes, quotes, self._epoch[Hub.MARKET])

    def _user(self, event: Event) -> None:
        weather = self.world.options.weather
        now = self.world.now
        payload: dict[str, Any] = {"action": event.action, "data": dict(event.data)}
        arrives = max(self._next_at + 1e-6, now + 0.005 + 0.03 * self._dice.random())
        epoch = self._epoch[Hub.USER]
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
                self._later(arrives - now + delay, self._deliver, event.kind, payload, epoch)
                return
            case "frame_twice":
                delay = 0.05 + 3 * self._dice.random()
                self.world.gateway.note(kind, delay + 6.0)
                self._later(arrives - now + delay, self._deliver, event.kind, payload, epoch)
        self._next_at = arrives
        self._later(arrives - now, self._deliver, event.kind, payload, epoch)

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

    def _deliver(self, kind: str, payload: Any, epoch: int) -> None:
        life = self._life
        if life is None or epoch != self._epoch[Hub.USER]:
            return
        self.world.oracle.told_by_stream(kind, payload)
        for event in USER_TARGETS[TARGETS[kind]](payload, life.clock.now()):
            life.put(event)
            if isinstance(event, Unreadable):
                life.reconciler.ask(event.account_id)

    def _quotes(self, quotes: list[Event], epoch: int) -> None:
        life = self._life
        if life is None or epoch != self._epoch[Hub.MARKET]:
            return
        at = life.clock.now()
        for quote in quotes:
            life.put(read_quote(quote.contract_id, dict(quote.data), at))
            self.world.oracle.told_quote(quote.contract_id, quote.data)

    def _later(self, seconds: float, callback: Any, *arguments: Any) -> None:
        asyncio.get_running_loop().call_later(seconds, callback, *arguments)
