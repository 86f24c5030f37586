"""The outlook: coming sessions and rules in words, told at first and again when it changes."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from feed_daemon import ES, FeedDaemon, until
from feed_listener import listening

from risk_manager.domain.account import Account
from risk_manager.domain.events import RulebookReplaced
from risk_manager.domain.rule import Rule
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.domain.state import State
from risk_manager.feed.outlook import OutlookBook, outlook_of
from risk_manager.rules.daily_realized_loss import DailyRealizedLoss
from risk_manager.rules.flat_by import FlatBy
from risk_manager.rules.max_contracts_per_instrument import MaxContractsPerInstrument
from risk_manager.rules.release_window import ReleaseWindow
from risk_manager.rules.session_block_outside import SessionBlockOutside
from risk_manager.settings.calendar_file import CalendarFile
from risk_manager.settings.market_calendar import market_calendar
from risk_manager.settings.risk_file import CalendarSection

THANKSGIVING_WEEK = datetime(2026, 11, 24, 15, tzinfo=UTC)
CALENDAR = market_calendar(CalendarFile(), CalendarSection(), "America/Chicago")
LIMITS = MaxContractsPerInstrument(limits={"MNQ": 3, "ES": 1, "CL": 1, "M*": 2})
HOURS = SessionBlockOutside.model_validate(
    {
        "timezone": "America/Chicago",
        "sessions": [
            {"days": ["mon", "tue", "wed", "thu", "fri"], "start": "08:30", "end": "15:00"}
        ],
    }
)


def state_of(accounts: Mapping[int, tuple[Rule, ...]]) -> State:
    book = Rulebook(
        accounts={a: AccountRules.of(rules) for a, rules in accounts.items()}, calendar=CALENDAR
    )
    return replace(
        State.at(THANKSGIVING_WEEK, book),
        accounts={
            a: Account(id=a, trading_date=book.day.date_of(THANKSGIVING_WEEK)) for a in accounts
        },
    )


def test_configured_products_with_equal_sessions_share_a_row() -> None:
    outlook = outlook_of(state_of({101: (LIMITS,)}), {"MNQ"})
    assert [(row.group, row.products) for row in outlook.markets] == [
        ("energy", ("CL",)),
        ("equity index", ("ES", "MNQ")),
    ]
    index = {day.date: day for day in outlook.markets[1].days}
    assert index["2026-11-26"].differs == "early_close"
    assert index["2026-11-26"].closes_at == datetime(2026, 11, 26, 18, tzinfo=UTC)
    assert index["2026-11-27"].closes_at == datetime(2026, 11, 27, 18, 15, tzinfo=UTC)
    assert outlook.resets[0] == datetime(2026, 11, 24, 22, tzinfo=UTC)
    assert outlook.resets[4] == datetime(2026, 11, 30, 22, tzinfo=UTC)
    assert outlook.through == "2028-12-31"


def test_without_any_product_each_group_has_one() -> None:
    outlook = outlook_of(state_of({101: ()}), ())
    assert len(outlook.markets) == 8
    assert outlook.allowed == ()


def test_hours_that_a_rule_sets_follow_holidays_and_name_their_accounts() -> None:
    flat = FlatBy.of(state_of({}).rulebook.day, datetime(2026, 1, 1, 16, 5).time())  # noqa: DTZ001
    outlook = outlook_of(state_of({101: (HOURS,), 202: (HOURS, flat)}), {"MNQ", "ES", "CL"})
    rows = {(row.rule_id, row.products): row for row in outlook.allowed}
    assert set(rows) == {
        ("session_block_outside", ("CL",)),
        ("session_block_outside", ("ES", "MNQ")),
        ("flat_by", ("CL",)),
        ("flat_by", ("ES", "MNQ")),
    }
    index = rows["session_block_outside", ("ES", "MNQ")]
    assert index.accounts == (101, 202)
    assert rows["flat_by", ("CL",)].accounts == (202,)
    thursday = [h for h in index.hours if h.opens_at.date().day == 26]
    assert [(h.opens_at.hour, h.closes_at.hour) for h in thursday] == [(14, 18)]


def test_each_rule_is_told_in_words_with_its_figures() -> None:
    outlook = outlook_of(state_of({101: (DailyRealizedLoss(limit=Decimal(450)), LIMITS)}), ())
    text = {row.rule_id: row.text for row in outlook.rules}
    assert "At a loss of $450.00" in text["daily_realized_loss"]
    assert "3 MNQ" in text["max_contracts_per_instrument"]


def test_it_is_made_anew_only_when_something_has_changed() -> None:
    book, state = OutlookBook(), state_of({101: (LIMITS,)})
    first = book.of(state)
    assert book.of(replace(state, now=state.now + timedelta(minutes=5))) is first
    tomorrow = state.now + timedelta(days=1)
    later = replace(state, now=tomorrow, day=state.rulebook.day.window(tomorrow))
    assert book.of(later) is not first
    edited = replace(later, rulebook=replace(later.rulebook, accounts={}))
    assert book.of(edited).rules == ()


@pytest.mark.wire
async def test_it_comes_with_the_snapshot_and_again_after_an_edit(tmp_path: Path) -> None:
    async with FeedDaemon(tmp_path) as daemon, listening(daemon, tmp_path) as listener:
        whole = listener.of("snapshot")[0]["data"]["outlook"]
        assert "$500.00" in next(
            r["text"] for r in whole["rules"] if r["rule_id"] == "daily_realized_loss"
        )
        await daemon.position(1)
        await daemon.position(1, contract_id=ES)
        await daemon.tick()
        [told] = await until(lambda: listener.of("outlook"))
        assert told["account_id"] is None
        assert {p for row in told["data"]["markets"] for p in row["products"]} == {"MNQ", "ES"}
        await daemon.tick()
        await daemon.position(0)  # it stays until the day turns
        await daemon.tick()
        book = daemon.pipeline.state.rulebook
        rules = AccountRules.of((DailyRealizedLoss(limit=Decimal(250)),))
        await daemon.happen(
            RulebookReplaced(at=daemon.clock.now(), rulebook=replace(book, accounts={101: rules}))
        )
        await daemon.tick()
        await until(lambda: len(listener.of("outlook")) == 2)
        assert [r["rule_id"] for r in listener.of("outlook")[1]["data"]["rules"]] == [
            "daily_realized_loss"
        ]
        assert all(
            "outlook" not in f["data"] or f["data"]["outlook"] is None for f in listener.refreshed()
        )


def test_releases_of_the_ten_days_are_told_once_for_accounts_that_share_them() -> None:
    rule = ReleaseWindow.model_validate(
        {
            "windows": [
                {"at": "2026-11-25 07:30", "name": "GDP", "roots": ["ES"], "action": "flat"},
                {"at": "2026-11-24 09:02", "name": "in force"},
                {"at": "2026-11-24 08:00", "name": "over"},
                {"at": "2027-01-13 07:30", "name": "CPI"},
            ]
        }
    )
    outlook = outlook_of(state_of({101: (rule,), 202: (rule,), 303: ()}), ())
    assert [(r.name, r.accounts, r.products, r.is_flat) for r in outlook.releases] == [
        ("in force", (101, 202), (), False),
        ("GDP", (101, 202), ("ES",), True),
    ]
    gdp = outlook.releases[1]
    assert gdp.starts_at == datetime(2026, 11, 25, 13, 25, tzinfo=UTC)
    assert gdp.ends_at == datetime(2026, 11, 25, 13, 35, tzinfo=UTC)
