"""Builds the alerts from the settings. apprise is imported only where a channel is wanted."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import structlog
from pydantic import SecretStr

from risk_manager.alerts.alerting import Alerting, Wanted, on_reached
from risk_manager.alerts.book import Alert, AlertBook, Message
from risk_manager.alerts.delivery import Channel, Delivery
from risk_manager.alerts.freshness import is_fresh
from risk_manager.alerts.heartbeat import OutsideHeartbeat
from risk_manager.alerts.keeping import AlertsUnreadable, read_alerts
from risk_manager.clock import Clock
from risk_manager.domain.decisions import Severity
from risk_manager.domain.events import AnyEvent
from risk_manager.domain.state import State
from risk_manager.right_of_way import RightOfWay
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.outside_settings import ChannelSettings, heartbeat_fault
from risk_manager.settings.secrets import SecretReference, SecretUnavailable

log = structlog.get_logger("risk_manager.alerts")

Broken = list[tuple[str, str]]


def alerting(
    configuration: Configuration,
    env: Mapping[str, str],
    data_dir: Path,
    *,
    clock: Clock,
    state: Callable[[], State],
    put: Callable[[AnyEvent], None],
    is_running: Callable[[], bool],
    announce: Callable[[str], None],
    right_of_way: RightOfWay,
) -> Alerting | None:
    """Return the alerts as configured, or None where none are. To be called in the event loop.

    An address that cannot be used is announced and reported as a health issue. It does not keep
    the daemon from guarding.
    """
    settings = configuration.settings.alerts
    if not settings.is_wanted:
        return None
    broken: Broken = []
    quiet = settings.quiet
    book = AlertBook(
        repeat=settings.repeat,
        is_quiet=quiet.covers if quiet is not None else lambda _: False,
        alerts=_kept(data_dir),
    )
    reached = on_reached(asyncio.get_running_loop(), book, clock.now)
    deliveries = [
        Delivery(channel, least=Severity(wanted.least), on_reached=reached)
        for wanted in settings.channels
        if (channel := _channel(configuration, wanted, env, broken)) is not None
    ]

    def is_at_work() -> bool:
        return is_running() and is_fresh(state(), clock.now())

    url = heartbeat_address(configuration, env, broken)
    heartbeat = (
        OutsideHeartbeat(url, settings.heartbeat_every, is_fresh=is_at_work) if url else None
    )
    for name, reason in broken:
        announce(f"warning: settings.yaml: alerts: {name}: {reason}")
        log.error("alerts_unusable", channel=name, reason=reason)
    return Alerting(
        book,
        deliveries,
        clock=clock,
        state=state,
        put=put,
        is_running=is_running,
        data_dir=data_dir,
        wanted=Wanted(limit_at=settings.limit_at / 100, daily_summary=settings.daily_summary),
        heartbeat=heartbeat,
        right_of_way=right_of_way,
        broken=broken,
    )


def open_channels(
    configuration: Configuration, env: Mapping[str, str]
) -> tuple[list[Channel], Broken]:
    """Return the channels of the settings, and the name and fault of each that is unusable."""
    broken: Broken = []
    wanted = configuration.settings.alerts.channels
    found = [_channel(configuration, each, env, broken) for each in wanted]
    return [channel for channel in found if channel is not None], broken


def heartbeat_address(
    configuration: Configuration, env: Mapping[str, str], broken: Broken
) -> SecretStr | None:
    """Return the address of the heartbeat; None where there is none or it is unusable."""
    reference = configuration.settings.alerts.heartbeat_url
    if reference is None:
        return None
    url = _resolved(reference, "heartbeat", configuration, env, broken)
    fault = heartbeat_fault(url.get_secret_value()) if url is not None else ""
    if fault:
        broken.append(("heartbeat", f"{reference} does not hold a usable address: {fault}"))
        return None
    return url


def _channel(
    configuration: Configuration,
    wanted: ChannelSettings,
    env: Mapping[str, str],
    broken: Broken,
) -> Channel | None:
    url = _resolved(wanted.url, wanted.name, configuration, env, broken)
    if url is None:
        return None
    try:
        from risk_manager.alerts.apprise_channel import AddressUnusable, AppriseChannel
    except Exception as error:  # whatever is wrong with apprise, the daemon must guard
        broken.append((wanted.name, f"apprise does not work here ({type(error).__name__})"))
        return None
    try:
        return AppriseChannel(wanted.name, url)
    except AddressUnusable as error:
        broken.append((wanted.name, f"{wanted.url}: {error}"))
        return None


def _resolved(
    reference: SecretReference,
    name: str,
    configuration: Configuration,
    env: Mapping[str, str],
    broken: Broken,
) -> SecretStr | None:
    try:
        return reference.resolve(env, configuration.folder)
    except SecretUnavailable as error:
        broken.append((name, str(error)))
        return None


def _kept(data_dir: Path) -> list[Alert]:
    try:
        return read_alerts(data_dir)
    except AlertsUnreadable as error:
        log.warning("alerts_unreadable", reason=str(error))
        return []


def trial(channel: str, now: datetime) -> Message:
    """Return the message of `admin alerts test`."""
    return Message(
        number=0,
        subject="test",
        severity=Severity.INFO,
        title="Test",
        text=f"A test of the channel {channel}: alerts of the risk manager arrive here.",
        at=now,
    )
