"""The feed: from publishing a frame to the last of so many clients having it."""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from time import monotonic_ns

from bench.figures import Figures
from bench.judging import position, state_with

from risk_manager.clock import SystemClock
from risk_manager.engine.step import step
from risk_manager.feed.server import FeedServer

ROUNDS = 200


async def reader(folder: str, clients: int) -> None:
    """Run as a program: prints, per position frame, when the last client had it."""
    from risk_manager.feed.client import Daemon

    daemon = Daemon.find(Path(folder))
    seen: dict[int, list[int]] = {}
    up = 0

    async def read() -> None:
        nonlocal up
        async with daemon.open(daemon.feed_url) as ws:
            up += 1
            if up == clients:
                print("all up", flush=True)
            async for frame in ws:
                if '"GatewayUserPosition"' not in frame[:120]:
                    continue
                at = monotonic_ns()
                size = json.loads(frame)["data"]["id"]
                seen.setdefault(size, []).append(at)
                if len(seen[size]) == clients:
                    print(size, max(seen[size]), flush=True)

    await asyncio.gather(*(read() for _ in range(clients)))


async def run(figures: Figures) -> None:
    for clients in (1, 10):
        found = await _measure(clients)
        aim = "p99 < 1000 us" if clients == 10 else ""
        figures.line(f"frame published -> last of {clients} feed clients", found, "us", aim=aim)


async def _measure(clients: int) -> list[float]:
    state = state_with(1, 1)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = FeedServer(
            feed_source=lambda: state,
            clock=SystemClock(),
            data_dir=Path(folder),
            run_id="bench",
            version="0",
            port=0,
        )
        async with server:
            (Path(folder) / "daemon.json").write_text(
                json.dumps({"feed_url": server.url, "pid": os.getpid(), "run_id": "bench"})
            )
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "bench.feed",
                folder,
                str(clients),
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            )
            assert process.stdout is not None
            await process.stdout.readline()
            await asyncio.sleep(0.3)
            found = []
            for number in range(1, ROUNDS + 21):
                event = position(1, "MNQ", number % 2 + 1).model_copy(update={"id": number})
                outcome = step(state, event)
                sent = monotonic_ns()
                server.publish(event, state, outcome)
                said = await process.stdout.readline()
                if number > 20:
                    found.append((int(said.split()[1]) - sent) / 1000)
                await asyncio.sleep(0.005)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return found


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(reader(sys.argv[1], int(sys.argv[2])))
