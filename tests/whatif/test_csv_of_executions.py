"""Executions from a file: a TopstepX export and our own, judged without quotes."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from desk import rules_from

from risk_manager.domain.records import OrderSide
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.domain.trading_calendar import TradingDay
from risk_manager.whatif.amounts import Between
from risk_manager.whatif.csv_files import UnreadableFile, read_fills
from risk_manager.whatif.fills import Fill, by_day, judgeable, recording_of
from risk_manager.whatif.judging import judge_day
from risk_manager.whatif.outcomes import Kind, Slippage
from risk_manager.whatif.result import Result, result_of

HEADER = (
    "Id,ContractName,EnteredAt,ExitedAt,EntryPrice,ExitPrice,Fees,PnL,Size,Type,TradeDay,"
    "TradeDuration"
)
DAY = "11/20/2026"


def row(number: int, entered: str, exited: str, pnl: str, **other: str) -> str:
    cells = {
        "contract": "MNQZ6",
        "entry": "21000.00",
        "exit": "20950.00",
        "fees": "1.48",
        "size": "1",
        "type": "Long",
    } | other
    return (
        f"{number},{cells['contract']},{DAY} {entered} -06:00,{DAY} {exited} -06:00,"
        f"{cells['entry']},{cells['exit']},{cells['fees']},{pnl},{cells['size']},{cells['type']},"
        f"{DAY} 00:00:00 -06:00,00:05:00"
    )


def file_of(*rows: str, header: str = HEADER) -> str:
    return "\n".join((header, *rows)) + "\n"


def book(**rules: Any) -> Rulebook:
    return Rulebook(accounts={101: AccountRules.of(rules_from(**rules))})


def judged(fills: list[Fill], rulebook: Rulebook) -> Result:
    days = by_day(fills, rulebook.day)
    return result_of(
        (judge_day(day, recording_of(f, rulebook), rulebook) for day, f in days.items()),
        Slippage(),
        has_quotes=False,
    )


def test_a_row_of_the_platform_becomes_two_fills() -> None:
    text = file_of(row(7, "09:31:15", "09:36:15", "100.00", type="Short"))
    entry, exit_ = read_fills(text, account_id=101)
    assert (entry.side, exit_.side) == (OrderSide.SELL, OrderSide.BUY)
    assert entry.at == datetime(2026, 11, 20, 15, 31, 15, tzinfo=UTC)
    assert (entry.price, exit_.price) == (Decimal(21000), Decimal(20950))
    assert (entry.pnl, exit_.pnl) == (None, Decimal(100))
    assert entry.fees + exit_.fees == Decimal("1.48")
    assert (entry.contract.tick_size, entry.contract.tick_value) == (
        Decimal("0.25"),
        Decimal("0.50"),
    )
    assert entry.order_id != exit_.order_id


def test_commissions_count_where_they_are_given() -> None:
    text = file_of(
        row(7, "09:31:15", "09:36:15", "100.00") + ",0.52", header=HEADER + ",Commissions"
    )
    assert sum(fill.fees for fill in read_fills(text, account_id=101)) == Decimal("2.00")


def test_missing_columns_are_named() -> None:
    header = HEADER.replace("ExitedAt,", "").replace("Fees", "Charges")
    with pytest.raises(UnreadableFile, match="lacks the columns ExitedAt, Fees"):
        read_fills(file_of(header=header), account_id=101)
    with pytest.raises(UnreadableFile, match=r"lacks the column pnl$"):
        read_fills(
            "at,account_id,trade_id,order_id,symbol,side,size,price,costs,voided\n",
            account_id=None,
        )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (row(7, "09:31:15", "09:30:15", "1"), "line 2: ExitedAt is before EnteredAt"),
        (row(7, "09:31:15", "09:36:15", "1", type="Both"), "neither Long nor Short"),
        (row(7, "09:31:15", "09:36:15", "1", contract="XYZZ6"), "'XYZZ6' is not known"),
        (row(7, "09:31:15", "09:36:15", "many"), "PnL is 'many', and no number"),
        (row(7, "09:31:15", "09:36:15", "NaN"), "PnL is 'NaN', and no number"),
        (row(7, "09:31:15", "09:36:15", "1", size="0"), "Size is '0'"),
        (row(7, "09:31:15", "09:36:15", "1").replace(" -06:00,21", ",21"), "no time with its"),
    ],
)
def test_a_wrong_line_is_named(wrong: str, told: str) -> None:
    with pytest.raises(UnreadableFile, match=told):
        read_fills(file_of(wrong), account_id=101)


def test_a_file_without_accounts_needs_one_and_an_empty_one_is_refused() -> None:
    with pytest.raises(UnreadableFile, match="give --account ID"):
        read_fills(file_of(row(7, "09:31:15", "09:36:15", "1")), account_id=None)
    with pytest.raises(UnreadableFile, match="holds no executions"):
        read_fills(file_of(), account_id=101)


def test_our_own_export_is_read_back() -> None:
    text = (
        "at,trading_day,account_id,trade_id,order_id,symbol,side,size,price,costs,pnl,net,voided\n"
        "2026-11-20T16:00:00+00:00,2026-11-20,101,1,11,MNQZ6,buy,2,21000,0.74,,,False\n"
        "2026-11-20T16:01:00+00:00,2026-11-20,101,2,12,MNQZ6,sell,2,20990,0.74,-40,-40.74,False\n"
        "2026-11-20T16:01:30+00:00,2026-11-20,102,3,13,MNQZ6,sell,2,20990,0.74,-40,-40.74,False\n"
        "2026-11-20T16:02:00+00:00,2026-11-20,101,4,14,MNQZ6,buy,2,21000,0.74,,,True\n"
    )
    assert [f.trade_id for f in read_fills(text, account_id=None)] == [1, 2, 3]
    assert [f.pnl for f in read_fills(text, account_id=101)] == [None, Decimal(-40)]


def test_trades_of_one_second_follow_each_other() -> None:
    text = file_of(
        row(2, "09:36:15", "09:36:15", "-100"),
        row(1, "09:31:15", "09:36:15", "-100"),
        row(3, "09:36:15", "09:40:00", "-100", type="Short"),
    )
    result = judged(read_fills(text, account_id=101), book())
    (day,) = result.days
    assert [o.episode.size for o in day.outcomes] == [1, 1, 1]
    assert [o.episode.side for o in day.outcomes] == [1, 1, -1]
    assert day.recorded == Decimal("-304.44")


def test_a_tighter_daily_loss_prevents_what_came_after_it() -> None:
    text = file_of(
        row(1, "09:31:15", "09:36:15", "-100.00"),
        row(2, "09:41:15", "09:46:15", "-100.00"),
        row(3, "09:51:15", "09:56:15", "-100.00"),
    )
    result = judged(read_fills(text, account_id=101), book(daily_realized_loss={"limit": 200}))
    (day,) = result.days
    assert [o.kind for o in day.outcomes] == [Kind.UNCHANGED, Kind.UNCHANGED, Kind.PREVENTED]
    assert day.known == Between(Decimal("-205.44"), Decimal("-202.96"))


def test_a_close_without_quotes_is_estimated_between_the_prices_of_the_trade() -> None:
    text = file_of(
        row(1, "09:31:15", "10:30:15", "-400", exit="20800.00"),
        row(2, "09:41:15", "09:46:15", "-300", contract="MESZ6", entry="6000", exit="5940"),
    )
    result = judged(read_fills(text, account_id=101), book(daily_realized_loss={"limit": 300}))
    first, second = result.days[0].outcomes
    assert second.kind is Kind.UNCHANGED
    assert (first.kind, first.is_estimate) == (Kind.CUT_EARLY, True)
    # From the entry to the exit, less the fees; at the lower end two ticks more.
    assert first.result == Between(Decimal("-402.48"), Decimal("-1.48"))


def test_rules_by_the_clock_are_asked_between_the_fills() -> None:
    text = file_of(row(1, "09:31:15", "10:30:15", "-400", exit="20800.00"))
    hours = {"sessions": [{"days": ["fri"], "start": "08:30", "end": "10:00"}]}
    rulebook = book(session_block_outside={**hours, "timezone": "America/Chicago"})
    (turn,) = judged(read_fills(text, account_id=101), rulebook).days[0].outcomes
    assert turn.kind is Kind.CUT_EARLY
    assert turn.rule_id == "session_block_outside"


def test_rules_that_need_orders_or_quotes_are_left_out_and_named() -> None:
    rulebook = book(
        no_stop_loss_grace={},
        daily_unrealized_loss={"limit": 100, "scope": "position"},
        daily_realized_loss={"limit": 100, "include_unrealized": True},
        max_contracts={"limit": 1},
    )
    kept, told = judgeable(rulebook)
    rules = {rule.rule: rule for rule in kept.accounts[101].rules}
    assert set(rules) == {"daily_realized_loss", "max_contracts"}
    assert rules["daily_realized_loss"].model_dump()["include_unrealized"] is False
    assert len(told) == 3
    assert any("no_stop_loss_grace is not judged" in line for line in told)


def test_a_year_of_trades_is_grouped_by_trading_date() -> None:
    text = file_of(row(1, "15:59:00", "16:30:00", "-1"), row(2, "17:30:00", "17:31:00", "-1"))
    fills = read_fills(text, account_id=101)
    days = by_day(fills, TradingDay())
    assert list(days) == [date(2026, 11, 20), date(2026, 11, 23)]
