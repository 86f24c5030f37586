"""The daemon as it is, but for its request budget: a benchmark breaches far too often for that.

Run as a program: config data.
"""

import asyncio
import sys
from pathlib import Path

from risk_manager.broker.lanes import Limits
from risk_manager.daemon.daemon import Daemon
from risk_manager.settings.loading import load

NO_LIMIT = Limits(reads=1_000_000, looks=1_000_000, reads_and_looks=1_000_000)


async def main(config: Path, data: Path) -> None:
    daemon = Daemon(
        load(config), data, limits=NO_LIMIT, announce=lambda line: print(line, flush=True)
    )
    await daemon.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
