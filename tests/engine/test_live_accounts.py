"""A live funded account is only watched, unless its owner has said otherwise in so many words."""

import json
from dataclasses import replace

from desk import Desk, rules_from

from risk_manager.domain.account import Account
from risk_manager.domain.decisions import Alarm, Severity
from risk_manager.domain.events import AccountChanged, AccountOpened, Tick
from risk_manager.domain.rulebook import AccountRules, Mode, Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import step
from risk_manager.store import serialization

BLOCK = {"blocked": ["RTY"]}


def desk(*, on_live: bool = False, mode: Mode = Mode.ENFORCE) -> Desk:
    rules = rules_from(max_contracts={"limit": 2}, symbol_blocks=BLOCK)
    d = Desk(rules, mode=mode)
    if on_live:
        d = Desk(rules)
        d.pipeline.state = State.at(d.now, allowed(d.rulebook))
    return d


def allowed(book: Rulebook) -> Rulebook:
    own = book.for_account(101)
    ids = frozenset(rule.id for rule in own.rules)
    return replace(book, accounts={101: replace(own, on_live=ids)})


def told(d: Desk) -> list[Alarm]:
    facts = [fact for done in d.store.steps for fact in done.facts]
    return [f for f in facts if isinstance(f, Alarm) and f.code == "live_account"]


async def stated(d: Desk, simulated: bool | None) -> None:
    fields = {"at": d.now, "id": 101, "name": "A", "canTrade": True, "simulated": simulated}
    await d.happens(AccountChanged.model_validate(fields))


async def test_a_live_account_is_in_shadow_whatever_the_configuration_says() -> None:
    d = desk()
    await stated(d, simulated=False)
    await d.position("MNQ", 5)
    assert d.actions == []
    assert [decision.shadow for decision in d.decisions] == [True]


async def test_a_simulated_account_is_enforced() -> None:
    d = desk()
    await stated(d, simulated=True)
    await d.position("MNQ", 5)
    assert d.actions != []


async def test_an_account_of_which_nothing_is_stated_is_guarded_as_configured() -> None:
    d = desk()
    await stated(d, simulated=None)
    await d.position("MNQ", 5)
    assert d.actions != []


async def test_a_record_without_the_field_leaves_a_live_account_live() -> None:
    d = desk()
    await stated(d, simulated=False)
    await stated(d, simulated=None)
    await d.position("MNQ", 5)
    assert d.actions == []


async def test_it_is_known_from_the_opening_of_the_account_on() -> None:
    d = Desk(rules_from(max_contracts={"limit": 2}))
    await d.happens(AccountOpened(at=d.now, account_id=101, simulated=False))
    await d.position("MNQ", 5)
    assert d.actions == []


async def test_a_live_account_is_enforced_where_its_owner_has_allowed_it() -> None:
    d = desk(on_live=True)
    await stated(d, simulated=False)
    await d.position("MNQ", 5)
    assert d.actions != []
    await d.wait(seconds=2)
    assert "live_account" not in d.alarms


async def test_the_reason_is_an_alarm_and_stands_as_an_issue() -> None:
    d = desk()
    await stated(d, simulated=False)
    await d.wait(seconds=3)
    assert d.alarms.count("live_account") == 1
    [alarm] = told(d)
    assert (alarm.severity, alarm.account_id) == (Severity.CRITICAL, 101)
    assert "TopstepX forbids automated trading" in alarm.message
    assert "accounts.101.enforce_on_live: true" in alarm.message
    await stated(d, simulated=True)
    await d.wait(seconds=3)
    assert told(d)[-1].ends


async def test_an_account_put_in_shadow_by_its_owner_raises_no_alarm() -> None:
    d = desk(mode=Mode.SHADOW)
    await stated(d, simulated=False)
    await d.wait(seconds=3)
    assert "live_account" not in d.alarms


async def test_a_close_in_flight_is_not_repeated_once_the_account_is_known_to_be_live() -> None:
    d = desk()
    await d.position("MNQ", 5)
    before = len(d.enforcer.actions)
    assert before
    await stated(d, simulated=False)
    await d.wait(minutes=2)
    assert len(d.enforcer.actions) == before


async def test_a_lock_of_a_rule_is_kept_and_does_not_act_on_a_live_account() -> None:
    d = desk()
    await d.position("RTY", 1)  # blocked: locked and closed
    assert d.locked_by()
    await d.obey()
    await stated(d, simulated=False)
    before = len(d.enforcer.actions)
    await d.position("RTY", 1)
    await d.wait(seconds=30)
    assert len(d.enforcer.actions) == before
    assert d.locked_by()
    await stated(d, simulated=True)
    await d.wait(seconds=30)
    assert len(d.enforcer.actions) > before


async def test_what_a_person_orders_is_done_on_a_live_account_too() -> None:
    d = desk()
    await stated(d, simulated=False)
    await d.position("MNQ", 1)
    await d.admin("flatten")
    assert d.actions == ["close MNQ"]
    await d.obey()
    await d.admin("lock")
    await d.position("MNQ", 1)
    assert d.actions == ["close MNQ", "close MNQ"]


async def test_a_restart_keeps_it_before_anything_has_been_read() -> None:
    d = desk()
    await stated(d, simulated=False)
    await d.restart(read=False)
    await d.position("MNQ", 5)
    await d.wait(seconds=10)
    assert d.actions == []


def test_replay_keeps_it() -> None:
    """State and rulebook as the journal keeps them judge as before."""
    d = desk(on_live=True)
    for live_rules, acts in ((d.pipeline.state.rulebook, True), (d.rulebook, False)):
        state = replace(
            State.at(d.now, live_rules),
            accounts={101: Account(id=101, trading_date=d.pipeline.state.day.date)},
        )
        opened = AccountOpened(at=d.now, account_id=101, simulated=False)
        kept = serialization.loads(serialization.dumps(step(state, opened).state))
        assert kept.accounts[101].simulated is False
        own = kept.rulebook.for_account(101)
        assert all(own.enforces(rule, simulated=False) is acts for rule in own.rules)


def test_rules_stored_by_an_earlier_version_leave_a_live_account_alone() -> None:
    rules_of_today = AccountRules.of(rules_from(max_contracts={"limit": 2}))
    written = json.loads(serialization.dumps(rules_of_today))
    del written["fields"]["on_live"]
    rules: AccountRules = serialization.loads(json.dumps(written))
    assert not rules.enforces(rules.rules[0], simulated=False)
    assert rules.enforces(rules.rules[0], simulated=None)


async def test_meters_go_on_and_ticks_do_not_repeat_the_decision() -> None:
    d = desk()
    await stated(d, simulated=False)
    await d.position("MNQ", 5)
    for _ in range(3):
        d.now = d.now.replace(second=d.now.second + 1)
        await d.happens(Tick(at=d.now))
    assert len(d.decisions) == 1
    assert d.meter("max_contracts").current == 5
