"""The faults of the practice gateway, settable while it runs."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

type HubName = Literal["user", "market"]
ANY_PATH = "*"


@dataclass(slots=True)
class RestFault:
    """One way a REST endpoint misbehaves.

    `status` answers that status before anything happens (429 with `retry_after` seconds).
    `refuse` answers 200 with success false and this (errorCode, errorMessage).
    `lose_reply` lets the effect happen, then closes the connection or never answers.
    `garbage` lets the effect happen and answers bytes that are no JSON.
    `hang` waits, before any effect, until released; `delay` seconds likewise; then goes on.
    `times` is how many more requests are hit, None for all until cleared. Logins and pings count.
    """

    path: str = ANY_PATH
    status: int | None = None
    retry_after: int | None = None
    delay: float = 0.0
    hang: bool = False
    refuse: tuple[int, str] | None = None
    lose_reply: Literal["close", "hang"] | None = None
    garbage: bool = False
    times: int | None = None
    hits: int = 0

    def matches(self, path: str) -> bool:
        return (self.times is None or self.times > 0) and self.path in (ANY_PATH, path)


@dataclass(slots=True)
class HubFaults:
    """How one hub misbehaves; plain attributes, read for every frame.

    `mute`: the sockets stay open, nothing is sent, pings included, and what was not sent is lost.
    `lose`: how many of the next events vanish; -1 for all (pings still go out).
    `duplicate`: each event is sent this many extra times.
    `reorder`: events that leave together (one fill's four frames) are reversed.
    `delay`: seconds each event is late by. Set `refuse_negotiate` to a status (401, 404, 503) and
    `refuse_times` to how often, None for until cleared; `hang_negotiate` never answers until
    cleared or released.
    """

    mute: bool = False
    lose: int = 0
    duplicate: int = 0
    reorder: bool = False
    delay: float = 0.0
    refuse_negotiate: int | None = None
    refuse_times: int | None = None
    hang_negotiate: bool = False

    def take_refusal(self) -> int | None:
        """The status this negotiation is refused with, used up if counted."""
        if self.refuse_negotiate is None:
            return None
        if self.refuse_times is not None:
            if self.refuse_times <= 0:
                return None
            self.refuse_times -= 1
        return self.refuse_negotiate

    def take_loss(self) -> bool:
        """Whether the next event vanishes, used up if counted."""
        if self.lose > 0:
            self.lose -= 1
            return True
        return self.lose < 0

    def clear(self) -> None:
        self.mute = self.reorder = self.hang_negotiate = False
        self.lose = self.duplicate = 0
        self.delay = 0.0
        self.refuse_negotiate = self.refuse_times = None


@dataclass(slots=True)
class Faults:
    """All faults of one gateway. Belongs to the gateway's event loop once a request hangs.

    `date_ahead`: the Date header of each answer is so much later than it should be (or earlier).
    """

    user: HubFaults = field(default_factory=HubFaults)
    market: HubFaults = field(default_factory=HubFaults)
    rest: list[RestFault] = field(default_factory=list)
    date_ahead: timedelta = timedelta(0)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def hub(self, name: HubName) -> HubFaults:
        return self.user if name == "user" else self.market

    def add(
        self,
        path: str = ANY_PATH,
        *,
        status: int | None = None,
        retry_after: int | None = None,
        delay: float = 0.0,
        hang: bool = False,
        refuse: tuple[int, str] | None = None,
        lose_reply: Literal["close", "hang"] | None = None,
        garbage: bool = False,
        times: int | None = None,
    ) -> RestFault:
        """Add a REST fault for a path such as "/Order/place"; the oldest that matches acts."""
        fault = RestFault(
            path=path,
            status=status,
            retry_after=retry_after,
            delay=delay,
            hang=hang,
            refuse=refuse,
            lose_reply=lose_reply,
            garbage=garbage,
            times=times,
        )
        self.rest.append(fault)
        return fault

    def take(self, path: str) -> RestFault | None:
        """Return the fault that applies to this request, and count one hit."""
        for fault in self.rest:
            if fault.matches(path):
                fault.hits += 1
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def remove(self, fault: RestFault) -> None:
        self.rest = [other for other in self.rest if other is not fault]

    def clear(self) -> None:
        """Forget every fault and release what hangs."""
        self.rest.clear()
        self.date_ahead = timedelta(0)
        self.user.clear()
        self.market.clear()
        self.release()

    def release(self) -> None:
        """Let all requests that hang now go on. Later ones wait for the next release."""
        released, self._released = self._released, asyncio.Event()
        released.set()

    async def wait_released(self) -> None:
        await self._released.wait()
