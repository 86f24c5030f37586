"""settings.yaml: how the daemon is run. Environment variables override it."""

import ipaddress
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from risk_manager.settings.fields import Section
from risk_manager.settings.outside_settings import AlertSettings, MetricsSettings
from risk_manager.settings.secrets import Secret, SecretReference, parse_name

ENV_PREFIX = "RISK_MANAGER_"
ENV_NESTING = "__"


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_same_site(one: str, other: str) -> bool:
    """Whether two addresses are of one gateway: api.topstepx.com and rtc.topstepx.com are."""
    a, b = urlsplit(one), urlsplit(other)
    hosts = [(url.hostname or "").rstrip(".").lower() for url in (a, b)]
    if hosts[0] == hosts[1]:
        return a.port == b.port or not is_loopback(hosts[0])
    if any(is_loopback(host) or host.replace(".", "").isdigit() for host in hosts):
        return False
    return hosts[0].split(".")[-2:] == hosts[1].split(".")[-2:]


def _url(value: str) -> str:
    try:
        url = urlsplit(value)
        host, _ = url.hostname, url.port
    except ValueError:
        raise ValueError("not a URL; write for example https://api.topstepx.com/api") from None
    if url.scheme not in ("http", "https", "ws", "wss") or not host:
        raise ValueError("not a URL; write for example https://api.topstepx.com/api")
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("a URL here carries no user, password, ? or #; write the bare address")
    if url.scheme in ("http", "ws") and not is_loopback(host):
        raise ValueError(
            f"{url.scheme}:// would send the key unprotected; use {url.scheme}s:// "
            "(plain only to 127.0.0.1)"
        )
    return value.rstrip("/")


def _rest_url(value: str) -> str:
    if value.startswith(("ws:", "wss:")):
        raise ValueError("this is the REST address; it begins with https://")
    return value


def _feed_host(value: str) -> str:
    if value == "localhost":
        raise ValueError("write 127.0.0.1; localhost may mean another address")
    if not is_loopback(value):
        raise ValueError("the feed is served on this machine only; write 127.0.0.1")
    return value


def _level(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


Url = Annotated[str, AfterValidator(_url)]
Username = Annotated[
    SecretReference | Annotated[str, Field(min_length=1, max_length=200)],
    BeforeValidator(parse_name),
    PlainSerializer(str, return_type=str),
]
Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_level)]


class GatewaySettings(Section):
    """Where the broker is. With kind `practice` the addresses and the login are not used."""

    kind: Literal["practice", "projectx"] = "practice"
    """`practice`: a simulated exchange inside the daemon, without a login and without money.
    `projectx`: the real gateway."""
    api_url: Annotated[Url, AfterValidator(_rest_url)] = "https://api.topstepx.com/api"
    """The REST address. Used with `projectx` only, as are both hubs."""
    user_hub_url: Url = "https://rtc.topstepx.com/hubs/user"
    """The stream of positions, orders, trades and accounts."""
    market_hub_url: Url = "https://rtc.topstepx.com/hubs/market"
    """The stream of quotes."""
    username: Username = SecretReference("env", "PROJECT_X_USERNAME")
    """The login's name, or a reference to it: `env:NAME`, `file:PATH` or `keyring:service/user`."""
    api_key: Secret = SecretReference("env", "PROJECT_X_API_KEY")
    """A reference to the API key, never the key itself: `env:NAME`, `file:PATH` or
    `keyring:service/user`."""


class FeedSettings(Section):
    """Where the dashboard finds the daemon. Port 0 takes any free one (see daemon.json)."""

    host: Annotated[str, AfterValidator(_feed_host)] = "127.0.0.1"
    """An address of this machine."""
    port: int = Field(default=8765, ge=0, le=65535)
    """0 takes any free port; `daemon.json` says which."""


class LoggingSettings(Section):
    """How much is logged, and how much of it is kept: `backups` old files of `max_mb` each."""

    level: Level = "INFO"
    """The least severe lines that are written."""
    as_json: bool = Field(default=True, alias="json")
    """JSON lines; false writes plain lines."""
    max_mb: int = Field(default=10, ge=1, le=1000)
    """A log file is renamed at this size in MB."""
    backups: int = Field(default=10, ge=1, le=365)
    """So many renamed files of each log are kept."""


class Settings(BaseSettings):
    """The whole of settings.yaml, overrides applied."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_NESTING,
        env_ignore_empty=True,
        enable_decoding=False,  # a variable is its text, never JSON
    )

    gateway: GatewaySettings = GatewaySettings()
    """Where the broker is."""
    feed: FeedSettings = FeedSettings()
    """Where the dashboard and the admin commands find the daemon."""
    logging: LoggingSettings = LoggingSettings()
    """How much is logged, and how much of it is kept."""
    alerts: AlertSettings = AlertSettings()
    """Messages to people outside."""
    metrics: MetricsSettings = MetricsSettings()
    """Figures for Prometheus."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # What is given is all there is: loading merges the file and the environment itself, so
        # that an error can name the variable or the line it comes from.
        return (init_settings,)
