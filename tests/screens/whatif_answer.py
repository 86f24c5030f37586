"""The answer of a what-if on a fixed file of trades, for its picture."""

import contextlib
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from config_folder import ConfigFolder
from feed_daemon import until
from screens.capture import picture_of

from risk_manager.admin.whatif import Asked
from risk_manager.admin.whatif_question import Question
from risk_manager.console.whatif.app import WhatIf
from risk_manager.dashboard.widgets.plot import Plot

FILE = "whatif.svg"
LIMITS = """rules:
  - {rule: daily_realized_loss, limit: 300}
  - {rule: max_contracts, limit: 3}
  - rule: cooldown_after_loss
    tiers: [{loss: 150, cooldown: 30m}]
"""
# The results of each day's round turns in dollars, and the lots of each.
DAYS = (
    ((120, 1), (-60, 1), (85, 2), (40, 1)),
    ((-90, 1), (-160, 2), (-75, 2), (-210, 2), (130, 1)),
    ((60, 1), (145, 2), (-40, 1)),
    ((-55, 1), (95, 1), (-180, 4), (70, 1), (110, 1)),
    ((-120, 2), (-190, 2), (-240, 2), (-310, 3)),
    ((75, 1), (-35, 1), (160, 2), (55, 1)),
    ((-165, 2), (-80, 2), (210, 2), (-45, 1)),
    ((90, 1), (130, 2)),
)
_HEAD = "Id,ContractName,EnteredAt,ExitedAt,EntryPrice,ExitPrice,Fees,PnL,Size,Type"


async def picture(size: tuple[int, int]) -> str:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        app = WhatIf(_question(), environ={})
        async with app.run_test(size=size) as pilot:
            await until(lambda: app.has_answered)
            await pilot.pause()
            await until(lambda: app.screen.query_one(Plot).rendered_in_s > 0)
            await pilot.press("down", "up")  # the list has its room only now
            await pilot.pause()
            return picture_of(app)


def _question() -> Question:
    """Write the files into the working folder, so that no path of this machine is shown."""
    ConfigFolder(Path("tighter")).risk(LIMITS)
    file = Path("trades.csv")
    file.write_text("\n".join((_HEAD, *_trades())), encoding="utf-8")
    asked = Asked(data=Path("data"), csv_file=file, account_id=101)
    return Question(config=Path("tighter"), asked=asked)


def _trades() -> Iterator[str]:
    number = 0
    for day, results in enumerate(DAYS):
        opens = datetime(2026, 11, 9, 9, 31, tzinfo=ZoneInfo("America/Chicago"))
        at = opens + timedelta(days=day + 2 * (day // 5))
        for result, lots in results:
            number += 1
            entered, exited = at, at + timedelta(minutes=9)
            at += timedelta(minutes=24)
            yield (
                f"{number},MNQZ6,{entered:%m/%d/%Y %H:%M:%S} -06:00,{exited:%m/%d/%Y %H:%M:%S} "
                f"-06:00,21000,{21000 + result / lots / 2},{0.74 * lots:.2f},{result},{lots},Long"
            )
