"""What is not known well enough: named, aged, told once, an emergency in time, and over again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from desk import MORNING, Desk, contract_id, make_desk

from risk_manager.domain.decisions import Alarm, Severity
from risk_manager.domain.events import AccountReported, HealthIssueChanged
from risk_manager.domain.exchange_hours import opens_next, trading_since
from risk_manager.domain.health_issue import CLOCK_AHEAD, HealthIssue, IssueKind
from risk_manager.domain.market_calendar import ExchangeDay, MarketCalendar

MNQ = contract_id("MNQ")


def standing(desk: Desk) -> dict[str, HealthIssue]:
    return {d.kind.value: d for d in desk.pipeline.state.health_issues.values() if d.stands}


def told(desk: Desk) -> list[tuple[str, Severity]]:
    alarms = [f for s in desk.store.steps for f in s.facts if isinstance(f, Alarm)]
    return [(a.code, a.severity) for a in alarms]


async def reported(
    desk: Desk, balance: float, trades: list[dict[str, Any]] | None = None, **held: int
) -> None:
    await desk.happens(
        AccountReported.model_validate(
            {
                "at": desk.now,
                "asked_at": desk.now - timedelta(milliseconds=50),
                "account_id": 101,
                "account": {"id": 101, "name": "A", "balance": balance, "canTrade": True},
                "positions": [
                    {
                        "accountId": 101,
                        "contractId": contract_id(s),
                        "type": 1,
                        "size": n,
                        "averagePrice": 21000,
                    }
                    for s, n in held.items()
                ],
                "orders": [],
                "trades": trades or [],
            }
        )
    )


# --- prices ---------------------------------------------------------------------------------------


async def test_a_held_contract_without_prices_is_in_doubt_told_once_and_over() -> None:
    desk = make_desk()
    await desk.position("MNQ", 1)
    await desk.quote("MNQ", 21000)
    await desk.wait(seconds=9)
    assert standing(desk) == {}
    await desk.wait(seconds=6)
    assert standing(desk)["stale_quotes"].subject == MNQ
    assert standing(desk)["stale_quotes"].since == MORNING + timedelta(seconds=1)
    assert told(desk) == [("stale_quotes", Severity.WARNING)]
    await desk.wait(seconds=5)
    await desk.quote("MNQ", 21001)
    await desk.wait(seconds=1)
    assert standing(desk) == {}
    assert told(desk)[-1] == ("stale_quotes", Severity.INFO)


async def test_thirty_seconds_blind_with_a_position_is_an_emergency_told_once() -> None:
    desk = make_desk()
    await desk.position("MNQ", 1)
    await desk.wait(seconds=90)
    assert standing(desk)["stale_quotes"].critical
    assert [s for _, s in told(desk)] == [Severity.WARNING, Severity.CRITICAL]


async def test_a_price_that_flickers_is_not_told_anew_each_time() -> None:
    desk = make_desk()
    await desk.position("MNQ", 1)
    for _ in range(8):
        await desk.wait(seconds=12)
        assert "stale_quotes" in standing(desk)
        await desk.quote("MNQ", 21000)
        await desk.wait(seconds=1)
    assert [s for _, s in told(desk)] == [Severity.WARNING, Severity.INFO]


async def test_a_price_that_flickers_and_then_stays_away_is_told_again() -> None:
    desk = make_desk()
    await desk.position("MNQ", 1)
    await desk.wait(seconds=12)
    await desk.quote("MNQ", 21000)
    await desk.wait(seconds=12)
    await desk.quote("MNQ", 21000)
    before = len(told(desk))
    await desk.wait(seconds=45)
    assert [s for _, s in told(desk)[before:]] == [Severity.WARNING, Severity.CRITICAL]
    await desk.quote("MNQ", 21000)
    await desk.wait(seconds=1)
    assert told(desk)[-1] == ("stale_quotes", Severity.INFO)


async def test_contracts_nobody_holds_need_no_price() -> None:
    desk = make_desk()
    await desk.quote("MNQ", 21000)
    await desk.wait(minutes=2)
    assert standing(desk) == {}


@pytest.mark.parametrize(
    "shut",
    [
        datetime(2026, 11, 20, 22, 30, tzinfo=UTC),  # the daily break, 16:30 in Chicago
        datetime(2026, 11, 21, 16, 0, tzinfo=UTC),  # Saturday
    ],
)
async def test_no_price_is_expected_while_the_exchange_is_shut(shut: datetime) -> None:
    desk = make_desk(desk_at=shut)
    await desk.position("MNQ", 1)
    await desk.wait(minutes=5)
    assert standing(desk) == {}


async def test_after_the_opening_a_price_gets_its_time_to_come() -> None:
    sunday = datetime(2026, 11, 22, 22, 59, 30, tzinfo=UTC)
    desk = make_desk(desk_at=sunday)
    await desk.position("MNQ", 1)
    await desk.wait(seconds=39)
    assert standing(desk) == {}
    await desk.wait(seconds=3)
    assert standing(desk)["stale_quotes"].since == sunday + timedelta(seconds=30)


def test_openings_by_the_calendar() -> None:
    thanksgiving = datetime(2026, 11, 26, 15, 0, tzinfo=UTC)
    calendar = MarketCalendar(
        groups={"MNQ": "equity"},
        days={
            ("equity", thanksgiving.date()): ExchangeDay(
                closes_at=datetime(2026, 11, 26, 18, 0, tzinfo=UTC)
            ),
            ("equity", datetime(2026, 12, 25, tzinfo=UTC).date()): ExchangeDay(closed=True),
        },
    )
    assert trading_since(calendar, "MNQ", thanksgiving) is not None
    after = thanksgiving + timedelta(hours=4)
    assert trading_since(calendar, "MNQ", after) is None
    assert opens_next(calendar, "MNQ", after) == datetime(2026, 11, 26, 23, 0, tzinfo=UTC)
    # Christmas is a Friday: shut from Thursday's close until Sunday evening.
    christmas = datetime(2026, 12, 24, 23, 30, tzinfo=UTC)
    assert opens_next(calendar, "MNQ", christmas) == datetime(2026, 12, 27, 23, 0, tzinfo=UTC)
    assert opens_next(calendar, "MNQ", datetime(2026, 11, 20, 16, 0, tzinfo=UTC)) is None


# --- streams and reads ----------------------------------------------------------------------------


async def test_a_lost_stream_is_a_doubt_and_with_exposure_an_emergency() -> None:
    desk = make_desk()
    await desk.hub("user", "up")
    await desk.order("MNQ", 1, price=20000)
    await desk.hub("user", "down")
    await desk.wait(seconds=2)
    assert standing(desk)["hub_down"].subject == "user"
    await desk.wait(seconds=30)
    assert ("hub_down", Severity.CRITICAL) in told(desk)
    await desk.hub("user", "up")
    await desk.wait(seconds=1)
    assert standing(desk) == {}


async def test_an_emergency_is_that_of_the_accounts_that_hold_something_and_it_ends() -> None:
    """F7.24: Blindness alarms each exposed account alone, and its end says how long it was."""
    desk = Desk(accounts=(101, 102))
    await desk.hub("user", "up")
    await desk.position("MNQ", 1)
    await desk.hub("user", "down")
    await desk.wait(seconds=35)

    def about_the_hub() -> list[Alarm]:
        alarms = [f for s in desk.store.steps for f in s.facts if isinstance(f, Alarm)]
        return [a for a in alarms if a.about == "hub_down:user"]

    alarms = about_the_hub()
    assert [(a.code, a.account_id) for a in alarms if a.severity is Severity.CRITICAL] == [
        ("user_hub_down", 101),
        ("hub_down", 101),
    ]
    await desk.position("MNQ", 0)
    await desk.hub("user", "up")
    await desk.wait(seconds=1)
    ends = about_the_hub()[len(alarms) :]
    assert [a.message for a in ends] == [
        "regained the user stream",
        "was blind for 36s, over: the user stream is down",
    ]
    assert all(a.ends for a in ends)


async def test_a_lost_stream_without_exposure_is_no_emergency() -> None:
    desk = make_desk()
    await desk.hub("market", "down")
    await desk.wait(minutes=3)
    assert "hub_down" in standing(desk)
    assert all(s is not Severity.CRITICAL for _, s in told(desk))


async def test_what_is_told_of_several_contracts_comes_in_one_order_in_every_process() -> None:
    """Or a day played again does not tell the same, and one seed has two hashes."""
    desk = make_desk()
    await desk.hub("user", "up")
    await desk.wait(seconds=2)
    await reported(desk, 50_000)
    await desk.wait(seconds=5)
    await reported(desk, 50_000, NQ=1, MNQ=1, MES=1, RTY=1, ES=1, CL=1)
    contracts = sorted(contract_id(s) for s in ("NQ", "MNQ", "MES", "RTY", "ES", "CL"))
    state = desk.pipeline.state
    assert list(state.holders) == contracts
    assert list(state.unheard) == [(101, c) for c in contracts]


async def test_a_position_only_rest_knows_of_puts_the_stream_in_doubt() -> None:
    desk = make_desk()
    await desk.hub("user", "up")
    await desk.wait(seconds=2)
    await reported(desk, 50_000)
    await desk.wait(seconds=5)
    await reported(desk, 50_000, MNQ=2)
    await desk.wait(seconds=2)
    assert standing(desk) == {}  # the stream may follow yet
    await desk.wait(seconds=2)
    assert standing(desk)["positions_differ"].subject == MNQ
    # A new connection wipes the doubt out.
    await desk.hub("user", "down")
    await desk.hub("user", "up")
    await desk.quote("MNQ", 21000)
    await desk.wait(seconds=1)
    assert standing(desk) == {}


async def test_a_report_that_was_only_faster_than_the_stream_is_no_doubt() -> None:
    desk = make_desk()
    await desk.hub("user", "up")
    await desk.wait(seconds=2)
    await reported(desk, 50_000)
    await desk.wait(seconds=5)
    await reported(desk, 50_000, MNQ=2)
    await desk.wait(seconds=1)
    await desk.position("MNQ", 2)
    await desk.quote("MNQ", 21000)
    await desk.wait(seconds=6)
    assert standing(desk) == {}


async def test_what_the_daemon_reports_stands_until_it_takes_it_back() -> None:
    desk = make_desk()
    await desk.position("MNQ", 1)

    async def reads(reason: str) -> None:
        await desk.happens(
            HealthIssueChanged(
                at=desk.now, doubt=IssueKind.READS_FAILING, account_id=101, reason=reason
            )
        )

    await reads("account 101 cannot be read: HTTP 503")
    for _ in range(4):
        await desk.quote("MNQ", 21000)
        await desk.wait(seconds=9)
    assert standing(desk)["reads_failing"].account_id == 101
    assert told(desk) == [
        ("reads_failing", Severity.WARNING),
        ("reads_failing", Severity.CRITICAL),
    ]
    await reads("")
    await desk.wait(seconds=1)
    assert standing(desk) == {}
    assert told(desk)[-1] == ("reads_failing", Severity.INFO)


async def test_an_expired_preset_is_a_warning_and_never_an_emergency() -> None:
    desk = make_desk()
    await desk.position("MNQ", 1)

    async def expired(reason: str) -> None:
        await desk.happens(
            HealthIssueChanged(
                at=desk.now, doubt=IssueKind.PRESET_EXPIRED, subject="a-plan", reason=reason
            )
        )

    await expired("the preset a-plan has expired")
    for _ in range(5):
        await desk.quote("MNQ", 21000)
        await desk.wait(seconds=9)
    assert standing(desk)["preset_expired"].subject == "a-plan"
    assert told(desk) == [("preset_expired", Severity.WARNING)]
    await expired("")
    await desk.wait(seconds=1)
    assert standing(desk) == {}


async def test_after_standing_still_doubt_lasts_until_every_account_is_read() -> None:
    desk = make_desk(desk_accounts=(101, 102))
    await desk.wait(seconds=1)
    desk.now += timedelta(hours=1)
    await desk.happens(
        HealthIssueChanged(at=desk.now, doubt=IssueKind.SUSPENDED, reason="stood still")
    )
    await desk.wait(seconds=2)
    assert "suspended" in standing(desk)
    await desk.report(positions={})
    await desk.wait(seconds=1)
    assert "suspended" in standing(desk)
    await desk.report(positions={}, account=102)
    await desk.wait(seconds=1)
    assert standing(desk) == {}


# --- money ----------------------------------------------------------------------------------------


def trade(
    desk: Desk, number: int, pnl: float | None, fees: float, voided: bool = False
) -> dict[str, Any]:
    return {
        "id": number,
        "accountId": 101,
        "contractId": MNQ,
        "creationTimestamp": desk.now,
        "price": 21000,
        "profitAndLoss": pnl,
        "fees": fees,
        "side": 1,
        "size": 1,
        "voided": voided,
        "orderId": number,
    }


async def quietly(desk: Desk, balance: float, trades: list[dict[str, Any]], times: int = 2) -> None:
    for _ in range(times):
        await desk.wait(seconds=15)
        await reported(desk, balance, trades)
    await desk.wait(seconds=1)


async def test_a_balance_that_follows_the_trades_is_fine() -> None:
    desk = make_desk()
    await quietly(desk, 50_000, [])
    await quietly(desk, 50_000 - 101.5, [trade(desk, 1, None, 0.75), trade(desk, 2, -100, 0.75)])
    assert standing(desk) == {}


async def test_a_balance_that_moved_otherwise_is_a_doubt_until_it_fits_again() -> None:
    desk = make_desk()
    await quietly(desk, 50_000, [])
    trades = [trade(desk, 2, -100, 1)]
    await quietly(desk, 49_000, trades)
    assert standing(desk) == {}  # once may be a matter of moments
    await quietly(desk, 49_000, trades, times=1)
    assert "-$1,000.00" in standing(desk)["pnl_differs"].reason
    assert told(desk) == [("pnl_differs", Severity.WARNING)]
    await quietly(desk, 49_000, [*trades, trade(desk, 3, -898, 1)])
    assert standing(desk) == {}


async def test_nothing_is_compared_while_trades_are_still_coming() -> None:
    desk = make_desk()
    await quietly(desk, 50_000, [])
    await desk.loss(100)
    for _ in range(5):
        await desk.wait(seconds=1)
        await reported(desk, 50_000)
    assert standing(desk) == {}


async def test_fees_the_balance_does_not_know_of_are_told_as_such() -> None:
    desk = make_desk()
    await quietly(desk, 50_000, [])
    await quietly(desk, 49_900, [trade(desk, 2, -100, 14)])
    assert standing(desk) == {}
    assert told(desk) == [("fees_not_in_balance", Severity.WARNING)]


# --- time -----------------------------------------------------------------------------------------


async def test_while_our_time_is_ahead_of_the_gateways_no_lock_ends() -> None:
    desk = make_desk()
    await desk.admin("lock", until=desk.now + timedelta(minutes=5))
    kind, account_id, subject = CLOCK_AHEAD

    async def ahead(reason: str) -> None:
        await desk.happens(
            HealthIssueChanged(
                at=desk.now, doubt=kind, account_id=account_id, subject=subject, reason=reason
            )
        )

    await ahead("the daemon's time is an hour late")
    await desk.wait(minutes=10)
    assert desk.locked_by() == {"manual": "account"}
    await ahead("")
    await desk.wait(seconds=1)
    assert desk.locked_by() == {}


async def test_a_lock_for_the_day_ends_with_the_reset_and_not_by_hand() -> None:
    desk = make_desk()
    await desk.admin("lock_day", rule_id="lost_database", actor="daemon")
    await desk.admin("unlock")
    assert desk.locked_by() == {"lost_database": "account"}
    await desk.wait_until(desk.pipeline.state.day.ends_at)
    assert desk.locked_by() == {}
