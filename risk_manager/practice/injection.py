"""Frames that a test sends to the clients of the hubs, without the exchange knowing of them."""

from collections.abc import Mapping
from typing import Any, Literal

from risk_manager.practice.faults import HubName
from risk_manager.practice.frames import (
    GARBLED,
    LOGOUT,
    ODD_FRAMES,
    SEPARATOR,
    TARGETS,
    OddFrame,
    invocation,
)
from risk_manager.practice.hubs import Hub
from risk_manager.practice.records import Event


class Injection:
    """Sends made-up frames to every connection of a hub at once, subscribed or not.

    Each call returns `time.monotonic_ns()` just before the bytes went out.
    """

    def __init__(self, user_hub: Hub, market_hub: Hub) -> None:
        self._hubs: dict[HubName, Hub] = {"user": user_hub, "market": market_hub}

    async def send_user(
        self,
        kind: Literal["order", "trade", "position", "account"],
        data: Mapping[str, Any],
        *,
        action: int = 1,
    ) -> int:
        """Send a user event."""
        account_id = int(data.get("accountId", data.get("id", 0)))
        event = Event(kind, account_id, str(data.get("contractId", "")), action, data)
        hub = self._hubs["user"]
        return await hub.send_now(hub.frames.write(event))

    async def send_market(
        self,
        contract_id: str,
        data: Mapping[str, Any],
        *,
        kind: Literal["quote", "market_trade"] = "quote",
    ) -> int:
        """Send a market event."""
        frame = invocation(TARGETS[kind], contract_id, data)
        return await self._hubs["market"].send_now(frame)

    async def send_raw(self, hub: HubName, frame: bytes, *, separator: bool = True) -> int:
        """Send any bytes as one text frame."""
        return await self._hubs[hub].send_now(frame + SEPARATOR if separator else frame)

    async def garble(self, hub: HubName) -> int:
        """Send a frame that cannot be decoded."""
        return await self.send_raw(hub, GARBLED)

    async def send_odd(self, hub: HubName, shape: OddFrame) -> int:
        """Send a decodable frame that a client may not expect."""
        return await self.send_raw(hub, ODD_FRAMES[shape])

    async def logout(self, hub: HubName = "user") -> int:
        """Tell the clients that a login elsewhere has ended theirs."""
        return await self._hubs[hub].send_now(LOGOUT)
