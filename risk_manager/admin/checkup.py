"""The doctor's checks. Each looks at one thing and says what it found and how to mend it."""

import asyncio
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

from filelock import FileLock, Timeout

from risk_manager.admin.gateway_login import GatewayProblem, LoginReport, log_in
from risk_manager.feed.client import FeedUnreachable, read_once
from risk_manager.logs import redact
from risk_manager.settings.configuration import Configuration
from risk_manager.settings.loading import load
from risk_manager.settings.problems import ConfigurationErrors
from risk_manager.settings.secrets import SecretUnavailable
from risk_manager.store.place import database_of
from risk_manager.store.schema import StoreError, check_quickly, check_version, shipped_migrations
from risk_manager.store.upkeep import open_reader

OLDEST_PYTHON = (3, 12)
BUILT = datetime(2025, 1, 1, tzinfo=UTC)  # a clock before this is surely wrong
SKEW_LIMIT_S = 2.0
FREE_ENOUGH_MB = 500
FREE_TOO_LITTLE_MB = 50


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `fix` is empty where there is nothing to mend."""

    check: str
    grade: Grade
    found: str
    fix: str = ""


def checkup(
    config: Path, data: Path, *, ask_gateway: bool = False, env: Mapping[str, str] | None = None
) -> list[Finding]:
    """Every check, in the order in which they make sense to mend."""
    env = os.environ if env is None else env
    findings = [_python()]
    configuration: Configuration | None = None
    try:
        configuration = load(config, env)
    except ConfigurationErrors as errors:
        findings += [
            Finding("config", Grade.FAIL, redact(str(p)), "edit the file and run doctor again")
            for p in errors.problems
        ]
    else:
        findings.append(_configured(config, configuration))
        findings += [Finding("config", Grade.WARN, str(p)) for p in configuration.warnings]
        findings.append(_secrets(configuration, env))
    findings.append(_time_zones(configuration))
    findings += _data_folder(data)
    findings.append(_disk(data))
    findings.append(_database(database_of(data)))
    running = _is_running(data)
    findings.append(_daemon(data, running))
    if configuration is not None:
        findings += _gateway(configuration, env, running=running, asked=ask_gateway)
    else:
        findings.append(_clock(None))
    return findings


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", Grade.FAIL, version, "install Python 3.12 or newer")
    return Finding("python", Grade.OK, version)


def _configured(folder: Path, configuration: Configuration) -> Finding:
    enabled = configuration.accounts.enabled
    names = ", ".join(configuration.label_of(a.id) for a in enabled) or "none"
    return Finding(
        "config",
        Grade.OK,
        f"{folder} is valid; gateway {configuration.settings.gateway.kind}, accounts {names}",
    )


def _secrets(configuration: Configuration, env: Mapping[str, str]) -> Finding:
    if configuration.settings.gateway.kind == "practice":
        return Finding("credentials", Grade.OK, "the practice gateway needs none")
    try:
        configuration.credentials(env)
    except SecretUnavailable as error:
        return Finding("credentials", Grade.FAIL, str(error), "set it, then run doctor again")
    return Finding("credentials", Grade.OK, "user name and key are found")


def _time_zones(configuration: Configuration | None) -> Finding:
    zones = {"America/New_York", "America/Chicago", "UTC"}
    if configuration is not None:
        zones.add(configuration.risk.trading_day.timezone)
    for zone in sorted(zones):
        try:
            ZoneInfo(zone)
        except (OSError, ValueError, LookupError):
            return Finding("time zones", Grade.FAIL, f"no data for {zone}", "pip install tzdata")
    return Finding("time zones", Grade.OK, "data is present")


def _data_folder(data: Path) -> Iterator[Finding]:
    check = "data folder"
    if not data.exists():
        parent = next((p for p in data.absolute().parents if p.exists()), None)
        if parent is not None and os.access(parent, os.W_OK):
            yield Finding(check, Grade.OK, f"{data} will be made at the first start")
        else:
            yield Finding(
                check, Grade.FAIL, f"{data} cannot be made", "give --data a folder you may write"
            )
        return
    try:
        with tempfile.TemporaryFile(dir=data):
            pass
    except OSError as error:
        yield Finding(
            check,
            Grade.FAIL,
            f"{data} cannot be written ({error.strerror})",
            "give it to the user who runs the daemon",
        )
        return
    if os.name == "posix" and stat.S_IMODE(data.stat().st_mode) & stat.S_IWOTH:
        yield Finding(check, Grade.FAIL, f"everybody may write to {data}", f"chmod 700 {data}")
        return
    yield Finding(check, Grade.OK, f"{data} can be written")


def _disk(data: Path) -> Finding:
    place = next(p for p in (data.absolute(), *data.absolute().parents) if p.exists())
    free_mb = shutil.disk_usage(place).free // (1024 * 1024)
    if free_mb < FREE_TOO_LITTLE_MB:
        return Finding("disk", Grade.FAIL, f"{free_mb} MB free", "make room")
    if free_mb < FREE_ENOUGH_MB:
        return Finding("disk", Grade.WARN, f"{free_mb} MB free", "make room soon")
    return Finding("disk", Grade.OK, f"{free_mb} MB free")


def _database(path: Path) -> Finding:
    if not path.exists():
        return Finding("database", Grade.OK, "none yet; made at the first start")
    try:
        with open_reader(path) as connection:
            version = check_version(connection, path, len(shipped_migrations()))
            check_quickly(connection, path)
    except StoreError as error:
        return Finding("database", Grade.FAIL, str(error), "restore a copy from data/backups")
    except Exception as error:  # sqlite3 has many; all of them mean: not readable
        return Finding(
            "database",
            Grade.FAIL,
            f"{path} cannot be read ({error})",
            "restore a copy from data/backups",
        )
    return Finding("database", Grade.OK, f"{path} is whole, schema {version}")


def _is_running(data: Path) -> bool:
    """Whether a daemon holds the data folder."""
    lock = data / "daemon.lock"
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _daemon(data: Path, running: bool) -> Finding:
    if not running:
        return Finding("daemon", Grade.OK, "not running; start it with: risk-manager run")
    try:
        status, _, _ = asyncio.run(read_once(data))
    except FeedUnreachable as error:
        return Finding("daemon", Grade.FAIL, f"running, but {error}", "see data/logs/error.log")
    grade = Grade.OK if status.status == "RUNNING" else Grade.WARN
    told = f" ({status.message})" if status.message else ""
    return Finding("daemon", grade, f"running, {status.status}{told}")


def _gateway(
    configuration: Configuration, env: Mapping[str, str], *, running: bool, asked: bool
) -> Iterator[Finding]:
    if configuration.settings.gateway.kind == "practice":
        yield Finding("gateway", Grade.OK, "practice, inside the daemon")
        yield _clock(None)
        return
    if running and not asked:
        yield Finding(
            "gateway", Grade.OK, "left to the running daemon; --gateway logs in all the same"
        )
        yield _clock(None)
        return
    try:
        credentials = configuration.credentials(env)
    except SecretUnavailable:
        yield Finding("gateway", Grade.WARN, "not tried without credentials")
        yield _clock(None)
        return
    try:
        report = log_in(configuration.settings.gateway.api_url, credentials)
    except GatewayProblem as problem:
        yield Finding("gateway", Grade.FAIL, redact(str(problem)), problem.fix)
        yield _clock(None)
        return
    yield Finding("gateway", Grade.OK, f"logged in; {len(report.accounts)} accounts")
    yield from _accounts(configuration, report)
    yield _clock(report.skew_s)


def _accounts(configuration: Configuration, report: LoginReport) -> Iterator[Finding]:
    for account in configuration.accounts.enabled:
        if account.id not in report.accounts:
            known = ", ".join(f"{i} ({name})" for i, name in report.accounts.items()) or "none"
            yield Finding(
                "accounts",
                Grade.FAIL,
                f"{account.id} ({account.name}) is not an account of this login; it has {known}",
                "put the right id in accounts.yaml",
            )
    for account_id, name in report.accounts.items():
        if configuration.accounts.find(account_id) is not None:
            yield Finding("accounts", Grade.OK, f"{account_id} ({name}) is listed")
        elif configuration.accounts.unlisted == "alarm":
            yield Finding(
                "accounts",
                Grade.WARN,
                f"{account_id} ({name}) is not guarded",
                "add it to accounts.yaml",
            )


def _clock(skew_s: float | None) -> Finding:
    now = datetime.now(UTC)
    if now < BUILT:
        return Finding("clock", Grade.FAIL, f"it says {now:%Y-%m-%d}", "set the clock")
    if skew_s is not None and abs(skew_s) > SKEW_LIMIT_S:
        side = "ahead of" if skew_s > 0 else "behind"
        return Finding(
            "clock",
            Grade.WARN,
            f"{abs(skew_s):.0f} s {side} the gateway's",
            "switch on time synchronisation",
        )
    compared = "" if skew_s is None else ", as the gateway's"
    return Finding("clock", Grade.OK, f"{now:%Y-%m-%d %H:%M:%S} UTC{compared}")
