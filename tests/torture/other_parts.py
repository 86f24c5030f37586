"""The smaller promises at the real process: two daemons, blindness, loosened limits."""

import asyncio
from dataclasses import dataclass
from time import monotonic

from daemon_process import ACCOUNT, DaemonProcess, still_gateway
from torture.lives import Folder, Nursery, Watch, scratch, until

from risk_manager.feed.client import FeedUnreachable, read_once

BLIND_LIMIT_S = 40.0


@dataclass(slots=True)
class Second:
    """How the second daemon ended, and after how many seconds."""

    code: int
    took_s: float
    lines: int


async def two_daemons() -> list[Second]:
    """On the same data folder, and on the same account from another one."""
    found = []
    with scratch() as path:
        async with still_gateway() as gateway:
            (path / "a").mkdir()
            (path / "b").mkdir()
            here = {"XDG_STATE_HOME": str(path)}  # both belong to one user
            async with DaemonProcess(path / "a").point_at(gateway, **here).running():
                for folder in ("a", "b"):
                    second = DaemonProcess(path / folder).point_at(gateway, **here)
                    began = monotonic()
                    await second.start()
                    code = await second.ended()
                    found.append(Second(code, monotonic() - began, len(second.said)))
    return found


async def noticed_after_s(nursery: Nursery, *, how: str) -> float | None:
    """Seconds until the feed no longer shows green, while something is open. None: never.

    `how`: "dead" (the connections are cut and none comes back) or "silent" (open, but nothing
    comes any more).
    """
    with scratch() as path:
        async with Watch.open() as watch:
            folder = Folder(path, watch)
            child = await nursery.born(folder, watch)
            try:
                await until(lambda: child.is_running, "RUNNING")
                watch.trade("MNQ", 1)
                await asyncio.sleep(1.5)
                began = monotonic()
                if how == "silent":
                    watch.gateway.faults.user.mute = True
                    watch.gateway.faults.market.mute = True
                else:
                    watch.gateway.faults.user.refuse_negotiate = 503
                    watch.gateway.faults.market.refuse_negotiate = 503
                    await watch.gateway.drop()
                while monotonic() - began < BLIND_LIMIT_S:
                    if await _shows_doubt(folder):
                        return monotonic() - began
                    await asyncio.sleep(0.1)
            finally:
                await child.kill()
    return None


async def _shows_doubt(folder: Folder) -> bool:
    try:
        status, _, _ = await read_once(folder.daemon.data)
    except FeedUnreachable:
        return False
    return status.status == "DEGRADED"


LOOSENED = {
    "a higher limit": ("limit: 5}", "limit: 50}"),
    "a rule removed": ("  - {rule: max_contracts, limit: 5}\n", ""),
    "a rule switched off": ("limit: 5}", "limit: 5, enabled: false}"),
    "only watched": ("limit: 5}", "limit: 5, shadow: true}"),
}


async def loosened_early(nursery: Nursery) -> list[str]:
    """Edits of the file that took effect at a restart, though they loosen."""
    found = []
    for name, (old, new) in LOOSENED.items():
        with scratch() as path:
            async with Watch.open() as watch:
                folder = Folder(path, watch)
                child = await nursery.born(folder, watch)
                await until(lambda child=child: child.is_running, "RUNNING")  # type: ignore[misc]
                await child.kill()
                file = folder.daemon.config / "risk_config.yaml"
                file.write_text(file.read_text().replace(old, new))
                folder.output.unlink()
                child = await nursery.born(folder, watch)
                try:
                    await until(lambda child=child: child.is_running, "RUNNING")  # type: ignore[misc]
                    watch.trade("MNQ", 7)
                    mnq = watch.id("MNQ")
                    await until(
                        lambda watch=watch, mnq=mnq: watch.exchange.net(ACCOUNT, mnq) == 5,  # type: ignore[misc]
                        "cut back",
                    )
                except AssertionError:
                    found.append(name)
                finally:
                    await child.kill()
    return found
