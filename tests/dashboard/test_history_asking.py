"""What the open tab asks the daemon for, how often, and which page."""

from dataclasses import replace
from datetime import UTC, datetime

from risk_manager.dashboard.glance import Glance
from risk_manager.dashboard.history_asking import GAP_S, PATIENCE_S, HistoryAsking, pages_of
from risk_manager.dashboard.picture import Picture
from risk_manager.feed.history_request import HistoryRequest
from risk_manager.feed.messages import AccountSnapshot, History

NOW = datetime(2026, 11, 16, 15, 0, tzinfo=UTC)


def account(account_id: int = 101, executions: int = 0) -> AccountSnapshot:
    return AccountSnapshot(
        account_id=account_id,
        name="combine",
        mode="enforce",
        balance=None,
        can_trade=None,
        simulated=None,
        reported_at=None,
        trading_date="2026-11-16",
        realised_net=0.0,
        realised_gross=0.0,
        fees=0.0,
        unrealised=0.0,
        total=0.0,
        executions=executions,
        round_turns=0,
        contracts_held=0,
        lock_policy=None,
    )


def glance_at(tab: str, mono: float, *, executions: int = 0, every_account: bool = False) -> Glance:
    accounts = (account(executions=executions), account(202))
    return Glance(
        picture=Picture(accounts=accounts),
        account=accounts[0],
        now=NOW,
        mono=mono,
        tab=tab,
        every_account=every_account,
    )


def asked(requests: list[HistoryRequest]) -> list[tuple[str, int]]:
    return [(r.kind, r.account_id) for r in requests]


def answer_all(asking: HistoryAsking, requests: list[HistoryRequest]) -> None:
    for request in requests:
        assert asking.answered(request.account_id, History(id=request.id, kind=request.kind))


def test_each_tab_asks_for_what_it_shows_and_no_more() -> None:
    def of(tab: str, **more: bool) -> list[tuple[str, int]]:
        return asked(HistoryAsking().due(glance_at(tab, 0.0, **more)))

    assert of("overview") == [("day", 101), ("trades", 101)]
    assert of("pnl") == [("day", 101), ("trades", 101), ("days", 101)]
    assert of("lockouts") == [("locks", 101)]
    assert of("enforcement") == [("enforcements", 101), ("totals", 101)]
    assert of("lockouts", every_account=True) == [("locks", 101), ("locks", 202)]
    assert of("positions") == of("rules") == of("connections") == []


def test_a_page_is_asked_for_again_when_something_happened_or_it_is_old() -> None:
    asking = HistoryAsking()
    first = asking.due(glance_at("pnl", 0.0))
    answer_all(asking, first)
    assert asking.due(glance_at("pnl", 10.0)) == []
    again = asking.due(glance_at("pnl", 10.1, executions=1))
    assert asked(again) == [("day", 101), ("trades", 101)]
    answer_all(asking, again)
    assert asking.due(glance_at("pnl", 10.1 + GAP_S / 2, executions=2)) == []
    assert asking.due(glance_at("pnl", 10.1 + GAP_S, executions=2)) != []
    assert len({r.id for r in (*first, *again)}) == 5


def test_an_answer_that_does_not_come_is_waited_for_and_then_asked_for_again() -> None:
    asking = HistoryAsking()
    [lost] = asking.due(glance_at("lockouts", 0.0))
    assert asking.due(glance_at("lockouts", PATIENCE_S - 0.1)) == []
    [again] = asking.due(glance_at("lockouts", PATIENCE_S))
    assert not asking.answered(101, History(id=lost.id, kind="locks"))  # too late: an old page
    assert asking.answered(101, History(id=again.id, kind="locks"))
    assert not asking.answered(101, History(id=99, kind="dance"))
    asking.begin_anew()
    assert asked(asking.due(glance_at("lockouts", PATIENCE_S))) == [("locks", 101)]


def test_going_back_ends_at_the_newest_page_again() -> None:
    glance = glance_at("enforcement", 0.0)
    assert pages_of(glance) == {}  # nothing has been told yet

    def told(following: str | None) -> Glance:
        page = History(id=1, kind="enforcements", next=following)
        picture = replace(glance.picture, histories={("enforcements", 101): page})
        return replace(glance, picture=picture)

    back = pages_of(told("7.5"))
    assert back == {("enforcements", 101): "7.5"}
    at_the_oldest = replace(told(None), befores=back)
    assert pages_of(at_the_oldest) == {}
    assert pages_of(replace(told("7.5"), tab="rules")) == {}
    [request] = [
        r for r in HistoryAsking().due(replace(glance, befores=back)) if r.kind == "enforcements"
    ]
    assert request.before == "7.5"
