"""Writing the shipped table of exchange days from pandas_market_calendars.

For whoever prepares a release, with the dependency group `calendar` installed:
python -m risk_manager.settings.generate_calendar --from 2024 --to 2028
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.market_calendar import SHIPPED

# Our group, the library's calendar, and the products that follow it.
GROUPS = (
    ("equity_index", "CME Globex Equity", "ES MES NQ MNQ RTY M2K YM MYM NKD EMD"),
    ("energy", "CMEGlobex_Crude", "CL MCL QM NG QG MNG RB HO"),
    ("metals", "CMEGlobex_Gold", "GC MGC SI SIL HG MHG PL PA"),
    ("currencies", "CMEGlobex_FX", "6A 6B 6C 6E 6J 6M 6N 6S E7 M6A M6B M6E"),
    ("interest_rates", "CME Globex Interest Rate Products", "ZB ZN ZF ZT UB TN"),
    ("crypto", "CME Globex Crypto", "BTC MBT ETH MET"),
    ("grains", "CMEGlobex_Grains", "ZC ZS ZW ZM ZL"),
    ("livestock", "CMEGlobex_Livestock", "LE HE GF"),
)
# Groups that trade round the clock, holidays and weekends included, since the close of a day.
ROUND_THE_CLOCK = {"crypto": date(2026, 5, 29)}
TIMEZONE = "America/Chicago"
_SATURDAY = 5


def exceptions(calendar: Any, first: date, last: date) -> Iterator[dict[str, Any]]:
    """The dates on which a calendar of the library differs from its own ordinary day."""
    schedule = calendar.schedule(first.isoformat(), last.isoformat())
    hours = {
        day.date(): tuple(
            row[column].tz_convert(TIMEZONE).strftime("%H:%M")
            for column in ("market_open", "market_close")
        )
        for day, row in schedule.iterrows()
    }
    usual_open, usual_close = (
        Counter(times).most_common(1)[0][0] for times in zip(*hours.values(), strict=True)
    )
    day = first
    while day <= last:
        if day in hours:
            opens, closes = hours[day]
            differs = {
                **({"open": opens} if opens != usual_open else {}),
                **({"close": closes} if closes != usual_close else {}),
            }
        else:
            differs = {"closed": True} if day.weekday() < _SATURDAY else {}
        if differs:
            yield {"date": day.isoformat(), **differs}
        day += timedelta(days=1)


def table(first: date, last: date) -> dict[str, Any]:
    """The whole table, in the shape of calendar.yaml."""
    import pandas_market_calendars as library  # only here: heavy, and not needed to run

    return {
        "version": 1,
        "source": f"pandas_market_calendars {library.__version__}",
        "through": last.isoformat(),
        "groups": {
            group: {
                "products": products.split(),
                "timezone": TIMEZONE,
                **_round_the_clock(group),
                "days": [
                    day
                    for day in exceptions(library.get_calendar(name), first, last)
                    if date.fromisoformat(day["date"]) <= ROUND_THE_CLOCK.get(group, last)
                ],
            }
            for group, name, products in GROUPS
        },
    }


def _round_the_clock(group: str) -> dict[str, str]:
    since = ROUND_THE_CLOCK.get(group)
    return {} if since is None else {"round_the_clock_since": since.isoformat()}


def text_of(data: dict[str, Any]) -> str:
    """As JSON with one date a line, so that a change of the table can be reviewed."""
    groups = []
    for name, group in data["groups"].items():
        days = ",\n        ".join(json.dumps(day) for day in group["days"])
        head = f'{json.dumps(name)}: {{\n      "products": {json.dumps(group["products"])},'
        zone = f'"timezone": {json.dumps(group["timezone"])},'
        if "round_the_clock_since" in group:
            zone += f'\n      "round_the_clock_since": "{group["round_the_clock_since"]}",'
        groups.append(f'    {head}\n      {zone}\n      "days": [\n        {days}\n      ]\n    }}')
    head = "".join(
        f"  {json.dumps(k)}: {json.dumps(v)},\n" for k, v in data.items() if k != "groups"
    )
    return "{\n" + head + '  "groups": {\n' + ",\n".join(groups) + "\n  }\n}\n"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m risk_manager.settings.generate_calendar", description=__doc__
    )
    parser.add_argument("--from", dest="first", type=int, required=True, metavar="YEAR")
    parser.add_argument("--to", dest="last", type=int, required=True, metavar="YEAR")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name(SHIPPED))
    asked = parser.parse_args(argv)
    try:
        data = table(date(asked.first, 1, 1), date(asked.last, 12, 31))
    except ImportError:
        print(
            "pandas_market_calendars is not installed; run: "
            'pip install "pandas_market_calendars>=5.1"',
            file=sys.stderr,
        )
        return 1
    text = text_of(data)
    CalendarFile.model_validate_json(text)
    asked.out.write_text(text, encoding="utf-8")
    print(f"{asked.out}: {asked.first} to {asked.last}, {data['source']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
