"""The trailing maximum loss (EXTRA-001): three kinds of floor, to the cent."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from desk import Desk, DeskMaker, rules_from
from pydantic import ValidationError
from trading_month import closed, next_morning, open_profit, opened, read, trade

from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.rule import MeterState
from risk_manager.settings.commitment import combined

PLAN = {"start_balance": 50_000, "distance": 2_000}
EXPRESS = {"start_balance": 0, "distance": 2_000}
RULE = "trailing_max_drawdown"
LOCKED = {RULE: "account"}

# A month in figures, by hand. Each day begins with one trade. Then one MNQ is held, whose open
# profit is `peak` at best, and which is closed at `last`. A half of a trade costs 0.37. `balance`
# is that of the evening, and the floors are those of the next day: EOD, balance, equity.
#   first      peak      last       balance     eod         balance     equity
MONTH = (
    ("312.50", "200.00", "180.50", "50491.52", "48491.52", "48491.52", "48511.39"),
    ("-240.00", "150.00", "-300.00", "49950.04", "48491.52", "48491.52", "48511.39"),
    ("120.00", "500.00", "50.00", "50118.56", "48491.52", "48491.52", "48568.93"),
    ("-450.00", "100.00", "-200.00", "49467.08", "48491.52", "48491.52", "48568.93"),
    ("600.00", "900.00", "400.00", "50465.60", "48491.52", "48491.52", "48965.97"),
    ("50.00", "300.00", "-150.50", "50363.62", "48491.52", "48514.86", "48965.97"),
    ("0.00", "0.00", "0.00", "50363.62", "48491.52", "48514.86", "48965.97"),
    ("-300.00", "50.00", "-250.00", "49812.14", "48491.52", "48514.86", "48965.97"),
    ("220.00", "640.00", "410.50", "50441.16", "48491.52", "48514.86", "48965.97"),
    ("180.00", "100.00", "-610.00", "50009.68", "48491.52", "48620.42", "48965.97"),
    ("750.00", "1200.00", "200.00", "50958.20", "48958.20", "48958.20", "49958.57"),
    ("-100.00", "300.00", "-400.00", "50456.72", "48958.20", "48958.20", "49958.57"),
    ("50.50", "200.00", "310.00", "50815.74", "48958.20", "48958.20", "49958.57"),
    ("440.00", "150.00", "-120.00", "51134.26", "49134.26", "49255.00", "49958.57"),
    ("-600.00", "100.00", "-300.00", "50232.78", "49134.26", "49255.00", "49958.57"),
    ("280.00", "450.00", "360.00", "50871.30", "49134.26", "49255.00", "49958.57"),
    ("150.00", "1800.00", "-200.00", "50819.82", "49134.26", "49255.00", "50000.00"),
    ("0.00", "0.00", "0.00", "50819.82", "49134.26", "49255.00", "50000.00"),
    ("330.00", "200.00", "170.00", "51318.34", "49318.34", "49318.34", "50000.00"),
    ("-520.00", "250.00", "-110.00", "50686.86", "49318.34", "49318.34", "50000.00"),
    ("410.00", "350.00", "290.50", "51385.88", "49385.88", "49385.88", "50000.00"),
    ("90.00", "600.00", "-330.00", "51144.40", "49385.88", "49475.14", "50000.00"),
    ("260.00", "120.00", "80.00", "51482.92", "49482.92", "49482.92", "50000.00"),
    ("620.00", "950.00", "710.00", "52811.44", "50000.00", "50000.00", "50000.00"),
    ("-800.00", "100.00", "-200.00", "51809.96", "50000.00", "50000.00", "50000.00"),
    ("140.00", "550.00", "220.00", "52168.48", "50000.00", "50000.00", "50000.00"),
    ("-90.00", "300.00", "-170.50", "51906.50", "50000.00", "50000.00", "50000.00"),
    ("370.00", "280.00", "240.00", "52515.02", "50000.00", "50000.00", "50000.00"),
    ("530.00", "1400.00", "460.00", "53503.54", "50000.00", "50000.00", "50000.00"),
    ("-210.00", "150.00", "120.00", "53412.06", "50000.00", "50000.00", "50000.00"),
)


def floor(desk: Desk) -> Decimal:
    """Today's floor, as the meter says it."""
    sentence = desk.meter(RULE).sentence.replace("$", "").replace(",", "")
    _, _, after = sentence.partition("today ")
    return Decimal(after.split()[0].rstrip(";"))


async def at_balance(desk: Desk, balance: str) -> Desk:
    await read(desk, balance)
    return desk


@pytest.mark.parametrize(
    ("mode", "column"), [("eod", 4), ("intraday_balance", 5), ("intraday_equity", 6)]
)
async def test_a_month_of_thirty_days_to_the_cent(desk: DeskMaker, mode: str, column: int) -> None:
    d = desk(trailing_max_drawdown={**PLAN, "mode": mode})
    await read(d, "50000.00")
    assert floor(d) == Decimal(48_000)
    for number, row in enumerate(MONTH, 1):
        first, peak, last, balance = row[:4]
        if first != "0.00":
            await trade(d, first)
            await opened(d)
            await open_profit(d, "0", peak, last)
            await closed(d, last)
        if number % 7 == 0:
            await d.restart()
        await next_morning(d, balance)
        assert (number, floor(d)) == (number, Decimal(row[column]))
        day, ended = max(d.account().days.ended.items())
        assert (number, ended.balance) == (number, Decimal(balance)), day
    assert d.locked_by() == {}


# An express funded account: it begins at 0 and its floor rises to 0. On the 20th day 1,250.00 is
# paid out, and the firm sets the floor to 0. One trade a day, 0.74 of fees.
#   result      balance     floor of the next day
EXPRESS_MONTH = (
    ("150.00", "149.26", "-1850.74"), ("-90.00", "58.52", "-1850.74"),
    ("210.50", "268.28", "-1731.72"), ("175.00", "442.54", "-1557.46"),
    ("-320.00", "121.80", "-1557.46"), ("80.00", "201.06", "-1557.46"),
    ("260.00", "460.32", "-1539.68"), ("-45.50", "414.08", "-1539.68"),
    ("199.00", "612.34", "-1387.66"), ("155.00", "766.60", "-1233.40"),
    ("-210.00", "555.86", "-1233.40"), ("305.00", "860.12", "-1139.88"),
    ("120.00", "979.38", "-1020.62"), ("-60.00", "918.64", "-1020.62"),
    ("240.00", "1157.90", "-842.10"), ("180.00", "1337.16", "-662.84"),
    ("-130.00", "1206.42", "-662.84"), ("290.00", "1495.68", "-504.32"),
    ("75.00", "1569.94", "-430.06"), ("110.00", "1679.20", "-320.80"),
    # Paid out overnight: 1,679.20 - 1,250.00 = 429.20. The floor is 0 from here on.
    ("60.00", "488.46", "0.00"), ("-150.00", "337.72", "0.00"), ("95.00", "431.98", "0.00"),
    ("220.00", "651.24", "0.00"), ("-40.00", "610.50", "0.00"), ("180.00", "789.76", "0.00"),
    ("310.00", "1099.02", "0.00"), ("-200.00", "898.28", "0.00"), ("450.00", "1347.54", "0.00"),
    ("900.00", "2246.80", "0.00"),
)  # fmt: skip


async def test_a_payout_moves_the_floor_and_a_month_goes_on_from_it(desk: DeskMaker) -> None:
    d = desk(trailing_max_drawdown=EXPRESS)
    await read(d, "0.00")
    assert floor(d) == Decimal(-2_000)
    for number, (result, balance, tomorrow) in enumerate(EXPRESS_MONTH, 1):
        await trade(d, result)
        if number == 21:
            assert d.locked_by() == {}
        await next_morning(d, balance)
        assert (number, floor(d)) == (number, Decimal(tomorrow))
        if number == 20:
            await read(d, "429.20")  # the money has gone: said twice, it is believed
            await read(d, "429.20")
            await d.new_rules(rules_from(trailing_max_drawdown={**EXPRESS, "floor": 0}))
            assert floor(d) == 0
            assert d.meter(RULE).sentence.startswith("$429.20 above the floor")
    assert d.locked_by() == {}
    await trade(d, "-2246.06")
    assert d.locked_by() == LOCKED


async def test_the_floor_follows_the_evening_and_never_falls(desk: DeskMaker) -> None:
    d = desk(trailing_max_drawdown=PLAN)
    await read(d, "50000.00")
    for result, evening, tomorrow in (
        ("500.00", "50500.00", 48_500),
        ("-500.00", "50000.00", 48_500),
        ("2500.00", "52500.00", 50_000),
        ("-900.00", "51600.00", 50_000),
    ):
        await trade(d, result, fee="0")
        await next_morning(d, evening)
        assert floor(d) == tomorrow


async def test_the_best_of_the_day_does_not_count_at_its_end(desk: DeskMaker) -> None:
    d = desk(trailing_max_drawdown=PLAN)
    await read(d, "50000.00")
    await trade(d, "500.00", fee="0")
    await next_morning(d, "50500.00")
    await trade(d, "1400.00", fee="0")  # 51,900 within the day
    assert d.meter(RULE).sentence == (
        "$3,400.00 above the floor: today $48,500.00, tomorrow $49,900.00 as it stands"
    )
    await trade(d, "-1700.00", fee="0")
    await next_morning(d, "50200.00")
    assert floor(d) == 48_500


async def test_open_positions_count_at_once_and_the_floor_itself_is_enough(
    desk: DeskMaker,
) -> None:
    d = desk(trailing_max_drawdown=PLAN)
    await read(d, "48400.00")
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "-399.50")
    assert d.locked_by() == {}
    await open_profit(d, "-400.00")
    assert (d.locked_by(), d.actions) == (LOCKED, ["close MNQ"])
    assert d.reasons == ["balance and open positions are $48,000.00, floor $48,000.00; locked flat"]


async def test_the_buffer_acts_earlier(desk: DeskMaker) -> None:
    d = desk(trailing_max_drawdown={**PLAN, "buffer": 50})
    await read(d, "48050.01")
    assert d.locked_by() == {}
    await trade(d, "-0.01", fee="0")
    assert d.locked_by() == LOCKED


async def test_the_lock_outlasts_the_reset_a_restart_and_a_hasty_administrator(
    desk: DeskMaker,
) -> None:
    d = desk(trailing_max_drawdown=PLAN)
    await read(d, "47999.00")
    assert d.locked_by() == LOCKED
    await d.admin("unlock")
    await d.restart()
    await next_morning(d, "47999.00")
    assert d.locked_by() == LOCKED
    await d.admin("unlock")  # on the next day it may be, but the floor is reached still
    await d.wait(seconds=1)
    assert (len(d.locks_cleared), d.locked_by()) == (1, LOCKED)
    await next_morning(d)
    await read(d, "50000.00")  # the firm has put the account back
    await read(d, "50000.00")
    await d.admin("unlock")
    await d.wait(seconds=1)
    assert d.locked_by() == {}


async def test_a_balance_that_nobody_states_is_unknown_and_is_told(desk: DeskMaker) -> None:
    d = desk(trailing_max_drawdown=PLAN)
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "-9000")
    await d.loss(5000)
    await d.wait(minutes=3)
    assert (d.locked_by(), d.meter(RULE).state) == ({}, MeterState.UNKNOWN)
    assert IssueKind.HISTORY_UNKNOWN in {kind for kind, *_ in d.pipeline.state.health_issues}
    assert d.alarms.count("history_unknown") == 1
    await d.report(positions={"MNQ": 1}, trades=[], balance="45000.00")
    assert d.locked_by() == LOCKED


async def test_a_silent_price_excuses_no_certain_loss(desk: DeskMaker) -> None:
    d = desk(trailing_max_drawdown=PLAN)
    await read(d, "49000.00")
    await d.position("MNQ", 1, 21000)
    await open_profit(d, "0", "-100")
    await d.wait(seconds=15)
    await d.loss("850.00", "MES")  # 48,150 - 100, give or take the day's 100
    await d.wait(seconds=4)
    assert (d.locked_by(), d.meter(RULE).state) == ({}, MeterState.UNKNOWN)
    await d.loss("150.00", "MES")
    await d.wait(seconds=4)
    assert d.locked_by() == LOCKED


async def test_a_close_told_in_two_messages_is_no_breach(desk: DeskMaker) -> None:
    """For a moment the loss stands in the fills and in the position."""
    d = desk(trailing_max_drawdown=PLAN)
    await read(d, "49000.00")
    await opened(d)
    await open_profit(d, "-600")
    await closed(d, "-600.00")
    assert d.locked_by() == {}


async def test_a_win_whose_position_ends_before_its_fill_is_told_is_no_breach(
    desk: DeskMaker,
) -> None:
    d = desk(trailing_max_drawdown={**PLAN, "mode": "intraday_equity"})
    await read(d, "50000.00")
    await opened(d)
    await open_profit(d, "0", "1500", "1900")  # the floor: 49,899.63
    assert floor(d) == Decimal("49899.63")
    await d.position("MNQ", 0)
    await d.wait(seconds=1)
    assert d.locked_by() == {}
    await d.fill("MNQ", -1, pnl="1850.00", fees="0.37")
    await d.wait(seconds=5)
    assert d.locked_by() == {}
    assert d.meter(RULE).sentence.startswith("$1,949.63 above the floor")


async def test_a_fill_that_never_comes_does_not_silence_it_for_good(desk: DeskMaker) -> None:
    d = desk(trailing_max_drawdown=PLAN)
    await read(d, "48100.00")
    await opened(d)
    await d.position("MNQ", 0)
    await trade(d, "-200.00", "ES")
    await d.wait(seconds=4)
    assert d.locked_by() == LOCKED


async def test_a_day_nobody_watched_comes_from_the_list_of_trades(desk: DeskMaker) -> None:
    d = desk(trailing_max_drawdown=PLAN)
    await read(d, "50000.00")
    friday = d.pipeline.state.day
    reset = friday.ends_at
    # The daemon is away until Wednesday. Monday made 700, and Tuesday lost 450.
    monday, tuesday = reset + timedelta(days=2, hours=18), reset + timedelta(days=3, hours=18)
    d.now = tuesday + timedelta(days=1)
    await d.restart(read=False)
    await d.wait(minutes=2)
    assert "history_unknown" in d.alarms
    assert d.meter(RULE).state is MeterState.UNKNOWN
    trades = [
        {
            "id": number,
            "accountId": 101,
            "contractId": "CON.F.US.MNQ.Z26",
            "orderId": number,
            "creationTimestamp": at,
            "price": 21000,
            "profitAndLoss": pnl,
            "fees": 0,
            "side": 1,
            "size": 1,
            "voided": False,
        }
        for number, at, pnl in ((1, monday, 700), (2, tuesday, -450))
    ]
    await d.report(positions={}, trades=trades, trades_since=friday.starts_at, balance="50250.00")
    ended = d.account().days.ended
    assert [str(day) for day in ended.values()] == [
        "0 0 50000.00",
        "700 0 50700.00",
        "-450 0 50250.00",
    ]
    assert floor(d) == 48_700
    assert d.meter(RULE).state is MeterState.OK


async def test_a_day_that_stays_unknown_lowers_no_floor_and_is_told(desk: DeskMaker) -> None:
    d = desk(trailing_max_drawdown=PLAN)
    await read(d, "50000.00")
    await trade(d, "800.00", fee="0")
    await next_morning(d, "50800.00")
    assert floor(d) == 48_800
    d.now += timedelta(days=2)
    await d.restart(read=False)
    await read(d, "50100.00")
    await d.wait(minutes=2)
    assert floor(d) == 48_800
    assert d.meter(RULE).sentence.endswith("at least, as days are unknown")
    assert d.alarms.count("history_unknown") == 1


async def test_an_evening_is_corrected_by_a_trade_that_comes_late(desk: DeskMaker) -> None:
    d = desk(trailing_max_drawdown=PLAN)
    await read(d, "50000.00")
    evening = d.pipeline.state.day.ends_at - timedelta(minutes=6)
    await next_morning(d)
    await d.fill("MNQ", -1, pnl="300.00", at=evening)
    await read(d, "50300.00")
    assert floor(d) == 48_300


async def test_a_stated_floor_counts_from_its_day(desk: DeskMaker) -> None:
    """The firm has put the account back to 50,000: what it once had does not count any more."""
    d = desk(trailing_max_drawdown=PLAN)
    await read(d, "50000.00")
    await trade(d, "2500.00", fee="0")
    await next_morning(d, "52500.00")
    assert floor(d) == 50_000
    today = d.account().trading_date
    fresh = {**PLAN, "floor": 48_000, "floor_from": today}
    await d.new_rules(rules_from(trailing_max_drawdown=fresh))
    assert floor(d) == 48_000
    await next_morning(d)
    assert floor(d) == 50_000  # 52,500 was the balance of that evening, too


@pytest.mark.parametrize(
    ("old", "new", "holds"),
    [
        ({}, {"buffer": 50}, {RULE}),
        ({}, {"floor": 49_000}, {RULE}),
        ({"floor": 49_000}, {}, {RULE, f"{RULE} (until the reset)"}),
        ({}, {"distance": 2_500}, {RULE, f"{RULE} (until the reset)"}),
        ({}, {"mode": "intraday_equity"}, {RULE, f"{RULE} (until the reset)"}),
        ({"floor": 48_500}, {"floor": 48_000}, {RULE, f"{RULE} (until the reset)"}),
    ],
)
def test_raising_the_floor_holds_at_once_and_lowering_it_waits(
    desk: DeskMaker, old: dict[str, Any], new: dict[str, Any], holds: set[str]
) -> None:
    before = desk(trailing_max_drawdown={**PLAN, **old}).rulebook
    after = desk(trailing_max_drawdown={**PLAN, **new}).rulebook
    assert {rule.id for rule in combined(before, after).for_account(101).rules} == holds


def test_a_day_without_a_floor_is_refused() -> None:
    with pytest.raises(ValidationError, match="floor_from needs floor"):
        rules_from(trailing_max_drawdown={**PLAN, "floor_from": "2026-11-20"})
