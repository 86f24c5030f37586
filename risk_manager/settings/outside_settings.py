"""The sections of settings.yaml for people and programs outside: alerts and metrics."""

import importlib.util
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, field_validator, model_validator

from risk_manager.domain.durations import Duration
from risk_manager.settings.fields import ClockTime, Section, Zone
from risk_manager.settings.secrets import Secret

HEARTBEAT_SHAPE = "it must begin with https:// (http:// only to 127.0.0.1)"


def _installed[T](module: str, extra: str) -> AfterValidator:
    def check(value: T) -> T:
        wanted = value is not None and value != ()
        if wanted and importlib.util.find_spec(module) is None:
            raise ValueError(
                f'{module} is not installed; run: pip install "risk-manager[{extra}]", '
                "or take this out"
            )
        return value

    return AfterValidator(check)


def _between(least: timedelta, most: timedelta, told: str) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if not least <= value <= most:
            raise ValueError(f"must be {told}")
        return value

    return AfterValidator(check)


Level = Literal["info", "warning", "critical"]


class ChannelSettings(Section):
    """One address that alerts go to. `least` is the lowest severity that this address gets."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,29}$")
    """How logs and `admin alerts test` name it."""
    url: Secret
    """A reference to the address for apprise, which is a secret."""
    least: Level = "info"
    """The lowest severity sent there."""


class QuietHours(Section):
    """Hours of the day in which nothing is sent that is not about money."""

    start: ClockTime
    """The first minute of the quiet hours."""
    end: ClockTime
    """The first minute after them, on the next day where it is earlier than `start`."""
    timezone: Zone = "America/New_York"
    """The zone of both times."""

    @model_validator(mode="after")
    def _are_hours(self) -> Self:
        if self.start == self.end:
            raise ValueError("start and end are the same; leave quiet out to have none")
        return self

    def covers(self, at: datetime) -> bool:
        """Whether an instant lies in the quiet hours, which may go past midnight."""
        local = at.astimezone(UTC).astimezone(ZoneInfo(self.timezone)).time()
        if self.start < self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end


class AlertSettings(Section):
    """Messages to people, and the address that is told regularly that the guard is at work.

    `limit_at` is the part of a limit, in percent, at which a warning is sent; 0 sends none.
    """

    channels: Annotated[
        tuple[ChannelSettings, ...], Field(max_length=10), _installed("apprise", "alerts")
    ] = ()
    """The addresses; without one no message is sent. Needs the extra `alerts`."""
    quiet: QuietHours | None = None
    """Hours in which nothing is sent that is not about money; null: none."""
    repeat: Annotated[
        Duration, _between(timedelta(minutes=1), timedelta(days=1), "between 1m and 24h")
    ] = timedelta(minutes=15)
    """The first reminder of a critical alert that nobody has acknowledged comes after this time."""
    limit_at: int = Field(default=80, ge=0, le=99)
    """Warn when so many percent of a limit are used; 0 never."""
    daily_summary: bool = True
    """Send the result of each account when the trading day ends."""
    heartbeat_url: Secret | None = None
    """A reference to an address that is pinged while the guard is at work; null: none."""
    heartbeat_every: Annotated[
        Duration, _between(timedelta(seconds=10), timedelta(hours=1), "between 10s and 1h")
    ] = timedelta(minutes=1)
    """How often it is pinged."""

    @field_validator("channels")
    @classmethod
    def _names_differ(cls, value: tuple[ChannelSettings, ...]) -> tuple[ChannelSettings, ...]:
        names = [channel.name for channel in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each channel needs a name of its own; twice: {', '.join(twice)}")
        return value

    @property
    def is_wanted(self) -> bool:
        return bool(self.channels) or self.heartbeat_url is not None


class MetricsSettings(Section):
    """Where Prometheus finds figures about the daemon, on this machine only. None: nowhere."""

    port: Annotated[
        int | None, Field(ge=0, le=65535), _installed("prometheus_client", "metrics")
    ] = None
    """Serve figures for Prometheus on this port of 127.0.0.1; null: nowhere. Needs the extra
    `metrics`."""


def heartbeat_fault(url: str) -> str:
    """Return what is wrong with the address of the heartbeat; empty when it can be used."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return HEARTBEAT_SHAPE
    if not host or parts.scheme not in ("http", "https"):
        return HEARTBEAT_SHAPE
    if parts.scheme == "http" and host not in ("127.0.0.1", "::1", "localhost"):
        return HEARTBEAT_SHAPE
    return ""
