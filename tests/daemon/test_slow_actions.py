"""An action that takes long is a warning in the log of the gateway's side."""

import pytest
from desk import MORNING
from structlog.testing import capture_logs

from risk_manager.daemon.slow_actions import SLOW_ACTION_MS, warn_if_slow
from risk_manager.domain.decisions import Outcome
from risk_manager.domain.events import ActionSettled, Tick


@pytest.mark.parametrize(("took_ms", "lines"), [(SLOW_ACTION_MS, 0), (SLOW_ACTION_MS + 5, 1)])
def test_only_a_slow_action_is_warned_of(took_ms: float, lines: int) -> None:
    settled = ActionSettled(
        at=MORNING,
        account_id=101,
        action_id="r-1",
        outcome=Outcome.DONE,
        verified=True,
        took_ms=took_ms,
    )
    with capture_logs() as logged:
        warn_if_slow(settled)
        warn_if_slow(Tick(at=MORNING))
    assert len(logged) == lines
    for line in logged:
        assert (line["log_level"], line["id"], line["took_ms"]) == ("warning", "r-1", 2005)
