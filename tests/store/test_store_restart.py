"""What a restart must not lose: every field of an account, every lock, the one missed reset."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from desk import MORNING, contract, contract_id
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from stored_desk import StoppedClock, StoredDesk, at, opened, rows, stored_desk, tamper
from stored_rows import daily_summaries, enforcement, lock_history, trades

from risk_manager.domain.account import Account, Breach, Closing, Mark
from risk_manager.domain.call_brake import Brake
from risk_manager.domain.decisions import ClosePosition, DayReset, Severity
from risk_manager.domain.events import Tick
from risk_manager.domain.executions import Execution
from risk_manager.domain.holdings import Order, Position
from risk_manager.domain.locks import Lock, LockKind, LockPolicy, Release
from risk_manager.domain.records import OrderSide, OrderStatus, OrderType
from risk_manager.domain.rulebook import Defaults, Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import Step, step
from risk_manager.store.finding import OpenedAs
from risk_manager.store.rows import instant, ledger_of, micros
from risk_manager.store.store import verify_audit

LIMIT = {"max_contracts": {"limit": 2}}
LOSS = {"daily_realized_loss": {"limit": 500}}

# --- any account at all ---------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
instants = st.integers(1_577_836_800_000_000, 1_893_456_000_000_000).map(
    lambda microseconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
)
money = st.decimals(
    allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9
)
prices = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=0, max_value=10**6)
ids = st.integers(0, 2**62)
sizes = st.integers(1, 500)
symbols = st.sampled_from([contract_id(s) for s in ("MNQ", "ES", "CL", "6E")])
WEDNESDAY = date(2026, 11, 18)
dates = st.sampled_from([WEDNESDAY, WEDNESDAY - timedelta(days=1)])


def keyed(values: st.SearchStrategy[Any], key: Any) -> st.SearchStrategy[dict[Any, Any]]:
    return st.lists(values, max_size=4).map(lambda vs: {key(v): v for v in vs})


@st.composite
def positions(draw: Any) -> Position:
    sided = draw(st.booleans())
    size = draw(sizes)
    return Position(
        contract_id=draw(symbols),
        net=-size if sided and draw(st.booleans()) else size,
        sided=sided,
        episode=draw(st.integers(1, 10**6)),
        opened_at=draw(instants),
        increased_at=draw(instants),
        average_price=draw(st.none() | prices),
        created_at=draw(st.none() | instants),
        gateway_id=draw(ids),
    )


orders = st.builds(
    Order,
    id=ids,
    contract_id=symbols,
    type=st.sampled_from(OrderType),
    status=st.sampled_from(OrderStatus),
    side=st.sampled_from(OrderSide),
    size=sizes,
    seen_at=instants,
    filled=st.integers(0, 500),
    limit_price=st.none() | prices,
    stop_price=st.none() | prices,
    custom_tag=st.none() | words,
    created_at=st.none() | instants,
    updated_at=st.none() | instants,
)
executions = st.builds(
    Execution,
    id=ids,
    contract_id=symbols,
    order_id=ids,
    side=st.sampled_from(OrderSide),
    size=sizes,
    price=prices,
    pnl=st.none() | money,
    fees=prices,
    voided=st.booleans(),
    executed_at=instants,
    received_at=instants,
    trading_date=dates,
)
locks = st.builds(
    Lock,
    account_id=st.just(101),
    scope=st.sampled_from(["account", "root:ES"]) | words,
    rule_id=words,
    kind=st.sampled_from(LockKind),
    policy=st.sampled_from(LockPolicy),
    release=st.sampled_from(Release),
    reason=words,
    set_at=instants,
    expires_at=st.none() | instants,
    trading_date=dates,
    trigger=words,
    admin_may_clear=st.booleans(),
)
marks = st.builds(
    Mark, rule_id=words, subject=words, set_at=instants, due_at=st.none() | instants, value=words
)
breaches = st.builds(
    Breach,
    rule_id=words,
    subject=words,
    first_at=instants,
    last_at=instants,
    count=sizes,
    trading_date=dates,
    severity=st.sampled_from(Severity),
    active=st.booleans(),
)
closings = st.builds(
    Closing,
    contract_id=symbols,
    episode=st.integers(0, 10**6),
    since=instants,
    rule_ids=st.lists(words, max_size=3).map(tuple),
    reason=words,
    order_ids=st.frozensets(ids, max_size=4),
)
accounts = st.builds(
    Account,
    id=st.just(101),
    trading_date=st.just(WEDNESDAY),
    name=words,
    balance=st.none() | money,
    can_trade=st.none() | st.booleans(),
    can_trade_since=st.none() | instants,
    simulated=st.none() | st.booleans(),
    reported_at=st.none() | instants,
    positions=keyed(positions(), lambda p: p.contract_id),
    orders=keyed(orders, lambda o: o.id),
    ledger=keyed(executions, lambda e: e.id).map(lambda es: ledger_of(es.values())),
    locks=keyed(locks, lambda x: x.key),
    ceilings=st.dictionaries(symbols, st.integers(-500, 500), max_size=4),
    marks=keyed(marks, lambda m: (m.rule_id, m.subject)),
    breaches=keyed(breaches, lambda b: (b.rule_id, b.subject)),
    closings=keyed(closings, lambda c: c.contract_id),
    failed_rules=st.frozensets(words, max_size=3),
    next_episode=st.integers(1, 10**9),
    next_action=st.integers(1, 10**9),
)


def as_the_core_has_it(account: Account) -> Account:
    """There are no ceilings without a lock that needs them."""
    needed = any(lock.policy is LockPolicy.NO_ENTRIES for lock in account.locks.values())
    return account if needed else replace(account, ceilings={})


def state_with(account: Account, now: datetime = MORNING) -> State:
    return replace(State.at(now, Rulebook()), accounts={account.id: account})


def same(found: Account, kept: Account) -> bool:
    """Equal in all that is kept. When it was last reported is written along with other news."""
    gone: dict[str, Any] = {
        "attempts": {},
        "heard": {},
        "finished": {},
        "unlisted": {},
        "outlived": {},
    }
    gone |= {"disputes": {}}
    return found == replace(kept, **gone, brake=found.brake, reported_at=found.reported_at)


async def commit(store: Any, before: State, after: State) -> None:
    await store.commit(Tick(at=after.now), before, Step(state=after))


@given(first=accounts.map(as_the_core_has_it), second=accounts.map(as_the_core_has_it))
@settings(
    max_examples=25,
    deadline=None,
    # Each example opens two databases: shrinking one would take minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_any_account_survives_a_restart_and_so_does_what_it_becomes(
    tmp_path_factory: pytest.TempPathFactory, first: Account, second: Account
) -> None:
    path = tmp_path_factory.mktemp("any")
    # What has been traded is never taken back.
    second = replace(
        second, ledger=ledger_of({**first.ledger.entries, **second.ledger.entries}.values())
    )
    async with at(path) as store:
        empty = await store.restore(Rulebook(), MORNING)
        one, two = state_with(first), state_with(second, MORNING + timedelta(seconds=1))
        await commit(store, empty, one)
        assert same((await store.restore(Rulebook(), MORNING)).accounts[101], first)
        await commit(store, one, two)
        assert store.trouble is None
    async with at(path) as store:
        found = await store.restore(Rulebook(), MORNING)
        assert same(found.accounts[101], second)
        assert verify_audit(store.path) is None


@given(instants)
def test_instants_are_stored_to_the_microsecond(moment: datetime) -> None:
    assert instant(micros(moment)) == moment


# --- stories --------------------------------------------------------------------------------------


async def test_both_halves_of_a_reversal_under_one_id_outlive_a_restart(tmp_path: Path) -> None:
    """F1.5: Two executions under one trade id are two after a restart as well."""
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LIMIT))
        await desk.fill("MNQ", -1, fees="0.37", trade_id=9002, order_id=5)
        await desk.fill("MNQ", -1, pnl=-300, fees="0.37", trade_id=9002, order_id=5)
        before = desk.account().ledger
    async with at(tmp_path) as store:
        found = await store.restore(Rulebook(), MORNING)
        assert dict(found.accounts[101].ledger.entries) == dict(before.entries)
        assert len(before.entries) == 2
        assert [e.pnl for e in await trades(store, 101, MORNING.date())] == [None, Decimal(-300)]


async def test_a_trading_morning_is_the_same_after_a_restart(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LIMIT, **LOSS))
        await desk.position("MNQ", 2)
        await desk.stop("MNQ", -2)
        await desk.fill("MNQ", 2, fees="0.74")
        await desk.loss("510.25", fees="0.74")
        await desk.can_trade(True, balance="49489.75")
        await desk.wait(seconds=5)
        kept = desk.pipeline.state
        assert kept.accounts[101].locks
    async with at(tmp_path) as store:
        desk = await stored_desk(store, **LIMIT, **LOSS).restored(kept.now)
        found = desk.pipeline.state
        assert found.contracts == kept.contracts
        assert found.roots == kept.roots
        assert found.holders == kept.holders
        assert same(found.accounts[101], kept.accounts[101])
        assert found.accounts[101].positions[contract_id("MNQ")].valuation is not None
        await desk.wait(seconds=1)
        assert any(isinstance(a, ClosePosition) for a in desk.enforcer.actions)


async def test_an_action_in_flight_is_lost_with_the_process_and_its_number_not_used_again(
    tmp_path: Path,
) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LIMIT))
        await desk.position("MNQ", 5)
        [first] = desk.enforcer.actions
    assert rows(tmp_path, "SELECT id, state FROM intents") == [(first.id, "SENT")]
    async with at(tmp_path) as store:
        desk = await stored_desk(store, **LIMIT).restored()
        assert rows(tmp_path, "SELECT state, last_error IS NULL FROM intents") == [("LOST", 0)]
        await desk.wait(seconds=1)
        [again] = desk.enforcer.actions
        assert again.id != first.id
        log = await enforcement(store, 101)
        assert {(r.intent_id, r.outcome) for r in log if r.intent_id} == {
            (first.id, "lost"),
            (again.id, "sent"),
        }


async def test_the_calls_of_the_last_minute_count_after_a_restart(tmp_path: Path) -> None:
    few = Defaults(max_calls_a_minute=10)
    async with at(tmp_path) as store:
        desk = await opened(StoredDesk(store, defaults=few))
        await desk.admin("lock", policy="flat")
        for _ in range(11):
            await desk.order("MNQ", 1, price=20000)
            await desk.obey()
            await desk.wait(seconds=1)
        kept = desk.account().brake
        assert kept.on_since is not None
        now = desk.now
    async with at(tmp_path) as store:
        rulebook = Rulebook(defaults=few)
        found = await store.restore(rulebook, now)
        assert found.accounts[101].brake == kept
        found = await store.restore(rulebook, now + timedelta(seconds=70))
        assert found.accounts[101].brake == Brake()
        found = await store.restore(rulebook, now - timedelta(hours=1))
        assert found.accounts[101].brake == Brake(), "a clock set back forgets them"


async def test_a_reset_missed_while_down_happens_once(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LOSS))
        await desk.can_trade(True, balance=50_000)
        await desk.loss(600)
        assert desk.pipeline.state.accounts[101].locks
    tuesday = MORNING + timedelta(days=4)
    async with at(tmp_path, clock=StoppedClock(tuesday)) as store:
        desk = await stored_desk(store, **LOSS).restored(tuesday)
        resets = 0
        for second in range(3):
            outcome = await desk.happens(Tick(at=tuesday + timedelta(seconds=second)))
            resets += sum(isinstance(f, DayReset) for f in outcome.facts)
        assert resets == 1
        assert not desk.pipeline.state.accounts[101].locks
        [day] = await daily_summaries(store, 101)
        assert (day.trading_day, day.net, day.trade_count) == (
            MORNING.date(),
            Decimal(-600),
            1,
        )
        assert day.end_balance == Decimal(50_000)
        [lock] = await lock_history(store, 101)
        assert lock.cleared_by == "daily_reset"
    assert rows(tmp_path, "SELECT last_reset_day, last_reset_at IS NULL FROM reset_state") == [
        ("2026-11-24", 0)
    ]
    async with at(tmp_path) as store:
        found = await store.restore(Rulebook(), tuesday + timedelta(seconds=5))
        event = Tick(at=tuesday + timedelta(seconds=6))
        assert not any(isinstance(f, DayReset) for f in step(found, event).facts)


async def test_overlapping_locks_each_keep_their_history(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LOSS))
        soon = desk.now + timedelta(minutes=5)
        await desk.admin("lock", until=soon, policy="no_entries")
        await desk.admin("lock", scope="root:ES")
        await desk.loss(600)
        await desk.admin("unlock", scope="root:ES")
        await desk.admin("lock", scope="root:ES")
        await desk.wait(minutes=6)
        history = await lock_history(store, 101)
        told = {(r.lock.scope, r.lock.rule_id, r.cleared_by) for r in history}
        assert told == {
            ("account", "manual", "timer_expiry"),
            ("root:ES", "manual", "admin_override"),
            ("root:ES", "manual", None),
            ("account", "daily_realized_loss", None),
        }
        kept = desk.pipeline.state.accounts[101].locks
    async with at(tmp_path) as store:
        found = await store.restore(Rulebook(), desk.now)
        assert found.accounts[101].locks == kept


async def test_a_lock_prolonged_is_one_row_with_the_later_end(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store))
        for minutes in (5, 30, 10):
            await desk.admin("lock", until=desk.now + timedelta(minutes=minutes))
        [row] = await lock_history(store, 101)
        assert row.lock.expires_at == desk.now + timedelta(minutes=30)


async def test_a_late_fill_of_yesterday_corrects_yesterdays_summary(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store))
        await desk.loss(100)
        last_second = desk.pipeline.state.day.ends_at - timedelta(seconds=1)
        await desk.wait_until(last_second + timedelta(seconds=3))
        await desk.loss(50, at=last_second)
        [day] = await daily_summaries(store, 101)
        assert (day.net, day.trade_count) == (Decimal(-150), 2)


async def test_only_the_accounts_asked_for_come_back(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        await opened(StoredDesk(store, accounts=(101, 202)))
        found = await store.restore(Rulebook(), MORNING, only=[202])
        assert list(found.accounts) == [202]


async def test_contracts_come_back_exact(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        await opened(stored_desk(store))
    async with at(tmp_path) as store:
        found = await store.restore(Rulebook(), MORNING)
        assert found.contracts == {contract_id("MNQ"): contract("MNQ")}


def put_aside(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.name.startswith("state.db.corrupt-")]


async def test_a_row_no_one_can_read_is_told_and_not_guessed(tmp_path: Path) -> None:
    async with at(tmp_path) as store:
        desk = await opened(stored_desk(store, **LOSS))
        await desk.loss(600)
        await store.notes.put("limits", "as agreed")
        await store.keeper.keep()
        [lock] = desk.pipeline.state.accounts[101].locks.values()
    tamper(tmp_path, "UPDATE breaches SET severity = 'whatever'")
    async with at(tmp_path) as store:
        found = await store.restore(Rulebook(), MORNING)
        assert not found.accounts[101].ledger.entries
        assert list(found.accounts[101].locks.values()) == [lock]  # the marker told
        assert store.opened_as is OpenedAs.CORRUPT
        assert store.needs_reconciling
        assert store.had_locks
        assert "whatever" in store.opened_why
        assert await store.notes.get("limits") == "as agreed"
        assert store.trouble is None
    assert len(put_aside(tmp_path)) == 1
    async with at(tmp_path) as store:  # a second start does not forget
        assert store.needs_reconciling
