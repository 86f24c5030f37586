"""Consistency (EXTRA-012): no day makes too large a part of the profit."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from desk import MORNING, DeskMaker, rules_from
from pydantic import ValidationError
from trading_month import next_morning, open_profit, read, trade

from risk_manager.domain.rule import MeterState
from risk_manager.settings.commitment import combined

RULE = "consistency"
SINCE = "2026-11-20"
HALF = {"share": 0.5, "since": SINCE}
EVALUATION = {"share": 0.55, "profit_target": 3_000, "since": SINCE}
LOCKED = {RULE: "account"}

# A month in figures, by hand: one trade a day with 0.74 of fees (0.00: no trade). `total` is that
# of all days up to this evening. `half` and `forty` are what this day may make where the best day
# must stay below 50 % or 40 % of all profit: as much as the days before made together, or two
# thirds of it ("-": undefined). `of target` is what it may make of a target of 3,000 at 55 %.
# `best` is the best day so far in per cent of all profit, and `target` the target it leaves.
#   result      net         total      half      forty     of target  best     target
MONTH = (
    ("493.00", "492.26", "492.26", "-", "-", "1650.00", "100.0", "3000.00"),
    ("-540.00", "-540.74", "-48.48", "492.26", "328.17", "1650.00", "-", "3000.00"),
    ("170.00", "169.26", "120.78", "-", "-", "1650.00", "407.6", "3000.00"),
    ("-650.00", "-650.74", "-529.96", "120.78", "80.52", "1650.00", "-", "3000.00"),
    ("1000.00", "999.26", "469.30", "-", "-", "1650.00", "212.9", "3000.00"),
    ("-100.50", "-101.24", "368.06", "469.30", "312.86", "1650.00", "271.5", "3000.00"),
    ("0.00", "0.00", "368.06", "368.06", "245.37", "1650.00", "271.5", "3000.00"),
    ("-550.00", "-550.74", "-182.68", "368.06", "245.37", "1650.00", "-", "3000.00"),
    ("630.50", "629.76", "447.08", "-", "-", "1650.00", "223.5", "3000.00"),
    ("-430.00", "-430.74", "16.34", "447.08", "298.05", "1650.00", "6115.4", "3000.00"),
    ("950.00", "949.26", "965.60", "16.34", "10.89", "1650.00", "103.5", "3000.00"),
    ("-500.00", "-500.74", "464.86", "965.60", "643.73", "1650.00", "215.0", "3000.00"),
    ("360.50", "359.76", "824.62", "464.86", "309.90", "1650.00", "121.2", "3000.00"),
    ("320.00", "319.26", "1143.88", "824.62", "549.74", "1650.00", "87.4", "3000.00"),
    ("-900.00", "-900.74", "243.14", "1143.88", "762.58", "1650.00", "411.0", "3000.00"),
    ("640.00", "639.26", "882.40", "243.14", "162.09", "1650.00", "113.2", "3000.00"),
    ("-50.00", "-50.74", "831.66", "882.40", "588.26", "1650.00", "120.2", "3000.00"),
    ("0.00", "0.00", "831.66", "831.66", "554.44", "1650.00", "120.2", "3000.00"),
    ("500.00", "499.26", "1330.92", "831.66", "554.44", "1650.00", "75.1", "3000.00"),
    ("-630.00", "-630.74", "700.18", "1330.92", "887.28", "1650.00", "142.7", "3000.00"),
    ("700.50", "699.76", "1399.94", "700.18", "466.78", "1650.00", "71.4", "3000.00"),
    ("-240.00", "-240.74", "1159.20", "1399.94", "933.29", "1650.00", "86.2", "3000.00"),
    ("340.00", "339.26", "1498.46", "1159.20", "772.80", "1650.00", "66.7", "3000.00"),
    ("1330.00", "1329.26", "2827.72", "1498.46", "998.97", "1650.00", "47.0", "3000.00"),
    ("-1000.00", "-1000.74", "1826.98", "2827.72", "1885.14", "1650.00", "72.8", "3000.00"),
    ("360.00", "359.26", "2186.24", "1826.98", "1217.98", "1650.00", "60.8", "3000.00"),
    ("-260.50", "-261.24", "1925.00", "2186.24", "1457.49", "1650.00", "69.1", "3000.00"),
    ("610.00", "609.26", "2534.26", "1925.00", "1283.33", "1650.00", "52.5", "3000.00"),
    ("1990.00", "1989.26", "4523.52", "2534.26", "1689.50", "1650.00", "44.0", "3616.84"),
    ("-90.00", "-90.74", "4432.78", "4523.52", "3015.68", "1989.26", "44.9", "3616.84"),
)  # fmt: skip


def limit_of(text: str) -> Decimal | None:
    return None if text == "-" else Decimal(text)


async def test_a_month_of_thirty_days_to_the_cent(desk: DeskMaker) -> None:
    kinds = [
        {"id": "half", **HALF},
        {"id": "forty", "share": 0.4, "since": SINCE},
        {"id": "target", **EVALUATION},
    ]
    d = desk(consistency=kinds)
    await read(d)
    for number, (result, net, total, half, forty, target, best, raised) in enumerate(MONTH, 1):
        limits = [d.meter(rule_id).limit for rule_id in ("half", "forty", "target")]
        assert (number, limits) == (number, [*map(limit_of, (half, forty, target))])
        if result != "0.00":
            await trade(d, result)
        told = d.meter("target").sentence
        share = "" if best == "-" else f" = {best} %"
        assert f"of {_dollars(total)}{share}, target {_dollars(raised)}; " in told, (number, told)
        if number % 9 == 0:
            await d.restart()
        day = d.account().trading_date
        await next_morning(d)
        assert (number, d.account().days.ended[day].net) == (number, Decimal(net))
    assert d.locked_by() == {}


def _dollars(amount: str) -> str:
    value = Decimal(amount)
    return f"{'-' if value < 0 else ''}${abs(value):,.2f}"


async def other_days(desk: DeskMaker, profit: str, **rule: Any) -> Any:
    """A day after a first one that made so much."""
    d = desk(consistency={**HALF, **rule})
    await read(d)
    await trade(d, profit, fee="0")
    await next_morning(d)
    return d


async def test_e12_others_of_1500_leave_1500_for_today(desk: DeskMaker) -> None:
    d = await other_days(desk, "1500.00")
    await trade(d, "1499.99", fee="0")
    assert d.reasons == []
    assert d.meter(RULE).sentence == (
        "best day $1,500.00 of $2,999.99 = 50.0 %; today may still make $0.01"
    )
    await trade(d, "0.01", fee="0")
    assert d.reasons == ["made $1,500.00 today, may make $1,500.00 to be consistent"]
    assert (d.locked_by(), d.actions) == ({}, [])


async def test_enforced_it_is_the_target_of_the_day(desk: DeskMaker) -> None:
    d = await other_days(desk, "1500.00", enforce=True)
    await d.position("MNQ", 1)
    await trade(d, "1500.00", fee="0")
    assert (d.locked_by(), d.actions) == (LOCKED, ["close MNQ"])
    await next_morning(d)
    assert d.locked_by() == {}


async def test_without_profit_of_other_days_it_is_undefined(desk: DeskMaker) -> None:
    d = await other_days(desk, "-200.00", enforce=True)
    await trade(d, "9000.00", fee="0")
    assert (d.locked_by(), d.reasons) == ({}, [])
    assert d.meter(RULE).limit is None
    assert d.meter(RULE).sentence == (
        "best day $9,000.00 of $8,800.00 = 102.3 %; undefined before other days have made a profit"
    )


@pytest.mark.parametrize(
    ("best", "today", "target"),
    [("1000.00", "1650.00", "$3,000.00"), ("1800.00", "1800.00", "$3,272.73")],
)
async def test_a_better_day_raises_the_target_of_the_evaluation(
    desk: DeskMaker, best: str, today: str, target: str
) -> None:
    d = await other_days(desk, best, share=0.55, profit_target=3_000, enforce=True)
    assert d.meter(RULE).limit == Decimal(today)
    assert f"target {target}" in d.meter(RULE).sentence
    await trade(d, str(Decimal(today) - Decimal("0.01")), fee="0")
    assert d.locked_by() == {}
    await trade(d, "0.01", fee="0")
    assert d.locked_by() == LOCKED


async def test_open_profit_counts_when_asked_for(desk: DeskMaker) -> None:
    d = await other_days(desk, "600.00", enforce=True, include_unrealized=True)
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "0", "599.50")
    assert d.locked_by() == {}
    await open_profit(d, "600")
    assert d.locked_by() == LOCKED


async def test_days_before_the_beginning_do_not_count(desk: DeskMaker) -> None:
    d = await other_days(desk, "1500.00", since="2026-11-23")
    assert d.meter(RULE).limit is None


async def test_an_unknown_day_leaves_it_unknown_and_is_told(desk: DeskMaker) -> None:
    d = await other_days(desk, "1500.00", enforce=True)
    d.now += timedelta(days=2)
    await d.restart(read=False)
    await d.wait(minutes=2)
    await trade(d, "5000.00", fee="0")
    assert (d.locked_by(), d.meter(RULE).state) == ({}, MeterState.UNKNOWN)
    assert d.alarms.count("history_unknown") == 1


async def test_a_beginning_before_the_first_day_watched_is_asked_of_the_broker(
    desk: DeskMaker,
) -> None:
    d = desk(consistency={**HALF, "since": "2026-11-18"})
    await d.report(positions={}, trades=[])
    assert d.meter(RULE).state is MeterState.UNKNOWN
    began = MORNING - timedelta(days=10)
    await d.report(positions={}, trades=[], trades_since=began)
    assert d.meter(RULE).state is MeterState.OK


def test_it_needs_a_beginning() -> None:
    with pytest.raises(ValidationError, match="since"):
        rules_from(consistency={"share": 0.5})


@pytest.mark.parametrize(
    ("new", "ids"),
    [
        ({**HALF, "share": 0.4}, {RULE}),
        ({**HALF, "share": 0.55}, {RULE, f"{RULE} (until the reset)"}),
        ({**HALF, "since": "2026-11-23"}, {RULE, f"{RULE} (until the reset)"}),
        ({**HALF, "enforce": True}, {RULE, f"{RULE} (until the reset)"}),
    ],
)
def test_a_smaller_part_replaces_the_older_one(
    desk: DeskMaker, new: dict[str, Any], ids: set[str]
) -> None:
    before, after = (desk(consistency=x).rulebook for x in (HALF, new))
    assert {rule.id for rule in combined(before, after).for_account(101).rules} == ids
