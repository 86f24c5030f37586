"""A simulated day, with restarts and over a reset, judged again from its journal."""

from collections import defaultdict
from dataclasses import replace
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
from simulation.life import Life
from simulation.options import options_for
from simulation.oracle import Oracle
from simulation.world import simulate

from risk_manager.domain.events import AnyEvent
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.store.recorded_days import replay


@pytest.mark.parametrize("seed", [2, 7])
def test_the_same_decisions_come_out_of_the_journal(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = options_for(seed, hours=1.0, sky="ill", day=date(2026, 11, 18))
    options = replace(
        options,
        begins=time(15, 10) if seed == 2 else time(16, 30),  # the second one goes over the reset
        trades_per_hour=40.0,
        wall_step_seconds=0.0,
        weather=replace(options.weather, crashes=3.0, crash_at_commit=0.0),
    )
    steps: defaultdict[date, list[Step]] = defaultdict(list)
    tell = Oracle.on_step

    def note(self: Oracle, life: Life, event: AnyEvent, before: State, outcome: Step) -> None:
        steps[before.day.date].append(outcome)
        tell(self, life, event, before, outcome)

    monkeypatch.setattr(Oracle, "on_step", note)

    result = simulate(options, keep_in=tmp_path)
    assert not result.violations
    assert result.lives >= 2
    assert len(steps) == (1 if seed == 2 else 2)
    for trading_date, taken in steps.items():
        done = replay(tmp_path / "state.db", trading_date)
        assert (done.missing, done.dropped, done.events) == (0, 0, len(taken))
        for name in ("decisions", "actions", "facts"):
            assert getattr(done, name) == _all(taken, name)
    assert sum(len(_all(taken, "actions")) for taken in steps.values()) > 20
    if seed == 2:
        assert simulate(options).digest == result.digest  # kept or not, it is the same day


def _all(steps: list[Step], name: str) -> list[Any]:
    return [one for step in steps for one in getattr(step, name)]
