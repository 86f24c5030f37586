"""Simulated days under the limits they were traded with, and under others."""

from collections import defaultdict
from dataclasses import replace
from datetime import date, time
from decimal import Decimal
from pathlib import Path

import pytest
from desk import rules_from
from simulation.life import Life
from simulation.options import options_for
from simulation.oracle import Oracle
from simulation.world import simulate

from risk_manager.domain.decisions import Decision
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.rulebook import AccountRules, Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.store.journal import days
from risk_manager.store.recorded_days import Recorded, Start
from risk_manager.whatif.judging import JudgedDay, judge_day
from risk_manager.whatif.outcomes import Kind, Slippage
from risk_manager.whatif.result import result_of


def a_simulated_day(
    seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[date, list[Decision]]:
    """Simulate a day with crashes and an ill broker. Returns what was decided, by trading date."""
    options = options_for(seed, hours=0.25, sky="ill", day=date(2026, 11, 18))
    options = replace(
        options,
        begins=time(16, 52) if seed == 3 else time(10, 0),  # the one over the reset
        trades_per_hour=60.0,
        edits_per_hour=0.0,
        wall_step_seconds=0.0,
        weather=replace(options.weather, crashes=4.0, crash_at_commit=0.0),
    )
    decided: defaultdict[date, list[Decision]] = defaultdict(list)
    tell = Oracle.on_step

    def note(self: Oracle, life: Life, event: AnyEvent, before: State, outcome: Step) -> None:
        decided[before.day.date] += outcome.decisions
        tell(self, life, event, before, outcome)

    monkeypatch.setattr(Oracle, "on_step", note)
    assert not simulate(options, keep_in=folder).violations
    return decided


def limits_of(folder: Path, day: date) -> Rulebook:
    for item in Recorded(day=day).turns(folder / "state.db"):
        if isinstance(item, Start):
            return item().rulebook
    raise AssertionError(f"no start on {day}")


def judged(folder: Path, day: date, rulebook: Rulebook) -> JudgedDay:
    return judge_day(day, Recorded(day=day).turns(folder / "state.db"), rulebook)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5, 6])
def test_unchanged_limits_decide_exactly_as_recorded(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided = a_simulated_day(seed, tmp_path, monkeypatch)
    recorded = days(tmp_path / "journal")
    assert len(recorded) == (2 if seed == 3 else 1)
    for day in recorded:
        done = judged(tmp_path, day, limits_of(tmp_path, day))
        assert done.decisions == decided[day]
        assert done.is_reproduced
        result = result_of([done], Slippage(), has_quotes=True)
        assert {o.kind for d in result.days for o in d.outcomes} <= {Kind.UNCHANGED}
    assert any(decided.values())


@pytest.mark.parametrize("seed", [2, 4])
def test_other_limits_leave_what_was_before_them_and_add_up_nothing_unknown(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_simulated_day(seed, tmp_path, monkeypatch)
    (day,) = days(tmp_path / "journal")
    tighter = limits_of(tmp_path, day)
    rules = rules_from(daily_realized_loss={"limit": 100}, max_contracts={"limit": 1})
    tighter = replace(tighter, accounts={a: AccountRules.of(rules) for a in tighter.accounts})
    result = result_of([judged(tmp_path, day, tighter)], Slippage(), has_quotes=True)
    turns = [(d, o) for d in result.days for o in d.outcomes]
    assert {o.kind for _, o in turns} > {Kind.UNCHANGED}
    for account_day, turn in turns:
        came, ended = account_day.intervened_at, turn.episode.ended_at
        if came is None or (ended is not None and ended <= came):
            assert turn.kind is Kind.UNCHANGED
        if turn.kind is Kind.UNCHANGED and turn.result is not None:
            assert turn.result.low == turn.result.high == turn.episode.net
        if turn.result is not None:
            assert turn.result.low <= turn.result.high
        assert not (turn.is_after and turn.kind is Kind.UNCHANGED)
    for account_day in result.days:
        known = [o.result for o in account_day.outcomes if o.result is not None]
        assert account_day.known.low == sum((r.low for r in known), Decimal(0))
        counted = sum((o.episode.net for o in account_day.outcomes if o.result), Decimal(0))
        assert account_day.recorded == counted + account_day.not_counted
