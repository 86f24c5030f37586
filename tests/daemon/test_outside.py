"""Alerts and metrics can fail in every way: the steps and the watchdog go on."""

import contextlib
import subprocess
import sys

from desk import MORNING, SilentFeed

from risk_manager.daemon.outside import Outside
from risk_manager.domain.events import AnyEvent, Tick
from risk_manager.domain.rulebook import Rulebook
from risk_manager.domain.state import State
from risk_manager.engine.step import Step
from risk_manager.metrics.figures import Figures
from risk_manager.metrics.server import MetricsServer
from risk_manager.metrics.sources import AlertFigures, Sources
from risk_manager.right_of_way import RightOfWay

STATE = State.at(MORNING, Rulebook())


class Failing(Figures):
    """Figures that fail at whatever is asked."""

    def count(self, event: AnyEvent, outcome: Step) -> None:
        raise ZeroDivisionError

    def lagged(self, lag_s: float) -> None:
        raise ZeroDivisionError


def figures(kind: type[Figures] = Figures) -> Figures:
    return kind(
        Sources(
            state=lambda: STATE,
            status=lambda: "RUNNING",
            inbox=lambda: 0,
            reads_left=lambda: 0,
            looks_left=lambda: 0,
            hub_ages_s=dict,
            database_ok=lambda: True,
            token_expires_at=lambda: None,
        ),
        AlertFigures,
        version="0",
    )


def test_a_fault_in_the_figures_reaches_neither_the_pipeline_nor_the_watchdog() -> None:
    told = Outside(None, figures(Failing), 0, RightOfWay())
    told.after_cycle(0.1)
    told.listening(SilentFeed()).publish(Tick(at=MORNING), STATE, Step(STATE))


def test_where_nothing_is_wanted_the_feed_is_left_as_it_is() -> None:
    feed = SilentFeed()
    assert Outside(None, None, 0, RightOfWay()).listening(feed) is feed


async def test_a_port_that_is_taken_is_told_and_ends_no_guard() -> None:
    said: list[str] = []
    async with MetricsServer(bytes, 0) as taken, contextlib.AsyncExitStack() as stack:
        told = Outside(None, figures(), taken.port, RightOfWay())
        await told.open(stack, said.append)
    assert "cannot be opened" in said[0]
    assert said[0].endswith("no metrics are served")


def test_the_registry_is_its_own() -> None:
    """Two daemons in one process (as in tests) do not share figures."""
    one, other = figures(), figures()
    one.count(Tick(at=MORNING), Step(STATE))
    name, labels = "risk_manager_events_total", {"kind": "tick"}
    assert one.registry.get_sample_value(name, labels) == 1
    assert other.registry.get_sample_value(name, labels) is None


def test_the_daemon_and_its_verbs_load_without_either_extra() -> None:
    program = (
        "import sys\n"
        "sys.modules['apprise'] = sys.modules['prometheus_client'] = None\n"
        "import risk_manager.daemon.daemon, risk_manager.admin.alert_verbs\n"
        "import risk_manager.cli.admin_alerts\n"
        "print('loaded')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "loaded", done.stderr
