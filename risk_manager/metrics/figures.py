"""The figures of a running daemon as Prometheus knows them: base units, totals, no account.

Imports prometheus_client. The path of an event only counts; everything else is read on a scrape.
"""

import time
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from risk_manager.domain.decisions import Alarm, LockSet
from risk_manager.domain.events import AnyEvent, HubState
from risk_manager.domain.health_issue import IssueKind
from risk_manager.domain.locks import LockPolicy, strictest
from risk_manager.domain.state import State
from risk_manager.engine.report import reported
from risk_manager.engine.step import Step
from risk_manager.metrics.sources import AlertFigures, Sources

PREFIX = "risk_manager"
STATUSES = ("STARTING", "RUNNING", "DEGRADED", "STOPPING")
ENFORCEMENT_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)
LAG_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Figures:
    """All figures of one daemon, in a registry of their own."""

    def __init__(
        self, sources: Sources, alerts: Callable[[], AlertFigures], *, version: str
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # has no types
        self.events: Counts[type[AnyEvent]] = Counts()
        self.registry = CollectorRegistry()
        self._decisions = Counter(
            f"{PREFIX}_decisions",
            "Breaches decided on, by rule; shadow ones change nothing at the broker.",
            ("rule", "shadow"),
            registry=self.registry,
        )
        self._locks_set = Counter(
            f"{PREFIX}_locks_set",
            "Locks set or prolonged, by rule.",
            ("rule",),
            registry=self.registry,
        )
        self._alarms = Counter(
            f"{PREFIX}_alarms", "Alarms raised, by code.", ("code",), registry=self.registry
        )
        self._calls = Counter(
            f"{PREFIX}_enforcement_calls",
            "Calls to the broker that have ended, by kind and result.",
            ("kind", "result"),
            registry=self.registry,
        )
        self._latency = Histogram(
            f"{PREFIX}_enforcement_latency_seconds",
            "From the decision to act until the account was read back.",
            ("kind",),
            buckets=ENFORCEMENT_BUCKETS_S,
            registry=self.registry,
        )
        self._lag = Histogram(
            f"{PREFIX}_loop_lag_seconds",
            "How late the watchdog's cycle of each second was.",
            buckets=LAG_BUCKETS_S,
            registry=self.registry,
        )
        Gauge(
            f"{PREFIX}_info", "The version of the daemon.", ("version",), registry=self.registry
        ).labels(version).set(1)
        Gauge(
            f"{PREFIX}_start_time_seconds",
            "When the daemon was started, in seconds since 1970.",
            registry=self.registry,
        ).set(time.time())
        self.registry.register(_Standing(self.events, sources, alerts))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def count(self, event: AnyEvent, outcome: Step) -> None:
        """Count one step."""
        self.events[type(event)] += 1
        if not (outcome.decisions or outcome.facts or outcome.settled):
            return
        report = reported(event, outcome)
        for decision in report.decisions:
            self._decisions.labels(decision.rule_id, str(decision.shadow).lower()).inc()
        for settled in report.settled:
            self._calls.labels(settled.call.kind, settled.result.value).inc()
            self._latency.labels(settled.call.kind).observe(settled.took.total_seconds())
        for fact in report.facts:
            match fact:
                case LockSet(lock=lock):
                    self._locks_set.labels(lock.rule_id).inc()
                case Alarm():
                    self._alarms.labels(fact.code).inc()

    def lagged(self, lag_s: float) -> None:
        """Take note of how late one cycle of the watchdog was."""
        self._lag.observe(max(lag_s, 0.0))

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)


class _Standing(Collector):
    """The figures that are read from the state and the parts when somebody asks."""

    def __init__(
        self,
        events: Counts[type[AnyEvent]],
        sources: Sources,
        alerts: Callable[[], AlertFigures],
    ) -> None:
        self._events = events
        self._sources = sources
        self._alerts = alerts

    def describe(self) -> list[Metric]:
        return []  # the registry would otherwise collect once to learn the names

    def collect(self) -> Iterator[Metric]:
        events = CounterMetricFamily(
            f"{PREFIX}_events", "Events judged, by kind.", labels=("kind",)
        )
        for kind, number in self._events.items():
            events.add_metric((str(kind.model_fields["kind"].default),), number)
        yield events
        state = self._sources.state()
        yield from self._of_the_daemon()
        yield from _of_the_streams(state, self._sources.hub_ages_s())
        yield from _of_the_accounts(state)
        yield _gauge(
            "health_issues",
            "Health issues that stand, by kind.",
            "kind",
            {
                str(kind): sum(i.stands and i.kind is kind for i in state.health_issues.values())
                for kind in IssueKind
            },
        )
        yield _gauge(
            "health_issues_critical",
            "Health issues that are an emergency, as something is held.",
            "",
            {"": sum(i.stands and i.critical for i in state.health_issues.values())},
        )

    def _of_the_daemon(self) -> Iterator[Metric]:
        sources = self._sources
        status = sources.status()
        yield _gauge(
            "status",
            "1 for the daemon's present status.",
            "status",
            {name: int(name == status) for name in STATUSES},
        )
        yield _gauge("inbox_events", "Events that wait to be judged.", "", {"": sources.inbox()})
        yield _gauge(
            "request_budget_left_requests",
            "Requests that may be sent to the gateway now, by lane; closes are not limited.",
            "lane",
            {"reads": sources.reads_left(), "looks": sources.looks_left()},
        )
        yield _gauge("database_ok", "1 while writes succeed.", "", {"": int(sources.database_ok())})
        expires = sources.token_expires_at()
        if expires is not None:
            yield _gauge(
                "token_expiry_time_seconds",
                "When the login to the gateway ends, in seconds since 1970.",
                "",
                {"": expires.timestamp()},
            )
        alerts = self._alerts()
        yield _gauge("alerts_open", "Alerts open or not acknowledged.", "", {"": alerts.open})
        yield _gauge("alerts_waiting", "Messages waiting to be sent.", "", {"": alerts.waiting})
        for name, told, number in (
            ("alerts_sent", "Messages that a channel has accepted.", alerts.sent),
            ("alerts_dropped", "Messages given up.", alerts.dropped),
        ):
            yield CounterMetricFamily(f"{PREFIX}_{name}", told, value=number)


def _of_the_streams(state: State, ages: Mapping[str, float | None]) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        f"{PREFIX}_hub_state", "1 for the present state of each stream.", labels=("hub", "state")
    )
    for hub, status in state.hubs.items():
        for each in HubState:
            states.add_metric((str(hub), str(each)), int(status.state is each))
    yield states
    yield _gauge(
        "hub_message_age_seconds",
        "How long ago each stream was last heard.",
        "hub",
        {hub: age_s for hub, age_s in ages.items() if age_s is not None},
    )


def _of_the_accounts(state: State) -> Iterator[Metric]:
    accounts = list(state.accounts.values())
    locked = [strictest(account.locks.values()) for account in accounts]
    yield _gauge(
        "accounts",
        "Accounts watched: all of them, those that hold something, those under a lock.",
        "which",
        {
            "watched": len(accounts),
            "exposed": sum(not account.is_flat for account in accounts),
            "locked_flat": sum(policy is LockPolicy.FLAT for policy in locked),
            "locked_no_entries": sum(policy is LockPolicy.NO_ENTRIES for policy in locked),
        },
    )


def _gauge(name: str, told: str, label: str, values: "dict[str, float]") -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", told, labels=(label,) if label else None)
    for key, value in values.items():
        family.add_metric((key,) if label else (), value)
    return family
